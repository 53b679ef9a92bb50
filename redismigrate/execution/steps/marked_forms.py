"""What the steps about second forms with marks share: how marks are called, the backup, what is told once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha1
from pathlib import Path
from typing import Any

from redismigrate.backup.location import BackupLocation
from redismigrate.backup.replaced_documents import COLUMN
from redismigrate.documents.failures import FailedDocument, Failures
from redismigrate.execution.documents.beside.mark_store import forget_marks, mark_prefix
from redismigrate.execution.documents.beside.marks import fence_of
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.beside.replaced import ReplacedOriginals
from redismigrate.execution.run import Run
from redismigrate.execution.steps.document_work import TOLD_FAILURES, DocumentWork
from redismigrate.planning.plan import Step
from redismigrate.schema.strict import readable_key
from redismigrate.state.keys import StateKeys

WAY_DIGITS = 12
# No mark of a document: those go on behind a colon, and no way is written with a dash.
_LIMIT_MET = b"-limit"
PROCESS_BYTES = 8


class MarkedForms:
    """Owns, for one process, what proves a deletion, and the backups of what is replaced.

    Args:
        work: Where.
        column: Whether those hold whole documents or values, see `ReplacedOriginals`.
    """

    def __init__(self, work: DocumentWork, column: str = COLUMN) -> None:
        self._work = work
        self._column = column
        self._keys = StateKeys(work.project)
        self._removals: Removals | None = None
        self._replaced: dict[str, ReplacedOriginals] = {}
        self._told = Failures()
        self._told_alone = Failures()
        # Those who follow one after the other, or side by side, have one token, for none of them holds the
        # lock. But what went between two of them was seen by neither.
        self._process = os.urandom(PROCESS_BYTES)

    @property
    def fence(self) -> bytes:
        """Of this process, as it stands in marks."""
        return fence_of(self._work.nodes.home.fence.token + self._process)

    @property
    def removals(self) -> Removals:
        """What may go because its other form is gone."""
        if self._removals is None:
            self._removals = Removals.since_now(self._work.server, self._work.max_removals)
        return self._removals

    def tell(self, conflict: FailedDocument) -> None:
        """Tell of a document that both releases have written, once, and not of more than a few."""
        self._tell_once(conflict, self._told)

    def tell_alone(self, document: FailedDocument) -> None:
        """Tell likewise of a document whose first form can't get what was written in the new one."""
        self._tell_once(document, self._told_alone)

    def _tell_once(self, document: FailedDocument, told: Failures) -> None:
        count = told.count
        told.add(document.key, document.reason)
        if count < told.count <= TOLD_FAILURES:
            self._work.watcher.warned(f"{readable_key(document.key)}: {document.reason}")

    def marks(self, step: Step, run: Run) -> bytes:
        """How the keys of the marks begin. There and back are two sets of second forms."""
        return mark_prefix(self._keys, run.id, _way_of(step, run))

    def forget(self, step: Step, run: Run) -> None:
        """Remove the marks, and the notes beside them."""
        forget_marks(self._work.server, self.marks(step, run))
        self._work.server.execute("DEL", self._looked_key(step, run), self._limit_key(step, run))

    def have_looked_at_all(self, step: Step, run: Run) -> bool:
        """Whether a pass over all documents has ended since the run began."""
        return bool(self._work.server.execute("EXISTS", self._looked_key(step, run)))

    def note_looked_at_all(self, step: Step, run: Run) -> None:
        """Note that a pass over all documents has ended.

        Raises:
            FenceLost: Another process has taken over the lock.
        """
        self._work.require_lock()
        self._work.server.execute("SET", self._looked_key(step, run), "1")

    def have_met_limit(self, step: Step, run: Run) -> bool:
        """Whether a process of the run has come to the limit of what may go unproved."""
        return bool(self._work.server.execute("EXISTS", self._limit_key(step, run)))

    def note_limit(self, step: Step, run: Run) -> None:
        """Note that no more may go: else every process that goes on would take as many again."""
        self._work.server.execute("SET", self._limit_key(step, run), "1")

    def _looked_key(self, step: Step, run: Run) -> bytes:
        # No mark of a document: those go on behind a colon.
        return self.marks(step, run).removesuffix(b":")

    def _limit_key(self, step: Step, run: Run) -> bytes:
        # A key of its own: the limit may be met before all documents have been looked at, and after it.
        return self._looked_key(step, run) + _LIMIT_MET

    def replaced_by(self, step: Step, run: Run) -> ReplacedOriginals:
        """The backup of what is replaced."""
        index = str(step.index)
        if index not in self._replaced:
            manifest = self._work.manifest(step, run)
            options = {**manifest.options, "replaced": True}
            self._replaced[index] = ReplacedOriginals(
                Path(run.arguments["backup_dir"]),
                manifest.model_copy(update={"options": options}),
                self._work.require_lock,
                self._column,
            )
        return self._replaced[index]

    def conflicts(self, step: Step, run: Run) -> Iterator[bytes]:
        """The documents of which both forms were written, by whatever process they were met."""
        return self.replaced_by(step, run).conflicts()

    def tell_all(self, conflicts: Failures) -> None:
        """Tell of those that were not told, and how many there are beside."""
        for conflict in conflicts.listed:
            self.tell(conflict)
        if conflicts.count > TOLD_FAILURES:
            self._work.watcher.warned(f"both were written of {conflicts.count - TOLD_FAILURES:,} more")

    def backups(self, step: Step, run: Run) -> dict[str, Any]:
        """Where the backups of the run are, that of what was replaced among them."""
        replaced, backups = self.replaced_by(step, run), dict(run.backups)
        if replaced.exists:
            backups[str(step.index)] = str(BackupLocation.here(replaced.folder))
        return backups

    def close(self) -> None:
        """Finish the backups of what was replaced; where one can't be, the others are."""
        with ExitStack() as closing:
            for replaced in self._replaced.values():
                closing.callback(replaced.close)


def _way_of(step: Step, run: Run) -> str:
    """Tells several copyings of one run apart."""
    way = f"{run.plan.revision}:{step.index}:{step.work.rewrite}".encode("utf-8", "surrogateescape")
    return sha1(way, usedforsecurity=False).hexdigest()[:WAY_DIGITS]
