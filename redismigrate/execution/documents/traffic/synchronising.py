"""Keeps a second form of documents in step with the first: one operation that may be repeated at any time.

`synchronise` reads both forms of some documents, lets a mirror decide what the second form should be, and
writes where it differs. The first pass over all documents, the keys that a tracker saw written, a pass that
looks at everything after a gap and the resumption of a killed process are all this one operation over
different keys.

A batch is optimistic: WATCH its keys and the fence, read, then write in MULTI and EXEC. If a key was written,
deleted or has expired meanwhile, EXEC does nothing and the batch is tried again in halves: so a deletion
between the reading and the writing brings no ghost back. What the server refuses for one document leaves that
as it is, named; the others go on. Several connections take turns, so that one batch is with the server while
another one is computed.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import Any, Self

import hiredis
import redis

from redismigrate.documents.failures import FailedDocument
from redismigrate.execution.documents.traffic.apart import refusals_in, write_apart
from redismigrate.execution.documents.traffic.mirroring import Decision, Mirror, Reader, Synchronised
from redismigrate.execution.documents.traffic.turn import MOST_ATTEMPTS
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import (
    Wire,
    concerns_one_document,
    first_refusal,
    raise_refusal,
    refusal,
    render,
)
from redismigrate.state.fence import Fence

# Of values in a batch, as the last one was; how large the next one is nobody knows before.
BATCH_BYTES = 1 << 20
FIRST_BATCH = 10
# From when a batch is sent to its reply, with the batches of the other connections in between.
BATCH_SECONDS = 0.05
_UNWATCH = render(b"UNWATCH")
_MULTI = render(b"MULTI")
_EXEC = render(b"EXEC")
_KEYSPACE = render(b"INFO", b"keyspace")
_EXPIRING_FIELDS = re.compile(rb"^db0:.*subexpiry=(?!0\b)", re.MULTILINE)


def _tell_nobody(documents: int) -> None:
    """Where nobody wants to know how far a pass is."""


def _tell_nothing(conflict: FailedDocument) -> None:
    """Where nobody wants to know which documents both releases have written."""


class Synchroniser:
    """Owns the connections over which batches are synchronised.

    Args:
        server: The connection that they are copies of.
        fence: Checked in every batch.
        connections: How many batches are under way at a time.
        batch_size: Documents in a batch at most; fewer if they are large.
        on_progress: Told after every batch how many documents it had.
        pace: Admits every batch; None for no limits.
        on_conflict: Told of every document of which both forms were written differently.

    Attributes:
        failing: The documents that had no second form, or could not be written, when last looked at.
    """

    def __init__(
        self,
        server: Server,
        fence: Fence,
        connections: int,
        batch_size: int,
        on_progress: Callable[[int], object] = _tell_nobody,
        pace: Pace | None = None,
        on_conflict: Callable[[FailedDocument], object] = _tell_nothing,
    ) -> None:
        self._server = server
        self._fence = fence
        self._batch_size = batch_size
        self._size = min(FIRST_BATCH, batch_size)
        self._on_progress = on_progress
        self._pace = pace
        self._on_conflict = on_conflict
        self.failing: set[bytes] = set()
        with server.translated_errors():
            self._wires = [Wire(server.client) for _ in range(connections)]
        fence.require_state()

    def __enter__(self) -> Self:
        if self._pace is not None:
            self._pace.begin_writes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for wire in self._wires:
            wire.close()

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
        asked: deque[_Turn] = deque()
        sent: deque[_Turn] = deque()
        idle = deque(self._wires)
        with self._server.translated_errors():
            for batch in self._batches(keys):
                rest = batch
                while rest:
                    # What waits must not keep others waiting: batches under way are finished first.
                    while (asked or sent) and self._pace is not None and self._pace.is_held(len(rest)):
                        self._finish(asked, sent, idle, total)
                    size = len(rest) if self._pace is None else self._pace.admit(len(rest))
                    if not idle:
                        self._finish(asked, sent, idle, total)
                    turn = _Turn(idle.popleft(), mirror, rest[:size], self._fence)
                    rest = rest[size:]
                    turn.ask()
                    asked.append(turn)
                    # The newest one is on its way while the one before it is decided.
                    if len(asked) > 1 or len(self._wires) == 1:
                        sent.append(asked.popleft())
                        sent[-1].write()
            while asked or sent:
                self._finish(asked, sent, idle, total)
        return total

    def _batches(self, portions: Iterable[Sequence[bytes]]) -> Iterator[list[bytes]]:
        """Batches of the size that is right at the moment, none with a key twice."""
        keys = chain.from_iterable(portions)
        while batch := list(islice(keys, self._size)):
            yield list(dict.fromkeys(batch))

    def _finish(
        self, asked: deque[_Turn], sent: deque[_Turn], idle: deque[Wire], total: Synchronised
    ) -> None:
        """Finish the oldest batch."""
        if not sent:
            sent.append(asked.popleft())
            sent[-1].write()
        turn = sent.popleft()
        is_done = turn.is_done()
        seconds = time.monotonic() - turn.sent_at
        if self._pace is not None and turn.has_written:
            self._pace.took(seconds)
        if not is_done:
            turn.repeat()
        idle.append(turn.wire)
        count = len(turn.keys)
        # Quickly fewer, slowly more: documents may be of very different sizes.
        wanted = BATCH_BYTES * count // max(1, turn.size_bytes)
        if turn.has_written and seconds > BATCH_SECONDS:
            # Every write indexes its document once more, which takes a graph long; search waits meanwhile.
            wanted = min(wanted, int(count * BATCH_SECONDS / seconds))
        self._size = max(1, min(wanted, 4 * self._size, self._batch_size))
        total.add(turn.result)
        self.failing.difference_update(turn.keys)
        for failed in turn.failures:
            total.failures.add(failed.key, failed.reason)
        self.failing.update({failed.key for failed in turn.failures} - turn.complete)
        for conflict in turn.conflicts:
            total.conflicts.add(conflict.key, conflict.reason)
            self._on_conflict(conflict)
        self._on_progress(count)


class _Turn:
    """One batch on one connection: asked, written, finished."""

    def __init__(self, wire: Wire, mirror: Mirror, keys: Sequence[bytes], fence: Fence) -> None:
        self.wire = wire
        self.keys = keys
        self.result = Synchronised()
        self.failures: list[FailedDocument] = []
        self.conflicts: list[FailedDocument] = []
        # Those that have their second form although a write of theirs was refused.
        self.complete: set[bytes] = set()
        self.size_bytes = 0
        self.sent_at = 0.0
        self._mirror = mirror
        self._part = keys
        self._fence = fence
        self._replies = 0
        self._decision = Decision()
        # Why nothing of this part was written, where that concerns one document of it.
        self._refusal: Exception | None = None

    @property
    def has_written(self) -> bool:
        """Whether it had anything to write."""
        return self._decision.writes_anything

    def ask(self) -> None:
        """Watch, and ask for what the mirror has to know."""
        commands, self._replies = self._mirror.reads(self._part)
        watch = render(b"WATCH", self._fence.key, *self._mirror.watched(self._part))
        self.wire.send(watch + render(b"GET", self._fence.key) + _KEYSPACE + commands)

    def write(self) -> None:
        """Receive that, decide, and send the writes in one transaction."""
        watched, token, keyspace, *replies = self.wire.receive(3 + self._replies)
        self._refusal = None
        try:
            raise_refusal(watched, token, keyspace)
            self._fence.require(token)
            fields_expire = _EXPIRING_FIELDS.search(keyspace) is not None
            self._decision = self._mirror.decide(self._part, replies, Reader(self.wire, fields_expire))
        except redis.ResponseError as error:
            if not concerns_one_document(error):
                raise
            self._refusal, self._decision = error, Decision()
        decision = self._decision
        self.sent_at = time.monotonic()
        if not decision.writes_anything:
            self.wire.send(_UNWATCH)
            return
        apart = (write_apart(decision.documents),) if decision.documents else ()
        self.wire.send(b"".join([_MULTI, *decision.pieces, *apart, _EXEC]))

    def is_done(self) -> bool:
        """Receive what became of the writes; False: nothing was written, and it is to be tried in parts."""
        decision = self._decision
        if not decision.writes_anything:
            raise_refusal(*self.wire.receive(1))
            if self._refusal is not None:
                return self._is_left(self._refusal)
            self._take()
            return True
        # OK for MULTI, QUEUED for each command, and the results.
        *queued, results = self.wire.receive(decision.commands + bool(decision.documents) + 2)
        refused = first_refusal(queued)
        if refused is not None:  # EXEC has done nothing then
            if not concerns_one_document(refused):
                raise_refusal(refused)
            return self._is_left(refused)
        raise_refusal(results)
        if results is None:
            return False
        answers = results.pop() if decision.documents else ()
        if not self._is_all_written(results):
            return False
        if isinstance(answers, hiredis.ReplyError):  # of the script as a whole, before it began
            if not concerns_one_document(answers):
                raise_refusal(answers)
            return self._is_left(answers)
        self._take()
        self._name_refused(answers)
        return True

    def _name_refused(self, answers: Iterable[object]) -> None:
        """Name the documents whose own writes were refused."""
        decision = self._decision
        for document, text in refusals_in(decision.documents, answers):
            error = hiredis.ReplyError(text.decode("utf-8", "replace"))
            self.failures.append(FailedDocument(document.key, str(refusal(error))))
            self.result.without(document.counters)
            if document.may_fail:
                self.complete.add(document.key)

    def _is_all_written(self, results: list[Any]) -> bool:
        """Name the documents whose commands were refused; False where it can't be told which they are."""
        if first_refusal(results) is None:
            return True
        owners, forget = self._decision.owners, self._decision.forget
        refused = {row: reply for row, reply in enumerate(results) if isinstance(reply, hiredis.ReplyError)}
        if owners is None:
            (reply, *_) = refused.values()
            if not concerns_one_document(reply):
                raise_refusal(reply)
            return self._is_left(reply)
        named = {owners[row]: reply for row, reply in refused.items() if owners[row]}
        if forget is not None and named:
            for _ in named:
                self.result.without(("written",))
            self.wire.send(_MULTI + b"".join(map(forget, named)) + _EXEC)
            self.wire.receive(len(named) + 2)
        for key, reply in named.items():
            if not concerns_one_document(reply):
                raise_refusal(reply)
            self.failures.append(FailedDocument(key, str(refusal(reply))))
        raise_refusal(*(reply for row, reply in refused.items() if not owners[row]))
        return True

    def _is_left(self, error: Exception) -> bool:
        """Name the document that was refused where it is alone."""
        if len(self._part) > 1:
            return False
        self.failures.append(FailedDocument(self._part[0], str(refusal(error))))
        return True

    def _take(self) -> None:
        """Count what was decided."""
        decision = self._decision
        self.result.add(decision.result)
        self.failures += decision.failures
        self.conflicts += decision.conflicts
        self.size_bytes += decision.size_bytes

    def repeat(self) -> None:
        """Try again, in ever smaller batches."""
        attempts = 0
        work = deque([self.keys])
        while work:
            self._part = work.popleft()
            self.ask()
            self.write()
            if self.is_done():
                continue
            attempts += 1
            if len(self._part) > 1:
                half = len(self._part) // 2
                work.extendleft((self._part[half:], self._part[:half]))
            elif attempts < MOST_ATTEMPTS + len(self.keys):
                work.append(self._part)
            else:
                self.result.busy += self._part
