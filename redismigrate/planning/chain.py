"""The plan of a chain of revisions: each is planned against the schemas that its predecessor will leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from redismigrate.operations.recorded import Direction, RecordedRevision, made_in_run, touched_indexes
from redismigrate.planning.alternatives import alternatives_of
from redismigrate.planning.expected import answers_after
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.memory_course import memory_course
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.planning.plan import Plan, RevisionPlan, Step
from redismigrate.planning.plan_digest import digest_of_plans
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.planning.savings import Saving
from redismigrate.planning.summarising import summary_of
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

    A fold that can't run is planned one by one, and the plan says why.

    Args:
        recorded: What they do, folds among them.
        catalog: The indexes as recorded now.
        inventory: The server as it is now.
        options: The user's wishes.
        direction: Upgrade or downgrade.
        target: The revision identifier that was asked for.
        compares: Tell how else every index could be changed.
    """
    hidden = tuple(
        f"an index hides {alias}, an alias of {definition.physical}; `redismigrate repair` drops that index"
        for definition in catalog.values()
        for alias in definition.all_aliases
        if alias in inventory.names
    )
    first = inventory
    chain = _Chain(catalog, inventory, options, compares)
    savings: dict[str, Saving] = {}
    remarks: list[str] = []
    for item in recorded:
        one_by_one = chain.with_revisions(item.members)
        if not item.folded:
            chain = one_by_one
            continue
        at_once = chain.with_revisions((item,))
        plan = at_once.plans[-1]
        # What an index answers is no other one by one, where it would be asked once others are applied.
        answers = [chain.inventory.answers.get((look.index, look.expectation)) for look in plan.looks]
        if plan.blocked and all(answer is None or answer.is_met for answer in answers):
            ids = ", ".join(member.revision for member in item.members)
            remarks.append(f"revisions {ids} are not folded: {'; '.join(plan.blocked)}")
            chain = one_by_one
        else:
            savings[item.revision] = _saving(plan.steps, one_by_one.plans[len(chain.plans) :])
            chain = at_once
    return Plan(
        project=inventory.project,
        direction=direction,
        target=target,
        revisions=chain.plans,
        digest=digest_of_plans(chain.plans, chain.met),
        warnings=(*hidden, *what_is_untold(chain.plans, first), *remarks),
        summary=summary_of(chain.plans, first),
        savings=savings,
    )


@dataclass(frozen=True)
class _Chain:
    """Revisions that are planned, and what they leave to the next one.

    Attributes:
        catalog: The indexes after them.
        inventory: The server after them.
        options: The user's wishes.
        compares: Whether to tell how else every index could be changed.
        plans: Of each.
        met: Served name -> the definition that the first of them which names it has met.
    """

    catalog: Catalog
    inventory: Inventory
    options: PlanOptions
    compares: bool
    plans: tuple[RevisionPlan, ...] = ()
    met: dict[str, IndexDefinition | None] = field(default_factory=dict)

    def with_revisions(self, recorded: Iterable[RecordedRevision]) -> _Chain:
        """The chain with further revisions."""
        chain = self
        for item in recorded:
            chain = chain._with(item)
        return chain

    def _with(self, item: RecordedRevision) -> _Chain:
        inventory, met = self.inventory, dict(self.met)
        seen = inventory.with_backups_of_folds() if item.folded else inventory
        plan = plan_revision(item, self.catalog, seen, self.options)
        if self.compares:
            others = alternatives_of(plan, item, self.catalog, seen, self.options)
            plan = plan.model_copy(update={"alternatives": others})
        if any(step.kind == "run_function" for step in plan.steps):
            inventory = inventory.with_samples_written()
        before = item.start(self.catalog)
        for name in touched_indexes((item,)):
            met.setdefault(name, before.get(name))
        after = with_physical_names(item.apply_operations(before), plan.steps)
        made = inventory.made
        for operation in item.operations:
            made = made_in_run(operation, made)
        return replace(
            self,
            catalog=after.without(*item.given_up),
            inventory=replace(
                inventory.renamed(plan.steps).after(before, after, item.given_up),
                made=made,
                answers=answers_after(inventory.answers, item, before, after),
                # Each revision has dropped what it replaces before the next one is begun.
                planned_memory_bytes=max(
                    0, inventory.planned_memory_bytes + memory_course(plan.steps).kept_bytes
                ),
                planned_backup_bytes=inventory.planned_backup_bytes
                + sum(step.estimate.backup_bytes for step in plan.steps),
            ),
            plans=(*self.plans, plan),
            met=met,
        )


def _saving(steps: Sequence[Step], one_by_one: Iterable[RevisionPlan]) -> Saving:
    others = [step for plan in one_by_one for step in plan.steps]
    return Saving(
        builds=_builds(steps),
        builds_one_by_one=_builds(others),
        seconds=round(sum(step.estimate.seconds for step in steps), 2),
        seconds_one_by_one=round(sum(step.estimate.seconds for step in others), 2),
        bytes_written=sum(step.estimate.bytes_written for step in steps),
        bytes_written_one_by_one=sum(step.estimate.bytes_written for step in others),
    )


def _builds(steps: Iterable[Step]) -> int:
    """How often the run waits until an index is built."""
    return sum(step.kind == "wait_for_index" for step in steps)


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
