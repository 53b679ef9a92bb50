"""An index that was built beside another one has to answer as that does before it takes its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from vector_documents import migrate, stock, vector

from redismigrate.errors import RunFailed
from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = 60
TO_HNSW = "with op.index('products') as index:\n    index.alter_field('embedding', algorithm='hnsw')"


def test_equal_vectors_are_no_difference_whichever_documents_are_found(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    for number in range(PRODUCTS):
        shop.client.hset(f"p:{number}", "embedding", vector(1))
    shop.write(TO_HNSW)
    assert migrate(shop, {}).result == "done"


def build_it_over_nothing(shop: Shop) -> None:
    """As another client could: the same index, which was never shown a document."""
    (physical,) = set(list_indexes(shop.client.execute_command)) - {"products"}
    fields = ("title", "TEXT", "embedding", "VECTOR", "HNSW", "6")
    options = ("TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2")
    shop.client.execute_command("FT.DROPINDEX", physical)
    create = ("FT.CREATE", physical, "PREFIX", "1", "p:", "SKIPINITIALSCAN", "SCHEMA", *fields, *options)
    shop.client.execute_command(*create)


def test_an_index_that_lacks_vectors_does_not_take_over(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    with pytest.raises(RunFailed, match="field embedding: 0 vectors instead of 60"):
        migrate(shop, {"validate_index": lambda: build_it_over_nothing(shop)})
    assert list_indexes(shop.client.execute_command) == ("products",)
    assert shop.hits("products") == PRODUCTS


def test_farther_neighbours_are_told_and_no_reason_to_stop(shop: Shop) -> None:
    # A graph of many equal vectors falls apart, so that it finds none of them from elsewhere.
    stock(shop, 3000)
    shop.write(TO_HNSW.replace("algorithm='hnsw'", "algorithm='hnsw', m=4, ef_construction=4, ef_runtime=1"))
    result = shop.run("upgrade")
    assert result.code == 0
    assert "finds farther neighbours than products" in " ".join((result.out + result.err).split())
