"""A second form of documents as documents of their own, under another prefix.

Beside every copy stands a mark: a string among the state's keys that remembers both forms as they were when
they were last in step. It makes of every synchronisation a three-way comparison that survives any crash,
since what is written and the mark of it are one step of the server. `copy_verdicts` says what becomes of a
document, `copy_batch` how that is carried out. Marks end with their run, see `mark_store`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.failures import FailedDocument
from redismigrate.documents.storage_transform import StoreDocuments
from redismigrate.documents.whole import NEVER, Found
from redismigrate.documents.whole_transform import Documents
from redismigrate.execution.documents.beside.copy_batch import CopyAim, CopyBatch, MarkedDocument
from redismigrate.execution.documents.beside.copy_verdicts import Circumstances
from redismigrate.execution.documents.beside.mark_store import marked
from redismigrate.execution.documents.beside.marks import Mark, encoded_first_mark, rendered
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.beside.replaced import KeepReplaced
from redismigrate.execution.documents.beside.way_back import WayBack
from redismigrate.execution.documents.traffic.aside import TransformDocuments
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.found import NO_EXPIRIES, found_at
from redismigrate.execution.documents.traffic.mirroring import Decision, DocumentWrites
from redismigrate.execution.documents.traffic.whole_documents import (
    commands_between,
    reading_commands,
    render_first_hash,
)
from redismigrate.execution.indexes.live import KEY_TYPES, batches_of_keys, types_of
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import raise_refusal, render, render_for_keys
from redismigrate.schema import IndexSchema
from redismigrate.schema.fields import StorageType
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode

_KEYS_PER_PORTION = 1000
_TIME = render(b"TIME")
_ABSENT = Found()
# What counts a document that had no copy yet.
_MADE = ("written", "born")


def _keep_nothing(originals: Sequence[Replaced]) -> None:
    """Where there is no backup nothing may be replaced that nothing else holds."""
    raise ValueError(f"{originals[0].key!r} would be replaced without a backup")


@dataclass(frozen=True)
class Copies:
    """The mirror whose second forms are copies under another prefix.

    Attributes:
        schema: Of the originals; FILTER is not looked at.
        storage_type: Of the copies.
        prefixes: What the beginning of an original's key becomes. No old prefix may begin with a new one, nor
            a new one with an old one.
        transform: Makes the contents of copies.
        mark_prefix: Of the keys of marks; one of the state's that nobody else uses.
        aim: What should become of the documents.
            "beside": a copy in step beside every original; what is written to a copy is carried back.
            "serving": a copy in step beside every original; what is written to a copy stays there.
            "originals_removed": as "serving", and no original of which there is a copy.
            "copies_removed": as "beside", and no copy that was made here.
        back: Makes the contents of originals out of those of copies; None where nothing can be carried back.
        fence: Of this process, as it stands in marks.
        removals: What may go because its other form is gone.
        keep: Backs up originals before they are replaced by what is in none of their copies.
        reported: The originals whose copies were reported as written, and not synchronised since.
        may_round: A value may come back otherwise than it was when it is transformed there and back.
        is_slow: The transforms take longer than keys should be watched: they run before that, at the price of
            reading twice. They are asked once about the same content of a batch.
    """

    schema: IndexSchema
    storage_type: StorageType
    prefixes: tuple[PrefixChange, ...]
    transform: TransformDocuments
    mark_prefix: bytes
    aim: CopyAim = "beside"
    back: TransformDocuments | None = None
    fence: bytes = bytes(6)
    removals: Removals = field(default_factory=Removals)
    keep: KeepReplaced = _keep_nothing
    reported: set[bytes] = field(default_factory=set)
    is_slow: bool = False
    may_round: bool = False

    @property
    def tracked(self) -> tuple[bytes, ...]:
        """The prefixes of the originals, whose writes the server reports."""
        return KeyPrefixes.of(change.old for change in self.prefixes).outermost

    @property
    def tracked_second(self) -> tuple[bytes, ...]:
        """The new prefixes, as long as what is written there is carried back."""
        if self.aim != "beside" or self.back is None:
            return ()
        return KeyPrefixes.of(change.new for change in self.prefixes).outermost

    def covers(self, key: bytes) -> bool:  # noqa: ARG002 - every key with an old prefix may be an original
        """Always: every key with an old prefix may be an original."""
        return True

    def report_second(self, keys: Iterable[bytes], unfinished: Collection[bytes]) -> Iterable[bytes]:
        """Remember that copies were written; the keys of their originals."""
        self.reported.intersection_update(unfinished)
        originals = [self._original_of(key) for key in keys]
        found = [key for key in originals if key is not None]
        self.reported.update(found)
        return found

    def target(self, key: bytes) -> bytes:
        """What the copy of an original is called."""
        for change in self.prefixes:
            old = encode(change.old)
            if key.startswith(old):
                return encode(change.new) + key[len(old) :]
        raise ValueError(f"{key!r} has none of the old prefixes")

    def keys(self, server: Server) -> Iterator[Sequence[bytes]]:
        """The originals of marked copies that are there no more, then all originals.

        For "copies_removed" the originals of all marked copies.

        Raises:
            RunInterrupted: More of them are gone than may be taken for deleted.
        """
        if self.aim == "copies_removed":
            self._require_few_gone(server)
            yield from marked(server, self.mark_prefix)
            return
        yield from self._require_few_gone(server)
        old = tuple(change.old for change in self.prefixes)
        yield from batches_of_keys(server, self.schema.with_options(prefixes=old), _KEYS_PER_PORTION)

    def watched(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """The keys that are watched for a batch: of originals and of their copies."""
        return [*keys, *self._targets(keys)]

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The originals, the marks, and whether there is any copy."""
        commands = (
            render(b"EXISTS", *self._targets(keys)),
            render(b"MGET", *map(self._mark, keys)),
            reading_commands(self.schema.storage_type, keys),
            render_for_keys(b"PEXPIRETIME", keys, ()),
        )
        return b"".join(commands), 2 + 2 * len(keys)

    def prepare(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> None:
        """Make the copies of what was read."""
        self._wanted(found_at(self.schema.storage_type, keys, replies[2:], reader), reader)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Compare originals, copies and marks; say what has to be written, removed and remembered.

        Raises:
            NotMadeYet: A slow transform has to run first.
            RunInterrupted: More would be removed than may be taken for deleted.
        """
        existing, marks, *rest = replies
        raise_refusal(existing, marks)
        originals = found_at(self.schema.storage_type, keys, rest, reader)
        decision = Decision()
        decision.size_bytes = sum(map(_size, rest[: len(keys)]))
        decision.result.documents = sum(original.document is not None for original in originals)
        wanted, reasons = self._wanted(originals, reader)
        targets = self._targets(keys)
        if self.aim in {"beside", "serving"} and not existing and marks.count(None) == len(keys):
            self._make_all(decision, keys, targets, wanted, reasons)
            return decision
        copies = [_ABSENT] * len(keys)
        if existing:
            commands = reading_commands(self.storage_type, targets) + render_for_keys(
                b"PEXPIRETIME", targets, ()
            )
            copies = found_at(self.storage_type, targets, reader.ask(commands, 2 * len(keys)), reader)
            self._round(copies, wanted)
        needs_proof = any(
            mark is not None and not (original.exists and copy.exists)
            for mark, original, copy in zip(marks, originals, copies, strict=True)
        )
        given = self._circumstances(reader, needs_proof=needs_proof)
        batch = CopyBatch(
            self.aim,
            given,
            self._way_back(reader),
            self.reported,
            decision,
            may_round=self.may_round,
        )
        for row, key in enumerate(keys):
            mark = MarkedDocument(key, self._mark(key), marks[row])
            batch.add(mark, targets[row], originals[row], wanted[row], copies[row], reasons.get(row))
        for key in batch.unproved:
            self.removals.count(key)
        if batch.replaced:
            self.keep(batch.replaced)
        return batch.finish()

    def _round(self, copies: Sequence[Found], wanted: Sequence[Found]) -> None:
        """Compare what the application has written to copies in the digits that originals have, too."""
        if isinstance(self.transform, StoreDocuments):
            for copy, want in zip(copies, wanted, strict=True):
                if copy.document != want.document:
                    copy.document = self.transform.rounded(copy.document)

    def _make_all(
        self,
        decision: Decision,
        keys: Sequence[bytes],
        targets: list[bytes],
        wanted: list[Found],
        reasons: Mapping[int, str],
    ) -> None:
        """The first pass meets nothing at all where copies go, so there is nothing to compare."""
        marks: list[bytes] = []
        owners: list[bytes] = []
        for row, (key, target, want) in enumerate(zip(keys, targets, wanted, strict=True)):
            document = want.document
            if row in reasons:
                decision.failures.append(FailedDocument(key, reasons[row]))
            if document is None:
                continue
            decision.result.written += 1
            decision.result.born += 1
            if isinstance(document, dict) and want.expires_ms == NEVER and not want.expiries:
                fields = rendered(document.items())
                decision.pieces += render_first_hash(target, fields, len(document))
                owners.append(key)
                marks += (self._mark(key), encoded_first_mark(self.fence, fields, document))
                continue
            commands = commands_between(target, _ABSENT, want)
            commands.append((b"SET", self._mark(key), Mark.of(self.fence, want).encoded()))
            touched = (target, self._mark(key))
            undo = ((b"DEL", target),)
            decision.documents.append(DocumentWrites(key, touched, commands, _MADE, undo=undo))
        if marks:
            decision.pieces.append(render(b"MSET", *marks))
            owners.append(b"")
        decision.commands, decision.owners = len(owners), owners
        decision.forget, decision.counters = self._forgotten, _MADE

    def _forgotten(self, key: bytes) -> bytes:
        return render(b"DEL", self._mark(key))

    def _wanted(self, originals: Sequence[Found], reader: Reader) -> tuple[list[Found], dict[int, str]]:
        """The copies as the originals ask for them; row -> why there can't be one."""
        wanted = [Found(is_of_another_type=original.is_of_another_type) for original in originals]
        reasons = {row: original.refused for row, original in enumerate(originals) if original.refused}
        rows = [row for row, original in enumerate(originals) if original.document is not None]
        moments = {at: dict(expiries) for at, row in enumerate(rows) if (expiries := originals[row].expiries)}
        transform = self._slowly(self.transform, reader)
        documents = transform(Documents([originals[row].document for row in rows], moments))
        for at, (row, document) in enumerate(zip(rows, documents.contents, strict=True)):
            if document is not None:
                expiries = documents.expiries.get(at, NO_EXPIRIES) if moments else NO_EXPIRIES
                wanted[row] = Found(document, originals[row].expires_ms, expiries)
        return wanted, reasons | {rows[at]: reason for at, reason in documents.failures}

    def _way_back(self, reader: Reader) -> WayBack | None:
        if self.back is None:
            return None
        if self.may_round:
            # Many attempts at one document, of which each would have to be made with nothing watched.
            return WayBack(self.transform, self.back, self.storage_type == "json")
        return WayBack(self._slowly(self.transform, reader), self._slowly(self.back, reader))

    def _slowly(self, transform: TransformDocuments, reader: Reader) -> TransformDocuments:
        """The transform; one that is slow takes what it made while nothing was watched."""
        return reader.aside.of(transform) if self.is_slow else transform

    def _circumstances(self, reader: Reader, *, needs_proof: bool) -> Circumstances:
        (moment,) = reader.ask(_TIME, 1)
        raise_refusal(moment)
        seconds, microseconds = map(int, moment)
        return Circumstances(
            self.fence,
            seconds * 1000 + microseconds // 1000,
            carries_back=self.aim in {"beside", "copies_removed"} and self.back is not None,
            nothing_evicted=not needs_proof or self.removals.nothing_evicted(reader),
        )

    def _targets(self, keys: Sequence[bytes]) -> list[bytes]:
        if len(self.prefixes) > 1:
            return list(map(self.target, keys))
        (change,) = self.prefixes
        new, length = encode(change.new), len(encode(change.old))
        return [new + key[length:] for key in keys]

    def _original_of(self, key: bytes) -> bytes | None:
        """What the original of a copy is called; None where the key has none of the new prefixes."""
        for change in self.prefixes:
            new = encode(change.new)
            if key.startswith(new):
                return encode(change.old) + key[len(new) :]
        return None

    def _mark(self, key: bytes) -> bytes:
        return self.mark_prefix + key

    def _require_few_gone(self, server: Server) -> list[list[bytes]]:
        """What was an original when it was marked, and is no document now, in batches.

        Raises:
            RunInterrupted: So many went unseen that they can hardly have been deleted.
        """
        gone: list[list[bytes]] = []
        documents, unseen = 0, 0
        sample: list[bytes] = []
        wanted = KEY_TYPES[self.schema.storage_type].encode()
        for keys in marked(server, self.mark_prefix):
            documents += len(keys)
            types = types_of(server, keys, b"")
            found = [key for key, is_of in zip(keys, types, strict=True) if is_of not in {wanted, b""}]
            if found:
                lost = self._unseen(server, found)
                unseen += len(lost)
                sample += lost[: self.removals.SHOWN - len(sample)]
                gone.append(found)
        self.removals.require_few(unseen, documents, sample)
        return gone

    def _unseen(self, server: Server, keys: Sequence[bytes]) -> list[bytes]:
        """Those of some originals that are gone whose end nobody saw, and whose copies are there."""
        marks = server.execute("MGET", *map(self._mark, keys))
        now_ms = int(time.time() * 1000)
        suspects = [
            key
            for key, data in zip(keys, marks, strict=True)
            if (mark := Mark.decoded(data)) is not None
            and not mark.is_moved
            and mark.fence != self.fence
            and not (mark.gone_at is not None and mark.gone_at <= now_ms)
        ]
        found = types_of(server, self._targets(suspects), b"") if suspects else []
        return [key for key, is_of in zip(suspects, found, strict=True) if is_of != b"none"]


def _size(reply: object) -> int:
    """Of a document that was read."""
    if isinstance(reply, bytes):
        return len(reply)
    return sum(map(len, reply)) if isinstance(reply, list) else 0
