"""Notes what the declared fields are about to get from the second ones, before the first of them does.

That is what the conversion makes of the originals: second fields are compared with that at every look, so
nothing but a transform that comes to the same values again can fill them. A second field that holds anything
else was written by the application, and is not noted. Nor is what replaces a document that was written since
the backup: the backup gets it then, with what replaces it.
"""

from __future__ import annotations

import numpy as np

from redismigrate.backup.backup import Backup
from redismigrate.backup.written import WrittenLog
from redismigrate.documents.digests import value_digests
from redismigrate.documents.transform import Transform


def note_promoted(backup: Backup, transform: Transform, log: WrittenLog) -> None:
    """Note the new form of every original.

    Args:
        backup: The originals.
        transform: What made the second forms.
        log: Of the backup.
    """
    for chunk in backup.chunks():
        # Noted already by a process that was killed, or when it was backed up.
        if chunk.written:
            continue
        made = transform(chunk.documents).columns
        nothing = np.zeros(len(chunk.documents.keys), np.uint64)
        log.add(
            chunk.number,
            [value_digests(made[path]) if path in made else nothing for path in backup.manifest.fields],
        )
