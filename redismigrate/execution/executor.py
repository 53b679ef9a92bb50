"""Carries a run through its steps and revisions: forward, and back when a step fails.

What a step does to indexes and the note that it is done are one transaction, so that a process that dies
between two steps leaves a run that the next one can take up without guessing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from redismigrate.errors import (
    CommandRefused,
    DriftError,
    PlanBlocked,
    RedisMigrateError,
    RunFailed,
    RunInterrupted,
)
from redismigrate.execution.document_steps import DocumentsRefused, DocumentSteps
from redismigrate.execution.documents.backup_location import BackupLocation
from redismigrate.execution.documents.fence import Fence
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run, now
from redismigrate.execution.steps import Effect, FunctionFailed, FunctionSource, StepRunner
from redismigrate.execution.validation import ValidationFailed
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.undo import is_kept, undo_of
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog
from redismigrate.state.documents import AppliedRevision
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature
from redismigrate.state.owners import OwnersWriter
from redismigrate.state.store import StateWriter

# After these a revision is undone; every other error leaves the run as it is, to be taken up again.
FAILURES = (CommandRefused, ValidationFailed, FunctionFailed, DocumentsRefused, PlanBlocked, DriftError)
# They are not one transaction with their note, so the step in hand may have been done when a run turns round.
TAKES_EFFECT_BEFORE_ITS_NOTE = {"run_function", "claim_index", "release_index", "rewrite_documents"}
# With these a run has an end: nothing of it is left to be taken up.
ENDS = (RunFailed, PlanBlocked, DriftError)
PHASES = {
    "back_up_documents": "documents",
    "rewrite_documents": "documents",
    "catch_up_documents": "documents",
    "verify_backup": "documents",
    "restore_documents": "documents",
    "run_function": "documents",
    "validate_index": "validate",
    "set_alias": "cutover",
    "record_revision": "cutover",
}

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

    Attributes:
        run: The run as last written.
        seconds: Wall seconds by phase: documents, index, validate, cutover.
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
    ) -> None:
        self._writer = writer
        self._watcher = watcher
        self._is_scripted = server.capabilities.runs_search_in_scripts
        owners = OwnersWriter(server, keys, writer.token)
        fence = Fence(keys.fence.encode(), writer.token.encode())
        documents = DocumentSteps(server, keys.project, fence, watcher, self._beat, backup_dir)
        self._steps = StepRunner(server, keys, owners, watcher, functions, self._beat, documents)
        self.run = run
        self.seconds: dict[str, float] = {}

    @property
    def backup_folder(self) -> str | None:
        """The folder of the run's backups on this machine; None when it made none."""
        location = next(map(BackupLocation.parse, self.run.backups.values()), None)
        return None if location is None else str(location.path.parent.parent)

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
        """
        with self._interruptions():
            if self._writer.state.run is None:
                self._writer.transact(run=self.run.content(), event=self._event("begin"))
            if self.run.failure is not None:
                self._undo()
                raise self._failed()
            while True:
                self._finish_revision()
                if not self.run.remaining:
                    return
                self._next_revision(replan)

    def roll_back(self) -> None:
        """Undo the unfinished revision of the run instead of finishing it."""
        with self._interruptions():
            if self.run.failure is None and self.run.step is None:
                # Recorded already: the process died before it began the next revision.
                self._writer.transact(end_run=True, event=self._event("abandon"))
                return
            if self.run.failure is None:
                self._turn_round("rolled back on request")
            self._undo()

    def _finish_revision(self) -> None:
        if self.run.step is None:
            return
        self._watcher.revision_started(self.run)
        while (step := self.run.step) is not None:
            self._watcher.step_started(step)
            started = time.monotonic()
            try:
                if step.kind == "record_revision":
                    self._record()
                else:
                    self._note(step, self._carry_out(step))
            except FAILURES as error:
                self._refuse_to_leave_kept(error)
                self._turn_round(_text(error))
                self._undo()
                if isinstance(error, PlanBlocked | DriftError):
                    raise
                raise self._failed() from error
            finally:
                phase = PHASES.get(step.kind, "index")
                self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - started
        self._watcher.revision_finished(self.run)

    def _next_revision(self, replan: Replan) -> None:
        recorded, *rest = self.run.remaining
        blocked = {"event": "blocked", "revision": recorded.revision}
        try:
            plan = replan(recorded)
        except DriftError:
            self._writer.transact(end_run=True, event=blocked)
            raise
        if plan.blocked:
            self._writer.transact(end_run=True, event=blocked)
            raise PlanBlocked(
                f"Revision {recorded.revision} can't run: {'; '.join(plan.blocked)}.",
                f"Applied before it and kept: {', '.join(self.run.done)}.",
                plan.blocked,
            )
        self.run = self.run.with_changes(
            plan=plan,
            position=0,
            remaining=tuple(rest),
            baselines={},
            backups={},
            quantizations={},
            revision_started_at=now(),
        )
        self._writer.transact(run=self.run.content(), event=self._event("begin"))

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

    def _turn_round(self, failure: str) -> None:
        """Go back from here. A function that failed half way is undone too: `down` has to bear that."""
        done, in_hand = self.run.plan.steps[: self.run.position], self.run.step
        if in_hand is not None and (in_hand.kind in TAKES_EFFECT_BEFORE_ITS_NOTE or not self._is_scripted):
            done = (*done, in_hand)
        undo = self._with_backups(undo_of(done))
        self.run = self.run.with_changes(failure=failure, undo=undo, position=0, progress=None)
        self._writer.transact(
            catalog=self._with_kept(done),
            run=self.run.content(),
            event=self._event("undo") | {"reason": failure},
        )

    def _with_backups(self, undo: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps with the places of the backups that they restore from."""
        return tuple(
            step.model_copy(update={"backup": self.run.backups.get(str(step.index))})
            if step.kind in {"verify_backup", "restore_documents"}
            else step
            for step in undo
        )

    def _refuse_to_leave_kept(self, error: RedisMigrateError) -> None:
        """Stay where we are rather than undo half: a TEMPORARY index can't be brought back."""
        kept = [step.index for step in self.run.plan.steps[: self.run.position] if is_kept(step)]
        if kept:
            raise RunInterrupted(
                f"Revision {self.run.plan.revision} stopped: {_text(error)}",
                f"TEMPORARY index {kept[0]} can't be changed back: remove the cause and run the same command "
                "again, or undo all but that with `redismigrate rollback`.",
            ) from error

    def _with_kept(self, done: tuple[Step, ...]) -> Catalog:
        """The recorded indexes with the changes that stay though their revision is undone."""
        catalog = self._writer.state.catalog
        for step in done:
            if is_kept(step) and step.after is not None:
                self._watcher.warned(
                    f"TEMPORARY index {step.index} stays as it is now: dropping it would delete its documents"
                )
                recorded = catalog.get(step.after.served)
                if recorded is not None:
                    catalog = catalog.with_definition(replace(step.after, aliases=recorded.aliases))
        return catalog

    def _undo(self) -> None:
        self._watcher.undo_started(self.run)
        while (step := self.run.step) is not None:
            self._watcher.step_started(step)
            try:
                self._note(step, self._carry_out(step))
            except FAILURES as error:
                raise RunInterrupted(
                    f"Revision {self.run.plan.revision} failed ({self.run.failure}), and undoing it stopped "
                    f"at “{step.description}”: {_text(error)}",
                    "Remove the cause and run the same command again: it goes on undoing.",
                ) from error
        self._writer.transact(end_run=True, event=self._event("undone"))

    def _carry_out(self, step: Step) -> Effect:
        if step.kind == "run_function":
            # What a function writes is not fenced; it shall not even begin once the lock is another's.
            self._writer.transact()
        return self._steps.carry_out(step, self.run)

    def _note(self, step: Step, effect: Effect) -> None:
        run = self.run.with_changes(position=self.run.position + 1, progress=None, **effect.changes)
        self._writer.transact(
            run=run.content(),
            event=self._event("step") | {"kind": step.kind, "index": step.index or ""},
            commands=effect.commands.forward,
            put_back=effect.commands.put_back,
        )
        self.run = run

    def _beat(self, documents: int, of: int) -> None:
        self.run = self.run.with_changes(progress=(documents, of))
        self._writer.transact(run=self.run.content())

    def _record(self) -> None:
        """Head, indexes and the end of the revision in one write."""
        run, recorded, state = self.run, self.run.plan.recorded, self._writer.state
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
            head = state.head.with_revision(recorded.revision, record)
        else:
            head = state.head.without_revisions([recorded.revision])
        run = run.with_changes(position=run.position + 1, done=(*run.done, recorded.revision))
        self._writer.transact(
            head=head,
            catalog=self._with_quantizations(recorded.apply(state.catalog)),
            run=run.content() if run.remaining else None,
            end_run=not run.remaining,
            event=self._event(run.direction) | {"seconds": str(seconds)},
        )
        self.run = run

    def _backup_of_revision(self) -> str | None:
        """The folder above the backups of the revision at work; None when it made none."""
        location = next(map(BackupLocation.parse, self.run.backups.values()), None)
        return None if location is None else str(BackupLocation(location.host, location.path.parent))

    def _with_quantizations(self, catalog: Catalog) -> Catalog:
        """The indexes with how their integers were made, by the fields' paths as they are now."""
        for step in self.run.plan.steps:
            if step.kind == "rewrite_documents" and step.after is not None and step.rewrite is not None:
                definition = catalog[step.after.served]
                found = self.run.quantizations.get(str(step.index), {})
                catalog = catalog.with_definition(
                    replace(definition, quantization=step.rewrite.quantizations_after(definition, found))
                )
        return catalog

    def _event(self, name: str) -> dict[str, str]:
        return {"event": name, "revision": self.run.plan.revision, "run": self.run.id, "by": signature()}

    @contextmanager
    def _interruptions(self) -> Iterator[None]:
        """What stops the process, not the revision, leaves the run to be taken up again."""
        try:
            yield
        except (*ENDS, RunInterrupted) as error:
            error.run, error.revisions = self.run.id, self.run.done
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            interrupted = RunInterrupted(
                f"Run {self.run.id} was interrupted at revision {self.run.plan.revision}: {_reason(error)}",
                "Run the same command again to resume, or `redismigrate rollback` to undo the revision.",
            )
            interrupted.run, interrupted.revisions = self.run.id, self.run.done
            raise interrupted from error


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "stopped by a signal."
    if isinstance(error, SystemExit):  # from the watcher: rich exits when nobody reads the output any more
        return "the process was made to exit."
    return error.message if isinstance(error, RedisMigrateError) else f"{type(error).__name__}: {error}."


def _text(error: RedisMigrateError) -> str:
    return f"{error.message.rstrip('.')}. {error.hint}".strip() if error.hint else error.message
