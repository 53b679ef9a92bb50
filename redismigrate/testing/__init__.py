"""A pytest plugin for migrations: fixtures, and tests of what every history should be able to do.

pytest finds the plugin by its entry point, in every project of an environment where this package is
installed. So what is imported before a fixture is asked for has to stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redismigrate.testing.history_runner import MigrationRunner

__all__ = ["MigrationRunner"]


def __getattr__(name: str) -> Any:
    if name == "MigrationRunner":
        from redismigrate.testing.history_runner import MigrationRunner

        return MigrationRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
