"""What a rewrite has written, as digests beside the originals in the backup.

Where it is known when a chunk is written, as of what writers have brought back meanwhile, it stands in the
chunk. Most chunks are written before the first document is changed, and the transform runs later, once. So
what it makes of a chunk is appended to a log, which is on disk before the first document of that chunk is
written. A chunk may stand there more than once: a process that was killed after it had appended may have
written some of its documents, and the next one may come to other values.

A backup of an older version has no log, and its manifest says nothing of one.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from redismigrate.backup.chunk_file import Chunk, MalformedChunk, WrittenDigests
from redismigrate.backup.durable_files import (
    FILE_MODE,
    UnexpectedFile,
    open_regular_file,
    replace_file,
    sync_folder,
    temporary_of,
)
from redismigrate.backup.manifest import (
    MANIFEST,
    Manifest,
    damaged,
    dump_manifest,
    failed_to_write,
    is_temporary,
    load_manifest,
)
from redismigrate.documents.digests import DIGEST_BYTES, Digest64

LOG = "written.log"
# In the options of a manifest: how long the log is at least, and the sha256 of that part of it.
OPTION = "written"
# The numbers of a chunk that are digests of what was written into a field.
_NUMBERS = "written {}"
# A record is a head, the digests field by field, and the checksum of both. The head: what it is, the number
# of the chunk, how many documents and how many fields that has.
_HEAD = struct.Struct("<4sIII")
_MAGIC = b"RMw1"
_CHECKSUM_BYTES = 16

Records = dict[int, list[tuple[Digest64, ...]]]
"""By the number of their chunk; of each, the digests of every field, in the order of the manifest's."""


class MalformedLog(Exception):
    """The log is not as it was written; the text says why, as the end of a sentence about the file."""


class _Parsed(NamedTuple):
    """What stands in a log.

    Attributes:
        records: All of them.
        size_bytes: Of these; what follows was being written when a process was killed.
    """

    records: Records
    size_bytes: int


def written_numbers(digests: WrittenDigests) -> dict[str, list[int]]:
    """Digests as the numbers of a chunk.

    Args:
        digests: Of what is about to be written into each field of the chunk's documents.
    """
    return {_NUMBERS.format(path): of.view(np.int64).tolist() for path, of in digests.items()}


def written_in(
    chunk: Chunk, number: int, fields: Sequence[str], records: Records | None
) -> tuple[WrittenDigests, ...] | None:
    """What may have been written into the documents of a chunk, one item for each attempt.

    Args:
        chunk: As it stands in its file.
        number: Of it, from 1.
        fields: Of the backup.
        records: In the log; None where there is none.

    Returns:
        Nothing where none of its documents can have been written; None where nobody knows, since it was made
        by an older version.

    Raises:
        MalformedChunk: The log is of other documents.
    """
    in_chunk = {path: chunk.numbers.get(_NUMBERS.format(path)) for path in fields}
    known = {path: np.array(of, np.int64).view(np.uint64) for path, of in in_chunk.items() if of is not None}
    if known:
        return (known,)
    if records is None:
        return None
    attempts = records.get(number, [])
    shape = [len(chunk.documents.keys)] * len(fields)
    if any([len(digests) for digests in attempt] != shape for attempt in attempts):
        raise MalformedChunk(f"does not fit to what {LOG} says of it")
    return tuple(dict(zip(fields, attempt, strict=True)) for attempt in attempts)


def keeps_log(manifest: Manifest) -> bool:
    """Whether a backup has a log of what was written."""
    return isinstance(manifest.options, dict) and OPTION in manifest.options


def read_log(folder: Path, manifest: Manifest) -> Records | None:
    """What stands in the log of a backup; None where it has none.

    What stands behind the part that the manifest vouches for, and is no whole record, was being written when
    a process was killed: none of those documents was.

    Raises:
        MalformedLog: It is not as it was written.
    """
    return _parsed(folder, manifest).records if keeps_log(manifest) else None


def start_log(folder: Path, require_lock: Callable[[], None]) -> dict[str, Any]:
    """Make an empty log in the folder of a backup; what the options of its manifest have to say of it.

    Raises:
        BackupFailed: It can't be written.
        FenceLost: The lock is another's.
    """
    try:
        require_lock()
        with FileIO(str(folder / LOG), "ab", opener=_open) as file:
            os.fsync(file.fileno())
        sync_folder(folder)
    except OSError as error:
        raise failed_to_write(folder, error) from error
    return {OPTION: {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}}


