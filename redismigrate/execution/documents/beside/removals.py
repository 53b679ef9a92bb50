"""How many documents a run may remove because their other form is gone, with nobody having seen why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from redismigrate.errors import RunInterrupted
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import raise_refusal, render
from redismigrate.schema.strict import readable

# A thousandth of the documents, and never fewer than ten.
FEWEST = 10
_INFO = render(b"INFO", b"stats") + render(b"INFO", b"server")
_EVICTED = re.compile(rb"^evicted_keys:(\d+)", re.MULTILINE)
_SERVER = re.compile(rb"^run_id:(\w+)", re.MULTILINE)


def _tell_no_one() -> None:
    """Where it is of no interest later."""


@dataclass
class Removals:
    """Counts what goes without a proof that it was deleted, and stops before it is too much.

    Attributes:
        most: How many the user admits; None for the usual limit.
        before: The server and how many keys it had evicted when this process began; None for unknown, which
            counts as none.
        documents: How many documents there are, as far as is known.
        unproved: Those that went so far.
        are_values: What goes are values of documents that stay, and each is in the backup.
        is_used_up: A process before this one has come to the usual limit: no more may go.
        on_limit: Is called when the limit is met.
    """

    SHOWN: ClassVar[int] = 3

    most: int | None = None
    before: tuple[bytes, int] | None = None
    documents: int = 0
    unproved: set[bytes] = field(default_factory=set)
    are_values: bool = False
    is_used_up: bool = False
    on_limit: Callable[[], object] = _tell_no_one

    @classmethod
    def since_now(cls, server: Server, most: int | None) -> Self:
        """Count from now on.

        Args:
            server: The connection.
            most: How many the user admits; None for the usual limit.
        """
        stats, about = server.execute("INFO", "stats"), server.execute("INFO", "server")
        return cls(most, (str(about["run_id"]).encode(), int(stats["evicted_keys"])))

    @property
    def limit(self) -> int:
        """How many documents may go that nobody saw being deleted."""
        if self.most is not None:
            return self.most
        return 0 if self.is_used_up else max(FEWEST, self.documents // 1000)

    def nothing_evicted(self, reader: Reader) -> bool:
        """Whether the server is the same and has evicted nothing since."""
        if self.before is None:
            return True
        replies = reader.ask(_INFO, 2)
        raise_refusal(*replies)
        evicted, server = _EVICTED.search(replies[0]), _SERVER.search(replies[1])
        if evicted is None or server is None:
            return False
        return (server[1], int(evicted[1])) == self.before

    def require_few(self, unseen: int, documents: int, sample: Sequence[bytes]) -> None:
        """Refuse to go on where so many went unseen that they can hardly have been deleted.

        Args:
            unseen: How many would be removed.
            documents: How many there are.
            sample: Some of the first.

        Raises:
            RunInterrupted: It is more than the limit.
        """
        self.documents = max(self.documents, documents)
        if unseen > self.limit:
            raise self._too_many(unseen, sample)

    def count(self, key: bytes) -> None:
        """Count one more.

        Raises:
            RunInterrupted: It would be more than the limit.
        """
        if key not in self.unproved and len(self.unproved) >= self.limit:
            self.on_limit()
            raise self._too_many(len(self.unproved) + 1, [key])
        self.unproved.add(key)

    def _too_many(self, count: int, sample: Sequence[bytes]) -> RunInterrupted:
        names = ", ".join(map(readable, sample))
        if self.are_values:
            return RunInterrupted(
                f"{names} and maybe more documents have a value under one of its two names alone, beside "
                f"{len(self.unproved):,} of which it went under both: it was deleted, or a release that does "
                "not know the other name writes whole documents.",
                "No more is removed, and the backup has what was. If they were deleted on purpose, run the "
                "same command again with --max-removals and at least their number, or a large one. Else let "
                "that release keep fields that it does not know, or go back with `redismigrate rollback`, "
                "which leaves the old name where the new one is missing.",
            )
        return RunInterrupted(
            f"{count:,} documents, {names} among them, are gone in one form, and nobody saw them being "
            "deleted.",
            "Nothing more was removed. Bring them back and run the same command again; if they were deleted "
            f"on purpose, run it with --max-removals {count}.",
        )
