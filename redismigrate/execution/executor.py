"""Carries a run through its steps and revisions: forward, and back when a step fails.

What a step does to indexes and the note that it is done are one transaction, so that a process that dies
between two steps leaves a run that the next one can take up without guessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from redismigrate.errors import DriftError, PlanBlocked, RedisMigrateError, RunFailed, RunInterrupted
from redismigrate.execution.documents.backup_location import BackupLocation
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run, now
from redismigrate.execution.run_in_hand import FAILURES, RunInHand, text_of
from redismigrate.execution.steps import FunctionSource
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.execution.undoing import (
    record_at_work,
    require_records,
    roll_back,
    turn_round,
    undo_revision,
)
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.undo import is_kept
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.state.documents import AppliedRevision
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature
from redismigrate.state.store import StateWriter

Replan = Callable[[RecordedRevision], RevisionPlan]


class Executor:
    """Owns a run while it is carried out on behalf of the holder of the lock.

    Args:
        server: The connection.
        keys: The project's keys.
        writer: Writes the state.
        run: The run, new or taken up.
        watcher: Is told what happens.
        functions: Finds the function of an `op.run`.
        backup_dir: Where the user says that backups are by now; None looks where they were written.
        allows_lossy: Bring documents back as well as it can be where a backup is damaged or gone.
    """

    def __init__(
        self,
        server: Server,
        keys: StateKeys,
        writer: StateWriter,
        run: Run,
        watcher: Watcher,
        functions: FunctionSource,
        backup_dir: Path | None = None,
        *,
        allows_lossy: bool = False,
    ) -> None:
        self._work = RunInHand(
            server, keys, writer, run, watcher, functions, backup_dir, allows_lossy=allows_lossy
        )

    @property
    def run(self) -> Run:
        """The run as last written."""
        return self._work.run

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds by phase: documents, index, validate, cutover."""
        return self._work.seconds

    @property
    def backup_folder(self) -> str | None:
        """The folder of the run's backups on this machine; None when it made none."""
        location = next(map(BackupLocation.parse, self.run.backups.values()), None)
        return None if location is None else str(location.path.parent.parent)

    @property
    def catalog_met(self) -> Catalog:
        """The recorded indexes as the revision at work met them."""
        record, catalog = record_at_work(self._work), self._work.state.catalog
        return catalog if record is None else record.met(catalog)

    def finish(self, replan: Replan) -> None:
        """Carry out what is left of the run, all its revisions.

        Args:
            replan: Plans a further revision on the server as it is when its turn comes.

        Raises:
            RunFailed: A step failed; its revision was undone, earlier ones stay.
            RunInterrupted: It stopped half way; the same command takes it up again.
            PlanBlocked: A further revision can't run; the earlier ones stay. Or another project was faster to
                claim an index; the revision was undone.
            DriftError: A further revision meets an index that was changed behind our back; the earlier ones
                stay.
            BackupMissing, BackupDamaged: A backup that an interrupted run needs is not here, or not as it was
                written; nothing was changed.
        """
        if self._work.state.run is not None:
            self._work.require_backups()
        with self._work.interruptions():
            if self._work.state.run is None:
                self._begin()
            if self.run.failure is not None:
                undo_revision(self._work)
                raise self._failed()
            while True:
                self._finish_revision()
                if not self.run.remaining:
                    return
                self._next_revision(replan)

    def roll_back(self) -> None:
        """Undo all of the run instead of finishing it, or though it is finished.

        Raises:
            StateError: What undoes one of its revisions is gone or damaged; nothing was changed.
            BackupMissing, BackupDamaged: So is a backup that one of them needs; nothing was changed.
            RunInterrupted: It stopped half way; the same command goes on.
        """
        require_records(self._work)
        with self._work.interruptions():
            roll_back(self._work)

    def _begin(self) -> None:
        """From now on this is the run to be rolled back, and the one before it no longer."""
        forgotten = self._work.state.last_revisions
        self._work.write(
            self.run, self._work.event("begin"), end_last_run=True, undo=dict.fromkeys(forgotten)
        )

    def _finish_revision(self) -> None:
        if self.run.step is None:
            return
        watcher = self._work.watcher
        watcher.revision_started(self.run)
        while (step := self.run.step) is not None:
            watcher.step_started(step)
            try:
                if step.kind == "record_revision":
                    self._record(step)
                else:
                    self._work.carry_out(step)
            except FAILURES as error:
                self._refuse_to_leave_kept(error)
                turn_round(self._work, text_of(error), refused=error.documents)
                undo_revision(self._work)
                if isinstance(error, PlanBlocked | DriftError):
                    raise
                raise self._failed() from error
        watcher.revision_finished(self.run)

    def _next_revision(self, replan: Replan) -> None:
        recorded, *rest = self.run.remaining
        blocked = {"event": "blocked", "revision": recorded.revision}
        try:
            plan = replan(recorded)
        except DriftError:
            self._work.end(self.run, blocked)
            raise
        if plan.blocked:
            self._work.end(self.run, blocked)
            raise PlanBlocked(
                f"Revision {recorded.revision} can't run: {'; '.join(plan.blocked)}.",
                f"Applied before it and kept: {', '.join(self.run.done)}.",
                plan.blocked,
            )
        run = self.run.with_changes(
            plan=plan,
            position=0,
            remaining=tuple(rest),
            baselines={},
            backups={},
            quantizations={},
            revision_started_at=now(),
        )
        self._work.write(run, self._work.event("begin", revision=plan.revision))

    def _failed(self) -> RunFailed:
        verb = "apply" if self.run.direction == "upgrade" else "undo"
        kept = f" Kept from before it: {', '.join(self.run.done)}." if self.run.done else ""
        return RunFailed(
            f"Could not {verb} revision {self.run.plan.revision}: {self.run.failure}",
            f"All that it had changed is undone{self._deleted()}.{kept}",
        )

    def _deleted(self) -> str:
        """What can't be undone: documents that the script wanted to be gone."""
        undone = {step.index for step in self.run.undo}
        names = [step.index for step in self.run.plan.steps if step.delete_documents and step.index in undone]
        return "".join(
            f", but the documents of index {name} are deleted and can't come back" for name in names
        )

    def _refuse_to_leave_kept(self, error: RedisMigrateError) -> None:
        """Stay where we are rather than undo half: a TEMPORARY index can't be brought back."""
        kept = [step.index for step in self.run.plan.steps[: self.run.position] if is_kept(step)]
        if kept:
            raise RunInterrupted(
                f"Revision {self.run.plan.revision} stopped: {text_of(error)}",
                f"TEMPORARY index {kept[0]} can't be changed back: remove the cause and run the same command "
                "again, or undo all but that with `redismigrate rollback`.",
            ) from error

    def _record(self, step: Step) -> None:
        """Head, indexes, what undoes the revision, and its end in one write."""
        run, recorded, state = self.run, self.run.plan.recorded, self._work.state
        elapsed = datetime.now(UTC) - datetime.fromisoformat(run.revision_started_at)
        seconds = round(elapsed.total_seconds(), 3)
        if run.direction == "upgrade":
            record = AppliedRevision(
                parents=recorded.parents,
                depends_on=recorded.depends_on,
                message=recorded.message,
                sha256=recorded.sha256,
                applied_at=now(),
                seconds=seconds,
                by=signature(),
                plan_digest=run.plan_digest,
                backup=self._backup_of_revision(),
                adopted=tuple(sorted(recorded.adopted)),
            )
            head, removed = state.head.with_revision(recorded.revision, record), None
        else:
            head = state.head.without_revisions([recorded.revision])
            removed = state.head.revisions[recorded.revision]
        catalog = with_quantizations(recorded.apply(state.catalog), run)
        undo = UndoRecord.of(run, state.catalog, catalog, removed)
        documents = {"head": head, "catalog": catalog, "undo": {recorded.revision: undo.content()}}
        event = self._work.event(run.direction, seconds=str(seconds))
        run = run.with_changes(position=run.position + 1, done=(*run.done, recorded.revision))
        with self._work.timed(step):
            if run.remaining:
                self._work.write(run, event, **documents)
            else:
                self._work.end(run, event, **documents)

    def _backup_of_revision(self) -> str | None:
        """The folder above the backups of the revision at work; None when it made none."""
        location = next(map(BackupLocation.parse, self.run.backups.values()), None)
        return None if location is None else str(BackupLocation(location.host, location.path.parent))


def with_quantizations(catalog: Catalog, run: Run) -> Catalog:
    """The indexes with how their integers were made, by the fields' paths as they are now.

    Of several indexes that read the same documents one was rewritten; its scale is that of all.

    Args:
        catalog: The indexes after the revision at work, but with their integers from before it.
        run: The run that has rewritten their documents.
    """
    for step in run.plan.steps:
        if step.kind == "rewrite_documents" and step.after is not None and step.rewrite is not None:
            found = run.quantizations.get(str(step.index), {})
            keys = KeyPrefixes.of(step.after.schema.prefixes)
            for definition in catalog.values():
                if keys.overlap(KeyPrefixes.of(definition.schema.prefixes)):
                    quantization = step.rewrite.quantizations_after(definition, found)
                    catalog = catalog.with_definition(replace(definition, quantization=quantization))
    return catalog
