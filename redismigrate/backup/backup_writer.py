"""Writing a backup: a chunk is on disk before any of its documents may change, and a crash loses none."""

from __future__ import annotations

import errno
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redismigrate.backup.chunk_file import Chunk, write_chunk
from redismigrate.backup.durable_files import (
    FILE_MODE,
    HashedFile,
    UnexpectedFile,
    make_folder,
    new_temporary,
    open_regular_file,
    replace_file,
    sync_folder,
    temporary_of,
)
from redismigrate.backup.folders import backup_folder, remove_temporaries
from redismigrate.backup.manifest import (
    CHUNK_LIST,
    MANIFEST,
    ChunkRecord,
    Manifest,
    chunk_name,
    damaged,
    dump_manifest,
    dump_record,
    failed_to_write,
    load_manifest,
    read_chunk_list,
)
from redismigrate.errors import BackupFailed

# One is hashed while the other waits for the disk, and a third is read from Redis meanwhile.
CHUNKS_IN_FLIGHT = 2
# To ask for the lock is to wait behind all that the server was asked for before: once in this time is enough.
LOCK_SECONDS = 0.05
# Backups hold the users' documents, which don't belong into the repository that the folder may stand in.
GITIGNORE = "# Backups hold documents of users.\n*\n"


def _nobody_else() -> None:
    """Where no other process can know of the folder there is no lock to be lost."""


