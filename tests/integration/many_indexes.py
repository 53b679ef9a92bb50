"""Many indexes alike, a revision that changes all of them, and a document of one that can't be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from redismigrate.redis_server.inspection import list_indexes, read_index

if TYPE_CHECKING:
    from conftest import Shop

DIMS = 8
BROKEN = "b:1"
CONTINUE = ("upgrade", "head", "--on-failure", "continue")


def names(count: int) -> tuple[str, ...]:
    return tuple("abcdefghij"[:count])


def vector(value: float) -> bytes:
    return np.full(DIMS, value, np.float32).tobytes()


def half(value: float) -> bytes:
    return np.full(DIMS, value, np.float16).tobytes()


def write_indexes(shop: Shop, count: int, documents: int, *, halves: bool = False) -> None:
    """Apply a revision that makes indexes `a`, `b` and so on, each with documents of its own.

    Args:
        shop: Its project.
        count: Of the indexes.
        documents: Of each.
        halves: Their vectors are float16, and float32 else.
    """
    datatype, stored = ("float16", half(0.5)) if halves else ("float32", vector(0.5))
    created = [
        f"""op.create_index({{
            "index": {{"name": "{name}", "prefix": "{name}:"}},
            "fields": [
                {{"name": "title", "type": "text"}},
                {{"name": "embedding", "type": "vector",
                  "attrs": {{"algorithm": "flat", "dims": {DIMS}, "distance_metric": "l2",
                             "datatype": "{datatype}"}}}},
            ],
        }})"""
        for name in names(count)
    ]
    shop.write("\n".join(created), "\n".join(f'op.drop_index("{name}")' for name in names(count)))
    for name in names(count):
        shop.add_documents(documents, f"{name}:", title="shoe {n}", embedding=stored)
    assert shop.run("upgrade", "head").code == 0


def write_float16(shop: Shop, count: int, *, with_price: bool = False) -> str:
    """Write a revision that stores the vectors of all indexes as float16.

    Args:
        shop: Its project.
        count: Of the indexes.
        with_price: Their prices are indexed, too, so that a document can fail once its new index is built.
    """

    def to(datatype: str, price: str) -> str:
        return "\n".join(
            f'with op.index("{name}") as index:\n'
            f'    index.alter_field("embedding", datatype="{datatype}")\n'
            f"    {price if with_price else 'pass'}"
            for name in names(count)
        )

    add = 'index.add_field({"name": "price", "type": "numeric"})'
    return shop.write(to("float16", add), to("float32", 'index.drop_field("price")'))


def break_document(shop: Shop) -> None:
    """Write a vector that has no form in float16."""
    shop.client.hset(BROKEN, "embedding", vector(1e30))


def break_price(shop: Shop) -> None:
    """Write a price that is no number, so that the document fails when its new index is built."""
    shop.client.hset(BROKEN, "price", "cheap")


def mend_document(shop: Shop) -> None:
    shop.client.hset(BROKEN, "embedding", vector(0.5))
    shop.client.hdel(BROKEN, "price")


def datatypes(shop: Shop) -> dict[str, str]:
    """Served name -> the datatype of its vectors, on the server."""
    served = shop.served_names()
    found = {}
    for physical, name in served.items():
        index = read_index(shop.client.execute_command, physical)
        assert index is not None
        [field] = [field for field in index.schema.fields if field.type == "vector"]
        found[name] = field.datatype
    return found


def recorded_datatypes(shop: Shop) -> dict[str, str]:
    recorded = (shop.state("indexes") or {})["indexes"]
    return {
        name: next(f["datatype"] for f in definition["schema"]["fields"] if f["type"] == "vector")
        for name, definition in recorded.items()
    }


def stored_vectors(shop: Shop) -> dict[str, set[int]]:
    """Index -> the lengths of the vectors of its documents; none of these has a field too many."""
    lengths: dict[str, set[int]] = {name: set() for name in recorded_datatypes(shop)}
    keys = list(shop.client.scan_iter("[a-j]:*", count=10_000))
    pipeline = shop.client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    for key, values in zip(keys, pipeline.execute(), strict=True):
        assert values.keys() - {b"price"} == {b"title", b"embedding"}, key
        lengths[key[:1].decode()].add(len(values[b"embedding"]))
    return lengths


def require_partial(shop: Shop, count: int, documents: int = 20, failed: str = "b") -> None:
    """All indexes but one are changed, and the record says which one is not and why."""
    expected = {name: "FLOAT32" if name == failed else "FLOAT16" for name in names(count)}
    assert datatypes(shop) == expected
    assert recorded_datatypes(shop) == expected
    assert stored_vectors(shop) == {
        name: {4 * DIMS if datatype == "FLOAT32" else 2 * DIMS} for name, datatype in expected.items()
    }
    assert (shop.state("head") or {})["heads"] == ["000000000001"]
    run = shop.state("run") or {}
    assert list(run["apart"]["left"]) == [failed]
    require_tidy(shop, count, documents)


def require_tidy(shop: Shop, count: int, documents: int) -> None:
    """Nothing is left of other forms and other indexes, and all documents are found."""
    shop.wait_until_indexed()
    assert sorted(shop.served_names().values()) == list(names(count))
    assert len(list_indexes(shop.client.execute_command)) == count
    for name in names(count):
        assert shop.hits(name) == documents
    stored_vectors(shop)
