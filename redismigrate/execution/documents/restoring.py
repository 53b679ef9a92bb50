"""The way back: puts original values where the documents still hold what a rewrite made of them.

A document that was deleted or has expired stays away, and one that the application has written since keeps
what it holds.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat

from redismigrate.execution.documents.ahead import computed_ahead
from redismigrate.execution.documents.backing_up import KEPT, WHOLE_DOCUMENT, looked_at
from redismigrate.execution.documents.backup import Backup
from redismigrate.execution.documents.batch import Batch
from redismigrate.execution.documents.chunk_file import Chunk
from redismigrate.execution.documents.columns import Column
from redismigrate.execution.documents.conversion import Quantizations, transform_of
from redismigrate.execution.documents.digests import Digests, digests_of
from redismigrate.execution.documents.exchange import Exchange, Mode
from redismigrate.execution.documents.job import Failures, RewriteJob
from redismigrate.execution.documents.moving import NOTHING_TO_MOVE, Mover
from redismigrate.execution.documents.reading import (
    batches_of_documents,
    keys_of_length,
    read_batches,
    read_json,
)
from redismigrate.execution.documents.wire import render
from redismigrate.planning.rewriting import Recoding, Rewrite

# Key -> some fields of that document.
Fields = dict[bytes, set[str]]

REWRITTEN_SINCE = "the application has rewritten it since; left as it is"
WRITTEN_SINCE = "the application has written it in the new form; left as it is"
HAS_NEW_NAME = "it has the new name, and no backup knows it; left as it is"
# Whether a FILTER keeps a document out can't be told while its index is gone.
WRITTEN_OR_FILTERED = (
    "it is in the new form: written since, or never in the index by its FILTER; left as it is"
)

# KEYS: documents. ARGV: pairs of the text that is expected and the one to set. Answers with the keys.
_PUT_BACK_TEXTS = b"""
for i, key in ipairs(KEYS) do
  if redis.call('JSON.GET', key) == ARGV[2 * i - 1] then redis.call('JSON.SET', key, '$', ARGV[2 * i]) end
end
return KEYS
"""


@dataclass
class Restored:
    """What a restore did.

    Attributes:
        documents: That hold their originals, restored now or by an earlier attempt, or never changed.
        left: Those that were left as they are because they hold something else.
    """

    documents: int = 0
    left: Failures = field(default_factory=Failures)


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
            _put_back_texts(job, backup)
    if job.rewrite.recodings:
        transform = transform_of(job.rewrite.recodings, quantizations)

        def exchange_of(originals: Batch) -> Exchange:
            converted = transform(originals).columns
            return Exchange.of(
                originals.keys, converted, {path: originals.columns[path] for path in converted}
            )

        documents = _put_back(job, backup, exchange_of, restored.left)
        restored.documents = documents if mover is None else restored.documents
        if converts_rest:
            restored.documents += _convert_back(job, quantizations)
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
) -> None:
    """Put originals where documents hold what is left of them after the way there and back.

    Args:
        job: The way back, done already.
        backup: Of the way there.
        quantizations: How the way back made integers.
        forward: The way there.
        forward_quantizations: How that made integers.
        takes_back: Do the opposite, so that the documents are again as the way back alone has left them.
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
        left = back(Batch(documents.keys, {**originals, **there(documents).columns})).columns
        expected, new = (originals, left) if takes_back else (left, originals)
        return Exchange.of(
            documents.keys, {path: expected[path] for path in paths}, {path: new[path] for path in paths}
        )

    _put_back(job, backup, exchange_of, Failures())


def _put_back(
    job: RewriteJob, backup: Backup, exchange_of: Callable[[Batch], Exchange], left: Failures
) -> int:
    """Exchange the values of all documents of a backup; how many hold what they should.

    A document that was backed up again while the run caught up with writers gets back the last original that
    fits: two of them may have been converted to the same value. A field that writers did not touch has the
    first one alone.

    Args:
        job: The rewrite.
        backup: Its backup.
        exchange_of: The exchange for some documents of the backup.
        left: Gets the documents that hold something else.
    """
    first, later = _passes(backup)
    decided: Fields = {}
    undecided: Fields = {}

    def exchanges() -> Iterator[Exchange]:
        for chunk in first.chunks():
            yield from exchange_of(_without(chunk.documents, decided)).parts(job.documents_per_batch)

    with job.exchanger() as exchanger:
        for chunk in replace(later, records=tuple(reversed(later.records))).chunks():
            documents = _without(chunk.documents, decided)
            fields = _fields_of(documents)
            # One after the other: each has to see what the newer ones have put back.
            for outcome in exchanger.run(exchange_of(documents).parts(job.documents_per_batch), Mode()):
                _note(decided, outcome.done_keys, fields)
                _note(undecided, outcome.changed, fields)
        done = len(decided)
        for outcome in exchanger.run(computed_ahead(exchanges()), Mode()):
            done += len(outcome.done_keys if not decided else set(outcome.done_keys) - decided.keys())
            for key in outcome.done_keys if undecided else ():
                undecided.pop(key, None)
            for key in outcome.changed:
                left.add(key, REWRITTEN_SINCE)
            job.on_progress(outcome.documents)
    for key in sorted(undecided):
        if not undecided[key] <= decided.get(key, set()):
            left.add(key, REWRITTEN_SINCE)
    return done


