"""Which runs the record in Redis knows of, and which of them need whose backups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.backup.folders import folder_name
from redismigrate.backup.location import BackupLocation
from redismigrate.execution.run import Run
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.redis_server.connection import Server
from redismigrate.state.journal import read_journal
from redismigrate.state.keys import StateKeys
from redismigrate.state.store import State, read_undo

# What was done with the backups of a run; it does not tell that there ever was one.
_ABOUT_BACKUPS = {"restore", "prune"}
# All of them: the journal is trimmed to a tenth of that.
_EVENTS = 100_000


def backed_up_by(state: State, run: str) -> Iterator[str]:
    """The applied revisions whose backup a run made."""
    for revision, record in state.head.one_by_one.items():
        if record.backup is not None and _is_of(record.backup, run):
            yield revision


def is_known(server: Server, keys: StateKeys, state: State, run: str) -> bool:
    """Whether a revision is applied with the backup of a run, or it was the last, or is in the journal."""
    if any(backed_up_by(state, run)) or (state.last_run is not None and state.last_run.run == run):
        return True
    return any(
        event.get("run") == run and event.get("event") not in _ABOUT_BACKUPS
        for event in read_journal(server, keys, _EVENTS)
    )


def is_needed_by_unfinished(server: Server, keys: StateKeys, state: State, run: str) -> bool:
    """Whether the run in progress may still restore from the backups of a run, finished or undone.

    Raises:
        StateError: What undoes one of its revisions is gone or damaged.
    """
    if state.run is None:
        return False
    unfinished = Run.from_content(state.run, keys)
    # An upgrade that fails is undone from its own backup; a downgrade needs those of what it undoes.
    if run == unfinished.id or (unfinished.direction == "downgrade" and any(backed_up_by(state, run))):
        return True
    return _restores_from(unfinished, run) or _undoes_with(server, keys, unfinished.done, run)


def is_needed_by_last(server: Server, keys: StateKeys, state: State, run: str) -> bool:
    """Whether a rollback of the run that finished last restores from the backups of a run.

    Raises:
        StateError: What undoes one of its revisions is gone or damaged.
    """
    return _undoes_with(server, keys, state.last_revisions, run)


def _undoes_with(server: Server, keys: StateKeys, revisions: Sequence[str], run: str) -> bool:
    undone = (
        UndoRecord.from_content(read_undo(server, keys, revision), keys.undo(revision)).run
        for revision in revisions
    )
    return any(_restores_from(each, run) for each in undone)


def _restores_from(unfinished: Run, run: str) -> bool:
    """Whether the steps of a run name a backup of some run."""
    locations = [*unfinished.backups.values()]
    for step in (*unfinished.plan.steps, *unfinished.undo):
        locations += step.backups_read
    return any(_is_of(location, run) for location in locations)


def _is_of(location: str, run: str) -> bool:
    """Whether a place is below the folder of a run.

    Another backup_dir or a copy on another host is the same backup: what counts is the run's folder.
    """
    return folder_name(run) in BackupLocation.parse(location).path.parts
