"""Reads the documents of an index in batches, the next ones already asked for while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from typing import Protocol, TypeVar

from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column, FixedWidth
from redismigrate.documents.rewrite import Recoding
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.documents.traffic.value_store import HASH_FIELDS, ValueStore, render_lengths
from redismigrate.execution.indexes.live import batches_of_keys
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import (
    Wire,
    is_of_another_type,
    raise_refusal,
    refusal,
    render,
    render_for_keys,
)
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


class KeySpace(Protocol):
    """Tells which server holds a batch of keys: one server that has all of them, or nodes."""

    def server_of(self, keys: Sequence[bytes]) -> Server:
        """The connection to it."""


class _Wires:
    """Owns a connection to each server that is read from, made when it is asked for the first time."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._wires: dict[Server, Wire] = {}

    def to(self, server: Server) -> Wire:
        """The connection to a server."""
        wire = self._wires.get(server)
        if wire is None:
            wire = self._wires[server] = self._opened.enter_context(closing(Wire(server.client)))
        return wire

    def close(self) -> None:
        """Close all of them."""
        self._opened.close()


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


def documents_on(
    nodes: Nodes, schema: IndexSchema, size: int, excluded_prefixes: tuple[str, ...] = ()
) -> Iterator[list[bytes]]:
    """The keys that an index is about, node by node, each batch of one node.

    Args:
        nodes: Where the documents are.
        schema: Tells prefixes and type.
        size: Keys in a batch at most.
        excluded_prefixes: Of keys that are left out.
    """
    return chain.from_iterable(
        batches_of_documents(node.server, schema, size, excluded_prefixes) for node in nodes.all
    )


def read_batches(
    keys_on: KeySpace,
    batches: Iterable[Sequence[bytes]],
    fields: Sequence[str],
    on_refused: OnRefused = pass_over,
    store: ValueStore = HASH_FIELDS,
) -> Iterator[Batch]:
    """The values of some fields, batch by batch; a key that has gone has none.

    Args:
        keys_on: Which server they are on; each batch is on one.
        batches: The keys.
        fields: The hash fields or JSON paths.
        on_refused: Told of each document that can't be read, which has no values then.
        store: Tells how they are read.

    Raises:
        redis.ResponseError: The server refuses what it would refuse for every document.
    """
    names = tuple(map(encode, fields))
    if len(names) == 1 and store.reads_columns:
        columns_of_one = ask_ahead(
            keys_on,
            batches,
            _themselves,
            lambda keys: render_for_keys(b"HMGET", keys, names),
            lambda wire, keys: _receive_column(wire, keys, on_refused),
        )
        yield from (Batch(list(keys), {fields[0]: column}) for keys, column in columns_of_one)
        return
    replies = ask_ahead(
        keys_on,
        batches,
        _themselves,
        lambda keys: store.reads(keys, names)[0],
        lambda wire, keys: _receive_rows(wire, keys, names, store, on_refused),
    )
    for keys, rows in replies:
        columns: dict[str, Column] = {
            field: [row[position] if isinstance(row, list) else None for row in rows]
            for position, field in enumerate(fields)
        }
        yield Batch(list(keys), columns)


def keys_of_length(
    keys_on: KeySpace, batches: Iterable[Sequence[bytes]], field: str, size_bytes: int
) -> Iterator[list[bytes]]:
    """The keys whose value in a hash field has so many bytes, batch by batch; the values are not read."""
    for keys, lengths in _replies(keys_on, batches, b"HSTRLEN", (encode(field),)):
        yield [key for key, length in zip(keys, lengths, strict=True) if length == size_bytes]


def keys_of_components(
    keys_on: KeySpace, batches: Iterable[Sequence[bytes]], path: str, components: int
) -> Iterator[list[bytes]]:
    """The keys whose array at a JSON path has so many elements, batch by batch; it is not read."""

    def received(wire: Wire, keys: Sequence[bytes]) -> list[bytes]:
        (lengths,) = wire.receive(1)
        raise_refusal(lengths)
        return [key for key, length in zip(keys, lengths, strict=True) if length == components]

    filled = (keys for keys in batches if keys)
    yield from ask_ahead(
        keys_on, filled, _themselves, lambda keys: render_lengths(keys, encode(path)), received
    )


