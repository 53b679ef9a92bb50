"""Bytes and seconds as people read them."""

from __future__ import annotations

SHORTEST_SECONDS = 0.1
SMALLEST_MEGABYTES = 0.1


def size_text(size_bytes: int, sign: str = "") -> str:
    """Bytes in megabytes; empty for none.

    Args:
        size_bytes: How many.
        sign: Stands before the number.
    """
    if not size_bytes:
        return ""
    megabytes = size_bytes / 1e6
    return f"{sign}{megabytes:,.1f} MB" if megabytes >= SMALLEST_MEGABYTES else f"<{SMALLEST_MEGABYTES} MB"


def seconds_text(value: float) -> str:
    """Seconds; empty for none."""
    if not value:
        return ""
    return f"{value:.1f} s" if value >= SHORTEST_SECONDS else f"<{SHORTEST_SECONDS} s"


def duration(seconds: float) -> str:
    """A number of seconds in words, such as "1.5 s" or "3 minutes"."""
    if seconds < 0.1:  # noqa: PLR2004 - what rounds to nothing
        return "0.1 s"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"  # noqa: PLR2004 - two minutes
