"""Remembers in 8 bytes each which values were written, whatever their length.

A digest tells whether a document still holds what a rewrite made of it. Where two different values had the
same one, the second of them, which the application has written since, would be taken for the first: a restore
would put the original in its place. Of two values that were made without a look at the digests that happens
with a chance of 2^-64, so for any of ten million documents that were all written since with 1 in 1.8 * 10^12.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b, shake_128
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redismigrate.documents.columns import Column, FixedWidth
from redismigrate.schema.strict import encode

DIGEST_BYTES = 8
Digest64 = NDArray[np.uint64]
# New ones are joined to the older ones once so many wait, or an eighth of those.
WAITING = 1 << 16
# Longer values are hashed one by one: that is as fast, and a table of factors for them would be large.
LONGEST_BYTES = 1 << 15
_WORD_BYTES = 4
# Of words at a time, which become 64 bits wide: they stay in the processor's cache.
_BYTES_AT_ONCE = 1 << 18
# Backups hold digests: neither this nor the way they are made may change.
_SEED = b"redismigrate: digests of values"


def value_digests(column: Column) -> Digest64:
    """A digest of each value; 0 where there is none.

    Two sums of the 32-bit words of a value, each word times a 64-bit factor of its own, of which the upper
    halves count: for any two values only one set of factors in 2^64 gives both the same digest (Lemire and
    Kaser, "Strongly universal string hashing is fast", 2012, arXiv:1202.4961). The factors are always the
    same ones, so it is no protection against somebody who looks for such a value; but who can write to a
    document can write to it after the restore as well. It takes a fifth of the time of a cryptographic hash,
    because a whole column is one product of matrices.
    """
    if isinstance(column, FixedWidth):
        return _of_matrix(column.rows)
    digests = np.zeros(len(column), np.uint64)
    by_length: dict[int, list[int]] = {}
    for row, value in enumerate(column):
        if value is not None:
            by_length.setdefault(len(value), []).append(row)
    for length, rows in by_length.items():
        joined = b"".join([column[row] or b"" for row in rows])
        digests[rows] = _of_matrix(np.frombuffer(joined, np.uint8).reshape(len(rows), length))
    return digests


def digests_of(path: str, keys: Sequence[bytes], column: Column) -> Digest64:
    """A digest of each key with the value of a field; 0 where there is none."""
    return bound_to_keys(path, keys, value_digests(column))


def bound_to_keys(path: str, keys: Sequence[bytes], digests: Digest64) -> Digest64:
    """Digests of values, each joined with its key and the name of their field; 0 stays 0."""
    field = encode(path)
    # The length first, so that no two different inputs are joined to the same bytes.
    head = b"%d:%b" % (len(field), field)
    owners = b"".join([blake2b(head + key, digest_size=DIGEST_BYTES).digest() for key in keys])
    bound = digests ^ np.frombuffer(owners, "<u8").astype(np.uint64, copy=False)
    return np.where(digests == 0, np.uint64(0), np.maximum(bound, np.uint64(1)))


class Digests:
    """A set of digests, 8 bytes each: 80 MB for ten million documents.

    Every batch that is converted adds some and asks for others, and sorting all of them for each would take
    longer than converting it. So the newest are sorted by themselves and joined to the others now and then.
    """

    def __init__(self) -> None:
        self._older: Digest64 = np.zeros(0, np.uint64)
        self._newer: Digest64 = np.zeros(0, np.uint64)
        self._unsorted: list[Digest64] = []
        self._unsorted_count = 0

    def add(self, digests: Sequence[int] | Digest64) -> None:
        """Remember values, so that they are found in the set from now on."""
        self._unsorted.append(np.array(digests, np.uint64))
        self._unsorted_count += len(digests)
        if self._unsorted_count >= self._most_newer():
            self._sort()

    def are_known(self, digests: Sequence[int] | Digest64) -> NDArray[np.bool_]:
        """Which of some digests are remembered; absent values are not."""
        self._sort()
        wanted = np.array(digests, np.uint64)
        are_known = _are_in(wanted, self._older) | _are_in(wanted, self._newer)
        are_known &= wanted != 0
        return are_known

    def lacking(self, digests: Sequence[int] | Digest64) -> list[int]:
        """The positions of the digests that are not remembered; absent values are passed over."""
        wanted = np.array(digests, np.uint64)
        return [int(row) for row in np.flatnonzero(~self.are_known(wanted) & (wanted != 0))]

    def _sort(self) -> None:
        if self._unsorted:
            self._newer = np.sort(np.concatenate([self._newer, *self._unsorted]))
            self._unsorted, self._unsorted_count = [], 0
        if len(self._newer) >= self._most_newer():
            self._older = np.sort(np.concatenate([self._older, self._newer]))
            self._newer = self._newer[:0]

    def _most_newer(self) -> int:
        return max(WAITING, len(self._older) // 8)


def _are_in(wanted: Digest64, known: Digest64) -> NDArray[np.bool_]:
    """Which digests are among sorted ones."""
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    is_there: NDArray[np.bool_] = known[at] == wanted
    return is_there


def _of_matrix(rows: NDArray[np.uint8]) -> Digest64:
    """Digests of values of one length, never 0."""
    count, width = rows.shape
    if width > LONGEST_BYTES:
        hashed = b"".join([blake2b(row.tobytes(), digest_size=DIGEST_BYTES).digest() for row in rows])
        return np.maximum(np.frombuffer(hashed, "<u8").astype(np.uint64), np.uint64(1))
    if width % _WORD_BYTES:
        rows = np.pad(rows, ((0, 0), (0, -width % _WORD_BYTES)))
    factors = _factors()
    words: NDArray[Any] = rows.view("<u4") if width else np.zeros((count, 0), np.uint32)
    # The length counts as a word of its own: a shorter value is no longer one with zeros at its end.
    start = factors[0] + factors[1] * np.uint64(width)
    of_words = factors[2 : 2 + words.shape[1]]
    digests = np.empty(count, np.uint64)
    at_once = max(1, _BYTES_AT_ONCE // max(width, 1))
    for first in range(0, count, at_once):
        sums = words[first : first + at_once].astype(np.uint64) @ of_words + start
        upper = sums >> np.uint64(32)
        digests[first : first + at_once] = upper[:, 0] << np.uint64(32) | upper[:, 1]
    return np.maximum(digests, np.uint64(1))


@cache
def _factors() -> Digest64:
    """Two for each word, after those of the sums and of the length."""
    count = 2 + LONGEST_BYTES // _WORD_BYTES
    drawn = shake_128(_SEED).digest(count * 2 * DIGEST_BYTES)
    return np.frombuffer(drawn, "<u8").astype(np.uint64).reshape(count, 2)
