"""The settings of a project: read from its configuration file, the environment and the command line.

Later sources win: `redismigrate.toml` or `[tool.redismigrate]` of `pyproject.toml`, then the section of the
named environment in it, then the environment variables `REDISMIGRATE_<SETTING>`, then the command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from redismigrate.configuration_file import (
    DEFAULT_FILE_TEMPLATE,
    DEFAULT_SLUG_LENGTH,
    ENVIRONMENTS,
    environment_of,
    find_configuration,
    project_of,
    read_toml,
    section_of,
)
from redismigrate.errors import ConfigurationError
from redismigrate.foreign_documents import UnreadableDocument, parse_json, problem_with_path

ENVIRONMENT_PREFIX = "REDISMIGRATE_"
DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_BACKUP_DIR = Path("redismigrate-backups")
# Of lists in the environment. `module:attribute` has what separates paths within it.
_SEPARATORS = {"version_locations": os.pathsep, "schemas": ",", "known_aliases": ","}
ENVIRONMENT_VARIABLE = "REDISMIGRATE_ENV"
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
# Of tables in the environment.
_IN_JSON = frozenset({"post_write_hooks"})
_SCHEMES = ("redis", "rediss", "unix", "sentinel", "embedded")


FILE_PLACEHOLDER = "{file}"


class PostWriteHook(BaseModel):
    """A command that gets every script which a command has just written.

    Attributes:
        command: The program and its arguments; no shell reads them. `{file}` in them is the script's path.
        cwd: The folder in which it runs, relative to the configuration file; by default that file's folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    command: tuple[str, ...]
    cwd: Path = Path()

    @model_validator(mode="before")
    @classmethod
    def _is_a_command_alone(cls, value: object) -> object:
        return {"command": value} if isinstance(value, list | tuple | str) else value

    @field_validator("command")
    @classmethod
    def _names_the_file(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command or not command[0]:
            raise ValueError("must name a program")
        if not any(FILE_PLACEHOLDER in word for word in command[1:]):
            raise ValueError(f'must have "{FILE_PLACEHOLDER}" where the path of the script goes')
        if any("\0" in word for word in command):
            raise ValueError("has NUL in it")
        return command

    @field_validator("cwd")
    @classmethod
    def _folder_can_exist(cls, cwd: Path) -> Path:
        problem = problem_with_path(cwd)
        if problem is not None:
            raise ValueError(problem)
        return cwd


class Settings(BaseModel):
    """All settings of one project.

    Attributes:
        project: Names the state in Redis, `{redismigrate:<project>}:…`.
        script_location: The folder that `redismigrate init` made.
        version_locations: Folders with migration scripts, by default `versions` in `script_location`; new
            ones go into the first.
        url: Where Redis is: redis://, rediss://, unix://, sentinel:// or embedded://.
        ssl_ca_certs: The authorities that may have signed the server's certificate, by default the system's.
            This and all that begins with ssl_ is used where the URL asks for TLS and does not say it itself.
        ssl_certfile: The client's certificate.
        ssl_keyfile: The key of the client's certificate.
        ssl_cert_reqs: Whether the server's certificate is checked.
        ssl_check_hostname: Whether it must be one of the host that is connected to.
        longest_expansion_days: For how many days a revision may be expanded before `check` says so.
        lock_timeout: Seconds to wait for another process that migrates.
        allow_evictable_state: Work although the server's maxmemory policy may evict the state.
        backup_dir: The folder above all backups, by default `redismigrate-backups` beside the configuration
            file; made when the first backup is.
        profile: What the server has: "auto" tries it, "managed" does without the commands that Redis Software
            and Redis Cloud lack, and does not try them.
        adopt: Whether an index may become what an alias points to: "alias" changes indexes with search up,
            "never" keeps every index under its own name and rebuilds it in place.
        file_template: The names of new scripts, without `.py`: a %-format of rev, slug, epoch, year, month,
            day, hour, minute and second.
        truncate_slug_length: How many characters the slug of a name has at most.
        timezone: Where the clock of "Create Date" and of file names stands: "UTC" or a name of the IANA.
        known_aliases: Aliases that clients use: of an index that no revision made, those among them are kept.
        schemas: Where the application declares the indexes it wants: globs of YAML files, relative to the
            configuration file, and `module:attribute`.
        post_write_hooks: Name -> a command that gets every new script, such as a formatter, in this order.
        file: The configuration file these settings come from, if any.
    """

    # An input may be a URL with a password, and a traceback tells what pydantic's error says.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project: str = Field(min_length=1, pattern=r"^[^{}\s]+$")
    script_location: Path
    version_locations: tuple[Path, ...] = ()
    url: str = Field(default=DEFAULT_URL, repr=False)
    ssl_ca_certs: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_cert_reqs: Literal["required", "optional", "none"] = "required"
    ssl_check_hostname: bool = True
    longest_expansion_days: float = Field(default=7.0, gt=0)
    lock_timeout: float = Field(default=60.0, ge=0)
    allow_evictable_state: bool = False
    backup_dir: Path = DEFAULT_BACKUP_DIR
    profile: Literal["auto", "managed"] = "auto"
    adopt: Literal["alias", "never"] = "alias"
    file_template: str = DEFAULT_FILE_TEMPLATE
    truncate_slug_length: int = Field(default=DEFAULT_SLUG_LENGTH, ge=1)
    timezone: str = "UTC"
    known_aliases: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    post_write_hooks: dict[str, PostWriteHook] = {}
    file: Path | None = None

    @property
    def tls(self) -> dict[str, Any]:
        """The settings for TLS, as redis-py's options."""
        # None is the system's authorities, or no certificate of the client.
        files = {name: getattr(self, name) for name in _TLS_FILES}
        return {
            **{name: str(file) for name, file in files.items() if file is not None},
            "ssl_cert_reqs": self.ssl_cert_reqs,
            "ssl_check_hostname": self.ssl_check_hostname,
        }

    @field_validator("url")
    @classmethod
    def _url_is_known(cls, url: str) -> str:
        scheme, separator, _ = url.partition("://")
        if not separator or scheme not in _SCHEMES:
            raise ValueError("must start with redis://, rediss://, unix://, sentinel:// or embedded://")
        return url

    @field_validator("file_template")
    @classmethod
    def _file_template_names_a_script(cls, file_template: str) -> str:
        parts = dict.fromkeys(("epoch", "year", "month", "day", "hour", "minute", "second"), 1)
        try:
            name = file_template % {"rev": "a", "slug": "b", **parts}
        except KeyError as error:
            raise ValueError(f"has no part {error}; there are rev, slug, {', '.join(parts)}") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"is no %-format ({error})") from error
        if "/" in name or "\\" in name or name.startswith(("__", ".", "#", "~")):
            raise ValueError(
                'must make a file name without folder that does not start with "__", ".", "#" or "~"'
            )
        return file_template

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, timezone: str) -> str:
        zone_of(timezone)
        return timezone

    @field_validator("script_location", "version_locations", "backup_dir", *_TLS_FILES)
    @classmethod
    def _paths_can_exist(cls, paths: Path | tuple[Path, ...] | None) -> Path | tuple[Path, ...] | None:
        for path in paths if isinstance(paths, tuple) else (paths,):
            problem = None if path is None else problem_with_path(path)
            if problem is not None:
                raise ValueError(problem)
        return paths

    @field_validator("backup_dir", mode="before")
    @classmethod
    def _backup_dir_is_named(cls, backup_dir: object) -> object:
        # As a path, nothing would be the folder of the configuration file: think of a variable that is unset.
        if backup_dir == "":
            raise ValueError("must not be empty")
        return backup_dir


