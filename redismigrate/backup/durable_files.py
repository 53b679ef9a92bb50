"""Files that are there whole or not at all after a crash, and reading that follows no link."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Backups hold the users' documents: nobody else may read them.
FOLDER_MODE = 0o700
FILE_MODE = 0o600
TEMPORARY = ".tmp"


class UnexpectedFile(Exception):
    """What stands under the name of a file is none, or not as long as it should be."""


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False where a path from elsewhere can't be that of one."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for names that are too long


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, so that they survive a crash."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(FOLDER_MODE, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_of(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(path.name + TEMPORARY)


@contextmanager
def new_temporary(path: Path) -> Iterator[BinaryIO]:
    """Write a new file under a temporary name; it is on disk when the context ends, removed if by an error.

    Args:
        path: What it is to be called.

    Raises:
        OSError: It can't be written, or is there already.
    """
    temporary = temporary_of(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            yield file
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink()
        raise


def replace_file(path: Path, data: bytes, require_lock: Callable[[], None]) -> None:
    """Write a file in the place of an older one, if there is one; a crash leaves either of them, whole.

    Args:
        path: The file.
        data: Its content.
        require_lock: Raises when another process may write it by now. Called before anything, and again right
            before the older one is replaced: to wait for the disk takes its time.

    Raises:
        OSError: It can't be written; the older one is as it was.
    """
    require_lock()
    with new_temporary(path) as file:
        file.write(data)
    require_lock()
    temporary_of(path).replace(path)
    sync_folder(path.parent)


class HashedFile(RawIOBase):
    """Passes on what is written and hashes it on the way, which spares reading it again.

    Attributes:
        sha256: Of what was written.
        size_bytes: Of it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        """Whether the file takes writes: always."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write all of the bytes and hash them; return how many they are."""
        self.sha256.update(data)
        written = self._file.write(data)
        self.size_bytes += written
        return written


def open_regular_file(path: Path, size_bytes: int | None = None) -> BufferedReader:
    """Open a file that is neither a link nor a device.

    Args:
        path: The file.
        size_bytes: How long it has to be; None for any length.

    Raises:
        UnexpectedFile: It is something else; the text says what, as the end of a sentence about the file.
    """
    try:
        # A pipe would block without O_NONBLOCK until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UnexpectedFile("is missing") from None
    except OSError as error:
        reason = "is a link" if path.is_symlink() else f"can't be read: {error.strerror}"
        raise UnexpectedFile(reason) from None
    status = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "is no regular file"
    elif size_bytes is not None and status.st_size != size_bytes:
        problem = f"has {status.st_size:,} bytes, expected {size_bytes:,}"
    if problem is not None:
        os.close(descriptor)
        raise UnexpectedFile(problem)
    return open(descriptor, "rb")  # noqa: PTH123 - a descriptor


def read_regular_file(path: Path, size_bytes: int | None = None) -> bytes:
    """The content of what `open_regular_file` opens."""
    with open_regular_file(path, size_bytes) as file:
        return file.read()
