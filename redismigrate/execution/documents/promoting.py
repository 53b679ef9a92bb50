"""Moves second forms of vectors to their declared fields, and backs up before what no backup has yet.

The backup of a revision is older than its second forms. What the application has written since in the old
form is about to be replaced like all the rest, so the backup has to have it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from redismigrate.execution.documents.backup import Backup
from redismigrate.execution.documents.backup_writer import BackupWriter
from redismigrate.execution.documents.batch import Batch
from redismigrate.execution.documents.chunk_file import Chunk
from redismigrate.execution.documents.columns import Column
from redismigrate.execution.documents.digests import Digests, digests_of
from redismigrate.execution.documents.mirroring import Decision, Reader
from redismigrate.execution.documents.second_fields import SecondFields
from redismigrate.redis_server.connection import Server


class Promotion:
    """The mirror of second fields that are promoted; owns the backup that grows meanwhile.

    Args:
        second_fields: Aims at "promoted".
        backup: Of the revision; its fields are those that are promoted.
        require_lock: Raises when another process may write the backup by now.
    """

    def __init__(self, second_fields: SecondFields, backup: Backup, require_lock: Callable[[], None]) -> None:
        self._second_fields = second_fields
        self._folder = backup.folder
        self._require_lock = require_lock
        self._writer: BackupWriter | None = None
        self._backed_up = Digests()
        for chunk in backup.chunks():
            for path, column in chunk.documents.columns.items():
                self._backed_up.add(digests_of(path, chunk.documents.keys, column))

    @property
    def tracked(self) -> tuple[bytes, ...]:
        """As of the second fields."""
        return self._second_fields.tracked

    @property
    def tracked_second(self) -> tuple[bytes, ...]:
        """As of the second fields."""
        return self._second_fields.tracked_second

    def report_second(self, keys: Iterable[bytes]) -> Iterable[bytes]:
        """As the second fields do."""
        return self._second_fields.report_second(keys)

    def covers(self, key: bytes) -> bool:
        """As the second fields do."""
        return self._second_fields.covers(key)

    def keys(self, server: Server) -> Iterator[Sequence[bytes]]:
        """The keys that the schema is about."""
        return self._second_fields.keys(server)

    def watched(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """The documents themselves."""
        return self._second_fields.watched(keys)

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """Both forms of every field."""
        return self._second_fields.reads(keys)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Write what differs, once what that replaces is on disk.

        Raises:
            BackupFailed: It can't be written.
        """
        originals = self._originals(replies)
        decision = self._second_fields.decide(keys, replies, reader)
        if decision.writes_anything:
            # What can't be converted stays as it is.
            left = {document.key for document in decision.failures}
            self._back_up(keys, originals, left)
        return decision

    def close(self) -> None:
        """Write no more; what was written is on disk."""
        if self._writer is not None:
            self._writer.close()

    def _originals(self, replies: list[Any]) -> dict[str, Column]:
        """The declared values that have the old form."""
        return {
            field.recoding.path: [
                value
                if isinstance(row, list)
                and (value := row[2 * at]) is not None
                and len(value) == field.recoding.bytes_before
                else None
                for row in replies
            ]
            for at, field in enumerate(self._second_fields.fields)
        }

    def _back_up(self, keys: Sequence[bytes], originals: dict[str, Column], left: set[bytes]) -> None:
        lacking = {
            path: {
                row
                for row in self._backed_up.lacking(digests_of(path, keys, column))
                if keys[row] not in left
            }
            for path, column in originals.items()
        }
        rows = sorted(set().union(*lacking.values()))
        if not rows:
            return
        if self._writer is None:
            self._writer = BackupWriter.reopen(self._folder, require_lock=self._require_lock)
        columns: dict[str, Column] = {
            path: [originals[path][row] if row in lacking[path] else None for row in rows]
            for path in self._writer.manifest.fields
        }
        documents = Batch([keys[row] for row in rows], columns)
        self._writer.add(Chunk(documents))
        for path, column in columns.items():
            self._backed_up.add(digests_of(path, documents.keys, column))
