"""Carries a run through its steps and revisions: forward, and back when a step fails.

What a step does to indexes and the note that it is done are one transaction, so that a process that dies
between two steps leaves a run that the next one can take up without guessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import NoReturn

from redismigrate.errors import DriftError, PlanBlocked, RedisMigrateError, RunFailed, RunInterrupted
from redismigrate.execution.cutover import backup_of_revision, cutover_at, record_at_cutover
from redismigrate.execution.endings import FAILURES, error_in_message
from redismigrate.execution.held_run import HeldRun
from redismigrate.execution.leaving_out import (
    Replan,
    begin_to_put_back,
    finish_putting_back,
    kept_of,
    names_at_fault,
    partial,
    try_again,
)
from redismigrate.execution.pace.busy_writers import WritersAhead
from redismigrate.execution.run import Run, now
from redismigrate.execution.undoing import (
    record_at_work,
    require_records,
    roll_back,
    turn_round,
    undo_revision,
)
from redismigrate.planning.plan import Step
from redismigrate.planning.step_life import Phase
from redismigrate.planning.undo import is_kept
from redismigrate.schema.definition import Catalog
from redismigrate.state.transaction import Transaction


class Executor:
    """Owns a run while it is carried out on behalf of the holder of the lock.

    Args:
        work: The run, new or taken up.
    """

    def __init__(self, work: HeldRun) -> None:
        self._work = work
        self._last_backup: str | None = None
        # Whether what was validated may have been so long ago: no step was done since the run was taken up.
        self._is_taken_up = work.state.run is not None

    @property
    def run(self) -> Run:
        """The run as last written."""
        return self._work.run

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds by phase: documents, index, validate, cutover."""
        return self._work.seconds

    @property
    def warnings(self) -> tuple[str, ...]:
        """What indexes lack of databases other than 0 that were built although they do."""
        return self._work.told_elsewhere

    @property
    def backup_folder(self) -> str | None:
        """The folder of the last of its revisions that made backups here; None when none did."""
        location = backup_of_revision(self.run)
        return self._last_backup if location is None else str(location.path.parent)

    @property
    def catalog_met(self) -> Catalog:
        """The recorded indexes as the revision at work met them."""
        record, catalog = record_at_work(self._work), self._work.state.catalog
        return self.run.apart.catalog_met(catalog) if record is None else record.met(catalog)

    def finish(self, replan: Replan, phase: Phase = "all") -> None:
        """Carry out what is left of the run, all its revisions.

        Args:
            replan: Plans a further revision, or some as one, on the server as it is when their turn comes.
            phase: "expand" stops before the first swap; "contract" ends with the revision at work.

        Raises:
            RunFailed: A step failed; its revision was undone, earlier ones stay.
            RunInterrupted: It stopped half way; the same command takes it up again.
            RevisionPartial: Some indexes of a revision could not be changed, and the run goes on after that.
            PlanBlocked: A further revision can't run; the earlier ones stay. Or another project was faster to
                claim an index; the revision was undone.
            DriftError: A further revision meets an index that was changed behind our back; the earlier ones
                stay.
            BackupMissing, BackupDamaged: A backup that an interrupted run needs is not here, or not as it was
                written; nothing was changed.
            AuthenticationFailed: The server keeps an index of an interrupted run from its user; nothing was
                changed.
        """
        if self._work.state.run is not None:
            self._work.require_backups()
            self._work.require_rights()
        with self._work.interruptions(), closing(self._work):
            if self._work.state.run is None:
                self._begin()
            self._work.give_build_sleep_back()
            self._take_up_failure(replan)
            self._turn_to(phase)
            while True:
                self._finish_revision()
                if self.run.is_partial:
                    raise partial(self._work)
                if self.run.is_expanded:
                    return
                if not self.run.remaining or phase == "contract":
                    if self._work.state.run is not None:
                        self._work.end(self.run, self._work.event("end"))
                    return
                self._next_revision(replan)

    def _take_up_failure(self, replan: Replan) -> None:
        """Go on with what an earlier attempt has left because something failed.

        Raises:
            RunFailed: The revision is undone by now.
            RevisionPartial: What is left of it can't be changed as things are.
        """
        if self.run.apart.putting_back:
            self._put_back()
        elif self.run.failure is not None:
            undo_revision(self._work)
            raise self._failed()
        elif self.run.is_partial:
            try_again(self._work, replan)

    def admit_failures(self, most: int) -> None:
        """Let more documents fail than the run was begun with, as an error may have told the user to say."""
        if most > int(self.run.arguments.get("max_failures", 0)):
            self._work.let_hold({"max_failures": most}, f"admit {most} failures")

    def ignore_other_databases(self) -> None:
        """Let a run that was taken up go on although an index loses documents of other databases than 0."""
        if not self.run.arguments.get("ignore_other_databases"):
            self._work.let_hold({"ignore_other_databases": True}, "ignore other databases")

    def _turn_to(self, phase: Phase) -> None:
        """Note which phase the run is in; what was expanded is looked at again before it is contracted.

        It stays expanded until it is found complete: a further attempt has to look as well.
        """
        if self.run.is_expanded and phase != "expand":
            self._require_complete()
        if self.run.arguments.get("phase", "all") != phase:
            self._work.let_hold({"phase": phase}, f"phase {phase}")

    def _require_complete(self) -> None:
        """Validate what was built in the expand phase, which may be long ago.

        Raises:
            RunInterrupted: It is not complete; it stays, and so does what it was built beside.
        """
        built = self.run.plan.built_beside.values()
        swaps = [
            step for step in self.run.plan.steps if step.life.name == "swap_alias" and step.after in built
        ]
        self._work.watcher.measured(self.run)  # which revision it is that is looked at
        try:
            self._validate_again(swaps)
        except FAILURES as error:
            raise RunInterrupted(
                f"{self.run.plan.title} can't be contracted: {error_in_message(error)}",
                "Remove the cause and run the same command again, or undo the run with `redismigrate "
                "rollback`.",
            ) from error

    def _validate_again(self, swaps: Iterable[Step]) -> None:
        """Look again at what was validated by another process, and is to be swapped in.

        Raises:
            RedisMigrateError: One of `FAILURES` when it is not complete by now.
        """
        swaps = tuple(swaps)
        self._work.look_elsewhere(swaps)
        # Whatever was written while nobody followed.
        self._work.guards(swaps)
        swapped = {step.index for step in swaps}
        for step in self.run.plan.steps[: self.run.position]:
            if step.life.has("is_looked_at_again") and step.index in swapped:
                self._work.look(step)
        self._is_taken_up = False

    def roll_back(self) -> None:
        """Undo all of the run instead of finishing it, or though it is finished.

        Raises:
            StateError: What undoes one of its revisions is gone or damaged; nothing was changed.
            BackupMissing, BackupDamaged: So is a backup that one of them needs; nothing was changed.
            AuthenticationFailed: The server keeps an index from the user; nothing was changed.
            RunInterrupted: It stopped half way; the same command goes on.
        """
        require_records(self._work)
        with self._work.interruptions(), closing(self._work):
            self._work.give_build_sleep_back()
            roll_back(self._work)

    def _begin(self) -> None:
        """From now on this is the run to be rolled back, and the one before it no longer."""
        forgotten = self._work.state.last_revisions
        self._work.write(
            self.run,
            self._work.event("begin"),
            Transaction(end_last_run=True, undo=dict.fromkeys(forgotten)),
        )

    def _finish_revision(self) -> None:
        if self.run.step is None:
            return
        watcher = self._work.watcher
        watcher.revision_started(self.run)
        self._repeat()
        while self.run.step is not None:
            if self.run.is_expanded:
                return
            cutover, in_hand = cutover_at(self.run), self._work.in_hand()
            for started in cutover or in_hand:
                watcher.step_started(started)
            try:
                self._do(cutover, in_hand)
            except FAILURES as error:
                self._refuse_to_take_back(error, in_hand)
                if self.run.goes_on_after_failure:
                    self._go_on_without(error, cutover[:-1] or in_hand)
                else:
                    self._undo_because_of(error)
        if not self.run.is_partial:
            watcher.revision_finished(self.run)

    def _do(self, cutover: tuple[Step, ...], in_hand: tuple[Step, ...]) -> None:
        """Do what comes next: names and a record where there is a cutover, else a step."""
        if cutover:
            if self._is_taken_up:
                self._validate_again(cutover[:-1])
            self._work.look_elsewhere(cutover[:-1])
            record_at_cutover(self._work, cutover)
        else:
            self._work.carry_out(in_hand)
        self._is_taken_up = False

    def _undo_because_of(self, error: RedisMigrateError) -> NoReturn:
        """Undo the revision at work, and say why."""
        self._refuse_to_leave_kept(error)
        self._stay_expanded(error)
        turn_round(self._work, error_in_message(error), refused=error.documents)
        undo_revision(self._work)
        if isinstance(error, PlanBlocked | DriftError):
            raise error
        raise self._failed() from error

    def _repeat(self) -> None:
        """Do again what has to be done when a run is taken up: writers may have gone on."""
        for again in self._work.to_repeat if self._is_taken_up else ():
            self._work.repeat(again)

    def _go_on_without(self, error: RedisMigrateError, failed: tuple[Step, ...]) -> None:
        """Put the index back that could not be changed, so that the others of the revision go on.

        Raises:
            RunFailed: It was the last one.
            RunInterrupted: It can't be put back.
        """

        def look_again(steps: Sequence[Step]) -> None:
            self._validate_again(steps)
            self._work.moves(steps)

        names = names_at_fault(self._work, failed, look_again)
        if not names:
            self._undo_because_of(error)
        if names & self.run.apart.met.keys():  # it is recorded as it is, and serves
            raise RunInterrupted(
                f"{self.run.plan.title} stopped: {error_in_message(error)}",
                "Remove the cause and run the same command again, or undo all of it with `redismigrate "
                "rollback`.",
            ) from error
        self._require_none_kept(error, kept_of(self._work, names))
        begin_to_put_back(self._work, names, error_in_message(error))
        self._put_back()
        self._repeat()

    def _put_back(self) -> None:
        if not finish_putting_back(self._work):
            raise self._failed()
        # Nobody has followed what applications have written to the other indexes meanwhile.
        self._is_taken_up = True

    def _next_revision(self, replan: Replan) -> None:
        members = self.run.next_members
        blocked = {"event": "blocked", "revision": members[-1].revision}
        made = self.run.made_so_far
        try:
            plan = replan(members, made)
        except DriftError:
            self._work.end(self.run, blocked)
            raise
        if plan.blocked:
            self._work.end(self.run, blocked)
            raise PlanBlocked(
                f"{plan.title} can't run: {'; '.join(plan.blocked)}.",
                f"Applied before it and kept: {', '.join(self.run.done)}.",
                plan.blocked,
            )
        self._last_backup = self.backup_folder
        run = self.run.with_changes(
            plan=plan,
            position=0,
            remaining=self.run.remaining[len(members) :],
            made=None if made is None else tuple(sorted(made)),
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
            f"Could not {verb} {self.run.plan.title_within}: {self.run.failure}",
            f"All that it had changed is undone{self._deleted()}.{kept}",
        )

    def _deleted(self) -> str:
        """What can't be undone: documents that the script wanted to be gone."""
        undone = {step.index for step in self.run.undo}
        names = [
            step.index for step in self.run.plan.steps if step.deletes_documents and step.index in undone
        ]
        return "".join(
            f", but the documents of index {name} are deleted and can't come back" for name in names
        )

    def _refuse_to_take_back(self, error: RedisMigrateError, in_hand: tuple[Step, ...]) -> None:
        """Stop at what is left to be removed: what replaced it is recorded and serves."""
        if self.run.is_recorded or any(step.after_record for step in in_hand):
            done = (
                f"Revision {self.run.plan.revision}" if self.run.is_recorded else f"Index {in_hand[0].index}"
            )
            raise RunInterrupted(
                f"{done} is carried out, but what it replaced is not removed yet: {error_in_message(error)}",
                "Remove the cause and run the same command again, or undo the run with `redismigrate "
                "rollback`.",
            ) from error

    def _stay_expanded(self, error: RedisMigrateError) -> None:
        """Leave what was expanded as it was where only writers are in the way of contracting it."""
        if not isinstance(error, WritersAhead):
            return
        # A batch that was under way may have been left there.
        self._work.stop_following()
        if self.run.arguments.get("phase") != "contract" or self.run.position != self.run.plan.cutover:
            return
        arguments = {**self.run.arguments, "phase": "expand"}
        self._work.write(self.run.with_changes(arguments=arguments), self._work.event("phase expand"))
        raise RunInterrupted(
            f"{self.run.plan.title} stays expanded: {error_in_message(error)}",
            "Run the same command again when they write less, or undo the run with `redismigrate rollback`.",
        ) from error

    def _refuse_to_leave_kept(self, error: RedisMigrateError) -> None:
        """Stay where we are rather than undo half: a TEMPORARY index can't be brought back."""
        steps = self.run.plan.steps[: self.run.position]
        self._require_none_kept(error, tuple(str(step.index) for step in steps if is_kept(step)))

    def _require_none_kept(self, error: RedisMigrateError, kept: tuple[str, ...]) -> None:
        if kept:
            raise RunInterrupted(
                f"{self.run.plan.title} stopped: {error_in_message(error)}",
                f"TEMPORARY index {kept[0]} can't be changed back: remove the cause and run the same command "
                "again, or undo all but that with `redismigrate rollback`.",
            ) from error
