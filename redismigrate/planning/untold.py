"""What a plan can't know: of a server that does not tell its settings, or builds as nobody has measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.schema.vector_field import VectorField


def what_is_untold(plans: Iterable[RevisionPlan], inventory: Inventory) -> Iterator[str]:
    """What the user should know of a plan, as far as its steps are about it.

    Args:
        plans: The revisions.
        inventory: The server before them.
    """
    capabilities = inventory.capabilities
    steps = [step for plan in plans for step in plan.steps]
    builds = any(step.after is not None and step.life.has("changes_index") for step in steps)
    if builds and not capabilities.tells_maxmemory:
        yield "this server does not tell its maxmemory: compare what the plan adds with your memory limit"
    if not capabilities.tells_expiring_fields and any(step.rewrite is not None for step in steps):
        yield (
            "this server does not tell (INFO keyspace, subexpiry) whether fields of hashes have a time to "
            "live: those that are rewritten may lose theirs"
        )
    if capabilities.search_workers and any(map(_builds_graph, steps)):
        # Seen on RediSearch 8.2.13: FT.INFO said that it was done 6 to 13 s before 3,000 vectors of 1,536
        # numbers were in their graph. A search looks at those that wait one by one: it found 2,987 to 2,992
        # of 3,000 by KNN over all, about as many as without such threads.
        yield (
            "this server builds graphs with threads of its own (search-workers "
            f"{capabilities.search_workers}), and the seconds here were measured without; it may go on with "
            "a graph after it calls the index complete, and searches look through the rest one by one"
        )
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


def _builds_graph(step: Step) -> bool:
    if step.after is None or not step.life.has("changes_index"):
        return False
    return any(
        isinstance(field, VectorField) and field.algorithm != "FLAT" for field in step.after.schema.fields
    )


def _by(steps: Iterable[Step], strategies: Collection[str]) -> bool:
    return any(step.strategy in strategies for step in steps)
