"""Whole documents in the backup of a change of their type, each with a digest of what was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.replaced_documents import COLUMN, EXPIRES_MS, document_text, hash_text, replaced_in
from redismigrate.backup.written import written_numbers
from redismigrate.documents.batch import Batch
from redismigrate.documents.digests import Digest64, Digests, bound_to_keys, digests_of, value_digests
from redismigrate.documents.json_members import normalised
from redismigrate.documents.whole import Found
from redismigrate.schema.fields import StorageType


def chunk_of_originals(keys: Sequence[bytes], originals: Sequence[Found], made: Sequence[Found]) -> Chunk:
    """Documents that are about to become ones of the other type.

    Args:
        keys: Of the documents.
        originals: What is there.
        made: What is about to be written in its place.
    """
    numbers = {
        EXPIRES_MS: [original.expires_ms for original in originals],
        **written_numbers({COLUMN: value_digests(list(map(_comparable, made)))}),
    }
    return Chunk(Batch(list(keys), {COLUMN: list(map(document_text, originals))}), numbers)


def originals_in(backup: Backup, chunk: Chunk, storage_type: StorageType) -> Iterator[tuple[bytes, Found]]:
    """The originals of a chunk, by their keys.

    Args:
        backup: That the chunk is of.
        chunk: Its documents.
        storage_type: Of them.

    Raises:
        BackupDamaged: One is no document.
    """
    return ((each.key, each.original) for each in replaced_in(backup, chunk, storage_type))


def digests_of_documents(keys: Sequence[bytes], documents: Sequence[Found]) -> Digest64:
    """A digest of each key with its document, whatever the spelling of JSON; 0 where there is none."""
    return bound_to_keys(COLUMN, keys, value_digests([_comparable(each) for each in documents]))


def digests_of_texts(keys: Sequence[bytes], documents: Sequence[Found]) -> Digest64:
    """A digest of each key with its document to the byte, as `digests_of_originals` has them."""
    return digests_of(COLUMN, keys, [document_text(each) for each in documents])


def digests_of_originals(backup: Backup) -> Digests:
    """What is in a backup, to the byte."""
    digests = Digests()
    for chunk in backup.chunks():
        digests.add(digests_of(COLUMN, chunk.documents.keys, chunk.documents.columns[COLUMN]))
    return digests


def digests_of_made(backup: Backup) -> Digests:
    """What was made, or was about to be, of the documents in a backup."""
    digests = Digests()
    for chunk in backup.chunks():
        for written in chunk.digests_written(COLUMN):
            digests.add(written)
    return digests


def add_given_back(digests: Digests, older: Backup, storage_type: StorageType) -> None:
    """Take the originals in an older backup for what was made: they were put in the place of that.

    Args:
        digests: They are added to these.
        older: The backup.
        storage_type: Of its documents.
    """
    for chunk in older.chunks():
        originals = dict(originals_in(older, chunk, storage_type))
        digests.add(digests_of_documents(list(originals), list(originals.values())))


def _comparable(found: Found) -> bytes | None:
    """What two documents that say the same have in common: the server spells JSON in a way of its own."""
    if found.document is None:
        return None
    if isinstance(found.document, dict):
        return hash_text(found)
    try:
        return normalised(found.document).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return found.document
