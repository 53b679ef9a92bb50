"""Says what original, copy and mark of a document become, by what they are: the rule of two forms.

Everything is judged by what has changed since both were in step, which the mark tells. Of hashes that is
every field, its value and its lifetime together, and the lifetime of the key; JSON is judged as a whole.

| changed since          | while both forms are in use   | once the names have moved          |
|------------------------|-------------------------------|------------------------------------|
| the original           | carried to the copy           | carried to the copy                |
| the copy               | carried back to the original  | kept                               |
| both, differently      | the copy's stands in both     | the copy's stands                  |
| the original is gone   | a copy that is as it was goes | a copy that is as it was goes      |
| the copy was deleted   | the original goes             | stays deleted                      |
| the copy is not there  | made again                    | made again                         |

That the application has deleted a copy is proved only if this very process had it in step, no lifetime
of it has passed, and the server has evicted nothing meanwhile. Nothing here talks to Redis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.copy_merging import (
    have_equal_lifetimes,
    is_same,
    merge_forms,
    say_the_same,
)
from redismigrate.execution.documents.beside.marks import Mark, digest_of_field, digest_of_name


class Verdict(Enum):
    """What becomes of a document, in one word."""

    NOTHING = auto()
    """There is no original, and what may be at the target is none of our business."""
    IN_STEP = auto()
    WRITTEN = auto()
    """The copy is made, or gets what the original has got."""
    MADE_AGAIN = auto()
    """The copy is not there, with no proof that the application has deleted it."""
    CARRIED_BACK = auto()
    """The original gets what the copy has got, or is gone as the copy is."""
    MERGED = auto()
    """Each gets what the other one has got."""
    REMOVED = auto()
    """The original is gone, and so goes the copy."""
    HANDED_OVER = auto()
    """Both are gone: the mark is given up."""
    ONLY_NEW = auto()
    """The copy is the application's word, and the original stays as it is."""
    ONLY_NEW_DELETED = auto()
    """The application has deleted the copy, and the original is as it was."""
    OCCUPIED = auto()
    """What is at the target was not made here, and is something else."""
    UNCONVERTIBLE = auto()
    """No copy can be made of the original."""


