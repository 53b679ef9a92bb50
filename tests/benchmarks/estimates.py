"""Compares what a plan tells with what it takes; run by hand: `python tests/benchmarks/estimates.py`.

Builds indexes over 20,000 hashes with a text, a tag and a vector of 384 dimensions; then backs the vectors
up and writes them as FLOAT16, through the document engine. Prints seconds and megabytes, estimated and real,
with their ratio.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.manifest import Manifest
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.reading import read_batches
from redismigrate.execution.indexes.live import batches_of_keys
from redismigrate.execution.indexes.survey import survey
from redismigrate.operations.changes import AlterField
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.document_estimates import backup_estimate, rewrite_estimate
from redismigrate.planning.estimates import build_estimate
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema import IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.create import create_arguments
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.fence import Fence

DOCUMENTS = 20_000
DIMS = 384
BATCH_SIZE = 500
WORDS = [f"word{number}" for number in range(20_000)]
TEXT = TextField(name="text")
TAG = TagField(name="tag")
FLAT = VectorField(name="embedding", algorithm="FLAT", dims=DIMS)
HNSW = VectorField(name="embedding", algorithm="HNSW", dims=DIMS)


def main() -> None:
    """Measure and print."""
    with connect("embedded://") as server:
        for words in (20, 500):
            _load(server, words)
            _build(server, f"TEXT of {words} words", TEXT)
        _load(server, 20)
        for vectors in (FLAT, HNSW):
            _build(server, f"{vectors.algorithm} with TEXT and TAG", vectors, TEXT, TAG)
        _rewrite(server)


def _load(server: Server, words: int) -> None:
    server.client.flushall()
    random = np.random.default_rng(1)
    # Words of a language are distributed like this; embeddings lie in clusters.
    ranks = np.minimum(random.zipf(1.3, (DOCUMENTS, words)), len(WORDS)) - 1
    centers = random.standard_normal((200, DIMS), dtype=np.float32)
    for start in range(0, DOCUMENTS, BATCH_SIZE):
        pipeline = server.client.pipeline(transaction=False)
        noise = random.standard_normal((BATCH_SIZE, DIMS), dtype=np.float32)
        for row, number in enumerate(range(start, start + BATCH_SIZE)):
            document: dict[Any, Any] = {
                "text": " ".join(WORDS[rank] for rank in ranks[number]),
                "tag": f"tag{number % 50}",
                "embedding": (centers[number % 200] + noise[row]).tobytes(),
            }
            pipeline.hset(f"doc:{number}", mapping=document)
        pipeline.execute()


def _build(server: Server, what: str, *fields: TextField | TagField | VectorField) -> None:
    definition = IndexDefinition.plain(IndexSchema(name="idx", prefixes=("doc:",), fields=fields))
    inventory = survey(server, "shop", Catalog(), [_revision(CreateIndex(definition.schema))])
    estimate = build_estimate(None, definition, inventory)
    used = _used_memory(server)
    started = time.perf_counter()
    server.execute(*create_arguments(definition.schema))
    _wait(server)
    seconds = time.perf_counter() - started
    _print(f"build {what}", "s", estimate.seconds, seconds)
    _print(f"build {what}", "MB", estimate.memory_bytes / 1e6, (_used_memory(server) - used) / 1e6)
    server.execute("FT.DROPINDEX", "idx")


def _rewrite(server: Server) -> None:
    before = IndexDefinition.plain(IndexSchema(name="idx", prefixes=("doc:",), fields=(FLAT,)))
    server.execute(*create_arguments(before.schema))
    _wait(server)
    change = ChangeIndex("idx", (AlterField("embedding", {"datatype": "FLOAT16"}),))
    rewrite = Rewrite("hash", (Recoding("embedding", DIMS, "COSINE", "FLOAT32", "FLOAT16"),))
    inventory = survey(server, "shop", Catalog({"idx": before}), [_revision(change)])
    server.execute("FT.DROPINDEX", "idx")
    _back_up(server, before, rewrite, inventory)
    server.client.set("fence", "1")
    for exclusive in (False, True):
        estimate = rewrite_estimate(before, rewrite, inventory, exclusive=exclusive)
        started = time.perf_counter()
        with Exchanger(Node(server, Fence(b"fence", b"1")), 3) as exchanger:
            list(exchanger.run(_exchanges(server, before), Mode(compares=not exclusive)))
        seconds = time.perf_counter() - started
        _print("write" if exclusive else "compare and write", "s", estimate.seconds, seconds)
        _load(server, 20)
        server.client.set("fence", "1")


def _back_up(server: Server, before: IndexDefinition, rewrite: Rewrite, inventory: Inventory) -> None:
    estimate = backup_estimate(before, rewrite, inventory)
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(
            project="shop",
            run="run",
            revision="8f3a1c9b2d4e",
            index="idx",
            phase="all",
            fields=("embedding",),
            schema_before={},
            options={},
        )
        started = time.perf_counter()
        with BackupWriter.create(Path(folder), manifest) as writer:
            for batch in read_batches(
                server, batches_of_keys(server, before.schema, BATCH_SIZE), ("embedding",)
            ):
                writer.submit(Chunk(batch))
            writer.finish()
        seconds = time.perf_counter() - started
        size_bytes = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    _print("read and back up", "s", estimate.seconds, seconds)
    _print("read and back up", "MB", estimate.backup_bytes / 1e6, size_bytes / 1e6)


def _exchanges(server: Server, before: IndexDefinition) -> list[Exchange]:
    """What to write, converted already: a conversion takes a third of the time of a write."""
    exchanges = []
    for batch in read_batches(server, batches_of_keys(server, before.schema, BATCH_SIZE), ("embedding",)):
        old = batch.columns["embedding"]
        new = [np.frombuffer(value or b"", np.float32).astype(np.float16).tobytes() for value in old]
        exchanges.append(Exchange(batch.keys, {b"embedding": old}, {b"embedding": list(new)}))
    return exchanges


def _revision(operation: ChangeIndex | CreateIndex) -> RecordedRevision:
    return RecordedRevision("8f3a1c9b2d4e", "upgrade", "", (), (), "", (operation,))


def _wait(server: Server) -> None:
    while True:
        info = server.execute("FT.INFO", "idx")
        told = dict(zip(info[::2], info[1::2], strict=True))
        if int(told[b"indexing"]) == 0 and int(told[b"num_docs"]) == DOCUMENTS:
            return
        time.sleep(0.02)


def _used_memory(server: Server) -> int:
    time.sleep(1)  # what was dropped is freed in the background
    return int(server.client.info("memory")["used_memory"])


def _print(what: str, unit: str, estimated: float, real: float) -> None:
    print(f"{what:32} {estimated:8.2f} {unit} estimated, {real:8.2f} real, ratio {estimated / real:.2f}")


if __name__ == "__main__":
    main()
