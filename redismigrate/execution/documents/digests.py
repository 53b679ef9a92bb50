"""Remembers in 8 bytes each which values were written: for types of one width their length tells nothing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from redismigrate.execution.documents.batch import Column
from redismigrate.schema.strict import encode

DIGEST_BYTES = 8
# Sorting all of them is put off until so many new ones wait.
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
    """A set of digests, 8 bytes each: 80 MB for ten million documents."""

    def __init__(self) -> None:
        self._sorted: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._waiting: list[NDArray[np.uint64]] = []
        self._waiting_count = 0

    def add(self, digests: Sequence[int]) -> None:
        """Remember values."""
        self._waiting.append(np.array(digests, np.uint64))
        self._waiting_count += len(digests)
        if self._waiting_count >= max(WAITING, len(self._sorted) // 4):
            self._sort()

    def lacking(self, digests: Sequence[int]) -> list[int]:
        """The positions of the digests that are not remembered; absent values are passed over."""
        self._sort()
        wanted = np.array(digests, np.uint64)
        at = np.searchsorted(self._sorted, wanted)
        known = np.zeros(len(wanted), np.bool_)
        inside = at < len(self._sorted)
        known[inside] = self._sorted[at[inside]] == wanted[inside]
        return [int(row) for row in np.flatnonzero(~known & (wanted != 0))]

    def _sort(self) -> None:
        if self._waiting:
            self._sorted = np.unique(np.concatenate([self._sorted, *self._waiting]))
            self._waiting, self._waiting_count = [], 0
