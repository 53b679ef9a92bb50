"""The second pass: writes the new form of every document in the backup, then of those written meanwhile.

The backup is the worklist. It says what a document was, so a pass can be repeated after a crash: a document
that holds its converted original is done, one that holds anything else was written by the application since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import backup_fields
from redismigrate.backup.written import WrittenLog, written_numbers
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column, take
from redismigrate.documents.conversion import Quantizations
from redismigrate.documents.digests import Digests, bound_to_keys, digests_of, value_digests
from redismigrate.documents.failures import Failures
from redismigrate.documents.results_ahead import ITEMS_AHEAD, computed_ahead, results_ahead
from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.transform import Transform
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.execution.documents.in_place.putting_back import own_values, written_into
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger


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
    job: RewriteJob,
    backup: Backup,
    quantizations: Quantizations,
    log: WrittenLog | None = None,
    *,
    may_skip_comparing: bool,
) -> Rewritten:
    """Give the documents of the backup their new form.

    Args:
        job: The rewrite.
        backup: What `back_up` wrote.
        quantizations: What it found.
        log: Gets digests of what is written; None where the backup has no log.
        may_skip_comparing: The documents are as they were when they were backed up: this very process read
            them, and nobody has written to them since.

    Raises:
        BackupDamaged: A chunk is not as it was written.
        FenceLost: Another process has taken over the lock.
        redis.ResponseError: The server refuses what it would refuse for every document.
    """
    rewritten, mover, transform = Rewritten(), job.mover(), job.transform(quantizations)
    left_out: deque[tuple[bytes, str]] = deque()
    # SCAN may have given a key twice. What has moved already must not be written under its old name again,
    # and nothing with another value than it has by then.
    compares = not may_skip_comparing or not transform.is_deterministic
    compares = compares or (mover is not None and bool(job.rewrite.recodings))
    with job.exchanger() as exchanger:
        made = _exchanges(job, backup, transform, log, left_out)
        exchanges = job.next_to_write(made, is_slow=transform.is_slow)
        for outcome in exchanger.run(exchanges, Mode(compares, None if mover is None else mover.move)):
            while left_out:
                rewritten.failures.add(*left_out.popleft())
            refused = outcome.refused
            if mover is not None and refused:
                refused = {key: mover.refused(key, reason) for key, reason in refused.items()}
            for key, reason in refused.items():
                rewritten.failures.add(key, reason)
            if mover is None:
                rewritten.documents += outcome.done
            elif not refused and mover.are_all_moving(list(outcome.after.values())):
                rewritten.documents += len(outcome.after)
            else:
                stay = {**refused, **_that_stay(mover, outcome)}
                for key, reason in stay.items():
                    rewritten.failures.add(key, reason)
                rewritten.documents += sum(key not in stay for key in outcome.after)
                _take_back(job, outcome.exchange, stay)
            job.on_progress(outcome.documents)
    return rewritten


def _that_stay(mover: Mover, outcome: ExchangeOutcome) -> dict[bytes, str]:
    """The documents that could not move, with the reason."""
    problems = {key: mover.problem(key, answer) for key, answer in outcome.after.items()}
    return {key: problem for key, problem in problems.items() if problem is not None}


def _take_back(job: RewriteJob, exchange: Exchange, stay: Collection[bytes]) -> None:
    """Put the originals back where a document could not move: it has a new form whole, or not at all."""
    rows = [row for row, key in enumerate(exchange.keys) if key in stay]
    if not rows or not exchange.new:
        return
    columns = (
        {name: take(column, rows) for name, column in of.items()} for of in (exchange.new, exchange.expected)
    )
    back = Exchange([exchange.keys[row] for row in rows], *columns)
    # Over a connection of its own: on those of the pass further batches are under way.
    with Exchanger(job.nodes, 1, store=job.store) as exchanger:
        deque(exchanger.run((back,), Mode()), maxlen=0)


class _Work(NamedTuple):
    """Documents of a chunk that are about to be transformed.

    Attributes:
        chunk: All of it.
        rows: Those that are.
        batch: The same, with their values.
        settled: The exchange of the others, which an earlier attempt has written, or the application; None
            where there are none.
    """

    chunk: Chunk
    rows: Sequence[int]
    batch: Batch
    settled: Exchange | None = None


def _exchanges(
    job: RewriteJob,
    backup: Backup,
    transform: Transform,
    log: WrittenLog | None,
    left_out: deque[tuple[bytes, str]],
) -> Iterator[Exchange]:
    """What to write into the documents of a backup, all of it noted in the log before it is given.

    Three threads: chunks are read and checked in one, transformed in another, and noted in this one.

    Args:
        job: The rewrite.
        backup: The originals.
        transform: Makes the new values.
        log: Gets digests of them; None where the backup, made by an older version, has none.
        left_out: Gets the documents that the transform leaves out, with the reason.
    """
    size = job.documents_per_batch
    chunks = computed_ahead(backup.chunks())
    if not transform.reads:
        for chunk in chunks:
            yield from Exchange(chunk.documents.keys, {}, {}).parts(size)
        return
    works = (_to_be_done(job, chunk, transform) for chunk in chunks)
    with job.transforming() as executor:
        arguments = ((work, work.batch) for work in works)
        ahead = ITEMS_AHEAD + job.transforms_at_once - 1
        for work, made in results_ahead(executor, transform, arguments, ahead):
            batch = work.batch
            left_out += [(batch.keys[row], reason) for row, reason in made.failures]
            if log is not None:
                _note(log, backup, work, made.columns)
            if work.settled is not None:
                yield from work.settled.parts(size)
            yield from Exchange.of(batch.keys, batch.columns, made.columns).parts(size)


def _to_be_done(job: RewriteJob, chunk: Chunk, transform: Transform) -> _Work:
    """What of a chunk has to be transformed.

    All of it the first time, and where that comes to the same values again. Else a document that an earlier
    attempt has written is done: it must not be paid for twice, and would get other values than it has.
    """
    every = range(len(chunk.documents.keys))
    if transform.is_deterministic or not chunk.written:
        return _Work(chunk, every, chunk.documents)
    originals = chunk.documents
    (now,) = job.read((originals.keys,), tuple(originals.columns))
    rows = [
        row
        for row in every
        if all(
            value is None or now.columns[path][row] == value
            for path, value in ((path, column[row]) for path, column in originals.columns.items())
        )
    ]
    others = sorted(set(every).difference(rows))
    own = {path: take(own_values(path, now, chunk.written), others) for path in now.columns}
    return _Work(
        chunk, rows, originals.take(rows), Exchange.of([originals.keys[row] for row in others], own, own)
    )


def _note(log: WrittenLog, backup: Backup, work: _Work, made: Mapping[str, Column]) -> None:
    """Note what is about to be written, unless an earlier attempt came to the same values."""
    digests = []
    for path in backup.manifest.fields:
        of_all = np.zeros(len(work.chunk.documents.keys), np.uint64)
        if path in made:
            of_all[work.rows] = value_digests(made[path])
        digests.append(of_all)
    known = (tuple(attempt.values()) for attempt in work.chunk.written or ())
    if not any(all(map(np.array_equal, attempt, digests)) for attempt in known):
        log.add(work.chunk.number, digests)


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
            transform = job.transform(quantizations, (recoding,))
            if not transform.reads:
                continue
            for found in in_old_form(job, recoding, digests):
                batch = _convertible(job, recoding, quantizations, found, failures)
                if not batch.keys:
                    continue
                new = transform(batch).columns
                nothing: dict[str, Column] = dict.fromkeys(
                    backup_fields(job.rewrite), [None] * len(batch.keys)
                )
                digests_of_new = {path: value_digests(column) for path, column in (nothing | new).items()}
                chunk = Chunk(Batch(batch.keys, nothing | batch.columns), written_numbers(digests_of_new))
                backup.add(chunk)
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
    problems = job.transform(quantizations, (recoding,)).check(batch)
    others = [other for other in job.rewrite.recodings if other is not recoding]
    if others:
        (whole,) = job.read((batch.keys,), [other.path for other in others])
        for other in others:
            column = whole.columns[other.path]
            if not other.has_one_width:  # what has the new form already is no problem
                column = [None if value and other.is_new_form(value) else value for value in column]
            check = job.transform(quantizations, (other,)).check(Batch(batch.keys, {other.path: column}))
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
        (batch,) = job.read((keys,), (recoding.path,))
        rows = _rows_in_old_form(batch, recoding, digests)
        if rows:
            yield batch.take(rows)


def _keys_in_old_form(
    job: RewriteJob, recoding: Recoding, digests: Digests | None
) -> Iterator[Sequence[bytes]]:
    if recoding.has_one_width:
        for batch in job.read(job.keys(), (recoding.path,)):
            yield batch.take(_rows_in_old_form(batch, recoding, digests)).keys
        return
    yield from job.keys_in_form(recoding, is_new=False)


def _rows_in_old_form(batch: Batch, recoding: Recoding, digests: Digests | None) -> Sequence[int]:
    column = batch.columns[recoding.path]
    rows: Sequence[int] = range(len(column))
    if recoding.has_one_width:
        if digests is None:
            raise ValueError(f"{recoding} needs digests")
        rows = digests.lacking(digests_of(recoding.path, batch.keys, column))
    return [row for row in rows if (value := column[row]) is not None and recoding.is_old_form(value)]


def digests_of_converted(job: RewriteJob, backup: Backup, quantizations: Quantizations) -> Digests | None:
    """What tells the new form from the old one where the length does not; None where it does."""
    recodings = [recoding for recoding in job.rewrite.recodings if recoding.has_one_width]
    if not recodings:
        return None
    digests, transform = Digests(), job.transform(quantizations, recodings)
    for chunk in backup.chunks():
        for written in written_into(chunk, transform):
            for recoding in recodings:
                if recoding.path in written:
                    digests.add(bound_to_keys(recoding.path, chunk.documents.keys, written[recoding.path]))
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
