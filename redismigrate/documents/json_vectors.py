"""Vectors as arrays of numbers in JSON, and back to the same bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redismigrate.documents.json_numbers import spelled
from redismigrate.documents.vectors import VectorEncoding

_ASCII_BYTES = "S32"


def numbers_text(vector: bytes, encoding: VectorEncoding) -> str:
    """A vector as a JSON array, each number with as few digits as give the same bytes back.

    Args:
        vector: The bytes in a hash.
        encoding: Of them.

    Raises:
        ValueError: It has another length, or a component that JSON has no number for; the text says so as the
            end of a sentence.
    """
    if len(vector) != encoding.size_bytes:
        raise ValueError(f"{len(vector)} bytes, expected {encoding.size_bytes} ({encoding})")
    components: NDArray[Any] = np.frombuffer(vector, encoding.dtype)
    if encoding.datatype in {"INT8", "UINT8"}:
        return f"[{','.join(map(str, components.tolist()))}]"
    with np.errstate(invalid="ignore"):  # signalling NaN
        finite = np.isfinite(components)
    if not finite.all():
        at = int(np.argmin(finite))
        raise ValueError(f"component {at} is {float(components[at])}, and JSON has no such number")
    if encoding.datatype == "BFLOAT16":  # numpy writes no text of these
        components = components.astype(np.float32)
    texts: list[str | None]
    if encoding.datatype == "FLOAT64":
        texts = [spelled(number) for number in components.tolist()]
    else:
        texts = [_short(text, encoding) for text in components.astype(_ASCII_BYTES).astype(str).tolist()]
    for at, text in enumerate(texts):
        if text is None:
            raise ValueError(f"component {at} is {float(components[at])!r}, which the server would misread")
    return f"[{','.join(text for text in texts if text is not None)}]"


def vector_of(numbers: list[Any], encoding: VectorEncoding) -> bytes:
    """The bytes of a vector that JSON has as numbers.

    Args:
        numbers: The array, as parsed.
        encoding: That the hash shall have.

    Raises:
        ValueError: It has another length, something in it is no number, or a number is too large; the text
            says so as the end of a sentence.
    """
    if len(numbers) != encoding.dims:
        raise ValueError(f"{len(numbers)} numbers, expected {encoding.dims}")
    # A boolean is an int to Python.
    wrong = next((at for at, each in enumerate(numbers) if type(each) not in {int, float}), None)
    if wrong is not None:
        raise ValueError(f"component {wrong} is no number")
    exact = np.array([_as_float(number) for number in numbers], np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        components = exact.astype(encoding.dtype)
        finite = np.isfinite(components.astype(np.float64))
    if encoding.datatype in {"INT8", "UINT8"} and (components.astype(np.float64) != exact).any():
        raise ValueError(f"its numbers are not those of {encoding.datatype}")
    if not finite.all():
        at = int(np.argmin(finite))
        raise ValueError(f"component {at} is {exact[at]:.6g}, too large for {encoding.datatype}")
    return components.tobytes()


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _short(text: str, encoding: VectorEncoding) -> str | None:
    """The text as it is where the server reads what it says; else the exact number in another spelling."""
    if "e" not in text:  # at most nine digits: these are read as what they are, and printed so
        return text
    number = float(text)
    found = spelled(number)
    if found is not None:
        return found
    wide = float(np.array([number], encoding.dtype).astype(np.float64)[0])
    return spelled(wide)
