"""Finds the documents that an index should have and does not, with the reasons of some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from redismigrate.documents.unindexable import reasons_in_hash, reasons_in_json
from redismigrate.execution.indexes.live import batches_of_keys, documents_not_in_index
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.read import IndexStatistics
from redismigrate.schema.strict import encode, readable

SAMPLE = 10
_KEYS_PER_LOOK = 500
# What is written between two looks is in the index, is gone, or has its excuse at the next one.
_LOOKS = 3
# Their values are read together.
_KEYS_PER_READ = 100
# A hash whose time was over, but which was not removed yet; or whose last field was deleted.
_WAS_GONE = "does not exist or is not a hash"

Excuse = Callable[[Sequence[bytes]], frozenset[bytes]]


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
        count: How many. Under a FILTER only those whose values say why: the others may be kept out by it.
        sample: The first of them.
        untold: How many more are out of the index under a FILTER, for a reason that nobody tells.
    """

    count: int
    sample: tuple[UnindexedDocument, ...]
    untold: int = 0


def find_unindexed(
    server: Server,
    schema: IndexSchema,
    physical: str,
    statistics: IndexStatistics,
    *,
    is_excused: Excuse | None = None,
    counts_refused: bool = False,
) -> UnindexedDocuments:
    """The documents with a prefix and the type of an index that it does not hold.

    Every key is looked at, by SCAN. One that is deleted meanwhile is no document.

    Args:
        server: The connection.
        schema: Of the index.
        physical: It, complete.
        statistics: What it counts: the server names the last failure.
        is_excused: Tells which of some documents have a reason to be out of the index that was told already;
            None where there is none.
        counts_refused: Whether those count of which the user has no right to ask whether they are there.
    """
    count = untold = 0
    sample: list[UnindexedDocument] = []
    for keys in batches_of_keys(server, schema, _KEYS_PER_LOOK):
        lacking = documents_not_in_index(server, schema, physical, keys, counts_refused=counts_refused)
        for _ in range(0 if is_excused is None else _LOOKS):
            excused = frozenset() if is_excused is None or not lacking else is_excused(lacking)
            left = [key for key in lacking if key not in excused]
            lacking = documents_not_in_index(server, schema, physical, left, counts_refused=counts_refused)
        if schema.filter is None:
            shown = lacking[: SAMPLE - len(sample)]
            # Whether it holds a key with a zero byte, the index does not tell.
            doubtful = [key for key in keys if b"\0" in key]
        else:
            shown, doubtful = [], lacking
        reasons = _reasons(server, schema, [*shown, *doubtful], statistics)
        found = [*(lacking if schema.filter is None else ()), *(key for key in doubtful if reasons[key])]
        count += len(found)
        untold += len(lacking) - len(found) if schema.filter is not None else 0
        for key in found[: SAMPLE - len(sample)]:
            told = reasons.get(key) or "its values don't tell why"
            sample.append(UnindexedDocument(key.decode("utf-8", "surrogateescape"), told))
    return UnindexedDocuments(count, tuple(sample), untold)


def _reasons(
    server: Server, schema: IndexSchema, keys: Sequence[bytes], statistics: IndexStatistics
) -> dict[bytes, str | None]:
    """Why documents are not in the index, by their keys; None where nobody tells."""
    paths = list(dict.fromkeys(field.path_in(schema.storage_type) for field in schema.fields))
    reasons: dict[bytes, str | None] = {}
    for start in range(0, len(keys), _KEYS_PER_READ):
        some = keys[start : start + _KEYS_PER_READ]
        with server.translated_errors():
            pipeline = server.client.pipeline(transaction=False)
            for key in some:
                for command in _reading(schema, key, paths):
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            replies = iter(pipeline.execute(raise_on_error=False))
        for key in some:
            of_key = [next(replies) for _ in _reading(schema, key, paths)]
            reasons[key] = _reason(schema, key, paths, of_key, statistics)
    return reasons


def _reading(schema: IndexSchema, key: bytes, paths: Sequence[str]) -> list[tuple[bytes | str, ...]]:
    if schema.storage_type == "hash":
        return [("HMGET", key, *map(encode, paths))]
    return [("JSON.GET", key, encode(path)) for path in paths]


def _reason(
    schema: IndexSchema, key: bytes, paths: Sequence[str], replies: Sequence[Any], statistics: IndexStatistics
) -> str | None:
    for refused in (reply for reply in replies if isinstance(reply, redis.exceptions.NoPermissionError)):
        return f"it can't be read: {readable(str(refused))}"
    if schema.storage_type == "json":
        found = map(_json_values, paths, replies)
        reasons = list(reasons_in_json(schema, dict(zip(paths, found, strict=True))))
    elif isinstance(replies[0], Exception):  # of another type by now
        return None
    else:
        reasons = list(reasons_in_hash(schema, dict(zip(paths, replies[0], strict=True))))
    error = statistics.last_failure_error
    is_last_failure = statistics.last_failure_key == key.decode("utf-8", "surrogateescape")
    if not reasons and is_last_failure and error and _WAS_GONE not in error:
        return readable(error)
    return "; ".join(reasons) or None


def _json_values(path: str, reply: Any) -> list[Any]:
    """What a path finds; a path that does not begin with $ finds one value."""
    if isinstance(reply, Exception):
        return []
    try:
        content = parse_json(reply) if reply is not None else []
    except UnreadableDocument:
        return []
    if not path.startswith("$"):
        return [content]
    return content if isinstance(content, list) else []
