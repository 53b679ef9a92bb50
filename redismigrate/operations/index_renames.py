"""An index under a new name, among those that go and those that come."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from redismigrate.errors import SchemaError
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import diff


@dataclass(frozen=True, order=True)
class IndexRename:
    """An index that may be, or is, another one under a new name.

    Attributes:
        old: The served name that goes.
        new: The served name that comes.
    """

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}:{self.new}"


def index_rename_candidates(
    before: Mapping[str, IndexSchema], after: Mapping[str, IndexSchema]
) -> tuple[IndexRename, ...]:
    """Pairs of an index that goes and one that comes with the same definition, which may be renames.

    Args:
        before: Served name -> schema.
        after: Served name -> wanted schema.
    """
    return tuple(
        IndexRename(gone, come)
        for gone in sorted(before.keys() - after.keys())
        for come in sorted(after.keys() - before.keys())
        if not diff(before[gone].renamed(come), after[come])
    )


def new_names(
    before: Mapping[str, IndexSchema], after: Mapping[str, IndexSchema], renames: Collection[IndexRename]
) -> dict[str, str]:
    """Every index that stays -> its name among the wanted ones.

    Args:
        before: Served name -> schema.
        after: Served name -> wanted schema.
        renames: What the user says about indexes.

    Raises:
        SchemaError: A rename names no index that goes and one that comes, or one of them twice.
    """
    names = {name: name for name in before.keys() & after.keys()}
    for rename in renames:
        if rename.old not in before.keys() - after.keys() or rename.new not in after.keys() - before.keys():
            raise SchemaError(
                f"There is no change from index {rename.old!r} to {rename.new!r}.",
                "Name an index that goes and one that comes.",
            )
        if rename.old in names or rename.new in names.values():
            raise SchemaError(
                f"Index {rename.old!r} or {rename.new!r} is renamed twice.",
                "Name every index in one rename only.",
            )
        names[rename.old] = rename.new
    return names
