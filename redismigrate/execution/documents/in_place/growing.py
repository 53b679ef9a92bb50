"""Which vectors can get back what an earlier revision has cut off: those that it wrote itself."""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.backup.backup import Backup
from redismigrate.documents.batch import Batch
from redismigrate.documents.digests import Digests, bound_to_keys, value_digests
from redismigrate.execution.documents.in_place.job import RewriteJob


class CutOff:
    """What the way there has written, as the way back meets it.

    Args:
        olders: The backups of the way there.
        job: The way back.
    """

    def __init__(self, olders: Iterable[Backup], job: RewriteJob) -> None:
        self._rewrite = job.rewrite
        renamed = {rename.old: rename.new for rename in job.rewrite.renames}
        self._growing = [
            (recoding, renamed.get(recoding.path, recoding.path))
            for recoding in job.rewrite.recodings
            if recoding.grows
        ]
        self._written = Digests()
        if not self._growing:
            return
        for older in olders:
            for chunk in older.chunks():
                for _, path in self._growing:
                    for digests in chunk.digests_written(path):
                        self._written.add(digests)

    def lacking(self, batch: Batch) -> dict[int, str]:
        """The rows whose vectors are not what the way there has written, with what is missing of them."""
        reasons: dict[int, str] = {}
        for recoding, path in self._growing:
            column = batch.columns[recoding.path]
            keys = [self._rewrite.key_after(key) for key in batch.keys]
            are_own = self._written.are_known(bound_to_keys(path, keys, value_digests(column)))
            for row, value in enumerate(column):
                if value is not None and recoding.is_old_form(value) and not are_own[row]:
                    reasons[row] = (
                        f"{recoding.path}: written since it was truncated, so that no backup has its "
                        f"{recoding.dims_after} components"
                    )
        return reasons
