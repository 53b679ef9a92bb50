"""Documents as a test writes and reads them: vectors as numbers, everything else as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from redismigrate.errors import SchemaError
from redismigrate.execution.documents.vectors import DTYPES, INTEGERS
from redismigrate.execution.live import scan_keys
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.fields import TagField
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode
from redismigrate.schema.vector_field import VectorField

# Fields of a hash, or members of a JSON document.
Document = Mapping[str, Any]
# With or without the keys under which they are stored.
Documents = Sequence[Document] | Mapping[str, Document]
# Served name -> documents, or what makes them for the index as its revision leaves it.
SampleDocuments = Mapping[str, Documents | Callable[[IndexSchema], Documents]]


def write_documents(server: Server, schema: IndexSchema, documents: Documents) -> tuple[str, ...]:
    """Store documents under keys that an index covers.

    Args:
        server: The connection.
        schema: Of the index.
        documents: A mapping's keys are those of the documents; the others get the first prefix and a number
            that is free.

    Returns:
        Their keys, in order.

    Raises:
        SchemaError: A key has none of the index's prefixes, or a vector does not fit its field. Nothing was
            stored.
    """
    if isinstance(documents, Mapping):
        keyed = list(documents.items())
    else:
        keyed = list(zip(_free_keys(server, schema), documents, strict=False))
    prefixes = KeyPrefixes.of(schema.prefixes)
    commands: list[tuple[Any, ...]] = []
    for key, document in keyed:
        if not prefixes.cover(encode(key)):
            raise SchemaError(
                f"The key {key!r} is none of index {schema.name!r}.",
                f"Its prefixes: {', '.join(map(repr, schema.prefixes))}.",
            )
        if schema.storage_type == "json":
            commands.append(("JSON.SET", encode(key), "$", json.dumps(document, default=_plain)))
        else:
            fields = hash_fields(schema, document)
            commands.append(("HSET", encode(key), *(part for item in fields.items() for part in item)))
    with server.translated_errors():
        pipeline = server.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        pipeline.execute()
    return tuple(key for key, _ in keyed)


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


def hash_fields(schema: IndexSchema, document: Document) -> dict[str, Any]:
    """The fields of a hash, as HSET takes them: lists become vectors, or tags where the field holds tags.

    Raises:
        SchemaError: A vector does not fit its field.
    """
    fields = {field.path_in("hash"): field for field in schema.fields}
    stored: dict[str, Any] = {}
    for name, value in document.items():
        field = fields.get(name)
        if isinstance(field, VectorField) and not isinstance(value, bytes):
            stored[name] = vector_bytes(field, value)
        elif isinstance(field, TagField) and isinstance(value, list | tuple):
            stored[name] = (field.separator or ",").join(map(str, value))
        else:
            stored[name] = value
    return stored


def vector_bytes(field: VectorField, numbers: Any) -> bytes:
    """A vector as Redis Search reads it from a hash or a query.

    Args:
        field: Whose datatype and dimensions it has to have.
        numbers: A sequence or an array of shape (dims,).

    Raises:
        SchemaError: It has another shape, or numbers that an integer type does not have.
    """
    given = np.asarray(numbers)
    if given.shape != (field.dims,):
        raise SchemaError(
            f"Field {field.name!r} takes vectors of {field.dims} numbers, not of shape {given.shape}."
        )
    vector = given.astype(DTYPES[field.datatype])
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
