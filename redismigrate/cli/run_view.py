"""Shows a run: a progress bar on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from redismigrate.cli.context import LINE_EVERY_SECONDS, Invocation
from redismigrate.execution.progress import Watcher

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from redismigrate.execution.run import Run
    from redismigrate.planning.plan import Step


class TerminalWatcher(Watcher):
    """Draws what a run tells; use it in a `with` statement. With nothing to tell, rich is not imported."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._progress: Progress | None = None
        self._last_line = 0.0

    @cached_property
    def _console(self) -> Console:
        return self._invocation.console()

    def _print(self, text: str) -> None:
        """Print a line; the run goes on when nobody reads it (rich wants to exit) or a disk is full."""
        with suppress(SystemExit, OSError):
            self._console.print(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_progress()

    def revision_started(self, run: Run) -> None:
        """Name the revision and what to know of it."""
        from redismigrate.cli.plan_view import mark_of

        recorded = run.plan.recorded
        verb = "Applying" if recorded.direction == "upgrade" else "Undoing"
        self._print(f"{verb} [bold]{recorded.revision}[/] {_escaped(recorded.message)}")
        for warning in run.plan.warnings:
            self._print(f"  {mark_of(warning)} {_escaped(warning)}")

    def step_started(self, step: Step) -> None:
        """Print what the step that begins does."""
        self._end_progress()
        self._print(f"  {_escaped(step.description)}")

    def indexed(self, step: Step, documents: int, of: int) -> None:  # noqa: ARG002 - the event's signature
        """Move the bar, or print a line now and then."""
        self._count(documents, of)

    def backup_read(self, folder: str, documents: int, of: int) -> None:
        """Name the backup, then as for an index."""
        if documents:
            self._count(documents, of)
        else:
            self._end_progress()
            self._print(f"  read the backup in {_escaped(folder)}")

    def _count(self, documents: int, of: int) -> None:
        if self._console.is_terminal and not self._console.quiet:
            if self._progress is None:
                self._progress = _bar(self._console, of)
            self._progress.update(self._progress.task_ids[0], completed=documents, total=of)
        elif time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            if self._last_line:
                self._print(f"    {documents:,} of {of:,} documents")
            self._last_line = time.monotonic()

    def warned(self, message: str) -> None:
        """Print a warning below what is shown."""
        self._end_progress()
        self._print(f"  [yellow]note:[/] {_escaped(message)}")

    def undo_started(self, run: Run) -> None:
        """Say why it is undone."""
        self._end_progress()
        self._print(f"  [red]{_escaped(run.failure or '')}[/]")
        if run.apart.putting_back:
            self._print(
                f"  put {_escaped(', '.join(run.apart.putting_back))} back as it was; the others go on"
            )
        else:
            self._print(f"Undoing what [bold]{run.plan.revision}[/] had changed")

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._last_line = 0.0


def _bar(console: Console, total: int) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    counted = TextColumn("    {task.completed:,}/{task.total:,} documents")
    progress = Progress(counted, BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    progress.add_task("", total=total)
    progress.start()
    return progress


def _escaped(text: str) -> str:
    from redismigrate.cli.rendering import markup

    return markup(text)
