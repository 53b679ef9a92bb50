"""Which documents revisions make worth a look, and what to look at in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from redismigrate.documents.rewrite import Recoding
from redismigrate.operations.block_moves import moves_of, second_paths_of, truncations_of
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.storage import places_of
from redismigrate.planning.rewrites import recodings_of
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.definition import Catalog

SAMPLED_TYPES = {"text", "tag", "vector"}
_OF_DOCUMENTS = {
    "rename_field",
    "change_prefix",
    "truncate",
    "change_storage",
    "drop_values",
    "restore_values",
}


@dataclass
class Interest:
    """An index of which documents are worth a look.

    Attributes:
        schema: As the first revision meets it or creates it: where its documents are found.
        paths: Hash fields and JSON paths to look at -> the field that is there now.
        may_be_rewritten: Whether a revision may rewrite its documents.
        cuts: Hash field or JSON path -> how its vectors are truncated first.
        places: Hash fields and JSON paths that a revision counts on, whatever reads them.
        moves: Where a value is and where a revision moves it.
        asks_names: Whether what documents have tells what may have been meant by a name that none has.
    """

    schema: IndexSchema
    paths: dict[str, Field]
    may_be_rewritten: bool = False
    cuts: dict[str, Recoding] = dataclass_field(default_factory=dict)
    places: set[str] = dataclass_field(default_factory=set)
    moves: set[tuple[str, str]] = dataclass_field(default_factory=set)
    asks_names: bool = False

    def add(self, schema: IndexSchema) -> None:
        """Look at what a later revision reads, too."""
        for field in schema.fields:
            if field.type in SAMPLED_TYPES:
                self.paths.setdefault(field.path_in(schema.storage_type), field)

    def add_places(self, operation: ChangeIndex, before: IndexSchema, after: IndexSchema) -> None:
        """Look whether there is what a change counts on, and nothing where it writes."""
        if before.storage_type != self.schema.storage_type:
            return
        for change in operation.changes:
            if change.kind == "drop_values":
                self.places.add(change.path)
                self.asks_names = True
            elif change.kind == "change_storage":
                self.places |= change.paths.keys() - places_of(before)
                self.asks_names |= bool(change.paths)
        if after.storage_type != before.storage_type:
            return
        renames, _ = moves_of(operation.changes, before)
        self.moves |= {(rename.old, rename.new) for rename in renames}
        self.moves |= second_paths_of(operation.changes, before).items()
        read = {field.name: field.path_in(before.storage_type) for field in before.fields}
        for field in after.fields:
            path = field.path_in(after.storage_type)
            if read.get(field.name, path) != path:
                self.places |= {read[field.name], path}


def interests_of(recorded: Iterable[RecordedRevision], catalog: Catalog) -> dict[str, Interest]:
    """Served name as it is before all revisions -> what to look at, for every index they create or change.

    Args:
        recorded: The revisions, in order.
        catalog: The indexes before them.
    """
    interests: dict[str, Interest] = {}
    first_names: dict[str, str] = {}
    for item in recorded:
        catalog = item.start(catalog)
        for operation in item.operations:
            before, catalog = catalog, operation.apply(catalog)
            if operation.kind == "create_index":
                name, old, new = operation.schema.name, operation.schema, operation.schema
                first_names.pop(name, None)
            elif operation.kind == "change_index":
                new_name = operation.name_after
                old, new = before[operation.name].schema, catalog[new_name].schema
                name = first_names.pop(operation.name, operation.name)
                first_names[new_name] = name
            else:
                continue
            interest = interests.setdefault(name, Interest(old, {}))
            interest.add(old)
            interest.add(new)
            if operation.kind == "change_index":
                interest.add_places(operation, old, new)
            if operation.kind == "change_index" and may_rewrite(operation, old, new):
                interest.may_be_rewritten = True
                for cut in _cuts(operation, old, new):
                    interest.cuts.setdefault(cut.path, cut)
    return interests


def may_rewrite(operation: ChangeIndex, before: IndexSchema, after: IndexSchema) -> bool:
    """Whether a change of an index may concern the bytes of its documents."""
    if any(change.kind in _OF_DOCUMENTS for change in operation.changes):
        return True
    beside = second_paths_of(operation.changes, before)
    return bool(recodings_of(before, after, (), {}, second_paths=beside))


def _cuts(operation: ChangeIndex, before: IndexSchema, after: IndexSchema) -> list[Recoding]:
    """The vectors of float datatypes that a change truncates."""
    renames, _ = moves_of(operation.changes, before)
    truncated, beside = truncations_of(operation.changes, before), second_paths_of(operation.changes, before)
    recodings = recodings_of(before, after, renames, {}, truncated, beside)
    return [recoding for recoding in recodings if recoding.cuts and not recoding.has_integers]
