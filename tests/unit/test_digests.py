"""Digests of values, and the set of them that tells which were written."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents import digests as module
from redismigrate.documents.columns import FixedWidth
from redismigrate.documents.digests import (
    LONGEST_BYTES,
    Digests,
    bound_to_keys,
    digests_of,
    value_digests,
)

GOLDEN = [7583528923642253187, 5118071358134263815, 8971485419340666990, 0]
GOLDEN_OF_KEY = [13303213002457968621]
VALUES = st.lists(st.tuples(st.binary(max_size=6), st.none() | st.binary(max_size=6)), max_size=40)


def digests_in(pairs, path="v"):
    return digests_of(path, [key for key, _ in pairs], [value for _, value in pairs])


@given(remembered=VALUES, asked=VALUES)
def test_what_was_not_remembered_is_lacking_but_for_absent_values(remembered, asked):
    digests = Digests()
    digests.add(digests_in(remembered))

    lacking = digests.lacking(digests_in(asked))

    known = set(remembered)
    assert lacking == [row for row, pair in enumerate(asked) if pair[1] is not None and pair not in known]


@given(batches=st.lists(VALUES, max_size=6))
def test_batches_are_remembered_one_after_the_other(batches):
    digests = Digests()
    for batch in batches:
        digests.add(digests_in(batch))
        assert digests.lacking(digests_in(batch)) == []
    for batch in batches:
        assert digests.lacking(digests_in(batch)) == []


def test_many_values_are_sorted_in_between_and_found(monkeypatch):
    monkeypatch.setattr(module, "WAITING", 16)
    digests = Digests()
    pairs = [(b"k%d" % number, b"v%d" % number) for number in range(500)]
    for start in range(0, 500, 7):
        digests.add(digests_in(pairs[start : start + 7]))

    assert digests.lacking(digests_in(pairs)) == []
    assert digests.lacking(digests_in([(b"k1", b"v2")])) == [0]


def test_an_empty_set_lacks_every_value_and_an_empty_question_lacks_none():
    assert Digests().lacking(digests_in([(b"a", b"1"), (b"b", None), (b"c", b"")])) == [0, 2]
    assert Digests().lacking([]) == []


def test_a_digest_is_of_key_field_and_value_together():
    same = digests_in([(b"ab", b"c")])
    assert same == digests_in([(b"ab", b"c")])
    assert same != digests_in([(b"a", b"bc")])
    assert same != digests_in([(b"ab", b"d")])
    assert same != digests_in([(b"ab", b"c")], path="w")
    assert digests_in([(b"b", b"c")], path="va") != digests_in([(b"ab", b"c")], path="v")


def test_fields_whose_names_are_no_text_have_digests_too():
    assert digests_in([(b"\xff", b"\x00")], path="\udcff") != digests_in([(b"\xff", b"\x00")], path="\udcfe")


@given(values=st.lists(st.none() | st.binary(max_size=70), max_size=30))
def test_values_of_one_length_have_the_digests_that_each_has_alone(values):
    together = value_digests(values).tolist()

    assert together == [int(value_digests([value])[0]) for value in values]
    assert [digest == 0 for digest in together] == [value is None for value in values]


@pytest.mark.parametrize("width", [1, 4, 7, 96, LONGEST_BYTES, LONGEST_BYTES + 1])
def test_an_array_has_the_digests_of_a_list(width):
    rows = np.random.default_rng(width).integers(0, 256, (9, width), np.uint8)
    wider = np.concatenate([rows, rows], axis=1)

    assert value_digests(FixedWidth(rows)).tolist() == value_digests(list(FixedWidth(rows))).tolist()
    assert (value_digests(FixedWidth(wider[:, :width])) == value_digests(FixedWidth(rows))).all()


def test_every_bit_of_a_value_counts_and_so_does_every_zero_at_its_end():
    value = bytes(range(250, 256)) * 3
    flipped = [
        value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]
        for at in range(len(value))
        for bit in range(8)
    ]
    signs = [bytes(at) + b"\x80" + bytes(63 - at) for at in range(64)]
    # The upper bits of two words at a time, as of two numbers that change their sign.
    pairs = [bytes(a ^ b for a, b in zip(*two, strict=True)) for two in itertools.combinations(signs, 2)]
    zeros = [bytes(length) for length in range(64)]

    many = [value, *flipped, *pairs, *zeros, *(value + each for each in zeros[1:])]
    assert len(set(value_digests(many).tolist())) == len(set(many))


def test_digests_in_backups_can_be_read_ever_after():
    assert value_digests([b"", b"a", bytes(1536), None]).tolist() == GOLDEN
    assert digests_of("v", [b"k"], [b"a"]).tolist() == GOLDEN_OF_KEY


def test_what_is_bound_to_keys_is_what_is_computed_at_once():
    keys, values = [b"a", b"b", b"c"], [b"1", None, b"1"]

    assert bound_to_keys("v", keys, value_digests(values)).tolist() == digests_of("v", keys, values).tolist()


def test_what_is_known_is_told_row_by_row():
    digests = Digests()
    digests.add(digests_in([(b"a", b"1")]))

    assert digests.are_known(digests_in([(b"b", b"1"), (b"a", b"1"), (b"a", None)])).tolist() == [
        False,
        True,
        False,
    ]
