"""Moves values within documents and documents to other keys, and says beforehand what forbids it.

Values never leave the server for that: one script moves some hundred documents. A document moves as a whole
or not at all, also when the server refuses one of its commands: then those before it are taken back, and the
script answers with the error for that key and goes on with the next one. A document that has moved already is
left alone, so that a script can be repeated after a crash. So is a key that has become another type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from redismigrate.documents.exact_numbers import EXACT_TEXT, UNSPELLABLE
from redismigrate.documents.failures import occupied
from redismigrate.documents.rewrite import Rewrite
from redismigrate.execution.documents.traffic.expiries import KEEP_EXPIRIES
from redismigrate.redis_server.wire import NO_RIGHT, refusal, render
from redismigrate.schema.strict import encode, readable, readable_key

# What the scripts answer for a key; a look adds twice what `Mover.kept` tells.
NOTHING_TO_MOVE = 0
MOVES = 1
# Lua's numbers are exact up to 2^53.
MOST_KEPT = 50
# A negative answer is a number from 1: of a rename; below the first of these of a prefix, below the second of
# a rename again.
_FIRST_PREFIX = -10_000
_FIRST_NOT_KEPT = -20_000

# A time to live that is taken away in the same script; the server looks at the hash again when it is over.
PIN_MS = 60_000
# KEYS: documents, then, if there are prefixes, for each of them the key that it gets. ARGV: "0" to look, "1"
# to move, "2" to move by COPY; "1" for `Mover.pins`, else "0"; counted pairs: renames (old, new), prefixes
# (old, new). Redis checks nothing of what a script does to keys that it builds itself, except in a cluster;
# so all keys are declared: behind a proxy, what is done to another one may go wrong without an error.
_FRAME = """
local most_kept = %d
local moves, copies, pins, at = ARGV[1] ~= '0', ARGV[1] == '2', ARGV[2] == '1', 2
local function take_pairs()
  local pairs_ = {}
  at = at + 1
  for i = 1, tonumber(ARGV[at]) do
    pairs_[i] = {ARGV[at + 1], ARGV[at + 2]}
    at = at + 2
  end
  return pairs_
