"""What became of the documents of all runs of a command, and where the last backup is."""

from __future__ import annotations

from collections.abc import Sequence

from redismigrate.execution.executor import Executor
from redismigrate.execution.run import DocumentCounts


def document_counts_of(executors: Sequence[Executor]) -> tuple[DocumentCounts, str | None]:
    """What became of the documents of some runs, and where the backups of the last one are."""
    counts, folder = DocumentCounts(), None
    for executor in executors:
        counts = counts.plus(executor.run.documents)
        folder = executor.backup_folder or folder
    return counts, folder
