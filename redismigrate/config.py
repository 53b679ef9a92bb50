"""The settings of a project: read from its configuration file, the environment and the command line.

Later sources win: `redismigrate.toml` or `[tool.redismigrate]` of `pyproject.toml`, then the environment's
`REDISMIGRATE_<SETTING>`, then what the command line says.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from redismigrate.errors import ConfigurationError

CONFIGURATION_FILE = "redismigrate.toml"
ENVIRONMENT_PREFIX = "REDISMIGRATE_"
DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_BACKUP_DIR = Path("redismigrate-backups")
_QUERY_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")


class Settings(BaseModel):
    """All settings of one project.

    Attributes:
        project: Names the state in Redis, `{redismigrate:<project>}:…`.
        script_location: The folder that `redismigrate init` made.
        version_locations: Folders with migration scripts, by default `versions` in `script_location`; new
            ones go into the first.
        url: Where Redis is: redis://, rediss://, unix:// or embedded://.
        lock_timeout: Seconds to wait for another process that migrates.
        allow_evictable_state: Work although the server's maxmemory policy may evict the state.
        backup_dir: The folder above all backups, by default `redismigrate-backups` beside the configuration
            file; made when the first backup is.
        adopt: Whether an index may become what an alias points to: "alias" changes indexes with search up,
            "never" keeps every index under its own name and rebuilds it in place.
        file: The configuration file these settings come from, if any.
    """

    # An input may be a URL with a password, and a traceback tells what pydantic's error says.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project: str = Field(min_length=1, pattern=r"^[^{}\s]+$")
    script_location: Path
    version_locations: tuple[Path, ...] = ()
    url: str = DEFAULT_URL
    lock_timeout: float = Field(default=60.0, ge=0)
    allow_evictable_state: bool = False
    backup_dir: Path = DEFAULT_BACKUP_DIR
    adopt: Literal["alias", "never"] = "alias"
    file: Path | None = None

    @field_validator("url")
    @classmethod
    def _url_is_known(cls, url: str) -> str:
        if url.partition("://")[0] not in {"redis", "rediss", "unix", "embedded"}:
            raise ValueError("must start with redis://, rediss://, unix:// or embedded://")
        return url

    @field_validator("backup_dir", mode="before")
    @classmethod
    def _backup_dir_is_named(cls, backup_dir: object) -> object:
        # As a path, nothing would be the folder of the configuration file: think of a variable that is unset.
        if backup_dir == "":
            raise ValueError("must not be empty")
        return backup_dir


def redacted(url: str) -> str:
    """The URL without its password, for messages and logs.

    A password that should have been percent-encoded breaks the URL into wrong parts, so it is not parsed: all
    between the first colon and the last @ counts as password.
    """
    scheme, separator, rest = url.partition("://")
    rest = _QUERY_PASSWORD.sub("***", rest)
    credentials, _, location = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}:***@{location}" if colon else f"{scheme}{separator}{rest}"


def find_configuration(start: Path) -> Path | None:
    """The nearest configuration file in `start` or a folder above it, `redismigrate.toml` first."""
    for folder in (start, *start.parents):
        own = folder / CONFIGURATION_FILE
        if own.is_file():
            return own
        project = folder / "pyproject.toml"
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
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"Can't read the configuration {file}: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"The configuration {file} is not valid TOML: {error}.", "Correct the file."
        ) from error


def load_settings(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    start: Path | None = None,
) -> Settings:
    """The settings that hold here.

    Args:
        file: The configuration file; without it the nearest one above `start` is taken.
        overrides: Settings that win over all others, None values are ignored.
        environment: The environment variables, by default those of the process.
        start: Where the search begins, by default the working directory.

    Raises:
        ConfigurationError: No configuration is found, it can't be read or it is not valid.
    """
    file = file or find_configuration((start or Path.cwd()).resolve())
    if file is None:
        raise ConfigurationError(
            "No redismigrate.toml and no [tool.redismigrate] in a pyproject.toml here or above.",
            "Run `redismigrate init migrations` first, or name the file with --config.",
        )
    content = read_toml(file)
    variables = _from_environment(os.environ if environment is None else environment)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    values = {**_section(file, content), **variables, **given}
    if "script_location" not in values:
        raise ConfigurationError(
            f"{file} does not say where the migration scripts are.",
            'Add script_location = "migrations".',
        )
    folder = file.resolve().parent
    location = folder / str(values["script_location"])
    values.setdefault("project", _project_of(content) or default_project_name(location))
    try:
        settings = Settings(**values, file=file)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        origin = f"The configuration {file}"
        if name in given:
            origin = f"The given {name}"
        elif name in variables:
            origin = f"The environment variable {ENVIRONMENT_PREFIX}{name.upper()}"
        raise ConfigurationError(
            f"{origin} is not valid: {_first_problem(error)}.",
            "Settings are: " + ", ".join(sorted(set(Settings.model_fields) - {"file"})) + ".",
        ) from error
    versions = settings.version_locations or (location / "versions",)
    return settings.model_copy(
        update={
            "script_location": location,
            "version_locations": tuple(folder / version for version in versions),
            "backup_dir": folder / settings.backup_dir,
        }
    )


def default_project_name(script_location: Path) -> str:
    """The project's name where none is set: that of the folder above the scripts, made fit for a key."""
    return re.sub(r"[{}\s]+", "-", script_location.resolve().parent.name) or "default"


def _section(file: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    if file.name == "pyproject.toml":
        content = _table(_table(content, "tool", file), "redismigrate", file)
    if "file" in content:
        raise ConfigurationError(f"The configuration {file} has an unknown setting: file.")
    return dict(content)


def _table(content: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"The configuration {file} is not valid: {name} is no table.")
    return table


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for variable, value in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if variable.startswith(ENVIRONMENT_PREFIX) and name in Settings.model_fields and name != "file":
            settings[name] = value.split(os.pathsep) if name == "version_locations" else value
    return settings


def _project_of(content: Mapping[str, Any]) -> str | None:
    project = content.get("project")
    return project.get("name") if isinstance(project, dict) else None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {name}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}"
