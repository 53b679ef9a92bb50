"""What the steps in place do where documents become ones of the other type: whole ones, by scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.converted_documents import (
    add_given_back,
    digests_of_made,
    digests_of_originals,
    originals_in,
)
from redismigrate.documents.digests import Digests
from redismigrate.documents.failures import Failures, Restored
from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.storage_change import StorageChange
from redismigrate.documents.storage_transform import StoreDocuments
from redismigrate.execution.documents.in_place.backing_up import Prepared
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.joined_chunks import JoinedChunks
from redismigrate.execution.documents.in_place.other_type import Examined, InOtherType, TurnedBack
from redismigrate.execution.documents.in_place.rights import KeyRights
from redismigrate.execution.documents.traffic.mirroring import Synchronised, keys_of
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.execution.steps.document_work import DocumentWork, failed
from redismigrate.planning.plan import Step
from redismigrate.schema import IndexSchema
from redismigrate.state.keys import StateKeys


def changes_type(step: Step) -> bool:
    """Whether a step in place is about documents that become ones of the other type."""
    return step.work.rewrite.storage is not None


class StorageSteps:
    """Does them.

    Args:
        work: Where.
    """

    def __init__(self, work: DocumentWork) -> None:
        self._work = work
        self._aside = StateKeys(work.project).aside.encode()

    def back_up(self, job: RewriteJob, writer: BackupWriter, rights: KeyRights) -> Prepared:
        """Write all documents that can be converted to disk, and find the others; nothing is changed.

        Args:
            job: The rewrite.
            writer: A new backup; its chunks are all on disk when this returns, but it is not finished.
            rights: Tells of which keys the user lacks a right.

        Raises:
            BackupFailed: A chunk can't be written.
        """
        chunks = JoinedChunks(writer)
        mirror = Examined(
            job.schema,
            self._aside,
            job.rewrite.excluded_prefixes,
            StoreDocuments(_storage_of(job.rewrite)),
            chunks.add,
            rights.lacking,
        )
        with _synchroniser(job) as synchroniser:
            done = synchroniser.synchronise_until_done(mirror, keys_of(mirror, self._work.nodes))
        chunks.finish()
        return Prepared(done.documents, chunks.documents, done.failures)

    def rewrite(self, step: Step, run: Run, seen: set[int]) -> Mapping[str, Any]:
        """Make documents of the other type; the changes of the run.

        Where that undoes a revision, what this one has made becomes what it was made of.

        Args:
            step: Of a rewrite.
            run: The run.
            seen: Hashes of the keys of documents that are known as failed.

        Raises:
            BackupError: The backup can't be read or written.
        """
        job, backup = self._work.job(step, run), self._work.open(run.backups[step.served])
        done = Synchronised(failures=Failures(seen=seen))
        with (
            _synchroniser(job) as synchroniser,
            BackupWriter.reopen(backup.folder, require_lock=self._work.require_lock) as writer,
        ):
            made = digests_of_made(backup)
            for older in self._work.older_backups(step, run):
                # What was changed since is converted.
                known = Synchronised()
                after, own = step.index_after.schema, digests_of_made(older)
                _turn_back(synchroniser, self._aside, older, after, own, known)
                add_given_back(made, older, after.storage_type)
            mirror = InOtherType(
                job.schema,
                self._aside,
                job.rewrite.excluded_prefixes,
                StoreDocuments(_storage_of(job.rewrite)),
                writer.add,
                digests_of_originals(backup),
                made,
            )
            synchroniser.synchronise_until_done(
                mirror, (chunk.documents.keys for chunk in backup.chunks()), done
            )
            # What was written since it was backed up.
            synchroniser.synchronise_until_done(mirror, keys_of(mirror, self._work.nodes), done)
            writer.finish()
        self._work.report(done.failures)
        counts = DocumentCounts(rewritten=done.written).plus(failed(done.failures))
        return {"documents": run.documents.plus(counts)}

    def restore(
        self, step: Step, run: Run, backup: Backup | None, olders: Iterable[Backup], *, converts_rest: bool
    ) -> Restored:
        """Undo the change of the type, whole or half done.

        Args:
            step: Undoes it.
            run: The run.
            backup: Its backup; None where it is lost.
            olders: The backups from which it has given originals back.
            converts_rest: Convert back what no backup gives the original of.
        """
        job = self._work.job(step, run)
        restored = Restored()
        if backup is not None:
            restored = restore_type(job, self._aside, backup, olders)
        if converts_rest:
            done = self._convert_back(job, step.index_after.schema)
            # What no backup knows is no failure then.
            restored = Restored(restored.documents + done.written, done.failures)
        return restored

    def _convert_back(self, job: RewriteJob, schema: IndexSchema) -> Synchronised:
        transform = StoreDocuments(_storage_of(job.rewrite).reversed())
        rest = InOtherType(schema, self._aside, job.rewrite.excluded_prefixes, transform)
        with _synchroniser(job) as synchroniser:
            return synchroniser.synchronise_until_done(rest, keys_of(rest, job.nodes))


def restore_type(job: RewriteJob, aside: bytes, backup: Backup, olders: Iterable[Backup]) -> Restored:
    """Put the documents of a backup in the place of what a change of their type has made of them.

    Args:
        job: That change.
        aside: The key where a document is while another one takes its place.
        backup: Of the change.
        olders: The backups from which it has given originals back.

    Raises:
        BackupDamaged: A chunk is not as it was written.
        FenceLost: Another process has taken over the lock.
    """
    made, done = digests_of_made(backup), Synchronised()
    for older in olders:
        add_given_back(made, older, _storage_of(job.rewrite).to)
    with _synchroniser(job) as synchroniser:
        _turn_back(synchroniser, aside, backup, job.schema, made, done)
    return Restored(done.written, done.failures)


def _turn_back(
    synchroniser: Synchroniser,
    aside: bytes,
    backup: Backup,
    schema: IndexSchema,
    made: Digests,
    done: Synchronised,
) -> None:
    """Put originals back, the newest of each document first."""
    newest_first = replace(backup, records=backup.records[::-1])
    for chunk in newest_first.chunks():
        originals = dict(originals_in(backup, chunk, schema.storage_type))
        mirror = TurnedBack(schema, aside, (), originals, made)
        synchroniser.synchronise_until_done(mirror, [list(originals)], done)


def _synchroniser(job: RewriteJob) -> Synchroniser:
    return Synchroniser(job.nodes, job.connections, job.batch_size, job.on_progress, job.pace)


def _storage_of(rewrite: Rewrite) -> StorageChange:
    return cast("StorageChange", rewrite.storage)
