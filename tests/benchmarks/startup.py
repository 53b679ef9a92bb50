"""Measures how long the command line takes to start; run by hand: `python tests/benchmarks/startup.py`.

Prints the medians of the wall seconds of `redismigrate --help` and of `redismigrate upgrade head` with
nothing to do, on a private server, beside those of a Python that imports click, redis and pydantic. The three
are run in turn, so that a busy machine slows all of them alike; the ratios say more than the seconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from redismigrate.redis_server.embedded import EmbeddedServer

RUNS = 20
REVISIONS = 10
ENTRY_POINT = str(Path(sys.executable).with_name("redismigrate"))
COMMANDS = {
    "python -c 'import click, redis, pydantic'": [sys.executable, "-c", "import click, redis, pydantic"],
    "redismigrate --help": [ENTRY_POINT, "--help"],
    "redismigrate upgrade head": [ENTRY_POINT, "upgrade", "head"],
}


def main() -> None:
    """Measure and print."""
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "REDISMIGRATE_URL": server.url}
        _run([ENTRY_POINT, "init", "migrations"], folder, environment)
        for number in range(REVISIONS):
            _run([ENTRY_POINT, "revision", "-m", f"revision {number}"], folder, environment)
        _run([ENTRY_POINT, "upgrade", "head"], folder, environment)
        seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(RUNS):
            for name, command in COMMANDS.items():
                seconds[name].append(_run(command, folder, environment))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    reference = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:<45}{median:.3f} s  {median / reference:.2f}")


def _run(command: list[str], folder: str, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
