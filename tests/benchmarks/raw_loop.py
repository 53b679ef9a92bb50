"""The limit: changes documents over one raw connection, with no index, no backup, no check, no second look.

Run as a program, `raw_loop.py PORT CASE COUNT`, it prints the seconds. The keys are known beforehand, so
nothing is enumerated. float16 reads, converts and writes, and sends the writes of one batch together with the
reads of the next. In the other two cases the server can do the work alone, which is faster still: a script
for each batch renames the field, RENAME the key.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from benchmark_cases import NEW_FIELD, NEW_PREFIX, OLD_FIELD
from benchmark_documents import PREFIX
from raw_connection import RawConnection, encode, require_no_error

_BATCH = 200
_RENAME_FIELD = """
for _, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[2], redis.call('HGET', key, ARGV[1]))
  redis.call('HDEL', key, ARGV[1])
end
"""


def main() -> None:
    """Change all documents and print how long it took."""
    port, case, count = sys.argv[1:]
    connection = RawConnection(int(port))
    keys = [b"%b%d" % (PREFIX.encode(), number) for number in range(int(count))]
    batches = [keys[first : first + _BATCH] for first in range(0, len(keys), _BATCH)]
    started = time.perf_counter()
    {"float16": _to_float16, "rename": _rename, "prefix": _move}[case](connection, batches)
    print(time.perf_counter() - started)


def _to_float16(connection: RawConnection, batches: list[list[bytes]]) -> None:
    connection.send(_reads(batches[0]))
    written = 0
    for batch, following in zip(batches, [*batches[1:], []], strict=True):
        replies = connection.receive(written + len(batch))
        converted = np.frombuffer(b"".join(replies[written:]), np.float32).astype(np.float16).tobytes()
        connection.send(_writes(batch, converted) + _reads(following))
        written = len(batch)
    require_no_error(connection.receive(written))


def _reads(keys: list[bytes]) -> bytes:
    return b"".join(
        [b"*3\r\n$4\r\nHGET\r\n$%d\r\n%b\r\n$9\r\nembedding\r\n" % (len(key), key) for key in keys]
    )


def _writes(keys: list[bytes], vectors: bytes) -> bytes:
    size = len(vectors) // len(keys)
    field = b"\r\n$9\r\nembedding\r\n$%d\r\n" % size
    return b"".join(
        [
            b"*4\r\n$4\r\nHSET\r\n$%d\r\n%b%b%b\r\n" % (len(key), key, field, vectors[start : start + size])
            for key, start in zip(keys, range(0, len(vectors), size), strict=True)
        ]
    )


def _rename(connection: RawConnection, batches: list[list[bytes]]) -> None:
    script = connection.ask("SCRIPT", "LOAD", _RENAME_FIELD)
    _send_all(
        connection,
        batches,
        lambda keys: (encode("EVALSHA", script, len(keys), *keys, OLD_FIELD, NEW_FIELD), 1),
    )


def _move(connection: RawConnection, batches: list[list[bytes]]) -> None:
    def renames(keys: list[bytes]) -> tuple[bytes, int]:
        moves = ((key, NEW_PREFIX.encode() + key.removeprefix(PREFIX.encode())) for key in keys)
        commands = [
            b"*3\r\n$6\r\nRENAME\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(moved), moved)
            for key, moved in moves
        ]
        return b"".join(commands), len(commands)

    _send_all(connection, batches, renames)


def _send_all(
    connection: RawConnection,
    batches: list[list[bytes]],
    commands_of: Callable[[list[bytes]], tuple[bytes, int]],
) -> None:
    """Send the commands of each batch, and with those of the next on their way take its replies."""
    awaited = 0
    for batch in batches:
        commands, replies = commands_of(batch)
        connection.send(commands)
        require_no_error(connection.receive(awaited))
        awaited = replies
    require_no_error(connection.receive(awaited))


if __name__ == "__main__":
    main()
