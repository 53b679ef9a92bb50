"""Products as JSON documents with vectors as arrays of numbers, and an index over them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from vector_documents import CHANGE, applied

if TYPE_CHECKING:
    from conftest import Shop

DIMS, CUT = 32, 8
PRODUCTS = 60
TRUNCATE = CHANGE + f"index.truncate('embedding', dims={CUT})"
GROW = CHANGE + f"index.alter_field('embedding', dims={DIMS})"


def embedding(number: int, dims: int = DIMS) -> list[float]:
    """A vector whose first components say most, as those of models trained for it; some are tiny."""
    numbers = np.random.default_rng(number).normal(size=dims) / (1 + np.arange(dims)) ** 2
    numbers[3] = 1.2345e-7 * (number + 1)
    numbers[4] = 1
    return [float(each) for each in (numbers / np.linalg.norm(numbers)).astype(np.float32)]


def truncated(numbers: list[float], *, renormalize: bool = True) -> np.ndarray[Any, Any]:
    cut = np.array(numbers[:CUT])
    return cut / np.linalg.norm(cut) if renormalize else cut


def put(shop: Shop, number: int, *, path: str = "embedding", **more: Any) -> None:
    document: dict[str, Any] = {
        "title": f"shoe {number}",
        'a "1e-7': [1e-7, {"b": None}],
        path: embedding(number),
        "price": 10.5 + number,
        **more,
    }
    shop.client.execute_command("JSON.SET", f"p:{number}", "$", json.dumps(document))


def stocked(
    shop: Shop, up: str = TRUNCATE, down: str = GROW, path: str | None = None, datatype: str = "float32"
) -> None:
    """Products in an index, and a revision that truncates their vectors."""
    for number in range(PRODUCTS):
        if path is None:
            put(shop, number)
        else:
            put(shop, number, path="other", nested={"vectors": {"v": embedding(number), "z": 1}})
    attrs = {"algorithm": "flat", "dims": DIMS, "distance_metric": "cosine", "datatype": datatype}
    vector = {"name": "embedding", "type": "vector", "attrs": attrs}
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text"}, vector if path is None else {**vector, "path": path}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(up, down)


def texts(shop: Shop) -> dict[bytes, bytes]:
    """The texts of all products, as the server prints them."""
    return {key: shop.client.execute_command("JSON.GET", key) for key in shop.client.scan_iter("p:*")}


def vectors(shop: Shop, path: str = "$.embedding") -> dict[bytes, list[float]]:
    found = {}
    for key in shop.client.scan_iter("p:*"):
        values = json.loads(shop.client.execute_command("JSON.GET", key, path))
        found.update(zip([key], values, strict=False))
    return found


def nearest(shop: Shop, numbers: Any, count: int = 3) -> list[bytes]:
    """The keys of the nearest products."""
    query = np.asarray(numbers, np.float32).tobytes()
    words = ("PARAMS", "2", "v", query, "SORTBY", "d", "NOCONTENT", "DIALECT", "2")
    reply: Any = shop.client.execute_command(
        "FT.SEARCH", "products", f"*=>[KNN {count} @embedding $v AS d]", *words
    )
    return list(reply[1:])
