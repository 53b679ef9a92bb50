"""Options of a migration on the command line, made of their definitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from redismigrate.cli.context import FilePath
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.commands.option_definitions import Option, options_of

Function = TypeVar("Function", bound=Callable[..., Any])

_DEFINED = {name: (option, default) for name, option, default in options_of(MigrationOptions)}
# Larger ones are refused with the range in words, where click would show it in the help.
_MOST_SHOWN = 10**9


def option_of(name: str, **changes: Any) -> Callable[[Function], Function]:
    """What gives a command an option.

    Args:
        name: Of the option in `MigrationOptions`.
        changes: What click is told otherwise, for example another help.
    """
    option, default = _DEFINED[name]
    attributes: dict[str, Any] = {"help": option.help, "metavar": option.metavar, **_type_of(option, default)}
    return click.option(option.flag, name, **{**attributes, **changes})


def options(*names: str) -> Callable[[Function], Function]:
    """What gives a command several options; the first is shown last."""

    def decorate(function: Function) -> Function:
        for name in names:
            function = option_of(name)(function)
        return function

    return decorate


def _type_of(option: Option, default: Any) -> dict[str, Any]:
    most = option.most if option.most <= _MOST_SHOWN else None
    match option.kind:
        case "choice":
            return {"type": click.Choice(option.choices), "default": default, "show_default": True}
        case "count":
            number = click.IntRange(int(option.least), None if most is None else int(most))
            return {"type": number, "default": default, "show_default": default is not None}
        case "seconds":
            return {"type": click.FloatRange(option.least, most)}
        case "limit" if option.setting is not None:
            return {"type": click.FloatRange(option.setting.least, option.setting.most)}
        case "names":
            return {"multiple": True}
        case "files":
            return {"type": FilePath(path_type=Path, dir_okay=False), "multiple": True}
        case "file":
            return {"type": FilePath(path_type=Path, dir_okay=False)}
    return {"is_flag": True, "default": default}


max_removals_option = option_of("max_removals")
