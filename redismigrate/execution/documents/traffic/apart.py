"""The script that writes documents one by one, so that what is refused for one leaves the others alone.

MULTI does not roll back: a command that is refused inside of EXEC leaves those beside it done, and among them
may be the note that the refused one was done. So the commands of a document and the note of them go together,
and stop at the first refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redismigrate.documents.exact_numbers import EXACT_TEXT, UNSPELLABLE
from redismigrate.execution.documents.traffic.mirroring import DocumentWrites
from redismigrate.redis_server.wire import render

# Answers for each document with 1, or with the text of what was refused.
_WRITE_APART = """
%s
local answers, at = {}, 2
for document = 1, tonumber(ARGV[1]) do
  local commands, refused = tonumber(ARGV[at]), false
  at = at + 1
  for command = 1, commands do
    local words = tonumber(ARGV[at])
    if not refused and ARGV[at + 1] == 'JSON.SET' then
      ARGV[at + 4] = exact_text(ARGV[at + 4])
      if not ARGV[at + 4] then refused = '%s' end
    end
    if not refused then
      local reply = redis.pcall(unpack(ARGV, at + 1, at + words))
      if type(reply) == 'table' and reply.err then refused = reply.err end
    end
    at = at + words + 1
  end
  -- What takes back the first of them.
  local undoing = tonumber(ARGV[at])
  at = at + 1
  for command = 1, undoing do
    local words = tonumber(ARGV[at])
    if refused then redis.pcall(unpack(ARGV, at + 1, at + words)) end
    at = at + words + 1
  end
  answers[document] = refused or 1
end
return answers
"""


_HASHES = (_WRITE_APART % ("", "")).encode()
_JSON = (_WRITE_APART % (EXACT_TEXT, UNSPELLABLE)).encode()


def write_apart(documents: Sequence[DocumentWrites]) -> bytes:
    """The command that carries out the writes of some documents; see `refusals_in` for its reply."""
    keys = list(dict.fromkeys(key for document in documents for key in document.keys))
    has_json = any(command[0] == b"JSON.SET" for document in documents for command in document.commands)
    words = [b"EVAL", _JSON if has_json else _HASHES, b"%d" % len(keys), *keys, b"%d" % len(documents)]
    for document in documents:
        for commands in (document.commands, document.undo):
            words.append(b"%d" % len(commands))
            for command in commands:
                words += (b"%d" % len(command), *command)
    return render(*words)


def refusals_in(
    documents: Sequence[DocumentWrites], answers: Iterable[object]
) -> list[tuple[DocumentWrites, bytes]]:
    """The documents of which a command was refused, and how the server said so."""
    return [
        (document, answer)
        for document, answer in zip(documents, answers, strict=True)
        if isinstance(answer, bytes)
    ]
