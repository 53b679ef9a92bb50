"""Puts what several batches have into one chunk of a backup: every chunk costs three waits for the disk."""

from __future__ import annotations

from concurrent.futures import Future

from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.manifest import ChunkRecord
from redismigrate.documents.columns import size_bytes
from redismigrate.execution.documents.traffic.node import Node

# In a chunk, keys included; three of them are in memory at a time.
CHUNK_BYTES = 4 << 20


class JoinedChunks:
    """Chunks of a backup, joined until they are large enough to be written.

    Args:
        writer: Of the backup.

    Attributes:
        documents: How many were taken.
    """

    def __init__(self, writer: BackupWriter) -> None:
        self._writer = writer
        self._node: Node | None = None
        self._parts: list[Chunk] = []
        self._bytes = 0
        self._last: Future[ChunkRecord] | None = None
        self.documents = 0

    def add(self, chunk: Chunk, node: Node | None = None) -> None:
        """Take documents; write what was taken once it is enough.

        Args:
            chunk: Of them.
            node: Where they are: who writes the documents of a chunk writes to one node.
        """
        if node != self._node:
            self._submit()
            self._node = node
        self._parts.append(chunk)
        self.documents += len(chunk.documents.keys)
        self._bytes += sum(map(len, chunk.documents.keys))
        self._bytes += sum(map(size_bytes, chunk.documents.columns.values()))
        if self._bytes >= CHUNK_BYTES:
            self._submit()

    def finish(self) -> None:
        """Write the rest; all of it is on disk when this returns."""
        self._submit()
        if self._last is not None:
            self._last.result()

    def _submit(self) -> None:
        if self._parts:
            self._last = self._writer.submit(*self._parts)
        self._parts, self._bytes = [], 0
