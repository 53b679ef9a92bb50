"""The notation of revision identifiers: text in, its parts out; nothing is looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from redismigrate.errors import UsageError

_FORMS = (
    "Use an id or its unique beginning, a branch label, head, heads, base or current, "
    "each with an optional +N or -N, +N or -N alone, and `label@` before any of them."
)
_IDENTIFIER = re.compile(
    r"(?:(?P<branch>[^@:+\-,\s]+)@)?(?P<symbol>[^@:+\-,\s]+)?(?P<steps>[+-][0-9]{1,9})?", re.ASCII
)


@dataclass(frozen=True)
class Identifier:
    """A revision identifier in its parts.

    Attributes:
        text: As the user wrote it, for errors.
        branch: What stands before the "@": a branch label, or a revision of the branch.
        symbol: An id, a prefix of one, a label, "head", "heads", "base" or "current"; None where
            the steps count from the current revision.
        steps: How many revisions to go up (positive) or down (negative) from there; None for none.
    """

    text: str
    branch: str | None
    symbol: str | None
    steps: int | None


BASE = Identifier("base", None, "base", None)
HEADS = Identifier("heads", None, "heads", None)


def parse_identifier(text: str) -> Identifier:
    """Take a revision identifier apart.

    Raises:
        UsageError: The text has none of the forms of an identifier.
    """
    text = text.strip()
    match = _IDENTIFIER.fullmatch(text)
    if not match or (match["symbol"] is None and match["steps"] is None):
        if ":" in text:
            raise UsageError(f"'{text}' is a range, but one revision is expected.", _FORMS)
        raise UsageError(f"'{text}' is not a revision identifier.", _FORMS)
    steps = int(match["steps"]) if match["steps"] else None
    return Identifier(text, match["branch"], match["symbol"], steps)


def parse_range(text: str) -> tuple[Identifier, Identifier]:
    """Take a range `a:b` apart; an empty first end means `base`, an empty second one `heads`.

    Raises:
        UsageError: The text is not of that form.
    """
    lower, colon, upper = text.partition(":")
    if not colon or ":" in upper:
        raise UsageError(f"'{text}' is not a range.", "Write `a:b`, `a:` or `:b`.")
    return (
        parse_identifier(lower) if lower.strip() else BASE,
        parse_identifier(upper) if upper.strip() else HEADS,
    )
