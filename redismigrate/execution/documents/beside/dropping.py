"""Values that go from documents, each once it is on disk; and that come back where there are none by now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.values_on_disk import ValueOnDisk, chunk_of_values, values_in
from redismigrate.documents.exact_numbers import why_not_written_again
from redismigrate.documents.failures import FailedDocument, Restored
from redismigrate.execution.documents.beside.twin_marks import TwinValue
from redismigrate.execution.documents.beside.twin_places import (
    FoundRow,
    HashPlaces,
    JsonPlaces,
    TwinPlaces,
    TwinRow,
)
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import (
    Decision,
    DocumentWrites,
    Synchronised,
    WithinDocuments,
)
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.wire import render, render_for_keys
from redismigrate.schema import IndexSchema
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.strict import encode

LAST_FIELDS = "it has nothing else: with the values that are dropped it would be gone; left as it is"
GONE = "it is gone; left so"
HOMELESS = "nothing holds %s there any more; left as it is"
ANOTHER_TYPE = "it is a key of another type by now; left as it is"
_TYPES = {"hash": (b"hash",), "json": (b"ReJSON-RL",)}


@dataclass(frozen=True)
class _AtPaths(WithinDocuments):
    """A mirror of the values at some paths.

    Attributes:
        schema: Tells the documents: its prefixes and storage type. FILTER is not looked at.
        paths: Hash fields or plain JSON paths.
        excluded_prefixes: Of keys that are no documents of this mirror.
    """

    schema: IndexSchema
    paths: tuple[str, ...]
    excluded_prefixes: tuple[str, ...] = ()

    @property
    def is_hash(self) -> bool:
        """Whether the documents are hashes."""
        return self.schema.storage_type == "hash"

    @cached_property
    def _places(self) -> TwinPlaces:
        names = tuple(map(encode, self.paths))
        return HashPlaces(names) if self.is_hash else JsonPlaces(names)

    def _write(self, decision: Decision, key: bytes, commands: list[tuple[bytes, ...]], counter: str) -> None:
        for name in (counter, "changed"):
            setattr(decision.result, name, getattr(decision.result, name) + 1)
        decision.documents.append(DocumentWrites(key, (key,), commands, (counter, "changed")))


@dataclass(frozen=True)
class WithoutValues(_AtPaths):
    """The mirror in which no document has values at some paths.

    A hash that has nothing else stays as it is: the server would remove it with its last field.

    Attributes:
        keep: Writes a chunk to disk; it is there when this returns.
        brought_back: Key -> the values that a backup has brought back, path by path: no others go. None: all
            go.
    """

    keep: Callable[[Chunk], object] = lambda _: None
    brought_back: Mapping[bytes, Sequence[ValueOnDisk | None]] | None = None

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The values, and how many fields each hash has."""
        commands, count = self._places.reads(keys)
        if self.is_hash:
            return render_for_keys(b"HLEN", keys, ()) + commands, len(keys) + count
        return commands, count

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Remove what is there, once it is on disk.

        Raises:
            BackupFailed: It can't be written; nothing is removed.
        """
        decision = Decision()
        lengths, found = (replies[: len(keys)], replies[len(keys) :]) if self.is_hash else ([], replies)
        rows = [
            replace(row, values=self._going(key, row.values))
            for key, row in zip(keys, self._places.rows(keys, found, reader), strict=True)
        ]
        going: list[tuple[bytes, TwinRow]] = []
        for at, (key, row) in enumerate(zip(keys, rows, strict=True)):
            there = sum(value is not None for value in row.values)
            if row.refused is not None:
                decision.failures.append(FailedDocument(key, row.refused))
            elif there and self.is_hash and lengths[at] == there:
                decision.failures.append(FailedDocument(key, LAST_FIELDS))
            elif not self.is_hash and (reason := _why_lost(row.values)) is not None:
                decision.failures.append(FailedDocument(key, reason))
            elif there:
                going.append((key, row.values))
        decision.result.documents = len(keys)
        decision.size_bytes = sum(
            len(value.content) for _, values in going for value in values if value is not None
        ) + sum(map(len, keys))
        if going:
            self.keep(chunk_of_values([key for key, _ in going], self.paths, [row for _, row in going]))
        nothing = (None,) * len(self.paths)
        for key, values in going:
            self._write(decision, key, list(self._places.drops(key, values, nothing)), "removed")
        return decision

    def _going(self, key: bytes, values: TwinRow) -> TwinRow:
        """Those of the values of a document that are to go."""
        if self.brought_back is None:
            return values
        known = self.brought_back.get(key, [None] * len(values))
        return [
            there if there is not None and original is not None and there.content == original[0] else None
            for there, original in zip(values, known, strict=True)
        ]


def _why_lost(row: TwinRow) -> str | None:
    """Why members could not come back by their text, so that they stay; None where they could."""
    texts = (value.content for value in row if value is not None)
    return next((reason for text in texts if (reason := why_not_written_again(text)) is not None), None)


@dataclass(frozen=True)
class WithOriginals(_AtPaths):
    """The mirror in which documents have values of a backup where they have none of their own.

    Attributes:
        originals: Key -> the values, path by path; None where the backup has none.
    """

    originals: Mapping[bytes, Sequence[ValueOnDisk | None]] = field(default_factory=dict)

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """What each key is, what is above each path of JSON documents, and the values that are there."""
        commands, count = self._places.reads(keys)
        above = b"".join(render(b"JSON.TYPE", key, path) for key in keys for path in self._above)
        known = len(keys) * (1 + len(self._above))
        return render_for_keys(b"TYPE", keys, ()) + above + commands, known + count

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Write what is not there; documents that are gone stay so."""
        decision = Decision()
        width = len(self._above)
        rows = self._places.rows(keys, replies[len(keys) * (1 + width) :], reader)
        for at, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if (reason := self._why_not(replies[at], row)) is not None:
                decision.failures.append(FailedDocument(key, reason))
                continue
            missing = [
                original if there is None else None
                for there, original in zip(row.values, self.originals[key], strict=True)
            ]
            above = replies[len(keys) + at * width :][:width]
            if homeless := self._homeless(missing, above):
                decision.failures.append(FailedDocument(key, HOMELESS % " and ".join(homeless)))
            wanted = [
                there if original is None or path in homeless else TwinValue(*original)
                for path, there, original in zip(self.paths, row.values, missing, strict=True)
            ]
            commands = list(self._places.puts(key, row.values, wanted))
            if commands:
                self._write(decision, key, commands, "written")
        decision.result.documents = len(keys)
        decision.size_bytes = sum(
            len(key) + sum(len(value[0]) for value in self.originals[key] if value is not None)
            for key in keys
        )
        return decision

    @cached_property
    def _above(self) -> tuple[bytes, ...]:
        """The object in which each path is; of hashes there is none."""
        return (
            ()
            if self.is_hash
            else tuple(encode(str(JsonPath(JsonPath.parse(path).members[:-1]))) for path in self.paths)
        )

    def _homeless(self, missing: Sequence[ValueOnDisk | None], above: Sequence[Any]) -> list[str]:
        """The paths of values that have no place: there the server writes nothing, and does not say so."""
        known = zip(self.paths, missing, above, strict=False)
        return [
            path
            for path, value, found in known
            if value is not None and path not in self._inner and b"object" not in (found or ())
        ]

    @cached_property
    def _inner(self) -> frozenset[str]:
        """The paths within others of them, which come back with those."""
        parsed = {path: JsonPath.parse(path) for path in self.paths}
        return frozenset(
            path
            for path in parsed
            if any(path != other and parsed[path].is_within(parsed[other]) for other in parsed)
        )

    def _why_not(self, kind: Any, row: FoundRow) -> str | None:
        if row.refused is not None:
            return row.refused
        kind = kind.encode() if isinstance(kind, str) else kind
        if kind == b"none":
            return GONE
        return None if kind in _TYPES[self.schema.storage_type] else ANOTHER_TYPE


def bring_values_back(
    synchroniser: Synchroniser, backup: Backup, schema: IndexSchema, paths: tuple[str, ...]
) -> Restored:
    """Write values of a backup where documents have none; of several of one document the newest.

    Args:
        synchroniser: Writes them.
        backup: Of values that were dropped.
        schema: Of the index whose documents had them.
        paths: Hash fields or JSON paths, among those of the backup.

    Raises:
        BackupDamaged: A chunk is not as it was written.
        FenceLost: Another process has taken over the lock.
        RedisMigrateError: The server can't be reached or used.
    """
    done = Synchronised()
    # What was backed up last was there last.
    for chunk in replace(backup, records=backup.records[::-1]).chunks():
        mirror = WithOriginals(schema, paths, originals=dict(values_in(chunk, paths)))
        synchroniser.synchronise_until_done(mirror, [chunk.documents.keys], done)
    return Restored(done.written, done.failures)
