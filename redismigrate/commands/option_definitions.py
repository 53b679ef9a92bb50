"""What an option of a migration is called and takes: one definition for Python and for the command line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from redismigrate.errors import UsageError
from redismigrate.state.limits import SETTINGS, Setting, require_in_range

_OPTION = "option"


@dataclass(frozen=True)
class Option:
    """An option, as the command line has it, with what is refused.

    Attributes:
        flag: On the command line.
        help: What it says there.
        kind: Of its value.
        metavar: What stands for the value there; None for the name of its kind.
        choices: The only values.
        least: The smallest number.
        most: The largest number.
        setting: Of a limit that can be changed while the run is under way: what it may be set to.
    """

    flag: str
    help: str
    kind: Literal["choice", "count", "seconds", "limit", "flag", "file", "files", "names"] = "flag"
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: float = 0
    most: float = math.inf
    setting: Setting | None = None

    def require(self, name: str, value: Any) -> None:
        """Refuse a value that it does not take.

        Args:
            name: Of the option in Python.
            value: None for none.

        Raises:
            UsageError: It is not one of the choices, or out of the range.
        """
        if self.kind == "choice":
            if value not in self.choices:
                raise UsageError(f"{name} is {value!r}.", f"It has to be one of {', '.join(self.choices)}.")
        elif self.setting is not None:
            if value is not None and self.setting.least is not None:
                require_in_range(name, value, self.setting)
        elif self.kind in {"count", "seconds"} and not self.least <= (value or 0) <= self.most:
            upper = "" if self.most == math.inf else f" and at most {self.most:,}"
            raise UsageError(f"{name} is {value}.", f"It has to be at least {self.least}{upper}.")


def option(flag: str, text: str, **more: Any) -> dict[str, Option]:
    """The metadata of a field of `MigrationOptions`.

    Args:
        flag: See `Option`, as all that follows.
        text: Its help.
        more: Other attributes.
    """
    return {_OPTION: Option(flag, text, **more)}


def limit(name: str, text: str, metavar: str | None = None) -> dict[str, Option]:
    """The metadata of one that can be changed while the run is under way.

    Args:
        name: As `status --set` calls it.
        text: Its help.
        metavar: What stands for the value on the command line; None where it is on or off.
    """
    setting = SETTINGS[name]
    kind = "flag" if setting.least is None else "limit"
    return option(f"--{name}", text, kind=kind, metavar=metavar, setting=setting)


def options_of(of: Any) -> Iterator[tuple[str, Option, Any]]:
    """The options that a class with fields has, or one of its instances: name, option, default."""
    for each in fields(of):
        if _OPTION in each.metadata:
            yield each.name, each.metadata[_OPTION], each.default


def as_path(value: Any) -> Any:
    """A path that may have been given as text."""
    return Path(value) if isinstance(value, str) else value


def as_paths(values: Any) -> tuple[Any, ...]:
    """Paths, or one, that may have been given as text."""
    return (as_path(values),) if isinstance(values, str | Path) else tuple(map(as_path, values))
