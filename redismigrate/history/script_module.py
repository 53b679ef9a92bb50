"""Compiles and executes the module of one migration script, and turns what goes wrong into a ScriptError."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType

from redismigrate.errors import ScriptError


def read_source(path: Path) -> bytes:
    """Return the bytes of a script.

    Raises:
        ScriptError: The file can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScriptError(f"{path} can't be read: {error.strerror}.", "Check the file's rights.") from error


def parse(source: bytes, path: Path) -> ast.Module:
    """Return the syntax tree of a script, without executing it.

    Raises:
        ScriptError: The source is not valid Python.
    """
    try:
        return ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte, before Python 3.12
        raise _script_error("is not valid Python", error, path) from error


def execute(source: bytes, path: Path) -> ModuleType:
    """Execute a script under a module name of its own and return the module.

    The source is compiled as given, not found again by the import system: what runs is what was
    read (and whose checksum is recorded), never bytecode cached from an older version of the file.
    The script's folder does not enter `sys.path` and relative imports fail.

    The module stays in `sys.modules`, where dataclasses, type hints and pickle look it up. Its name
    is derived from the path, so equally named scripts of two folders don't meet.

    Args:
        source: The bytes of the script.
        path: Where they were read, for tracebacks and errors.

    Raises:
        ScriptError: The source is not valid Python, or raises while it executes.
    """
    try:
        # dont_inherit: the future statements of this file must not change the meaning of the script
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise _script_error("is not valid Python", error, path) from error
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()
    module = ModuleType(f"redismigrate_script_{digest[:16]}")
    module.__file__ = str(path)
    module.__package__ = ""
    sys.modules[module.__name__] = module
    try:
        exec(code, vars(module))  # noqa: S102  a migration script is the user's own code
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise _script_error("fails when it is imported", error, path) from error
    return module


def line_of(error: BaseException, path: Path) -> int | None:
    """Return the line of the file at `path` that an error comes from, or None if it is not from there."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == str(path)
    ]
    return lines[-1] if lines else None


def describe(error: BaseException) -> str:
    """Return an error as one line: its class and the first line of its text."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first_line = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def place(path: Path, line: int | None) -> str:
    """Return a file and, if known, a line of it in words."""
    return f"{path}, line {line}" if line is not None else str(path)


def place_in(function: object, error: BaseException) -> str:
    """Where in a function's file an error comes from, in brackets; the empty text if it is not from there.

    Args:
        function: What was called.
        error: What came out of it, maybe translated on the way.
    """
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    cause: BaseException | None = error
    while code is not None and cause is not None:
        file = Path(code.co_filename)
        line = line_of(cause, file)
        if line is not None:
            return f" ({place(file, line)})"
        cause = cause.__cause__
    return ""


def _script_error(problem: str, error: BaseException, path: Path) -> ScriptError:
    where = place(path, line_of(error, path))
    return ScriptError(f"{where}: the script {problem} ({describe(error)}).", "Correct the script.")
