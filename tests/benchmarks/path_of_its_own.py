"""Measures what `path=` saves: vectors re-encoded under HNSW into a field of their own, and into the old one.

    python tests/benchmarks/path_of_its_own.py

Each row begins with a server of its own and an HNSW index: `s` is what `redismigrate upgrade head` took,
search up, `server s` what the server has worked meanwhile, `writes` how often a document was written. The
rows take turns, so that ratios count whatever else the machine does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from folding import CREATE, fill, server_seconds, write

from redismigrate import commands
from redismigrate.commands import Project
from redismigrate.execution.progress import Watcher
from redismigrate.planning.plan import Step
from redismigrate.redis_server.embedded import EmbeddedServer

CHANGES = {
    "into a field of its own, `path=`": 'index.alter_field("embedding", datatype="float16", path="short")',
    "into the old field": 'index.alter_field("embedding", datatype="float16")',
}


@dataclass(frozen=True)
class Upgrade:
    """What one upgrade took.

    Attributes:
        builds: How many indexes it has built.
        writes: How often it has written a document, on average.
        seconds: By the clock.
        server_seconds: Of the server's processors.
    """

    builds: int
    writes: float
    seconds: float
    server_seconds: float


class _Builds(Watcher):
    count = 0

    def step_started(self, step: Step) -> None:
        """Count how often an index is waited for."""
        self.count += step.kind == "wait_for_index"


def measured(change: str, documents: int, dims: int) -> Upgrade:
    """Apply a change on a server of its own."""
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        os.chdir(folder)
        commands.init(Path("migrations"), url=server.url)
        write(folder, "000000000001", None, CREATE.format(dims=dims))
        write(
            folder, "000000000002", "000000000001", f'with op.index("products") as index:\n        {change}'
        )
        project = Project.load(folder / "redismigrate.toml")
        fill(server.url, documents, dims)
        commands.upgrade(project, "000000000001")
        watcher = _Builds()
        writes_before, before, started = _writes(server.url), server_seconds(server.url), time.perf_counter()
        commands.upgrade(project, watcher=watcher)
        seconds = time.perf_counter() - started
        spent, writes = server_seconds(server.url) - before, _writes(server.url) - writes_before
        os.chdir("/")
    return Upgrade(watcher.count, writes / documents, seconds, spent)


def _writes(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        told = client.info("commandstats")
    return sum(told.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("hset", "hdel"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--repeat", type=int, default=2)
    given = parser.parse_args()
    print("| upgrade | builds | writes | s | server s |")
    print("|---|---|---|---|---|")
    for _ in range(given.repeat):
        for what, change in CHANGES.items():
            found = measured(change, given.documents, given.dims)
            print(
                f"| {what} | {found.builds} | {found.writes:.1f} | {found.seconds:.1f} | "
                f"{found.server_seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
