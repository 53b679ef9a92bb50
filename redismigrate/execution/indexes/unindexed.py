"""Finds the documents that an index should have and does not, with the reasons of some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from redismigrate.documents.unindexable import reasons_in_hash, reasons_in_json
from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.indexes.live import KEY_TYPES, batches_of_keys, not_in_index, types_of
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.read import IndexStatistics
from redismigrate.schema.strict import encode, readable

SAMPLE = 10
_KEYS_PER_LOOK = 500
# What is written between two looks is in the index, or gone, at the next one.
_LOOKS = 3


@dataclass(frozen=True)
class UnindexedDocument:
    """A document that an index lacks.

    Attributes:
        key: Its key; bytes that are no UTF-8 as `surrogateescape` has them.
        reason: Why, as a phrase.
    """

    key: str
    reason: str


@dataclass(frozen=True)
class UnindexedDocuments:
    """The documents that an index lacks.

    Attributes:
        count: How many.
        sample: The first of them.
    """

    count: int
    sample: tuple[UnindexedDocument, ...]


def find_unindexed(
    server: Server, schema: IndexSchema, physical: str, statistics: IndexStatistics
) -> UnindexedDocuments:
    """The documents with a prefix and the type of an index that it does not hold.

    Every key is looked at, by SCAN. Under a FILTER only those count whose values say why: the others may be
    kept out by it.

    Args:
        server: The connection.
        schema: Of the index.
        physical: It, complete.
        statistics: What it counts: the server names the last failure.
    """
    count = 0
    sample: list[UnindexedDocument] = []
    for keys in batches_of_keys(server, schema, _KEYS_PER_LOOK):
        suspects: Sequence[bytes] = keys
        for _ in range(_LOOKS):
            suspects = not_in_index(server, physical, suspects)
            if not suspects:
                break
            wanted = KEY_TYPES[schema.storage_type].encode()
            types = types_of(server, suspects, refused=b"")
            suspects = [key for key, found in zip(suspects, types, strict=True) if found == wanted]
        for key in suspects:
            if schema.filter is None and len(sample) >= SAMPLE:
                count += 1
                continue
            reason = _reason(server, schema, key, statistics)
            if schema.filter is not None and reason is None:
                continue
            count += 1
            if len(sample) < SAMPLE:
                told = reason or "its values don't tell why"
                sample.append(UnindexedDocument(key.decode("utf-8", "surrogateescape"), told))
    return UnindexedDocuments(count, tuple(sample))


def _reason(server: Server, schema: IndexSchema, key: bytes, statistics: IndexStatistics) -> str | None:
    """Why a document is not in the index; None where nobody tells."""
    paths = list(dict.fromkeys(field.path_in(schema.storage_type) for field in schema.fields))
    try:
        if schema.storage_type == "hash":
            values = server.execute("HMGET", key, *map(encode, paths))
            reasons = list(reasons_in_hash(schema, dict(zip(paths, values, strict=True))))
        else:
            reasons = list(reasons_in_json(schema, {path: _json_values(server, key, path) for path in paths}))
    except (redis.ResponseError, AuthenticationFailed) as error:
        return f"it can't be read: {readable(str(error))}"
    is_last_failure = statistics.last_failure_key == key.decode("utf-8", "surrogateescape")
    if not reasons and is_last_failure and statistics.last_failure_error:
        return readable(statistics.last_failure_error)
    return "; ".join(reasons) or None


def _json_values(server: Server, key: bytes, path: str) -> list[Any]:
    """What a path finds; a path that does not begin with $ finds one value."""
    try:
        text = server.execute("JSON.GET", key, encode(path))
        content = parse_json(text) if text is not None else []
    except (redis.ResponseError, UnreadableDocument):
        return []
    if not path.startswith("$"):
        return [content]
    return content if isinstance(content, list) else []
