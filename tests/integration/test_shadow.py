"""An index is changed by building another one beside it: search notices nothing, wherever it is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_hammer import hammered
from vector_documents import CHANGE, applied, stock, vector

from redismigrate.redis_server.inspection import list_indexes, resolve_alias

if TYPE_CHECKING:
    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw', m=8)"
TO_FLAT = CHANGE + "index.alter_field('embedding', algorithm='flat')"
PRODUCTS = 3000


def test_no_query_fails_or_is_cut_short_while_an_index_is_adopted_and_changed_again(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    for change, back in ((TO_HNSW, TO_FLAT), (TO_FLAT, TO_HNSW)):
        shop.write(change, back)
        with hammered(shop.url, "products", PRODUCTS, vector(7)) as counts:
            applied(shop)
        for count in counts:
            assert count["asked"] > 10
            assert (count["failed"], count["short"]) == (0, 0), count


def physical_of_products(shop: Shop) -> str:
    physical: str = shop.run("current", "--json").json["indexes"]["products"]["physical"]
    return physical


def test_the_name_of_an_index_that_is_swapped_out_stays_for_clients_until_the_next_swap(shop: Shop) -> None:
    """Some ask what an alias points to, and query that from then on."""
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW, TO_FLAT)
    applied(shop)
    looked_up = physical_of_products(shop)

    shop.write(TO_FLAT, TO_HNSW)
    with hammered(shop.url, looked_up, PRODUCTS, vector(7)) as counts:
        applied(shop)
        assert resolve_alias(shop.client.execute_command, looked_up) == physical_of_products(shop)
    for count in counts:
        assert count["asked"] > 10
        assert (count["failed"], count["short"]) == (0, 0), count

    shop.write(TO_HNSW, TO_FLAT)
    applied(shop)
    assert resolve_alias(shop.client.execute_command, looked_up) is None


def test_the_name_leads_to_the_last_of_several_indexes_that_a_revision_builds(shop: Shop) -> None:
    stock(shop, 20)
    shop.write(TO_HNSW, TO_FLAT)
    applied(shop)
    looked_up = physical_of_products(shop)
    shop.write(TO_FLAT + "\n" + TO_HNSW)
    applied(shop)
    assert resolve_alias(shop.client.execute_command, looked_up) == physical_of_products(shop)
    assert shop.hits(looked_up) == 20


def test_an_index_may_be_changed_and_dropped_in_one_revision(shop: Shop) -> None:
    """As where a revision that creates an index and changes it is undone."""
    stock(shop, 20)
    shop.write(TO_HNSW, TO_FLAT)
    applied(shop)
    before = shop.content("products")["indexes"]
    shop.write(TO_FLAT + "\nop.drop_index('products')", "pass")
    run = shop.run("upgrade", "--json").json["run"]
    assert list_indexes(shop.client.execute_command) == ()
    assert shop.run("upgrade", "--json").json["result"] == "nothing"
    assert shop.run("rollback", "--run", run).code == 0
    (index,) = shop.content("products")["indexes"].values()
    assert index[:3] == next(iter(before.values()))[:3]
    assert shop.hits("products") == 20


def test_a_rollback_takes_the_name_back_that_was_left_to_another_index(shop: Shop) -> None:
    stock(shop, 20)
    shop.write(TO_HNSW, TO_FLAT)
    applied(shop)
    looked_up, indexes = physical_of_products(shop), list_indexes(shop.client.execute_command)
    shop.write(TO_FLAT, TO_HNSW)
    run = shop.run("upgrade", "--json").json["run"]
    left_to = physical_of_products(shop)
    assert shop.run("rollback", "--run", run).code == 0
    assert list_indexes(shop.client.execute_command) == indexes == (looked_up,)
    assert resolve_alias(shop.client.execute_command, "products") == looked_up == physical_of_products(shop)
    assert resolve_alias(shop.client.execute_command, left_to) is None
    assert shop.hits("products") == shop.hits(looked_up) == 20


def test_an_index_that_a_client_made_over_the_alias_is_told_by_plan_and_status_and_dropped_by_repair(
    shop: Shop,
) -> None:
    """As RedisVL's `create(overwrite=False)` does, which looks for an index of that name in FT._LIST."""
    stock(shop, 20)
    shop.write(TO_HNSW, TO_FLAT)
    applied(shop)
    shop.client.execute_command("FT.CREATE", "products", "PREFIX", "1", "x:", "SCHEMA", "title", "TEXT")
    assert shop.hits("products") == 0
    for command in ("plan", "status"):
        assert "an index hides" in shop.run(command).out
    assert shop.run("repair").code == 0
    assert shop.hits("products") == 20
    assert "an index hides" not in shop.run("plan").out
