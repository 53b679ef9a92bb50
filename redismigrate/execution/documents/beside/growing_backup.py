"""A backup that grows after its first pass: what is about to be replaced is on disk before it is.

The backup of a revision is older than its second forms. What the application has written since is replaced
like all the rest, so the backup has to have it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.written import written_numbers
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column
from redismigrate.documents.digests import Digest64, Digests, bound_to_keys, digests_of, value_digests
from redismigrate.errors import BackupError


class GrowingBackup:
    """Owns the backup of a revision while values are added to it. It is read when there is something to add.

    Args:
        open_backup: Opens the backup; its fields are those whose values are added.
        require_lock: Raises when another process may write the backup by now.
        go_without: Told why there is no backup, where the run may go on without one; None where it may not.
    """

    def __init__(
        self,
        open_backup: Callable[[], Backup],
        require_lock: Callable[[], None],
        go_without: Callable[[str], None] | None = None,
    ) -> None:
        self._open = open_backup
        self._require_lock = require_lock
        self._go_without = go_without
        self._known: Digests | None = None
        # Of what replaces them. None where the backup does not tell, made by an older version.
        self._known_written: Digests | None = Digests()
        # Of values that were added later the order tells which was there last, and thus which comes back.
        self._latest: dict[tuple[str, bytes], int] = {}
        self._writer: BackupWriter | None = None
        self._backup: Backup | None = None
        self._is_missing = False

    def keep(
        self, keys: Sequence[bytes], replaced: Mapping[str, Column], written: Mapping[str, Column]
    ) -> None:
        """Back up values that are about to be replaced, unless they are in the backup as the last ones.

        Args:
            keys: Of documents.
            replaced: Hash field -> what is replaced in each document; None for nothing.
            written: Hash field -> what replaces it, where a restore has to put it back; None for nothing.

        Raises:
            BackupFailed: They can't be written; nothing may be replaced.
            BackupMissing, BackupDamaged: There is no backup, and the run may not go on without one.
        """
        columns = {path: column for path, column in replaced.items() if any(v is not None for v in column)}
        if not columns or not self._is_open():
            return
        digests = {path: digests_of(path, keys, column) for path, column in columns.items()}
        new = {path: value_digests(written.get(path, [None] * len(keys))) for path in columns}
        lacking = {path: self._lacking(path, keys, digests[path], new[path]) for path in columns}
        rows = sorted(set().union(*lacking.values()))
        if not rows:
            return
        writer = self._reopened()
        documents = Batch(
            [keys[row] for row in rows],
            {
                path: [columns[path][row] if row in lacking.get(path, ()) else None for row in rows]
                for path in writer.manifest.fields
            },
        )
        nothing = np.zeros(len(rows), np.uint64)
        of_rows = {path: new[path][rows] if path in new else nothing for path in writer.manifest.fields}
        writer.add(Chunk(documents, written_numbers(of_rows)))
        for path, found in lacking.items():
            at = sorted(found)
            self._note(path, [keys[row] for row in at], digests[path][at], new[path][at])

    def close(self) -> None:
        """Add no more; what was added is on disk."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _lacking(self, path: str, keys: Sequence[bytes], digests: Digest64, new: Digest64) -> set[int]:
        """The rows of values that would not come back: unknown ones, and those after which came others.

        So are those of which the backup does not know what replaces them.
        """
        known = self._known or Digests()
        unknown = set(known.lacking(digests))
        if self._known_written is not None:
            unread = self._known_written.lacking(bound_to_keys(path, keys, new))
            unknown |= {row for row in unread if digests[row]}
        if not self._latest:
            return unknown
        return {
            row
            for row, (key, digest) in enumerate(zip(keys, digests, strict=True))
            if digest and (row in unknown or self._latest.get((path, key), digest) != digest)
        }

    def _note(self, path: str, keys: Sequence[bytes], digests: Digest64, new: Digest64) -> None:
        if self._known is not None:
            self._known.add(digests)
        if self._known_written is not None:
            self._known_written.add(bound_to_keys(path, keys, new))
        self._latest.update(
            {(path, key): digest for key, digest in zip(keys, digests, strict=True) if digest}
        )

    def _is_open(self) -> bool:
        """Read which values the backup has, the first time; False: the run goes on without one."""
        if self._known is not None or self._is_missing:
            return not self._is_missing
        known, count = Digests(), 0
        try:
            self._backup = self._open()
            kept = self._backup.count("kept")
            for chunk in self._backup.chunks():
                keys = chunk.documents.keys
                for path, column in chunk.documents.columns.items():
                    digests = digests_of(path, keys, column)
                    known.add(digests)
                    self._read_written(path, chunk)
                    if kept is not None and count >= kept:
                        self._latest.update(
                            {(path, key): each for key, each in zip(keys, digests, strict=True) if each}
                        )
                count += len(keys)
        except BackupError as error:
            if self._go_without is None:
                raise
            self._go_without(error.message)
            self._is_missing = True
            return False
        self._known = known
        return True

    def _read_written(self, path: str, chunk: Chunk) -> None:
        if chunk.written is None:
            self._known_written = None
        elif self._known_written is not None:
            for digests in chunk.digests_written(path):
                self._known_written.add(digests)

    def _reopened(self) -> BackupWriter:
        if self._writer is None:
            if self._backup is None:
                raise ValueError("the backup was not opened")
            self._writer = BackupWriter.reopen(self._backup.folder, require_lock=self._require_lock)
        return self._writer
