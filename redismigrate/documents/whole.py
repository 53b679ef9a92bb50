"""A whole document as a value: all that is at a key, lifetimes included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Hash = dict[bytes, bytes]
Document = Hash | bytes
"""All fields of a hash, or the text of a JSON document."""
# What a backup calls the column that has whole documents.
WHOLE_COLUMN = "*"
# What the server answers for the time of expiry of what has none.
NEVER = -1


@dataclass(slots=True)
class Found:
    """What is at a key, or should be.

    Attributes:
        document: None when there is none.
        expires_ms: When the key expires, Unix time; -1 for never.
        expiries: Hash field -> when it expires.
        is_of_another_type: There is something, and it is no document.
        refused: Why it can't be read; None where it can.
    """

    document: Document | None = None
    expires_ms: int = NEVER
    expiries: Mapping[bytes, int] = field(default_factory=dict)
    is_of_another_type: bool = False
    refused: str | None = None

    @property
    def exists(self) -> bool:
        """Whether there is anything at the key."""
        return self.document is not None or self.is_of_another_type
