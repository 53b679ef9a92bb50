"""Compares an original, its copy and the mark of that copy, and says what has to happen to the copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from redismigrate.execution.documents.whole_documents import (
    FINGERPRINT_BYTES,
    Document,
    are_equal,
    fingerprint,
    has_fingerprint,
)

NEVER = -1


class Verdict(Enum):
    """What has to happen to a copy, or what keeps that from happening."""

    WRITE = auto()
    """It is absent, or was made here and is not up to date."""
    IN_STEP = auto()
    MARK = auto()
    """It is up to date, but its mark tells of something else, or of another time to live."""
    REMOVE = auto()
    """It was made here, and its original is gone."""
    HAND_OVER = auto()
    """It is gone like its original, or the application has written it since: the mark is given up."""
    NOTHING = auto()
    """There is no original, and what may be at the target was not made here."""
    OCCUPIED = auto()
    """It was not made here, and is something else."""
    BOTH_WRITTEN = auto()
    """The application has written original and copy since they were in step."""
    ONLY_NEW = auto()
    """The application has written the copy since, and not the original."""
    ONLY_NEW_DELETED = auto()
    """The application has deleted the copy since, and not written the original."""


@dataclass(slots=True)
class Found:
    """What is at a key, or should be.

    Attributes:
        document: None when there is none.
        expires_ms: When the key expires, Unix time; -1 for never.
        expiries: Hash field -> when it expires.
        is_of_another_type: There is something, and it is no document.
    """

    document: Document | None = None
    expires_ms: int = NEVER
    expiries: Mapping[bytes, int] = field(default_factory=dict)
    is_of_another_type: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is anything."""
        return self.document is not None or self.is_of_another_type


def lifetime_of(wanted: Found) -> bytes:
    """The part of a mark that follows the fingerprint: when the copy is to be gone; empty for never.

    A copy that is gone at that moment was deleted by nobody. While it was there the application may have
    prolonged the original, with no change of its contents.
    """
    moments = [wanted.expires_ms] if wanted.expires_ms > 0 else []
    if wanted.document is not None and len(wanted.expiries) == len(wanted.document):
        moments.append(max(wanted.expiries.values()))
    return b"%d" % min(moments) if moments else b""


def verdict_on(wanted: Found, copy: Found, mark: bytes | None) -> Verdict:
    """What has to happen to a copy.

    Args:
        wanted: The copy as the original asks for it; no document when there is no original, or when no copy
            can be made of it.
        copy: What is at the target.
        mark: The fingerprint of what was written there, and when it was to be gone; None when nothing was
            written.
    """
    if wanted.document is None:
        if mark is None:
            return Verdict.NOTHING
        return Verdict.REMOVE if _is_ours(copy, mark) else Verdict.HAND_OVER
    if mark is None:
        if not copy.exists:
            return Verdict.WRITE
        return Verdict.IN_STEP if _are_equal(copy, wanted) else Verdict.OCCUPIED
    printed = fingerprint(wanted.document, wanted.expiries)
    is_original_unchanged = mark == printed + lifetime_of(wanted)
    if not copy.exists:
        return Verdict.ONLY_NEW_DELETED if is_original_unchanged else Verdict.WRITE
    if _are_equal(copy, wanted):
        return Verdict.IN_STEP if is_original_unchanged else Verdict.MARK
    if _is_ours(copy, mark):
        return Verdict.WRITE
    return Verdict.ONLY_NEW if mark.startswith(printed) else Verdict.BOTH_WRITTEN


def _are_equal(copy: Found, wanted: Found) -> bool:
    if copy.document is None or wanted.document is None:
        return False
    return are_equal(copy.document, wanted.document)


def _is_ours(copy: Found, mark: bytes) -> bool:
    return copy.document is not None and has_fingerprint(
        copy.document, copy.expiries, mark[:FINGERPRINT_BYTES]
    )
