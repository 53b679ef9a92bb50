"""Plans a way back with the backups that can be read to their last byte, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import BackupDamaged
from redismigrate.execution.progress import Watcher
from redismigrate.execution.steps.reading_backups import read_whole
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Plan, RevisionPlan

P = TypeVar("P", Plan, RevisionPlan)


class ReadableBackups:
    """Reads each backup once that a plan restores from.

    Args:
        watcher: Told how far one is read.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        # What is wrong with those that were read.
        self._found: dict[str, BackupDamaged | None] = {}

    @property
    def damaged(self) -> tuple[BackupDamaged, ...]:
        """What is wrong with backups that the plans so far would restore from, or might have to."""
        return tuple(error for error in self._found.values() if error is not None)

    def planned(self, make: Callable[[Inventory], P], inventory: Inventory, options: MigrationOptions) -> P:
        """A plan that restores from no damaged backup, and is blocked where it would have to.

        Args:
            make: Makes the plan for the server as it is given.
            inventory: The server.
            options: With `allow_lossy` nothing is read: what is left of a damaged backup has to do.
        """
        while True:
            plan = make(inventory)
            if options.allow_lossy:
                return plan
            damaged = {
                location: problem
                for location in _restored_from(plan)
                if (problem := self._problem(location, options.backup_dir)) is not None
            }
            for backup in inventory.backups.values():
                if backup.problem is not None:
                    self._found[backup.location] = backup.problem
            if not damaged:
                return plan
            inventory = inventory.with_damaged_backups(damaged)

    def _problem(self, location: str, backup_dir: Path | None) -> BackupDamaged | None:
        if location not in self._found:
            try:
                read_whole(location, backup_dir, self._watcher.backup_read)
            except BackupDamaged as error:
                self._found[location] = error
            else:
                self._found[location] = None
        return self._found[location]


def _restored_from(plan: Plan | RevisionPlan) -> dict[str, None]:
    revisions = plan.revisions if isinstance(plan, Plan) else (plan,)
    return {
        location: None for revision in revisions for step in revision.steps for location in step.restores_from
    }
