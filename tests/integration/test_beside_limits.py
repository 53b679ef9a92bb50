"""Servers and indexes that a second index or form doesn't suit: refused, or carried out another way."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import redis
from vector_documents import CHANGE, TO_FLOAT16, TO_NEW_PREFIX, add_products, applied, creation, stock, vector

from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
PRODUCTS = 200


def strategies(shop: Shop, *options: str) -> set[str]:
    """How the one index of the next revision would be changed."""
    (revision,) = shop.run("plan", "--json", *options).json["revisions"]
    return {step["strategy"] for step in revision["steps"]} - {None}


def why_not(shop: Shop, strategy: str) -> str:
    """Why a strategy can't be used."""
    (revision,) = shop.run("plan", "--compare", "--json").json["revisions"]
    (reasons,) = (way["impossible"] for way in revision["alternatives"] if way["strategy"] == strategy)
    return "; ".join(reasons)


@contextlib.contextmanager
def shop_on(shop: Shop, *module_arguments: str, **server: Any) -> Iterator[Shop]:
    """The same project on a server of another kind."""
    with (
        EmbeddedServer(module_arguments=module_arguments, **server) as running,
        redis.Redis.from_url(running.url, protocol=2) as client,
    ):
        there = type(shop)(shop.folder, running.url, client)
        configuration = shop.folder / "redismigrate.toml"
        configuration.write_text(configuration.read_text().replace(shop.url, running.url))
        yield there


def test_a_server_that_ignores_partial_updates_gets_no_second_field(shop: Shop) -> None:
    with shop_on(shop, "PARTIAL_INDEXED_DOCS", "1") as there:
        stock(there, PRODUCTS)
        there.write(TO_FLOAT16)
        assert strategies(there) == {"rebuild"}
        assert "PARTIAL_INDEXED_DOCS" in why_not(there, "shadow_field")
        result = there.run("upgrade", "--strategy", "shadow_field")
        assert result.code == 6
        assert "PARTIAL_INDEXED_DOCS" in result.err
        applied(there)
        assert there.client.hget("p:1", "embedding") == vector(1, "float16")


