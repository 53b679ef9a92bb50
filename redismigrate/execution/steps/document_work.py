"""What all steps about documents share: the connection with its fence, places of backups, and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import REWRITES, backup_fields, restorable_part
from redismigrate.backup.location import BackupLocation
from redismigrate.backup.manifest import Manifest
from redismigrate.backup.written import LOG
from redismigrate.documents.failures import Failures
from redismigrate.errors import BackupDamaged, BackupMissing
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.pace.busy_writers import Backlog
from redismigrate.execution.pace.pace import Pace
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.reading_backups import read_whole
from redismigrate.planning.plan import Step
from redismigrate.redis_server.connection import Server
from redismigrate.schema.strict import readable_key

HEARTBEAT_SECONDS = 1.0
TOLD_FAILURES = 10


@dataclass(frozen=True)
class DocumentWork:
    """Where documents are read and written, and who is told.

    Attributes:
        nodes: Where the documents are. The fence of a batch's node is checked in every batch of writes, and
            that of the home node before each file of a backup.
        project: Whose backups are made and read.
        watcher: Is told what happens.
        beat: Notes how many documents of how many are done; called about once a second.
        backup_dir: Where the user says that backups are by now; None looks where they were written.
        pace: Admits every batch that is read or written; None for no limits.
        max_removals: How many documents may go that nobody saw being deleted; None for the usual limit.
        watch: Told after every batch how far behind writers the second forms of an index are; may end the
            run by raising WritersAhead.
    """

    nodes: Nodes
    project: str
    watcher: Watcher
    beat: Callable[[int, int], None]
    backup_dir: Path | None
    pace: Pace | None = None
    max_removals: int | None = None
    watch: Callable[[str, Backlog], object] = lambda _index, _backlog: None

    @property
    def server(self) -> Server:
        """The connection to the node that holds the state, and is asked about indexes."""
        return self.nodes.home.server

    def require_lock(self) -> None:
        """Go on only with the lock.

        Raises:
            FenceLost: Another process has taken it over.
        """
        fence = self.nodes.home.fence
        fence.require(self.server.execute("GET", fence.key))

    def open(self, location: str) -> Backup:
        """The backup that the state says is there.

        Raises:
            BackupMissing: It is not on this machine.
            BackupDamaged: Its manifest or its list of chunks is not as it was written.
        """
        return BackupLocation.parse(location).open(self.backup_dir)

    def read_whole(self, location: str, step: Step) -> None:
        """Read every file of a backup, as a part of a step.

        Raises:
            BackupMissing: It is not on this machine.
            BackupDamaged: It is not as it was written.
        """

        def on_read(_folder: str, documents: int, of: int) -> None:
            if documents:
                self.watcher.indexed(step, documents, of)

        read_whole(location, self.backup_dir, on_read)

    def what_is_left(self, location: str, step: Step) -> Backup | None:
        """A backup without what of it is damaged, None where nothing is left; tells what is lost.

        Args:
            location: Where the state says it is.
            step: Which needs it.
        """
        consequence = "vectors that still have the new form are converted back, without what that has rounded"
        try:
            backup = restorable_part(self.open(location))
        except (BackupDamaged, BackupMissing) as error:
            self.watcher.warned(
                f"{error.message} All originals of {step.index} in it are lost: {consequence}"
            )
            return None
        if LOG in backup.lost:
            self.watcher.warned(
                f"{LOG} of the backup in {backup.folder} is damaged: what was written into the documents of "
                f"{step.index} is found out by converting their originals once more"
            )
        if backup.lost_chunks:
            self.watcher.warned(
                f"{backup.lost_chunks:,} of {len(backup.records):,} chunks of the backup in {backup.folder} "
                f"are damaged, and with them the originals of {backup.lost_documents:,} documents of "
                f"{step.index}: {consequence}"
            )
        return backup

    def older_backups(self, step: Step, run: Run) -> Iterator[Backup]:
        """The backups of the revision that is undone; where something may be lost, what is left of them.

        Raises:
            BackupMissing: One is not on this machine.
            BackupDamaged: Its manifest is not as it was written.
        """
        for location in step.restores_from:
            if not run.arguments.get("allow_lossy"):
                yield self.open(location)
            elif (left := self.what_is_left(location, step)) is not None:
                yield left

    def job(self, step: Step, run: Run) -> RewriteJob:
        """The rewrite that a step does or undoes."""
        before, rewrite = step.index_before, step.work.rewrite
        expected, done, last_beat = step.estimate.documents, 0, time.monotonic()

        def on_progress(documents: int) -> None:
            nonlocal done, last_beat
            done += documents
            if time.monotonic() - last_beat < HEARTBEAT_SECONDS:
                return
            last_beat = time.monotonic()
            # Some steps look at the documents more than once: each counts once.
            told = min(done, expected) if expected else done
            self.beat(told, expected or done)
            self.watcher.indexed(step, told, expected or done)

        return RewriteJob(
            self.nodes,
            before.physical,
            before.schema,
            rewrite,
            int(run.arguments["batch_size"]),
            int(run.arguments["workers"]),
            run.is_exclusive,
            on_progress,
            self.pace,
        )

    def manifest(self, step: Step, run: Run) -> Manifest:
        """What the backup says of itself that the step of the run makes, or has made."""
        job = self.job(step, run)
        return Manifest(
            project=self.project,
            run=run.id,
            revision=run.plan.revision,
            index=str(step.index),
            phase=run.direction,
            fields=backup_fields(job.rewrite),
            schema_before=job.schema.model_dump(),
            options={
                "rewrite": REWRITES.dump_python(job.rewrite),
                "direction": run.direction,
                "restores_from": list(step.restores_from),
            },
        )

    def report(self, failures: Failures) -> None:
        """Tell of documents that are left as they are."""
        for document in failures.listed[:TOLD_FAILURES]:
            self.watcher.warned(f"{readable_key(document.key)}: {document.reason}")
        if failures.count > TOLD_FAILURES:
            self.watcher.warned(f"and {failures.count - TOLD_FAILURES:,} documents more")


def failed(failures: Failures) -> DocumentCounts:
    """Documents that are left as they are, as a run counts them."""
    return DocumentCounts(
        failed_count=failures.count,
        failed=tuple(
            (document.key.decode("utf-8", "surrogateescape"), document.reason) for document in failures.listed
        ),
    )
