"""Vectors as JSON documents hold them: arrays of numbers, each as the text that the server prints of it.

Text, since a document gets its own array back byte for byte. RedisJSON prints a float in the fewest digits
that tell it from its neighbours, without an exponent from 0.00001 up to below 10^16. What is made here is
spelled so from the beginning, and found again in just these bytes.
"""

from __future__ import annotations

import re

from redismigrate.documents.json_numbers import as_read, number_parts, other_spelling, printed

# What an array of numbers has beside its brackets.
_OF_NUMBERS = b"0123456789+-.eE,"
_WITH_EXPONENT = re.compile(rb"\d+\.?\d*[eE][-+]?\d+")


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
    """A finite number, or its neighbour where the server has no way to read it, as it is printed then."""
    text = printed(number)
    sign, digits, exponent = number_parts(text)
    read = as_read(digits, exponent)
    return text if read is None else sign + printed(read)


def as_written(text: bytes) -> bytes | None:
    """An array of numbers in words of which the server makes just these numbers; None where there are none.

    Of what RedisJSON has printed itself with an exponent, it reads one in thirty as a neighbour.

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
    text = found[0].decode()
    number = float(text)
    _, digits, exponent = number_parts(text)
    if as_read(digits, exponent) == number:
        return found[0]
    other = other_spelling(number, is_strict=False)
    if other is None:
        raise ValueError(text)
    return other.encode()
