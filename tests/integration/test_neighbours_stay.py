"""Where other tools make integers of vectors that find other neighbours, or that the server does not know."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from vector_documents import CHANGE, DTYPES, add_products, applied, creation

pytestmark = pytest.mark.usefixtures("rebuilding")

VECTORS = 600
QUERIES = 40
NEIGHBOURS = 10
REAL_EMBEDDINGS = Path("alembic_style_example", "data", "packages_minilm384.npy")
INDEX = """
op.create_index({{
    "index": {{"name": "products", "prefix": "p:"}},
    "fields": [{{"name": "embedding", "type": "vector", "attrs": {{
        "algorithm": "flat", "dims": {dims}, "distance_metric": {metric!r}, "datatype": "float32",
    }}}}],
}})
"""


@pytest.fixture(scope="module")
def embeddings():
    """Real ones where they are at hand, else unit vectors around 50 centres; the last are the queries."""
    places = [folder / REAL_EMBEDDINGS for folder in Path(__file__).parents]
    if "REDISMIGRATE_EMBEDDINGS" in os.environ:
        places = [Path(os.environ["REDISMIGRATE_EMBEDDINGS"])]
    found = next(filter(Path.exists, places), None)
    if found is not None:
        return np.load(found, allow_pickle=False)[: VECTORS + QUERIES].astype(np.float32)
    numbers = np.random.default_rng(7)
    near = numbers.standard_normal((50, 384))[numbers.integers(0, 50, VECTORS + QUERIES)]
    made = near + 0.7 * numbers.standard_normal(near.shape)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def neighbours(shop, queries):
    """What the server finds for each query."""
    command = (
        "FT.SEARCH",
        "products",
        f"*=>[KNN {NEIGHBOURS} @embedding $v]",
        "NOCONTENT",
        "LIMIT",
        0,
        NEIGHBOURS,
    )
    return [
        set(shop.client.execute_command(*command, "PARAMS", 2, "v", query.tobytes(), "DIALECT", 2)[1:])
        for query in queries
    ]


@pytest.mark.parametrize(("datatype", "expected"), [("float16", 0.99), ("bfloat16", 0.97)])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_server_finds_the_same_neighbours_after_a_migration(shop, embeddings, datatype, metric, expected):
    stored, queries = embeddings[:VECTORS], embeddings[VECTORS:]
    pipeline = shop.client.pipeline(transaction=False)
    for number, numbers in enumerate(stored):
        pipeline.hset(f"p:{number}", "embedding", numbers.tobytes())
    pipeline.execute()
    shop.write(INDEX.format(dims=stored.shape[1], metric=metric))
    applied(shop)
    before = neighbours(shop, queries)
    shop.write(CHANGE + f"index.alter_field('embedding', datatype={datatype!r})")
    applied(shop)

    after = neighbours(shop, queries.astype(DTYPES[datatype]))

    kept = sum(len(true & found) for true, found in zip(before, after, strict=True))
    assert kept / (len(queries) * NEIGHBOURS) >= expected


@pytest.mark.parametrize("datatype", ["int8", "uint8"])
def test_integers_are_refused_with_the_version_that_knows_them_where_the_server_does_not(shop, datatype):
    if shop.client.info("server")["redis_version"] >= "8":
        pytest.skip("this server knows integers")
    add_products(shop, 50)
    shop.write(creation())
    applied(shop)
    shop.write(CHANGE + f"index.alter_field('embedding', datatype={datatype!r})")

    shop.refuses("upgrade", code=6, says=("The plan is blocked: ", datatype.upper(), "8.0"))

    assert shop.hits("products") == 50
