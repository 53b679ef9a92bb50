"""The table of a revision that is partly applied: index, state, reason."""

from __future__ import annotations

from collections.abc import Sequence

HEAD = ("index", "state", "reason")


def index_table(indexes: Sequence[tuple[str, str, str]]) -> list[str]:
    """How each index of a revision is, in lines for people.

    Args:
        indexes: Each one's name, state, and why it failed, empty where it did not.
    """
    rows = [HEAD, *indexes]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [
        f"{index.ljust(widths[0])}  {state.ljust(widths[1])}  {reason}".rstrip()
        for index, state, reason in rows
    ]
