"""What a plan can't know on a server that does not tell its settings, as Redis Software and Redis Cloud."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import RevisionPlan, Step


def what_is_untold(plans: Iterable[RevisionPlan], inventory: Inventory) -> Iterator[str]:
    """What the user should know of a plan there, as far as its steps are about it.

    Args:
        plans: The revisions.
        inventory: The server before them.
    """
    capabilities = inventory.capabilities
    steps = [step for plan in plans for step in plan.steps]
    builds = any(step.after is not None and step.life.has("changes_index") for step in steps)
    if builds and not capabilities.tells_maxmemory:
        yield "this server does not tell its maxmemory: compare what the plan adds with your memory limit"
    if capabilities.tells_settings:
        return
    if builds and not any(index.has_vector_details for index in inventory.live.values()):
        yield (
            "this server, as managed ones, tells neither its settings nor by FT.DEBUG how many vectors it "
            "holds: whether any are missing is judged by documents, failures and answers"
        )
    if _by(steps, {"shadow_field"}):
        yield (
            "it can't be read whether this server has PARTIAL_INDEXED_DOCS, with which it would not index "
            "what is written to a second field; if so, use --strategy rebuild"
        )
    if _by(steps, {"shadow_field", "shadow_copy"}):
        yield (
            "whether a proxy passes on what applications write (CLIENT TRACKING BCAST) is tried before any "
            "document is written; where it does not, the revision is undone"
        )


def _by(steps: Iterable[Step], strategies: Collection[str]) -> bool:
    return any(step.strategy in strategies for step in steps)
