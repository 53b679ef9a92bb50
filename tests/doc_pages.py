"""Reads the documentation's Markdown as what a reader meets: blocks, commands, links, sections, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"(?P<ticks>```+)(?P<language>\w*)")
_NOT_RUN = re.compile(r"<!-- doc-test: not run: (?P<reason>.+) -->")
_TITLE = re.compile(r"# (?P<path>[\w./-]*[\w-]\.\w+)")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"#{1,6} (?P<text>.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: The word behind the fence, for example `console`.
        text: What is between the fences, without the title line.
        line: The line of its fence in the page, from 1.
        title: The path in a first line `# migrations/versions/x.py`: a file that the reader is to write.
        reason_not_run: Why a marker comment before the block says not to run it; None: it is run.
    """

    language: str
    text: str
    line: int
    title: str | None = None
    reason_not_run: str | None = None


@dataclass(frozen=True)
class Command:
    """A line after `$ ` and what the page shows under it.

    Attributes:
        text: What is typed; lines that end in a backslash go on in the next one.
        output: The lines up to the next command.
    """

    text: str
    output: tuple[str, ...]


def blocks_of(page: Path) -> tuple[Block, ...]:
    """The fenced blocks of a page, in order."""
    blocks, reason = [], None
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        marker, fence = _NOT_RUN.fullmatch(line), _FENCE.fullmatch(line)
        if fence is not None:
            content = []
            for _, inner in lines:
                if inner == fence["ticks"]:
                    break
                content.append(inner)
            title = _TITLE.fullmatch(content[0]) if content else None
            text = "\n".join(content[1:] if title else content)
            blocks.append(Block(fence["language"], text, number, title["path"] if title else None, reason))
            reason = None
        elif marker is not None:
            reason = marker["reason"]
    return tuple(blocks)


def commands_of(block: Block) -> tuple[Command, ...]:
    """The commands of a `console` block."""
    commands: list[tuple[str, list[str]]] = []
    is_continued = False
    for line in block.text.splitlines():
        if is_continued:
            commands[-1] = (f"{commands[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            commands.append((line.removeprefix("$ "), []))
        else:
            assert commands, f"line {block.line}: a console block begins with a command after `$ `"
            commands[-1][1].append(line)
            continue
        is_continued = line.endswith("\\")
    return tuple(Command(text, tuple(output)) for text, output in commands)


def links_of(page: Path) -> tuple[str, ...]:
    """The targets of a page's links, those in fenced blocks left out."""
    return tuple(match["target"] for line in _prose_of(page) for match in _LINK.finditer(line))


def anchors_of(page: Path) -> frozenset[str]:
    """What a link's `#fragment` may be: the headings as GitHub turns them into anchors."""
    headings = (match["text"] for line in _prose_of(page) if (match := _HEADING.fullmatch(line)))
    return frozenset(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings)


def sections_of(page: Path) -> dict[str, tuple[str, ...]]:
    """What stands under each heading, up to the next one of any level; blocks left out."""
    sections: dict[str, list[str]] = {"": []}
    for line in _prose_of(page):
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            sections[heading["text"]] = []
        else:
            sections[next(reversed(sections))].append(line)
    return {heading: tuple(lines) for heading, lines in sections.items()}


def rows_of(section: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The rows of the tables of a section, without their two lines of heading."""
    rows: list[tuple[str, ...]] = []
    before_table = 2
    for line in section:
        if not line.startswith("|"):
            before_table = 2
        elif before_table:
            before_table -= 1
        else:
            rows.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
    return tuple(rows)


def _prose_of(page: Path) -> list[str]:
    prose, ticks = [], None
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.fullmatch(line)
        if ticks is not None:
            ticks = None if line == ticks else ticks
        elif fence is not None:
            ticks = fence["ticks"]
        else:
            prose.append(line)
    return prose
