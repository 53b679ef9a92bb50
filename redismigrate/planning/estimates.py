"""What building an index costs, from a sample of the documents and the live index where there are any.

All constants are measured on Redis 7.4.1 with Search 2.10.5 and on one machine of two cores, the reference
machine, with 5,000 to 40,000 documents; what a sample of the user's documents is read slower or faster than
there (`DocumentSample.slowness`) scales all seconds. Index builds, one thread of the server:

| index of 20,000 hashes | seconds for one | bytes for one |
|---|---|---|
| one NUMERIC | 7 us | 149 |
| FLAT, 128, 384, 768 FLOAT32 | 8, 8, 9 us | 848, 2,028, 3,863 |
| FLAT, 384 FLOAT16 | 8 us | 1,110 |
| FLAT, 384 FLOAT32 on JSON | 17 us | 2,034 |
| HNSW, 128, 384, 768 FLOAT32, random | 232, 465, 805 us | 1,188, 2,368, 4,202 |
| HNSW, 384 FLOAT32 of sentences, 6,000 of them | 208 us | 2,388 |
| HNSW, 384 FLOAT16 and FLOAT64, random | 428, 779 us | 1,448, 4,201 |
| HNSW, 384 FLOAT32, M 32 | 703 us | 2,539 |
| HNSW, 384 FLOAT32, EF_CONSTRUCTION 100 | 348 us | 2,368 |
| TEXT of 44, 1,406, 10,573 bytes, common words | 10, 114, 740 us | 381, 2,238, 13,004 |
| TEXT of 2,232 bytes, rare words | 402 us | 12,259 |
| 100 documents among 300,000 other keys | 0.5 s for all | |
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT
from redismigrate.planning.document_sample import DocumentSample, bytes_of, share_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.step_life import BESIDE, Strategy
from redismigrate.schema import IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.vector_field import DEFAULT_BLOCK_SIZE, Datatype

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
HNSW_DEFAULT_M, HNSW_DEFAULT_EF_CONSTRUCTION, HNSW_MEASURED_VECTORS = 16, 200, 20_000

INDEX_BYTES_PER_DOCUMENT = 140
INDEX_BYTES_PER_VECTOR = 70
INDEX_BYTES_PER_FIELD = 11
# A word that occurs again in a document takes little: from 0.8 for each byte of a long text in everyday words
# to 5.5 where texts are short or words rare.
INDEX_BYTES_PER_TEXT_BYTE, INDEX_BYTES_PER_FURTHER_TEXT_BYTE, SHORT_TEXT_BYTES = 2.5, 1.6, 200
INDEX_BYTES_PER_TAG_BYTE = 1.0
INDEX_BYTES_PER_SORTABLE = 85
SHARE_WITHOUT_OFFSETS = 0.55
SHARE_WITH_SUFFIX_TRIE = 1.5
SMALLEST_SPACING = 16  # of the allocator's size classes
GRAPH_BYTES_PER_VECTOR, GRAPH_BYTES_PER_M = 170, 10.7
# FT.INFO leaves out what the allocator rounds up.
USED_BYTES_PER_TOLD_BYTE = 1.3

# Where no sample tells.
USUAL_TEXT_BYTES = 200.0
USUAL_TAG_BYTES = 30.0


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
    return Estimate(
        documents=documents,
        memory_bytes=_added_index_bytes(before, after, documents, inventory, keeps_old=strategy in BESIDE),
        seconds=round(seconds, 2),
        search_downtime_seconds=round(seconds, 2) if strategy == "rebuild" else 0.0,
    )


def memory_of(steps: Iterable[Step]) -> int:
    """Bytes that steps add to the server's memory."""
    return sum(step.estimate.memory_bytes for step in steps)


def documents_of(definition: IndexDefinition, inventory: Inventory) -> int:
    """About how many documents an index has, or will have."""
    live = inventory.live.get(definition.physical)
    if live is not None:
        return live.statistics.num_docs
    return inventory.matching_keys.get(definition.served, 0)


