"""Vectors from one encoding to another, a whole column at a time, bit for bit as numpy rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from redismigrate.documents.batch import Batch, Failure, Transformed
from redismigrate.documents.columns import Column, FixedWidth
from redismigrate.documents.integer_vectors import Calibration, dequantize, quantize
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.vector_field import Datatype

# Redis Search reads vectors in the byte order of its machine, and every machine it runs on is little-endian.
DTYPES: dict[Datatype, np.dtype[Any]] = {
    "FLOAT64": np.dtype("<f8"),
    "FLOAT32": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "BFLOAT16": np.dtype(ml_dtypes.bfloat16),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
}
INTEGERS = ("INT8", "UINT8")


@dataclass(frozen=True, slots=True)
class VectorEncoding:
    """How a vector is stored.

    Attributes:
        datatype: Of one component.
        dims: Components.
    """

    datatype: Datatype
    dims: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of one component."""
        return DTYPES[self.datatype]

    @property
    def size_bytes(self) -> int:
        """How many bytes one vector has."""
        return self.dims * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dims} x {self.datatype}"


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a column.

    Attributes:
        values: The vectors in the target's encoding; None for documents that have none or could not be
            converted.
        failures: The latter, in the order of their rows.
    """

    values: Column
    failures: list[Failure]


@dataclass(frozen=True, slots=True)
class VectorConversion:
    """From one encoding of the same vectors to another.

    Between float datatypes it is numpy's `astype`: rounded to nearest, half to even; infinity and NaN stay
    what they are. (ml_dtypes takes FLOAT64 to BFLOAT16 by way of FLOAT32, so that pair rounds twice.) Small
    components may become 0. Integers without a quantization are taken as the numbers they are.

    Of a target with fewer dimensions a vector keeps its first components, as models with Matryoshka
    representations are trained for (Kusupati et al., 2022, arXiv:2205.13147); with more, zeros follow them.

    Attributes:
        source: The encoding in Redis.
        target: The wanted one.
        source_quantization: How the source's integers were made, where that is known.
        target_quantization: How to make integers; needed if the target is INT8 or UINT8 and the source is
            stored differently.
        renormalize: Where components are cut off, give what is left length 1, computed in double precision; a
            vector of zeros stays one.

    Raises:
        ValueError: A quantization is missing or for another datatype.
    """

    source: VectorEncoding
    target: VectorEncoding
    source_quantization: Quantization | None = None
    target_quantization: Quantization | None = None
    renormalize: bool = False

    def __post_init__(self) -> None:
        for encoding, quantization in (
            (self.source, self.source_quantization),
            (self.target, self.target_quantization),
        ):
            if quantization is not None and quantization.datatype != encoding.datatype:
                raise ValueError(f"{quantization.kind} is no quantization for {encoding}")
        if self.target.datatype in INTEGERS and self.target_quantization is None and not self.is_identity:
            raise ValueError(f"{self.source} to {self.target} needs a quantization")

    @property
    def is_identity(self) -> bool:
        """Whether the bytes stay as they are."""
        return self.source == self.target and self.source_quantization == self.target_quantization

    @property
    def back(self) -> VectorConversion | None:
        """The way back, without what this one has rounded; None to integers that nobody knows how to make."""
        makes_integers = self.source.datatype in INTEGERS and not self.is_identity
        if makes_integers and self.source_quantization is None:
            return None
        return VectorConversion(
            self.target,
            self.source,
            self.target_quantization,
            self.source_quantization,
            self.renormalize,
        )

    def convert(self, values: Column) -> Converted:
        """Convert a column.

        Args:
            values: Raw vectors of `source.size_bytes` each; None where a document has none.

        Returns:
            The vectors, and every row that could not be converted with the reason: a wrong length, a
            component that is finite but too large for the target, or one that integers can't express.
        """
        rows, failures = self._sort_out(values)
        good = values if len(rows) == len(values) else [values[row] for row in rows]
        if self.is_identity:
            return Converted(_spread(good, rows, len(values)), failures)
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is reported by row, NaN is carried over
            numbers = self._resized(_decode(good, self.source, self.source_quantization))
            if self.target_quantization is None:
                encoded, mistakes = _round(numbers, self.target)
            else:
                numbers, mistakes = _without_inexpressible(numbers, self.target_quantization)
                encoded = quantize(numbers, self.target_quantization)
        if mistakes:
            failures = sorted([*failures, *(Failure(rows[at], reason) for at, reason in mistakes.items())])
            rows = [row for at, row in enumerate(rows) if at not in mistakes]
        return Converted(_spread(FixedWidth.of(encoded), rows, len(values)), failures)

    def check(self, values: Column) -> list[Failure]:
        """The rows that `convert` would report, found without converting the others."""
        rows, failures = self._sort_out(values)
        good = values if len(rows) == len(values) else [values[row] for row in rows]
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = self._resized(_decode(good, self.source, self.source_quantization))
            extremes = np.array([numbers.max(initial=0), numbers.min(initial=0)])
            fits = np.isfinite(extremes.astype(self.target.dtype).astype(np.float64)).all()
        is_plain = self.target_quantization is None and bool(fits)
        return failures if self.is_identity or is_plain else self.convert(values).failures

    def _resized(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The vectors with as many components as the target has."""
        missing = self.target.dims - self.source.dims
        if missing > 0:
            return np.pad(numbers, ((0, 0), (0, missing)))
        if missing == 0:
            return numbers
        left = numbers[:, : self.target.dims]
        if not self.renormalize:
            return np.ascontiguousarray(left)
        left = left.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", left, left))
        lengths[lengths == 0] = 1
        left /= lengths[:, np.newaxis]
        return left

    def _sort_out(self, values: Column) -> tuple[Sequence[int], list[Failure]]:
        """The rows that hold a vector of the right length, and those of a wrong one."""
        expected = self.source.size_bytes
        if isinstance(values, FixedWidth) and values.width == expected:
            return range(len(values)), []
        sizes = [expected if value is None else len(value) for value in values]
        failures = [
            Failure(row, f"{size} bytes, expected {expected} ({self.source})")
            for row, size in enumerate(sizes)
            if size != expected
        ]
        if not failures and None not in values:
            return range(len(values)), failures
        return [
            row for row, value in enumerate(values) if value is not None and len(value) == expected
        ], failures


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """One field to re-encode.

    Attributes:
        field: Where its vectors are read, and the new ones written.
        conversion: Between them.
    """

    field: str
    conversion: VectorConversion


