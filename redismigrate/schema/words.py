"""Stopwords and synonyms as servers keep and tell them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Redis 8 writes half of the characters beyond U+FFFF, emoji among them, with a bit of the second byte in the
# third.
_MISPLACED_BIT = re.compile(rb"[\xf0-\xf4][\x80-\xbf][\xc0-\xff][\x80-\xbf]")


def folded_word(word: str) -> str:
    """A stopword as servers keep it: lower-cased one character after the other.

    Of a whole word Python lowers a sigma at the end to another letter than in the middle. Servers before
    Redis 8 leave what is not ASCII.
    """
    return "".join(map(str.lower, word))


def word_as_meant(told: bytes | str) -> str:
    """A word that a server tells, with the characters that it was given.

    It reads queries as it writes words, so that they find what they should.
    """
    if isinstance(told, str):
        return told
    return _MISPLACED_BIT.sub(_put_back, told).decode("utf-8", "surrogateescape")


def not_utf8(words: Iterable[str]) -> list[str]:
    """Those of the words that stand for bytes that are no UTF-8."""
    return [word for word in words if any("\udc80" <= character <= "\udcff" for character in word)]


def _put_back(match: re.Match[bytes]) -> bytes:
    first, second, third, last = match[0]
    meant = bytes((first, second | 1, third & 0xBF, last))
    try:
        meant.decode()
    except UnicodeDecodeError:
        return match[0]
    return meant
