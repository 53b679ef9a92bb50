"""A document with a vector as its owners have left it, and what its vector may be while that is converted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from two_forms_documents import NEVER, Doc
from vector_documents import DTYPES, converted

DIMS = 3
VECTOR = b"embedding"
# The beginning of a vector that has the length of no datatype.
ODD_LENGTH = b"odd:"


@dataclass(frozen=True)
class Owned:
    """A document as its owners have left it.

    Attributes:
        rest: All but the vector.
        expires: When the key does.
        vector: As it was written last, in whichever form.
        dated: When that expires.
        may_stay: It was written too late to be converted for sure.
        returned: It may have gone to the old form and back.
    """

    rest: Doc | None
    vector: bytes | None = None
    dated: int = NEVER
    expires: int = NEVER
    may_stay: bool = False
    returned: bool = False

    def at(self, now: int) -> Owned:
        """After the lifetimes that have passed by a time."""
        if NEVER < self.expires < now:
            return Owned(None)
        left = replace(self, rest=self.rest and self.rest.at(now))
        return replace(left, vector=None, dated=NEVER) if NEVER < self.dated < now else left


def allowed_vectors(owned: Owned, stage: str, before: str, after: str) -> set[bytes | None]:
    """What the declared field may hold.

    Args:
        owned: The document.
        stage: "old", "new", or what is between.
        before: The datatype before the change.
        after: The one after it.
    """
    value = owned.vector
    if value is None or before == after or value.startswith(ODD_LENGTH):
        return {value}
    if len(value) == size_of(before):
        there = converted(value, before, after)
        # On the way back its precision comes back last.
        rounded = converted(there, after, before)
        allowed = {"old": {value}, "new": {there}}.get(stage, {value, there, rounded})
        return allowed | ({value, there} if owned.may_stay else set())
    back = converted(value, after, before)
    again = converted(back, before, after)
    in_new = {value, again} if owned.returned else {value}
    allowed = {"old": {back}, "new": in_new}.get(stage, {value, back, again})
    return allowed | ({value, back} if owned.may_stay else set())


def size_of(datatype: str) -> int:
    """Of a vector in bytes."""
    return DIMS * np.dtype(DTYPES[datatype]).itemsize


def split(doc: Doc | None) -> tuple[Doc | None, bytes | None, int]:
    """All but the vectors of a document, its declared vector, and when that expires."""
    if doc is None:
        return None, None, NEVER
    fields = {name: field for name, field in doc.by_name.items() if b"__" not in name}
    vector, dated = fields.pop(VECTOR, (None, NEVER))
    return Doc.of(fields, doc.expires), vector, dated
