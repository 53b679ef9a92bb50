"""What every command starts from: the settings, the scripts and the way to the server."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redismigrate.commands.environment_module import ENV_FILE, EnvironmentModule, load_env
from redismigrate.config import Settings, load_settings
from redismigrate.errors import UsageError
from redismigrate.history.folder import read_scripts
from redismigrate.history.script import Script
from redismigrate.history.standing_scripts import standing_scripts

if TYPE_CHECKING:
    from redismigrate.history.graph import History
    from redismigrate.redis_server.connection import Server
    from redismigrate.state.keys import StateKeys

# A name in an identifier, and not how many steps to go from there.
_WORD = re.compile(r"(?<![0-9A-Za-z_+-])[0-9A-Za-z_]+")


@dataclass(frozen=True)
class Project:
    """A project: its settings, and lazily its scripts.

    Attributes:
        settings: All settings.
        x: Values for the functions of the project's `env.py`, as `-x name=value` gives them.
        is_url_given: The caller has named the Redis, so that no `client` of `env.py` may lead elsewhere.
        opened: Squashed revisions in whose place those that they replace are looked at, by their own scripts.
    """

    settings: Settings
    x: Mapping[str, str] = field(default_factory=dict)
    is_url_given: bool = False
    opened: frozenset[str] = frozenset()

    @classmethod
    def load(
        cls,
        file: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        env: str | None = None,
        x: Mapping[str, str] | None = None,
    ) -> Project:
        """The project whose configuration is found here; see `redismigrate.config.load_settings`.

        Args:
            file: The configuration file, None to search for it.
            overrides: Settings that win over all others.
            env: The named environment.
            x: Values for `env.py`.

        Raises:
            ConfigurationError: The configuration is missing or wrong.
            UsageError: There are values for `env.py`, but no such file.
        """
        is_url_given = (overrides or {}).get("url") is not None
        project = cls(load_settings(file, overrides, env=env), dict(x or {}), is_url_given)
        path = project.settings.script_location / ENV_FILE
        if project.x and not path.exists() and not path.is_symlink():
            raise UsageError(f"-x is for {path}, which does not exist.", "Write it, or leave -x out.")
        return project

    @cached_property
    def all_scripts(self) -> tuple[Script, ...]:
        """All migration scripts in the folders, read but not run, those that others replace among them."""
        return read_scripts(self.settings.version_locations)

    @cached_property
    def scripts(self) -> tuple[Script, ...]:
        """The migration scripts that the history is made of, read but not run."""
        return standing_scripts(self.all_scripts, self.opened)

    def showing(self, *identifiers: str) -> Project:
        """The project with the replaced revisions that identifiers name, if their scripts are still there.

        Args:
            identifiers: Of revisions, or ranges of them.
        """
        standing = {script.revision for script in self.scripts}
        standing |= {label for script in self.scripts for label in script.branch_labels}
        replaced = {old: script.revision for script in self.scripts for old in script.replaces}
        left = [script.revision for script in self.all_scripts if script.revision in replaced]
        named = {word for text in identifiers for word in _WORD.findall(text)} if left else ()
        opened = {
            replaced[old]
            for word in named
            if not any(known.startswith(word) for known in standing)
            for old in left
            if old.startswith(word)
        }
        return replace(self, opened=self.opened | opened) if opened else self

    @cached_property
    def history(self) -> History:
        """The scripts as a DAG."""
        from redismigrate.history.graph import History

        return History(self.scripts)

    @cached_property
    def env_module(self) -> EnvironmentModule:
        """The project's `env.py`, imported when it is first asked for."""
        file = self.settings.file
        return load_env(
            self.settings.script_location, None if file is None else Path(os.path.realpath(file)).parent
        )

    @property
    def keys(self) -> StateKeys:
        """The keys under which Redis keeps the state of this project."""
        from redismigrate.state.keys import StateKeys

        return StateKeys(self.settings.project)

    def connect(self) -> Server:
        """A connection to the project's Redis, to be used in a `with` statement."""
        from redismigrate.redis_server.connection import connect, connect_like

        if not self.is_url_given and self.env_module.supplies("client"):
            client = self.env_module.make_client(self.settings, self.x)
            server = connect_like(client, f"{self.env_module.path}: what client() returns")
        else:
            server = connect(self.settings.url, self.settings.tls)
        server.profile = self.settings.profile
        return server
