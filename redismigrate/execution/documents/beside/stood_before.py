"""Which documents had a value at the new path before the run: taken back, they have it there again.

The first pass, the only one that can tell, writes them to the backup of the run before their marks. Marks end
with the run, and once the old values are gone nothing in a document tells it any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import schema_before
from redismigrate.backup.replaced_documents import Replaced, Stood, holds_values, stood_in
from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.copy_verdicts import Verdict
from redismigrate.execution.documents.beside.twin_marks import NO_VALUE, TwinValue, digest_of_twin
from redismigrate.execution.documents.beside.twin_verdicts import TwinForms, TwinOutcome
from redismigrate.schema.strict import encode


@dataclass(frozen=True)
class StoodBefore:
    """What some backups say of documents that had values at new paths before their run.

    Attributes:
        known: Key and path -> how it stood there, and the digest of the value.
    """

    known: dict[tuple[bytes, bytes], tuple[Stood, int]] = field(default_factory=dict)

    @classmethod
    def in_backups(cls, backups: Iterable[Backup]) -> StoodBefore:
        """What these say; those of a run that wrote down nothing of the kind say nothing.

        Raises:
            BackupDamaged: One is not as it was written.
        """
        known: dict[tuple[bytes, bytes], tuple[Stood, int]] = {}
        for backup in backups:
            if not holds_values(backup):
                continue
            storage_type = schema_before(backup).storage_type
            for chunk in backup.chunks():
                for each in stood_in(backup, chunk, storage_type):
                    document = each.original.document
                    for path, digest in document.items() if isinstance(document, dict) else ():
                        # A pass that was cut off may have written it twice: its first word counts.
                        known.setdefault((each.key, path), (each.stood, int.from_bytes(digest, "big")))
        return cls(known)

    def outcome(self, key: bytes, path: str, outcome: TwinOutcome, forms: TwinForms) -> TwinOutcome | None:
        """What becomes of a twin whose old value stood where it is before the run that is undone.

        It stays. What was written beside it goes, where nothing stood there before and nobody has written
        either of them since.

        Args:
            key: Of the document.
            path: Of the old value.
            outcome: What `verdict_on_twin` said, where nothing is carried back.
            forms: As that got them.

        Returns:
            None where it did not stand there, or is gone.
        """
        found = self.known.get((key, encode(path)))
        if found is None or outcome.old is None:
            return None
        stood, digest = found
        is_made_now = forms.new is None
        is_ours = is_made_now or (outcome.verdict is Verdict.IN_STEP and outcome.entry.is_made)
        if stood is not Stood.ALONE or digest_of_twin(outcome.old) != digest or not is_ours:
            return outcome
        return replace(outcome, new=None, entry=outcome.entry._replace(new=NO_VALUE))


def as_it_stood(key: bytes, path: str, new: TwinValue, *, is_alone: bool) -> Replaced:
    """What is written down of a document that has a value at the new path before the run.

    Args:
        key: Of it.
        path: The new one.
        new: The value.
        is_alone: Nothing was at the old path.
    """
    digest = digest_of_twin(new).to_bytes(8, "big")
    stood = Stood.ALONE if is_alone else Stood.BESIDE
    return Replaced(key, Found({encode(path): digest}), is_conflict=False, stood=stood)
