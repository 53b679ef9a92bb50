"""The recorded indexes as data, as far as a glance at the server looks at them; without pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redismigrate.state.stored_documents import damaged_record
from redismigrate.state.typed import typed


@dataclass(frozen=True)
class _GlancedIndex:
    """What of a recorded index a glance at the server needs."""

    physical: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class _GlancedSchema:
    """The same of its schema."""

    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class _GlancedField:
    """The same of a field."""

    name: str
    type: str


def glanced_indexes(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The indexes in the `:indexes` document as data, as far as a glance looks at them; without pydantic.

    Args:
        content: Of the document.
        key: It stands at.

    Raises:
        StateError: It is damaged.
    """
    indexes = content.get("indexes", {})
    try:
        for recorded in dict(indexes).values():
            typed(_GlancedIndex, recorded)
            typed(_GlancedSchema, recorded["schema"])
            for field_ in recorded["schema"]["fields"]:
                typed(_GlancedField, field_)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged_record("indexes", key) from error
    return dict(indexes)
