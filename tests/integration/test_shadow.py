"""An index is changed by building another one beside it: search notices nothing, wherever it is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_hammer import hammered
from vector_documents import CHANGE, applied, stock, vector

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
            assert count["asked"] > 100
            assert (count["failed"], count["short"]) == (0, 0), count


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
