"""Follows the application's writes, so that a mirror is in step at the moment when it has to be.

The protocol: track writes, give all documents their second form, then drain what was written and synchronise
that, again and again. Before a cutover look at the old index, write a sentinel and await its invalidation: if
nothing else was written by then, and the index still looks the same when a script cuts over, nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from redismigrate.errors import ServerError
from redismigrate.execution.documents.traffic.mirroring import Mirror, Synchronised, keys_of
from redismigrate.execution.documents.traffic.node import Nodes, Trackers
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.indexes.live import look_at
from redismigrate.execution.indexes.waiting import IndexVanished
from redismigrate.execution.pace.busy_writers import Backlog
from redismigrate.redis_server.connection import Server

# During a pass over all documents keys are drained once so many wait.
DRAINED_DURING_PASS = 300_000
_PASSES = 5
_ROUNDS = 20
BARRIER_SECONDS = 30.0
_LONGEST_SETTLING_SECONDS = 30.0


class TrackingLost(ServerError):
    """The server reports writes for no longer than a pass over all documents takes."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(
            f"The application's writes could not be followed: {reason or 'the connection was lost'}.",
            "Look at the connection and at the server's load, then run the same command again.",
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """What an index looked like; both numbers alike later mean that no document was written or deleted.

    A time to live that was given to a document or a field changes neither.

    Attributes:
        max_doc_id: Grows with every write of a document.
        num_docs: Falls with every deletion.
    """

    max_doc_id: int
    num_docs: int


@dataclass(frozen=True, slots=True)
class Settled:
    """How near to each other both forms have come.

    Attributes:
        guard: The index just before the last barrier.
        remaining: What was written before that barrier and is not synchronised yet.
        result: What was synchronised meanwhile.
    """

    guard: Guard
    remaining: frozenset[bytes] = frozenset()
    result: Synchronised = field(default_factory=Synchronised)


def read_guard(server: Server, physical: str) -> Guard:
    """What an index looks like now.

    Raises:
        IndexVanished: There is none of that name.
    """
    index = look_at(server, physical)
    if index is None:
        raise IndexVanished(physical)
    return Guard(index.statistics.max_doc_id, index.statistics.num_docs)


def _tell_nobody(done: Synchronised) -> None:
    """Where nobody counts what becomes of documents."""


