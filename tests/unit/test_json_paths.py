"""JSON paths as far as renames need them: what is plain, what reads what, and how a name is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.schema.json_paths import JsonPath, last_member
from redismigrate.schema.moves import PathRename, reads

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("$.a", ("a",)),
        ("$.spec.desc", ("spec", "desc")),
        ('$["a b"].c', ("a b", "c")),
        ("$['it\"s']", ('it"s',)),
        ('$["a.b"]["é"]', ("a.b", "é")),
        ("$.a-b.1.x:y", ("a-b", "1", "x:y")),
    ],
)
def test_a_path_of_dots_and_quoted_names_is_plain(text, members):
    assert JsonPath.parse(text) == JsonPath(members)
    assert JsonPath.parse(text).is_plain


@pytest.mark.parametrize(
    ("text", "members", "rest"),
    [
        ("$", (), ""),
        ("$.*", (), ".*"),
        ("$..a", (), "..a"),
        ("$.a..b", ("a",), "..b"),
        ("$.a[*].b", ("a",), "[*].b"),
        ("$.a[0:2]", ("a",), "[0:2]"),
        ("$.a[?(@.k=='b')].c", ("a",), "[?(@.k=='b')].c"),
        ("$.é", (), ".é"),
        ('$.a["b","c"]', ("a",), '["b","c"]'),
        (r'$["q\"q"]', (), r'["q\"q"]'),
        ('$[" a"]', (), '[" a"]'),
        ('$[""]', (), '[""]'),
        ("a.b", (), "a.b"),
    ],
)
def test_a_path_with_any_other_step_is_not_plain(text, members, rest):
    assert JsonPath.parse(text) == JsonPath(members, rest)
    assert not JsonPath.parse(text).is_plain


@given(st.lists(names, min_size=1, max_size=3))
def test_a_sibling_that_can_be_said_is_read_as_it_was_meant(members):
    path = JsonPath(("a",))
    for name in members:
        sibling = path.sibling(name)
        if sibling is not None:
            assert JsonPath.parse(str(sibling)) == JsonPath((name,))


@pytest.mark.parametrize("name", ["", " a", "a\\b", "both\"and'", "\\"])
def test_a_name_that_redis_would_write_as_another_can_not_be_said(name):
    assert JsonPath(("a",)).sibling(name) is None


@pytest.mark.parametrize(
    ("name", "text"), [("b", "$.x.b"), ("a b", '$.x["a b"]'), ("é", '$.x["é"]'), ('q"', "$.x['q\"']")]
)
def test_a_name_is_quoted_where_it_must_be(name, text):
    assert str(JsonPath(("x", "a")).sibling(name)) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("$.a", "a"),
        ("$.tags[*]", "tags"),
        ("$.tags[0][1:2].*", "tags"),
        ("$..desc", "desc"),
        ("$.many[?(@.k=='x')].desc", "desc"),
        ("$.a['b c']", "b c"),
        ("$.*", None),
        ("$", None),
    ],
)
def test_the_last_member_of_a_path_is_its_last_name(text, name):
    assert last_member(text) == name


@pytest.mark.parametrize(
    ("path", "is_read"),
    [
        ("$.a.b", True),
        ('$["a"].b', True),
        ("$.a.b.c", True),
        ("$.a.b[*]", True),
        ("$.a", False),
        ("$.a.bc", False),
    ],
)
def test_a_path_reads_a_member_and_all_inside_of_it(path, is_read):
    assert reads(path, "$.a.b", "json") is is_read


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("$..b", True),
        ("$.*.b", True),
        ("$.a[*]", True),
        ("$.x..b", False),
        ("$.a.b[*]", False),
        ("$.a", False),
    ],
)
def test_a_wildcard_above_a_member_may_find_it(path, may):
    assert JsonPath.parse(path).may_find(JsonPath.parse("$.a.b")) is may


@pytest.mark.parametrize(
    ("path", "followed"),
    [
        ("$.a.b", '$.a["x y"]'),
        ("$.a.b[*].c", '$.a["x y"][*].c'),
        ('$["a"].b.c[*]', '$.a["x y"].c[*]'),
        ("$.a.bc", "$.a.bc"),
        ("$.a", "$.a"),
    ],
)
def test_a_json_path_follows_the_member_that_it_reads(path, followed):
    assert PathRename("$.a.b", '$.a["x y"]').follow(path, "json") == followed


def test_a_hash_field_follows_only_itself():
    assert PathRename("a", "b").follow("a", "hash") == "b"
    assert PathRename("a", "b").follow("a.c", "hash") == "a.c"
