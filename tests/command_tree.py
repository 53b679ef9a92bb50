"""The commands of the command line, those in groups too, as they are typed."""

from __future__ import annotations

import click

from redismigrate.cli import redismigrate


def commands_of(group: click.Group, typed: str = "") -> dict[str, click.Command]:
    """What is typed after `redismigrate` -> the command; groups themselves left out."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{typed}{name} ")
        else:
            found[typed + name] = command
    return found


COMMANDS = commands_of(redismigrate)
