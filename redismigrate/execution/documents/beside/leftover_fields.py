"""Removes fields that a run of the past has left in documents: nobody knows any more what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import Decision, WithinDocuments
from redismigrate.execution.documents.traffic.value_store import store_of
from redismigrate.redis_server.wire import is_of_another_type, raise_refusal
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode


@dataclass(frozen=True)
class LeftoverFields(WithinDocuments):
    """The mirror in which no document has some fields.

    Attributes:
        schema: Tells the documents: its prefixes and their type.
        names: Of the fields.
        excluded_prefixes: Of keys that are no documents of this mirror.
    """

    schema: IndexSchema
    names: tuple[str, ...]
    excluded_prefixes: tuple[str, ...] = ()

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The fields, which as a rule are not there."""
        return store_of(self.schema.storage_type).reads(keys, tuple(map(encode, self.names)))

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:  # noqa: ARG002
        """Remove those that are there."""
        decision = Decision()
        store = store_of(self.schema.storage_type)
        rows = store.rows(replies, len(self.names))
        raise_refusal(*(row for row in rows if not is_of_another_type(row)))
        for key, row in zip(keys, rows, strict=True):
            if not isinstance(row, list):
                continue
            pairs = zip(self.names, row, strict=True)
            left = [encode(name) for name, value in pairs if value is not None]
            if left:
                for command in store.changes(key, (), left):
                    decision.write(*command)
                decision.result.removed += 1
                decision.result.changed += 1
        decision.size_bytes = sum(map(len, keys))
        return decision
