"""Counts what becomes of documents while there are two forms of them, and adds that to the state at times."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import redis

from redismigrate.documents.failures import FailedDocument, Failures
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.documents.traffic.mirroring import Synchronised
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.run import Run
from redismigrate.state.keys import StateKeys
from redismigrate.state.while_expanded import WhileExpanded, add_while_expanded

_SECONDS = 1.0
# Another one that follows would have to add something in between as often.
_MOST_ATTEMPTS = 5


class ExpansionCounter:
    """Owns what this process has counted of a run and not added to the state yet.

    What can't be added stays here, and is added later or lost: nothing fails for it.

    Args:
        home: The node that has the state.
        keys: The project's keys.
    """

    def __init__(self, home: Node, keys: StateKeys) -> None:
        self._home, self._keys = home, keys
        self._run: str | None = None
        self._counted = WhileExpanded()
        self._added_at = 0.0
        # Of all that this process was told of: a document is listed once.
        self._failures: set[int] = set()
        self._conflicts: set[int] = set()

    def count(self, run: Run, done: Synchronised) -> None:
        """Count what a pass or a round came to, other than the first pass over all documents.

        Args:
            run: The one that has both forms made.
            done: What became of documents in it.
        """
        if run.failure is not None:
            return
        is_first = self._run is None
        if is_first:
            self._run = run.id
            # They were told, and counted, when not all had their second form yet.
            self._failures |= {
                hash(key.encode("utf-8", "surrogateescape")) for key, _ in run.documents.failed
            }
        failed, new_failures = _new_among(done.failures, self._failures)
        conflicts, new_conflicts = _new_among(done.conflicts, self._conflicts)
        self._counted = self._counted.plus(
            WhileExpanded(
                done.born,
                done.carried,
                done.removed,
                conflicts,
                # Another process may have told of those that it could not list either.
                len(new_failures) if is_first else failed,
                (
                    *(_listed(document, is_conflict=True) for document in new_conflicts),
                    *(_listed(document, is_conflict=False) for document in new_failures),
                ),
            )
        )
        if time.monotonic() - self._added_at >= _SECONDS:
            self.add()

    def add(self) -> None:
        """Add to the state what was counted since."""
        if self._run is None or not self._counted:
            return
        self._added_at = time.monotonic()
        server, fence = self._home.server, self._home.fence
        with suppress(RedisMigrateError, redis.RedisError):
            for _ in range(_MOST_ATTEMPTS):
                if add_while_expanded(server, self._keys, fence, self._run, self._counted):
                    self._counted = WhileExpanded()
                    return


def _new_among(found: Failures, seen: set[int]) -> tuple[int, list[FailedDocument]]:
    """How many documents were not told before, and those of them that are listed; they are seen by now."""
    new = found.seen - seen
    seen |= new
    return len(new), [document for document in found.listed if hash(document.key) in new]


def _listed(document: FailedDocument, *, is_conflict: bool) -> Mapping[str, Any]:
    key = document.key.decode("utf-8", "surrogateescape")
    return {"key": key, "reason": document.reason, "is_conflict": is_conflict}
