"""Measures what `--fold` saves: five changes of an HNSW index one by one, and as one build; run by hand.

    python tests/benchmarks/folding.py

Each row begins with a server of its own, 20,000 hashes with vectors of 384 dimensions, and an index: `s` is
what `redismigrate upgrade head` took, search up, and `server s` what the server has worked meanwhile. One
run, beside other programs (load 20), so that ratios count:

    upgrade                              builds       s   server s
    five changes, --fold                      1   157.5       30.0
    five changes, one by one                  5   828.4      141.1
    the first change alone                    1   206.6       29.8
    five changes, --fold, once more           1   135.4       32.4
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis

from redismigrate import commands
from redismigrate.commands import MigrationOptions, Project
from redismigrate.execution.progress import Watcher
from redismigrate.planning.plan import Step
from redismigrate.redis_server.embedded import EmbeddedServer

CREATE = """op.create_index({{
        "index": {{"name": "products", "prefix": "p:"}},
        "fields": [
            {{"name": "title", "type": "text"}},
            {{"name": "brand", "type": "tag"}},
            {{
                "name": "embedding",
                "type": "vector",
                "attrs": {{"algorithm": "hnsw", "dims": {dims}, "distance_metric": "cosine"}},
            }},
        ],
    }})"""
CHANGES = (
    'index.alter_field("embedding", m=24)',
    'index.alter_field("brand", separator="|")',
    'index.set_options(language="german")',
    'index.alter_field("title", weight=2.0)',
    'index.alter_field("embedding", ef_construction=250)',
)
SCRIPT = """from redismigrate import Operations

revision = "{revision}"
down_revision = {down_revision!r}


def upgrade(op: Operations) -> None:
    {upgrade}


def downgrade(op: Operations) -> None:
    pass
"""


@dataclass(frozen=True)
class Measured:
    """What one upgrade took.

    Attributes:
        what: It did.
        builds: How many indexes it has built.
        seconds: By the clock.
        server_seconds: Of the server's processors.
    """

    what: str
    builds: int
    seconds: float
    server_seconds: float

    @property
    def row(self) -> str:
        """A row of the table."""
        return f"| {self.what} | {self.builds} | {self.seconds:.1f} | {self.server_seconds:.1f} |"


class Builds(Watcher):
    """Counts how often a run waits until an index is built."""

    count = 0

    def step_started(self, step: Step) -> None:
        """Count it."""
        self.count += step.kind == "wait_for_index"


def measured(what: str, documents: int, dims: int, changes: int, options: MigrationOptions) -> Measured:
    """Apply the first of the changes on a server of their own."""
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        os.chdir(folder)
        commands.init(Path("migrations"), url=server.url)
        write(folder, "000000000001", None, CREATE.format(dims=dims))
        for number, change in enumerate(CHANGES[:changes], 2):
            block = f'with op.index("products") as index:\n        {change}'
            write(folder, f"{number:012}", f"{number - 1:012}", block)
        project = Project.load(folder / "redismigrate.toml")
        fill(server.url, documents, dims)
        commands.upgrade(project, "000000000001")
        watcher = Builds()
        before, started = server_seconds(server.url), time.perf_counter()
        commands.upgrade(project, options=options, watcher=watcher)
        seconds = time.perf_counter() - started
        spent = server_seconds(server.url) - before
        os.chdir("/")
    return Measured(what, watcher.count, seconds, spent)


def server_seconds(url: str) -> float:
    """What the server's processors have worked so far."""
    with redis.Redis.from_url(url) as client:
        told = client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def write(folder: Path, revision: str, down_revision: str | None, upgrade: str) -> None:
    """Write a script."""
    text = SCRIPT.format(revision=revision, down_revision=down_revision, upgrade=upgrade)
    (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)


def fill(url: str, documents: int, dims: int) -> None:
    """Write the documents."""
    generator = np.random.default_rng(1)
    with redis.Redis.from_url(url) as client:
        for start in range(0, documents, 1000):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(documents, start + 1000)):
                vector = generator.standard_normal(dims).astype(np.float32).tobytes()
                product = {"title": f"shoe {number}", "brand": "nike", "embedding": vector}
                pipeline.hset(f"p:{number}", mapping=product)
            pipeline.execute()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--dims", type=int, default=384)
    given = parser.parse_args()
    print("| upgrade | builds | s | server s |\n| --- | ---: | ---: | ---: |")
    fold = MigrationOptions(fold=True)
    for what, changes, options in (
        ("five changes, `--fold`", len(CHANGES), fold),
        ("five changes, one by one", len(CHANGES), MigrationOptions()),
        ("the first change alone", 1, MigrationOptions()),
        ("five changes, `--fold`, once more", len(CHANGES), fold),
    ):
        print(measured(what, given.documents, given.dims, changes, options).row, flush=True)


if __name__ == "__main__":
    main()
