"""Replaces values in hashes where they are what they are expected to be, many batches at a time.

A user of the optimistic writer: what is read is compared with what may be replaced, document by document.
As a rule all documents of a batch are as expected, and their new values are written in one block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from redismigrate.documents.columns import FixedWidth
from redismigrate.execution.documents.traffic.decisions import (
    REPLACED,
    Asks,
    Reader,
    Work,
    Writes,
    Written,
)
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode
from redismigrate.execution.documents.traffic.expiries import NO_SUCH_FIELD, read_expiries, replace_values
from redismigrate.execution.documents.traffic.optimistic import OptimisticWriter
from redismigrate.execution.documents.traffic.reading import KEYS_PER_SCRIPT
from redismigrate.redis_server.wire import is_of_another_type, refusal, render_for_keys

# In a transaction that reads or writes values. WATCH compares a key with all that its client watches already,
# and commands that were queued long ago have left the processor's caches when EXEC comes to them.
_MOST_KEYS = 200


class Exchanger(OptimisticWriter):
    """Owns the connections over which batches are exchanged, see `OptimisticWriter`."""

    def run(self, exchanges: Iterable[Exchange], mode: Mode) -> Iterator[ExchangeOutcome]:
        """Carry out exchanges, in order.

        Yields:
            The outcome of every exchange, some exchanges later. One of many documents is done in parts, and
            has as many outcomes.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        for turn in self.write(ExchangeWork(exchange, mode) for exchange in exchanges):
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
    """

    exchange: Exchange
    mode: Mode

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
        return ExchangeWork(self.exchange.part(start, stop), self.mode)

    def new_outcome(self) -> ExchangeOutcome:
        """The outcome before anything was written: nothing of the exchange was done."""
        return ExchangeOutcome(self.exchange)

    def asks(self) -> Asks:
        """The values of the fields, unless documents are sure to be as expected."""
        if not self._reads_values:
            return Asks()
        fields = tuple(self.exchange.new)
        commands = render_for_keys(b"HMGET", self.keys, fields)
        return Asks(self.keys, commands, len(self.keys), is_column=len(fields) == 1)

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
        if reader.fields_expire or not isinstance(current, FixedWidth):
            return False
        (name,) = self.exchange.new
        expected, new = self.exchange.expected[name], self.exchange.new[name]
        return isinstance(expected, FixedWidth) and isinstance(new, FixedWidth) and current == expected

    def _write_all(self, writes: ExchangeWrites) -> None:
        """Write every new value without a look."""
        columns = self.exchange.new
        if not columns:
            return
        writes.done = self.keys
        writes.usual_reply = REPLACED
        if len(columns) == 1:
            ((name, column),) = columns.items()
            if isinstance(column, FixedWidth):
                writes.write_all(self.keys, name, column, REPLACED)
                return
        for row, key in enumerate(self.keys):
            values = [(name, value) for name, column in columns.items() if (value := column[row]) is not None]
            if values:
                writes.add(replace_values(key, values), key)

    def _compare(  # noqa: C901 - the inner loop, kept flat
        self, writes: ExchangeWrites, current: Any, reader: Reader
    ) -> None:
        """Look at document by document: the values of the fields, and when these expire."""
        exchange, fields = self.exchange, tuple(self.exchange.new)
        rows = [[value] for value in current] if isinstance(current, FixedWidth) else current
        expiries = read_expiries(reader, self.keys, fields) if reader.fields_expire else None
        writes.usual_reply = REPLACED
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
            if values:
                writes.add(replace_values(key, values, moments), key)

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
