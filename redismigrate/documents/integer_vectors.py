"""Vectors as 8-bit integers: the formulas, and the calibration that finds their scale.

Scale quantization (symmetric, for INT8), affine quantization (with an offset, for UINT8) and their
calibration by maximum or percentile are those of Wu et al., "Integer Quantization for Deep Learning
Inference: Principles and Empirical Evaluation" (2020, arXiv:2004.09602). Which of them keeps the order of
neighbours follows from the metric:

- COSINE ignores the length of a vector, so each one can have its own scale. An offset would turn it.
- IP and L2 compare lengths, so all vectors of an index, and the queries, need one scale.
- L2 sees only differences, in which an offset cancels out. It does not in IP.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redismigrate.errors import PlanBlocked
from redismigrate.schema.quantization import (
    INT8_MAX,
    SMALLEST_SCALE,
    UINT8_MAX,
    IntegerDatatype,
    Quantization,
    uint8_problem,
)
from redismigrate.schema.vector_field import DistanceMetric

# A magnitude's bin is the upper half of its bits as float32: 128 bins for every power of two.
BINS = 1 << 15
FIRST_BIN_OF_INFINITY = 0x7F80


def needs_calibration(datatype: IntegerDatatype, metric: DistanceMetric) -> bool:
    """Whether all vectors have to be seen before the first can be quantized.

    UINT8 does for every metric: whether it is possible depends on the smallest number.
    """
    return datatype == "UINT8" or metric != "COSINE"


def quantize(numbers: NDArray[Any], quantization: Quantization) -> NDArray[Any]:
    """Turn vectors into codes.

    Args:
        numbers: Shape (vectors, dims), float32 or float64, finite; not negative unless the quantization
            takes that.
        quantization: How.

    Returns:
        The codes, shape (vectors, dims), int8 or uint8, rounded half to even; those beyond the range are cut
        off at its ends.
    """
    is_int8 = quantization.datatype == "INT8"
    low, high = (-INT8_MAX, INT8_MAX) if is_int8 else (0, UINT8_MAX)
    if quantization.scale is None:
        peaks = np.maximum(numbers.max(axis=1), -numbers.min(axis=1))
        peaks[peaks == 0] = 1  # a vector of zeros stays one
        # Not times 127 / peak, which overflows for subnormal peaks.
        steps = numbers / peaks[:, np.newaxis]
        steps *= high
    else:
        with np.errstate(over="ignore"):  # cut off in any case
            steps = numbers / quantization.scale
    np.rint(steps, out=steps)
    if quantization.offset:
        steps -= quantization.zero_point
    if steps.size and (steps.max() > high or steps.min() < low):
        np.clip(steps, low, high, out=steps)
    codes: NDArray[Any] = steps.astype(np.int8 if is_int8 else np.uint8)
    return codes


def dequantize(codes: NDArray[Any], quantization: Quantization) -> NDArray[np.float64]:
    """Turn codes back into numbers, at most half a step from the original ones unless those were cut off.

    Where each vector had a scale of its own, that is lost, and the vector comes back with length 1: the
    length of most embeddings, and no matter to COSINE. A vector of zeros stays one.

    Args:
        codes: Shape (vectors, dims), int8 or uint8.
        quantization: How they were made.

    Returns:
        Shape (vectors, dims), float64.
    """
    if quantization.scale is None:
        numbers = codes.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))
        lengths[lengths == 0] = 1
        numbers /= lengths[:, np.newaxis]
        return numbers
    # There are only 256 codes, so the arithmetic is done once for each.
    every_code = np.arange(256, dtype=np.uint8).view(codes.dtype)
    table = every_code.astype(np.float64) * quantization.scale + quantization.offset
    return table[codes.view(np.uint8)]


class Calibration:
    """Sees all vectors of an index, batch by batch, and gives the quantization that fits them.

    Args:
        percentile: How many percent of the components the one scale of an index should hold; the rest is cut
            off. 100 holds all. Less trades a few outliers for finer steps, and costs a histogram.

    Attributes:
        vectors: Seen so far.
        smallest: Their smallest component.
        largest: Their largest component.

    Raises:
        ValueError: A percentile that is not above 50 and at most 100.
    """

    def __init__(self, percentile: float = 100.0) -> None:
        if not 50 < percentile <= 100:  # noqa: PLR2004 - percent
            raise ValueError(f"percentile {percentile}")
        self.vectors = 0
        self.smallest = math.inf
        self.largest = -math.inf
        self._share = percentile / 100
        self._histogram = np.zeros(BINS, np.int64) if self._share < 1 else None

    def add(self, numbers: NDArray[Any]) -> None:
        """See a batch.

        Args:
            numbers: Shape (vectors, dims), float32 or float64. Vectors with NaN or infinity, which have no
                codes, are passed over.
        """
        if numbers.size and not (np.isfinite(numbers.max()) and np.isfinite(numbers.min())):
            numbers = numbers[np.isfinite(numbers).all(axis=1)]
        if not numbers.size:
            return
        self.vectors += len(numbers)
        self.smallest = min(self.smallest, float(numbers.min()))
        self.largest = max(self.largest, float(numbers.max()))
        if self._histogram is not None:
            with np.errstate(over="ignore"):
                bits = np.abs(numbers).astype(np.float32, copy=False).view(np.uint32).ravel()
            self._histogram += np.bincount(bits >> 16, minlength=BINS)

    def quantization(self, datatype: IntegerDatatype, metric: DistanceMetric) -> Quantization:
        """The quantization for these vectors.

        Args:
            datatype: Of the codes.
            metric: Of the index.

        Raises:
            PlanBlocked: No vector was seen where all decide on the scale, or the data don't fit the datatype.
        """
        if not needs_calibration(datatype, metric):
            return Quantization("int8_per_vector")
        if not self.vectors:
            raise PlanBlocked(
                f"There is no vector to find the scale of {datatype} from.",
                "Migrate when the index holds documents, or use FLOAT16, which needs no scale.",
            )
        limit = self._limit()
        low, high = max(self.smallest, -limit), min(self.largest, limit)
        if datatype == "INT8":
            return Quantization("int8_per_index", _scale(max(-low, high), INT8_MAX))
        problem = uint8_problem(metric, self.smallest)
        if problem is not None:
            raise PlanBlocked(f"{problem}.", "Use INT8.", (problem,))
        if metric == "COSINE":
            return Quantization("uint8_per_vector")
        if low >= 0:
            return Quantization("uint8_per_index", _scale(high, UINT8_MAX))
        # One step less than there are codes pays for rounding the offset to a multiple of the scale.
        scale = _scale(high / 2 - low / 2, (UINT8_MAX - 1) // 2)  # halves, since the difference may overflow
        offset = max(math.floor(low / scale) * scale, -sys.float_info.max)
        return Quantization("uint8_per_index", scale, offset)

    def _limit(self) -> float:
        """The magnitude that holds the wanted share of the components, rounded up by at most 1 %."""
        if self._histogram is None:
            return math.inf
        counts = np.cumsum(self._histogram)
        first_outside = int(np.searchsorted(counts, self._share * counts[-1])) + 1
        if first_outside >= FIRST_BIN_OF_INFINITY:
            return math.inf
        return float(np.array([first_outside << 16], np.uint32).view(np.float32)[0])


def _scale(extent: float, steps: int) -> float:
    # Where all numbers are 0 every scale fits.
    return max(extent / steps, SMALLEST_SCALE) if extent else 1.0
