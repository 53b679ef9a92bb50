"""Keeps a second form of documents in step with the first: one operation that may be repeated at any time.

`synchronise` reads both forms of some documents, lets a mirror decide what the second form should be, and
writes where it differs. The first pass over all documents, the keys that a tracker saw written, a pass that
looks at everything after a gap and the resumption of a killed process are all this one operation over
different keys.

A user of the optimistic writer: a deletion between the reading and the writing brings no ghost back. What
the server refuses for one document leaves that as it is, named; the others go on. Batches are as large as the
last one says that they may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import hiredis

from redismigrate.documents.failures import FailedDocument
from redismigrate.execution.documents.traffic.apart import refusals_in, write_apart
from redismigrate.execution.documents.traffic.decisions import Asks, Reader, Work, Written
from redismigrate.execution.documents.traffic.mirroring import Decision, Mirror, Synchronised
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.documents.traffic.optimistic import OptimisticWriter
from redismigrate.execution.documents.traffic.turn import Turn
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.wire import refusal

# Of values in a batch, as the last one was; how large the next one is nobody knows before.
_BATCH_BYTES = 1 << 20
FIRST_BATCH = 10
# From when a batch is sent to its reply, with the batches of the other connections in between.
BATCH_SECONDS = 0.05


def _tell_nobody(documents: int) -> None:
    """Where nobody wants to know how far a pass is."""


def _tell_nothing(document: FailedDocument) -> None:
    """Where nobody wants to know which documents were written in both forms, or stay in the new one alone."""


class Synchroniser(OptimisticWriter):
    """Owns the connections over which batches are synchronised.

    Args:
        nodes: Where the documents are; the fence of a batch's node is checked in every attempt at it.
        connections: How many batches are under way at a time on a node.
        batch_size: Documents in a batch at most; fewer if they are large.
        on_progress: Told after every batch how many documents it had.
        pace: Admits every batch; None for no limits.
        on_conflict: Told of every document of which both forms were written differently.
        on_alone: Told of every document whose first form can't get what was written in the new one.

    Attributes:
        failing: The documents that had no second form, or could not be written, when last looked at.
        alone: Those whose first form could not get what was written in the new one, likewise.
    """

    def __init__(
        self,
        nodes: Nodes,
        connections: int,
        batch_size: int,
        on_progress: Callable[[int], object] = _tell_nobody,
        pace: Pace | None = None,
        on_conflict: Callable[[FailedDocument], object] = _tell_nothing,
        on_alone: Callable[[FailedDocument], object] = _tell_nothing,
    ) -> None:
        super().__init__(nodes, connections, pace)
        self._batch_size = batch_size
        self._size = min(FIRST_BATCH, batch_size)
        self._on_progress = on_progress
        self._on_conflict = on_conflict
        self._on_alone = on_alone
        self.failing: set[bytes] = set()
        self.alone: set[bytes] = set()

    def synchronise(
        self, mirror: Mirror, keys: Iterable[Sequence[bytes]], total: Synchronised | None = None
    ) -> Synchronised:
        """Bring the second forms of documents in step with the first ones.

        Args:
            mirror: Tells how.
            keys: Of the documents as they are called in the first form, in portions of any size. They may
                repeat, be gone, or be no documents.
            total: Is added to and returned; a failure of the same document counts once.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        total = total or Synchronised()
        for turn in self.write(SynchronisingWork(mirror, batch) for batch in self._batches(keys)):
            self._take(turn, total)
        return total

    def synchronise_until_done(
        self, mirror: Mirror, keys: Iterable[Sequence[bytes]], total: Synchronised | None = None
    ) -> Synchronised:
        """As `synchronise`, and once more what others kept from it by writing, until nothing is left of that.

        Args:
            mirror: Tells how.
            keys: As for `synchronise`.
            total: Is added to and returned.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        total = self.synchronise(mirror, keys, total)
        while total.busy:
            busy, total.busy = total.busy, []
            self.synchronise(mirror, [busy], total)
        return total

    def _batches(self, portions: Iterable[Sequence[bytes]]) -> Iterator[Sequence[bytes]]:
        """Batches of the size that is right at the moment, none with a key twice, each of one node."""
        keys = chain.from_iterable(portions)
        while batch := list(islice(keys, self._size)):
            yield from self._nodes.split(list(dict.fromkeys(batch)))

    def _take(self, turn: Turn[Decision, Synchronisation], total: Synchronised) -> None:
        """Note what became of a batch, and how large the next one may be."""
        outcome, count = turn.outcome, len(turn.work.keys)
        # Quickly fewer, slowly more: documents may be of very different sizes.
        wanted = _BATCH_BYTES * count // max(1, outcome.size_bytes)
        if turn.seconds > BATCH_SECONDS:
            # Every write indexes its document once more, which takes a graph long; search waits meanwhile.
            wanted = min(wanted, int(count * BATCH_SECONDS / turn.seconds))
        self._size = max(1, min(wanted, 4 * self._size, self._batch_size))
        total.add(outcome.result)
        self.failing.difference_update(turn.work.keys)
        for failed in outcome.failures:
            total.failures.add(failed.key, failed.reason)
        self.failing.update({failed.key for failed in outcome.failures} - outcome.complete)
        for conflict in outcome.conflicts:
            total.conflicts.add(conflict.key, conflict.reason)
            self._on_conflict(conflict)
        self.alone.difference_update(turn.work.keys)
        for document in outcome.alone:
            self.alone.add(document.key)
            self._on_alone(document)
        self._on_progress(count)


@dataclass(slots=True)
class Synchronisation:
    """What became of a batch of documents.

    Attributes:
        result: The counts.
        failures: Documents that have no second form, or could not be written.
        conflicts: Documents of which both forms were written differently.
        alone: Documents whose first form can't get what was written in the new one.
        complete: Those that have their second form although a write of theirs was refused.
        size_bytes: Of the values that were read, about.
    """

    result: Synchronised = field(default_factory=Synchronised)
    failures: list[FailedDocument] = field(default_factory=list)
    conflicts: list[FailedDocument] = field(default_factory=list)
    alone: list[FailedDocument] = field(default_factory=list)
    complete: set[bytes] = field(default_factory=set)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SynchronisingWork(Work[Decision, Synchronisation]):
    """A batch of documents, as the optimistic writer brings them in step.

    Attributes:
        mirror: Decides.
        batch: The keys of the documents, as they are called in the first form.
    """

    mirror: Mirror
    batch: Sequence[bytes]

    @property
    def keys(self) -> Sequence[bytes]:
        """The keys of the batch, one for each document."""
        return self.batch

    @property
    def is_slow(self) -> bool:
        """Whether the mirror takes long to make second forms, and so does it before keys are watched."""
        return self.mirror.is_slow

    def part(self, start: int, stop: int) -> SynchronisingWork:
        """The same work for some of its documents, from one row up to another."""
        return SynchronisingWork(self.mirror, self.batch[start:stop])

    def new_outcome(self) -> Synchronisation:
        """The outcome before anything was written: no document was looked at."""
        return Synchronisation()

    def asks(self) -> Asks:
        """What the mirror has to know."""
        return Asks(self.mirror.watched(self.batch), *self.mirror.reads(self.batch))

    def prepare(self, replies: list[Any], reader: Reader) -> None:
        """Let the mirror make what takes long, before keys are watched."""
        self.mirror.prepare(self.batch, replies, reader)

    def decide(self, replies: list[Any], reader: Reader) -> Decision:
        """As the mirror says; what belongs together is written by one script."""
        decision = self.mirror.decide(self.batch, replies, reader)
        if decision.documents:
            decision.last = write_apart(decision.documents)
        return decision

    def undo_refused(self, writes: Decision, refused: Mapping[bytes, hiredis.ReplyError]) -> Sequence[bytes]:
        """Forget what was remembered of documents that could not be written."""
        return () if writes.forget is None else list(map(writes.forget, refused))

    def take(self, writes: Decision, written: Written, outcome: Synchronisation) -> None:
        """Count what was decided, and name the documents whose own writes were refused."""
        outcome.result.add(writes.result)
        outcome.failures += writes.failures
        outcome.conflicts += writes.conflicts
        outcome.alone += writes.alone
        outcome.size_bytes += writes.size_bytes
        for key, reason in written.refused.items():
            outcome.failures.append(FailedDocument(key, reason))
            outcome.result.without(writes.counters)
        for document, text in refusals_in(writes.documents, written.answers):
            error = hiredis.ReplyError(text.decode("utf-8", "replace"))
            outcome.failures.append(FailedDocument(document.key, str(refusal(error))))
            outcome.result.without(document.counters)
            if document.may_fail:
                outcome.complete.add(document.key)

    def refuse(self, key: bytes, reason: str, outcome: Synchronisation) -> None:
        """Note a document whose writes were refused, and why."""
        outcome.failures.append(FailedDocument(key, reason))

    def give_up(self, outcome: Synchronisation) -> None:
        """They have to be synchronised once more."""
        outcome.result.busy += self.batch
