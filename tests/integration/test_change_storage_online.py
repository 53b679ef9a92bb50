"""Hashes that become JSON documents, and come back, while search stays up and two releases write."""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis
from redisvl_application import PYTHON, Application, needs_redisvl
from search_hammer import hammered
from test_two_releases import FAR_AWAY, followed, replaced

if TYPE_CHECKING:
    from conftest import Shop

DIMS = 4
STOCKED = """op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "tags", "type": "tag", "attrs": {"separator": ";"}},
        {"name": "kind", "type": "tag"},
        {"name": "price", "type": "numeric", "attrs": {"sortable": True}},
        {"name": "place", "type": "geo"},
        {"name": "embedding", "type": "vector",
         "attrs": {"algorithm": "flat", "dims": 4, "distance_metric": "l2"}},
    ],
})"""
TO_JSON = """with op.index("products") as index:
    index.change_storage("json", prefix=("p:", "j:"), paths={"title": "$.meta.title", "tags": "$.tags[*]"})"""
TO_HASH = """with op.index("products") as index:
    index.change_storage("hash", prefix=("j:", "p:"))"""
PRICES = ("5", "1.50", "007", "1e3", "-0", "19.99", "0x10")


def vector(number: int) -> bytes:
    return np.array([number + 0.1, -number / 3, 1e-7 * number, 0], np.float32).tobytes()


def product(number: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "title": f"shoe {number} ünïque",
        "tags": f"a{number};b",
        "kind": "sale,new" if number % 2 else "old",
        "price": PRICES[number % len(PRICES)],
        "place": f"{number % 90},{number % 45}",
        "embedding": vector(number),
        "note": f'said "{number}"\n\0',
        "a.b": "",
    }
    if number % 5 == 0:
        del fields["price"]
    return fields


def stocked(shop: Shop, count: int, change: str = TO_JSON) -> None:
    """Products, and a revision that makes JSON documents of them."""
    shop.write(STOCKED, "op.drop_index('products')")
    assert shop.run("upgrade", "head").code == 0
    for number in range(count):
        shop.client.hset(f"p:{number}", mapping=product(number))
    shop.wait_until_indexed()
    shop.write(change, TO_HASH)


def hashes(client: redis.Redis, prefix: str) -> dict[bytes, dict[bytes, bytes]]:
    return {
        key.removeprefix(prefix.encode()): client.hgetall(key)
        for key in client.scan_iter(match=f"{prefix}*", count=1000, _type="hash")
    }


def document(client: redis.Redis, key: str) -> Any:
    return json.loads(client.execute_command("JSON.GET", key))


def applied(shop: Shop, *arguments: str) -> Any:
    result = shop.run(*arguments, "--json")
    assert result.code == 0, result.err
    return result.json


def nearest(shop: Shop, number: int) -> str:
    query = "*=>[KNN 1 @embedding $vector]"
    parameters = ("PARAMS", "2", "vector", vector(number), "NOCONTENT", "DIALECT", "2")
    return str(shop.client.execute_command("FT.SEARCH", "products", query, *parameters)[1].decode())


def test_hashes_become_json_documents_and_come_back_byte_for_byte(shop: Shop):
    stocked(shop, 50)
    shop.client.pexpireat("p:7", FAR_AWAY)
    before = hashes(shop.client, "p:")

    result = applied(shop, "upgrade", "head")

    assert result["documents"]["failed"] == []
    assert shop.hits("products") == 50
    assert hashes(shop.client, "p:") == {}
    assert shop.client.pexpiretime("j:7") == FAR_AWAY
    found = document(shop.client, "j:1")
    assert found.pop("embedding") == pytest.approx([1.1, -1 / 3, 1e-7, 0])
    assert found == {
        "meta": {"title": "shoe 1 ünïque"},
        "tags": ["a1", "b"],
        "kind": "sale,new",
        "price": 1.5,
        "place": "1,1",
        "note": 'said "1"\n\0',
        "a.b": "",
        "__from_hash": {"price": "1.50"},
    }
    assert nearest(shop, 7) == "j:7"
    for query, hits in (("@tags:{a3}", 1), ("@kind:{sale}", 25), ("@title:shoe", 50), ("@price:[7 7]", 6)):
        assert shop.hits("products", query) == hits
    assert shop.run("check").code == 0

    applied(shop, "downgrade", "-1")

    assert hashes(shop.client, "p:") == before
    assert shop.client.pexpiretime("p:7") == FAR_AWAY
    assert not list(shop.client.scan_iter(match="j:*", count=1000))
    assert nearest(shop, 7) == "p:7"
    applied(shop, "upgrade", "head")
    assert shop.hits("products") == 50


