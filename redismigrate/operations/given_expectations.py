"""Expectations as scripts and files give them, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.operations.expectations import (
    USUAL_OVERLAP,
    Amount,
    Comparison,
    Expectation,
    Neighbours,
    Source,
)
from redismigrate.schema.strict import as_items

_COMPARISONS: tuple[Comparison, ...] = ("at_least", "at_most")
_NEIGHBOURS = ("field", "of", "vector", "k")
MOST_NEIGHBOURS = 10_000
_SAY_ONE = (
    'Write count=100, or query="@brand:{acme}" with finds=12 or finds_keys=["p:1"], or knn={"field": '
    '"embedding", "of": "p:1", "k": 3} with finds_keys.'
)
_ONE_EACH = "Write two expectations."


def as_expectation(
    *,
    count: Any = None,
    query: Any = None,
    finds: Any = None,
    finds_keys: Any = None,
    knn: Any = None,
    overlap: Any = None,
    source: Source = "script",
) -> Expectation:
    """An expectation as a script or a file says it.

    Args:
        count: How many documents the index has: a number, ("at_least", n) or ("at_most", n).
        query: A query of FT.SEARCH, in dialect 2.
        finds: How many documents it finds, as `count`.
        finds_keys: The keys that it finds, or ("at_least", keys) where others may be found as well.
        knn: Neighbours: {"field": name, "of": key, "k": number}, or "vector": numbers instead of "of".
        overlap: Which share of `finds_keys` has to be among the neighbours, more than 0 and at most 1.
        source: Who says so.

    Raises:
        SchemaError: It does not say what is asked, or not what is to be found, or says two things.
    """
    if count is not None:
        if any(each is not None for each in (query, finds, finds_keys, knn, overlap)):
            raise SchemaError("count stands alone: it is about all documents of the index.", _ONE_EACH)
        return Expectation(finds=_as_amount(count, "count"), source=source)
    if query is None and knn is None:
        raise SchemaError("An expectation says no count, no query and no knn.", _SAY_ONE)
    if (finds is None) == (finds_keys is None):
        raise SchemaError("An expectation says either finds or finds_keys.", _SAY_ONE)
    if overlap is not None and (knn is None or finds_keys is None):
        raise SchemaError("overlap is the share of finds_keys among neighbours of knn.", _SAY_ONE)
    keys, has_others = _as_keys(finds_keys)
    return Expectation(
        query=None if query is None else _as_query(query),
        knn=None if knn is None else _as_neighbours(knn, len(keys)),
        finds=None if finds is None else _as_amount(finds, "finds"),
        finds_keys=keys,
        has_others=has_others,
        overlap=USUAL_OVERLAP if overlap is None else _as_share(overlap),
        source=source,
    )


def _as_amount(value: Any, what: str) -> Amount:
    comparison: Any = "exactly"
    given = value
    if isinstance(value, tuple | list) and len(value) == 2:  # noqa: PLR2004 - a word and a number
        comparison, value = value
    if comparison not in ("exactly", *_COMPARISONS) or not _is_count(value):
        raise SchemaError(
            f"{what} is {shown_value(given)}.",
            'It has to be a number of documents, ("at_least", number) or ("at_most", number).',
        )
    return Amount(value, comparison)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _as_keys(value: Any) -> tuple[tuple[str, ...], bool]:
    if value is None:
        return (), False
    is_pair = isinstance(value, tuple | list) and len(value) == 2 and value[0] == "at_least"  # noqa: PLR2004
    has_others = is_pair and not isinstance(value[1], str | bytes)
    if has_others:
        value = value[1]
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise SchemaError(f"finds_keys is {shown_value(value)}.", 'It has to be a list: ["p:1", "p:2"].')
    return tuple(dict.fromkeys(_as_key(key) for key in as_items(value))), has_others


def _as_key(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str) or not value:
        raise SchemaError(f"A key is {shown_value(value)}.", "Write it as text or bytes.")
    return str.__str__(value)


def _as_query(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SchemaError(
            f"A query is {shown_value(value)}.", 'Write it as FT.SEARCH takes it: "@brand:{acme}".'
        )
    return str.__str__(value)


def _as_neighbours(value: Any, wanted: int) -> Neighbours:
    if not isinstance(value, Mapping):
        raise SchemaError(f"knn is {shown_value(value)}.", _SAY_ONE)
    for name in value:
        if name not in _NEIGHBOURS:
            hint = f"It may say {', '.join(_NEIGHBOURS)}."
            raise SchemaError(f"knn says {shown_value(name)}.", hint)
    field, of, vector = value.get("field"), value.get("of"), value.get("vector")
    if not isinstance(field, str) or not field:
        raise SchemaError("knn does not say its field.", _SAY_ONE)
    if (of is None) == (vector is None):
        raise SchemaError("knn says either of, the key of a document, or vector, its numbers.", _SAY_ONE)
    k = value.get("k", wanted or None)
    if not _is_count(k) or not 1 <= k <= MOST_NEIGHBOURS:
        raise SchemaError(
            f"k of knn is {shown_value(k)}.", f"It has to be from 1 to {MOST_NEIGHBOURS:,} neighbours."
        )
    numbers = () if vector is None else _as_vector(vector)
    return Neighbours(str.__str__(field), k, None if of is None else _as_key(of), numbers)


def _as_vector(value: Any) -> tuple[float, ...]:
    try:
        if isinstance(value, str | bytes | Mapping):
            raise TypeError  # noqa: TRY301 - one way out
        numbers = tuple(float(number) for number in as_items(value))
    except (TypeError, ValueError, OverflowError):
        raise SchemaError(
            f"The vector of knn is {shown_value(value)}.", "Write its numbers as a list."
        ) from None
    if not numbers or not all(map(math.isfinite, numbers)):
        raise SchemaError("The vector of knn has no numbers, or some that are none.", "Correct it.")
    return numbers


def _as_share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise SchemaError(f"overlap is {shown_value(value)}.", "It has to be more than 0 and at most 1.")
    return float(value)
