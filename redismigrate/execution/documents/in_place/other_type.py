"""Documents that become ones of the other type under the keys that they have, and what they were again.

A key has one type, so the old document goes as the new one comes, and both are one script. The old one steps
aside under a key of the state, comes back as it was where the server refuses the new one, and is removed once
that stands: whoever looks at the key finds one or the other. Between two scripts nothing stands aside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.converted_documents import (
    chunk_of_originals,
    digests_of_documents,
    digests_of_texts,
)
from redismigrate.documents.digests import Digests
from redismigrate.documents.failures import FailedDocument
from redismigrate.documents.json_members import why_not_writable
from redismigrate.documents.storage_transform import StoreDocuments
from redismigrate.documents.whole import Found
from redismigrate.documents.whole_transform import Documents
from redismigrate.execution.documents.in_place.putting_back import REWRITTEN_SINCE
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.found import found_at
from redismigrate.execution.documents.traffic.mirroring import (
    Decision,
    DocumentWrites,
    WithinDocuments,
)
from redismigrate.execution.documents.traffic.whole_documents import commands_between, reading_commands
from redismigrate.redis_server.wire import render_for_keys
from redismigrate.schema import IndexSchema
from redismigrate.schema.fields import StorageType

_ANOTHER_TYPE = "it is a key of another type by now; left as it is"
_COUNTERS = ("written", "changed")


@dataclass(frozen=True)
class _OfOneType(WithinDocuments):
    """A mirror of documents that have one type, or the other one already.

    Attributes:
        schema: Tells the documents: its prefixes, and the type that they have. FILTER is not looked at.
        aside: The key where a document is while another one takes its place.
        excluded_prefixes: Of keys that are no documents of this mirror.
    """

    schema: IndexSchema
    aside: bytes = b""
    excluded_prefixes: tuple[str, ...] = ()

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The documents, and when their keys expire."""
        return _reads(self.schema.storage_type, keys)

    def _found(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> list[Found]:
        return found_at(self.schema.storage_type, keys, replies, reader)

    def _of_other_type(
        self, keys: Sequence[bytes], found: Sequence[Found], reader: Reader
    ) -> dict[bytes, Found]:
        """Of the keys that have another type what is there."""
        others = [key for key, each in zip(keys, found, strict=True) if each.is_of_another_type]
        if not others:
            return {}
        storage_type: StorageType = "json" if self.schema.storage_type == "hash" else "hash"
        replies = reader.ask(*_reads(storage_type, others))
        return dict(zip(others, found_at(storage_type, others, replies, reader), strict=True))

    def _replace(self, decision: Decision, key: bytes, wanted: Found) -> None:
        for name in _COUNTERS:
            setattr(decision.result, name, getattr(decision.result, name) + 1)
        commands = [
            (b"RENAME", key, self.aside),
            *commands_between(key, Found(), wanted),
            (b"DEL", self.aside),
        ]
        undo = ((b"RENAME", self.aside, key),)
        decision.documents.append(DocumentWrites(key, (key, self.aside), commands, _COUNTERS, undo=undo))


@dataclass(frozen=True)
class Examined(_OfOneType):
    """The mirror that changes nothing: it finds what has no form of the other type, and keeps the rest.

    Attributes:
        transform: Makes the documents of the other type.
        keep: Gets the originals.
        lacking: Of some keys those that the user may not write, with the reason.
    """

    transform: StoreDocuments | None = None
    keep: Callable[[Chunk], object] = lambda _: None
    lacking: Callable[[Sequence[bytes]], Mapping[bytes, str]] = lambda _: {}

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Hand over what can be converted."""
        decision, found = Decision(), self._found(keys, replies, reader)
        made, reasons = _made_of(self.transform, found)
        lacking = self.lacking([key for key, each in zip(keys, found, strict=True) if each.exists])
        rows = []
        for row, key in enumerate(keys):
            reason = found[row].refused or lacking.get(key) or reasons.get(row)
            if reason is not None:
                decision.failures.append(FailedDocument(key, reason))
            elif found[row].document is not None:
                rows.append(row)
        decision.result.documents = len(rows) + len(decision.failures)
        decision.size_bytes = sum(map(_size, replies[: len(keys)]))
        if rows:
            self.keep(_chunk(keys, found, made, rows))
        return decision


@dataclass(frozen=True)
class InOtherType(_OfOneType):
    """The mirror in which documents have the other type.

    Attributes:
        transform: Makes them.
        keep: Writes originals to disk; they are there when this returns.
        known: Those that are there already.
        made: What was made of these.
    """

    transform: StoreDocuments | None = None
    keep: Callable[[Chunk], object] = lambda _: None
    known: Digests = field(default_factory=Digests)
    made: Digests = field(default_factory=Digests)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Convert what has the old type, once it is on disk.

        Raises:
            BackupFailed: It can't be written; nothing of the batch is converted.
        """
        decision, found = Decision(), self._found(keys, replies, reader)
        made, reasons = _made_of(self.transform, found)
        for key, there in self._of_other_type(keys, found, reader).items():
            reason = _why_not_own(key, there, self.made)
            if reason is None:
                decision.result.written += 1  # by an earlier attempt
            else:
                decision.failures.append(FailedDocument(key, reason))
        rows = []
        for row, key in enumerate(keys):
            reason = found[row].refused or reasons.get(row)
            if reason is not None:
                decision.failures.append(FailedDocument(key, reason))
            elif found[row].document is not None:
                rows.append(row)
        lacking = self.known.lacking(digests_of_texts([keys[row] for row in rows], [found[r] for r in rows]))
        if lacking:
            self.keep(_chunk(keys, found, made, [rows[at] for at in lacking]))
        for row in rows:
            self._replace(decision, keys[row], made[row])
        decision.result.documents = len(rows)
        decision.size_bytes = sum(map(_size, replies[: len(keys)]))
        return decision


@dataclass(frozen=True)
class TurnedBack(_OfOneType):
    """The mirror in which documents that hold what was made of originals are these again.

    What is gone stays away. A key keeps the time to live that it has by now.

    Attributes:
        originals: By their keys; of the type of the schema.
        made: What was made of them.
    """

    originals: Mapping[bytes, Found] = field(default_factory=dict)
    made: Digests = field(default_factory=Digests)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Put originals in the place of what was made of them."""
        decision, found = Decision(), self._found(keys, replies, reader)
        for key, there in self._of_other_type(keys, found, reader).items():
            reason = _why_not_own(key, there, self.made)
            if reason is None:
                self._replace(decision, key, replace(self.originals[key], expires_ms=there.expires_ms))
            else:
                decision.failures.append(FailedDocument(key, reason))
        for key, each in zip(keys, found, strict=True):
            if each.refused is not None:
                decision.failures.append(FailedDocument(key, each.refused))
        decision.result.documents = len(keys)
        decision.size_bytes = sum(_size(self.originals[key].document) for key in keys)
        return decision


def _reads(storage_type: StorageType, keys: Sequence[bytes]) -> tuple[bytes, int]:
    moments = render_for_keys(b"PEXPIRETIME", keys, ())
    return reading_commands(storage_type, keys) + moments, 2 * len(keys)


def _made_of(transform: StoreDocuments | None, found: Sequence[Found]) -> tuple[list[Found], dict[int, str]]:
    """What becomes of documents; row -> why nothing does."""
    made = [Found()] * len(found)
    rows = [row for row, each in enumerate(found) if each.document is not None]
    if transform is None or not rows:
        return made, {}
    moments = {at: dict(found[row].expiries) for at, row in enumerate(rows) if found[row].expiries}
    documents = transform(Documents([found[row].document for row in rows], moments))
    reasons = {rows[at]: reason for at, reason in documents.failures}
    for row, document in zip(rows, documents.contents, strict=True):
        original = found[row].document
        reason = why_not_writable(original) if isinstance(original, bytes) else None
        if reason is not None:
            reasons.setdefault(row, reason)  # it could not be put back
        made[row] = Found(document, found[row].expires_ms)
    return made, reasons


def _chunk(
    keys: Sequence[bytes], found: Sequence[Found], made: Sequence[Found], rows: Sequence[int]
) -> Chunk:
    return chunk_of_originals(
        [keys[row] for row in rows], [found[row] for row in rows], [made[row] for row in rows]
    )


def _why_not_own(key: bytes, there: Found, made: Digests) -> str | None:
    """Why a document of the other type is none that the run has made; None where it is."""
    if there.refused is not None:
        return there.refused
    if there.document is None:
        return _ANOTHER_TYPE
    return None if made.are_known(digests_of_documents([key], [there])).all() else REWRITTEN_SINCE


def _size(reply: object) -> int:
    """Of a document, about."""
    if isinstance(reply, bytes):
        return len(reply)
    if isinstance(reply, dict):
        return sum(map(len, reply.values()))
    return sum(map(len, reply)) if isinstance(reply, list) else 0
