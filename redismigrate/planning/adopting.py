"""Indexes that a revision brings under management: what forbids it, and what of them can't be known."""

from __future__ import annotations

from redismigrate.planning.plan_in_progress import PlanInProgress
from redismigrate.schema import VectorField
from redismigrate.schema.compare import untold_parameters
from redismigrate.schema.definition import IndexDefinition


def adopt(plan: PlanInProgress) -> None:
    """Claim the indexes that no revision has made and that this one changes.

    Args:
        plan: Gets the claims, warnings and obstacles.
    """
    for name, definition in plan.recorded.brought_in.items():
        plan.blocked.about = name
        plan.claim(name)
        owner = plan.owner(definition.physical)
        if definition.physical != name and owner not in (None, plan.inventory.project):
            plan.blocked.append(
                f"{name} is an alias of index {definition.physical}, which belongs to project {owner}"
            )
        live = plan.inventory.live.get(definition.physical)
        if live is None:
            plan.blocked.append(f"index {name} does not exist on the server")
        elif live.is_temporary is None and not plan.options.allow_lossy:
            # What is recorded now decides whether later revisions may drop it.
            plan.blocked.append(
                f"FT.DEBUG did not answer, so it can't be told whether index {name} is TEMPORARY and "
                "would take its documents along when it is dropped; grant FT.DEBUG (in Redis 8 _FT.DEBUG "
                "and enable-debug-command), or say --allow-lossy if you know that it is not"
            )
        lost = _lost_in_reading(definition, has_vector_details=live is None or live.has_vector_details)
        if lost:
            plan.warnings.append(
                f"index {name} was not made by a revision: {lost} can't be read from the server; name "
                "what you use of it in alter_field"
            )


def _lost_in_reading(definition: IndexDefinition, *, has_vector_details: bool) -> str:
    """Options that FT.INFO does not give back (facts measured on 2.10.5), nor FT.DEBUG where it answered."""
    schema = definition.schema
    lost = ["SKIPINITIALSCAN"]
    if any(field.type == "text" for field in schema.fields):
        lost.append("PHONETIC")
    if any(field.type == "vector" for field in schema.fields):
        lost.append("INITIAL_CAP")
    if not has_vector_details:
        vectors = [field for field in schema.fields if isinstance(field, VectorField)]
        untold = [name for field in vectors for name in untold_parameters(field)]
        lost += [name.upper() for name in dict.fromkeys(untold)]
    return ", ".join(lost)
