"""Which Search a server has, and whether it has JSON: as INFO tells, or HELLO, or else by trying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from redismigrate.redis_server.probes import knows_command, knows_feature

# Major, minor and patch.
Version = tuple[int, int, int]

# Came with the first one of Redis 8.
_FIRST_OF_REDIS_8 = "INT8"


@dataclass(frozen=True)
class LoadedModules:
    """What matters of the modules.

    Attributes:
        has_search: Redis Search is there.
        has_json: RedisJSON is.
        search_version: Of Search; None where it is not there, or nothing tells.
        is_search_of_redis_8: Where nothing tells the version: Search can do what came with Redis 8.
    """

    has_search: bool
    has_json: bool
    search_version: Version | None
    is_search_of_redis_8: bool = False


def as_version(number: Any) -> Version:
    """The version of a module as (major, minor, patch), from how servers write it: 80213 is 8.2.13."""
    return int(number) // 10_000, int(number) // 100 % 100, int(number) % 100


def look_at_modules(execute: Callable[..., Any], told: Mapping[str, Version]) -> LoadedModules:
    """Which modules are loaded. INFO of a service need not have them, and HELLO may be refused.

    Args:
        execute: Runs a command.
        told: By INFO: name -> version.
    """
    modules = told or _greeted(execute)
    if modules:
        return LoadedModules("search" in modules, "ReJSON" in modules, modules.get("search"))
    has_search = _answers_search(execute)
    return LoadedModules(
        has_search,
        knows_command(execute, "JSON.GET"),
        None,
        has_search and knows_feature(execute, _FIRST_OF_REDIS_8),
    )


def _greeted(execute: Callable[..., Any]) -> dict[str, Version]:
    """The modules as HELLO tells them, which changes nothing where it is said alone."""
    try:
        modules = _pairs(execute("hello")).get("modules", ())
    except redis.ResponseError:
        return {}
    found = map(_pairs, modules)
    return {
        _text(module["name"]): as_version(module["ver"]) for module in found if {"name", "ver"} <= {*module}
    }


def _answers_search(execute: Callable[..., Any]) -> bool:
    try:
        execute("FT._LIST")
    except redis.ResponseError:
        return False
    return True


def _pairs(reply: Any) -> dict[str, Any]:
    """A map as RESP3 has it, or as the flat list that it is to RESP2."""
    items = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=False)
    return {_text(name): value for name, value in items}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
