"""On which side of changes an expectation is asked, from the operations alone; and that it is plain data."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from redismigrate.operations.changes import (
    AddField,
    AlterField,
    ChangePrefix,
    DropField,
    RenameField,
    RenameTo,
    SetOptions,
)
from redismigrate.operations.expectations import Expectation, expectation_words, fields_of
from redismigrate.operations.given_expectations import as_expectation
from redismigrate.operations.operation_types import Expect, SetSynonyms
from redismigrate.operations.placed_expectations import bears, expectations_of, foretells
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.recorder import Operations
from redismigrate.operations.source import source_lines
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.redisvl import field_from_redisvl, schema_from_redisvl

TEXT, NUMERIC = (field_from_redisvl({"name": name, "type": name}) for name in ("text", "numeric"))
COUNT = as_expectation(count=5)
TAGS = as_expectation(query="@brand:{acme}", finds=5)
WORDS = as_expectation(query="red shoe", finds=5)
KEYS = as_expectation(query="@brand:{acme}", finds_keys=["p:1"])
NEAR = as_expectation(knn={"field": "v", "vector": [1], "k": 3}, finds=3)
EVERY = {"count": COUNT, "tags": TAGS, "words": WORDS, "keys": KEYS, "near": NEAR}
# A change -> which expectations outlast it, and which of these it can't make right.
CHANGES: list[tuple[Any, str, str]] = [
    (RenameTo("b"), "count tags words keys near", "count tags words keys near"),
    (SetSynonyms("a", "g", ("x",)), "count near", "count near"),
    (SetOptions({"filter": "@x>1"}), "", ""),
    (SetOptions({"prefixes": ["q:"]}), "", ""),
    (SetOptions({"language": "german"}), "count near", "count near"),
    (ChangePrefix("p:", "q:"), "count tags words near", "count tags words near"),
    (AddField(TEXT), "count tags keys near", "count tags keys near"),
    (AddField(NUMERIC), "count tags words keys near", "count tags words keys near"),
    (DropField("brand"), "count near", ""),
    (DropField("other"), "count tags keys near", ""),
    (RenameField("brand", "maker"), "count words near", ""),
    (AlterField("v", {"algorithm": "HNSW"}), "count tags words keys near", "count tags words keys"),
    (AlterField("v", {"distance_metric": "L2"}), "count tags keys", ""),
    (AlterField("brand", {"separator": ";"}), "count near", ""),
    (AlterField("brand", {"sortable": True}), "count tags words keys near", "count tags words keys near"),
]


@pytest.mark.parametrize(("change", "outlasting", "foretold"), CHANGES, ids=lambda value: str(value)[:40])
def test_which_expectations_outlast_a_change(change: Any, outlasting: str, foretold: str):
    assert [name for name, each in EVERY.items() if bears(each, change)] == outlasting.split()
    assert [name for name, each in EVERY.items() if foretells(each, change)] == foretold.split()


SCHEMA = schema_from_redisvl(
    {"index": {"name": "a", "prefix": "p"}, "fields": [{"name": "brand", "type": "tag"}]}
)


def recorded(op: Operations) -> RecordedRevision:
    return RecordedRevision("1", "upgrade", "", (), (), "", op.recorded)


def test_an_index_is_followed_through_its_names():
    catalog = Catalog({"a": IndexDefinition.plain(SCHEMA)})
    op = Operations(catalog)
    op.expect("a", count=1)
    with op.index("a") as index:
        index.rename_to("b")
    op.expect("b", count=2)
    op.create_index(SCHEMA)
    op.expect("a", count=3)
    op.drop_index("b")
    first, second, third = expectations_of(recorded(op), catalog)
    assert (first.name_before, second.name_before, third.name_before) == ("a", "a", None)
    assert [each.is_asked_before for each in (first, second, third)] == [True, True, False]
    assert [each.is_asked_after for each in (first, second, third)] == [False, False, True]
    assert third.name_after == "a"


@pytest.mark.parametrize(
    "words",
    [
        {"count": 10},
        {"count": ["at_most", 10]},
        {"query": "@brand:{acme}", "finds": ["at_least", 0]},
        {"query": "@brand:{acme}", "finds_keys": ["at_least", ["p:1", "p:\udcff"]]},
        {"query": "@brand:{acme}", "finds_keys": ["at_least", "p:1"]},
        {"knn": {"field": "v", "k": 2, "of": "p:1"}, "finds_keys": ["p:1"], "overlap": 0.5},
        {"query": "@brand:{acme}", "knn": {"field": "v", "k": 2, "vector": [1.0, -2.0]}, "finds": 2},
    ],
)
def test_an_expectation_is_the_same_from_its_words_and_from_what_is_stored(words: dict[str, Any]):
    expectation = as_expectation(**words)
    assert expectation_words(expectation) == words
    adapter = TypeAdapter(Expectation)
    assert adapter.validate_python(adapter.dump_python(expectation)) == expectation
    operation = Expect("a", expectation)
    catalog = Catalog()
    (line,) = source_lines([operation], catalog)
    assert line.startswith('op.expect("a", ')
    op = Operations(catalog)
    exec(line, {"op": op})  # noqa: S102 - what was just written
    assert op.recorded == (operation,)
    assert operation.reverse(catalog) == ()


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("*", ()),
        ("@brand:{acme} @price:[1 2]", ("brand", "price")),
        ("@a|b:shoe", ("a", "b")),
        ('"me@home: here" @brand:{a}', ("brand",)),
        ("me\\@brand:x", ()),
        ("(-@brand:{a})|(@my\\-field:b)", ("brand", "my-field")),
    ],
)
def test_the_fields_that_a_query_names(query: str, fields: tuple[str, ...]):
    assert fields_of(query) == fields
