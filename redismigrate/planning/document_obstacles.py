"""What forbids to change the documents of an index as a change asks for, whichever way is taken."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.documents.rewrite import Rewrite
from redismigrate.planning.inventory import Inventory
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import IndexDefinition


def what_documents_forbid(before: IndexSchema, after: IndexSchema, rewrite: Rewrite) -> Iterator[str]:
    """Changes after which the documents would leave the index, whatever is done to them.

    Args:
        before: The index as it is.
        after: The index as it is wanted.
        rewrite: What is done to its documents.
    """
    if before.storage_type != after.storage_type:
        yield from _what_storage_forbids(before, after, rewrite)
        return
    if rewrite.recodings and rewrite.reads_whole_documents:
        yield (
            f"index {before.name} renames members of JSON documents and changes their vectors, which is not "
            "done in one pass: rename in a revision of its own"
        )
    new_paths = {rename.old: rename.new for rename in rewrite.renames}
    resized = {new_paths.get(path, path) for path in rewrite.recoded_paths}
    old_vectors = {
        new_paths.get(path, path): field
        for field in before.fields
        if isinstance(field, VectorField) and (path := field.path_in(before.storage_type))
    }
    vectors: dict[str, VectorField] = {}
    for field in after.fields:
        old = old_vectors.get(field.path_in(after.storage_type))
        if isinstance(field, VectorField):
            same_place = vectors.setdefault(field.path_in(after.storage_type), field)
            reads_otherwise = (same_place.datatype, same_place.dims) != (field.datatype, field.dims)
            if after.storage_type == "json":
                # Arrays of any other length may be at the path of one that nothing is done to.
                is_resized = field.path_in("json") in resized
                reads_otherwise = is_resized and same_place.dims != field.dims
            if reads_otherwise:
                yield (
                    f"fields {same_place.name} and {field.name} of index {after.name} read the same bytes as "
                    f"{same_place.dims} x {same_place.datatype} and {field.dims} x {field.datatype}: change "
                    "both alike"
                )
        if old is None or not isinstance(field, VectorField) or old.dims == field.dims:
            continue
        if field.path_in(after.storage_type) not in resized:
            yield _new_dimensions(field, old.dims, after)


def _what_storage_forbids(before: IndexSchema, after: IndexSchema, rewrite: Rewrite) -> Iterator[str]:
    told = f"index {before.name} changes its storage type from {before.storage_type} to {after.storage_type}"
    if rewrite.storage is None:
        yield (
            f"{told}, and nothing says what becomes of its documents: write "
            f'index.change_storage("{after.storage_type}", prefix=(old, new)) instead'
        )
        return
    dims = {field.name: field.dims for field in before.fields if isinstance(field, VectorField)}
    for field in after.fields:
        if isinstance(field, VectorField) and dims.get(field.name, field.dims) != field.dims:
            yield (
                f"{told}, and field {field.name} from {dims[field.name]} to {field.dims} dimensions: do it "
                "in two revisions"
            )


def _new_dimensions(field: VectorField, dims_before: int, after: IndexSchema) -> str:
    told = (
        f"field {field.name} of index {after.name} changes from {dims_before} to {field.dims} "
        "dimensions: its documents would have to be rewritten, which this version can't do"
    )
    if field.dims < dims_before:
        return f"{told}. index.truncate keeps the first {field.dims} numbers of each vector"
    return told


def what_forbids_rewriting(
    definition: IndexDefinition, rewrite: Rewrite, inventory: Inventory, *, exclusive: bool, is_made: bool
) -> Iterator[str]:
    """Why the documents of an index can't be rewritten in place as things are.

    Args:
        definition: The index.
        rewrite: What becomes of its documents.
        inventory: The server as it is now.
        exclusive: Nobody else writes to them, or there are none.
        is_made: The run has made the index itself: what is not moved, no application has looked for.
    """
    name, filter_ = definition.served, definition.schema.filter
    if inventory.capabilities.is_cluster:
        yield why_not_in_cluster(definition)
    if exclusive:
        return
    if rewrite.storage is not None:
        yield (
            f"the documents of index {name} can become {rewrite.storage.named} under the keys that they have "
            "with --exclusive alone: a key has one type, so pause writers and say it, or let the script say "
            "op.assume_exclusive(reason). Or say prefix=(old, new) in change_storage, and let search stay up "
            "and writers write: documents are copied then"
        )
        return
    if rewrite.moves and not is_made:
        yield (
            f"{rewrite.moves_only()} in the documents of index {name} needs --exclusive: what writers delete "
            "or write under the old name meanwhile can't be seen; pause them and say it, or let the script "
            "say op.assume_exclusive(reason)"
        )
    elif rewrite.recodings and filter_ is not None:
        yield (
            f"index {name} has a FILTER, and which documents it keeps out can't be told while it is down: "
            "pause writers and say --exclusive, or let the script say op.assume_exclusive(reason)"
        )


def why_not_in_cluster(definition: IndexDefinition) -> str:
    """Why documents in a cluster are not rewritten."""
    return (
        f"the documents of index {definition.served} lie in several slots of a cluster, which no transaction "
        "spans"
    )
