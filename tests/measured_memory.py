"""Indexes whose memory is measured on a server, beside what a plan says of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import redis

from redismigrate.execution.indexes.survey import survey
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.chain import plan_chain
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.schema import IndexSchema, TextField, VectorField
from redismigrate.schema.create import create_arguments
from redismigrate.schema.definition import Catalog, IndexDefinition

if TYPE_CHECKING:
    from redismigrate.operations.changes import Change
    from redismigrate.planning.plan_summary import PlanSummary
    from redismigrate.redis_server.connection import Server
    from redismigrate.schema import Field

Documents = Callable[[int], Iterator[dict[str, str | bytes]]]
LETTERS = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
# As often as in a language: the second word half as often as the first.
VOCABULARY = 100_000
FREQUENCIES = np.cumsum(1 / (np.arange(VOCABULARY) + 2.7))
BATCH_SIZE = 500
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Measured:
    """One index: what its plan tells, and what it took.

    Attributes:
        summary: Of the plan.
        used_bytes: By how much the server's memory has grown at its highest.
        kept_bytes: By how much it has in the end.
    """

    summary: PlanSummary
    used_bytes: int
    kept_bytes: int

    @property
    def ratio(self) -> float:
        """Told by taken."""
        return self.summary.peak_memory_bytes / self.used_bytes


def vectors(dims: int, dtype: str) -> Documents:
    """Documents that have one vector each."""

    def documents(count: int) -> Iterator[dict[str, str | bytes]]:
        random = np.random.default_rng(1)
        for _ in range(count):
            yield {"embedding": random.standard_normal(dims, dtype=np.float32).astype(dtype).tobytes()}

    return documents


def texts(words: int) -> Documents:
    """Documents that have one text each, of words as in a language."""

    def documents(count: int) -> Iterator[dict[str, str | bytes]]:
        random = np.random.default_rng(1)
        names = vocabulary()
        for _ in range(count):
            ranks = np.searchsorted(FREQUENCIES, random.random(words) * FREQUENCIES[-1])
            yield {"text": " ".join([names[rank] for rank in ranks])}

    return documents


@cache
def vocabulary() -> list[str]:
    """Words of 3 to 9 letters."""
    random = np.random.default_rng(1)
    letters = random.choice(LETTERS, (VOCABULARY, 9))
    return [
        "".join(row[:length]) for row, length in zip(letters, random.integers(3, 10, VOCABULARY), strict=True)
    ]


def vector_field(algorithm: str, dims: int, datatype: str) -> VectorField:
    """A vector field as `vectors` fills it."""
    return VectorField.model_validate(
        {"name": "embedding", "algorithm": algorithm, "dims": dims, "datatype": datatype}
    )


def text_field(storage_type: str = "hash") -> TextField:
    """A text field as `texts` fills it."""
    return TextField(name="text", path="$.text" if storage_type == "json" else None)


def load(server: Server, documents: Documents, count: int, storage_type: str = "hash") -> None:
    """Write documents into an empty database."""
    server.client.flushall()
    pipeline = server.client.pipeline(transaction=False)
    for number, document in enumerate(documents(count)):
        if storage_type == "json":
            pipeline.execute_command("JSON.SET", f"doc:{number}", "$", json.dumps(document))
        else:
            pipeline.hset(f"doc:{number}", mapping=dict(document))
        if number % BATCH_SIZE == BATCH_SIZE - 1:
            pipeline.execute()
    pipeline.execute()


def schema_of(*fields: Field, storage_type: str = "hash") -> IndexSchema:
    """An index over such documents."""
    return IndexSchema.model_validate(
        {"name": "docs", "prefixes": ("doc:",), "fields": fields, "storage_type": storage_type}
    )


def measure_creation(server: Server, schema: IndexSchema, count: int) -> Measured:
    """Plan an index, make it, and see what it takes."""
    summary = _summary(server, Catalog(), CreateIndex(schema))
    before = used_memory(server)
    server.execute(*create_arguments(schema))
    _wait(server, schema.name, count)
    used = used_memory(server) - before
    return Measured(summary, used, used)


def measure_beside(server: Server, schema: IndexSchema, count: int, *changes: Change) -> Measured:
    """Plan another index in the place of one that is there, make it beside that, and see what it takes."""
    operation = ChangeIndex(schema.name, changes)
    catalog = Catalog({schema.name: IndexDefinition.plain(schema)})
    summary = _summary(server, catalog, operation)
    after = operation.apply(catalog)[schema.name].schema.renamed("beside")
    before = used_memory(server)
    server.execute(*create_arguments(after))
    _wait(server, "beside", count)
    used = used_memory(server) - before
    server.execute("FT.DROPINDEX", schema.name)
    return Measured(summary, used, used_memory(server) - before)


def measure_altering(
    server: Server, schema: IndexSchema, count: int, words: tuple[str, ...], *changes: Change
) -> Measured:
    """Plan fields that are added to an index, add them by `words`, and see what that takes."""
    catalog = Catalog({schema.name: IndexDefinition.plain(schema)})
    summary = _summary(server, catalog, ChangeIndex(schema.name, changes))
    before = used_memory(server)
    server.execute("FT.ALTER", schema.name, "SCHEMA", "ADD", *words)
    _wait(server, schema.name, count)
    used = used_memory(server) - before
    for command in ("FT.DEBUG", "_FT.DEBUG"):  # the one of Redis 7.4, and of Redis 8
        with suppress(redis.ResponseError):
            server.client.execute_command(command, "GC_FORCEINVOKE", schema.name)
    return Measured(summary, used, used_memory(server) - before)


def used_memory(server: Server) -> int:
    """What the server uses, once what was dropped is freed, which happens in the background."""
    found: list[int] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found) < 4 or any(abs(a - b) > 20_000 for a, b in pairwise(found[-4:])):
        assert time.monotonic() < deadline, "the memory of the server does not come to rest"
        time.sleep(0.03)
        found.append(int(server.client.info("memory")["used_memory"]))
    return found[-1]


def _summary(server: Server, catalog: Catalog, operation: CreateIndex | ChangeIndex) -> PlanSummary:
    recorded = [RecordedRevision("8f3a1c9b2d4e", "upgrade", "", (), (), "", (operation,))]
    inventory = survey(server, "shop", catalog, recorded)
    plan = plan_chain(recorded, catalog, inventory, PlanOptions(), direction="upgrade", target="head")
    assert plan.summary is not None
    return plan.summary


def _wait(server: Server, name: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS * 10
    while True:
        info = server.execute("FT.INFO", name)
        told = dict(zip(info[::2], info[1::2], strict=True))
        if int(told[b"indexing"]) == 0 and int(told[b"num_docs"]) == count:
            return
        assert time.monotonic() < deadline, f"index {name} is not built"
        time.sleep(0.02)
