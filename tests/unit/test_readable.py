"""Keys and names as they are shown: nothing in them can forge what stands around them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.rewrite import Rewrite
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.strict import readable


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"p:1", "p:1"),
        ("p:é 1", "p:é 1"),
        (b"p:\xff", r"p:\xff"),
        ("p:\udcff", r"p:\xff"),
        (b"p:\x1b[2J\x07", r"p:\x1b[2J\x07"),
        (b"p:1\r\nError: fine", r"p:1\r\nError: fine"),
        ("p:\u202egnp.exe\u2028", r"p:\u202egnp.exe\u2028"),
        ("p:\x9b31m", r"p:\x9b31m"),
    ],
)
def test_what_can_not_be_printed_is_escaped(key: str | bytes, shown: str):
    assert readable(key) == shown


@given(st.binary())
def test_any_bytes_are_shown_on_one_line(key: bytes):
    shown = readable(key)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character) == "Cc" for character in shown)


def test_why_a_document_can_not_move_is_told_on_one_line():
    rewrite = Rewrite(
        "hash",
        renames=(PathRename("old\x1b", "new\n"),),
        prefixes=(PrefixChange("p:", "q:"),),
    )
    mover = Mover(rewrite)
    assert mover.problem(b"p:1", -1) == r"it has a field new\n already, beside old\x1b"
    assert mover.problem(b"p:\r\n", -10_001) == r"a key q:\r\n exists already"
