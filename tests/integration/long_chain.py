"""A chain of revisions with every kind of step, and what it leaves on the server, to compare."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias

if TYPE_CHECKING:
    from conftest import Shop

Outcome = dict[str, Any]

ALIASES = ("catalog", "sales", "newest")
REVISIONS = tuple(f"{number:012x}" for number in range(1, 8))
DOCUMENTS = 40

_PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "brand", "type": "tag"},
        {"name": "embedding", "type": "vector",
         "attrs": {"algorithm": "flat", "dims": 4, "distance_metric": "cosine", "datatype": "float32"}},
    ],
})
"""
_ORDERS = """
op.create_index({
    "index": {"name": "orders", "prefix": "o:"},
    "fields": [{"name": "item", "type": "tag"}, {"name": "total", "type": "numeric"}],
})
"""
_LABEL = '''
def label(client):
    """Bears a repeat: what a crash left half done is done again."""
    for key in client.scan_iter(match=b"p:*"):
        client.hset(key, "label", b"label of " + client.hget(key, "title"))


def unlabel(client):
    for key in client.scan_iter(match=b"p:*"):
        client.hdel(key, "label")
'''


# Tells that it is at work, and waits to be let go on. It asks again and again rather than wait at the server,
# which might hand what it waits for to a process that was just killed.
WAITING = """
import time


def wait(client):
    client.set("at work", 1)
    for _ in range(2000):
        if client.exists("go on"):
            return
        time.sleep(0.01)
    raise TimeoutError
"""


@dataclass(frozen=True)
class Ends:
    """What uninterrupted runs leave.

    Attributes:
        base: Nothing is applied.
        head: The whole chain is.
    """

    base: Outcome
    head: Outcome


# By strategy: what is the same in every test is done once in a process.
_REHEARSALS: dict[str, tuple[Ends, dict[bytes, bytes]]] = {}


def rehearse(shop: Shop) -> Ends:
    """Write the chain and run it up and down again, uninterrupted; later on leave what that has left."""
    write_long_chain(shop)
    if shop.strategy not in _REHEARSALS:
        run(shop, "upgrade", "head")
        head = outcome(shop)
        run(shop, "downgrade", "base")
        keys = [key for key in shop.client.scan_iter(count=10_000) if shop.client.pttl(key) == -1]
        _REHEARSALS[shop.strategy] = Ends(outcome(shop), head), {key: shop.client.dump(key) for key in keys}
        return _REHEARSALS[shop.strategy][0]
    ends, dumps = _REHEARSALS[shop.strategy]
    pipeline = shop.client.pipeline(transaction=False)
    for key, dump in dumps.items():
        pipeline.restore(key, 0, dump, replace=True)
    pipeline.execute()
    return ends


def run(shop: Shop, *arguments: str) -> None:
    """Run a command that is expected to succeed."""
    result = shop.run(*arguments)
    assert result.code == 0, result.err


