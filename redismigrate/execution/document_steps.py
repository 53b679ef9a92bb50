"""The steps that read and write documents: backing up, rewriting, catching up with writers, restoring."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from redismigrate.errors import (
    AuthenticationFailed,
    BackupDamaged,
    BackupError,
    BackupFailed,
    RedisMigrateError,
)
from redismigrate.execution.documents.backing_up import Prepared, back_up, backup_fields
from redismigrate.execution.documents.backup import Backup
from redismigrate.execution.documents.backup_folders import backup_folder, discard, room_problem
from redismigrate.execution.documents.backup_location import BackupLocation
from redismigrate.execution.documents.backup_writer import BackupWriter
from redismigrate.execution.documents.digests import Digests
from redismigrate.execution.documents.fence import Fence
from redismigrate.execution.documents.job import Failures, RewriteJob
from redismigrate.execution.documents.manifest import Manifest
from redismigrate.execution.documents.reading import batches_of_documents, read_lengths
from redismigrate.execution.documents.restoring import Restored, restore, restore_precision
from redismigrate.execution.documents.rewriting import (
    add_originals,
    catch_up,
    count_in_old_form,
    count_left,
    digests_of_converted,
    rewrite,
)
from redismigrate.execution.documents.rights import require_rights
from redismigrate.execution.documents.touching import touch
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.planning.plan import Step
from redismigrate.planning.rewriting import Rewrite
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.strict import encode
from redismigrate.state.keys import StateKeys

# Passes over what writers brought back to the old form: while the index is down, and once it is built.
MOST_PASSES = 4
SHOWN_FAILURES = 3
TOLD_FAILURES = 10
HEARTBEAT_SECONDS = 1.0

_REWRITES: TypeAdapter[Rewrite] = TypeAdapter(Rewrite)
_QUANTIZATIONS: TypeAdapter[dict[str, Quantization]] = TypeAdapter(dict[str, Quantization])


class DocumentsRefused(RedisMigrateError):
    """More documents than allowed can't be rewritten, or the user lacks a right for it; none was."""


class NoBackup(RedisMigrateError):
    """The documents can't be backed up, or not be restored from where they shall be; none was changed."""


