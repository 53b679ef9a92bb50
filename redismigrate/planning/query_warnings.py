"""What clients have to send, or to call otherwise, once an index has changed."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT, Rewrite
from redismigrate.schema import VectorField
from redismigrate.schema.definition import IndexDefinition


def query_bytes_warnings(old: IndexDefinition, new: IndexDefinition) -> Iterator[str]:
    """That vectors have to be sent, and written, in another form.

    Args:
        old: The index as it is.
        new: The index as it is wanted.
    """
    before = {field.name: field for field in old.schema.fields if isinstance(field, VectorField)}
    for field in new.schema.fields:
        known = before.get(field.name)
        if not isinstance(field, VectorField) or known is None:
            continue
        if (field.datatype, field.dims) != (known.datatype, known.dims):
            form = _form_of(field, known)
            yield f"queries on {new.served} must send {form} afterwards (query_bytes_change)"
            if new.schema.storage_type == "hash" or field.dims != known.dims:
                yield _of_old_writers(new.served, known, field)


def query_names_warnings(
    old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite, expanded: IndexDefinition | None
) -> Iterator[str]:
    """That what is renamed has to be queried, and written, under another name.

    Args:
        old: The index as it is.
        new: The index as it is wanted.
        rewrite: What gets another path in its documents.
        expanded: The index that answers to both names until the change is over; None for none.
    """
    for before, after in renamed_attributes(old, new, rewrite).items():
        if expanded is not None:
            yield (
                f"{expanded.physical} answers queries that say {before} and those that say {after}, and so "
                f"does {new.served} from its swap until the last index is built"
            )
        yield (
            f"queries on {new.served} must say {after} instead of {before} afterwards: with the old name "
            "they find nothing, on Redis 7.4 without an error (query_names_change)"
        )
    yield from _second_path_warnings(old, new, rewrite)
    for rename in rewrite.renames:
        yield (
            f"what is written to {rename.old} in documents of {new.served} after the run is not carried to "
            f"{rename.new}: searches do not find it until it is written there (old_name_writers)"
        )


def _second_path_warnings(old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite) -> Iterator[str]:
    """What queries and writers have to know of a new form at a path of its own."""
    storage_type = new.schema.storage_type
    called = {field.path_in(storage_type): field for field in new.schema.fields}
    before = {field.path_in(storage_type): field for field in old.schema.fields}
    for recoding in rewrite.recodings:
        if recoding.new_path is None:
            continue
        field, known = called[recoding.new_path], before[recoding.path]
        if not isinstance(field, VectorField) or not isinstance(known, VectorField):
            continue
        if field.name != known.name:
            yield (
                f"queries on {new.served} must say {field.name} instead of {known.name} and send "
                f"{_form_of(field, known)} afterwards: with the old name they find nothing, on Redis 7.4 "
                "without an error (query_names_change, query_bytes_change)"
            )
        if storage_type == "hash" and field.name != recoding.new_path:
            yield (
                f"RedisVL's client can't query {field.name} of {new.served}, which the hashes hold as "
                f"{recoding.new_path}: its schema knows no path on hashes, and it raises KeyError; leave "
                "attribute= out where it has to (client_paths)"
            )
        yield (
            f"what is written to {recoding.path} in documents of {new.served} after the run is not carried "
            f"to {recoding.new_path}: searches find the vector from before until it is written there "
            "(old_form_writers)"
        )


def renamed_attributes(old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite) -> dict[str, str]:
    """Which attributes read the same values under another name afterwards, as they were called before.

    Args:
        old: The index as it is.
        new: The index as it is wanted.
        rewrite: What gets another path in its documents.
    """
    storage = old.schema.storage_type
    kept = {field.name for field in new.schema.fields}
    called = {field.path_in(storage): field.name for field in new.schema.fields}
    renamed = {}
    for field in old.schema.fields:
        path = field.path_in(storage)
        for rename in rewrite.renames:
            path = rename.follow(path, storage)
        if field.name not in kept and path in called:
            renamed[field.name] = called[path]
    return renamed


def _form_of(field: VectorField, known: VectorField) -> str:
    """What of the vectors of a field is another than before, in words."""
    if field.dims == known.dims:
        return f"{field.datatype} vectors"
    of_type = "" if field.datatype == known.datatype else f"{field.datatype} "
    return f"{of_type}vectors of {field.dims} dimensions"


def _of_old_writers(served: str, before: VectorField, after: VectorField) -> str:
    """What becomes of documents that a release writes which does not know the new form."""
    old, new = _in_words(before, after), _in_words(after, before)
    written = f"what is written to {served} {old} after the run is not converted: searches"
    sizes = {field.dims * BYTES_PER_COMPONENT[field.datatype] for field in (before, after)}
    if len(sizes) == 1:
        return f"{written} take it for {after.datatype} (old_form_writers)"
    return f"{written} do not find it until it is written {new} (old_form_writers)"


def _in_words(field: VectorField, other: VectorField) -> str:
    """In which of two forms vectors are written."""
    if field.dims == other.dims:
        return f"in {field.datatype}"
    of_type = "" if field.datatype == other.datatype else f" in {field.datatype}"
    return f"with {field.dims} dimensions{of_type}"
