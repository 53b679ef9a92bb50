"""How many neighbours searches on a server find before and after a migration of their vectors; run by hand.

`python tests/benchmarks/recall_on_server.py vectors.npy` puts float32 vectors of shape (vectors, dimensions)
into an index on a private Redis, migrates it to each datatype and algorithm, and prints a table. For each
query, the ten nearest of all others were found among the originals by exact arithmetic: recall@10 is the
share of them that the server finds, before the migration and after it. Queries are converted as the
vectors are. `REDISMIGRATE_SERVER` names the server; what it lacks is left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from recall import NEIGHBOURS, nearest

from redismigrate import commands
from redismigrate.documents.vectors import VectorConversion, VectorEncoding
from redismigrate.errors import PlanBlocked
from redismigrate.redis_server.embedded import EmbeddedServer

METRICS = ("cosine", "ip", "l2")
COMPRESSIONS = ("LVQ4", "LVQ8", "LVQ4x8", "LeanVec4x8")
# The least that SVS-VAMANA takes; its default is ten times that, and fewer vectors are not compressed.
THRESHOLD = 1024
SCRIPT = """
from redismigrate import Operations
revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = ()
depends_on = ()

def upgrade(op: Operations) -> None:
{body}

def downgrade(op: Operations) -> None:
    op.irreversible("a benchmark")
"""


@dataclass(frozen=True)
class Case:
    """One migration.

    Attributes:
        before: The algorithm before, over float32.
        attributes: What `alter_field` is given.
        name: In the table.
    """

    before: str
    attributes: dict[str, Any]
    name: str


def cases() -> Iterator[Case]:
    """All migrations, those of one kind together."""
    for algorithm in ("flat", "hnsw"):
        for datatype in ("float16", "int8", "uint8"):
            yield Case(algorithm, {"datatype": datatype}, name=f"{algorithm.upper()}, {datatype.upper()}")
    # What there is afterwards does not depend on what was before.
    yield Case("hnsw", {"algorithm": "svs-vamana"}, name="HNSW to SVS-VAMANA, whole vectors")
    for compression in COMPRESSIONS:
        given = {"algorithm": "svs-vamana", "compression": compression, "training_threshold": THRESHOLD}
        yield Case("hnsw", given, name=f"HNSW to SVS-VAMANA, {compression}")
    # Fewer vectors than the threshold are not compressed yet.
    given = {"algorithm": "svs-vamana", "compression": "LVQ8", "training_threshold": 10 * THRESHOLD}
    yield Case("hnsw", given, name=f"HNSW to SVS-VAMANA, LVQ8, threshold {10 * THRESHOLD:,}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="an npy file of shape (vectors, dimensions)")
    parser.add_argument("--queries", type=int, default=500, help="how many of the vectors are queries (500)")
    parser.add_argument("--metrics", nargs="+", default=METRICS, choices=METRICS)
    parser.add_argument("--only", default="", help="only migrations with this in their name, as SVS")
    parser.add_argument("--strategy", default="auto", help="of the migration (auto)")
    given = parser.parse_args()
    vectors = np.load(given.file, allow_pickle=False).astype(np.float32)
    queries = min(given.queries, len(vectors))
    print(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions, {queries} queries\n")
    print(f"| migration | {' | '.join(metric.upper() for metric in given.metrics)} |")
    print(f"|---|{'---|' * len(given.metrics)}")
    for case in (case for case in cases() if given.only in case.name):
        cells = [measured(case, metric, vectors, queries, given.strategy) for metric in given.metrics]
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


def measured(case: Case, metric: str, vectors: NDArray[Any], queries: int, strategy: Any) -> str:
    """The cell of the table: recall before and after, or why there is none."""
    true = nearest(vectors, metric.upper(), queries)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer() as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        project = new_project(Path(folder), server.url)
        load(client, vectors)
        attrs = {"algorithm": case.before, "dims": vectors.shape[1], "distance_metric": metric}
        layout = {
            "index": {"name": "i", "prefix": "d:"},
            "fields": [{"name": "v", "type": "vector", "attrs": attrs}],
        }
        write(Path(folder), "000000000001", None, f"op.create_index({layout!r})")
        values = ", ".join(f"{name}={value!r}" for name, value in case.attributes.items())
        change = f"with op.index('i') as index:\n    index.alter_field('v', {values})"
        write(Path(folder), "000000000002", "000000000001", change)
        commands.upgrade(project, "000000000001")
        before = recall(client, [row.tobytes() for row in vectors[:queries]], true)
        try:
            commands.upgrade(project, "head", commands.MigrationOptions(strategy=strategy))
        except PlanBlocked as error:
            return "blocked" if "never negative" in str(error.message) else "not on this server"
        after = recall(client, converted(project, vectors[:queries]), true)
        return f"{before:.4f} → {after:.4f}"


def converted(project: commands.Project, vectors: NDArray[Any]) -> list[bytes]:
    """Queries as the index takes them, by what is recorded about it."""
    definition = commands.current(project).catalog["i"]
    (now,) = definition.schema.fields
    conversion = VectorConversion(
        VectorEncoding("FLOAT32", vectors.shape[1]),
        VectorEncoding(now.datatype, vectors.shape[1]),  # type: ignore[union-attr]
        target_quantization=definition.quantization.get("v"),
    )
    return [value or b"" for value in conversion.convert([row.tobytes() for row in vectors]).values]


def recall(client: redis.Redis, queries: list[bytes], true: NDArray[np.int64]) -> float:
    """The share of the true neighbours that searches find, the query itself left out."""
    found = 0
    for number, query in enumerate(queries):
        words = ("RETURN", "0", "LIMIT", "0", str(NEIGHBOURS + 1), "DIALECT", "2")
        knn = f"*=>[KNN {NEIGHBOURS + 1} @v $q AS d]"
        reply: Any = client.execute_command(  # type: ignore[no-untyped-call]
            "FT.SEARCH", "i", knn, "PARAMS", "2", "q", query, "SORTBY", "d", *words
        )
        keys = [int(key[2:]) for key in reply[1:] if isinstance(key, bytes)]
        others = [key for key in keys if key != number][:NEIGHBOURS]
        found += len(np.intersect1d(others, true[number]))
    return found / true.size


def load(client: redis.Redis, vectors: NDArray[Any]) -> None:
    """Write one hash for each vector."""
    pipeline = client.pipeline(transaction=False)
    for number, row in enumerate(vectors):
        pipeline.hset(f"d:{number}", "v", row.tobytes())
    pipeline.execute()


def new_project(folder: Path, url: str) -> commands.Project:
    """An empty project on a server."""
    (folder / "migrations" / "versions").mkdir(parents=True)
    (folder / "redismigrate.toml").write_text(
        f'project = "recall"\nscript_location = "migrations"\nurl = "{url}"\n'
        f'backup_dir = "{folder}/backups"\n'
    )
    return commands.Project.load(folder / "redismigrate.toml")


def write(folder: Path, revision: str, down_revision: str | None, body: str) -> None:
    """Write a migration script."""
    text = SCRIPT.format(revision=revision, down_revision=down_revision, body=textwrap.indent(body, "    "))
    (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
