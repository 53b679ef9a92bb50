"""Documents that an application writes, their index and its migration, and what became of them in the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from document_writer import LONGEST_TTL_MS, Writer, converted, vector_of, written

from redismigrate.execution.indexes.live import not_in_index
from redismigrate.redis_server.connection import connect

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = """
op.create_index({{
    "index": {{"name": "products", "prefix": "p:"}},
    "fields": [
        {{"name": "title", "type": "text"}},
        {{"name": "embedding", "type": "vector", "attrs": {{
            "algorithm": "flat", "dims": {dims}, "datatype": "{datatype}", "distance_metric": "l2",
        }}}},
    ],
}})
"""


@dataclass
class Found:
    """What is on the server, compared with what was written last.

    Attributes:
        wrong: Documents that differ from it other than in the datatype of their vector.
        new: Keys whose vector is as wanted in the new datatype.
        old: Keys whose vector is as it was written -> when that was, Unix time in milliseconds.
    """

    wrong: list[str] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)
    old: dict[bytes, int] = field(default_factory=dict)


def alter(datatype: str) -> str:
    return f"with op.index('products') as index:\n    index.alter_field('embedding', datatype='{datatype}')"


def begin(shop: Shop, before: str, after: str, documents: int, dims: int, **writer: Any) -> Writer:
    """Documents of one datatype in an index of that, and a revision that makes them another one."""
    application = Writer(shop.url, str(shop.folder / "writer.log"), dims, before, documents, **writer)
    application.fill()
    shop.write(PRODUCTS.format(dims=dims, datatype=before))
    shop.write(alter(after), alter(before))
    assert shop.run("--url", shop.url, "upgrade", "+1").code == 0
    return application


def compare(shop: Shop, writer: Writer, after: str) -> Found:
    """Look at every document, once the short times to live are over."""
    log = shop.folder / "writer.log"
    time.sleep(max(0.0, log.stat().st_mtime + LONGEST_TTL_MS / 1000 + 0.1 - time.time()))
    found, expected = Found(), written(log)
    keys = set(shop.client.scan_iter(match="p:*", count=10_000))
    found.wrong += [f"{key!r} is there" for key in keys - set(expected)]
    # Nobody writes any more, so that many can be looked at by one request.
    pipeline = shop.client.pipeline(transaction=False)
    for key in expected:
        pipeline.hgetall(key)
        pipeline.execute_command("HPEXPIRETIME", key, "FIELDS", 1, "embedding")
    replies = iter(pipeline.execute())
    for key, document in expected.items():
        values, expiry = next(replies), next(replies)
        vector = values.pop(b"embedding", None)
        if values != document.values:
            found.wrong.append(f"{key!r} has {values}, expected {document.values}")
        if vector is None or document.vector is None:
            if (vector is None) != (document.vector is None):
                found.wrong.append(f"{key!r} has a vector: {vector is not None}, expected {document}")
            continue
        if expiry != [document.vector_expires_ms]:
            found.wrong.append(f"the vector of {key!r} expires at {expiry}, expected {document}")
        as_written = vector_of(document.vector, writer.dims, document.datatype)
        if vector == converted(as_written, document.datatype, after):
            found.new.append(key)
        elif vector == as_written:
            found.old[key] = document.vector_at_ms
        else:
            found.wrong.append(f"the vector of {key!r} is neither the old nor the new one, {document}")
    return found


def require_in_index(shop: Shop, keys: list[bytes]) -> None:
    with connect(shop.url) as server:
        for start in range(0, len(keys), 500):
            assert not_in_index(server, "products", keys[start : start + 500]) == []