def keys_in_form(
    keys_on: KeySpace, batches: Iterable[Sequence[bytes]], recoding: Recoding, *, is_new: bool
) -> Iterator[list[bytes]]:
    """The keys whose vector has the old form of a recoding, or the new one, by its length.

    Args:
        keys_on: Which server they are on; each batch is on one.
        batches: The keys.
        recoding: Between the two.
        is_new: Which of them is asked for.
    """
    if recoding.is_json:
        components = recoding.dims_after if is_new else recoding.dims
        return keys_of_components(keys_on, batches, recoding.path, components)
    size_bytes = recoding.bytes_after if is_new else recoding.bytes_before
    return keys_of_length(keys_on, batches, recoding.path, size_bytes)


def read_json(
    keys_on: KeySpace, batches: Iterable[Sequence[bytes]], column: str, on_refused: OnRefused = pass_over
) -> Iterator[Batch]:
    """The texts of whole JSON documents, in batches of its own: the longer the texts, the fewer in a batch.

    Args:
        keys_on: Which server they are on; each batch is on one.
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
    with closing(_Wires()) as wires:
        while True:
            while len(asked) <= BATCHES_IN_FLIGHT and (
                keys := unanswered.popleft() if unanswered else next(requests, ())
            ):
                server = keys_on.server_of(keys)
                with server.translated_errors():
                    command = render(b"EVAL", _READ_JSON, b"%d" % len(keys), *keys, b"%d" % REPLY_BYTES)
                    wires.to(server).send(command)
                asked.append(keys)
            if not asked:
                return
            keys = asked.popleft()
            server = keys_on.server_of(keys)
            with server.translated_errors():
                (texts,) = wires.to(server).receive(1)
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
    keys_on: KeySpace, keys: Sequence[bytes], command: Callable[[Sequence[bytes]], bytes]
) -> list[object]:
    """What a command over many keys answers for each, where it was refused because of one that is unknown.

    Args:
        keys_on: Which server they are on.
        keys: At least one.
        command: Renders the command for some of the keys; it answers with a list.

    Returns:
        The answers in the order of the keys, the error for a key of which the command is refused.

    Raises:
        redis.ResponseError: The server refuses what it would refuse for every key.
    """
    answers: list[object] = []
    server = keys_on.server_of(keys)
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
    keys_on: KeySpace,
    batches: Iterable[_Item],
    keys_of: Callable[[_Item], Sequence[bytes]],
    command: Callable[[_Item], bytes],
    receive: Callable[[Wire, _Item], _Result],
) -> Iterator[_Result]:
    """What the server answers for each batch, the next ones already asked for.

    Args:
        keys_on: Which server they are on; each batch is on one.
        batches: What to ask for.
        keys_of: The keys of a batch.
        command: Renders the commands for a batch.
        receive: Receives the replies to them.
    """
    asked: deque[tuple[Server, _Item]] = deque()
    with closing(_Wires()) as wires:

        def answered() -> _Result:
            server, batch = asked.popleft()
            with server.translated_errors():
                return receive(wires.to(server), batch)

        for batch in batches:
            server = keys_on.server_of(keys_of(batch))
            with server.translated_errors():
                wires.to(server).send(command(batch))
            asked.append((server, batch))
            if len(asked) > BATCHES_IN_FLIGHT:
                yield answered()
        while asked:
            yield answered()


def _themselves(keys: Sequence[bytes]) -> Sequence[bytes]:
    return keys


def _replies(
    keys_on: KeySpace,
    batches: Iterable[Sequence[bytes]],
    command: bytes,
    arguments: tuple[bytes, ...],
    on_refused: OnRefused = pass_over,
) -> Iterator[tuple[Sequence[bytes], list[object]]]:
    """What a command answers for each key. A key of another type answers with an error, which is kept."""
    return ask_ahead(
        keys_on,
        batches,
        _themselves,
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


def _receive_rows(
    wire: Wire, keys: Sequence[bytes], names: Sequence[bytes], store: ValueStore, on_refused: OnRefused
) -> tuple[Sequence[bytes], Sequence[object]]:
    _, count = store.reads(keys, names)
    rows = store.rows(wire.receive(count), len(names))
    _note_refusals(keys, rows, on_refused)
    return keys, rows


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
