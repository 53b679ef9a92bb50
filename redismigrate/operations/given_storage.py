"""What a script gives to `change_storage`, checked at its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.operations.given import as_name
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema.fields import StorageType

_EXAMPLE = 'Write index.change_storage("json", prefix=("doc:", "jdoc:")).'
_PAIR = 2


def as_storage_change(storage_type: Any, prefix: Any, paths: Any, separators: Any) -> ChangeStorage:
    """The change that a script asks for.

    Args:
        storage_type: "json" or "hash", in any case.
        prefix: None, two prefixes, or several pairs of them.
        paths: None, or names and where their values shall stand.
        separators: None, or names of tag fields and what shall be between their tags.

    Raises:
        SchemaError: One of them is something else.
    """
    wanted = storage_type.lower() if isinstance(storage_type, str) else storage_type
    if wanted not in {"json", "hash"}:
        raise SchemaError(f"{shown_value(storage_type)} is no storage type.", _EXAMPLE)
    to: StorageType = "json" if wanted == "json" else "hash"
    return ChangeStorage(to, _pairs(prefix), _places(paths), _separators(separators))


def _pairs(prefix: Any) -> tuple[tuple[str, str], ...]:
    if prefix is None:
        return ()
    given = list(prefix) if isinstance(prefix, list | tuple) else [prefix]
    if len(given) == _PAIR and all(isinstance(each, str | bytes) for each in given):
        given = [given]
    for pair in given:
        if not isinstance(pair, list | tuple) or len(pair) != _PAIR:
            raise SchemaError(
                f"prefix={shown_value(prefix)} does not say what which prefix becomes.", _EXAMPLE
            )
    if not given:
        raise SchemaError("prefix= names no prefix.", "Leave it out where the keys stay.")
    return tuple((as_name(old, "prefix"), as_name(new, "prefix")) for old, new in given)


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
