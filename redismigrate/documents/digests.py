"""Remembers in 8 bytes each which values were written: for types of one width their length tells nothing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from redismigrate.documents.columns import Column
from redismigrate.schema.strict import encode

DIGEST_BYTES = 8
# New ones are joined to the older ones once so many wait, or an eighth of those.
WAITING = 1 << 16


def digests_of(path: str, keys: Sequence[bytes], column: Column) -> list[int]:
    """A digest of each key with the value of a field; 0 where there is none."""
    field = encode(path)
    digests = []
    for key, value in zip(keys, column, strict=True):
        if value is None:
            digests.append(0)
            continue
        # Lengths first, so that no two different inputs are joined to the same bytes.
        hashed = blake2b(b"%d:%d:" % (len(field), len(key)), digest_size=DIGEST_BYTES)
        hashed.update(field)
        hashed.update(key)
        hashed.update(value)
        digests.append(int.from_bytes(hashed.digest(), "little"))
    return digests


class Digests:
    """A set of digests, 8 bytes each: 80 MB for ten million documents.

    Every batch that is converted adds some and asks for others, and sorting all of them for each would take
    longer than converting it. So the newest are sorted by themselves and joined to the others now and then.
    """

    def __init__(self) -> None:
        self._older: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._newer: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._unsorted: list[NDArray[np.uint64]] = []
        self._unsorted_count = 0

    def add(self, digests: Sequence[int]) -> None:
        """Remember values."""
        self._unsorted.append(np.array(digests, np.uint64))
        self._unsorted_count += len(digests)
        if self._unsorted_count >= self._most_newer():
            self._sort()

    def lacking(self, digests: Sequence[int]) -> list[int]:
        """The positions of the digests that are not remembered; absent values are passed over."""
        self._sort()
        wanted = np.array(digests, np.uint64)
        known = _are_in(wanted, self._older) | _are_in(wanted, self._newer)
        return [int(row) for row in np.flatnonzero(~known & (wanted != 0))]

    def _sort(self) -> None:
        if self._unsorted:
            self._newer = np.sort(np.concatenate([self._newer, *self._unsorted]))
            self._unsorted, self._unsorted_count = [], 0
        if len(self._newer) >= self._most_newer():
            self._older = np.sort(np.concatenate([self._older, self._newer]))
            self._newer = self._newer[:0]

    def _most_newer(self) -> int:
        return max(WAITING, len(self._older) // 8)


def _are_in(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which digests are among sorted ones."""
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    is_there: NDArray[np.bool_] = known[at] == wanted
    return is_there
