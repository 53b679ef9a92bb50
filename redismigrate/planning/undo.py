"""What undoes steps that were carried out: the same kinds of steps, the other way round."""

from __future__ import annotations

from redismigrate.planning.index_steps import scanning
from redismigrate.planning.plan import Step, StepKind
from redismigrate.schema.definition import IndexDefinition


def undo_of(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps that undo these, last first, as far as they changed something."""
    undo: list[Step] = []
    for step in reversed(steps):
        undo += _undo_of_one(step)
    # Before anything is dropped: a damaged backup can't bring the documents back.
    checks = [
        step.model_copy(update={"kind": "verify_backup", "description": f"verify the backup of {step.index}"})
        for step in undo
        if step.kind == "restore_documents"
    ]
    return (*checks, *undo)


def is_kept(step: Step) -> bool:
    """Whether a change can only be left as it is: dropping a TEMPORARY index deletes its documents."""
    return (
        step.kind in {"create_index", "alter_index", "set_synonyms"}
        and step.after is not None
        and step.after.schema.temporary_seconds is not None
    )


def _undo_of_one(step: Step) -> list[Step]:
    old, new = step.after, step.before
    if is_kept(step):
        return []
    if step.kind == "claim_index":
        return [Step(kind="release_index", index=step.index, description=f"give up index {step.index}")]
    if step.kind == "release_index":
        return [Step(kind="claim_index", index=step.index, description=f"claim index {step.index}")]
    if step.kind == "set_alias":
        description = f"set alias {step.alias} back"
        return [
            Step(
                kind="set_alias",
                index=step.index,
                alias=step.alias,
                before=old,
                after=new,
                description=description,
            )
        ]
    if step.kind == "run_function":
        direction = "down" if step.function_direction == "up" else "up"
        return [
            step.model_copy(
                update={"function_direction": direction, "description": f"undo: {step.description}"}
            )
        ]
    if step.kind == "rewrite_documents":
        description = f"restore the documents of {step.index}"
        return [step.model_copy(update={"kind": "restore_documents", "description": description})]
    if step.kind == "create_index":
        return [_undo_step("drop_index", step, "drop index {}")]
    if step.kind == "drop_index" and new is not None:
        again = Step(
            kind="create_index",
            index=new.served,
            after=scanning(new),
            description=f"create index {new.served} again",
        )
        return [again, _wait(new)]
    if step.kind in {"alter_index", "replace_index", "set_synonyms"} and old is not None and new is not None:
        return [_undo_step("replace_index", step, "bring index {} back as it was"), _wait(new)]
    return []


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
