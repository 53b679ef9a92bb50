"""Imports and runs code of others: the one place that does, and that makes one error of ours of what it does.

Migration scripts, `env.py`, the modules of the setting `schemas`, functions given to `op.run` and clients
made by others may raise anything, with any text, and change the process that they run in. Here that becomes
an error with one readable line; the person's Ctrl-C stays what it is.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import os
import stat
import sys
import traceback as traceback_module
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from redismigrate.errors import RedisMigrateError, ScriptError
from redismigrate.foreign_text import readable
from redismigrate.process_state import KeptProcessState

LONGEST_TEXT = 500
_MOST_LINES = 400  # of a traceback
# No script is longer; a device or a sparse file may be.
_MOST_BYTES = 8 * 1024 * 1024
_NAME_OF_CLASS: Any = type.__dict__["__name__"]
_MODULE_OF_CLASS: Any = type.__dict__["__module__"]
_TRACEBACK_OF: Any = BaseException.__dict__["__traceback__"]
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class ForeignFailure:
    """What came out of code of others.

    Attributes:
        error: The exception.
        traceback: Where it came from.
    """

    error: BaseException
    traceback: TracebackType | None

    @property
    def reason(self) -> str:
        """It in one line: its class and the first line of its text."""
        return describe(self.error)

    def line_in(self, path: Path | str) -> int | None:
        """The last line of a file that it passed through; None if it is not from there."""
        return line_of(self.error, path, self.traceback)


class ForeignCode:
    """A `with` block in which code of others runs: whatever comes out of it becomes one error of ours.

    A signal that ends the process, as Ctrl-C, is none of that code and goes through.

    Args:
        as_error: Our error for what came out.
        passes: Errors that go through as they are, of ours only those that are made by us.
    """

    def __init__(
        self,
        as_error: Callable[[ForeignFailure], RedisMigrateError],
        passes: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._as_error = as_error
        self._passes = passes
        self._process = KeptProcessState()

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, traceback)
        interruption = self._process.interruption
        if error is None or kind is None or error is interruption:
            return
        if interruption is not None:
            raise interruption from error
        if issubclass(kind, self._passes) and (not issubclass(kind, RedisMigrateError) or _is_ours(error)):
            return
        raise self._as_error(ForeignFailure(error, traceback)) from error


def _is_ours(error: BaseException) -> bool:
    """Whether an error can be told as it is: a subclass or a call of others may have put anything into it."""
    module = _MODULE_OF_CLASS.__get__(type(error))
    if type(module) is not str or module.partition(".")[0] != _PACKAGE:
        return False
    return all(type(vars(error).get(name)) is str for name in ("message", "hint"))


# --- what is said of it -----------------------------------------------------------------------------------


def describe(error: BaseException) -> str:
    """Return an error as one readable line: its class and the first line of its text."""
    text = text_of(error)
    first_line = text.strip().partition("\n")[0].strip()
    name = readable(_NAME_OF_CLASS.__get__(type(error)))
    return f"{name}: {_shortened(readable(first_line))}" if first_line else name


def shown_value(value: object) -> str:
    """Return a value as code shows it, in one readable line; of one that can't be shown, its class."""
    text = _guarded_text(repr, value)
    return _shortened(readable(text)) if text is not None else f"a {_NAME_OF_CLASS.__get__(type(value))}"


def traceback_of(error: BaseException) -> str:
    """The traceback of an error, as Python prints it, or as much of it as can be told."""
    try:
        text = "".join(traceback_module.format_exception(error))
    except BaseException:  # noqa: BLE001 - attributes of an exception can fail in every way
        frames = traceback_module.walk_tb(_TRACEBACK_OF.__get__(error))
        text = "\n".join(f"  {frame.f_code.co_filename}, line {line}" for frame, line in frames)
    lines = [_shortened(line) for line in text.rstrip().split("\n")]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES // 4], "…", *lines[-_MOST_LINES * 3 // 4 :]]
    return "\n".join(lines)


def line_of(error: BaseException, path: Path | str, traceback: TracebackType | None = None) -> int | None:
    """Return the line of the file at `path` that an error comes from, or None if it is not from there."""
    try:
        if isinstance(error, SyntaxError) and error.filename == str(path):
            return error.lineno if type(error.lineno) is int else None
        frames = list(traceback_module.walk_tb(traceback or error.__traceback__))
    except Exception:  # noqa: BLE001 - attributes of an exception can fail in every way
        return None
    lines = [line for frame, line in frames if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else None


def place_in_file(path: Path | str, line: int | None) -> str:
    """Return a file and, if known, a line of it in words."""
    return f"{path}, line {line}" if line is not None else str(path)


def place_in(function: object, error: BaseException) -> str:
    """Where in a function's file an error comes from, in brackets; the empty text if it is not from there.

    Args:
        function: What was called.
        error: What came out of it, maybe translated on the way.
    """
    code = code_of(function)
    cause: BaseException | None = error
    while code is not None and cause is not None:
        line = line_of(cause, code.co_filename)
        if line is not None:
            return f" ({place_in_file(code.co_filename, line)})"
        cause = cause.__cause__
    return ""


def code_of(function: object) -> Any:
    """The code of a function that is written in Python, else None."""
    try:
        code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    except BaseException:  # noqa: BLE001 - attributes of a callable object can fail in every way
        return None
    return code if inspect.iscode(code) else None


def function_name(function: object) -> str:
    """What a function is called, `function` where it has no name."""
    try:
        name = getattr(function, "__name__", None)
    except BaseException:  # noqa: BLE001 - as in `code_of`
        name = None
    return _shortened(readable(str.__str__(name))) if isinstance(name, str) else "function"


def text_of(error: BaseException) -> str:
    """Return what an exception says, any number of lines."""
    # What Python says of a SyntaxError has file and line in it, which stand elsewhere.
    text = _guarded_text(lambda it: str(it.msg) if isinstance(it, SyntaxError) else str(it), error)
    return "its text can't be shown" if text is None else text


def _guarded_text(show: Callable[[object], str], value: object) -> str | None:
    """What `str` or `repr` gives for a value of others as a plain text; None where that fails."""
    with KeptProcessState() as process:
        try:
            text = show(value)
            # A subclass could say something else each time.
            return str.__str__(text) if isinstance(text, str) else None
        except BaseException as error:
            if error is process.interruption:
                raise
            return None


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 2]} …"


