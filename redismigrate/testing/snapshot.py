"""What a project has on a server at one moment, to be compared with another moment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import list_indexes, resolve_alias
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode, readable
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.store import read_state

MOST_DIFFERENCES = 20
_LONGEST_VALUE = 60
_MISSING = object()
# How a value is read that can be shown, by its type.
_READING: Mapping[bytes, tuple[str, ...]] = {
    b"hash": ("HGETALL",),
    b"string": ("GET",),
    b"list": ("LRANGE", "0", "-1"),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
}


@dataclass(frozen=True)
class _Dump:
    """A value that is only compared."""

    kind: str
    content: bytes

    def __str__(self) -> str:
        return f"a {self.kind}, {len(self.content)} bytes when dumped"


@dataclass(frozen=True)
class Snapshot:
    """What a project has on a server.

    Attributes:
        applied: The applied revisions.
        indexes: Served name -> definition; a physical name is that of one run, and not compared.
        targets: Name that clients may query -> the served name of the index that answers.
        documents: Key -> what is stored there.
    """

    applied: frozenset[str]
    indexes: Mapping[str, IndexDefinition]
    targets: Mapping[str, str | None]
    documents: Mapping[bytes, Any]


def take_snapshot(server: Server, keys: StateKeys, prefixes: Iterable[str]) -> Snapshot:
    """Look at the server.

    Args:
        server: The connection.
        keys: Of the project.
        prefixes: Of the keys that are compared; none: all but those of the state.
    """
    state = read_state(server, keys)
    return Snapshot(
        state.head.applied,
        dict(state.catalog),
        _targets(server, state.catalog),
        {key: _value(server, key) for key in sorted(keys_outside_state(server, keys, prefixes))},
    )


def differences(
    expected: Snapshot, actual: Snapshot, *, inserted_since: Iterable[bytes] = ()
) -> tuple[str, ...]:
    """How two snapshots differ, one line each; empty when they don't.

    Args:
        expected: As it should be.
        actual: As it is.
        inserted_since: Keys that a test has written in between.
    """
    return (
        *_index_differences(expected.indexes, actual.indexes),
        *_target_differences(expected.targets, actual.targets),
        *_document_differences(expected.documents, actual.documents, frozenset(inserted_since)),
    )


def keys_outside_state(server: Server, keys: StateKeys, prefixes: Iterable[str]) -> set[bytes]:
    """The keys with one of some prefixes, or all keys without any, but for those of the state."""
    covering, state = KeyPrefixes.of(prefixes), encode(state_prefix(keys))
    return {
        key
        for key in server.client.scan_iter(count=1000)
        if covering.cover(key) and not key.startswith(state) and key != OWNERS_KEY.encode()
    }


def state_prefix(keys: StateKeys) -> str:
    """What all keys of the state begin with."""
    return keys.head.removesuffix("head")


def _targets(server: Server, catalog: Catalog) -> dict[str, str | None]:
    execute = server.client.execute_command
    physical = {definition.physical: served for served, definition in catalog.items()}
    existing = list_indexes(execute)
    names = {name for served, definition in catalog.items() for name in (served, *definition.aliases)}
    return {
        name: physical.get(name if name in existing else resolve_alias(execute, name) or "") for name in names
    }


def _value(server: Server, key: bytes) -> Any:
    kind: bytes = server.execute("TYPE", key)
    if kind == b"ReJSON-RL":
        return json.loads(server.execute("JSON.GET", key))
    if kind in _READING:
        command, *arguments = _READING[kind]
        return server.execute(command, key, *arguments)
    return _Dump(kind.decode(), server.execute("DUMP", key))


def _index_differences(
    expected: Mapping[str, IndexDefinition], actual: Mapping[str, IndexDefinition]
) -> Iterator[str]:
    for name in sorted(expected.keys() | actual.keys()):
        if name not in actual:
            yield f"index {name} is gone"
        elif name not in expected:
            yield f"index {name} is new"
        else:
            before, after = expected[name], actual[name]
            for difference in diff(before.schema, after.schema):
                yield f"index {name}: {difference}"
            for what in ("aliases", "synonyms", "quantization"):
                old, new = getattr(before, what), getattr(after, what)
                if old != new:
                    yield f"index {name}: {what} change from {old} to {new}"


def _target_differences(
    expected: Mapping[str, str | None], actual: Mapping[str, str | None]
) -> Iterator[str]:
    for name in sorted(expected.keys() & actual.keys()):
        if expected[name] != actual[name]:
            yield f"queries of {name} go to {actual[name] or 'no index'}, not to {expected[name] or 'none'}"


def _document_differences(
    expected: Mapping[bytes, Any], actual: Mapping[bytes, Any], inserted: frozenset[bytes]
) -> Iterator[str]:
    for key in sorted(expected.keys() | actual.keys()):
        if key not in actual:
            yield f"key {readable(key)} is gone"
        elif key not in expected:
            if key not in inserted:
                yield f"key {readable(key)} is new"
        elif expected[key] != actual[key]:
            before, after = expected[key], actual[key]
            if isinstance(before, dict) and isinstance(after, dict):
                yield from _member_differences(f"key {readable(key)}", before, after)
            else:
                yield f"key {readable(key)}: {_short(before)} becomes {_short(after)}"


def _member_differences(where: str, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[str]:
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name, _MISSING), after.get(name, _MISSING)
        if old != new:
            yield f"{where}: {readable(name)} changes from {_short(old)} to {_short(new)}"


def _short(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    text = readable(value) if isinstance(value, bytes) else readable(str(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
