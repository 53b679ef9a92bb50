"""What an index becomes where vectors get a new form at another path of the same documents."""

from __future__ import annotations

from typing import NoReturn

from redismigrate.errors import SchemaError
from redismigrate.operations.renaming import paths_read
from redismigrate.schema import Field, IndexSchema, VectorField
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import is_one_place, may_read


def reading_second_path(
    schema: IndexSchema, name: str, altered: Field, path: str, attribute: str
) -> IndexSchema:
    """The schema that reads the new form of vectors, at a path of its own, and the old one no more.

    Args:
        schema: The index before.
        name: The vector field.
        altered: The field as the new form needs it, with its name and path of before.
        path: Where the documents get the new form.
        attribute: What queries call it.

    Raises:
        SchemaError: The field holds no vectors, the name is taken, the path is where it is already, can't be
            written to, or another field or option reads it or the old one.
    """
    field = vector_field(schema, name, "get a new form at another path")
    old = field.path_in(schema.storage_type)
    if is_one_place(old, path, schema.storage_type):
        raise SchemaError(
            f"The documents of index {schema.name!r} hold field {name!r} at {path} already.",
            "Name another path, or leave path= out: then the new form replaces the old one.",
        )
    taken = next((known for known in schema.fields if known.name == attribute != name), None)
    if taken is not None and is_one_place(taken.path_in(schema.storage_type), path, schema.storage_type):
        raise SchemaError(
            f"Index {schema.name!r} already has a field {attribute!r}, which reads {path}.",
            "Name a path that nothing reads.",
        )
    if taken is not None:
        raise SchemaError(
            f"Index {schema.name!r} already has a field {attribute!r}.",
            "Name another path, say what the field is to be called with attribute=, or drop that one first.",
        )
    if schema.storage_type == "json":
        _require_same_object(old, path, name)
    for reader, read in paths_read(schema.without_field(name)):
        for place, why in ((path, f"so it can't get the new form of {name!r}"), (old, "too")):
            if may_read(read, place, schema.storage_type):
                _refuse_reader(reader, read, why, name)
    default = altered.altered(name=attribute, path=None)
    is_default = default.path_in(schema.storage_type) == path
    return schema.replace_field(name, default if is_default else altered.altered(name=attribute, path=path))


def vector_field(schema: IndexSchema, name: str, what: str) -> VectorField:
    """The vector field of a name.

    Args:
        schema: The index.
        name: Of the field.
        what: What is to be done to it: the end of "only vectors ...".

    Raises:
        SchemaError: There is none of that name, or it holds no vectors.
    """
    field = schema.field(name)
    if not isinstance(field, VectorField):
        raise SchemaError(
            f"Field {name!r} of index {schema.name!r} is a {field.type} field: only vectors {what}.",
            "Name a vector field.",
        )
    return field


def _refuse_reader(reader: str, read: str, why: str, name: str) -> NoReturn:
    if why == "too":
        raise SchemaError(
            f"{reader[0].upper()}{reader[1:]} reads {read}, as field {name!r} does: one of the two would "
            "stay with the old form.",
            "Drop that field in the same block, before, and add it for the new path after.",
        )
    raise SchemaError(
        f"{reader[0].upper()}{reader[1:]} reads {read}, {why}.", "Name a path that nothing reads."
    )


def _require_same_object(old: str, path: str, name: str) -> None:
    """A member beside the old one, whose object is there for sure."""
    before, after = JsonPath.parse(old), JsonPath.parse(path)
    if not before.is_plain or not after.is_plain:
        raise SchemaError(
            f"Field {name!r} can't get a new form from {old} to {path}: in JSON documents only members along "
            'plain names can, as in $.a.b or $["a b"].c.',
            "Name such a path.",
        )
    if before.sibling(after.members[-1]) != after:
        raise SchemaError(
            f"The new form of field {name!r} would go from {old} to {path}, into another object, which "
            "documents need not have.",
            "Name a path that differs in its last name only.",
        )
