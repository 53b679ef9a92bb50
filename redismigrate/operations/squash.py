"""A squashed revision, as far as records of applied revisions have to know it. Nothing slow is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Squash:
    """A revision that stands for others.

    Attributes:
        revision: Its id.
        replaces: The revisions that it stands for, in order.
        parents: The revisions it revises.
        depends_on: The revisions it depends on besides.
        message: The first line of its script.
        sha256: Of its script.
        code_sha256: Of what Python reads of that.
    """

    revision: str
    replaces: tuple[str, ...]
    parents: tuple[str, ...]
    depends_on: tuple[str, ...]
    message: str
    sha256: str
    code_sha256: str
