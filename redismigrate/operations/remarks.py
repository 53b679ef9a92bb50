"""What a generated script says about its changes: what nothing carries out, what may be meant otherwise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from redismigrate.operations.changes import DropField, IndexChange
from redismigrate.operations.differing import Rename
from redismigrate.operations.field_changes import AlterField
from redismigrate.operations.index_renames import IndexRename
from redismigrate.operations.operation_types import DropIndex
from redismigrate.operations.source import Remarks, literal
from redismigrate.schema import IndexSchema, VectorField


def remarks_on_upgrade(
    candidates: Collection[Rename] = (),
    index_candidates: Collection[IndexRename] = (),
    say_rename: str = "with --rename {old}:{new}",
    second_forms: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Remarks:
    """The comments of an `upgrade`.

    Args:
        candidates: Pairs of fields of which nobody has said whether they are renames.
        index_candidates: Pairs of indexes likewise.
        say_rename: How the user says that of fields, with the names as {old} and {new}.
        second_forms: Index and vector field -> the call that would make another one of it.
    """

    def remarks(change: IndexChange | DropIndex, schema: IndexSchema) -> Iterator[str]:
        yield from remarks_on_change(change, schema)
        if change.kind == "add_field" and isinstance(change.field, VectorField):
            yield (
                "A new vector field: no strategy makes its embeddings. The application, or op.run, has to "
                f"write {change.field.dims} x {change.field.datatype} to "
                f"{change.field.path_in(schema.storage_type)} of the documents; it finds no others."
            )
        if change.kind == "change_prefix":
            yield (
                "This renames the keys of the documents. To cover other keys and leave the documents, write "
                "index.set_options(prefixes=[...]) alone."
            )
        if change.kind == "drop_field":
            for rename in candidates:
                if (rename.index, rename.old) == (schema.name, change.name):
                    yield (
                        f"Field {literal(rename.new)}, which is added, has the same definition. If it is "
                        "this one under a new name, generate the script again "
                        f"{say_rename.format(old=rename.old, new=rename.new)}: as it stands, the documents "
                        "keep the field under its old name."
                    )
        yield from _second_form(change, schema, second_forms)
        if change.kind == "drop_index":
            yield from _index_renames(change.name, index_candidates)

    return remarks


def _second_form(
    change: IndexChange | DropIndex, schema: IndexSchema, calls: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    if not isinstance(change, DropField | AlterField):
        return
    is_told = isinstance(change, DropField) or "path" in change.attributes
    call = calls.get((schema.name, change.name)) if is_told else None
    if call is not None:
        yield (
            f"If the new vectors are to be made of those of {literal(change.name)}, write {call} instead: as "
            "it stands, the application has to write them."
        )


def _index_renames(name: str, candidates: Collection[IndexRename]) -> Iterator[str]:
    for pair in candidates:
        if pair.old == name:
            yield (
                f"Index {literal(pair.new)}, which is created, has the same definition. If it is this one "
                f"under a new name, generate the script again with --rename {pair}: as it stands, the new "
                "index has none of its aliases and synonyms."
            )


def remarks_on_change(change: IndexChange | DropIndex, schema: IndexSchema) -> Iterator[str]:
    """The comments on a change in either direction: those that no strategy carries out."""
    if change.kind == "alter_field" and change.new_path is None:
        field = schema.field(change.name)
        if "dims" in change.attributes:
            yield (
                "New dimensions: no strategy carries this out yet, since the documents need new embeddings. "
                "The plan is blocked by it. Where the first numbers of each vector are to be kept, write "
                "index.truncate(name, dims=...) instead."
            )
        elif isinstance(field, VectorField) and "path" in change.attributes:
            yield (
                "The vectors are read from another place: nothing moves or makes them there, the application "
                "or op.run has to."
            )
    if change.kind == "change_storage" and not change.prefixes:
        yield (
            "The documents keep their keys, and a key has one type: writers have to be paused (--exclusive), "
            "and search is down meanwhile. With prefix=(old, new) search stays up."
        )
    if change.kind == "set_options" and "storage_type" in change.options:
        yield (
            "A new storage type: no strategy carries this out yet, since all documents would have to be "
            "rewritten. The plan is blocked by it."
        )
