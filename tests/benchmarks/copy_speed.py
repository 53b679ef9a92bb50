"""How near a first pass that makes second forms of documents comes to a raw socket loop that does as much.

Run as a program, `copy_speed.py [COUNT [ROUNDS]]`, on a private server of its own. Both sides read, convert
float32 to float16 and write, where no index covers what is written. The loop knows the keys beforehand and
compares nothing; a pass enumerates the keys, follows the writes of others, watches every key against them,
checks the fence, and keeps a mark of every copy. Prints documents per second and the ratio of the two for
every round, and the most memory that this process has used.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
from benchmark_documents import INDEX, PREFIX, Documents
from raw_connection import RawConnection, require_no_error

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.documents.whole_transform import RewriteDocuments
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import SecondField
from redismigrate.execution.documents.traffic.mirroring import Mirror
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.redisvl import schema_from_redisvl
from redismigrate.state.fence import Fence

DIMS = 768
NEW_PREFIX = "new:"
SECOND = b"embedding__8f3a1c9b2d4e"
MARKS = b"{redismigrate:shop}:copy:"
FENCE = Fence(b"{redismigrate:shop}:fence", b"1")
_BATCH = 200
_CONNECTIONS = 3
_RECODING = Recoding("embedding", DIMS, "COSINE", "FLOAT32", "FLOAT16")
_VECTOR = {"algorithm": "flat", "dims": DIMS, "distance_metric": "cosine", "datatype": "float32"}
_SCHEMA = schema_from_redisvl(
    {
        "index": {"name": INDEX, "prefix": PREFIX},
        "fields": [{"name": "embedding", "type": "vector", "attrs": _VECTOR}],
    }
)
FIELDS = SecondFields(_SCHEMA, (SecondField.of(_RECODING, SECOND.decode(), {}),))
COPIES = Copies(
    _SCHEMA,
    "hash",
    (PrefixChange(PREFIX, NEW_PREFIX),),
    RewriteDocuments.of(Rewrite("hash", recodings=(_RECODING,)), {}),
    MARKS,
)
Writes = Callable[[list[bytes], list[object]], bytes]


def main() -> None:
    """Measure both kinds of second forms."""
    count, rounds = (*map(int, sys.argv[1:]), 100_000, 3)[:2] if len(sys.argv) < 3 else map(int, sys.argv[1:])
    with EmbeddedServer(port=0) as embedded, connect(embedded.url) as server:
        connection = RawConnection(urlsplit(embedded.url).port or 0)
        Documents(count, DIMS).load(connection)
        server.execute("SET", FENCE.key, FENCE.token)
        keys = [b"%b%d" % (PREFIX.encode(), number) for number in range(count)]
        for _ in range(rounds):
            raw = _raw_loop(connection, keys, b"HGET", (b"embedding",), _second_fields)
            require_no_error([connection.ask("EVAL", _REMOVE_FIELDS, 0, PREFIX + "*", SECOND)])
            own = _pass(server, FIELDS, replace(FIELDS, aim="reverted"))
            _tell("second fields", count, raw, own)
            raw = _raw_loop(connection, keys, b"HGETALL", (), _copies)
            require_no_error([connection.ask("EVAL", _REMOVE_KEYS, 0, NEW_PREFIX + "*")])
            own = _pass(server, COPIES, replace(COPIES, aim="copies_removed"))
            _tell("copies", count, raw, own)
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB in this process")


_REMOVE_FIELDS = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('HDEL', key, ARGV[2]) end
"""
_REMOVE_KEYS = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end
"""


def _pass(server: Server, mirror: Mirror, back: Mirror) -> float:
    """Seconds of a first pass, which is undone afterwards."""
    with Synchroniser(Node(server, FENCE), _CONNECTIONS, _BATCH) as synchroniser:
        started = time.perf_counter()
        with Follower(Node(server, FENCE), mirror, synchroniser) as follower:
            result = follower.synchronise_all()
        seconds = time.perf_counter() - started
        if result.failures.count or not result.written:
            raise RuntimeError(f"{result}")
        synchroniser.synchronise(back, back.keys(server))
    return seconds


def _raw_loop(
    connection: RawConnection, keys: list[bytes], command: bytes, arguments: tuple[bytes, ...], writes: Writes
) -> float:
    """Seconds of reading, converting and writing all keys, the writes together with the next reads."""
    started = time.perf_counter()
    batches = [keys[first : first + _BATCH] for first in range(0, len(keys), _BATCH)]
    connection.send(_reads(command, batches[0], arguments))
    written = 0
    for batch, following in zip(batches, [*batches[1:], []], strict=True):
        replies = connection.receive(written + len(batch))
        connection.send(writes(batch, replies[written:]) + _reads(command, following, arguments))
        written = len(batch)
    require_no_error(connection.receive(written))
    return time.perf_counter() - started


def _reads(command: bytes, keys: list[bytes], arguments: tuple[bytes, ...]) -> bytes:
    head = b"*%d\r\n$%d\r\n%b\r\n" % (2 + len(arguments), len(command), command)
    tail = b"\r\n" + b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])
    return b"".join([b"%b$%d\r\n%b%b" % (head, len(key), key, tail) for key in keys])


def _second_fields(keys: list[bytes], values: list[object]) -> bytes:
    field = b"\r\n$%d\r\n%b\r\n$%d\r\n" % (len(SECOND), SECOND, 2 * DIMS)
    return b"".join(
        [
            b"*4\r\n$4\r\nHSET\r\n$%d\r\n%b%b%b\r\n" % (len(key), key, field, vector)
            for key, vector in zip(keys, _to_float16(values), strict=True)
        ]
    )


def _copies(keys: list[bytes], replies: list[object]) -> bytes:
    documents = [reply for reply in replies if isinstance(reply, list)]
    at = documents[0].index(b"embedding") + 1
    vectors = _to_float16([document[at] for document in documents])
    commands = []
    for key, document, vector in zip(keys, documents, vectors, strict=True):
        document[at] = vector
        words = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in document])
        new = NEW_PREFIX.encode() + key[len(PREFIX) :]
        commands.append(b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n%b" % (2 + len(document), len(new), new, words))
    return b"".join(commands)


def _to_float16(values: list[object]) -> list[bytes]:
    joined = b"".join([value for value in values if isinstance(value, bytes)])
    converted = np.frombuffer(joined, np.float32).astype(np.float16).tobytes()
    return [converted[start : start + 2 * DIMS] for start in range(0, len(converted), 2 * DIMS)]


def _tell(kind: str, count: int, raw: float, own: float) -> None:
    print(
        f"{kind}: {count / own:,.0f} documents a second, {count / raw:,.0f} in the raw loop: {raw / own:.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
