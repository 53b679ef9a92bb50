"""The order in which the steps of a revision come: what only adds first, what removes last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from redismigrate.planning.name_moves import NameMoves, leading_moves
from redismigrate.planning.physical_names import makes_an_index
from redismigrate.planning.plan import Step, cutover_of, moves_names
from redismigrate.planning.step_life import BESIDE
from redismigrate.planning.step_payloads import DropPayload
from redismigrate.schema.definition import IndexDefinition


def backups_first(steps: Sequence[Step]) -> list[Step]:
    """The steps in an order in which all documents are read and backed up before any index goes.

    What can't be rewritten is found in all indexes of a revision then, with search on all of them up. Only a
    data migration stays where it is, since it may write what is read after it.
    """
    ordered: list[Step] = []
    made: set[str | None] = set()
    at = None  # where backups go: before the first step that takes an index away
    for step in steps:
        if step.kind == "run_function":
            at = None
        elif step.life.has("takes_search_away") and at is None:
            at = len(ordered)
        is_early = step.life.has("comes_early") and step.strategy == "rebuild"
        if is_early and at is not None and step.index not in made:
            ordered.insert(at, step)
            at += 1
        else:
            ordered.append(step)
        if step.kind == "create_index":
            made.add(step.index)
    return ordered


def in_phases(steps: Sequence[Step], suffix: str = "0") -> list[Step]:
    """The steps with all that moves names right before the record, and what removes the old after it.

    So all names of a revision move in one transaction with its record, and a name that changes hands answers
    all the time. A data migration that follows a change wants to meet it, and so does a further change of the
    same index: there names move before that. There or before the record the expand phase ends, which leaves
    clients what they query.

    Args:
        steps: In the order of the operations, the record last.
        suffix: What tells names of this run from those of others.
    """
    steps = _dropping_what_is_in_the_way(_owned_once(steps))
    removals = [_with_heir(step, steps) for step in steps if step.after_record]
    *rest, record = [step for step in steps if not step.after_record]
    ordered: list[Step] = []
    segment: list[Step] = []
    for step in rest:
        if step.kind == "run_function":
            ordered += [*_moves_late(segment), step]
            segment = []
        elif step.kind != "release_index":
            segment.append(step)
    ordered += _moves_late(segment)
    cutover = leading_moves(reversed(ordered))
    at = len(ordered) - len(cutover)
    ordered[at:at] = [step for step in rest if step.kind == "release_index"]
    return [*_leaving_names(ordered, suffix), record, *removals]


def losses_before_cutover(steps: Sequence[Step]) -> list[Step]:
    """What the expand phase would take away from clients."""
    return [step for step in steps[: cutover_of(steps) or 0] if step.is_loss]


def _owned_once(steps: Sequence[Step]) -> list[Step]:
    """The steps without releases of indexes that are claimed again, and without these claims."""
    first: dict[str | None, int] = {}
    last: dict[str | None, int] = {}
    for at, step in enumerate(steps):
        if step.life.has("owns"):
            first.setdefault(step.index, at)
            last[step.index] = at
    left = {at for at in first.values() if steps[at].kind == "claim_index"}
    left |= {at for at in last.values() if steps[at].kind == "release_index"}
    return [step for at, step in enumerate(steps) if not step.life.has("owns") or at in left]


def _dropping_what_is_in_the_way(steps: Sequence[Step]) -> list[Step]:
    """The steps with the removal of an index before the record where its own name is wanted."""
    wanted = {name for step in steps for name in _names_given_by(step)}
    return [
        step.model_copy(update={"after_record": False, "after": None, "alias": None})
        if step.life.name == "drop_left" and step.before is not None and step.before.physical in wanted
        else step
        for step in steps
    ]


def _names_given_by(step: Step) -> set[str]:
    """The names that lead elsewhere by a step than to an index of that name from before."""
    before, after = step.before, step.after
    if after is None or step.after_record:
        return set()
    if step.kind == "set_alias":
        return {str(step.alias)}
    if step.kind == "swap_alias":
        return set(after.all_aliases)
    if step.kind == "replace_index" and before is not None:
        return {after.physical} - {before.physical}
    if makes_an_index(step):
        return {after.physical}
    return set()


def _moves_late(steps: Sequence[Step]) -> list[Step]:
    """The steps with each that moves names as late as what comes after it admits."""
    ordered: list[Step] = []
    for step in reversed(steps):
        at = 0
        if moves_names(step):
            at = next((at for at, later in enumerate(ordered) if _is_met_by(step, later)), len(ordered))
            ordered[:at] = [_before_alias(later, step) for later in ordered[:at]]
            while at and moves_names(ordered[at - 1]):
                at -= 1
        ordered.insert(at, step)
    return ordered


def _before_alias(step: Step, move: Step) -> Step:
    """A step that now comes before an alias is moved: until then it is another index that has it."""
    if not step.life.has("has_definition") or move.kind != "set_alias" or move.alias is None:
        return step
    changes = {
        side: _before_alias_of(definition, move)
        for side in ("before", "after")
        if (definition := getattr(step, side)) is not None
    }
    return step.model_copy(update=changes)


def _before_alias_of(definition: IndexDefinition, move: Step) -> IndexDefinition:
    aliases = {*definition.aliases}
    if move.after is not None and move.after.served == definition.served:
        aliases -= {str(move.alias)}
    if move.before is not None and move.before.served == definition.served:
        aliases |= {str(move.alias)}
    return replace(definition, aliases=tuple(sorted(aliases)))


def _is_met_by(move: Step, later: Step) -> bool:
    """Whether a later step needs it done: a further change of its index, or one about a name of it."""
    if later.life.has("owns"):
        return False
    if move.kind == "swap_alias" and later.index == move.index:
        # What is done in place to an index that serves nobody yet goes to that one.
        return later.strategy in BESIDE or not later.life.has("bears_unmoved_names")
    # Undone, most of what is done in place is another index of the same name.
    is_in_place = later.life.has("has_definition") and later.strategy not in BESIDE
    if moves_names(later) or later.kind == "drop_index":
        needs_it = True
    elif move.kind == "set_alias":
        # Of a served name: what is done in place, and undone, is done to an index of that name.
        is_renaming = any(d is not None and move.alias == d.served for d in (move.before, move.after))
        needs_it = (is_in_place and is_renaming) or _changes_physical_name(later)
    else:
        needs_it = is_in_place
    return needs_it and not _names_of(move).isdisjoint(_names_of(later))


def _changes_physical_name(step: Step) -> bool:
    if makes_an_index(step):
        return True
    if step.kind != "replace_index" or step.before is None or step.after is None:
        return False
    return step.before.physical != step.after.physical


def _names_of(step: Step) -> set[str]:
    definitions = [definition for definition in (step.before, step.after) if definition is not None]
    names = {name for definition in definitions for name in (definition.physical, *definition.all_aliases)}
    return names | ({step.alias} if step.alias is not None else set())


def _leaving_names(steps: Sequence[Step], suffix: str) -> list[Step]:
    """The steps, of which one that drops an index knows which other one has its name by then."""
    ordered: list[Step] = []
    while len(ordered) < len(steps):
        at = len(ordered)
        group = leading_moves(steps[at:])
        heirs = NameMoves.of(group).heirs
        ordered += [_leaving_name(step, heirs, suffix) for step in group or steps[at : at + 1]]
    return ordered


def _leaving_name(step: Step, heirs: Mapping[str, IndexDefinition], suffix: str) -> Step:
    heir = None if step.before is None else heirs.get(step.before.physical)
    if step.kind != "drop_index" or step.before is None or heir is None:
        return step
    name = step.before.physical
    changes = {
        "alias": name,
        "after": heir,
        "description": f"drop index {name}, whose name becomes an alias of {heir.physical}",
        "drop": (step.drop or DropPayload()).model_copy(update={"comes_back_as": f"{name}__{suffix}_back"}),
        "rollback": "build it beside the index that has its name, then move the name back",
    }
    return step.model_copy(update=changes)


def _with_heir(removal: Step, steps: Sequence[Step]) -> Step:
    """The removal of an index that leaves its name to the one that serves when the revision is done.

    A further change of the revision may have swapped that out, too, or dropped it.
    """
    heir = removal.after
    if removal.alias is None or heir is None:
        return removal
    for step in steps[steps.index(removal) + 1 :]:
        if step.before is None or step.before.physical != heir.physical:
            continue
        if step.life.has("replaces_index") and step.after is not None:
            heir = step.after
        elif step.kind == "drop_index" and step.strategy is None:
            description = f"drop {removal.alias}, which nothing queries any more"
            return removal.model_copy(update={"after": None, "alias": None, "description": description})
    description = f"drop {removal.alias}, whose name becomes an alias of {heir.physical}"
    return removal.model_copy(update={"after": heir, "description": description})
