"""What a user expects of an index, as plain data: what it finds, and what of an answer is as expected."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.strict import Text, as_items, did_you_mean, readable_key

Comparison = Literal["exactly", "at_least", "at_most"]
Source = Literal["script", "query_check"]

# Of the neighbours that are wanted: a graph finds nearly all, not all.
USUAL_OVERLAP = 0.9
MOST_NEIGHBOURS = 10_000
_COMPARISONS: tuple[Comparison, ...] = ("at_least", "at_most")
_SHOWN_KEYS = 5
_NEIGHBOURS = ("field", "of", "vector", "k")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_FIELDS = re.compile(r"(?<!\\)@((?:[\w|]|\\.)+)\s*:")
_CLAUSES = re.compile(r"@(?:[\w|]|\\.)+\s*:\s*(?:\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^\s()|]+)|[-~*()|\s]")


@dataclass(frozen=True)
class Amount:
    """How many there are to be.

    Attributes:
        number: So many.
        comparison: Whether more or fewer are as good.
    """

    number: int
    comparison: Comparison = "exactly"

    def admits(self, found: int) -> bool:
        """Whether a number is as expected."""
        match self.comparison:
            case "at_least":
                return found >= self.number
            case "at_most":
                return found <= self.number
        return found == self.number

    def __str__(self) -> str:
        words = "" if self.comparison == "exactly" else f"{self.comparison.replace('_', ' ')} "
        return f"{words}{self.number:,}"


@dataclass(frozen=True)
class Neighbours:
    """The nearest documents that are asked for.

    Attributes:
        field: The vector field.
        k: How many.
        of: The key of the document whose vector it is about; None where the vector is given.
        vector: The vector, number by number; empty where a document has it.
    """

    field: Text
    k: int
    of: Text | None = None
    vector: tuple[float, ...] = ()

    def __str__(self) -> str:
        what = f"a vector of {len(self.vector)} numbers" if self.of is None else readable_key(self.of)
        return f"the {self.k} nearest to {what} in {self.field}"


@dataclass(frozen=True)
class Expectation:
    """One thing that an index is expected to answer.

    Without a query, neighbours, a key or an id it is about the number of documents in the index.

    Attributes:
        query: What is searched for, or among which documents neighbours are.
        knn: The neighbours that are asked for.
        finds: How many documents are found.
        finds_keys: The keys of documents that are found.
        has_others: Whether others may be found besides these keys.
        overlap: Which share of the keys has to be among the neighbours.
        key: A key that exists.
        id: Of a document that a client of the index can fetch: its key is made of the prefix and the id.
        source: Who said so.
    """

    query: Text | None = None
    knn: Neighbours | None = None
    finds: Amount | None = None
    finds_keys: tuple[Text, ...] = ()
    has_others: bool = False
    overlap: float = USUAL_OVERLAP
    key: Text | None = None
    id: Text | None = None
    source: Source = "script"

    @property
    def fields(self) -> frozenset[str]:
        """The fields that its query names, and that of the neighbours."""
        names = set(fields_of(self.query or ""))
        return frozenset(names if self.knn is None else names | {self.knn.field})

    @property
    def has_free_terms(self) -> bool:
        """Whether its query looks for words in all fields of texts, or may do so."""
        return bool(self.query) and bool(_CLAUSES.sub("", self.query or ""))

    @property
    def names_keys(self) -> bool:
        """Whether it says what keys of documents are called."""
        of = None if self.knn is None else self.knn.of
        return bool(self.finds_keys) or self.key is not None or of is not None

    @property
    def is_count(self) -> bool:
        """Whether it is about all documents of the index."""
        return self.query is None and self.knn is None and self.key is None and self.id is None

    @property
    def question(self) -> str:
        """What is asked, in words."""
        if self.key is not None:
            return f"key {readable_key(self.key)}"
        if self.id is not None:
            return f"id {self.id}"
        if self.knn is not None:
            return str(self.knn) + (f" of {self.query}" if self.query else "")
        return str(self.query) if self.query is not None else "documents"

    @property
    def wanted(self) -> str:
        """What is to be found, in words."""
        if self.key is not None:
            return "that it exists"
        if self.id is not None:
            return "that it can be fetched"
        if self.finds is not None:
            return str(self.finds)
        share = "" if self.knn is None or self.overlap == 1 else f" ({self.overlap:.0%} of them)"
        others = " and maybe others" if self.has_others else ""
        return f"{keys_text(self.finds_keys)}{others}{share}"

    def __str__(self) -> str:
        if self.key is not None:
            return f"{self.question} exists"
        if self.id is not None:
            return f"{self.question} can be fetched"
        if self.is_count:
            return f"{self.wanted} documents"
        return f"{self.question} finds {self.wanted}"

    def require_fits(self, schema: IndexSchema) -> None:
        """Refuse what an index can't be asked: the server finds nothing in a field that there is not.

        Args:
            schema: Of the index, where the expectation stands.

        Raises:
            SchemaError: It lacks a field, or its vectors have another length.
        """
        known = {field.name: field for field in schema.fields}
        for name in sorted(self.fields - known.keys()):
            raise SchemaError(
                f"Index {schema.name} has no field {name}{did_you_mean(name, known)}.",
                f"Fields: {', '.join(sorted(known))}.",
            )
        if self.knn is None:
            return
        field = known[self.knn.field]
        if not isinstance(field, VectorField):
            raise SchemaError(f"Field {field.name} of {schema.name} holds no vectors.", "Name one that does.")
        if self.knn.vector and len(self.knn.vector) != field.dims:
            raise SchemaError(
                f"A vector of {len(self.knn.vector)} numbers has no neighbours in field {field.name}, whose "
                f"vectors have {field.dims}.",
                "Correct the vector.",
            )


@dataclass(frozen=True)
class ExpectationAnswer:
    """What became of an expectation.

    Attributes:
        is_met: Whether all is as expected.
        found: What was found, in words.
    """

    is_met: bool
    found: str


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


def expectation_words(expectation: Expectation) -> dict[str, Any]:
    """The arguments of `op.expect` and of `as_expectation` that say the same, as plain data."""
    given: dict[str, Any] = {}
    amount = expectation.finds
    number = amount and (
        amount.number if amount.comparison == "exactly" else [amount.comparison, amount.number]
    )
    if expectation.is_count:
        return {"count": number}
    if expectation.query is not None:
        given["query"] = expectation.query
    if (knn := expectation.knn) is not None:
        given["knn"] = {"field": knn.field, "k": knn.k}
        given["knn"] |= {"vector": list(knn.vector)} if knn.of is None else {"of": knn.of}
    if amount is not None:
        return {**given, "finds": number}
    keys = list(expectation.finds_keys)
    given["finds_keys"] = ["at_least", keys] if expectation.has_others else keys
    if expectation.overlap != USUAL_OVERLAP:
        given["overlap"] = expectation.overlap
    return given


def fields_of(query: str) -> tuple[str, ...]:
    """The fields that a query names, each once."""
    found = _FIELDS.findall(_QUOTED.sub("", query))
    names = (re.sub(r"\\(.)", r"\1", name) for each in found for name in each.split("|"))
    return tuple(dict.fromkeys(name for name in names if name and not name.startswith("__")))


def unmet(index: str, expectation: Expectation, found: str) -> str:
    """Why something is not as expected, as a sentence without a full stop."""
    asked, wanted = expectation.question, expectation.wanted
    return f"index {index} is not as expected: {asked}: wanted {wanted}, found {found}"


def keys_text(keys: Iterable[str | bytes]) -> str:
    """Some keys in words, the first of many."""
    keys = tuple(keys)
    shown = ", ".join(map(readable_key, keys[:_SHOWN_KEYS]))
    rest = len(keys) - _SHOWN_KEYS
    return f"{shown} and {rest:,} more" if rest > 0 else shown or "nothing"


_SAY_ONE = (
    'Write count=100, or query="@brand:{acme}" with finds=12 or finds_keys=["p:1"], or knn={"field": '
    '"embedding", "of": "p:1", "k": 3} with finds_keys.'
)
_ONE_EACH = "Write two expectations."


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
