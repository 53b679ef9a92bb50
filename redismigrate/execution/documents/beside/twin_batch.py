"""Turns the verdicts on the twins of some documents into the commands that carry them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.failures import WRITTEN_SINCE, FailedDocument, occupied
from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.copy_verdicts import Verdict
from redismigrate.execution.documents.beside.stood_before import StoodBefore, as_it_stood
from redismigrate.execution.documents.beside.twin_conversions import TwinConversion
from redismigrate.execution.documents.beside.twin_marks import (
    NO_VALUE,
    TwinEntry,
    TwinMark,
    TwinValue,
)
from redismigrate.execution.documents.beside.twin_places import TwinPlaces, TwinRow
from redismigrate.execution.documents.beside.twin_verdicts import (
    TwinCircumstances,
    TwinForms,
    TwinOutcome,
    verdict_on_twin,
    without_new_value,
    without_old_value,
)
from redismigrate.execution.documents.traffic.mirroring import Decision, DocumentWrites
from redismigrate.redis_server.wire import render
from redismigrate.schema.strict import encode, readable

TwinAim = Literal["beside", "serving", "old_removed", "new_removed"]
# Fewer that are gone at once may have been deleted one by one.
_FEWEST_OF_WHOLE = 2
_COUNTERS: Mapping[Verdict, str] = {
    Verdict.MADE_AGAIN: "made_again",
    Verdict.ONLY_NEW: "only_new",
    Verdict.ONLY_NEW_DELETED: "only_new_deleted",
}


class TwinBatch:
    """The decisions about some documents, while they are made.

    Args:
        aim: What should become of the documents, see `TwinValues`.
        conversions: Of every twin.
        places: Where the values stand: the old and the new path of every twin, by turns.
        is_first: Not all documents have been looked at yet.
        decision: Gets the commands.
        stood: The old values that stay where others go.

    Attributes:
        lost: What has to be on disk before the commands are sent.
        deletions: The documents of which a value goes because the other one is gone.
        notes_stood: Values that stand at new paths of documents without a mark have to be on disk, too.
    """

    def __init__(
        self,
        aim: TwinAim,
        conversions: Sequence[TwinConversion],
        places: TwinPlaces,
        decision: Decision,
        stood: StoodBefore,
        *,
        is_first: bool,
    ) -> None:
        self.lost: list[Replaced] = []
        self.deletions: list[bytes] = []
        self.notes_stood = False
        self._aim = aim
        self._conversions = conversions
        self._places = places
        self._decision = decision
        self._stood = stood
        self._is_first = is_first
        self._only_marks: list[bytes] = []

    def add(
        self,
        key: bytes,
        mark_key: bytes,
        forms: Sequence[TwinForms],
        mark: TwinMark | None,
        rest: int,
    ) -> None:
        """Decide about one document.

        Args:
            key: Of it.
            mark_key: Of its mark.
            forms: What is there, twin by twin.
            mark: What its mark says; None where there is none.
            rest: Digest of what else is there.
        """
        given = self._circumstances(forms, mark, rest)
        known = mark.entries if mark is not None else [None] * len(forms)
        outcomes = [
            self._outcome(key, conversion, form, entry, given)
            for conversion, form, entry in zip(self._conversions, forms, known, strict=True)
        ]
        self._tell(key, forms, outcomes)
        before = [value for form in forms for value in (form.old, form.new)]
        after = [value for outcome in outcomes for value in (outcome.old, outcome.new)]
        mark_after = TwinMark(tuple(outcome.entry for outcome in outcomes), rest)
        self._keep(key, before, outcomes)
        if self.notes_stood and mark is None:
            self._note_what_stood(key, forms, outcomes)
        self._write(key, mark_key, before, after, mark, mark_after, outcomes)

    def finish(self) -> Decision:
        """Add the marks of documents that are written no more than that."""
        if self._only_marks:
            self._decision.add((render(b"MSET", *self._only_marks),), b"")
        return self._decision

    def _outcome(
        self,
        key: bytes,
        conversion: TwinConversion,
        forms: TwinForms,
        entry: TwinEntry | None,
        given: TwinCircumstances,
    ) -> TwinOutcome:
        if self._aim == "new_removed" and entry is None and given.is_first:
            # Nothing was made of it.
            return TwinOutcome(Verdict.NOTHING, TwinEntry(), forms.old, forms.new)
        outcome = verdict_on_twin(forms, entry, given)
        if self._aim == "old_removed" and not conversion.twin.keeps_old:
            stays = self._stood.outcome(key, conversion.twin.old, outcome, forms)
            return stays or without_old_value(outcome, is_lossless=conversion.is_lossless)
        if self._aim == "new_removed":
            return without_new_value(outcome, forms, is_lossless=conversion.is_back_lossless)
        return outcome

    def _circumstances(
        self, forms: Sequence[TwinForms], mark: TwinMark | None, rest: int
    ) -> TwinCircumstances:
        carries_back = self._aim in {"beside", "new_removed"}
        if forms[0].is_json:
            return TwinCircumstances(carries_back, self._is_first, lacks_old=True, lacks_new=True)
        if mark is not None and mark.rest != rest:
            return TwinCircumstances(carries_back, self._is_first, lacks_old=True, lacks_new=True)
        pairs = list(zip(forms, () if mark is None else mark.entries, strict=False))
        old = [form.old for form, entry in pairs if entry.old != NO_VALUE]
        new = [form.new for form, entry in pairs if entry.new != NO_VALUE]
        # A new value that goes anyway takes no old one along.
        lacks_new = self._aim == "new_removed" or _are_all_gone(new)
        return TwinCircumstances(carries_back, self._is_first, _are_all_gone(old), lacks_new)

    def _tell(self, key: bytes, forms: Sequence[TwinForms], outcomes: Sequence[TwinOutcome]) -> None:
        """List what the user has to know of a document."""
        decision, reasons, conflicts = self._decision, [], []
        for conversion, form, outcome in zip(self._conversions, forms, outcomes, strict=True):
            twin = conversion.twin
            if outcome.verdict is Verdict.OCCUPIED:
                reasons.append(occupied(twin.old, twin.new))
            if outcome.verdict is Verdict.UNCONVERTIBLE and self._aim != "new_removed":
                reasons.append(form.reason or "")
            if outcome.verdict is Verdict.ONLY_NEW and self._aim == "new_removed":
                reasons.append(WRITTEN_SINCE)
            if outcome.is_conflict:
                conflicts.append(conflict_between(twin.old, twin.new))
        if reasons:
            decision.failures.append(FailedDocument(key, "; ".join(dict.fromkeys(reasons))))
        if conflicts:
            decision.conflicts.append(FailedDocument(key, "; ".join(conflicts)))
        if any(outcome.is_deletion for outcome in outcomes):
            self.deletions.append(key)

    def _keep(self, key: bytes, before: TwinRow, outcomes: Sequence[TwinOutcome]) -> None:
        """Back up what goes although nothing else holds it."""
        kept: dict[bytes, TwinValue] = {}
        for at, (conversion, outcome) in enumerate(zip(self._conversions, outcomes, strict=True)):
            if outcome.lost is None:
                continue
            is_old = outcome.lost == "old"
            value = before[2 * at if is_old else 2 * at + 1]
            if value is not None:
                kept[encode(conversion.twin.old if is_old else conversion.twin.new)] = value
        if kept:
            content = {name: value.content for name, value in kept.items()}
            expiries = {name: value.expires_ms for name, value in kept.items() if value.expires_ms > 0}
            is_conflict = any(outcome.is_conflict for outcome in outcomes)
            self.lost.append(Replaced(key, Found(content, expiries=expiries), is_conflict))

    def _note_what_stood(
        self, key: bytes, forms: Sequence[TwinForms], outcomes: Sequence[TwinOutcome]
    ) -> None:
        """Back up which new values were there before the run: marks end with it.

        Where another value stands there than at the old path, both stay anyway.
        """
        for conversion, form, outcome in zip(self._conversions, forms, outcomes, strict=True):
            twin, entry = conversion.twin, outcome.entry
            if form.new is not None and not (twin.keeps_old or entry.is_made or entry.is_occupied):
                self.lost.append(as_it_stood(key, twin.new, form.new, is_alone=form.old is None))

    def _write(
        self,
        key: bytes,
        mark_key: bytes,
        before: TwinRow,
        after: TwinRow,
        mark: TwinMark | None,
        mark_after: TwinMark,
        outcomes: Sequence[TwinOutcome],
    ) -> None:
        """Add the commands for one document: what comes, then the mark, then what goes.

        A value that went before the mark would be taken for deleted by the application.
        """
        puts = list(self._places.puts(key, before, after))
        drops = list(self._places.drops(key, before, after))
        is_nothing = all(entry == TwinEntry() for entry in mark_after.entries)
        note: tuple[bytes, ...] | None = None
        if is_nothing and mark is not None:
            note = (b"DEL", mark_key)
        elif not is_nothing and mark != mark_after:
            note = (b"SET", mark_key, mark_after.encoded())
        counters = self._counters(before, after, outcomes)
        for counter in counters:
            setattr(self._decision.result, counter, getattr(self._decision.result, counter) + 1)
        if not (puts or drops):
            if note is not None and note[0] == b"SET":
                self._only_marks += note[1:]
            elif note is not None:
                self._decision.add((render(*note),), b"")
            return
        commands = [*puts, *([] if note is None else [note]), *drops]
        # Where nothing was, a value without a mark would be taken for somebody else's.
        made = [now if was is None else None for was, now in zip(before, after, strict=True)]
        undo = tuple(self._places.drops(key, made, [None] * len(made)))
        keys = tuple(dict.fromkeys(command[1] for command in commands))
        # Where only what is carried back is refused, the new value stands all the same.
        may_fail = self._aim == "beside" and before[1::2] == after[1::2]
        self._decision.documents.append(DocumentWrites(key, keys, commands, counters, may_fail, undo))

    def _counters(self, before: TwinRow, after: TwinRow, outcomes: Sequence[TwinOutcome]) -> tuple[str, ...]:
        """The attributes of the result that count a document."""
        counters = {_COUNTERS[outcome.verdict]: None for outcome in outcomes if outcome.verdict in _COUNTERS}
        for values, name in ((slice(1, None, 2), "written"), (slice(0, None, 2), "turned_back")):
            changes = list(zip(before[values], after[values], strict=True))
            if any(now is not None and now != was for was, now in changes):
                counters[name] = None
        if any(was is not None and now is None for was, now in zip(before, after, strict=True)):
            counters["removed"] = None
        if list(before) != list(after):
            counters["changed"] = None
            counters |= self._traffic(before, counters)
        return tuple(counters)

    def _traffic(self, before: TwinRow, counters: Mapping[str, None]) -> dict[str, None]:
        """As what a document counts that is brought in step, while no value is to go for good."""
        if self._aim not in {"beside", "serving"} or "removed" in counters:
            return {}
        is_born = "made_again" not in counters and not (any(before[::2]) and any(before[1::2]))
        return dict.fromkeys(("born",) if is_born else ("carried",))


def _are_all_gone(values: Sequence[TwinValue | None]) -> bool:
    """Whether a form of a document is gone at once, as where that was written as a whole without it."""
    return len(values) >= _FEWEST_OF_WHOLE and not any(values)


def conflict_between(old: str, new: str) -> str:
    """What is told of a document of which both values were written.

    Args:
        old: The old path.
        new: The new one.
    """
    return (
        f"both {readable(old)} and {readable(new)} were written by other clients; {readable(new)} stands, "
        f"{readable(old)} is in the backup"
    )