class BackupWriter:
    """Owns the folder of a backup while it grows. One thread submits; threads of its own write.

    After a chunk could not be written none is recorded any more: what a failed fsync left on disk can't be
    known. Another writer can continue (`reopen`).

    A file system knows no fencing tokens. A process that has slept past the end of its lease would put its
    manifest in the place of its successor's, so before each file that it writes the lock is asked for, unless
    that was done a moment ago.

    Attributes:
        folder: Of the backup.
        manifest: As it stands in the folder.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        records: Sequence[ChunkRecord],
        require_lock: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._require_lock = require_lock
        self._asked_at = -math.inf
        self._records = list(records)
        with ExitStack() as opened:
            self._list = opened.enter_context(FileIO(str(folder / CHUNK_LIST), "ab", opener=_open_list))
            sync_folder(folder)
            opened.pop_all()  # from now on `close` closes it
        self._writing = ThreadPoolExecutor(CHUNKS_IN_FLIGHT, "redismigrate-backup")
        self._recording = ThreadPoolExecutor(1, "redismigrate-backup-list")
        self._slots = threading.BoundedSemaphore(CHUNKS_IN_FLIGHT)
        self._next_number = len(self._records) + 1
        self._last: Future[ChunkRecord] | None = None

    @classmethod
    def create(
        cls, backup_dir: Path, manifest: Manifest, *, require_lock: Callable[[], None] = _nobody_else
    ) -> Self:
        """Start the backup of an index.

        Args:
            backup_dir: Above all backups; made if need be, and then with a `.gitignore` that keeps them out
                of a repository.
            manifest: What it is of, without chunks. Its fields are the columns of every chunk, in order.
            require_lock: Raises when another process may write the folder by now; called by several threads.

        Raises:
            BackupFailed: The folder holds something already, or can't be written.
            FenceLost: The lock is another's; so in all methods that write.
        """
        folder = backup_folder(backup_dir, manifest.project, manifest.run, manifest.revision, manifest.index)
        try:
            _make_backup_dir(backup_dir)
            make_folder(folder)
            require_lock()
            remove_temporaries(folder)
            if any(folder.iterdir()):
                raise BackupFailed(
                    f"{folder} holds files already, and a backup is never overwritten.",
                    "Give another --backup-dir, or move the folder away.",
                )
            replace_file(folder / MANIFEST, dump_manifest(manifest), require_lock)
            return cls(folder, manifest, (), require_lock)
        except OSError as error:
            raise failed_to_write(folder, error) from error

    @classmethod
    def reopen(cls, folder: Path, *, require_lock: Callable[[], None] = _nobody_else) -> Self:
        """Continue a backup after its last durable chunk.

        Args:
            folder: Of the backup.
            require_lock: As for `create`.

        Raises:
            BackupDamaged: It is not as it was written. (That the chunks are there is checked; `Backup.verify`
                reads them.)
            BackupFailed: The folder can't be written.
            FenceLost: The lock is another's.
        """
        manifest = load_manifest(folder)
        listed, list_bytes = read_chunk_list(folder, manifest)
        records = manifest.chunks + listed
        for record in records:
            try:
                open_regular_file(folder / record.file, record.bytes).close()
            except UnexpectedFile as problem:
                raise damaged(folder, f"{record.file} {problem}") from None
        growing = manifest.model_copy(update={"complete": False})
        try:
            # The list before the temporary files: a file that has only its temporary name explains why the
            # last record of the list has none.
            require_lock()
            _shorten(folder / CHUNK_LIST, list_bytes)
            remove_temporaries(folder)
            if growing != manifest:
                replace_file(folder / MANIFEST, dump_manifest(growing), require_lock)
            return cls(folder, growing, records, require_lock)
        except OSError as error:
            raise failed_to_write(folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, chunk: Chunk) -> ChunkRecord:
        """Write a chunk; it is on disk when this returns.

        Args:
            chunk: Its columns are the fields of the backup.

        Raises:
            BackupFailed: It can't be written.
            ValueError: It has other columns.
        """
        return self.submit(chunk).result()

    def submit(self, *parts: Chunk) -> Future[ChunkRecord]:
        """Write a chunk while the caller does something else; blocks while two others are being written.

        Args:
            parts: Its documents; all have the same numbers, and the fields of the backup for columns.

        Returns:
            Has a result when the chunk is on disk; until then none of its documents may change. Raises
            BackupFailed when it or an earlier one can't be written.

        Raises:
            ValueError: It has other columns.
        """
        for part in parts:
            if tuple(part.documents.columns) != self.manifest.fields:
                raise ValueError(
                    f"columns {list(part.documents.columns)}, expected {list(self.manifest.fields)}"
                )
        self._slots.acquire()
        written = self._writing.submit(self._write, parts, self._next_number)
        written.add_done_callback(lambda _: self._slots.release())
        self._last = self._recording.submit(self._record, written, self._last)
        self._next_number += 1
        return self._last

    def finish(self, options: Any = None) -> None:
        """Wait for all chunks and mark the backup as complete. Nothing more can be written, even if it fails.

        Args:
            options: What the run was asked to do, with what it found out meanwhile; None leaves what was
                recorded.

        Raises:
            BackupFailed: A chunk or the manifest can't be written.
        """
        self.close()
        if self._last is not None:
            self._last.result()
        complete = self.manifest.model_copy(
            update={
                "complete": True,
                "options": self.manifest.options if options is None else options,
                "chunks": tuple(self._records),
                "documents": sum(record.documents for record in self._records),
                "bytes": sum(record.bytes for record in self._records),
            }
        )
        try:
            replace_file(self.folder / MANIFEST, dump_manifest(complete), self._require_lock)
            (self.folder / CHUNK_LIST).unlink()
            sync_folder(self.folder)
        except OSError as error:
            raise failed_to_write(self.folder, error) from error
        self.manifest = complete

    def close(self) -> None:
        """Wait for the chunks that are on their way; the backup can be continued (`reopen`)."""
        self._writing.shutdown()
        self._recording.shutdown()
        self._list.close()

    def _write(self, parts: Sequence[Chunk], number: int) -> ChunkRecord:
        """Write a chunk under a temporary name; it is on disk when this returns."""
        path = self.folder / chunk_name(number)
        try:
            self._require_recent_lock()
            with new_temporary(path) as file:
                hashed = HashedFile(file)
                write_chunk(hashed, *parts)
        except OSError as error:
            raise failed_to_write(self.folder, error) from error
        return ChunkRecord(
            file=path.name,
            sha256=hashed.sha256.hexdigest(),
            documents=sum(len(part.documents.keys) for part in parts),
            bytes=hashed.size_bytes,
        )

    def _record(self, written: Future[ChunkRecord], before: Future[ChunkRecord] | None) -> ChunkRecord:
        """Make a chunk durable whose file is: its record first, so that no file stands without one."""
        if before is not None:
            before.result()  # no chunk is recorded after one that failed
        record = written.result()
        path = self.folder / record.file
        try:
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            self._require_recent_lock()
            self._append(dump_record(record))
            self._require_recent_lock()
            temporary_of(path).rename(path)
            sync_folder(self.folder)
        except OSError as error:
            raise failed_to_write(self.folder, error) from error
        self._records.append(record)
        return record

    def _append(self, line: bytes) -> None:
        """Write a line to the list of chunks; it is on disk when this returns."""
        if self._list.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._list.fileno())

    def _require_recent_lock(self) -> None:
        """Ask for the lock if that is some time ago; the clock goes on while a signal stops the process."""
        asked_at = time.monotonic()
        if asked_at - self._asked_at >= LOCK_SECONDS:
            self._require_lock()
            self._asked_at = asked_at


def _make_backup_dir(backup_dir: Path) -> None:
    if not backup_dir.is_dir():
        make_folder(backup_dir)
        # Another process may make it at the same time.
        with suppress(FileExistsError), (backup_dir / ".gitignore").open("x") as file:
            file.write(GITIGNORE)


def _open_list(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)


def _shorten(path: Path, size_bytes: int) -> None:
    """Cut a list of chunks after its last durable record."""
    if not os.path.lexists(path):
        return
    with FileIO(str(path), "r+", opener=_open_list) as file:
        file.truncate(size_bytes)
        os.fsync(file.fileno())
