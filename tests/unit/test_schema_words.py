"""Stopwords and synonyms, as servers fold and tell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.schema.words import folded_word, not_utf8, word_as_meant


@pytest.mark.parametrize(
    ("word", "kept"),
    [("The", "the"), ("ΣΊΣΥΦΟΣ", "σίσυφοσ"), ("σίσυφος", "σίσυφος"), ("İ", "i̇"), ("ẞ", "ß")],
)
def test_a_word_is_folded_character_by_character(word: str, kept: str):
    assert folded_word(word) == kept


def as_redis_8_tells(word: str) -> bytes:
    told = b""
    for character in word:
        raw = bytearray(character.encode())
        if len(raw) == 4 and raw[1] & 1:
            raw[1] &= 0xFE
            raw[2] |= 0x40
        told += raw
    return told


def test_an_emoji_is_read_from_the_bytes_that_redis_8_was_seen_to_tell():
    assert word_as_meant(b"party \xf0\x9e\xd8\x80") == "party 😀"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_as_it_was_meant(word: str):
    assert word_as_meant(as_redis_8_tells(word)) == word
    assert word_as_meant(word.encode()) == word
    assert word_as_meant(word) == word


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff", b"\xf4\xbf\xff\xbf"])
def test_other_bytes_are_left_as_they_are(raw: bytes):
    word = word_as_meant(raw)

    assert word == raw.decode("utf-8", "surrogateescape")
    assert not_utf8(["the", word]) == [word]
