"""Replaces values in hashes where they are what they are expected to be, many batches at a time.

A batch is optimistic: WATCH its keys and the fence, read, then write in MULTI and EXEC. If one of the keys
was written, deleted or has expired meanwhile, EXEC does nothing and the batch is tried again in halves. That
costs the server less than comparing the values in Lua.

Several connections take turns, so that one batch is with the server while another one is computed.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from redismigrate.execution.documents.columns import Column, FixedWidth
from redismigrate.execution.documents.fence import Fence
from redismigrate.execution.documents.moving import KEYS_PER_SCRIPT
from redismigrate.execution.documents.wire import (
    Wire,
    raise_refusal,
    render,
    render_for_keys,
    render_hsets,
)
from redismigrate.execution.pace import Pace
from redismigrate.redis_server.connection import Server
from redismigrate.schema.strict import encode

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# In a transaction that reads or writes values. WATCH compares a key with all that its client watches already,
# and commands that were queued long ago have left the processor's caches when EXEC comes to them.
MOST_KEYS = 200
# A single key that is written faster than it can be read is given up after so many attempts.
MOST_ATTEMPTS = 30
# What HPEXPIRETIME answers for one.
NO_SUCH_FIELD = -2
_UNWATCH = render(b"UNWATCH")
_MULTI = render(b"MULTI")
_EXEC = render(b"EXEC")
_KEYSPACE = render(b"INFO", b"keyspace")
_EXPIRING_FIELDS = re.compile(rb"^db0:.*subexpiry=(?!0\b)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What to write into a batch of hashes, and what has to be there for it.

    Attributes:
        keys: One per document.
        expected: Field -> the values that may be replaced; None for documents without one.
        new: Field -> what replaces them; None leaves a document's field alone.
    """

    keys: list[bytes]
    expected: dict[bytes, Column]
    new: dict[bytes, Column]

    @classmethod
    def of(cls, keys: list[bytes], expected: Mapping[str, Column], new: Mapping[str, Column]) -> Exchange:
        """An exchange of the values of fields that are called as in a schema."""
        return cls(
            keys,
            {encode(name): column for name, column in expected.items()},
            {encode(name): column for name, column in new.items()},
        )

    def part(self, start: int, stop: int) -> Exchange:
        """Some of the documents."""
        return Exchange(
            self.keys[start:stop],
            {name: column[start:stop] for name, column in self.expected.items()},
            {name: column[start:stop] for name, column in self.new.items()},
        )

    def parts(self, size: int) -> Iterator[Exchange]:
        """All of the documents, so many at a time."""
        for start in range(0, len(self.keys), size):
            yield self.part(start, start + size)


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    Attributes:
        documents: In the batch.
        done_keys: Those that hold all their new values, from now on or already.
        changed: The keys of those that hold a value which is neither the expected nor the new one, or that
            were written again and again.
        after: What the command that follows the writes answered, key by key.
    """

    documents: int
    done_keys: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    after: dict[bytes, object] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """How many hold all their new values."""
        return len(self.done_keys)


@dataclass(frozen=True, slots=True)
class Mode:
    """How batches are written.

    Attributes:
        compares: Read and compare values first. Without it documents must be sure not to have changed or
            expired.
        after: The command that follows the writes of a batch, in the same transaction; its reply is a list
            with an item for each of the keys it is given. It has to look for itself what it meets.
    """

    compares: bool = True
    after: Callable[[Sequence[bytes]], bytes] | None = None


class Exchanger:
    """Owns the connections over which batches are exchanged.

    Args:
        server: The connection that they are copies of.
        fence: Checked in every batch.
        connections: How many batches are under way at a time.
        pace: Admits every batch; None for no limits.
    """

    def __init__(self, server: Server, fence: Fence, connections: int, pace: Pace | None = None) -> None:
        self._server = server
        self._fence = fence
        self._pace = pace
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

    def run(self, exchanges: Iterable[Exchange], mode: Mode) -> Iterator[Outcome]:
        """Carry out exchanges, in order.

        Yields:
            The outcome of every exchange, some exchanges later. One of many documents is done in parts, and
            has as many outcomes.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        asked: deque[_Turn] = deque()
        written: deque[_Turn] = deque()
        idle = deque(self._wires)
        with self._server.translated_errors():
            for exchange in exchanges:
                rest: Exchange | None = exchange
                while rest is not None:
                    # What waits must not keep others waiting: batches under way are finished first.
                    most = _most_keys(rest)
                    while (asked or written) and self._is_held(most):
                        yield self._finish(asked, written, idle)
                    part, rest = self._admitted(rest, most)
                    if not idle:
                        yield self._finish(asked, written, idle)
                    turn = _Turn(idle.popleft(), part, mode, self._fence)
                    turn.ask()
                    asked.append(turn)
                    # The newest one is on its way while the one before it is decided.
                    if len(asked) > 1 or len(self._wires) == 1:
                        written.append(asked.popleft())
                        written[-1].write()
            while asked or written:
                yield self._finish(asked, written, idle)

    def _is_held(self, keys: int) -> bool:
        return self._pace is not None and self._pace.is_held(keys)

    def _admitted(self, exchange: Exchange, most: int) -> tuple[Exchange, Exchange | None]:
        """What of an exchange may be begun now, of at most so many documents, and the rest."""
        size, count = most, len(exchange.keys)
        if self._pace is not None:
            size = self._pace.admit(size)
        if size >= count:
            return exchange, None
        return exchange.part(0, size), exchange.part(size, count)

    def _finish(self, asked: deque[_Turn], written: deque[_Turn], idle: deque[Wire]) -> Outcome:
        """Finish the oldest batch."""
        if not written:
            written.append(asked.popleft())
            written[-1].write()
        turn = written.popleft()
        is_written = turn.is_written()
        if self._pace is not None and turn.has_written:
            self._pace.took(time.monotonic() - turn.sent_at)
        if not is_written:
            turn.repeat()
        idle.append(turn.wire)
        return turn.outcome


