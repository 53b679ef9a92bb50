"""How the integers of a vector field stand for numbers: kept in the state, since queries need the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from redismigrate.schema.vector_field import DistanceMetric

IntegerDatatype = Literal["INT8", "UINT8"]
Kind = Literal["int8_per_vector", "int8_per_index", "uint8_per_vector", "uint8_per_index"]

INT8_MAX = 127  # -128 stays unused: the range is symmetric
UINT8_MAX = 255
# The smallest normal float32. Below it a scale has no full precision in the type in which most vectors are
# quantized.
SMALLEST_SCALE = 2.0**-126


@dataclass(frozen=True, slots=True)
class Quantization:
    """How numbers became codes: `code = round((number - offset) / scale)`, cut off at the ends of the range.

    Plain JSON: `dataclasses.asdict` dumps it, `Quantization(**values)` reads it. Queries need the same one.

    Attributes:
        kind: The datatype, and whether each vector has a scale of its own, which nothing keeps.
        scale: What one step of the code stands for; None when it is per vector.
        offset: The number that code 0 stands for; other than 0 for `uint8_per_index` only. A multiple of the
            scale, so that the number 0 has a code of its own and a vector of zeros comes back as one.

    Raises:
        ValueError: They don't fit together.
    """

    kind: Kind
    scale: float | None = None
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.is_per_vector != (self.scale is None):
            raise ValueError(f"{self.kind} with scale {self.scale}")
        if self.scale is not None and not SMALLEST_SCALE <= self.scale < math.inf:
            raise ValueError(f"{self.scale} is no scale")
        if not math.isfinite(self.offset) or (self.offset and self.kind != "uint8_per_index"):
            raise ValueError(f"{self.kind} with offset {self.offset}")

    @property
    def is_per_vector(self) -> bool:
        """Whether each vector was divided by its own maximum."""
        return self.kind.endswith("_per_vector")

    @property
    def datatype(self) -> IntegerDatatype:
        """The datatype of the codes, INT8 or UINT8."""
        return "INT8" if self.kind.startswith("int8") else "UINT8"

    @property
    def zero_point(self) -> int:
        """The offset as a whole number of steps: the code of 0, negated."""
        return 0 if self.scale is None else round(self.offset / self.scale)

    @property
    def takes_negative(self) -> bool:
        """Whether negative numbers have codes."""
        return self.datatype == "INT8" or self.offset < 0

    def __str__(self) -> str:
        if self.scale is None:
            return f"{self.datatype}, a scale of its own for each vector"
        offset = f", offset {self.offset:.6g}" if self.offset else ""
        return f"{self.datatype}, one scale {self.scale:.6g} for the index{offset}"


def uint8_problem(metric: DistanceMetric, smallest: float) -> str | None:
    """Why vectors can't be stored as UINT8; None when they can.

    Args:
        metric: Of the index.
        smallest: The smallest component of all its vectors.
    """
    if smallest >= 0 or metric == "L2":
        return None
    effect = "changes angles" if metric == "COSINE" else "changes inner products"
    return (
        f"UINT8 with {metric} needs vectors that are never negative (the smallest component is "
        f"{smallest:.6g}): an offset {effect}, and with them the order of the neighbours"
    )
