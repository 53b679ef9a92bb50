"""Which names are free and whose they are, on the server as the steps of a plan so far will leave it."""

from __future__ import annotations

from collections.abc import Sequence

from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Step


def owner_of(name: str, inventory: Inventory, steps: Sequence[Step]) -> str | None:
    """The project that an index belongs to; None when it is nobody's."""
    for step in reversed(steps):
        if step.index == name and step.life.has("owns"):
            return inventory.project if step.kind == "claim_index" else None
    return inventory.owners.get(name)


def is_index(name: str, inventory: Inventory, steps: Sequence[Step]) -> bool:
    """Whether an index of that name stands in the way of a new index or alias."""
    return name in inventory.names and not any(
        step.kind != "set_alias"  # that leaves the index as it is
        and step.before is not None
        and step.before.physical == name
        and (step.after is None or step.after.physical != name)
        for step in steps
    )


def alias_target_after(name: str, inventory: Inventory, steps: Sequence[Step]) -> str | None:
    """The physical index that a name is an alias of; None when it is no alias."""
    for step in reversed(steps):
        if step.kind == "set_alias" and step.alias == name:
            return None if step.after is None else step.after.physical
        if step.kind == "swap_alias" and step.after is not None and name in step.after.all_aliases:
            return step.after.physical
        if (
            step.life.has("drops_index")
            and not step.after_record
            and step.before is not None
            and name in step.before.all_aliases
        ):
            return None if step.after is None or step.kind == "drop_index" else step.after.physical
        if _leaves_free(step, name, steps):
            return None
    return inventory.aliases.get(name)


def _leaves_free(step: Step, name: str, steps: Sequence[Step]) -> bool:
    """Whether a step drops the index that a name led to, after an index of another name took its place."""
    if step.kind != "drop_index" or step.strategy != "shadow" or step.before is None:
        return False
    return name in step.before.all_aliases and not any(
        swap.kind == "swap_alias"
        and swap.before is not None
        and swap.before.physical == step.before.physical
        and swap.after is not None
        and name in swap.after.all_aliases
        for swap in steps
    )


def why_taken(name: str, inventory: Inventory, steps: Sequence[Step]) -> str | None:
    """Why no new index can have that name; None when it can."""
    if is_index(name, inventory, steps):
        return (
            f"index {name} exists already on the server; change it with op.index({name!r}), "
            "or record it with `redismigrate stamp`"
        )
    target = alias_target_after(name, inventory, steps)
    return None if target is None else f"{name} is an alias of index {target} on the server"
