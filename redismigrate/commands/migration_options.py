"""The options and results of `plan`, `upgrade`, `downgrade` and `rollback`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from redismigrate.commands.option_definitions import as_path, as_paths, limit, option, options_of
from redismigrate.errors import UsageError
from redismigrate.planning.step_life import CutoverChoice, OnFailure, Phase, StrategyChoice

if TYPE_CHECKING:
    from redismigrate.commands.migration_report import MigrationReport
    from redismigrate.execution.run import DocumentCounts


# Of documents, as the record can hold it.
MOST_COUNTED = 2**63 - 1
REPORT_SUFFIXES = (".yaml", ".yml", ".json")
QUERIES_UNASKED = (
    "nothing was planned anew, so what --query-check says was not asked; "
    "`redismigrate validate --query-check FILE` asks it"
)
PHASES = ("total", "plan", "documents", "index", "validate", "cutover")


@dataclass(frozen=True)
class MigrationOptions:
    """The options of `plan`, `upgrade` and `downgrade`.

    Attributes:
        strategy: "auto" takes the cheapest way that keeps search up; a name asks for one.
        phase: "expand" stops where the old and the new are both servable, "contract" goes on from there.
        on_failure: Of `upgrade` and its plan: "undo" undoes a revision of which something fails; "continue"
            puts the index back that fails, and changes the others.
        cutover: Of `upgrade` and its plan: all indexes of a revision begin to serve "together"; or "each" is
            built, swapped in, and its old one dropped before the next is begun.
        fold: Carry consecutive revisions that change the same indexes out as one build each.
        plan_file: Refuse when the plan differs from this one.
        allow_lossy: Go back although something can't be brought back.
        drop_field_ttls: Fields of hashes that expire may become members of JSON documents that do not.
        max_failures: How many documents may fail to be rewritten, or end up unindexed that were not before.
        max_removals: How many documents may go in both forms because they are gone in one, when nobody saw
            them being deleted; None for ten, or a thousandth if that is more. It counts for this call alone.
        aliases: Aliases of indexes that no revision made, besides those of the setting `known_aliases`: they
            are kept. Servers before 8.10 don't list them. For a rollback NAME or NAME=INDEX: those that the
            run has killed and that are set again after it.
        exclusive: Nobody else writes to the documents: they need not be compared before they are written.
        ignore_other_databases: Go on although databases other than 0 hold documents of an index, which a new
            one will lack. May also be said when the run is taken up again.
        batch_size: Documents in a batch.
        workers: Batches under way at a time, each on a connection of its own.
        backup_dir: The folder of the backups; None takes the setting.
        lock_timeout: Seconds to wait for another process; None takes the setting.
        allow_evictable_state: Work although the server may evict the state; None takes the setting.
        max_latency_ms: Milliseconds that a round trip to the server may take (99th percentile); None for no
            limit. This and the next three can be changed while the run is under way, see `control`.
        max_docs_per_second: Documents that are read or written in a second; None for no limit.
        max_wait_seconds: Seconds for which writers may be ahead of the run before it ends; None for no limit.
        postpone_cutover: Do all but the cutover, and wait until that is no longer asked for.
        query_checks: Files of queries that indexes have to answer, before anything changes and once they are
            changed, as `rvl migrate apply --query-check-file` takes them.
        report_out: The file that gets the report, however it ends: JSON where its name ends with .json, YAML
            where it ends with .yaml or .yml.

    Raises:
        UsageError: A number is out of its range, there is no such strategy or phase, the name of the report
            has another ending, or `on_failure` or `cutover` is given with a phase.
    """

    strategy: StrategyChoice = field(
        default="auto",
        metadata=option(
            "--strategy",
            "How changed indexes are carried out.",
            kind="choice",
            choices=get_args(StrategyChoice),
        ),
    )
    phase: Phase = field(
        default="all",
        metadata=option(
            "--phase",
            "Stop where old and new are both servable, or go on from there.",
            kind="choice",
            choices=get_args(Phase),
        ),
    )
    on_failure: OnFailure = field(
        default="undo",
        metadata=option(
            "--on-failure",
            "When an index fails: undo its revision, or put it back and continue with the others.",
            kind="choice",
            choices=get_args(OnFailure),
        ),
    )
    cutover: CutoverChoice = field(
        default="together",
        metadata=option(
            "--cutover",
            "Let all indexes of a revision begin to serve together, or each before the next is begun.",
            kind="choice",
            choices=get_args(CutoverChoice),
        ),
    )
    fold: bool = field(
        default=False,
        metadata=option(
            "--fold",
            "Carry consecutive revisions that only change the same indexes out as one build of each.",
        ),
    )
    plan_file: Path | None = field(
        default=None,
        metadata=option("--plan", "Refuse when the plan is no longer the one in this file.", kind="file"),
    )
    allow_lossy: bool = field(
        default=False, metadata=option("--allow-lossy", "Go back although something can't be brought back.")
    )
    drop_field_ttls: bool = field(
        default=False,
        metadata=option(
            "--drop-field-ttls",
            "Let fields of hashes that expire become members of JSON documents, which do not.",
        ),
    )
    max_failures: int = field(
        default=0,
        metadata=option(
            "--max-failures",
            "Documents that may fail to be rewritten, or end up unindexed that were not before.",
            kind="count",
            most=MOST_COUNTED,
        ),
    )
    max_removals: int | None = field(
        default=None,
        metadata=option(
            "--max-removals",
            "Documents that may go in both forms because they are gone in one, when nobody saw them being "
            "deleted. [10, or a thousandth if that is more]",
            kind="count",
            metavar="N",
            most=MOST_COUNTED,
        ),
    )
    aliases: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--alias",
            "An alias of an index that no revision made, which is to be kept. Can be repeated.",
            kind="names",
            metavar="NAME",
        ),
    )
    exclusive: bool = field(
        default=False,
        metadata=option("--exclusive", "Writers are paused: documents are rewritten without comparing."),
    )
    ignore_other_databases: bool = field(
        default=False,
        metadata=option(
            "--ignore-other-databases",
            "Go on although databases other than 0 hold documents, which a new index will lack.",
        ),
    )
    batch_size: int = field(
        default=500,
        metadata=option("--batch-size", "Documents in a batch.", kind="count", least=1, most=100_000),
    )
    workers: int = field(
        default=3,
        metadata=option(
            "--workers", "Batches of documents under way at a time.", kind="count", least=1, most=64
        ),
    )
    backup_dir: Path | None = None
    lock_timeout: float | None = field(
        default=None,
        metadata=option("--lock-timeout", "Seconds to wait for another process. [60]", kind="seconds"),
    )
    allow_evictable_state: bool | None = field(
        default=None,
        metadata=option(
            "--allow-evictable-state", "Work although the server's maxmemory-policy may evict the record."
        ),
    )
    max_latency_ms: float | None = field(
        default=None,
        metadata=limit(
            "max-latency", "Wait while a round trip to the server (99th percentile) takes longer.", "MS"
        ),
    )
    max_docs_per_second: float | None = field(
        default=None,
        metadata=limit("max-docs-per-second", "Documents that are read or written in a second.", "N"),
    )
    max_wait_seconds: float | None = field(
        default=None,
        metadata=limit("max-wait", "End when writers have been ahead of the run for so long.", "SECONDS"),
    )
    postpone_cutover: bool = field(
        default=False,
        metadata=limit(
            "postpone-cutover", "Do all but the cutover, and wait for `status --set postpone-cutover=off`."
        ),
    )
    query_checks: tuple[Path, ...] = field(
        default=(),
        metadata=option(
            "--query-check",
            "A file of queries that the changed index has to answer, as RedisVL's. Can be repeated.",
            kind="files",
            metavar="FILE",
        ),
    )
    report_out: Path | None = field(
        default=None,
        metadata=option(
            "--report-out",
            "Write a report there however it ends, as JSON (.json) or YAML (.yaml).",
            kind="file",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("plan_file", "backup_dir", "report_out"):
            object.__setattr__(self, name, as_path(getattr(self, name)))
        object.__setattr__(self, "query_checks", as_paths(self.query_checks))
        if self.report_out is not None and self.report_out.suffix not in REPORT_SUFFIXES:
            raise UsageError(
                f"The report {self.report_out} has no ending that says its form.",
                f"It has to be one of {', '.join(REPORT_SUFFIXES)}.",
            )
        for name, known, _ in options_of(self):
            known.require(name, getattr(self, name))
        if self.said_of_indexes and self.fold:
            raise UsageError(
                f"{self._words_of_indexes} and --fold don't go together.",
                "A fold is carried out, and undone, as a whole.",
            )
        if self.said_of_indexes and self.phase != "all":
            raise UsageError(
                f"{self._words_of_indexes} and --phase {self.phase} don't go together.",
                "An expanded revision has all of its indexes beside the old ones: contract it as a whole.",
            )

    @property
    def said_of_indexes(self) -> dict[str, str]:
        """What is said of how the indexes of a revision go on without each other; empty for the usual."""
        said = {"on_failure": self.on_failure, "cutover": self.cutover}
        return {name: value for name, value in said.items() if value not in {"undo", "together"}}

    def refuse_indexes_apart(self, what: str) -> None:
        """Raise where something is asked for that only an upgrade can do.

        Args:
            what: What can't do it.

        Raises:
            UsageError: It is.
        """
        if self.said_of_indexes:
            raise UsageError(
                f"{self._words_of_indexes} is of an upgrade, and not of {what}.", "Do without it."
            )

    @property
    def _words_of_indexes(self) -> str:
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in self.said_of_indexes.items())


@dataclass(frozen=True)
class MigrationResult:
    """What `upgrade`, `downgrade` and `rollback` did.

    Attributes:
        result: "done", or "nothing" when there was nothing to do.
        run: The id of the run; None when nothing was done.
        revisions: The revisions that were applied or undone, in order.
        seconds: Wall seconds: total, plan, documents, index, validate, cutover.
        warnings: What the user should know.
        documents: What became of documents; None when none was looked at.
        backup: The folder of the run's backups, if it made any.
        expanded: The revision whose old and new are both servable now, until it is contracted.
        report: All of it in one value, with what was validated and measured; None where there was nothing to
            do and nobody asked for a file.
    """

    result: Literal["done", "nothing"]
    run: str | None = None
    revisions: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    documents: DocumentCounts | None = None
    backup: str | None = None
    expanded: str | None = None
    report: MigrationReport | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", dict.fromkeys(PHASES, 0.0) | dict(self.seconds))

    def to_json(self) -> dict[str, Any]:
        """In the shape that `--json` promises."""
        return {
            "result": self.result,
            "run": self.run,
            "revisions": list(self.revisions),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "documents": documents_to_json(self.documents),
            "backup": self.backup,
            "expanded": self.expanded,
            "warnings": list(self.warnings),
        }


def documents_to_json(documents: DocumentCounts | None) -> dict[str, Any]:
    """Counts of documents in the shape that `--json` promises; keys that aren't UTF-8 as {"base64"}."""
    if documents is None:
        return {"read": 0, "rewritten": 0, "left_in_old_type": 0, "failed": [], "failed_count": 0}
    return {
        "read": documents.read,
        "rewritten": documents.rewritten,
        "left_in_old_type": documents.left_in_old_type,
        "failed": failed_to_json(documents),
        "failed_count": documents.failed_count,
    }


def failed_to_json(documents: DocumentCounts) -> list[dict[str, Any]]:
    """The documents that were left as they are, and why."""
    return [{"key": key_to_json(key), "reason": reason} for key, reason in documents.failed]


def key_to_json(key: str) -> str | dict[str, str]:
    """A key as JSON: one that isn't UTF-8 as {"base64"}."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(key.encode("utf-8", "surrogateescape")).decode()}
    return key
