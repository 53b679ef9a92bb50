"""What documents do not have where a revision counts on it, or have where it wants to write, by a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.documents.rewrite import Rewrite
from redismigrate.operations.changes import IndexChange
from redismigrate.operations.storage import places_of
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.planning.document_sample import DocumentSample
from redismigrate.schema import Field, IndexSchema, VectorField
from redismigrate.schema.strict import did_you_mean


def missing_paths(sample: DocumentSample | None, paths: Sequence[str]) -> tuple[str, ...]:
    """The hash fields or JSON paths that no document of a sample has; none where it can't tell.

    Args:
        sample: Of the documents; None where there is none.
        paths: What should be there.
    """
    if sample is None or not sample.is_current:
        return ()
    return tuple(path for path in paths if path in sample.fields and not sample.fields[path].share)


def nowhere(path: str, schema: IndexSchema, sample: DocumentSample, documents: int) -> str:
    """That a path is in no document, and what may have been meant.

    Args:
        path: The hash field or JSON path.
        schema: The index.
        sample: Of its documents.
        documents: How many it has.
    """
    known = {*sample.names, *(name for name, found in sample.fields.items() if found.share)}
    return f"{_none_of(schema.name, sample, documents)} {path}{did_you_mean(path, sorted(known))}"


def read_from_nowhere(
    old: IndexSchema, new: IndexSchema, rewrite: Rewrite, sample: DocumentSample | None, documents: int
) -> Iterator[str]:
    """Which fields the index reads elsewhere afterwards, where no document has anything.

    Args:
        old: The index as it is.
        new: The index as it is wanted.
        rewrite: What becomes of its documents: it may bring values there.
        sample: Of the documents as they are; None where there is none.
        documents: How many there are.
    """
    storage_type = old.storage_type
    if sample is None or new.storage_type != storage_type:
        return
    written = {each.new_path for each in rewrite.recodings} | {each.new for each in rewrite.renames}
    before = {field.name: field.path_in(storage_type) for field in old.fields}
    for field in new.fields:
        path, was = field.path_in(storage_type), before.get(field.name)
        if was is None or path == was or path in written or not missing_paths(sample, (path,)):
            continue
        having = sample.having(was)
        if having:
            yield (
                f"{_none_of(new.name, sample, documents)} {path} ({having:,} of {sample.documents:,} sampled "
                f"have {was}): searches will not find them by {field.name}{_how_to_fill(field, storage_type)}"
            )


def already_there(
    new: IndexSchema, rewrite: Rewrite, sample: DocumentSample | None, *, is_beside: bool
) -> Iterator[str]:
    """Which documents have a value where one of their values is to go.

    Args:
        new: The index as it is wanted.
        rewrite: What gets another path.
        sample: Of the documents as they are; None where there is none.
        is_beside: Search stays up: a value that is the same already is no obstacle.
    """
    if sample is None or not sample.is_current:
        return
    moves = [(each.old, each.new, "the two differ") for each in rewrite.renames]
    moves += [
        (each.path, each.new_path, f"that is not its new form of {each.path}")
        for each in rewrite.recodings
        if each.new_path is not None and not each.is_way_back
    ]
    for old, there, differs in moves:
        count = sample.both.get((old, there), 0)
        if not count:
            continue
        which = f"where {differs}, a document keeps" if is_beside else "they keep"
        verb = "counts as a failure" if is_beside else "count as failures"
        yield (
            f"{count:,} of {sample.documents:,} sampled documents of {new.name} have a field {there} "
            f"already, beside {old}: {which} both as they are and {verb}; choose another name"
        )


def unknown_places(
    changes: Sequence[IndexChange], old: IndexSchema, sample: DocumentSample | None, documents: int
) -> Iterator[str]:
    """Which names `paths=` of a change of storage has that are nothing.

    Args:
        changes: Of one index, in order.
        old: The index before them.
        sample: Of its documents; None where there is none.
        documents: How many there are.
    """
    known = places_of(old)
    for change in changes:
        if not isinstance(change, ChangeStorage) or sample is None:
            continue
        for name in missing_paths(sample, tuple(change.paths)):
            if name not in known:
                meant = did_you_mean(name, sorted({*known, *sample.names}))
                yield (
                    f"paths= of change_storage names {name}, which is no field of index {old.name}, and "
                    f"{_none_of(old.name, sample, documents)} it{meant}: nothing goes to {change.paths[name]}"
                )


def _none_of(index: str, sample: DocumentSample, documents: int) -> str:
    if sample.documents >= documents:
        return f"no document of {index} has"
    return f"none of {sample.documents:,} sampled documents of {index} has"


def _how_to_fill(field: Field, storage_type: str) -> str:
    if not isinstance(field, VectorField):
        return ""
    if storage_type == "json":
        return ". To make shorter vectors there, say truncate with path="
    return ". To make the vectors, say another datatype= as well"
