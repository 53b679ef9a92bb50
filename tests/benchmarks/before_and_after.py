"""Times this checkout beside an older revision of it, pair by pair; run by hand from the root of a checkout.

`python tests/benchmarks/before_and_after.py REVISION` has both migrate the same documents on fresh servers,
and start with nothing to do, in turn, and prints medians and the medians of the ratios of pairs. Both are
started the same way with the same packages.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from benchmark_cases import CASES, Contestant
from benchmark_contestants import run_contestant
from benchmark_documents import Documents

from redismigrate.redis_server.embedded import EmbeddedServer

_ROOT = Path(__file__).parents[2]
_STARTS = 20
_REVISIONS = 10
EntryPoint = Sequence[str]
_Result = TypeVar("_Result")


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        git = shutil.which("git") or "/usr/bin/git"
        archive = subprocess.run(
            [git, "archive", options.revision, "redismigrate", "migrations_template"],
            cwd=_ROOT,
            check=True,
            stdout=subprocess.PIPE,
        )
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as tree:
            tree.extractall(folder, filter="data")
        both = _entry_point(Path(folder)), _entry_point(_ROOT)
        print(f"{'':<46}{'before':>10}{'after':>10}{'ratio':>8}")
        _measure_starts(both)
        for case in options.cases:
            _measure_documents(case, options, both)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("revision", help="of git, to be compared with this checkout")
    parser.add_argument("--documents", type=int, default=100_000, help="[%(default)s]")
    parser.add_argument("--dims", type=int, default=768, help="components of a vector [%(default)s]")
    parser.add_argument("--repeat", type=int, default=3, help="pairs [%(default)s]")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=["float16", "rename", "prefix"])
    return parser.parse_args()


def _entry_point(tree: Path) -> EntryPoint:
    return ("/usr/bin/env", f"PYTHONPATH={tree}", sys.executable, "-m", "redismigrate")


def _measure_starts(both: tuple[EntryPoint, EntryPoint]) -> None:
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "REDISMIGRATE_URL": server.url}

        def seconds(*command: str) -> float:
            started = time.perf_counter()
            subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - started

        seconds(*both[0], "init", "migrations")
        for number in range(_REVISIONS):
            seconds(*both[0], "revision", "-m", f"revision {number}")
        seconds(*both[0], "upgrade", "head")
        for words in (["--help"], ["upgrade", "head"]):
            _tell(" ".join(words), _pairs(_STARTS, both, lambda entry, words=words: seconds(*entry, *words)))


def _measure_documents(case: str, options: argparse.Namespace, both: tuple[EntryPoint, EntryPoint]) -> None:
    documents = Documents(options.documents, options.dims, CASES[case].other_keys)
    ours: list[Contestant] = [each for each in CASES[case].contestants if each.startswith("redismigrate")]
    for contestant in ours:
        outcomes = _pairs(
            options.repeat,
            both,
            lambda entry, who=contestant: run_contestant(
                who, case, documents, Path(sys.executable), is_probed=False, entry_point=entry
            ),
        )
        name = contestant.removeprefix("redismigrate").strip(" ,") or "defaults"
        of_documents = [tuple(each.documents_seconds for each in pair) for pair in outcomes]
        _tell(f"{case}, {name}: documents", of_documents)
        _tell(f"{case}, {name}: all but the index", [tuple(each.own_seconds for each in p) for p in outcomes])


def _pairs(
    count: int, both: tuple[EntryPoint, EntryPoint], run: Callable[[EntryPoint], _Result]
) -> list[tuple[_Result, _Result]]:
    """What both come to, in turn; each pair begins with the other one."""
    pairs = []
    for number in range(count):
        order = both if number % 2 else tuple(reversed(both))
        found = {entry: run(entry) for entry in order}
        pairs.append((found[both[0]], found[both[1]]))
    return pairs


def _tell(what: str, pairs: Sequence[tuple[float, ...]]) -> None:
    before, after = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
    print(f"{what:<46}{before:>8.2f} s{after:>8.2f} s{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
