"""Puts indexes of a revision back that could not be changed, while its others go on; and tries them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redismigrate.backup.backup import Backup
from redismigrate.backup.folders import backup_folder, discard_backup
from redismigrate.backup.manifest import MANIFEST
from redismigrate.errors import DriftError, PlanBlocked, RevisionPartial, SchemaError
from redismigrate.execution.endings import FAILURES, error_in_message
from redismigrate.execution.held_run import HeldRun
from redismigrate.execution.index_states import index_states
from redismigrate.execution.indexes_apart import IndexesApart
from redismigrate.execution.run import now
from redismigrate.execution.undoing import carry_out_undo, records_renamed, steps_done
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.index_parts import (
    cut_down,
    indexes_of,
    parts_of,
    recording_no_revision,
    steps_about,
    steps_without,
)
from redismigrate.planning.physical_names import catalog_with_names, names_brought_back
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.undo import is_kept
from redismigrate.schema.definition import Catalog
from redismigrate.state.transaction import Transaction

Replan = Callable[[tuple[RecordedRevision, ...], frozenset[str] | None], RevisionPlan]
"""Plans revisions, of which several are one fold, and the indexes that the run has made by then."""


def names_at_fault(
    work: HeldRun, steps: Sequence[Step], look_again: Callable[[Sequence[Step]], object]
) -> frozenset[str]:
    """The served names of what could not be changed, when some steps failed that were one.

    Args:
        work: The run.
        steps: Of one index, or some that move names of several.
        look_again: Raises what a part of them is refused for.

    Returns:
        Those of one index where it can be told which one it was; else of all that the steps are about.
    """
    parts = [part for part in _parts(work) if steps_about(steps, part)]
    for part in parts if len(parts) > 1 else ():
        try:
            look_again(steps_about(steps, part))
        except FAILURES:
            return part
    return frozenset().union(*parts)


def kept_of(work: HeldRun, names: frozenset[str]) -> tuple[str, ...]:
    """The indexes among some that can't be put back: dropping a TEMPORARY one deletes its documents."""
    done = steps_about(work.run.plan.steps[: work.run.position], names)
    return tuple(str(step.index) for step in done if is_kept(step))


def begin_to_put_back(work: HeldRun, names: frozenset[str], reason: str) -> None:
    """Turn to undoing what was done to an index; from now on its revision can't be recorded in this attempt.

    Args:
        work: The run, which goes forward.
        names: The served names of the index, before and after its revision.
        reason: Why it could not be changed.
    """
    run = work.run
    # A batch that was under way may have been left there; who goes on looks at all documents again.
    work.stop_following()
    done = steps_about(steps_done(work), names)
    apart = run.apart.with_changes(putting_back=tuple(sorted(names)), stopped_at=run.position)
    back = run.with_changes(
        # A version that knows nothing of this refuses such a record, rather than undo this index alone.
        plan=run.plan.model_copy(update={"steps": recording_no_revision(run.plan.steps)}),
        failure=reason,
        undo=run.undo_of(done),
        position=0,
        progress=None,
        apart=apart,
    )
    index = ", ".join(_indexes(work, names))
    catalog = catalog_with_names(work.state.catalog, names_brought_back(done))
    work.write(back, work.event("put back", index=index, reason=reason), Transaction(catalog=catalog))


def finish_putting_back(work: HeldRun) -> bool:
    """Undo what was done to an index, and turn to the others again, wherever an earlier attempt was cut off.

    Returns:
        Whether anything of the revision is changed or still to be changed; else the run is over.

    Raises:
        RunInterrupted: A step of the undoing can't be done.
    """
    carry_out_undo(work)
    run = work.run
    names = frozenset(run.apart.putting_back)
    reason = str(run.failure)
    own = steps_about(run.plan.steps[: run.apart.stopped_at], names)
    steps, position = steps_without(run.plan.steps, names, run.apart.stopped_at)
    left = {**run.apart.left, **dict.fromkeys(_indexes(work, names), reason)}
    rest = run.with_changes(
        plan=run.plan.model_copy(update={"steps": tuple(steps)}),
        failure=None,
        undo=(),
        position=position,
        progress=None,
        baselines=_without(run.baselines, names),
        backups=_without(run.backups, names),
        quantizations=_without(run.quantizations, names),
        apart=IndexesApart(met=run.apart.met, left=left),
    )
    renamed = Transaction(undo=records_renamed(work, own))
    if steps:
        work.write(rest, work.event("left", index=", ".join(_indexes(work, names)), reason=reason), renamed)
    else:
        reasons = [reason] if len(left) == 1 else [f"{index}: {why}" for index, why in left.items()]
        work.end(rest.with_changes(failure=" ".join(reasons)), work.event("undone"), renamed)
    return bool(steps)


