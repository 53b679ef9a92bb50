"""One batch of an exchange on one connection: watched, read, written in MULTI and EXEC, repeated in parts.

EXEC does not undo what it did before a command of it was refused. So the replies are looked at one by one: a
document is done or refused, never both, and no refusal is taken for one of its neighbours.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import hiredis

from redismigrate.documents.columns import FixedWidth
from redismigrate.redis_server.wire import (
    Wire,
    concerns_one_document,
    is_of_another_type,
    raise_refusal,
    refusal,
    render,
    render_for_keys,
    render_hsets,
    rows_by_length,
)
from redismigrate.state.fence import Fence

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from redismigrate.execution.documents.traffic.exchange import Mode, Outcome

# A single key that is written faster than it can be read is given up after so many attempts.
MOST_ATTEMPTS = 30
# What HPEXPIRETIME answers for one.
NO_SUCH_FIELD = -2
_UNWATCH = render(b"UNWATCH")
_MULTI = render(b"MULTI")
_EXEC = render(b"EXEC")
_KEYSPACE = render(b"INFO", b"keyspace")
_EXPIRING_FIELDS = re.compile(rb"^db0:.*subexpiry=(?!0\b)", re.MULTILINE)
_NO_MOMENTS: Mapping[bytes, int] = MappingProxyType({})
# KEYS: a hash. ARGV: for each field its name, the value to write, and when it expires, or "-1". HSET takes
# the time to live away. So it is set as it is before that: where the user may not, nothing is written. Of a
# field whose time is over HPEXPIREAT answers 2, and it is gone.
_REPLACE_EXPIRING = b"""
local written = {}
for i = 1, #ARGV, 3 do
  local is_left = true
  if ARGV[i + 2] ~= '-1' then
    is_left = redis.call('HPEXPIREAT', KEYS[1], ARGV[i + 2], 'FIELDS', 1, ARGV[i])[1] == 1
  end
  if is_left then
    written[#written + 1] = ARGV[i]
    written[#written + 1] = ARGV[i + 1]
  end
end
if #written > 0 then redis.call('HSET', KEYS[1], unpack(written)) end
for i = 1, #ARGV, 3 do
  if ARGV[i + 2] ~= '-1' then redis.call('HPEXPIREAT', KEYS[1], ARGV[i + 2], 'FIELDS', 1, ARGV[i]) end
end
return 0
"""


@dataclass(slots=True)
class _Writes:
    """The writes of one attempt.

    Attributes:
        keys: Of the document that each command is about, in the order of the commands.
        done: Of the documents that hold all their new values once the commands are carried out.
        changed: Of those that hold something else.
        refused: Of those that could not be read, with the reason.
        whole: Why the whole batch was refused, where it is not known because of which document.
    """

    keys: Sequence[bytes] = ()
    done: Sequence[bytes] = ()
    changed: list[bytes] = field(default_factory=list)
    refused: dict[bytes, str] = field(default_factory=dict)
    whole: str | None = None


class Turn:
    """One batch on one connection: asked, written, finished.

    Args:
        wire: The connection.
        outcome: Is filled.
        mode: How the batch is written.
        fence: Checked in every attempt.

    Attributes:
        wire: The connection.
        outcome: What became of the batch, once it is written.
        sent_at: When the writes were sent, by the monotonic clock.
    """

    def __init__(self, wire: Wire, outcome: Outcome, mode: Mode, fence: Fence) -> None:
        self.wire = wire
        self.outcome = outcome
        self.sent_at = 0.0
        exchange = outcome.exchange
        self._exchange = exchange
        self._mode = mode
        self._fence = fence
        self._fields = tuple(exchange.new)
        self._reads_values = bool(mode.compares and self._fields)
        self._commands = 0
        self._writes = _Writes()

    @property
    def has_written(self) -> bool:
        """Whether it had anything to write."""
        return self._commands > 0

    def ask(self) -> None:
        """Watch, and ask for the values."""
        keys = self._exchange.keys
        # By itself: what is refused for one of the keys must not be taken for the fence.
        commands = render(b"WATCH", self._fence.key) + render(b"GET", self._fence.key)
        if self._reads_values:
            commands += render(b"WATCH", *keys) + _KEYSPACE + render_for_keys(b"HMGET", keys, self._fields)
        self.wire.send(commands)

    def write(self) -> None:
        """Receive the values, decide, and send the writes in one transaction."""
        watched, token = self.wire.receive(2, precedes_column=self._reads_values)
        raise_refusal(watched, token)
        self._fence.require(token)
        pieces: list[ReadableBuffer] = []
        self._commands = 0
        self._writes = _Writes()
        if self._reads_values:
            self._compare(pieces)
        else:
            self._take_all(pieces)
        if self._mode.after is not None and self._writes.whole is None:
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
        self._writes.done = exchange.keys
        if len(self._fields) == 1 and isinstance(column := exchange.new[self._fields[0]], FixedWidth):
            pieces.extend(render_hsets(exchange.keys, self._fields[0], column))
            self._commands += len(exchange.keys)
            return
        written = []
        for row, key in enumerate(exchange.keys):
            values = [
                (name, value) for name in self._fields if (value := exchange.new[name][row]) is not None
            ]
            if values:
                _hset(pieces, key, values)
                written.append(key)
        self._writes.keys = written
        self._commands += len(written)

    def _compare(self, pieces: list[ReadableBuffer]) -> None:
        """Write the new values of those that are as expected."""
        keys = self._exchange.keys
        watched, keyspace = self.wire.receive(2, precedes_column=True)
        raise_refusal(keyspace)
        has_expiring = _has_expiring(keyspace)
        current = (
            self.wire.receive_column(len(keys)) if len(self._fields) == 1 else self.wire.receive(len(keys))
        )
        self._writes.whole = refusal(watched)
        if self._writes.whole is not None:
            return
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
        written, done, writes = [], [], self._writes
        columns = [(name, self._exchange.expected[name], self._exchange.new[name]) for name in fields]
        for row, (key, current) in enumerate(zip(keys, rows, strict=True)):
            if not isinstance(current, list):
                reason = None if is_of_another_type(current) else refusal(current)
                if reason is not None:
                    writes.refused[key] = reason
                continue
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
                writes.changed.append(key)
            elif values or as_wanted:
                done.append(key)
            if values:
                _hset(pieces, key, values, moments or {})
                written.append(key)
        writes.keys, writes.done = written, done
        self._commands += len(written)

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

    def is_written(self) -> bool:
        """Receive what became of the writes; False when nothing is decided yet, and they are to be repeated.

        One of the keys was written meanwhile, or a document was refused and it is not known which one.

        Raises:
            redis.ResponseError: The server refused what it would refuse for every document.
        """
        writes = self._writes
        if not self._commands:
            raise_refusal(*self.wire.receive(1))
        elif self._mode.after is not None or not self.wire.receive_exactly(_all_replaced(self._commands)):
            # OK for MULTI, QUEUED for each command, and the results.
            *queued, results = self.wire.receive(self._commands + 2)
            if results is None:
                raise_refusal(*queued)
                return False
            if isinstance(results, hiredis.ReplyError):
                # A command that was not even queued: then nothing of the batch was done.
                reasons = [reason for reply in queued if (reason := refusal(reply)) is not None]
                if not reasons:
                    raise_refusal(results)
                writes.whole = reasons[0]
            else:
                raise_refusal(*queued)
                self._take_results(results)
        if writes.whole is not None:
            return False
        refused = writes.refused
        self.outcome.refused.update(refused)
        self.outcome.done_keys += (
            [key for key in writes.done if key not in refused] if refused else writes.done
        )
        self.outcome.changed += [key for key in writes.changed if key not in refused]
        return True

    def _take_results(self, results: list[object]) -> None:
        """Note what became of each document; those that are neither refused nor changed are done."""
        keys, writes = self._exchange.keys, self._writes
        if self._mode.after is not None:
            answers = results.pop()
            if isinstance(answers, list):
                for answer in answers:
                    if isinstance(answer, hiredis.ReplyError) and not concerns_one_document(answer):
                        raise_refusal(answer)
                self.outcome.after.update(zip(keys, answers, strict=True))
            else:
                # What was written stays, and is as wanted when the documents are looked at again.
                writes.whole = refusal(answers)
        if not any(isinstance(result, hiredis.ReplyError) for result in results):
            return
        written = writes.keys or [keys[row] for rows in rows_by_length(keys).values() for row in rows]
        for key, result in zip(written, results, strict=True):
            reason = refusal(result)
            if reason is not None:
                writes.refused[key] = reason

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
            reason, size = self._writes.whole, len(self._exchange.keys)
            attempts += reason is None
            if size > 1:
                half = size // 2
                work.extendleft((self._exchange.part(half, size), self._exchange.part(0, half)))
            elif reason is not None:
                self.outcome.refused[self._exchange.keys[0]] = reason
            elif attempts < MOST_ATTEMPTS + len(whole.keys):
                work.append(self._exchange)
            else:
                self.outcome.changed += self._exchange.keys


@lru_cache(maxsize=16)
def _all_replaced(commands: int) -> bytes:
    """The replies to a transaction of so many HSETs which replace a value each: so it is as a rule."""
    return b"+OK\r\n%s*%d\r\n%s" % (b"+QUEUED\r\n" * commands, commands, b":0\r\n" * commands)


def _has_expiring(keyspace: object) -> bool:
    """Whether any hash has a field with a time to live; a server before 7.4 knows none and says nothing."""
    return isinstance(keyspace, bytes) and _EXPIRING_FIELDS.search(keyspace) is not None


def _hset(
    pieces: list[ReadableBuffer],
    key: bytes,
    values: list[tuple[bytes, bytes]],
    moments: Mapping[bytes, int] = _NO_MOMENTS,
) -> None:
    if any(moments.get(name, 0) > 0 for name, _ in values):
        words = [
            word for name, value in values for word in (name, value, b"%d" % max(moments.get(name, -1), -1))
        ]
        pieces.append(render(b"EVAL", _REPLACE_EXPIRING, b"1", key, *words))
        return
    pieces.append(b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n" % (2 + 2 * len(values), len(key), key))
    for name, value in values:
        pieces.append(b"$%d\r\n%s\r\n$%d\r\n" % (len(name), name, len(value)))
        pieces.append(value)
        pieces.append(b"\r\n")
