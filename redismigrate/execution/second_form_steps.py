"""The steps that give documents a second form beside the first, and keep it in step until the names move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha1
from typing import Any

from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.document_steps import DocumentsRefused
from redismigrate.execution.document_work import DocumentWork, failed
from redismigrate.execution.documents.copies import Copies
from redismigrate.execution.documents.following import Follower, Guard
from redismigrate.execution.documents.mirroring import Mirror
from redismigrate.execution.documents.older_originals import bring_precision_back
from redismigrate.execution.documents.rights import require_rights
from redismigrate.execution.documents.second_fields import SecondFields
from redismigrate.execution.documents.second_forms import Aim
from redismigrate.execution.documents.synchronising import Synchroniser
from redismigrate.execution.documents.whole_documents import RewriteDocuments
from redismigrate.execution.live import look_at
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.second_field_steps import SecondFieldSteps
from redismigrate.planning.plan import Step
from redismigrate.schema.strict import readable
from redismigrate.state.keys import StateKeys

FOLLOWED = {"copy_documents", "promote_documents"}
MARK_DIGITS = 12
SHOWN_FAILURES = 3


@dataclass(frozen=True)
class _Followed:
    """A mirror that is kept in step."""

    mirror: Mirror
    synchroniser: Synchroniser
    follower: Follower


class SecondFormSteps:
    """Does the steps of a run that make second forms, and follows writers meanwhile.

    Args:
        work: Where.
        allows_lossy: Take second fields back although there is no backup for what is lost with them.
    """

    def __init__(self, work: DocumentWork, *, allows_lossy: bool = False) -> None:
        self._work = work
        self._second_fields = SecondFieldSteps(work, allows_lossy=allows_lossy)
        self._keys = StateKeys(work.project)
        self._followed: dict[str, _Followed] = {}

    def close(self) -> None:
        """Stop following."""
        for index in tuple(self._followed):
            self._stop(index)

    def copy(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Give all documents their second form, and follow from now on; the changes of the run.

        Raises:
            DocumentsRefused: Of more documents than allowed there can't be a second form, or the user lacks a
                right for it.
        """
        try:
            require_rights(self._work.job(step, run), is_beside=True)
        except AuthenticationFailed as error:
            raise DocumentsRefused(error.message, error.hint) from error
        done = self._start(step, run).follower.synchronise_all()
        self._work.report(done.failures)
        # Vectors that can't be converted were counted when they were backed up.
        known = run.documents.failed_count if step.strategy == "shadow_field" else 0
        allowed = max(int(run.arguments.get("max_failures", 0)), known)
        # On the way back they stay where they are: what the application has put in their place is its own.
        if done.failures.count > allowed and run.failure is None:
            first = "; ".join(f"{readable(d.key)}: {d.reason}" for d in done.failures.listed[:SHOWN_FAILURES])
            refused = DocumentsRefused(
                f"{done.failures.count:,} documents of {step.index} can't have a second form: {first}.",
                f"Correct them, or leave them as they are with --max-failures {done.failures.count}.",
            )
            refused.documents = failed(done.failures)
            raise refused
        counts = DocumentCounts(rewritten=done.written)
        if step.strategy != "shadow_field":  # else they were counted when they were backed up
            counts = counts.plus(DocumentCounts(read=done.documents)).plus(failed(done.failures))
        return {"documents": run.documents.plus(counts)}

    def promote(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Move the second form of vectors to their declared fields; the changes of the run."""
        self._stop(str(step.index))
        followed = self._start(step, run)
        done = followed.follower.synchronise_all()
        followed.follower.count_from_now()
        for location in step.restores_from:
            quantizations = run.quantizations[str(step.index)]
            bring_precision_back(self._work.open(location), self._work.job(step, run), quantizations)
            followed.follower.follow()
        return {"documents": run.documents.plus(DocumentCounts(rewritten=done.written))}

    def sweep(self, step: Step, run: Run) -> None:
        """Remove what an earlier run has left of the second form that is about to be made."""
        if step.strategy == "shadow_field":
            with self._synchroniser(step, run) as synchroniser:
                self._second_fields.sweep(step, synchroniser)

    def remove(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Remove the second fields, the originals of copies, or the copies; the changes of the run."""
        index = str(step.index)
        is_beside = step.strategy == "shadow_field"
        # Second fields that are taken back are brought in step by the pass that removes them.
        if index in self._followed and not (is_beside and step.takes_back):
            follower = self._followed[index].follower
            follower.follow()
            self._second_fields.note_written(step, follower.converted)
        self._stop(index)
        with self._synchroniser(step, run) as synchroniser:
            if is_beside:
                counts = self._second_fields.remove(step, run, synchroniser)
                return {"documents": run.documents.plus(counts)}
            mirror = self._removal(step, run)
            done = synchroniser.synchronise(mirror, mirror.keys(self._work.server))
            while done.busy:
                again, done.busy = done.busy, []
                synchroniser.synchronise(mirror, [again], done)
        self._work.report(done.failures)
        return {"documents": run.documents.plus(failed(done.failures))}

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
        return None if settled.remaining else settled.guard

    def _resumed(self, step: Step, run: Run) -> _Followed | None:
        """What is followed for an index; where another process did so until now, after a look at all."""
        index = str(step.index)
        if index not in self._followed:
            source = followed_at(run, index)
            if source is None:
                return None
            self._start(source, run).follower.synchronise_all()
        return self._followed[index]

    def _start(self, step: Step, run: Run) -> _Followed:
        index = str(step.index)
        self._stop(index)
        mirror = self.mirror(step, run)
        synchroniser = self._synchroniser(step, run, lambda documents: self._look(index, documents))
        synchroniser.__enter__()
        followed = _Followed(mirror, synchroniser, Follower(self._work.server, mirror, synchroniser))
        self._followed[index] = followed
        return followed

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
            followed.follower.__exit__(None, None, None)
            followed.synchroniser.__exit__(None, None, None)
            if isinstance(followed.mirror, SecondFields):
                followed.mirror.close()

    def mirror(self, step: Step, run: Run) -> Mirror:
        """Where the second forms are that a step makes, and what they should be."""
        if step.strategy == "shadow_field":
            aim: Aim = "promoted" if step.kind == "promote_documents" else "beside"
            return self._second_fields.mirror(step, run, aim)
        return self._copies(step, run)

    def _removal(self, step: Step, run: Run) -> Mirror:
        copies = self._copies(step, run)
        return replace(copies, aim="copies_removed" if step.takes_back else "originals_removed")

    def _copies(self, step: Step, run: Run) -> Copies:
        rewrite, before = step.rewrite, step.before
        if rewrite is None or before is None:
            raise ValueError(f"a step {step.kind} needs a rewrite and the index before")
        # There and back are two sets of copies, whose marks must not be taken for each other's.
        way = f"{run.plan.revision}:{step.index}:{rewrite}".encode("utf-8", "surrogateescape")
        mark = self._keys.mark(sha1(way, usedforsecurity=False).hexdigest()[:MARK_DIGITS])
        transform = RewriteDocuments.of(rewrite, {})
        return Copies(before.schema, before.schema.storage_type, rewrite.prefixes, transform, mark.encode())

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

        def on_progress(documents: int) -> None:
            job.on_progress(documents)
            if on_batch is not None:
                on_batch(documents)

        return Synchroniser(work.server, work.fence, job.connections, job.batch_size, on_progress, work.pace)


def followed_indexes(run: Run) -> tuple[str, ...]:
    """The served names whose documents have a second form; an index over the same ones needs none."""
    names = dict.fromkeys(str(step.index) for step in run.plan.steps if step.index is not None)
    return tuple(name for name in names if followed_at(run, name) is not None)


def followed_at(run: Run, index: str) -> Step | None:
    """The step that made what has to be followed for an index where a run is now; None where nothing has."""
    for step in reversed(run.steps[: run.position]):
        if step.index == index and step.kind == "remove_documents":
            return None
        if step.index == index and step.kind in FOLLOWED:
            return step
    return None
