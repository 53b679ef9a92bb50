"""Documents that were left as they are, and why: counted once each, the first of them listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from redismigrate.schema.strict import readable

LISTED_FAILURES = 100
# Named in a message.
SHOWN_FAILURES = 3
_ALREADY = " already, beside "
# Of the keys that are listed: they are noted in Redis with every sign of life.
LISTED_BYTES = 1 << 18


def occupied(old: str, new: str) -> str:
    """Why a document is left that has another value where one of its values was to go.

    Args:
        old: Where that stands.
        new: Where it was to go.
    """
    return f"it has a field {readable(new)}{_ALREADY}{readable(old)}"


def is_occupied(reason: str) -> bool:
    """Whether a document was left for that, by the reason that is told of it."""
    return _ALREADY in reason


@dataclass(frozen=True)
class FailedDocument:
    """A document that was left as it is.

    Attributes:
        key: Its key.
        reason: Why.
    """

    key: bytes
    reason: str


@dataclass
class Failures:
    """The documents that were left as they are: each is counted once, the first of them are listed.

    Attributes:
        count: How many.
        listed: The first of them.
        seen: Hashes of their keys; passes that share it count a document once.
        listed_bytes: Of the keys that were to be listed.
    """

    count: int = 0
    listed: list[FailedDocument] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    listed_bytes: int = 0

    def add(self, key: bytes, reason: str) -> None:
        """Count one more document, and list it while the list is short; each key counts once."""
        if hash(key) in self.seen:
            return
        self.seen.add(hash(key))
        self.count += 1
        self.listed_bytes += len(key)
        if len(self.listed) < LISTED_FAILURES and self.listed_bytes <= LISTED_BYTES:
            self.listed.append(FailedDocument(key, reason))

    def add_all(self, other: Failures) -> None:
        """Count what another one has counted and this one has not."""
        for document in other.listed:
            self.add(document.key, document.reason)
        unlisted = other.seen - self.seen
        self.seen |= unlisted
        self.count += len(unlisted)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take documents out again that are not left as they are after all."""
        found = {key for key in keys if hash(key) in self.seen}
        if found:
            self.seen -= set(map(hash, found))
            self.count -= len(found)
            self.listed = [document for document in self.listed if document.key not in found]


WRITTEN_SINCE = "the application has written it in the new form; left as it is"


@dataclass
class Restored:
    """What a restore did.

    Attributes:
        documents: That hold their originals, restored now or by an earlier attempt, or never changed.
        left: Those that were left as they are because they hold something else.
    """

    documents: int = 0
    left: Failures = field(default_factory=Failures)
