"""Holding the lock of a project with the state as it is under the lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redismigrate.commands.project import Project
from redismigrate.errors import RunInProgress, StateMissing
from redismigrate.execution.indexes.live import alias_target, existing_indexes
from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import Holder, Lock
from redismigrate.state.owners import read_owners
from redismigrate.state.store import State, StateWriter, read_state

if TYPE_CHECKING:
    from redismigrate.execution.run import Run


@contextmanager
def locked_state(
    project: Project,
    server: Server,
    lock_timeout: float | None = None,
    allow_evictable_state: bool | None = None,
    on_wait: Callable[[Holder], None] | None = None,
    while_waiting: Callable[[], None] | None = None,
    *,
    read: Callable[[Server, StateKeys], State] = read_state,
) -> Iterator[StateWriter]:
    """Take the lock and read the state.

    Args:
        project: Whose lock.
        server: The connection.
        lock_timeout: Seconds to wait for another holder; None takes the setting.
        allow_evictable_state: Work although the server may evict the state; None takes the setting.
        on_wait: Told once who holds the lock, when waiting begins.
        while_waiting: Called all the time then; may end it by raising.
        read: Reads the state.

    Raises:
        LockError: Another process held the lock for longer than the timeout.
        StateError: A document of the state is damaged.
        ReplicaRefused, EvictableState, SearchMissing, ClusterUnsupported: The server can't be written to.
    """
    settings, keys = project.settings, project.keys
    if allow_evictable_state is None:
        allow_evictable_state = settings.allow_evictable_state
    server.capabilities.require_writable(allow_evictable_state)
    timeout = settings.lock_timeout if lock_timeout is None else lock_timeout
    with Lock(server, keys, timeout, on_wait, while_waiting) as lock:
        state = read(server, keys)
        state.require_readable()
        yield StateWriter(server, keys, lock.token, state)


def refuse_unfinished_run(state: State) -> None:
    """Raise where indexes and record differ because a run is half way.

    Raises:
        RunInProgress: A run is under way or interrupted.
    """
    if state.run is None:
        return
    expanded = expanded_run(state)
    if expanded is not None:
        raise RunInProgress(
            f"{expanded.plan.title} is expanded: its old and its new index are both there.",
            f"Go on with `redismigrate {expanded.direction} {expanded.target} --phase contract`, or take the "
            "new one away with `redismigrate rollback`.",
        )
    partial = partial_run(state)
    if partial is not None:
        raise RunInProgress(
            f"Revision {partial.plan.revision} is partly applied: {', '.join(partial.apart.left)} could not "
            "be changed.",
            f"Try the rest with `redismigrate {partial.direction} {partial.target}`, or undo all of it with "
            "`redismigrate rollback`.",
        )
    hint = (
        "Go on with `redismigrate rollback`."
        if state.run.get("rolls_back")
        else f"Resume it with `redismigrate {state.run.get('direction')} {state.run.get('target')}`, or undo "
        "all of it with `redismigrate rollback`."
    )
    raise RunInProgress(f"Run {state.run.get('id')} is unfinished.", hint)


def expanded_run(state: State) -> Run | None:
    """The run that waits, with the old and the new servable, to be contracted; None when none does.

    Raises:
        StateError: The record of the run is damaged, or of a newer version.
    """
    if state.run is None:
        return None
    from redismigrate.execution.run import Run

    run = Run.from_content(state.run, state.keys)
    run.require_arguments(state.keys)
    return run if run.is_expanded else None


def partial_run(state: State) -> Run | None:
    """The run of whose revision some indexes are changed and the others as they were; None when none is.

    Raises:
        StateError: The record of the run is damaged, or of a newer version.
    """
    if state.run is None or "apart" not in state.run:
        return None
    from redismigrate.execution.run import Run

    run = Run.from_content(state.run, state.keys)
    return run if run.is_partial else None


def unrecorded_indexes(server: Server, project: Project, state: State) -> tuple[str, ...]:
    """The indexes of the project that exist although their record, or half of it, is lost."""
    documents = state.documents
    if state.run is not None or (documents["head"].exists and documents["indexes"].exists):
        return ()
    owners = read_owners(server)
    ours = {name for name, owner in owners.items() if owner == project.settings.project}
    if not ours:
        return ()
    existing = existing_indexes(server)
    # FT._LIST lacks aliases, and after the first change by shadow a served name is one.
    return tuple(sorted(name for name in ours if name in existing or alias_target(server, name) is not None))


def require_record(server: Server, project: Project, state: State) -> None:
    """Refuse to begin anew where indexes of this project exist without their record.

    Args:
        server: Has the indexes.
        project: Its project.
        state: What is recorded.

    Raises:
        StateMissing: They do.
    """
    lost = unrecorded_indexes(server, project, state)
    if lost:
        raise StateMissing(
            f"The record of project {project.settings.project} is missing, but indexes of it exist: "
            f"{', '.join(lost)}.",
            "Restore its keys from a dump, or say what is applied with `redismigrate stamp REV`.",
        )
