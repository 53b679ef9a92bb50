"""The members of a JSON document as Python has them, and the text that the server reads as just these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from redismigrate.documents.json_members import parsed_json, why_not_writable
from redismigrate.documents.json_numbers import spelled

_quoted = json.JSONEncoder(ensure_ascii=False).encode


class Unconvertible(Exception):
    """A document has no form in the other type; the text says why, as a sentence about it."""


@dataclass(frozen=True, slots=True)
class RawJson:
    """JSON text that is put into a document as it is."""

    text: str


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    kinds = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}
    return kinds.get(type(value), "a number")


def value_at(document: Any, members: Iterable[str]) -> Any:
    """What is at a path; None where nothing is."""
    for name in members:
        if not isinstance(document, dict) or name not in document:
            return None
        document = document[name]
    return document


def put_value(document: dict[str, Any], members: tuple[str, ...], value: Any) -> None:
    """Put a value at a path, and objects above it where there are none."""
    for name in members[:-1]:
        inner = document.get(name)
        if not isinstance(inner, dict):
            inner = document[name] = {}
        document = inner
    document[members[-1]] = value


def take_value(document: dict[str, Any], members: tuple[str, ...]) -> None:
    """Take what is at a path out."""
    above = value_at(document, members[:-1])
    if isinstance(above, dict):
        above.pop(members[-1], None)


def members_of(text: bytes) -> dict[str, Any]:
    """The members of a JSON document.

    Raises:
        Unconvertible: It is no object, or can't be read.
    """
    try:
        document = parsed_json(text)
    except (ValueError, RecursionError):
        raise Unconvertible("it can't be read as JSON, or is nested too deeply for that") from None
    if not isinstance(document, dict):
        raise Unconvertible(f"it is {kind_of(document)}, and only an object can be a hash")
    return document


def text_of_members(document: dict[str, Any]) -> bytes:
    """The text of a JSON document, which the server reads as just these values.

    Args:
        document: Its members.

    Raises:
        Unconvertible: There is no such text.
    """
    try:
        text = "".join(_pieces(document)).encode()
    except (ValueError, RecursionError) as error:
        raise Unconvertible(f"it can't be written as JSON: {error}") from error
    reason = why_not_writable(text)
    if reason is not None:
        raise Unconvertible(reason)
    return text


def _pieces(value: Any) -> Iterator[str]:
    """The text of a value, as `json_members.normalised` spells it where the server reads that right."""
    if isinstance(value, RawJson):
        yield value.text
    elif isinstance(value, dict):
        yield "{"
        for at, name in enumerate(sorted(value)):
            yield f"{',' if at else ''}{_quoted(name)}:"
            yield from _pieces(value[name])
        yield "}"
    elif isinstance(value, list):
        yield "["
        for at, each in enumerate(value):
            yield "," if at else ""
            yield from _pieces(each)
        yield "]"
    elif isinstance(value, str):
        yield _quoted(value)
    elif isinstance(value, float):
        text = spelled(value)
        if text is None:
            raise ValueError(f"the server does not read {value!r} as the number that it is")
        yield text
    else:
        yield json.dumps(value, ensure_ascii=False)