@pytest.mark.needs("search debugging")
def test_an_index_that_expires_is_never_replaced(shop: Shop) -> None:
    shop.client.execute_command(
        "FT.CREATE", "products", "PREFIX", "1", "p:", "TEMPORARY", "1000", "SCHEMA", "embedding", "VECTOR",
        "FLAT", "6", "TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    add_products(shop, 10)
    shop.write(TO_HNSW)
    for strategy in ("auto", "shadow", "rebuild"):
        result = shop.run("upgrade", "--strategy", strategy)
        assert result.code == 6
        assert "index products is TEMPORARY: dropping it would delete its documents" in result.err
    assert shop.client.exists("p:1")


def test_a_filter_goes_along_to_the_index_beside(shop: Shop) -> None:
    schema = creation().replace("'prefix': 'p:'", "'prefix': 'p:', 'filter': 'exists(@embedding)'")
    add_products(shop, 10)
    shop.client.hset("p:bare", "title", "no vector")
    shop.write(schema)
    applied(shop)
    shop.write(TO_HNSW)
    assert strategies(shop) == {"shadow"}
    applied(shop)
    assert shop.hits("products") == 10


@pytest.mark.parametrize("change", [TO_FLOAT16, TO_NEW_PREFIX])
def test_documents_under_a_filter_get_no_second_form(shop: Shop, change: str) -> None:
    add_products(shop, 10)
    shop.write(creation().replace("'prefix': 'p:'", "'prefix': 'p:', 'filter': 'exists(@embedding)'"))
    applied(shop)
    shop.write(change)
    strategy = "shadow_field" if change == TO_FLOAT16 else "shadow_copy"
    assert "it has a FILTER" in why_not(shop, strategy)
    result = shop.run("upgrade")
    assert result.code == 6
    assert "--exclusive" in result.err


def test_vectors_that_another_index_reads_stay_where_they_are(shop: Shop) -> None:
    stock(shop, 10)
    shop.client.execute_command(
        "FT.CREATE", "others", "PREFIX", "1", "p:", "SCHEMA", "embedding", "VECTOR",
        "FLAT", "6", "TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    shop.write(TO_FLOAT16)
    assert "index others reads the same vectors" in why_not(shop, "shadow_field")
    assert shop.run("upgrade").code == 6


def test_documents_are_not_copied_to_where_another_index_would_take_them(shop: Shop) -> None:
    stock(shop, 10)
    shop.client.execute_command("FT.CREATE", "others", "PREFIX", "1", "q", "SCHEMA", "title", "TEXT")
    shop.write(TO_NEW_PREFIX)
    assert "index others covers the new keys" in why_not(shop, "shadow_copy")
    assert shop.run("upgrade").code == 6
    assert not shop.client.exists("q:1")


@pytest.mark.parametrize("prefix", ["p:new:", "p"])
def test_documents_are_not_copied_to_where_they_would_be_originals_themselves(
    shop: Shop, prefix: str
) -> None:
    stock(shop, 10)
    shop.write(CHANGE + f"index.change_prefix('p:', '{prefix}')")
    assert "begins with" in why_not(shop, "shadow_copy")


def test_types_of_one_width_can_not_be_told_apart_beside_each_other(shop: Shop) -> None:
    stock(shop, 10, datatype="float16")
    shop.write(CHANGE + "index.alter_field('embedding', datatype='bfloat16')")
    assert "are equally long" in why_not(shop, "shadow_field")
    assert strategies(shop) == {"rebuild"}


def test_an_index_that_may_not_become_an_alias_is_rebuilt_in_place(shop: Shop) -> None:
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(f'{configuration.read_text()}\nadopt = "never"\n')
    stock(shop, 10)
    shop.write(TO_HNSW)
    assert strategies(shop) == {"rebuild"}
    assert 'adopt = "never"' in why_not(shop, "shadow")
    applied(shop)
    assert list_indexes(shop.client.execute_command) == ("products",)


def test_an_index_that_does_not_fit_beside_is_blocked_with_what_a_rebuild_would_cost(shop: Shop) -> None:
    with shop_on(shop) as there:
        stock(there, 5000)
        used = int(there.client.info("memory")["used_memory"])
        there.client.config_set("maxmemory", used + 300_000)
        there.write(TO_HNSW)
        result = there.run("upgrade")
        assert result.code == 6
        assert "index products needs about" in result.err
        assert "--strategy rebuild would need about" in result.err
        assert "searches would miss documents for about" in result.err
        assert list_indexes(there.client.execute_command) == ("products",)


@pytest.mark.parametrize("change", [TO_FLOAT16, TO_NEW_PREFIX])
def test_a_second_form_that_does_not_fit_is_told_once_with_documents_and_index_together(
    shop: Shop, change: str
) -> None:
    with shop_on(shop) as there:
        stock(there, 5000)
        used = int(there.client.info("memory")["used_memory"])
        there.client.config_set("maxmemory", used + 300_000)
        there.write(change)
        (blocked,) = there.run("plan", "--json").json["revisions"][0]["blocked"]
        assert "index products needs about" in blocked
        assert "--strategy rebuild would need about" in blocked


def test_numbers_of_json_documents_get_another_index_and_stay_as_they_are(shop: Shop) -> None:
    for number in range(20):
        shop.client.execute_command(
            "JSON.SET", f"p:{number}", "$", f'{{"embedding": [{",".join("12345678")}]}}'
        )
    schema = creation().replace("'prefix': 'p:'", "'prefix': 'p:', 'storage_type': 'json'")
    schema = schema.replace("'name': 'embedding'", "'name': 'embedding', 'path': '$.embedding'")
    schema = schema.replace("'name': 'title'", "'name': 'title', 'path': '$.title'")
    shop.write(schema)
    applied(shop)
    shop.write(TO_FLOAT16)
    assert strategies(shop) == {"shadow"}
    applied(shop)
    words = ("PARAMS", "2", "v", vector(1, "float16"), "DIALECT", "2", "LIMIT", "0", "0")
    assert shop.client.execute_command("FT.SEARCH", "products", "*=>[KNN 99 @embedding $v]", *words)[0] == 20


@pytest.mark.parametrize(("change", "lacking"), [(TO_FLOAT16, "HDEL"), (TO_NEW_PREFIX, "HGETALL")])
def test_a_right_that_is_missing_is_told_before_a_document_is_written(
    shop: Shop, change: str, lacking: str
) -> None:
    stock(shop, 10)
    shop.write(change)
    before = set(shop.client.scan_iter(count=10_000))
    shop.client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", f"-{lacking}")
    try:
        url = shop.url.replace("unix://", "unix://app:secret@")
        result = shop.run("--url", url, "upgrade")
        assert result.code == 1
        assert f"lacks the right to run {lacking}" in result.err
        assert {key for key in before if key.startswith(b"p:")} == set(
            shop.client.scan_iter("p:*", count=10_000)
        )
        assert list_indexes(shop.client.execute_command) == ("products",)
    finally:
        shop.client.execute_command("ACL", "DELUSER", "app")
