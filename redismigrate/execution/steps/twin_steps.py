"""What the steps about values at two paths of one document need: their mirror, its backup, their end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from redismigrate.backup.replaced_documents import VALUES_COLUMN
from redismigrate.documents.failures import Failures
from redismigrate.documents.twins import twins_of
from redismigrate.errors import BackupDamaged, BackupMissing
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.beside.stood_before import StoodBefore
from redismigrate.execution.documents.beside.twin_batch import TwinAim, conflict_between
from redismigrate.execution.documents.beside.twin_conversions import TwinConversion
from redismigrate.execution.documents.beside.twin_values import TwinValues
from redismigrate.execution.documents.traffic.mirroring import Synchronised
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.run import Run
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.execution.steps.marked_forms import MarkedForms
from redismigrate.planning.plan import Step

# Rounds over what is written meanwhile, while values are removed; with busy writers there is no last one.
_ROUNDS = 20
_LIVES = frozenset({"fill_twins", "take_twins_back", "remove_twins"})


def are_twins(step: Step) -> bool:
    """Whether a step is about values that stand at two paths of their documents."""
    return step.life.name in _LIVES


class TwinSteps:
    """Makes the mirrors of twins for one process, with what their marks and backups share.

    Args:
        work: Where.
    """

    def __init__(self, work: DocumentWork) -> None:
        self._work = work
        self.marked = MarkedForms(work, VALUES_COLUMN)
        # Index -> documents that were written as a whole, see `note_made_again`.
        self._made_again: dict[str, int] = {}

    def mirror(self, step: Step, run: Run, aim: TwinAim) -> TwinValues:
        """Where the values are that a step makes, and what they should become."""
        rewrite, schema = step.work.rewrite, step.index_before.schema
        quantizations = run.quantizations.get(str(step.index), {})
        make_transform = self._work.job(step, run).make_transform
        removals = self.marked.removals
        removals.is_used_up = self.marked.have_met_limit(step, run)
        removals.on_limit = partial(self.marked.note_limit, step, run)
        removals.are_values, removals.documents = True, max(removals.documents, step.estimate.documents)
        return TwinValues(
            schema,
            tuple(
                TwinConversion.of(
                    twin,
                    quantizations,
                    make_transform,
                    is_json=schema.storage_type == "json",
                    fills_up=bool(run.arguments.get("allow_lossy")),
                )
                for twin in twins_of(rewrite)
            ),
            self.marked.marks(step, run),
            aim,
            not self.marked.have_looked_at_all(step, run),
            rewrite.excluded_prefixes,
            self.marked.replaced_by(step, run).keep,
            removals,
            self._stood(step, run) if aim == "old_removed" else StoodBefore(),
            notes_stood=run.failure is None,
        )

    def _stood(self, step: Step, run: Run) -> StoodBefore:
        """What had the names that go, before the run that is undone.

        Raises:
            BackupError: A backup that a downgrade needs is not as it was when that was planned.
        """
        index, backups = str(step.index), list(self._work.older_backups(step, run))
        if run.failure is not None and index in run.backups:
            self.marked.replaced_by(step, run).close()
            try:
                own = self._work.open(run.backups[index])
                return StoodBefore.in_backups((own, *backups))
            except (BackupDamaged, BackupMissing) as error:
                gone = " and ".join(twin.old for twin in twins_of(step.work.rewrite))
                self._work.watcher.warned(
                    f"{error.message} It says which documents of {index} had {gone} before the run: it "
                    "goes from these, too"
                )
        return StoodBefore.in_backups(backups)

    def end_first_pass(self, step: Step, run: Run) -> dict[str, Any]:
        """Note that all documents have been looked at: what has no mark from now on is the application's.

        Returns:
            Where the backups of the run are, if there are any.

        Raises:
            FenceLost: Another process has taken over the lock.
        """
        self.marked.note_looked_at_all(step, run)
        # The record of the revision, which comes before old values go, has to name the backup.
        return self.marked.backups(step, run)

    def note_made_again(self, step: Step, documents: int) -> None:
        """So many documents had a value under one name alone, as a release wrote them that knows no other.

        It is said when that happens first, and how many there were at the end.
        """
        index = str(step.index)
        if documents and index not in self._made_again:
            self._work.watcher.warned(
                f"documents of {index} are written as a whole by a release that knows one name of a value "
                "alone: it is written under the other one again"
            )
        if documents:
            self._made_again[index] = self._made_again.get(index, 0) + documents

    def take_back(self, step: Step, run: Run, synchroniser: Synchroniser) -> Mapping[str, Any]:
        """What was written at new paths goes to the old ones; then the new values go.

        Returns:
            The changes of the run.

        Raises:
            TrackingLost: The server does not report writes for as long as a pass over all documents takes.
        """
        mirror, done = self.mirror(step, run, "new_removed"), Synchronised()
        with Follower(self._work.nodes, mirror, synchroniser) as follower:
            _until_nothing_changes(follower, done)
        return self._end(step, run, done, synchroniser)

    def remove_old(
        self, step: Step, run: Run, follower: Follower, synchroniser: Synchroniser
    ) -> Mapping[str, Any]:
        """Remove old values, while what is written at old paths goes on to the new ones.

        Args:
            step: Removes them.
            run: The run.
            follower: Is told of such writes since before the first value goes.
            synchroniser: Its own.

        Returns:
            The changes of the run.
        """
        done = Synchronised()
        follower.stop_telling()
        follower.turn_to(self.mirror(step, run, "old_removed"))
        _until_nothing_changes(follower, done)
        return self._end(step, run, done, synchroniser)

    def close(self) -> None:
        """Finish the backups of values that went; where one can't be, the others are."""
        self.marked.close()

    def _end(self, step: Step, run: Run, done: Synchronised, synchroniser: Synchroniser) -> Mapping[str, Any]:
        """Forget the marks, and count what has to be told; the changes of the run."""
        failures = Failures(len(synchroniser.failing), seen=done.failures.seen)
        failures.listed += [each for each in done.failures.listed if each.key in synchroniser.failing]
        self._made_again[str(step.index)] = self._made_again.get(str(step.index), 0) + done.made_again
        if again := self._made_again[str(step.index)]:
            self._work.watcher.warned(
                f"{again:,} documents of {step.index} were written as a whole by a release that knows one "
                "name of a value alone: it stands under the other one again"
            )
        self._work.report(failures)
        conflicts = self._conflicts(step, run)
        self.marked.forget(step, run)
        self.marked.tell_all(conflicts)
        counts = run.documents.plus(failed(failures)).plus(failed(conflicts))
        return {"documents": counts, "backups": self.marked.backups(step, run)}

    def _conflicts(self, step: Step, run: Run) -> Failures:
        """The documents of which both values were written, by whatever process they were met."""
        conflicts = Failures()
        reason = "; ".join(conflict_between(twin.old, twin.new) for twin in twins_of(step.work.rewrite))
        for key in self.marked.conflicts(step, run):
            conflicts.add(key, reason)
        return conflicts


def _until_nothing_changes(follower: Follower, total: Synchronised) -> None:
    """Pass over all documents, and then over what is written meanwhile, until that changes nothing."""
    follower.synchronise_all(total)
    for _ in range(_ROUNDS):
        changed = total.changed
        follower.catch_up(total)
        if total.changed == changed:
            return
