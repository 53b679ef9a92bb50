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
