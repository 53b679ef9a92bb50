"""The wizard's questions, and what answers have led to, as lines for a terminal of any width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from redismigrate.errors import RedisMigrateError
from redismigrate.foreign_text import readable
from redismigrate.schema import IndexSchema
from redismigrate.wizard.draft import Draft
from redismigrate.wizard.questions import Question

_INDENT = "    "
# Behind a longer name what it is begins a line of its own.
_LONGEST_NAME = 28


def schema_lines(schema: IndexSchema, width: int) -> Iterator[str]:
    """An index as it is.

    Args:
        schema: It.
        width: Columns of the terminal.
    """
    prefixes = " or ".join(f"{readable(prefix)}*" for prefix in schema.prefixes) or "every key"
    yield from wrapped(f"Index {readable(schema.name)}: {schema.storage_type}, {prefixes}", width)
    yield from _table(
        ((field.name, f"{field.type:<9}{_details(schema, field.name)}") for field in schema.fields), width
    )


def question_lines(question: Question, width: int) -> Iterator[str]:
    """A question with its choices; the last line is where the answer is typed."""
    if question.about:
        yield from wrapped(question.about, width)
    numbers = len(str(len(question.choices)))
    yield from _table(
        (
            (f"{position:>{numbers}}  {readable(choice.name)}", choice.text)
            for position, choice in enumerate(question.choices, start=1)
        ),
        width,
    )
    empty = readable(question.current or "") or (question.if_empty and f"empty: {question.if_empty}")
    *above, last = wrapped(f"{readable(question.text)}{empty and f' [{empty}]'}:", width)
    yield from above
    yield f"{last} "


def draft_lines(draft: Draft, width: int) -> Iterator[str]:
    """What all answers so far come to."""
    for change in draft.changes:
        yield from wrapped(f"+ {readable(str(change))}", width, "  ")


def refusal_lines(error: RedisMigrateError, width: int) -> Iterator[str]:
    """Why an answer was refused, and what to do."""
    yield from wrapped(f"No: {readable(error.message)}", width, "  ")
    if error.hint:
        yield from wrapped(f"  {readable(error.hint)}", width, "  ")


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """A text in lines that fit, the further ones indented."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=True)


def _details(schema: IndexSchema, name: str) -> str:
    """What of a field is not as a new one would be."""
    field = schema.field(name)
    defaults = {key: info.default for key, info in type(field).model_fields.items()}
    told = [
        key if value is True else f"{key}={value}"
        for key, value in field
        if key not in {"name", "type"} and value != defaults[key]
    ]
    return ", ".join(map(readable, told))


def _table(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    rows = [(readable(name), readable(text)) for name, text in rows]
    column = max((len(name) for name, _ in rows if len(name) <= _LONGEST_NAME), default=0)
    for name, text in rows:
        indent = f"  {'':<{column}}  "
        if not text:
            yield from wrapped(f"  {name}", width, _INDENT)
        elif len(name) > column:
            yield from wrapped(f"  {name}", width, _INDENT)
            yield from textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
        else:
            first = f"  {name:<{column}}  "
            yield from textwrap.wrap(text, width, initial_indent=first, subsequent_indent=indent)
