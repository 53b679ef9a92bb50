"""Reads the documents of an index in batches, the next ones already asked for while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column, FixedWidth
from redismigrate.execution.indexes.live import batches_of_keys
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import Wire, is_of_another_type, refusal, render, render_for_keys
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
BATCHES_IN_FLIGHT = 2
# Of JSON texts in a reply, unless the first is longer. How long they are nobody knows before.
REPLY_BYTES = 2 << 20
KEYS_PER_REPLY = 500

# KEYS: JSON documents. ARGV: the bytes after which it stops. Answers with the texts of as many keys as it got
# to; a key that has gone, or has become another type, has none, and one that is refused has the error.
_READ_JSON = b"""
local texts, left = {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local text = redis.pcall('JSON.GET', key)
  texts[i] = text
  left = left - (type(text) == 'string' and #text or 0)
  if left <= 0 then break end
end
return texts
"""


OnRefused = Callable[[bytes, str], object]
"""Told of a document that can't be read, and why."""


def pass_over(key: bytes, reason: str) -> None:
    """Take a document that can't be read for one without values: who backs up has named it already."""


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
    server: Server,
    batches: Iterable[Sequence[bytes]],
    fields: Sequence[str],
    on_refused: OnRefused = pass_over,
) -> Iterator[Batch]:
    """The values of some hash fields, batch by batch; a key that has gone has none.

    Args:
        server: The connection that this one is a copy of.
        batches: The keys.
        fields: The hash fields.
        on_refused: Told of each document that can't be read, which has no values then.

    Raises:
        redis.ResponseError: The server refuses what it would refuse for every document.
    """
    names = tuple(map(encode, fields))
    if len(names) == 1:
        columns_of_one = ask_ahead(
            server,
            batches,
            lambda keys: render_for_keys(b"HMGET", keys, names),
            lambda wire, keys: _receive_column(wire, keys, on_refused),
        )
        yield from (Batch(list(keys), {fields[0]: column}) for keys, column in columns_of_one)
        return
    for keys, rows in _replies(server, batches, b"HMGET", names, on_refused):
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


def read_json(
    server: Server, batches: Iterable[Sequence[bytes]], column: str, on_refused: OnRefused = pass_over
) -> Iterator[Batch]:
    """The texts of whole JSON documents, in batches of its own: the longer the texts, the fewer in a batch.

    Args:
        server: The connection that this one is a copy of.
        batches: The keys. Some of a batch may come after those of later ones.
        column: What the batches call the texts.
        on_refused: Told of each document that can't be read, which has no text then.

    Raises:
        redis.ResponseError: The server refuses what it would refuse for every document.
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
            if refusal(texts) is not None:
                # Of which key it is the server does not say.
                if len(keys) > 1:
                    half = len(keys) // 2
                    unanswered += (keys[:half], keys[half:])
                    continue
                texts = [texts]
            if len(texts) < len(keys):
                unanswered.append(keys[len(texts) :])
            if any(isinstance(text, Exception) for text in texts):
                _note_refusals(keys[: len(texts)], texts, on_refused)
                texts = [None if isinstance(text, Exception) else text for text in texts]
            yield Batch(list(keys[: len(texts)]), {column: texts})


def ask_in_halves(
    server: Server, keys: Sequence[bytes], command: Callable[[Sequence[bytes]], bytes]
) -> list[object]:
    """What a command over many keys answers for each, where it was refused because of one that is unknown.

    Args:
        server: The connection that this one is a copy of.
        keys: At least one.
        command: Renders the command for some of the keys; it answers with a list.

    Returns:
        The answers in the order of the keys, the error for a key of which the command is refused.

    Raises:
        redis.ResponseError: The server refuses what it would refuse for every key.
    """
    answers: list[object] = []
    with server.translated_errors(), closing(Wire(server.client)) as wire:
        work = deque([keys])
        while work:
            part = work.popleft()
            wire.send(command(part))
            (reply,) = wire.receive(1)
            if refusal(reply) is None:
                answers += reply
            elif len(part) == 1:
                answers.append(reply)
            else:
                half = len(part) // 2
                work.extendleft((part[half:], part[:half]))
    return answers


def ask_ahead(
    server: Server,
    batches: Iterable[_Item],
    command: Callable[[_Item], bytes],
    receive: Callable[[Wire, _Item], _Result],
) -> Iterator[_Result]:
    """What the server answers for each batch, the next ones already asked for.

    Args:
        server: The connection that this one is a copy of.
        batches: What to ask for.
        command: Renders the commands for a batch.
        receive: Receives the replies to them.
    """
    asked: deque[_Item] = deque()
    with server.translated_errors(), closing(Wire(server.client)) as wire:
        for batch in batches:
            wire.send(command(batch))
            asked.append(batch)
            if len(asked) > BATCHES_IN_FLIGHT:
                yield receive(wire, asked.popleft())
        while asked:
            yield receive(wire, asked.popleft())


def _replies(
    server: Server,
    batches: Iterable[Sequence[bytes]],
    command: bytes,
    arguments: tuple[bytes, ...],
    on_refused: OnRefused = pass_over,
) -> Iterator[tuple[Sequence[bytes], list[object]]]:
    """What a command answers for each key. A key of another type answers with an error, which is kept."""
    return ask_ahead(
        server,
        batches,
        lambda keys: render_for_keys(command, keys, arguments),
        lambda wire, keys: _receive(wire, keys, on_refused),
    )


def _receive_column(
    wire: Wire, keys: Sequence[bytes], on_refused: OnRefused
) -> tuple[Sequence[bytes], Column]:
    replies = wire.receive_column(len(keys))
    if isinstance(replies, FixedWidth):
        return keys, replies
    _note_refusals(keys, replies, on_refused)
    return keys, [reply[0] if isinstance(reply, list) else None for reply in replies]


def _receive(
    wire: Wire, keys: Sequence[bytes], on_refused: OnRefused
) -> tuple[Sequence[bytes], list[object]]:
    replies = wire.receive(len(keys))
    _note_refusals(keys, replies, on_refused)
    return keys, replies


def _note_refusals(keys: Sequence[bytes], replies: Sequence[object], on_refused: OnRefused) -> None:
    """Tell of documents that can't be read; a key that has become another type is none any more."""
    for key, reply in zip(keys, replies, strict=True):
        if isinstance(reply, Exception) and not is_of_another_type(reply):
            reason = refusal(reply)
            if reason is not None:
                on_refused(key, reason)


KEYS_PER_SCRIPT = 500
