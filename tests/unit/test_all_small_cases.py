"""All small cases of one document between two releases, and faults that have been, each of which is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from small_cases import Explorer
from small_looks import Broken
from small_world import Words

from redismigrate.execution.documents.beside import (
    copies,
    copy_batch,
    copy_merging,
    copy_verdicts,
    mark_store,
    marks,
)
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.copy_batch import CopyBatch
from redismigrate.execution.documents.beside.copy_verdicts import CopyOutcome, Verdict
from redismigrate.execution.documents.beside.marks import Mark
from redismigrate.state.fence import Fence

NEVER = -1
FEW = (
    Words(values=(b"1",), has_stale=True),
    Words(values=(b"1", b"2")),
    Words(values=(b"1",), lifetimes=(NEVER, 1)),
    Words(values=(b"1",), has_refusals=True),
    Words(kind="json", values=(b"1", b"2")),
    Words(values=(b"1",), has_stale=True, has_refusals=True, is_slow=True),
)
MANY = (
    (Words(lifetimes=(NEVER, 1), has_stale=True), 26_000),
    (Words(values=(b"1",), lifetimes=(NEVER, 1, 2), has_stale=True), 8_500),
    (Words(values=(b"1",), moments=(NEVER, 1), has_stale=True), 63_000),
    (Words(has_foreign=True, has_evictions=True, has_refusals=True), 21_000),
    (Words(kind="json", lifetimes=(NEVER, 1), has_refusals=True), 27_000),
    (Words(values=(b"1",), has_odd=True), 7_000),
    (Words(has_races=True), 3_200),
    (Words(has_races=True, has_refusals=True, is_slow=True), 3_200),
    (Words(values=(b"1",), has_odd=True, is_slow=True), 7_000),
)
# Of these words the nearest states: there are many more.
ALL = Words(
    moments=(NEVER, 1, 2),
    later_values=(b"1", b"2"),
    lifetimes=(NEVER, 1, 2),
    has_foreign=True,
    has_evictions=True,
    has_refusals=True,
    has_odd=True,
)
NEAREST = 100_000


@pytest.mark.parametrize("words", FEW, ids=repr)
def test_few_words_lead_nowhere_wrong(words: Words):
    assert Explorer(words).walk() > 100


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("words", "least"), MANY, ids=repr)
def test_many_words_lead_nowhere_wrong(words: Words, least: int):
    assert Explorer(words).walk() >= least


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_words_lead_nowhere_wrong_on_short_ways():
    assert Explorer(ALL, most=NEAREST).walk() >= NEAREST


Mutate = Callable[[pytest.MonkeyPatch], object]


def overwrite_lifetimes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        copy_merging, "_merged_lifetimes", lambda original, *_: (original.expires_ms, original.expires_ms)
    )


def pass_over_expiring_fields(patch: pytest.MonkeyPatch) -> None:
    whole, value = marks.digest_of, marks._digest_of_value

    def digest_of(document, expiries=marks._NO_EXPIRIES):
        if isinstance(document, dict):
            document = {name: value for name, value in document.items() if name not in expiries}
        return whole(document)

    patch.setattr(marks, "digest_of", digest_of)
    patch.setattr(
        marks,
        "_digest_of_value",
        lambda name, text, moment: value(name, text, None) if moment is None else 0,
    )


def read_marks_of_any_run(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mark_store, "mark_prefix", lambda keys, _run, way: keys.mark(way).encode())


def mark_what_was_refused(patch: pytest.MonkeyPatch) -> None:
    write = CopyBatch._write

    def write_mark_apart(batch, document, commands, mark, counters, *more, **how):
        before = Mark.decoded(document.mark)
        if mark is None or mark == before:
            write(batch, document, commands, mark, counters, *more, **how)
            return
        batch._only_marks += (document.mark_key, mark.encoded())
        write(batch, document, commands, before, counters, *more, **how)

    patch.setattr(CopyBatch, "_write", write_mark_apart)


def keep_mark_of_refused_first_copy(patch: pytest.MonkeyPatch) -> None:
    make_all = Copies._make_all

    def make_all_and_forget_none(mirror, decision, *arguments):
        make_all(mirror, decision, *arguments)
        decision.forget = None

    patch.setattr(Copies, "_make_all", make_all_and_forget_none)


def remove_before_copying(patch: pytest.MonkeyPatch) -> None:
    write = CopyBatch._write

    def write_last_first(batch, document, commands, mark, counters, last=(), undo=(), **how):
        write(batch, document, [*last, *commands[::-1]], mark, counters, (), undo, **how)

    patch.setattr(CopyBatch, "_write", write_last_first)


def take_absence_for_deletion(patch: pytest.MonkeyPatch) -> None:
    without_copy = copy_verdicts._without_copy
    patch.setattr(
        copy_verdicts,
        "_without_copy",
        lambda original, mark, given: without_copy(
            original, mark, replace(given, fence=mark.fence, nothing_evicted=True)
        ),
    )


def look_no_more_after_removal(patch: pytest.MonkeyPatch) -> None:
    verdict_on = copy_batch.verdict_on

    def verdict(original, copy, mark, given, **how):
        if mark is not None and mark.is_moved:
            return CopyOutcome(Verdict.IN_STEP, mark=mark)
        return verdict_on(original, copy, mark, given, **how)

    patch.setattr(copy_batch, "verdict_on", verdict)


def write_without_the_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "require", lambda fence, current: None)


def watch_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(copies.Copies, "watched", lambda mirror, keys: [])


HASHES = Words()
EXPIRING_KEYS = Words(values=(b"1",), lifetimes=(NEVER, 1))
EXPIRING_FIELDS = Words(values=(b"1",), moments=(1,), later_values=(b"1", b"2"))
REFUSED = Words(has_refusals=True)


@pytest.mark.parametrize(
    ("mutate", "words", "message"),
    [
        (overwrite_lifetimes, EXPIRING_KEYS, "instead of"),
        (pass_over_expiring_fields, EXPIRING_FIELDS, "instead of"),
        (read_marks_of_any_run, HASHES, "instead of"),
        (mark_what_was_refused, REFUSED, "I5: "),
        (keep_mark_of_refused_first_copy, REFUSED, "I5: "),
        (remove_before_copying, REFUSED, "I2: |I3: "),
        (take_absence_for_deletion, HASHES, "instead of"),
        (look_no_more_after_removal, HASHES, "instead of"),
        (write_without_the_lock, Words(has_stale=True), "I8: "),
        (watch_nothing, Words(has_races=True), "between reading and writing"),
    ],
)
def test_a_fault_that_has_been_is_found(
    mutate: Mutate, words: Words, message: str, monkeypatch: pytest.MonkeyPatch
):
    mutate(monkeypatch)
    with pytest.raises(Broken, match=message) as found:
        Explorer(words).walk()
    # Each is found on a way of a few events, which is told.
    assert len(str(found.value).splitlines()) < 12
