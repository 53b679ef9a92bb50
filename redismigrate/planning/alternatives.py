"""Every way in which a revision could change an index, side by side with the one that was chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from redismigrate.operations.model import ChangeIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.estimates import memory_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import STRATEGIES, Alternative, RevisionPlan, Step, Strategy
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.schema.definition import Catalog


def alternatives_of(
    plan: RevisionPlan,
    recorded: RecordedRevision,
    catalog: Catalog,
    inventory: Inventory,
    options: PlanOptions,
) -> tuple[Alternative, ...]:
    """What each strategy would make of every index that a revision changes.

    Args:
        plan: The plan of the revision, as chosen.
        recorded: What it does.
        catalog: The indexes as its predecessor leaves them.
        inventory: The server as it is now.
        options: The user's wishes.
    """
    changed = dict.fromkeys(
        _name_after(operation) for operation in recorded.operations if isinstance(operation, ChangeIndex)
    )
    others = {
        strategy: plan_revision(recorded, catalog, inventory, replace(options, strategy=strategy))
        for strategy in STRATEGIES
    }
    return tuple(
        Alternative(
            index=name,
            strategy=strategy,
            is_chosen=strategy == _strategy_of(plan, name),
            impossible=_why_impossible(other, name, strategy, changed),
            **_told(strategy, _steps_of(other, name), recorded, options),
        )
        for name in changed
        for strategy, other in others.items()
        if _steps_of(plan, name)
    )


def _obstacles(
    strategy: Strategy, name: str, blocked: Iterable[str], changed: Iterable[str]
) -> tuple[str, ...]:
    """Why an index can't be changed that way: what else is in the way matters only where the way is one."""
    reasons = tuple(
        reason for reason in blocked if name in reason or not any(another in reason for another in changed)
    )
    decisive = tuple(reason for reason in reasons if reason.startswith(f"strategy {strategy} can't change"))
    return decisive or reasons


def _name_after(operation: ChangeIndex) -> str:
    """The served name of an index once it is changed."""
    name = operation.name
    for change in operation.changes:
        name = change.name if change.kind == "rename_to" else name
    return name


def _why_impossible(
    plan: RevisionPlan, name: str, strategy: Strategy, changed: Iterable[str]
) -> tuple[str, ...]:
    """What blocks a plan because of one index; where the strategy itself can't do it, that alone."""
    concerning = tuple(
        reason
        for reason in plan.blocked
        if name in reason or not any(another in reason for another in changed)
    )
    own = tuple(reason for reason in concerning if reason.startswith(f"strategy {strategy} "))
    return own or concerning


def _writes(strategy: Strategy, recorded: RecordedRevision, options: PlanOptions, *, rewrites: bool) -> str:
    if not rewrites:
        return "kept"
    if options.exclusive or recorded.exclusive_because is not None:
        return f"paused, as {'--exclusive' if options.exclusive else 'the script'} says"
    return "kept by compare-and-set" if strategy == "rebuild" else "kept, followed by tracking"


def _told(
    strategy: Strategy, steps: list[Step], recorded: RecordedRevision, options: PlanOptions
) -> dict[str, Any]:
    """What is told of one way to change one index."""
    rewrites = dict.fromkeys(str(step.rewrite) for step in steps if step.rewrite)
    return {
        "writes": _writes(strategy, recorded, options, rewrites=bool(rewrites)),
        "search_downtime_seconds": round(sum(step.estimate.search_downtime_seconds for step in steps), 2),
        "seconds": round(sum(step.estimate.seconds for step in steps), 2),
        "memory_bytes": memory_of(steps),
        "changes": tuple(rewrites),
    }


def _steps_of(plan: RevisionPlan, name: str) -> list[Step]:
    return [step for step in plan.steps if step.index == name and step.strategy is not None]


def _strategy_of(plan: RevisionPlan, name: str) -> Strategy | None:
    return next((step.strategy for step in _steps_of(plan, name)), None)
