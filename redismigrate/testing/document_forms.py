"""Documents as a test writes and reads them: vectors as numbers, everything else as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from redismigrate.documents.vectors import DTYPES, INTEGERS
from redismigrate.errors import SchemaError
from redismigrate.execution.indexes.live import scan_keys
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.fields import TagField
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode, readable
from redismigrate.schema.vector_field import VectorField

# Fields of a hash, or members of a JSON document.
GivenDocument = Mapping[str, Any]
# With or without the keys under which they are stored.
GivenDocuments = Sequence[GivenDocument] | Mapping[str, GivenDocument]
# Served name -> documents, or what makes them for the index as its revision leaves it.
SampleDocuments = Mapping[str, GivenDocuments | Callable[[IndexSchema], GivenDocuments]]


def document_commands(
    server: Server, schema: IndexSchema, documents: GivenDocuments
) -> dict[str, tuple[str | bytes, ...]]:
    """What stores documents under keys that an index covers, by these keys; nothing is stored yet.

    Args:
        server: The connection, to find free keys.
        schema: Of the index.
        documents: A mapping's keys are those of the documents; the others get the first prefix and a number
            that is free.

    Raises:
        SchemaError: A key has none of the index's prefixes, a vector does not fit its field, or a document
            can't be stored as the index needs it.
    """
    if isinstance(documents, Mapping):
        keyed = list(documents.items())
    else:
        keyed = list(zip(_free_keys(server, schema), documents, strict=False))
    prefixes = KeyPrefixes.of(schema.prefixes)
    commands: dict[str, tuple[str | bytes, ...]] = {}
    for key, document in keyed:
        if not isinstance(key, str) or not prefixes.cover(encode(key)):
            raise SchemaError(
                f"The key {key!r} is none of index {schema.name!r}.",
                f"Its prefixes: {', '.join(map(repr, schema.prefixes))}.",
            )
        try:
            if schema.storage_type == "json":
                commands[key] = ("JSON.SET", key, "$", json.dumps(document, default=_plain))
            else:
                fields = hash_fields(schema, document)
                commands[key] = ("HSET", key, *(part for item in fields.items() for part in item))
        except TypeError as error:
            raise SchemaError(f"{readable(key)} can't be stored as JSON: {error}.") from None
        except SchemaError as error:
            raise SchemaError(f"{readable(key)}: {error.message}", error.hint) from None
    return commands


def store(server: Server, commands: Iterable[tuple[str | bytes, ...]]) -> None:
    """Send what `document_commands` has made."""
    with server.translated_errors():
        pipeline = server.client.pipeline(transaction=False)
        for command in commands:
            parts = (part if isinstance(part, bytes) else encode(part) for part in command)
            pipeline.execute_command(*parts)  # type: ignore[no-untyped-call]
        pipeline.execute()


def read_documents(server: Server, schema: IndexSchema) -> dict[str, dict[str, Any]]:
    """The documents that an index is about, by key: vectors of hashes as arrays, other fields as text.

    Args:
        server: The connection.
        schema: Of the index.
    """
    documents: dict[str, dict[str, Any]] = {}
    for key in sorted(set(scan_keys(server, schema))):
        name = key.decode("utf-8", "surrogateescape")
        if schema.storage_type == "json":
            documents[name] = json.loads(server.execute("JSON.GET", key))
        else:
            stored = server.client.hgetall(key)
            documents[name] = dict(_shown(schema, stored))  # type: ignore[arg-type] # the client is no coroutine
    return documents


def hash_fields(schema: IndexSchema, document: GivenDocument) -> dict[str, str | bytes]:
    """The fields of a hash, as HSET takes them: lists become vectors, or tags where the field holds tags.

    Raises:
        SchemaError: A vector does not fit its field, or a value is none that a hash can hold.
    """
    if not document:
        raise SchemaError("There is no hash without fields.", "Give it one.")
    fields = {field.path_in("hash"): field for field in schema.fields}
    stored: dict[str, str | bytes] = {}
    for name, value in document.items():
        field = fields.get(name)
        if isinstance(field, VectorField) and not isinstance(value, bytes):
            stored[name] = vector_bytes(field, value)
        elif isinstance(field, TagField) and isinstance(value, list | tuple):
            stored[name] = (field.separator or ",").join(map(str, value))
        elif isinstance(value, str | bytes):
            stored[name] = value
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            stored[name] = str(value)
        else:
            raise SchemaError(
                f"Field {name!r} of a hash can't hold {value!r}.",
                "Give text, bytes or a number; leave out a field that has no value.",
            )
    return stored


def vector_bytes(field: VectorField, numbers: Any) -> bytes:
    """A vector as Redis Search reads it from a hash or a query.

    Args:
        field: Whose datatype and dimensions it has to have.
        numbers: A sequence or an array of shape (dims,).

    Raises:
        SchemaError: It has another shape, holds no numbers, or some that an integer type does not have.
    """
    given = np.asarray(numbers)
    if given.shape != (field.dims,):
        raise SchemaError(
            f"Field {field.name!r} takes vectors of {field.dims} numbers, not of shape {given.shape}."
        )
    try:
        vector = given.astype(DTYPES[field.datatype])
    except (TypeError, ValueError):
        raise SchemaError(f"Field {field.name!r} takes numbers, not {numbers!r}.") from None
    if field.datatype in INTEGERS and not np.array_equal(vector, given):
        raise SchemaError(f"Field {field.name!r} takes {field.datatype}, which has not all of {numbers!r}.")
    return vector.tobytes()


def _free_keys(server: Server, schema: IndexSchema) -> Iterator[str]:
    prefix = schema.prefixes[0] if schema.prefixes else "document:"
    number = 0
    while True:
        number += 1
        key = f"{prefix}{number}"
        if not server.execute("EXISTS", encode(key)):
            yield key


def _shown(schema: IndexSchema, stored: Mapping[bytes, bytes]) -> Iterator[tuple[str, Any]]:
    fields = {encode(field.path_in("hash")): field for field in schema.fields}
    for name, value in stored.items():
        field = fields.get(name)
        shown: Any = value.decode("utf-8", "surrogateescape")
        if isinstance(field, VectorField):
            dtype = DTYPES[field.datatype]
            # A vector that does not fit is shown as what it is.
            shown = np.frombuffer(value, dtype) if len(value) == field.dims * dtype.itemsize else value
        yield name.decode("utf-8", "surrogateescape"), shown


def _plain(value: Any) -> Any:
    """What JSON has instead of an array or a number of numpy."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} is nothing that JSON has")
