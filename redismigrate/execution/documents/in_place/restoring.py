"""The way back: puts original values where the documents still hold what a rewrite made of them.

A document that was deleted or has expired stays away, and one that the application has written since keeps
what it holds. So does one that the server refuses to write: it is told, and the others go back.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import KEPT
from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import Quantizations
from redismigrate.documents.digests import Digests, digests_of
from redismigrate.documents.failures import WRITTEN_SINCE, Failures, Restored
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.execution.documents.in_place.backing_up import looked_at
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.member_order import restore_member_order
from redismigrate.execution.documents.in_place.moving import NOTHING_TO_MOVE, Mover
from redismigrate.execution.documents.in_place.putting_back import (
    Replacement,
    note_refused,
    put_back,
    written_into,
)
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode
from redismigrate.execution.documents.traffic.reading import documents_on

HAS_NEW_NAME = "it has the new name, and no backup knows it; left as it is"
# Whether a FILTER keeps a document out can't be told while its index is gone.
WRITTEN_OR_FILTERED = (
    "it is in the new form: written since, or never in the index by its FILTER; left as it is"
)


def restore_documents(
    job: RewriteJob,
    backup: Backup,
    quantizations: Quantizations,
    *,
    given_back: Digests | None = None,
    converts_rest: bool = False,
) -> Restored:
    """Undo a rewrite, whole or half done.

    Args:
        job: The rewrite that is undone.
        backup: Its backup.
        quantizations: How it made integers.
        given_back: Digests of what older backups gave in the place of what it had made.
        converts_rest: Convert back what no backup gives the original of, without the precision that is lost.

    Raises:
        BackupDamaged: A chunk is not as it was written; nothing of it was restored.
        FenceLost: Another process has taken over the lock.
    """
    restored, mover = Restored(), job.mover()
    if mover is not None:
        _move_back(job, backup, mover, restored)
        if job.rewrite.reads_whole_documents:
            restore_member_order(job, backup, restored.left)
    if job.rewrite.recodings:
        transform = job.transform(quantizations)
        left, paths = restored.left, job.rewrite.recoded_paths

        def originals(chunk: Chunk) -> Replacement:
            return Replacement(chunk.documents, written_into(chunk, transform))

        documents = put_back(job, backup, paths, originals, left, left, given_back, is_slow=transform.is_slow)
        restored.documents = documents if mover is None else restored.documents
        if converts_rest:
            restored.documents += _convert_back(job, quantizations, restored.left)
    note_written_since(job, backup, restored.left)
    return restored


def _convert_back(job: RewriteJob, quantizations: Quantizations, left: Failures) -> int:
    """Convert the vectors back that have the new form by their length; how many there were."""
    converted = 0
    with job.exchanger() as exchanger:
        for recoding in job.rewrite.recodings:
            if recoding.has_one_width:
                continue
            back = job.transform(quantizations, (recoding,)).back
            if back is None:
                continue
            in_new_form = job.keys_in_form(recoding, is_new=True)
            for found in job.read(filter(None, in_new_form), (recoding.path,)):
                exchange = Exchange.of(found.keys, found.columns, back(found).columns)
                for outcome in exchanger.run((exchange,), Mode()):
                    converted += outcome.done
                    note_refused(outcome, left)
    return converted


def _move_back(job: RewriteJob, backup: Backup, mover: Mover, restored: Restored) -> None:
    with job.exchanger() as exchanger:
        for chunk in backup.chunks():
            for kept, keys in _by_kept(chunk):
                back = mover.without(kept).reversed()
                if not back.rewrite.moves:
                    continue
                exchange = Exchange([mover.target(key) for key in keys], {}, {})
                for outcome in exchanger.run((exchange,), Mode(after=back.move)):
                    note_refused(outcome, restored.left)
                    for key, answer in outcome.after.items():
                        problem = back.problem(key, answer)
                        if problem is not None:
                            restored.left.add(key, problem)
                        elif answer != NOTHING_TO_MOVE and key not in outcome.refused:
                            restored.documents += 1
                    job.on_progress(outcome.documents)


def _by_kept(chunk: Chunk) -> Iterable[tuple[int, list[bytes]]]:
    """The documents of a chunk, those together that had the same new names from the beginning."""
    keys: dict[int, list[bytes]] = {}
    for key, kept in zip(chunk.documents.keys, chunk.numbers[KEPT], strict=True):
        keys.setdefault(kept, []).append(key)
    return keys.items()


def note_written_since(job: RewriteJob, backup: Backup, left: Failures) -> None:
    """Note what the application has written in the new form: no backup knows it, and no index before it."""
    reason = WRITTEN_SINCE if job.schema.filter is None else WRITTEN_OR_FILTERED
    for recoding in job.rewrite.recodings:
        if recoding.has_one_width:
            _note_unknown(job, backup, recoding, left)
            continue
        for keys in job.keys_in_form(recoding, is_new=True):
            for key in keys:
                left.add(key, reason)
    if job.rewrite.renames:
        _note_new_names(job, left)
    if job.rewrite.prefixes:
        _note_new_keys(job, left)


def _note_new_names(job: RewriteJob, left: Failures) -> None:
    mover = Mover(Rewrite(job.rewrite.storage_type, renames=job.rewrite.renames))
    back = mover.reversed()
    batches = map(Batch, job.keys(), repeat({}))
    for batch, answers in looked_at(job, back, batches):
        for key, answer in zip(batch.keys, answers, strict=True):
            # It could still be moved back, or there is something under both names.
            if back.is_moving(answer) or back.problem(key, answer) is not None:
                left.add(key, HAS_NEW_NAME)


def _note_new_keys(job: RewriteJob, left: Failures) -> None:
    """Keys that begin as the moved ones do, and not as those before."""
    new = tuple(change.new for change in job.rewrite.prefixes)
    moved = job.schema.with_options(prefixes=new)
    old = tuple(change.old for change in job.rewrite.prefixes)
    for keys in documents_on(job.nodes, moved, job.documents_per_batch, old):
        for key in keys:
            left.add(key, HAS_NEW_NAME)


def _note_unknown(job: RewriteJob, backup: Backup, recoding: Recoding, left: Failures) -> None:
    """Note vectors that are in no backup: which of two types of one width they have can't be told."""
    originals = Digests()
    for chunk in backup.chunks():
        column = chunk.documents.columns[recoding.path]
        originals.add(digests_of(recoding.path, chunk.documents.keys, column))
    for batch in job.read(job.keys(), (recoding.path,)):
        for row in originals.lacking(digests_of(recoding.path, batch.keys, batch.columns[recoding.path])):
            left.add(batch.keys[row], WRITTEN_SINCE)
