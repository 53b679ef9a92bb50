"""Vectors that get another datatype on the way to another prefix: one pass, one build, search up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_two_releases import FAR_AWAY, followed
from vector_documents import applied, converted, documents, stock, vector

if TYPE_CHECKING:
    from conftest import Shop

WIDER = """with op.index('products') as index:
    index.change_prefix('p:', 'q:')
    index.alter_field('embedding', datatype='float64')"""
NARROWER = """with op.index('products') as index:
    index.alter_field('embedding', datatype='float32')
    index.change_prefix('q:', 'p:')"""


def strategies(shop: Shop, *arguments: str) -> set[str]:
    plan = shop.run("plan", *arguments, "--json").json
    (revision,) = plan["revisions"]
    return {step["strategy"] for step in revision["steps"] if step["strategy"]}


def test_a_wider_datatype_and_another_prefix_are_one_pass(shop: Shop):
    stock(shop, 40)
    shop.client.pexpireat("p:3", FAR_AWAY)
    before = documents(shop)
    shop.write(WIDER, NARROWER)
    assert strategies(shop) == {"shadow_copy"}

    applied(shop)

    found = documents(shop)
    assert set(found) == {b"q:%d" % number for number in range(40)}
    assert found[b"q:7"][b"embedding"] == converted(vector(7), "float32", "float64")
    assert shop.client.pexpiretime("q:3") == FAR_AWAY
    assert shop.hits("products") == 40

    applied(shop, "-1", verb="downgrade")

    assert documents(shop) == before


def test_both_releases_write_in_their_own_datatype(shop: Shop):
    stock(shop, 20)
    shop.write(WIDER, NARROWER)
    applied(shop, "head", "--phase", "expand")
    with followed(shop) as seen:
        shop.client.hset("p:1", "embedding", vector(50))
        shop.client.hset("q:2", "embedding", vector(60, "float64"))
        shop.client.hset("q:3", "title", "new")
        seen()
        assert shop.client.hget("q:1", "embedding") == converted(vector(50), "float32", "float64")
        assert shop.client.hget("p:2", "embedding") == vector(60)
        assert shop.client.hgetall("p:3") == {b"title": b"new", b"embedding": vector(3)}
    applied(shop, "head", "--phase", "contract")
    assert shop.hits("products") == 20


def test_where_that_rounds_the_plan_says_to_take_two_revisions(shop: Shop):
    stock(shop, 5)
    shop.write(WIDER.replace("float64", "float16"), NARROWER)
    refused = shop.run("upgrade", "head", "--strategy", "shadow_copy")
    assert refused.code == 6
    assert "do that in a revision of its own" in refused.err


def test_a_second_form_at_another_path_is_not_made_on_the_way(shop: Shop):
    stock(shop, 5)
    shop.write(WIDER.replace("'float64')", "'float64', path='wide')"), "pass")
    refused = shop.run("upgrade", "head", "--strategy", "shadow_copy")
    assert refused.code == 6
    assert "or goes to another path" in refused.err
