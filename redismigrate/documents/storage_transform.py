"""Makes JSON documents of a batch of hashes, or hashes of JSON documents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from redismigrate.documents.batch import Failure
from redismigrate.documents.conversion import Quantizations
from redismigrate.documents.json_documents import Unconvertible
from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.storage_change import StorageChange
from redismigrate.documents.storage_conversion import StorageConversion
from redismigrate.documents.whole import Document
from redismigrate.documents.whole_transform import Documents, RewriteDocuments
from redismigrate.schema.strict import readable


@dataclass(frozen=True)
class StoreDocuments:
    """The transform of whole documents into ones of the other type.

    Attributes:
        change: What becomes of them.
    """

    change: StorageChange

    @cached_property
    def _conversion(self) -> StorageConversion:
        return StorageConversion.of(self.change)

    @property
    def is_slow(self) -> bool:
        """It is: of a vector every number is written, or read, as text."""
        return True

    def __call__(self, documents: Documents) -> Documents:
        """Transform a batch of which every document is there."""
        contents: list[Document | None] = []
        failures = []
        for row, document in enumerate(documents.contents):
            try:
                contents.append(self._made(document, documents.expiries.get(row, {})))
            except Unconvertible as error:
                contents.append(None)
                failures.append(Failure(row, str(error)))
        return Documents(contents, {}, failures)

    def rounded(self, document: Document | None) -> Document | None:
        """A document that this makes, with its vectors as they come back from a hash.

        Args:
            document: As the application has written it.
        """
        return self._conversion.rounded(document) if isinstance(document, bytes) else document

    def _made(self, document: Document | None, expiries: dict[bytes, int]) -> Document | None:
        if isinstance(document, dict) and self.change.to == "json":
            if expiries and not self.change.drops_field_ttls:
                names = ", ".join(map(readable, sorted(expiries)))
                raise Unconvertible(
                    f"its fields {names} expire, which members of JSON documents can't; --drop-field-ttls "
                    "lets them stay"
                )
            return self._conversion.to_json(document)
        if isinstance(document, bytes) and self.change.to == "hash":
            return self._conversion.to_hash(document)
        return None


def documents_transform(rewrite: Rewrite, quantizations: Quantizations) -> RewriteDocuments | StoreDocuments:
    """What a rewrite does to whole documents, but for their keys.

    Args:
        rewrite: What to do.
        quantizations: How integers are made, by the path of the recoding.
    """
    if rewrite.storage is not None:
        return StoreDocuments(rewrite.storage)
    return RewriteDocuments.of(rewrite, quantizations)
