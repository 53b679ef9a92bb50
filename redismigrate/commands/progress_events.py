"""What a callback `on_progress` gets: every event of a run as one value with types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from redismigrate.errors import CallbackFailed
from redismigrate.execution.progress import Stopped, Watcher, Watchers
from redismigrate.foreign_modules import describe

if TYPE_CHECKING:
    from redismigrate.execution.run import Run
    from redismigrate.planning.plan import Step
    from redismigrate.planning.step_life import StepKind

ProgressKind = Literal["revision", "step", "documents", "backup", "note", "undo", "finished"]
OnProgress = Callable[["Progress"], object]


@dataclass(frozen=True)
class Progress:
    """One event of a run.

    Attributes:
        kind: "revision": one begins, or is taken up. "step": a step of it begins. "documents": so many are
            done in the step at work. "backup": so many of a backup are read before anything is changed.
            "note": something to know. "undo": the revision failed and is being undone, or an index of it is
        message: The event in words.
        run: The id of the run; None before there is one.
        revision: The revision at work; None before there is one.
        step: The kind of the step at work; None between two.
        index: The index that the step is about, None for none.
        done: Documents that are done in the step, or read of the backup.
        total: Documents that there are.
        documents_per_second: How fast, over the last ten seconds; None in the first second of a step.
        seconds_left: Of the revision, estimated; None where that can't be told.
    """

    kind: ProgressKind
    message: str
    run: str | None = None
    revision: str | None = None
    step: StepKind | None = None
    index: str | None = None
    done: int = 0
    total: int = 0
    documents_per_second: float | None = None
    seconds_left: float | None = None

    def __str__(self) -> str:
        """The event as a line."""
        return self.message


class ProgressWatcher(Watcher):
    """Makes events of what a run tells, and gives them to a callback.

    Args:
        on_progress: The callback. What it raises interrupts the run, which can be taken up again.
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._run: Run | None = None
        self._step: Step | None = None

    def revision_started(self, run: Run) -> None:
        """Tells the callback the event "revision"."""
        self._run, self._step = run, None
        verb = "applying" if run.direction == "upgrade" else "undoing"
        self._tell("revision", f"{verb} {run.plan.revision} {run.plan.recorded.message}")
        for warning in run.plan.warnings:
            self._tell("note", warning)

    def step_started(self, step: Step) -> None:
        """Tells the callback the event "step"."""
        self._step = step
        self._tell("step", step.description)

    def measured(self, run: Run) -> None:
        """What the next event tells of the speed."""
        self._run = run

    def indexed(self, step: Step, documents: int, of: int) -> None:
        """Tells the callback the event "documents"."""
        self._step = step
        self._tell("documents", f"{step.description}: {documents:,} of {of:,} documents", documents, of)

    def backup_read(self, folder: str, documents: int, of: int) -> None:
        """Tells the callback the event "backup"."""
        message = f"reading the backup in {folder}: {documents:,} of {of:,} documents"
        self._tell("backup", message, documents, of)

    def warned(self, message: str) -> None:
        """Tells the callback the event "note"."""
        self._tell("note", message)

    def revision_finished(self, run: Run) -> None:
        """Tells the callback the event "finished"."""
        self._run, self._step = run, None
        participle = "applied" if run.direction == "upgrade" else "undone"
        self._tell("finished", f"{run.plan.revision} is {participle}")

    def undo_started(self, run: Run) -> None:
        """Tells the callback the event "undo"."""
        self._run, self._step = run, None
        back = run.apart.putting_back
        what = f"putting {', '.join(back)} back" if back else f"undoing what {run.plan.revision} had changed"
        self._tell("undo", f"{what}: {run.failure}")

    def _tell(self, kind: ProgressKind, message: str, done: int = 0, total: int = 0) -> None:
        run, step = self._run, self._step
        # What was measured in another step says nothing of this one.
        is_of_step = run is not None and step is not None and run.step == step
        pace = run.pace if run is not None and is_of_step else None
        event = Progress(
            kind,
            message,
            None if run is None else run.id,
            None if run is None else run.plan.revision,
            None if step is None else step.kind,
            None if step is None else step.index,
            done,
            total,
            None if pace is None else pace.rate,
            None if pace is None else pace.seconds_left,
        )
        try:
            self._on_progress(event)
        except Stopped:
            raise
        except Exception as error:
            raise callback_failed("on_progress", error, event) from error


def callback_failed(name: str, error: Exception, event: object) -> CallbackFailed:
    """What a run is interrupted by when a function that the caller gave has raised.

    Args:
        name: What the function is called.
        error: What it raised.
        event: What it had got.
    """
    return CallbackFailed(f"{name} raised {describe(error)} at “{event}”.", "Correct that function.")


def watched(watcher: Watcher | None, on_progress: OnProgress | None) -> Watcher:
    """One watcher for a caller's own and a callback."""
    told = [each for each in (watcher, on_progress and ProgressWatcher(on_progress)) if each is not None]
    return told[0] if len(told) == 1 else Watchers(*told)
