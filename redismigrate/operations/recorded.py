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

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog that this revision leaves."""
        if self.direction == "upgrade":
            catalog = self.adopt(catalog)
        catalog = self.apply_operations(catalog)
        if self.direction == "downgrade":
            for name in self.adopted:
                catalog = catalog.without(name)
        return catalog

    @property
    def exclusive_because(self) -> str | None:
        """Why nobody else writes to documents meanwhile, as its script says; None where it does not."""
        reasons = [item.reason for item in self.operations if item.kind == "assume_exclusive"]
        return "; ".join(reasons) or None

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


def made_in_run(operation: Operation, made: frozenset[str] | None) -> frozenset[str] | None:
    """The indexes that a run has made itself, once it has carried out a further operation.

    Args:
        operation: The operation.
        made: Served names before it; None once an index from before the run was dropped: an application may
            use its documents, which an index that is made after that can be about.
    """
    match operation.kind:
        case "create_index" if made is not None:
            return made | {operation.schema.name}
        case "drop_index" if made is not None:
            return made - {operation.name} if operation.name in made else None
        case "change_index" if made is not None and operation.name in made:
            return made - {operation.name} | {operation.name_after}
    return made


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
