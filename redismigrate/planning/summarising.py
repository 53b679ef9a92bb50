"""Adds up what a plan costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.planning.inventory import Inventory
from redismigrate.planning.memory_course import memory_course
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.plan_summary import PlanSummary

# A command of the append-only file: its words, lengths, the key, and its part of the transaction around it.
AOF_BYTES_PER_WRITE = 75
# What a write changes is copied by pages: that of the value, and that of what leads to it.
PAGE_BYTES, PAGES_PER_WRITE = 4096, 2
_WRITES_DOCUMENTS = frozenset(
    {"rewrite_documents", "restore_documents", "copy_documents", "promote_documents", "remove_documents"}
)


def summary_of(plans: Sequence[RevisionPlan], inventory: Inventory) -> PlanSummary:
    """What revisions cost in all.

    Args:
        plans: The revisions, in order.
        inventory: The server before the first of them.
    """
    steps = [step for plan in plans for step in plan.steps]
    course = memory_course(steps)
    functions = tuple(_name_of_function(step) for step in steps if step.kind == "run_function")
    disk, server = inventory.persistence, inventory.capabilities
    down: dict[str, float] = {}
    for step in steps:
        if step.index is not None and step.estimate.search_downtime_seconds:
            seconds = down.get(step.index, 0.0) + step.estimate.search_downtime_seconds
            down[step.index] = round(seconds, 2)
    growth = max(0, 0, *_document_bytes(steps))
    is_known = course.is_all_known and not functions
    return PlanSummary(
        seconds=round(sum(step.estimate.seconds for step in steps), 2),
        functions=functions,
        search_downtime_seconds=round(sum(down.values()), 2),
        search_downtime_seconds_by_index=down,
        peak_memory_bytes=course.peak_bytes,
        memory_bytes_by_index=dict(course.by_index),
        used_memory_bytes=server.used_memory,
        maxmemory_bytes=server.maxmemory if server.tells_maxmemory else None,
        memory_saved_bytes=-course.kept_bytes if is_known else None,
        backup_bytes=sum(step.estimate.backup_bytes for step in steps),
        backup_free_bytes=inventory.backup_free_bytes,
        aof_enabled=disk.aof_enabled,
        aof_growth_bytes=_aof_growth(steps) if disk.aof_enabled and not functions else None,
        save_points=disk.save_points,
        is_child_running=disk.is_child_running,
        snapshot_bytes=None if disk.dataset_bytes is None or functions else disk.dataset_bytes + growth,
        snapshot_growth_bytes=growth,
        copy_on_write_bytes=None
        if functions
        else min(server.used_memory, _pages_written(steps)) + course.peak_bytes,
    )


def _name_of_function(step: Step) -> str:
    return step.description.partition(" (opaque")[0]


def _document_bytes(steps: Sequence[Step]) -> Iterator[int]:
    """What documents take more after each step that writes them; indexes are in no snapshot."""
    level = 0
    for step in steps:
        if step.kind in _WRITES_DOCUMENTS:
            level += step.estimate.kept_memory_bytes or 0
            yield level


def _aof_growth(steps: Sequence[Step]) -> int:
    return sum(
        step.estimate.bytes_written + step.estimate.documents * AOF_BYTES_PER_WRITE
        for step in steps
        if step.kind in _WRITES_DOCUMENTS
    )


def _pages_written(steps: Sequence[Step]) -> int:
    """Bytes of the pages that writes to documents change."""
    return sum(
        step.estimate.bytes_written + step.estimate.documents * PAGES_PER_WRITE * PAGE_BYTES
        for step in steps
        if step.kind in _WRITES_DOCUMENTS
    )
