"""Where backups stand: their folders, a listing, removal, and the room that is left for them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from redismigrate.backup.backup import Backup
from redismigrate.backup.manifest import (
    CHUNK_LIST,
    MANIFEST,
    damaged,
    is_temporary,
)
from redismigrate.backup.written import LOG
from redismigrate.errors import BackupDamaged
from redismigrate.schema.strict import encode

# File systems admit 255 bytes.
LONGEST_FOLDER_NAME = 200
# In the name of a folder that stands for one that was too long; a quoted name can't hold it.
SHORTENED = "%%"


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """A backup in a listing.

    Attributes:
        folder: Where it is.
        project: Whose index it is of.
        run: The run that made it.
        revision: The revision that changed the documents.
        index: The served name.
        documents: In its durable chunks.
        size_bytes: Of their files.
        created_at: ISO 8601 with time zone; empty where that can't be read.
        is_complete: Whether the run finished it.
        problem: Why it can't be used; None when its manifest can be read. (The chunks are not read.)
    """

    folder: Path
    project: str
    run: str
    revision: str
    index: str
    documents: int = 0
    size_bytes: int = 0
    created_at: str = ""
    is_complete: bool = False
    problem: str | None = None


def folder_name(name: str) -> str:
    """A name as that of a folder: safe whatever it holds, different for every name, readable for most.

    Percent-encoded as in a URL. A long one ends with its sha256 instead; the manifest holds all of it.
    """
    data = encode(name)
    quoted = quote_from_bytes(data, safe="") or "%"
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= LONGEST_FOLDER_NAME:
        return quoted
    return quoted[: LONGEST_FOLDER_NAME // 2] + SHORTENED + hashlib.sha256(data).hexdigest()


def name_of_folder(folder: str) -> str:
    """The name that `folder_name` was given; of a long one what is left of it."""
    if folder == "%":
        return ""
    return unquote_to_bytes(os.fsencode(folder.partition(SHORTENED)[0])).decode("utf-8", "surrogateescape")


def backup_folder(backup_dir: Path, project: str, run: str, revision: str, index: str) -> Path:
    """The folder for the backup of one index, made by one revision in one run."""
    return backup_dir.joinpath(*map(folder_name, (project, run, revision, index)))


def backups_in(backup_dir: Path, project: str | None = None) -> tuple[BackupSummary, ...]:
    """All backups, the oldest first; a damaged one is listed with its problem.

    Args:
        backup_dir: Above all backups; there are none if it is missing.
        project: Whose backups; None for all.
    """
    summaries = [
        _summary(folder)
        for above in _folders_in(backup_dir)
        if project is None or above.name == folder_name(project)
        for run in _folders_in(above)
        for revision in _folders_in(run)
        for folder in _folders_in(revision)
        if not all(map(is_temporary, folder.iterdir()))
    ]
    return tuple(sorted(summaries, key=lambda summary: (summary.created_at, summary.folder)))


def open_in_place(folder: Path) -> Backup:
    """Open a backup that has to be what its folder's path says.

    Raises:
        BackupDamaged: There is none, its manifest or its list of chunks is not as it was written, or it is of
            another project, run, revision or index.
    """
    backup = Backup.open(folder)
    manifest = backup.manifest
    names = (manifest.project, manifest.run, manifest.revision, manifest.index)
    if folder.parts[-4:] != tuple(map(folder_name, names)):
        raise damaged(folder, f"{MANIFEST} is of another backup")
    return backup


def prune_run(run_folder: Path) -> int:
    """Remove the backups of a run: the files that their manifests list and the folders that are empty then.

    Can be repeated when it was interrupted.

    Args:
        run_folder: `<backup_dir>/<project>/<run>`.

    Returns:
        The bytes that were freed.

    Raises:
        BackupDamaged: The folder is a link, or a manifest can't be read or is not of the folder it stands in;
            nothing was removed.
        OSError: A file can't be removed.
    """
    if run_folder.is_symlink():
        raise damaged(run_folder, "the folder is a link")
    backups = [
        open_in_place(folder)
        for revision in _folders_in(run_folder)
        for folder in _folders_in(revision)
        if os.path.lexists(folder / MANIFEST)
    ]
    freed = sum(_remove(backup) for backup in backups)
    for revision in _folders_in(run_folder):
        for folder in _folders_in(revision):
            _remove_if_empty(folder)
        _remove_if_empty(revision)
    _remove_if_empty(run_folder)
    return freed


def discard_backup(folder: Path, require_lock: Callable[[], None]) -> None:
    """Remove a backup that was cut short before any of its documents was changed, and the folders around it.

    Args:
        folder: Of the backup; need not exist.
        require_lock: Raises when another process may have begun to write a backup there by now.

    Raises:
        BackupDamaged: The folder holds something else; nothing was removed.
        OSError: A file can't be removed.
    """
    if not folder.is_dir():
        return
    if os.path.lexists(folder / MANIFEST):
        _remove(open_in_place(folder), require_lock)
    else:
        require_lock()
        remove_temporaries(folder)
    # Those of the index, the revision, the run and the project.
    with suppress(OSError):  # another run of the project has backups
        for level in (folder, *folder.parents[:3]):
            level.rmdir()


def remove_temporaries(folder: Path) -> None:
    """Remove what a crash left of files that were to become part of the backup in a folder."""
    for entry in list(folder.iterdir()):
        if is_temporary(entry):
            entry.unlink()


def files_of(run_folder: Path) -> tuple[Path, ...]:
    """All files and links below the folder of a run, sorted: after `prune_run` those of no manifest."""
    below = (
        Path(folder) / name
        for folder, folders, files in os.walk(run_folder)
        for name in (*files, *(inner for inner in folders if Path(folder, inner).is_symlink()))
    )
    return tuple(sorted(below))


def free_bytes(backup_dir: Path) -> int:
    """The room that is left on the file system of a folder, which need not exist yet."""
    folder = backup_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def room_problem(backup_dir: Path, needed_bytes: int) -> str | None:
    """Why a backup can't be written; None when there is room for it.

    Args:
        backup_dir: Above all backups; need not exist yet.
        needed_bytes: Of the backup.
    """
    free = free_bytes(backup_dir)
    if needed_bytes <= free:
        return None
    return f"the backup takes {needed_bytes:,} bytes, and {backup_dir} has room for {free:,}"


def _folders_in(folder: Path) -> list[Path]:
    """Not the links to folders, which could lead anywhere."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _summary(folder: Path) -> BackupSummary:
    try:
        backup = open_in_place(folder)
    except BackupDamaged as error:
        project, run, revision, index = map(name_of_folder, folder.parts[-4:])
        return BackupSummary(folder, project, run, revision, index, problem=error.message)
    manifest = backup.manifest
    return BackupSummary(
        folder=folder,
        project=manifest.project,
        run=manifest.run,
        revision=manifest.revision,
        index=manifest.index,
        documents=backup.documents,
        size_bytes=backup.size_bytes,
        created_at=manifest.created_at,
        is_complete=manifest.complete,
    )


def _remove(backup: Backup, require_lock: Callable[[], None] = lambda: None) -> int:
    """Remove the files of a backup; the bytes of its chunks."""
    freed = 0
    for record in backup.records:
        path = backup.folder / record.file
        if path.is_file() and not path.is_symlink():
            freed += path.stat().st_size
            # Once for each: a name may be that of a successor's chunk a moment later.
            require_lock()
            path.unlink()
    require_lock()
    remove_temporaries(backup.folder)
    # The manifest goes last: as long as it stands, this can be done again.
    (backup.folder / CHUNK_LIST).unlink(missing_ok=True)
    (backup.folder / LOG).unlink(missing_ok=True)
    (backup.folder / MANIFEST).unlink()
    return freed


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
