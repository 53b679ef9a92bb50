"""The set of digests that tells which values were written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents import digests as module
from redismigrate.documents.digests import Digests, digests_of

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
