"""What a run tells whoever watches it; the command line draws it, the library keeps quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redismigrate.errors import RedisMigrateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redismigrate.execution.indexes.validation import FoundIndex
    from redismigrate.execution.run import Run
    from redismigrate.operations.expectations import Expectation, ExpectationAnswer
    from redismigrate.planning.plan import Step


class Stopped(RedisMigrateError):
    """Whoever watches wants that to stop which is watched. A run is left to be taken up again."""


class Watcher:
    """Is told what happens. This one does nothing; override what is of interest.

    All is told in the thread in which the run is at work. What a method raises interrupts the run, which can
    be taken up again.
    """

    def at_safe_point(self) -> None:
        """Here it may stop: between two batches of documents, two looks at an index, two steps.

        It is called often, from a few times to thousands of times a second.

        Raises:
            Stopped: It shall.
        """

    def revision_started(self, run: Run) -> None:
        """A revision begins, or is taken up again."""

    def step_started(self, step: Step) -> None:
        """Called when a step begins."""

    def measured(self, run: Run) -> None:
        """About once a second, and after every step: how far a run is, and how fast."""

    def indexed(self, step: Step, documents: int, of: int) -> None:
        """An index that is waited for has this many of its documents, or so many were read or written."""

    def validated(self, step: Step, found: FoundIndex) -> None:
        """An index was compared with what was asked for, and is as it should be."""

    def checked(self, step: Step, answers: Sequence[tuple[Expectation, ExpectationAnswer]]) -> None:
        """An index was asked what is expected of it; where one answer is not as expected, the step fails."""

    def step_ended(self, step: Step, seconds: float) -> None:
        """A step has ended, done or not; of some that are one, the last. This must not raise."""

    def backup_read(self, folder: str, documents: int, of: int) -> None:
        """A backup is read before anything is changed: so many of its documents; none when that begins."""

    def warned(self, message: str) -> None:
        """Something the user should know; the run goes on."""

    def revision_finished(self, run: Run) -> None:
        """Called when a revision was recorded."""

    def undo_started(self, run: Run) -> None:
        """A revision failed and is being undone."""


class Watchers(Watcher):
    """Tells several watchers, one after the other.

    Args:
        watchers: Those.
    """

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def at_safe_point(self) -> None:
        """Ask all of them."""
        for watcher in self._watchers:
            watcher.at_safe_point()

    def revision_started(self, run: Run) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.revision_started(run)

    def step_started(self, step: Step) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.step_started(step)

    def measured(self, run: Run) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.measured(run)

    def indexed(self, step: Step, documents: int, of: int) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.indexed(step, documents, of)

    def validated(self, step: Step, found: FoundIndex) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.validated(step, found)

    def checked(self, step: Step, answers: Sequence[tuple[Expectation, ExpectationAnswer]]) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.checked(step, answers)

    def step_ended(self, step: Step, seconds: float) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.step_ended(step, seconds)

    def backup_read(self, folder: str, documents: int, of: int) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.backup_read(folder, documents, of)

    def warned(self, message: str) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.warned(message)

    def revision_finished(self, run: Run) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.revision_finished(run)

    def undo_started(self, run: Run) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.undo_started(run)
