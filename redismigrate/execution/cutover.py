"""Records a revision or some of its indexes, and in the same transaction lets what it has built serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from redismigrate.backup.location import BackupLocation
from redismigrate.execution.held_run import HeldRun
from redismigrate.execution.indexes_apart import NOTHING_APART
from redismigrate.execution.run import Run, now
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.operations.placed_expectations import lasting_expectations
from redismigrate.planning.index_parts import RECORDS, names_of
from redismigrate.planning.name_moves import leading_moves
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.planning.plan import Step
from redismigrate.schema.definition import Catalog
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.state.lock import signature
from redismigrate.state.squashed_records import changed_records, holder_of, put_together, taken_apart
from redismigrate.state.store import DocumentsMoved
from redismigrate.state.stored_documents import AppliedRevision, Head
from redismigrate.state.transaction import Transaction

# A guarded cutover succeeds at half of the attempts with 5,000 writes a second, hardly ever with 25,000.
MOST_CUTOVERS = 8


def cutover_at(run: Run) -> tuple[Step, ...]:
    """The steps that move names now and the one that records, if they are one transaction; else none."""
    steps = run.steps[run.position :]
    moves = leading_moves(steps)
    following = steps[len(moves) : len(moves) + 1]
    return (*moves, *following) if following and following[0].kind in RECORDS else ()


def record_at_cutover(work: HeldRun, cutover: tuple[Step, ...]) -> None:
    """Write names and what is recorded by them, all at once: the revision, or some of its indexes.

    Args:
        work: The run.
        cutover: The steps that move names, and the one that records.

    Raises:
        RedisMigrateError: One of `FAILURES` when another client is in the way; nothing was written.
    """
    if cutover[-1].kind == "record_indexes":
        record_indexes(work, cutover)
    else:
        record_revision(work, cutover)


def record_indexes(work: HeldRun, cutover: tuple[Step, ...]) -> None:
    """Write the indexes of a revision that are changed by now as they are; the revision is not recorded.

    Args:
        work: The run.
        cutover: As for `record_at_cutover`.

    Raises:
        RedisMigrateError: As `record_at_cutover`.
    """
    run, now_recorded = work.run, work.state.catalog
    met, after = _catalogs(work)
    steps = run.plan.steps[: run.position + len(cutover)]
    changed = {name for step in steps for name in names_of(step)} - run.apart.met.keys()
    catalog = now_recorded.without(*(changed - after.keys()))
    for name in sorted(changed & after.keys()):
        catalog = catalog.with_definition(after[name])
    apart = run.apart.with_changes(met={**run.apart.met, **{name: met.get(name) for name in sorted(changed)}})
    run = run.with_changes(position=run.position + len(cutover), apart=apart, progress=None)
    event = work.event("indexes", index=", ".join(sorted(changed & after.keys())))
    with work.timed(cutover[-1]):
        _cut_over(
            work,
            cutover[:-1],
            Transaction(catalog=catalog),
            lambda transaction: work.write(run, event, transaction),
        )


def _catalogs(work: HeldRun) -> tuple[Catalog, Catalog]:
    """The recorded indexes as the revision at work met them, and as it leaves them."""
    run, recorded = work.run, work.state.catalog
    met = run.apart.catalog_met(recorded)
    after = with_quantizations(run.plan.recorded.apply(met), run)
    after = with_physical_names(after, (step for step in run.plan.steps if not step.after_record))
    # What was recorded before the revision has got on since: to an index over declared fields, for example.
    for name in run.apart.met:
        after = after.with_definition(recorded[name]) if name in recorded else after.without(name)
    return met, after


def record_revision(work: HeldRun, cutover: tuple[Step, ...]) -> None:
    """Write names, head, indexes, what undoes the revision, and its end, all at once; of a fold, all of it.

    Args:
        work: The run.
        cutover: The steps that move names, and the one that records.

    Raises:
        RedisMigrateError: One of `FAILURES` when another client is in the way; nothing was written.
    """
    run, recorded, state = work.run, work.run.plan.recorded, work.state
    elapsed = datetime.now(UTC) - datetime.fromisoformat(run.revision_started_at)
    seconds = round(elapsed.total_seconds(), 3)
    met, catalog = _catalogs(work)
    head, removed = _head(run, state.head, met, seconds)
    others = {revision: record for revision, record in removed.items() if revision != recorded.revision}
    records = {} if recorded.folded else changed_records(state.head, head)
    undo = UndoRecord.of(run, met, catalog, removed.get(recorded.revision), records, others)
    undone_by = {recorded.revision: undo.content()}
    undone_by |= {member.revision: undo.of_member(member).content() for member in recorded.folded[:-1]}
    documents = Transaction(head=head, catalog=catalog, undo=undone_by)
    folded = {"folded": " ".join(run.plan.ids)} if recorded.folded else {}
    event = work.event(run.direction, seconds=str(seconds), **folded)
    done = (*run.done, *run.plan.ids)
    changes = {"position": run.position + len(cutover), "done": done, "progress": None}
    run = run.with_changes(**changes, apart=NOTHING_APART)
    write = work.write if run.remaining or run.step is not None else work.end
    with work.timed(cutover[-1]):
        _cut_over(work, cutover[:-1], documents, lambda transaction: write(run, event, transaction))


def _head(run: Run, head: Head, catalog: Catalog, seconds: float) -> tuple[Head, dict[str, AppliedRevision]]:
    """The applied revisions afterwards, and the records that are taken back, if any are.

    Args:
        run: The run.
        head: The applied revisions before.
        catalog: The recorded indexes as the revision at work met them.
        seconds: How long it took.
    """
    recorded, backup = run.plan.recorded, backup_of_revision(run)
    ids = run.plan.ids
    if run.direction == "downgrade":
        holder = holder_of(head, recorded.revision)
        head = head if holder is None else taken_apart(head, holder)
        return head.without_revisions(ids), {revision: head.revisions[revision] for revision in ids}
    with_backup = recorded.restorable_alone if recorded.folded else ids
    moment = now()
    for member in recorded.members:
        for squash in member.squashes:
            head = put_together(head, squash)
        applied = AppliedRevision(
            parents=member.parents,
            depends_on=member.depends_on,
            message=member.message,
            sha256=member.sha256,
            code_sha256=member.code_sha256,
            applied_at=moment,
            # Those of a fold are the last one's, so that they add up.
            seconds=seconds if member.revision == recorded.revision else 0.0,
            by=signature(),
            plan_digest=run.plan_digest,
            backup=None if backup is None or member.revision not in with_backup else str(backup),
            adopted=tuple(sorted(member.adopted)),
            replaces=member.replaces,
            expectations=lasting_expectations(member, catalog),
            fold=f"{run.id}/{recorded.revision}" if recorded.folded else "",
        )
        head = head.with_revision(member.revision, applied)
        catalog = member.apply(catalog)
    return head, {}


def _cut_over(
    work: HeldRun, moves: tuple[Step, ...], documents: Transaction, write: Callable[[Transaction], None]
) -> None:
    """Move names and record in one write.

    Where writers are followed, it takes place only if they wrote nothing since all was in step. With busy
    ones that never comes: then what they have written last is in the new form some milliseconds later.
    """
    if moves:
        work.pace.wait_for_cutover(work.follow)
    for attempt in range(MOST_CUTOVERS):
        guards = work.guards(moves)
        commands = work.moves(moves)
        if attempt == MOST_CUTOVERS - 1:
            guards = {}
        try:
            write(replace(documents, commands=commands.forward, put_back=commands.put_back, guards=guards))
        except DocumentsMoved:
            continue
        break
    work.follow()


def backup_of_revision(run: Run) -> BackupLocation | None:
    """The folder above the backups of the revision at work; None when it made none."""
    location = next(map(BackupLocation.parse, run.backups.values()), None)
    return None if location is None else replace(location, path=location.path.parent)


def with_quantizations(catalog: Catalog, run: Run) -> Catalog:
    """The indexes with how their integers were made, by the fields' paths as they are now.

    Of several indexes that read the same documents one was rewritten; its scale is that of all.

    Args:
        catalog: The indexes after the revision at work, but with their integers from before it.
        run: The run that has rewritten their documents.
    """
    for step in run.plan.steps:
        if step.life.has("writes_vectors") and step.after is not None and step.rewrite is not None:
            found = run.quantizations.get(str(step.index), {})
            keys = KeyPrefixes.of(step.after.schema.prefixes)
            for definition in catalog.values():
                if keys.overlap(KeyPrefixes.of(definition.schema.prefixes)):
                    quantization = step.rewrite.quantizations_after(definition, found)
                    catalog = catalog.with_definition(replace(definition, quantization=quantization))
    return catalog
