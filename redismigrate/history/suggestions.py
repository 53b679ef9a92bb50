"""Near matches for a mistyped name, as the hint of an error."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a sentence that offers the known names closest to `name`.

    Args:
        name: What was asked for.
        known: The names that exist.
        otherwise: The sentence to return when nothing is close, and to append when something is.
    """
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if not near:
        return otherwise
    return f"Did you mean {' or '.join(repr(match) for match in near)}? {otherwise}"
