"""Reads the documents of an index in batches, the next ones already asked for while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from redismigrate.execution.documents.batch import Batch
from redismigrate.execution.documents.wire import Wire, raise_refusal, render_for_keys
from redismigrate.execution.live import batches_of_keys
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode

BATCHES_IN_FLIGHT = 2


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
    for keys, rows in _replies(server, batches, b"HMGET", names):
        columns = {
            field: [row[position] if isinstance(row, list) else None for row in rows]
            for position, field in enumerate(fields)
        }
        yield Batch(list(keys), columns)


def read_lengths(
    server: Server, batches: Iterable[Sequence[bytes]], field: str
) -> Iterator[tuple[Sequence[bytes], list[int]]]:
    """The lengths of the values of a hash field in bytes, batch by batch; 0 where there is none."""
    for keys, replies in _replies(server, batches, b"HSTRLEN", (encode(field),)):
        yield keys, [reply if isinstance(reply, int) else 0 for reply in replies]


def read_json(server: Server, batches: Iterable[Sequence[bytes]], column: str) -> Iterator[Batch]:
    """The texts of whole JSON documents, batch by batch."""
    for keys, replies in _replies(server, batches, b"JSON.GET", ()):
        yield Batch(list(keys), {column: [text if isinstance(text, bytes) else None for text in replies]})


def _replies(
    server: Server, batches: Iterable[Sequence[bytes]], command: bytes, arguments: tuple[bytes, ...]
) -> Iterator[tuple[Sequence[bytes], list[object]]]:
    """What a command answers for each key. A key of another type answers with an error, which is kept."""
    asked: deque[Sequence[bytes]] = deque()
    with server.translated_errors():
        wire = Wire(server.client)
        try:
            for keys in batches:
                wire.send(render_for_keys(command, keys, arguments))
                asked.append(keys)
                if len(asked) > BATCHES_IN_FLIGHT:
                    yield _receive(wire, asked.popleft())
            while asked:
                yield _receive(wire, asked.popleft())
        finally:
            wire.close()


def _receive(wire: Wire, keys: Sequence[bytes]) -> tuple[Sequence[bytes], list[object]]:
    replies = wire.receive(len(keys))
    for reply in replies:
        if isinstance(reply, Exception) and not str(reply).startswith(("WRONGTYPE", "Existing key")):
            raise_refusal(reply)
    return keys, replies
