"""What is remembered of two forms of a document that were in step: the mark that stands beside a copy.

A mark belongs to one run and to one holder of the lock. It holds digests, no values: one of the whole
document, which tells whether anything has changed, and small ones of every field, which tell what. They are
of the copy, or, which is the same, of what the transform makes of the original.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha1
from typing import Self
from zlib import crc32

from redismigrate.documents.json_members import normalised
from redismigrate.documents.whole import NEVER, Document, Found, Hash

_DIGEST_BYTES = 12
FENCE_BYTES = 6
# Format, flags, fence, digest of the whole, when the key expires, how many digests of fields follow.
_HEAD = struct.Struct(f">BB{FENCE_BYTES}s{_DIGEST_BYTES}sqI")
_FORMAT = 1
_MADE, _MOVED, _CARRIED, _DELETED = 1, 2, 4, 8
# Digest of a field's name, when the field expires.
_EXPIRY = struct.Struct(">Iq")
# The server may print it otherwise than it was written, see `json_numbers`.
_LONG_NUMBER = re.compile(rb"[\d.]{16}|\d[eE][-+]?\d|0\.0000\d")
_NO_DIGEST = bytes(_DIGEST_BYTES)
_NO_EXPIRIES: Mapping[bytes, int] = {}


@dataclass(frozen=True, slots=True)
class Mark:
    """Two forms of a document as they were when they were last in step.

    Attributes:
        fence: Of the process that made them so, or saw them so; see `fence_of`.
        whole: Digest of the document and of when its fields expire; of JSON, of the text.
        lifetime: When the key was to expire, Unix time in milliseconds; -1 for never.
        fields: Digest of a hash field's name -> digest of its value and of when it expires.
        expiries: Digest of a hash field's name -> when it was to expire; those that were.
        is_made: The run has made the copy; else it was there, or is the application's.
        is_moved: The run has removed the original, so that its absence says nothing.
        is_carried: The original holds what was written to the copy, and carried back by the run.
        is_deleted: That the application has deleted the copy was proved once.
    """

    fence: bytes
    whole: bytes
    lifetime: int = NEVER
    fields: Mapping[int, int] = field(default_factory=dict)
    expiries: Mapping[int, int] = field(default_factory=dict)
    is_made: bool = True
    is_moved: bool = False
    is_carried: bool = False
    is_deleted: bool = False

    @classmethod
    def of(cls, fence: bytes, found: Found, *, is_made: bool = True, is_carried: bool = False) -> Self:
        """The mark of what is in both forms now.

        Args:
            fence: Of this process.
            found: The copy.
            is_made: The run has made it.
            is_carried: The original was made of it.

        Raises:
            ValueError: There is no document.
        """
        document = found.document
        if document is None:
            raise ValueError("only a document has a mark")
        if isinstance(document, bytes):
            whole = _digest_of_json(document)
            return cls(fence, whole, found.expires_ms, is_made=is_made, is_carried=is_carried)
        whole = digest_of(document, found.expiries)
        fields = _digests_of_fields(document, found.expiries)
        expiries = {digest_of_name(name): moment for name, moment in found.expiries.items()}
        moment = found.expires_ms
        return cls(fence, whole, moment, fields, expiries, is_made=is_made, is_carried=is_carried)

    @property
    def gone_at(self) -> int | None:
        """From when the copy may be gone with nobody having deleted it; None for never."""
        moments = [self.lifetime] if self.lifetime > 0 else []
        if self.fields and len(self.expiries) == len(self.fields):
            moments.append(max(self.expiries.values()))
        return min(moments, default=None)

    def moved(self, fence: bytes) -> Self:
        """The mark of a document whose original the run removes: what comes there again is another one."""
        return replace(self, fence=fence, is_moved=True, is_carried=False)

    def with_original(self, fence: bytes, original: Found) -> Self:
        """The mark once fields that came under an old key again are in the copy, too.

        The whole is not known any more: from now on only fields are compared.
        """
        document = original.document
        # What comes without a lifetime says nothing of one, as in `_merged_lifetimes`.
        lifetime = self.lifetime if original.expires_ms == NEVER else original.expires_ms
        if not isinstance(document, dict):
            new = type(self).of(fence, original, is_made=self.is_made)
            return replace(new, lifetime=lifetime, is_moved=True)
        fields = {**self.fields, **_digests_of_fields(document, original.expiries)}
        expiries = dict(self.expiries)
        for name in document:
            expiries.pop(digest_of_name(name), None)
        expiries |= {digest_of_name(name): moment for name, moment in original.expiries.items()}
        return replace(
            self, fence=fence, whole=_NO_DIGEST, lifetime=lifetime, fields=fields, expiries=expiries
        )

    def is_of(self, found: Found) -> bool:
        """Whether a document is as it was, the lifetimes of its fields included, but not that of its key."""
        if found.document is None:
            return False
        if digest_of(found.document, found.expiries) == self.whole:
            return True
        # The server may print JSON otherwise than it was written.
        return isinstance(found.document, bytes) and _digest_of_normalised(found.document) == self.whole

    def encoded(self) -> bytes:
        """As the value of a string."""
        flags = _MADE * self.is_made | _MOVED * self.is_moved
        flags |= _CARRIED * self.is_carried | _DELETED * self.is_deleted
        head = _HEAD.pack(_FORMAT, flags, self.fence, self.whole, self.lifetime, len(self.fields))
        return head + _packed(self.fields) + b"".join(_EXPIRY.pack(*each) for each in self.expiries.items())

    @classmethod
    def decoded(cls, data: bytes | None) -> Self | None:
        """The mark of what `encoded` made; None for anything else, which is no mark of ours."""
        if data is None or len(data) < _HEAD.size or data[0] != _FORMAT:
            return None
        _, flags, fence, whole, lifetime, count = _HEAD.unpack_from(data)
        end = _HEAD.size + 8 * count
        if len(data) < end or (len(data) - end) % _EXPIRY.size:
            return None
        pairs = struct.unpack_from(f">{2 * count}I", data, _HEAD.size)
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        expiries = dict(_EXPIRY.iter_unpack(data[end:]))
        states = (bool(flags & flag) for flag in (_MADE, _MOVED, _CARRIED, _DELETED))
        return cls(fence, whole, lifetime, fields, expiries, *states)


def fence_of(token: bytes) -> bytes:
    """A fencing token, with what tells those who share it apart, as it stands in marks."""
    return sha1(token, usedforsecurity=False).digest()[:FENCE_BYTES]


def encoded_first_mark(fence: bytes, fields: bytes, document: Hash) -> bytes:
    """What `Mark.of(...).encoded()` gives for a hash without any lifetime, of whose fields the text is there.

    Args:
        fence: Of this process.
        fields: The fields as `rendered` gives them.
        document: The hash.
    """
    digests: list[int] = []
    for name, value in document.items():
        of_name = digest_of_name(name)
        digests += (of_name, crc32(value, of_name))
    head = _HEAD.pack(_FORMAT, _MADE, fence, _digest(fields), NEVER, len(document))
    return head + _packing(len(digests)).pack(*digests)


@lru_cache(maxsize=4096)
def digest_of_name(name: bytes) -> int:
    """What stands for a field's name."""
    return crc32(name)


