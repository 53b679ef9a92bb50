"""Members of JSON texts under other names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.json_members import normalised, rename_member

NAMES = st.sampled_from(["a", "b", "c", "é", 'q"uote'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        ('{"a":1}', "$.a", "$.b", '{"b":1}'),
        ('{"x":[{"a":0}],"a":1e-7}', "$.a", "$.b", '{"x":[{"a":0}],"b":1e-7}'),
        ('{"m":{"a":"a"},"a":2}', "$.m.a", "$.m.b", '{"m":{"b":"a"},"a":2}'),
        ('{ "a" : 1.0 , "c" : 2 }', "$.c", '$["é"]', '{ "a" : 1.0 , "é" : 2 }'),
        ('{"a\\"}":{},"c":1}', "$.c", "$.d", '{"a\\"}":{},"d":1}'),
        ("{}", "$.a", "$.b", "{}"),
        ("[1]", "$.a", "$.b", "[1]"),
        ('{"m":3}', "$.m.a", "$.m.b", '{"m":3}'),
        ('{"a":1,"b":2}', "$.a", "$.b", None),
        ('{"b":2}', "$.a", "$.b", '{"b":2}'),
    ],
)
def test_only_the_name_changes(text: str, old: str, new: str, expected: str | None):
    assert rename_member(text, old, new) == expected


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.booleans())
def test_the_value_is_the_same_under_its_new_name(document: dict[str, Any], is_spaced: bool):
    document.pop("new", None)
    text = json.dumps(document, indent=1 if is_spaced else None)
    renamed = rename_member(text, "$.a", "$.new")
    assert renamed is not None
    expected = {"new" if name == "a" else name: value for name, value in document.items()}
    assert list(json.loads(renamed).items()) == list(expected.items())
    assert rename_member(renamed, "$.new", "$.a") == text


@given(VALUES)
def test_documents_that_say_the_same_have_one_normal_text(value: Any):
    spelled = [
        json.dumps(value),
        json.dumps(value, indent=2, ensure_ascii=False),
        json.dumps(value, sort_keys=True),
    ]
    assert len({normalised(text.encode()) for text in spelled}) == 1


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("1", "true"), ("null", "0"), ('"1"', "1")])
def test_values_of_different_types_differ(one: str, other: str):
    assert normalised(one.encode()) != normalised(other.encode())
