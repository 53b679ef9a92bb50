"""What undoes steps that were carried out: the same kinds of steps, the other way round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from redismigrate.documents.twins import twins_of
from redismigrate.planning.index_steps import scanning
from redismigrate.planning.physical_names import (
    index_brought_back,
    makes_an_index,
    names_brought_back,
    step_with_names,
)
from redismigrate.planning.plan import Step, moves_names
from redismigrate.planning.step_life import LifeName, StepKind
from redismigrate.schema.definition import IndexDefinition


def undo_of(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps that undo these, last first, as far as they changed something."""
    undo: list[Step] = []
    moved = {step.index for step in steps if _takes_first_form_away(step)}
    made = {
        step.after.physical for step in steps if step.life.name == "create_beside" and step.after is not None
    }
    names: dict[str, str] = {}
    moves: list[Step] = []
    for planned in reversed(steps):
        if not moves_names(planned):
            undo += moves
            moves = []
        # Undoing a later step may have brought an index back under another name.
        step = step_with_names(planned, names)
        names |= names_brought_back((step,))
        if makes_an_index(planned) and planned.after is not None:
            names.pop(planned.after.physical, None)
        if step.life.name in {"make_copies", "fill_twins"} and step.index in moved:
            undo += _remove_what_was_copied_back(step)
        elif (
            planned.life.has("stays_same_index") and step.before is not None and step.before.physical in made
        ):
            continue  # an index that goes need not be as it was before
        elif moves_names(planned):
            # What names lead to is there again before the first of them moves, and all move as one.
            for each in _undo_of_one(step):
                (moves if moves_names(each) else undo).append(each)
        else:
            undo += _undo_of_one(step)
    undo += moves
    # Before anything is dropped: a damaged backup can't bring the documents back.
    checks = [
        step.model_copy(update={"kind": "verify_backup", "description": f"verify the backup of {step.index}"})
        for step in undo
        if step.kind == "restore_documents"
    ]
    return (*checks, *undo)


def _takes_first_form_away(step: Step) -> bool:
    """Whether the second form alone is known after a step, so that going back makes the first of it."""
    # Where the old values stay, nothing tells any more after it which of the new ones the run has made.
    return step.life.name in {"remove_twins", "remove_originals"}


def is_kept(step: Step) -> bool:
    """Whether a change can only be left as it is: dropping a TEMPORARY index deletes its documents."""
    return (
        step.life.has("is_kept_if_temporary")
        and step.after is not None
        and step.after.schema.temporary_seconds is not None
    )


def _undo_of_one(step: Step) -> list[Step]:
    undo = UNDOERS.get(step.life.name)
    return [] if undo is None or is_kept(step) else undo(step)


def _give_up(step: Step) -> list[Step]:
    return [Step(kind="release_index", index=step.index, description=f"give up index {step.index}")]


def _claim(step: Step) -> list[Step]:
    return [Step(kind="claim_index", index=step.index, description=f"claim index {step.index}")]


def _set_alias_back(step: Step) -> list[Step]:
    return [_alias_step(step, step.before, f"set alias {step.alias} back")]


def _alias_step(done: Step, target: IndexDefinition | None, description: str) -> Step:
    """The alias that a step has led to its index leads to another one, or to none."""
    return Step(
        kind="set_alias",
        index=done.index,
        alias=done.alias,
        before=done.after,
        after=target,
        description=description,
    )


def _run_other_function(step: Step) -> list[Step]:
    if step.call is None:
        return []
    direction = "down" if step.call.function_direction == "up" else "up"
    call = step.call.model_copy(update={"function_direction": direction})
    return [step.model_copy(update={"call": call, "description": f"undo: {step.description}"})]


def _restore(step: Step) -> list[Step]:
    description = f"restore the documents of {step.index}"
    return [step.model_copy(update={"kind": "restore_documents", "description": description})]


def _bring_values_back(step: Step) -> list[Step]:
    description = f"bring the values back: {step.description}"
    return [step.model_copy(update={"kind": "restore_values", "description": description})]


def _drop_values_again(step: Step) -> list[Step]:
    """What came back goes to a backup of this run, and nothing else: documents may have their own values."""
    again = step.with_documents(backup=None)
    kinds: tuple[StepKind, ...] = ("start_backup", "drop_values")
    return [
        again.model_copy(update={"kind": kind, "description": f"drop again: {step.description}"})
        for kind in kinds
    ]


def _remove_second_form(step: Step) -> list[Step]:
    description = f"take back: {step.description}"
    changes = {"kind": "remove_documents", "description": description}
    return [step.with_documents(takes_back=True).model_copy(update=changes)]


def _copy_back(removal: Step) -> list[Step]:
    """Documents go back under their old keys, or values to their old paths.

    Where some have not left them yet, all leave them first.
    """
    finish = removal.model_copy(
        update={"after_record": False, "description": f"finish: {removal.description}"}
    )
    back = _the_other_way(removal)
    description = f"copy the documents of {removal.index} back"
    if removal.life.name == "remove_twins":
        beside = " and ".join(f"{twin.new} beside {twin.old}" for twin in twins_of(back.work.rewrite))
        description = f"write {beside} in the documents of {removal.index} again"
    changes = {"kind": "copy_documents", "description": description}
    return [finish, back.model_copy(update=changes)]


