"""Puts values that went from documents back at their paths, where nothing is there by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import schema_before
from redismigrate.backup.replaced_documents import replaced_in
from redismigrate.documents.failures import FailedDocument, Restored
from redismigrate.documents.whole import NEVER
from redismigrate.execution.documents.beside.twin_marks import TwinValue
from redismigrate.execution.documents.beside.twin_places import TwinPlaces, TwinRow, places_in
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import (
    Decision,
    DocumentWrites,
    WithinDocuments,
)
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.wire import raise_refusal, render_for_keys
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import readable

_CONNECTIONS = 2
_BATCH_SIZE = 200
_GONE = "its document is gone"


@dataclass(frozen=True)
class ValuesBack(WithinDocuments):
    """The mirror in which documents have some values of a backup again.

    Attributes:
        schema: Of the documents.
        values: Key -> path -> what goes there if nothing is.
        excluded_prefixes: Of keys that are no documents of this mirror.
    """

    schema: IndexSchema
    values: Mapping[bytes, Mapping[bytes, TwinValue]]
    excluded_prefixes: tuple[str, ...] = ()

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """Whether each document is there, and all paths of which values went."""
        commands, count = self._places.reads(keys)
        return render_for_keys(b"EXISTS", keys, ()) + commands, len(keys) + count

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Write the values of documents that lack them."""
        decision = Decision()
        there, found = replies[: len(keys)], replies[len(keys) :]
        raise_refusal(*there)
        for key, is_there, row in zip(keys, there, self._places.rows(keys, found, reader), strict=True):
            decision.size_bytes += len(key)
            if row.refused is not None or not is_there:
                decision.failures.append(FailedDocument(key, row.refused or _GONE))
                continue
            self._put_back(decision, key, row.values)
        return decision

    def _put_back(self, decision: Decision, key: bytes, before: TwinRow) -> None:
        wanted = self.values[key]
        taken = [name for name, value in zip(self._names, before, strict=True) if name in wanted and value]
        if taken:
            names = " and ".join(map(readable, taken))
            decision.failures.append(FailedDocument(key, f"it has a value {names}; left as it is"))
        after = [value or wanted.get(name) for name, value in zip(self._names, before, strict=True)]
        commands = list(self._places.puts(key, before, after))
        if commands:
            decision.result.written += 1
            decision.documents.append(DocumentWrites(key, (key,), commands, ("written",)))

    @cached_property
    def _names(self) -> tuple[bytes, ...]:
        return tuple(sorted({name for values in self.values.values() for name in values}))

    @cached_property
    def _places(self) -> TwinPlaces:
        return places_in(self.schema.storage_type, self._names)


def restore_values(nodes: Nodes, backup: Backup) -> Restored:
    """Put values back; of several of one path of a document the newest.

    Args:
        nodes: Where the documents are; the fence of a document's node is checked with it.
        backup: Of values that went.

    Raises:
        BackupDamaged: A chunk is not as it was written.
        FenceLost: Another process has taken over the lock.
        RedisMigrateError: The server can't be reached or used.
    """
    schema = schema_before(backup)
    newest: dict[bytes, dict[bytes, TwinValue]] = {}
    for chunk in backup.chunks():
        for each in replaced_in(backup, chunk, schema.storage_type):
            document, expiries = each.original.document, each.original.expiries
            for name, value in document.items() if isinstance(document, dict) else ():
                newest.setdefault(each.key, {})[name] = TwinValue(value, expiries.get(name, NEVER))
    restored = Restored()
    mirror = ValuesBack(schema, newest)
    with Synchroniser(nodes, _CONNECTIONS, _BATCH_SIZE) as synchroniser:
        done = synchroniser.synchronise_until_done(mirror, [list(newest)])
    restored.documents, restored.left = done.written, done.failures
    return restored
