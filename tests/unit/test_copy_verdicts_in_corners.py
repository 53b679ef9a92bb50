"""Corners of the table of two forms, which the walk over all small cases has met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.copy_batch import CopyBatch, MarkedDocument
from redismigrate.execution.documents.beside.copy_verdicts import (
    Circumstances,
    Verdict,
    once_moved,
    taken_back,
    verdict_on,
)
from redismigrate.execution.documents.beside.marks import Mark
from redismigrate.execution.documents.beside.way_back import WayBack
from redismigrate.execution.documents.traffic.mirroring import Decision

FENCE = bytes(6)
BESIDE = Circumstances(FENCE, 5000, carries_back=True)
SERVING = Circumstances(FENCE, 5000, carries_back=False)
A, B, C = ({b"a": value} for value in (b"1", b"2", b"3"))
ABSENT = Found()
WAY = WayBack(lambda documents: documents, lambda documents: documents)


def mark(found: Found, **how: bool) -> Mark:
    return replace(Mark.of(FENCE, found), **how)


def test_a_copy_that_was_there_and_says_the_same_is_in_step_from_then_on():
    outcome = verdict_on(Found(A), Found(A), None, BESIDE)
    assert outcome.verdict is Verdict.IN_STEP
    assert outcome.mark == mark(Found(A), is_made=False)
    assert verdict_on(Found(B), Found(A), outcome.mark, BESIDE).copy == Found(B)


@pytest.mark.parametrize("copy", [Found(A, 9000), Found(A, expiries={b"a": 9000})])
def test_a_copy_that_was_there_with_another_lifetime_is_not_in_step(copy: Found):
    assert verdict_on(Found(A), copy, None, BESIDE).verdict is Verdict.OCCUPIED


@pytest.mark.parametrize(("old", "new"), [(Found(A), Found(B)), (Found(b"1"), Found(b"2"))])
def test_what_is_written_under_an_old_key_again_is_listed_even_where_it_is_as_before(old: Found, new: Found):
    outcome = verdict_on(old, new, mark(old, is_moved=True), SERVING)
    assert outcome.is_conflict
    assert outcome.backs_up
    assert outcome.copy is None


def test_a_lifetime_that_comes_under_an_old_key_again_is_remembered_as_the_copys():
    old = Found(A, 9000)
    outcome = verdict_on(old, Found(A), mark(Found(A), is_moved=True), SERVING)
    assert outcome.copy == old
    assert outcome.mark is not None
    assert outcome.mark.lifetime == 9000


def test_an_original_whose_lifetime_alone_is_in_conflict_is_in_the_backup_before_it_goes():
    old, new = Found(A, 8000), Found(A, 9000)
    outcome = once_moved(old, new, verdict_on(old, new, mark(Found(A)), SERVING), SERVING)
    assert outcome.is_conflict
    assert outcome.backs_up
    assert outcome.original == ABSENT


def test_a_deletion_that_was_proved_stays_proved_for_the_next_process():
    seen = verdict_on(Found(A), ABSENT, mark(Found(A)), SERVING)
    assert seen.mark is not None
    assert Mark.decoded(seen.mark.encoded()) == seen.mark
    next_process = replace(SERVING, fence=b"later.")
    assert verdict_on(Found(A), ABSENT, seen.mark, next_process).verdict is Verdict.ONLY_NEW_DELETED


def test_nothing_is_left_of_a_document_of_which_each_release_has_deleted_the_others_fields():
    before, old, new = Found(A | {b"t": b"1"}), Found(A), Found({b"t": b"1"})
    beside = verdict_on(old, new, mark(before), BESIDE)
    assert (beside.original, beside.copy, beside.mark) == (ABSENT, ABSENT, None)
    serving = verdict_on(old, new, mark(before), SERVING)
    assert serving.verdict is Verdict.ONLY_NEW_DELETED
    assert once_moved(old, new, serving, SERVING).original == ABSENT


@pytest.mark.parametrize("lifetime", [-1, 9000])
def test_an_original_that_was_carried_back_and_written_since_is_backed_up(lifetime: int):
    carried = mark(Found(A), is_carried=True)
    same = verdict_on(Found(B, lifetime), Found(B, lifetime), carried, BESIDE)
    assert same.mark is not None
    assert not same.mark.is_carried
    other_type = Found(is_of_another_type=True)
    assert verdict_on(Found(B), other_type, carried, SERVING).backs_up
    assert verdict_on(Found(A, 8000), Found(A, 9000), carried, BESIDE).backs_up


def test_an_original_that_was_written_while_its_copy_became_another_type_is_listed():
    outcome = verdict_on(Found(B), Found(is_of_another_type=True), mark(Found(A)), SERVING)
    assert outcome.is_conflict
    assert outcome.backs_up


def test_what_went_when_the_key_expired_was_deleted_by_nobody():
    before, eternal, written_anew = mark(Found(A, 4000)), Found(A), Found({b"t": b"1"})
    both = Found(A | {b"t": b"1"})
    for old, new in ((eternal, written_anew), (written_anew, eternal)):
        outcome = verdict_on(old, new, before, BESIDE)
        assert (outcome.original, outcome.copy) == (both, both)


def test_a_copy_goes_after_what_was_written_to_it_is_in_its_original():
    decision = Decision()
    batch = CopyBatch("copies_removed", BESIDE, WAY, set(), decision)
    remembered = mark(Found(A)).encoded()
    batch.add(MarkedDocument(b"o", b"m", remembered), b"n", Found(A), Found(A), Found(B), None)
    (document,) = batch.finish().documents
    assert document.commands == [(b"HSET", b"o", b"a", b"2"), (b"DEL", b"n"), (b"DEL", b"m")]


def test_a_mark_with_its_fields_in_another_order_is_not_written_again():
    decision = Decision()
    batch = CopyBatch("beside", BESIDE, WAY, set(), decision)
    one, other = Found({b"a": b"1", b"b": b"2"}), Found({b"b": b"2", b"a": b"1"})
    batch.add(MarkedDocument(b"o", b"m", mark(one).encoded()), b"n", other, other, other, None)
    assert not batch.finish().writes_anything


def test_a_copy_that_is_taken_back_goes_where_its_original_has_it_all():
    outcome = taken_back(
        Found(A), Found(B), mark(Found(A)), verdict_on(Found(A), Found(B), mark(Found(A)), BESIDE)
    )
    assert (outcome.original, outcome.copy) == (Found(B), ABSENT)


def test_a_copy_whose_original_was_deleted_and_written_again_is_taken_back_with_all_that_it_has():
    gone = mark(Found(A, 9000), is_moved=True)
    old, new = Found({b"t": b"1"}), Found(B, 9000)
    outcome = taken_back(old, new, gone, verdict_on(old, new, gone, BESIDE))
    assert (outcome.original, outcome.copy) == (Found(B | {b"t": b"1"}, 9000), ABSENT)
    assert outcome.backs_up


def test_a_copy_that_can_not_be_carried_back_stays_though_its_original_was_written_too():
    before, old, new = mark(Found(A)), Found(A | {b"t": b"1"}), Found(B)
    alone = verdict_on(old, new, before, SERVING)
    outcome = taken_back(old, new, before, alone)
    assert (outcome.verdict, outcome.copy, outcome.original) == (Verdict.ONLY_NEW, None, None)


def test_that_an_original_goes_is_noted_before_it_does():
    decision = Decision()
    batch = CopyBatch("originals_removed", SERVING, WAY, set(), decision)
    before = mark(Found(A))
    batch.add(MarkedDocument(b"o", b"m", before.encoded()), b"n", Found(A), Found(A), Found(A), None)
    (document,) = batch.finish().documents
    assert document.commands == [(b"SET", b"m", before.moved(FENCE).encoded()), (b"DEL", b"o")]
