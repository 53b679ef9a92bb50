"""The journal as it is read: what happened, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import StateKeys


def read_journal(server: Server, keys: StateKeys, count: int) -> tuple[dict[str, str], ...]:
    """The last events, newest first.

    Args:
        server: The connection.
        keys: The project's keys.
        count: How many at most.

    Returns:
        Each event's fields, and `at`, the id of its stream entry, which begins with milliseconds since 1970.
    """
    entries = server.execute("XREVRANGE", keys.journal, "+", "-", "COUNT", count)
    return tuple(_event(id_, fields) for id_, fields in entries)


def _event(id_: bytes, fields: Any) -> dict[str, str]:
    pairs = fields.items() if isinstance(fields, Mapping) else zip(fields[::2], fields[1::2], strict=True)
    # Others may have added what no event of ours has.
    words = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in pairs}
    return words | {"at": id_.decode()}
