"""Keeps on disk what a newer form replaces: originals of the application that nothing else holds.

They are whole documents, or some values of documents, so the backup has one column. JSON stands there as its
text, a hash as `hash_text` writes it: names, values and lifetimes, each with its length. So do values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.folders import backup_folder
from redismigrate.backup.manifest import MANIFEST, Manifest
from redismigrate.backup.replaced_documents import (
    COLUMN,
    EXPIRES_MS,
    IS_CONFLICT,
    STOOD,
    VALUES_COLUMN,
    Replaced,
    document_text,
)
from redismigrate.documents.batch import Batch

KeepReplaced = Callable[[Sequence[Replaced]], None]


class ReplacedOriginals:
    """Owns the backup of replaced originals; its files are made with the first of them.

    Args:
        backup_dir: Above all backups.
        manifest: Of the backup, without chunks.
        require_lock: Raises when another process may write the backup by now.
        column: Whether they are whole documents or values.
    """

    def __init__(
        self,
        backup_dir: Path,
        manifest: Manifest,
        require_lock: Callable[[], None],
        column: str = COLUMN,
    ) -> None:
        self._backup_dir = backup_dir
        self._manifest = manifest.model_copy(update={"fields": (column,)})
        self._require_lock = require_lock
        self._column = column
        self._writer: BackupWriter | None = None

    @property
    def folder(self) -> Path:
        """Where it is, if there is any."""
        of = self._manifest
        return backup_folder(self._backup_dir, of.project, of.run, of.revision, of.index)

    @property
    def exists(self) -> bool:
        """Whether anything was kept, by this process or one before it."""
        return (self.folder / MANIFEST).is_file()

    def keep(self, originals: Sequence[Replaced]) -> None:
        """Write originals to disk; they are there when this returns.

        Raises:
            BackupFailed: They can't be written.
        """
        documents = Batch(
            [each.key for each in originals],
            {self._column: [document_text(each.original) for each in originals]},
        )
        numbers = {
            IS_CONFLICT: [int(each.is_conflict) for each in originals],
            EXPIRES_MS: [each.original.expires_ms for each in originals],
        }
        if self._column == VALUES_COLUMN:
            numbers[STOOD] = [int(each.stood) for each in originals]
        self._open().add(Chunk(documents, numbers))

    def close(self) -> None:
        """Mark the backup as complete, if anything was kept; more can be added later."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.finish()

    def conflicts(self) -> Iterator[bytes]:
        """The documents of which both forms were written, as all processes of the run have kept them.

        Raises:
            BackupDamaged: It is not as it was written.
        """
        self.close()
        if self.exists:
            for chunk in Backup.open(self.folder).chunks():
                flags = chunk.numbers.get(IS_CONFLICT, ())
                yield from (key for key, flag in zip(chunk.documents.keys, flags, strict=False) if flag)

    def _open(self) -> BackupWriter:
        if self._writer is None:
            if self.exists:
                self._writer = BackupWriter.reopen(self.folder, require_lock=self._require_lock)
            else:
                self._writer = BackupWriter.create(
                    self._backup_dir, self._manifest, require_lock=self._require_lock
                )
        return self._writer
