"""Brings documents into a new index one by one: a value of each is written once more, unchanged.

FT.CREATE scans all keys of the server, which takes five times as long as SCAN. Where the documents are few
among many keys, the index is made without that scan, and they are shown to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from redismigrate.documents.failures import Failures
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode
from redismigrate.execution.documents.traffic.expiries import KEEP_EXPIRIES
from redismigrate.redis_server.wire import refusal, render

# KEYS: hashes, or what has become of them. What has expired meanwhile is removed, which shows
# the document as well. Answers 1 for each that is there, or the error for it.
_TOUCH = f"""
{KEEP_EXPIRIES}
local function show(key)
  local found = redis.pcall('HRANDFIELD', key, 1, 'WITHVALUES')
  if not found[1] then return 0 end
  local expiry = expiry_of(key, found[1])
  if expiry == NO_SUCH_FIELD then
    redis.call('HDEL', key, found[1])
    return 1
  end
  write_keeping(key, {{found[1]}}, {{found[2]}}, {{expiry}})
  return 1
end
local answers = {{}}
for i, key in ipairs(KEYS) do
  local is_done, answer = pcall(show, key)
  answers[i] = is_done and answer or {{err = type(answer) == 'table' and answer.err or tostring(answer)}}
end
return answers
""".encode()


@dataclass
class Touched:
    """What became of documents that were to be shown.

    Attributes:
        documents: How many there were.
        failures: Those that could not be written.
    """

    documents: int = 0
    failures: Failures = field(default_factory=Failures)


def touch(job: RewriteJob, keys: Iterable[Sequence[bytes]]) -> Touched:
    """Show hashes to all indexes they belong to.

    Args:
        job: The rewrite that is done with them.
        keys: In batches.

    Raises:
        FenceLost: Another process has taken over the lock.
    """

    def command(batch: Sequence[bytes]) -> bytes:
        return render(b"EVAL", _TOUCH, b"%d" % len(batch), *batch)

    touched = Touched()
    with job.exchanger() as exchanger:
        exchanges = (Exchange(list(batch), {}, {}) for batch in keys)
        for outcome in exchanger.run(exchanges, Mode(after=command)):
            reasons = {key: refusal(answer) for key, answer in outcome.after.items()} | outcome.refused
            touched.documents += sum(answer == 1 for answer in outcome.after.values())
            for key, reason in reasons.items():
                if reason is not None:
                    touched.failures.add(key, reason)
            job.on_progress(outcome.documents)
    return touched