def zone_of(timezone: str) -> tzinfo:
    """The time zone of a name.

    Raises:
        ValueError: There is none of that name.
    """
    if timezone.upper() == "UTC":
        return UTC
    # Imported on use: only the commands that write scripts in another zone need it.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        # OSError: the name of a folder of zones, as Europe.
        raise ValueError("is no time zone; write UTC or a name like Europe/Berlin") from error


def load_settings(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    start: Path | None = None,
    env: str | None = None,
) -> Settings:
    """The settings that hold here.

    Args:
        file: The configuration file; without it the nearest one above `start` is taken.
        overrides: Settings that win over all others, None values are ignored.
        environment: The environment variables, by default those of the process.
        start: Where the search begins, by default the working directory.
        env: The named environment of the file whose settings win over the file's others; by default the one
            that the environment variable REDISMIGRATE_ENV names, if any.

    Raises:
        ConfigurationError: No configuration is found, it can't be read, it is not valid, or it has no
            environment of that name.
    """
    file = file or find_configuration(Path(os.path.realpath(start or Path.cwd())))
    if file is None:
        raise ConfigurationError(
            "No redismigrate.toml and no [tool.redismigrate] in a pyproject.toml here or above.",
            "Run `redismigrate init migrations` first, or name the file with --config.",
        )
    content = read_toml(file)
    environment = os.environ if environment is None else environment
    section = section_of(file, content)
    env = environment.get(ENVIRONMENT_VARIABLE) if env is None else env
    named = environment_of(file, section.pop(ENVIRONMENTS, {}), env)
    variables = _from_environment(environment)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    values = {**section, **named, **variables, **given}
    if "script_location" not in values:
        raise ConfigurationError(
            f"{file} does not say where the migration scripts are.",
            'Add script_location = "migrations".',
        )
    folder = Path(os.path.realpath(file)).parent
    location = folder / str(values["script_location"])
    values.setdefault("project", project_of(content) or default_project_name(location))
    try:
        settings = Settings(**values, file=file)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        origin = f"The configuration {file}"
        if name in given:
            origin = f"The given {name}"
        elif name in variables:
            origin = f"The environment variable {ENVIRONMENT_PREFIX}{name.upper()}"
        elif name in named:
            origin = f"The environment {env} of the configuration {file}"
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
            "post_write_hooks": {
                name: hook.model_copy(update={"cwd": folder / hook.cwd})
                for name, hook in settings.post_write_hooks.items()
            },
            **{name: folder / path for name in _TLS_FILES if (path := getattr(settings, name)) is not None},
        }
    )


def default_project_name(script_location: Path) -> str:
    """The project's name where none is set: that of the folder above the scripts, made fit for a key."""
    if problem_with_path(script_location) is not None:
        return "default"  # the setting is refused in a moment
    folder = Path(
        os.path.realpath(script_location)
    ).parent  # where links go round, as far as they can be followed
    return re.sub(r"[{}\s]+", "-", folder.name) or "default"


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for variable, value in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if variable.startswith(ENVIRONMENT_PREFIX) and name in Settings.model_fields and name != "file":
            settings[name] = value.split(_SEPARATORS[name]) if name in _SEPARATORS else value
            if name in _IN_JSON:
                with suppress(UnreadableDocument):  # what it is instead, its type refuses
                    settings[name] = parse_json(value or "{}")
    return settings


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {name}"
    # A list is kept as a tuple.
    message = problem["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{name}: {message[:1].lower()}{message[1:]}"
