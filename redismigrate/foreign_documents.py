"""Reads JSON, TOML and YAML that others wrote: whatever stands there, what comes out is data or one error.

Nesting without end, numbers of thousands of digits, tags of YAML, text that is no text: parsers answer them
with a dozen kinds of exceptions, or give back what fails later. This is the one place that knows them. Who
calls says which file or key it was, and what to do.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

# Far more than any document of ours or any schema has, and far less than what Python's own limits bear.
MOST_LEVELS = 100
MOST_DIGITS = 300
_LEAST_TOO_LARGE = 10**MOST_DIGITS
# Far more than any schema has. Aliases of aliases are small in the file and in memory, but not where an error
# shows what it found.
MOST_VALUES = 100_000
# Of file systems on Linux and macOS, in bytes.
LONGEST_NAME = 255
LONGEST_PATH = 4_000
_LONGEST_SHOWN = 40


class UnreadableDocument(Exception):
    """A text is not what it has to be.

    Attributes:
        problem: What is wrong, as the end of a sentence about the file or key.
        hint: What to do about it, a sentence.
    """

    def __init__(self, problem: str, hint: str = "Correct it.") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class UnreadableFile(UnreadableDocument):
    """A file is not there, or can't be read.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"can't be read: {reason}", "Correct the path.")
        self.reason = reason


class NotUtf8(UnreadableDocument):
    """A file is no text."""


def problem_with_path(path: str | Path) -> str | None:
    """Why no file can have a path, as the end of a sentence about it; None where one can.

    Args:
        path: As somebody wrote it; whether it exists does not matter.
    """
    text = str(path)
    if "\0" in text:
        return "holds a NUL byte"
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:
        return "is neither UTF-8 nor escaped bytes"
    longest = max(map(len, data.split(os.fsencode(os.sep))))
    if longest > LONGEST_NAME:
        return f"has a name of {longest:,} bytes, where {LONGEST_NAME} are the most"
    return f"is longer than {LONGEST_PATH:,} bytes" if len(data) > LONGEST_PATH else None


def read_text(path: str | Path, most_bytes: int | None = None) -> str:
    """The text of a file, without a byte order mark.

    Args:
        path: Of the file.
        most_bytes: How large it may be; no more is read of it. None: as large as it is.

    Raises:
        UnreadableFile: It can't be read, or is larger.
        NotUtf8: It is no text.
    """
    problem = problem_with_path(path)
    if problem is not None:
        raise UnreadableFile(f"the path {problem}")
    try:
        with Path(path).open("rb") as file:
            data = file.read(-1 if most_bytes is None else most_bytes + 1)
        if most_bytes is not None and len(data) > most_bytes:
            raise UnreadableFile(f"it is larger than {most_bytes:,} bytes")
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except OSError as error:
        raise UnreadableFile(error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise NotUtf8(f"is no UTF-8 at byte {error.start}", "Save it as UTF-8.") from None


def parse_json(text: bytes | str) -> Any:
    """The data of a JSON text; text in it may hold bytes that are no UTF-8 as `surrogateescape` has them.

    Raises:
        UnreadableDocument: It is no JSON, or holds what no document of ours does: NaN, too many levels or
            digits, half of a character.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused("is no JSON", error) from None
    _require_plain(content, is_finite=True)
    return content


def parse_toml(text: str) -> dict[str, Any]:
    """The data of a TOML text.

    Raises:
        UnreadableDocument: It is no TOML, or has too many levels or digits.
    """
    try:
        content = tomllib.loads(text)
    except Exception as error:  # noqa: BLE001 - its parser recurses, converts numbers and makes dates
        raise _refused("is not valid TOML", error) from None
    _require_plain(content)
    return content


def parse_yaml(text: str, most_values: int = MOST_VALUES) -> Any:
    """The one document of a YAML text, read by the safe loader.

    Args:
        text: It.
        most_values: How many it may have, each as often as aliases lead to it.

    Raises:
        UnreadableDocument: It is no YAML, says something twice, is endless, or has too many levels or digits.
    """
    import yaml  # only those who have YAML files need it

    try:
        loader = _loader()(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, most_values)
        content = loader.construct_document(node)
    except UnreadableDocument:
        raise
    except yaml.MarkedYAMLError as error:
        where = f" at {_place(error.problem_mark)}" if error.problem_mark else ""
        raise UnreadableDocument(f"is no YAML{where}: {error.problem}", _THERE) from None
    except Exception as error:  # noqa: BLE001 - what it does with tags raises a dozen kinds
        raise _refused("is no YAML", error) from None
    _require_plain(content)
    return content


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, which stops at deep nesting, and says where the value stands that no tag fits."""

        def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803 - theirs
            if self.flow_level >= MOST_LEVELS:  # every further token would look at all levels again
                raise UnreadableDocument(_TOO_DEEP)
            super().fetch_flow_collection_start(TokenClass)

        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep=deep)
            except (yaml.YAMLError, RecursionError):
                raise
            except Exception as error:
                problem = f"{_shown(node.value)} is no {node.tag.rpartition(':')[2]}"
                if isinstance(error, ValueError):
                    problem = _reason(error)
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    return Loader


