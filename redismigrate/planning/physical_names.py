"""What the indexes are called that exist under a served name, before and after they are swapped."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count

from redismigrate.planning.plan import Step
from redismigrate.schema.definition import Catalog, IndexDefinition


def physical_name(served: str, revision: str, fence: str, taken: Container[str]) -> str:
    """The name of an index that is built beside another one.

    Args:
        served: The name clients query.
        revision: The revision that asks for it.
        fence: The number of the run's fencing token, so that going up, down and up never meets a name twice.
        taken: The names there are; a revision that changes an index twice needs a second one.
    """
    name = f"{served}__{revision}_{fence}"
    return next(free for free in chain((name,), (f"{name}_{n}" for n in count(2))) if free not in taken)


def index_brought_back(step: Step) -> IndexDefinition | None:
    """The index that undoing a step builds, where the step has put an alias in the place of an index.

    The alias has the name by then, so the old index comes back under another one.

    Returns:
        None where the index that was swapped out or dropped has a name of its own.
    """
    before, after = step.before, step.after
    if before is not None and step.drop is not None and step.drop.comes_back_as is not None:
        return replace(before, physical=step.drop.comes_back_as)
    if step.kind != "swap_alias" or before is None or after is None:
        return None
    if before.physical not in after.all_aliases:
        return None
    return replace(before, physical=f"{after.physical}_back")


def names_brought_back(steps: Sequence[Step]) -> dict[str, str]:
    """How the indexes that some steps met are called once all of these are undone.

    Returns:
        Physical name before the steps -> by then, of those that come back under another one.
    """
    names: dict[str, str] = {}
    for step in reversed(steps):
        back = index_brought_back(step)
        if back is not None and step.before is not None:
            names[step.before.physical] = back.physical
        if makes_an_index(step) and step.after is not None:
            names.pop(step.after.physical, None)  # that one the steps did not meet
    return names


def makes_an_index(step: Step) -> bool:
    """Whether a step makes an index under the name that it is to have, where there was none."""
    return step.life.name == "create_index"


def names_changed_by(plan: Sequence[Step], undo: Iterable[Step], known: Mapping[str, str]) -> dict[str, str]:
    """How the indexes that earlier revisions knew are called once a revision is undone.

    Args:
        plan: Its steps.
        undo: The steps that undid it.
        known: What revisions after it have changed when they were undone: name as recorded -> name by now.
    """
    names = dict(known)
    built = {step.after.physical for step in undo if step.kind == "create_index" and step.after is not None}
    names |= {name: now for name, now in names_brought_back(plan).items() if now in built}
    for step in plan:
        if step.kind == "create_index" and step.strategy is None and step.after is not None:
            # Before this revision there was no such index.
            names = {name: now for name, now in names.items() if now != step.after.physical}
    return names


def with_names(definition: IndexDefinition | None, names: Mapping[str, str]) -> IndexDefinition | None:
    """An index as it is called by now."""
    if definition is None:
        return None
    return replace(definition, physical=names.get(definition.physical, definition.physical))


def step_with_names(step: Step, names: Mapping[str, str]) -> Step:
    """A step about indexes as they are called by now."""
    changes = {"before": with_names(step.before, names), "after": with_names(step.after, names)}
    return step.model_copy(update=changes) if names else step


def catalog_with_names(catalog: Catalog, names: Mapping[str, str]) -> Catalog:
    """The catalog with indexes as they are called by now."""
    for definition in catalog.values():
        if definition.physical in names:
            catalog = catalog.with_definition(replace(definition, physical=names[definition.physical]))
    return catalog


def with_physical_names(catalog: Catalog, steps: Iterable[Step]) -> Catalog:
    """The catalog with the physical names to which the steps of a plan lead."""
    for step in steps:
        leads = step.life.has("replaces_index") or makes_an_index(step)
        is_renamed = step.kind == "set_alias" and step.after is not None and step.alias == step.after.served
        if (leads or is_renamed) and step.after is not None and step.after.served in catalog:
            definition = catalog[step.after.served]
            catalog = catalog.with_definition(replace(definition, physical=step.after.physical))
    return catalog
