"""The steps that undo a rewrite of documents: checking its backup, and restoring from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import (
    QUANTIZATIONS,
    quantizations_in,
)
from redismigrate.execution.documents.in_place.older_originals import take_precision_back
from redismigrate.execution.documents.in_place.restoring import restore_documents
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.execution.steps.storage_steps import StorageSteps, changes_type
from redismigrate.planning.plan import Step


class RestoringSteps:
    """Does the steps of a run that bring documents back.

    Args:
        work: Where.
        allows_lossy: Make do with what is left of a backup that is damaged or gone.
    """

    def __init__(self, work: DocumentWork, *, allows_lossy: bool) -> None:
        self._work = work
        self._allows_lossy = allows_lossy

    def verify(self, step: Step) -> None:
        """Read the whole backups that the next steps restore from; not where what is left of them has to do.

        Raises:
            BackupMissing: One is not on this machine.
            BackupDamaged: One is not as it was written.
        """
        if self._allows_lossy:
            return
        for location in step.backups_read:
            self._work.read_whole(location, step)

    def restore(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Bring the documents back as they were; the changes of the run."""
        if step.backup is None:
            return {}  # the run was turned round before there was a backup, so nothing was written
        if changes_type(step):
            return self._restore_type(step, run, step.backup)
        job, is_all_there = self._work.job(step, run), True
        backup = self._left(step.backup, step)
        if backup is None:
            backup, is_all_there = self._empty_backup(step, run), False
        quantizations = quantizations_in(backup)
        # Documents that got older originals back don't hold what the conversion made of them.
        olders = [self._left(location, step) for location in reversed(step.restores_from)]
        taken = take_precision_back(filter(None, olders), backup, job, quantizations)
        counts = DocumentCounts()
        for refused in taken.refused:
            self._work.report(refused)
            counts = counts.plus(failed(refused))
        is_all_there = is_all_there and all(each is not None and not each.lost_chunks for each in olders)
        is_all_there = is_all_there and not backup.lost_chunks
        given_back = taken.given_back
        restored = restore_documents(
            job, backup, quantizations, given_back=given_back, converts_rest=not is_all_there
        )
        if step.life.name == "restore_promoted":
            # What has the new form is turned back with its second field, or told then.
            for recoding in job.rewrite.recodings:
                for keys in job.keys_in_form(recoding, is_new=True):
                    restored.left.forget(keys)
        self._work.report(restored.left)
        counts = counts.plus(DocumentCounts(rewritten=restored.documents).plus(failed(restored.left)))
        return {"documents": run.documents.plus(counts)}

    def _restore_type(self, step: Step, run: Run, location: str) -> Mapping[str, Any]:
        """Bring documents back that became ones of the other type; the changes of the run."""
        backup = self._left(location, step)
        olders = [self._left(older, step) for older in step.restores_from]
        is_all_there = all(each is not None and not each.lost_chunks for each in (backup, *olders))
        restored = StorageSteps(self._work).restore(
            step, run, backup, filter(None, olders), converts_rest=not is_all_there
        )
        self._work.report(restored.left)
        counts = DocumentCounts(rewritten=restored.documents).plus(failed(restored.left))
        return {"documents": run.documents.plus(counts)}

    def _left(self, location: str, step: Step) -> Backup | None:
        """A backup, or what is left of it where that has to do, None for nothing; tells what is lost."""
        if not self._allows_lossy:
            return self._work.open(location)
        return self._work.what_is_left(location, step)

    def _empty_backup(self, step: Step, run: Run) -> Backup:
        """What the run itself knows of a backup that is lost."""
        manifest = self._work.manifest(step, run)
        found = QUANTIZATIONS.dump_python(run.quantizations.get(str(step.index), {}))
        options = {**manifest.options, "quantizations": found}
        return Backup(Path(), manifest.model_copy(update={"options": options}), ())
