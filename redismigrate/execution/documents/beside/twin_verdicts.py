"""Says what two values of one document become that two releases write: the rule of two forms for twins.

Everything is judged by what has changed since both were in step, which the mark tells: value and lifetime
together, each twin for itself.

| changed since              | while both releases write          | once the names have moved          |
|----------------------------|------------------------------------|------------------------------------|
| the old one                | carried to the new one             | carried to the new one             |
| the new one                | carried back where there is a way  | kept                               |
| both, to the same          | in step                            | in step                            |
| both, differently          | the new one stands in both         | the new one stands                 |
| one is gone, the other as it was | the other goes, or the first one comes back: see below              |
| one is gone, the other changed   | what is there stands, and is made again at the other path           |

A rule of its own, beside `copy_verdicts`: there a form is absent as a whole, which can be proved or not.
Here a value is absent from a document that is there, and no server tells whether HDEL took it, or a release
that writes whole documents and does not know its name. In JSON the latter is usual (JSON.SET at $): the value
comes back. So it does in a hash of which anything else has changed since, or where all of several values of
one form are gone at once. Where a hash is else as it was, the deletion of its field is carried, once the
backup has what goes; a lifetime that has passed is no other thing.

Nothing here talks to Redis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from redismigrate.execution.documents.beside.copy_verdicts import Verdict
from redismigrate.execution.documents.beside.marks import are_equal
from redismigrate.execution.documents.beside.twin_marks import (
    NO_VALUE,
    TwinEntry,
    TwinValue,
    digest_of_twin,
)


@dataclass(frozen=True, slots=True)
class TwinForms:
    """Both values of a twin, and what the conversion makes of each.

    Attributes:
        old: At the old path; None where there is none.
        new: At the new path.
        forth: The new form of the old value; None where there is none.
        back: The old form of the new value; None where there is none, or no way back.
        reason: Why there is no new form of an old value that is there.
        is_json: They are JSON values, which may be spelled differently and say the same.
        yields: What was at the new path before the run is what the old value was once made of: where they
            don't agree any more, it gives way.
    """

    old: TwinValue | None
    new: TwinValue | None
    forth: TwinValue | None = None
    back: TwinValue | None = None
    reason: str | None = None
    is_json: bool = False
    yields: bool = False

    @property
    def agree(self) -> bool:
        """Whether one says what the other one does, its lifetime included."""
        return self.is_converted or self._are_same(self.back, self.old)

    @property
    def is_converted(self) -> bool:
        """Whether the new value is the new form of the old one."""
        return self._are_same(self.forth, self.new)

    def _are_same(self, one: TwinValue | None, other: TwinValue | None) -> bool:
        if one is None or other is None or one.expires_ms != other.expires_ms:
            return False
        return one == other or (self.is_json and are_equal(one.content, other.content))


@dataclass(frozen=True, slots=True)
class TwinCircumstances:
    """What holds for all twins of a document.

    Attributes:
        carries_back: The names have not moved yet: what is written at new paths goes to the old ones.
        is_first: Not all documents have been looked at yet: what is at a new path, without a mark, was there
            before the run.
        lacks_old: The old values are gone since with a document that was written as a whole.
        lacks_new: Likewise the new ones.
    """

    carries_back: bool
    is_first: bool = False
    lacks_old: bool = False
    lacks_new: bool = False


@dataclass(frozen=True, slots=True)
class TwinOutcome:
    """What becomes of a twin.

    Attributes:
        verdict: In one word.
        entry: What should be remembered.
        old: What the old value should be.
        new: What the new one should be.
        lost: The value that goes although nothing else holds it, so that it has to be on disk before: "old",
            "new", or none.
        is_conflict: Both have changed, differently: the document is listed.
        is_deletion: A value goes because the other one is gone.
    """

    verdict: Verdict
    entry: TwinEntry
    old: TwinValue | None
    new: TwinValue | None
    lost: str | None = None
    is_conflict: bool = False
    is_deletion: bool = False


_FAILURES = frozenset({Verdict.OCCUPIED, Verdict.UNCONVERTIBLE})


def verdict_on_twin(forms: TwinForms, entry: TwinEntry | None, given: TwinCircumstances) -> TwinOutcome:
    """What becomes of a twin.

    Args:
        forms: What is there. Where that is as it was when it was in step, nothing else is looked at.
        entry: What it was when it was in step; None where the document has no mark.
        given: What holds for all twins of the document.
    """
    if entry is None and not given.is_first:
        # The document was born, or got its first value, since all of them were looked at.
        entry = TwinEntry()
    if entry is None or entry.is_occupied:
        return _met(forms, entry)
    is_old_changed = digest_of_twin(forms.old) != entry.old
    is_new_changed = digest_of_twin(forms.new) != entry.new
    if not (is_old_changed or is_new_changed):
        return TwinOutcome(Verdict.IN_STEP, entry, forms.old, forms.new)
    if forms.old is None and forms.new is None:
        return TwinOutcome(Verdict.HANDED_OVER, TwinEntry(), None, None)
    if forms.agree:
        noted = TwinEntry.of(forms.old, forms.new, is_made=entry.is_made)
        return TwinOutcome(Verdict.IN_STEP, noted, forms.old, forms.new)
    if forms.new is None:
        return _without_new(forms, entry, given, is_old_changed=is_old_changed)
    if forms.old is None:
        return _without_old(forms, entry, given, is_new_changed=is_new_changed)
    if not is_new_changed:
        return _carried(forms, entry, given)
    return _of_new(forms, entry, given, is_conflict=is_old_changed)


def _met(forms: TwinForms, entry: TwinEntry | None) -> TwinOutcome:
    """The first look at a document: what is at the new path was there before."""
    old, new = forms.old, forms.new
    if new is None:
        if old is None:
            return TwinOutcome(Verdict.NOTHING, TwinEntry(), None, None)
        return _made(forms, TwinEntry(), Verdict.WRITTEN)
    if old is None or forms.agree:
        verdict = Verdict.NOTHING if old is None else Verdict.IN_STEP
        return TwinOutcome(verdict, TwinEntry.of(old, new, is_made=False), old, new)
    if forms.yields:
        made = _made(forms, TwinEntry.of(old, new, is_made=False), Verdict.WRITTEN)
        return made if made.verdict is Verdict.UNCONVERTIBLE else replace(made, lost="new")
    occupied = TwinEntry.of(old, new, is_made=False)._replace(is_occupied=True)
    return TwinOutcome(Verdict.OCCUPIED, occupied if entry is None else entry, old, new)


def _made(forms: TwinForms, entry: TwinEntry, verdict: Verdict) -> TwinOutcome:
    """The new value as the old one asks for it."""
    if forms.forth is None:
        return TwinOutcome(Verdict.UNCONVERTIBLE, entry, forms.old, forms.new)
    noted = TwinEntry.of(forms.old, forms.forth, is_made=forms.new is None or entry.is_made)
    return TwinOutcome(verdict, noted, forms.old, forms.forth)


def _carried(forms: TwinForms, entry: TwinEntry, given: TwinCircumstances) -> TwinOutcome:
    """Only the old value was written."""
    if forms.forth is None and given.carries_back and entry.is_made:
        # The new one tells of what the old one is no more; once it serves that is better than nothing.
        return TwinOutcome(Verdict.UNCONVERTIBLE, TwinEntry(), forms.old, None)
    return _made(forms, entry, Verdict.WRITTEN)


def _of_new(
    forms: TwinForms, entry: TwinEntry, given: TwinCircumstances, *, is_conflict: bool
) -> TwinOutcome:
    """The new value was written, and stands."""
    lost = "old" if is_conflict else None
    if given.carries_back and forms.back is not None:
        noted = TwinEntry.of(forms.back, forms.new, is_made=entry.is_made)
        return TwinOutcome(Verdict.CARRIED_BACK, noted, forms.back, forms.new, lost, is_conflict)
    # They are not in step: a further write of the old one meets one of the new again. It is told once.
    # An old one that comes again, where it was seen to be gone, was written since, too.
    is_noted = is_conflict or forms.old is None
    noted = entry._replace(old=digest_of_twin(forms.old)) if is_noted else entry
    return TwinOutcome(Verdict.ONLY_NEW, noted, forms.old, forms.new, lost, is_conflict)


def _without_new(
    forms: TwinForms, entry: TwinEntry, given: TwinCircumstances, *, is_old_changed: bool
) -> TwinOutcome:
    if is_old_changed or given.lacks_new:
        is_again = entry.new != NO_VALUE
        return _made(forms, entry, Verdict.MADE_AGAIN if is_again else Verdict.WRITTEN)
    if given.carries_back:
        return TwinOutcome(Verdict.CARRIED_BACK, TwinEntry(), None, None, "old", is_deletion=True)
    return TwinOutcome(Verdict.ONLY_NEW_DELETED, entry, forms.old, None)


def _without_old(
    forms: TwinForms, entry: TwinEntry, given: TwinCircumstances, *, is_new_changed: bool
) -> TwinOutcome:
    if is_new_changed:
        return _of_new(forms, entry, given, is_conflict=False)
    if not given.lacks_old:
        return TwinOutcome(Verdict.REMOVED, TwinEntry(), None, None, "new", is_deletion=True)
    if not given.carries_back:
        # It would go anyway.
        return TwinOutcome(Verdict.IN_STEP, entry._replace(old=NO_VALUE), None, forms.new)
    if forms.back is None:
        return TwinOutcome(Verdict.ONLY_NEW, entry, None, forms.new)
    noted = TwinEntry.of(forms.back, forms.new, is_made=entry.is_made)
    return TwinOutcome(Verdict.MADE_AGAIN, noted, forms.back, forms.new)


def without_old_value(outcome: TwinOutcome, *, is_lossless: bool) -> TwinOutcome:
    """The outcome where the old value is to go, now that the new one serves.

    It stays where there is no new one, but for one that the application has deleted.

    Args:
        outcome: What `verdict_on_twin` said, where nothing is carried back.
        is_lossless: The new form tells all that the old one does.
    """
    is_deleted = outcome.verdict is Verdict.ONLY_NEW_DELETED
    has_second_form = outcome.verdict not in _FAILURES and outcome.new is not None
    if outcome.old is None or not (has_second_form or is_deleted):
        return outcome
    lost = outcome.lost or ("old" if is_deleted or not is_lossless else None)
    entry = TwinEntry() if is_deleted else outcome.entry._replace(old=NO_VALUE)
    return replace(outcome, old=None, entry=entry, lost=lost, is_deletion=is_deleted)


def without_new_value(outcome: TwinOutcome, forms: TwinForms, *, is_lossless: bool) -> TwinOutcome:
    """The outcome where the new value is to go, since the change is undone.

    It stays where it was there before the run, and where it is the application's and can't be carried back.

    Args:
        outcome: What `verdict_on_twin` said, where all is carried back.
        forms: As that got them, with what the conversions make of all that is there.
        is_lossless: The old form tells all that the new one does.
    """
    entry, new = outcome.entry, forms.new
    if not entry.is_made or outcome.verdict is Verdict.ONLY_NEW or new is None:
        return replace(outcome, new=new, entry=entry._replace(new=digest_of_twin(new)))
    if outcome.old is None and not outcome.is_deletion:
        # The run has removed the old one already.
        if forms.back is None:
            return replace(outcome, verdict=Verdict.ONLY_NEW)
        entry = TwinEntry(digest_of_twin(forms.back))
        outcome = replace(outcome, verdict=Verdict.CARRIED_BACK, old=forms.back, entry=entry)
    is_written = outcome.verdict in {Verdict.WRITTEN, Verdict.UNCONVERTIBLE} or outcome.is_deletion
    is_held = is_lossless or (forms.is_converted and outcome.old == forms.old)
    lost = outcome.lost or (None if is_written or is_held else "new")
    return replace(outcome, new=None, entry=entry._replace(new=NO_VALUE), lost=lost)
