"""Random strange documents and keys through rewrites in place and back: byte for byte, failures named."""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from conftest import Shop
from test_refused_documents import deepen
from vector_documents import CHANGE, DIMS, applied, vector

pytestmark = pytest.mark.usefixtures("rebuilding")

DOCUMENTS = 300
TO_FLOAT16 = "index.alter_field('embedding', datatype='float16')"
RENAME = "index.rename_field('title', 'name')"
MOVE = "index.change_prefix('p:', 'q:')"
CHANGES = {
    "re-encode": TO_FLOAT16,
    "rename": RENAME,
    "move": MOVE,
    "all": f"{TO_FLOAT16}\n    {RENAME}\n    {MOVE}",
}


def bytes_of(source: random.Random, most: int = 20) -> bytes:
    """Some bytes: none, a zero byte, line breaks, no UTF-8, what globs and tags mean."""
    pieces = [
        b"",
        b"\0",
        b"\n",
        b"\r\n",
        b"\xff\xfe",
        b"*?[a]",
        b"{x}",
        b" ",
        b"\x1b[31m",
        "ü".encode(),
        b"$",
    ]
    return b"".join(source.choices(pieces, k=source.randint(0, 3))) + source.randbytes(
        source.randint(0, most)
    )


def key_of(source: random.Random, number: int) -> bytes:
    tail = source.choice([b"", bytes_of(source), b"%d" % number, b"k" * source.choice([1, 100_000])])
    return b"p:" + tail


def strange_hash(source: random.Random) -> dict[bytes, bytes]:
    fields = {
        b"title": bytes_of(source),
        b"embedding": vector(source.randint(0, 90)),
        b"other": bytes_of(source),
    }
    if source.random() < 0.3:
        fields[b""] = bytes_of(source)
    if source.random() < 0.3:
        fields[b"embedding"] = source.choice(
            [b"", b"x", source.randbytes(31), source.randbytes(16), source.randbytes(32), b"\0" * 33]
        )
    if source.random() < 0.1:
        fields[b"large"] = b"l" * 1_000_000
    if source.random() < 0.1:
        fields[b"name"] = b"taken"
    for name in (b"title", b"embedding"):
        if source.random() < 0.1:
            del fields[name]
    return fields


def strange_value(source: random.Random, levels: int = 3) -> Any:
    kind = source.randrange(8 if levels else 6)
    if kind == 0:
        (number,) = struct.unpack("d", struct.pack("Q", source.getrandbits(64)))
        return number if abs(number) < 1e308 else 0.1
    if kind == 1:
        return source.choice([0, -0.0, 1e-7, 2**63, -(2**63), 2**64 - 1, 10**25, 1.0, True, None])
    if kind in {2, 3}:
        return source.choice(["", "\0", '"}]{[\\', "ü\u2028", "e\n1e5", "\x7f", "\U0001f600"])
    if kind in {4, 5}:
        return source.uniform(-1, 1) * 10.0 ** source.randint(-20, 20)
    if kind == 6:
        return [strange_value(source, levels - 1) for _ in range(source.randint(0, 4))]
    names = ["", "a b", "$", "title", 'q"', "\\", "é"]
    return {name: strange_value(source, levels - 1) for name in source.sample(names, source.randint(0, 4))}


def fill_hashes(client: redis.Redis, source: random.Random) -> None:
    for number in range(DOCUMENTS):
        key, fields = key_of(source, number), strange_hash(source)
        if source.random() < 0.1:
            client.set(b"p:string%d" % number, "no document")
        client.hset(key, mapping=fields)  # type: ignore[arg-type]  # redis-py takes bytes
        if source.random() < 0.2:
            client.pexpireat(key, 4_102_444_800_000)
        if source.random() < 0.2:
            client.hpexpireat(key, 4_102_444_800_000 + number, source.choice(sorted(fields)))
        if source.random() < 0.05:
            client.hset(b"q:" + key[2:], mapping={"title": "in the way"})


def fill_json(client: redis.Redis, source: random.Random) -> None:
    execute: Any = client.execute_command
    for number in range(DOCUMENTS):
        key = key_of(source, number)
        document = {"a": strange_value(source), "title": source.choice(["shoe", strange_value(source)])}
        if source.random() < 0.1:
            document["name"] = strange_value(source)
        if source.random() < 0.1:
            del document["title"]
        document["z"] = strange_value(source)
        execute("JSON.SET", key, "$", json.dumps(source.choice([document] * 20 + [[1], 7, "text"])))
        if source.random() < 0.05 and execute("JSON.TYPE", key) == b"object":
            deepen(client, key, source.choice(["$.title", "$.z"]), source.choice([126, 127, 128, 400]))  # type: ignore[arg-type]


def everything(client: redis.Redis) -> dict[bytes, Any]:
    """What every key of the application holds, and when that expires."""
    found: dict[bytes, Any] = {}
    execute: Any = client.execute_command
    for key in client.scan_iter(count=10_000):
        if key.startswith(b"{redismigrate"):
            continue
        kind = client.type(key)
        if kind == b"hash":
            fields = client.hgetall(key)
            names = sorted(fields)
            found[key] = fields, execute("HPEXPIRETIME", key, "FIELDS", len(names), *names)
        else:
            found[key] = client.get(key) if kind == b"string" else execute("JSON.GET", key)
        found[key] = found[key], client.pexpiretime(key)
    return found


def index_of(shop: Shop, storage_type: str) -> None:
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    fields: list[dict[str, Any]] = [{"name": "title", "type": "text"}]
    if storage_type == "hash":
        fields.append({"name": "embedding", "type": "vector", "attrs": attributes})
    index = {"name": "products", "prefix": "p:", "storage_type": storage_type}
    shop.write(f"op.create_index({ {'index': index, 'fields': fields}!r})", "op.drop_index('products')")
    applied(shop, "--max-failures", "100000")


def there_and_back(shop: Shop, change: str, fill: Callable[..., None], storage_type: str, seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - the same ones every time
    fill(shop.client, source)
    before = everything(shop.client)
    index_of(shop, storage_type)
    shop.write(CHANGE + change)
    options = ("upgrade", "--exclusive", "--max-failures", "100000", "--batch-size", "7", "--json")

    if seed % 2:
        with shop.process(*options) as process:
            time.sleep(source.uniform(0.3, 1.5))
            process.kill()
    done = shop.run(*options)

    assert done.code == 0, done.err
    counts = done.json["documents"]
    assert counts["rewritten"] + counts["failed_count"] > 0 or done.json["result"] == "nothing"
    for document in counts["failed"]:
        assert document["reason"]
        assert "Error" not in document["reason"], document
    # It may have been over before it was killed.
    run = done.json["run"] or shop.run("backup", "list", "--json").json["backups"][-1]["run"]
    undone = shop.run("rollback", "--run", run, "--json")
    assert undone.code == 0, undone.err
    after = everything(shop.client)
    assert sorted(after) == sorted(before)
    assert [key for key in before if after[key] != before[key]] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("change", CHANGES)
def test_strange_hashes_come_back_byte_for_byte(shop: Shop, change: str, seed: int):
    there_and_back(shop, CHANGES[change], fill_hashes, "hash", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("change", ["rename", "move"])
def test_strange_json_comes_back_byte_for_byte(shop: Shop, change: str, seed: int):
    there_and_back(shop, CHANGES[change], fill_json, "json", seed)
