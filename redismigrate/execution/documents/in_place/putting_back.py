"""Puts original values where documents hold what a run has written, as its backup knows by digests.

The documents are read before they are watched: what one holds that is the run's own may be replaced, and only
as long as it is that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk, WrittenDigests
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column
from redismigrate.documents.digests import Digests, bound_to_keys, value_digests
from redismigrate.documents.failures import Failures
from redismigrate.documents.results_ahead import computed_ahead
from redismigrate.documents.transform import Transform
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode

REWRITTEN_SINCE = "the application has rewritten it since; left as it is"


def written_into(chunk: Chunk, transform: Transform) -> tuple[WrittenDigests, ...]:
    """What may have been written into the documents of a chunk, one item for each attempt.

    Args:
        chunk: Of a backup.
        transform: What the run did, which is run once more where the backup does not tell: it was made by an
            older version, or that part of it is damaged. Nothing is known where that would not help.
    """
    if chunk.written is not None:
        return chunk.written
    if not transform.is_deterministic:
        return ()
    made = transform(chunk.documents).columns if transform.reads else {}
    return ({path: value_digests(column) for path, column in made.items()},)


class Replacement(NamedTuple):
    """What to put into documents.

    Attributes:
        documents: Their keys, and the values.
        written: Digests of the values that may be replaced, one item for each attempt to write them.
    """

    documents: Batch
    written: tuple[WrittenDigests, ...]

    def parts(self, size: int) -> Iterator[Replacement]:
        """All of it, so many documents at a time."""
        keys, columns = self.documents.keys, self.documents.columns
        for start in range(0, len(keys), size):
            part = slice(start, start + size)
            yield Replacement(
                Batch(keys[part], {path: column[part] for path, column in columns.items()}),
                tuple({path: of[part] for path, of in attempt.items()} for attempt in self.written),
            )


def put_back(
    job: RewriteJob,
    backup: Backup,
    paths: tuple[str, ...],
    replacement: Callable[[Chunk], Replacement],
    left: Failures,
    refused: Failures,
    given_back: Digests | None = None,
    *,
    is_slow: bool = False,
) -> int:
    """Replace values in all documents of a backup; how many hold what they should.

    A value that was backed up again while the run caught up with writers gets back the last original that
    fits: two of them may have been converted to the same value. Such a chunk has one field of its documents,
    so of a document the others may be in other chunks.

    Args:
        job: The rewrite.
        backup: The backup.
        paths: The fields.
        replacement: What is to be put into the documents of a chunk.
        left: Gets the documents that hold something else.
        refused: Gets those that the server refused to write.
        given_back: Digests of further values that may be replaced, each with its key and its field.
        is_slow: The transforms that a replacement may have to run are.
    """
    if not paths:
        return 0
    first, later = _passes(backup)
    decided, undecided = _Values(), _Values()

    def parts(chunk: Chunk) -> Iterator[Replacement]:
        whole = replacement(chunk)
        documents, rows = decided.taken_from(whole.documents)
        written = whole.written
        if len(rows) < len(whole.documents.keys):
            written = tuple({path: of[rows] for path, of in attempt.items()} for attempt in written)
        yield from Replacement(documents, written).parts(job.documents_per_batch)

    with job.exchanger() as exchanger:
        for chunk in replace(later, records=tuple(reversed(later.records))).chunks():
            # One after the other: each has to see what the newer ones have put back.
            documents, _ = decided.taken_from(chunk.documents)
            for outcome in exchanger.run(_exchanges(job, paths, parts(chunk), given_back), Mode()):
                decided.add(documents, outcome.done_keys)
                undecided.add(documents, outcome.changed)
                note_refused(outcome, refused)
        undecided.remove(decided)
        found_later = decided.keys
        done = len(found_later)
        all_parts = (part for chunk in computed_ahead(first.chunks()) for part in parts(chunk))
        exchanges = _exchanges(job, paths, all_parts, given_back)
        # Where the backup does not tell what was written, a transform has to run for every chunk.
        for outcome in exchanger.run(job.next_to_write(exchanges, is_slow=is_slow), Mode()):
            done += sum(key not in found_later for key in outcome.done_keys) if found_later else outcome.done
            undecided.forget(outcome.done_keys)
            for key in outcome.changed:
                left.add(key, REWRITTEN_SINCE)
            note_refused(outcome, refused)
            job.on_progress(outcome.documents)
    for key in sorted(undecided.keys):
        left.add(key, REWRITTEN_SINCE)
    return done


def _exchanges(
    job: RewriteJob, paths: tuple[str, ...], replacements: Iterable[Replacement], given_back: Digests | None
) -> Iterator[Exchange]:
    """What to write in the place of the run's own values, the next documents already asked for."""
    asked: deque[Replacement] = deque()

    def keys() -> Iterator[Sequence[bytes]]:
        for each in replacements:
            asked.append(each)
            yield each.documents.keys

    for now in job.read(keys(), paths):
        of = asked.popleft()
        expected = {
            path: own_values(path, now, of.written, given_back)
            for path in now.columns
            if path in of.documents.columns
        }
        yield Exchange.of(now.keys, expected, {path: of.documents.columns[path] for path in expected})


def own_values(
    path: str, now: Batch, written: Sequence[WrittenDigests], given_back: Digests | None = None
) -> Column:
    """The values of a field that are the run's own, None for all others.

    Args:
        path: The field.
        now: What documents hold.
        written: What may have been written into them, one item for each attempt.
        given_back: Digests of what the run has put in the place of that.
    """
    column = now.columns[path]
    digests = value_digests(column)
    are_own = np.zeros(len(column), np.bool_)
    for attempt in written:
        if path in attempt:
            are_own |= digests == attempt[path]
    if given_back is not None:
        are_own |= given_back.are_known(bound_to_keys(path, now.keys, digests))
    are_own &= digests != 0
    if are_own.all():
        return column
    return [value if is_own else None for value, is_own in zip(column, are_own.tolist(), strict=True)]


def note_refused(outcome: ExchangeOutcome, left: Failures) -> None:
    """Tell of the documents that the server refused to write."""
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

    def taken_from(self, documents: Batch) -> tuple[Batch, Sequence[int]]:
        """A batch without these values, and without the documents that have no other ones; the rows left."""
        known = {name: keys for name, keys in self.by_field.items() if keys}
        if not known:
            return documents, range(len(documents.keys))
        if len(documents.columns) == 1:
            (name,) = documents.columns
            others = [row for row, key in enumerate(documents.keys) if key not in known[name]]
            return documents.take(others), others
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
        return Batch(documents.keys, columns).take(rows), rows


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
