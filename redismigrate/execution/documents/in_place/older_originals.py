"""Originals that an older backup has of documents on their way back, where a conversion can't know them.

A way back undoes a way there, and has a backup of its own. A document may get the original from before the
way there if nobody but the two has written it: what the way back met was what the way there had written, and
what the document holds is what the way back has written. Both is told by digests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import quantizations_in, rewrite_in
from redismigrate.backup.written import written_numbers
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column, take
from redismigrate.documents.conversion import Quantizations
from redismigrate.documents.digests import Digests, bound_to_keys, value_digests
from redismigrate.documents.failures import Failures
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.putting_back import Replacement, own_values, put_back


@dataclass
class TakenBack:
    """What became of originals that a way back had brought.

    Attributes:
        refused: The documents that the server refused to write, backup by backup.
        given_back: Digests of the originals that documents may still hold, named as before the way back.
    """

    refused: list[Failures] = field(default_factory=list)
    given_back: Digests = field(default_factory=Digests)


def bring_precision_back(
    older: Backup,
    backup: Backup,
    job: RewriteJob,
    quantizations: Quantizations,
    require_lock: Callable[[], None],
) -> Failures:
    """Take what a conversion back can't know from a backup of the revision that is undone.

    Args:
        older: The backup of the way there.
        backup: That of the way back. It gets what is replaced and is in no backup yet.
        job: The way back, done already.
        quantizations: How the way back made integers.
        require_lock: Raises when another process may write the backup by now.

    Returns:
        The documents that the server refused to write.
    """
    if not (older.knows_written and backup.knows_written):
        return _by_transforms(older, job, quantizations, takes_back=False)
    paths, refused = _paths(older, job), Failures()
    # Documents that the way back has left as they are; where all would move, they have not moved.
    if backup.count("read") != backup.count("kept") and not job.rewrite.moves:
        _back_up_left(older, backup, job, paths, require_lock)
    converted = _converted_back(older, backup, job, paths)
    put_back(job, older, tuple(paths.values()), _originals, Failures(), refused, converted)
    return refused


def take_precision_back(
    olders: Iterable[Backup], backup: Backup, job: RewriteJob, quantizations: Quantizations
) -> TakenBack:
    """Let a way back be undone although documents hold older originals, and not what it made of them.

    Args:
        olders: The backups from which the way back has taken originals.
        backup: Its own.
        job: The way back.
        quantizations: How it made integers.
    """
    taken = TakenBack()
    for older in olders:
        if not (older.knows_written and backup.knows_written):
            taken.refused.append(_by_transforms(older, job, quantizations, takes_back=True))
            continue
        reverse = job.rewrite.moves_reversed()
        for chunk in older.chunks():
            keys = [reverse.key_after(key) for key in chunk.documents.keys]
            for before, after in _paths(older, job).items():
                digests = value_digests(chunk.documents.columns[after])
                taken.given_back.add(bound_to_keys(before, keys, digests))
    return taken


def _paths(older: Backup, job: RewriteJob) -> dict[str, str]:
    """The fields that both ways have re-encoded: as they are called before the way back, and after it."""
    renamed = {rename.old: rename.new for rename in job.rewrite.renames}
    paths = {path: renamed.get(path, path) for path in job.rewrite.recoded_paths}
    return {before: after for before, after in paths.items() if after in older.manifest.fields}


def _originals(chunk: Chunk) -> Replacement:
    return Replacement(chunk.documents, chunk.written or ())


def _converted_back(older: Backup, backup: Backup, job: RewriteJob, paths: dict[str, str]) -> Digests:
    """Digests of what the way back has made of what the way there had written."""
    there, converted = Digests(), Digests()
    for chunk in older.chunks():
        for path in paths.values():
            for digests in chunk.digests_written(path):
                there.add(digests)
    for chunk in backup.chunks():
        keys = [job.rewrite.key_after(key) for key in chunk.documents.keys]
        for before, after in paths.items():
            met = bound_to_keys(after, keys, value_digests(chunk.documents.columns[before]))
            are_own = there.are_known(met)
            for written in chunk.written or ():
                converted.add(bound_to_keys(after, keys, written[before])[are_own])
    return converted


def _back_up_left(
    older: Backup,
    backup: Backup,
    job: RewriteJob,
    paths: dict[str, str],
    require_lock: Callable[[], None],
) -> None:
    """Back up what the way back could not convert, and which is about to be replaced all the same.

    FLOAT16's 65504 is 65536 in BFLOAT16, which does not fit into FLOAT16: that was left as it is.
    """
    with BackupWriter.reopen(backup.folder, require_lock=require_lock) as writer:
        for chunk in older.chunks():
            for now in job.read((chunk.documents.keys,), tuple(paths)):
                left = {path: own_values(path, now, chunk.written or ()) for path in paths}
                rows = [row for row, values in enumerate(zip(*left.values(), strict=True)) if any(values)]
                if not rows:
                    continue
                keys = [now.keys[row] for row in rows]
                replaced = {path: take(column, rows) for path, column in left.items()}
                originals = {path: take(chunk.documents.columns[path], rows) for path in paths}
                nothing: Column = [None] * len(keys)
                fields = writer.manifest.fields
                writer.add(
                    Chunk(
                        Batch(keys, {path: replaced.get(path, nothing) for path in fields}),
                        written_numbers(
                            {path: value_digests(originals.get(path, nothing)) for path in fields}
                        ),
                    )
                )
        writer.finish()


def _by_transforms(
    older: Backup, job: RewriteJob, quantizations: Quantizations, *, takes_back: bool
) -> Failures:
    """The same where one of the backups is of an older version: what was written is computed once more.

    Args:
        older: Of the way there.
        job: The way back.
        quantizations: How the way back made integers.
        takes_back: Do the opposite, so that the documents are as the conversion alone has left them.
    """
    forward = rewrite_in(older).recodings
    there = job.transform(quantizations_in(older), forward)
    renamed = {rename.old: rename.new for rename in job.rewrite.renames}
    back = job.transform(
        {renamed.get(path, path): quantization for path, quantization in quantizations.items()},
        tuple(
            replace(recoding, path=renamed.get(recoding.path, recoding.path))
            for recoding in job.rewrite.recodings
        ),
    )
    paths = tuple(path for path in back.reads if path in there.reads)

    def replacement(chunk: Chunk) -> Replacement:
        originals = chunk.documents.columns
        converted = there(chunk.documents).columns
        left = dict(back(Batch(chunk.documents.keys, {**originals, **converted})).columns)
        for path in paths:
            # What the way back could not convert was left as it is.
            if None in left[path]:
                pairs = zip(left[path], converted[path], strict=True)
                left[path] = [stays if value is None else value for value, stays in pairs]
        expected, new = (originals, left) if takes_back else (left, originals)
        return Replacement(
            Batch(chunk.documents.keys, {path: new[path] for path in paths}),
            ({path: value_digests(expected[path]) for path in paths},),
        )

    refused = Failures()
    is_slow = there.is_slow or back.is_slow
    put_back(job, older, paths, replacement, Failures(), refused, is_slow=is_slow)
    return refused
