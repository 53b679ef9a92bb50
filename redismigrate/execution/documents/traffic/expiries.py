"""When hash fields expire: a field that is written forgets its time to live, so it is set again.

This is the one place that knows it, in Python and in Lua. Two more things are known here: a field whose time
is over can still be read until the server gets to it, and must not be written then; and where a user may not
set a time to live, nothing must be written that would lose one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.redis_server.wire import is_of_another_type, raise_refusal, render, render_for_keys

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What HPEXPIRETIME answers for a field that is not there, and for one that stays. The first is also said of a
# field of a small hash whose time is over, and that HGET in the same script still finds (seen on 7.4.1).
NO_SUCH_FIELD = -2
NO_EXPIRY = -1
NO_MOMENTS: Mapping[bytes, int] = MappingProxyType({})

# Lua. Whether any hash of the database has a field with a time to live is asked in the same script, since a
# writer may set the first one at any moment; a server before 7.4, which knows none, does not say `subexpiry`.
KEEP_EXPIRIES = f"""
local NO_SUCH_FIELD = {NO_SUCH_FIELD}
local fields_expire = string.find(redis.call('INFO', 'keyspace'), 'db0:[^\\n]*subexpiry=[1-9]') ~= nil
-- When a field expires; -1 for never.
local function expiry_of(key, field)
  return fields_expire and redis.call('HPEXPIRETIME', key, 'FIELDS', 1, field)[1] or {NO_EXPIRY}
end
-- Answers false for a field whose time is over: then it is gone.
local function let_expire(key, field, moment)
  if moment < 0 then return true end
  return redis.call('HPEXPIREAT', key, moment, 'FIELDS', 1, field)[1] == 1
end
-- Writes values over those of fields. The times to live are set before that as well: where the user may not,
-- nothing is written, and what has expired is not written again.
local function write_keeping(key, names, values, moments)
  local written = {{}}
  for i, name in ipairs(names) do
    if let_expire(key, name, moments[i]) then
      written[#written + 1] = name
      written[#written + 1] = values[i]
    end
  end
  if #written > 0 then redis.call('HSET', key, unpack(written)) end
  for i, name in ipairs(names) do let_expire(key, name, moments[i]) end
end
"""
# KEYS: a hash. ARGV: for each field its name, the value to write, and when it expires, or "-1".
_REPLACE = (
    KEEP_EXPIRIES
    + """
local names, values, moments = {}, {}, {}
for i = 1, #ARGV, 3 do
  names[#names + 1], values[#values + 1], moments[#moments + 1] = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
end
write_keeping(KEYS[1], names, values, moments)
return 0
"""
).encode()


def read_expiries(reader: Reader, keys: Sequence[bytes], names: Sequence[bytes]) -> list[list[int]]:
    """When some fields of each hash expire, Unix time in milliseconds, one list per key.

    The keys are watched, so a field that gets an expiry now ends the batch. One that expires does not, until
    the server gets to removing it: where it is gone by now it must not be written, and where it goes later
    the expiry that is set again removes it at once.

    Args:
        reader: Asks.
        keys: Of the hashes. One that has become another type of key by now has none of the fields.
        names: Of the fields.

    Raises:
        redis.ResponseError: The server refused.
    """
    replies = reader.ask(render_for_keys(b"HPEXPIRETIME", keys, _fields(names)), len(keys))
    return [_moments(reply, len(names)) for reply in replies]


def read_own_expiries(reader: Reader, hashes: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[list[int]]:
    """As `read_expiries`, where each hash has fields of its own.

    Args:
        reader: Asks.
        hashes: The key of each, and the names of its fields.

    Raises:
        redis.ResponseError: The server refused.
    """
    commands = [render(b"HPEXPIRETIME", key, *_fields(names)) for key, names in hashes]
    replies = reader.ask(b"".join(commands), len(hashes))
    return [_moments(reply, len(names)) for reply, (_, names) in zip(replies, hashes, strict=True)]


def replace_values(
    key: bytes, values: Sequence[tuple[bytes, bytes]], moments: Mapping[bytes, int] = NO_MOMENTS
) -> list[ReadableBuffer]:
    """One rendered command, in pieces: it writes over the values of fields and lets these expire as before.

    Args:
        key: Of the hash.
        values: Names and values.
        moments: Field -> when it expires, as read; none where no field of the database does.
    """
    if moments and any(moments.get(name, 0) > 0 for name, _ in values):
        words = [
            word
            for name, value in values
            for word in (name, value, b"%d" % max(moments.get(name, NO_EXPIRY), NO_EXPIRY))
        ]
        return [render(b"EVAL", _REPLACE, b"1", key, *words)]
    pieces: list[ReadableBuffer] = [
        b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n" % (2 + 2 * len(values), len(key), key)
    ]
    for name, value in values:
        pieces += (b"$%d\r\n%s\r\n$%d\r\n" % (len(name), name, len(value)), value, b"\r\n")
    return pieces


def let_expire(
    key: bytes, name: bytes, current: int, wanted: int, *, is_written: bool
) -> Iterator[tuple[bytes, ...]]:
    """The command that lets a field expire when it should, once its value is right; none where it does.

    Args:
        key: Of the hash.
        name: Of the field.
        current: When it expired before, Unix time in milliseconds; negative for never.
        wanted: When it should; negative for never.
        is_written: The field gets a value before that: then it has no time to live any more.
    """
    left = NO_EXPIRY if is_written else current
    if wanted > 0 and wanted != left:
        yield (b"HPEXPIREAT", key, b"%d" % wanted, b"FIELDS", b"1", name)
    elif wanted == NO_EXPIRY and left > 0:
        yield (b"HPERSIST", key, b"FIELDS", b"1", name)


def _fields(names: Sequence[bytes]) -> tuple[bytes, ...]:
    return b"FIELDS", b"%d" % len(names), *names


def _moments(reply: Any, count: int) -> list[int]:
    if not is_of_another_type(reply):
        raise_refusal(reply)
    return reply if isinstance(reply, list) else [NO_SUCH_FIELD] * count
