"""What is remembered of values that stand twice in a document: digests of both, as they were in step.

A mark is a string among the state's keys, of one run, as those of copies are, and holds no values. It has an
entry for each twin, by position: a run does not change what it is about. A value and its lifetime are one
thing here, so that a lifetime that changes is a change of its side. Of hashes it has a digest of all else in
the document, too: where that is another one, a value that is gone may have gone with the whole document.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple, Self

from redismigrate.documents.whole import NEVER

# What stands for no value.
NO_VALUE = 0
_FORMAT = 2
_MADE, _OCCUPIED = 1, 2
_ENTRY = struct.Struct(">BQQ")
_REST = struct.Struct(">Q")
_DIGEST_BYTES = 8


class TwinValue(NamedTuple):
    """A value at one of two paths.

    Attributes:
        content: The bytes of a hash field, or the text of a JSON value.
        expires_ms: When the field expires, Unix time in milliseconds; -1 for never.
    """

    content: bytes
    expires_ms: int = NEVER


class TwinEntry(NamedTuple):
    """Both values of a twin as they were when they were last in step.

    Attributes:
        old: Digest of the old one; 0 where there was none.
        new: Likewise of the new one.
        is_made: The new one is this run's, or of an application that wrote it since the run began: it goes
            when the change is taken back. Else it was there before.
        is_occupied: They never were in step: another value stood at the new path when the run came.
    """

    old: int = NO_VALUE
    new: int = NO_VALUE
    is_made: bool = True
    is_occupied: bool = False

    @classmethod
    def of(cls, old: TwinValue | None, new: TwinValue | None, *, is_made: bool = True) -> TwinEntry:
        """The entry of two values that are in step."""
        return cls(digest_of_twin(old), digest_of_twin(new), is_made)


def digest_of_twin(value: TwinValue | None) -> int:
    """What stands for a value and its lifetime; 0 for none."""
    if value is None:
        return NO_VALUE
    hashed = blake2b(value.content, digest_size=_DIGEST_BYTES, key=b"%d" % value.expires_ms)
    return int.from_bytes(hashed.digest(), "big") or 1


class TwinMark(NamedTuple):
    """What is remembered of one document.

    Attributes:
        entries: Twin by twin.
        rest: Digest of all else in the document, see `digest_of_rest`; 0 where nobody looks.
    """

    entries: tuple[TwinEntry, ...]
    rest: int = 0

    @classmethod
    def decoded(cls, data: bytes | None, count: int) -> Self | None:
        """The mark of what `encoded` made; None for anything else, which is no mark of ours.

        Args:
            data: Of the mark; None where there is none.
            count: How many twins there are.
        """
        if data is None or len(data) != 1 + _REST.size + count * _ENTRY.size or data[0] != _FORMAT:
            return None
        entries = tuple(
            TwinEntry(old, new, bool(flags & _MADE), bool(flags & _OCCUPIED))
            for flags, old, new in _ENTRY.iter_unpack(data[1 + _REST.size :])
        )
        return cls(entries, *_REST.unpack_from(data, 1))

    def encoded(self) -> bytes:
        """As the value of a string."""
        packed = [
            _ENTRY.pack(_MADE * each.is_made | _OCCUPIED * each.is_occupied, each.old, each.new)
            for each in self.entries
        ]
        return bytes([_FORMAT]) + _REST.pack(self.rest) + b"".join(packed)


def digest_of_rest(fields: Mapping[bytes, bytes]) -> int:
    """What stands for the fields of a hash, whatever their order; lifetimes are not looked at."""
    hashed = blake2b(digest_size=_DIGEST_BYTES)
    for name in sorted(fields):
        value = fields[name]
        hashed.update(b"%d %d " % (len(name), len(value)) + name + value)
    return int.from_bytes(hashed.digest(), "big")
