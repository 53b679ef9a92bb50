"""The way back: puts original values where the documents still hold what a rewrite made of them.

A document that was deleted or has expired stays away, and one that the application has written since keeps
what it holds. So does one that the server refuses to write: it is told, and the others go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import KEPT
from redismigrate.documents.ahead import computed_ahead
from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import Quantizations, transform_of
from redismigrate.documents.digests import Digests, digests_of
from redismigrate.documents.failures import WRITTEN_SINCE, Failures, Restored
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.execution.documents.in_place.backing_up import looked_at
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.member_order import restore_member_order
from redismigrate.execution.documents.in_place.moving import NOTHING_TO_MOVE, Mover
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode, Outcome
from redismigrate.execution.documents.traffic.reading import (
    batches_of_documents,
    keys_of_length,
    read_batches,
)

REWRITTEN_SINCE = "the application has rewritten it since; left as it is"
HAS_NEW_NAME = "it has the new name, and no backup knows it; left as it is"
# Whether a FILTER keeps a document out can't be told while its index is gone.
WRITTEN_OR_FILTERED = (
    "it is in the new form: written since, or never in the index by its FILTER; left as it is"
)


def restore(
    job: RewriteJob, backup: Backup, quantizations: Quantizations, *, converts_rest: bool = False
) -> Restored:
    """Undo a rewrite, whole or half done.

    Args:
        job: The rewrite that is undone.
        backup: Its backup.
        quantizations: How it made integers.
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
        transform = transform_of(job.rewrite.recodings, quantizations)

        def exchange_of(originals: Batch) -> Exchange:
            converted = transform(originals).columns
            return Exchange.of(
                originals.keys, converted, {path: originals.columns[path] for path in converted}
            )

        documents = _put_back(job, backup, exchange_of, restored.left, restored.left)
        restored.documents = documents if mover is None else restored.documents
        if converts_rest:
            restored.documents += _convert_back(job, quantizations, restored.left)
    note_written_since(job, backup, restored.left)
    return restored


def restore_precision(
    job: RewriteJob,
    backup: Backup,
    quantizations: Quantizations,
    forward: tuple[Recoding, ...],
    forward_quantizations: Quantizations,
    *,
    takes_back: bool = False,
) -> Failures:
    """Put originals where documents hold what is left of them after the way there and back.

    Args:
        job: The way back, done already.
        backup: Of the way there.
        quantizations: How the way back made integers.
        forward: The way there.
        forward_quantizations: How that made integers.
        takes_back: Do the opposite, so that the documents are again as the way back alone has left them.

    Returns:
        The documents that the server refused to write.
    """
    there = transform_of(forward, forward_quantizations)
    renamed = {rename.old: rename.new for rename in job.rewrite.renames}
    back = transform_of(
        tuple(
            replace(recoding, path=renamed.get(recoding.path, recoding.path))
            for recoding in job.rewrite.recodings
        ),
        {renamed.get(path, path): quantization for path, quantization in quantizations.items()},
    )
    paths = [field.field for field in back.fields if field.field in {f.field for f in there.fields}]

    def exchange_of(documents: Batch) -> Exchange:
        originals = documents.columns
        converted = there(documents).columns
        left = dict(back(Batch(documents.keys, {**originals, **converted})).columns)
        for path in paths:
            # FLOAT16's 65504 is 65536 in BFLOAT16, which does not fit into FLOAT16: that was left as it is.
            if None in left[path]:
                pairs = zip(left[path], converted[path], strict=True)
                left[path] = [stays if value is None else value for value, stays in pairs]
        expected, new = (originals, left) if takes_back else (left, originals)
        return Exchange.of(
            documents.keys, {path: expected[path] for path in paths}, {path: new[path] for path in paths}
        )

    refused = Failures()
    _put_back(job, backup, exchange_of, Failures(), refused)
    return refused


def _put_back(
    job: RewriteJob,
    backup: Backup,
    exchange_of: Callable[[Batch], Exchange],
    left: Failures,
    refused: Failures,
) -> int:
    """Exchange the values of all documents of a backup; how many hold what they should.

    A value that was backed up again while the run caught up with writers gets back the last original that
    fits: two of them may have been converted to the same value. Such a chunk has one field of its documents,
    so of a document the others may be in other chunks.

    Args:
        job: The rewrite.
        backup: Its backup.
        exchange_of: The exchange for some documents of the backup.
        left: Gets the documents that hold something else.
        refused: Gets those that the server refused to write.
    """
    first, later = _passes(backup)
    decided, undecided = _Values(), _Values()

    def exchanges() -> Iterator[Exchange]:
        for chunk in first.chunks():
            yield from exchange_of(decided.taken_from(chunk.documents)).parts(job.documents_per_batch)

    with job.exchanger() as exchanger:
        for chunk in replace(later, records=tuple(reversed(later.records))).chunks():
            # One after the other: each has to see what the newer ones have put back.
            documents = decided.taken_from(chunk.documents)
            for outcome in exchanger.run(exchange_of(documents).parts(job.documents_per_batch), Mode()):
                decided.add(documents, outcome.done_keys)
                undecided.add(documents, outcome.changed)
                _note_refused(outcome, refused)
        undecided.remove(decided)
        found_later = decided.keys
        done = len(found_later)
        for outcome in exchanger.run(computed_ahead(exchanges()), Mode()):
            done += sum(key not in found_later for key in outcome.done_keys) if found_later else outcome.done
            undecided.forget(outcome.done_keys)
            for key in outcome.changed:
                left.add(key, REWRITTEN_SINCE)
            _note_refused(outcome, refused)
            job.on_progress(outcome.documents)
    for key in sorted(undecided.keys):
        left.add(key, REWRITTEN_SINCE)
    return done


