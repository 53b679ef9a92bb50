"""The order in which the steps of a revision come: what only adds first, what removes last."""

from __future__ import annotations

from collections.abc import Sequence

from redismigrate.planning.plan import Step

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
    wants to meet it, and so does a further change of the same index: there the swap stays where it is.
    """
    staying: list[Step] = []
    swaps: list[Step] = []
    removals: list[Step] = []
    for at, step in enumerate(steps):
        later = steps[at + 1 :]
        if step.after_record and step.strategy == "shadow" and _frees_a_name(step, later):
            staying.append(step.model_copy(update={"after_record": False}))
        elif step.after_record:
            removals.append(step)
        elif step.kind == "swap_alias" and not _is_needed_later(step, later):
            swaps.append(step)
        else:
            staying.append(step)
    return [*staying[:-1], *swaps, *staying[-1:], *removals]


def _is_needed_later(swap: Step, later: Sequence[Step]) -> bool:
    return _frees_a_name(swap, later) or any(
        step.kind == "run_function" or (step.index == swap.index and not step.after_record) for step in later
    )


def _frees_a_name(step: Step, later: Sequence[Step]) -> bool:
    """Whether a later step makes an index or alias of a name that the index before this one has."""
    if step.before is None:
        return False
    names = {step.before.physical, *step.before.all_aliases}
    return any(
        other.alias in names
        or (other.kind == "create_index" and other.strategy is None and str(other.index) in names)
        for other in later
        if not other.after_record
    )
