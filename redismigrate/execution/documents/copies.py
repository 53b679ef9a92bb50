"""A second form of documents as documents of their own, under another prefix.

Beside every copy that is made stands a mark: a string among the state's keys that holds the fingerprint of
what was written, and when that was to expire. It makes of every synchronisation a three-way comparison that
survives any crash, since a copy and its mark are written in one transaction:

- A key at the target without a mark was not made here. It is never written, whatever it holds.
- A copy that differs from its mark was written by the application since, one that is gone was deleted by it.
  While the original is as it was, the application's word holds. When the original was written since as well,
  a changed copy is a failure, and a deleted one is made again.
- A copy that is gone while its original has got another time to live may just have expired: it is made again.
- An original that is gone takes its copy with it, unless the application has written that.

Giving a mark up hands a copy over to the application: that is how originals are removed in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redismigrate.execution.documents.copy_verdicts import NEVER, Found, Verdict, lifetime_of, verdict_on
from redismigrate.execution.documents.exchange import NO_SUCH_FIELD
from redismigrate.execution.documents.job import FailedDocument
from redismigrate.execution.documents.mirroring import Decision, Reader, is_of_another_type
from redismigrate.execution.documents.whole_documents import (
    Documents,
    DocumentTransform,
    document_of,
    fingerprint,
    reads,
    write,
    write_hash,
)
from redismigrate.execution.documents.wire import raise_refusal, render, render_for_keys
from redismigrate.execution.live import KEY_TYPES, batches_of_keys, escape_pattern, types_of
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.fields import StorageType
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode, readable

Aim = Literal["beside", "originals_removed", "copies_removed"]
KEYS_PER_PORTION = 1000
SCAN_COUNT = 1000
# What PEXPIRETIME answers for one.
NO_SUCH_KEY = -2
_NO_EXPIRIES: Mapping[bytes, int] = {}
_ABSENT = Found()
_MARKED = (Verdict.WRITE, Verdict.MARK)
_UNMARKED = (Verdict.REMOVE, Verdict.HAND_OVER)
_FAILURES = {
    Verdict.OCCUPIED: "a key %s exists already, and was not made by this migration",
    Verdict.BOTH_WRITTEN: "both it and its copy %s were written by other clients",
}


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
            "beside": a copy in step beside every original.
            "originals_removed": no original whose copy is in step, or was changed by the application since;
                what is not in step yet is brought there first.
            "copies_removed": no copy but those that the application has written since.
    """

    schema: IndexSchema
    storage_type: StorageType
    prefixes: tuple[PrefixChange, ...]
    transform: DocumentTransform
    mark_prefix: bytes
    aim: Aim = "beside"

    @property
    def tracked(self) -> tuple[bytes, ...]:
        """The old prefixes."""
        return KeyPrefixes.of(change.old for change in self.prefixes).outermost

    def covers(self, key: bytes) -> bool:  # noqa: ARG002 - every key with an old prefix may be an original
        """Always."""
        return True

    def target(self, key: bytes) -> bytes:
        """What the copy of an original is called."""
        for change in self.prefixes:
            old = encode(change.old)
            if key.startswith(old):
                return encode(change.new) + key[len(old) :]
        raise ValueError(f"{key!r} has none of the old prefixes")

    def keys(self, server: Server) -> Iterator[Sequence[bytes]]:
        """The originals of copies that are there no more, then all originals.

        For "copies_removed" the originals of all copies that were made.
        """
        if self.aim == "copies_removed":
            yield from self._marked(server)
            return
        yield from self._gone(server)
        old = tuple(change.old for change in self.prefixes)
        yield from batches_of_keys(server, self.schema.with_options(prefixes=old), KEYS_PER_PORTION)
        if self.aim == "originals_removed":
            # Those that have become another type meanwhile; nobody follows any more.
            yield from self._gone(server)

    def watched(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Originals and copies."""
        return [*keys, *self._targets(keys)]

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The originals, the marks, and whether there is any copy."""
        targets = self._targets(keys)
        commands = (
            render(b"EXISTS", *targets),
            render(b"MGET", *map(self._mark, keys)),
            reads(self.schema.storage_type, keys),
            render_for_keys(b"PEXPIRETIME", keys, ()),
        )
        return b"".join(commands), 2 + 2 * len(keys)

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """Compare originals, copies and marks; write, remove and hand over."""
        existing, marks, *rest = replies
        raise_refusal(existing, marks)
        decision = Decision()
        originals = _found(self.schema.storage_type, keys, rest, reader)
        targets = self._targets(keys)
        copies = [_ABSENT] * len(keys)
        if existing:
            commands = reads(self.storage_type, targets) + render_for_keys(b"PEXPIRETIME", targets, ())
            copies = _found(self.storage_type, targets, reader.ask(commands, 2 * len(keys)), reader)
        decision.size_bytes = sum(map(_size, rest[: len(keys)]))
        decision.result.documents = sum(original.document is not None for original in originals)
        wanted = self._wanted(keys, originals, decision)
        if self.aim == "beside" and not existing and marks.count(None) == len(keys):
            self._make_all(decision, keys, targets, wanted)
            return decision
        new_marks: list[bytes] = []
        old_marks: list[bytes] = []
        for row, key in enumerate(keys):
            want, copy = wanted[row], copies[row]
            verdict = verdict_on(want, copy, marks[row])
            printed = self._carry_out(verdict, decision, key, targets[row], want, copy)
            if verdict in _MARKED or (verdict is Verdict.IN_STEP and marks[row] is not None):
                _keep_expiries(decision, targets[row], want, copy)
            is_over = self.aim == "originals_removed" and verdict not in _FAILURES
            if is_over and want.document is not None:
                decision.write(b"DEL", key)
                decision.result.removed += 1
            if verdict in _UNMARKED or (is_over and marks[row] is not None):
                old_marks.append(self._mark(key))
            elif verdict in _MARKED and not is_over:
                new_marks += (self._mark(key), printed + lifetime_of(want))
        if new_marks:
            decision.write(b"MSET", *new_marks)
        if old_marks:
            decision.write(b"DEL", *old_marks)
        return decision

    def _make_all(
        self, decision: Decision, keys: Sequence[bytes], targets: list[bytes], wanted: list[Found]
    ) -> None:
        """The first pass meets nothing at all where copies go, so there is nothing to compare."""
        marks: list[bytes] = []
        for key, target, want in zip(keys, targets, wanted, strict=True):
            document = want.document
            if document is None:
                continue
            if isinstance(document, dict) and not want.expiries:
                printed = write_hash(decision, target, document)
            else:
                write(decision, target, None, document)
                printed = fingerprint(document, want.expiries)
            if want.expires_ms != NEVER or want.expiries:
                _keep_expiries(decision, target, want, _ABSENT)
                printed += lifetime_of(want)
            marks += (self.mark_prefix + key, printed)
        if marks:
            decision.result.written += len(marks) // 2
            decision.write(b"MSET", *marks)

    def _wanted(self, keys: Sequence[bytes], originals: list[Found], decision: Decision) -> list[Found]:
        """The copies as the originals ask for them."""
        wanted = [_ABSENT] * len(keys)
        if self.aim == "copies_removed":
            return wanted
        rows = [row for row, original in enumerate(originals) if original.document is not None]
        moments = {at: dict(expiries) for at, row in enumerate(rows) if (expiries := originals[row].expiries)}
        documents = self.transform(Documents([originals[row].document for row in rows], moments))
        for at, (row, document) in enumerate(zip(rows, documents.contents, strict=True)):
            if document is not None:
                expiries = documents.expiries.get(at, {}) if documents.expiries else _NO_EXPIRIES
                wanted[row] = Found(document, originals[row].expires_ms, expiries)
        decision.failures += [FailedDocument(keys[rows[at]], reason) for at, reason in documents.failures]
        return wanted

    def _carry_out(
        self, verdict: Verdict, decision: Decision, key: bytes, target: bytes, wanted: Found, copy: Found
    ) -> bytes:
        """Add the commands for one copy, and count what becomes of it; its fingerprint if one is needed."""
        result = decision.result
        if verdict in _MARKED and wanted.document is not None:
            result.written += verdict is Verdict.WRITE
            if isinstance(wanted.document, dict) and not (wanted.expiries or copy.exists):
                return write_hash(decision, target, wanted.document)
            if verdict is Verdict.WRITE:
                write(decision, target, copy.document, wanted.document)
            return fingerprint(wanted.document, wanted.expiries)
        if verdict is Verdict.REMOVE:
            decision.write(b"DEL", target)
            result.removed += 1
        elif verdict is Verdict.ONLY_NEW or (verdict is Verdict.HAND_OVER and copy.exists):
            result.only_new += 1
        elif verdict is Verdict.ONLY_NEW_DELETED:
            result.only_new_deleted += 1
        elif verdict in _FAILURES:
            decision.failures.append(FailedDocument(key, _FAILURES[verdict] % readable(target)))
        return b""

    def _targets(self, keys: Sequence[bytes]) -> list[bytes]:
        if len(self.prefixes) > 1:
            return list(map(self.target, keys))
        (change,) = self.prefixes
        new, length = encode(change.new), len(encode(change.old))
        return [new + key[length:] for key in keys]

    def _mark(self, key: bytes) -> bytes:
        return self.mark_prefix + key

    def _gone(self, server: Server) -> Iterator[list[bytes]]:
        """What was an original when its copy was made, and is no document now."""
        wanted = KEY_TYPES[self.schema.storage_type].encode()
        for marked in self._marked(server):
            yield [
                key for key, found in zip(marked, types_of(server, marked), strict=True) if found != wanted
            ]

    def _marked(self, server: Server) -> Iterator[list[bytes]]:
        """The originals of all copies that were made, whether they are there or not."""
        cursor, pattern = 0, escape_pattern(self.mark_prefix) + b"*"
        while True:
            with server.translated_errors():
                cursor, marks = server.client.scan(cursor, match=pattern, count=SCAN_COUNT)
            yield [mark[len(self.mark_prefix) :] for mark in marks if isinstance(mark, bytes)]
            if not int(cursor):
                return


def _found(
    storage_type: StorageType, keys: Sequence[bytes], replies: list[Any], reader: Reader
) -> list[Found]:
    """What is at some keys.

    Args:
        storage_type: Of documents.
        keys: Where to look.
        replies: The contents of all of them, then the times of expiry of all of them.
        reader: Asks for those of fields.
    """
    found = []
    for reply, moment in zip(replies[: len(keys)], replies[len(keys) :], strict=True):
        raise_refusal(moment)
        if is_of_another_type(reply):
            found.append(Found(expires_ms=moment, is_of_another_type=True))
            continue
        raise_refusal(reply)
        document = None if moment == NO_SUCH_KEY else document_of(storage_type, reply)
        found.append(Found(document, moment, _NO_EXPIRIES))
    if reader.fields_expire and storage_type == "hash":
        _read_expiries(keys, found, reader)
    return found


def _read_expiries(keys: Sequence[bytes], found: list[Found], reader: Reader) -> None:
    """Find out when fields expire; what has gone by now is taken out of the documents."""
    hashes = [
        (key, at.document, at) for key, at in zip(keys, found, strict=True) if isinstance(at.document, dict)
    ]
    commands = [
        render(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names) for key, names, _ in hashes
    ]
    replies = reader.ask(b"".join(commands), len(hashes))
    for (_, names, at), moments in zip(hashes, replies, strict=True):
        if is_of_another_type(moments):
            at.document = None
            continue
        raise_refusal(moments)
        if all(moment == NEVER for moment in moments):
            continue
        named = dict(zip(names, moments, strict=True))
        left = {name: value for name, value in names.items() if named[name] != NO_SUCH_FIELD}
        at.document = left or None
        at.expiries = {name: moment for name, moment in named.items() if moment > 0}


def _keep_expiries(decision: Decision, target: bytes, wanted: Found, copy: Found) -> None:
    """Let a copy and its fields expire when the original does; a field that is written forgets it."""
    current = copy.expires_ms if copy.exists else NEVER
    if wanted.expires_ms > 0 and wanted.expires_ms != current:
        decision.write(b"PEXPIREAT", target, b"%d" % wanted.expires_ms)
    elif wanted.expires_ms == NEVER and current > 0:
        decision.write(b"PERSIST", target)
    if not wanted.expiries and not copy.expiries:
        return
    fields = wanted.document if isinstance(wanted.document, dict) else {}
    before = copy.document if isinstance(copy.document, dict) else {}
    for name, value in fields.items():
        moment = wanted.expiries.get(name, NEVER)
        left = copy.expiries.get(name, NEVER) if before.get(name) == value else NEVER
        if moment > 0 and moment != left:
            decision.write(b"HPEXPIREAT", target, b"%d" % moment, b"FIELDS", b"1", name)
        elif moment == NEVER and left > 0:
            decision.write(b"HPERSIST", target, b"FIELDS", b"1", name)


def _size(reply: object) -> int:
    """Of a document that was read."""
    if isinstance(reply, bytes):
        return len(reply)
    return sum(map(len, reply)) if isinstance(reply, list) else 0
