"""The plan of a chain of revisions: each is planned against the schemas that its predecessor will leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from redismigrate.operations.recorded import Direction, RecordedRevision, made_in_run, touched_indexes
from redismigrate.planning.alternatives import alternatives_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.planning.plan import Plan, RevisionPlan, digest_of_plans
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.planning.room import peak_memory_of
from redismigrate.planning.untold import what_is_untold
from redismigrate.schema.definition import Catalog, IndexDefinition


def plan_chain(
    recorded: Iterable[RecordedRevision],
    catalog: Catalog,
    inventory: Inventory,
    options: PlanOptions,
    *,
    direction: Direction,
    target: str,
    compares: bool = False,
) -> Plan:
    """Plan revisions in order.

    Args:
        recorded: What they do.
        catalog: The indexes as recorded now.
        inventory: The server as it is now.
        options: The user's wishes.
        direction: Upgrade or downgrade.
        target: The revision identifier that was asked for.
        compares: Tell how else every index could be changed.
    """
    recorded = tuple(recorded)
    hidden = tuple(
        f"an index hides {alias}, an alias of {definition.physical}; `redismigrate repair` drops that index"
        for definition in catalog.values()
        for alias in definition.all_aliases
        if alias in inventory.names
    )
    first = inventory
    met: dict[str, IndexDefinition | None] = {}
    plans: list[RevisionPlan] = []
    for item in recorded:
        plan = plan_revision(item, catalog, inventory, options)
        if compares:
            others = alternatives_of(plan, item, catalog, inventory, options)
            plan = plan.model_copy(update={"alternatives": others})
        before = item.start(catalog)
        for name in touched_indexes((item,)):
            if name not in met:
                met[name] = before.get(name)
        plans.append(plan)
        after = with_physical_names(item.apply_operations(before), plan.steps)
        catalog = after.without(*item.given_up)
        made = inventory.made
        for operation in item.operations:
            made = made_in_run(operation, made)
        inventory = replace(
            inventory.renamed(plan.steps).after(before, after, item.given_up),
            made=made,
            planned_memory_bytes=inventory.planned_memory_bytes + peak_memory_of(plan.steps),
            planned_backup_bytes=inventory.planned_backup_bytes
            + sum(step.estimate.backup_bytes for step in plan.steps),
        )
    return Plan(
        project=inventory.project,
        direction=direction,
        target=target,
        revisions=tuple(plans),
        digest=digest_of_plans(plans, met),
        warnings=(*hidden, *what_is_untold(plans, first)),
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