def test_both_releases_write_while_expanded(shop: Shop):
    stocked(shop, 30)
    applied(shop, "upgrade", "head", "--phase", "expand")
    with followed(shop) as seen:
        # The old release.
        shop.client.hset("p:1", "title", "written by the old release")
        shop.client.delete("p:2")
        shop.client.hset("p:old", mapping=product(1))
        # The new one.
        shop.client.execute_command("JSON.SET", "j:3", "$.meta.title", '"written by the new release"')
        shop.client.delete("j:4")
        shop.client.execute_command("JSON.SET", "j:new", "$", '{"meta":{"title":"new"},"price":3}')
        # Both: the new one stands.
        shop.client.hset("p:5", "title", "old")
        shop.client.execute_command("JSON.SET", "j:5", "$.meta.title", '"new"')
        seen()
        assert document(shop.client, "j:1")["meta"]["title"] == "written by the old release"
        assert not shop.client.exists("j:2")
        assert document(shop.client, "j:old")["meta"]["title"] == product(1)["title"]
        expected = {**product(3), "title": "written by the new release"}
        assert shop.client.hgetall("p:3") == {
            name.encode(): value if isinstance(value, bytes) else value.encode()
            for name, value in expected.items()
        }
        assert not shop.client.exists("p:4")
        assert shop.client.hgetall("p:new") == {b"title": b"new", b"price": b"3"}
        assert document(shop.client, "j:5")["meta"]["title"] == "new"
    applied(shop, "upgrade", "head", "--phase", "contract")
    assert shop.hits("products") == 30
    assert hashes(shop.client, "p:") == {}
    assert document(shop.client, "j:3")["meta"]["title"] == "written by the new release"


def test_rolled_back_while_expanded_all_is_as_it_was(shop: Shop):
    stocked(shop, 30)
    before = hashes(shop.client, "p:")
    applied(shop, "upgrade", "head", "--phase", "expand")
    shop.client.execute_command("JSON.SET", "j:3", "$.meta.title", '"written by the new release"')
    applied(shop, "rollback")
    before[b"3"][b"title"] = b"written by the new release"
    assert hashes(shop.client, "p:") == before
    assert not list(shop.client.scan_iter(match="j:*", count=1000))


def test_a_finished_change_is_rolled_back_byte_for_byte(shop: Shop):
    stocked(shop, 30)
    before = hashes(shop.client, "p:")
    run = applied(shop, "upgrade", "head")["run"]
    applied(shop, "rollback", "--run", run)
    assert hashes(shop.client, "p:") == before
    assert shop.hits("products") == 30


def test_what_has_no_form_in_json_is_listed_and_left(shop: Shop):
    stocked(shop, 10)
    shop.client.hset("p:1", "note", b"\xff")
    shop.client.execute_command("HPEXPIREAT", "p:2", FAR_AWAY, "FIELDS", 1, "note")
    shop.client.hset("p:3", "price", "nan")
    refused = shop.run("upgrade", "head", "--json")
    assert refused.code == 1
    told = {each["key"]: each["reason"] for each in refused.json["documents"]["failed"]}
    assert "no UTF-8" in told["p:1"]
    assert "expire, which members of JSON documents can't" in told["p:2"]
    assert "no number" in told["p:3"]
    assert not list(shop.client.scan_iter(match="j:*", count=1000))

    result = applied(shop, "upgrade", "head", "--max-failures", "2", "--drop-field-ttls")

    assert [each["key"] for each in result["documents"]["failed"]] == ["p:1", "p:3"]
    assert document(shop.client, "j:2")["note"] == product(2)["note"]
    assert hashes(shop.client, "p:").keys() == {b"1", b"3"}


def test_json_documents_become_hashes_and_come_back(shop: Shop):
    stocked(shop, 5)
    applied(shop, "upgrade", "head")
    vectors = [struct.unpack("<4f", vector(number)) for number in range(2)]
    content = {
        "meta": {"title": "born as JSON", "more": [1, {"a": None}]},
        "tags": ["x", "y"],
        "kind": True,
        "price": 2.5,
        "embedding": list(vectors[1]),
        "seen": None,
        "deep": {"er": [1.5, "é"]},
    }
    shop.client.execute_command("JSON.SET", "j:born", "$", json.dumps(content))
    shop.client.execute_command("JSON.SET", "j:wrong", "$", json.dumps({**content, "tags": ["x;y"]}))
    refused = shop.run("downgrade", "-1", "--json")
    assert refused.code == 1
    assert "holds the separator" in refused.json["documents"]["failed"][0]["reason"]
    shop.client.delete("j:wrong")
    applied(shop, "downgrade", "-1")
    born = shop.client.hgetall("p:born")
    assert born[b"title"] == b"born as JSON"
    assert born[b"tags"] == b"x;y"
    assert born[b"kind"] == b"true"
    assert born[b"embedding"] == vector(1)
    applied(shop, "upgrade", "head")
    back = document(shop.client, "j:born")
    assert back.pop("embedding") == pytest.approx(content.pop("embedding"))
    assert back == content


def test_nothing_that_the_backup_lacks_is_removed(shop: Shop):
    """An original that does not come back exactly is on disk before it goes."""
    stocked(shop, 5)
    applied(shop, "upgrade", "head")
    precise = {"meta": {"title": "t"}, "embedding": [0.1234567890123, 0, 0, 1]}
    shop.client.execute_command("JSON.SET", "j:precise", "$", json.dumps(precise))
    applied(shop, "downgrade", "-1")
    kept = replaced(shop)
    assert json.loads(kept[b"j:precise"]) == precise


