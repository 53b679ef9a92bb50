"""What the steps about copies under another prefix need: their mirror, its proofs, its backup, its checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from redismigrate.documents.failures import Failures
from redismigrate.documents.storage_transform import documents_transform
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.copy_batch import CopyAim, conflict_with
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.traffic.mirroring import Synchronised, keys_of
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.indexes.live import batches_of_keys, count_keys, look_at, not_in_index, types_of
from redismigrate.execution.indexes.validation import ValidationFailed
from redismigrate.execution.run import Run
from redismigrate.execution.steps.answers import Following, difference_in_vectors
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.execution.steps.marked_forms import MarkedForms
from redismigrate.planning.plan import Step
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.strict import readable

_KEYS_PER_LOOK = 500
_LOOKS = 3
SHOWN = 3
# Rounds over what is written under old keys while originals are removed.
MOST_ROUNDS = 20
WRITTEN_LATE = "it was written under its old key when its document had moved; left as it is"


class CopySteps:
    """Makes the mirrors of copies for one process, with what their marks, proofs and backups share.

    Args:
        work: Where.
    """

    def __init__(self, work: DocumentWork) -> None:
        self._work = work
        self.marked = MarkedForms(work)

    def mirror(self, step: Step, run: Run, aim: CopyAim) -> Copies:
        """Where the copies are that a step makes, and what they should become."""
        rewrite, before = step.work.rewrite, step.index_before
        forward = documents_transform(rewrite, {})
        back = documents_transform(rewrite.reversed(), {})
        return Copies(
            before.schema,
            rewrite.storage_after,
            rewrite.prefixes,
            forward,
            self.marked.marks(step, run),
            aim,
            back,
            self.marked.fence,
            self.marked.removals,
            self.marked.replaced_by(step, run).keep,
            is_slow=forward.is_slow or back.is_slow,
            may_round=rewrite.storage is not None or bool(rewrite.recodings),
        )

    def take_back(self, step: Step, run: Run, synchroniser: Synchroniser) -> Mapping[str, Any]:
        """What was written to copies goes to their originals; then the copies go. The changes of the run."""
        mirror = self.mirror(step, run, "copies_removed")
        done = synchroniser.synchronise_until_done(mirror, keys_of(mirror, self._work.nodes))
        self._work.report(done.failures)
        return self._end(step, run, done.failures)

    def remove_originals(
        self, step: Step, run: Run, follower: Follower, synchroniser: Synchroniser
    ) -> Mapping[str, Any]:
        """Remove originals, while what is written under their keys goes on to the copies.

        Args:
            step: Removes them.
            run: The run.
            follower: Is told of such writes since before the first original goes.
            synchroniser: Its own.

        Returns:
            The changes of the run.
        """
        done = Synchronised()
        move_away(follower, self.mirror(step, run, "serving"), done)
        failures = Failures(len(synchroniser.failing), seen=done.failures.seen)
        failures.listed += [each for each in done.failures.listed if each.key in synchroniser.failing]
        if done.made_again:
            self._work.watcher.warned(
                f"{done.made_again:,} documents of {step.index} were missing under their new keys, and "
                "nobody saw them being deleted: they were copied again"
            )
        self._work.report(failures)
        return self._end(step, run, failures, looks_for_late=True)

    def close(self) -> None:
        """Finish the backups of originals that were replaced; where one can't be, the others are."""
        self.marked.close()

    def _end(
        self, step: Step, run: Run, failures: Failures, *, looks_for_late: bool = False
    ) -> Mapping[str, Any]:
        """Forget the marks, and count what has to be told; the changes of the run."""
        conflicts = self._conflicts(step, run)
        self.marked.forget(step, run)
        self.marked.tell_all(conflicts)
        counts = run.documents.plus(failed(failures)).plus(failed(conflicts))
        if looks_for_late:
            late = self._written_late(step, failures)
            self._work.report(late)
            counts = counts.plus(failed(late))
        return {"documents": counts, "backups": self.marked.backups(step, run)}

    def _conflicts(self, step: Step, run: Run) -> Failures:
        """The documents of which both forms were written, by whatever process they were met."""
        conflicts, copies = Failures(), self.mirror(step, run, "serving")
        for key in self.marked.conflicts(step, run):
            # Undone, the run has copied the other way as well, and its backup is one.
            if key.startswith(copies.tracked):
                conflicts.add(key, conflict_with(copies.target(key)))
        return conflicts

    def _written_late(self, step: Step, known: Failures) -> Failures:
        """What stands under old keys in the end, and was not told before."""
        late = Failures(seen=known.seen)
        old = tuple(change.old for change in step.work.rewrite.prefixes)
        schema = step.index_before.schema.with_options(prefixes=old)
        for keys in batches_of_keys(self._work.server, schema, _KEYS_PER_LOOK):
            for key in keys:
                late.add(key, WRITTEN_LATE)
        return late

    def require_copies(self, step: Step, run: Run, allowed: int, following: Following) -> None:
        """Compare the documents of the old index, the copies, and what the new index holds.

        By count; where that falls short, key by key. A sample of keys is looked at in any case.

        Args:
            step: Made the copies.
            run: The run.
            allowed: How many may be out of the new index.
            following: Keeps the copies in step.

        Raises:
            ValidationFailed: More are missing.
        """
        server, before, after = self._work.server, step.index_before, step.index_after
        copies = self.mirror(step, run, "serving")
        old = tuple(change.old for change in step.work.rewrite.prefixes)
        schema = before.schema.with_options(prefixes=old)
        live = look_at(server, before.physical)
        following.catch_up()
        documents = count_keys(server, schema) if live is None else live.statistics.num_docs
        new = look_at(server, after.physical)
        held = 0 if new is None else new.statistics.num_docs
        is_short = held + allowed < documents
        lost: list[bytes] = []
        for keys in batches_of_keys(server, schema, _KEYS_PER_LOOK):
            lost += self._lacking(copies, keys, before if live is not None else None, after, following)
            if not is_short:
                break
        baseline = run.baselines.get(str(step.index))
        unindexed = 0 if baseline is None or live is not None else baseline.unindexed
        if len(lost) > allowed + unindexed:
            shown = ", ".join(map(readable, lost[:SHOWN]))
            raise ValidationFailed(
                f"{len(lost):,} documents of {step.index} are not in {after.physical}, which has {held:,} of "
                f"{documents:,}: {shown}.",
                f"Look at them under their old and their new keys; --max-failures {len(lost)} admits them.",
            )
        if live is not None:
            difference = difference_in_vectors(server, before, after, allowed, following)
            if difference is not None:
                raise ValidationFailed(
                    f"Index {after.physical} lacks vectors that {before.physical} has: {difference}.",
                    "Look at the documents without vectors; --max-failures admits some.",
                )

    def left_out(self, step: Step, run: Run, written: Iterable[bytes], following: Following) -> set[bytes]:
        """Those of some originals whose copies the application has written so that no index takes them.

        Args:
            step: Made the copies.
            run: The run.
            written: The originals that could not get what was written to their copies.
            following: Keeps the copies in step.
        """
        copies, keys = self.mirror(step, run, "serving"), iter(sorted(written))
        found: set[bytes] = set()
        while portion := list(islice(keys, _KEYS_PER_LOOK)):
            found.update(self._lacking(copies, portion, step.index_before, step.index_after, following))
        return found

    def _lacking(
        self,
        copies: Copies,
        keys: Sequence[bytes],
        before: IndexDefinition | None,
        after: IndexDefinition,
        following: Following,
    ) -> list[bytes]:
        """Those of some originals whose copies the new index does not hold, though the old one holds them."""
        server, suspects = self._work.server, list(keys)
        for _ in range(_LOOKS):
            lacking = set(not_in_index(server, after.physical, [copies.target(key) for key in suspects]))
            suspects = [key for key in suspects if copies.target(key) in lacking]
            if not suspects:
                return []
            following.catch_up()
        outside = set() if before is None else set(not_in_index(server, before.physical, suspects))
        there = types_of(server, suspects, b"")
        return [
            key for key, found in zip(suspects, there, strict=True) if found != b"none" and key not in outside
        ]


def move_away(follower: Follower, copies: Copies, total: Synchronised) -> None:
    """Remove originals, while what is written under old keys goes on to their copies.

    Args:
        follower: Is told of such writes since before the first original goes.
        copies: Of the originals.
        total: Is added to.
    """
    follower.stop_telling()
    follower.turn_to(replace(copies, aim="originals_removed"))
    follower.synchronise_all(total)
    for _ in range(MOST_ROUNDS):
        written = total.written, total.removed
        follower.catch_up(total)
        if (total.written, total.removed) == written:
            return
