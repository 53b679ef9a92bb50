"""The first pass, with search still up: finds what can't be rewritten and backs up what can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import KEPT, backup_fields
from redismigrate.documents.array_texts import as_written, count_components
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import FixedWidth
from redismigrate.documents.conversion import Quantizations
from redismigrate.documents.exact_numbers import UNSPELLABLE
from redismigrate.documents.failures import Failures
from redismigrate.documents.json_members import why_not_writable
from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.transform import Transform
from redismigrate.execution.documents.in_place.growing import CutOff
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.joined_chunks import JoinedChunks
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.execution.documents.in_place.rights import KeyRights
from redismigrate.execution.documents.traffic.reading import (
    KEYS_PER_SCRIPT,
    ask_ahead,
    ask_in_halves,
    read_json,
)
from redismigrate.execution.indexes.live import in_complete_index
from redismigrate.execution.indexes.waiting import wait_until_indexed
from redismigrate.redis_server.wire import Wire, refusal
from redismigrate.schema.json_paths import WHOLE_DOCUMENT


@dataclass
class Prepared:
    """What the pass found.

    Attributes:
        documents: That were read.
        kept: Those of them that are in the backup, to be rewritten.
        failures: Those that can't be.
        lacking: Those among the others of which something can't be brought back.
        already: Hash field -> how many of its vectors have the new form already, by their length.
        quantizations: How integers are made.
    """

    documents: int = 0
    kept: int = 0
    failures: Failures = field(default_factory=Failures)
    lacking: Failures = field(default_factory=Failures)
    already: Counter[str] = field(default_factory=Counter)
    quantizations: Quantizations = field(default_factory=dict)


def back_up(
    job: RewriteJob,
    writer: BackupWriter,
    max_failures: int,
    *,
    leaves_new_form: bool = False,
    is_beside: bool = False,
    rights: KeyRights | None = None,
    cut_off: CutOff | None = None,
) -> Prepared:
    """Write the originals of all documents that can be rewritten to disk.

    Args:
        job: The rewrite.
        writer: A new backup; its chunks are all on disk when this returns, but it is not finished.
        max_failures: With more documents than this that can't be rewritten they are only counted on.
        leaves_new_form: A vector as long as one of the new datatype is taken for one, and left as it is;
            else its length is as wrong as any other.
        is_beside: What follows takes such a vector for a new one in any case, and converts the others of its
            document, whose originals are needed then.
        rights: Tells of which keys the user lacks a right; None where nobody asks.
        cut_off: Tells which vectors can't get components back; None where nobody asks.

    Raises:
        PlanBlocked: The vectors can't be quantized as asked for.
        BackupFailed: A chunk can't be written.
        IndexVanished: The index, whose FILTER tells which documents to take, was dropped meanwhile.
    """
    rewrite, prepared, fit = job.rewrite, Prepared(), job.fit()
    probe = fit.probe
    chunks, mover = JoinedChunks(writer), job.mover()
    unreadable: dict[bytes, str] = {}
    for read, answers in looked_at(job, mover, _read(job, unreadable)):
        takes_new_form = leaves_new_form or is_beside
        batch = _without_new_form(rewrite, read, prepared.already) if takes_new_form else read
        fit.see(batch)
        problems = probe.check(batch) if probe.reads else {}
        if cut_off is not None:
            for row, reason in cut_off.lacking(batch).items():
                prepared.lacking.add(batch.keys[row], reason)
        all_move = mover is not None and mover.are_all_moving(answers)
        if mover is not None and not all_move:
            _add_problems(mover, batch, answers, problems)
        every: Sequence[int] = range(len(batch.keys))
        rows = every if all_move else _rows_to_rewrite(mover, job.rewrite, batch, answers)
        problems = _refusals(rewrite, batch, rows, unreadable, rights) | problems
        failures = problems if leaves_new_form else _suspects(probe, read, batch) | problems
        for row in sorted(failures):
            prepared.failures.add(batch.keys[row], failures[row])
        if problems:
            rows = [row for row in rows if row not in problems]
        prepared.documents += len(batch.keys)
        prepared.kept += len(rows)
        if rows and prepared.failures.count <= max_failures:
            # Where all move, none had a new name from the beginning.
            kept = [0] * len(rows) if all_move else _kept(mover, answers, rows)
            chunk = Chunk(batch.take(rows), {KEPT: kept} if kept else {})
            chunks.add(chunk, job.nodes.of(batch.keys))
        job.on_progress(len(batch.keys))
    chunks.finish()
    if prepared.kept:
        prepared.quantizations = fit.quantizations()
    return prepared


def _refusals(
    rewrite: Rewrite,
    batch: Batch,
    rows: Sequence[int],
    unreadable: dict[bytes, str],
    rights: KeyRights | None,
) -> dict[int, str]:
    """The rows that the server would refuse to read or to write, with the reason."""
    problems = {}
    if unreadable:
        problems = {row: unreadable.pop(key) for row, key in enumerate(batch.keys) if key in unreadable}
    if WHOLE_DOCUMENT in batch.columns:
        texts = batch.columns[WHOLE_DOCUMENT]
        for row in rows:
            reason = why_not_writable(texts[row] or b"")
            if reason is not None:
                problems[row] = reason
    problems |= _misread(rewrite, batch)
    if rights is not None:
        lacking = rights.lacking([batch.keys[row] for row in rows])
        problems |= {row: lacking[batch.keys[row]] for row in rows if batch.keys[row] in lacking}
    return problems


def _misread(rewrite: Rewrite, batch: Batch) -> dict[int, str]:
    """The rows whose arrays could not be put back, with the reason."""
    return {
        row: f"{recoding.path}: {UNSPELLABLE.removeprefix('ERR ')}"
        for recoding in rewrite.recodings
        if recoding.is_json
        for row, text in enumerate(batch.columns[recoding.path])
        if text is not None and count_components(text) is not None and as_written(text) is None
    }


def _without_new_form(rewrite: Rewrite, batch: Batch, already: Counter[str]) -> Batch:
    """The batch without the vectors that writers have written in the new form already; they are counted."""
    columns = dict(batch.columns)
    for recoding in rewrite.recodings:
        column = columns[recoding.path]
        if isinstance(column, FixedWidth) and column.width != recoding.bytes_after:
            continue
        is_new = [value is not None and recoding.is_new_form(value) for value in column]
        if any(is_new) and not recoding.has_one_width:
            already[recoding.path] += sum(is_new)
            columns[recoding.path] = [
                None if new else value for new, value in zip(is_new, column, strict=True)
            ]
    return Batch(batch.keys, columns)


def _suspects(probe: Transform, read: Batch, batch: Batch) -> dict[int, str]:
    """The rows with a vector that was taken out of a batch as new, and may be as wrong as of any length."""
    if all(batch.columns[name] is column for name, column in read.columns.items()):
        return {}
    return probe.check(read)


def _read(job: RewriteJob, unreadable: dict[bytes, str]) -> Iterator[Batch]:
    """The documents; those that can't be read have no values, and are noted with the reason."""
    fields = backup_fields(job.rewrite)
    batches: Iterable[Sequence[bytes]] = job.keys()
    if job.schema.filter is not None:
        batches = (_members(job, keys) for keys in batches)
    if job.rewrite.reads_whole_documents:
        return read_json(job.nodes, batches, WHOLE_DOCUMENT, unreadable.__setitem__)
    if fields:
        return job.read(batches, fields, unreadable.__setitem__)
    return (Batch(list(keys), {}) for keys in batches)


