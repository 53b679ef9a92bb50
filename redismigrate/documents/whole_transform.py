"""Makes copies of whole documents: a transform of some of their values, and fields that get other names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from redismigrate.documents.batch import Batch, Failure, Transformed
from redismigrate.documents.columns import Column
from redismigrate.documents.conversion import Quantizations, re_encoding_of
from redismigrate.documents.failures import occupied
from redismigrate.documents.json_members import rename_member
from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.transform import Transform
from redismigrate.documents.whole import Document
from redismigrate.schema.moves import PathRename
from redismigrate.schema.strict import encode

# The column that holds the text of a JSON document.
WHOLE_TEXT = "$"


@dataclass(frozen=True, slots=True)
class Documents:
    """A batch of whole documents.

    Attributes:
        contents: One per document; None for those that were left out.
        expiries: Row -> hash field -> when it expires, Unix time in milliseconds; only where there are any.
        failures: Those that were left out.
    """

    contents: list[Document | None]
    expiries: dict[int, dict[bytes, int]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class RenameMembers:
    """The transform that renames members of JSON documents, and leaves every other byte of their text.

    Attributes:
        renames: Old path and new, of which only the last member differs.
    """

    renames: tuple[PathRename, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The one column that is read: the whole text of the documents."""
        return (WHOLE_TEXT,) if self.renames else ()

    @property
    def writes(self) -> tuple[str, ...]:
        """The one column that is written: the whole text of the documents."""
        return self.reads

    @property
    def is_deterministic(self) -> bool:
        """It is: it computes nothing."""
        return True

    @property
    def is_slow(self) -> bool:
        """It is not: it takes some 20 ms a megabyte of text, which is all that a batch has."""
        return False

    @property
    def back(self) -> RenameMembers:
        """The names as they were. What was renamed and comes back keeps its new place among the others."""
        return RenameMembers(tuple(PathRename(rename.new, rename.old) for rename in reversed(self.renames)))

    def __call__(self, batch: Batch) -> Transformed:
        """Rename in a batch of texts."""
        texts: list[bytes | None] = []
        failures = []
        for row, text in enumerate(batch.columns[WHOLE_TEXT]):
            reasons: list[str] = []
            texts.append(None if text is None else self._renamed(text, reasons))
            if reasons:
                texts[row] = None
                failures.append(Failure(row, "; ".join(reasons)))
        return Transformed({WHOLE_TEXT: texts}, failures)

    def check(self, batch: Batch) -> dict[int, str]:
        """The rows that can't be renamed in, with the reason."""
        return dict(self(batch).failures)

    def _renamed(self, text: bytes, reasons: list[str]) -> bytes:
        changed = text.decode("utf-8", "surrogateescape")
        for rename in self.renames:
            try:
                renamed = rename_member(changed, rename.old, rename.new)
            except (ValueError, IndexError, RecursionError):
                reasons.append("it can't be read as JSON, or is nested too deeply for that")
                break
            if renamed is None:
                reasons.append(occupied(rename.old, rename.new))
                continue
            changed = renamed
        return changed.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class RewriteDocuments:
    """Carries out on whole documents what changes within them; a new prefix is none of its business.

    Attributes:
        transform: Makes new values: of hash fields, or of `WHOLE_TEXT`.
        renames: Hash fields that get another name, after that.
    """

    transform: Transform
    renames: tuple[PathRename, ...] = ()

    @classmethod
    def of(cls, rewrite: Rewrite, quantizations: Quantizations) -> RewriteDocuments:
        """What a rewrite does within documents.

        A vector that has the length of the new datatype already is left as it is, unless both have one width.

        Args:
            rewrite: What to do.
            quantizations: How integers are made, by the path of the recoding.
        """
        if rewrite.storage_type == "json":
            return cls(RenameMembers(rewrite.renames))
        recoding = re_encoding_of(rewrite.recodings, quantizations)
        return cls(replace(recoding, leaves_new_form=True), rewrite.renames)

    @property
    def is_slow(self) -> bool:
        """As the transform is: names cost nothing."""
        return self.transform.is_slow

    def __call__(self, documents: Documents) -> Documents:
        """Transform a batch of which every document is there."""
        if not self.transform.reads and not self.renames:
            return documents
        contents = list(documents.contents)
        expiries = dict(documents.expiries)
        reasons: dict[int, list[str]] = {}
        if self.transform.reads:
            self._transform(contents, reasons)
        if self.renames:
            for row, document in enumerate(contents):
                contents[row] = self._rename_fields(document, reasons.setdefault(row, []))
            expiries = {row: self._rename_moments(moments) for row, moments in expiries.items()}
        failures = [Failure(row, "; ".join(reasons[row])) for row in sorted(reasons) if reasons[row]]
        for failure in failures:
            contents[failure.row] = None
        return Documents(contents, expiries, failures)

    def _transform(self, contents: list[Document | None], reasons: dict[int, list[str]]) -> None:
        """Put new values into documents, which are not changed themselves."""
        columns = {path: _column(path, contents) for path in self.transform.reads}
        made = self.transform(Batch([b""] * len(contents), columns))
        for row, reason in made.failures:
            reasons.setdefault(row, []).append(reason)
        for path, column in made.columns.items():
            for row, (document, value) in enumerate(zip(contents, column, strict=True)):
                if value is not None:
                    contents[row] = {**document, encode(path): value} if isinstance(document, dict) else value

    def _rename_fields(self, document: Document | None, reasons: list[str]) -> Document | None:
        if not isinstance(document, dict):
            return None
        document = dict(document)
        for rename in self.renames:
            value = document.pop(encode(rename.old), None)
            if value is None:
                continue
            if encode(rename.new) in document:
                reasons.append(occupied(rename.old, rename.new))
            document[encode(rename.new)] = value
        return document

    def _rename_moments(self, moments: dict[bytes, int]) -> dict[bytes, int]:
        names = {encode(rename.old): encode(rename.new) for rename in self.renames}
        return {names.get(name, name): moment for name, moment in moments.items()}


def _column(path: str, contents: list[Document | None]) -> Column:
    """The values of a field, or the whole texts; None for what is no document of that type."""
    if path == WHOLE_TEXT:
        return [document if isinstance(document, bytes) else None for document in contents]
    name = encode(path)
    return [document.get(name) if isinstance(document, dict) else None for document in contents]
