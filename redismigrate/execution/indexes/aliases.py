"""Finds the aliases of an index on servers that don't list them: by names that somebody has used or told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import redis

from redismigrate.errors import AuthenticationFailed, RedisMigrateError
from redismigrate.execution.indexes.live import existing_indexes
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import resolve_alias
from redismigrate.schema.strict import encode
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import read_owners

LOGGED_COMMANDS = 1024
MOST_CANDIDATES = 10_000


def aliases_of(server: Server, physical: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """The aliases of an index, all where the server lists them, else those among some names; sorted.

    Args:
        server: The connection.
        physical: The index.
        candidates: Names that may be aliases.
    """
    listed = _listed(server, physical)
    names = candidates if listed is None else listed
    existing = existing_indexes(server)
    execute = server.ask
    found = set()
    with server.translated_errors():
        for name in list(dict.fromkeys(names))[:MOST_CANDIDATES]:
            try:
                if name and name not in existing and resolve_alias(execute, name) == physical:
                    found.add(name)
            except redis.exceptions.NoPermissionError:
                continue  # to a name that was only guessed
    return tuple(sorted(found))


def names_in_use(server: Server, own_project: str) -> tuple[str, ...]:
    """Names that others have queried or recorded, as far as this user may read that.

    The server's log of slow commands, that of commands which were refused, and the records of other projects.

    Args:
        server: The connection.
        own_project: Whose records are known already.
    """
    names = dict.fromkeys(_slow(server))
    names.update(dict.fromkeys(_refused(server)))
    for project in sorted({*read_owners(server).values()} - {own_project}):
        names.update(dict.fromkeys(_recorded(server, project)))
    return tuple(names)


def _listed(server: Server, physical: str) -> tuple[str, ...] | None:
    """What FT.ALIASLIST tells, an array or a set by the protocol; None where it tells nothing."""
    if not server.capabilities.lists_aliases:
        return None
    try:
        return tuple(map(_text, server.execute("FT.ALIASLIST", encode(physical))))
    except (redis.ResponseError, AuthenticationFailed):
        return None


def _slow(server: Server) -> Iterator[str]:
    for entry in _asked(server, "SLOWLOG", "GET", LOGGED_COMMANDS):
        # Its id, when it was, microseconds, and the command.
        yield from _named_by(entry[3] if len(entry) > 3 else ())  # noqa: PLR2004


def _refused(server: Server) -> Iterator[str]:
    """ACL key patterns apply to the names of indexes, so one that was refused stands there as an object."""
    for entry in _asked(server, "ACL", "LOG", LOGGED_COMMANDS):
        told = entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=False))
        yield _text(told.get(b"object", b""))


def _recorded(server: Server, project: str) -> Iterator[str]:
    try:
        indexes = parse_json(server.execute("GET", StateKeys(project).indexes) or b"{}").get("indexes", {})
        for served, definition in indexes.items():
            yield str(served)
            yield from map(str, definition.get("aliases", ()))
    except (UnreadableDocument, AttributeError, TypeError, redis.ResponseError):
        return  # damaged, or not for us to read


def _named_by(words: Iterable[object]) -> Iterator[str]:
    """The index that a command of Redis Search names."""
    command, *rest = [_text(word) for word in words if isinstance(word, bytes | str)] or [""]
    at = 1 if command.upper() == "FT.CURSOR" else 0
    if command.upper().startswith("FT.") and len(rest) > at:
        yield rest[at]


def _asked(server: Server, *command: bytes | str | int) -> Iterable[Any]:
    """The reply to what not every server, and not every user, may be asked."""
    try:
        reply = server.execute(*command)
    except (redis.ResponseError, RedisMigrateError):
        return ()
    return reply if isinstance(reply, list | set | tuple) else ()


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
