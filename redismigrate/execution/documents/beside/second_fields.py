"""A second form of vectors in fields of their own, beside the declared ones in the same documents.

The declared field holds the old form, the second field the new one, and an index over each finds all
documents. Once the old index is gone the new form moves to the declared path, and the second fields go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

from redismigrate.documents.columns import Column, FixedWidth
from redismigrate.documents.failures import WRITTEN_SINCE, FailedDocument
from redismigrate.execution.documents.beside.growing_backup import GrowingBackup
from redismigrate.execution.documents.beside.second_forms import (
    FieldAim,
    Forms,
    SecondField,
    forms_of,
    lost_values,
)
from redismigrate.execution.documents.traffic.aside import Aside, NotMadeYet
from redismigrate.execution.documents.traffic.decisions import ADDED, Reader
from redismigrate.execution.documents.traffic.expiries import NO_SUCH_FIELD, let_expire, read_expiries
from redismigrate.execution.documents.traffic.mirroring import Decision, WithinDocuments
from redismigrate.execution.documents.traffic.value_store import HASH_FIELDS, ValueStore, store_of
from redismigrate.redis_server.wire import is_of_another_type, raise_refusal
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode


class _Looked(NamedTuple):
    """What a look at some documents comes to.

    Attributes:
        pairs: What both forms of every field hold, column by column.
        wanted: What they should hold.
        lost: Hash field -> what is about to be lost; nothing where nobody wants that.
        is_first: All of them get a second form, have none yet, and stay else as they are.
    """

    pairs: Sequence[tuple[Column, Column]]
    wanted: Sequence[Forms]
    lost: Mapping[str, Column]
    is_first: bool


@dataclass(frozen=True)
class SecondFields(WithinDocuments):
    """The mirror whose second forms are fields in the same hash, or members in the same JSON document.

    A declared value as long as the old form is the truth, and the second one follows it. One as long as the
    new form was written by a client that knows no other: it becomes the second form, and the declared field
    gets what the way back makes of it, so that both indexes keep the document. Where both forms have one
    width, a declared value always counts as the old form. A document of which one vector can't be converted
    has no second form at all.

    Attributes:
        schema: Tells the documents: its prefixes and their type. FILTER is not looked at.
        fields: The second forms.
        aim: What the documents should become.
            "beside": old form declared, new form beside it.
            "promoted": new form declared and beside it, for a search that still reads the second field.
                Where both forms have one width a second field must be there as long as this goes on, and
                nobody may write the new form at the declared path meanwhile.
            "removed": no second field, and the new form declared as far as the length tells. Documents for
                which that is impossible are no failures any more: they were told before.
            "reverted": no second field, and the old form declared where there is a way back.
        excluded_prefixes: Of keys that are no documents of this mirror.
        originals: Gets what is about to be lost; None where nobody wants it.
    """

    schema: IndexSchema
    fields: tuple[SecondField, ...]
    aim: FieldAim = "beside"
    excluded_prefixes: tuple[str, ...] = ()
    originals: GrowingBackup | None = None

    def close(self) -> None:
        """End the backup that grows with what is replaced."""
        if self.originals is not None:
            self.originals.close()

    @property
    def is_slow(self) -> bool:
        """Whether one of the transforms is."""
        return any(field.is_slow for field in self.fields)

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """Both forms of every field."""
        return self._store.reads(keys, self._names)

    def prepare(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> None:
        """Convert what was read, as far as the decision asks for it."""
        _, rows = self._documents(keys, replies)
        self._look(rows, reader.aside)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Write what differs, once what that replaces is on disk; give both forms one time to live.

        Raises:
            BackupError: What is replaced can't be backed up.
            NotMadeYet: A slow transform has to run first.
        """
        decision = Decision()
        keys, rows = self._documents(keys, replies)
        expires = reader.fields_expire and self._store is HASH_FIELDS
        expiries = self._read_expiries(keys, rows, reader) if expires else None
        try:
            pairs, wanted, lost, is_first = self._look(rows, reader.aside)
        except NotMadeYet:
            # The whole look, and not what it lacks first: one more of a field would be one more reading.
            raise NotMadeYet(partial(self._look, rows, reader.aside)) from None
        result = decision.result
        declared = [column for column, _ in pairs]
        result.documents = sum(any(value is not None for value in row) for row in zip(*declared, strict=True))
        for forms in wanted:
            result.turned_back += len(forms.turned_back)
            result.only_new += len(forms.only_new)
            if self.aim == "reverted":
                decision.failures += [FailedDocument(keys[row], WRITTEN_SINCE) for row in forms.only_new]
            decision.failures += [FailedDocument(keys[row], reason) for row, reason in forms.problems.items()]
        decision.size_bytes = len(keys) * self._document_bytes
        if is_first and expiries is None:
            self._write_first(decision, keys, wanted[0].second)
            return decision
        if self.originals is not None and not is_first:
            self.originals.keep(keys, lost, self._replacing(pairs, wanted, lost))
        now = [column for pair in pairs for column in pair]
        then = [column for forms in wanted for column in (forms.declared, forms.second)]
        for row, key in enumerate(keys):
            moments = None if expiries is None else expiries[row]
            before, after = [column[row] for column in now], [column[row] for column in then]
            self._write(decision, key, before, after, moments)
        return decision

    def _look(self, rows: list[list[bytes | None]], aside: Aside) -> _Looked:
        """All that takes a transform.

        Raises:
            NotMadeYet: A slow one has to run first.
        """
        columns: list[Column] = [list(column) for column in zip(*rows, strict=True)] if rows else []
        columns = columns or [[] for _ in self._names]
        pairs = list(zip(columns[::2], columns[1::2], strict=True))
        fields = [field.remembering(aside) for field in self.fields]
        wanted = [
            forms_of(field, self.aim, declared, second)
            for field, (declared, second) in zip(fields, pairs, strict=True)
        ]
        _leave_whole(wanted, [column for column, _ in pairs])
        if len(wanted) == 1 and _is_first(wanted[0], *pairs[0]):
            return _Looked(pairs, wanted, {}, is_first=True)
        lost: dict[str, Column] = {}
        if self.originals is not None:
            lost = {
                field.recoding.path: lost_values(field, *pair, forms)
                for field, pair, forms in zip(fields, pairs, wanted, strict=True)
            }
        return _Looked(pairs, wanted, lost, is_first=False)

    def _replacing(
        self, pairs: Sequence[tuple[Column, Column]], wanted: Sequence[Forms], lost: Mapping[str, Column]
    ) -> Mapping[str, Column]:
        """What replaces originals at the declared paths for good; None where nothing is to be undone."""
        if self.aim not in {"promoted", "removed"}:
            return {}
        replacing: dict[str, list[bytes | None]] = {}
        for field, (declared, _), forms in zip(self.fields, pairs, wanted, strict=True):
            is_old_form, path = field.recoding.is_old_form, field.recoding.path
            replacing[path] = [
                new if value is not None and value == now and is_old_form(value) and new != now else None
                for value, now, new in zip(lost[path], declared, forms.declared, strict=True)
            ]
            # What a client of the new form has written is not the run's own.
            for row in forms.kept:
                replacing[path][row] = None
        return replacing

    def _write_first(self, decision: Decision, keys: Sequence[bytes], column: Column) -> None:
        """Add the commands for documents that had no second form of their one vector yet, in a few blocks."""
        if isinstance(column, FixedWidth):
            decision.write_all(keys, self._names[1], column, ADDED)
            decision.counters = ("documents", "written", "born", "changed")
        decision.result.written += len(keys)
        decision.result.born += len(keys)
        decision.result.changed += len(keys)

    @property
    def _store(self) -> ValueStore:
        return store_of(self.schema.storage_type)

    def _documents(
        self, keys: Sequence[bytes], replies: list[Any]
    ) -> tuple[Sequence[bytes], list[list[bytes | None]]]:
        """The documents with their values, without keys of other types."""
        rows = self._store.rows(replies, len(self._names))
        if not any(isinstance(row, Exception) for row in rows):
            return keys, list(rows)
        raise_refusal(*(row for row in rows if not is_of_another_type(row)))
        found = [(key, row) for key, row in zip(keys, rows, strict=True) if isinstance(row, list)]
        return [key for key, _ in found], [row for _, row in found]

    @cached_property
    def _names(self) -> tuple[bytes, ...]:
        """The declared and the second name of every field, by turns."""
        return tuple(encode(name) for field in self.fields for name in (field.recoding.path, field.name))

    @cached_property
    def _document_bytes(self) -> int:
        return sum(field.recoding.bytes_before + field.recoding.bytes_after for field in self.fields)

    def _read_expiries(
        self, keys: Sequence[bytes], rows: list[list[bytes | None]], reader: Reader
    ) -> list[list[int]]:
        """When every field expires; what has gone by now is taken out of the rows."""
        expiries = read_expiries(reader, keys, self._names)
        for row, moments in zip(rows, expiries, strict=True):
            for at, moment in enumerate(moments):
                if moment == NO_SUCH_FIELD:
                    row[at] = None
        return expiries

    def _write(
        self,
        decision: Decision,
        key: bytes,
        now: Column,
        then: Column,
        moments: list[int] | None,
    ) -> None:
        """Add the commands for one document, one after the other: all of them are done, or none."""
        if now == then and moments is None:
            return
        changes = [(name, new) for name, old, new in zip(self._names, now, then, strict=True) if new != old]
        written = [(name, new) for name, new in changes if new is not None]
        gone = [name for name, new in changes if new is None]
        for command in self._store.changes(key, written, gone):
            decision.write(*command)
        names = {name for name, _ in written}
        result = decision.result
        result.changed += bool(changes)
        result.removed += bool(gone)
        result.written += not names.isdisjoint(self._names[1::2])
        if self.aim == "beside" and names:
            is_born = any(then[1::2]) and not any(now[1::2])
            result.born += is_born
            result.carried += not is_born
        if self.aim in {"promoted", "removed"}:
            result.converted += not names.isdisjoint(self._names[::2])
        if moments is not None:
            self._keep_expiries(decision, key, now, then, moments)

    def _keep_expiries(
        self, decision: Decision, key: bytes, now: Column, then: Column, moments: list[int]
    ) -> None:
        """Let both forms expire when the declared one was to."""
        for at, (name, old, new) in enumerate(zip(self._names, now, then, strict=True)):
            if new is None:
                continue
            wanted = moments[at - at % 2]
            for words in let_expire(key, name, moments[at], wanted, is_written=new != old):
                decision.write(*words)


def _leave_whole(wanted: Sequence[Forms], declared: Sequence[Column]) -> None:
    """Leave documents of which a vector can't be converted without any second form.

    The backup has none of their values, so those that could be converted would be lost with that.
    """
    rows = set().union(*(forms.problems for forms in wanted))
    if not rows or len(wanted) == 1:
        return
    for forms, column in zip(wanted, declared, strict=True):
        if rows <= forms.problems.keys():
            continue
        forms.declared = [
            value if row in rows else new
            for row, (value, new) in enumerate(zip(column, forms.declared, strict=True))
        ]
        forms.second = [None if row in rows else new for row, new in enumerate(forms.second)]
        forms.turned_back = [row for row in forms.turned_back if row not in rows]
        forms.only_new = [row for row in forms.only_new if row not in rows]


def _is_first(forms: Forms, declared: Column, second: Column) -> bool:
    """Whether all documents of a batch get a second form, have none yet, and stay else as they are."""
    return (
        forms.declared is declared
        and isinstance(forms.second, FixedWidth)
        and all(value is None for value in second)
    )