def _note_refused(outcome: Outcome, left: Failures) -> None:
    for key, reason in outcome.refused.items():
        left.add(key, reason)


@dataclass
class _Values:
    """Values of some documents, each by its field and its key."""

    by_field: dict[str, set[bytes]] = field(default_factory=dict)

    @property
    def keys(self) -> set[bytes]:
        """Of all documents that have one of the values."""
        return set().union(*self.by_field.values())

    def add(self, documents: Batch, keys: Iterable[bytes]) -> None:
        """Add all values that some of the documents have in a batch."""
        wanted = set(keys)
        if not wanted:
            return
        for name, column in documents.columns.items():
            rows = zip(documents.keys, column, strict=True)
            held = {key for key, value in rows if value is not None and key in wanted}
            self.by_field.setdefault(name, set()).update(held)

    def remove(self, others: _Values) -> None:
        """Take out what the others have."""
        for name, keys in others.by_field.items():
            self.by_field.get(name, set()).difference_update(keys)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take out all values of some documents."""
        for known in self.by_field.values():
            known.difference_update(keys)

    def taken_from(self, documents: Batch) -> Batch:
        """A batch without these values, and without the documents that have no other ones."""
        known = {name: keys for name, keys in self.by_field.items() if keys}
        if not known:
            return documents
        if len(documents.columns) == 1:
            (name,) = documents.columns
            return documents.take([row for row, key in enumerate(documents.keys) if key not in known[name]])
        columns = {
            name: [
                None if key in known[name] else value
                for key, value in zip(documents.keys, column, strict=True)
            ]
            if name in known
            else column
            for name, column in documents.columns.items()
        }
        values = zip(*columns.values(), strict=True)
        rows = [row for row, held in enumerate(values) if any(value is not None for value in held)]
        return Batch(documents.keys, columns).take(rows)


def _convert_back(job: RewriteJob, quantizations: Quantizations, left: Failures) -> int:
    """Convert the vectors back that have the new form by their length; how many there were."""
    converted = 0
    with job.exchanger() as exchanger:
        for recoding in job.rewrite.recodings:
            if recoding.has_one_width:
                continue
            back = replace(recoding.reversed(), quantization_before=quantizations.get(recoding.path))
            made = {} if recoding.quantization_before is None else {back.path: recoding.quantization_before}
            transform = transform_of((back,), made)
            in_new_form = keys_of_length(job.server, job.keys(), recoding.path, recoding.bytes_after)
            for found in read_batches(job.server, filter(None, in_new_form), (recoding.path,)):
                exchange = Exchange.of(found.keys, found.columns, transform(found).columns)
                for outcome in exchanger.run((exchange,), Mode()):
                    converted += outcome.done
                    _note_refused(outcome, left)
    return converted


def _passes(backup: Backup) -> tuple[Backup, Backup]:
    """The chunks from before anything was changed, and those of what writers have written since."""
    kept, count = backup.count("kept"), 0
    for position, record in enumerate(backup.records):
        if kept is not None and count >= kept:
            return replace(backup, records=backup.records[:position]), replace(
                backup, records=backup.records[position:]
            )
        count += record.documents
    return backup, replace(backup, records=())


def _move_back(job: RewriteJob, backup: Backup, mover: Mover, restored: Restored) -> None:
    with job.exchanger() as exchanger:
        for chunk in backup.chunks():
            for kept, keys in _by_kept(chunk):
                back = mover.without(kept).reversed()
                if not back.rewrite.moves:
                    continue
                exchange = Exchange([mover.target(key) for key in keys], {}, {})
                for outcome in exchanger.run((exchange,), Mode(after=back.move)):
                    _note_refused(outcome, restored.left)
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
        for keys in keys_of_length(job.server, job.keys(), recoding.path, recoding.bytes_after):
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
    for keys in batches_of_documents(job.server, moved, job.documents_per_batch, old):
        for key in keys:
            left.add(key, HAS_NEW_NAME)


def _note_unknown(job: RewriteJob, backup: Backup, recoding: Recoding, left: Failures) -> None:
    """Note vectors that are in no backup: which of two types of one width they have can't be told."""
    originals = Digests()
    for chunk in backup.chunks():
        column = chunk.documents.columns[recoding.path]
        originals.add(digests_of(recoding.path, chunk.documents.keys, column))
    for batch in read_batches(job.server, job.keys(), (recoding.path,)):
        for row in originals.lacking(digests_of(recoding.path, batch.keys, batch.columns[recoding.path])):
            left.add(batch.keys[row], WRITTEN_SINCE)
