"""Whether the server's memory and the disk for backups have room for what is planned, with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from redismigrate.planning.estimates import memory_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Step


def why_memory_is_short(
    name: str, needed_bytes: int, inventory: Inventory, steps: Sequence[Step]
) -> str | None:
    """Why an index can't be built; None when it can.

    An index build ignores maxmemory: with noeviction writes fail, else the user's keys are evicted. 2.10.20,
    and 8.0 and newer, give it up there, and the index lacks documents.

    Args:
        name: Of the index.
        needed_bytes: That it needs in addition.
        inventory: The server as it is now.
        steps: Planned before it in the same revision.
    """
    server = inventory.capabilities
    planned = inventory.planned_memory_bytes + memory_of(steps)
    if not server.maxmemory or server.used_memory + planned + needed_bytes <= server.maxmemory:
        return None
    before = f" and {_megabytes(planned)} planned before it" if planned else ""
    return (
        f"index {name} needs about {_megabytes(needed_bytes)} more, but {_megabytes(server.used_memory)} of "
        f"{_megabytes(server.maxmemory)} maxmemory are used{before}"
    )


def why_backup_does_not_fit(needed_bytes: int, inventory: Inventory, steps: Sequence[Step]) -> str | None:
    """Why there is no room for a backup; None when there is, or when that is not known.

    Args:
        needed_bytes: That it takes.
        inventory: Tells what is free, and what earlier revisions of the plan back up.
        steps: Planned before it in the same revision.
    """
    free_bytes = inventory.backup_free_bytes
    planned = inventory.planned_backup_bytes + sum(step.estimate.backup_bytes for step in steps)
    if free_bytes is None or planned + needed_bytes <= free_bytes:
        return None
    return (
        f"the backup takes about {_megabytes(planned + needed_bytes)}, but the folder for backups has room "
        f"for {_megabytes(free_bytes)}; free some, or name another folder with --backup-dir"
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
