"""What the steps of `shadow_field` do beyond those of every second form: they back up, move and remove."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.written import keeps_log, open_log
from redismigrate.documents.failures import Failures
from redismigrate.errors import BackupError
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.beside.growing_backup import GrowingBackup
from redismigrate.execution.documents.beside.leftover_fields import LeftoverFields
from redismigrate.execution.documents.beside.promoting import note_promoted
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import FieldAim, SecondField
from redismigrate.execution.documents.in_place.rewriting import count_left
from redismigrate.execution.documents.traffic.mirroring import Synchronised, keys_of
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.planning.plan import Step

# After all documents come those that were written meanwhile; with busy writers there is no last one.
_ROUNDS = 5


class SecondFieldSteps:
    """Does them.

    Args:
        work: Where.
        allows_lossy: Take second fields back although there is no backup for what is lost with them.
    """

    def __init__(self, work: DocumentWork, *, allows_lossy: bool = False) -> None:
        self._work = work
        self._allows_lossy = allows_lossy
        # Index -> the documents that were written in the old form after all had the new one.
        self._written_late: dict[str, int] = {}

    def mirror(self, step: Step, run: Run, aim: FieldAim) -> SecondFields:
        """The second fields of a step, and the backup that gets what would be lost with them."""
        schema, work, rewrite = step.index_before.schema, step.work, step.work.rewrite
        quantizations = run.quantizations.get(str(step.index), {})
        make_transform = self._work.job(step, run).make_transform
        fields = tuple(
            SecondField.of(recoding, work.second_fields[recoding.path], quantizations, make_transform)
            for recoding in rewrite.recodings
        )
        originals = self._originals(step, run, aim)
        return SecondFields(schema, fields, aim, rewrite.excluded_prefixes, originals)

    def sweep(self, step: Step, synchroniser: Synchroniser) -> None:
        """Remove second fields that an earlier run has left: nothing of another run may be read.

        They have the same names where that run was of the same revision, and its record is lost.
        """
        schema, work, rewrite = step.index_before.schema, step.work, step.work.rewrite
        names = tuple(work.second_fields[recoding.path] for recoding in rewrite.recodings)
        leftover = LeftoverFields(schema, names, rewrite.excluded_prefixes)
        done = synchroniser.synchronise_until_done(leftover, keys_of(leftover, self._work.nodes))
        if done.removed:
            self._work.watcher.warned(
                f"{done.removed:,} documents of {step.index} had {' and '.join(names)} of an earlier run; "
                "that is removed"
            )

    def note_promoted(self, step: Step, run: Run) -> None:
        """Note in the backup what is about to be promoted, so that it is known when it is taken back.

        Raises:
            BackupError: It can't be read or written.
        """
        backup = self._work.open(run.backups[str(step.index)])
        if keeps_log(backup.manifest):
            with open_log(backup.folder, self._work.require_lock) as log:
                transform = self._work.job(step, run).transform(run.quantizations[str(step.index)])
                note_promoted(backup, transform, log)
                log.seal()

    def note_written(self, step: Step, converted: int) -> None:
        """So many documents were written in the old form after that, and are converted."""
        index = str(step.index)
        self._written_late[index] = self._written_late.get(index, 0) + converted

    def remove(self, step: Step, run: Run, synchroniser: Synchroniser) -> DocumentCounts:
        """Remove the second fields, and see to it that the declared ones are in one form.

        Returns:
            What is left in the old form when all is done, or in the new one where it is taken back.

        Raises:
            TrackingLost: The server does not report writes for as long as a pass over all documents takes.
            BackupError: What is replaced can't be backed up.
        """
        mirror = self.mirror(step, run, "reverted" if _takes_back(step) else "removed")
        done = Synchronised(failures=Failures(seen=_known_failures(run)))
        with closing(mirror), Follower(self._work.nodes, mirror, synchroniser) as follower:
            follower.synchronise_all(done)
            for _ in range(_ROUNDS):
                if not follower.count_written():
                    break
                follower.follow(done)
        self._finish_backup(step, run)
        self._work.report(done.failures)
        if _takes_back(step):
            return failed(done.failures)
        self.note_written(step, done.converted)
        return self._left(step, run, done.failures.seen).plus(failed(done.failures))

    def _left(self, step: Step, run: Run, told: set[int]) -> DocumentCounts:
        """What has the old form in the end; the documents that were told already are among it no more."""
        index, rewrite = str(step.index), step.work.rewrite
        failures = Failures(seen=told)
        left = count_left(self._work.job(step, run), run.quantizations[index], None, failures)
        self._work.report(failures)
        written_late = self._written_late.pop(index, 0)
        if left or written_late:
            before, after = (
                " and ".join(dict.fromkeys(getattr(recoding, name) for recoding in rewrite.recodings))
                for name in ("before", "after")
            )
            self._work.watcher.warned(
                f"writers of {index} have not stopped writing {before}: {left:,} documents are in that form "
                "now. What is written in it from now on is not converted, and searches do not find those "
                f"documents until they are written in {after}"
            )
        return DocumentCounts(left_in_old_type=left).plus(failed(failures))

    def _originals(self, step: Step, run: Run, aim: FieldAim) -> GrowingBackup | None:
        location = run.backups.get(str(step.index))
        if location is None:
            return None

        def open_backup() -> Backup:
            return self._work.open(location)

        may_go_without = aim == "beside" or (aim == "reverted" and self._allows_lossy)
        go_without: Callable[[str], None] | None = self._tell_that_lost if may_go_without else None
        return GrowingBackup(open_backup, self._work.require_lock, go_without)

    def _tell_that_lost(self, reason: str) -> None:
        self._work.watcher.warned(
            f"{reason} Vectors that were written in the new form go on without what the old one can't tell"
        )

    def _finish_backup(self, step: Step, run: Run) -> None:
        """Mark a backup as complete again that has grown."""
        location = run.backups.get(str(step.index))
        if location is None:
            return
        try:
            backup = self._work.open(location)
        except BackupError:
            if _takes_back(step):  # nothing had to be added to it
                return
            raise
        if not backup.manifest.complete:
            with BackupWriter.reopen(backup.folder, require_lock=self._work.require_lock) as writer:
                writer.finish()


def _takes_back(step: Step) -> bool:
    return step.life.name == "take_second_fields_back"


def _known_failures(run: Run) -> set[int]:
    """The documents that were told already, as `Failures.seen` has them."""
    return {hash(key.encode("utf-8", "surrogateescape")) for key, _ in run.documents.failed}
