"""What is told of names before they move: which are gone, become aliases, or don't answer for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.planning.name_moves import NameMoves, names_in, times_without
from redismigrate.planning.plan import Step, moves_names
from redismigrate.planning.plan_in_progress import PlanInProgress
from redismigrate.quantities import duration

# By that programs, and the colour, tell it from notes.
ALIASES_LOST = "aliases_lost"
# A search that comes between the two commands fails; with the way of a reply and a command between them.
GAP_SECONDS = 0.01


def told_of_names(steps: Sequence[Step], plan: PlanInProgress) -> tuple[list[Step], list[str]]:
    """What a plan has to say about names, by the order in which its steps come.

    Args:
        steps: In that order.
        plan: What else is known: the indexes before and after, and the server.

    Returns:
        The steps, with how long searches fail that query a name, and the warnings.
    """
    warnings = [*_gone(plan)]
    down: dict[int, float] = {}
    for name, taking, during in times_without(steps, plan.names & names_in(plan.catalog)):
        seconds = sum(step.estimate.seconds for step in during) or GAP_SECONDS
        down[id(taking)] = max(seconds, down.get(id(taking), 0.0))
        functions = [step.description for step in during if step.kind == "run_function"]
        as_well = f", and as long as it takes to {functions[0]}" if functions else ""
        warnings.append(
            f"searches on {name} fail or miss documents for about {duration(seconds)}{as_well}: "
            f"{_why(taking, during, plan)}"
        )
    for name, step in _becoming_aliases(steps, plan):
        warnings.append(f"{name} becomes an alias, which FT._LIST and RedisVL's exists() lack")
        if not plan.inventory.capabilities.runs_search_in_scripts:
            warnings.append(
                f"this cluster can't drop the index {name} and set the alias in one transaction: "
                f"searches on it fail for about {GAP_SECONDS * 1000:.0f} ms in between"
            )
            down[id(step)] = max(GAP_SECONDS, down.get(id(step), 0.0))
    return [_with_downtime(step, down.get(id(step), 0.0)) for step in steps], warnings


def _why(taking: Step, during: Sequence[Step], plan: PlanInProgress) -> str:
    if any(step.kind == "run_function" for step in during):
        return f"op.run comes between what takes the name away ({taking.description}) and what gives it again"
    if plan.options.adoption == "never":
        return 'adopt = "never" says that a new index may not be built beside the one that has its name'
    return "the new index is made in the place of the one that has its name"


def _gone(plan: PlanInProgress) -> Iterator[str]:
    """The names of renamed indexes that nothing has afterwards."""
    names = names_in(plan.catalog)
    for at, (old, new) in enumerate(plan.renames):
        last = new
        for before, after in plan.renames[at + 1 :]:
            last = after if last == before else last
        if old in plan.names and old not in names and last in names:
            yield f"the name {old} is gone afterwards; clients query {last}"


def _becoming_aliases(steps: Sequence[Step], plan: PlanInProgress) -> Iterator[tuple[str, Step]]:
    """The names of indexes that lead to another index from now on, and the step that drops the first one."""
    moves = NameMoves.of(filter(moves_names, steps))
    for name in moves.heirs:
        if name in plan.names:
            yield name, moves.dropped[name]


def _with_downtime(step: Step, seconds: float) -> Step:
    if not seconds:
        return step
    estimate = step.estimate.model_copy(update={"search_downtime_seconds": round(seconds, 2)})
    return step.model_copy(update={"estimate": estimate})


def lost_aliases(steps: Sequence[Step], plan: PlanInProgress) -> Iterator[str]:
    """What becomes of the aliases of indexes that no revision made, where such an index is dropped."""
    if plan.recorded.direction == "downgrade" or plan.inventory.capabilities.lists_aliases:
        return
    dropped = _dropped(steps)
    for name, definition in plan.recorded.adopted.items():
        if definition.physical in dropped:
            found = f": {', '.join(definition.aliases)} found and kept" if definition.aliases else ""
            yield (
                f"aliases of index {definition.physical} that are not known stop to answer ({ALIASES_LOST}), "
                f"and this server does not list them{found}. Name them: `redismigrate upgrade --alias NAME`, "
                f"or the setting known_aliases. `redismigrate repair --alias NAME={name}` brings one back"
            )


def unrecorded_aliases(steps: Sequence[Step], plan: PlanInProgress) -> Iterator[str]:
    """Aliases that the user knows, of indexes that are dropped, and that nothing would set again.

    Those of indexes that this revision brings under management are kept.
    """
    kept = names_in(plan.start) | names_in(plan.catalog)
    dropped = _dropped(steps)
    for alias, target in plan.inventory.aliases.items():
        if target in dropped and alias not in kept:
            yield (
                f"{alias} is an alias of index {target} and is not recorded, so nothing would answer to it "
                "afterwards: let a revision before this one say "
                f"op.create_alias({alias!r}, {dropped[target]!r})"
            )


def _dropped(steps: Sequence[Step]) -> dict[str, str]:
    """The indexes that steps drop, and with them the aliases that they have: physical -> served name."""
    return {
        step.before.physical: step.before.served
        for step in steps
        if step.before is not None and _drops(step, step.before.physical)
    }


def _drops(step: Step, physical: str) -> bool:
    """Whether a step drops the index before it, and with it the aliases that it has."""
    if step.kind == "swap_alias":
        return step.after is not None and physical in step.after.all_aliases
    return step.life.has("drops_index")
