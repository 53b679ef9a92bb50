"""What becomes of two values of one document, by what they are and were: all small cases."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from redismigrate.execution.documents.beside.copy_verdicts import Verdict
from redismigrate.execution.documents.beside.twin_marks import (
    TwinEntry,
    TwinMark,
    TwinValue,
    digest_of_twin,
)
from redismigrate.execution.documents.beside.twin_verdicts import (
    TwinCircumstances,
    TwinForms,
    TwinOutcome,
    verdict_on_twin,
    without_new_value,
    without_old_value,
)

Value = TwinValue | None
LATER = 4_102_444_800_000
A, B, C = TwinValue(b"a"), TwinValue(b"b"), TwinValue(b"c")
FADING = TwinValue(b"a", LATER)
EXPANDED = TwinCircumstances(carries_back=True)
SERVING = TwinCircumstances(carries_back=False)
WHOLE = TwinCircumstances(carries_back=True, lacks_old=True, lacks_new=True)
WHOLE_SERVING = TwinCircumstances(carries_back=False, lacks_old=True, lacks_new=True)
FIRST = TwinCircumstances(carries_back=True, is_first=True)
IN_STEP = TwinEntry.of(A, A)
VALUES: tuple[Value, ...] = (None, A, B, C, FADING)
ENTRIES: list[TwinEntry | None] = [
    None,
    *(
        TwinEntry.of(old, new, is_made=is_made)
        for old, new, is_made in product((None, A, B), (None, A, B), (True, False))
    ),
    TwinEntry.of(A, B, is_made=False)._replace(is_occupied=True),
]
GIVEN = [
    TwinCircumstances(carries_back, is_first, lacks, lacks)
    for carries_back, is_first, lacks in product((True, False), repeat=3)
]
CASES = list(product(VALUES, VALUES, ENTRIES))
# Old values go once the names have moved, new ones before that or once they have moved back.
LOOKS = [
    (given, aim)
    for given, aim in product(GIVEN, ("", "old_removed", "new_removed"))
    if aim != ("old_removed" if given.carries_back else "new_removed")
]


def forms_of(old: Value, new: Value) -> TwinForms:
    """Of a value that is renamed."""
    return TwinForms(old, new, old, new)


def look(
    old: Value, new: Value, entry: TwinEntry | None, given: TwinCircumstances, aim: str = ""
) -> TwinOutcome:
    forms = forms_of(old, new)
    outcome = verdict_on_twin(forms, entry, given)
    if aim == "old_removed":
        return without_old_value(outcome, is_lossless=True)
    return without_new_value(outcome, forms, is_lossless=True) if aim == "new_removed" else outcome


@pytest.mark.parametrize(
    ("old", "new", "expanded", "serving"),
    [
        (A, A, (A, A), (A, A)),
        # One has written.
        (B, A, (B, B), (B, B)),
        (A, B, (B, B), (A, B)),
        (FADING, A, (FADING, FADING), (FADING, FADING)),
        (A, FADING, (FADING, FADING), (A, FADING)),
        # Both have.
        (B, B, (B, B), (B, B)),
        (B, C, (C, C), (B, C)),
        # One has deleted, and the other one has written.
        (None, B, (B, B), (None, B)),
        (B, None, (B, B), (B, B)),
        # One has deleted.
        (None, A, (None, None), (None, None)),
        (A, None, (None, None), (A, None)),
        (None, None, (None, None), (None, None)),
    ],
)
def test_what_changed_since_they_were_in_step_decides(
    old: Value, new: Value, expanded: tuple[Value, Value], serving: tuple[Value, Value]
):
    for circumstances, wanted in ((EXPANDED, expanded), (SERVING, serving)):
        outcome = look(old, new, IN_STEP, circumstances)
        assert (outcome.old, outcome.new) == wanted
        is_conflict = old == B and new == C
        assert outcome.is_conflict == is_conflict
        is_carried = wanted == (None, None) and (old, new) != wanted
        assert outcome.is_deletion == is_carried
        assert outcome.lost == (
            "old" if is_conflict or (is_carried and old) else "new" if is_carried else None
        )


def test_a_document_that_was_written_as_a_whole_gets_back_what_it_lacks():
    assert look(A, None, IN_STEP, WHOLE).new == A
    assert look(None, A, IN_STEP, WHOLE).old == A
    assert look(A, None, IN_STEP, WHOLE_SERVING).new == A
    serving = look(None, A, IN_STEP, WHOLE_SERVING)
    assert (serving.old, serving.new, serving.lost) == (None, A, None)
    # What nobody knows any more was deleted.
    assert look(None, None, IN_STEP, WHOLE).verdict is Verdict.HANDED_OVER


def test_what_was_at_the_new_path_before_is_left():
    assert look(A, B, None, FIRST).verdict is Verdict.OCCUPIED
    assert look(None, B, None, FIRST).old is None
    assert look(A, A, None, FIRST).entry == TwinEntry.of(A, A, is_made=False)
    assert look(A, None, None, FIRST).new == A
    # Later it is the application's.
    assert look(None, B, None, EXPANDED).old == B
    assert look(A, B, None, EXPANDED).is_conflict


@pytest.mark.parametrize(("given", "aim"), LOOKS, ids=repr)
def test_a_second_look_finds_nothing_to_do(given: TwinCircumstances, aim: str):
    for old, new, entry in CASES:
        first = look(old, new, entry, given, aim)
        again = look(first.old, first.new, first.entry, given, aim)
        told = old, new, entry
        assert (again.old, again.new, again.entry) == (first.old, first.new, first.entry), told
        assert (again.lost, again.is_conflict, again.is_deletion) == (None, False, False), told


@pytest.mark.parametrize(("given", "aim"), LOOKS, ids=repr)
def test_what_an_application_has_written_is_there_or_in_the_backup(given: TwinCircumstances, aim: str):
    for old, new, entry in CASES:
        outcome = look(old, new, entry, given, aim)
        before = entry or TwinEntry()
        for value, side, known in ((old, "old", before.old), (new, "new", before.new)):
            if value is None or value in (outcome.old, outcome.new) or outcome.lost == side:
                continue
            # Then the other release has written over it: this one was known to both.
            assert known == digest_of_twin(value), (old, new, entry)
            assert outcome.old or outcome.new, (old, new, entry)


@pytest.mark.parametrize("given", GIVEN, ids=repr)
def test_both_are_the_same_while_both_releases_write(given: TwinCircumstances):
    for old, new, entry in CASES:
        outcome = look(old, new, entry, given)
        is_known = entry is not None and digest_of_twin(old) == entry.old and digest_of_twin(new) == entry.new
        if given.carries_back and not is_known and outcome.verdict not in {Verdict.OCCUPIED, Verdict.NOTHING}:
            assert outcome.old == outcome.new, (old, new, entry)
        elif not given.carries_back:
            assert outcome.old in (old, None), (old, new, entry)


def test_the_old_value_goes_where_the_new_one_serves():
    for old, new, entry in CASES:
        outcome = look(old, new, entry, SERVING, "old_removed")
        if outcome.old is not None:
            assert outcome.verdict is Verdict.OCCUPIED or outcome.new is None, (old, new, entry)
    late = look(B, A, look(A, A, IN_STEP, SERVING, "old_removed").entry, SERVING, "old_removed")
    assert (late.old, late.new, late.lost) == (None, B, None)


def test_the_new_value_goes_unless_it_was_there_before():
    for old, new, entry in CASES:
        outcome = look(old, new, entry, EXPANDED, "new_removed")
        is_made = entry is None or entry.is_made or outcome.is_deletion
        assert outcome.new == (None if is_made else new), (old, new, entry)
        if is_made and (old or new) and not outcome.is_deletion:
            assert outcome.old is not None, (old, new, entry)
    moved = look(A, A, IN_STEP, SERVING, "old_removed")
    back = look(moved.old, moved.new, moved.entry, EXPANDED, "new_removed")
    assert (back.old, back.new) == (A, None)


# A conversion that rounds: the old value is a number, the new one its tens.


def rounding(old: int | None, new: int | None, *, has_way_back: bool = True) -> TwinForms:
    def value(number: int | None) -> Value:
        return None if number is None else TwinValue(b"%d" % number)

    forth = None if old is None else old // 10
    back = None if new is None or not has_way_back else new * 10
    return TwinForms(value(old), value(new), value(forth), value(back))


def test_a_conversion_that_rounds_is_not_taken_for_a_change():
    made = verdict_on_twin(rounding(123, None), None, FIRST)
    assert made.new == TwinValue(b"12")
    again = verdict_on_twin(rounding(123, 12), made.entry, EXPANDED)
    assert (again.verdict, again.entry) == (Verdict.IN_STEP, made.entry)
    carried = verdict_on_twin(rounding(123, 99), made.entry, EXPANDED)
    assert carried.old == TwinValue(b"990")
    assert verdict_on_twin(rounding(990, 99), carried.entry, EXPANDED).verdict is Verdict.IN_STEP


def test_what_has_no_way_back_stays_as_the_new_release_wrote_it():
    known = TwinEntry.of(TwinValue(b"123"), TwinValue(b"12"))
    forms = rounding(123, 99, has_way_back=False)
    outcome = verdict_on_twin(forms, known, EXPANDED)
    assert (outcome.verdict, outcome.entry) == (Verdict.ONLY_NEW, known)
    undone = without_new_value(outcome, forms, is_lossless=False)
    assert (undone.verdict, undone.new) == (Verdict.ONLY_NEW, TwinValue(b"99"))
    # They are not in step, so that a write of the old release meets this one.
    both = verdict_on_twin(rounding(124, 99, has_way_back=False), outcome.entry, EXPANDED)
    assert (both.is_conflict, both.lost, both.new) == (True, "old", TwinValue(b"99"))
    assert not verdict_on_twin(rounding(124, 99, has_way_back=False), both.entry, EXPANDED).is_conflict


def test_what_no_conversion_gives_again_is_backed_up_before_it_goes():
    known = TwinEntry.of(TwinValue(b"123"), TwinValue(b"12"))
    in_step = verdict_on_twin(rounding(123, 12), known, SERVING)
    assert without_old_value(in_step, is_lossless=False).lost == "old"
    assert without_old_value(in_step, is_lossless=True).lost is None
    forms = rounding(120, 12)
    carried = TwinEntry.of(forms.old, forms.new)
    assert without_new_value(verdict_on_twin(forms, carried, EXPANDED), forms, is_lossless=False).lost is None
    forms = TwinForms(TwinValue(b"5"), TwinValue(b"5.5"), TwinValue(b"5.0"), TwinValue(b"5"))
    outcome = verdict_on_twin(forms, TwinEntry.of(forms.old, forms.new), EXPANDED)
    assert without_new_value(outcome, forms, is_lossless=False).lost == "new"


@pytest.mark.parametrize(("given", "new"), [(EXPANDED, None), (SERVING, A)])
def test_what_cannot_be_converted_has_no_new_form(given: TwinCircumstances, new: Value):
    forms = TwinForms(B, A, None, A, "it is odd")
    outcome = verdict_on_twin(forms, IN_STEP, given)
    assert (outcome.verdict, outcome.old, outcome.new) == (Verdict.UNCONVERTIBLE, B, new)
    after = TwinForms(B, new, None, new, "it is odd")
    assert verdict_on_twin(after, outcome.entry, given).verdict is Verdict.UNCONVERTIBLE
    assert without_old_value(outcome, is_lossless=True).old == B


def test_json_that_is_spelled_otherwise_says_the_same():
    one, other = TwinValue(b'{"a":1,"b":2}'), TwinValue(b'{"b":2,"a":1}')
    forms = TwinForms(one, other, one, other, is_json=True)
    assert verdict_on_twin(forms, TwinEntry.of(one, one), EXPANDED).verdict is Verdict.IN_STEP
    assert verdict_on_twin(forms_of(one, other), TwinEntry.of(one, one), EXPANDED).old == other


@drawn(
    st.lists(
        st.builds(
            TwinEntry,
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**64 - 1),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**64 - 1),
)
def test_a_mark_is_read_as_it_was_written(entries: list[TwinEntry], rest: int):
    mark = TwinMark(tuple(entries), rest)
    assert TwinMark.decoded(mark.encoded(), len(entries)) == mark
    assert TwinMark.decoded(mark.encoded(), len(entries) + 1) is None
    assert TwinMark.decoded(b"a mark of something else", len(entries)) is None
    assert TwinMark.decoded(None, len(entries)) is None
