"""The Lua scripts behind every write to the state.

A process that was stopped past its lease must change nothing when it wakes, so each script first compares the
fencing token that the process was given with the last one given out.
"""

from __future__ import annotations

# The first word of the errors that the scripts raise themselves.
FENCED = "REDISMIGRATE_FENCED"
CONFLICT = "REDISMIGRATE_CONFLICT"
REFUSED = "REDISMIGRATE_REFUSED"
MOVED = "REDISMIGRATE_MOVED"
# Stands for the expected version of a document that is written once.
ANY_VERSION = "any"
# Stands for the new value of a document that is only to have its version.
UNCHANGED = b"="

# FT.INFO as a table. In a script the server gives its names, and some values, as status replies.
READ_INFO = """
local function read_info(reply)
  local found = {}
  for i = 1, #reply - 1, 2 do
    local name, value = reply[i], reply[i + 1]
    found[type(name) == 'table' and name.ok or name] = type(value) == 'table' and value.ok or value
  end
  return found
end
""".strip()

# What stands in ARGV behind `at`, one after the other: values, counted lists, and lists of such lists.
TAKE = """
local function take() at = at + 1; return ARGV[at] end
local function take_list()
  local list = {}
  for i = 1, tonumber(take()) do list[i] = take() end
  return list
end
local function take_commands()
  local commands = {}
  for i = 1, tonumber(take()) do commands[i] = take_list() end
  return commands
end
""".strip()

# KEYS: fence, journal, one per document. ARGV: token, then counted lists: documents (expected version, new
# value; "" deletes, "=" leaves it), event (name, value), commands, commands that put things back, and guards:
# an index, and what its max_doc_id and num_docs have to be still. A document's JSON begins with its version,
# so that it can be read without the rest.
# Commands come before documents: when one is refused, nothing is recorded. SETRANGE comes first: a server
# over maxmemory refuses it, and with it the script, while FT.DROPINDEX alone would pass. With an empty string
# it changes nothing: batches of documents WATCH the fence, and a SET would abort those under way.
# Rights are looked at before the first command (where the server can, from 7.0 on): with some of them only,
# an index could be dropped and neither created nor put back. So are those to the documents and the journal,
# and whether that is a stream: what was done before a write that is refused stays done.
TRANSACTION = (
    READ_INFO
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('REDISMIGRATE_FENCED') end
local at = 1
"""
    + TAKE
    + """
local versions, values = {}, {}
for i = 1, tonumber(take()) do
  versions[i] = take(); values[i] = take()
  if versions[i] ~= 'any' then
    local current = redis.call('GETRANGE', KEYS[2 + i], 0, 39)
    local version = current ~= '' and (string.match(current, '^{"version": ?(%d+)') or '?') or '0'
    if version ~= versions[i] then return redis.error_reply('REDISMIGRATE_CONFLICT ' .. KEYS[2 + i]) end
  end
end
local function is_forbidden(command)
  if not redis.acl_check_cmd then return false end
  local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(command))
  return is_known and not is_allowed
end
local event, commands, put_back = take_list(), take_commands(), take_commands()
for i, value in ipairs(values) do
  local write = value == '' and {'DEL', KEYS[2 + i]} or {'SET', KEYS[2 + i], value}
  if value ~= '=' and is_forbidden(write) then
    return redis.error_reply('NOPERM the user has no permissions to run ' .. write[1] .. ' on ' .. write[2])
  end
end
if #event > 0 then
  if is_forbidden({'XADD', KEYS[2], '*', 'event', ''}) then
    return redis.error_reply('NOPERM the user has no permissions to run XADD on ' .. KEYS[2])
  end
  local length = redis.pcall('XLEN', KEYS[2])
  if type(length) == 'table' and string.find(length.err, '^WRONGTYPE') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no stream')
  end
end
redis.call('SETRANGE', KEYS[1], 0, '')
for _, guard in ipairs(take_commands()) do
  local found = read_info(redis.call('FT.INFO', guard[1]))
  if tonumber(found.max_doc_id) ~= tonumber(guard[2]) or tonumber(found.num_docs) ~= tonumber(guard[3]) then
    return redis.error_reply('REDISMIGRATE_MOVED ' .. guard[1])
  end
