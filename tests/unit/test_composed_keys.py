"""Prefixes compared by the keys that clients compose of them, and what a plan says of those they miss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.rewrite import Rewrite
from redismigrate.operations.block_moves import moves_of
from redismigrate.operations.changes import ChangePrefix
from redismigrate.operations.client_keys import remarks_on_keys
from redismigrate.operations.differing import changes_between
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex
from redismigrate.planning.document_sample import DocumentSample
from redismigrate.planning.hidden_keys import keys_that_clients_miss
from redismigrate.schema import IndexSchema, TextField
from redismigrate.schema.definition import Catalog
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.prefixes import KeyPrefixes, beginning_of_keys


def schema(*prefixes: str, separator: str = ":") -> IndexSchema:
    return IndexSchema(
        name="idx", prefixes=prefixes, key_separator=separator, fields=(TextField(name="title"),)
    )


@pytest.mark.parametrize(
    ("prefix", "separator", "begins"),
    [
        ("product", ":", "product:"),
        ("product:", ":", "product:"),
        ("product::", ":", "product:"),
        ("product_", ":", "product_:"),
        ("product", "::", "product::"),
        ("product:", "::", "product::"),
        ("product-_-", "-_", "product-_"),
        ("product", "", "product"),
        ("", ":", ""),
        (":", ":", ""),
    ],
)
def test_a_key_begins_as_redisvl_composes_it(prefix: str, separator: str, begins: str):
    assert beginning_of_keys(prefix, separator) == begins


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (schema("product:"), schema("shop"), ["change prefix product: to shop:", "set prefixes=['shop']"]),
        (
            schema("product"),
            schema("shop:"),
            ["set prefixes=['product:']", "change prefix product: to shop:"],
        ),
        (schema("product"), schema("shop"), ["change prefix product to shop"]),
        (schema("Player"), schema("Player:"), ["set prefixes=['Player:']"]),
        (schema("Player:"), schema("Player"), ["set prefixes=['Player']"]),
        (
            schema("product"),
            schema("product", separator="_"),
            [
                "set prefixes=['product:']",
                "change prefix product: to product_",
                "set prefixes=['product'], key_separator='_'",
            ],
        ),
        (schema("a:", "b:"), schema("a", "b"), ["set prefixes=['a', 'b']"]),
        (schema("a:", "b:"), schema("c", "b"), ["change prefix a: to c:", "set prefixes=['c', 'b']"]),
        (
            schema("a", "ab"),
            schema("c", "ab"),
            ["set prefixes=['a:', 'ab:']", "change prefix a: to c:", "set prefixes=['c', 'ab']"],
        ),
        (schema("a", "b"), schema("c", "d"), ["set prefixes=['c', 'd']"]),
        (schema("a"), schema(""), ["set prefixes=['']"]),
        (schema(":"), schema("a"), ["set prefixes=['a']"]),
        (schema("a:"), schema("b::"), ["change prefix a: to b::"]),
    ],
    ids=str,
)
def test_documents_move_between_what_clients_compose(
    before: IndexSchema, after: IndexSchema, changes: list[str]
):
    assert list(map(str, changes_between(before, after))) == changes


words = st.sampled_from(["a", "b", "ab", "a_b", "é"])
endings = st.sampled_from(["", "", ":", "_", "::"])
separators = st.sampled_from([":", ":", "_", "::", ""])
schemas = st.builds(
    lambda word, end, separator: schema(word + end, separator=separator), words, endings, separators
)


@given(schemas, schemas)
def test_what_clients_have_made_is_where_they_look_for_it_afterwards(before: IndexSchema, after: IndexSchema):
    def keys(index: IndexSchema) -> list[str]:
        return [beginning_of_keys(index.prefixes[0], index.key_separator) + id_ for id_ in ("7", "x:y")]

    changes = changes_between(before, after)
    catalog = CreateIndex(before).apply(Catalog())
    operations = (ChangeIndex("idx", changes),) if changes else ()
    for operation in operations:
        # There and back, each of them by what is recorded.
        (back,) = operation.reverse(catalog)
        there = operation.apply(catalog)
        assert back.apply(there)["idx"].schema == before
        _, prefixes = moves_of(changes, before)
        rewrite = Rewrite("hash", prefixes=prefixes)
        moved = [rewrite.key_after(key.encode()).decode() for key in keys(before)]
        covers = all(
            KeyPrefixes.of(each.prefixes).cover(key.encode())
            for each, made in ((before, keys(before)), (after, keys(after)))
            for key in made
        )
        if covers:
            assert moved == keys(after)
            assert list(remarks_on_keys(operation, before)) == [] or not prefixes
        else:
            assert list(remarks_on_keys(operation, before)) or not KeyPrefixes.of(before.prefixes).cover(
                keys(before)[0].encode()
            )
    if not operations:
        assert keys(before) == keys(after)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (schema("Player"), schema("Player:"), "No key moves: those that RedisVL makes begin with 'Player:'"),
        (schema("a", "b"), schema("c", "d"), "No key moves. RedisVL makes keys that begin with 'a:' or 'b:'"),
        (
            schema("a"),
            schema("a::"),
            "RedisVL makes keys that begin with 'a:' of the prefix 'a::', which does",
        ),
    ],
)
def test_a_script_says_what_stays_where_it_is(before: IndexSchema, after: IndexSchema, says: str):
    remarks = list(remarks_on_keys(ChangeIndex("idx", changes_between(before, after)), before))
    assert any(remark.startswith(says) for remark in remarks), remarks


def test_a_wider_prefix_has_nothing_to_be_said():
    operation = ChangeIndex("idx", changes_between(schema("Player:"), schema("Player")))
    assert list(remarks_on_keys(operation, schema("Player:"))) == []


def missed(old: str, new: str, *keys: str, separator: str = ":") -> list[str]:
    before = schema(old, separator=separator)
    sample = DocumentSample(len(keys), 5, 0, 0, keys=tuple(key.encode() for key in keys))
    rewrite = Rewrite("hash", prefixes=(PrefixChange(old, new),))
    return list(keys_that_clients_miss(before, ChangePrefix(old, new).apply(before), rewrite, sample))


@pytest.mark.parametrize(
    ("old", "new", "keys", "says"),
    [
        ("product:", "shop", ("product:7",), ("becomes shop7", "look for shop:7", "product: to shop:")),
        (
            "Player",
            "Player:",
            ("Player:7",),
            ("becomes Player::7", "look for Player:7", "nothing has to move"),
        ),
        ("product", "shop:", ("product:7", "products"), ("shop::7", "shop:7", "product to shop,")),
        # A separator that nobody has told: the prefix ends with it, or all keys go on with it.
        ("product_", "shop", ("product_7", "product_8"), ("becomes shop7", "shop_7", "product_ to shop_")),
        ("product/", "shop", ("product/7",), ("becomes shop7", "look for shop/7")),
    ],
)
def test_a_plan_says_which_keys_clients_would_miss(
    old: str, new: str, keys: tuple[str, ...], says: tuple[str, ...]
):
    (warning,) = missed(old, new, *keys)
    assert warning.startswith(f"key {keys[0]} of index idx becomes ")
    for text in says:
        assert text in warning


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("product:", "shop:", ("product:7",)),
        ("product", "shop", ("product:7",)),
        ("product:", "product:v2:", ("product:7",)),
        ("product_", "shop_", ("product_7",)),
        ("product_", "shop/", ("product_7",)),
        ("product", "shop_", ("product7", "product8")),
        ("product", "shop_", ("product/7", "product-8")),
        ("product:", "shop", ()),
        ("product:", "shop", ("product:",)),
    ],
)
def test_a_plan_says_nothing_where_clients_find_all_or_compose_nothing(
    old: str, new: str, keys: tuple[str, ...]
):
    assert missed(old, new, *keys) == []


def test_without_a_separator_keys_are_moved_as_bytes():
    assert missed("product:", "shop", "product:7", separator="") == []
    assert missed("product", "shop", "product7", separator="") == []
