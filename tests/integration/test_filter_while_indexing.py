"""A FILTER is known by what the index holds: while it is being built, what it lacks tells nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import CHANGE, migrate

from redismigrate.errors import RunFailed
from redismigrate.execution.indexes.live import in_complete_index
from redismigrate.redis_server.connection import connect

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

DOCUMENTS, OTHERS, DIMS = 6_000, 50, 128
PRODUCTS = f"""
op.create_index({{
    "index": {{"name": "products", "prefix": "p:", "filter": "!exists(@hidden)"}},
    "fields": [
        {{"name": "title", "type": "tag"}},
        {{"name": "embedding", "type": "vector", "attrs": {{
            "algorithm": "hnsw", "dims": {DIMS}, "datatype": "float32", "distance_metric": "l2",
        }}}},
    ],
}})
"""
CREATE = (
    "FT.CREATE products ON HASH PREFIX 1 p: FILTER !exists(@hidden) SCHEMA title TAG "
    f"embedding VECTOR HNSW 6 TYPE FLOAT32 DIM {DIMS} DISTANCE_METRIC L2"
)


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Documents that take a second to be indexed, a few that a FILTER keeps out, and a rename to come."""
    pipeline = shop.client.pipeline(transaction=False)
    for number in range(DOCUMENTS):
        numbers = np.random.default_rng(number).normal(size=DIMS).astype("<f4").tobytes()
        fields: dict[Any, Any] = {"title": "shoe", "embedding": numbers}
        pipeline.hset(f"p:{number}", mapping=fields)
    pipeline.execute()
    shop.add_documents(OTHERS, prefix="p:hidden", title="boot", hidden="1")
    shop.write(PRODUCTS)
    assert shop.run("upgrade").code == 0
    shop.write(CHANGE + "index.rename_field('title', 'name')", CHANGE + "index.rename_field('name', 'title')")
    return shop


def create_anew(shop: Shop) -> None:
    """As another client does, or a server that restarts."""
    shop.client.execute_command("FT.DROPINDEX", "products")
    shop.client.execute_command(*CREATE.split(" "))


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("moment", ["prove_index", "back_up_documents"])
def test_no_document_is_left_out_because_the_index_is_still_being_built(products: Shop, moment: Any):
    result = migrate(products, {moment: lambda: create_anew(products)}, exclusive=True)

    assert result.documents is not None
    assert (result.documents.read, result.documents.rewritten) == (DOCUMENTS, DOCUMENTS)
    assert products.hits("products", "@name:{shoe}") == products.hits("products") == DOCUMENTS
    assert products.client.hget("p:hidden0", "title") == b"boot"


def test_an_index_that_is_gone_can_not_tell_which_documents_it_had(products: Shop):
    def drop() -> None:
        products.client.execute_command("FT.DROPINDEX", "products")

    with pytest.raises(RunFailed, match="index products was dropped by another client"):
        migrate(products, {"back_up_documents": drop}, exclusive=True)

    assert products.client.hget("p:0", "title") == b"shoe"


def test_what_an_index_holds_is_not_told_while_it_is_being_built(products: Shop):
    keys = [b"p:0", b"p:hidden0", b"p:gone"]
    with connect(products.url) as server:
        assert in_complete_index(server, "products", keys) == [b"p:0"]
        assert in_complete_index(server, "products", []) == []
        create_anew(products)
        assert in_complete_index(server, "products", keys) is None
        products.wait_until_indexed()
        assert in_complete_index(server, "products", keys) == [b"p:0"]
        assert in_complete_index(server, "no such index", keys) is None
