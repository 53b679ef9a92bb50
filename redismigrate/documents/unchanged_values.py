"""Keeps the values of a document as they were spelled where a conversion there and back would round them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from redismigrate.documents.json_documents import Unconvertible, members_of, text_of_members
from redismigrate.documents.json_members import normalised
from redismigrate.documents.whole import Document

_Value = TypeVar("_Value")
_Name = TypeVar("_Name")


def with_unchanged_values(
    made: Document, original: Document | None, says_the_same: Callable[[Document], bool]
) -> Document:
    """A document that is to replace another one, with those of its values that mean the same.

    Args:
        made: What a conversion has made.
        original: What is there.
        says_the_same: Whether a document is converted to the same as `made`.
    """
    if isinstance(made, dict) and isinstance(original, dict):
        return _closest(made, original, says_the_same, lambda one, other: one == other)
    if not (isinstance(made, bytes) and isinstance(original, bytes)):
        return made
    try:
        members, others = members_of(made), members_of(original)
        return text_of_members(
            _closest(members, others, lambda each: says_the_same(text_of_members(each)), _are_alike)
        )
    except Unconvertible:
        return made


def _are_alike(one: Any, other: Any) -> bool:
    return normalised(text_of_members({"": one})) == normalised(text_of_members({"": other}))


def _closest(
    made: dict[_Name, _Value],
    original: Mapping[_Name, _Value],
    says_the_same: Callable[[dict[_Name, _Value]], bool],
    are_alike: Callable[[_Value, _Value], bool],
) -> dict[_Name, _Value]:
    for names in _portions([n for n in made if n in original and not are_alike(made[n], original[n])]):
        closer = {**made, **{name: original[name] for name in names}}
        if says_the_same(closer):
            made = closer
    return made


def _portions(names: list[_Name]) -> Iterator[list[_Name]]:
    """All at once, which is nearly always right; then one by one."""
    if names:
        yield names
    if len(names) > 1:
        yield from ([name] for name in names)
