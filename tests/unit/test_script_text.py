"""The digest of what Python reads of a script: what changes it, and what an editor may change."""

from __future__ import annotations

import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.history.script_text import code_digest

SCRIPT = b'''"""store embeddings as float16

Revision ID: 8f3a1c9b2d4e
"""
from redismigrate import Operations

revision = "8f3a1c9b2d4e"  # the id
down_revision = None


def upgrade(op: Operations) -> None:
    # one rebuild
    with op.index("products#1") as index:
        index.alter_field(
            "embedding",
            datatype="float16",  # half of the memory
        )


def downgrade(op: Operations) -> None:
    """Lead back."""
'''
# The same on every Python: CI runs this on two of them.
DIGEST = "78a1efb36b7bfc77ef61a0f0aa26d76a03193d9890860ade4d72c462936354ea"
SAME = {
    "CRLF": SCRIPT.replace(b"\n", b"\r\n"),
    "CR": SCRIPT.replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + SCRIPT,
    "both": b"\xef\xbb\xbf" + SCRIPT.replace(b"\n", b"\r\n"),
    "a comment more": SCRIPT + b"# reviewed\n",
    "a comment in brackets": SCRIPT.replace(
        b'"embedding",\n', b'"embedding",  # a vector\n\n            # "\n'
    ),
    "a comment less": SCRIPT.replace(b"  # the id", b""),
    "an encoding": b"# -*- coding: utf-8 -*-\n" + SCRIPT,
    "trailing blanks": SCRIPT.replace(b"\n", b" \t\n"),
    "no newline at the end": SCRIPT.rstrip(),
    "blank lines": SCRIPT.replace(b"\n\n\n", b"\n\n\n\n\n") + b"\n\n",
}
OTHER = {
    "another value": SCRIPT.replace(b"float16", b"bfloat16"),
    "what looks like a comment": SCRIPT.replace(b"products#1", b"products#2"),
    "indentation": SCRIPT.replace(b"        index", b"         index"),
    "a blank in a string": SCRIPT.replace(b'"embedding"', b'"embedding "'),
    "a statement less": SCRIPT.replace(b"down_revision = None", b"# down_revision = None"),
}
# Each with one of another meaning beside it: neither may be taken for a comment or for an end of a string.
TELLING = [
    ("x = '#a'", "x = '#b'"),
    ("x = '\\'#a'", "x = '\\'#b'"),
    ("x = r'\\'#a'", "x = r'\\'#b'"),
    ("x = '''\n'#a'''", "x = '''\n'#b'''"),
    ('x = """a " # b"""', 'x = """a " # c"""'),
    ("x = f'{y:#x}'", "x = f'{y:#o}'"),
    ("x = f'{y!r:#>{w}}#1'", "x = f'{y!r:#>{w}}#2'"),
    ("x = f'{{#a'", "x = f'{{#b'"),
    ("x = rf'\\{y}#a'", "x = rf'\\{y}#b'"),
    ("x = f'{y[\"#a\"]}'", "x = f'{y[\"#b\"]}'"),
    ("x = '' if'#a'else'#b'", "x = '' if'#a'else'#c'"),
    ("f(\n'''a  \n''')", "f(\n'''a\n''')"),
    ("x = \\\n'''a  \n'''", "x = \\\n'''a\n'''"),
    ("x = 'a\\\n  '", "x = 'a\\\n '"),
]
# Python 3.12 and later alone read these: the same quotes, and comments, within the fields of f-strings.
SINCE_312 = [
    ("x = f'{y['#a']}'", "x = f'{y['#b']}'"),
    ("x = f'{f'{f'#a'}'}'", "x = f'{f'{f'#b'}'}'"),
    ("x = f'''{\n y # it's\n}#a'''", "x = f'''{\n y # it's\n}#b'''"),
]


def test_the_digest_is_the_same_on_every_python():
    assert code_digest(SCRIPT) == DIGEST


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_python_does_not_read_leaves_the_digest(source):
    assert code_digest(source) == DIGEST


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_what_python_reads_changes_the_digest(source):
    assert code_digest(source) != DIGEST


@pytest.mark.parametrize(("one", "other"), TELLING + SINCE_312)
def test_strings_and_comments_are_told_apart(one, other):
    if (one, other) in TELLING or sys.version_info >= (3, 12):
        ast.parse(one)
        ast.parse(other)
    assert code_digest(one.encode()) != code_digest(other.encode())
    assert code_digest(one.encode()) == code_digest(one.encode() + b" # a comment")


@given(st.binary(max_size=200) | st.text("'\"#{}:\\\nfr()x ", max_size=60).map(str.encode))
def test_every_text_has_a_digest(source):
    assert len(code_digest(source)) == 64