# --- files --------------------------------------------------------------------------------------------------


def is_source_file(path: Path) -> bool:
    """Whether a file of code is there; no folder is one.

    Raises:
        ScriptError: Something is, but can't be read as a file: a link that leads nowhere or in a circle, a
            pipe, a device. Passed over in silence, a revision would be missing.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return False
        reason = "it is a link that leads nowhere" if path.is_symlink() else _reason_of(error)
        raise ScriptError(f"{path} can't be read: {reason}.", "Correct it, or move it away.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ScriptError(f"{path} can't be read: it is no regular file.", "Correct it, or move it away.")
    return stat.S_ISREG(mode)


def read_source(path: Path) -> bytes:
    """Return the bytes of a script.

    Raises:
        ScriptError: The file can't be read.
    """
    try:
        # Between a look and the opening the file may become a pipe: don't wait for its other end.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - of a descriptor
            source = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ScriptError(
            f"{path} can't be read: {_reason_of(error)}.", "Check the file's rights."
        ) from error
    if len(source) > _MOST_BYTES:
        raise ScriptError(
            f"{path} can't be read: it is larger than {_MOST_BYTES // 1024**2} MiB, which no script is.",
            "Correct the file; data of the application belong elsewhere.",
        )
    return source


def _reason_of(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or readable(str(error))


# --- modules ------------------------------------------------------------------------------------------------


def parse(source: bytes, path: Path) -> ast.Module:
    """Return the syntax tree of a script, without executing it.

    Raises:
        ScriptError: The source is not valid Python, or nested too deeply for it.
    """
    with ForeignCode(lambda failure: _script_error("is not valid Python", failure, path)):
        return ast.parse(source, filename=str(path))


def execute(source: bytes, path: Path, *, is_kept: bool = True) -> Mapping[str, Any]:
    """Execute a script as a module with a name of its own and return what it defines.

    The source is compiled as given, not found again by the import system: what runs is what was
    read (and whose checksum is recorded), never bytecode cached from an older version of the file.
    The script's folder does not enter `sys.path` and relative imports fail.

    The module stays in `sys.modules`, where dataclasses, type hints and pickle look it up. Its name
    is derived from the path, so equally named scripts of two folders don't meet.

    Args:
        source: The bytes of the script.
        path: Where they were read, for tracebacks and errors.
        is_kept: Its functions will be called; else it leaves `sys.modules` again.

    Raises:
        ScriptError: The source is not valid Python, or raises while it executes.
    """
    with ForeignCode(lambda failure: _script_error("is not valid Python", failure, path)):
        # dont_inherit: the future statements of this file must not change the meaning of the script
        code = compile(source, str(path), "exec", dont_inherit=True)
    resolved = os.path.realpath(path)
    digest = hashlib.sha256(resolved.encode(errors="surrogateescape")).hexdigest()
    module = ModuleType(f"redismigrate_script_{digest[:16]}")
    module.__file__ = str(path)
    module.__package__ = ""
    name, names = module.__name__, vars(module)
    sys.modules[name] = module
    is_done = False
    try:
        with ForeignCode(lambda failure: _script_error("fails when it is imported", failure, path)):
            exec(code, names)  # noqa: S102  a migration script is the user's own code
        is_done = True
    finally:
        if not (is_done and is_kept):
            sys.modules.pop(name, None)
    return names


def attribute_of(entry: str, folder: Path) -> Any:
    """What `module:attribute` names; to be called in a `ForeignCode` block.

    Args:
        entry: The name; the attribute may have dots.
        folder: Where modules are looked for first.

    Raises:
        LookupError: The module has no such attribute; its argument is the name that is missing.
    """
    name, _, attributes = entry.partition(":")
    with on_import_path(folder):
        value: Any = importlib.import_module(name)
    for attribute in attributes.split("."):
        if not hasattr(value, attribute):
            raise MissingAttribute(attribute)
        value = getattr(value, attribute)
    return value


class MissingAttribute(LookupError):
    """A module has no attribute of the name that it was asked for."""


def functions_in(path: Path) -> Mapping[str, Callable[..., Any]]:
    """What a script of ours defines, without byte code beside it; its folder may be read-only."""
    return execute(read_source(path), path)


@contextmanager
def on_import_path(folder: Path) -> Iterator[None]:
    """Look for modules in a folder first, as Python does for a program that lies there."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(Exception):  # a module may have put anything there
            sys.path.remove(str(folder))


def _script_error(problem: str, failure: ForeignFailure, path: Path) -> ScriptError:
    where = place_in_file(path, failure.line_in(path))
    return ScriptError(f"{where}: the script {problem} ({failure.reason}).", "Correct the script.")
