"""Gives members of JSON documents their order back, which a rename changes, by the texts in the backup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from redismigrate.backup.backup import Backup
from redismigrate.documents.exact_numbers import EXACT_TEXT, UNSPELLABLE
from redismigrate.documents.failures import Failures
from redismigrate.documents.json_members import normalised
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode
from redismigrate.execution.documents.traffic.reading import read_json
from redismigrate.redis_server.wire import refusal, render
from redismigrate.schema.json_paths import WHOLE_DOCUMENT

# KEYS: documents. ARGV: pairs of the text that is expected and the one to set. Answers for each with 1, or
# the error with which it was refused. A key that has become another type holds no text.
_PUT_BACK_TEXTS = f"""
{EXACT_TEXT}
local answers = {{}}
for i, key in ipairs(KEYS) do
  local answer = 1
  if redis.pcall('JSON.GET', key) == ARGV[2 * i - 1] then
    local text = exact_text(ARGV[2 * i])
    local reply = text and redis.pcall('JSON.SET', key, '$', text) or {{err = '{UNSPELLABLE}'}}
    if type(reply) == 'table' and reply.err then answer = reply end
  end
  answers[i] = answer
end
return answers
""".encode()


def restore_member_order(job: RewriteJob, backup: Backup, left: Failures) -> None:
    """Give members their order back, which a rename changes, where a document is otherwise its original.

    Args:
        job: The rewrite that is undone, its moves already.
        backup: Its backup.
        left: Gets the documents that the server refused to write.
    """
    with job.exchanger() as exchanger:
        for chunk in backup.chunks():
            originals = chunk.documents.columns[WHOLE_DOCUMENT]
            by_key = dict(zip(chunk.documents.keys, originals, strict=True))
            for now in read_json(job.server, job.in_turn((chunk.documents.keys,)), WHOLE_DOCUMENT):
                texts = {
                    key: (current, original)
                    for key, current in zip(now.keys, now.columns[WHOLE_DOCUMENT], strict=True)
                    if (original := by_key[key]) is not None
                    and current is not None
                    and original != current
                    and normalised(original) == normalised(current)
                }
                if texts:
                    exchange = Exchange(list(texts), {}, {})
                    # The script compares for itself.
                    mode = Mode(compares=False, after=partial(_put_back_command, texts))
                    for outcome in exchanger.run((exchange,), mode):
                        reasons = {key: refusal(answer) for key, answer in outcome.after.items()}
                        for key, reason in (reasons | outcome.refused).items():
                            if reason is not None:
                                left.add(key, f"its members keep another order than before: {reason}")


def _put_back_command(texts: Mapping[bytes, tuple[bytes, bytes]], keys: Sequence[bytes]) -> bytes:
    words = [word for key in keys for word in texts[key]]
    return render(b"EVAL", _PUT_BACK_TEXTS, b"%d" % len(keys), *keys, *words)
