"""The Lua script behind the files that `--script` prints: one revision, with its record, or nothing.

Such a file is made some time before it is run, and nobody resumes it. So each of its calls looks whether the
record is what the file was made for, changes indexes and record in one go, and says so when it has been done
already. It takes no lock, but refuses to work beside the holder of one, and fences off a holder that sleeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from redismigrate.state.lua_scripts import NEXT_TOKEN, READ_INFO, TAKE
from redismigrate.state.stored_documents import render_document

# Stands in a record for the moment at which the script runs.
RECORDED_AT = "@recorded-at@"

# KEYS: head, indexes, run, lock, fence, journal, last_run, owners, and the undo documents that the last run
#   may have left: no other key may be touched, since behind a proxy that may go wrong without an error. One
#   that is not among them stays, and nobody reads it.
# ARGV: what to do ("record" or "remove" a revision; "build" an index for recording it, or "build_back" one
#   for removing it; "stamp" some, see below), the revision, then the applied revisions that it needs (sha1
#   of the sorted ids) and the same in words (heads, for the error), the indexes document that it needs
#   (sha1 of all behind its version; "" for none), heads afterwards (JSON), the record of the revision, the
#   indexes document afterwards (behind its version), the project (JSON); then counted lists: indexes to
#   claim and to give up (JSON), an index that has to be complete, the one it replaces and "alike" where both
#   cover the same documents, for each, an event for the journal, and steps, each with its commands and those
#   that put it back.
# To stamp, the revision is what to call the heads in the reply, what has to be complete are pairs of a name
#   and the index that it has to lead to, and behind the steps (none) come pairs of a revision that is to be
#   recorded and its record, which counts where there is none yet.
# The server counts a failure for a document that is gone when it comes to it, too. An old index that has met
#   no failure holds every document, so a new one with as many lacks none: both are asked at one moment.
# The documents are edited as text: cjson would make {} of empty lists and lose the order. Days are turned
# into dates after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
# The next fencing token comes before any command: a server over maxmemory refuses it, and with it the
# script, while FT.DROPINDEX alone would pass.
APPLY = (
    READ_INFO
    + "\n"
    + NEXT_TOKEN
    + r"""
local at = 0
"""
    + TAKE
    + r"""
local function refuse(reason) return redis.error_reply('REDISMIGRATE ' .. reason) end
local mode, revision, needed_ids, needed_heads, needed_indexes = take(), take(), take(), take(), take()
local heads, record, indexes, project = take(), take(), take(), take()
local claims, releases, complete, event = take_list(), take_list(), take_list(), take_list()
local steps = {}
for i = 1, tonumber(take()) do steps[i] = {take_commands(), take_commands()} end
local stamps = mode == 'stamp'
local stamped = stamps and take_list() or {}

local function end_of_value(text, from)
  local depth = 0
  while true do
    from = string.find(text, '["{}%[%]]', from)
    local found = string.sub(text, from, from)
    if found == '"' then
      from = string.find(text, '["\\]', from + 1)
      while string.sub(text, from, from) ~= '"' do from = string.find(text, '["\\]', from + 2) end
    elseif found == '{' or found == '[' then
      depth = depth + 1
    else
      depth = depth - 1
      if depth == 0 then return from end
    end
    from = from + 1
  end
end

local head = redis.call('GET', KEYS[1]) or '{"version": 0, "layout": 1, "heads": [], "revisions": {}}'
local version, found_heads, records = string.match(head, '^{"version": (%d+), "layout": 1, '
  .. '"heads": (%b[]), "revisions": {(.*)}}$')
