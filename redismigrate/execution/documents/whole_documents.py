"""Whole documents, how they are read and written, and the transform that makes copies of them.

A transform is a plain function from a batch of documents to a batch of documents, picklable, so that
processes or a scheduler can carry it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from redismigrate.execution.documents.batch import Failure
from redismigrate.execution.documents.columns import Column
from redismigrate.execution.documents.conversion import Quantizations, transform_of
from redismigrate.execution.documents.json_members import normalised, rename_member
from redismigrate.execution.documents.mirroring import Decision
from redismigrate.execution.documents.vectors import VectorColumn
from redismigrate.execution.documents.wire import render_for_keys
from redismigrate.planning.rewriting import Rewrite
from redismigrate.schema.fields import StorageType
from redismigrate.schema.moves import PathRename
from redismigrate.schema.strict import encode, readable

Hash = dict[bytes, bytes]
Document = Hash | bytes
"""All fields of a hash, or the text of a JSON document."""
FINGERPRINT_BYTES = 12


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
            renamed = rename_member(changed, rename.old, rename.new)
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


def write(decision: Decision, key: bytes, old: Document | None, new: Document) -> None:
    """Add the commands that make a document of a document of the same type, or of nothing.

    Args:
        decision: They are added to this one.
        key: Where.
        old: What is there.
        new: What shall be there.
    """
    if isinstance(new, bytes):
        decision.write(b"JSON.SET", key, b"$", new)
        return
    before: Mapping[bytes, bytes] = old if isinstance(old, dict) else {}
    words = [word for name, value in new.items() if before.get(name) != value for word in (name, value)]
    if words:
        decision.write(b"HSET", key, *words)
    gone = [name for name in before if name not in new]
    if gone:
        decision.write(b"HDEL", key, *gone)


def write_hash(decision: Decision, key: bytes, document: Hash) -> bytes:
    """Add the command that makes a hash where nothing is; its fingerprint, of which no field expires."""
    fields = _rendered(document.items())
    head = b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n" % (2 + 2 * len(document), len(key), key)
    decision.pieces += (head, fields)
    decision.commands += 1
    return _digest(fields)


def are_equal(one: Document, other: Document) -> bool:
    """Whether two documents of one type say the same; the text of JSON may spell it differently."""
    if one == other:
        return True
    return isinstance(one, bytes) and isinstance(other, bytes) and normalised(one) == normalised(other)


def fingerprint(document: Document, expiring: Mapping[bytes, int]) -> bytes:
    """What tells later whether a document is still as it was; fields that expire are passed over."""
    if isinstance(document, bytes):
        return _digest(document)
    if not expiring:
        return _digest(_rendered(document.items()))
    return _digest(_rendered([item for item in document.items() if item[0] not in expiring]))


def has_fingerprint(document: Document, expiring: Mapping[bytes, int], mark: bytes) -> bool:
    """Whether a document is as it was when it got a fingerprint.

    The server may print JSON otherwise than it was written; a transform that makes new text of numbers writes
    it as `normalised` does, by which it is known again.
    """
    if fingerprint(document, expiring) == mark:
        return True
    if isinstance(document, dict):
        return False
    return _digest(normalised(document).encode("utf-8", "surrogatepass")) == mark


def _rendered(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields in the form in which Redis reads them, in one order and with their lengths."""
    return b"".join(
        [
            b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value)
            for name, value in sorted(fields)
        ]
    )


def _digest(rendered: bytes) -> bytes:
    return sha1(rendered, usedforsecurity=False).digest()[:FINGERPRINT_BYTES]
