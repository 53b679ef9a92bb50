"""What moves in documents when names change: values within a document, and whole keys."""

from __future__ import annotations

from dataclasses import dataclass

from redismigrate.schema.fields import StorageType
from redismigrate.schema.json_paths import JsonPath


@dataclass(frozen=True)
class PathRename:
    """A value that moves within its document.

    Attributes:
        old: The hash field or JSON path that holds it.
        new: The one that shall hold it; nothing may be there. Of a JSON path only the last member differs.
    """

    old: str
    new: str

    def follow(self, path: str, storage_type: StorageType) -> str:
        """The path that reads afterwards what this one reads before.

        Args:
            path: A hash field or a JSON path.
            storage_type: Of the documents.
        """
        if not reads(path, self.old, storage_type):
            return path
        if path.startswith(self.old):
            return self.new + path.removeprefix(self.old)
        # The same path, spelled otherwise: `$["a"]` for `$.a`.
        old, new, found = JsonPath.parse(self.old), JsonPath.parse(self.new), JsonPath.parse(path)
        return str(JsonPath(new.members + found.members[len(old.members) :], found.rest))

    def __str__(self) -> str:
        return f"{self.old} to {self.new}"


@dataclass(frozen=True)
class PrefixChange:
    """Keys that get another beginning."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}* to {self.new}*"


def reads(path: str, place: str, storage_type: StorageType) -> bool:
    """Whether a path reads what is at a place, or inside of it.

    Args:
        path: A hash field or a JSON path.
        place: A hash field or a plain JSON path.
        storage_type: Of the documents.
    """
    if storage_type == "hash":
        return path == place
    return JsonPath.parse(path).is_within(JsonPath.parse(place))


def is_one_place(one: str, other: str, storage_type: StorageType) -> bool:
    """Whether two paths lead to the same values of documents, however they are spelled."""
    if storage_type == "hash":
        return one == other
    return JsonPath.parse(one) == JsonPath.parse(other)


def may_read(path: str, place: str, storage_type: StorageType) -> bool:
    """Whether a path reads what is at a place, inside of it or around it, or may find it by a wildcard.

    Args:
        path: A hash field or a JSON path.
        place: A hash field or a plain JSON path.
        storage_type: Of the documents.
    """
    if storage_type == "hash":
        return path == place
    found, at = JsonPath.parse(path), JsonPath.parse(place)
    is_around = not found.rest and at.is_within(found)
    return found.is_within(at) or is_around or found.may_find(at)
