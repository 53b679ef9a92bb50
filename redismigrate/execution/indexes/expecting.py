"""Asks an index what is expected of it: the one place where expectations meet a server."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import redis

from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.indexes.live import KEY_TYPES, alias_target, look_at, types_of
from redismigrate.execution.indexes.waiting import LONGEST_POLL_SECONDS
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.operations.expectations import Expectation, ExpectationAnswer, Neighbours, keys_text
from redismigrate.operations.placed_expectations import expectations_of
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import Catalog
from redismigrate.schema.prefixes import beginning_of_keys
from redismigrate.schema.strict import encode, readable

# For an index that is built after a restart of the server, by commands that change nothing.
LONGEST_WAIT_SECONDS = 10.0
# Without it a query that takes longer than the server's setting tells the first it has found as if all.
_WHOLE = ("TIMEOUT", "0", "DIALECT", "2")
_SHOWN_OTHERS = 5


class _CannotAskError(Exception):
    """The question can't be put to the index; says why."""


def answer_to(
    server: Server, schema: IndexSchema, physical: str, expectation: Expectation
) -> ExpectationAnswer:
    """Whether an index answers as expected, by what it says now. It should be complete.

    Args:
        server: The connection.
        schema: Of the index, as it reads documents.
        physical: Its name, or an alias of it.
        expectation: What is expected.
    """
    try:
        return _answer(server, schema, physical, expectation)
    except redis.ResponseError as error:
        return ExpectationAnswer(
            is_met=False, found=f"that the server refuses to answer: {readable(str(error))}"
        )
    except AuthenticationFailed as error:
        return ExpectationAnswer(is_met=False, found=f"that the user may not ask: {error.message}")
    except _CannotAskError as error:
        return ExpectationAnswer(is_met=False, found=str(error))


def answers_before(
    server: Server, catalog: Catalog, recorded: Iterable[RecordedRevision]
) -> dict[tuple[str, Expectation], ExpectationAnswer]:
    """What the indexes answer that revisions expect something of before they change anything.

    Args:
        server: The connection.
        catalog: The indexes as recorded.
        recorded: The revisions.

    Returns:
        By served name and expectation; of indexes that are not there yet there is no answer.
    """
    answers: dict[tuple[str, Expectation], ExpectationAnswer] = {}
    for item in recorded:
        for placed in expectations_of(item, catalog):
            name, expectation = placed.name_before, placed.expectation
            if placed.is_asked_before and name is not None and (name, expectation) not in answers:
                definition = placed.definition
                schema = None if definition is None else definition.schema
                physical = name if definition is None else definition.physical
                answers[name, expectation] = _answer_when_complete(server, schema, physical, expectation)
    return answers


def with_folds_asked(
    inventory: Inventory, server: Server, catalog: Catalog, recorded: Iterable[RecordedRevision]
) -> Inventory:
    """What is known of a server, and what indexes answer by the names that folds of revisions have for them.

    Args:
        inventory: Made for the revisions one by one.
        server: The connection.
        catalog: The indexes as recorded.
        recorded: The revisions, and folds of them.
    """
    folds = [item for item in recorded if item.folded]
    return replace(inventory, answers={**inventory.answers, **answers_before(server, catalog, folds)})


def wait_for(server: Server, physical: str, seconds: float = LONGEST_WAIT_SECONDS) -> str | None:
    """Give an index the time to be completed.

    Args:
        server: The connection.
        physical: Its name.
        seconds: The longest to wait.

    Returns:
        Why it can't be asked; None where it is complete.
    """
    deadline = time.monotonic() + seconds
    while True:
        live = look_at(server, physical)
        if live is None:
            return "no such index"
        if live.statistics.is_incomplete:
            return "an index that the server has given up to build, at maxmemory"
        if not live.statistics.is_indexing:
            return None
        if time.monotonic() > deadline:
            return "an index that is still being built; try again later"
        time.sleep(min(LONGEST_POLL_SECONDS, seconds))


def _answer_when_complete(
    server: Server, schema: IndexSchema | None, name: str, expectation: Expectation
) -> ExpectationAnswer:
    """What an index answers that may be an alias, be built or be gone."""
    physical = alias_target(server, name) or name
    problem = wait_for(server, physical)
    live = look_at(server, physical) if problem is None and schema is None else None
    if schema is None and live is not None:
        schema = live.schema
    if schema is None or problem is not None:
        return ExpectationAnswer(is_met=False, found=problem or "no such index")
    return answer_to(server, schema, physical, expectation)


def _answer(
    server: Server, schema: IndexSchema, physical: str, expectation: Expectation
) -> ExpectationAnswer:
    if expectation.key is not None:
        exists = bool(server.execute("EXISTS", encode(expectation.key)))
        return ExpectationAnswer(exists, "that it exists" if exists else "no such key")
    if expectation.id is not None:
        return _answer_about_id(server, schema, expectation.id)
    if expectation.is_count:
        live = look_at(server, physical)
        if live is None:
            raise _CannotAskError("no such index")
        return _counted(expectation, live.statistics.num_docs)
    if expectation.knn is not None:
        return _answer_about_neighbours(server, schema, physical, expectation, expectation.knn)
    query = encode(str(expectation.query))
    total = _total(server, physical, query)
    if expectation.finds is not None:
        return _counted(expectation, total)
    wanted = [encode(key) for key in expectation.finds_keys]
    among: tuple[bytes | str, ...] = ("INKEYS", str(len(wanted)), *wanted, "LIMIT", "0", str(len(wanted)))
    found = set(_keys(server, physical, query, *among)) if wanted else set()
    missing = [key for key in wanted if key not in found]
    others = total - len(found)
    is_met = not missing and (expectation.has_others or others <= 0)
    if is_met:
        return ExpectationAnswer(is_met=True, found=keys_text(wanted))
    some = () if expectation.has_others else _others(server, physical, query, found)
    return ExpectationAnswer(is_met=False, found=_difference(missing, some, max(others, 0), total))


