"""Finds and reads the file that configures a project, and its sections."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from redismigrate.errors import ConfigurationError
from redismigrate.foreign_documents import NotUtf8, UnreadableDocument, UnreadableFile, parse_toml, read_text

CONFIGURATION_FILE = "redismigrate.toml"
ENVIRONMENTS = "environments"
# Asked for where the model of all settings, and pydantic with it, would be slow to import.
DEFAULT_FILE_TEMPLATE = "%(rev)s_%(slug)s"
DEFAULT_SLUG_LENGTH = 40
_PYPROJECT = "pyproject.toml"

_log = logging.getLogger(__name__)


def find_configuration(start: Path) -> Path | None:
    """The nearest configuration file in `start` or a folder above it, `redismigrate.toml` first.

    Where both lie in one folder, a warning names the one that is not read.
    """
    for folder in (start, *start.parents):
        own = folder / CONFIGURATION_FILE
        project = folder / _PYPROJECT
        if own.is_file():
            with suppress(ConfigurationError):  # of a file that is not read
                if is_configuration(project):
                    _log.warning(
                        "%s is read, and not the section [tool.redismigrate] of %s beside it: keep one of "
                        "the two",
                        own,
                        project.name,
                    )
            return own
        if is_configuration(project):
            return project
    return None


def is_configuration(pyproject: Path) -> bool:
    """Whether a `pyproject.toml` exists and has a section for redismigrate."""
    return pyproject.is_file() and "redismigrate" in _table(read_toml(pyproject), "tool", pyproject)


def read_toml(file: Path) -> dict[str, Any]:
    """The parsed file.

    Raises:
        ConfigurationError: The file can't be read or is no TOML.
    """
    try:
        return parse_toml(read_text(file))
    except (UnreadableFile, NotUtf8) as error:
        reason = "it is not UTF-8" if isinstance(error, NotUtf8) else error.reason
        raise ConfigurationError(f"Can't read the configuration {file}: {reason}.") from error
    except UnreadableDocument as error:
        raise ConfigurationError(f"The configuration {file} {error.problem}.", "Correct the file.") from error


def section_of(file: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says for redismigrate.

    Raises:
        ConfigurationError: Its tables are none, or it sets what no file can.
    """
    if file.name == _PYPROJECT:
        content = _table(_table(content, "tool", file), "redismigrate", file)
    _refuse_file(file, content)
    return dict(content)


def environment_of(file: Path, environments: object, env: str | None) -> dict[str, Any]:
    """The settings of a named environment; none without a name.

    Args:
        file: The configuration file.
        environments: What it has under `environments`.
        env: The name.

    Raises:
        ConfigurationError: There is none of that name, or they are no tables.
    """
    table = f"tool.redismigrate.{ENVIRONMENTS}" if file.name == _PYPROJECT else ENVIRONMENTS
    if not isinstance(environments, Mapping) or not all(
        isinstance(each, Mapping) for each in environments.values()
    ):
        raise ConfigurationError(
            f"The configuration {file} is not valid: {ENVIRONMENTS} is no table of tables.",
            f"Write settings of an environment under [{table}.production].",
        )
    if env is None:
        return {}
    if env not in environments:
        known = ", ".join(sorted(environments))
        raise ConfigurationError(
            f"The configuration {file} has no environment '{env}'.",
            f"It has: {known}." if known else f"It has none; add [{table}.{env or 'production'}].",
        )
    _refuse_file(file, environments[env])
    return dict(environments[env])


def _refuse_file(file: Path, settings: Mapping[str, Any]) -> None:
    """Where the file is stands among the settings, but it can't be set."""
    if "file" in settings:
        raise ConfigurationError(f"The configuration {file} has an unknown setting: file.")


def _table(content: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"The configuration {file} is not valid: {name} is no table.")
    return table


def project_of(content: Mapping[str, Any]) -> str | None:
    """The name that a `pyproject.toml` gives its project, if it does."""
    project = content.get("project")
    return project.get("name") if isinstance(project, dict) else None
