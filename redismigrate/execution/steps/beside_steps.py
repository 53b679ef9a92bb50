"""The steps that give documents a second form beside the first, and keep it in step until the names move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from redismigrate.documents.failures import SHOWN_FAILURES
from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.follower import Follower, Guard
from redismigrate.execution.documents.beside.mark_store import forget_other_runs
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import FieldAim
from redismigrate.execution.documents.beside.twin_values import TwinValues
from redismigrate.execution.documents.in_place.older_originals import bring_precision_back
from redismigrate.execution.documents.in_place.rights import require_rights
from redismigrate.execution.documents.traffic.mirroring import Mirror, Synchronised
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.documents.traffic.tracking import WritesUntold, require_reports
from redismigrate.execution.indexes.live import look_at
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.copy_steps import CopySteps
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.execution.steps.expansion_counter import ExpansionCounter
from redismigrate.execution.steps.followed import followed_at, have_names_moved
from redismigrate.execution.steps.refusals import DocumentsRefused, without_second_form
from redismigrate.execution.steps.second_field_steps import SecondFieldSteps
from redismigrate.execution.steps.twin_steps import TwinSteps, are_twins
from redismigrate.planning.plan import Step
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import readable
from redismigrate.state.keys import StateKeys

# Who owns what: until the names move, and from then on.
_Aim = Literal["beside", "serving"]
_NOR_TAKEN = ", or one that the new index takes"


@dataclass(frozen=True)
class _Followed:
    """A mirror that is kept in step, and all that is open for it."""

    mirror: Mirror
    synchroniser: Synchroniser
    follower: Follower
    opened: ExitStack


class SecondFormSteps:
    """Does the steps of a run that make second forms, and follows writers meanwhile.

    Args:
        work: Where.
        allows_lossy: Take second fields back although there is no backup for what is lost with them.
    """

    def __init__(self, work: DocumentWork, *, allows_lossy: bool = False) -> None:
        self._work = work
        self._copies = CopySteps(work)
        self._twins = TwinSteps(work)
        self._second_fields = SecondFieldSteps(work, allows_lossy=allows_lossy)
        self._followed: dict[str, _Followed] = {}
        self._counter = ExpansionCounter(work.nodes.home, StateKeys(work.project))

    def close(self) -> None:
        """Stop following; what can't be closed keeps nothing else open."""
        with ExitStack() as closing:
            closing.callback(self._counter.add)
            closing.callback(self._copies.close)
            closing.callback(self._twins.close)
            for index in self._followed:
                closing.callback(self._stop, index)

    def copy(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Give all documents their second form, and follow from now on; the changes of the run.

        Raises:
            DocumentsRefused: Of more documents than allowed there can't be a second form, the user lacks a
                right for it, or the server does not tell what others write.
        """
        try:
            job = self._work.job(step, run)
            require_rights(job, is_beside=True)
            require_reports(self._work.server, KeyPrefixes.of(job.schema.prefixes).outermost)
        except (AuthenticationFailed, WritesUntold) as error:
            raise DocumentsRefused(error.message, error.hint) from error
        are_marked = step.life.name != "fill_second_fields"
        if are_marked:
            forget_other_runs(self._work.server, StateKeys(self._work.project), run.id)
        done, backups = self._start(step, run, is_first=True).follower.synchronise_all(), run.backups
        if are_twins(step):
            backups = self._twins.end_first_pass(step, run)
            self._turn(str(step.index), self.mirror(step, run))
        self._work.report(done.failures)
        # On the way back they stay where they are: what the application has put in their place is its own.
        if done.failures.count > self._allowed(step, run) and run.failure is None:
            first = "; ".join(f"{readable(d.key)}: {d.reason}" for d in done.failures.listed[:SHOWN_FAILURES])
            count = done.failures.count
            refused = without_second_form(str(step.index), count, f": {first}", done.failures)
            refused.documents = failed(done.failures)
            raise refused
        counts = DocumentCounts(rewritten=self._with_second_form(step, run, done))
        if are_marked:  # else they were counted when they were backed up
            counts = counts.plus(DocumentCounts(read=done.documents)).plus(failed(done.failures))
        return {"documents": run.documents.plus(counts), "backups": backups}

    def _with_second_form(self, step: Step, run: Run, done: Synchronised) -> int:
        """How many documents have the second form by now, those of an attempt that was cut off among them."""
        have = done.documents - done.failures.count - done.only_new - done.only_new_deleted
        made = run.backups.get(str(step.index)) if step.life.name == "fill_second_fields" else None
        if made is not None:
            # Not all documents have a vector.
            kept = self._work.open(made).count("kept")
            have = have if kept is None else min(have, kept)
        return max(done.written, have)

    def promote(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Move the second form of vectors to their declared fields; the changes of the run."""
        self._stop(str(step.index))
        self._second_fields.note_promoted(step, run)
        followed = self._start(step, run)
        done = followed.follower.synchronise_all()
        followed.follower.count_from_now()
        for older in self._work.older_backups(step, run):
            bring_precision_back(
                older,
                self._work.open(run.backups[str(step.index)]),
                self._work.job(step, run),
                run.quantizations[str(step.index)],
                self._work.require_lock,
            )
            followed.follower.follow()
        return {"documents": run.documents.plus(DocumentCounts(rewritten=done.written))}

    def sweep(self, step: Step, run: Run) -> None:
        """Remove what an earlier run has left of the second form that is about to be made."""
        with self._synchroniser(step, run) as synchroniser:
            self._second_fields.sweep(step, synchroniser)

    def remove_second_fields(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Remove second fields that were moved to the declared ones; the changes of the run."""
        index = str(step.index)
        if index in self._followed:
            follower = self._followed[index].follower
            follower.follow()
            self._second_fields.note_written(step, follower.converted)
        return self.take_back(step, run)

    def take_back(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Remove second forms, once what was written to them is in the first ones; the changes of the run.

        Second fields are brought in step by the pass that removes them.
        """
        self._stop(str(step.index))
        with self._synchroniser(step, run) as synchroniser:
            match step.life.name:
                case "take_copies_back":
                    return self._copies.take_back(step, run, synchroniser)
                case "take_twins_back":
                    return self._twins.take_back(step, run, synchroniser)
            counts = self._second_fields.remove(step, run, synchroniser)
        return {"documents": run.documents.plus(counts)}

    def remove_first_forms(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Remove originals or old values; what is written there goes on to the second forms.

        Returns:
            The changes of the run.

        Raises:
            ValidationFailed: The new index lacks documents whose originals were to be removed.
        """
        index = str(step.index)
        if index not in self._followed:
            # The step that has copied them: between the two the names have moved.
            self._start(followed_at(run, index) or step, run, "serving")
        followed = self._followed[index]
        followed.follower.follow()
        # Undoing goes on whatever it meets: what has no copy stays.
        if run.failure is None and step.after is not None and not are_twins(step):
            allowed = self._allowed(step, run) + run.documents.failed_count
            self._copies.require_copies(step, run, allowed, self)
        remove = self._twins.remove_old if are_twins(step) else self._copies.remove_originals
        try:
            return remove(step, run, followed.follower, followed.synchroniser)
        finally:
            self._stop(index)

    def names_moved(self, run: Run) -> None:
        """From now on what is written to copies, or at new paths, stays there: they serve."""
        for index, followed in list(self._followed.items()):
            if isinstance(followed.mirror, Copies | TwinValues) and have_names_moved(run, index):
                self._turn(index, replace(followed.mirror, aim="serving"))

    def _turn(self, index: str, mirror: Mirror) -> None:
        """Follow another mirror of the same documents from now on."""
        followed = self._followed[index]
        followed.follower.turn_to(mirror)
        self._followed[index] = replace(followed, mirror=mirror)

    def follow(self) -> None:
        """Synchronise what was written since the last time; called often while something else goes on."""
        for followed in self._followed.values():
            followed.follower.follow()

    def take_up(self, step: Step, run: Run) -> None:
        """Follow, after a look at all documents where another process did so until now."""
        if self._resumed(step, run) is not None:
            self.follow()

    def catch_up(self) -> None:
        """Synchronise all that was written before this call."""
        for followed in self._followed.values():
            followed.follower.catch_up()

    def count_written(self) -> int:
        """How many documents were written since they were synchronised last, before this call."""
        return sum(followed.follower.count_written() for followed in self._followed.values())

    def settle(self, step: Step, run: Run) -> Guard | None:
        """Come in step before a swap; what the old index looks like then.

        Returns:
            None where nothing is followed, or writers are too busy for it ever to stay so.

        Raises:
            TrackingLost: The server does not report writes for as long as a pass over all documents takes.
        """
        followed = self._resumed(step, run)
        if followed is None or step.before is None:
            return None
        if step.after_record:
            followed.follower.follow()
            return None
        settled = followed.follower.settle(step.before.physical)
        if isinstance(followed.mirror, Copies | TwinValues):
            self._require_few_failures(step, run, followed)
        return None if settled.remaining else settled.guard

    def _allowed(self, step: Step, run: Run) -> int:
        """How many documents may have no second form."""
        # Vectors that can't be converted were counted when they were backed up.
        known = run.documents.failed_count if step.strategy == "shadow_field" and not are_twins(step) else 0
        return max(int(run.arguments.get("max_failures", 0)), known)

    def _require_few_failures(self, step: Step, run: Run, followed: _Followed) -> None:
        """Refuse to swap where documents have no second form by now, or a spoiled one: no index finds them.

        Raises:
            DocumentsRefused: More than allowed have none.
        """
        failing, what, source = followed.synchroniser.failing, "", followed_at(run, str(step.index))
        if source is not None and source.strategy == "shadow_copy" and run.failure is None:
            spoiled = self._copies.left_out(source, run, followed.synchroniser.alone, self)
            failing, what = failing | spoiled, _NOR_TAKEN if spoiled else ""
        if len(failing) > self._allowed(step, run) and run.failure is None:
            first, count = ", ".join(map(readable, sorted(failing)[:3])), len(failing)
            raise without_second_form(str(step.index), count, f"{what}: {first}")

    def require_copies(self, step: Step, run: Run) -> None:
        """Compare documents, copies and the new index, where documents were copied for it.

        Raises:
            ValidationFailed: Documents are missing.
        """
        source = followed_at(run, str(step.index))
        if source is not None and source.strategy == "shadow_copy":
            allowed = self._allowed(source, run) + run.documents.failed_count
            self._copies.require_copies(source, run, allowed, self)

    def _resumed(self, step: Step, run: Run) -> _Followed | None:
        """What is followed for an index; where another process did so until now, after a look at all."""
        index = str(step.index)
        if index not in self._followed:
            source = followed_at(run, index)
            if source is None:
                return None
            followed = self._start(source, run)
            done = followed.follower.synchronise_all()
            if isinstance(followed.mirror, Copies | TwinValues):
                # Written since the process that copied them is gone, so that it could not tell.
                self._work.report(done.failures)
        return self._followed[index]

    def _start(self, step: Step, run: Run, aim: _Aim | None = None, *, is_first: bool = False) -> _Followed:
        index = str(step.index)
        self._stop(index)
        mirror = self.mirror(step, run, aim)
        with ExitStack() as opened:
            if isinstance(mirror, SecondFields):
                opened.callback(mirror.close)
            synchroniser = opened.enter_context(
                self._synchroniser(step, run, lambda documents: self._look(index, documents))
            )
            follower = opened.enter_context(
                Follower(
                    self._work.nodes,
                    mirror,
                    synchroniser,
                    is_first=is_first,
                    on_round=partial(self._count, step, run),
                )
            )
            self._followed[index] = _Followed(mirror, synchroniser, follower, opened.pop_all())
        return self._followed[index]

    def _count(self, step: Step, run: Run, done: Synchronised) -> None:
        """Count what becomes of documents that have both forms: none has once one of these is moved."""
        if step.life.has("makes_new_form"):
            self._counter.count(run, done)
        if are_twins(step):
            self._twins.note_made_again(step, done.made_again)

    def count_traffic(self) -> None:
        """Add to the state what was counted of documents since the last time."""
        self._counter.add()

    def _look(self, index: str, documents: int) -> None:
        """Look whether writers are ahead, after a batch of so many documents."""
        followed = self._followed.get(index)
        if followed is not None:
            followed.follower.note_done(documents)
            self._work.watch(index, followed.follower.backlog)

    def look_at_index(self, step: Step, physical: str) -> None:
        """Look whether writers are ahead of the scan of an index that is waited for.

        Raises:
            WritersAhead: They have been for longer than the run may wait.
        """
        followed, live = self._followed.get(str(step.index)), look_at(self._work.server, physical)
        if followed is None or live is None or self._work.pace is None:
            return
        keys = int(self._work.server.execute("DBSIZE"))
        scanned = int(keys * live.statistics.percent_indexed)
        written = followed.follower.backlog.written
        self._work.pace.look_at_index(str(step.index), keys - scanned, scanned, written)

    def _stop(self, index: str) -> None:
        followed = self._followed.pop(index, None)
        if followed is not None:
            followed.opened.close()

    def mirror(self, step: Step, run: Run, aim: _Aim | None = None) -> Mirror:
        """Where the second forms are that a step makes, and what they should be."""
        moved = have_names_moved(run, str(step.index))
        aim = aim or ("serving" if moved else "beside")
        if are_twins(step):
            return self._twins.mirror(step, run, aim)
        if step.strategy == "shadow_field":
            of_fields: FieldAim = "promoted" if step.life.name == "promote_documents" else "beside"
            return self._second_fields.mirror(step, run, of_fields)
        return self._copies.mirror(step, run, aim)

    @contextmanager
    def following(self, run: Run, index: str) -> Iterator[Follower | None]:
        """Follow what a run that waits to be contracted has built, as long as the block lasts.

        Yields:
            Follows; None where nothing has to be followed.
        """
        step = followed_at(run, index)
        if step is None:
            yield None
            return
        try:
            yield self._start(step, run).follower
        finally:
            self._stop(index)

    def _synchroniser(
        self, step: Step, run: Run, on_batch: Callable[[int], object] | None = None
    ) -> Synchroniser:
        work, job = self._work, self._work.job(step, run)
        marked = (self._twins if are_twins(step) else self._copies).marked

        def on_progress(documents: int) -> None:
            job.on_progress(documents)
            if on_batch is not None:
                on_batch(documents)

        return Synchroniser(
            work.nodes,
            job.connections,
            job.batch_size,
            on_progress,
            work.pace,
            marked.tell,
            marked.tell_alone,
        )
