"""Keeps on disk what a newer form replaces: originals of the application that nothing else holds.

They are whole documents, so the backup has one column. JSON stands there as its text, a hash as `hash_text`
writes it: names, values and lifetimes, each with its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from redismigrate.errors import BackupDamaged
from redismigrate.execution.documents.backup import Backup
from redismigrate.execution.documents.backup_folders import backup_folder
from redismigrate.execution.documents.backup_writer import BackupWriter
from redismigrate.execution.documents.batch import Batch
from redismigrate.execution.documents.chunk_file import Chunk
from redismigrate.execution.documents.manifest import MANIFEST, Manifest, damaged
from redismigrate.execution.documents.marks import NEVER, Found

COLUMN = "*"
IS_CONFLICT, EXPIRES_MS = "is_conflict", "expires_ms"
_LENGTH = re.compile(rb"\$(\d{1,18})\r\n")
_WORDS_A_FIELD = 3


class Replaced(NamedTuple):
    """An original that is about to be replaced, or removed.

    Attributes:
        key: Where it is.
        original: What is there.
        is_conflict: The application has written it as well as its copy.
    """

    key: bytes
    original: Found
    is_conflict: bool


KeepReplaced = Callable[[Sequence[Replaced]], None]


class ReplacedOriginals:
    """Owns the backup of replaced originals; its files are made with the first of them.

    Args:
        backup_dir: Above all backups.
        manifest: Of the backup, without chunks.
        require_lock: Raises when another process may write the backup by now.
    """

    def __init__(self, backup_dir: Path, manifest: Manifest, require_lock: Callable[[], None]) -> None:
        self._backup_dir = backup_dir
        self._manifest = manifest.model_copy(update={"fields": (COLUMN,)})
        self._require_lock = require_lock
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
            [each.key for each in originals], {COLUMN: [_text_of(each.original) for each in originals]}
        )
        numbers = {
            IS_CONFLICT: [int(each.is_conflict) for each in originals],
            EXPIRES_MS: [each.original.expires_ms for each in originals],
        }
        self._open().add(Chunk(documents, numbers))

    def close(self) -> None:
        """Mark the backup as complete, if anything was kept; more can be added later."""
        if self._writer is not None:
            self._writer.finish()
            self._writer = None

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


def is_of_replaced(backup: Backup) -> bool:
    """Whether a backup holds originals that were replaced, rather than fields that were rewritten."""
    return backup.manifest.fields == (COLUMN,)


def replaced_in(backup: Backup, chunk: Chunk, storage_type: str) -> Iterator[Replaced]:
    """The originals in a chunk.

    Args:
        backup: That the chunk is of.
        chunk: Its documents.
        storage_type: Of them.

    Raises:
        BackupDamaged: One is no document.
    """
    flags = chunk.numbers.get(IS_CONFLICT, [0] * len(chunk.documents.keys))
    moments = chunk.numbers.get(EXPIRES_MS, [NEVER] * len(chunk.documents.keys))
    texts = chunk.documents.columns[COLUMN]
    for key, text, flag, moment in zip(chunk.documents.keys, texts, flags, moments, strict=True):
        if text is None:
            continue
        if storage_type == "json":
            yield Replaced(key, Found(text, moment), bool(flag))
            continue
        yield Replaced(key, _hash_of(backup, text, moment), bool(flag))


def hash_text(found: Found) -> bytes:
    """A hash as text: for each field its name, its value and when it expires, with their lengths."""
    document = found.document if isinstance(found.document, dict) else {}
    words = [
        word
        for name, value in sorted(document.items())
        for word in (name, value, b"%d" % found.expiries.get(name, NEVER))
    ]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def _text_of(found: Found) -> bytes:
    return found.document if isinstance(found.document, bytes) else hash_text(found)


def _hash_of(backup: Backup, text: bytes, moment: int) -> Found:
    words: list[bytes] = []
    at = 0
    while at < len(text):
        head = _LENGTH.match(text, at)
        if head is None or text[head.end() + int(head[1]) :][:2] != b"\r\n":
            raise _no_document(backup)
        words.append(text[head.end() : head.end() + int(head[1])])
        at = head.end() + int(head[1]) + 2
    if len(words) % _WORDS_A_FIELD:
        raise _no_document(backup)
    fields = dict(zip(words[::3], words[1::3], strict=True))
    try:
        expiries = {name: int(when) for name, when in zip(words[::3], words[2::3], strict=True)}
    except ValueError:
        raise _no_document(backup) from None
    return Found(fields, moment, {name: when for name, when in expiries.items() if when > 0})


def _no_document(backup: Backup) -> BackupDamaged:
    return damaged(backup.folder, "a document in it is not as it was written")
