"""One revision's script in one direction, recorded: all that planning needs when the script is gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from redismigrate.operations.operation_types import Operation, RunFunction
from redismigrate.operations.squash import Squash
from redismigrate.schema.definition import Catalog, IndexDefinition

Direction = Literal["upgrade", "downgrade"]
_OF_OTHERS = frozenset({"replaces", "squashes", "folded", "restorable_alone"})


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
            downgrade those that are given up again, as its operations leave them.
        found: On a downgrade, indexes that are managed by nobody by then and that it changes all the same, as
            they were found: another branch that had adopted them is undone already.
        undone_functions: On a downgrade, the `op.run` functions of the upgrade, last first.
        code_sha256: Of what Python reads of the script.
        replaces: The revisions that it stands for, as a squashed one does.
        squashes: The squashed revisions below it: from now on they are recorded instead of what they replace.
        folded: The revisions that this one stands for, in the order in which they are carried out, the last
            with its id; empty where it stands for itself alone.
        restorable_alone: Those among them whose originals the backup of all holds as one of their own would:
            the others can only go back together with those before them.
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
    found: dict[str, IndexDefinition] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    squashes: tuple[Squash, ...] = ()
    folded: tuple[RecordedRevision, ...] = ()
    restorable_alone: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_others_never_have(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Where nothing is squashed or folded, runs and plans are as those of older versions.
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if value or name not in _OF_OTHERS}

    @property
    def members(self) -> tuple[RecordedRevision, ...]:
        """The revisions that are recorded together: those that are folded, or this one alone."""
        return self.folded or (self,)

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog that this revision leaves."""
        return self.apply_operations(self.start(catalog)).without(*self.given_up)

    @property
    def given_up(self) -> frozenset[str]:
        """The served names that a downgrade takes out of management; their indexes stay on the server."""
        return frozenset(self.adopted) if self.direction == "downgrade" else frozenset()

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

    def start(self, catalog: Catalog) -> Catalog:
        """The catalog as the operations find it, with the indexes that are brought under management."""
        for definition in self.brought_in.values():
            catalog = catalog.with_definition(definition)
        return catalog

    @property
    def brought_in(self) -> dict[str, IndexDefinition]:
        """The indexes that come under management before the operations, as they were found.

        What a downgrade gives up is told as its operations leave it, so that is not among them.
        """
        return self.adopted if self.direction == "upgrade" else self.found


def names_after(operations: Iterable[Operation], names: Iterable[str]) -> dict[str, str]:
    """What indexes are called once operations have renamed them, by what they are called before."""
    found = {name: name for name in names}
    for operation in operations:
        if operation.kind == "change_index":
            for first, name in found.items():
                if name == operation.name:
                    found[first] = operation.name_after
                    break
    return found


def names_dropped(operations: Iterable[Operation], names: Iterable[str]) -> frozenset[str]:
    """The indexes that operations drop, by what they are called before; another may get the name then."""
    called = {name: name for name in names}
    gone = set()
    for operation in operations:
        if operation.kind not in {"change_index", "drop_index"}:
            continue
        first = next((first for first, name in called.items() if name == operation.name), None)
        if first is None:
            continue
        if operation.kind == "drop_index":
            gone.add(first)
            del called[first]
        else:
            called[first] = operation.name_after
    return frozenset(gone)


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


def covers_other_keys(recorded: Iterable[RecordedRevision], catalog: Catalog) -> bool:
    """Whether revisions make an index that covers keys which no index of that name has covered before.

    Args:
        recorded: The revisions, in order.
        catalog: The indexes before them.
    """
    for item in recorded:
        catalog = item.start(catalog)
        for operation in item.operations:
            before, catalog = catalog, operation.apply(catalog)
            if operation.kind == "create_index":
                return True
            if operation.kind == "change_index":
                old, new = before[operation.name].schema, catalog[operation.name_after].schema
                if set(old.prefixes) != set(new.prefixes):
                    return True
    return False


def touched_indexes(recorded: Iterable[RecordedRevision]) -> tuple[str, ...]:
    """The served names that operations name, in order of their first mention."""
    names: dict[str, None] = {}
    for item in recorded:
        names.update(dict.fromkeys((*item.adopted, *item.found, *names_mentioned(item.operations))))
    return tuple(names)


def names_mentioned(operations: Iterable[Operation]) -> tuple[str, ...]:
    """The served names that operations name, in order of their first mention."""
    names: dict[str, None] = {}
    for operation in operations:
        match operation.kind:
            case "create_index":
                names[operation.schema.name] = None
            case "change_index" | "drop_index":
                names[operation.name] = None
            case "create_alias" | "set_synonyms":
                names[operation.index] = None
    return tuple(names)
