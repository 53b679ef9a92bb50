"""With which others a revision was folded, as the end of a line."""

from __future__ import annotations

from collections.abc import Mapping

_LISTED = 3


def folded_with(revision: str, folds: Mapping[str, tuple[str, ...]]) -> str:
    """The others of a fold; empty for a revision that was carried out alone.

    Args:
        revision: Which.
        folds: Applied revision -> those that were carried out as one with it.
    """
    others = [each for each in folds.get(revision, ()) if each != revision]
    if len(others) > _LISTED + 1:
        others = [*others[:_LISTED], f"{len(others) - _LISTED} others"]
    return f", folded with {', '.join(others)}" if others else ""
