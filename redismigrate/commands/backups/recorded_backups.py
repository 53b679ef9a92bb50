"""Which backups the record in Redis counts on and are not where it says, and which folders are links."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from redismigrate.backup.durable_files import is_folder
from redismigrate.backup.folders import BackupSummary, folder_name, name_of_folder
from redismigrate.backup.location import LEVELS, BackupLocation
from redismigrate.backup.manifest import damaged
from redismigrate.commands.project import Project
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.run import Run
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.redis_server.connection import Server
from redismigrate.state.journal import read_journal
from redismigrate.state.keys import StateKeys
from redismigrate.state.store import State, read_state, read_undo

# All of them: the journal is trimmed to a tenth of that.
_EVENTS = 100_000


# Of a revision's folder, which the record of it names: project, run, revision.
_LEVELS_OF_REVISION = LEVELS - 1


@dataclass(frozen=True)
class RecordedBackups:
    """What the record says of backups that are not there.

    Attributes:
        gone: Those that this host wrote, each with its problem.
        notes: What can't be told here, each one sentence.
    """

    gone: tuple[BackupSummary, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Recorded:
    """A place that the record names.

    Attributes:
        revision: Whose backup.
        host: Which wrote it.
        path: Of the folder.
        names: The last folders of it: project, run, revision and maybe index.
    """

    revision: str
    host: str
    path: Path
    names: tuple[str, ...]

    @classmethod
    def parse(cls, revision: str, text: str, levels: int) -> _Recorded:
        location = BackupLocation.parse(text)
        return cls(revision, location.host, location.path, location.path.parts[-levels:])


def links_in(backup_dir: Path, project: str) -> Iterator[BackupSummary]:
    """The links among the folders of a project's backups: they could lead anywhere, so none is followed.

    Args:
        backup_dir: Above all backups; may be a link itself.
        project: Whose backups.
    """
    folders = [backup_dir / folder_name(project)]
    for _ in range(LEVELS):
        for folder in folders:
            if folder.is_symlink():
                names = folder.relative_to(backup_dir).parts
                yield _with_problem(folder, names, damaged(folder, "the folder is a link").message)
        inner = (folder for folder in folders if folder.is_dir() and not folder.is_symlink())
        folders = sorted(entry for folder in inner for entry in folder.iterdir() if entry.is_dir())


def recorded_backups(project: Project, there: Iterable[Path]) -> RecordedBackups:
    """Ask Redis which backups it has on record, and look for them.

    Args:
        project: Whose backups.
        there: The folders of those that were found, links and damaged ones included.
    """
    try:
        with project.connect() as server:
            recorded = _recorded(server, project.keys, read_state(server, project.keys))
    except RedisMigrateError as error:
        return RecordedBackups(
            notes=(f"Redis could not be asked which backups are on record: {error.message}",)
        )
    backup_dir = project.settings.backup_dir
    found = [folder.relative_to(backup_dir).parts for folder in there]
    gone, notes = {}, []
    for each in recorded:
        if any(_is_same(each.names, names) for names in found) or _is_elsewhere(each.path, backup_dir):
            continue
        if each.host == socket.gethostname():
            problem = f"The backup of revision {each.revision} is on record, and gone: {each.path}."
            gone[each.path] = _with_problem(each.path, each.names, problem)
        else:
            notes.append(
                f"The backup of revision {each.revision} is not on this machine: host {each.host} wrote it "
                f"to {each.path}."
            )
    return RecordedBackups(tuple(gone.values()), tuple(dict.fromkeys(notes)))


def _recorded(server: Server, keys: StateKeys, state: State) -> list[_Recorded]:
    """What the record names, but for backups that `backup prune` has removed."""
    recorded = [
        _Recorded.parse(revision, record.backup, _LEVELS_OF_REVISION)
        for revision, record in state.head.one_by_one.items()
        if record.backup is not None
    ]
    runs = [] if state.run is None else [Run.from_content(state.run, keys)]
    revisions = (*state.last_revisions, *(revision for run in runs for revision in run.done))
    runs += [
        UndoRecord.from_content(read_undo(server, keys, revision), keys.undo(revision)).run
        for revision in revisions
    ]
    recorded += [
        _Recorded.parse(run.plan.revision, text, LEVELS) for run in runs for text in run.backups.values()
    ]
    pruned = {
        folder_name(event.get("run", ""))
        for event in read_journal(server, keys, _EVENTS)
        if event.get("event") == "prune"
    }
    return [each for each in recorded if not pruned & set(each.names)]


def _is_same(recorded: tuple[str, ...], found: tuple[str, ...]) -> bool:
    """Whether a folder that was found is the recorded one, or stands above or below it."""
    return all(one == other for one, other in zip(recorded, found, strict=False))


def _is_elsewhere(path: Path, backup_dir: Path) -> bool:
    """Whether a folder is where it was written, and that is not where backups are looked for now."""
    return backup_dir not in path.parents and is_folder(path) and not path.is_symlink()


def _with_problem(folder: Path, names: tuple[str, ...], problem: str) -> BackupSummary:
    project, run, revision, index, *_ = (*map(name_of_folder, names), "", "", "", "")
    return BackupSummary(folder, project, run, revision, index, problem=problem)