def _convert_back(job: RewriteJob, quantizations: Quantizations) -> int:
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
    return converted


def _passes(backup: Backup) -> tuple[Backup, Backup]:
    """The chunks from before anything was changed, and those of what writers have written since."""
    kept, count = backup.manifest.options.get("kept"), 0
    for position, record in enumerate(backup.records):
        if kept is not None and count >= kept:
            return replace(backup, records=backup.records[:position]), replace(
                backup, records=backup.records[position:]
            )
        count += record.documents
    return backup, replace(backup, records=())


def _without(documents: Batch, decided: Fields) -> Batch:
    """Documents without the values that are decided, and without those that have no other."""
    paths, nothing = documents.columns.keys(), set[str]()
    documents = documents.take(
        [row for row, key in enumerate(documents.keys) if not paths <= decided.get(key, nothing)]
    )
    if decided.keys().isdisjoint(documents.keys):
        return documents
    columns: dict[str, Column] = {
        path: [
            None if path in decided.get(key, nothing) else value
            for key, value in zip(documents.keys, column, strict=True)
        ]
        for path, column in documents.columns.items()
    }
    return Batch(documents.keys, columns)


def _fields_of(documents: Batch) -> Fields:
    """The fields of which documents have a value."""
    return {
        key: {path for path, column in documents.columns.items() if column[row] is not None}
        for row, key in enumerate(documents.keys)
    }


def _note(noted: Fields, keys: Iterable[bytes], fields: Fields) -> None:
    for key in keys:
        noted.setdefault(key, set()).update(fields[key])


def _move_back(job: RewriteJob, backup: Backup, mover: Mover, restored: Restored) -> None:
    with job.exchanger() as exchanger:
        for chunk in backup.chunks():
            for kept, keys in _by_kept(chunk):
                back = mover.without(kept).reversed()
                if not back.rewrite.moves:
                    continue
                exchange = Exchange([mover.target(key) for key in keys], {}, {})
                for outcome in exchanger.run((exchange,), Mode(after=back.move)):
                    for key, answer in outcome.after.items():
                        problem = back.problem(key, answer)
                        if problem is not None:
                            restored.left.add(key, problem)
                        elif answer != NOTHING_TO_MOVE:
                            restored.documents += 1
                    job.on_progress(outcome.documents)


def _by_kept(chunk: Chunk) -> Iterable[tuple[int, list[bytes]]]:
    """The documents of a chunk, those together that had the same new names from the beginning."""
    keys: dict[int, list[bytes]] = {}
    for key, kept in zip(chunk.documents.keys, chunk.numbers[KEPT], strict=True):
        keys.setdefault(kept, []).append(key)
    return keys.items()


def _put_back_texts(job: RewriteJob, backup: Backup) -> None:
    """Give members their order back, which a rename changes, where a document is otherwise its original."""
    with job.exchanger() as exchanger:
        for chunk in backup.chunks():
            originals = chunk.documents.columns[WHOLE_DOCUMENT]
            by_key = dict(zip(chunk.documents.keys, originals, strict=True))
            for now in read_json(job.server, job.in_turn((chunk.documents.keys,)), WHOLE_DOCUMENT):
                texts = {
                    key: (current, original)
                    for key, current in zip(now.keys, now.columns[WHOLE_DOCUMENT], strict=True)
                    if (original := by_key[key]) is not None
                    and current is not None
                    and original != current
                    and _sorted(original) == _sorted(current)
                }
                if texts:
                    exchange = Exchange(list(texts), {}, {})
                    # The script compares for itself.
                    mode = Mode(compares=False, after=partial(_put_back_command, texts))
                    deque(exchanger.run((exchange,), mode), maxlen=0)


def _put_back_command(texts: Mapping[bytes, tuple[bytes, bytes]], keys: Sequence[bytes]) -> bytes:
    words = [word for key in keys for word in texts[key]]
    return render(b"EVAL", _PUT_BACK_TEXTS, b"%d" % len(keys), *keys, *words)


def _sorted(text: bytes) -> str:
    """A JSON document with its members in order. As text, since in Python 1, 1.0 and True are equal."""
    return json.dumps(json.loads(text), sort_keys=True)


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
