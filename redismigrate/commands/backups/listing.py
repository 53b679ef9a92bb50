"""`backup list` and `backup verify`: the backups of a project on this machine, and those of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redismigrate.backup.backup import hint_for
from redismigrate.backup.folders import BackupSummary, backups_in, open_in_place
from redismigrate.backup.manifest import INTACT_COPY, INTACT_COPY_OR_NONE, damaged
from redismigrate.commands.backups.recorded_backups import links_in, recorded_backups
from redismigrate.commands.project import Project
from redismigrate.errors import BackupDamaged, BackupError, BackupMissing, UsageError

_SEE_LIST = "`redismigrate backup list` shows the runs that have one."


@dataclass(frozen=True)
class ListedBackups:
    """The backups of a project.

    Attributes:
        folder: The setting `backup_dir`.
        backups: The oldest first; one that can't be used has a `problem`.
    """

    folder: Path
    backups: tuple[BackupSummary, ...]

    def to_json(self) -> dict[str, Any]:
        """The backups as data for `--json`."""
        backups = [{**summary_to_json(backup), "problem": backup.problem} for backup in self.backups]
        return {"folder": str(self.folder), "backups": backups}


@dataclass(frozen=True)
class VerifiedBackup:
    """A backup of which every byte was read.

    Attributes:
        backup: As it is listed.
        problems: What is wrong with it, one sentence each that names its folder and the file.
        hint: What to do about them.
        is_gone: Whether it is on record only.
    """

    backup: BackupSummary
    problems: tuple[str, ...]
    hint: str = ""
    is_gone: bool = False


@dataclass(frozen=True)
class VerifiedBackups:
    """What `verify_backups` found.

    Attributes:
        folder: The setting `backup_dir`.
        backups: All that were read, the oldest first, and those on record that are not there.
        notes: What could not be looked at, each one sentence.
    """

    folder: Path
    backups: tuple[VerifiedBackup, ...]
    notes: tuple[str, ...] = ()

    @property
    def damaged(self) -> tuple[VerifiedBackup, ...]:
        """Those that are not as they were written."""
        return tuple(verified for verified in self.backups if verified.problems)

    def to_json(self) -> dict[str, Any]:
        """What was found in the backups, as data for `--json`."""
        backups = [
            {**summary_to_json(verified.backup), "problems": list(verified.problems)}
            for verified in self.backups
        ]
        told = {"notes": list(self.notes)} if self.notes else {}
        return {"folder": str(self.folder), "backups": backups, **told}


def list_backups(project: Project, run: str | None = None) -> ListedBackups:
    """The backups of a project; their chunks are not read, and the server is not asked.

    Args:
        project: Whose backups.
        run: The id of a run or its unique beginning; None for all runs.

    Raises:
        BackupMissing: No backup is of that run.
        BackupError: The folder can't be read.
        UsageError: Several runs begin so.
    """
    folder = project.settings.backup_dir
    with translated_errors(f"The backups in {folder} can't be read"):
        backups = backups_in(folder, project.settings.project)
    if run is not None:
        backups = of_run(backups, run, folder)
    return ListedBackups(folder, backups)


def verify_backups(
    project: Project, run: str | None = None, on_verified: Callable[[VerifiedBackup], None] | None = None
) -> VerifiedBackups:
    """Read every chunk of the backups of a project, and look whether those on record are there.

    Where the server can't be asked, a note says so: copies may be verified where there is none.

    Args:
        project: Whose backups.
        run: The id of a run or its unique beginning; None for all runs.
        on_verified: Is told of each backup when it was read.

    Raises:
        BackupMissing: No backup is of that run.
        BackupError: The folder can't be read.
        UsageError: Several runs begin so.
    """
    listed = list_backups(project)
    with translated_errors(f"The backups in {listed.folder} can't be read"):
        found = (*listed.backups, *links_in(listed.folder, project.settings.project))
    recorded = recorded_backups(project, [backup.folder for backup in found])
    backups = (*found, *recorded.gone)
    if run is not None:
        backups = of_run(backups, run, listed.folder)
    verified = []
    for backup in backups:
        if backup in recorded.gone:
            verified.append(VerifiedBackup(backup, (str(backup.problem),), INTACT_COPY_OR_NONE, is_gone=True))
            continue
        with translated_errors(f"The backup in {backup.folder} can't be read"):
            verified.append(_verified(backup))
        if on_verified is not None:
            on_verified(verified[-1])
    return VerifiedBackups(listed.folder, tuple(verified), recorded.notes)


def of_run(backups: Sequence[BackupSummary], run: str, folder: Path) -> tuple[BackupSummary, ...]:
    """The backups of the one run that is called so or, if none is, begins so.

    Args:
        backups: Of all runs.
        run: An id or its beginning.
        folder: Where they are, for the error.

    Raises:
        BackupMissing: There is no such run.
        UsageError: There are several, or nothing was given.
    """
    if not run:
        raise UsageError("The id of the run is empty.", _SEE_LIST)
    ids = {backup.run for backup in backups}
    fitting = {run} if run in ids else {id_ for id_ in ids if id_.startswith(run)}
    if not fitting:
        raise BackupMissing(f"There is no backup of run {run} in {folder}.", _SEE_LIST)
    if len(fitting) > 1:
        raise UsageError(
            f"Several runs begin with {run}: {', '.join(sorted(fitting))}.", "Give more characters of one."
        )
    return tuple(backup for backup in backups if backup.run in fitting)


def _verified(backup: BackupSummary) -> VerifiedBackup:
    if backup.problem is not None:
        return VerifiedBackup(backup, (backup.problem,), INTACT_COPY_OR_NONE)
    try:
        problems = open_in_place(backup.folder).verify()
    except BackupDamaged as error:  # since it was listed
        return VerifiedBackup(backup, (error.message,), INTACT_COPY_OR_NONE)
    told = tuple(damaged(backup.folder, problem).message for problem in problems)
    return VerifiedBackup(backup, told, hint_for(problems).replace(INTACT_COPY, INTACT_COPY_OR_NONE))


@contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Turn an error of the file system into a BackupError that begins with `what`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise BackupError(
            f"{what}: {error.strerror or error}{where}.",
            "Check the rights of the folder, or name another one with --backup-dir.",
        ) from error


def summary_to_json(backup: BackupSummary) -> dict[str, Any]:
    """A backup in a listing, as JSON data."""
    return {
        "run": backup.run,
        "revision": backup.revision,
        "index": backup.index,
        "created_at": backup.created_at,
        "documents": backup.documents,
        "size_bytes": backup.size_bytes,
        "complete": backup.is_complete,
        "folder": str(backup.folder),
    }
