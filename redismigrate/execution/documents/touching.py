"""Brings documents into a new index one by one: a value of each is written once more, unchanged.

FT.CREATE scans all keys of the server, which takes five times as long as SCAN. Where the documents are few
among many keys, the index is made without that scan, and they are shown to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redismigrate.execution.documents.exchange import Exchange, Mode
from redismigrate.execution.documents.job import RewriteJob
from redismigrate.execution.documents.moving import FIELDS_EXPIRE, HAS_EXPIRED
from redismigrate.execution.documents.wire import render

# KEYS: hashes, or what has become of them. HSET clears the time to live of a field, so it is set again; what
# has expired meanwhile (see `HAS_EXPIRED`) is removed, which shows the document as well. Answers 1 for each
# that is there.
_TOUCH = f"""
{FIELDS_EXPIRE}
local answers = {{}}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('HRANDFIELD', key, 1, 'WITHVALUES')
  answers[i] = found[1] and 1 or 0
  if found[1] then
    local expiry = fields_expire and redis.call('HPEXPIRETIME', key, 'FIELDS', 1, found[1])[1] or -1
    if expiry == {HAS_EXPIRED} then
      redis.call('HDEL', key, found[1])
    else
      redis.call('HSET', key, found[1], found[2])
      if expiry > 0 then redis.call('HPEXPIREAT', key, expiry, 'FIELDS', 1, found[1]) end
    end
  end
end
return answers
""".encode()


def touch(job: RewriteJob, keys: Iterable[Sequence[bytes]]) -> int:
    """Show hashes to all indexes they belong to.

    Args:
        job: The rewrite that is done with them.
        keys: In batches.

    Returns:
        How many there were.
    """

    def command(batch: Sequence[bytes]) -> bytes:
        return render(b"EVAL", _TOUCH, b"%d" % len(batch), *batch)

    touched = 0
    with job.exchanger() as exchanger:
        exchanges = (Exchange(list(batch), {}, {}) for batch in keys)
        for outcome in exchanger.run(exchanges, Mode(after=command)):
            touched += sum(answer == 1 for answer in outcome.after.values())
            job.on_progress(outcome.documents)
    return touched