def _remove_what_was_copied_back(copy: Step) -> list[Step]:
    back = _the_other_way(copy)
    description = f"remove the documents of {copy.index} that were copied back"
    if copy.life.name == "fill_twins":
        twins = twins_of(back.work.rewrite)
        gone = " and ".join(twin.old for twin in twins if not twin.keeps_old)
        description = f"remove {gone} from the documents of {copy.index}"
        if not gone:
            description = f"follow no longer what is written to {' and '.join(twin.old for twin in twins)}"
    changes = {"kind": "remove_documents", "description": description}
    return [back.model_copy(update=changes)]


def _the_other_way(step: Step) -> Step:
    """A step that copies, from where it copied to."""
    changes = {"before": step.after, "after": step.before, "after_record": False}
    return step.with_documents(rewrite=step.work.rewrite.reversed()).model_copy(update=changes)


def _drop_again(step: Step) -> list[Step]:
    return [_undo_step("drop_index", step, "drop index {}")]


def _drop_beside_again(step: Step) -> list[Step]:
    if step.after is None:
        return []
    description = f"drop {step.after.physical} again"
    return [Step(kind="drop_index", index=step.index, before=step.after, description=description)]


def _bring_back(drop: Step) -> list[Step]:
    """An index that was dropped is there again, and all that leads to it."""
    if drop.before is None:
        return []
    back = index_brought_back(drop) or drop.before
    names = [
        _alias_step(drop.model_copy(update={"alias": alias}), back, f"set alias {alias} back")
        for alias in back.all_aliases
    ]
    # Under a name that may be somebody else's by now it is made as a new one: refused where it is taken.
    is_own = back.physical == back.served
    built = _make_without_aliases(back) if is_own else _bring_back_beside(back)
    return [*built, *(names if drop.strategy is None else ())]


def _bring_left_back(drop: Step) -> list[Step]:
    """An index that names have left is there again beside the one that has them, with its own name."""
    return [] if drop.before is None else [*_take_name_back(drop), *_bring_back_beside(drop.before)]


def _create_again(step: Step) -> list[Step]:
    if step.before is None:
        return []
    again = Step(
        kind="create_index",
        index=step.before.served,
        after=scanning(step.before),
        description=f"create index {step.before.served} again",
    )
    return [again, _wait(step.before)]


def _take_name_back(drop: Step) -> list[Step]:
    """An index that was dropped gets the name back that it has left to another one."""
    return [] if drop.alias is None else [_alias_step(drop, None, f"drop alias {drop.alias}")]


def _change_back(step: Step) -> list[Step]:
    if step.before is None or step.after is None:
        return []
    return [_undo_step("replace_index", step, "bring index {} back as it was"), _wait(step.before)]


def _swap_back(swap: Step) -> list[Step]:
    """The names move back to the index from before, which is built again where the swap dropped it."""
    old, new = swap.before, swap.after
    if new is None:
        return []
    built = index_brought_back(swap)
    had = () if old is None else (built or old).all_aliases
    gone = [
        _alias_step(swap.model_copy(update={"alias": alias}), None, f"drop alias {alias}")
        for alias in new.all_aliases
        if alias not in had
    ]
    if old is None:
        return gone
    back = swap.model_copy(
        update={
            "before": new,
            "after": built or old,
            "description": f"move the names of {new.physical} back to {(built or old).physical}",
        }
    )
    return [*(_bring_back_beside(built) if built is not None else ()), *gone, back]


def _make_without_aliases(definition: IndexDefinition) -> list[Step]:
    again = Step(
        kind="create_index",
        index=definition.served,
        after=replace(scanning(definition), aliases=()),
        description=f"create index {definition.served} again",
    )
    return [again, _wait(definition)]


def _bring_back_beside(definition: IndexDefinition) -> list[Step]:
    again = Step(
        kind="create_index",
        index=definition.served,
        strategy="shadow",
        before=definition,
        after=scanning(definition),
        description=f"create {definition.physical} beside the index that replaced it",
    )
    return [again, _wait(definition)]


def _undo_step(kind: StepKind, step: Step, description: str) -> Step:
    served = step.before.served if step.before is not None else step.index
    return Step(
        kind=kind,
        index=served,
        before=step.after,
        after=step.before,
        description=description.format(served),
    )


def _wait(definition: IndexDefinition) -> Step:
    return Step(
        kind="wait_for_index",
        index=definition.served,
        after=definition,
        description=f"wait until {definition.served} is indexed again",
    )


# What undoes each step of which `step_kinds` says that something does, but for the record: that is taken back
# by whoever rolls back.
UNDOERS: Mapping[LifeName, Callable[[Step], list[Step]]] = {
    "claim_index": _give_up,
    "release_index": _claim,
    "set_alias": _set_alias_back,
    "swap_alias": _swap_back,
    "run_function": _run_other_function,
    "rewrite_documents": _restore,
    "promote_documents": _restore,
    "fill_second_fields": _remove_second_form,
    "fill_twins": _remove_second_form,
    "make_copies": _remove_second_form,
    "remove_twins": _copy_back,
    "drop_values": _bring_values_back,
    "restore_values": _drop_values_again,
    "remove_originals": _copy_back,
    "create_index": _drop_again,
    "create_beside": _drop_beside_again,
    "drop_index": _bring_back,
    "drop_to_rewrite": _create_again,
    "drop_left": _bring_left_back,
    "alter_index": _change_back,
    "replace_index": _change_back,
    "set_synonyms": _change_back,
}
