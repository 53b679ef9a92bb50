"""From a copy back to its original: what that has to be, and whether the copy tells all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redismigrate.documents.storage_conversion import without_memory
from redismigrate.documents.unchanged_values import with_unchanged_values
from redismigrate.documents.whole import Document, Found, Hash
from redismigrate.documents.whole_transform import Documents
from redismigrate.execution.documents.beside.marks import are_equal


@dataclass(frozen=True)
class WayBack:
    """The way from a copy to its original.

    Attributes:
        transform: Makes the contents of copies.
        back: Makes the contents of originals out of those of copies.
        is_exact: What the transform makes of an original gives the same original back, to the byte.
    """

    transform: Callable[[Documents], Documents]
    back: Callable[[Documents], Documents]
    is_exact: bool = False

    def original_of(self, copy: Found) -> Found | None:
        """What the original has to be so that the transform makes the copy of it; None where nothing does.

        Args:
            copy: What the original is to become.
        """
        if copy.document is None:
            return None
        back = self._back_from(copy, copy.document)
        made, expiries = back.contents[0], back.expiries.get(0, {})
        if made is None or not self._makes(made, expiries, copy.document):
            return None
        return Found(made, copy.expires_ms, expiries)

    def why_not(self, copy: Found) -> str:
        """Why nothing can be made an original of a copy, as the end of a sentence.

        Args:
            copy: Of which `original_of` gives none.
        """
        if copy.document is None:
            return "it is of another type"
        failures = self._back_from(copy, copy.document).failures
        return failures[0].reason if failures else "no original would be copied to just that"

    def _back_from(self, copy: Found, document: Document) -> Documents:
        return self.back(Documents([document], {0: dict(copy.expiries)} if copy.expiries else {}))

    def with_unchanged(self, made: Found, copy: Found, original: Found) -> Found:
        """What an original has to be, with those of its values as they are that say the same.

        Args:
            made: As `original_of` gives it.
            copy: That it is made of.
            original: What is there.
        """
        wanted = copy.document
        if made.document is None or wanted is None:
            return made
        closest = with_unchanged_values(
            made.document, original.document, lambda each: self._makes(each, made.expiries, wanted)
        )
        expiries = made.expiries
        if isinstance(wanted, bytes) and isinstance(closest, dict):
            expiries = _lifetimes_of_unchanged(closest, original)
        return Found(closest, made.expires_ms, expiries)

    def tells_all(self, original: Found, copy: Found) -> bool:
        """Whether a copy tells all of an original, to the byte.

        Args:
            original: What is about to go.
            copy: What is left.
        """
        if original.document is None:
            return True
        if copy.document is None or (original.expiries and isinstance(copy.document, bytes)):
            return False
        if self.is_exact:
            return True
        made = self.back(Documents([copy.document], {})).contents[0]
        return made is not None and are_equal(made, original.document)

    def _makes(self, document: Document, expiries: Mapping[bytes, int], copy: Document) -> bool:
        """Whether the transform makes a copy of a document."""
        moments = {0: dict(expiries)} if expiries else {}
        made = self.transform(Documents([document], moments)).contents[0]
        return made is not None and are_equal(without_memory(made), without_memory(copy))

    def copy_of(self, original: Found) -> Found:
        """The copy as an original asks for it: what it remembers is of the values that are there.

        Args:
            original: As it is to become.
        """
        if original.document is None:
            return original
        moments = {0: dict(original.expiries)} if original.expiries else {}
        made = self.transform(Documents([original.document], moments))
        return Found(made.contents[0], original.expires_ms, made.expiries.get(0, {}))


def _lifetimes_of_unchanged(made: Hash, original: Found) -> Mapping[bytes, int]:
    """Of the fields that stay as they are: JSON knows none, so none was changed there."""
    fields = original.document if isinstance(original.document, dict) else {}
    return {name: at for name, at in original.expiries.items() if name in made and made[name] == fields[name]}
