"""A second form of values at other paths of the same documents: renamed ones, and vectors with a second path.

Beside every document stands a mark: a string among the state's keys that remembers both values of every twin
as they were when they were last in step. So a look that finds both as they were is over at once, and whatever
else it finds is somebody's change, whose is known. `twin_verdicts` says what becomes of it, `twin_batch` how
that is carried out. Marks end with their run, see `mark_store`.

A value that goes because the other one is gone is on disk before. All the same only few may, as `Removals`
counts: no server tells a field that was deleted from one that was lost when a release that does not know it
has written the document as a whole, just as it was. Where all documents are written so, each such write would
cost a value. Where anything else of the document has changed with it, the value comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.failures import FailedDocument
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.beside.replaced import KeepReplaced
from redismigrate.execution.documents.beside.stood_before import StoodBefore
from redismigrate.execution.documents.beside.twin_batch import TwinAim, TwinBatch
from redismigrate.execution.documents.beside.twin_conversions import TwinConversion
from redismigrate.execution.documents.beside.twin_marks import (
    TwinMark,
    digest_of_twin,
)
from redismigrate.execution.documents.beside.twin_places import (
    FoundRow,
    TwinPlaces,
    places_in,
)
from redismigrate.execution.documents.beside.twin_verdicts import TwinForms
from redismigrate.execution.documents.traffic.aside import Aside, NotMadeYet
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import Decision, WithinDocuments
from redismigrate.redis_server.wire import raise_refusal, render
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode


def _keep_no_value(lost: Sequence[Replaced]) -> None:
    """Where there is no backup nothing may go that nothing else holds."""
    raise ValueError(f"a value of {lost[0].key!r} would go without a backup")


@dataclass(frozen=True)
class TwinValues(WithinDocuments):
    """The mirror whose second forms are values at other paths of the same documents.

    Attributes:
        schema: Tells the documents: its prefixes and storage type. FILTER is not looked at.
        conversions: The twins, and both ways between their values. At least one.
        mark_prefix: Of the keys of marks; one of the state's that nobody else uses.
        aim: What should become of the documents.
            "beside": both values in step; what is written at a new path is carried back.
            "serving": likewise, and what is written at a new path stays there.
            "old_removed": as "serving", and no old value beside a new one, but where the twin keeps it.
            "new_removed": as "beside", and no new value that was made here.
        is_first: Not all documents have been looked at yet: what is at a new path without a mark was there
            before. Else it was written since.
        excluded_prefixes: Of keys that are no documents of this mirror.
        keep: Backs up what goes although nothing else holds it.
        removals: How many values may go because the other one is gone.
        stood: The old values that stood there before the run that is undone, and stay where old ones go.
        notes_stood: Back up which documents have a value at a new path before the run.
    """

    schema: IndexSchema
    conversions: tuple[TwinConversion, ...]
    mark_prefix: bytes
    aim: TwinAim = "beside"
    is_first: bool = False
    excluded_prefixes: tuple[str, ...] = ()
    keep: KeepReplaced = _keep_no_value
    removals: Removals = field(default_factory=Removals)
    stood: StoodBefore = field(default_factory=StoodBefore)
    notes_stood: bool = False

    @property
    def is_slow(self) -> bool:
        """Whether one of the conversions is."""
        return any(conversion.is_slow for conversion in self.conversions)

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The marks, and both values of every twin."""
        commands, count = self._places.reads(keys)
        return render(b"MGET", *map(self._mark, keys)) + commands, 1 + count

    def prepare(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> None:
        """Convert what is out of step."""
        rows, marks = self._look(keys, replies, reader)
        self._forms(rows, marks, reader.aside)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Compare old values, new ones and marks; say what has to be written, removed and remembered.

        Raises:
            BackupError: What goes can't be backed up.
            NotMadeYet: A slow conversion has to run first.
            RunInterrupted: More values would go than may be taken for deleted.
        """
        rows, marks = self._look(keys, replies, reader)
        try:
            forms = self._forms(rows, marks, reader.aside)
        except NotMadeYet:
            # All of them, and not what is missing first: one more would be one more reading.
            raise NotMadeYet(partial(self._forms, rows, marks, reader.aside)) from None
        decision = Decision()
        decision.size_bytes = sum(
            len(key) + sum(len(value.content) for value in row.values if value is not None)
            for key, row in zip(keys, rows, strict=True)
        )
        batch = TwinBatch(
            self.aim, self.conversions, self._places, decision, self.stood, is_first=self.is_first
        )
        batch.notes_stood = self.notes_stood and self.is_first and self.aim == "beside"
        for at, key in enumerate(keys):
            if (refused := rows[at].refused) is not None:
                decision.failures.append(FailedDocument(key, refused))
                continue
            decision.result.documents += any(value is not None for value in rows[at].values)
            batch.add(key, self._mark(key), [column[at] for column in forms], marks[at], rows[at].rest)
        for key in batch.deletions:
            self.removals.count(key)
        if batch.lost:
            self.keep(batch.lost)
        return batch.finish()

    def _look(
        self, keys: Sequence[bytes], replies: list[Any], reader: Reader
    ) -> tuple[list[FoundRow], list[TwinMark | None]]:
        marks, *found = replies
        raise_refusal(marks)
        count = len(self.conversions)
        return self._places.rows(keys, found, reader), [TwinMark.decoded(mark, count) for mark in marks]

    def _forms(
        self, rows: Sequence[FoundRow], marks: Sequence[TwinMark | None], aside: Aside
    ) -> list[list[TwinForms]]:
        """The forms of every twin, document by document.

        Raises:
            NotMadeYet: A slow conversion has to run first.
        """
        columns = []
        for at, conversion in enumerate(self.conversions):
            pairs = [(row.values[2 * at], row.values[2 * at + 1]) for row in rows]
            wanted = [
                self.aim == "new_removed"
                or known is None
                or (digest_of_twin(old), digest_of_twin(new)) != known.entries[at][:2]
                for (old, new), known in zip(pairs, marks, strict=True)
            ]
            columns.append(conversion.forms_of(pairs, wanted, aside))
        return columns

    @cached_property
    def _places(self) -> TwinPlaces:
        paths = (path for each in self.conversions for path in (each.twin.old, each.twin.new))
        return places_in(self.schema.storage_type, tuple(map(encode, paths)))

    def _mark(self, key: bytes) -> bytes:
        return self.mark_prefix + key
