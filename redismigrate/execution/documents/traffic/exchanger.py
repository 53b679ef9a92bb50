"""Replaces values of documents where they are what they are expected to be, many batches at a time.

A user of the optimistic writer: what is read is compared with what may be replaced, document by document.
As a rule all documents of a batch are as expected, and their new values are written in one block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redismigrate.documents.columns import FixedWidth
from redismigrate.execution.documents.traffic.decisions import (
    Asks,
    Reader,
    Work,
    Writes,
    Written,
)
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode
from redismigrate.execution.documents.traffic.expiries import NO_MOMENTS, NO_SUCH_FIELD, read_expiries
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.documents.traffic.optimistic import OptimisticWriter
from redismigrate.execution.documents.traffic.reading import KEYS_PER_SCRIPT
from redismigrate.execution.documents.traffic.value_store import HASH_FIELDS, ValueStore
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.wire import is_of_another_type, refusal

# In a transaction that reads or writes values. WATCH compares a key with all that its client watches already,
# and commands that were queued long ago have left the processor's caches when EXEC comes to them.
_MOST_KEYS = 200


class Exchanger(OptimisticWriter):
    """Owns the connections over which batches are exchanged.

    Args:
        nodes: As of `OptimisticWriter`.
        connections: As of `OptimisticWriter`.
        pace: As of `OptimisticWriter`.
        store: Tells how values are read and written.
    """

    def __init__(
        self,
        nodes: Nodes,
        connections: int,
        pace: Pace | None = None,
        store: ValueStore = HASH_FIELDS,
    ) -> None:
        super().__init__(nodes, connections, pace)
        self._store = store

    def run(self, exchanges: Iterable[Exchange | None], mode: Mode) -> Iterator[ExchangeOutcome]:
        """Carry out exchanges, in order.

        Args:
            exchanges: What to write; None before one that may take long to come, see `write`.
            mode: How.

        Yields:
            The outcome of every exchange, some exchanges later. One of many documents is done in parts, and
            has as many outcomes.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        works = (
            None if exchange is None else ExchangeWork(exchange, mode, self._store) for exchange in exchanges
        )
        for turn in self.write(works):
            yield turn.outcome