if not version then return refuse('the record of applied revisions is of another layout') end
local ids, record_of, from = {}, {}, 1
while from <= #records do
  local id, start = string.match(records, '^"([%w_]+)": (){', from)
  local last = end_of_value(records, start)
  ids[#ids + 1] = id
  record_of[id] = string.sub(records, start, last)
  from = last + 3
end
local goes_back = mode == 'remove' or mode == 'build_back'
local builds = mode == 'build' or mode == 'build_back'
if goes_back and not record_of[revision] then return revision .. ' was undone before' end
if not goes_back and not stamps and record_of[revision] then return revision .. ' was applied before' end
if stamps and #stamped == 2 * #ids then
  local no_indexes = '"layout": 1, "indexes": {}}'
  local found = string.match(redis.call('GET', KEYS[2]) or '', '^{"version": %d+, (.*)$') or no_indexes
  local is_same = found == indexes
  for i = 1, #stamped, 2 do is_same = is_same and record_of[stamped[i]] ~= nil end
  if is_same then return revision .. ' was recorded before' end
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  return refuse('a run of redismigrate is unfinished; see redismigrate status')
end
if redis.call('EXISTS', KEYS[4]) == 1 then return refuse('redismigrate is at work; run the script later') end
local sorted = {}
for i, id in ipairs(ids) do sorted[i] = id end
table.sort(sorted)
if redis.sha1hex(table.concat(sorted, ' ')) ~= needed_ids then
  return refuse('made for a Redis at ' .. needed_heads .. ', but this one is at ' .. found_heads)
end
local old_indexes = redis.call('GET', KEYS[2])
local indexes_version, indexes_text = '0', ''
if old_indexes then
  indexes_version, indexes_text = string.match(old_indexes, '^{"version": (%d+), (.*)$')
  if not indexes_version then return refuse('the record of indexes is of another layout') end
end
if indexes_text == '"layout": 1, "indexes": {}}' then indexes_text = '' end
if (indexes_text == '' and '' or redis.sha1hex(indexes_text)) ~= needed_indexes then
  return refuse('the recorded indexes are not those that this script was made for; make a new one')
end

local owners = redis.call('GET', KEYS[8]) or '{}'
local function owner_of(name)
  for _, before in ipairs({'{', ', '}) do
    local _, last = string.find(owners, before .. name .. ': ', 1, true)
    if last then
      local at = string.find(owners, '["\\]', last + 2)
      while string.sub(owners, at, at) ~= '"' do at = string.find(owners, '["\\]', at + 2) end
      return string.sub(owners, last + 1, at)
    end
  end
end
for _, name in ipairs(claims) do
  local owner = owner_of(name)
  if owner and owner ~= project then return refuse('index ' .. name .. ' belongs to project ' .. owner) end
end

local function info(index)
  local reply = redis.pcall('FT.INFO', index)
  if reply.err then return nil end
  return read_info(reply)
end
for i = 1, stamps and #complete or 0, 2 do
  local found = info(complete[i])
  if not found then return refuse('there is no index ' .. complete[i] .. '; stamp the revision that fits') end
  if found.index_name ~= complete[i + 1] then
    return refuse(complete[i] .. ' leads to index ' .. found.index_name .. ' instead of ' .. complete[i + 1]
      .. '; make the script from this server')
  end
end
for i = 1, stamps and 0 or #complete, 3 do
  local new, old = info(complete[i]), info(complete[i + 1])
  if not new then return refuse('index ' .. complete[i] .. ' is not there; run all of the script') end
  if tonumber(new.indexing) ~= 0 then
    return refuse('index ' .. complete[i] .. ' is still being built; run the script again when its FT.INFO '
      .. 'says indexing 0')
  end
  if read_info(new['Index Errors'] or {})['background indexing status'] == 'OOM failure' then
    return refuse('the server gave up building index ' .. complete[i] .. ' at its maxmemory; free memory, '
      .. 'drop that index, and run all of the script')
  end
  local failed, before = tonumber(new.hash_indexing_failures), 0
  if old then before = tonumber(old.hash_indexing_failures) end
  local lacks_none = old and complete[i + 2] == 'alike' and before == 0 and tonumber(old.indexing) == 0
    and tonumber(new.num_docs) >= tonumber(old.num_docs)
  if failed > before and not lacks_none then
    return refuse(failed .. ' documents can not be indexed in ' .. complete[i] .. ', or were gone when the '
      .. 'server came to them; see its FT.INFO. redismigrate upgrade tells which')
  end
end
if builds and info(event[#event]) then return event[#event] .. ' was built before' end

redis.call('SET', KEYS[5], next_token(redis.call('GET', KEYS[5])))
local function is_forbidden(command)
  if not redis.acl_check_cmd then return false end
  local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(command))
  return is_known and not is_allowed
end
local writes = {{'XADD', KEYS[6], '*', 'event', ''}, {'SET', KEYS[1], ''}, {'SET', KEYS[2], ''},
  {'SET', KEYS[8], ''}, {'DEL', KEYS[7]}}
for _, step in ipairs({{writes}, unpack(steps)}) do
  for _, commands in ipairs(step) do
    for _, command in ipairs(commands) do
      if is_forbidden(command) then return refuse('the user lacks the right to run ' .. command[1]) end
    end
  end
end
for i, step in ipairs(steps) do
  for j, command in ipairs(step[1]) do
    local reply = redis.pcall(unpack(command))
    if type(reply) == 'table' and reply.err then
      for k = i, 1, -1 do
        if k < i or j > 1 then for _, undo in ipairs(steps[k][2]) do redis.pcall(unpack(undo)) end end
      end
      local words = command[1] .. ' ' .. command[2]
      return refuse('nothing was changed: ' .. words .. ' was refused: ' .. reply.err)
    end
  end
end

redis.call('XADD', KEYS[6], 'MAXLEN', '~', '10000', '*', unpack(event))
if builds then return event[#event] .. ' is being built' end
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local days = math.floor(seconds / 86400) + 719468
local era = math.floor(days / 146097)
local day = days - era * 146097
local leaps = math.floor(day / 1460) - math.floor(day / 36524) + math.floor(day / 146096)
local year = math.floor((day - leaps) / 365)
day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
local month = math.floor((5 * day + 2) / 153)
day = day - math.floor((153 * month + 2) / 5) + 1
month = month < 10 and month + 3 or month - 9
year = year + era * 400 + (month <= 2 and 1 or 0)
local now = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03d+00:00', year, month, day,
  math.floor(seconds % 86400 / 3600), math.floor(seconds % 3600 / 60), seconds % 60,
  math.floor(tonumber(time[2]) / 1000))
local kept = {}
local function keep(id, text) kept[#kept + 1] = '"' .. id .. '": ' .. text end
local function with_time(text)
  local first, last = string.find(text, '"applied_at": "@recorded-at@"', 1, true)
  return string.sub(text, 1, first - 1) .. '"applied_at": "' .. now .. '"' .. string.sub(text, last + 1)
end
for _, id in ipairs(stamps and {} or ids) do
  if id ~= revision then keep(id, record_of[id]) end
end
if mode == 'record' then keep(revision, with_time(record)) end
for i = 1, #stamped, 2 do
  keep(stamped[i], record_of[stamped[i]] or with_time(stamped[i + 1]))
end
redis.call('SET', KEYS[1], '{"version": ' .. (version + 1) .. ', "layout": 1, "heads": ' .. heads
  .. ', "revisions": {' .. table.concat(kept, ', ') .. '}}')
redis.call('SET', KEYS[2], '{"version": ' .. (indexes_version + 1) .. ', ' .. indexes)
for _, name in ipairs(claims) do
  if not owner_of(name) then
    local others = string.sub(owners, 1, -2)
    owners = others .. (others == '{' and '' or ', ') .. name .. ': ' .. project .. '}'
  end
end
for _, name in ipairs(releases) do
  local entry = name .. ': ' .. project
  for _, bounds in ipairs({{'{', ', '}, {', ', ''}, {'{', ''}}) do
    local first, last = string.find(owners, bounds[1] .. entry .. bounds[2], 1, true)
    if first then
      local opening = bounds[1] == '{' and '{' or ''
      owners = string.sub(owners, 1, first - 1) .. opening .. string.sub(owners, last + 1)
      break
    end
  end
end
if #claims + #releases > 0 then redis.call('SET', KEYS[8], owners) end
local last_run = redis.call('GET', KEYS[7])
if last_run then
  local undo_of = {}
  for i = 9, #KEYS do undo_of[string.match(KEYS[i], '.*:undo:(.*)$')] = KEYS[i] end
  for id in string.gmatch(string.match(last_run, '"revisions": (%b[])') or '', '"([%w_]+)"') do
    if undo_of[id] then redis.call('DEL', undo_of[id]) end
  end
  redis.call('DEL', KEYS[7])
end
return revision .. (stamps and ' is recorded' or mode == 'record' and ' is applied' or ' is undone')
""".rstrip()
)

APPLY_SHA1 = hashlib.sha1(APPLY.encode(), usedforsecurity=False).hexdigest()


def digest_of_ids(revisions: Iterable[str]) -> str:
    """What the script compares the applied revisions with."""
    return hashlib.sha1(" ".join(sorted(revisions)).encode(), usedforsecurity=False).hexdigest()


def behind_version(content: Mapping[str, Any]) -> str:
    """The text of a document of this content, all of it behind its version."""
    return render_document(0, content).decode().removeprefix('{"version": 0, ')


def digest_of_indexes(content: Mapping[str, Any]) -> str:
    """What the script compares the indexes document with; "" where there is no index."""
    if not content.get("indexes"):
        return ""
    return hashlib.sha1(behind_version(content).encode(), usedforsecurity=False).hexdigest()
