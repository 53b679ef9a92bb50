"""Which backup says what documents had under a new name before the rename that a downgrade takes back."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.documents.rewrite import Rewrite
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.inventory import Inventory, KnownBackup
from redismigrate.schema.definition import IndexDefinition


def backups_of_what_stood(
    inventory: Inventory, recorded: RecordedRevision, old: IndexDefinition, rewrite: Rewrite
) -> tuple[str, ...]:
    """Where the backup is from which a downgrade learns it; none where it is not here, or there is none.

    Args:
        inventory: The server, and the backups that are known.
        recorded: The revision.
        old: The index as it is.
        rewrite: What is renamed.
    """
    backup = _backup(inventory, recorded, old, rewrite)
    return (backup.location,) if backup is not None and backup.is_here and backup.holds_values else ()


def warn_of_what_stood(
    inventory: Inventory, recorded: RecordedRevision, old: IndexDefinition, rewrite: Rewrite
) -> Iterator[str]:
    """What the user should know where that backup is not here.

    Args:
        inventory: The server, and the backups that are known.
        recorded: The revision.
        old: The index as it is.
        rewrite: What is renamed.
    """
    backup = _backup(inventory, recorded, old, rewrite)
    if backup is None or backup.is_here:
        return
    names = " and ".join(rename.old for rename in rewrite.renames)
    back = " and ".join(rename.new for rename in rewrite.renames)
    yield (
        f"the backup {backup.location} is not here or damaged, which says what documents of {old.served} had "
        f"{names} before revision {recorded.revision}: these get {back}, and lose {names}"
    )


def _backup(
    inventory: Inventory, recorded: RecordedRevision, old: IndexDefinition, rewrite: Rewrite
) -> KnownBackup | None:
    if recorded.direction == "upgrade" or not rewrite.renames:
        return None
    return inventory.backups.get((recorded.revision, old.served))
