"""What a script gives to `change_storage`, checked at its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.operations.given import as_name
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema import IndexSchema
from redismigrate.schema.fields import StorageType

_PAIR = 2


def as_storage_change(
    storage_type: Any, prefix: Any, paths: Any, separators: Any, schema: IndexSchema
) -> ChangeStorage:
    """The change that a script asks for.

    Args:
        storage_type: "json" or "hash", in any case.
        prefix: None, two prefixes, or several pairs of them.
        paths: None, or names and where their values shall stand.
        separators: None, or names of tag fields and what shall be between their tags.
        schema: The index.

    Raises:
        SchemaError: One of them is something else.
    """
    wanted = storage_type.lower() if isinstance(storage_type, str) else storage_type
    if wanted not in {"json", "hash"}:
        raise SchemaError(f"{shown_value(storage_type)} is no storage type.", 'Write "json" or "hash".')
    to: StorageType = "json" if wanted == "json" else "hash"
    return ChangeStorage(to, _pairs(prefix, schema), _places(paths), _separators(separators))


def _pairs(prefix: Any, schema: IndexSchema) -> tuple[tuple[str, str], ...]:
    if prefix is None:
        return ()
    if isinstance(prefix, str | bytes):
        raise SchemaError(
            "prefix= takes two, the one that keys have and the one that they get.", _example(schema, prefix)
        )
    given = list(prefix) if isinstance(prefix, list | tuple) else [prefix]
    if len(given) == _PAIR and all(isinstance(each, str | bytes) for each in given):
        given = [given]
    for pair in given:
        if not isinstance(pair, list | tuple) or len(pair) != _PAIR:
            raise SchemaError(
                f"prefix={shown_value(prefix)} does not say what which prefix becomes.", _example(schema)
            )
    if not given:
        raise SchemaError("prefix= names no prefix.", "Leave it out where the keys stay.")
    pairs = tuple((as_name(old, "prefix"), as_name(new, "prefix")) for old, new in given)
    for old, new in pairs:
        if old == new and old in schema.prefixes:
            raise SchemaError(
                f"Index {schema.name!r} has the prefix {old!r} already.",
                "Give another prefix as the second: a key has one type.",
            )
    return pairs


def _example(schema: IndexSchema, wanted: str | bytes = "") -> str:
    """The argument as it may be meant."""
    old = schema.prefixes[0] if schema.prefixes else "doc:"
    new = wanted if isinstance(wanted, str) and wanted not in {"", old} else "new:"
    return f'Write prefix=("{old}", "{new}").'


def _places(paths: Any) -> dict[str, str]:
    return {as_name(name, "field"): as_name(place, "path") for name, place in _items("paths", paths)}


def _separators(separators: Any) -> dict[str, str | None]:
    return {
        as_name(name, "field"): None if separator is None else as_name(separator, "separator")
        for name, separator in _items("separators", separators)
    }


def _items(argument: str, given: Any) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise SchemaError(f"{argument}={shown_value(given)} is no mapping.", 'Write {"title": ...}.')
    return list(given.items())