_FAILURES = frozenset({Verdict.OCCUPIED, Verdict.UNCONVERTIBLE})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds for all documents of a batch.

    Attributes:
        fence: Of this process, as it stands in marks.
        now_ms: The server's time after everything was read, Unix time in milliseconds.
        carries_back: The names have not moved yet: what is written to copies goes to the originals.
        nothing_evicted: The server has evicted nothing since this process began to make marks.
    """

    fence: bytes
    now_ms: int
    carries_back: bool
    nothing_evicted: bool = True


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """What becomes of a document.

    Attributes:
        verdict: In one word.
        copy: What the copy should be, with no document where it should be gone; None: as it is.
        original: What the original should be, in the terms of copies, with no document where it should be
            gone; None: as it is.
        mark: What should be remembered; None for nothing.
        backs_up: The original loses what nothing else holds, so that it has to be on disk before.
        is_conflict: Both have changed, differently: the document is listed.
        is_proved: Of `REMOVED`: the original was in step under this fence, so that its end was seen.
    """

    verdict: Verdict
    copy: Found | None = None
    original: Found | None = None
    mark: Mark | None = None
    backs_up: bool = False
    is_conflict: bool = False
    is_proved: bool = True


def verdict_on(
    original: Found,
    copy: Found,
    mark: Mark | None,
    given: Circumstances,
    *,
    is_unconvertible: bool = False,
    was_reported: bool = False,
) -> CopyOutcome:
    """What becomes of a document.

    Args:
        original: In the terms of copies, as the transform gives it; no document where there is none, or where
            it is unconvertible.
        copy: What is at the target.
        mark: What they were when they were in step; None where they never were.
        given: What holds for all documents.
        is_unconvertible: There is an original of which no copy can be made.
        was_reported: The server has told that the copy's key was written since this process follows.
    """
    if is_unconvertible:
        return _without_conversion(copy, mark, given)
    if original.document is None:
        if mark is not None:
            return _without_original(original, copy, mark, given)
        if was_reported and given.carries_back and copy.document is not None and not original.exists:
            # The new release has made a document of its own.
            new = Mark.of(given.fence, copy, is_made=False, is_carried=True)
            return CopyOutcome(Verdict.CARRIED_BACK, original=copy, mark=new)
        return CopyOutcome(Verdict.NOTHING)
    if mark is None:
        if not copy.exists:
            return CopyOutcome(Verdict.WRITTEN, copy=original, mark=Mark.of(given.fence, original))
        if say_the_same(copy, original) and have_equal_lifetimes(copy, original):
            return CopyOutcome(Verdict.IN_STEP, mark=Mark.of(given.fence, original, is_made=False))
        return CopyOutcome(Verdict.OCCUPIED)
    if not copy.exists:
        return _without_copy(original, mark, given)
    if copy.document is None:
        # It is no document any more, which can't be carried back.
        is_conflict = mark.is_moved or not _is_unchanged(original, mark, given.now_ms)
        backs_up = is_conflict or not _is_still_carried(original, mark)
        return CopyOutcome(Verdict.ONLY_NEW, mark=mark, backs_up=backs_up, is_conflict=is_conflict)
    return _of_both(original, copy, mark, given)


def once_moved(original: Found, copy: Found, outcome: CopyOutcome, given: Circumstances) -> CopyOutcome:
    """The outcome where the original is to go, now that the copy serves.

    It stays where there is no copy of it, but by proof that the application has deleted that.

    Args:
        original: As `verdict_on` got it.
        copy: As `verdict_on` got it.
        outcome: What that said.
        given: What holds for all documents.
    """
    if outcome.verdict in _FAILURES or original.document is None:
        return outcome
    left = copy if outcome.copy is None else outcome.copy
    if not left.exists and outcome.verdict is not Verdict.ONLY_NEW_DELETED:
        return outcome
    mark = outcome.mark or Mark.of(given.fence, original, is_made=False)
    backs_up = outcome.backs_up if mark.is_carried else not _holds(left, original)
    backs_up |= outcome.is_conflict
    return replace(outcome, original=Found(), mark=mark.moved(given.fence), backs_up=backs_up)


def taken_back(original: Found, copy: Found, mark: Mark | None, outcome: CopyOutcome) -> CopyOutcome:
    """The outcome where the copy is to go, since the change is undone.

    It stays where it was not made here, and where it is the application's and can't be carried back.

    Args:
        original: As `verdict_on` got it.
        copy: As `verdict_on` got it.
        mark: As `verdict_on` got it.
        outcome: What that said.
    """
    if mark is None or not mark.is_made:
        return replace(outcome, copy=None, mark=None, verdict=_unwritten(outcome.verdict))
    if outcome.verdict is Verdict.ONLY_NEW or outcome.verdict is Verdict.NOTHING:
        return replace(outcome, mark=None)
    if outcome.verdict is Verdict.UNCONVERTIBLE and outcome.copy is None:
        return replace(outcome, mark=None)
    left = copy if outcome.copy is None else outcome.copy
    both = original.document is not None and left.document is not None
    is_held = say_the_same(left, original) and have_equal_lifetimes(left, original)
    if both and outcome.original is None and not is_held:
        # What the copy has got beside that can't be carried back.
        return replace(outcome, copy=None, mark=None, verdict=Verdict.ONLY_NEW)
    if mark.is_moved and original.document is None:
        # The original went already: the copy is the document.
        return replace(outcome, copy=None, mark=None)
    return replace(
        outcome, copy=Found() if copy.exists else None, mark=None, verdict=_unwritten(outcome.verdict)
    )


def _unwritten(verdict: Verdict) -> Verdict:
    """The verdict where the copy is not written after all."""
    return _UNWRITTEN.get(verdict, verdict)


_UNWRITTEN = {
    Verdict.WRITTEN: Verdict.NOTHING,
    Verdict.MADE_AGAIN: Verdict.NOTHING,
    Verdict.OCCUPIED: Verdict.NOTHING,
    Verdict.MERGED: Verdict.CARRIED_BACK,
}


def _without_conversion(copy: Found, mark: Mark | None, given: Circumstances) -> CopyOutcome:
    """The copy tells of what the original is no more; once it serves that is better than nothing."""
    if mark is None or not mark.is_made or mark.is_moved or not given.carries_back:
        return CopyOutcome(Verdict.UNCONVERTIBLE, mark=mark)
    if _is_unchanged(copy, mark, given.now_ms):
        return CopyOutcome(Verdict.UNCONVERTIBLE, copy=Found())
    return CopyOutcome(Verdict.UNCONVERTIBLE, mark=mark)


def _without_original(original: Found, copy: Found, mark: Mark, given: Circumstances) -> CopyOutcome:
    if mark.is_moved:
        return CopyOutcome(Verdict.IN_STEP, mark=mark)
    if not copy.exists:
        return CopyOutcome(Verdict.HANDED_OVER)
    if _is_unchanged(copy, mark, given.now_ms):
        is_seen = mark.fence == given.fence and given.nothing_evicted
        return CopyOutcome(
            Verdict.REMOVED, copy=Found(), is_proved=is_seen or _may_be_gone(mark, given.now_ms)
        )
    if given.carries_back and copy.document is not None and not original.exists:
        new = Mark.of(given.fence, copy, is_made=mark.is_made, is_carried=True)
        return CopyOutcome(Verdict.CARRIED_BACK, original=copy, mark=new)
    return CopyOutcome(Verdict.ONLY_NEW, mark=mark if given.carries_back else mark.moved(given.fence))


def _without_copy(original: Found, mark: Mark, given: Circumstances) -> CopyOutcome:
    is_seen = mark.fence == given.fence and not _may_be_gone(mark, given.now_ms)
    is_proved = given.nothing_evicted and not mark.is_moved and (is_seen or mark.is_deleted)
    if not is_proved or not _is_unchanged(original, mark, given.now_ms):
        again = Mark.of(given.fence, original)
        return CopyOutcome(Verdict.MADE_AGAIN, copy=original, mark=again)
    if given.carries_back:
        return CopyOutcome(Verdict.CARRIED_BACK, original=Found(), backs_up=True)
    # What was proved once is true for whoever goes on.
    return CopyOutcome(Verdict.ONLY_NEW_DELETED, mark=replace(mark, is_deleted=True), backs_up=True)


def _of_both(original: Found, copy: Found, mark: Mark, given: Circumstances) -> CopyOutcome:
    merged = merge_forms(original, copy, mark, given.now_ms)
    is_copy_written = not is_same(merged.copy, copy)
    is_still_carried = _is_still_carried(original, mark)
    if given.carries_back:
        is_original_written = not is_same(merged.original, original)
        is_carried = is_original_written or is_still_carried
        after = merged.original if is_original_written else original
        new = None
        if after.document is not None:
            new = Mark.of(given.fence, after, is_made=mark.is_made, is_carried=is_carried)
        return CopyOutcome(
            _verdict(is_copy_written, is_original_written),
            merged.copy if is_copy_written else None,
            merged.original if is_original_written else None,
            new,
            backs_up=is_original_written and not is_still_carried,
            is_conflict=merged.is_conflict,
        )
    if mark.is_moved:
        new = mark.with_original(given.fence, original)
    else:
        new = Mark.of(given.fence, original, is_made=mark.is_made, is_carried=is_still_carried)
    verdict = Verdict.WRITTEN if is_copy_written else Verdict.IN_STEP
    if merged.copy.document is None:
        # The application has deleted some fields here, and all others there.
        verdict, new = Verdict.ONLY_NEW_DELETED, replace(new, is_deleted=True)
    elif merged.is_copy_changed:
        verdict = Verdict.MERGED if is_copy_written else Verdict.ONLY_NEW
    return CopyOutcome(
        verdict,
        merged.copy if is_copy_written else None,
        mark=new,
        backs_up=merged.is_conflict,
        is_conflict=merged.is_conflict,
    )


def _verdict(is_copy_written: bool, is_original_written: bool) -> Verdict:
    if is_copy_written:
        return Verdict.MERGED if is_original_written else Verdict.WRITTEN
    return Verdict.CARRIED_BACK if is_original_written else Verdict.IN_STEP


def _is_unchanged(found: Found, mark: Mark, now_ms: int) -> bool:
    """Whether a form is as when it was in step, but for what has expired since."""
    if found.document is None or found.expires_ms != mark.lifetime:
        return False
    if mark.is_of(found):
        return True
    document = found.document
    if not isinstance(document, dict) or not mark.fields:
        return False
    there = {digest_of_name(name): digest_of_field(found, name) for name in document}
    if any(mark.fields.get(name) != digest for name, digest in there.items()):
        return False
    return all(0 < mark.expiries.get(name, 0) <= now_ms for name in mark.fields.keys() - there.keys())


def _is_still_carried(original: Found, mark: Mark) -> bool:
    """Whether an original holds nothing but what was carried back to it, or is in the backup since then."""
    return mark.is_carried and mark.is_of(original) and original.expires_ms == mark.lifetime


def _may_be_gone(mark: Mark, now_ms: int) -> bool:
    """Whether a lifetime of what was in step has passed."""
    return mark.gone_at is not None and mark.gone_at <= now_ms


def _holds(copy: Found, original: Found) -> bool:
    """Whether all values of an original are in a copy."""
    if isinstance(copy.document, dict) and isinstance(original.document, dict):
        return original.document.items() <= copy.document.items()
    return say_the_same(copy, original)
