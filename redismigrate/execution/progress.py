"""What a run tells whoever watches it; the command line draws it, the library keeps quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redismigrate.execution.run import Run
    from redismigrate.planning.plan import Step


class Watcher:
    """Is told what happens. This one does nothing; override what is of interest."""

    def revision_started(self, run: Run) -> None:
        """A revision begins, or is taken up again."""

    def step_started(self, step: Step) -> None:
        """Called when a step begins."""

    def indexed(self, step: Step, documents: int, of: int) -> None:
        """An index that is waited for has this many of its documents."""

    def backup_read(self, folder: str, documents: int, of: int) -> None:
        """A backup is read before anything is changed: so many of its documents; none when that begins."""

    def warned(self, message: str) -> None:
        """Something the user should know; the run goes on."""

    def revision_finished(self, run: Run) -> None:
        """Called when a revision was recorded."""

    def undo_started(self, run: Run) -> None:
        """A revision failed and is being undone."""
