"""Goes back: undoes a revision that failed, or a whole run that somebody wants to be gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redismigrate.errors import RunInterrupted
from redismigrate.execution.endings import FAILURES, error_in_message
from redismigrate.execution.held_run import HeldRun
from redismigrate.execution.indexes_apart import NOTHING_APART
from redismigrate.execution.run import DocumentCounts
from redismigrate.execution.steps.reading_backups import read_whole
from redismigrate.execution.undo_record import REQUESTED, UndoRecord
from redismigrate.planning.index_parts import steps_about
from redismigrate.planning.physical_names import catalog_with_names, names_brought_back, names_changed_by
from redismigrate.planning.plan import Step
from redismigrate.planning.undo import is_kept
from redismigrate.schema.definition import Catalog
from redismigrate.state.transaction import Content, Transaction


def turn_round(
    work: HeldRun, failure: str, *, rolls_back: bool = False, refused: DocumentCounts | None = None
) -> None:
    """Go back from here. A function that failed half way is undone too: `down` has to bear that.

    Args:
        work: The run, whose revision at work is not recorded.
        failure: Why.
        rolls_back: All of the run is to be undone, not this revision alone.
        refused: The documents that are the reason, if any.
    """
    run, done = work.run, steps_done(work)
    back = run.with_changes(
        failure=failure,
        undo=undo_of_all(work),
        position=0,
        progress=None,
        documents=run.documents.plus(refused or DocumentCounts()),
        apart=NOTHING_APART,
    )
    if rolls_back:
        back = back.with_changes(rolls_back=True, documents=DocumentCounts())
    work.write(back, work.event("undo", reason=failure), Transaction(catalog=_with_kept(work, done)))


def undo_revision(work: HeldRun) -> None:
    """Undo the revision at work, which is not recorded, and end the run. Its earlier revisions stay.

    Raises:
        RunInterrupted: A step of the undoing can't be done.
    """
    carry_out_undo(work)
    renamed = records_renamed(work, work.run.plan.steps)
    work.end(work.run, work.event("undone"), Transaction(undo=renamed))


def roll_back(work: HeldRun) -> None:
    """Undo the run: the revision at work, then those that it recorded, last first.

    Each of them is a transaction between its steps and those of the next one, so that wherever this is cut
    off, it goes on from there.

    Raises:
        RunInterrupted: It stopped half way; `redismigrate rollback` goes on.
    """
    if work.state.run is None:
        work.write(work.run, work.event("undo", reason=REQUESTED), Transaction(end_last_run=True))
    elif not work.run.rolls_back:
        _turn_round_wholly(work)
    while True:
        record = record_at_work(work)
        _warn_of_what_stays(work, record)
        carry_out_undo(work)
        if _leave(work, record):
            return


def require_records(work: HeldRun) -> None:
    """Refuse to begin what could not be finished: a run that has turned round can only go back.

    Raises:
        StateError: What undoes one of the run's recorded revisions is gone or damaged.
        BackupMissing: So is a backup that it needs, and nothing lossy is allowed.
        BackupDamaged: One is not as it was written, and nothing lossy is allowed.
        AuthenticationFailed: The server keeps one of the indexes from the user.
    """
    run = work.run
    runs = [_read(work, revision).run for revision in run.done]
    undo = [step for recorded in runs for step in recorded.undo_of(recorded.plan.steps)]
    if not run.is_recorded:
        undo += undo_of_all(work)
    work.require_rights([*undo, *(step for recorded in runs for step in recorded.plan.steps)])
    if work.allows_lossy:
        return
    with work.telling_way_out():
        for step in undo:
            if step.kind == "verify_backup":
                for location in step.backups_read:
                    read_whole(location, work.backup_dir, work.watcher.backup_read)


def record_at_work(work: HeldRun) -> UndoRecord | None:
    """What undoes the revision at work; None when that is not recorded."""
    run = work.run
    return _read(work, run.plan.revision).with_names(run.names) if run.is_recorded else None


def undo_of_all(work: HeldRun) -> tuple[Step, ...]:
    """What undoes the revision at work, which is not recorded: the rest of it where it is being undone."""
    run = work.run
    if run.failure is None:
        return run.undo_of(steps_done(work))
    rest = run.undo[run.position :]
    return (*rest, *run.undo_of(steps_done(work))) if run.apart.putting_back else rest


def records_renamed(work: HeldRun, undone: Sequence[Step]) -> dict[str, Content]:
    """What undoes the revisions that the run has recorded, by the names that undoing has given to indexes.

    Args:
        work: The run, which has undone something since.
        undone: The steps that were undone.

    Returns:
        Revision -> its record from now on; none where nothing has another name.
    """
    names = names_changed_by(undone, work.run.undo, {})
    if not names:
        return {}
    return {revision: _read(work, revision).with_names(names).content() for revision in work.run.done}


def steps_done(work: HeldRun) -> tuple[Step, ...]:
    """The steps of the revision at work that may have changed something, but for what is being put back."""
    run = work.run
    if run.apart.putting_back:
        done = with_removals(run.plan.steps, run.apart.stopped_at)
        about = steps_about(done, run.apart.putting_back)
        return tuple(step for step in done if step not in about)
    in_hand = work.in_hand()
    done = with_removals(run.plan.steps, run.position)
    # What is no transaction with its note may have been done when a run turns round.
    has_begun = any(step.life.has("takes_effect_before_its_note") for step in in_hand)
    is_among = len(done) > run.position
    return (*done, *in_hand) if not is_among and (has_begun or not work.runs_search_in_scripts) else done


def with_removals(steps: tuple[Step, ...], position: int) -> tuple[Step, ...]:
    """The steps before a position, and those behind it that only remove what they have replaced.

    Some of these may be half done. What undoes them bears that they are not done at all.
    """
    end = position
    while 0 < end < len(steps) and steps[end].after_record:
        end += 1
    return steps[:end]


def _turn_round_wholly(work: HeldRun) -> None:
    run = work.run
    if run.is_recorded:  # the process died before it began the next revision
        work.write(_read(work, run.done[-1]).rollback(run.done), work.event("undo", reason=REQUESTED))
    elif run.failure is None or run.apart.putting_back:
        turn_round(work, REQUESTED, rolls_back=True)
    else:
        work.write(run.with_changes(rolls_back=True), work.event("undo", reason=REQUESTED))


def carry_out_undo(work: HeldRun) -> None:
    """Do the steps that undo what is at work, up to the one that takes its record back.

    Raises:
        RunInterrupted: One of them can't be done.
    """
    if not work.run.plan.steps:  # a revision of a fold that is undone with the last one of it
        return
    work.watcher.undo_started(work.run)
    while (step := work.run.step) is not None:
        in_hand = work.in_hand()
        for started in in_hand:
            work.watcher.step_started(started)
        if step.kind == "unrecord_revision":
            return  # it is one transaction with what follows it
        try:
            work.carry_out(in_hand)
        except FAILURES as error:
            raise _stopped(work, step, error_in_message(error)) from error


def _stopped(work: HeldRun, step: Step, reason: str) -> RunInterrupted:
    run = work.run
    if run.rolls_back:
        return RunInterrupted(
            f"Undoing {run.plan.title_within} stopped at “{step.description}”: {reason}",
            "Remove the cause and run `redismigrate rollback` again: it goes on undoing.",
        )
    return RunInterrupted(
        f"{run.plan.title} failed ({run.failure}), and undoing it stopped at “{step.description}”: {reason}",
        "Remove the cause and run the same command again: it goes on undoing.",
    )


def _leave(work: HeldRun, record: UndoRecord | None) -> bool:
    """Note that the revision at work is undone, and turn to the one before it; whether there is none."""
    run = work.run
    # A fold whose record was not written yet goes as a whole.
    at_work = (run.plan.revision,) if run.is_recorded else run.plan.ids[::-1]
    undone = (*run.undone, *at_work)
    others = Transaction()
    done = run.done
    if record is not None:
        done = done[:-1]
        others = Transaction(
            head=record.head_before(work.state.head),
            catalog=record.left(work.state.catalog),
            undo={run.plan.revision: None},
        )
    if done:
        names = names_changed_by(run.plan.steps, run.undo, run.names)
        before = _read(work, done[-1]).with_names(names)
        work.write(before.rollback(done, undone, run.documents, names), work.event("undone"), others)
    else:
        work.end(run.with_changes(done=(), undone=undone), work.event("undone"), others)
    return not done


def _read(work: HeldRun, revision: str) -> UndoRecord:
    return UndoRecord.from_content(work.writer.read_undo(revision), work.keys.undo(revision))


def _warn_of_what_stays(work: HeldRun, record: UndoRecord | None) -> None:
    if record is None:
        return
    for step in record.run.plan.steps:
        if is_kept(step):
            _warn_of_kept(work, step)
        if step.deletes_documents:
            work.watcher.warned(f"the documents of index {step.index} were deleted and can't come back")


def _with_kept(work: HeldRun, done: tuple[Step, ...]) -> Catalog:
    """The recorded indexes with the changes that stay though their revision is undone."""
    catalog = catalog_with_names(work.run.apart.catalog_met(work.state.catalog), names_brought_back(done))
    for step in done:
        if is_kept(step) and step.after is not None:
            _warn_of_kept(work, step)
            recorded = catalog.get(step.after.served)
            if recorded is not None:
                catalog = catalog.with_definition(replace(step.after, aliases=recorded.aliases))
    return catalog


def _warn_of_kept(work: HeldRun, step: Step) -> None:
    work.watcher.warned(
        f"TEMPORARY index {step.index} stays as it is now: dropping it would delete its documents"
    )
