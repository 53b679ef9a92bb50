"""Commands are written as redis-cli reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.execution.offline.redis_cli import command_line, remark_line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("FT.CREATE", "products", "PREFIX", "1", "p:"), "FT.CREATE products PREFIX 1 p:"),
        (("SET", "a key", ""), 'SET "a key" ""'),
        (("SET", 'say "x"\\', "it's"), 'SET "say \\"x\\"\\\\" "it\'s"'),
        (("SET", "a\nb\tc\r", b"\x00\xff"), 'SET "a\\nb\\tc\\r" "\\x00\\xff"'),
        (("SET", "é", "\udcff"), 'SET "\\xc3\\xa9" "\\xff"'),
    ],
)
def test_a_word_is_quoted_where_redis_cli_needs_it(words, line):
    assert command_line(words) == line


def test_a_remark_is_a_command_that_does_nothing():
    assert remark_line("create index 'x'") == "ECHO \"# create index 'x'\""
    assert remark_line("two\nlines") == 'ECHO "# two\\nlines"'


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=5))
def test_any_bytes_are_read_back(words):
    line = command_line(words)
    assert line.isascii()
    assert "\n" not in line
    assert list(read(line)) == words


def read(line: str) -> list[bytes]:
    """The words of a line, as `sdssplitargs` of Redis takes them apart."""
    words, at = [], 0
    named = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}
    while at < len(line):
        word = b""
        if line[at] == '"':
            at += 1
            while line[at] != '"':
                if line[at] == "\\" and line[at + 1] == "x":
                    word += bytes([int(line[at + 2 : at + 4], 16)])
                    at += 4
                elif line[at] == "\\":
                    word += named.get(line[at + 1], line[at + 1].encode())
                    at += 2
                else:
                    word += line[at].encode()
                    at += 1
            at += 1
        else:
            while at < len(line) and line[at] != " ":
                word += line[at].encode()
                at += 1
        words.append(word)
        at += 1
    return words
