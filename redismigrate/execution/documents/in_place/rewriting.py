"""The second pass: writes the new form of every document in the backup, then of those written meanwhile.

The backup is the worklist. It says what a document was, so a pass can be repeated after a crash: a document
that holds its converted original is done, one that holds anything else was written by the application since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import backup_fields
from redismigrate.backup.writer import BackupWriter
from redismigrate.documents.ahead import computed_ahead
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column, take
from redismigrate.documents.conversion import Quantizations, transform_of
from redismigrate.documents.digests import Digests, digests_of
from redismigrate.documents.failures import Failures
from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.vectors import check_vectors
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode, Outcome
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.reading import keys_of_length, read_batches


@dataclass
class Rewritten:
    """What a pass of writes did.

    Attributes:
        documents: That have the new form, written now or by an earlier attempt.
        failures: Documents that should have it and can't.
    """

    documents: int = 0
    failures: Failures = field(default_factory=Failures)


def rewrite(
    job: RewriteJob, backup: Backup, quantizations: Quantizations, *, may_skip_comparing: bool
) -> Rewritten:
    """Give the documents of the backup their new form.

    Args:
        job: The rewrite.
        backup: What `back_up` wrote.
        quantizations: What it found.
        may_skip_comparing: The documents are as they were when they were backed up: this very process read
            them, and nobody has written to them since.

    Raises:
        BackupDamaged: A chunk is not as it was written.
        FenceLost: Another process has taken over the lock.
        redis.ResponseError: The server refuses what it would refuse for every document.
    """
    rewritten, mover = Rewritten(), job.mover()
    # SCAN may have given a key twice. What has moved already must not be written under its old name again.
    compares = not may_skip_comparing or (mover is not None and bool(job.rewrite.recodings))
    with job.exchanger() as exchanger:
        exchanges = computed_ahead(_exchanges(job, backup, quantizations))
        for outcome in exchanger.run(exchanges, Mode(compares, None if mover is None else mover.move)):
            for key, reason in outcome.refused.items():
                rewritten.failures.add(key, reason)
            if mover is None:
                rewritten.documents += outcome.done
            elif not outcome.refused and mover.are_all_moving(list(outcome.after.values())):
                rewritten.documents += len(outcome.after)
            else:
                stay = {**outcome.refused, **_that_stay(mover, outcome)}
                for key, reason in stay.items():
                    rewritten.failures.add(key, reason)
                rewritten.documents += sum(key not in stay for key in outcome.after)
                _take_back(exchanger, outcome.exchange, stay)
            job.on_progress(outcome.documents)
    return rewritten


def _that_stay(mover: Mover, outcome: Outcome) -> dict[bytes, str]:
    """The documents that could not move, with the reason."""
    problems = {key: mover.problem(key, answer) for key, answer in outcome.after.items()}
    return {key: problem for key, problem in problems.items() if problem is not None}


def _take_back(exchanger: Exchanger, exchange: Exchange, stay: Collection[bytes]) -> None:
    """Put the originals back where a document could not move: it has a new form whole, or not at all."""
    rows = [row for row, key in enumerate(exchange.keys) if key in stay]
    if not rows or not exchange.new:
        return
    columns = (
        {name: take(column, rows) for name, column in of.items()} for of in (exchange.new, exchange.expected)
    )
    back = Exchange([exchange.keys[row] for row in rows], *columns)
    deque(exchanger.run((back,), Mode()), maxlen=0)


def _exchanges(job: RewriteJob, backup: Backup, quantizations: Quantizations) -> Iterator[Exchange]:
    size = job.documents_per_batch
    transform = transform_of(job.rewrite.recodings, quantizations)
    # Read and checked in one thread, converted in another, and sent by the caller's.
    for chunk in computed_ahead(backup.chunks()):
        originals = chunk.documents
        if not transform.fields:
            yield from Exchange(originals.keys, {}, {}).parts(size)
            continue
        new = transform(originals).columns
        yield from Exchange.of(originals.keys, originals.columns, new).parts(size)


def catch_up(
    job: RewriteJob,
    backup: BackupWriter,
    quantizations: Quantizations,
    digests: Digests | None,
    failures: Failures,
) -> Rewritten:
    """Convert what was written in the old form since it was read, once over all documents.

    Args:
        job: The rewrite; recodings alone.
        backup: Gets the originals before they are replaced.
        quantizations: How integers are made.
        digests: Of what has the new form, where the length of a value does not tell; they are added to.
        failures: Gets the documents that can't be converted, which stay as they are.

    Returns:
        The documents that were found in the old form and are converted, and those that can't be.
    """
    rewritten = Rewritten(failures=failures)
    with job.exchanger() as exchanger:
        for recoding in job.rewrite.recodings:
            transform = transform_of((recoding,), quantizations)
            if not transform.fields:
                continue
            for found in in_old_form(job, recoding, digests):
                batch = _convertible(job, recoding, quantizations, found, failures)
                if not batch.keys:
                    continue
                columns: dict[str, Column] = dict.fromkeys(
                    backup_fields(job.rewrite), [None] * len(batch.keys)
                )
                backup.add(Chunk(Batch(batch.keys, columns | batch.columns)))
                new = transform(batch).columns
                exchange = Exchange.of(batch.keys, batch.columns, new)
                for outcome in exchanger.run((exchange,), Mode()):
                    rewritten.documents += outcome.done
                    for key, reason in outcome.refused.items():
                        failures.add(key, reason)
                if digests is not None:
                    digests.add(digests_of(recoding.path, batch.keys, new[recoding.path]))
    return rewritten


def _convertible(
    job: RewriteJob, recoding: Recoding, quantizations: Quantizations, batch: Batch, failures: Failures
) -> Batch:
    """Those of some documents of which every vector can be converted: the others stay whole as they are."""
    problems = check_vectors(transform_of((recoding,), quantizations), batch)
    others = [other for other in job.rewrite.recodings if other is not recoding]
    if others:
        (whole,) = read_batches(job.server, (batch.keys,), [other.path for other in others])
        for other in others:
            column = whole.columns[other.path]
            if not other.has_one_width:  # what has the new form already is no problem
                column = [None if value and len(value) == other.bytes_after else value for value in column]
            check = check_vectors(
                transform_of((other,), quantizations), Batch(batch.keys, {other.path: column})
            )
            problems = check | problems
    for row in sorted(problems):
        failures.add(batch.keys[row], problems[row])
    return batch.take([row for row in range(len(batch.keys)) if row not in problems])


def is_any_in_old_form(job: RewriteJob, digests: Digests | None) -> bool:
    """Whether a value has the old form."""
    return any(True for recoding in job.rewrite.recodings for _ in in_old_form(job, recoding, digests))


def count_left(
    job: RewriteJob,
    quantizations: Quantizations,
    digests: Digests | None,
    failures: Failures | None = None,
) -> int:
    """How many documents have a value in the old form although it can be converted.

    Args:
        job: The rewrite.
        quantizations: How integers are made.
        digests: As for `catch_up`.
        failures: Gets the documents that can't be converted, where they are not known already.
    """
    # Hashes: each document counts once, whatever it has of old values.
    left: set[int] = set()
    failures = failures or Failures()
    for recoding in job.rewrite.recodings:
        for batch in in_old_form(job, recoding, digests):
            left.update(map(hash, _convertible(job, recoding, quantizations, batch, failures).keys))
    return len(left)


def in_old_form(job: RewriteJob, recoding: Recoding, digests: Digests | None) -> Iterator[Batch]:
    """The documents whose vector has the old datatype, with that vector.

    They are read once more when there are enough of them for a batch: few of many documents make few chunks
    of a backup so, each of which takes its time to become durable, and their vectors are fresh.
    """
    found = chain.from_iterable(_keys_in_old_form(job, recoding, digests))
    while keys := list(islice(found, job.documents_per_batch)):
        (batch,) = read_batches(job.server, (keys,), (recoding.path,))
        rows = _rows_in_old_form(batch, recoding, digests)
        if rows:
            yield batch.take(rows)


def _keys_in_old_form(
    job: RewriteJob, recoding: Recoding, digests: Digests | None
) -> Iterator[Sequence[bytes]]:
    if recoding.has_one_width:
        for batch in read_batches(job.server, job.keys(), (recoding.path,)):
            yield batch.take(_rows_in_old_form(batch, recoding, digests)).keys
        return
    yield from keys_of_length(job.server, job.keys(), recoding.path, recoding.bytes_before)


def _rows_in_old_form(batch: Batch, recoding: Recoding, digests: Digests | None) -> Sequence[int]:
    column = batch.columns[recoding.path]
    rows: Sequence[int] = range(len(column))
    if recoding.has_one_width:
        if digests is None:
            raise ValueError(f"{recoding} needs digests")
        rows = digests.lacking(digests_of(recoding.path, batch.keys, column))
    return [row for row in rows if (value := column[row]) is not None and len(value) == recoding.bytes_before]


def digests_of_converted(job: RewriteJob, backup: Backup, quantizations: Quantizations) -> Digests | None:
    """What tells the new form from the old one where the length does not; None where it does."""
    recodings = [recoding for recoding in job.rewrite.recodings if recoding.has_one_width]
    if not recodings:
        return None
    digests, transform = Digests(), transform_of(recodings, quantizations)
    for chunk in backup.chunks():
        for path, column in transform(chunk.documents).columns.items():
            digests.add(digests_of(path, chunk.documents.keys, column))
    return digests


def add_originals(digests: Digests, job: RewriteJob, backup: Backup) -> None:
    """Take the values in the backup of the way there for the new form of the way back.

    Args:
        digests: They are added to these.
        job: The way back; recodings alone.
        backup: Of the way there.
    """
    paths = {recoding.path for recoding in job.rewrite.recodings if recoding.has_one_width}
    for chunk in backup.chunks():
        for path in paths & set(chunk.documents.columns):
            column = chunk.documents.columns[path]
            digests.add(digests_of(path, chunk.documents.keys, column))
