"""The history as a picture in SVG, for a page or a viewer: the same columns as in a terminal, with curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from redismigrate.history.script import Script

# Pixels.
ROW, COLUMN, RADIUS, MARGIN, FONT = 28, 22, 5, 18, 13
CHARACTER = 0.62 * FONT
STYLE = (
    "text { font: 13px ui-monospace, monospace; fill: #57606a } path { fill: none; stroke: #57606a } "
    ".needs { stroke-dasharray: 3 3 } circle { fill: #fff; stroke: #57606a; stroke-width: 2 }"
)


@dataclass(frozen=True)
class Layout:
    """Where revisions and the lines between them go.

    Attributes:
        columns: Revision -> its column; its row is its place among the scripts.
        lanes: Revision and one that it revises -> the column in which their line runs.
    """

    columns: Mapping[str, int]
    lanes: Mapping[tuple[str, str], int]


def layout_of(scripts: Sequence[Script]) -> Layout:
    """Give every revision a column that no line crosses in its row.

    Args:
        scripts: In the order in which they are drawn, a revision above all that it revises.
    """
    drawn = {script.revision for script in scripts}
    open_lanes: list[str | None] = []  # which revision each column leads down to
    columns: dict[str, int] = {}
    lanes: dict[tuple[str, str], int] = {}
    for script in scripts:
        here = _lane(open_lanes, script.revision)
        columns[script.revision] = here
        open_lanes[here] = None
        for parent in script.down_revisions:
            if parent not in drawn:
                continue
            is_new = parent not in open_lanes
            lane = here if is_new and open_lanes[here] is None else _lane(open_lanes, parent)
            open_lanes[lane] = parent
            lanes[script.revision, parent] = lane
    return Layout(columns, lanes)


def svg(
    scripts: Sequence[Script], texts: Mapping[str, str], dependencies: Mapping[str, tuple[str, ...]]
) -> str:
    """A picture of revisions; what only depends on another one is joined with it by a dashed line.

    Args:
        scripts: In the order in which they are drawn, a revision above all that it revises.
        texts: What stands beside each revision.
        dependencies: Revision -> what it depends on, as ids.
    """
    layout = layout_of(scripts)
    rows = {script.revision: row for row, script in enumerate(scripts)}
    points = {revision: (_x(layout.columns[revision]), _y(row)) for revision, row in rows.items()}
    paths = [
        f'<path d="{_line(points[child], _x(lane), points[parent])}"/>'
        for (child, parent), lane in layout.lanes.items()
    ]
    paths += [
        f'<path class="needs" d="{_bow(points[script.revision], points[needed])}"/>'
        for script in scripts
        for needed in dependencies[script.revision]
        if needed in points
    ]
    beside = _x(1 + max(layout.columns.values(), default=-1))
    nodes = [
        f'<circle cx="{x}" cy="{y}" r="{RADIUS}"/>'
        f'<text x="{beside}" y="{y + FONT // 3}">{_escaped(texts[revision])}</text>'
        for revision, (x, y) in points.items()
    ]
    width = round(beside + MARGIN + CHARACTER * max(map(_length, texts.values()), default=0))
    height = 2 * MARGIN + ROW * max(0, len(scripts) - 1)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">'
    )
    return "\n".join([opening, f"<style>{STYLE}</style>", *paths, *nodes, "</svg>"])


def _lane(open_lanes: list[str | None], revision: str) -> int:
    """The column that leads to a revision, else the first one that is free."""
    for wanted in (revision, None):
        if wanted in open_lanes:
            return open_lanes.index(wanted)
    open_lanes.append(None)
    return len(open_lanes) - 1


def _x(column: int) -> int:
    return MARGIN + COLUMN * column


def _y(row: int) -> int:
    return MARGIN + ROW * row


def _line(start: tuple[int, int], lane: int, end: tuple[int, int]) -> str:
    """Into the lane within a row, down, and out of it within the last row."""
    (x, y), (end_x, end_y) = start, end
    if end_y - y == ROW:
        return f"M{x} {y} {_curve(x, y, end_x, end_y)}"
    down, out = y + ROW, end_y - ROW
    return f"M{x} {y} {_curve(x, y, lane, down)} V{out} {_curve(lane, out, end_x, end_y)}"


def _curve(x: int, y: int, end_x: int, end_y: int) -> str:
    middle = (y + end_y) // 2
    return f"C{x} {middle} {end_x} {middle} {end_x} {end_y}"


def _bow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x, y), (end_x, end_y) = start, end
    return f"M{x} {y} C{x + COLUMN} {y + ROW} {end_x + COLUMN} {end_y - ROW} {end_x} {end_y}"


def _length(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _escaped(text: str) -> str:
    """Text as XML takes it, which has no control characters."""
    return escape(
        "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    )