def try_again(work: HeldRun, replan: Replan) -> None:
    """Plan what was left of a revision, and add it to what was done of it.

    Args:
        work: The run, which is partial.
        replan: Plans a revision on the server as it is now.

    Raises:
        RevisionPartial: None of these indexes can be changed as things are; nothing was changed.
        PlanBlocked: They can't be changed together; nothing was changed.
    """
    run = work.run
    made = None if run.made is None else frozenset(run.made)
    met, recorded = _met(work), run.plan.recorded
    waiting: set[str] = set()
    left: dict[str, str] = {}
    for part in _parts(work):
        indexes = _indexes(work, part)
        if run.apart.left.keys().isdisjoint(indexes):
            continue
        reason = _why_not(replan, cut_down(recorded, part, met), made)
        if reason is None:
            waiting |= part
        else:
            left |= dict.fromkeys(indexes, reason)
    if not waiting:
        work.write(run.with_changes(apart=run.apart.with_changes(left=left)), work.event("left"))
        raise partial(work)
    plan = replan((cut_down(recorded, waiting, met),), made)
    if plan.blocked:
        raise PlanBlocked(
            f"The rest of revision {plan.revision} can't run: {'; '.join(plan.blocked)}.",
            "Its other indexes stay as they are; `redismigrate rollback` undoes them.",
            plan.blocked,
        )
    for warning in plan.warnings:
        work.watcher.warned(warning)
    _discard_backups(work, plan.steps)
    steps = recording_no_revision(plan.steps) if left else plan.steps
    changes: dict[str, Any] = {"steps": (*run.plan.steps, *steps)}
    work.write(
        run.with_changes(
            plan=run.plan.model_copy(update=changes),
            progress=None,
            apart=run.apart.with_changes(left=left),
            revision_started_at=now(),
        ),
        work.event("again", index=", ".join(sorted(waiting))),
    )


def partial(work: HeldRun) -> RevisionPartial:
    """The error of a run of whose revision some indexes are changed, and the others as they were."""
    run = work.run
    states = index_states(run)
    failed = sum(each.state == "failed" for each in states)
    error = RevisionPartial(
        f"Revision {run.plan.revision} is partly applied: {failed} of its {len(states)} indexes could not be "
        "changed.",
        f"Remove the causes and run `redismigrate {run.direction} {run.target}` again: it tries the rest. Or "
        "undo all of it with `redismigrate rollback`.",
    )
    error.indexes = tuple((each.index, each.state, each.reason or "") for each in states)
    return error


def _why_not(replan: Replan, recorded: RecordedRevision, made: frozenset[str] | None) -> str | None:
    """Why a part of a revision can't run on the server as it is; None when it can."""
    try:
        plan = replan((recorded,), made)
    except (DriftError, SchemaError) as error:
        return error_in_message(error)
    return "; ".join(plan.blocked) or None


def _discard_backups(work: HeldRun, steps: Sequence[Step]) -> None:
    """Remove the backup of an attempt that was undone, where the next one would add to it.

    What is backed up before it is changed is backed up anew. Of copies, originals that a newer copy has
    replaced stay: nothing else holds them.
    """
    run, folder = work.run, Path(work.run.arguments["backup_dir"])
    for index in dict.fromkeys(str(step.index) for step in steps if step.life.name == "make_copies"):
        place = backup_folder(folder, work.keys.project, run.id, run.plan.revision, index)
        if (place / MANIFEST).is_file() and not Backup.open(place).manifest.options.get("replaced"):
            discard_backup(place, work.writer.require_kept)


def _met(work: HeldRun) -> Catalog:
    """The recorded indexes as the revision at work met them."""
    return work.run.apart.catalog_met(work.state.catalog)


def _parts(work: HeldRun) -> tuple[frozenset[str], ...]:
    return parts_of(work.run.plan.recorded, _met(work))


def _indexes(work: HeldRun, names: frozenset[str]) -> tuple[str, ...]:
    """The indexes of some served names, as they are called before the revision."""
    start = work.run.plan.recorded.start(_met(work))
    return tuple(
        index for part in _parts(work) if part & names for index in indexes_of(part, start)
    ) or tuple(sorted(names))


def _without(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
