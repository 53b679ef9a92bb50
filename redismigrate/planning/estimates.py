"""What building an index costs, from a sample of the documents and the live index where there are any.

All constants are measured on Redis 7.4.1 with Search 2.10.5 and on one machine of two cores, the reference
machine, with 5,000 to 40,000 documents; what a sample of the user's documents is read slower or faster than
there (`DocumentSample.slowness`) scales all seconds. Index builds, one thread of the server:

| index of 20,000 hashes | seconds for one |
|---|---|
| one NUMERIC | 7 us |
| FLAT, 128, 384, 768 FLOAT32 | 8, 8, 9 us |
| FLAT, 384 FLOAT16 | 8 us |
| FLAT, 384 FLOAT32 on JSON | 17 us |
| HNSW, 128, 384, 768 FLOAT32, random | 232, 465, 805 us |
| HNSW, 384 FLOAT32 of sentences, 6,000 of them | 208 us |
| HNSW, 384 FLOAT16 and FLOAT64, random | 428, 779 us |
| HNSW, 384 FLOAT32, M 32 | 703 us |
| HNSW, 384 FLOAT32, EF_CONSTRUCTION 100 | 348 us |
| TEXT of 44, 1,406, 10,573 bytes, common words | 10, 114, 740 us |
| TEXT of 2,232 bytes, rare words | 402 us |
| 100 documents among 300,000 other keys | 0.5 s for all |
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT
from redismigrate.planning.document_sample import DocumentSample, bytes_of, share_of
from redismigrate.planning.index_memory import (
    HNSW_DEFAULT_M,
    USUAL_TAG_BYTES,
    USUAL_TEXT_BYTES,
    garbage_bytes,
    index_bytes,
)
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.step_life import BESIDE, Strategy
from redismigrate.schema import IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.vector_field import Datatype

# Building: the scan looks at every key of the server.
BUILD_SECONDS_PER_KEY = 1.6e-6
BUILD_SECONDS_PER_DOCUMENT = 3.6e-6
BUILD_SECONDS_PER_FIELD = 2e-6
BUILD_SECONDS_PER_TEXT_BYTE = 90e-9
BUILD_SECONDS_PER_TAG_BYTE = 60e-9
FLAT_SECONDS_PER_BYTE = 0.5e-9
JSON_SECONDS_PER_COMPONENT = 23e-9
# Random vectors take up to twice as long as embeddings; this lies between them.
HNSW_SECONDS_PER_VECTOR = 80e-6
HNSW_SECONDS_PER_COMPONENT: dict[Datatype, float] = {
    "FLOAT64": 1.2e-6,
    "FLOAT32": 0.65e-6,
    "FLOAT16": 0.6e-6,
    "BFLOAT16": 0.6e-6,
    "INT8": 0.4e-6,
    "UINT8": 0.4e-6,
}
HNSW_DEFAULT_EF_CONSTRUCTION, HNSW_MEASURED_VECTORS = 200, 20_000


def build_estimate(
    before: IndexDefinition | None,
    after: IndexDefinition,
    inventory: Inventory,
    strategy: Strategy | None = None,
) -> Estimate:
    """The cost of building `after`, by altering or replacing `before` or anew.

    Args:
        before: The index as it is, if it is.
        after: The index as it is wanted.
        inventory: The server.
        strategy: How; during a `rebuild` searches miss documents, and a `shadow` is there beside the old one.
    """
    documents = documents_of(before or after, inventory)
    sample = inventory.samples.get((before or after).served)
    keys = max(inventory.total_keys, documents)
    seconds = keys * BUILD_SECONDS_PER_KEY + documents * _build_seconds(after.schema, documents, sample)
    seconds *= slowness_of(sample)
    peak_bytes, kept_bytes = _memory(before, after, documents, inventory, strategy)
    return Estimate(
        documents=documents,
        memory_bytes=peak_bytes,
        kept_memory_bytes=kept_bytes,
        seconds=round(seconds, 2),
        search_downtime_seconds=round(seconds, 2) if strategy == "rebuild" else 0.0,
    )


def memory_of(steps: Iterable[Step]) -> int:
    """Bytes that steps add to the server's memory until something is dropped of what they replace."""
    return sum(step.estimate.memory_bytes for step in steps if not step.after_record)


def documents_of(definition: IndexDefinition, inventory: Inventory) -> int:
    """About how many documents an index has, or will have."""
    live = inventory.live.get(definition.physical)
    if live is not None:
        return live.statistics.num_docs
    return inventory.matching_keys.get(definition.served, 0)


def slowness_of(sample: DocumentSample | None) -> float:
    """How many times longer than on the reference machine things take; 1 without a sample."""
    return sample.slowness if sample is not None else 1.0


def _build_seconds(schema: IndexSchema, documents: int, sample: DocumentSample | None) -> float:
    """Of one document, without the scan that finds it."""
    seconds = BUILD_SECONDS_PER_DOCUMENT
    for field in schema.fields:
        path = field.path_in(schema.storage_type)
        if isinstance(field, VectorField):
            share = share_of(sample, path)
            vector_seconds = _vector_seconds(field, round(documents * share))
            if schema.storage_type == "json":
                vector_seconds += JSON_SECONDS_PER_COMPONENT * field.dims
            seconds += share * vector_seconds
        elif isinstance(field, TextField):
            seconds += BUILD_SECONDS_PER_FIELD
            seconds += BUILD_SECONDS_PER_TEXT_BYTE * bytes_of(sample, path, USUAL_TEXT_BYTES)
        elif isinstance(field, TagField):
            seconds += BUILD_SECONDS_PER_FIELD
            seconds += BUILD_SECONDS_PER_TAG_BYTE * bytes_of(sample, path, USUAL_TAG_BYTES)
        else:
            seconds += BUILD_SECONDS_PER_FIELD
    return seconds


def _vector_seconds(field: VectorField, documents: int) -> float:
    if field.algorithm == "FLAT":
        return FLAT_SECONDS_PER_BYTE * field.dims * BYTES_PER_COMPONENT[field.datatype]
    # A search for the neighbours of every vector: as wide as EF_CONSTRUCTION, deeper the more there are.
    width = (1 + (field.ef_construction or HNSW_DEFAULT_EF_CONSTRUCTION) / HNSW_DEFAULT_EF_CONSTRUCTION) / 2
    edges = (1 + (field.m or HNSW_DEFAULT_M) / HNSW_DEFAULT_M) / 2
    depth = math.log2(max(documents, 2)) / math.log2(HNSW_MEASURED_VECTORS)
    seconds = HNSW_SECONDS_PER_VECTOR + HNSW_SECONDS_PER_COMPONENT[field.datatype] * field.dims
    return seconds * width * edges * depth


def _memory(
    before: IndexDefinition | None,
    after: IndexDefinition,
    documents: int,
    inventory: Inventory,
    strategy: Strategy | None,
) -> tuple[int, int]:
    """Bytes that a build takes while it goes on, and those of them that stay; below 0: less than before."""
    sample = inventory.samples.get((before or after).served)
    if before is None:
        size_bytes = index_bytes(after.schema, documents, sample)
        return size_bytes, size_bytes
    live = inventory.live.get(before.physical)
    new_bytes = index_bytes(after.schema, documents, sample, live)
    if strategy in BESIDE:
        return new_bytes, new_bytes
    more_bytes = new_bytes - index_bytes(before.schema, documents, sample, live)
    if strategy == "rebuild":
        return max(0, more_bytes), more_bytes
    garbage = garbage_bytes(before.schema, documents, sample, live)
    return max(0, more_bytes) + garbage, more_bytes