def slowness_of(sample: DocumentSample | None) -> float:
    """How many times longer than on the reference machine things take; 1 without a sample."""
    return sample.slowness if sample is not None else 1.0


def allocated_bytes(size_bytes: int) -> int:
    """What an allocation takes: jemalloc has four size classes for every power of two.

    Args:
        size_bytes: What is asked for.
    """
    if size_bytes <= SMALLEST_SPACING * 8:
        return -(-size_bytes // SMALLEST_SPACING) * SMALLEST_SPACING
    spacing = 1 << ((size_bytes - 1).bit_length() - 3)
    return -(-size_bytes // spacing) * spacing


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


def _added_index_bytes(
    before: IndexDefinition | None,
    after: IndexDefinition,
    documents: int,
    inventory: Inventory,
    *,
    keeps_old: bool,
) -> int:
    """What the new index takes: more than the old one, unless that is kept beside it."""
    sample = inventory.samples.get((before or after).served)
    vectors, others = _vector_bytes(after.schema, documents, sample), _other_bytes(after.schema, sample)
    if before is None:
        return round(vectors + documents * others)
    old_vectors = _vector_bytes(before.schema, documents, sample)
    old_others = _other_bytes(before.schema, sample)
    told = documents * old_others
    live = inventory.live.get(before.physical)
    if live is not None:
        # Text takes 1 to 5 times its length, by its words: the live index knows.
        told = max(told / 4, USED_BYTES_PER_TOLD_BYTE * live.statistics.size_bytes - old_vectors)
    new_bytes = vectors + told * (others / old_others)
    return round(new_bytes) if keeps_old else max(0, round(new_bytes - old_vectors - told))


def _vector_bytes(schema: IndexSchema, documents: int, sample: DocumentSample | None) -> float:
    """Of all documents: vectors stand in blocks, of which the first vector allocates a whole one."""
    total = 0.0
    for field in schema.fields:
        if isinstance(field, VectorField):
            vectors = round(documents * share_of(sample, field.path_in(schema.storage_type)))
            block_size = field.block_size or DEFAULT_BLOCK_SIZE
            size_bytes = field.dims * BYTES_PER_COMPONENT[field.datatype]
            # A block is a little more than its vectors: 1,024 of 384 FLOAT32 don't fit 1.5 MB.
            total += -(-vectors // block_size) * allocated_bytes(block_size * size_bytes + 1)
            total += vectors * INDEX_BYTES_PER_VECTOR
            if field.algorithm != "FLAT":
                total += vectors * (GRAPH_BYTES_PER_VECTOR + GRAPH_BYTES_PER_M * (field.m or HNSW_DEFAULT_M))
    return total


def _other_bytes(schema: IndexSchema, sample: DocumentSample | None) -> float:
    """Of one document, without its vectors."""
    total: float = INDEX_BYTES_PER_DOCUMENT
    for field in schema.fields:
        if isinstance(field, VectorField):
            continue
        path = field.path_in(schema.storage_type)
        value_bytes = 0.0
        total += INDEX_BYTES_PER_FIELD
        if isinstance(field, TextField):
            value_bytes = bytes_of(sample, path, USUAL_TEXT_BYTES)
            share = SHARE_WITHOUT_OFFSETS if schema.no_offsets else 1.0
            share *= SHARE_WITH_SUFFIX_TRIE if field.withsuffixtrie else 1.0
            total += _text_bytes(value_bytes) * share
        elif isinstance(field, TagField):
            value_bytes = bytes_of(sample, path, USUAL_TAG_BYTES)
            total += INDEX_BYTES_PER_TAG_BYTE * value_bytes
        if field.sortable:
            total += INDEX_BYTES_PER_SORTABLE + value_bytes
    return total


def _text_bytes(value_bytes: float) -> float:
    short = min(value_bytes, SHORT_TEXT_BYTES)
    return INDEX_BYTES_PER_TEXT_BYTE * short + INDEX_BYTES_PER_FURTHER_TEXT_BYTE * (value_bytes - short)
