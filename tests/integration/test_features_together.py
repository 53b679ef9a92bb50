"""Where two features meet: expectations, squashed and folded revisions, truncated vectors, indexes apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from many_indexes import CONTINUE, vector, write_indexes
from test_squash import ADD, SORT, SORT_NOT, TAKE_OUT, TO_FLAT, TO_HNSW, squash
from test_truncating import GROW, TRUNCATE, embedding, embeddings, stocked, truncated
from vector_documents import CHANGE, creation, documents, stock

if TYPE_CHECKING:
    from conftest import Shop

ADD_COLOR = CHANGE + "index.add_field({'name': 'color', 'type': 'tag'})"
DROP_COLOR = CHANGE + "index.drop_field('color')"


def blocks(names: str, datatype: str) -> str:
    """The bodies that store the vectors of some indexes in a datatype."""
    return "\n".join(
        f"with op.index('{name}') as index:\n    index.alter_field('embedding', datatype='{datatype}')"
        for name in names
    )


def test_a_retry_asks_what_is_expected_of_the_indexes_that_it_tries_alone(shop: Shop):
    write_indexes(shop, 3, 20)
    up = blocks("abc", "float16").replace(
        "with op.index('b') as index:\n",
        "with op.index('b') as index:\n    index.add_field({'name': 'price', 'type': 'numeric'})\n",
    )
    expected = "\nop.expect('b', query='@price:[0 1]', finds=0)\nop.expect('a', count=20)"
    shop.write(
        up + expected, blocks("abc", "float32") + "\nwith op.index('b') as index: index.drop_field('price')"
    )
    for name in "bc":
        shop.client.hset(f"{name}:1", "embedding", vector(1e30))
    assert shop.run(*CONTINUE).code == 7

    # What a answers now is nobody's expectation any more: it is changed, and serves.
    shop.client.hset("a:new", mapping={"title": "shoe"})
    for name in "cb":
        shop.client.hset(f"{name}:1", "embedding", vector(0.5))
        result = shop.run("upgrade", "head")
        assert result.code == (7 if name == "c" else 0), result.out + result.err
    assert shop.run("check").code == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [(TRUNCATE, ADD), (ADD, TRUNCATE), (TRUNCATE.replace("dims=8", "dims=16"), TRUNCATE)],
)
def test_a_squash_truncates_as_the_revisions_do_that_it_replaces(shop: Shop, first: str, second: str):
    stocked(shop, first)
    shop.write(second)
    squash(shop, "000000000002:000000000003", "--rev-id", "eee")
    result = shop.run("upgrade", "head")
    assert result.code == 0, result.out + result.err
    is_twice = "dims=16" in first
    expected = {
        key: truncated(value[b"embedding"])
        for key, value in ((f"p:{n}".encode(), {b"embedding": embedding(n)}) for n in range(60))
    }
    found = embeddings(shop)
    assert found.keys() == expected.keys()
    assert {len(value) for value in found.values()} == {32}
    assert is_twice or found == expected
    assert shop.run("check").code == 0


def test_a_squash_keeps_an_expectation_between_the_changes_that_it_stands_between(shop: Shop):
    stock(shop, 20)
    shop.write(ADD_COLOR + "\nop.expect('products', count=20)", DROP_COLOR)
    shop.write(
        CHANGE + "index.set_options(filter='@title==\"nothing\"')", CHANGE + "index.set_options(filter=None)"
    )
    squash(shop, "000000000002:000000000003", "--rev-id", "eee")
    result = shop.run("upgrade", "head")
    assert result.code == 0, result.out + result.err


def squashed_line(shop: Shop) -> None:
    """Five revisions of one index, of which two were applied one by one and are one record by now."""
    shop.strategy = "rebuild"
    shop.write(creation(), "op.drop_index('products')", revision="aaa")
    shop.write(ADD_COLOR, DROP_COLOR, revision="b0b")
    shop.write(ADD, TAKE_OUT, revision="bbb")
    shop.write(TO_HNSW, TO_FLAT, revision="ccc")
    assert shop.run("upgrade", "head").code == 0
    squash(shop, "bbb:ccc", "--rev-id", "eee")
    shop.write(SORT, SORT_NOT, revision="fff", down_revision="eee")
    assert shop.run("upgrade", "head").code == 0


@pytest.mark.parametrize("target", ["aaa", "b0b"])
def test_what_stands_in_the_record_of_a_squash_is_not_folded_and_goes_back_exactly(shop: Shop, target: str):
    squashed_line(shop)
    before = shop.state("head")
    down = shop.run("downgrade", target, "--fold", "--json")
    assert down.code == 0, down.err
    assert shop.run("rollback", "--run", down.json["run"]).code == 0
    after = shop.state("head")
    assert (after["revisions"].keys(), after["heads"]) == (before["revisions"].keys(), before["heads"])
    assert shop.run("check").code == 0


def test_what_comes_after_a_squash_that_is_recorded_is_folded(shop: Shop):
    squashed_line(shop)
    shop.write(CHANGE + "index.alter_field('title', weight=2)", revision="a11")
    shop.write(CHANGE + "index.alter_field('title', sortable=True)", revision="a12")
    plan = shop.run("plan", "--fold", "--json").json
    assert [each.get("folded") for each in plan["revisions"]] == [["a11", "a12"]]


def test_a_fold_says_of_truncated_vectors_what_is_in_the_way(shop: Shop):
    stocked(shop)
    shop.write(ADD, TAKE_OUT)
    told = " ".join(shop.run("plan", "--fold").out.split())
    assert "changes the dimensions of embedding" in told


def test_vectors_written_since_are_named_by_a_rollback_of_a_truncation(shop: Shop):
    stocked(shop)
    run = shop.run("upgrade", "head", "--json").json["run"]
    new = truncated(embedding(99))
    shop.client.hset("p:5", "embedding", new)
    shop.client.hset("p:new", mapping={"title": "shoe", "embedding": new})
    result = shop.run("rollback", "--run", run, "--json")
    assert {each["key"] for each in result.json["documents"]["failed"]} == {"p:5", "p:new"}, result.out
    found = embeddings(shop)
    assert found[b"p:5"] == found[b"p:new"] == new
    assert found[b"p:4"] == embedding(4)


def test_a_way_back_from_a_truncation_says_what_becomes_of_writes_meanwhile(shop: Shop):
    stocked(shop, TRUNCATE, GROW)
    assert shop.run("upgrade", "head").code == 0
    told = " ".join(shop.run("plan", "-1", "--down").out.split())
    assert "meanwhile gets zeros behind them" in told
    told = " ".join(shop.run("plan", "-1", "--down", "--exclusive").out.split())
    assert "meanwhile gets zeros behind them" not in told


def test_fields_are_added_in_the_block_that_re_encodes(shop: Shop):
    stock(shop, 20)
    shop.write(CHANGE + "index.alter_field('embedding', datatype='float16')\n" + ADD_COLOR)
    before = documents(shop)
    refused = shop.run("upgrade", "head")
    assert refused.code == 6
    assert "add its fields in the same `with op.index` block" in refused.err
    assert documents(shop) == before
    assert shop.run("upgrade", "head", "--strategy", "rebuild").code == 0
