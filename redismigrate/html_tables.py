"""Plans and reports as a notebook shows them: a little HTML, in which text of others stays text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from redismigrate.foreign_text import readable

_CELL = 'style="text-align: left; vertical-align: top"'


def text(value: object) -> str:
    """A value as text, whatever is in it."""
    return escape(readable(str(value)).encode("utf-8", "backslashreplace").decode())


def heading(value: object) -> str:
    """A line that stands out."""
    return f"<p><strong>{text(value)}</strong></p>"


def paragraph(value: object, mark: str = "") -> str:
    """A line.

    Args:
        value: What it says.
        mark: Stands out before it.
    """
    return f"<p>{f'<strong>{text(mark)}</strong> ' if mark else ''}{text(value)}</p>"


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; nothing without rows. Columns without values are left out.

    Args:
        titles: Of the columns.
        rows: As many values each; None for none.
    """
    told = [["" if value is None else str(value) for value in row] for row in rows]
    if not told:
        return ""
    columns = [at for at in range(len(titles)) if any(row[at] for row in told)]
    head = "".join(f"<th {_CELL}>{text(titles[at])}</th>" for at in columns)
    body = "".join(
        f"<tr>{''.join(f'<td {_CELL}>{text(row[at])}</td>' for at in columns)}</tr>" for row in told
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def box(*parts: str) -> str:
    """All of it, apart from what the page shows beside it."""
    return f'<div class="redismigrate">{"".join(parts)}</div>'
