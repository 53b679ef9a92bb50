"""Where the marks of copies stand: finds them, and removes them when their run is over."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.execution.indexes.live import escape_pattern, scan_some
from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import StateKeys


def mark_prefix(keys: StateKeys, run: str, way: str) -> bytes:
    """How the keys of marks begin.

    Args:
        keys: Of the project.
        run: The run that the marks are of.
        way: Tells several copyings of one run apart.
    """
    return keys.mark(f"{run}:{way}").encode()


def marked(server: Server, prefix: bytes) -> Iterator[list[bytes]]:
    """What has a mark, in batches: the keys of marks without their beginning."""
    for found in _keys(server, prefix):
        yield [key[len(prefix) :] for key in found]


def forget_marks(server: Server, prefix: bytes) -> None:
    """Remove all marks that begin so."""
    for found in _keys(server, prefix):
        _remove(server, found)


def forget_other_runs(server: Server, keys: StateKeys, run: str | None) -> None:
    """Remove the marks that runs have left which never came to their end.

    Args:
        server: The connection.
        keys: Of the project.
        run: The run whose marks are needed; None for none.
    """
    kept = () if run is None else (keys.mark(run).encode(),)
    for found in _keys(server, keys.marks.encode()):
        _remove(server, [key for key in found if not key.startswith(kept)] if kept else found)


def _keys(server: Server, prefix: bytes) -> Iterator[list[bytes]]:
    cursor, pattern = 0, escape_pattern(prefix) + b"*"
    while True:
        cursor, found = scan_some(server, cursor, pattern)
        yield found
        if not cursor:
            return


def _remove(server: Server, keys: list[bytes]) -> None:
    if keys:
        server.execute("DEL", *keys)
