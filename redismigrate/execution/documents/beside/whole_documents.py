"""Whole documents, how they are read and written, and the transform that makes copies of them.

A transform is a plain function from a batch of documents to a batch of documents, picklable, so that
processes or a scheduler can carry it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redismigrate.documents.batch import Failure
from redismigrate.documents.columns import Column
from redismigrate.documents.conversion import Quantizations, transform_of
from redismigrate.documents.json_members import rename_member
from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.vectors import VectorColumn
from redismigrate.documents.whole import NEVER, Document, Found, Hash
from redismigrate.redis_server.wire import render_for_keys
from redismigrate.schema.fields import StorageType
from redismigrate.schema.moves import PathRename
from redismigrate.schema.strict import encode, readable

# Of one command: a script can't hand over more than some thousand.
MOST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Documents:
    """A batch of whole documents.

    Attributes:
        contents: One per document; None for those that a transform left out.
        expiries: Row -> hash field -> when it expires, Unix time in milliseconds; only where there are any.
        failures: Those that a transform left out.
    """

    contents: list[Document | None]
    expiries: dict[int, dict[bytes, int]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


DocumentTransform = Callable[[Documents], Documents]


@dataclass(frozen=True)
class RewriteDocuments:
    """The transform that re-encodes vectors and renames fields; a new prefix is none of its business.

    A vector that has the length of the new datatype already is left as it is, unless both have one width.

    Attributes:
        storage_type: Of the documents.
        columns: Vectors to re-encode, in hashes.
        renames: Values that move, after that.
    """

    storage_type: StorageType
    columns: tuple[VectorColumn, ...] = ()
    renames: tuple[PathRename, ...] = ()

    @classmethod
    def of(cls, rewrite: Rewrite, quantizations: Quantizations) -> RewriteDocuments:
        """What a rewrite does within documents.

        Args:
            rewrite: What to do.
            quantizations: How integers are made, by the path of the recoding.
        """
        columns = transform_of(rewrite.recodings, quantizations).fields
        return cls(rewrite.storage_type, columns, rewrite.renames)

    def __call__(self, documents: Documents) -> Documents:
        """Transform a batch of which every document is there."""
        if not self.columns and not self.renames:
            return documents
        contents = list(documents.contents)
        expiries = dict(documents.expiries)
        reasons: dict[int, list[str]] = {}
        if self.storage_type == "json":
            for row, text in enumerate(contents):
                contents[row] = self._rename_members(text, reasons.setdefault(row, []))
        else:
            for column in self.columns:
                _re_encode(contents, column, reasons)
            if self.renames:
                for row, document in enumerate(contents):
                    contents[row] = self._rename_fields(document, reasons.setdefault(row, []))
                expiries = {row: self._rename_moments(moments) for row, moments in expiries.items()}
        failures = [Failure(row, "; ".join(reasons[row])) for row in sorted(reasons) if reasons[row]]
        for failure in failures:
            contents[failure.row] = None
        return Documents(contents, expiries, failures)

    def _rename_members(self, text: Document | None, reasons: list[str]) -> Document | None:
        if not isinstance(text, bytes):
            return None
        changed = text.decode("utf-8", "surrogateescape")
        for rename in self.renames:
            try:
                renamed = rename_member(changed, rename.old, rename.new)
            except (ValueError, IndexError, RecursionError):
                reasons.append("it can't be read as JSON, or is nested too deeply for that")
                break
            if renamed is None:
                reasons.append(_occupied(rename))
                continue
            changed = renamed
        return changed.encode("utf-8", "surrogateescape")

    def _rename_fields(self, document: Document | None, reasons: list[str]) -> Document | None:
        if not isinstance(document, dict):
            return None
        document = dict(document)
        for rename in self.renames:
            value = document.pop(encode(rename.old), None)
            if value is None:
                continue
            if encode(rename.new) in document:
                reasons.append(_occupied(rename))
            document[encode(rename.new)] = value
        return document

    def _rename_moments(self, moments: dict[bytes, int]) -> dict[bytes, int]:
        names = {encode(rename.old): encode(rename.new) for rename in self.renames}
        return {names.get(name, name): moment for name, moment in moments.items()}


def _occupied(rename: PathRename) -> str:
    return f"it has a field {readable(rename.new)} already, beside {readable(rename.old)}"


def _re_encode(contents: list[Document | None], column: VectorColumn, reasons: dict[int, list[str]]) -> None:
    """Replace the vectors of one field in documents, which are not changed themselves."""
    name, conversion = encode(column.field), column.conversion
    new_size = conversion.target.size_bytes
    has_one_width = new_size == conversion.source.size_bytes
    values: Column = [document.get(name) if isinstance(document, dict) else None for document in contents]
    if not has_one_width:
        values = [None if value is None or len(value) == new_size else value for value in values]
    converted = conversion.convert(values)
    for row, reason in converted.failures:
        reasons.setdefault(row, []).append(f"{column.field}: {reason}")
    for row, (document, value) in enumerate(zip(contents, converted.values, strict=True)):
        if value is not None and isinstance(document, dict):
            contents[row] = {**document, name: value}


def reads(storage_type: StorageType, keys: Sequence[bytes]) -> bytes:
    """Commands that read whole documents, one for each key."""
    return render_for_keys(b"HGETALL" if storage_type == "hash" else b"JSON.GET", keys, ())


def document_of(storage_type: StorageType, reply: Any) -> Document | None:
    """The document of a reply; None when there is none."""
    if storage_type == "hash":
        items = iter(reply)
        return dict(zip(items, items, strict=True)) or None
    document: bytes | None = reply
    return document


def changes_between(key: bytes, before: Found, after: Found) -> list[tuple[bytes, ...]]:
    """The commands that make of what is at a key what should be there.

    Args:
        key: Where.
        before: What is there.
        after: What should be: a document of the same type, or none where it should be gone.
    """
    document = after.document
    if document is None:
        return [(b"DEL", key)] if before.exists else []
    commands: list[tuple[bytes, ...]] = []
    if isinstance(document, dict):
        old = before.document if isinstance(before.document, dict) else {}
        commands += _changes_of_fields(key, old, document)
    elif document != before.document:
        commands.append((b"JSON.SET", key, b"$", document))
    current = before.expires_ms if before.exists else NEVER
    if after.expires_ms > 0 and after.expires_ms != current:
        commands.append((b"PEXPIREAT", key, b"%d" % after.expires_ms))
    elif after.expires_ms == NEVER and current > 0:
        commands.append((b"PERSIST", key))
    if after.expiries or before.expiries:
        commands += _changes_of_lifetimes(key, before, after)
    return commands


def _changes_of_fields(key: bytes, old: Hash, new: Hash) -> Iterator[tuple[bytes, ...]]:
    words = [word for name, value in new.items() if old.get(name) != value for word in (name, value)]
    for start in range(0, len(words), MOST_WORDS):
        yield (b"HSET", key, *words[start : start + MOST_WORDS])
    gone = [name for name in old if name not in new]
    for start in range(0, len(gone), MOST_WORDS):
        yield (b"HDEL", key, *gone[start : start + MOST_WORDS])


def _changes_of_lifetimes(key: bytes, before: Found, after: Found) -> Iterator[tuple[bytes, ...]]:
    """Let fields expire when they should; one that is written has no time to live any more."""
    old = before.document if isinstance(before.document, dict) else {}
    new = after.document if isinstance(after.document, dict) else {}
    for name, value in new.items():
        moment = after.expiries.get(name, NEVER)
        left = before.expiries.get(name, NEVER) if old.get(name) == value else NEVER
        if moment > 0 and moment != left:
            yield (b"HPEXPIREAT", key, b"%d" % moment, b"FIELDS", b"1", name)
        elif moment == NEVER and left > 0:
            yield (b"HPERSIST", key, b"FIELDS", b"1", name)


def render_first_hash(key: bytes, fields: bytes, count: int) -> tuple[bytes, bytes]:
    """The command that writes a hash where nothing is, in pieces.

    Args:
        key: Where.
        fields: As `marks.rendered` gives them.
        count: How many fields.
    """
    return b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n" % (2 + 2 * count, len(key), key), fields
