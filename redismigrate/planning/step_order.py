"""The order in which the steps of a revision come: what only adds first, what removes last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redismigrate.planning.plan import Step, cutover_of

TAKES_SEARCH_AWAY = {"drop_index", "replace_index", "rewrite_documents"}


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
        elif step.kind in TAKES_SEARCH_AWAY and at is None:
            at = len(ordered)
        is_early = step.kind in {"prove_index", "back_up_documents"} and step.strategy == "rebuild"
        if is_early and at is not None and step.index not in made:
            ordered.insert(at, step)
            at += 1
        else:
            ordered.append(step)
        if step.kind == "create_index":
            made.add(step.index)
    return ordered


def in_phases(steps: Sequence[Step]) -> list[Step]:
    """The steps with the swaps right before the record, and what removes the old after it.

    All swaps of a revision are one transaction with its record so. A data migration that follows a change
    wants to meet it, and so does a further change of the same index: there the swap stays where it is. What
    else takes an index or a name away from clients comes last before the first swap, where that can be: there
    the expand phase ends, which leaves them all.
    """
    moved = names_moved_by(steps)
    staying: list[Step] = []
    swaps: list[Step] = []
    removals: list[Step] = []
    for at, step in enumerate(steps):
        later = steps[at + 1 :]
        if step.after_record and step.strategy == "shadow" and _frees_a_name(step, later, moved):
            staying.append(step.model_copy(update={"after_record": False}))
        elif step.after_record:
            removals.append(_with_heir(step, steps))
        elif step.kind == "swap_alias" and not _is_needed_later(step, later, moved):
            swaps.append(step)
        else:
            staying.append(step)
    return _losses_late([*staying[:-1], *swaps, *staying[-1:], *removals])


def losses_before_cutover(steps: Sequence[Step]) -> list[Step]:
    """What the expand phase would take away from clients."""
    return [step for step in steps[: cutover_of(steps) or 0] if step.is_loss]


def _losses_late(steps: list[Step]) -> list[Step]:
    swap = next((at for at, step in enumerate(steps) if step.kind == "swap_alias"), 0)
    kept: list[Step] = []
    losses: list[Step] = []
    for step in reversed(steps[:swap]):
        # Against the order, for what stays may need a loss before it.
        if step.is_loss and not _is_met_by(step, kept):
            losses.insert(0, step)
        else:
            kept.insert(0, step)
    return [*kept, *losses, *steps[swap:]]


def _is_met_by(loss: Step, later: Sequence[Step]) -> bool:
    """Whether a later step needs it done: a data migration, or one about a name that gets free by it."""
    names = {loss.index if loss.alias is None else loss.alias}
    if loss.before is not None and loss.kind == "drop_index":
        names |= {loss.before.physical, *loss.before.all_aliases}
    return any(
        step.kind == "run_function" or not names.isdisjoint({step.index, step.alias} - {None})
        for step in later
    )


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
        if step.kind in {"swap_alias", "replace_index"} and step.after is not None:
            heir = step.after
        elif step.kind == "drop_index" and step.strategy is None:
            description = f"drop {removal.alias}, which nothing queries any more"
            return removal.model_copy(update={"after": None, "alias": None, "description": description})
    description = f"drop {removal.alias}, whose name becomes an alias of {heir.physical}"
    return removal.model_copy(update={"after": heir, "description": description})


def names_moved_by(steps: Sequence[Step]) -> dict[str, frozenset[str]]:
    """Physical name of an index that is swapped out -> the names that the other one gets."""
    return {
        step.before.physical: frozenset(step.after.all_aliases)
        for step in steps
        if step.kind == "swap_alias" and step.before is not None and step.after is not None
    }


def _is_needed_later(swap: Step, later: Sequence[Step], moved: Mapping[str, frozenset[str]]) -> bool:
    # What only notes that an index is nobody's any more needs nothing of it.
    return _frees_a_name(swap, later, moved) or any(
        step.kind == "run_function" or (step.index == swap.index and not step.after_record)
        for step in later
        if step.kind != "release_index"
    )


def _frees_a_name(step: Step, later: Sequence[Step], moved: Mapping[str, frozenset[str]]) -> bool:
    """Whether a later step makes an index or alias of a name that the index before this one has."""
    if step.before is None:
        return False
    names = {step.before.physical, *step.before.all_aliases}
    left = names - moved.get(step.before.physical, frozenset())
    return any(
        other.alias in names
        or (other.kind == "create_index" and other.strategy is None and str(other.index) in names)
        or (other.kind == "swap_alias" and other.after is not None and left & {*other.after.all_aliases})
        for other in later
        if not other.after_record
    )
