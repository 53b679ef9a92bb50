"""Makes dataclasses of JSON data that anybody may have written: each value is of its declared type.

Without pydantic, which is slow to import: a deploy with nothing to do reads the record too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_mappings(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value)


# By the annotation as it is written.
_FITS: Mapping[str, Callable[[object], bool]] = {
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "float | None": lambda value: value is None or _is_number(value),
    "bool": lambda value: isinstance(value, bool),
    "tuple[str, ...]": _is_texts,
    "tuple[Mapping[str, Any], ...]": _is_mappings,
}


def typed(cls: type[Value], content: object) -> Value:
    """A dataclass of JSON data; what a later version may have added is ignored.

    Args:
        cls: The dataclass, of plain values and tuples of text or of mappings.
        content: The data.

    Raises:
        TypeError: It is no mapping, lacks a value, or a value is of another type.
    """
    return cls(**typed_values(cls, content))


def typed_values(cls: type[Any], content: object) -> dict[str, Any]:
    """The values for a dataclass in JSON data, as `typed` takes them; some may be missing.

    Raises:
        TypeError: It is no mapping, or a value is of another type.
    """
    if not isinstance(content, Mapping):
        raise TypeError(f"{cls.__name__} is no mapping")
    values = {}
    for name, declared in cls.__dataclass_fields__.items():
        if name not in content:
            continue
        value = content[name]
        if not _FITS[declared.type](value):
            raise TypeError(f"{name} of {cls.__name__} is no {declared.type}")
        values[name] = tuple(value) if isinstance(value, list) else value
    return values
