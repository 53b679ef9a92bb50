"""What a second form of documents is to what keeps it in step with the first: a mirror that decides.

A mirror is asked about a batch of documents: what has to be read for it, and, by what was read, what has to
be written. It may be asked again about any document at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import hiredis

from redismigrate.execution.documents.job import FailedDocument, Failures
from redismigrate.execution.documents.wire import Wire, render
from redismigrate.redis_server.connection import Server

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@dataclass(slots=True)
class Synchronised:
    """What became of documents.

    Attributes:
        documents: That were there. One that was looked at twice, as it was written meanwhile, counts twice.
        written: Whose second form was written.
        removed: Whose second form was removed.
        converted: Whose first form was replaced by the new one.
        changed: That were written or deleted in any form, where a mirror counts that.
        turned_back: Which the application had written in the new form, and whose old form follows from that.
        only_new: Which the application has written in the new form, and whose old form can't follow.
        only_new_deleted: Which the application has deleted in the new form alone.
        failures: Those that can't have a second form, which have none, and why.
        busy: Keys that were written again and again; they have to be synchronised once more.
    """

    documents: int = 0
    written: int = 0
    removed: int = 0
    converted: int = 0
    changed: int = 0
    turned_back: int = 0
    only_new: int = 0
    only_new_deleted: int = 0
    failures: Failures = field(default_factory=Failures)
    busy: list[bytes] = field(default_factory=list)

    @property
    def own_writes(self) -> int:
        """How many documents were written, about."""
        return max(self.changed, self.written + self.removed)

    def add(self, other: Synchronised) -> None:
        """Count what became of further documents; their failures are not among it."""
        self.documents += other.documents
        self.written += other.written
        self.removed += other.removed
        self.converted += other.converted
        self.changed += other.changed
        self.turned_back += other.turned_back
        self.only_new += other.only_new
        self.only_new_deleted += other.only_new_deleted
        self.busy += other.busy


@dataclass(slots=True)
class Decision:
    """What a mirror makes of a batch.

    Attributes:
        pieces: Rendered commands that write, in pieces.
        commands: How many these are.
        size_bytes: Of the values that were read, about.
        result: What becomes of the documents when the commands are carried out, but for the failures.
        failures: Documents that can't have a second form.
    """

    pieces: list[ReadableBuffer] = field(default_factory=list)
    commands: int = 0
    size_bytes: int = 0
    result: Synchronised = field(default_factory=Synchronised)
    failures: list[FailedDocument] = field(default_factory=list)

    def write(self, *words: bytes) -> None:
        """Add a command."""
        self.pieces.append(render(*words))
        self.commands += 1


@dataclass(frozen=True, slots=True)
class Reader:
    """Asks for more about a batch, on the connection that watches its keys.

    Attributes:
        wire: That connection.
        fields_expire: Whether any hash of the database has a field with a time to live.
    """

    wire: Wire
    fields_expire: bool

    def ask(self, commands: bytes, count: int) -> list[Any]:
        """The replies to rendered commands; an error reply is an item like others."""
        self.wire.send(commands)
        return self.wire.receive(count)


class Mirror(Protocol):
    """Where the second form of a document lives, and what it should be; names a document by its first key."""

    @property
    def tracked(self) -> tuple[bytes, ...]:
        """The prefixes of the keys of first forms, none of which begins with another one; none for all."""

    def covers(self, key: bytes) -> bool:
        """Whether a key with a tracked prefix may be a document's."""

    def keys(self, server: Server) -> Iterator[Sequence[bytes]]:
        """All documents, in batches, and those whose second form alone is left."""

    def watched(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """The keys that must not change between reading and writing."""

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """Commands that read a batch, and how many replies they have."""

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """What to write, by the replies.

        Raises:
            redis.ResponseError: The server refused to read.
        """


def is_of_another_type(reply: object) -> bool:
    """Whether a command was refused because the key holds no document of the wanted type."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(("WRONGTYPE", "Existing key"))
