"""What searches feel of a graph that the server builds, with and without a limit of latency; run by hand.

`python tests/benchmarks/build_brake.py` gives an HNSW index another M by `redismigrate upgrade`. Meanwhile
another process asks the old one for the nearest neighbours at fixed moments: a query that is late because of
the one before it counts from when it was due. Each round has all rows, on a fresh server each; medians
over the rounds are printed as a table. It wants a server with the setting, see `REDISMIGRATE_SERVER`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import redis

from redismigrate.execution.build_sleep import SETTING
from redismigrate.redis_server.embedded import EmbeddedServer

QUERY_SECONDS = 0.01
QUIET_SECONDS = 10.0
QUERY = ("FT.SEARCH", "items", "*=>[KNN 10 @v $q]", "PARAMS", 2, "q")
ROWS = ("no build", "a build as it is", "a build with a limit")
SCRIPT = '''"""{message}"""

from redismigrate import Operations

revision = "{revision}"
down_revision = {down}
branch_labels = ()
depends_on = ()


def upgrade(op: Operations) -> None:
    {upgrade}


def downgrade(op: Operations) -> None:
    pass
'''
VECTOR = {"algorithm": "hnsw", "m": 16, "ef_construction": 200, "distance_metric": "cosine"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--limit", type=float, default=5.0, help="milliseconds")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    vectors = np.random.default_rng(1).standard_normal((given.documents, given.dims), dtype=np.float32)
    found: dict[str, list[dict[str, float]]] = {row: [] for row in ROWS}
    for number in range(given.repeat):
        for row in ROWS if number % 2 == 0 else reversed(ROWS):
            found[row].append(_measured(row, vectors, given.limit))
            print(row, found[row][-1], file=sys.stderr, flush=True)
    print(f"{given.documents:,} hashes with vectors of {given.dims} dimensions, HNSW of M 16 to M 32,")
    print(
        f"a query every {QUERY_SECONDS * 1000:g} ms, --max-latency {given.limit:g}, {given.repeat} rounds\n"
    )
    print("| | build | p50 | p90 | p99 | most | queries over the limit | largest sleep |")
    print("|---|---|---|---|---|---|---|---|")
    for row, rounds in found.items():
        median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        build = f"{median['build']:.1f} s" if median["build"] else "-"
        times = " | ".join(f"{median[name]:.1f} ms" for name in ("p50", "p90", "p99", "most"))
        sleep = f"{median['sleep'] / 1000:g} ms"
        print(f"| {row} | {build} | {times} | {median['over']:.0%} | {sleep} |")


def _measured(row: str, vectors: np.ndarray[Any, Any], limit: float) -> dict[str, float]:
    with (
        EmbeddedServer() as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        _fill(client, vectors)
        _write_project(Path(folder), server.url, vectors.shape[1])
        _upgrade(folder, "000000000001")
        queries = [vector.tobytes() for vector in vectors[:1000]]
        ours, theirs = multiprocessing.Pipe()
        asking = multiprocessing.Process(target=_ask, args=(server.url, queries, theirs))
        asking.start()
        ours.recv()
        build = sleep = 0.0
        if row == ROWS[0]:
            time.sleep(QUIET_SECONDS)
        else:
            limits = ("--max-latency", str(limit)) if row == ROWS[2] else ()
            build, sleep = _upgrade(folder, "head", *limits, watched=client)
        ours.send(None)
        taken = ours.recv()
        asking.join()
    p50, p90, p99 = (float(np.percentile(taken, each)) for each in (50, 90, 99))
    over = float(np.mean(np.array(taken) > limit))
    return {
        "build": build,
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "most": max(taken),
        "over": over,
        "sleep": sleep,
    }


def _fill(client: redis.Redis, vectors: np.ndarray[Any, Any]) -> None:
    pipeline = client.pipeline(transaction=False)
    for number, vector in enumerate(vectors):
        pipeline.hset(f"item:{number}", mapping={"v": vector.tobytes()})
    pipeline.execute()


def _write_project(folder: Path, url: str, dims: int) -> None:
    fields = [{"name": "v", "type": "vector", "attrs": {**VECTOR, "dims": dims}}]
    schema = {"index": {"name": "items", "prefix": "item:"}, "fields": fields}
    changes = {
        "000000000001": f"op.create_index({schema!r})",
        "000000000002": "with op.index('items') as index:\n        index.alter_field('v', m=32)",
    }
    (folder / "migrations" / "versions").mkdir(parents=True)
    settings = f'project = "brake"\nscript_location = "migrations"\nurl = "{url}"\n'
    (folder / "redismigrate.toml").write_text(settings)
    last = None
    for revision, upgrade in changes.items():
        text = SCRIPT.format(message=revision, revision=revision, down=repr(last), upgrade=upgrade)
        (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)
        last = revision


def _upgrade(
    folder: str, target: str, *options: str, watched: redis.Redis | None = None
) -> tuple[float, float]:
    """Seconds that the index took, and the longest sleep of the server's build, in microseconds."""
    command = [sys.executable, "-m", "redismigrate", "--json", "-q", "upgrade", target, *options]
    sleep = 0.0
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        while process.poll() is None:
            if watched is not None:
                sleep = max(sleep, float(watched.config_get(SETTING).get(SETTING) or 0))
            time.sleep(0.25)
        assert process.stdout is not None
        result = json.load(process.stdout)
    if process.returncode:
        raise SystemExit(f"The upgrade failed: {result}")
    return float(result["seconds"]["index"]), sleep


def _ask(url: str, queries: list[bytes], end: Connection) -> None:
    taken: list[float] = []
    with redis.Redis.from_url(url, protocol=2) as client:
        client.execute_command(*QUERY, queries[0], "DIALECT", 2)
        end.send(None)
        due, number = time.perf_counter(), 0
        while not end.poll():
            time.sleep(max(0.0, due - time.perf_counter()))
            client.execute_command(*QUERY, queries[number % len(queries)], "NOCONTENT", "DIALECT", 2)
            taken.append((time.perf_counter() - due) * 1000)
            due, number = due + QUERY_SECONDS, number + 1
    end.recv()
    end.send(taken)


if __name__ == "__main__":
    main()