def _members(job: RewriteJob, keys: Sequence[bytes]) -> list[bytes]:
    """Those of the keys that are in the index: its FILTER keeps others out.

    After a restart of the server, or when another client has created it anew, it is being built.
    """
    while (members := in_complete_index(job.server, job.physical, keys)) is None:
        wait_until_indexed(job.server, job.physical, lambda _: job.on_progress(0))
    return members


def looked_at(
    job: RewriteJob, mover: Mover | None, batches: Iterable[Batch]
) -> Iterator[tuple[Batch, Sequence[object]]]:
    """The batches with what moving each of their documents would do."""
    if mover is None:
        for batch in batches:
            yield batch, ()
        return

    def looks(batch: Batch) -> bytes:
        return b"".join(map(mover.look, _parts(batch.keys)))

    def answered(wire: Wire, batch: Batch) -> tuple[Batch, list[object]]:
        answers: list[object] = []
        parts = list(_parts(batch.keys))
        for part, reply in zip(parts, wire.receive(len(parts)), strict=True):
            # Of which key it is the server does not say.
            is_refused = refusal(reply) is not None
            answers += ask_in_halves(job.nodes, part, mover.look) if is_refused else reply
        return batch, answers

    yield from ask_ahead(job.nodes, batches, _keys, looks, answered)


def _keys(batch: Batch) -> Sequence[bytes]:
    return batch.keys


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), KEYS_PER_SCRIPT):
        yield keys[start : start + KEYS_PER_SCRIPT]


def _add_problems(mover: Mover, batch: Batch, answers: Sequence[object], problems: dict[int, str]) -> None:
    for row, answer in enumerate(answers):
        problem = mover.problem(batch.keys[row], answer)
        if problem is not None:
            problems[row] = f"{problems[row]}; {problem}" if row in problems else problem


def _kept(mover: Mover | None, answers: Sequence[object], rows: Sequence[int]) -> list[int]:
    """What `Mover.kept` tells of some documents; nothing where nothing moves."""
    if mover is None:
        return []
    return [mover.kept(answers[row]) for row in rows]


def _rows_to_rewrite(
    mover: Mover | None, rewrite: Rewrite, batch: Batch, answers: Sequence[object]
) -> Sequence[int]:
    """Documents without any of the values are left out."""
    columns = [batch.columns[path] for path in rewrite.recoded_paths]
    if len(columns) == 1 and (isinstance(columns[0], FixedWidth) or None not in columns[0]):
        return range(len(batch.keys))
    return [
        row
        for row in range(len(batch.keys))
        if (mover is not None and mover.is_moving(answers[row]))
        or any(column[row] is not None for column in columns)
    ]
