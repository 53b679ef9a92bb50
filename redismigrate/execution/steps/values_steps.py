"""The steps about values that no index reads: they go to a backup and from the documents, and come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.folders import backup_folder, discard_backup, room_problem
from redismigrate.backup.location import BackupLocation
from redismigrate.backup.values_on_disk import values_in
from redismigrate.errors import AuthenticationFailed, BackupFailed
from redismigrate.execution.documents.beside.dropping import WithoutValues, bring_values_back
from redismigrate.execution.documents.in_place.rights import require_rights
from redismigrate.execution.documents.traffic.mirroring import Mirror, Synchronised, keys_of
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.execution.steps.refusals import DocumentsRefused
from redismigrate.planning.plan import Step


class ValuesSteps:
    """Does them.

    Args:
        work: Where.
        allows_lossy: Make do with what is left of a backup that is damaged or gone.
    """

    def __init__(self, work: DocumentWork, *, allows_lossy: bool) -> None:
        self._work = work
        self._allows_lossy = allows_lossy

    def start_backup(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Make the backup that the values go to; the changes of the run.

        Raises:
            DocumentsRefused: The user lacks a right that dropping them needs.
            BackupFailed: It can't be written, or does not fit.
        """
        index, backup_dir = step.served, Path(run.arguments["backup_dir"])
        try:
            require_rights(self._work.job(step, run))
        except AuthenticationFailed as error:
            raise DocumentsRefused(error.message, error.hint) from error
        folder = backup_folder(backup_dir, self._work.project, run.id, run.plan.revision, index)
        discard_backup(folder, self._work.require_lock)
        problem = room_problem(backup_dir, step.estimate.backup_bytes)
        if problem is not None:
            raise BackupFailed(
                f"The backup of {index} does not fit: {problem}.", "Make room, or give another --backup-dir."
            )
        manifest = self._work.manifest(step, run)
        with BackupWriter.create(backup_dir, manifest, require_lock=self._work.require_lock):
            pass
        return {"backups": {**run.backups, index: str(BackupLocation.here(folder))}}

    def drop(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Remove the values, each once it is on disk; the changes of the run.

        All documents are looked at twice: what has values the second time was written meanwhile.

        Raises:
            BackupError: A value can't be backed up; it stays.
        """
        schema, rewrite = step.index_before.schema, step.work.rewrite
        folder = self._work.open(run.backups[step.served]).folder
        with BackupWriter.reopen(folder, require_lock=self._work.require_lock) as writer:
            mirror = WithoutValues(schema, rewrite.dropped, rewrite.excluded_prefixes, keep=writer.add)
            if step.backups_read:
                done, again = self._drop_what_came_back(step, run, mirror), Synchronised()
            else:
                done = self._all(step, run, mirror)
                again = self._all(step, run, mirror)
            writer.finish()
        if again.removed:
            self._work.watcher.warned(
                f"{again.removed:,} documents of {step.index} got values at {' and '.join(rewrite.dropped)} "
                "again meanwhile, which are backed up and removed, too: a release of the application still "
                "writes them, and what it writes from now on stays"
            )
        self._work.report(done.failures)
        counts = DocumentCounts(read=done.documents, rewritten=done.removed + again.removed)
        return {"documents": run.documents.plus(counts).plus(failed(done.failures))}

    def _drop_what_came_back(self, step: Step, run: Run, mirror: WithoutValues) -> Synchronised:
        """Drop the values that this run has brought back, and are as they were in the backup."""
        done = Synchronised()
        with self._synchroniser(step, run) as synchroniser:
            for location in step.backups_read:
                backup = self._work.what_is_left(location, step) if self._allows_lossy else None
                if backup is None and self._allows_lossy:
                    continue
                for chunk in (backup or self._work.open(location)).chunks():
                    known = replace(mirror, brought_back=dict(values_in(chunk, mirror.paths)))
                    synchroniser.synchronise_until_done(known, [chunk.documents.keys], done)
        return done

    def restore(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Bring values back where documents have none by now; the changes of the run.

        Raises:
            BackupError: The backup is not here, or not as it was written.
        """
        counts = DocumentCounts()
        for location in step.backups_read:
            if self._allows_lossy:
                backup = self._work.what_is_left(location, step)
                if backup is None:
                    continue
            else:
                self._work.read_whole(location, step)
                backup = self._work.open(location)
            schema, paths = step.index_before.schema, step.work.rewrite.dropped
            with self._synchroniser(step, run) as synchroniser:
                restored = bring_values_back(synchroniser, backup, schema, paths)
            self._work.report(restored.left)
            counts = counts.plus(DocumentCounts(rewritten=restored.documents).plus(failed(restored.left)))
        return {"documents": run.documents.plus(counts)}

    def _all(self, step: Step, run: Run, mirror: Mirror) -> Synchronised:
        """Bring all documents to what a mirror says."""
        with self._synchroniser(step, run) as synchroniser:
            return synchroniser.synchronise_until_done(mirror, keys_of(mirror, self._work.nodes))

    def _synchroniser(self, step: Step, run: Run) -> Synchroniser:
        job, work = self._work.job(step, run), self._work
        return Synchroniser(work.nodes, job.connections, job.batch_size, job.on_progress, work.pace)
