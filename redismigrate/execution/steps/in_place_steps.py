"""The steps that give documents a new form: backing up, rewriting, indexing, catching up with writers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.contents import QUANTIZATIONS
from redismigrate.backup.folders import backup_folder, discard_backup, room_problem
from redismigrate.backup.location import BackupLocation
from redismigrate.backup.written import keeps_log, open_log, start_log
from redismigrate.documents.digests import Digests
from redismigrate.documents.failures import Failures
from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import (
    AuthenticationFailed,
    BackupError,
    BackupFailed,
    FenceLost,
    RedisMigrateError,
)
from redismigrate.execution.documents.in_place.backing_up import Prepared, back_up
from redismigrate.execution.documents.in_place.growing import CutOff
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.older_originals import bring_precision_back
from redismigrate.execution.documents.in_place.rewriting import (
    add_originals,
    catch_up,
    count_left,
    digests_of_converted,
    is_any_in_old_form,
    rewrite,
)
from redismigrate.execution.documents.in_place.rights import KeyRights, require_rights
from redismigrate.execution.documents.in_place.touching import touch
from redismigrate.execution.documents.traffic.reading import documents_on, keys_in_form
from redismigrate.execution.indexes.live import look_at, not_in_index
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.execution.steps.refusals import DocumentsRefused, not_restorable, not_rewritable
from redismigrate.execution.steps.storage_steps import StorageSteps, changes_type
from redismigrate.planning.plan import Step
from redismigrate.planning.step_life import StepKind
from redismigrate.schema import IndexSchema
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.strict import encode
from redismigrate.state.keys import StateKeys

# Passes over what writers brought back to the old form: while the index is down, and once it is built.
MOST_PASSES = 4
# With fewer writes than this beside ours a pass while the index is down saves nothing.
FEW_WRITES = 1000


class NoBackup(RedisMigrateError):
    """The documents can't be backed up, or not be restored from where they shall be; none was changed."""


@dataclass(frozen=True)
class _JustRead:
    """An index whose documents were read, and not yet written, by this very process.

    Attributes:
        changes_before: The server's count of changes when it began to read them.
        stay_as_read: They stay as they are until they are written.
    """

    changes_before: int
    stay_as_read: bool


