"""Rich's console and markup for text of others, none of which is taken for markup or lines of ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from redismigrate.foreign_text import readable, readable_lines


class ForeignSafeConsole(Console):
    """A console on which only rich itself writes control characters, and nobody's `:name:` is an emoji."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"emoji": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something printed."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(readable_lines(segment.text), segment.style)
            else:
                yield segment


def markup(text: str) -> str:
    """A text of others as markup for one line."""
    return escape(readable(text))
