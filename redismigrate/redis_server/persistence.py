"""How a server keeps its data on disk, by INFO and its settings, as far as it tells."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from redismigrate.errors import AuthenticationFailed
from redismigrate.redis_server.capabilities import parse_info

if TYPE_CHECKING:
    from redismigrate.redis_server.connection import Server


@dataclass(frozen=True)
class Persistence:
    """What becomes of data beside the memory; None: the server does not tell.

    Attributes:
        aof_enabled: Every write goes to an append-only file.
        save_points: When snapshots are taken by themselves, as the setting `save` says; empty for never.
        is_child_running: A snapshot or a new append-only file is being written now, by a copy of the process.
        dataset_bytes: The memory that is no overhead of the server, indexes included.
    """

    aof_enabled: bool | None = None
    save_points: str | None = None
    is_child_running: bool | None = None
    dataset_bytes: int | None = None


def read_persistence(server: Server) -> Persistence:
    """Ask the server; what it refuses is not known.

    Args:
        server: The connection.
    """
    info: dict[str, Any] = {}
    for section in ("persistence", "memory"):
        with suppress(redis.ResponseError, AuthenticationFailed):
            info |= parse_info(server.execute("INFO", section))
    children = [info.get(name) for name in ("rdb_bgsave_in_progress", "aof_rewrite_in_progress")]
    told = info.get("aof_enabled")
    return Persistence(
        aof_enabled=None if told is None else told == "1",
        save_points=_save_points(server),
        is_child_running=None if None in children else "1" in children,
        dataset_bytes=int(info["used_memory_dataset"]) if "used_memory_dataset" in info else None,
    )


def _save_points(server: Server) -> str | None:
    if server.profile == "managed":
        return None
    with suppress(redis.ResponseError, AuthenticationFailed):
        reply = server.execute("CONFIG", "GET", "save")
        values = [*reply.values()] if isinstance(reply, Mapping) else list(reply)[1::2]
        for value in values:
            return value.decode() if isinstance(value, bytes) else str(value)
    return None