end
for i, command in ipairs(commands) do
  if is_forbidden(command) then
    return redis.error_reply('REDISMIGRATE_REFUSED ' .. (i - 1) .. ' the user lacks the right to run it')
  end
end
for _, command in ipairs(#commands > 1 and put_back or {}) do
  if is_forbidden(command) then
    local reason = ' the user lacks the right to run ' .. command[1] .. ', which may have to put it back'
    return redis.error_reply('REDISMIGRATE_REFUSED 0' .. reason)
  end
end
for i, command in ipairs(commands) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then
    if i > 1 then for _, undo in ipairs(put_back) do redis.pcall(unpack(undo)) end end
    return redis.error_reply('REDISMIGRATE_REFUSED ' .. (i - 1) .. ' ' .. reply.err)
  end
end
for i, value in ipairs(values) do
  if value == '' then redis.call('DEL', KEYS[2 + i]) end
  if value ~= '' and value ~= '=' then redis.call('SET', KEYS[2 + i], value) end
end
if #event > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', '10000', '*', unpack(event)) end
return 'OK'
""".rstrip()
)

# The token after the last one: a number one higher, and the moment. The server may have forgotten the last
# one, after FLUSHALL, a crash, or when a replica that lags takes its place: the number alone would come
# twice, and let a process write that was stopped before that.
NEXT_TOKEN = """
local function next_token(last)
  local time = redis.call('TIME')
  local digits = string.match(last or '', '^%d+') or '0'
  if #digits > 15 then digits = '0' end
  return string.format('%d-%s%06d', tonumber(digits) + 1, time[1], tonumber(time[2]))
end
""".strip()

# KEYS: lock, fence. ARGV: owner, lease in ms, the owner that may be replaced ("" for none).
# Gives {1, token} or {0, the present owner}.
ACQUIRE = (
    NEXT_TOKEN
    + """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[3] then return {0, owner} end
local token = next_token(redis.call('GET', KEYS[2]))
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, token}
""".rstrip()
)

# KEYS: lock, fence. Gives a token to who follows without the lock; false while somebody holds it. All who
# follow share one, which no holder of the lock ever had: one that was stopped, and whose lease has run out,
# must not wake up and work beside them.
FOLLOW = (
    NEXT_TOKEN
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local last = redis.call('GET', KEYS[2])
if last and string.sub(last, -1) == 'f' then return last end
local token = next_token(last) .. 'f'
redis.call('SET', KEYS[2], token)
return token
""".rstrip()
)

# KEYS: lock, fence. ARGV: owner, lease in ms, token. A lease that ran out unnoticed is taken up again as long
# as nobody else got a token since.
RENEW = """
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""".strip()

# KEYS: lock. ARGV: owner.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""".strip()

# KEYS: lock, fence. Whoever holds the lock may write nothing any more, nor may who held it until its lease
# ran out: that may be a process that was stopped and wakes later.
BREAK = (
    NEXT_TOKEN
    + """
local owner, last = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
redis.call('DEL', KEYS[1])
if last then redis.call('SET', KEYS[2], next_token(last)) end
return owner
""".rstrip()
)

# KEYS: owners, and the fence where it is in reach (a cluster puts it into another slot).
# ARGV: expected value ("" for none), new value, token.
REPLACE_OWNERS = """
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[3] then return redis.error_reply('REDISMIGRATE_FENCED') end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
""".strip()

# KEYS: run, control, journal. ARGV: id of the run, expected value ("" for none), new value, then the event. A
# run's document begins with version, layout and id.
CONTROL = """
local run = redis.call('GETRANGE', KEYS[1], 0, 99)
if not string.find(run, '"id": "' .. ARGV[1] .. '"', 1, true) then return -1 end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
-- The event first: without it nothing is set.
redis.call('XADD', KEYS[3], 'MAXLEN', '~', '10000', '*', unpack(ARGV, 4))
redis.call('SET', KEYS[2], ARGV[3])
return 1
""".strip()

# KEYS: fence, run, counts. ARGV: token, id of the run, expected value ("" for none), new value. What came
# too late is not written: there would be nobody to delete it.
REPLACE_COUNTS = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local run = redis.call('GETRANGE', KEYS[2], 0, 99)
if not string.find(run, '"id": "' .. ARGV[2] .. '"', 1, true) then return 0 end
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[3], ARGV[4])
return 1
""".strip()
