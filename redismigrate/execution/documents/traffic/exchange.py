"""What is to be written to a batch of hashes, how, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from redismigrate.documents.columns import Column
from redismigrate.schema.strict import encode


@dataclass(frozen=True, slots=True)
class Exchange:
    """What to write into a batch of hashes, and what has to be there for it.

    Attributes:
        keys: One per document.
        expected: Field -> the values that may be replaced; None for documents without one.
        new: Field -> what replaces them; None leaves a document's field alone.
    """

    keys: list[bytes]
    expected: dict[bytes, Column]
    new: dict[bytes, Column]

    @classmethod
    def of(cls, keys: list[bytes], expected: Mapping[str, Column], new: Mapping[str, Column]) -> Exchange:
        """An exchange of the values of fields that are called as in a schema."""
        return cls(
            keys,
            {encode(name): column for name, column in expected.items()},
            {encode(name): column for name, column in new.items()},
        )

    def part(self, start: int, stop: int) -> Exchange:
        """The same exchange for some of its documents, from one row up to another."""
        return Exchange(
            self.keys[start:stop],
            {name: column[start:stop] for name, column in self.expected.items()},
            {name: column[start:stop] for name, column in self.new.items()},
        )

    def parts(self, size: int) -> Iterator[Exchange]:
        """All of the documents, so many at a time."""
        for start in range(0, len(self.keys), size):
            yield self.part(start, start + size)


@dataclass(slots=True)
class ExchangeOutcome:
    """What became of a batch.

    Attributes:
        exchange: What was to be done.
        done_keys: Those that hold all their new values, from now on or already.
        changed: The keys of those that hold a value which is neither the expected nor the new one, or that
            were written again and again.
        refused: The keys of those whose commands the server has refused, with the reason. They hold what they
            held before, but for the values of a document of which only what follows the writes was refused.
        after: What the command that follows the writes answered, key by key; nothing for those refused.
    """

    exchange: Exchange
    done_keys: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    refused: dict[bytes, str] = field(default_factory=dict)
    after: dict[bytes, object] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        """How many are in the batch."""
        return len(self.exchange.keys)

    @property
    def done(self) -> int:
        """How many hold all their new values."""
        return len(self.done_keys)


@dataclass(frozen=True, slots=True)
class Mode:
    """How batches are written.

    Attributes:
        compares: Read and compare values first. Without it documents must be sure not to have changed or
            expired.
        after: The command that follows the writes of a batch, in the same transaction; its reply is a list
            with an item for each of the keys it is given, an error for one that was refused. It has to look
            for itself what it meets.
    """

    compares: bool = True
    after: Callable[[Sequence[bytes]], bytes] | None = None
