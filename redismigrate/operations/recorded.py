"""One revision's script in one direction, recorded: all that planning needs when the script is gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from redismigrate.operations.model import Operation, RunFunction
from redismigrate.schema.definition import Catalog, IndexDefinition

Direction = Literal["upgrade", "downgrade"]


@dataclass(frozen=True)
class RecordedRevision:
    """What a revision does.

    Attributes:
        revision: Its id.
        direction: Whether it is applied or undone.
        message: The first line of its script.
        parents: The revisions it revises.
        depends_on: The revisions it depends on besides.
        sha256: Of the script.
        operations: In order.
        adopted: Indexes that no revision created and that this one changes, as they were found; on a
            downgrade those that are given up again.
        undone_functions: On a downgrade, the `op.run` functions of the upgrade, last first.
        code_sha256: Of what Python reads of the script.
    """

    revision: str
    direction: Direction
    message: str
    parents: tuple[str, ...]
    depends_on: tuple[str, ...]
    sha256: str
    operations: tuple[Operation, ...]
    adopted: dict[str, IndexDefinition] = field(default_factory=dict)
    undone_functions: tuple[RunFunction, ...] = ()
    code_sha256: str = ""

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog that this revision leaves."""
        if self.direction == "upgrade":
            catalog = self.adopt(catalog)
        catalog = self.apply_operations(catalog)
        if self.direction == "downgrade":
            for name in self.adopted:
                catalog = catalog.without(name)
        return catalog

    def apply_operations(self, catalog: Catalog) -> Catalog:
        """The catalog after the operations alone."""
        for operation in self.operations:
            catalog = operation.apply(catalog)
        return catalog

    def adopt(self, catalog: Catalog) -> Catalog:
        """The catalog with the indexes this revision brings under management."""
        for definition in self.adopted.values():
            catalog = catalog.with_definition(definition)
        return catalog


def touched_indexes(recorded: Iterable[RecordedRevision]) -> tuple[str, ...]:
    """The served names that operations name, in order of their first mention."""
    names: dict[str, None] = {}
    for item in recorded:
        names.update(dict.fromkeys(item.adopted))
        for operation in item.operations:
            match operation.kind:
                case "create_index":
                    names[operation.schema.name] = None
                case "change_index" | "drop_index":
                    names[operation.name] = None
                case "create_alias" | "set_synonyms":
                    names[operation.index] = None
    return tuple(names)
