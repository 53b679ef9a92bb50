"""What renaming a field makes of a schema, and what has to move in the documents for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from redismigrate.errors import SchemaError
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.fields import StorageType
from redismigrate.schema.json_paths import JsonPath, last_member
from redismigrate.schema.moves import PathRename, reads

# Options that name a hash field or a JSON path, not an attribute.
PATH_OPTIONS = ("language_field", "score_field", "payload_field")


@dataclass(frozen=True)
class Renamed:
    """What renaming a field gives.

    Attributes:
        schema: With the field, and all else that reads what moves, under the new names.
        documents: What moves in the documents; None: only the index changes.
    """

    schema: IndexSchema
    documents: PathRename | None


def rename_field(schema: IndexSchema, old: str, new: str, path: str | None = None) -> Renamed:
    """Rename a field, and where the documents hold it under its own name, rename it there.

    Args:
        schema: The index.
        old: The field.
        new: What queries shall call it.
        path: Where the documents shall hold it; None: where they do, but for a last name that is the old one.

    Raises:
        SchemaError: There is no such field, the new name is taken or the same, or the documents' part can't
            be done: something reads the new path, or the path is not plain.
    """
    field = schema.field(old)
    if new == old:
        raise SchemaError(f"Field {old!r} of index {schema.name!r} has that name already.", "Take it out.")
    if any(known.name == new for known in schema.fields):
        raise SchemaError(
            f"Index {schema.name!r} already has a field {new!r}.", "Choose another name, or drop it first."
        )
    storage_type = schema.storage_type
    target = _renamed_path(field, new, storage_type) if path is None else path
    default = field.altered(name=new, path=None)
    is_default = field.path is None and target == default.path_in(storage_type)
    renamed = default if is_default else field.altered(name=new, path=target)
    move = _move(field, target, storage_type)
    if move is None:
        return Renamed(schema.replace_field(old, renamed), None)
    for reader, read in paths_read(schema.without_field(old)):
        _refuse_reader(reader, read, move, storage_type)
    fields = tuple(
        renamed if known.name == old else _following(known, move, schema) for known in schema.fields
    )
    options = {option: getattr(schema, option) for option in PATH_OPTIONS}
    followed = {
        option: move.follow(read, storage_type) for option, read in options.items() if read is not None
    }
    return Renamed(schema.with_fields(fields).with_options(**followed), move)


def paths_read(schema: IndexSchema) -> Iterator[tuple[str, str]]:
    """Who reads what of the documents: each field and option, as a message calls it, and its path."""
    for field in schema.fields:
        yield f"field {field.name!r}", field.path_in(schema.storage_type)
    for option in PATH_OPTIONS:
        path = getattr(schema, option)
        # Of JSON documents the server takes a language and a score from paths that begin at the root only.
        if path is not None and (schema.storage_type == "hash" or path.startswith("$")):
            yield f"option {option}", path


def _renamed_path(field: Field, new: str, storage_type: StorageType) -> str:
    """Where a field is under another name, where the user says nothing about it."""
    path = field.path_in(storage_type)
    if storage_type == "hash":
        return new if path == field.name else path
    if last_member(path) != field.name:
        return path
    sibling = _plain(path, field).sibling(new)
    if sibling is None:
        raise SchemaError(
            f"{new!r} can't be the name of a member of JSON documents that Redis reads and writes alike.",
            "Choose a name without backslashes, white space in front, or both kinds of quotes.",
        )
    return str(sibling)


def _move(field: Field, target: str, storage_type: StorageType) -> PathRename | None:
    path = field.path_in(storage_type)
    if path == target:
        return None
    if storage_type == "hash":
        return PathRename(path, target)
    old, new = _plain(path, field), _plain(target, field)
    if old == new:
        return None
    if old.sibling(new.members[-1]) != new:
        raise SchemaError(
            f"Field {field.name!r} would move from {path} to {target}, into another object.",
            "A member can be renamed, not moved: give a path that differs in its last name only.",
        )
    return PathRename(str(old), str(new))


def _plain(text: str, field: Field) -> JsonPath:
    path = JsonPath.parse(text)
    if not path.is_plain:
        raise SchemaError(
            f"Field {field.name!r} can't be renamed in JSON documents by the path {text}: only members along "
            'plain names can, as in $.a.b or $["a b"].c.',
            f"With path={field.path_in('json')!r} the field of the index is renamed alone.",
        )
    return path


def _refuse_reader(reader: str, read: str, move: PathRename, storage_type: StorageType) -> None:
    if reads(read, move.new, storage_type):
        raise SchemaError(
            f"{reader[0].upper()}{reader[1:]} reads {read}, so nothing can be renamed to {move.new}.",
            "Choose another name, or give another path=.",
        )
    if storage_type == "json":
        path = JsonPath.parse(read)
        for place in (move.old, move.new):
            if path.may_find(JsonPath.parse(place)):
                raise SchemaError(
                    f"{reader[0].upper()}{reader[1:]} reads {read}, which may find {place} by its name.",
                    f"Take the {reader} out before, in the same block, and put it back after.",
                )


def _following(field: Field, move: PathRename, schema: IndexSchema) -> Field:
    path = field.path_in(schema.storage_type)
    followed = move.follow(path, schema.storage_type)
    return field if followed == path else field.altered(path=followed)
