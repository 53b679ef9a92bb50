"""What was replaced, in a backup: whole documents, JSON as its text, a hash as names, values and lifetimes.

Or some values of documents: those of JSON stand there as a hash does, with paths for names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.manifest import damaged
from redismigrate.documents.whole import NEVER, WHOLE_COLUMN, Found
from redismigrate.errors import BackupDamaged

COLUMN = WHOLE_COLUMN
VALUES_COLUMN = "*values"
IS_CONFLICT, EXPIRES_MS, STOOD = "is_conflict", "expires_ms", "stood"
_LENGTH = re.compile(rb"\$(\d{1,18})\r\n")
_WORDS_A_FIELD = 3


class Stood(IntEnum):
    """How a value stood at the new path of a rename before the run."""

    NOT = 0
    ALONE = 1
    BESIDE = 2


class Replaced(NamedTuple):
    """An original that is about to be replaced, or removed.

    Attributes:
        key: Where it is.
        original: What is there.
        is_conflict: The application has written it as well as its copy.
        stood: Nothing goes: it is a note that values stood at new paths before the run, with the digest of
            each; beside those at the old paths, or alone.
    """

    key: bytes
    original: Found
    is_conflict: bool
    stood: Stood = Stood.NOT


def is_of_replaced(backup: Backup) -> bool:
    """Whether a backup holds what nothing else had when it was replaced, rather than rewritten fields."""
    return backup.manifest.fields in {(COLUMN,), (VALUES_COLUMN,)}


def holds_values(backup: Backup) -> bool:
    """Whether what was replaced are some values of documents, rather than whole ones."""
    return backup.manifest.fields == (VALUES_COLUMN,)


def replaced_in(backup: Backup, chunk: Chunk, storage_type: str) -> Iterator[Replaced]:
    """The originals, or values, in a chunk, without the notes of what stood at new paths.

    Args:
        backup: That the chunk is of.
        chunk: Its documents.
        storage_type: Of them.

    Raises:
        BackupDamaged: One is no document.
    """
    return (each for each in _all_in(backup, chunk, storage_type) if each.stood is Stood.NOT)


def stood_in(backup: Backup, chunk: Chunk, storage_type: str) -> Iterator[Replaced]:
    """The notes in a chunk of what stood at new paths before the run; arguments and errors as above."""
    return (each for each in _all_in(backup, chunk, storage_type) if each.stood is not Stood.NOT)


def _all_in(backup: Backup, chunk: Chunk, storage_type: str) -> Iterator[Replaced]:
    notes = chunk.numbers.get(STOOD, [Stood.NOT] * len(chunk.documents.keys))
    flags = chunk.numbers.get(IS_CONFLICT, [0] * len(chunk.documents.keys))
    moments = chunk.numbers.get(EXPIRES_MS, [NEVER] * len(chunk.documents.keys))
    (column,) = backup.manifest.fields
    texts = chunk.documents.columns[column]
    for key, text, flag, moment, note in zip(chunk.documents.keys, texts, flags, moments, notes, strict=True):
        if text is None:
            continue
        # A backup of one run may have both, where hashes became JSON documents and came back.
        if (storage_type == "json" or not text.startswith(b"$")) and not holds_values(backup):
            yield Replaced(key, Found(text, moment), bool(flag))
            continue
        if note not in set(Stood):
            raise _no_document(backup)
        yield Replaced(key, _hash_of(backup, text, moment), bool(flag), Stood(note))


def hash_text(found: Found) -> bytes:
    """A hash as text: for each field its name, its value and when it expires, with their lengths."""
    document = found.document if isinstance(found.document, dict) else {}
    words = [
        word
        for name, value in sorted(document.items())
        for word in (name, value, b"%d" % found.expiries.get(name, NEVER))
    ]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def document_text(found: Found) -> bytes:
    """A document as it stands in the column: JSON as its text, a hash as `hash_text` writes it."""
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
