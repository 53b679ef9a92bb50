"""Originals that an older backup has of documents on their way back, where a conversion can't know them."""

from __future__ import annotations

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import quantizations_in, rewrite_in
from redismigrate.documents.conversion import Quantizations
from redismigrate.documents.failures import Failures
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.restoring import restore_precision


def bring_precision_back(
    backup: Backup, job: RewriteJob, quantizations: Quantizations, *, takes_back: bool = False
) -> Failures:
    """Take what a conversion back can't know from a backup of the revision that is undone.

    Args:
        backup: Of the way there.
        job: The way back.
        quantizations: How the way back made integers.
        takes_back: Do the opposite, so that the documents are as the conversion alone has left them.

    Returns:
        The documents that the server refused to write.
    """
    return restore_precision(
        job,
        backup,
        quantizations,
        rewrite_in(backup).recodings,
        quantizations_in(backup),
        takes_back=takes_back,
    )