end
local renames, prefixes = take_pairs(), take_pairs()
-- What takes back, last first, what was done to the document in hand.
local undo, undo_put = {}, false
local function done(...) undo[#undo + 1] = {...} end
%s
local call, count = redis.call, #renames
-- Commands need rights of their own. Without one, what was done could not be taken back either.
local function forbidden()
  local needed = {}
  local function need(...) for _, name in ipairs({...}) do needed[#needed + 1] = name end end
  if count > 0 and key_type == 'hash' then
    need('HSET', 'HSETNX', 'HDEL')
    if fields_expire then need('HPEXPIREAT') end
  elseif count > 0 then
    need('JSON.SET', 'JSON.DEL')
  end
  if #prefixes > 0 and copies then need('COPY', 'DEL') elseif #prefixes > 0 then need('RENAMENX') end
  if #prefixes > 0 and pins then need('HPEXPIRE', 'HPERSIST') end
  local key = KEYS[1]
  for _, name in ipairs(needed) do
    local is_known, is_allowed = pcall(redis.acl_check_cmd, name, key, key, key, key, key)
    if is_known and not is_allowed then return name end
  end
end
local documents = #prefixes > 0 and #KEYS / 2 or #KEYS
local function target_of(key, at)
  for i, prefix in ipairs(prefixes) do
    if string.sub(key, 1, #prefix[1]) == prefix[1] then return KEYS[documents + at], i end
  end
end
local function rename(key, target)
  -- The server tells a hash its new name only where a field has a time to live.
  local field = pins and call('HRANDFIELD', key)
  if field and call('HPEXPIRETIME', key, 'FIELDS', 1, field)[1] ~= -1 then field = false end
  if field then
    call('HPEXPIRE', key, %d, 'FIELDS', 1, field)
    done('HPERSIST', key, 'FIELDS', 1, field)
  end
  if copies then
    if call('COPY', key, target) == 0 then error('ERR the key could not be copied', 0) end
    done('DEL', target)
    call('DEL', key)
  else
    if call('RENAMENX', key, target) == 0 then error('ERR the key could not be renamed', 0) end
    done('RENAMENX', target, key)
  end
  if field then call('HPERSIST', target, 'FIELDS', 1, field) end
end
local function move(key, at)
  -- A key that has moved already is gone, and what is at its target is no obstacle.
  if (#prefixes > 0 or count == 0) and call('TYPE', key).ok ~= key_type then return 0 end
  local values, finds_any, kept = read(key), false, 0
  for i = 1, count do
    if values[2 * i - 1] then
      if values[2 * i] then return -i end
      finds_any = true
    elseif values[2 * i] and not moves then
      -- Of more it could not be told which ones they are.
      if i > most_kept then return -20000 - i end
      kept = kept + 2 ^ i
    end
  end
  local target, number = target_of(key, at)
  if target and call('EXISTS', target) == 1 then return -10000 - number end
  if moves then
    for i = 1, finds_any and count or 0 do
      if values[2 * i - 1] then put(key, renames[i][1], renames[i][2], values[2 * i - 1]) end
    end
    -- After all of them: the members of a JSON document keep their order if one can't be put.
    for i = 1, finds_any and count or 0 do
      if values[2 * i - 1] then drop(key, renames[i][1], values[2 * i - 1]) end
    end
    -- A key goes with the last of its fields: to read one that has expired removes it.
    if target and count > 0 and call('EXISTS', key) == 0 then return 0 end
    if target then rename(key, target) end
  end
  return ((finds_any or target) and 1 or 0) + kept
end
-- By far the most usual case, in half of the time. What is no hash answers with an error, a table.
local old, new, try = names[1], names[2], redis.pcall
local function look_at_field(key)
  local has_new = try('HEXISTS', key, new) == 1
  if try('HEXISTS', key, old) == 1 then return has_new and -1 or 1 end
  return has_new and 2 or 0
end
local function rename_field(key)
  local value = try('HGET', key, old)
  if type(value) ~= 'string' then return 0 end
  local expiry = expiry_of(key, old)
  if expiry == NO_SUCH_FIELD then
    call('HDEL', key, old)
    return 0
  end
  if call('HSETNX', key, new, value) == 0 then return -1 end
  undo_put = true
  let_expire(key, new, expiry)
  call('HDEL', key, old)
  undo_put = false
  return 1
end
local carry_out = move
if key_type == 'hash' and count == 1 and #prefixes == 0 then
  carry_out = moves and rename_field or look_at_field
end
local lacking = moves and redis.acl_check_cmd and forbidden()
if lacking then
  return redis.error_reply("NOPERM the user has no permissions to run the '" .. lacking .. "' command")
end
local answers = {}
for i = 1, documents do
  if undo[1] then undo = {} end
  local is_done, answer = pcall(carry_out, KEYS[i], i)
  if not is_done then
    for at = #undo, 1, -1 do try(unpack(undo[at])) end
    if undo_put then try('HDEL', KEYS[i], new) end
    undo_put = false
    -- A table since Redis 7.
    answer = {err = type(answer) == 'table' and answer.err or tostring(answer)}
  end
  answers[i] = answer
end
return answers
"""
# The values at the old and the new place of every rename, by turns, with one HMGET: calls are what a script
# costs.
_HASH = """
%s
local key_type = 'hash'
local names = {}
for i, rename in ipairs(renames) do names[2 * i - 1], names[2 * i] = rename[1], rename[2] end
local function read(key)
  return #names > 0 and redis.pcall('HMGET', key, unpack(names)) or names
end
local expiries = {}
local function put(key, old, new, value)
  local expiry = expiry_of(key, old)
  if expiry ~= NO_SUCH_FIELD then
    redis.call('HSET', key, new, value)
    done('HDEL', key, new)
    let_expire(key, new, expiry)
  end
  expiries[old] = expiry
end
local function drop(key, old, value)
  redis.call('HDEL', key, old)
  if expiries[old] == NO_SUCH_FIELD then return end
  if expiries[old] > 0 then done('HPEXPIREAT', key, expiries[old], 'FIELDS', 1, old) end
  done('HSET', key, old, value)
end
"""
# A JSON path that begins with $ answers with an array of what it finds, here of one value or none.
_JSON = """
%s
local key_type, names = 'ReJSON-RL', {}
local function look(key, path)
  local found = redis.pcall('JSON.GET', key, path)
  return type(found) == 'string' and found ~= '[]' and string.sub(found, 2, -2)
end
local function read(key)
  local values = {}
  for i, rename in ipairs(renames) do
    values[2 * i - 1] = look(key, rename[1])
    -- Before anything is written, and when it is only looked.
    if values[2 * i - 1] then values[2 * i - 1] = exact_text(values[2 * i - 1]) or error('%s', 0) end
    values[2 * i] = (values[2 * i - 1] or not moves) and look(key, rename[2])
  end
  return values
end
local function put(key, old, new, value)
  redis.call('JSON.SET', key, new, value)
  done('JSON.DEL', key, new)
end
local function drop(key, old, value)
  redis.call('JSON.DEL', key, old)
  done('JSON.SET', key, old, value)
end
"""
_SCRIPTS = {
    storage_type: (_FRAME % (MOST_KEPT, of_type, PIN_MS)).encode()
    for storage_type, of_type in (
        ("hash", _HASH % KEEP_EXPIRIES),
        ("json", _JSON % (EXACT_TEXT, UNSPELLABLE)),
    )
}


@dataclass(frozen=True, slots=True)
class Mover:
    """The moves of a rewrite.

    Attributes:
        rewrite: What moves.
        copies: Move keys by COPY and DEL. RENAME brings a key into every index whose prefix it gets, those of
            the other storage type included (seen on RediSearch 2.10.5); COPY does not.
        pins: Keep hashes known by their names. A hash of which all fields with a time to live have expired is
            known by its old one after a RENAME, and the next expiry may delete another key (redis#13539, seen
            on 7.4.1).
    """

    rewrite: Rewrite
    copies: bool = False
    pins: bool = False

    def look(self, keys: Sequence[bytes]) -> bytes:
        """The command that tells for each key what moving it would do."""
        return self._command(keys, b"0")

    def move(self, keys: Sequence[bytes]) -> bytes:
        """The command that moves, and tells for each key what it did."""
        return self._command(keys, b"2" if self.copies else b"1")

    def target(self, key: bytes) -> bytes:
        """The key that a document has afterwards."""
        for prefix in self.rewrite.prefixes:
            old = encode(prefix.old)
            if key.startswith(old):
                return encode(prefix.new) + key[len(old) :]
        return key

    def problem(self, key: bytes, answer: object) -> str | None:
        """Why a document can't move, by the answer for its key; None when it can, or need not.

        Raises:
            redis.ResponseError: The answer is an error that does not concern this document alone.
        """
        reason = refusal(answer)
        if reason is not None:
            return self.refused(key, reason)
        if not isinstance(answer, int) or answer >= 0:
            return None
        if answer < _FIRST_NOT_KEPT:
            rename = self.rewrite.renames[_FIRST_NOT_KEPT - answer - 1]
            return (
                f"it has a field {readable(rename.new)} already, but no {readable(rename.old)}: only of the "
                f"first {MOST_KEPT} renames of a revision can that be remembered for the way back"
            )
        if answer < _FIRST_PREFIX:
            return f"a key {readable_key(self.target(key))} exists already"
        rename = self.rewrite.renames[-answer - 1]
        return occupied(rename.old, rename.new)

    def are_all_moving(self, answers: Sequence[object]) -> bool:
        """Whether all of some answers say that the document moves, and no more: so it is as a rule."""
        return answers.count(MOVES) == len(answers)

    def refused(self, key: bytes, reason: str) -> str:
        """Why a document was refused, with the other key that it may be about."""
        if reason == NO_RIGHT and self.target(key) != key:
            return f"{reason}, or on {readable_key(self.target(key))}"
        return reason

    def is_moving(self, answer: object) -> bool:
        """Whether a document would move, by the answer to a look."""
        return isinstance(answer, int) and answer > 0 and answer % 2 == MOVES

    def kept(self, answer: object) -> int:
        """The renames, one bit each, of which a document has the new name alone, by the answer to a look.

        What undoes the renames has to leave it that name.
        """
        return answer >> 1 if isinstance(answer, int) and answer > 0 else 0

    def without(self, kept: int) -> Mover:
        """The moves without the renames that `kept` tells."""
        renames = tuple(rename for at, rename in enumerate(self.rewrite.renames) if not kept >> at & 1)
        return replace(self, rewrite=replace(self.rewrite, renames=renames))

    def reversed(self) -> Mover:
        """The mover that takes the moves of this one back."""
        return replace(self, rewrite=self.rewrite.moves_reversed())

    def _command(self, keys: Sequence[bytes], moves: bytes) -> bytes:
        pins = b"1" if self.pins else b"0"
        declared = [*keys, *map(self.target, keys)] if self.rewrite.prefixes else keys
        words = [b"EVAL", _SCRIPTS[self.rewrite.storage_type], b"%d" % len(declared), *declared, moves, pins]
        for pairs in (self.rewrite.renames, self.rewrite.prefixes):
            words.append(b"%d" % len(pairs))
            for pair in pairs:
                words += (encode(pair.old), encode(pair.new))
        return render(*words)
