"""What becomes of a document, by what its original, its copy and its mark say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.copy_verdicts import (
    Circumstances,
    Verdict,
    once_moved,
    taken_back,
    verdict_on,
)
from redismigrate.execution.documents.beside.marks import Mark, digest_of, fence_of

A: dict[bytes, bytes] = {b"title": b"a"}
B: dict[bytes, bytes] = {b"title": b"b"}
C: dict[bytes, bytes] = {b"title": b"c"}
ABSENT = Found()
STRING = Found(is_of_another_type=True)
MINE, ANOTHER = fence_of(b"1-1"), fence_of(b"2-2")
NOW, LATER, EVEN_LATER = 1000, 2000, 3000
EXPANDED = Circumstances(MINE, NOW, carries_back=True)
SERVING = replace(EXPANDED, carries_back=False)
FIELDS = st.dictionaries(st.binary(max_size=3), st.binary(max_size=3), min_size=1, max_size=4)
FADING = Found(A | {b"fading": b"1"}, expiries={b"fading": LATER})


def mark(document: dict[bytes, bytes], fence: bytes = MINE) -> Mark:
    return Mark.of(fence, Found(document))


@pytest.mark.parametrize(
    ("original", "copy", "marked", "expanded", "serving"),
    [
        # There is no original.
        (ABSENT, ABSENT, None, Verdict.NOTHING, Verdict.NOTHING),
        (ABSENT, Found(A), None, Verdict.NOTHING, Verdict.NOTHING),
        (ABSENT, ABSENT, A, Verdict.HANDED_OVER, Verdict.HANDED_OVER),
        (ABSENT, Found(A), A, Verdict.REMOVED, Verdict.REMOVED),
        (ABSENT, Found(B), A, Verdict.CARRIED_BACK, Verdict.ONLY_NEW),
        (ABSENT, STRING, A, Verdict.ONLY_NEW, Verdict.ONLY_NEW),
        (STRING, Found(A), A, Verdict.REMOVED, Verdict.REMOVED),
        (STRING, Found(B), A, Verdict.ONLY_NEW, Verdict.ONLY_NEW),
        # Nothing was made of it yet.
        (Found(A), ABSENT, None, Verdict.WRITTEN, Verdict.WRITTEN),
        (Found(A), Found(A), None, Verdict.IN_STEP, Verdict.IN_STEP),
        (Found(A), Found(B), None, Verdict.OCCUPIED, Verdict.OCCUPIED),
        (Found(A), STRING, None, Verdict.OCCUPIED, Verdict.OCCUPIED),
        # A copy was made of what it is now.
        (Found(A), Found(A), A, Verdict.IN_STEP, Verdict.IN_STEP),
        (Found(A), ABSENT, A, Verdict.CARRIED_BACK, Verdict.ONLY_NEW_DELETED),
        (Found(A), Found(B), A, Verdict.CARRIED_BACK, Verdict.ONLY_NEW),
        (Found(A), STRING, A, Verdict.ONLY_NEW, Verdict.ONLY_NEW),
        # A copy was made of what it was before.
        (Found(B), Found(A), A, Verdict.WRITTEN, Verdict.WRITTEN),
        (Found(B), ABSENT, A, Verdict.MADE_AGAIN, Verdict.MADE_AGAIN),
        (Found(B), Found(B), A, Verdict.IN_STEP, Verdict.IN_STEP),
        (Found(B), Found(C), A, Verdict.CARRIED_BACK, Verdict.ONLY_NEW),
        (Found(B), STRING, A, Verdict.ONLY_NEW, Verdict.ONLY_NEW),
    ],
)
def test_original_copy_and_mark_decide(
    original: Found,
    copy: Found,
    marked: dict[bytes, bytes] | None,
    expanded: Verdict,
    serving: Verdict,
):
    known = None if marked is None else mark(marked)
    assert verdict_on(original, copy, known, EXPANDED).verdict is expanded
    assert verdict_on(original, copy, known, SERVING).verdict is serving


@pytest.mark.parametrize(
    "unsure",
    [
        {"marked": mark(A, ANOTHER)},
        {"given": replace(EXPANDED, nothing_evicted=False)},
        {"marked": Mark.of(MINE, Found(A, NOW - 1))},
        {"marked": Mark.of(MINE, Found(A, expiries={b"title": NOW - 1}))},
    ],
)
def test_an_absent_copy_is_made_again_unless_its_deletion_is_proved(unsure: dict[str, object]):
    arguments = {"marked": mark(A), "given": EXPANDED} | unsure
    outcome = verdict_on(Found(A), ABSENT, arguments["marked"], arguments["given"])  # type: ignore[arg-type]
    assert outcome.verdict is Verdict.MADE_AGAIN
    assert outcome.copy == Found(A)


def test_a_deletion_in_the_new_form_takes_the_original_once_it_is_backed_up():
    outcome = verdict_on(Found(A), ABSENT, mark(A), EXPANDED)
    assert outcome.original == ABSENT
    assert outcome.backs_up
    assert outcome.mark is None


def test_a_field_goes_where_it_was_not_written():
    was = {b"x": b"1", b"y": b"1", b"z": b"1"}
    original, copy = Found(was | {b"x": b"2"}), Found(was | {b"y": b"2"})
    outcome = verdict_on(original, copy, mark(was), EXPANDED)
    both = was | {b"x": b"2", b"y": b"2"}
    assert outcome.verdict is Verdict.MERGED
    assert outcome.copy == outcome.original == Found(both)
    assert not outcome.is_conflict
    alone = verdict_on(original, copy, mark(was), SERVING)
    assert (alone.copy, alone.original) == (Found(both), None)


def test_a_field_that_both_have_written_stays_as_the_new_one_has_it():
    outcome = verdict_on(Found(B), Found(C), mark(A), EXPANDED)
    assert (outcome.original, outcome.copy) == (Found(C), None)
    assert outcome.backs_up
    assert outcome.is_conflict
    known = verdict_on(Found(B), Found(C), mark(A), SERVING).mark
    assert not verdict_on(Found(B), Found(C), known, SERVING).is_conflict


@pytest.mark.parametrize("lifetime", [-1, EVEN_LATER])
def test_a_lifetime_is_a_value_of_its_own(lifetime: int):
    known = Mark.of(MINE, Found(A, LATER))
    new = verdict_on(Found(A, LATER), Found(A, lifetime), known, EXPANDED)
    assert (new.original, new.copy) == (Found(A, lifetime), None)
    assert verdict_on(Found(A, LATER), Found(A, lifetime), known, SERVING).copy is None
    old = verdict_on(Found(A, lifetime), Found(A, LATER), known, EXPANDED)
    assert (old.original, old.copy) == (None, Found(A, lifetime))


def test_a_field_that_expired_in_one_form_was_changed_by_nobody():
    known = Mark.of(MINE, FADING)
    after = replace(EXPANDED, now_ms=EVEN_LATER)
    assert verdict_on(Found(B), Found(A), known, after).copy == Found(B)
    assert verdict_on(ABSENT, Found(A), known, after).verdict is Verdict.REMOVED
    # Before that moment somebody has deleted it.
    assert verdict_on(FADING, Found(A), known, EXPANDED).original == Found(A)


def test_a_field_that_expires_is_compared_like_any_other():
    known = Mark.of(MINE, FADING)
    counted = Found(FADING.document and FADING.document | {b"fading": b"6"}, expiries=FADING.expiries)
    assert verdict_on(FADING, counted, known, SERVING).verdict is Verdict.ONLY_NEW
    assert verdict_on(counted, FADING, known, SERVING).copy == counted
    longer = Found(FADING.document, expiries={b"fading": EVEN_LATER})
    assert verdict_on(FADING, longer, known, SERVING).verdict is Verdict.ONLY_NEW


def test_originals_go_with_a_copy_or_with_a_proved_deletion_alone():
    def moved(original: Found, copy: Found, known: Mark | None) -> Found | None:
        outcome = verdict_on(original, copy, known, SERVING)
        return once_moved(original, copy, outcome, SERVING).original

    assert moved(Found(A), Found(A), mark(A)) == ABSENT
    assert moved(Found(A), ABSENT, mark(A)) == ABSENT
    assert moved(Found(A), ABSENT, None) == ABSENT  # its copy is made in the same transaction
    assert moved(Found(A), Found(B), None) is None
    outcome = verdict_on(ABSENT, Found(A), mark(A), SERVING, is_unconvertible=True)
    assert once_moved(ABSENT, Found(A), outcome, SERVING).original is None


def test_what_comes_under_an_old_key_again_goes_into_the_copy():
    was = {b"x": b"1", b"y": b"1"}
    known = mark(was).moved(MINE)
    outcome = verdict_on(Found({b"x": b"2"}), Found(was), known, SERVING)
    assert outcome.copy == Found(was | {b"x": b"2"})
    assert not outcome.is_conflict
    theirs = verdict_on(Found({b"x": b"2"}), Found(was | {b"x": b"3"}), known, SERVING)
    assert (theirs.copy, theirs.is_conflict, theirs.backs_up) == (None, True, True)


def test_copies_are_taken_back_if_they_were_made_here():
    def back(original: Found, copy: Found, known: Mark | None) -> tuple[Found | None, Found | None]:
        outcome = taken_back(original, copy, known, verdict_on(original, copy, known, EXPANDED))
        assert outcome.mark is None
        return outcome.copy, outcome.original

    assert back(Found(A), Found(A), mark(A)) == (ABSENT, None)
    assert back(Found(A), Found(B), mark(A)) == (ABSENT, Found(B))
    assert back(Found(A), Found(A), replace(mark(A), is_made=False)) == (None, None)
    assert back(Found(A), Found(B), None) == (None, None)
    assert back(Found(A), ABSENT, None) == (None, None)
    assert back(Found(A), STRING, mark(A)) == (None, None)


def test_json_that_the_server_prints_otherwise_is_known_again():
    written = b'{"a":1e-07,"b":[1.0]}'
    printed = b'{"b":[1.0],"a":1e-7}'
    known = Mark.of(MINE, Found(printed))
    assert verdict_on(Found(written), Found(printed), known, EXPANDED).verdict is Verdict.IN_STEP
    other = b'{"b":[1],"a":1e-7}'
    assert verdict_on(Found(printed), Found(other), known, EXPANDED).original == Found(other)


@given(FIELDS, FIELDS)
def test_two_hashes_have_one_digest_only_if_they_are_equal(
    one: dict[bytes, bytes], other: dict[bytes, bytes]
):
    assert (digest_of(one) == digest_of(other)) == (one == other)
    assert digest_of(dict(reversed(one.items()))) == digest_of(one)


@given(
    FIELDS,
    st.integers(-1, 2**62),
    st.integers(1, 2**62),
    st.booleans(),
    st.booleans(),
)
def test_a_mark_is_read_as_it_was_written(
    document: dict[bytes, bytes], lifetime: int, moment: int, is_made: bool, is_carried: bool
):
    found = Found(document, lifetime, {min(document): moment})
    known = Mark.of(MINE, found, is_made=is_made, is_carried=is_carried)
    assert Mark.decoded(known.encoded()) == known
    assert known.is_of(found)


@given(st.binary(max_size=80))
def test_what_is_no_mark_of_ours_is_none(data: bytes):
    known = Mark.decoded(data)
    assert known is None or known.encoded()[:1] == data[:1]
