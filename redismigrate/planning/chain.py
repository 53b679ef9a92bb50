"""The plan of a chain of revisions: each is planned against the schemas that its predecessor will leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from redismigrate.operations.recorded import Direction, RecordedRevision, touched_indexes
from redismigrate.planning.estimates import memory_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Plan, RevisionPlan, digest_of
from redismigrate.planning.planner import PlanOptions, plan_revision
from redismigrate.schema.definition import Catalog, IndexDefinition


def plan_chain(
    recorded: Iterable[RecordedRevision],
    catalog: Catalog,
    inventory: Inventory,
    options: PlanOptions,
    *,
    direction: Direction,
    target: str,
) -> Plan:
    """Plan revisions in order.

    Args:
        recorded: What they do.
        catalog: The indexes as recorded now.
        inventory: The server as it is now.
        options: The user's wishes.
        direction: Upgrade or downgrade.
        target: The revision identifier that was asked for.
    """
    recorded = tuple(recorded)
    met: dict[str, IndexDefinition | None] = {}
    plans: list[RevisionPlan] = []
    for item in recorded:
        plan = plan_revision(item, catalog, inventory, options)
        for name in touched_indexes((item,)):
            if name not in met:
                met[name] = catalog.get(name) or item.adopted.get(name)
        plans.append(plan)
        before, catalog = catalog, item.apply(catalog)
        inventory = replace(
            inventory.renamed(plan.steps).after(before, catalog),
            planned_memory_bytes=inventory.planned_memory_bytes + memory_of(plan.steps),
            planned_backup_bytes=inventory.planned_backup_bytes
            + sum(step.estimate.backup_bytes for step in plan.steps),
        )
    return Plan(
        project=inventory.project,
        direction=direction,
        target=target,
        revisions=tuple(plans),
        digest=digest_of(plans, met),
    )


def dropped_indexes(recorded: Iterable[RecordedRevision]) -> frozenset[str]:
    """The served names that are dropped and that nothing else is asked of: they may be gone already."""
    dropped: set[str] = set()
    others: set[str] = set()
    for item in recorded:
        for operation in item.operations:
            if operation.kind == "drop_index":
                dropped.add(operation.name)
            elif operation.kind == "change_index":
                others.add(operation.name)
            elif operation.kind in {"create_alias", "set_synonyms"}:
                others.add(operation.index)
    return frozenset(dropped - others)
