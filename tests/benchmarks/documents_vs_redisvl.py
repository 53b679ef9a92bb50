"""Measures migrations that rewrite documents, beside RedisVL's; run by hand, see docs/benchmarks.md.

`python tests/benchmarks/documents_vs_redisvl.py` generates documents, has each contestant migrate them on a
private server, checks what became of them, and prints medians and ratios.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from benchmark_cases import CASES
from benchmark_contestants import Outcome, run_contestant, server_versions
from benchmark_documents import Documents
from benchmark_tables import Measurements, render, write_between_markers

_REDISVL = "redisvl==0.28.0"
_PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, print, and with --write-docs put the tables into the page."""
    options = _options()
    with _redisvl_python(options.redisvl_python) as redisvl_python:
        cases = [_measure(name, options, redisvl_python) for name in options.cases]
    versions = server_versions() | {"redismigrate": version("redismigrate"), "redis-py": version("redis")}
    for runs in (runs for case in cases for runs in case.timed.values()):
        versions |= runs[0].versions
    report = render(cases, _command(options), versions)
    print(report)
    if options.write_docs:
        write_between_markers(_PAGE, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000, help="[%(default)s]")
    parser.add_argument("--dims", type=int, default=768, help="components of a vector [%(default)s]")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs of each contestant [%(default)s]")
    parser.add_argument("--cases", type=_cases, default=list(CASES), help=f"some of {','.join(CASES)} [all]")
    parser.add_argument(
        "--redisvl-python", type=Path, help=f"a Python that has RedisVL [a temporary one with {_REDISVL}]"
    )
    parser.add_argument("--write-docs", action="store_true", help="replace the tables in docs/benchmarks.md")
    return parser.parse_args()


def _cases(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(
            f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}"
        )
    return names


def _command(options: argparse.Namespace) -> str:
    """The command with everything that shapes the figures, and no path of this machine."""
    shape = f"--documents {options.documents} --dims {options.dims} --repeat {options.repeat}"
    return f"python tests/benchmarks/{Path(__file__).name} {shape} --cases {','.join(options.cases)}"


def _measure(name: str, options: argparse.Namespace, redisvl_python: Path) -> Measurements:
    """Run everyone in turn; each round begins with another one, so that nobody always comes first."""
    case = CASES[name]
    documents = Documents(case.count or options.documents, case.dims or options.dims, case.other_keys)
    measured = Measurements(case, documents, {contestant: [] for contestant in case.contestants})
    for turn in range(options.repeat):
        first = turn % len(case.contestants)
        for contestant in (*case.contestants[first:], *case.contestants[:first]):
            outcome = run_contestant(contestant, name, documents, redisvl_python, is_probed=False)
            measured.timed[contestant].append(outcome)
            _log(f"{name}, {contestant}", outcome)
    if case.is_probed:
        for contestant in case.contestants:
            if contestant != "raw loop":
                outcome = run_contestant(contestant, name, documents, redisvl_python, is_probed=True)
                measured.probed[contestant] = [outcome]
                _log(f"{name}, {contestant}, search watched", outcome)
    return measured


def _log(what: str, outcome: Outcome) -> None:
    figures = {"documents": outcome.documents_seconds, **outcome.phases}
    parts = [f"{name} {seconds:.2f}" for name, seconds in figures.items()]
    if outcome.peak_bytes is not None:
        parts.append(f"{outcome.peak_bytes / 1e6:.0f} MB")
    if outcome.search is not None:
        parts.append(
            f"failed {outcome.search.failed_seconds:.2f} partial {outcome.search.partial_seconds:.2f}"
        )
    parts.append(f"load {os.getloadavg()[0]:.1f}")
    print(f"{what}: {', '.join(parts)}", file=sys.stderr, flush=True)


@contextmanager
def _redisvl_python(given: Path | None) -> Iterator[Path]:
    """The interpreter that has RedisVL; if none is given, that of a temporary environment."""
    if given is not None:
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", _REDISVL], check=True)
        yield python


if __name__ == "__main__":
    main()
