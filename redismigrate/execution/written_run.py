"""The run as it is kept in Redis: with every change of it, and with a sign of life about once a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from redismigrate.execution.build_sleep import BuildSleep
from redismigrate.execution.pace_report import PaceReport
from redismigrate.execution.run import Run, now
from redismigrate.execution.steps.document_work import HEARTBEAT_SECONDS
from redismigrate.state.store import StateWriter
from redismigrate.state.stored_documents import LastRun
from redismigrate.state.transaction import Transaction

NOTHING_ELSE = Transaction()


class WrittenRun:
    """Owns the run of this process, and is the only one to write it.

    Args:
        writer: Writes the state.
        run: The run, new or taken up.
        report: Tells how fast it is at the moment.
        measured: Is told of it after every step, and with every sign of life.

    Attributes:
        writer: Writes the state.
        run: The run as last written, but for what is written with its next step.
    """

    def __init__(
        self,
        writer: StateWriter,
        run: Run,
        report: Callable[[], PaceReport],
        measured: Callable[[Run], object],
    ) -> None:
        self.writer = writer
        self.run = run
        self._report = report
        self._measured = measured
        self._last_beat = time.monotonic()

    def write(self, run: Run, event: Mapping[str, str], others: Transaction = NOTHING_ELSE) -> None:
        """Make this the run, in one transaction with other documents.

        Args:
            run: The run from now on.
            event: What the journal gets.
            others: What else is written.
        """
        self.writer.transact(replace(others, run=run.content(), event=event))
        self.run = run

    def note(self, run: Run, event: Mapping[str, str], others: Transaction) -> None:
        """Make this the run, which has come further by some steps, in one transaction with what these do.

        Args:
            run: The run from now on; only what changes at every step is written.
            event: What the journal gets.
            others: What else is written.
        """
        self.writer.transact(replace(others, progress=run.progress_content(), event=event))
        self.run = run
        self._measured(run)

    def end(self, run: Run, event: Mapping[str, str], others: Transaction = NOTHING_ELSE) -> None:
        """Make this the end of the run. What it has recorded and not undone can be rolled back from now on.

        Args:
            run: The run as it ends.
            event: What the journal gets.
            others: What else is written.
        """
        last = None
        if run.done:
            last = LastRun(run.id, run.direction, run.target, run.done, finished_at=now())
        self.writer.transact(replace(others, end_run=True, last_run=last, event=event))
        self.run = run

    def note_build_sleep(self, sleep: BuildSleep | None) -> None:
        """Write what the run has made of the server's setting for builds, before the server has it.

        Raises:
            FenceLost: Another process has taken the lock since.
        """
        run = self.run.moved(build_sleep=sleep)
        self.writer.transact(Transaction(progress=run.progress_content()))
        self.run = run

    def beat(self, documents: int, of: int) -> None:
        """Write how many documents of how many are done."""
        self.run = self.run.moved(progress=(documents, of))
        self._give_sign()

    def beat_again(self) -> None:
        """Give a sign of life where nothing moves, if the last one is some time ago."""
        if time.monotonic() - self._last_beat >= HEARTBEAT_SECONDS:
            self._give_sign()

    def _give_sign(self) -> None:
        self._last_beat = time.monotonic()
        self.run = self.run.moved(pace=self._report())
        self.writer.transact(Transaction(progress=self.run.progress_content()))
        self._measured(self.run)
