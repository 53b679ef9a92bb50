"""Which indexes names and patterns stand for: those of the history, and on the server what nobody manages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from redismigrate.commands.project import Project
from redismigrate.errors import ServerError, UsageError
from redismigrate.foreign_documents import UnreadableDocument, read_text
from redismigrate.foreign_text import readable
from redismigrate.schema.definition import Catalog

LARGEST_FILE = 1_000_000  # bytes
MOST_NAMES = 10_000
LONGEST_INDEX_NAME = 1_000  # characters
_MOST_SHOWN = 10


@dataclass(frozen=True)
class ChosenIndexes:
    """What names and patterns stand for.

    Attributes:
        names: Of the indexes, sorted, each once.
        notes: What is to be known about the choice, one sentence each.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def is_pattern(name: str) -> bool:
    """Whether a text may stand for several names: it has `*`, `?` or `[`."""
    return any(character in name for character in "*?[")


def choose_indexes(project: Project, given: Iterable[str], catalog: Catalog) -> ChosenIndexes:
    """The indexes that names and patterns stand for, as `op.indexes` matches them.

    An index that is called like a pattern is meant by it. The server is asked where there is a pattern; where
    it can't be reached, patterns stand for indexes of the history.

    Args:
        project: The project.
        given: Names and patterns.
        catalog: The indexes that the history makes.

    Raises:
        UsageError: A pattern matches no index.
        ServerError: It matches none of the history, and the server can't be asked.
    """
    texts = tuple(dict.fromkeys(given))
    patterns = [text for text in texts if is_pattern(text)]
    live: tuple[str, ...] = ()
    unreached: ServerError | None = None
    if patterns:
        live, unreached = _unmanaged(project, catalog)
    known = (*catalog, *live)
    names: set[str] = set()
    for text in texts:
        matching = _matching(text, known) if text in patterns else [text]
        if not matching and unreached is not None:
            raise unreached
        if not matching:
            raise UsageError(
                f"No index matches {text!r}, of the history or of those on the server that nobody manages.",
                f"The history has: {_shown(catalog)}. The server has besides: {_shown(live)}.",
            )
        names.update(matching)
    notes = () if unreached is None else (_only_history(unreached),)
    return ChosenIndexes(tuple(sorted(names)), notes)


def choose_unmanaged(given: Iterable[str], live: Sequence[str]) -> tuple[str, ...]:
    """The indexes that nobody manages which names and patterns stand for, sorted; names stay.

    Args:
        given: Names and patterns.
        live: The indexes of the server that nobody manages.

    Raises:
        UsageError: A pattern matches none of them.
    """
    names: set[str] = set()
    for text in given:
        matching = _matching(text, live) if is_pattern(text) else [text]
        if not matching:
            raise UsageError(
                f"No index of the server that nobody manages matches {text!r}.",
                f"There are: {_shown(live)}. What revisions have made needs none that creates it.",
            )
        names.update(matching)
    return tuple(sorted(names))


def read_names(file: Path) -> tuple[str, ...]:
    """The names and patterns in a file: one a line; # begins a line that says nothing.

    Args:
        file: UTF-8.

    Raises:
        UsageError: The file can't be read, is no text, too large, names nothing, or has what is no name; says
            in which line.
    """
    try:
        text = read_text(file, LARGEST_FILE)
    except UnreadableDocument as error:
        raise UsageError(f"{file}: {error.problem}.", error.hint) from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    named = [(number, line) for number, line in lines if line and not line.startswith("#")]
    for number, line in named:
        is_long = len(line) > LONGEST_INDEX_NAME
        if is_long or not line.isprintable():
            problem = f"is longer than {LONGEST_INDEX_NAME:,} characters" if is_long else "is no name"
            raise UsageError(
                f"{file}: line {number} {problem}: {readable(line[:40])}.",
                "Write one name or pattern of an index a line; # begins a line that says nothing.",
            )
    if not named:
        raise UsageError(f"{file} names no index.", "Write one name or pattern of an index a line.")
    if len(named) > MOST_NAMES:
        raise UsageError(
            f"{file} names more than {MOST_NAMES:,} indexes.",
            "Use patterns, such as prod_*, or several files.",
        )
    return tuple(line for _, line in named)


def _unmanaged(project: Project, catalog: Catalog) -> tuple[tuple[str, ...], ServerError | None]:
    from redismigrate.commands.authoring.unmanaged import unmanaged_indexes

    try:
        with project.connect() as server:
            return unmanaged_indexes(project, server, catalog), None
    except ServerError as error:
        return (), error


def _matching(text: str, names: Sequence[str]) -> list[str]:
    return [text] if text in names else [name for name in names if fnmatchcase(name, text)]


def _only_history(error: ServerError) -> str:
    return f"Patterns stand for indexes of the history only, since the server can't be asked: {error.message}"


def _shown(names: Iterable[str]) -> str:
    """Some names, in words."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _MOST_SHOWN:,} more" if len(ordered) > _MOST_SHOWN else ""
    return ", ".join(ordered[:_MOST_SHOWN]) + more if ordered else "none"
