"""Where a backup is, as the state says it: on which host, in which folder."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from redismigrate.backup.backup import Backup
from redismigrate.backup.durable_files import is_folder
from redismigrate.backup.folders import open_in_place
from redismigrate.errors import BackupMissing

# project, run, revision, served name
LEVELS = 4


@dataclass(frozen=True, slots=True)
class BackupLocation:
    """A folder on a host; its text form is `host:path`.

    Attributes:
        host: Where it was written.
        path: Of the folder, absolute.
    """

    host: str
    path: Path

    @classmethod
    def here(cls, path: Path) -> BackupLocation:
        """A folder on this host."""
        return cls(socket.gethostname(), path.absolute())

    @classmethod
    def parse(cls, text: str) -> BackupLocation:
        """Read the text form, `host:path`."""
        host, _, path = text.partition(":")
        return cls(host, Path(path))

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"

    def __truediv__(self, name: str) -> BackupLocation:
        """A folder in this one."""
        return BackupLocation(self.host, self.path / name)

    def open(self, backup_dir: Path | None = None) -> Backup:
        """The backup of an index.

        Args:
            backup_dir: Where the user says that backups are; None looks where this one was written.

        Raises:
            BackupMissing: It is not on this machine.
            BackupDamaged: Its manifest or its list of chunks is not as it was written.
        """
        folder = self.path if backup_dir is None else backup_dir.joinpath(*self.path.parts[-LEVELS:])
        if not is_folder(folder):
            where = "" if backup_dir is None else f", and not in {folder}"
            raise BackupMissing(
                f"The backup that this needs is not on this machine{where}: host {self.host} wrote it to "
                f"{self.path}.",
                "Run the command there, or copy the backups here and name their folder with --backup-dir.",
            )
        return open_in_place(folder)
