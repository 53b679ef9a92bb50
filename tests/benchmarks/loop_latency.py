"""Measures how late an event loop is while `redismigrate.aio` migrates beside it; run by hand.

    python tests/benchmarks/loop_latency.py

A task asks every 5 milliseconds to be woken up, and notes how late it is: what a request of a web application
would wait before its own work begins. First beside nothing, as the measure of the machine, then beside a
thread that only counts, as that of Python, then beside changes of an index of 100,000 hashes with vectors of
384 dimensions, with a callback for progress, then beside nothing once more. Milliseconds, on 2 cores that
Redis shares:

    beside                                        s   times  median     p99   p99.9    most
    nothing                                    10.0   1,885     0.3     0.4     1.9     3.7
    a thread that counts                       10.0     946     5.5     7.0    10.6    10.8
    plan                                        0.1      10     0.6     4.2     4.3     4.3
    upgrade to float16, search up              19.4   3,331     0.2     6.3    40.7    53.1
    downgrade, from the backup                 27.7   4,761     0.2     6.4    43.1    54.1
    upgrade to float16, rebuild                 2.8     510     0.2     4.7     8.6    10.7
    nothing, once more                         10.0   1,902     0.2     0.4     2.5     4.6

The longest waits are Python's own collections of garbage, which look at all objects of the process. With
`gc.freeze()` before, in two runs with 25,000 documents, they were 29 to 73 ms instead of 147 to 255.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import redis

from redismigrate import aio, commands
from redismigrate.commands import MigrationOptions, Progress, Project
from redismigrate.redis_server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from redismigrate.planning.strategies import StrategyChoice

EVERY_SECONDS = 0.005
IDLE_SECONDS = 10.0
CREATE = """op.create_index({{
        "index": {{"name": "products", "prefix": "p:"}},
        "fields": [
            {{"name": "title", "type": "text"}},
            {{
                "name": "embedding",
                "type": "vector",
                "attrs": {{"algorithm": "flat", "dims": {dims}, "distance_metric": "cosine"}},
            }},
        ],
    }})"""
CHANGE = """with op.index("products") as index:
        index.alter_field("embedding", datatype="{datatype}")"""
SCRIPT = """from redismigrate import Operations

revision = "{revision}"
down_revision = {down_revision!r}


def upgrade(op: Operations) -> None:
    {upgrade}


def downgrade(op: Operations) -> None:
    {downgrade}
"""


@dataclass(frozen=True)
class Lateness:
    """How late a loop was, in milliseconds.

    Attributes:
        what: What took place meanwhile.
        seconds: How long.
        samples: Of every time that it was woken up.
    """

    what: str
    seconds: float
    samples: tuple[float, ...]

    @property
    def row(self) -> str:
        """A row of the table."""
        points = statistics.quantiles(self.samples, n=1000, method="inclusive")
        told = (points[499], points[989], points[998], max(self.samples))
        return f"{self.what:<40}{self.seconds:>7.1f}{len(self.samples):>8,}" + "".join(
            f"{ms:>8.1f}" for ms in told
        )


async def measured(what: str, work: Callable[[], Awaitable[object]]) -> Lateness:
    """How late the loop is while something is awaited."""
    samples: list[float] = []

    async def look() -> None:
        while True:
            due = time.perf_counter() + EVERY_SECONDS
            await asyncio.sleep(EVERY_SECONDS)
            samples.append(max(0.0, (time.perf_counter() - due) * 1000))

    looking = asyncio.create_task(look())
    started = time.perf_counter()
    await work()
    seconds = time.perf_counter() - started
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
    return Lateness(what, seconds, tuple(samples))


async def compare(project: Project) -> list[Lateness]:
    """All rows."""
    events: list[Progress] = []

    def upgrading(strategy: StrategyChoice) -> Callable[[], Awaitable[object]]:
        options = MigrationOptions(strategy=strategy)
        return lambda: aio.upgrade(project, options=options, on_progress=events.append)

    async def idle() -> None:
        await asyncio.sleep(IDLE_SECONDS)

    async def counting() -> None:
        await asyncio.to_thread(count_for, IDLE_SECONDS)

    return [
        await measured("nothing", idle),
        await measured("a thread that counts", counting),
        await measured("plan", lambda: aio.plan(project)),
        await measured("upgrade to float16, search up", upgrading("auto")),
        await measured("downgrade, from the backup", lambda: aio.downgrade(project, "-1")),
        await measured("upgrade to float16, rebuild", upgrading("rebuild")),
        await measured("nothing, once more", idle),
    ]


def count_for(seconds: float) -> None:
    """Keep the interpreter busy, as any code in Python does."""
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        count += 1


def write(folder: Path, revision: str, down_revision: str | None, upgrade: str, downgrade: str) -> None:
    """Write a script."""
    text = SCRIPT.format(revision=revision, down_revision=down_revision, upgrade=upgrade, downgrade=downgrade)
    (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)


def fill(url: str, documents: int, dims: int) -> None:
    """Write the documents."""
    generator = np.random.default_rng(1)
    with redis.Redis.from_url(url) as client:
        for start in range(0, documents, 1000):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(documents, start + 1000)):
                vector = generator.standard_normal(dims).astype(np.float32).tobytes()
                pipeline.hset(f"p:{number}", mapping={"title": f"shoe {number}", "embedding": vector})
            pipeline.execute()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=384)
    given = parser.parse_args()
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        os.chdir(folder)
        commands.init(Path("migrations"), url=server.url)
        write(folder, "000000000001", None, CREATE.format(dims=given.dims), 'op.drop_index("products")')
        to_float16, to_float32 = (CHANGE.format(datatype=datatype) for datatype in ("float16", "float32"))
        write(folder, "000000000002", "000000000001", to_float16, to_float32)
        project = Project.load(folder / "redismigrate.toml")
        fill(server.url, given.documents, given.dims)
        commands.upgrade(project, "000000000001")
        print(f"{'beside':<40}{'s':>7}{'times':>8}{'median':>8}{'p99':>8}{'p99.9':>8}{'most':>8}")
        for lateness in asyncio.run(compare(project)):
            print(lateness.row)


if __name__ == "__main__":
    main()
