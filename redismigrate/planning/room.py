"""Whether the server's memory and the disk for backups have room for what is planned, with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Step
from redismigrate.planning.step_life import BESIDE
from redismigrate.quantities import duration


def why_memory_is_short(name: str, needed_bytes: int, inventory: Inventory, planned_bytes: int) -> str | None:
    """Why an index can't be built; None when it can.

    An index build ignores maxmemory: with noeviction writes fail, else the user's keys are evicted. 2.10.20,
    and 8.0 and newer, give it up there, and the index lacks documents.

    Args:
        name: Of the index.
        needed_bytes: That it needs in addition.
        inventory: The server as it is now.
        planned_bytes: That what comes before it in the same revision will have added by then.
    """
    server = inventory.capabilities
    planned = inventory.planned_memory_bytes + planned_bytes
    if not server.maxmemory or server.used_memory + planned + needed_bytes <= server.maxmemory:
        return None
    before = f" and {_megabytes(planned)} planned before it" if planned else ""
    return (
        f"index {name} needs about {_megabytes(needed_bytes)} more, but {_megabytes(server.used_memory)} of "
        f"{_megabytes(server.maxmemory)} maxmemory are used{before}"
    )


@dataclass(frozen=True)
class MemoryNeed:
    """What one index of a revision adds to the server's memory.

    Attributes:
        index: Its served name; of several that are changed together, their names.
        peak_bytes: While its old form is still there.
        kept_bytes: Once that is gone.
    """

    index: str
    peak_bytes: int
    kept_bytes: int


def by_turns(needs: Sequence[MemoryNeed], turns: Sequence[frozenset[str]]) -> list[MemoryNeed]:
    """What the indexes of each turn add together.

    Args:
        needs: Of the indexes.
        turns: The served names of what is changed together, in order.
    """
    return [
        MemoryNeed(
            " and ".join(dict.fromkeys(need.index for need in own)),
            sum(need.peak_bytes for need in own),
            sum(need.kept_bytes for need in own),
        )
        for turn in turns
        if (own := [need for need in needs if need.index in turn])
    ]


def one_after_the_other(needs: Sequence[MemoryNeed]) -> tuple[int, str]:
    """The bytes that indexes add at most when each one's old form goes before the next is begun.

    Args:
        needs: Of the turns, in order; at least one.

    Returns:
        The bytes, and the index or indexes with which there are so many.
    """
    kept, most = 0, (0, needs[0].index)
    for need in needs:
        most = max(most, (kept + need.peak_bytes, need.index), key=lambda found: found[0])
        kept += need.kept_bytes
    return most


def what_each_would_need(needs: Sequence[MemoryNeed], inventory: Inventory) -> str:
    """Whether `--cutover each` would fit where indexes don't fit beside each other, with the numbers.

    Args:
        needs: Of the turns, in order.
        inventory: The server as it is now.
    """
    server = inventory.capabilities
    most, index = one_after_the_other(needs)
    free = max(0, server.maxmemory - server.used_memory - inventory.planned_memory_bytes)
    would = "would fit" if most <= free else "would not fit either"
    return (
        f"--cutover each, which drops the old form of an index before the next is begun, {would}: it needs "
        f"about {_megabytes(most)} at most (with index {index}), where all together need "
        f"{_megabytes(sum(need.peak_bytes for need in needs))}, and {_megabytes(free)} are free"
    )


def told_of_each(needs: Sequence[MemoryNeed], steps: Sequence[Step]) -> list[str]:
    """What to know of a revision whose indexes are changed one after the other.

    Args:
        needs: Of its turns, in order.
        steps: Of the revision.
    """
    built = [
        step
        for step in steps
        if step.kind == "wait_for_index" and step.strategy in BESIDE and not step.after_record
    ]
    told = []
    if needs:
        most, index = one_after_the_other(needs)
        told.append(
            f"--cutover each: indexes are changed one after the other, which takes about {_megabytes(most)} "
            f"of memory at most (with index {index}); together it would be "
            f"{_megabytes(sum(need.peak_bytes for need in needs))}"
        )
    if built:
        seconds = sum(step.estimate.seconds for step in built)
        told.append(
            "--cutover each: old indexes are gone before the revision is done, so that undoing it has to "
            f"build up to {len(built)} of them again, about {duration(seconds)}"
        )
    return told


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