class DocumentSteps:
    """Does the steps of a run that rewrite documents.

    Args:
        work: Where.
    """

    def __init__(self, work: DocumentWork) -> None:
        self._work = work
        self._storage = StorageSteps(work)
        self._just_read: dict[str, _JustRead] = {}
        # Hashes of the keys of documents that can't be rewritten: every pass finds them again.
        self._seen: dict[str, set[int]] = {}
        self._failed_keys: set[int] = set()

    def back_up(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Back up what the rewrite changes; the changes of the run.

        Raises:
            DocumentsRefused: Too many documents can't be rewritten, or the user lacks a right for it.
            PlanBlocked: The vectors can't be quantized as asked for.
            NoBackup: The backup can't be written, or an older one that shall be restored from is missing or
                not as it was written.
        """
        try:
            return self._back_up(step, run)
        except BackupError as error:
            raise NoBackup(error.message, error.hint) from error

    def _back_up(self, step: Step, run: Run) -> Mapping[str, Any]:
        index, backup_dir = str(step.index), Path(run.arguments["backup_dir"])
        if not run.arguments.get("allow_lossy"):
            for location in step.restores_from:
                self._work.read_whole(location, step)
        folder = backup_folder(backup_dir, self._work.project, run.id, run.plan.revision, index)
        # What an attempt that was cut short has left: no document was changed before it was complete.
        discard_backup(folder, self._work.require_lock)
        problem = room_problem(backup_dir, step.estimate.backup_bytes)
        if problem is not None:
            raise BackupFailed(
                f"The backup of {index} does not fit: {problem}.", "Make room, or give another --backup-dir."
            )
        job = self._work.job(step, run)
        try:
            require_rights(job, shows_documents=is_shown_one_by_one(step, run))
            stay_as_read = job.may_skip_comparing(StateKeys(self._work.project).lock)
        except AuthenticationFailed as error:
            raise DocumentsRefused(error.message, error.hint) from error
        just_read = _JustRead(self._changes_now(), stay_as_read)
        try:
            prepared = self._write_backup(step, run, job)
        except FenceLost:
            raise  # the folder is another process's by now
        except BaseException:
            # On a full disk it would take the room of the next attempt. What else goes wrong meanwhile counts
            # less than why it failed, and the next attempt discards what is left.
            with suppress(RedisMigrateError, OSError):
                discard_backup(folder, self._work.require_lock)
            raise
        self._seen[index] = prepared.failures.seen
        self._just_read[index] = just_read
        counts = DocumentCounts(read=prepared.documents).plus(failed(prepared.failures))
        return {
            "backups": {**run.backups, index: str(BackupLocation.here(folder))},
            "quantizations": {**run.quantizations, index: dict(prepared.quantizations)},
            "documents": run.documents.plus(counts),
        }

    def _changes_now(self) -> int:
        """Writes since the server was saved last; after a save it is less than before."""
        return int(self._work.server.execute("INFO", "persistence")["rdb_changes_since_last_save"])

    def _write_backup(self, step: Step, run: Run, job: RewriteJob) -> Prepared:
        manifest, max_failures = self._work.manifest(step, run), int(run.arguments.get("max_failures", 0))
        backup_dir = Path(run.arguments["backup_dir"])
        with BackupWriter.create(backup_dir, manifest, require_lock=self._work.require_lock) as writer:
            # A vector of the new length may have been written by a newer application, or have lost half of
            # its components. It is sure to be new where there was none that the index did not take when the
            # run began; and the way back meets what the way there has left.
            leaves_new_form = step.work.is_all_indexed or run.direction == "downgrade"
            with closing(KeyRights(job, shows_documents=is_shown_one_by_one(step, run))) as rights:
                if changes_type(step):
                    prepared = self._storage.back_up(job, writer, rights)
                else:
                    prepared = back_up(
                        job,
                        writer,
                        max_failures,
                        leaves_new_form=leaves_new_form,
                        is_beside=step.life.name == "back_up_beside",
                        rights=rights,
                        cut_off=self._cut_off(step, run, job),
                    )
            self._work.report(prepared.failures)
            for path, count in prepared.already.items():
                self._work.watcher.warned(
                    f"{count:,} vectors in {path} of {step.index} have the length of the new datatype "
                    "already; they are left as they are"
                )
            self._failed_keys |= prepared.failures.seen
            if step.work.counts_on_none and prepared.documents:
                raise DocumentsRefused(
                    f"Index {step.index} had no documents when this was planned, and has "
                    f"{prepared.documents:,} by now: to give them another form in place, writers have to be "
                    "paused.",
                    "Pause them and say --exclusive, or let the script say op.assume_exclusive(reason).",
                )
            if prepared.lacking.count:
                raise not_restorable(prepared, str(step.index))
            if len(self._failed_keys) > max_failures:
                in_all = len(self._failed_keys)
                # What is refused is left out: other indexes of the revision may go on.
                self._failed_keys -= prepared.failures.seen
                raise not_rewritable(prepared, str(step.index), in_all)
            found = QUANTIZATIONS.dump_python(dict(prepared.quantizations))
            counted = {"quantizations": found, "read": prepared.documents, "kept": prepared.kept}
            log = start_log(writer.folder, self._work.require_lock) if job.rewrite.recodings else {}
            writer.finish({**manifest.options, **counted, **log})
        return prepared

    def _cut_off(self, step: Step, run: Run, job: RewriteJob) -> CutOff | None:
        """Tells which vectors can't get components back; None where none do, or they may do without."""
        if run.arguments.get("allow_lossy") or not any(each.grows for each in job.rewrite.recodings):
            return None
        return CutOff(self._work.older_backups(step, run), job)

    def rewrite(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Give the documents their new form, with the index down; the changes of the run."""
        index = str(step.index)
        if changes_type(step):
            return self._storage.rewrite(step, run, self._seen_in(index))
        job, backup = self._work.job(step, run), self._work.open(run.backups[index])
        quantizations = run.quantizations[index]
        just_read = self._just_read.pop(index, None)
        if just_read is not None:
            backup = replace(backup, is_fresh=True)
        may_skip_comparing = just_read is not None and just_read.stay_as_read
        if keeps_log(backup.manifest):
            with open_log(backup.folder, self._work.require_lock) as log:
                done = rewrite(job, backup, quantizations, log, may_skip_comparing=may_skip_comparing)
                log.seal()
        else:
            done = rewrite(job, backup, quantizations, may_skip_comparing=may_skip_comparing)
        counts = DocumentCounts(rewritten=done.documents).plus(failed(done.failures))
        self._work.report(done.failures)
        for older in self._work.older_backups(step, run):
            refused = bring_precision_back(
                older, self._work.open(run.backups[index]), job, quantizations, self._work.require_lock
            )
            self._work.report(refused)
            counts = counts.plus(failed(refused))
        written = done.documents * len(job.rewrite.recodings)
        others = None if just_read is None else self._changes_now() - just_read.changes_before - written
        # Few documents are caught up with faster once the index is built.
        is_quiet = others is not None and 0 <= others < FEW_WRITES
        if _has_step(run, "catch_up_documents", step.index) and not (
            is_shown_one_by_one(step, run) or is_quiet
        ):
            digests = self._digests(step, run, job, backup, quantizations)
            caught_up = self._catch_up(job, backup, quantizations, digests, MOST_PASSES, self._seen_in(index))
            counts = counts.plus(caught_up or DocumentCounts())
        return {"documents": run.documents.plus(counts)}

    def index(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Show the documents to their new index; those of the backup alone, where catching up sees all.

        Returns the changes of the run.
        """
        job, backup = self._work.job(step, run), self._work.open(run.backups[str(step.index)])
        after, catches_up = step.index_after.schema, _has_step(run, "catch_up_documents", step.index)
        if _lists_all(backup, job, after) or (catches_up and _reaches_all(job, after)):
            touched = touch(job, (chunk.documents.keys for chunk in backup.chunks()))
        else:
            touched = touch(job, documents_on(self._work.nodes, after, job.batch_size))
        self._work.report(touched.failures)
        return {"documents": run.documents.plus(failed(touched.failures))}

    def catch_up(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Convert what was written while the index was built, and count what is left.

        Returns the changes of the run.
        """
        index = str(step.index)
        job, backup = self._work.job(step, run), self._work.open(run.backups[index])
        if is_shown_one_by_one(step, run):
            job = replace(job, on_keys=lambda keys: self._show_what_lacks(step, job, keys))
        elif self._index_tells_that_all_are_new(step, job):
            return {}
        quantizations = run.quantizations[index]
        digests = self._digests(step, run, job, backup, quantizations)
        passes = MOST_PASSES if is_shown_one_by_one(step, run) else 1
        counts = self._catch_up(job, backup, quantizations, digests, passes, self._seen_in(index))
        if counts is None:
            return {}
        left = count_left(job, quantizations, digests)
        if left:
            self._work.watcher.warned(
                f"{left:,} documents of {index} are in the old form: writers wrote them faster than they "
                "could be converted; they are not in the index until they are written in the new one"
            )
        return {"documents": run.documents.plus(counts.plus(DocumentCounts(left_in_old_type=left)))}

    def _show_what_lacks(self, step: Step, job: RewriteJob, keys: Sequence[bytes]) -> None:
        """Show those of some documents to their new index that it does not hold."""
        lacking = not_in_index(self._work.server, step.index_after.physical, keys)
        # Of these the index can't tell.
        lacking += [key for key in keys if b"\0" in key]
        if lacking:
            self._work.report(touch(job, (lacking,)).failures)

    def _index_tells_that_all_are_new(self, step: Step, job: RewriteJob) -> bool:
        """Whether no document has the old form because none has failed to be indexed.

        A complete index takes no vector of another length, be it met by its scan or written later, and counts
        every one that it has not taken. After a restart of the server it is built once more.
        """
        if step.after is None or any(recoding.has_one_width for recoding in job.rewrite.recodings):
            return False
        before, after = job.schema, step.after.schema
        if before.prefixes != after.prefixes or not (before.filter is after.filter is None):
            return False
        live = look_at(self._work.server, step.after.physical)
        if live is None or live.statistics.is_indexing:
            return False
        return live.statistics.indexing_failures == 0

    def excuse(
        self, rewrite: Rewrite | None, run: Run
    ) -> Callable[[Sequence[bytes]], frozenset[bytes]] | None:
        """Tells which documents writers have brought back to the old form; None where nobody could."""
        if rewrite is None or run.is_exclusive:
            return None
        recodings = [recoding for recoding in rewrite.recodings if not recoding.has_one_width]

        def in_old_form(keys: Sequence[bytes]) -> frozenset[bytes]:
            return frozenset(
                key
                for recoding in recodings
                for found in keys_in_form(self._work.nodes, (keys,), recoding, is_new=False)
                for key in found
            )

        return in_old_form

    def _catch_up(
        self,
        job: RewriteJob,
        backup: Backup,
        quantizations: Mapping[str, Quantization],
        digests: Digests | None,
        passes: int,
        seen: set[int],
    ) -> DocumentCounts | None:
        """Passes over what was missed, until nothing is or there are no fewer than in the pass before.

        Returns None when nothing was missed.
        """
        counts, previous, started = DocumentCounts(), None, time.monotonic()
        if not is_any_in_old_form(job, digests):
            return None
        with BackupWriter.reopen(backup.folder, require_lock=self._work.require_lock) as writer:
            for _ in range(passes):
                if previous is not None and self._work.pace is not None:
                    self._work.pace.look_at_pass(job.physical, previous, time.monotonic() - started)
                failures = Failures(seen=seen)
                done = catch_up(job, writer, quantizations, digests, failures)
                self._work.report(done.failures)
                counts = counts.plus(DocumentCounts(rewritten=done.documents).plus(failed(done.failures)))
                if not done.documents or (previous is not None and done.documents >= previous):
                    break
                previous = done.documents
            writer.finish()
        return counts

    def _seen_in(self, index: str) -> set[int]:
        return self._seen.setdefault(index, set())

    def _digests(
        self,
        step: Step,
        run: Run,
        job: RewriteJob,
        backup: Backup,
        quantizations: Mapping[str, Quantization],
    ) -> Digests | None:
        """What has the new form: what was converted, and the originals that came back in its place."""
        digests = digests_of_converted(job, backup, quantizations)
        if digests is not None:
            for older in self._work.older_backups(step, run):
                add_originals(digests, job, older)
        return digests


def is_shown_one_by_one(step: Step, run: Run) -> bool:
    """Whether the documents are shown to their new index one by one."""
    return _has_step(run, "index_documents", step.index)


def _has_step(run: Run, kind: StepKind, index: str | None) -> bool:
    return any(step.kind == kind and step.index == index for step in run.plan.steps)


def _lists_all(backup: Backup, job: RewriteJob, after: IndexSchema) -> bool:
    """Whether a backup has every document that an index of this schema is about."""
    return (
        job.is_exclusive
        and job.schema.filter is None
        and _reaches_all(job, after)
        # Documents without any of the values, or that can't be rewritten, are not in it.
        and backup.documents == backup.count("read")
    )


def _reaches_all(job: RewriteJob, after: IndexSchema) -> bool:
    """Whether the keys of a rewrite are all that an index of this schema is about.

    Where keys move, others may have had the new prefix from the beginning.
    """
    prefixes = tuple(map(encode, job.schema.prefixes)) or (b"",)
    return not (job.rewrite.prefixes or job.rewrite.excluded_prefixes) and all(
        encode(prefix).startswith(prefixes) for prefix in after.prefixes or ("",)
    )
