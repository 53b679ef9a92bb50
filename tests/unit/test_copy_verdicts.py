"""What has to happen to a copy, by what its original, the copy itself and its mark say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.execution.documents.copy_verdicts import Found, Verdict, lifetime_of, verdict_on
from redismigrate.execution.documents.whole_documents import fingerprint

A: dict[bytes, bytes] = {b"title": b"a"}
B: dict[bytes, bytes] = {b"title": b"b"}
C: dict[bytes, bytes] = {b"title": b"c"}
ABSENT = Found()
STRING = Found(is_of_another_type=True)
FADING = {b"fading": 4_102_444_800_000}
FIELDS = st.dictionaries(st.binary(max_size=3), st.binary(max_size=3), min_size=1, max_size=4)


def mark(document: dict[bytes, bytes]) -> bytes:
    return fingerprint(document, {})


@pytest.mark.parametrize(
    ("wanted", "copy", "marked", "verdict"),
    [
        # There is no original.
        (ABSENT, ABSENT, None, Verdict.NOTHING),
        (ABSENT, Found(A), None, Verdict.NOTHING),
        (ABSENT, ABSENT, A, Verdict.HAND_OVER),
        (ABSENT, Found(A), A, Verdict.REMOVE),
        (ABSENT, Found(B), A, Verdict.HAND_OVER),
        (ABSENT, STRING, A, Verdict.HAND_OVER),
        # Nothing was made of it yet.
        (Found(A), ABSENT, None, Verdict.WRITE),
        (Found(A), Found(A), None, Verdict.IN_STEP),
        (Found(A), Found(B), None, Verdict.OCCUPIED),
        (Found(A), STRING, None, Verdict.OCCUPIED),
        # A copy was made of what it is now.
        (Found(A), Found(A), A, Verdict.IN_STEP),
        (Found(A), ABSENT, A, Verdict.ONLY_NEW_DELETED),
        (Found(A), Found(B), A, Verdict.ONLY_NEW),
        (Found(A), STRING, A, Verdict.ONLY_NEW),
        # A copy was made of what it was before.
        (Found(B), Found(A), A, Verdict.WRITE),
        (Found(B), ABSENT, A, Verdict.WRITE),
        (Found(B), Found(B), A, Verdict.MARK),
        (Found(B), Found(C), A, Verdict.BOTH_WRITTEN),
        (Found(B), STRING, A, Verdict.BOTH_WRITTEN),
    ],
)
def test_original_copy_and_mark_decide(
    wanted: Found, copy: Found, marked: dict[bytes, bytes] | None, verdict: Verdict
):
    assert verdict_on(wanted, copy, None if marked is None else mark(marked)) is verdict


def test_a_field_that_expired_in_the_copy_is_no_change_of_it():
    before = fingerprint(A | {b"fading": b"1"}, FADING)
    assert verdict_on(Found(B), Found(A), before) is Verdict.WRITE
    assert verdict_on(ABSENT, Found(A | {b"fading": b"1"}, expiries=FADING), before) is Verdict.REMOVE


def test_a_new_value_of_a_field_that_expires_is_written():
    before = fingerprint(A | {b"fading": b"1"}, FADING)
    wanted = Found(A | {b"fading": b"2"}, expiries=FADING)
    assert verdict_on(wanted, Found(A | {b"fading": b"1"}, expiries=FADING), before) is Verdict.WRITE


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Found(A, 1000), Found(A, 2000)),
        (Found(A, 1000), Found(A)),
        (Found(A, expiries={b"title": 1000}), Found(A, expiries={b"title": 2000})),
    ],
)
def test_a_copy_that_expired_before_its_original_was_seen_to_be_prolonged_is_made_again(
    before: Found, now: Found
):
    marked = fingerprint(before.document or {}, before.expiries) + lifetime_of(before)
    assert verdict_on(now, ABSENT, marked) is Verdict.WRITE
    assert verdict_on(now, now, marked) is Verdict.MARK
    assert verdict_on(before, ABSENT, marked) is Verdict.ONLY_NEW_DELETED
    assert verdict_on(ABSENT, before, marked) is Verdict.REMOVE


def test_a_copy_that_the_application_has_written_is_kept_when_its_original_is_prolonged():
    assert verdict_on(Found(A, 2000), Found(B), mark(A) + lifetime_of(Found(A, 1000))) is Verdict.ONLY_NEW


def test_json_that_the_server_prints_otherwise_is_known_again():
    written = b'{"a":1e-07,"b":[1.0]}'
    printed = b'{"b":[1.0],"a":1e-7}'
    marked = fingerprint(written, {})
    assert verdict_on(Found(written), Found(printed), marked) is Verdict.IN_STEP
    assert verdict_on(ABSENT, Found(printed), marked) is Verdict.REMOVE
    assert verdict_on(ABSENT, Found(b'{"b":[1],"a":1e-7}'), marked) is Verdict.HAND_OVER


@given(FIELDS, FIELDS)
def test_two_hashes_have_one_fingerprint_only_if_they_are_equal(
    one: dict[bytes, bytes], other: dict[bytes, bytes]
):
    assert (mark(one) == mark(other)) == (one == other)
    assert mark(dict(reversed(one.items()))) == mark(one)
