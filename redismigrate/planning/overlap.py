"""Which other indexes read the documents that a rewrite changes, and what they would lose by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT, Recoding, Rewrite
from redismigrate.operations.renaming import paths_read
from redismigrate.schema import Field, IndexSchema, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import PathRename, PrefixChange, reads
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode


def overlap_problems(
    definition_before: IndexDefinition,
    definition_after: IndexDefinition,
    rewrite: Rewrite,
    others: Mapping[str, IndexSchema],
    changed_too: Mapping[str, IndexSchema | None],
) -> list[str]:
    """Why a rewrite of the documents of one index would harm another one; empty when it harms none.

    Keys are all that two indexes can be compared by: an overlap of prefixes counts, since it can't be told
    whether a FILTER keeps their documents apart.

    Args:
        definition_before: The index whose documents are rewritten, as it is.
        definition_after: The same as it will be.
        rewrite: What happens to its documents.
        others: Physical name -> schema of every live index; the index itself may be among them.
        changed_too: Physical name -> schema of the indexes that the same revision creates or changes, as it
            leaves them; None for those that it drops. An index that reads the documents in their new form is
            not harmed.

    Returns:
        One sentence for each harm, in the order of the indexes' names, with what to do about it.
    """
    own = {definition_before.physical, definition_after.physical}
    own_keys = KeyPrefixes.of(definition_before.schema.prefixes)
    problems: list[str] = []
    for name, schema in sorted({**others, **changed_too}.items()):
        if name in own or schema is None or schema.storage_type != rewrite.storage_type:
            continue
        if own_keys.overlap(KeyPrefixes.of(schema.prefixes)):
            for recoding in rewrite.recodings:
                problems += _recoding_problems(name, schema, recoding)
            for rename in rewrite.renames:
                problems += _rename_problems(name, schema, rename, definition_after.schema)
        for change in rewrite.prefixes:
            problems += _prefix_problems(name, others.get(name, schema), schema, change)
    return list(dict.fromkeys(problems))


def _recoding_problems(name: str, other: IndexSchema, recoding: Recoding) -> Iterator[str]:
    """Redis Search looks at the length of a vector only: bytes of another type pass if it is the same."""
    if recoding.new_path is not None:
        yield from _second_form_problems(name, other, recoding, recoding.new_path)
        return
    for field in other.fields:
        if not isinstance(field, VectorField) or field.path_in(other.storage_type) != recoding.path:
            continue
        if (field.datatype, field.dims) == (recoding.after, recoding.dims_after):
            continue
        if recoding.is_json:
            if field.dims == recoding.dims:
                yield (
                    f"index {name} reads {recoding.path} of the same keys with {field.dims} dimensions: "
                    "after the change its documents would leave it; change both in one revision"
                )
            continue
        expected_bytes = field.dims * BYTES_PER_COMPONENT[field.datatype]
        told = f"index {name} reads field {recoding.path} of the same keys as {field.dims} x {field.datatype}"
        if expected_bytes == recoding.bytes_after:
            yield (
                f"{told}: after the change it would take vectors of {recoding.dims_after} x "
                f"{recoding.after}, which are as long, for its own and find wrong neighbours; change both in "
                "one revision"
            )
        elif expected_bytes == recoding.bytes_before:
            yield f"{told}: after the change its documents would leave it; change both in one revision"


def _second_form_problems(name: str, other: IndexSchema, recoding: Recoding, path: str) -> Iterator[str]:
    """The old form stays for whoever reads it; the new one is written where something may read another."""
    if recoding.is_way_back and reads_place(other, recoding.path):
        yield (
            f"index {name} reads {recoding.path} of the same keys, which the way back removes: let it read "
            f"{path} before"
        )
    for field in other.fields:
        if field.path_in(other.storage_type) != path:
            continue
        form = (field.datatype, field.dims) if isinstance(field, VectorField) else None
        if form != (recoding.after, recoding.dims_after):
            yield (
                f"index {name} reads {path} of the same keys, where vectors of {recoding.dims_after} x "
                f"{recoding.after} are to be written: name another path"
            )


def _rename_problems(
    name: str, other: IndexSchema, rename: PathRename, schema_after: IndexSchema
) -> Iterator[str]:
    if reads_place(other, rename.old):
        yield (
            f"index {name} reads {rename.old} of the same keys: after the rename to {rename.new} it would "
            "lose it; change both in one revision"
        )
    own = _fields_at(schema_after, rename.new)
    if own and any(not _accepts(field, own[0]) for field in _fields_at(other, rename.new)):
        yield (
            f"index {name} reads {rename.new} of the same keys as another type than {rename.old} has: after "
            "the rename documents may leave it; change both in one revision"
        )


def _prefix_problems(
    name: str, other_before: IndexSchema, other_after: IndexSchema, change: PrefixChange
) -> Iterator[str]:
    before, after = KeyPrefixes.of(other_before.prefixes), KeyPrefixes.of(other_after.prefixes)
    old, new = encode(change.old), encode(change.new)
    if _leaves(before, after, old, new):
        yield (
            f"index {name} covers keys {change.old}*: it would lose the documents that move to "
            f"{change.new}*; {_what_to_do(name, other_before, other_after)}"
        )
    if _leaves(after, before, new, old):
        yield (
            f"index {name} covers keys {change.new}*: it would get the documents that move there from "
            f"{change.old}*; choose another prefix, or {_what_to_do(name, other_before, other_after)}"
        )


def _what_to_do(name: str, before: IndexSchema, after: IndexSchema) -> str:
    """What to do about another index; where the same revision changes its prefixes already, not that."""
    if set(before.prefixes) == set(after.prefixes):
        return f"change that of {name} in the same revision"
    given = " or ".join(f"{prefix}*" for prefix in after.prefixes) or "all keys"
    return f"give {name} one that fits, which gets {given} in the same revision"


def _leaves(before: KeyPrefixes, after: KeyPrefixes, old: bytes, new: bytes) -> bool:
    """Whether one index covers keys that the other does not once `old` in front of them is `new`."""
    for prefix in before.outermost:
        if old.startswith(prefix):
            moved = new
        elif prefix.startswith(old):
            moved = new + prefix[len(old) :]
        else:
            continue
        if not after.cover(moved):
            return True
    return False


def reads_place(schema: IndexSchema, path: str) -> bool:
    """Whether an index reads a hash field or a JSON path, or something within it.

    Args:
        schema: The index.
        path: A hash field, or a plain JSON path.
    """
    read = [told for _, told in paths_read(schema)]
    if any(reads(told, path, schema.storage_type) for told in read):
        return True
    if schema.storage_type == "json":
        return any(JsonPath.parse(told).may_find(JsonPath.parse(path)) for told in read)
    return filters_by(schema, path)


def filters_by(schema: IndexSchema, path: str) -> bool:
    """Whether FILTER reads a hash field: a name that no attribute has is that of a field of the hash."""
    if (
        schema.filter is None
        or schema.storage_type == "json"
        or path in {field.name for field in schema.fields}
    ):
        return False
    return re.search(rf"@{re.escape(path)}(?!\w)", schema.filter) is not None


def _fields_at(schema: IndexSchema, path: str) -> list[Field]:
    return [field for field in schema.fields if field.path_in(schema.storage_type) == path]


def _accepts(field: Field, source: Field) -> bool:
    """Whether values that are indexed as one field can be indexed as the other: any text is TEXT and TAG."""
    if isinstance(field, VectorField):
        return isinstance(source, VectorField) and (field.datatype, field.dims) == (
            source.datatype,
            source.dims,
        )
    return field.type == source.type or field.type in {"text", "tag"}