@dataclass(slots=True)
class ExchangeWrites(Writes):
    """The decision about an exchange.

    Attributes:
        done: The documents that hold all their new values once the commands are carried out.
        changed: Those that hold something else.
        unreadable: Those that could not be read, with the reason.
    """

    done: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    unreadable: dict[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExchangeWork(Work[ExchangeWrites, ExchangeOutcome]):
    """One exchange, as the optimistic writer carries it out.

    Attributes:
        exchange: What to write.
        mode: How.
        store: Tells how values are read and written.
    """

    exchange: Exchange
    mode: Mode
    store: ValueStore

    @property
    def keys(self) -> list[bytes]:
        """The keys of the exchange, one for each document."""
        return self.exchange.keys

    @property
    def most_at_once(self) -> int:
        """Fewer where values are read or written."""
        return min(len(self.keys), _MOST_KEYS if self.exchange.new else KEYS_PER_SCRIPT)

    def part(self, start: int, stop: int) -> ExchangeWork:
        """The same work for some of its documents, from one row up to another."""
        return ExchangeWork(self.exchange.part(start, stop), self.mode, self.store)

    def new_outcome(self) -> ExchangeOutcome:
        """The outcome before anything was written: nothing of the exchange was done."""
        return ExchangeOutcome(self.exchange)

    def asks(self) -> Asks:
        """The values of the fields, unless documents are sure to be as expected."""
        if not self._reads_values:
            return Asks()
        fields = tuple(self.exchange.new)
        commands, replies = self.store.reads(self.keys, fields)
        return Asks(self.keys, commands, replies, is_column=len(fields) == 1 and self.store.reads_columns)

    def decide(self, replies: Any, reader: Reader) -> ExchangeWrites:
        """Write the new values of those that are as expected."""
        writes = ExchangeWrites()
        if not self._reads_values or self._are_all_expected(replies, reader):
            self._write_all(writes)
        else:
            self._compare(writes, replies, reader)
        if self.mode.after is not None:
            writes.last = self.mode.after(self.keys)
        return writes

    @property
    def _reads_values(self) -> bool:
        return bool(self.mode.compares and self.exchange.new)

    def _are_all_expected(self, current: Any, reader: Reader) -> bool:
        """Whether every key has its expected value of one field, and gets a new one: so it is as a rule."""
        if self._may_expire(reader) or not isinstance(current, FixedWidth):
            return False
        (name,) = self.exchange.new
        expected, new = self.exchange.expected[name], self.exchange.new[name]
        return isinstance(expected, FixedWidth) and isinstance(new, FixedWidth) and current == expected

    def _may_expire(self, reader: Reader) -> bool:
        """Whether fields may have a time to live of their own."""
        return reader.fields_expire and self.store is HASH_FIELDS

    def _write_all(self, writes: ExchangeWrites) -> None:
        """Write every new value without a look."""
        columns = self.exchange.new
        if not columns:
            return
        writes.done = self.keys
        writes.usual_reply = self.store.usual_reply
        if len(columns) == 1 and self.store is HASH_FIELDS:
            ((name, column),) = columns.items()
            if isinstance(column, FixedWidth):
                writes.write_all(self.keys, name, column, self.store.usual_reply)
                return
        for row, key in enumerate(self.keys):
            values = [(name, value) for name, column in columns.items() if (value := column[row]) is not None]
            self._add(writes, key, values)

    def _add(
        self,
        writes: ExchangeWrites,
        key: bytes,
        values: Sequence[tuple[bytes, bytes]],
        moments: Mapping[bytes, int] = NO_MOMENTS,
    ) -> None:
        """Write values of a document."""
        if values:
            for command in self.store.replace(key, values, moments):
                writes.add(*command)

    def _compare(self, writes: ExchangeWrites, current: Any, reader: Reader) -> None:
        """Look at document by document: the values of the fields, and when these expire."""
        exchange, fields = self.exchange, tuple(self.exchange.new)
        rows = [[value] for value in current] if isinstance(current, FixedWidth) else current
        rows = self.store.rows(rows, len(fields))
        expiries = read_expiries(reader, self.keys, fields) if self._may_expire(reader) else None
        writes.usual_reply = self.store.usual_reply
        columns = [(name, exchange.expected[name], exchange.new[name]) for name in fields]
        for row, (key, found) in enumerate(zip(self.keys, rows, strict=True)):
            if not isinstance(found, list):
                reason = None if is_of_another_type(found) else refusal(found)
                if reason is not None:
                    writes.unreadable[key] = reason
                continue
            moments = {} if expiries is None else dict(zip(fields, expiries[row], strict=True))
            values: list[tuple[bytes, bytes]] = []
            as_wanted = 0
            differ = 0
            for (name, expected, new), value in zip(columns, found, strict=True):
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
                writes.changed.append(key)
            elif values or as_wanted:
                writes.done.append(key)
            self._add(writes, key, values, moments)

    def take(self, writes: ExchangeWrites, written: Written, outcome: ExchangeOutcome) -> None:
        """Note it; those that are neither refused nor changed are done."""
        refused = {**writes.unreadable, **written.refused}
        if self.mode.after is not None:
            outcome.after.update(zip(self.keys, self._answers(written), strict=True))
        outcome.refused.update(refused)
        outcome.done_keys += [key for key in writes.done if key not in refused] if refused else writes.done
        outcome.changed += [key for key in writes.changed if key not in refused]

    def _answers(self, written: Written) -> Iterable[object]:
        """Of the command that follows the writes.

        Raises:
            redis.ResponseError: One is refused what would be refused for every document.
        """
        for answer in written.answers:
            refusal(answer)
        return written.answers

    def refuse(self, key: bytes, reason: str, outcome: ExchangeOutcome) -> None:
        """Note why a document holds what it held before."""
        outcome.refused[key] = reason

    def give_up(self, outcome: ExchangeOutcome) -> None:
        """They hold what others have written."""
        outcome.changed += self.keys
