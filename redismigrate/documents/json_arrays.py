"""Vectors as JSON documents hold them: arrays of numbers, each as the text that the server prints of it.

Text, since a document gets its own array back byte for byte. RedisJSON prints a float in the fewest digits
that tell it from its neighbours, without an exponent from 0.00001 up to below 10^16. What is made here is
spelled so from the beginning, and found again in just these bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

# What an array of numbers has beside its brackets.
_OF_NUMBERS = b"0123456789+-.eE,"
_WITH_EXPONENT = re.compile(rb"(\d+)\.?(\d*)[eE]([-+]?\d+)")
_PARTS = re.compile(r"(-?)(\d+)(?:\.(\d*))?(?:e([-+]?\d+))?")
_LARGEST_POWER = 308
# Digits behind the point, where one is in front of it -> how far from a float others are tried: the last ones
# are beyond what it holds.
_PRECISIONS = {15: 10, 16: 50, 17: 300, 18: 3000}
_LEAST_WITHOUT_EXPONENT = -5


def count_components(text: bytes) -> int | None:
    """How many components the vector in a text has; None where that is no array of numbers."""
    if text.translate(None, _OF_NUMBERS) != b"[]" or not text.endswith(b"]"):
        return None
    return text.count(b",") + 1 if len(text) > len(b"[]") else 0


def first_components(text: bytes, count: int) -> bytes:
    """The array of the first components, in the same words.

    Args:
        text: Of an array of numbers that has as many, or more.
        count: How many, at least one.
    """
    return b",".join(text.removesuffix(b"]").split(b",", count)[:count]) + b"]"


def as_printed(number: float) -> str:
    """A finite number as RedisJSON prints it."""
    text = repr(number)
    if "e" not in text:
        return text
    mantissa, _, exponent = text.partition("e")
    if int(exponent) != _LEAST_WITHOUT_EXPONENT:
        return f"{mantissa}e{int(exponent)}"
    sign, digits = ("-" if number < 0 else ""), mantissa.lstrip("-").replace(".", "")
    return f"{sign}0.0000{digits}"


def as_printed_double(number: float) -> str:
    """A finite number, or its neighbour where the server has no way to read it, as it is printed then."""
    text = as_printed(number)
    found = _PARTS.fullmatch(text)
    if found is None:
        return text
    whole, fraction, exponent = found[2], found[3] or "", int(found[4] or 0)
    read = _as_read(whole + fraction, exponent - len(fraction))
    return text if read is None else found[1] + as_printed(read)


def as_written(text: bytes) -> bytes | None:
    """An array of numbers in words of which the server makes just these numbers; None where there are none.

    RedisJSON reads a float by multiplying or dividing its digits by a power of ten, which rounds twice: of
    what it has printed itself with an exponent, one in thirty comes out as a neighbour. Another spelling of
    the same number does not, as a rule.

    Args:
        text: As the server prints it.
    """
    if b"e" not in text and b"E" not in text:
        return text
    try:
        return _WITH_EXPONENT.sub(_spelled, text)
    except ValueError:
        return None


def _spelled(found: re.Match[bytes]) -> bytes:
    """Another spelling of a number, where the usual one is misread.

    Raises:
        ValueError: There is none.
    """
    value = float(found[0])
    usual = (found[1] + found[2]).decode(), int(found[3]) - len(found[2])
    if _as_read(*usual) == value:
        return found[0]
    second_best = None
    for digits, exponent in _other_spellings(value):
        if _as_read(digits, exponent) != value:
            continue
        text = f"{digits}e{exponent}"
        # Who rounds once gets the same number of it, as a rule.
        if float(text) == value:
            return text.encode()
        second_best = second_best or text
    if second_best is None:
        raise ValueError(found[0])
    return second_best.encode()


def _other_spellings(value: float) -> Iterator[tuple[str, int]]:
    """Digits and a power of ten that are a number, or near it."""
    for precision, most_steps in _PRECISIONS.items():
        mantissa, _, power = f"{value:.{precision}e}".partition("e")
        digits, exponent = int(mantissa.replace(".", "")), int(power) - precision
        yield str(digits), exponent
        for step in range(1, most_steps):
            yield str(digits - step), exponent
            yield str(digits + step), exponent


def _as_read(digits: str, exponent: int) -> float | None:
    """The number that RedisJSON makes of digits and a power of ten."""
    value = float(digits)
    while abs(exponent) > _LARGEST_POWER:
        if value == 0:
            return 0.0
        if exponent > 0:
            return None
        value /= 1e308
        exponent += _LARGEST_POWER
    power = float(f"1e{abs(exponent)}")
    read = value / power if exponent < 0 else value * power
    return None if math.isinf(read) else read
