"""What building an index costs, from the live index's own figures where there is one.

The rates are for one core of a current server and 768 dimensions, measured on Redis 7.4.1 (100,000 documents:
FLAT 3.5 s, HNSW 72.5 s; 20,000 documents: FLAT 61 MB, HNSW 67 MB); they say the order of magnitude.
"""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Estimate, Step, Strategy
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import IndexDefinition

MEASURED_DIMENSIONS = 768
SECONDS_PER_DOCUMENT = 15e-6
SECONDS_PER_VECTOR = {"FLAT": 20e-6, "HNSW": 710e-6, "SVS-VAMANA": 710e-6}
MEMORY_PER_DOCUMENT = 200
GRAPH_LINK_BYTES = 8
BYTES_PER_DIMENSION = {"FLOAT64": 8, "FLOAT32": 4, "FLOAT16": 2, "BFLOAT16": 2, "INT8": 1, "UINT8": 1}


def build_estimate(
    before: IndexDefinition | None,
    after: IndexDefinition,
    inventory: Inventory,
    strategy: Strategy | None = None,
) -> Estimate:
    """The cost of building `after`, by altering or replacing `before` or anew."""
    live = inventory.live.get(before.physical) if before is not None else None
    documents = live.statistics.num_docs if live is not None else inventory.matching_keys.get(after.served, 0)
    memory = documents * _memory_per_document(after.schema)
    old_memory = 0 if before is None else documents * _memory_per_document(before.schema)
    seconds = documents * _seconds_per_document(after.schema)
    return Estimate(
        documents=documents,
        memory_bytes=max(0, memory - old_memory),
        seconds=round(seconds, 2),
        search_downtime_seconds=round(seconds, 2) if strategy == "rebuild" else 0.0,
    )


def memory_of(steps: Iterable[Step]) -> int:
    """Bytes that steps add to the server's memory."""
    return sum(step.estimate.memory_bytes for step in steps)


def _memory_per_document(schema: IndexSchema) -> int:
    total = MEMORY_PER_DOCUMENT
    for field in schema.fields:
        if isinstance(field, VectorField):
            total += field.dims * BYTES_PER_DIMENSION[field.datatype]
            if field.algorithm != "FLAT":
                total += GRAPH_LINK_BYTES * 2 * (field.m or 16)
    return total


def _seconds_per_document(schema: IndexSchema) -> float:
    total = SECONDS_PER_DOCUMENT
    for field in schema.fields:
        if isinstance(field, VectorField):
            total += SECONDS_PER_VECTOR[field.algorithm] * field.dims / MEASURED_DIMENSIONS
    return total
