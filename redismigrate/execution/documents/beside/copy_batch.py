"""Turns the verdicts on a batch of documents into the commands that carry them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.failures import FailedDocument
from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.copy_verdicts import (
    Circumstances,
    CopyOutcome,
    Verdict,
    once_moved,
    taken_back,
    verdict_on,
)
from redismigrate.execution.documents.beside.marks import Mark, are_equal
from redismigrate.execution.documents.beside.way_back import WayBack
from redismigrate.execution.documents.traffic.mirroring import Decision, DocumentWrites
from redismigrate.execution.documents.traffic.whole_documents import commands_between
from redismigrate.redis_server.wire import render
from redismigrate.schema.strict import readable

CopyAim = Literal["beside", "serving", "originals_removed", "copies_removed"]
_OCCUPIED = "a key %s exists already, and was not made by this migration"
_CONFLICT = (
    "both it and its copy %s were written by other clients; the copy stands, the original is in the backup"
)
_ALONE = "the application has written its copy %s, which can't be carried back: %s"
_STAY = "; both stay as they are"
_COUNTERS: Mapping[Verdict, tuple[str, ...]] = {
    Verdict.MADE_AGAIN: ("made_again",),
    Verdict.ONLY_NEW: ("only_new",),
    Verdict.ONLY_NEW_DELETED: ("only_new_deleted",),
}


class MarkedDocument(NamedTuple):
    """A document and what is remembered of it.

    Attributes:
        key: Of the original.
        mark_key: Of the mark.
        mark: As it was read; None where there is none.
    """

    key: bytes
    mark_key: bytes
    mark: bytes | None


class CopyBatch:
    """The decisions about some documents, while they are made.

    Args:
        aim: What should become of the documents, see `Copies`.
        given: What holds for all of them.
        way: From copies back to originals; None where nothing can be carried back.
        reported: The originals whose copies were reported as written.
        decision: Gets the commands.
        may_round: That way may give an original that is spelled otherwise.

    Attributes:
        replaced: What has to be on disk before the commands are sent.
        unproved: The documents that go, although nobody saw that they were deleted.
    """

    def __init__(
        self,
        aim: CopyAim,
        given: Circumstances,
        way: WayBack | None,
        reported: set[bytes],
        decision: Decision,
        *,
        may_round: bool = False,
    ) -> None:
        self.replaced: list[Replaced] = []
        self.unproved: list[bytes] = []
        self._aim = aim
        self._given = given
        self._way = way
        self._inexact = way if may_round else None
        self._reported = reported
        self._decision = decision
        self._only_marks: list[bytes] = []

    def add(
        self,
        document: MarkedDocument,
        target: bytes,
        original: Found,
        wanted: Found,
        copy: Found,
        reason: str | None,
    ) -> None:
        """Decide about one document.

        Args:
            document: Which, and its mark.
            target: The key of the copy.
            original: What is at its key.
            wanted: What the transform makes of that.
            copy: What is at the target.
            reason: Why there can be no copy of it; None where there can be.
        """
        decision, key = self._decision, document.key
        refused = original.refused or copy.refused
        if refused is not None:
            decision.failures.append(FailedDocument(key, refused))
            return
        is_unconvertible = reason is not None
        outcome = self._outcome(document, wanted, copy, self._given, is_unconvertible=is_unconvertible)
        outcome, before, alone = self._carried_back(outcome, document, original, wanted, copy)
        self._tell(key, target, outcome, reason)
        stays = self._aim == "copies_removed" and outcome.copy is None and copy.exists
        if alone is not None or (is_unconvertible and stays and document.mark is not None):
            self._tell_alone(document, target, alone, outcome, reason)
        if outcome.backs_up or self._would_be_lost(original, copy, outcome):
            self.replaced.append(Replaced(key, original, outcome.is_conflict))
        copy_changes = [] if outcome.copy is None else commands_between(target, copy, outcome.copy)
        changes = [] if before is None else commands_between(key, original, before)
        counters = list(_COUNTERS.get(outcome.verdict, ()))
        if copy_changes and outcome.copy is not None:
            counters.append("removed" if outcome.copy.document is None else "written")
        if changes or copy_changes:
            counters += self._traffic(outcome, original, copy, before)
        if changes:
            counters += ("removed" if self._aim == "originals_removed" else "turned_back", "changed")
        # A copy that can't be carried back stands all the same.
        may_fail = self._aim == "beside" and not copy_changes
        # What goes goes last: the first refusal leaves what comes behind it as it is. An original goes even
        # after the note of that, or else its absence would say that the application has deleted it.
        is_copy_last = outcome.copy is not None and outcome.copy.document is None
        is_noted_first = outcome.mark is not None and before is not None and before.document is None
        if is_noted_first:
            commands, last = copy_changes, changes
        else:
            commands, last = [*changes, *copy_changes] if is_copy_last else [*copy_changes, *changes], []
        # Where nothing was, half a copy would be taken for somebody else's.
        is_new = not copy.exists and outcome.copy is not None
        undo = ((b"DEL", target),) if is_new else ()
        self._write(document, commands, outcome.mark, tuple(counters), last, undo, may_fail=may_fail)

    def _carried_back(
        self, outcome: CopyOutcome, document: MarkedDocument, original: Found, wanted: Found, copy: Found
    ) -> tuple[CopyOutcome, Found | None, Found | None]:
        """What becomes of a document, what its original should be, and the copy that can't be carried back.

        Args:
            outcome: What becomes of it where that can be.
            document: Which; of an original from which no copy can be made nothing is carried back.
            original: As `add` gets it.
            wanted: As `add` gets it.
            copy: As `add` gets it.
        """
        before = outcome.original
        if before is None or before.document is None:
            is_alone = outcome.verdict is Verdict.ONLY_NEW and self._given.carries_back
            return outcome, before, copy if is_alone else None
        made = None if self._way is None else self._way.original_of(before)
        if made is None:
            given = replace(self._given, carries_back=False)
            return self._outcome(document, wanted, copy, given, is_unconvertible=False), None, before
        if self._inexact is not None:
            made = self._inexact.with_unchanged(made, before, original)
            outcome = self._up_to_date(outcome, copy, self._inexact.copy_of(made))
        return outcome, made, None

    def _up_to_date(self, outcome: CopyOutcome, copy: Found, wanted: Found) -> CopyOutcome:
        """The outcome with a copy that remembers nothing of values that the application has replaced.

        The mark is of the text that the transform makes, not of the one that the application has written.
        """
        left = copy if outcome.copy is None else outcome.copy
        if wanted.document is None or left.document is None or outcome.mark is None:
            return outcome
        mark = Mark.of(
            self._given.fence, wanted, is_made=outcome.mark.is_made, is_carried=outcome.mark.is_carried
        )
        if are_equal(wanted.document, left.document):
            return replace(outcome, mark=mark)
        return replace(outcome, copy=wanted, mark=mark)

    def _would_be_lost(self, original: Found, copy: Found, outcome: CopyOutcome) -> bool:
        """Whether an original goes of which the copy does not tell all."""
        if self._aim != "originals_removed" or outcome.original is None or self._inexact is None:
            return False
        left = copy if outcome.copy is None else outcome.copy
        return outcome.original.document is None and not self._inexact.tells_all(original, left)

    def finish(self) -> Decision:
        """Add the marks of documents that are written no more than that."""
        if self._only_marks:
            self._decision.add((render(b"MSET", *self._only_marks),), b"")
        return self._decision

    def _traffic(
        self, outcome: CopyOutcome, original: Found, copy: Found, before: Found | None
    ) -> tuple[str, ...]:
        """As what a document counts whose forms are brought in step, while none of them is to go for good."""
        changes = ((copy, outcome.copy), (original, before))
        written = [(now, then) for now, then in changes if then is not None]
        if self._aim not in {"beside", "serving"} or any(then.document is None for _, then in written):
            return ()
        is_born = outcome.verdict is not Verdict.MADE_AGAIN and not all(now.exists for now, _ in written)
        return ("born",) if is_born else ("carried",)

    def _outcome(
        self,
        document: MarkedDocument,
        wanted: Found,
        copy: Found,
        given: Circumstances,
        *,
        is_unconvertible: bool,
    ) -> CopyOutcome:
        mark = Mark.decoded(document.mark)
        was_reported = document.key in self._reported
        outcome = verdict_on(
            wanted, copy, mark, given, is_unconvertible=is_unconvertible, was_reported=was_reported
        )
        if self._aim == "originals_removed":
            return once_moved(wanted, copy, outcome, given)
        if self._aim == "copies_removed":
            return taken_back(wanted, copy, mark, outcome)
        return outcome

    def _tell(self, key: bytes, target: bytes, outcome: CopyOutcome, reason: str | None) -> None:
        """List what the user has to know of a document."""
        decision = self._decision
        if reason is not None and self._aim != "copies_removed":
            decision.failures.append(FailedDocument(key, reason))
        if outcome.verdict is Verdict.OCCUPIED:
            decision.failures.append(FailedDocument(key, _OCCUPIED % readable(target)))
        if outcome.is_conflict:
            decision.conflicts.append(FailedDocument(key, conflict_with(target)))
        if not outcome.is_proved:
            self.unproved.append(key)

    def _tell_alone(
        self,
        document: MarkedDocument,
        target: bytes,
        copy: Found | None,
        outcome: CopyOutcome,
        reason: str | None,
    ) -> None:
        """List a document whose original can't get what the application has written to its copy.

        Args:
            document: Which.
            target: The key of the copy.
            copy: That could not be carried back; None where nothing was tried, as the original has no copy.
            outcome: What becomes of it.
            reason: Why it has none.
        """
        why = reason if copy is None or self._way is None else self._way.why_not(copy)
        told = FailedDocument(document.key, _ALONE % (readable(target), why))
        if self._aim != "copies_removed":
            self._decision.alone.append(told)
        elif not outcome.is_conflict:
            self._decision.failures.append(replace(told, reason=told.reason + _STAY))

    def _write(
        self,
        document: MarkedDocument,
        commands: list[tuple[bytes, ...]],
        mark: Mark | None,
        counters: tuple[str, ...],
        last: Sequence[tuple[bytes, ...]] = (),
        undo: tuple[tuple[bytes, ...], ...] = (),
        *,
        may_fail: bool = False,
    ) -> None:
        """Add the commands for one document, then its mark, and then what has to wait for that."""
        remembered = None if mark is None else mark.encoded()
        # Not by its bytes: the server may name the fields of a hash in another order the next time.
        is_other = mark != Mark.decoded(document.mark)
        for counter in counters:
            setattr(self._decision.result, counter, getattr(self._decision.result, counter) + 1)
        if is_other and remembered is not None and not (commands or last):
            self._only_marks += (document.mark_key, remembered)
            return
        if is_other:
            note = (b"DEL",) if remembered is None else (b"SET",)
            commands.append((*note, document.mark_key, *(() if remembered is None else (remembered,))))
        commands += last
        if commands:
            keys = tuple(dict.fromkeys(command[1] for command in commands))
            self._decision.documents.append(
                DocumentWrites(document.key, keys, commands, counters, may_fail, undo)
            )


def conflict_with(target: bytes) -> str:
    """What is told of a document of which both forms were written.

    Args:
        target: The key of its copy.
    """
    return _CONFLICT % readable(target)
