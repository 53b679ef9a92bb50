"""Renames a member in the text of a JSON document and leaves every other byte as it is.

Numbers stay as the server prints them, so that the server prints the new document in just these bytes again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from redismigrate.schema.json_paths import JsonPath

# Levels of a text that RedisJSON takes; what is put together by paths, and read, may have more.
_MOST_LEVELS = 127
_GAP = re.compile(r"[ \t\n\r]*")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_NAME = re.compile(_STRING, re.DOTALL)
_SCALAR = re.compile(rf"{_STRING}|[^\s,\]}}]+", re.DOTALL)
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_STRINGS = re.compile(_STRING.encode(), re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class _Member(NamedTuple):
    """A member of an object: its name, and where that and the value begin and end in the text."""

    name: str
    start: int
    name_end: int
    value: int
    end: int


def rename_member(text: str, old: str, new: str) -> str | None:
    """The document with a value under another name.

    Args:
        text: Of the document.
        old: The JSON path of the value; of the new one only the last member differs.
        new: Where it shall be.

    Returns:
        The new text, the same one if there is no such value; None if both are there.
    """
    *parents, last = JsonPath.parse(old).members
    at = 0
    for name in parents:
        inner = next((member for member in _members(text, at) if member.name == name), None)
        if inner is None:
            return text
        at = inner.value
    wanted = JsonPath.parse(new).members[-1]
    members = {member.name: member for member in _members(text, at)}
    if last not in members:
        return text
    if wanted in members:
        return None
    member = members[last]
    return text[: member.start] + json.dumps(wanted, ensure_ascii=False) + text[member.name_end :]


def why_not_writable(text: bytes) -> str | None:
    """Why the server would not take a document's text, though it prints it; None where it would.

    Args:
        text: As JSON.GET answers.
    """
    # As many at most: strings may hold some, too.
    if text.count(b"[") + text.count(b"{") <= _MOST_LEVELS:
        return None
    levels = deepest = 0
    for bracket in _STRINGS.sub(b"", text).translate(None, _NO_BRACKETS):
        levels += 1 if bracket in b"[{" else -1
        deepest = max(deepest, levels)
    if deepest <= _MOST_LEVELS:
        return None
    return (
        f"it is nested {deepest:,} levels deep; RedisJSON takes no text of more than {_MOST_LEVELS}, so it "
        "could not be put back"
    )


def normalised(text: bytes) -> str:
    """A document's text as `json.dumps` writes it: equal for equal documents, however numbers are spelled.

    As text, since in Python 1, 1.0 and True are equal. What Python can't parse, as it is nested too deeply,
    stays as it is.
    """
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except (RecursionError, ValueError):
        return text.decode("utf-8", "surrogateescape")


def parsed_json(text: bytes) -> Any:
    """A document's text as Python's values.

    Args:
        text: As JSON.GET answers, or as a hash remembers it.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text)


def _members(text: str, at: int) -> Iterator[_Member]:
    """The members of the object that begins in a text; none if it is no object."""
    at = _skip_gap(text, at)
    if text[at : at + 1] != "{":
        return
    at = _skip_gap(text, at + 1)
    while (name := _NAME.match(text, at)) is not None:
        value = _skip_gap(text, _skip_gap(text, name.end()) + 1)  # behind the colon
        end = _end_of_value(text, value)
        yield _Member(json.loads(name[0], strict=False), name.start(), name.end(), value, end)
        at = _skip_gap(text, end)
        if text[at : at + 1] != ",":
            return
        at = _skip_gap(text, at + 1)


def _end_of_value(text: str, at: int) -> int:
    """Behind the value that begins in a text, however deeply it is nested."""
    if text[at : at + 1] not in {"{", "["}:
        scalar = _SCALAR.match(text, at)
        return len(text) if scalar is None else scalar.end()
    levels = 0
    for found in _STRING_OR_BRACKET.finditer(text, at):
        if found[0] in {"{", "["}:
            levels += 1
        elif found[0] in {"}", "]"}:
            levels -= 1
            if not levels:
                return found.end()
    return len(text)


def _skip_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap is not None else at
