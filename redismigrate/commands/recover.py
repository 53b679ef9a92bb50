"""`stamp` and `unlock`: for when the record has to be brought in line by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from redismigrate.commands.leftovers import leftovers
from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_upgrades
from redismigrate.commands.session import locked_state, refuse_unfinished_run
from redismigrate.commands.squashed_history import seen
from redismigrate.errors import DriftError, PlanBlocked
from redismigrate.execution.documents.beside.mark_store import forget_other_runs
from redismigrate.execution.indexes.live import alias_target
from redismigrate.execution.indexes.survey import survey
from redismigrate.execution.run import now
from redismigrate.history.graph import History
from redismigrate.history.identifiers import resolve_many
from redismigrate.operations.placed_expectations import lasting_expectations
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.drift import drift_of
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog
from redismigrate.state.lock import Holder, break_lock, signature
from redismigrate.state.owners import OwnersWriter, owned_by_another, read_owners
from redismigrate.state.purging import read_readable_state
from redismigrate.state.squashed_records import taken_apart
from redismigrate.state.store import State, read_state
from redismigrate.state.stored_documents import AppliedRevision, Head
from redismigrate.state.transaction import Transaction


@dataclass(frozen=True)
class Stamped:
    """What `stamp` recorded.

    Attributes:
        heads: The heads now.
        indexes: The served names that are recorded now.
        left: What runs have left that no record knows, each with what removes it.
        forgotten: The revisions that were recorded as applied and that no script here has.
    """

    heads: tuple[str, ...]
    indexes: tuple[str, ...]
    left: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON data; `left` and `forgotten` only where there is something."""
        told = {"left": list(self.left), "forgotten": list(self.forgotten)}
        return {
            "heads": list(self.heads),
            "indexes": list(self.indexes),
            **{name: values for name, values in told.items() if values},
        }


def stamp(
    project: Project,
    target: str | Iterable[str],
    *,
    purge: bool = False,
    lock_timeout: float | None = None,
    allow_evictable_state: bool | None = None,
) -> Stamped:
    """Record a revision and all before it as applied without running anything.

    Args:
        project: The project.
        target: A revision identifier, or several.
        purge: Forget what is recorded so far, be it damaged: who applied what and when, indexes, owners.
        lock_timeout: Seconds to wait for another process; None takes the setting.
        allow_evictable_state: Work although the server may evict the state; None takes the setting.

    Raises:
        DriftError: The live indexes are not what the history up to there makes. Nothing is forgotten then.
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    project = project.showing(*targets)
    history = project.history
    read = read_readable_state if purge else read_state
    with (
        project.connect() as server,
        locked_state(project, server, lock_timeout, allow_evictable_state, read=read) as writer,
    ):
        refuse_unfinished_run(writer.state)
        before = seen(project, writer.state.head)
        recorded, catalog = history_at(history, stamped_by(history, targets, before.applied))
        catalog = as_found(project, server, catalog)
        kept = {} if purge else {**before.one_by_one, **before.revisions}
        recorded_names = _owned(server, project) if purge else writer.state.catalog.keys()
        given_up = recorded_names - catalog.keys()
        head = Head(
            {
                revision: _accepted(kept.get(revision), record)
                for revision, record in records_of(recorded, now(), signature()).items()
            }
        )
        head = _as_it_stood(history, head, writer.state.head)
        owners = OwnersWriter(server, project.keys, writer.token)
        for name in catalog:
            owners.claim(name)
        writer.transact(
            Transaction(
                head=head,
                catalog=catalog,
                # What the last run met is no longer what is recorded of the time before it.
                end_last_run=True,
                undo=dict.fromkeys(writer.state.last_revisions),
                replaces_damaged=purge,
                event={"event": "stamp", "revision": " ".join(head.heads), "by": signature()},
            )
        )
        for name in given_up:
            owners.release(name)
        # Of a run whose own record was lost.
        forget_other_runs(server, project.keys, None)
        forgotten = tuple(sorted(kept.keys() - set(history) - history.replaced.keys()))
        return Stamped(head.heads, tuple(catalog), _left(project, server, writer.state), forgotten)


def _left(project: Project, server: Server, state: State) -> tuple[str, ...]:
    """What runs have left whose record is lost, which a stamp records nothing of."""
    inventory = survey(server, project.settings.project, state.catalog)
    return tuple(f"{left.index}: {left.text}" for left in leftovers(server, state, inventory))


def _accepted(kept: AppliedRevision | None, stamped: AppliedRevision) -> AppliedRevision:
    """The record of a revision: what is known of its application, with the script as it is now."""
    if kept is None:
        return stamped
    return replace(
        kept, sha256=stamped.sha256, code_sha256=stamped.code_sha256, expectations=stamped.expectations
    )


def _as_it_stood(history: History, head: Head, before: Head) -> Head:
    """The head with the records of replaced revisions as they were, unless one after these is applied."""
    for id_, record in head.revisions.items():
        stands_alone = history.descendants([id_]) & head.applied == {id_}
        if record.replaced and stands_alone and id_ not in before.revisions:
            head = taken_apart(head, id_)
    return head


def stamped_by(history: History, target: str | Iterable[str], applied: frozenset[str]) -> frozenset[str]:
    """What counts as applied after a stamp: the revisions and all before them.

    Args:
        history: The scripts.
        target: A revision identifier, or several.
        applied: What is applied, for identifiers that count from there.

    Raises:
        UsageError: An identifier means nothing, or too much.
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    return history.ancestors(
        revision for text in targets for revision in resolve_many(history, text, applied)
    )


