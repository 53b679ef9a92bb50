"""Turns outcomes into Markdown: medians, ratios, and what they were measured on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmark_cases import Case, Contestant
from benchmark_contestants import Outcome
from benchmark_documents import Documents
from search_prober import ProbedSearch

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
_MEGABYTE = 1_000_000
_NONE = "-"


@dataclass
class Measurements:
    """All runs of one case.

    Attributes:
        case: The case.
        documents: What was migrated.
        timed: The runs that nobody watched.
        probed: The runs whose search was watched.
    """

    case: Case
    documents: Documents
    timed: dict[Contestant, list[Outcome]] = field(default_factory=dict)
    probed: dict[Contestant, list[Outcome]] = field(default_factory=dict)

    def median(self, contestant: Contestant, column: Column) -> float | None:
        """Of a column; None where it was not measured."""
        runs = (self.probed if column.is_probed else self.timed).get(contestant, [])
        values = [value for value in map(column.value, runs) if value is not None]
        return statistics.median(values) if values else None

    def best_of_redisvl(self, column: Column) -> float | None:
        """The least median among RedisVL's settings."""
        medians = (self.median(name, column) for name in self.timed if name.startswith("RedisVL"))
        return min((value for value in medians if value is not None), default=None)


@dataclass(frozen=True)
class Column:
    """Something that is measured; less is better.

    Attributes:
        title: With its unit.
        value: Its value of a run.
        digits: After the decimal point.
        is_probed: Whether it is taken from the runs whose search was watched.
    """

    title: str
    value: Callable[[Outcome], float | None]
    digits: int = 2
    is_probed: bool = False


def _searched(value: Callable[[ProbedSearch], float]) -> Callable[[Outcome], float | None]:
    return lambda run: value(run.search) if run.search else None


_DOCUMENTS = Column("documents, s", lambda run: run.documents_seconds)
_TOTAL = Column("total, s", lambda run: run.total_seconds)
_OWN = Column("without indexing, s", lambda run: run.own_seconds)
_MEMORY = Column("peak memory, MB", lambda run: run.peak_bytes and run.peak_bytes / _MEGABYTE, digits=0)
_FAILED = Column("search failed, s", _searched(lambda search: search.failed_seconds), is_probed=True)
_PARTIAL = Column("search partial, s", _searched(lambda search: search.partial_seconds), is_probed=True)
_NOT_FULL = Column("search not full, s", _searched(lambda search: search.not_full_seconds), is_probed=True)


def render(measurements: Iterable[Measurements], command: str, versions: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        measurements: Of each case.
        command: What made it.
        versions: Of the server and of the packages.
    """
    sections = [section for case in measurements for section in _sections(case)]
    made_by = f"Made by `{command}`."
    return "\n\n".join([made_by, _machine(versions), *sections])


def write_between_markers(page: Path, report: str) -> None:
    """Replace what stands between the markers of a page.

    Raises:
        ValueError: The page lacks a marker.
    """
    text = page.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(f"{before}{BEGIN}\n\n{report}\n\n{after}", encoding="utf-8")


def _sections(case: Measurements) -> list[str]:
    documents = case.documents
    others = f", {documents.other_keys:,} other keys" if documents.other_keys else ""
    heading = f"### {case.case.title}: {documents.count:,} hashes x {documents.dims} dimensions{others}"
    columns = (_DOCUMENTS, _TOTAL, _OWN, _MEMORY, *((_FAILED, _PARTIAL) if case.probed else ()))
    rows = [
        (name, *(_number(case.median(name, column), column.digits) for column in columns))
        for name in case.timed
    ]
    return [heading, _table(("median", *(column.title for column in columns)), rows), _ratios(case)]


def _ratios(case: Measurements) -> str:
    columns = (_DOCUMENTS, _TOTAL, _OWN, _MEMORY, *((_NOT_FULL,) if case.probed else ()))
    titles = [column.title.partition(",")[0] for column in columns]
    limit = case.median("raw loop", _DOCUMENTS)
    rows = []
    for name in (name for name in case.timed if name.startswith("redismigrate")):
        ratios = [_ratio(case.best_of_redisvl(column), case.median(name, column)) for column in columns]
        if limit is not None:
            ours = case.median(name, _DOCUMENTS)
            ratios.append(f"{limit / ours:.0%}" if ours else _NONE)
        rows.append((name, *ratios))
    return _table(
        ("RedisVL's best / ours", *titles, *(("speed of the raw loop",) if limit is not None else ())), rows
    )


def _ratio(theirs: float | None, ours: float | None) -> str:
    return _NONE if theirs is None or not ours else f"{theirs / ours:.2f}"


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---", *("---:" for _ in titles[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine(versions: Mapping[str, str]) -> str:
    known = {"Python": platform.python_version(), "numpy": version("numpy"), **versions}
    packages = ", ".join(f"{name} {number}" for name, number in known.items())
    return f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}; {packages}."


def _processor() -> str:
    """The model; Linux tells it in a file only."""
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        for line in cpus.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