class Follower:
    """Owns the trackers of a mirror, and knows what is still to be synchronised.

    Writes are tracked from the beginning on; what was written before is unknown, so that the first thing to
    do is a pass over all documents.

    Args:
        nodes: Where the documents are.
        mirror: Where second forms live. Of those that it aims at only "beside" needs to be followed.
        synchroniser: Does the work; it is closed by who made it.
        is_first: No second form was made before.
        on_round: Told what became of documents in every pass and round but the first pass.

    Attributes:
        converted: Documents whose first form was replaced since `count_from_now`, or from the beginning.
    """

    def __init__(
        self,
        nodes: Nodes,
        mirror: Mirror,
        synchroniser: Synchroniser,
        *,
        is_first: bool = False,
        on_round: Callable[[Synchronised], object] = _tell_nobody,
    ) -> None:
        self._nodes = nodes
        self._mirror = mirror
        self._synchroniser = synchroniser
        self._pending: set[bytes] = set()
        self._is_behind = True
        self._tracker = Trackers(nodes, mirror.tracked)
        # Our own writes of second forms are reported, too: during a first pass all of them.
        self._is_first = is_first
        self._on_round = on_round
        self._second_tracker: Trackers | None = None
        # Of the pass or the round that goes on: how many keys it has done, and what became of them so far.
        self._done = 0
        self._result = Synchronised()
        self._written_before = self._reported_before = 0
        self.converted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as closing:
            closing.callback(self._stop_tracking_second)
            closing.callback(self._tracker.close)

    @property
    def is_behind(self) -> bool:
        """Whether writes may have been missed, so that the next step is a pass over all documents."""
        is_lost = self._second_tracker is not None and self._second_tracker.is_lost
        return self._is_behind or is_lost or self._tracker.is_lost

    @property
    def waiting(self) -> int:
        """How many keys wait to be synchronised whose first form was written, if `is_behind` is false."""
        return len(self._pending) + self._tracker.waiting

    @property
    def has_to_follow(self) -> bool:
        """Whether there is anything to synchronise, as far as the server has told."""
        second = self._second_tracker is not None and self._second_tracker.waiting > 0
        return self.is_behind or second or self.waiting > 0

    @property
    def backlog(self) -> Backlog:
        """How far behind it is at this moment."""
        written = self._written_before + self._result.own_writes
        reported = self._reported_before + self._tracker.reported
        left = max(0, len(self._pending) - self._done)
        return Backlog(left + self._tracker.waiting, max(0, reported - written), written, self.is_behind)

    def turn_to(self, mirror: Mirror) -> None:
        """Follow another mirror of the same documents from now on, as where the names have moved.

        Args:
            mirror: Tracks the same first forms.
        """
        self._mirror = mirror
        if not mirror.tracked_second:
            self._stop_tracking_second()

    def stop_telling(self) -> None:
        """Tell no more what becomes of documents: what is done to them now is no traffic."""
        self._on_round = _tell_nobody

    def note_done(self, documents: int) -> None:
        """So many keys of the pass, or of the round, are done; told while it goes on."""
        self._done += documents

    def count_from_now(self) -> None:
        """Begin to count what is converted."""
        self.converted = 0

    def synchronise_all(self, total: Synchronised | None = None) -> Synchronised:
        """Pass over all documents, and over what is written meanwhile.

        The first pass, the one of a resumed run, and the verification after a lost connection. A pass during
        which the tracker is lost is made again.

        Args:
            total: Is added to and returned.

        Raises:
            FenceLost: Another process has taken over the lock.
            TrackingLost: The tracker was lost during several passes in a row.
            RedisMigrateError: The server can't be reached or used.
        """
        total = total or Synchronised()
        for _ in range(_PASSES):
            self._is_behind = True
            if self._tracker.is_lost:
                self._reported_before += self._tracker.reported
                self._tracker.close()
                self._tracker = Trackers(self._nodes, self._mirror.tracked)
            self._stop_tracking_second()
            if not self._is_first:
                self._track_second()
            self._synchronise(self._all_keys(), total)
            if self._is_first:
                self._track_second()
            if not self._tracker.is_lost:
                self._is_behind = self._is_first = False
                return total
        raise TrackingLost(self._tracker.lost_because)

    def follow(self, total: Synchronised | None = None) -> Synchronised:
        """Synchronise what was written since the last call: all documents if that is not known.

        Args:
            total: Is added to and returned.

        Raises:
            FenceLost: Another process has taken over the lock.
            RedisMigrateError: The server can't be reached or used.
        """
        self._drain()
        if self.is_behind:
            return self.synchronise_all(total)
        written = set(self._mirror.report_second(self._drained_second(), self._pending))
        return self._synchronise([tuple(self._pending | written)], total)

    def catch_up(self, total: Synchronised | None = None) -> None:
        """Synchronise all that was written before this call.

        Args:
            total: Is added to.

        Raises:
            FenceLost: Another process has taken over the lock.
            RedisMigrateError: The server can't be reached or used.
        """
        self._tracker.barrier(BARRIER_SECONDS)
        self.follow(total)

    def count_written(self) -> int:
        """How many keys were written since they were synchronised last, before this call.

        Raises:
            RedisMigrateError: The server can't be reached or used.
        """
        self._tracker.barrier(BARRIER_SECONDS)
        self._drain()
        return len(self._pending)

    def settle(self, physical: str, *, rounds: int = _ROUNDS) -> Settled:
        """Follow until everything that was written before a barrier is synchronised, or nearly so.

        A busy writer never leaves nothing: then all that is left is little, and waits for the next `follow`.

        Args:
            physical: The old index, which is to be cut over from.
            rounds: How often to try at most, for half a minute. A pass over all documents is always finished.

        Returns:
            With no key remaining the cutover may take place as long as the index looks like the guard.

        Raises:
            FenceLost: Another process has taken over the lock.
            IndexVanished: The old index is gone.
            TrackingLost: The tracker was lost again and again.
            RedisMigrateError: The server can't be reached or used.
        """
        deadline = time.monotonic() + _LONGEST_SETTLING_SECONDS
        result = Synchronised()
        for attempt in range(1, rounds + 1):
            self.follow(result)
            guard = read_guard(self._nodes.home.server, physical)
            is_passed = self._tracker.barrier(BARRIER_SECONDS)
            self._drain()
            is_last = attempt == rounds or time.monotonic() > deadline
            if is_passed and not self.is_behind and (is_last or not self._pending):
                return Settled(guard, frozenset(self._pending), result)
        raise TrackingLost(self._tracker.lost_because)

    def _synchronise(self, keys: Iterable[Sequence[bytes]], total: Synchronised | None) -> Synchronised:
        total = total or Synchronised()
        done = Synchronised()
        self._done, self._result = 0, done
        self._synchroniser.synchronise(self._mirror, keys, done)
        self._pending, done.busy = set(done.busy), []
        self._done, self._result = 0, Synchronised()
        self._written_before += done.own_writes
        self.converted += done.converted
        if not self._is_first:
            self._on_round(done)
        total.add(done)
        total.failures.add_all(done.failures)
        total.conflicts.add_all(done.conflicts)
        return total

    def _drain(self) -> None:
        self._pending |= {key for key in self._tracker.drain() if self._mirror.covers(key)}

    def _drained_second(self) -> set[bytes]:
        return set() if self._second_tracker is None else self._second_tracker.drain()

    def _track_second(self) -> None:
        if self._mirror.tracked_second:
            self._second_tracker = Trackers(self._nodes, self._mirror.tracked_second)

    def _stop_tracking_second(self) -> None:
        tracker, self._second_tracker = self._second_tracker, None
        if tracker is not None:
            tracker.close()

    def _all_keys(self) -> Iterator[Sequence[bytes]]:
        """All documents, with those that are written meanwhile."""
        for keys in keys_of(self._mirror, self._nodes):
            yield keys
            if self._tracker.waiting > DRAINED_DURING_PASS:
                yield [key for key in self._tracker.drain() if self._mirror.covers(key)]
