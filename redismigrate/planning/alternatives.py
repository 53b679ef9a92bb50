"""Every way in which a revision could change an index, side by side with the one that was chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.memory_course import memory_course
from redismigrate.planning.plan import Alternative, RevisionPlan, Step
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.planning.step_life import STRATEGIES, Strategy
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
    changed: dict[str, list[str]] = {}
    for operation in recorded.operations:
        if isinstance(operation, ChangeIndex):
            changed.setdefault(operation.name_after, []).append(operation.name)
    others = {
        strategy: plan_revision(recorded, catalog, inventory, replace(options, strategy=strategy))
        for strategy in STRATEGIES
    }
    return tuple(
        Alternative(
            index=name,
            strategy=strategy,
            is_chosen=strategy == _strategy_of(plan, name),
            impossible=_why_impossible(other, name, names_before, strategy),
            **_told(strategy, _steps_of(other, name), recorded, options),
        )
        for name, names_before in changed.items()
        for strategy, other in others.items()
        if _steps_of(plan, name)
    )


def _why_impossible(
    plan: RevisionPlan, name: str, names_before: Iterable[str], strategy: Strategy
) -> tuple[str, ...]:
    """What blocks a plan because of one index, or of none; where the strategy can't do it, that alone.

    Args:
        plan: By that strategy.
        name: Of the index, once it is changed.
        names_before: What it was called before.
        strategy: The strategy.
    """
    concerning = [item for item in plan.obstacles if item.index in {None, name, *names_before}]
    own = [item for item in concerning if item.strategy == strategy]
    return tuple(dict.fromkeys(item.text for item in own or concerning))


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
        "memory_bytes": memory_course(steps).peak_bytes,
        "changes": tuple(rewrites),
    }


def _steps_of(plan: RevisionPlan, name: str) -> list[Step]:
    return [step for step in plan.steps if step.index == name and step.strategy is not None]


def _strategy_of(plan: RevisionPlan, name: str) -> Strategy | None:
    return next((step.strategy for step in _steps_of(plan, name)), None)