def digest_of_field(found: Found, name: bytes) -> int | None:
    """What stands for the value of a hash field, and when it expires; None where there is none."""
    document = found.document
    if not isinstance(document, dict) or name not in document:
        return None
    return _digest_of_value(name, document[name], found.expiries.get(name))


def _digest_of_value(name: bytes, value: bytes, moment: int | None) -> int:
    digest = crc32(value, digest_of_name(name))
    return digest if moment is None else crc32(b"\0%d" % moment, digest)


def _digests_of_fields(document: Hash, expiries: Mapping[bytes, int]) -> dict[int, int]:
    return {
        digest_of_name(name): _digest_of_value(name, value, expiries.get(name))
        for name, value in document.items()
    }


def digest_of(document: Document, expiries: Mapping[bytes, int] = _NO_EXPIRIES) -> bytes:
    """What tells whether a document is still as it was."""
    if isinstance(document, bytes):
        return _digest(document)
    fields = rendered(document.items())
    if not expiries:
        return _digest(fields)
    return _digest(fields + rendered((name, b"%d" % moment) for name, moment in expiries.items()))


def are_equal(one: Document, other: Document) -> bool:
    """Whether two documents of one type say the same; the text of JSON may spell it differently."""
    if one == other:
        return True
    if not (isinstance(one, bytes) and isinstance(other, bytes)):
        return False
    normal = _normalised(one)
    return normal is not None and normal == _normalised(other)


def rendered(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields in the form in which Redis reads them, in one order and with their lengths."""
    return b"".join(
        [
            b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value)
            for name, value in sorted(fields)
        ]
    )


def _digest(text: bytes) -> bytes:
    return sha1(text, usedforsecurity=False).digest()[:_DIGEST_BYTES]


def _digest_of_json(text: bytes) -> bytes:
    """Of a text that the server will print in the same spelling; else of the one that all have in common."""
    if _LONG_NUMBER.search(text) is None:
        return _digest(text)
    return _digest_of_normalised(text) or _digest(text)


def _digest_of_normalised(text: bytes) -> bytes | None:
    normal = _normalised(text)
    return None if normal is None else _digest(normal.encode("utf-8", "surrogatepass"))


def _normalised(text: bytes) -> str | None:
    """A document's text in one spelling; None where Python can't read it, as where it is too deep."""
    try:
        return normalised(text)
    except (ValueError, RecursionError):
        return None


def _packed(fields: Mapping[int, int]) -> bytes:
    numbers = [number for pair in fields.items() for number in pair]
    return _packing(len(numbers)).pack(*numbers)


@lru_cache(maxsize=256)
def _packing(count: int) -> struct.Struct:
    return struct.Struct(f">{count}I")