def write_long_chain(shop: Shop) -> None:
    """Write revisions that create, alter, rebuild, rename and drop, and the documents they are about.

    Every one has a downgrade that leads back to just what was before it.
    """
    shop.write(_PRODUCTS + _ORDERS, 'op.drop_index("orders"); op.drop_index("products")')
    shop.write(
        """
        op.create_alias("catalog", "products")
        op.create_alias("sales", "orders")
        op.set_synonyms("products", "seats", ["sofa", "couch"])
        """,
        """
        op.set_synonyms("products", "seats", [])
        op.drop_alias("sales")
        op.drop_alias("catalog")
        """,
    )
    shop.write(
        """
        with op.index("products") as index:
            index.add_field({"name": "price", "type": "numeric"})
        """,
        """
        with op.index("products") as index:
            index.drop_field("price")
        """,
    )
    shop.write(
        """
        with op.index("products") as index:
            index.alter_field("embedding", algorithm="hnsw", m=8)
            index.drop_field("brand")
        """,
        """
        with op.index("products") as index:
            index.add_field({"name": "brand", "type": "tag"})
            index.alter_field("embedding", algorithm="flat")
        """,
    )
    shop.write("op.run(label, unlabel)", preamble=_LABEL)
    shop.write(
        """
        with op.index("products") as index:
            index.rename_to("goods")
            index.add_field({"name": "label", "type": "text"})
        """,
        """
        with op.index("goods") as index:
            index.drop_field("label")
            index.rename_to("products")
        """,
    )
    shop.write(
        """
        op.drop_index("orders")
        op.create_alias("sales", "goods")
        """,
        f"""
        op.drop_alias("sales")
        {_ORDERS.strip()}
        op.create_alias("sales", "orders")
        """,
    )
    add_products(shop, DOCUMENTS)
    shop.add_documents(DOCUMENTS // 2, "o:", item="p{n}", total="{n}")


def add_products(shop: Shop, count: int) -> None:
    """Write products that every revision of the chain can index."""
    vector = struct.pack("<4f", 0.1, 0.2, 0.3, 0.4)
    shop.add_documents(count, "p:", title="a couch number {n}", brand="b{n}", price="{n}", embedding=vector)


def wait_until_at_work(shop: Shop) -> None:
    """Wait until a function `WAITING` is at work."""
    deadline = time.monotonic() + 90
    while not shop.client.exists("at work"):
        assert time.monotonic() < deadline, "the function was not called"
        time.sleep(0.005)


def write_failing_revision(shop: Shop) -> str:
    """Write a revision on top of the chain that changes much and then fails; return its id."""
    return shop.write(
        """
        op.create_index({"index": {"name": "extra", "prefix": "o:"},
                         "fields": [{"name": "item", "type": "tag"}]})
        op.create_alias("newest", "goods")
        op.set_synonyms("goods", "colours", ["red", "crimson"])
        with op.index("goods") as index:
            index.add_field({"name": "brand", "type": "tag"})
        with op.index("goods") as index:
            index.alter_field("embedding", m=32)
        op.drop_alias("catalog")
        op.run(count, uncount)
        op.run(fail)
        """,
        preamble="""
        def count(client):
            client.set("counted", 1)

        def uncount(client):
            client.delete("counted")

        def fail(client):
            raise RuntimeError("out of paint")
        """,
    )


def outcome(shop: Shop) -> Outcome:
    """What users and later runs see of the server: all but dates, durations and ids of runs.

    Compared are indexes (schema, synonyms, documents found), targets of aliases, every key that is not the
    state's, the revisions recorded, the definitions recorded, the owners, and what is left of a run. An index
    that its served name leads to goes by that name; any other one, such as a left-over, by its own.
    """
    shop.wait_until_indexed()
    execute: Any = shop.client.execute_command
    served = shop.served_names()
    names = list_indexes(execute)
    indexes = {served.get(name, name): read_index(execute, name) for name in names}
    assert len(indexes) == len(names), f"{names} are more than what is served by {served}"
    targets = {alias: resolve_alias(execute, alias) for alias in ALIASES}
    keys = sorted(key for key in shop.client.scan_iter(count=10_000) if not key.startswith(b"{redismigrate"))
    pipeline = shop.client.pipeline(transaction=False)
    for key in keys:
        pipeline.dump(key)
    head = shop.state("head") or {"heads": [], "revisions": {}}
    return {
        "indexes": {
            name: (index.schema.model_copy(update={"name": name}), index.synonyms)
            for name, index in indexes.items()
            if index is not None
        },
        "found": {name: shop.hits(name) for name in indexes},
        "aliases": {alias: served.get(target, target) for alias, target in targets.items()},
        "documents": dict(zip(keys, pipeline.execute(), strict=True)),
        "heads": head["heads"],
        "applied": {
            revision: (record["parents"], record["sha256"], record["adopted"])
            for revision, record in head["revisions"].items()
        },
        "recorded indexes": recorded_indexes(shop),
        "owners": json.loads(shop.client.get("{redismigrate}:owners") or b"{}"),
        "run": shop.state("run"),
    }


def recorded_indexes(shop: Shop) -> dict[str, dict[str, Any]]:
    """Served name -> definition as recorded, but with that name for the physical index to which it leads."""
    served = shop.served_names()
    recorded = (shop.state("indexes") or {}).get("indexes", {})
    return {
        name: {**definition, "physical": served.get(definition["physical"], definition["physical"])}
        for name, definition in recorded.items()
    }


def recorded_events(shop: Shop, event: str) -> list[str]:
    """The revisions of which the journal tells this event ("upgrade", "downgrade"), in order."""
    entries: Any = shop.client.xrange("{redismigrate:shop}:journal")
    return [fields[b"revision"].decode() for _, fields in entries if fields[b"event"].decode() == event]
