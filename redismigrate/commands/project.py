"""What every command starts from: the settings, the scripts and the way to the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redismigrate.config import Settings, load_settings
from redismigrate.history.folder import read_scripts
from redismigrate.history.script import Script

if TYPE_CHECKING:
    from redismigrate.history.graph import History
    from redismigrate.redis_server.connection import Server
    from redismigrate.state.keys import StateKeys


@dataclass(frozen=True)
class Project:
    """A project: its settings, and lazily its scripts.

    Attributes:
        settings: All settings.
    """

    settings: Settings

    @classmethod
    def load(cls, file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Project:
        """The project whose configuration is found here; see `redismigrate.config.load_settings`."""
        return cls(load_settings(file, overrides))

    @cached_property
    def scripts(self) -> tuple[Script, ...]:
        """All migration scripts, read but not run."""
        return read_scripts(self.settings.version_locations)

    @cached_property
    def history(self) -> History:
        """The scripts as a DAG."""
        from redismigrate.history.graph import History

        return History(self.scripts)

    @property
    def keys(self) -> StateKeys:
        """The state's keys."""
        from redismigrate.state.keys import StateKeys

        return StateKeys(self.settings.project)

    def connect(self) -> Server:
        """A connection to the project's Redis, to be used in a `with` statement."""
        from redismigrate.redis_server.connection import connect

        return connect(self.settings.url)
