"""The transform that gives vectors in JSON documents fewer components, or more again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redismigrate.documents.array_texts import (
    as_printed,
    count_components,
    first_components,
)
from redismigrate.documents.batch import Batch, Failure, Transformed
from redismigrate.documents.columns import Column
from redismigrate.documents.rewrite import Recoding


@dataclass(frozen=True, slots=True)
class ResizeArrays:
    """Makes arrays of numbers of others, all of a document or none.

    As of hashes the first components stay, and zeros follow those of which there are too few. What gets
    length 1 is computed in double precision and spelled as the single that the index makes of it, or whole
    for an index of doubles. What is only cut off keeps its own words.

    Attributes:
        recodings: Of vectors in JSON documents; a column has the texts of arrays, as the server prints them.
    """

    recodings: tuple[Recoding, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The paths of the vectors."""
        return tuple(recoding.path for recoding in self.recodings)

    @property
    def writes(self) -> tuple[str, ...]:
        """Where the new vectors go."""
        return self.reads

    @property
    def is_deterministic(self) -> bool:
        """It is: the formulas are fixed, and so is how numpy rounds."""
        return True

    @property
    def is_slow(self) -> bool:
        """It is not: it takes some 30 microseconds a vector."""
        return False

    @property
    def back(self) -> ResizeArrays:
        """The way back, with zeros for what was cut off."""
        return ResizeArrays(tuple(recoding.reversed() for recoding in self.recodings))

    def __call__(self, batch: Batch) -> Transformed:
        """Make the new arrays of a batch that has a column for each path."""
        reasons = self.check(batch)
        columns = {recoding.path: _resized(recoding, batch, reasons) for recoding in self.recodings}
        return Transformed(columns, [Failure(row, reasons[row]) for row in sorted(reasons)])

    def check(self, batch: Batch) -> dict[int, str]:
        """The rows that would be left out, with the reason."""
        reasons: dict[int, list[str]] = {}
        for recoding in self.recodings:
            for row, text in enumerate(batch.columns[recoding.path]):
                if text is not None and count_components(text) != recoding.dims:
                    reasons.setdefault(row, []).append(f"{recoding.path}: {odd_array(recoding, text)}")
        return {row: "; ".join(reasons[row]) for row in sorted(reasons)}


def odd_array(recoding: Recoding, text: bytes) -> str:
    """Why a value is no vector as it was before.

    Args:
        recoding: Between arrays.
        text: Of the value.
    """
    found = count_components(text)
    if found is None:
        return f"it is no array of numbers, expected one of {recoding.dims}"
    return f"{found} components, expected {recoding.dims}"


def _resized(recoding: Recoding, batch: Batch, reasons: Mapping[int, str]) -> Column:
    new: list[bytes | None] = [None] * len(batch.keys)
    column = batch.columns[recoding.path]
    rows = [row for row, text in enumerate(column) if text is not None and row not in reasons]
    texts = [column[row] or b"" for row in rows]
    for row, text in zip(rows, _all_resized(recoding, texts), strict=True):
        new[row] = text
    return new


def _all_resized(recoding: Recoding, texts: list[bytes]) -> list[bytes]:
    dims = recoding.dims_after
    if recoding.grows:
        zeros = b",0" * (dims - recoding.dims) + b"]"
        return [text.removesuffix(b"]") + zeros for text in texts]
    cut = [first_components(text, dims) for text in texts]
    if not (recoding.cuts and recoding.renormalize):
        return cut
    numbers = components_of(cut, dims)
    # Those that are larger than the root of the largest double would have an infinite length.
    scales = np.abs(numbers).max(axis=1, initial=0)
    scales[scales == 0] = 1
    numbers /= scales[:, np.newaxis]
    lengths = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))
    lengths[lengths == 0] = 1
    return texts_of(numbers / lengths[:, np.newaxis], is_double=recoding.after == "FLOAT64")


def components_of(texts: Iterable[bytes], dims: int) -> NDArray[np.float64]:
    """The numbers in texts, one row per vector.

    Args:
        texts: Arrays of so many numbers.
        dims: How many.
    """
    joined = b",".join([text[1:-1] for text in texts])
    numbers = [float(number) for number in joined.split(b",")] if joined else []
    return np.array(numbers, np.float64).reshape(-1, dims)


def texts_of(vectors: NDArray[Any], *, is_double: bool) -> list[bytes]:
    """Arrays of numbers as the server prints them.

    Args:
        vectors: One row per vector, of finite numbers.
        is_double: Spell all of a double, or of its neighbour where the server has no way to read it; else
            the nearest single in the fewest digits that tell it from other ones.
    """
    # As the index rounds them, and without -0.0.
    numbers = np.asarray(vectors + 0.0, np.float64 if is_double else np.float32)
    if is_double:
        rows = [list(map(as_printed, row)) for row in numbers.tolist()]
    else:
        rows = [
            [as_printed(float(text)) if "e" in text else text for text in row]
            for row in numbers.astype(np.str_).tolist()
        ]
    return [f"[{','.join(row)}]".encode() for row in rows]
