"""A glance at recorded indexes: are they there, and about the same. It imports as little as can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import redis

from redismigrate.redis_server.connection import Server

# In 2.10 "Unknown index name" and "x: no such index", in 8.x also "No such index x" and "Index not found: x".
NO_SUCH_INDEX = re.compile("unknown index name|no such index|index not found", re.IGNORECASE)


def what_is_wrong(server: Server, indexes: Mapping[str, Any]) -> tuple[str, ...]:
    """Which recorded indexes are gone, replaced by others, or not what their names lead to; a phrase each.

    Options and parameters are left to `redismigrate check`, and so is what a TEMPORARY index has become.

    Args:
        server: The connection.
        indexes: Served name -> the index as the `:indexes` document has it.

    Raises:
        CommandForbidden: The user may not look.
    """
    existing = frozenset(map(_text, server.execute("FT._LIST"))) if indexes else frozenset()
    problems: list[str] = []
    for served, recorded in indexes.items():
        if recorded["schema"].get("temporary_seconds") is None:
            found = _problems(server, served, recorded, existing)
            problems += [f"{served}: {problem}" for problem in found]
    return tuple(problems)


def _problems(
    server: Server, served: str, recorded: Mapping[str, Any], existing: frozenset[str]
) -> Iterator[str]:
    physical = recorded["physical"]
    info = _info(server, physical) if physical in existing else None
    if info is None:
        yield f"index {physical} does not exist"
        return
    if _found(info) != _wanted(recorded["schema"]):
        yield f"index {physical} has other fields or prefixes than recorded"
    aliases = recorded.get("aliases", ())
    for alias in aliases if physical == served else (served, *aliases):
        if alias in existing:
            yield f"an index hides its alias {alias}"
            continue
        told = _info(server, alias)
        target = None if told is None else _text(told["index_name"])
        if target != physical:
            yield f"alias {alias} " + (f"points to {target}" if target else "does not exist")


def _info(server: Server, name: str) -> dict[str, Any] | None:
    try:
        return _named(server.execute("FT.INFO", name.encode("utf-8", "surrogateescape")))
    except redis.ResponseError as error:
        if NO_SUCH_INDEX.search(str(error)):
            return None
        raise


def _found(info: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    prefixes = _named(info["index_definition"]).get("prefixes", ())
    fields = (_named(attribute) for attribute in info["attributes"])
    found = frozenset((_text(field["attribute"]), _text(field["type"]).lower()) for field in fields)
    return frozenset(map(_text, prefixes)) - {""}, found


def _wanted(schema: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    fields = frozenset((field["name"], field["type"]) for field in schema["fields"])
    return frozenset(schema["prefixes"]) - {""}, fields


def _named(reply: Any) -> dict[str, Any]:
    """Names and values in turn, which flags may follow; a mapping under RESP3."""
    pairs: Iterable[tuple[Any, Any]] = (
        reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    )
    return {_text(name): value for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