def _counted(expectation: Expectation, found: int) -> ExpectationAnswer:
    is_met = expectation.finds is None or expectation.finds.admits(found)
    return ExpectationAnswer(is_met, f"{found:,}")


def _answer_about_id(server: Server, schema: IndexSchema, document: str) -> ExpectationAnswer:
    """Clients such as RedisVL compose a key of the first prefix, the separator and the id."""
    begins = beginning_of_keys(schema.prefixes[0], schema.key_separator) if schema.prefixes else ""
    key = f"{begins}{document}"
    (found,) = types_of(server, [encode(key)])
    wanted = KEY_TYPES[schema.storage_type].encode()
    if found == wanted:
        return ExpectationAnswer(is_met=True, found=f"key {key}")
    other = "no key" if found == b"none" else f"a {readable(found.decode(errors='replace'))} at key"
    return ExpectationAnswer(is_met=False, found=f"{other} {key}")


def _answer_about_neighbours(
    server: Server, schema: IndexSchema, physical: str, expectation: Expectation, knn: Neighbours
) -> ExpectationAnswer:
    field = next((field for field in schema.fields if field.name == knn.field), None)
    if not isinstance(field, VectorField):
        raise _CannotAskError(f"no vector field {knn.field}")
    vector = _vector_of(server, schema, field, knn.of) if knn.of is not None else _vector(field, knn.vector)
    among = b"(%s)" % encode(expectation.query) if expectation.query else b"*"
    query = b"%s=>[KNN %d @%s $vector]" % (among, knn.k, _escaped(field.name))
    found = _keys(server, physical, query, "PARAMS", "2", "vector", vector, "LIMIT", "0", str(knn.k))
    if expectation.finds is not None:
        return _counted(expectation, len(found))
    wanted = [encode(key) for key in expectation.finds_keys]
    common = [key for key in wanted if key in set(found)]
    share = len(common) / len(wanted) if wanted else float(not found)
    return ExpectationAnswer(
        share >= expectation.overlap, f"{keys_text(found)} ({share:.0%} of those wanted)"
    )


def _vector_of(server: Server, schema: IndexSchema, field: VectorField, key: str) -> bytes:
    """The vector of a document as the index reads it, which is what a query sends."""
    path = encode(field.path_in(schema.storage_type))
    if schema.storage_type == "hash":
        value = server.execute("HGET", encode(key), path)
        if not isinstance(value, bytes):
            raise _CannotAskError(f"no vector in the document {key}")
        return value
    text = server.execute("JSON.GET", encode(key), path)
    try:
        content: Any = parse_json(text) if text is not None else None
        numbers = content[0] if content and isinstance(content[0], list) else content
        return _vector(field, tuple(float(number) for number in numbers))
    except (TypeError, ValueError, OverflowError, UnreadableDocument):
        raise _CannotAskError(f"no vector in the document {key}") from None


def _vector(field: VectorField, numbers: tuple[float, ...]) -> bytes:
    """Numbers in the datatype of a field; integers are taken as such."""
    import numpy as np

    from redismigrate.documents.vectors import INTEGERS, VectorEncoding

    dtype = VectorEncoding(field.datatype, field.dims).dtype
    vector = np.asarray(numbers, np.float64)
    if field.datatype in INTEGERS:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if not ((vector == vector.round()) & (vector >= least) & (vector <= most)).all():
            raise _CannotAskError(f"that the vector is no {field.datatype}: integers from {least} to {most}")
    with np.errstate(over="ignore"):
        return vector.astype(dtype).tobytes()


def _total(server: Server, physical: str, query: bytes) -> int:
    reply = server.execute("FT.SEARCH", encode(physical), query, "NOCONTENT", "LIMIT", "0", "0", *_WHOLE)
    return int(reply[0])


def _keys(server: Server, physical: str, query: bytes, *arguments: bytes | str) -> list[bytes]:
    reply = server.execute("FT.SEARCH", encode(physical), query, "NOCONTENT", *arguments, *_WHOLE)
    return list(reply[1:])


def _others(server: Server, physical: str, query: bytes, known: set[bytes]) -> list[bytes]:
    """Some keys that a query finds besides those that are known."""
    found = _keys(server, physical, query, "LIMIT", "0", str(len(known) + _SHOWN_OTHERS))
    return [key for key in found if key not in known][:_SHOWN_OTHERS]


def _difference(missing: list[bytes], others: Iterable[bytes], count: int, total: int) -> str:
    told = [f"{total:,}"]
    if missing:
        told.append(f"without {keys_text(missing)}")
    if others := tuple(others):
        more = count - len(others)
        told.append(f"with {keys_text(others)}{f' and {more:,} more' if more > 0 else ''} besides")
    return ", ".join(told)


def _escaped(name: str) -> bytes:
    """The name of a field in a query; what is no letter, digit or underscore needs a backslash."""
    return encode("".join(c if c.isalnum() or c == "_" or ord(c) > 127 else f"\\{c}" for c in name))  # noqa: PLR2004
