"""Measures the history layer at scale; run by hand: `python tests/benchmarks/history_scale.py`.

Prints the seconds to read 1,000 scripts and find their heads, which an upgrade with nothing to do has
to pay, and those to plan an upgrade over a DAG of 10,000 revisions with branches, merges and
dependencies.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from redismigrate.history.folder import heads_of, read_scripts
from redismigrate.history.identifiers import revisions_to_apply, revisions_to_undo
from redismigrate.history.script import Script
from redismigrate.history.script_writer import write_script
from redismigrate.history.templates import template_folder

SCRIPTS = 1_000
NODES = 10_000
REPEATS = 5


def main() -> None:
    """Measure and print."""
    seconds = min(_import_seconds("redismigrate.history.folder") for _ in range(REPEATS))
    print(f"import redismigrate.history.folder in a fresh interpreter: {seconds:.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        _write_line(Path(folder))
        seconds = min(_read_seconds(Path(folder)) for _ in range(REPEATS))
        print(f"{SCRIPTS} scripts, read and heads found: {seconds:.3f} s")
    _measure_graph()


def _import_seconds(module: str) -> float:
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


def _write_line(folder: Path) -> None:
    parent: tuple[str, ...] = ()
    for number in range(SCRIPTS):
        revision = f"{number:012x}"
        write_script(
            template_folder("generic"),
            folder,
            revision=revision,
            message=f"change number {number}",
            down_revisions=parent,
            create_date=datetime.now(UTC),
            upgrade_lines=['with op.index("products") as index:', '    index.add_field({"name": "brand"})'],
            downgrade_lines=['with op.index("products") as index:', '    index.drop_field("brand")'],
        )
        parent = (revision,)


def _read_seconds(folder: Path) -> float:
    started = time.perf_counter()
    heads = heads_of(read_scripts([folder]))
    assert len(heads) == 1
    return time.perf_counter() - started


def _measure_graph() -> None:
    scripts = _dag()
    started = time.perf_counter()
    from redismigrate.history.graph import History

    history = History(scripts)
    built = time.perf_counter()
    path = revisions_to_apply(history, "heads", frozenset())
    planned = time.perf_counter()
    back = revisions_to_undo(history, "base", frozenset(path))
    undone = time.perf_counter()
    assert len(path) == len(back) == NODES
    print(f"{NODES} revisions, import networkx and build the graph: {built - started:.3f} s")
    print(f"{NODES} revisions, plan an upgrade to heads: {planned - built:.3f} s")
    print(f"{NODES} revisions, plan a downgrade to base: {undone - planned:.3f} s")
    print(f"{NODES} revisions, upgrade planned in total: {planned - started:.3f} s")


def _dag() -> list[Script]:
    choose = random.Random(1)  # noqa: S311  a reproducible shape, not a secret
    names = [f"{number:012x}" for number in range(NODES)]
    scripts = []
    for number, name in enumerate(names):
        recent = names[max(0, number - 20) : number]
        parents = choose.sample(recent, k=min(len(recent), choose.choice([1, 1, 1, 1, 2])))
        dependencies = choose.sample(recent, k=min(len(recent), choose.choice([0, 0, 0, 1])))
        scripts.append(
            Script(
                revision=name,
                down_revisions=tuple(parents),
                branch_labels=(),
                depends_on=tuple(dependencies),
                message=f"change number {number}",
                create_date=f"2026-01-01T{number:012}",
                path=Path(f"versions/{name}.py"),
                sha256="",
            )
        )
    return scripts


if __name__ == "__main__":
    main()
