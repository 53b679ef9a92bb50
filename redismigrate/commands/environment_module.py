"""The optional `env.py` beside the migration scripts: a project's own client, schemas and filter of indexes.

Unlike Alembic's it controls nothing: it is imported once and supplies functions that are called where their
answer is needed. It is code of the project, and trusted as its scripts are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redismigrate.config import Settings
from redismigrate.errors import ConfigurationError, ScriptError
from redismigrate.foreign_modules import (
    ForeignCode,
    ForeignFailure,
    code_of,
    execute,
    is_source_file,
    on_import_path,
    place_in_file,
    read_source,
    shown_value,
)

ENV_FILE = "env.py"
_NAMES = ("client", "schemas", "include")


@dataclass(frozen=True)
class EnvironmentModule:
    """What an `env.py` supplies; each function may be missing, and all are where there is no file.

    Attributes:
        path: The file.
        folder: Where it finds the application's modules.
        functions: Those that it has, by name.
    """

    path: Path
    folder: Path
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def supplies(self, name: Literal["client", "schemas", "include"]) -> bool:
        """Whether it has this function."""
        return name in self.functions

    def make_client(self, settings: Settings, x: Mapping[str, str]) -> Any:
        """What `client(settings, x)` returns: a client of redis-py, if it is right.

        Args:
            settings: All settings; the URL with its password.
            x: The values of `-x`.

        Raises:
            ConfigurationError: It fails; says in which line.
        """
        return self._call("client", settings, dict(x))

    def declared_schemas(self, x: Mapping[str, str]) -> Any:
        """What `schemas(x)` returns: schemas in any form that the setting `schemas` may name.

        Args:
            x: The values of `-x`.

        Raises:
            ConfigurationError: It fails; says in which line.
        """
        return self._call("schemas", dict(x))

    def includes(self, kind: Literal["index"], name: str) -> bool:
        """Whether `include(kind, name)` wants a thing to be compared; all are without that function.

        Args:
            kind: What it is.
            name: Its name.

        Raises:
            ConfigurationError: It fails, or answers neither True nor False; says in which line.
        """
        if not self.supplies("include"):
            return True
        answer = self._call("include", kind, name)
        if type(answer) is not bool:  # and no object that says to be one
            # A forgotten `return` would leave everything out.
            raise ConfigurationError(
                f"{place_in_file(self.path, self._first_line('include'))}: include() returns "
                f"{shown_value(answer)} for {kind} {name}, neither True nor False.",
                f"Correct {ENV_FILE}.",
            )
        return answer

    def _call(self, name: str, *arguments: Any) -> Any:
        def as_error(failure: ForeignFailure) -> ConfigurationError:
            line = failure.line_in(self.path) or self._first_line(name)
            return ConfigurationError(
                f"{place_in_file(self.path, line)}: {name}() fails ({failure.reason}).",
                f"Correct {ENV_FILE}.",
            )

        with ForeignCode(as_error), on_import_path(self.folder):
            return self.functions[name](*arguments)

    def _first_line(self, name: str) -> int | None:
        code = code_of(self.functions[name])
        return code.co_firstlineno if code is not None and code.co_filename == str(self.path) else None


def load_env(script_location: Path, folder: Path | None = None) -> EnvironmentModule:
    """Import the `env.py` of a project, if there is one.

    Args:
        script_location: Where it lies.
        folder: Where it finds the application's modules, by default the folder above.

    Raises:
        ConfigurationError: It can't be imported, says in which line, or one of its names is no function.
    """
    path, folder = script_location / ENV_FILE, folder or Path(os.path.realpath(script_location)).parent
    try:
        if not is_source_file(path):
            return EnvironmentModule(path, folder)
        with on_import_path(folder):
            names = execute(read_source(path), path)
    except ScriptError as error:
        raise ConfigurationError(error.message, f"Correct {ENV_FILE}.") from error
    functions = {name: names[name] for name in _NAMES if name in names}
    for name, function in functions.items():
        if not callable(function):
            raise ConfigurationError(
                f"{path}: {name} is no function.", f"Write `def {name}(...)`, or give it another name."
            )
    return EnvironmentModule(path, folder, functions)