class _Turn:
    """One batch on one connection: asked, written, finished."""

    def __init__(self, wire: Wire, exchange: Exchange, mode: Mode, fence: Fence) -> None:
        self.wire = wire
        self.outcome = Outcome(len(exchange.keys))
        self.sent_at = 0.0
        self._exchange = exchange
        self._mode = mode
        self._fence = fence
        self._fields = tuple(exchange.new)
        self._reads_values = bool(mode.compares and self._fields)
        self._commands = 0
        self._done: list[bytes] = []
        self._changed: list[bytes] = []

    @property
    def has_written(self) -> bool:
        """Whether it had anything to write."""
        return self._commands > 0

    def ask(self) -> None:
        """Watch, and ask for the values."""
        keys = self._exchange.keys
        watched = keys if self._reads_values else []
        commands = render(b"WATCH", self._fence.key, *watched) + render(b"GET", self._fence.key)
        if self._reads_values:
            commands += _KEYSPACE + render_for_keys(b"HMGET", keys, self._fields)
        self.wire.send(commands)

    def write(self) -> None:
        """Receive the values, decide, and send the writes in one transaction."""
        watched, token = self.wire.receive(2, precedes_column=self._reads_values)
        raise_refusal(watched, token)
        self._fence.require(token)
        pieces: list[ReadableBuffer] = []
        self._commands = 0
        self._done, self._changed = [], []
        if self._reads_values:
            self._compare(pieces)
        else:
            self._take_all(pieces)
        if self._mode.after is not None:
            pieces.append(self._mode.after(self._exchange.keys))
            self._commands += 1
        self.sent_at = time.monotonic()
        if not pieces:
            self.wire.send(_UNWATCH)
            return
        self.wire.send(b"".join([_MULTI, *pieces, _EXEC]))

    def _take_all(self, pieces: list[ReadableBuffer]) -> None:
        """Write every new value without a look."""
        if not self._fields:
            return
        exchange = self._exchange
        self._done = exchange.keys
        if len(self._fields) == 1 and isinstance(column := exchange.new[self._fields[0]], FixedWidth):
            pieces.extend(render_hsets(exchange.keys, self._fields[0], column))
            self._commands += len(exchange.keys)
            return
        for row, key in enumerate(exchange.keys):
            values = [
                (name, value) for name in self._fields if (value := exchange.new[name][row]) is not None
            ]
            if values:
                _hset(pieces, key, values)
                self._commands += 1

    def _compare(self, pieces: list[ReadableBuffer]) -> None:
        """Write the new values of those that are as expected."""
        keys = self._exchange.keys
        (keyspace,) = self.wire.receive(1, precedes_column=True)
        raise_refusal(keyspace)
        has_expiring = _has_expiring(keyspace)
        current = (
            self.wire.receive_column(len(keys)) if len(self._fields) == 1 else self.wire.receive(len(keys))
        )
        if not has_expiring and isinstance(current, FixedWidth) and self._are_all_expected(current):
            self._take_all(pieces)
            return
        rows = [[value] for value in current] if isinstance(current, FixedWidth) else current
        # HSET clears the time to live of a field: where the database has any it is read, and set again.
        self._compare_rows(pieces, rows, self._read_expiries() if has_expiring else None)

    def _are_all_expected(self, current: FixedWidth) -> bool:
        """Whether every key has its expected value of one field, and gets a new one: so it is as a rule."""
        (name,) = self._fields
        expected, new = self._exchange.expected[name], self._exchange.new[name]
        return isinstance(expected, FixedWidth) and isinstance(new, FixedWidth) and current == expected

    def _compare_rows(  # noqa: C901 - the inner loop, kept flat
        self, pieces: list[ReadableBuffer], rows: list[Any], expiries: list[object] | None
    ) -> None:
        """Look at document by document: rows of the values of the fields, and when these expire."""
        keys, fields = self._exchange.keys, self._fields
        columns = [(name, self._exchange.expected[name], self._exchange.new[name]) for name in fields]
        for row, (key, current) in enumerate(zip(keys, rows, strict=True)):
            if not isinstance(current, list):
                continue  # it has become another type of key
            values: list[tuple[bytes, bytes]] = []
            moments = None if expiries is None else self._moments(expiries[row])
            as_wanted = 0
            differ = 0
            for (name, expected, new), value in zip(columns, current, strict=True):
                wanted = new[row]
                if wanted is None or value is None or (moments and moments[name] == NO_SUCH_FIELD):
                    continue
                if value == wanted:
                    as_wanted += 1
                elif value == expected[row]:
                    values.append((name, wanted))
                else:
                    differ += 1
            if differ:
                self._changed.append(key)
            elif values or as_wanted:
                self._done.append(key)
            if values:
                _hset(pieces, key, values)
                self._commands += 1
                if moments:
                    self._keep_expiry(pieces, key, values, moments)

    def _read_expiries(self) -> list[object]:
        """When the fields expire; the keys are watched, so a field that gets an expiry now ends the batch.

        One that expires does not, until the server gets to removing it: where it is gone by now it must not
        be written, and where it goes later the expiry that is set again removes it at once.
        """
        fields = (b"FIELDS", b"%d" % len(self._fields), *self._fields)
        self.wire.send(render_for_keys(b"HPEXPIRETIME", self._exchange.keys, fields))
        return self.wire.receive(len(self._exchange.keys))

    def _moments(self, expiry: object) -> dict[bytes, int]:
        """When each field expires; empty for what is no hash any more."""
        return dict(zip(self._fields, expiry, strict=True)) if isinstance(expiry, list) else {}

    def _keep_expiry(
        self,
        pieces: list[ReadableBuffer],
        key: bytes,
        values: list[tuple[bytes, bytes]],
        moments: dict[bytes, int],
    ) -> None:
        for name, _ in values:
            if moments[name] > 0:
                pieces.append(render(b"HPEXPIREAT", key, b"%d" % moments[name], b"FIELDS", b"1", name))
                self._commands += 1

    def is_written(self) -> bool:
        """Receive what became of the writes; False when one of the keys was written meanwhile."""
        if not self._commands:
            raise_refusal(*self.wire.receive(1))
        elif self._mode.after is not None or not self.wire.receive_exactly(_all_replaced(self._commands)):
            # OK for MULTI, QUEUED for each command, and the results.
            *queued, results = self.wire.receive(self._commands + 2)
            raise_refusal(*queued, results)
            if results is None:
                return False
            raise_refusal(*results)
            if self._mode.after is not None:
                self.outcome.after.update(zip(self._exchange.keys, results[-1], strict=True))
        self.outcome.done_keys += self._done
        self.outcome.changed += self._changed
        return True

    def repeat(self) -> None:
        """Try again, in ever smaller batches."""
        whole, attempts = self._exchange, 0
        work = deque([whole])
        while work:
            self._exchange = work.popleft()
            self.ask()
            self.write()
            if self.is_written():
                continue
            attempts += 1
            size = len(self._exchange.keys)
            if size > 1:
                half = size // 2
                work.extendleft((self._exchange.part(half, size), self._exchange.part(0, half)))
            elif attempts < MOST_ATTEMPTS + len(whole.keys):
                work.append(self._exchange)
            else:
                self.outcome.changed += self._exchange.keys


def _most_keys(exchange: Exchange) -> int:
    """How many documents of an exchange one transaction has at most."""
    return min(len(exchange.keys), MOST_KEYS if exchange.new else KEYS_PER_SCRIPT)


@lru_cache(maxsize=16)
def _all_replaced(commands: int) -> bytes:
    """The replies to a transaction of so many HSETs which replace a value each: so it is as a rule."""
    return b"+OK\r\n%s*%d\r\n%s" % (b"+QUEUED\r\n" * commands, commands, b":0\r\n" * commands)


def _has_expiring(keyspace: object) -> bool:
    """Whether any hash has a field with a time to live; a server before 7.4 knows none and says nothing."""
    return isinstance(keyspace, bytes) and _EXPIRING_FIELDS.search(keyspace) is not None


def _hset(pieces: list[ReadableBuffer], key: bytes, values: list[tuple[bytes, bytes]]) -> None:
    pieces.append(b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n" % (2 + 2 * len(values), len(key), key))
    for name, value in values:
        pieces.append(b"$%d\r\n%s\r\n$%d\r\n" % (len(name), name, len(value)))
        pieces.append(value)
        pieces.append(b"\r\n")
