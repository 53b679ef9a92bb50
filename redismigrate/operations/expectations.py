"""What a user expects of an index, as plain data: what it finds, and what of an answer is as expected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.strict import Text, did_you_mean, readable_key

Comparison = Literal["exactly", "at_least", "at_most"]
Source = Literal["script", "query_check"]

# Of the neighbours that are wanted: a graph finds nearly all, not all.
USUAL_OVERLAP = 0.9
_SHOWN_KEYS = 5
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
                f"Index {schema.name} has no field {shown_value(name)}{did_you_mean(name, known)}.",
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


@dataclass(frozen=True)
class LookBefore:
    """What is expected of an index before a revision changes anything.

    Attributes:
        index: Its served name by then.
        expectation: What it is to answer.
        found: What it has answered, in words; None where an earlier revision may make another answer of it:
            it is asked when the turn of this one comes.
    """

    index: str
    expectation: Expectation
    found: str | None = None

    def __str__(self) -> str:
        found = "is asked when its turn comes" if self.found is None else f"found {self.found}"
        return f"{self.index}: {self.expectation} ({found})"


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
