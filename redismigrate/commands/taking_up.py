"""What a run that was interrupted tells the command that takes it up: its options, and what it was for."""

from __future__ import annotations

from collections.abc import Mapping
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