def test_without_another_prefix_the_plan_says_what_to_do(shop: Shop):
    stocked(shop, 3, "with op.index('products') as index:\n    index.change_storage('json')")
    blocked = shop.run("upgrade", "head")
    assert blocked.code == 6
    assert "say prefix=(old, new) in change_storage" in blocked.err


def test_searches_find_all_and_no_write_is_lost_while_both_releases_write(shop: Shop, redis_url: str):
    """Up and down, two hammers, and a writer of each release that knows its own form only."""
    total = 120
    stocked(shop, total)
    for way, (old, new) in {"upgrade": ("p:", "j:"), "downgrade": ("j:", "p:")}.items():
        target = ("head",) if way == "upgrade" else ("-1",)
        with hammered(redis_url, "products", total, vector(5)) as counts:
            applied(shop, way, *target, "--phase", "expand")
            with followed(shop) as seen, ThreadPoolExecutor() as pool:
                writers = [
                    pool.submit(wrote, redis_url, prefix, range(start, total, 2), f"{way} of {prefix}")
                    for start, prefix in enumerate((old, new))
                ]
                for writer in writers:
                    writer.result()
                seen()
            applied(shop, way, *target, "--phase", "contract")
        assert all(count["asked"] and not count["failed"] and not count["short"] for count in counts)
        titles = {number: title_of(shop.client, f"{new}{number}") for number in range(total)}
        assert titles == {
            number: f"shoe {number} by {way} of {new if number % 2 else old}" for number in range(total)
        }
        assert not list(shop.client.scan_iter(match=f"{old}*", count=1000))


def wrote(url: str, prefix: str, numbers: range, by: str) -> None:
    """Write the titles of some documents, twice each, as a release that knows one form."""
    client = redis.Redis.from_url(url)
    for number in (*numbers, *numbers):
        title = f"shoe {number} by {by}"
        if prefix == "p:":
            client.hset(f"{prefix}{number}", "title", title)
        else:
            client.execute_command("JSON.SET", f"{prefix}{number}", "$.meta.title", json.dumps(title))


def title_of(client: redis.Redis, key: str) -> str:
    if key.startswith("p:"):
        return str(client.hget(key, "title").decode())
    return str(document(client, key)["meta"]["title"])


@needs_redisvl
def test_redisvl_reads_and_writes_the_json_documents(shop: Shop, redis_url: str):
    stocked(shop, 12)
    applied(shop, "upgrade", "head")
    with Application(str(PYTHON)) as application:
        found = application.run(
            """
import numpy as np
from redisvl.index import SearchIndex
from redisvl.query import FilterQuery, VectorQuery
from redisvl.query.filter import Num, Tag
from redisvl.schema import IndexSchema

schema = IndexSchema.from_dict({
    "index": {"name": "products", "prefix": "j", "storage_type": "json"},
    "fields": [
        {"name": "title", "type": "text", "path": "$.meta.title"},
        {"name": "tags", "type": "tag", "path": "$.tags[*]"},
        {"name": "price", "type": "numeric", "path": "$.price"},
        {"name": "embedding", "type": "vector", "path": "$.embedding",
         "attrs": {"algorithm": "flat", "dims": 4, "distance_metric": "l2", "datatype": "float32"}},
    ],
})
index = SearchIndex(schema, redis_url=url)
near = index.query(VectorQuery(vector, "embedding", num_results=1, return_fields=["title", "price"]))
tagged = index.query(FilterQuery(filter_expression=Tag("tags") == "a3", return_fields=["title"]))
index.load([{"id": "own", "meta": {"title": "loaded"}, "tags": ["own"], "price": 3, "embedding": vector}],
           id_field="id")
own = index.query(FilterQuery(filter_expression=Tag("tags") == "own", return_fields=["title"]))
answer = [near[0]["title"], near[0]["price"], tagged[0]["title"], own[0]["title"], index.fetch("7")["note"]]
""",
            url=redis_url,
            vector=[float(each) for each in np.frombuffer(vector(8), np.float32)],
        )
    assert found == [
        product(8)["title"],
        "1.5",
        product(3)["title"],
        "loaded",
        product(7)["note"],
    ]
    applied(shop, "downgrade", "-1")
    assert shop.client.hget("p:own", "title") == b"loaded"


def test_it_is_carried_out_alone(shop: Shop):
    """Neither folded with what waits beside it, nor printed for redis-cli."""
    stocked(shop, 5)
    shop.write(
        "with op.index('products') as index:\n    index.add_field({'name': 'brand', 'type': 'tag'})",
        "with op.index('products') as index:\n    index.drop_field('brand')",
    )
    refused = shop.run("upgrade", "head", "--script")
    assert refused.code != 0
    assert "copy_documents" in refused.err or "documents" in refused.err
    applied(shop, "upgrade", "head", "--fold")
    assert shop.hits("products") == 5
    assert {field["name"] for field in shop.state("indexes")["indexes"]["products"]["schema"]["fields"]} >= {
        "brand"
    }