def open_log(folder: Path, require_lock: Callable[[], None]) -> WrittenLog:
    """Go on with the log of a backup, to be used in a `with` statement.

    Raises:
        BackupDamaged: It, or the manifest, is not as it was written.
        BackupFailed: It can't be written.
        FenceLost: The lock is another's.
    """
    try:
        return WrittenLog(folder, require_lock)
    except MalformedLog as problem:
        raise damaged(folder, f"{LOG} {problem}") from None


class WrittenLog:
    """Owns the log of a backup while it grows.

    Args:
        folder: Of the backup.
        require_lock: Raises when another process may write there by now.

    Raises:
        MalformedLog: It is not as it was written.
        BackupDamaged: The manifest is not.
        BackupFailed: It can't be written; so from `add` and `seal`.
        FenceLost: The lock is another's; so from those, too.
    """

    def __init__(self, folder: Path, require_lock: Callable[[], None]) -> None:
        self._folder = folder
        self._require_lock = require_lock
        parsed = _parsed(folder, load_manifest(folder))
        try:
            require_lock()
            with ExitStack() as opened:
                self._file = opened.enter_context(FileIO(str(folder / LOG), "ab", opener=_open))
                # What a killed process has begun would make all that follows unreadable.
                self._file.truncate(parsed.size_bytes)
                os.fsync(self._file.fileno())
                opened.pop_all()
        except OSError as error:
            raise failed_to_write(folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, number: int, digests: Sequence[Digest64]) -> None:
        """Note what is about to be written into the documents of a chunk; it is on disk when this returns.

        Args:
            number: Of the chunk, from 1.
            digests: For each field of the backup those of all documents; 0 for what is left alone.
        """
        head = _HEAD.pack(_MAGIC, number, len(digests[0]), len(digests))
        record = head + b"".join([of.astype("<u8", copy=False).tobytes() for of in digests])
        try:
            self._require_lock()
            # In one piece, so that what another process appends does not come in between.
            written = self._file.write(record + _checksum(record))
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise failed_to_write(self._folder, error) from error
        if written != len(record) + _CHECKSUM_BYTES:
            raise failed_to_write(self._folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def seal(self) -> None:
        """Let the manifest vouch for all that stands in the log by now."""
        manifest = load_manifest(self._folder)
        content = (self._folder / LOG).read_bytes()[: _parsed(self._folder, manifest).size_bytes]
        option = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        sealed = manifest.model_copy(update={"options": {**manifest.options, OPTION: option}})
        begun = temporary_of(self._folder / MANIFEST)
        try:
            self._require_lock()
            if is_temporary(begun):
                # A process was killed right here.
                begun.unlink()
            replace_file(self._folder / MANIFEST, dump_manifest(sealed), self._require_lock)
        except OSError as error:
            raise failed_to_write(self._folder, error) from error


def _parsed(folder: Path, manifest: Manifest) -> _Parsed:
    option = manifest.options.get(OPTION) if isinstance(manifest.options, dict) else None
    sealed_bytes, sha256 = (
        (option.get("bytes"), option.get("sha256")) if isinstance(option, dict) else (None, None)
    )
    if not isinstance(sealed_bytes, int) or sealed_bytes < 0 or not isinstance(sha256, str):
        raise MalformedLog(f"is not described by {MANIFEST}")
    try:
        with open_regular_file(folder / LOG) as file:
            size = os.fstat(file.fileno()).st_size
            if size < sealed_bytes:
                raise MalformedLog(f"has {size:,} bytes, expected {sealed_bytes:,}")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    except UnexpectedFile as problem:
        raise MalformedLog(str(problem)) from None
    if hashlib.sha256(data[:sealed_bytes]).hexdigest() != sha256:
        raise MalformedLog("was changed after it was written (its sha256 differs)")
    records: Records = {}
    at = 0
    while (found := _record_at(data, at)) is not None:
        number, digests, at = found
        records.setdefault(number, []).append(digests)
    if at < sealed_bytes:
        raise MalformedLog("holds something else than what was written")
    return _Parsed(records, at)


def _record_at(data: memoryview, at: int) -> tuple[int, tuple[Digest64, ...], int] | None:
    """The record that begins in a log, with where the next one does; None where none is whole."""
    if len(data) - at < _HEAD.size:
        return None
    magic, number, documents, fields = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + documents * fields * DIGEST_BYTES
    if magic != _MAGIC or end + _CHECKSUM_BYTES > len(data):
        return None
    if data[end : end + _CHECKSUM_BYTES] != _checksum(data[at:end]):
        return None
    digests = np.frombuffer(data[at + _HEAD.size : end], "<u8").reshape(fields, documents)
    return number, tuple(digests.astype(np.uint64, copy=False)), end + _CHECKSUM_BYTES


def _checksum(record: bytes | memoryview) -> bytes:
    return hashlib.blake2b(record, digest_size=_CHECKSUM_BYTES).digest()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)