@dataclass(frozen=True, slots=True)
class ReEncodeVectors:
    """The transform that re-encodes the vector fields of a document, all of them or none.

    Attributes:
        fields: What to re-encode.
        leaves_new_form: A vector that has the length of the new encoding already is left as it is, unless
            both have one width.
    """

    fields: tuple[VectorColumn, ...]
    leaves_new_form: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields whose vectors are re-encoded."""
        return tuple(field.field for field in self.fields)

    @property
    def writes(self) -> tuple[str, ...]:
        """Where the new vectors go."""
        return tuple(field.field for field in self.fields)

    @property
    def is_deterministic(self) -> bool:
        """It is: the formulas are fixed, and so is how numpy rounds."""
        return True

    @property
    def is_slow(self) -> bool:
        """It is not: it takes some microseconds a vector."""
        return False

    @property
    def back(self) -> ReEncodeVectors | None:
        """The way back for the fields that have one; None where none has."""
        backs = ((field, field.conversion.back) for field in self.fields)
        fields = tuple(VectorColumn(field.field, back) for field, back in backs if back is not None)
        return ReEncodeVectors(fields) if fields else None

    def __call__(self, batch: Batch) -> Transformed:
        """Convert a batch that has a column for every field."""
        columns: dict[str, Column] = {}
        reasons: dict[int, list[str]] = {}
        for field in self.fields:
            converted = field.conversion.convert(self._old_form(field, batch))
            columns[field.field] = converted.values
            for row, reason in converted.failures:
                reasons.setdefault(row, []).append(f"{field.field}: {reason}")
        if reasons:
            columns = {
                name: [None if row in reasons else value for row, value in enumerate(values)]
                for name, values in columns.items()
            }
        failures = [Failure(row, "; ".join(reasons[row])) for row in sorted(reasons)]
        return Transformed(columns, failures)

    def check(self, batch: Batch) -> dict[int, str]:
        """The rows that would be left out, with the reason; found without converting the others."""
        reasons: dict[int, list[str]] = {}
        for field in self.fields:
            for row, reason in field.conversion.check(self._old_form(field, batch)):
                reasons.setdefault(row, []).append(f"{field.field}: {reason}")
        return {row: "; ".join(reasons[row]) for row in sorted(reasons)}

    def _old_form(self, field: VectorColumn, batch: Batch) -> Column:
        """The values that are to be converted."""
        values, size = batch.columns[field.field], field.conversion.target.size_bytes
        if not self.leaves_new_form or size == field.conversion.source.size_bytes:
            return values
        return [None if value is None or len(value) == size else value for value in values]


def calibrate(calibration: Calibration, values: Column, encoding: VectorEncoding) -> None:
    """Let a calibration see a column; vectors that can't be converted are passed over.

    Args:
        calibration: Is changed.
        values: Raw vectors, or None.
        encoding: Of the vectors, whose integers are taken as the numbers they are.
    """
    good = values
    if not isinstance(values, FixedWidth) or values.width != encoding.size_bytes:
        good = [value for value in values if value is not None and len(value) == encoding.size_bytes]
    with np.errstate(invalid="ignore"):  # signalling NaN
        calibration.add(_decode(good, encoding, None))


def _decode(values: Column, encoding: VectorEncoding, quantization: Quantization | None) -> NDArray[Any]:
    """The numbers as float32 or float64, whichever holds them exactly."""
    if isinstance(values, FixedWidth):
        numbers = values.rows.view(encoding.dtype)
    else:
        whole = b"".join(values)  # type: ignore[arg-type]  # None was left out
        numbers = np.frombuffer(whole, encoding.dtype).reshape(-1, encoding.dims)
    if quantization is not None:
        return dequantize(numbers, quantization)
    if numbers.dtype == np.float64:
        return numbers
    # numpy compares float16 and bfloat16 one by one; widening them first is exact, and fifty times as fast.
    return numbers.astype(np.float32, copy=False)


def _spread(values: Column, rows: Sequence[int], count: int) -> Column:
    """The values at their rows, None at all others."""
    if len(rows) == count:
        return values
    column: list[bytes | None] = [None] * count
    for row, value in zip(rows, values, strict=True):
        column[row] = value
    return column


def _round(numbers: NDArray[Any], target: VectorEncoding) -> tuple[NDArray[Any], dict[int, str]]:
    """Rounded to a float datatype without the vectors that overflow; where those were, and why."""
    dtype = target.dtype
    encoded = numbers.astype(dtype, copy=False)
    # Rounding keeps the order, so no component overflows if the extremes don't.
    extremes = np.array([numbers.max(initial=0), numbers.min(initial=0)]).astype(dtype).astype(np.float64)
    if np.isfinite(extremes).all():
        return encoded, {}
    overflows = np.isinf(encoded) & np.isfinite(numbers)
    mistakes = {}
    for at in np.flatnonzero(overflows.any(axis=1)).tolist():
        component = int(overflows[at].argmax())
        value, largest = float(numbers[at, component]), _largest(dtype)
        mistakes[at] = f"component {component} is {value:.6g}, {target.datatype} ends at {largest:.6g}"
    return np.delete(encoded, list(mistakes), axis=0), mistakes


def _largest(dtype: np.dtype[Any]) -> float:
    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def _without_inexpressible(
    numbers: NDArray[Any], quantization: Quantization
) -> tuple[NDArray[Any], dict[int, str]]:
    """The vectors that can be quantized; where the others were, and why they can't."""
    lowest = -math.inf if quantization.takes_negative else 0.0
    extremes = np.array([numbers.max(initial=0), numbers.min(initial=0)]).astype(np.float64)
    if np.isfinite(extremes).all() and extremes[1] >= lowest:
        return numbers, {}
    inexpressible = ~np.isfinite(numbers) | (numbers < lowest)
    datatype = (
        quantization.datatype if quantization.takes_negative else f"{quantization.datatype} without an offset"
    )
    mistakes = {}
    for at in np.flatnonzero(inexpressible.any(axis=1)).tolist():
        component = int(inexpressible[at].argmax())
        mistakes[at] = (
            f"component {component} is {float(numbers[at, component]):.6g}, {datatype} can't express it"
        )
    return np.delete(numbers, list(mistakes), axis=0), mistakes
