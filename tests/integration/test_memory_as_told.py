"""What plans tell of memory is what the server then takes, within a factor of 1.5."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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

FACTOR = 1.5
DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2"}
NUMBER = NumericField(name="number")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that nobody else uses: what it takes is measured."""
    with connect("embedded://") as server:
        server.execute("FT.CREATE", "first", "SCHEMA", "name", "TEXT")  # takes what no later one does
        server.execute("FT.DROPINDEX", "first")
        yield server


def assert_near(told: int, real: int) -> None:
    assert real / FACTOR < told < real * FACTOR, f"told {told:,} bytes, and it was {real:,}"


def assert_as_told(measured: Measured) -> None:
    assert_near(measured.summary.peak_memory_bytes, measured.used_bytes)


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
@pytest.mark.parametrize(("count", "dims"), [(1_200, 256), pytest.param(20_000, 384, marks=pytest.mark.slow)])
def test_a_new_index_of_vectors(server: Server, algorithm: str, datatype: str, count: int, dims: int) -> None:
    load(server, vectors(dims, DTYPES[datatype]), count)
    assert_as_told(measure_creation(server, schema_of(vector_field(algorithm, dims, datatype)), count))


@pytest.mark.parametrize(
    ("storage_type", "count", "words"),
    [
        ("hash", 1_000, 20),
        ("hash", 20, 2_000),
        ("json", 20, 2_000),
        pytest.param("hash", 2_000, 2_000, marks=pytest.mark.slow),
        pytest.param("hash", 400, 10_000, marks=pytest.mark.slow),
        pytest.param("json", 2_000, 2_000, marks=pytest.mark.slow),
    ],
)
def test_a_new_index_of_texts(server: Server, storage_type: str, count: int, words: int) -> None:
    load(server, texts(words), count, storage_type)
    schema = schema_of(text_field(storage_type), storage_type=storage_type)
    assert_as_told(measure_creation(server, schema, count))


@pytest.mark.needs("search debugging")
@pytest.mark.parametrize(
    ("count", "words"), [(30, 1_000), pytest.param(2_000, 2_000, marks=pytest.mark.slow)]
)
def test_texts_that_an_index_has_already(server: Server, count: int, words: int) -> None:
    """The index that is there tells what they take, in an index beside it and where fields are added."""
    load(server, texts(words), count)
    schema = schema_of(text_field())
    created = measure_creation(server, schema, count)
    altered = measure_altering(server, schema, count, ("number", "NUMERIC"), AddField(NUMBER))
    # The old entries are garbage, some of which the server may have collected by then.
    assert altered.used_bytes < FACTOR * altered.summary.peak_memory_bytes
    schema = schema_of(text_field(), NUMBER)
    beside = measure_beside(server, schema, count, AlterField("text", {"no_stem": True, "weight": 2.0}))
    assert_as_told(beside)
    assert_near(beside.used_bytes, created.used_bytes)
    assert abs(beside.kept_bytes + beside.summary.memory_saved_bytes) < created.used_bytes / 2


@pytest.mark.parametrize(("count", "dims"), [(1_200, 256), pytest.param(20_000, 384, marks=pytest.mark.slow)])
def test_another_algorithm_for_vectors(server: Server, count: int, dims: int) -> None:
    load(server, vectors(dims, "<f4"), count)
    schema = schema_of(vector_field("FLAT", dims, "FLOAT32"))
    measure_creation(server, schema, count)
    measured = measure_beside(server, schema, count, AlterField("embedding", {"algorithm": "HNSW"}))
    assert_as_told(measured)
    assert_near(-measured.summary.memory_saved_bytes, measured.kept_bytes)
