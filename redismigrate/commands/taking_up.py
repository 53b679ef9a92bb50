"""The options of a run as its record keeps them: written when it begins, and read by who takes it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.execution.run import Run
from redismigrate.history.notation import parse_identifier


def covers(run: Run, target: str) -> bool:
    """Whether a run that was taken up and finished was all that is asked for.

    Steps like -1 count from where the interrupted command began, so they must not be taken once more. Of the
    other targets only heads move on; scripts to look the rest up may be absent here.
    """
    identifier = parse_identifier(target)
    return identifier.symbol is None or (run.target == target and identifier.symbol not in {"head", "heads"})


def stored_options(arguments: Mapping[str, Any]) -> MigrationOptions:
    """The options that a run was begun with; what it was begun without is as by default."""
    values = {name: value for name, value in arguments.items() if name != "backup_dir"}
    return MigrationOptions(**values, backup_dir=Path(arguments["backup_dir"]))


def stored_arguments(options: MigrationOptions, backup_dir: Path) -> dict[str, Any]:
    """What a run keeps of the options that it is begun with.

    Args:
        options: Those.
        backup_dir: Where its backups go.
    """
    return {
        "strategy": options.strategy,
        "phase": options.phase,
        "max_failures": options.max_failures,
        "allow_lossy": options.allow_lossy,
        "exclusive": options.exclusive,
        "ignore_other_databases": options.ignore_other_databases,
        # Versions that know nothing of these take up what was begun without them.
        **options.said_of_indexes,
        **({"drop_field_ttls": True} if options.drop_field_ttls else {}),
        **limits_of(options),
        "batch_size": options.batch_size,
        "workers": options.workers,
        "backup_dir": str(backup_dir),
    }


def limits_of(options: MigrationOptions) -> dict[str, Any]:
    """The limits that a run is begun with; see `state.control`."""
    return {
        "max_latency_ms": options.max_latency_ms,
        "max_docs_per_second": options.max_docs_per_second,
        "max_wait_seconds": options.max_wait_seconds,
        "postpone_cutover": options.postpone_cutover,
    }


def what_still_holds(run: Run, options: MigrationOptions) -> Iterator[str]:
    """What to tell who takes a run up with other wishes than it was begun with.

    Args:
        run: The run.
        options: Of the command that takes it up.

    Raises:
        UsageError: The run can't go on in a phase.
    """
    begun = stored_options({**run.arguments, "phase": "all"})
    replace(begun, phase=options.phase)  # says why they don't go together
    if options.said_of_indexes.items() - begun.said_of_indexes.items():
        yield f"--on-failure {begun.on_failure} and --cutover {begun.cutover} hold, with which it was begun"