class DocumentSteps:
    """Does the steps of a run that read or write documents.

    Args:
        server: The connection.
        project: Whose backups it makes.
        fence: Checked in every batch of writes.
        watcher: Is told what happens.
        beat: Notes how many documents of how many are done; called about once a second.
        backup_dir: Where the user says that backups are by now; None looks where they were written.
    """

    def __init__(
        self,
        server: Server,
        project: str,
        fence: Fence,
        watcher: Watcher,
        beat: Callable[[int, int], None],
        backup_dir: Path | None,
    ) -> None:
        self._server = server
        self._project = project
        self._fence = fence
        self._watcher = watcher
        self._beat = beat
        self._backup_dir = backup_dir
        # The indexes whose documents were read, and not yet written, by this very process.
        self._just_read: set[str] = set()
        # Hashes of the keys of documents that can't be rewritten: every pass finds them again.
        self._seen: dict[str, set[int]] = {}

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
        for location in step.restores_from:
            self._open(location).require_intact()
        folder = backup_folder(backup_dir, self._project, run.id, run.plan.revision, index)
        # What an attempt that was cut short has left: no document was changed before it was complete.
        discard(folder)
        problem = room_problem(backup_dir, step.estimate.backup_bytes)
        if problem is not None:
            raise BackupFailed(
                f"The backup of {index} does not fit: {problem}.", "Make room, or give another --backup-dir."
            )
        job = self._job(step, run)
        options = {
            "rewrite": _REWRITES.dump_python(job.rewrite),
            "direction": run.direction,
            "restores_from": list(step.restores_from),
        }
        manifest = Manifest(
            project=self._project,
            run=run.id,
            revision=run.plan.revision,
            index=index,
            phase=run.direction,
            fields=backup_fields(job.rewrite),
            schema_before=job.schema.model_dump(),
            options=options,
        )
        max_failures = int(run.arguments.get("max_failures", 0))
        may_skip_comparing = job.may_skip_comparing(StateKeys(self._project).lock)
        try:
            require_rights(job, shows_documents=is_sparse(step, run))
        except AuthenticationFailed as error:
            raise DocumentsRefused(error.message, error.hint) from error
        with closing(BackupWriter.create(backup_dir, manifest)) as writer:
            # A vector of the new length may have been written by a newer application, or have lost half of
            # its components. It is sure to be new where there was none that the index did not take when the
            # run began; and the way back meets what the way there has left.
            leaves_new_form = step.is_all_indexed or run.direction == "downgrade"
            prepared = back_up(job, writer, max_failures, leaves_new_form=leaves_new_form)
            self._report(prepared.failures)
            for path, count in prepared.already.items():
                self._watcher.warned(
                    f"{count:,} vectors in {path} of {index} have the length of the new datatype already; "
                    "they are left as they are"
                )
            if prepared.failures.count > max_failures:
                writer.close()
                discard(folder)  # it would be in the way of nothing, but mean nothing either
                raise _refused(prepared, index)
            found = _QUANTIZATIONS.dump_python(dict(prepared.quantizations))
            writer.finish(
                options | {"quantizations": found, "read": prepared.documents, "kept": prepared.kept}
            )
        self._seen[index] = prepared.failures.seen
        if may_skip_comparing:
            self._just_read.add(index)
        counts = DocumentCounts(read=prepared.documents).plus(_failed(prepared.failures))
        return {
            "backups": {**run.backups, index: str(BackupLocation.here(folder))},
            "quantizations": {**run.quantizations, index: dict(prepared.quantizations)},
            "documents": run.documents.plus(counts),
        }

    def rewrite(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Give the documents their new form, with the index down; the changes of the run."""
        index = str(step.index)
        job, backup = self._job(step, run), self._open(run.backups[index])
        quantizations = run.quantizations[index]
        may_skip_comparing = index in self._just_read
        self._just_read.discard(index)
        done = rewrite(job, backup, quantizations, may_skip_comparing=may_skip_comparing)
        counts = DocumentCounts(rewritten=done.documents).plus(_failed(done.failures))
        self._report(done.failures)
        for location in step.restores_from:
            bring_precision_back(self._open(location), job, quantizations)
        # Few documents are caught up with faster once the index is built.
        if job.rewrite.recodings and not (job.is_exclusive or is_sparse(step, run)):
            digests = self._digests(step, job, backup, quantizations)
            caught_up = self._catch_up(job, backup, quantizations, digests, MOST_PASSES, self._seen_in(index))
            counts = counts.plus(caught_up or DocumentCounts())
        return {"documents": run.documents.plus(counts)}

    def index(self, step: Step, run: Run) -> None:
        """Show the documents to their new index."""
        if step.after is None:
            raise ValueError("index_documents needs the index after it")
        job, backup = self._job(step, run), self._open(run.backups[str(step.index)])
        if _lists_all(backup, job, step.after.schema):
            mover = job.mover()
            keys = (chunk.documents.keys for chunk in backup.chunks())
            touch(job, keys if mover is None else ([mover.target(key) for key in batch] for batch in keys))
        else:
            touch(job, batches_of_documents(self._server, step.after.schema, job.batch_size))

    def catch_up(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Convert what was written while the index was built, and count what is left.

        Returns the changes of the run.
        """
        index = str(step.index)
        job, backup = self._job(step, run), self._open(run.backups[index])
        quantizations = run.quantizations[index]
        digests = self._digests(step, job, backup, quantizations)
        passes = MOST_PASSES if is_sparse(step, run) else 1
        counts = self._catch_up(job, backup, quantizations, digests, passes, self._seen_in(index))
        if counts is None:
            return {}
        left = count_left(job, quantizations, digests)
        if left:
            self._watcher.warned(
                f"{left:,} vectors of {index} are in the old form: writers wrote them faster than they could "
                "be converted; their documents are not in the index until they are written in the new one"
            )
        return {"documents": run.documents.plus(counts.plus(DocumentCounts(left_in_old_type=left)))}

    def excuse(self, step: Step, run: Run) -> Callable[[Sequence[bytes]], frozenset[bytes]] | None:
        """Tells which documents writers have brought back to the old form; None where nobody could."""
        if step.rewrite is None or run.arguments["exclusive"]:
            return None
        recodings = [recoding for recoding in step.rewrite.recodings if not recoding.has_one_width]

        def in_old_form(keys: Sequence[bytes]) -> frozenset[bytes]:
            return frozenset(
                key
                for recoding in recodings
                for batch, lengths in read_lengths(self._server, (keys,), recoding.path)
                for key, size in zip(batch, lengths, strict=True)
                if size == recoding.bytes_before
            )

        return in_old_form

    def verify(self, step: Step) -> None:
        """Read the whole backup that the next steps restore from.

        Raises:
            BackupMissing: It is not on this machine.
            BackupDamaged: It is not as it was written.
        """
        for location in (step.backup, *step.restores_from):
            if location is not None:
                self._open(location).require_intact()

    def restore(self, step: Step, run: Run) -> Mapping[str, Any]:
        """Bring the documents back as they were; the changes of the run."""
        if step.backup is None:
            return {}  # the run was turned round before there was a backup, so nothing was written
        backup = self._open(step.backup)
        # Documents that got older originals back don't hold what the conversion made of them.
        for location in reversed(step.restores_from):
            bring_precision_back(
                self._open(location), self._job(step, run), quantizations_in(backup), takes_back=True
            )
        restored = self.restore_from(step, run, backup)
        counts = DocumentCounts(rewritten=restored.documents).plus(_failed(restored.left))
        self._report(restored.left)
        return {"documents": run.documents.plus(counts)}

    def restore_from(self, step: Step, run: Run, backup: Backup) -> Restored:
        """Restore from a backup whose manifest says how integers were made."""
        return restore(self._job(step, run), backup, quantizations_in(backup))

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
        counts, previous = DocumentCounts(), None
        if not count_in_old_form(job, digests):
            return None
        with closing(BackupWriter.reopen(backup.folder)) as writer:
            for _ in range(passes):
                failures = Failures(seen=seen)
                done = catch_up(job, writer, quantizations, digests, failures)
                self._report(done.failures)
                counts = counts.plus(DocumentCounts(rewritten=done.documents).plus(_failed(done.failures)))
                if not done.documents or (previous is not None and done.documents >= previous):
                    break
                previous = done.documents
            writer.finish()
        return counts

    def _seen_in(self, index: str) -> set[int]:
        return self._seen.setdefault(index, set())

    def _digests(
        self, step: Step, job: RewriteJob, backup: Backup, quantizations: Mapping[str, Quantization]
    ) -> Digests | None:
        """What has the new form: what was converted, and the originals that came back in its place."""
        digests = digests_of_converted(job, backup, quantizations)
        if digests is not None:
            for location in step.restores_from:
                add_originals(digests, job, self._open(location))
        return digests

    def _job(self, step: Step, run: Run) -> RewriteJob:
        if step.rewrite is None or step.before is None:
            raise ValueError(f"a step {step.kind} needs a rewrite and the index before")
        expected, done, last_beat = step.estimate.documents, 0, time.monotonic()

        def on_progress(documents: int) -> None:
            nonlocal done, last_beat
            done += documents
            if time.monotonic() - last_beat < HEARTBEAT_SECONDS:
                return
            last_beat = time.monotonic()
            of = max(expected, done)
            self._watcher.indexed(step, done, of)
            self._beat(done, of)

        return RewriteJob(
            self._server,
            self._fence,
            step.before.physical,
            step.before.schema,
            step.rewrite,
            int(run.arguments["batch_size"]),
            int(run.arguments["workers"]),
            bool(run.arguments["exclusive"]),
            on_progress,
        )

    def _open(self, location: str) -> Backup:
        return BackupLocation.parse(location).open(self._backup_dir)

    def _report(self, failures: Failures) -> None:
        for document in failures.listed[:TOLD_FAILURES]:
            self._watcher.warned(f"{readable(document.key)}: {document.reason}")
        if failures.count > TOLD_FAILURES:
            self._watcher.warned(f"and {failures.count - TOLD_FAILURES:,} documents more")


def bring_precision_back(
    backup: Backup, job: RewriteJob, quantizations: Mapping[str, Quantization], *, takes_back: bool = False
) -> None:
    """Take what a conversion back can't know from a backup of the revision that is undone.

    Args:
        backup: Of the way there.
        job: The way back.
        quantizations: How the way back made integers.
        takes_back: Do the opposite, so that the documents are as the conversion alone has left them.
    """
    restore_precision(
        job,
        backup,
        quantizations,
        rewrite_in(backup).recodings,
        quantizations_in(backup),
        takes_back=takes_back,
    )


def older_backups_in(backup: Backup) -> tuple[BackupLocation, ...]:
    """Where the run that made a backup has taken originals from, which a conversion back can't give."""
    return tuple(map(BackupLocation.parse, backup.manifest.options.get("restores_from", ())))


def rewrite_in(backup: Backup) -> Rewrite:
    """What the run that made a backup did to the documents.

    Raises:
        BackupDamaged: The manifest does not say it.
    """
    try:
        return _REWRITES.validate_python(backup.manifest.options["rewrite"])
    except (KeyError, TypeError, ValueError) as error:
        raise BackupDamaged(f"The manifest in {backup.folder} does not say what was rewritten.") from error


def quantizations_in(backup: Backup) -> dict[str, Quantization]:
    """How the run that made a backup made integers; empty when it never came so far.

    Raises:
        BackupDamaged: The manifest holds something else.
    """
    try:
        return _QUANTIZATIONS.validate_python(backup.manifest.options.get("quantizations", {}))
    except (AttributeError, ValueError) as error:
        raise BackupDamaged(f"The manifest in {backup.folder} has no usable quantizations.") from error


def readable(key: bytes) -> str:
    """A key for people; bytes that are no UTF-8 as escapes."""
    return key.decode("utf-8", "backslashreplace")


def is_sparse(step: Step, run: Run) -> bool:
    """Whether the documents are shown to their new index one by one."""
    return any(other.kind == "index_documents" and other.index == step.index for other in run.plan.steps)


def _lists_all(backup: Backup, job: RewriteJob, after: IndexSchema) -> bool:
    """Whether a backup has every document that an index of this schema is about."""
    before, mover = job.schema, job.mover()
    prefixes = tuple(map(encode, before.prefixes)) or (b"",)
    moved = prefixes if mover is None else tuple(map(mover.target, prefixes))
    return (
        job.is_exclusive
        and before.filter is None
        and not job.rewrite.excluded_prefixes
        and all(encode(prefix).startswith(moved) for prefix in after.prefixes or ("",))
        # Documents without any of the values, or that can't be rewritten, are not in it.
        and backup.documents == backup.manifest.options.get("read")
    )


def _failed(failures: Failures) -> DocumentCounts:
    return DocumentCounts(
        failed_count=failures.count,
        failed=tuple(
            (document.key.decode("utf-8", "surrogateescape"), document.reason) for document in failures.listed
        ),
    )


def _refused(prepared: Prepared, index: str) -> DocumentsRefused:
    failures = prepared.failures
    shown = "; ".join(f"{readable(d.key)}: {d.reason}" for d in failures.listed[:SHOWN_FAILURES])
    more = f"; and {failures.count - SHOWN_FAILURES:,} more" if failures.count > SHOWN_FAILURES else ""
    refused = DocumentsRefused(
        f"{failures.count:,} of {prepared.documents:,} documents of {index} can't be rewritten: "
        f"{shown}{more}.",
        f"Correct them, or leave them as they are with --max-failures {failures.count}.",
    )
    refused.documents = DocumentCounts(read=prepared.documents).plus(_failed(failures))
    return refused
