"""What a batch of documents is to the optimistic writer: what it asks for, and its decision as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import hiredis

from redismigrate.documents.columns import FixedWidth
from redismigrate.execution.documents.traffic.aside import Aside
from redismigrate.redis_server.wire import Wire, render, render_hsets, rows_by_length

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What HSET answers for a value that replaces another one, and for one of a field that was not there.
REPLACED, ADDED = b":0\r\n", b":1\r\n"


class Asks(NamedTuple):
    """What a batch has to know before it can be decided.

    Attributes:
        watched: The keys that must not change between reading and writing; none where nothing is read.
        commands: Rendered commands that read.
        replies: How many replies they have.
        is_column: Each is an HMGET of one field, see `Wire.receive_column`.
    """

    watched: Sequence[bytes] = ()
    commands: bytes = b""
    replies: int = 0
    is_column: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Asks for more about a batch, on the connection that watches its keys.

    Attributes:
        wire: That connection.
        fields_expire: Whether any hash of the database has a field with a time to live.
        aside: What slow transforms have made for the batch.
    """

    wire: Wire
    fields_expire: bool
    aside: Aside = field(default_factory=Aside)

    def ask(self, commands: bytes, count: int) -> list[Any]:
        """The replies to rendered commands; an error reply is an item like others."""
        self.wire.send(commands)
        return self.wire.receive(count)


@dataclass(slots=True)
class Writes:
    """The decision about a batch: what is written in one transaction.

    Attributes:
        pieces: Rendered commands, in pieces.
        commands: How many these are.
        owners: The document of each of them; empty for none in particular.
        usual_reply: How the server answers each of them as a rule, where all answers are alike; they need not
            be parsed then. None where they may differ.
        last: One more command, whose reply is a list with an answer for each document; None for none.
    """

    pieces: list[ReadableBuffer] = field(default_factory=list)
    commands: int = 0
    owners: list[bytes] = field(default_factory=list)
    usual_reply: bytes | None = None
    last: bytes | None = None
    # The keys of the only commands, in an order that `rows_by_length` tells if anybody asks.
    _block_keys: Sequence[bytes] | None = None

    @property
    def writes_anything(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.pieces) or self.last is not None

    def write(self, *words: bytes) -> None:
        """Add a command whose first argument is the key of the document."""
        self.add((render(*words),), words[1])

    def add(self, pieces: Iterable[ReadableBuffer], owner: bytes) -> None:
        """Add one rendered command about a document.

        Args:
            pieces: The command.
            owner: The key of the document; empty for none in particular.
        """
        self.pieces += pieces
        self.commands += 1
        self.owners.append(owner)

    def write_all(self, keys: Sequence[bytes], name: bytes, column: FixedWidth, usual_reply: bytes) -> None:
        """Write one field of every document, in a few blocks. It is all that is written.

        Args:
            keys: Of the documents.
            name: Of the field.
            column: The values.
            usual_reply: What the server answers as a rule.
        """
        self.pieces += render_hsets(keys, name, column)
        self.commands += len(keys)
        self._block_keys, self.usual_reply = keys, usual_reply

    def owner_of_each(self) -> Sequence[bytes]:
        """The document of each command."""
        if self._block_keys is None:
            return self.owners
        keys = self._block_keys
        return [keys[row] for rows in rows_by_length(keys).values() for row in rows]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the writes of a batch.

    Attributes:
        refused: The documents of which a command was refused, with the reason.
        answers: The reply to the last command.
    """

    refused: Mapping[bytes, str] = field(default_factory=dict)
    answers: Sequence[object] = ()


WritesT = TypeVar("WritesT", bound=Writes)
OutcomeT = TypeVar("OutcomeT")


class Work(ABC, Generic[WritesT, OutcomeT]):
    """A batch of documents, and how it is decided. It may be decided again, whole or in parts.

    What becomes of it is gathered in an outcome, to which all its parts add when it has to be repeated.
    """

    @property
    @abstractmethod
    def keys(self) -> Sequence[bytes]:
        """The keys of the batch, one for each document."""

    @property
    def most_at_once(self) -> int:
        """How many documents one transaction has at most."""
        return len(self.keys)

    @property
    def is_slow(self) -> bool:
        """Whether something has to be made of what is read that takes longer than keys should be watched."""
        return False

    @abstractmethod
    def part(self, start: int, stop: int) -> Self:
        """The same work for some of its documents, from one row up to another."""

    @abstractmethod
    def new_outcome(self) -> OutcomeT:
        """What gathers what becomes of the batch."""

    @abstractmethod
    def asks(self) -> Asks:
        """What has to be known."""

    def prepare(self, replies: Any, reader: Reader) -> None:
        """Make what takes long of what was read, while nothing is watched; for slow batches alone.

        Args:
            replies: As for `decide`.
            reader: As for `decide`. What is made stays in its `aside`.

        Raises:
            redis.ResponseError: The server refused to read.
        """

    @abstractmethod
    def decide(self, replies: Any, reader: Reader) -> WritesT:
        """What to write.

        Args:
            replies: To the commands of `asks`; an error reply is an item like others.
            reader: Asks for more.

        Raises:
            NotMadeYet: Something has to be made first; the batch is read and decided again then.
            redis.ResponseError: The server refused to read. Where that concerns one document, the batch is
                decided again in parts.
        """

    def undo_refused(
        self,
        writes: WritesT,  # noqa: ARG002
        refused: Mapping[bytes, hiredis.ReplyError],  # noqa: ARG002
    ) -> Sequence[bytes]:
        """What is to be written after a refusal inside of EXEC, which leaves the commands beside it done.

        Args:
            writes: What was written.
            refused: The documents of which a command was refused.

        Returns:
            Rendered commands, which go in a transaction of their own.
        """
        return ()

    @abstractmethod
    def take(self, writes: WritesT, written: Written, outcome: OutcomeT) -> None:
        """Note what became of the documents."""

    @abstractmethod
    def refuse(self, key: bytes, reason: str, outcome: OutcomeT) -> None:
        """Note that a document could not even be read, or that nothing of it could be written, and why."""

    @abstractmethod
    def give_up(self, outcome: OutcomeT) -> None:
        """Note that all documents were written by others each time, faster than they can be read."""
