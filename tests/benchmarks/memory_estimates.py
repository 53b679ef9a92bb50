"""Compares what plans tell of memory with what indexes then take; run by hand.

`python tests/benchmarks/memory_estimates.py` prints the table of docs/benchmarks.md. It starts a server of
its own, and makes one index after the other there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measured_memory import (
    Measured,
    load,
    measure_altering,
    measure_beside,
    measure_creation,
    schema_of,
    text_field,
    texts,
    vector_field,
    vectors,
)

from redismigrate.operations.changes import AddField, AlterField
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema import NumericField

VECTORS, DIMS = 20_000, 384
DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2"}
NUMBER = NumericField(name="number")
TEXTS = ((20_000, 20), (5_000, 200), (2_000, 2_000), (400, 10_000))


def main() -> None:
    """Measure and print."""
    print("| index | told, MB | taken, MB | told / taken |\n| --- | ---: | ---: | ---: |")
    with connect("embedded://") as server:
        for what, measured in _measure(server):
            told, taken = measured.summary.peak_memory_bytes / 1e6, measured.used_bytes / 1e6
            print(f"| {what} | {told:.1f} | {taken:.1f} | {measured.ratio:.2f} |", flush=True)


def _measure(server: Server) -> Iterator[tuple[str, Measured]]:
    for algorithm in ("FLAT", "HNSW"):
        for datatype, dtype in DTYPES.items():
            load(server, vectors(DIMS, dtype), VECTORS)
            schema = schema_of(vector_field(algorithm, DIMS, datatype))
            yield f"{algorithm}, {VECTORS:,} x {DIMS} {datatype}", measure_creation(server, schema, VECTORS)
    load(server, vectors(DIMS, "<f4"), VECTORS)
    schema = schema_of(vector_field("FLAT", DIMS, "FLOAT32"))
    measure_creation(server, schema, VECTORS)
    to_hnsw = AlterField("embedding", {"algorithm": "HNSW"})
    yield f"HNSW beside FLAT, {VECTORS:,} x {DIMS}", measure_beside(server, schema, VECTORS, to_hnsw)
    for count, words in TEXTS:
        for storage_type in ("hash", "json"):
            load(server, texts(words), count, storage_type)
            schema = schema_of(text_field(storage_type), storage_type=storage_type)
            what = f"TEXT, {count:,} texts of {words:,} words, {storage_type}"
            yield what, measure_creation(server, schema, count)
        load(server, texts(words), count)
        schema = schema_of(text_field())
        measure_creation(server, schema, count)
        altered = measure_altering(server, schema, count, ("number", "NUMERIC"), AddField(NUMBER))
        yield f"a NUMERIC added to {count:,} texts of {words:,} words", altered
        changed = AlterField("text", {"weight": 2.0})
        beside = measure_beside(server, schema_of(text_field(), NUMBER), count, changed)
        yield f"TEXT beside TEXT, {count:,} texts of {words:,} words", beside


if __name__ == "__main__":
    main()
