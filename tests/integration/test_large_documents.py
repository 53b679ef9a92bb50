"""Documents of a megabyte and vectors of many kilobytes: batches of them are limited in bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from conftest import ENTRY_POINT
from vector_documents import CHANGE

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.execution.documents.in_place.job import BATCH_BYTES, RewriteJob
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.reading import REPLY_BYTES, read_json
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema import IndexSchema
from redismigrate.state.fence import Fence

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MEGABYTE = 1_000_000
DOCUMENTS = 100
ARTICLES = """
op.create_index({
    "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
    "fields": [{"name": "title", "type": "tag", "path": "$.title"}],
})
"""
# The interpreter with all that a migration imports takes about 80 MB of it.
MOST_BYTES = 150_000_000


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        yield server


def add_texts(client: redis.Redis, sizes: Sequence[int]) -> dict[bytes, bytes]:
    """JSON documents `p:0` and on with strings of these sizes, by their keys."""
    texts = {}
    for number, size in enumerate(sizes):
        texts[b"p:%d" % number] = json.dumps({"title": "t", "x": "a" * size}, separators=(",", ":")).encode()
    for key, text in texts.items():
        client.execute_command("JSON.SET", key, "$", text)
    return texts


@pytest.mark.parametrize("sizes", [[0] * 1200, [MEGABYTE] * 7, [10] * 600 + [3 * MEGABYTE] * 3 + [10]])
def test_texts_come_in_batches_of_few_bytes_whatever_their_lengths(
    client: redis.Redis, server: Server, sizes: list[int]
):
    texts = add_texts(client, sizes)
    keys = list(texts)

    batches = list(read_json(server, (keys[:400], [], keys[400:]), "$"))

    read = [pair for batch in batches for pair in zip(batch.keys, batch.columns["$"], strict=True)]
    assert sorted(read) == sorted(texts.items())
    for batch in batches:
        # The last one of a batch is the one that goes beyond the limit.
        assert sum(len(text or b"") for text in batch.columns["$"][:-1]) < REPLY_BYTES


def test_what_is_no_json_document_any_more_has_no_text(client: redis.Redis, server: Server):
    client.execute_command("JSON.SET", "p:0", "$", "1")
    client.hset("p:1", "title", "t")

    (batch,) = read_json(server, ([b"p:0", b"p:1", b"p:2"],), "$")

    assert batch.columns["$"] == [b"1", None, None]


def test_a_rename_in_documents_of_a_megabyte_and_its_undoing_need_little_memory(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from measured_process import run_measured

    def peak_bytes(*arguments: str) -> int:
        return run_measured([str(ENTRY_POINT), *arguments], shop.folder).peak_bytes

    texts = add_texts(shop.client, [MEGABYTE] * DOCUMENTS)
    shop.write(ARTICLES)
    assert shop.run("upgrade").code == 0
    shop.write(CHANGE + "index.rename_field('title', 'name')", CHANGE + "index.rename_field('name', 'title')")

    assert peak_bytes("upgrade", "--exclusive") < MOST_BYTES
    renamed = shop.client.execute_command("JSON.GET", "p:1", "$.name")
    assert renamed == b'["t"]'
    last_run = shop.state("last_run") or {}
    assert peak_bytes("rollback", "--run", last_run["run"]) < MOST_BYTES
    for key, text in texts.items():
        assert shop.client.execute_command("JSON.GET", key) == text


@pytest.mark.parametrize(
    ("dims", "batch_size", "documents"),
    [(128, 500, 500), (3072, 10_000, BATCH_BYTES // (3072 * 8)), (2_000_000, 500, 1)],
)
def test_a_batch_has_few_vectors_where_they_are_long(
    server: Server, dims: int, batch_size: int, documents: int
):
    schema = IndexSchema(name="products", prefixes=("p:",))
    rewrite = Rewrite("hash", (Recoding("v", dims, "L2", "FLOAT32", "FLOAT64"),))
    job = RewriteJob(
        nodes=Node(server, Fence(b"fence", b"1")),
        physical="products",
        schema=schema,
        rewrite=rewrite,
        batch_size=batch_size,
        connections=1,
        is_exclusive=True,
        on_progress=lambda _: None,
    )
    assert job.documents_per_batch == documents
    pipeline = server.client.pipeline(transaction=False)
    for number in range(documents + 1):
        pipeline.hset(f"p:{number}", "title", "t")
    pipeline.execute()
    assert sorted(map(len, job.keys())) == [1, documents]