def _count(node: yaml.Node, counted: dict[int, int], most_values: int) -> int:
    """How many values a node is, each as often as aliases lead to it.

    Args:
        node: Composed, not constructed.
        counted: Those that are known by their identity; 0 while it is being found out.
        most_values: How many it may be.

    Raises:
        UnreadableDocument: It contains itself, or too much, or says something twice.
    """
    import yaml

    known = counted.get(id(node))
    if known is not None:
        if known == 0:
            raise UnreadableDocument(f"contains itself at {_place(node.start_mark)}", _THERE)
        return known
    counted[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _refuse_repetition(node)
        children = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    counted[id(node)] = 1 + sum(_count(child, counted, most_values) for child in children)
    if counted[id(node)] > most_values:
        raise UnreadableDocument(f"has more than {most_values:,} values", "Use fewer aliases (*name).")
    return counted[id(node)]


def _refuse_repetition(mapping: yaml.MappingNode) -> None:
    """Refuse a key that stands there twice, of which the loader would silently take the last."""
    import yaml

    seen = set()
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                problem = f"says {_shown(key.value)} twice, again at {_place(key.start_mark)}"
                raise UnreadableDocument(problem, "Take one of them out.")
            seen.add((key.tag, key.value))


def _require_plain(content: Any, *, is_finite: bool = False) -> None:
    """Refuse what parsers let pass, and what fails where it is shown, stored or converted.

    Args:
        content: As a parser gave it.
        is_finite: No number may be NaN or infinite.
    """
    level = [content]
    for _ in range(MOST_LEVELS):
        deeper: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                deeper += each.keys()
                deeper += each.values()
            elif isinstance(each, list | tuple | set):
                deeper += each
            elif isinstance(each, str):
                if not each.isascii():
                    _require_text(each)
            elif isinstance(each, int | float):
                _require_number(each, is_finite=is_finite)
        if not deeper:
            return
        level = deeper
    raise UnreadableDocument(_TOO_DEEP)


def _require_number(number: float, *, is_finite: bool) -> None:
    if isinstance(number, int):
        if not -_LEAST_TOO_LARGE < number < _LEAST_TOO_LARGE:
            raise UnreadableDocument(_TOO_LONG)
    elif is_finite and not math.isfinite(number):
        raise UnreadableDocument(f"holds {number}, which is no number")


def _require_text(text: str) -> None:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnreadableDocument(f"holds half of a character in {_shown(text)}") from None


_THERE = "Correct it there."
_TOO_DEEP = "is nested too deeply"
_TOO_LONG = f"has a number of more than {MOST_DIGITS} digits"


def _refused(problem: str, error: Exception) -> UnreadableDocument:
    """What a parser says."""
    if isinstance(error, RecursionError):
        return UnreadableDocument(_TOO_DEEP)
    return UnreadableDocument(f"{problem}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The words of an error, without what only a Python programmer can use."""
    text = " ".join(str(error).split())
    return f"it {_TOO_LONG}" if "integer string conversion" in text else text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
