"""Reads the documents of an index in batches, the next ones already asked for while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from redismigrate.execution.documents.batch import Batch
from redismigrate.execution.documents.columns import Column, FixedWidth
from redismigrate.execution.documents.wire import Wire, raise_refusal, render, render_for_keys
from redismigrate.execution.live import batches_of_keys
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode

Item = TypeVar("Item")
Result = TypeVar("Result")
BATCHES_IN_FLIGHT = 2
# Of JSON texts in a reply, unless the first is longer. How long they are nobody knows before.
REPLY_BYTES = 2 << 20
KEYS_PER_REPLY = 500

# KEYS: JSON documents. ARGV: the bytes after which it stops. Answers with the texts of as many keys as it got
# to; a key that has gone, or has become another type, has none.
_READ_JSON = b"""
local texts, left = {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local text = redis.pcall('JSON.GET', key)
  if type(text) == 'table' then
    local error = text.err
    if not (string.find(error, '^WRONGTYPE') or string.find(error, '^Existing key')) then return text end
    text = false
  end
  texts[i] = text
  left = left - (text and #text or 0)
  if left <= 0 then break end
end
return texts
"""


def batches_of_documents(
    server: Server, schema: IndexSchema, size: int, excluded_prefixes: tuple[str, ...] = ()
) -> Iterator[list[bytes]]:
    """The keys that an index is about, never more than a batch of them in memory.

    Args:
        server: The connection.
        schema: Tells prefixes and type.
        size: Keys in a batch at most.
        excluded_prefixes: Of keys that are left out.
    """
    excluded = tuple(map(encode, excluded_prefixes))
    for keys in batches_of_keys(server, schema, size):
        yield [key for key in keys if not key.startswith(excluded)] if excluded else keys


def read_batches(
    server: Server, batches: Iterable[Sequence[bytes]], fields: Sequence[str]
) -> Iterator[Batch]:
    """The values of some hash fields, batch by batch; a key that has gone has none.

    Args:
        server: The connection that this one is a copy of.
        batches: The keys.
        fields: The hash fields.
    """
    names = tuple(map(encode, fields))
    if len(names) == 1:
        columns_of_one = ask_ahead(
            server, batches, lambda keys: render_for_keys(b"HMGET", keys, names), _receive_column
        )
        yield from (Batch(list(keys), {fields[0]: column}) for keys, column in columns_of_one)
        return
    for keys, rows in _replies(server, batches, b"HMGET", names):
        columns: dict[str, Column] = {
            field: [row[position] if isinstance(row, list) else None for row in rows]
            for position, field in enumerate(fields)
        }
        yield Batch(list(keys), columns)


def keys_of_length(
    server: Server, batches: Iterable[Sequence[bytes]], field: str, size_bytes: int
) -> Iterator[list[bytes]]:
    """The keys whose value in a hash field has so many bytes, batch by batch; the values are not read."""
    for keys, lengths in _replies(server, batches, b"HSTRLEN", (encode(field),)):
        yield [key for key, length in zip(keys, lengths, strict=True) if length == size_bytes]


def read_json(server: Server, batches: Iterable[Sequence[bytes]], column: str) -> Iterator[Batch]:
    """The texts of whole JSON documents, in batches of its own: the longer the texts, the fewer in a batch.

    Args:
        server: The connection that this one is a copy of.
        batches: The keys. Some of a batch may come after those of later ones.
        column: What the batches call the texts.
    """
    requests = (
        keys[start : start + KEYS_PER_REPLY]
        for keys in batches
        for start in range(0, len(keys), KEYS_PER_REPLY)
    )
    unanswered: deque[Sequence[bytes]] = deque()
    asked: deque[Sequence[bytes]] = deque()
    with server.translated_errors(), closing(Wire(server.client)) as wire:
        while True:
            while len(asked) <= BATCHES_IN_FLIGHT and (
                keys := unanswered.popleft() if unanswered else next(requests, ())
            ):
                wire.send(render(b"EVAL", _READ_JSON, b"%d" % len(keys), *keys, b"%d" % REPLY_BYTES))
                asked.append(keys)
            if not asked:
                return
            keys = asked.popleft()
            (texts,) = wire.receive(1)
            raise_refusal(texts)
            if len(texts) < len(keys):
                unanswered.append(keys[len(texts) :])
            yield Batch(list(keys[: len(texts)]), {column: texts})


def ask_ahead(
    server: Server,
    batches: Iterable[Item],
    command: Callable[[Item], bytes],
    receive: Callable[[Wire, Item], Result],
) -> Iterator[Result]:
    """What the server answers for each batch, the next ones already asked for.

    Args:
        server: The connection that this one is a copy of.
        batches: What to ask for.
        command: Renders the commands for a batch.
        receive: Receives the replies to them.
    """
    asked: deque[Item] = deque()
    with server.translated_errors(), closing(Wire(server.client)) as wire:
        for batch in batches:
            wire.send(command(batch))
            asked.append(batch)
            if len(asked) > BATCHES_IN_FLIGHT:
                yield receive(wire, asked.popleft())
        while asked:
            yield receive(wire, asked.popleft())


def _replies(
    server: Server, batches: Iterable[Sequence[bytes]], command: bytes, arguments: tuple[bytes, ...]
) -> Iterator[tuple[Sequence[bytes], list[object]]]:
    """What a command answers for each key. A key of another type answers with an error, which is kept."""
    return ask_ahead(server, batches, lambda keys: render_for_keys(command, keys, arguments), _receive)


def _receive_column(wire: Wire, keys: Sequence[bytes]) -> tuple[Sequence[bytes], Column]:
    replies = wire.receive_column(len(keys))
    if isinstance(replies, FixedWidth):
        return keys, replies
    _raise_unexpected(replies)
    return keys, [reply[0] if isinstance(reply, list) else None for reply in replies]


def _receive(wire: Wire, keys: Sequence[bytes]) -> tuple[Sequence[bytes], list[object]]:
    replies = wire.receive(len(keys))
    _raise_unexpected(replies)
    return keys, replies


def _raise_unexpected(replies: Sequence[object]) -> None:
    """Raise the first error that is not about a key which has become another type."""
    for reply in replies:
        if isinstance(reply, Exception) and not str(reply).startswith(("WRONGTYPE", "Existing key")):
            raise_refusal(reply)
