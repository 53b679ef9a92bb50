"""Spells numbers so that the server reads them as just what they are, see `exact_numbers`.

RedisJSON takes the digits as a whole number of 64 bits and multiplies or divides it by a power of ten. That
rounds once where both are exact; of other numbers about one in ten comes out as a neighbour (seen on
RedisJSON 2.8.3, with an exponent or without). Of these another spelling is found; a reader that rounds once
gets the same number from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_EXACT_DIGITS = 15  # a whole number of so many digits is a float
_EXACT_EXPONENT = 22  # so is ten to that power
_LARGEST_EXPONENT = 308
_LEAST_INTEGER, _LARGEST_INTEGER = -(2**63), 2**64 - 1
_WHOLE_DIGITS = 2**64
_PARTS = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
# What the server takes for a number in a hash: no blanks, and no underscores as Python does.
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"[-+]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][-+]?[0-9]+)?")
# Digits behind the point, where one is in front of it -> how far from a float others are tried: the last ones
# are beyond what it holds.
_PRECISIONS = {15: 10, 16: 50, 17: 300, 18: 3000}
# How far from the decimal point digits may be for RedisJSON to print them without an exponent.
_LEAST_POSITIONAL, _POSITIONAL_DIGITS = -4, 16


def number_of(text: str) -> int | float | None:
    """The number that the text of a hash field stands for, as JSON holds it; None: JSON has no such number.

    Args:
        text: As it stands in the hash.
    """
    if _INTEGER.fullmatch(text) and text != "-0" and len(text) <= len(str(_LEAST_INTEGER)):
        whole = int(text)
        if _LEAST_INTEGER <= whole <= _LARGEST_INTEGER:
            return whole
    number = None
    if _DECIMAL.fullmatch(text):
        number = float(text)
    elif _HEXADECIMAL.fullmatch(text):
        try:
            number = float.fromhex(text)
        except OverflowError:
            return None
    return number if number is not None and math.isfinite(number) else None


def number_text(number: float) -> str:
    """How a hash has a number that comes from JSON."""
    return repr(number)


def spelled(number: float) -> str | None:
    """A number as JSON text that the server reads as that number; None where there is no such text.

    Args:
        number: A finite one; an integer fits 64 bits.
    """
    if isinstance(number, int):
        return str(number)
    text = printed(number)
    return text if _is_exact(text, number) else other_spelling(number)


def printed(number: float) -> str:
    """A float as RedisJSON prints it: `0.00001` and `1e-7` where Python has `1e-05` and `1e-07`."""
    text = repr(number)
    if "e" not in text:
        whole = text.lstrip("-").partition(".")[0]
        # Python prints 0.0001 so, RedisJSON one more power of ten.
        return text if len(whole) <= _POSITIONAL_DIGITS else _with_exponent(*number_parts(text))
    sign, digits, exponent = number_parts(text)
    if _LEAST_POSITIONAL <= len(digits) + exponent <= 0:
        return f"{sign}0.{'0' * -(len(digits) + exponent)}{digits}"
    return _with_exponent(sign, digits, exponent)


def _with_exponent(sign: str, digits: str, exponent: int) -> str:
    power, digits = exponent + len(digits) - 1, digits.rstrip("0") or "0"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{power}"


def other_spelling(number: float, *, is_strict: bool = True) -> str | None:
    """A number in digits that the server reads as that number; None where there are none.

    Args:
        number: A finite one.
        is_strict: Who rounds once has to read it so, too; else that is preferred.
    """
    sign, size = ("-" if math.copysign(1, number) < 0 else ""), abs(number)
    second_best = None
    for digits, exponent in _near(size):
        if int(digits) >= _WHOLE_DIGITS or as_read(digits, exponent) != size:
            continue
        text = f"{digits}e{exponent}"
        if float(text) == size:
            return f"{sign}{text}"
        second_best = second_best or f"{sign}{text}"
    return None if is_strict else second_best


def _near(size: float) -> Iterator[tuple[str, int]]:
    """Digits and a power of ten that are a number, or near it."""
    for precision, most_steps in _PRECISIONS.items():
        _, digits, exponent = number_parts(f"{size:.{precision}e}")
        yield digits, exponent
        for step in range(1, most_steps):
            for near in (int(digits) - step, int(digits) + step):
                if near >= 0:
                    yield str(near), exponent


def _is_exact(text: str, number: float) -> bool:
    _, digits, exponent = number_parts(text)
    if len(digits.lstrip("0")) <= _EXACT_DIGITS and abs(exponent) <= _EXACT_EXPONENT:
        return True
    return _reads(digits, exponent, abs(number))


def number_parts(text: str) -> tuple[str, str, int]:
    """The sign, the digits as a whole number, and the power of ten that they are multiplied with."""
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no number of JSON")
    sign, whole, fraction, exponent = found.groups(default="")
    return sign, whole + fraction, int(exponent or 0) - len(fraction)


def _reads(digits: str, exponent: int, size: float) -> bool:
    return int(digits) < _WHOLE_DIGITS and as_read(digits, exponent) == size == float(f"{digits}e{exponent}")


def as_read(digits: str, exponent: int) -> float | None:
    """The number that the server makes of digits and a power of ten."""
    value = float(int(digits))
    while abs(exponent) > _LARGEST_EXPONENT:
        if not value or exponent > 0:
            return None if value else 0.0
        value /= 1e308
        exponent += _LARGEST_EXPONENT
    power = float(f"1e{abs(exponent)}")
    return value / power if exponent < 0 else value * power
