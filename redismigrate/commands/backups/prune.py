"""`backup prune`: removes the backups of runs, unless a run that is half way needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redismigrate.backup.folders import BackupSummary, files_of, prune_run
from redismigrate.backup.manifest import INTACT_COPY_OR_NONE
from redismigrate.commands.backups.backup_needs import (
    backed_up_by,
    is_needed_by_last,
    is_needed_by_unfinished,
)
from redismigrate.commands.backups.listing import list_backups, of_run, summary_to_json, translated_errors
from redismigrate.commands.project import Project
from redismigrate.commands.session import locked_state
from redismigrate.errors import BackupDamaged, ConnectionFailed, RunInProgress, StateError
from redismigrate.execution.progress import Watcher
from redismigrate.redis_server.connection import Server
from redismigrate.shown_url import shown_url
from redismigrate.state.lock import signature
from redismigrate.state.store import State, read_state

_WITHOUT_ASKING = "`--offline` removes backups without asking Redis whether an unfinished run needs them."


@dataclass(frozen=True)
class PrunedBackups:
    """What `prune_backups` removed.

    Attributes:
        folder: The setting `backup_dir`.
        runs: Whose backups are gone.
        backups: As they were listed.
        freed_bytes: Of their chunks.
        kept: Files and links that stood among them, but belong to no backup.
        warnings: What can't be brought back now.
    """

    folder: Path
    runs: tuple[str, ...]
    backups: tuple[BackupSummary, ...]
    freed_bytes: int
    kept: tuple[Path, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What was removed, as data for `--json`."""
        return {
            "folder": str(self.folder),
            "runs": list(self.runs),
            "backups": [summary_to_json(backup) for backup in self.backups],
            "freed_bytes": self.freed_bytes,
            "kept": [str(path) for path in self.kept],
            "warnings": list(self.warnings),
        }


def prune_backups(
    project: Project,
    runs: Sequence[str],
    *,
    is_offline: bool = False,
    lock_timeout: float | None = None,
    allow_evictable_state: bool | None = None,
    watcher: Watcher | None = None,
) -> PrunedBackups:
    """Remove the backups of some runs.

    Works under the project's lock, so that no run begins to need a backup meanwhile.

    Args:
        project: Whose backups.
        runs: Ids of runs or their unique beginnings.
        is_offline: Don't ask Redis whether an unfinished run or a downgrade needs them.
        lock_timeout: Seconds to wait for another process; None takes the setting.
        allow_evictable_state: Work although the server may evict the state; None takes the setting.
        watcher: Is warned before anything is removed.

    Raises:
        RunInProgress: An unfinished run needs one of them.
        ConnectionFailed, StateError: Redis can't tell whether one does.
        LockError: Another process held the lock for longer than the timeout.
        BackupMissing: No backup is of one of these runs.
        BackupDamaged: A manifest can't be read, so what belongs to the backup is not known.
        UsageError: Several runs begin like one of these.
        BackupError: The folder can't be read; or a file can't be removed, and what stood before it is gone.
    """
    watcher = watcher or Watcher()
    listed = list_backups(project)
    chosen = dict.fromkeys(backup for run in runs for backup in of_run(listed.backups, run, listed.folder))
    for backup in chosen:
        if backup.problem is not None:
            raise BackupDamaged(backup.problem, INTACT_COPY_OR_NONE)
    folders = {backup.run: backup.folder.parent.parent for backup in chosen}
    warnings: tuple[str, ...] = ()
    if is_offline:
        freed = sum(_remove(folder) for folder in folders.values())
    else:
        with _asking_redis(), project.connect() as server:
            # Before waiting for the lock, which the very run that needs the backup may hold.
            _refuse_needed(project, server, read_state(server, project.keys), folders)
            with locked_state(
                project,
                server,
                lock_timeout,
                allow_evictable_state,
                on_wait=lambda holder: watcher.warned(f"waiting for {holder}"),
            ) as writer:
                _refuse_needed(project, server, writer.state, folders)
                warnings = tuple(_losses(project, server, writer.state, folders))
                for warning in warnings:
                    watcher.warned(warning)
                freed = 0
                for run, folder in folders.items():
                    # First, for it stops a process that has slept through the end of its lease.
                    writer.transact(event={"event": "prune", "run": run, "by": signature()})
                    freed += _remove(folder)
    kept = tuple(path for folder in folders.values() for path in files_of(folder))
    return PrunedBackups(listed.folder, tuple(folders), tuple(chosen), freed, kept, warnings)


def _refuse_needed(project: Project, server: Server, state: State, runs: Iterable[str]) -> None:
    """Raise where a run is half way that goes back to the values in one of these backups."""
    if not state.exists:
        raise StateError(
            f"Redis at {shown_url(project.settings.url)} has no record of project {project.settings.project}"
            ", so it can't tell whether an unfinished run needs the backup.",
            f"Check the URL. {_WITHOUT_ASKING}",
        )
    if state.run is None:
        return
    id_, direction = state.run.get("id"), state.run.get("direction")
    for run in runs:
        if is_needed_by_unfinished(server, project.keys, state, run):
            ways = "`redismigrate rollback`"
            if not state.run.get("rolls_back"):
                ways = f"`redismigrate {direction} {state.run.get('target')}`, or undo it with {ways},"
            raise RunInProgress(
                f"Run {id_} is unfinished and needs the backup of run {run}.",
                f"Finish it with {ways} before you remove that.",
            )


def _losses(project: Project, server: Server, state: State, runs: Iterable[str]) -> Iterator[str]:
    for run in runs:
        if is_needed_by_last(server, project.keys, state, run):
            yield (
                f"run {state.last_run} can't be rolled back without the backup of run {run}, or not without "
                "--allow-lossy"
            )
        for revision in backed_up_by(state, run):
            yield (
                f"revision {revision} was applied with the backup of run {run}: without it a downgrade can't "
                "bring back the original values, and needs --allow-lossy where converting back loses some"
            )


def _remove(run_folder: Path) -> int:
    with translated_errors(f"The backup in {run_folder} can't be removed"):
        return prune_run(run_folder)


@contextmanager
def _asking_redis() -> Iterator[None]:
    try:
        yield
    except ConnectionFailed as error:
        raise ConnectionFailed(error.message, f"{error.hint} {_WITHOUT_ASKING}") from error
