"""Renames a member in the text of a JSON document and leaves every other byte as it is.

Numbers stay as the server prints them, so that the server prints the new document in just these bytes again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from redismigrate.schema.json_paths import JsonPath

_DECODER = json.JSONDecoder()
_GAP = re.compile(r"[ \t\n\r]*")


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


def normalised(text: bytes) -> str:
    """A document's text as `json.dumps` writes it: equal for equal documents, however numbers are spelled."""
    return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _members(text: str, at: int) -> Iterator[_Member]:
    """The members of the object that begins in a text; none if it is no object."""
    at = _skip_gap(text, at)
    if text[at : at + 1] != "{":
        return
    at = _skip_gap(text, at + 1)
    while text[at] == '"':
        start = at
        name, name_end = _DECODER.raw_decode(text, start)
        value = _skip_gap(text, _skip_gap(text, name_end) + 1)  # behind the colon
        _, at = _DECODER.raw_decode(text, value)
        yield _Member(name, start, name_end, value, at)
        at = _skip_gap(text, at)
        if text[at] == "}":
            return
        at = _skip_gap(text, at + 1)  # behind the comma


def _skip_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap is not None else at
