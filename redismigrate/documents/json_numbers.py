"""Spells numbers so that the server reads them as just what they are, see `exact_numbers`.

RedisJSON takes the digits as a whole number of 64 bits and multiplies or divides it by a power of ten. That
rounds once where both are exact; of other numbers about one in ten comes out as a neighbour (seen on
RedisJSON 2.8.3, with an exponent or without). Of these another spelling is found; a reader that rounds once
gets the same number from it.
"""

from __future__ import annotations

import math
import re

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
_STEPS = 1500
# How far from the decimal point digits may be for RedisJSON to print them without an exponent.
_LEAST_POSITIONAL, _POSITIONAL_DIGITS = -4, 16
_LAST_DIGITS = 100_000


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
    text = _printed(number)
    return text if _is_exact(text, number) else _other_spelling(number)


def _printed(number: float) -> str:
    """A float as RedisJSON prints it: `0.00001` and `1e-7` where Python has `1e-05` and `1e-07`."""
    text = repr(number)
    if "e" not in text:
        whole = text.partition(".")[0]
        # Python prints 0.0001 so, RedisJSON one more power of ten.
        return text if len(whole) <= _POSITIONAL_DIGITS else _with_exponent(*_parts(text))
    sign, digits, exponent = _parts(text)
    if _LEAST_POSITIONAL <= len(digits) + exponent <= 0:
        return f"{sign}0.{'0' * -(len(digits) + exponent)}{digits}"
    return _with_exponent(sign, digits, exponent)


def _with_exponent(sign: str, digits: str, exponent: int) -> str:
    power, digits = exponent + len(digits) - 1, digits.rstrip("0") or "0"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{power}"


def _other_spelling(number: float) -> str | None:
    sign, size = ("-" if math.copysign(1, number) < 0 else ""), abs(number)
    digits, exponent = "0", 0
    for form in ("%.16e", "%.17e", "%.18e"):
        _, digits, exponent = _parts(form % size)
        if _reads(digits, exponent, size):
            return f"{sign}{digits}e{exponent}"
    # Of 19 digits the last four are beyond what a float holds.
    head, tail = digits[:-5], int(digits[-5:])
    for step in range(1, _STEPS + 1):
        for near in (tail - step, tail + step):
            if 0 <= near < _LAST_DIGITS and _reads(found := f"{head}{near:05d}", exponent, size):
                return f"{sign}{found}e{exponent}"
    return None


def _is_exact(text: str, number: float) -> bool:
    _, digits, exponent = _parts(text)
    if len(digits.lstrip("0")) <= _EXACT_DIGITS and abs(exponent) <= _EXACT_EXPONENT:
        return True
    return _reads(digits, exponent, abs(number))


def _parts(text: str) -> tuple[str, str, int]:
    """The sign, the digits as a whole number, and the power of ten that they are multiplied with."""
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no number of JSON")
    sign, whole, fraction, exponent = found.groups(default="")
    return sign, whole + fraction, int(exponent or 0) - len(fraction)


def _reads(digits: str, exponent: int, size: float) -> bool:
    return int(digits) < _WHOLE_DIGITS and _as_read(digits, exponent) == size == float(f"{digits}e{exponent}")


def _as_read(digits: str, exponent: int) -> float | None:
    """The number that the server makes of digits and a power of ten."""
    value = float(int(digits))
    while abs(exponent) > _LARGEST_EXPONENT:
        if not value or exponent > 0:
            return None if value else 0.0
        value /= 1e308
        exponent += _LARGEST_EXPONENT
    power = float(f"1e{abs(exponent)}")
    return value / power if exponent < 0 else value * power
