"""The history as a drawing: lines for a terminal, or a Mermaid diagram."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from redismigrate.history.script import Script

NODE, APPLIED = "○", "●"
# For a terminal that can't show the lines.
PLAIN = str.maketrans("│─├┼┤┴┬╯╮○●", "|-+++++++o*")


def draw(
    scripts: Sequence[Script], texts: Mapping[str, str], applied: frozenset[str] = frozenset()
) -> list[str]:
    """Draw revisions with one column for each line of development.

    Args:
        scripts: In the order in which they are drawn, a revision above all that it revises.
        texts: What stands beside each revision.
        applied: Revisions that are drawn filled.

    Returns:
        The lines; of revisions whose parents are not among them the line down just ends.
    """
    drawn = {script.revision for script in scripts}
    columns: list[str | None] = []  # which revision each column leads down to
    ended = -1  # where the revision above stands, if no line goes on from it
    lines: list[str] = []
    for script in scripts:
        waiting = [at for at, below in enumerate(columns) if below == script.revision]
        if len(waiting) > 1:
            lines.append(_link(columns, waiting[0], waiting[1:], "┴", "╯"))
            for at in waiting[1:]:
                columns[at] = None
        here = waiting[0] if waiting else _free_column(columns, not_at=ended)
        columns[here] = script.revision
        node = APPLIED if script.revision in applied else NODE
        cells = [
            node if at == here else "│" if below is not None else " " for at, below in enumerate(columns)
        ]
        lines.append(f"{' '.join(cells)}".rstrip() + f"  {texts[script.revision]}")
        parents = [parent for parent in script.down_revisions if parent in drawn]
        columns[here] = parents[0] if parents else None
        ended = -1 if parents else here
        added = []
        for parent in parents[1:]:
            added.append(_free_column(columns, here + 1))
            columns[added[-1]] = parent
        if added:
            lines.append(_link(columns, here, added, "┬", "╮"))
        while columns and columns[-1] is None:
            columns.pop()
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        (NODE + APPLIED + "│").encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return [line.translate(PLAIN) for line in lines]
    return lines


def mermaid(scripts: Sequence[Script], dependencies: Mapping[str, tuple[str, ...]]) -> str:
    """A Mermaid flowchart; what only depends on another revision is joined with it by a dotted line.

    Args:
        scripts: The revisions.
        dependencies: Revision -> what it depends on, as ids.
    """
    lines = ["flowchart TD"]
    for script in reversed(scripts):
        # The prefix keeps words of Mermaid's own, such as `end`, from being names of nodes.
        label = f"{script.revision}<br>{_escaped(script.message)}"
        lines.append(f'  r_{script.revision}["{label}"]')
        lines += [f"  r_{parent} --> r_{script.revision}" for parent in script.down_revisions]
        lines += [f"  r_{needed} -.-> r_{script.revision}" for needed in dependencies[script.revision]]
    return "\n".join(lines)


def _free_column(columns: list[str | None], start: int = 0, not_at: int = -1) -> int:
    at = start
    while at == not_at or (at < len(columns) and columns[at] is not None):
        at += 1
    columns += [None] * (at + 1 - len(columns))
    return at


def _link(columns: Sequence[str | None], start: int, ends: Sequence[int], joint: str, corner: str) -> str:
    """A line that joins a column with others to the right of it."""
    last = ends[-1]
    cells = []
    for at, below in enumerate(columns):
        is_within = start < at < last
        if at == start:
            cell = "├"
        elif at == last:
            cell = corner
        elif at in ends:
            cell = joint
        elif below is None:
            cell = "─" if is_within else " "
        else:
            cell = "┼" if is_within else "│"
        cells.append(cell + ("─" if start <= at < last else " "))
    return "".join(cells).rstrip()


def _escaped(text: str) -> str:
    """Text as Mermaid takes it between quotes."""
    entities = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
    return "".join(entities.get(character, character) for character in text)
