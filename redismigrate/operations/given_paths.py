"""A path that a script gives for values of documents, checked at its line against what the documents are."""

from __future__ import annotations

from redismigrate.errors import SchemaError
from redismigrate.operations.given import as_name
from redismigrate.schema import IndexSchema
from redismigrate.schema.json_paths import JsonPath


def as_place(path: str, schema: IndexSchema, call: str = "path={}") -> str:
    """A field of the hashes or a JSON path, as the documents of an index have them.

    Args:
        path: What a script gives.
        schema: The index.
        call: How to write the path, which goes in as {}.

    Raises:
        SchemaError: It is empty, no text, or a JSON path where the documents are hashes.
    """
    if path in ("", b""):
        place = "field of the hashes" if schema.storage_type == "hash" else "JSON path"
        raise SchemaError("path= is empty.", f"Name a {place}.")
    path = as_name(path, "path")
    is_read = any(field.path_in(schema.storage_type) == path for field in schema.fields)
    # A field of a hash may be called so; no script reaches one that way which no index has ever read.
    if schema.storage_type == "hash" and path.startswith(("$.", "$[")) and not is_read:
        members = JsonPath.parse(path).members
        field = members[-1] if members else "name"
        written = call.format(f'"{field}"')
        raise SchemaError(
            f"{path!r} is a JSON path, and {schema.name} is an index of hashes.", f"Write {written}."
        )
    return path