def history_at(history: History, applied: Iterable[str]) -> tuple[tuple[RecordedRevision, ...], Catalog]:
    """What some applied revisions do, in order, and the indexes that they make, without a server.

    Raises:
        ScriptError: A script raised, or changes an index that no revision created.
    """
    recorded = record_upgrades(history, history.ordered(applied), Catalog(), None)
    catalog = Catalog()
    for item in recorded:
        catalog = item.apply(catalog)
    return recorded, catalog


def records_of(recorded: Iterable[RecordedRevision], applied_at: str, by: str) -> dict[str, AppliedRevision]:
    """The records of revisions that were not run, by their ids.

    Args:
        recorded: From the first one on, in order.
        applied_at: When they count as applied.
        by: Who says so.
    """
    records, catalog = {}, Catalog()
    for item in recorded:
        records[item.revision] = AppliedRevision(
            parents=item.parents,
            depends_on=item.depends_on,
            message=item.message,
            sha256=item.sha256,
            code_sha256=item.code_sha256,
            applied_at=applied_at,
            seconds=0.0,
            by=by,
            replaces=item.replaces,
            expectations=lasting_expectations(item, catalog),
        )
        catalog = item.apply(catalog)
    return records


def _owned(server: Server, project: Project) -> frozenset[str]:
    owner = project.settings.project
    return frozenset(name for name, other in read_owners(server).items() if other == owner)


def as_found(project: Project, server: Server, catalog: Catalog) -> Catalog:
    """The replayed indexes with the physical names they have; refused where they differ from the record."""
    probe = survey(server, project.settings.project, catalog)
    # A served name may be an alias by now: what it points to is the index to compare with.
    for definition in tuple(catalog.values()):
        if definition.served not in probe.names:
            index = alias_target(server, definition.served)
            if index is not None:
                catalog = catalog.with_definition(replace(definition, physical=index))
    inventory = survey(server, project.settings.project, catalog)
    for name in catalog:
        owner = inventory.owners.get(name, project.settings.project)
        if owner != project.settings.project:
            raise PlanBlocked(*owned_by_another(name, owner))
    problems = []
    for name, definition in catalog.items():
        if definition.physical in inventory.names:
            problems += [f"{name}: {problem}" for problem in drift_of(definition, inventory)]
        else:
            problems.append(f"index {name} does not exist")
    if problems:
        raise DriftError(
            f"The server is not what this revision makes: {'; '.join(problems)}.",
            "Stamp the revision that fits, or bring the indexes into that form first.",
        )
    return catalog


def unlock(project: Project) -> Holder | None:
    """Free the lock; its holder, who can write nothing any more from now on."""
    with project.connect() as server:
        server.capabilities.require_writable(allow_evictable_state=True)
        return break_lock(server, project.keys)
