"""Whether an index that was built beside another one answers as that does, by a few queries asked of both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import redis

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.documents.traffic.reading import batches_of_documents, keys_of_length
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import vector_details
from redismigrate.schema import IndexSchema, TagField, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.read import label_count_from_details
from redismigrate.schema.strict import encode

_SAMPLED_DOCUMENTS = 5
NEIGHBOURS = 10
KEYS_PER_BATCH = 1000
# A graph finds nearly all neighbours with the usual parameters, and with the meanest ones half of them.
SMALLEST_SHARE = 0.5
# Writers go on meanwhile: what differs is asked again.
ATTEMPTS = 5
# Of a distance, relative: a graph adds up in another order than a flat index.
ROUNDING = 1e-3
DISTANCE = "__distance"


@dataclass(frozen=True)
class SearchQuestion:
    """A query that both indexes have to answer alike.

    Attributes:
        about: For messages.
        arguments: After the name of the index.
        compares_distances: It is looked at how many are as near as the farthest of the old answer.
        path: The hash field that it asks for; None for the whole document.
    """

    about: str
    arguments: tuple[bytes | str, ...]
    compares_distances: bool = False
    path: bytes | None = None


class Following(Protocol):
    """Follows what is written in the old form, which is in the old index alone until it is converted."""

    def catch_up(self) -> None:
        """Convert all that was written before this call."""

    def count_written(self) -> int:
        """How many documents were written since they were converted last."""


class _Nobody:
    """Where nothing has to be followed."""

    def catch_up(self) -> None:
        """Do nothing: no form is behind."""

    def count_written(self) -> int:
        """No documents: none is written by anybody."""
        return 0


def different_answer(
    server: Server,
    old: IndexDefinition,
    new: IndexDefinition,
    remark: Callable[[str], None],
    *,
    may_lack: int = 0,
    following: Following | None = None,
    asked: Counter[str] | None = None,
) -> str | None:
    """What the new index lacks in its answers; None when nothing.

    Args:
        server: The connection.
        old: The index that serves.
        new: The one that was built beside it, complete.
        remark: Told when it finds farther neighbours: a graph does where many vectors are equal, or where its
            parameters are mean, and that may be what is wanted.
        may_lack: How many documents the new index may lack because it could not index them.
        following: Keeps the new form in step, which the new index reads; None where both read the same.
        asked: Gets what was asked, and how often.
    """
    asked = Counter() if asked is None else asked
    if (old.schema.filter, old.schema.prefixes) != (new.schema.filter, new.schema.prefixes):
        return None  # other documents are wanted
    following = following or _Nobody()
    difference = difference_in_vectors(server, old, new, may_lack, following)
    if difference is not None:
        return difference
    share = 1.0
    for question in _questions(server, old, new):
        asked[question.about] += 1
        difference = None
        for _ in range(ATTEMPTS):
            following.catch_up()
            difference, nearness = _difference(
                server, question, old.physical, new.physical, may_lack, following
            )
            if difference is None:
                share = min(share, nearness)
                break
        if difference is not None:
            return f"{question.about}: {difference}"
    if share < SMALLEST_SHARE:
        remark(
            f"{new.physical} finds farther neighbours than {old.physical}: in one of the queries that were "
            f"tried {share:.0%} of them are as near; compare it with your own queries, and raise M or "
            "EF_RUNTIME if that matters"
        )
    return None


def difference_in_vectors(
    server: Server, old: IndexDefinition, new: IndexDefinition, may_lack: int, following: Following
) -> str | None:
    """Which field has fewer vectors in the new index; None where none has.

    Args:
        server: The connection.
        old: The index that serves.
        new: The one that was built beside it, complete.
        may_lack: How many documents the new index may lack.
        following: Keeps the new form in step.
    """
    for field in _common_vectors(old, new):
        difference = _fewer_vectors(server, field, old.physical, new, may_lack, following)
        if difference is not None:
            return difference
    return None


def _common_vectors(old: IndexDefinition, new: IndexDefinition) -> list[VectorField]:
    """The vector fields of the new index whose vectors the old one holds, too."""
    storage = old.schema.storage_type
    paths = {
        field.name: field.path_in(storage) for field in old.schema.fields if isinstance(field, VectorField)
    }
    return [
        field
        for field in new.schema.fields
        if isinstance(field, VectorField) and paths.get(field.name) == field.path_in(storage)
    ]


def _fewer_vectors(
    server: Server, field: VectorField, old: str, new: IndexDefinition, may_lack: int, following: Following
) -> str | None:
    """How many vectors the new index lacks: num_docs counts documents, with a vector or without one."""
    before, after = 0, 0
    for _ in range(ATTEMPTS):
        following.catch_up()
        counts = [_label_count(server, physical, field.name) for physical in (old, new.physical)]
        before, after = (count or 0 for count in counts)
        if None in counts or not _is_short(before - after - may_lack, following):
            return None
    # Of a field that has expired the old index keeps the vector until the server gets to removing it.
    if new.schema.storage_type == "hash":
        held = count_vectors(server, field, new.schema)
        if not _is_short(min(before, held) - after - may_lack, following):
            return None
    return f"field {field.name}: {after:,} vectors instead of {before:,}"


def count_vectors(server: Server, field: VectorField, schema: IndexSchema) -> int:
    """How many documents have a vector, by its length."""
    size_bytes = field.dims * BYTES_PER_COMPONENT[field.datatype]
    documents = batches_of_documents(server, schema, KEYS_PER_BATCH)
    return sum(map(len, keys_of_length(server, documents, field.path_in("hash"), size_bytes)))


def _is_short(lacking: int, following: Following) -> bool:
    """Whether more is lacking than what was written while it was counted."""
    return lacking > 0 and lacking > following.count_written()


def _label_count(server: Server, physical: str, name: str) -> int | None:
    """How many vectors a field has; None where the server does not tell, or not to this user."""
    try:
        with server.translated_errors():
            details = vector_details(server.ask, physical, name)
    except (redis.ResponseError, RedisMigrateError):
        return None
    return label_count_from_details(details)


def _difference(
    server: Server, question: SearchQuestion, old: str, new: str, may_lack: int, following: Following
) -> tuple[str | None, float]:
    """What is missing, and which share of the neighbours is as near as in the old answer."""
    ask = _distances if question.compares_distances else _found
    try:
        before = ask(server, old, question.arguments)
    except redis.ResponseError:
        return None, 1.0  # the old index can't answer it, so there is nothing to compare with
    try:
        after = ask(server, new, question.arguments)
    except redis.ResponseError as error:
        return f"the new index answers {error}", 1.0
    if not question.compares_distances:
        is_short = _is_short(len(before) - len(after) - may_lack, following)
        if is_short:
            lacking = _still_there(server, question, set(before).difference(after))
            is_short = _is_short(lacking - may_lack, following)
        return (f"{len(after)} documents instead of {len(before)}" if is_short else None), 1.0
    if not before:
        return None, 1.0
    # Not by their keys: of many documents with one vector any is right. Vectors of zeros have no distance.
    known = [distance for distance in map(float, before) if math.isfinite(distance)]
    if not known:
        return None, 1.0
    farthest = max(known)
    near = sum(float(distance) <= farthest + ROUNDING * abs(farthest) for distance in after)
    return None, min(1.0, near / len(known))


def _still_there(server: Server, question: SearchQuestion, keys: Iterable[bytes]) -> int:
    """How many documents have what was asked for: what has expired is found until the server removes it."""
    if question.path is None:
        return sum(int(server.execute("EXISTS", key)) for key in keys)
    return sum(_value(server, key, question.path) is not None for key in keys)


def _found(server: Server, physical: str, arguments: Sequence[bytes | str]) -> list[bytes]:
    """The keys that an index finds."""
    reply = server.execute("FT.SEARCH", encode(physical), *arguments, "NOCONTENT", "DIALECT", "2")
    return list(reply[1:])


def _distances(server: Server, physical: str, arguments: Sequence[bytes | str]) -> list[bytes]:
    """How far the neighbours are that an index finds."""
    words = (*arguments, "RETURN", "1", DISTANCE, "DIALECT", "2")
    reply = server.execute("FT.SEARCH", encode(physical), *words)
    return [fields[1] for fields in reply[2::2] if len(fields) > 1]


def _questions(server: Server, old: IndexDefinition, new: IndexDefinition) -> Iterator[SearchQuestion]:
    """Queries about what both have: the documents, the neighbours of some vectors, some tags."""
    sample = _found(server, old.physical, ("*", "LIMIT", "0", str(_SAMPLED_DOCUMENTS)))
    yield SearchQuestion("all documents", ("*", "LIMIT", "0", str(_SAMPLED_DOCUMENTS)))
    if old.schema.storage_type != "hash":
        return
    storage = old.schema.storage_type
    old_fields = {field.name: field for field in old.schema.fields}
    for field in new.schema.fields:
        before = old_fields.get(field.name)
        if before is None or field.path_in(storage) != before.path_in(storage):
            continue
        path = encode(field.path_in(storage))
        for key in sample:
            value = _value(server, key, path)
            if not value:
                continue
            if isinstance(field, VectorField) and isinstance(before, VectorField):
                if any(value):  # zeros have no direction: under COSINE all are equally far from them
                    yield from _neighbours(before, field, value)
            elif isinstance(field, TagField) and field == before and not field.no_index and value.isalnum():
                query = b"@%s:{%s}" % (encode(field.name), value)
                yield SearchQuestion(f"field {field.name}", (query, "LIMIT", "0", str(NEIGHBOURS)), path=path)


def _value(server: Server, key: bytes, path: bytes) -> bytes | None:
    """What a document has; None where it has none, or has become another type since it was found."""
    try:
        value: bytes | None = server.execute("HGET", key, path)
    except redis.ResponseError:
        return None
    return value


def _neighbours(before: VectorField, after: VectorField, value: bytes) -> Iterator[SearchQuestion]:
    compared = ("datatype", "dims", "distance_metric")
    if any(getattr(before, attribute) != getattr(after, attribute) for attribute in compared):
        return
    query = b"*=>[KNN %d @%s $vector AS %s]" % (NEIGHBOURS, encode(after.name), DISTANCE.encode())
    parameters = ("PARAMS", "2", "vector", value, "LIMIT", "0", str(NEIGHBOURS))
    yield SearchQuestion(
        f"the neighbours in field {after.name}", (query, *parameters), compares_distances=True
    )
