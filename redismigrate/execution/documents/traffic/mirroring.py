"""What a second form of documents is to what keeps it in step with the first: a mirror that decides.

A mirror is asked about a batch of documents: what has to be read for it, and, by what was read, what has to
be written. It may be asked again about any document at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from redismigrate.documents.failures import FailedDocument, Failures
from redismigrate.execution.documents.traffic.decisions import Reader, Writes
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.documents.traffic.reading import batches_of_documents
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode

_KEYS_PER_PORTION = 1000


@dataclass(slots=True)
class Synchronised:
    """What became of documents.

    Attributes:
        documents: That were there. One that was looked at twice, as it was written meanwhile, counts twice.
        written: Whose second form was written.
        removed: Whose first or second form was removed.
        born: Whose second form was made where there was none, while both are kept in step.
        carried: Whose other form follows from what the application has written in one, likewise.
        converted: Whose first form was replaced by the new one.
        changed: Which were written or deleted by us under their first key.
        turned_back: Which the application had written in the new form, and whose old form follows from that.
        only_new: Which the application has written in the new form, and whose old form stays as it is.
        only_new_deleted: Which the application has deleted in the new form alone.
        made_again: Whose second form was not there any more, with no proof that the application has deleted
            it.
        failures: Those that can't have a second form, or can't be written, and why.
        conflicts: Those of which both forms were written differently; the new one stands.
        busy: Keys that were written again and again; they have to be synchronised once more.
    """

    documents: int = 0
    written: int = 0
    removed: int = 0
    born: int = 0
    carried: int = 0
    converted: int = 0
    changed: int = 0
    turned_back: int = 0
    only_new: int = 0
    only_new_deleted: int = 0
    made_again: int = 0
    failures: Failures = field(default_factory=Failures)
    conflicts: Failures = field(default_factory=Failures)
    busy: list[bytes] = field(default_factory=list)

    @property
    def own_writes(self) -> int:
        """How many writes of documents under their first keys were our own, about."""
        return self.changed

    def add(self, other: Synchronised) -> None:
        """Count what became of further documents; their failures and conflicts are not among it."""
        self.documents += other.documents
        self.written += other.written
        self.removed += other.removed
        self.born += other.born
        self.carried += other.carried
        self.converted += other.converted
        self.changed += other.changed
        self.turned_back += other.turned_back
        self.only_new += other.only_new
        self.only_new_deleted += other.only_new_deleted
        self.made_again += other.made_again
        self.busy += other.busy

    def without(self, counters: Sequence[str]) -> None:
        """Take back what was counted of a document whose write was refused.

        Args:
            counters: The names of the attributes that count it.
        """
        for name in counters:
            setattr(self, name, getattr(self, name) - 1)


class DocumentWrites(NamedTuple):
    """The writes of one document, which are stopped by the first that the server refuses.

    Attributes:
        key: What the mirror calls the document.
        keys: That are written.
        commands: In order. The last ones remember what the first ones did: they are not reached where one of
            those is refused.
        counters: The attributes of the result that count the document.
        may_fail: The document has its second form although they are refused.
        undo: What takes back those that were carried out before one was refused; it may be refused as well.
    """

    key: bytes
    keys: tuple[bytes, ...]
    commands: list[tuple[bytes, ...]]
    counters: tuple[str, ...] = ()
    may_fail: bool = False
    undo: tuple[tuple[bytes, ...], ...] = ()


@dataclass(slots=True)
class Decision(Writes):
    """What a mirror makes of a batch.

    Attributes:
        documents: Further writes, of which those of one document belong together.
        counters: The attributes of the result that count a document whose own command is refused.
        forget: Renders what takes back what was remembered of a document by the commands, whose own one was
            refused; None where nothing is remembered.
        size_bytes: Of the values that were read, about.
        result: What becomes of the documents when the commands are carried out, but for the failures.
        failures: Documents that can't have a second form.
        conflicts: Documents of which both forms were written differently.
        alone: Documents whose first form can't get what the application has written in the new one.
    """

    documents: list[DocumentWrites] = field(default_factory=list)
    counters: tuple[str, ...] = ()
    forget: Callable[[bytes], bytes] | None = None
    size_bytes: int = 0
    result: Synchronised = field(default_factory=Synchronised)
    failures: list[FailedDocument] = field(default_factory=list)
    conflicts: list[FailedDocument] = field(default_factory=list)
    alone: list[FailedDocument] = field(default_factory=list)


class WithinDocuments:
    """Of a mirror whose second forms have the keys of the first ones, so that they are not reported apart.

    Attributes:
        schema: Tells the documents: its prefixes, hashes alone. FILTER is not looked at.
        excluded_prefixes: Of keys that are no documents of this mirror.
    """

    schema: IndexSchema
    excluded_prefixes: tuple[str, ...]

    @property
    def tracked(self) -> tuple[bytes, ...]:
        """The outermost prefixes of the schema."""
        return KeyPrefixes.of(self.schema.prefixes).outermost

    def covers(self, key: bytes) -> bool:
        """Whether it has none of the excluded prefixes."""
        return not key.startswith(tuple(map(encode, self.excluded_prefixes)))

    def keys(self, server: Server) -> Iterator[Sequence[bytes]]:
        """The keys that the schema is about."""
        return batches_of_documents(server, self.schema, _KEYS_PER_PORTION, self.excluded_prefixes)

    def watched(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """The keys that are watched for a batch: of the documents themselves, which hold both forms."""
        return keys

    @property
    def tracked_second(self) -> tuple[bytes, ...]:
        """No prefixes: both forms have one key."""
        return ()

    @property
    def is_slow(self) -> bool:
        """It is not, as a rule: numpy converts."""
        return False

    def prepare(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> None:
        """Where nothing takes long there is nothing to do."""

    def report_second(self, keys: Iterable[bytes], unfinished: Collection[bytes]) -> Iterable[bytes]:  # noqa: ARG002
        """They are those of the documents."""
        return keys


class Mirror(Protocol):
    """Where the second form of a document lives, and what it should be; names a document by its first key."""

    @property
    def tracked(self) -> tuple[bytes, ...]:
        """The prefixes of the keys of first forms, none of which begins with another one; none for all."""

    @property
    def tracked_second(self) -> tuple[bytes, ...]:
        """Likewise of second forms that are keys of their own, where it matters who writes them."""

    @property
    def is_slow(self) -> bool:
        """Whether its transform takes longer than keys should be watched: then it runs before that."""

    def covers(self, key: bytes) -> bool:
        """Whether a key with a tracked prefix may be a document's."""

    def report_second(self, keys: Iterable[bytes], unfinished: Collection[bytes]) -> Iterable[bytes]:
        """Take note that second forms were written; the documents, by their first keys.

        Args:
            keys: Of second forms.
            unfinished: The documents of earlier reports that have not been synchronised since.
        """

    def keys(self, server: Server) -> Iterator[Sequence[bytes]]:
        """All documents of a node, in batches, and those whose second form alone is left."""

    def watched(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """The keys that must not change between reading and writing."""

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """Commands that read a batch, and how many replies they have."""

    def prepare(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> None:
        """Transform what was read; asked where the transform is slow, while nothing is watched."""

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        """What to write, by the replies.

        Raises:
            redis.ResponseError: The server refused to read.
        """


def keys_of(mirror: Mirror, nodes: Nodes) -> Iterator[Sequence[bytes]]:
    """All documents of a mirror, in batches, node by node."""
    for node in nodes.all:
        yield from mirror.keys(node.server)
