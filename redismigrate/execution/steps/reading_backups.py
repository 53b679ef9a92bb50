"""Reads a backup whole before anything is changed that could be brought back only from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from redismigrate.backup.contents import require_restorable
from redismigrate.backup.location import BackupLocation

OnRead = Callable[[str, int, int], object]


def read_whole(location: str, backup_dir: Path | None, on_read: OnRead) -> None:
    """Read every file of a backup.

    Args:
        location: Where the record says it is, `host:path`.
        backup_dir: Where the user says that backups are by now; None looks where it was written.
        on_read: Told the folder, how many of its documents are read, and of how many; none when it begins.

    Raises:
        BackupMissing: It is not on this machine.
        BackupDamaged: It is not as it was written.
    """
    backup = BackupLocation.parse(location).open(backup_dir)
    folder, read = str(backup.folder), 0

    def count(documents: int) -> None:
        nonlocal read
        read += documents
        on_read(folder, read, backup.documents)

    on_read(folder, 0, backup.documents)
    require_restorable(backup, count)
