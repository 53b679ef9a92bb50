"""The operation that makes JSON documents of hashes, or hashes of JSON documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from redismigrate.documents.storage_change import StorageChange
from redismigrate.errors import SchemaError
from redismigrate.operations.prefix_exchange import with_prefix_exchanged
from redismigrate.operations.storage import USUAL_SEPARATOR, storage_change, with_storage
from redismigrate.schema import IndexSchema, TagField
from redismigrate.schema.fields import StorageType


@dataclass(frozen=True)
class ChangeStorage:
    """Hashes that become JSON documents, or the other way round.

    Attributes:
        storage_type: What the documents become.
        prefixes: What the beginnings of their keys become; none: their keys stay.
        paths: Attribute, or hash field or JSON path -> where the value shall stand. What is not said keeps
            its name.
        separators: Attribute of a tag field -> the byte between its tags afterwards; None for none, in JSON
            alone. What is not said keeps the one that it has.
    """

    storage_type: StorageType
    prefixes: tuple[tuple[str, str], ...] = ()
    paths: dict[str, str] = field(default_factory=dict)
    separators: dict[str, str | None] = field(default_factory=dict)
    kind: Literal["change_storage"] = "change_storage"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema on documents of the other type; SchemaError where that can't be."""
        after = with_storage(schema, self.storage_type, self.paths, self.separators)
        for old, new in self.prefixes:
            after = with_prefix_exchanged(after, old, new)
        return after

    def documents(self, schema: IndexSchema) -> StorageChange:
        """What becomes of the documents of an index of this schema; SchemaError as for `apply`."""
        return storage_change(schema, self.apply(schema), self.paths)

    def reverse(self, before: IndexSchema) -> ChangeStorage:
        """The change back to the type, the places and the separators from before."""
        after = self.apply(before)
        prefixes = tuple((new, old) for old, new in reversed(self.prefixes))
        places = {each.name: each.path_in(before.storage_type) for each in before.fields}
        known = {*places, *places.values()}
        places |= {place: name for name, place in self.paths.items() if name not in known}
        for option in ("language_field", "score_field"):
            place = getattr(before, option)
            if place is not None and place not in known:
                places[getattr(after, option)] = place
        separators = {each.name: each.separator for each in before.fields if isinstance(each, TagField)}
        back = ChangeStorage(before.storage_type, prefixes, places, _told(separators, before.storage_type))
        return without_the_usual(back, after)

    def __str__(self) -> str:
        named = "JSON documents" if self.storage_type == "json" else "hashes"
        moved = "".join(f", {old}* to {new}*" for old, new in self.prefixes)
        places = "".join(f", {name} at {place}" for name, place in self.paths.items())
        return f"make {named} of the documents{moved}{places}"


def _told(separators: Mapping[str, str | None], storage_type: StorageType) -> dict[str, str | None]:
    """The separators as a script has to say them: a hash has one in any case."""
    usual = USUAL_SEPARATOR if storage_type == "hash" else None
    return {name: separator or usual for name, separator in separators.items()}


def without_the_usual(change: ChangeStorage, schema: IndexSchema) -> ChangeStorage:
    """The change without what needs not be said: it makes the same of a schema and of its documents.

    Args:
        change: Says all of it.
        schema: Before it.
    """
    wanted = change.apply(schema), change.documents(schema)

    def says_the_same(shorter: ChangeStorage) -> bool:
        try:
            return (shorter.apply(schema), shorter.documents(schema)) == wanted
        except SchemaError:
            return False

    for name in change.paths:
        shorter = replace(change, paths={key: place for key, place in change.paths.items() if key != name})
        change = shorter if says_the_same(shorter) else change
    for name in change.separators:
        said = {key: separator for key, separator in change.separators.items() if key != name}
        shorter = replace(change, separators=said)
        change = shorter if says_the_same(shorter) else change
    return change
