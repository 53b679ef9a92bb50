"""Which run `rollback` undoes, and whether a finished one can be undone on the server as it is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from redismigrate.errors import DriftError, PlanBlocked, RunInProgress, UsageError
from redismigrate.execution.indexes.live import alias_target, existing_indexes
from redismigrate.execution.indexes.survey import survey
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.planning.drift import require_no_drift
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.owners import owned_by_another, read_owners
from redismigrate.state.store import State
from redismigrate.state.stored_documents import LastRun


def require_interrupted(state: State, run: str | None) -> None:
    """Refuse to roll back a run while another one is interrupted.

    Raises:
        RunInProgress: It is another one.
    """
    interrupted = None if state.run is None else state.run.get("id")
    if run not in (None, interrupted):
        raise RunInProgress(
            f"Run {run} can't be rolled back while run {interrupted} is unfinished.",
            "`redismigrate status` tells how to finish that one; `redismigrate rollback` undoes it.",
        )


def finished_run(state: State, run: str) -> LastRun:
    """The finished run of that id.

    Raises:
        UsageError: It is not the last one.
    """
    last = state.last_run
    if last is None:
        raise UsageError(
            f"Run {run} can't be rolled back: nothing is kept of it.",
            "Only the last run can be, and only until another one or a stamp; `redismigrate downgrade REV` "
            "undoes older revisions.",
        )
    if last.run != run:
        raise UsageError(
            f"Run {run} can't be rolled back: only the last run can, and it isn't that one.",
            f"The last run is {last}: `redismigrate rollback --run {last.run}`. `redismigrate downgrade REV` "
            "undoes older revisions.",
        )
    return last


def how_to_undo(last: LastRun) -> str:
    """What to say where no run is interrupted: a finished one is undone by its id only."""
    return f"run {last} is finished; `redismigrate rollback --run {last.run}` undoes it"


def require_unchanged(server: Server, project: str, state: State, records: Iterable[UndoRecord]) -> None:
    """Refuse to undo a finished run where that would meet what somebody else has done since.

    Args:
        server: The connection.
        project: Whose run it is.
        state: The state.
        records: What undoes the revisions of the run, last first.

    Raises:
        DriftError: An index of the run was changed, or a name that it gave up was taken.
        PlanBlocked: An index that it gave up belongs to another project by now.
    """
    catalog = before = state.catalog
    changes: Counter[str] = Counter()
    created: set[str] = set()
    wanted: list[IndexDefinition] = []
    for record in records:
        before = record.met(before)
        for definition in _given_up(record, before):
            if definition.served not in catalog:
                catalog = catalog.with_definition(definition)
        changes.update(record.before.keys())
        created |= {name for name, definition in record.before.items() if definition is None}
        wanted += [definition for definition in record.before.values() if definition is not None]
    touched = Catalog({name: definition for name, definition in catalog.items() if name in changes})
    # An index that the run did nothing to but create is only dropped.
    may_be_gone = {name for name in created if changes[name] == 1}
    require_no_drift(touched, survey(server, project, touched), touched, may_be_gone)
    owners = read_owners(server)
    for definition in wanted:
        owner = owners.get(definition.served, project)
        if owner != project:
            raise PlanBlocked(*owned_by_another(definition.served, owner))
    problems = _taken(server, catalog, wanted)
    if problems:
        raise DriftError(
            f"What the run had removed can't be brought back: {'; '.join(problems)}.",
            "Give these names free, or undo the run by revisions that fit what is there now.",
        )


def _given_up(record: UndoRecord, before: Catalog) -> Iterator[IndexDefinition]:
    """The indexes that a revision has given up, as it has left them.

    Args:
        record: What undoes the revision.
        before: The indexes that it met.
    """
    plan = record.run.plan
    recorded = plan.recorded
    left = recorded.apply_operations(recorded.start(before))
    left = with_physical_names(left, plan.steps)
    yield from (left[name] for name in sorted(recorded.given_up & left.keys()))


def _taken(server: Server, catalog: Catalog, wanted: Iterable[IndexDefinition]) -> tuple[str, ...]:
    """The names of indexes and aliases that are to come back and that somebody else uses, each a phrase."""
    ours = {definition.physical for definition in catalog.values()}
    our_aliases = {alias for definition in catalog.values() for alias in definition.all_aliases}
    existing = existing_indexes(server)
    wanted = tuple(wanted)
    physical = {definition.physical for definition in wanted}
    names = physical | {alias for definition in wanted for alias in definition.all_aliases}
    problems = []
    for name in sorted(names - ours - our_aliases):
        target = None if name in existing else alias_target(server, name)
        # An index that was swapped out has left its name to the one that serves.
        is_left = name in physical and target in ours
        if name in existing:
            problems.append(f"another client has made an index {name}")
        elif target is not None and not is_left:
            problems.append(f"another client has made {name} an alias of index {target}")
    return tuple(problems)
