"""What the order of keys and the size of transactions cost the server; run by hand.

`python tests/benchmarks/key_order.py [COUNT]` writes hashes with ascending numbers and vectors of 768
dimensions, then sends the engine's commands for all of them: in the order in which SCAN gives the keys, and
with portions of them sorted as `execution.live.batches_of_keys` does. Prints the processor seconds of the
server, and how many times as much SCAN's order takes; then what WATCH takes for transactions of each size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import numpy as np
from benchmark_documents import PREFIX, Documents
from raw_connection import RawConnection, encode, require_no_error

from redismigrate.documents.columns import FixedWidth
from redismigrate.documents.rewrite import Rewrite
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.wire import render_for_keys, render_hsets
from redismigrate.schema.moves import PathRename

DIMS = 768
KEYS_PER_BATCH = 200
BATCHES_IN_FLIGHT = 2
PORTIONS = (2_000, 10_000, 100_000)
WATCHED = (100, 200, 500, 1_000)
MOVER = Mover(Rewrite("hash", renames=(PathRename("title", "headline"),)))
Command = Callable[[Sequence[bytes]], tuple[bytes, int]]


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    documents = Documents(count, DIMS)
    orders = {"as SCAN gives them": 0} | {f"{size:,} sorted": size for size in PORTIONS}
    commands: dict[str, Command] = {"HMGET": _hmget, "look": _look, "rename": _rename, "HSET in MULTI": _hset}
    print(f"{count:,} hashes, processor seconds of the server")
    print(f"{'':20}" + "".join(f"{name:>16}" for name in commands))
    first: dict[str, float] = {}
    for order, portion in orders.items():
        with EmbeddedServer(port=0) as server:
            connection = RawConnection(urlsplit(server.url).port or 0)
            documents.load(connection)
            keys = _in_portions(_scanned(connection), portion)
            taken = {name: _seconds(connection, keys, command) for name, command in commands.items()}
            connection.close()
        first = first or taken
        figures = [f"{seconds:9.2f} ({first[name] / seconds:.1f}x)" for name, seconds in taken.items()]
        print(f"{order:20}" + "".join(f"{figure:>16}" for figure in figures))
    with EmbeddedServer(port=0) as server:
        connection = RawConnection(urlsplit(server.url).port or 0)
        documents.load(connection)
        keys = _in_portions(_scanned(connection), count)
        for size in WATCHED:
            print(f"WATCH of {size:5,} keys at a time: {_seconds(connection, keys, _watch, size):.2f} s")
        connection.close()


def _scanned(connection: RawConnection) -> list[bytes]:
    keys, cursor = [], b"0"
    while True:
        cursor, found = connection.ask("SCAN", cursor, "MATCH", f"{PREFIX}*", "COUNT", 1000)
        keys += found
        if cursor == b"0":
            return keys


def _in_portions(keys: list[bytes], size: int) -> list[bytes]:
    if not size:
        return keys
    portions = [keys[start : start + size] for start in range(0, len(keys), size)]
    return [key for portion in portions for key in sorted(portion, key=lambda key: (len(key), key))]


def _seconds(
    connection: RawConnection, keys: list[bytes], command: Command, size: int = KEYS_PER_BATCH
) -> float:
    """What the server's processor needs for a command for all keys."""
    before, asked = _used_cpu(connection), []
    for start in range(0, len(keys), size):
        rendered, replies = command(keys[start : start + size])
        connection.send(rendered)
        asked.append(replies)
        if len(asked) > BATCHES_IN_FLIGHT:
            require_no_error(connection.receive(asked.pop(0)))
    for replies in asked:
        require_no_error(connection.receive(replies))
    return _used_cpu(connection) - before


def _used_cpu(connection: RawConnection) -> float:
    text: str = connection.ask("INFO", "cpu").decode()
    figures = dict(line.split(":") for line in text.splitlines() if ":" in line)
    return float(figures["used_cpu_user"]) + float(figures["used_cpu_sys"])


def _hmget(keys: Sequence[bytes]) -> tuple[bytes, int]:
    return render_for_keys(b"HMGET", keys, (b"embedding",)), len(keys)


def _hset(keys: Sequence[bytes]) -> tuple[bytes, int]:
    values = FixedWidth(np.ones((len(keys), 2 * DIMS), np.uint8))
    block = b"".join(render_hsets(keys, b"embedding", values))
    return encode("MULTI") + block + encode("EXEC"), len(keys) + 2


def _look(keys: Sequence[bytes]) -> tuple[bytes, int]:
    return MOVER.look(keys), 1


def _rename(keys: Sequence[bytes]) -> tuple[bytes, int]:
    return MOVER.move(keys), 1


def _watch(keys: Sequence[bytes]) -> tuple[bytes, int]:
    return encode("WATCH", *keys) + encode("UNWATCH"), 2


if __name__ == "__main__":
    main()
