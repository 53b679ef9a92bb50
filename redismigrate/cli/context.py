"""What every command of the command line shares: the global options, the way out for results and errors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from redismigrate.commands import Project

Function = TypeVar("Function", bound=Callable[..., Any])
_RELATIVE = re.compile(r"-\d+")
_PROTECTED = "\0"


@dataclass
class Invocation:
    """The global options of one call; they may stand before or after the command.

    Attributes:
        config: The configuration file, None to search for it.
        url: The URL that wins over all settings.
        json: Stdout is one JSON document, everything else goes to stderr.
        is_quiet: No progress, no chatter.
        is_verbose: Tracebacks and debug messages.
    """

    config: Path | None = None
    url: str | None = None
    json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False

    def project(self) -> Project:
        """The project these options lead to."""
        from redismigrate.commands import Project

        return Project.load(self.config, {"url": self.url})

    def console(self) -> Console:
        """Where text for people goes."""
        from rich.console import Console

        console = Console(stderr=self.json, highlight=False, soft_wrap=True, quiet=self.is_quiet)
        if not console.is_terminal:
            console.width = 160
        return console

    def say(self, text: str) -> None:
        """A line for people; not with --quiet."""
        if not self.is_quiet:
            click.echo(text, err=self.json)

    def result(self, document: Any, text: str = "") -> None:
        """The command's result: the document with --json, else the text."""
        if self.json:
            click.echo(json.dumps(document, indent=2))
        elif text:
            click.echo(text)


def report_error(invocation: Invocation, code: str, message: str, hint: str) -> None:
    """An error: what is wrong and what to do."""
    if invocation.json:
        click.echo(json.dumps({"error": {"code": code, "message": message, "hint": hint}}, indent=2))
        return
    click.echo(f"Error: {message}", err=True)
    if hint:
        click.echo(hint, err=True)


def global_options(function: Function) -> Function:
    """Give a command the global options."""

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        invocation = context.ensure_object(Invocation)
        if value is not None and value is not False:
            setattr(invocation, str(parameter.name), value)
        if parameter.name == "is_verbose" and value:
            logging.getLogger("redismigrate").setLevel(logging.DEBUG)
        elif parameter.name == "is_quiet" and value:
            logging.getLogger("redismigrate").setLevel(logging.ERROR)

    def option(*names: str, **attributes: Any) -> Callable[[Function], Function]:
        return click.option(*names, expose_value=False, callback=remember, **attributes)

    for decorate in (
        option("-v", "--verbose", "is_verbose", is_flag=True, help="Tracebacks and debug messages."),
        option("-q", "--quiet", "is_quiet", is_flag=True, help="No progress and no chatter."),
        option("--json", is_flag=True, help="Stdout is one JSON document; all else goes to stderr."),
        option("--url", help="The Redis: redis://, rediss://, unix:// or embedded://[/folder]."),
        option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file."),
    ):
        function = decorate(function)
    return function


class RevisionCommand(click.Command):
    """A command whose argument may be `-1`, which click would take for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hide relative identifiers from click's parser."""
        takes_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        protected = [
            _PROTECTED + word if _RELATIVE.fullmatch(word) and before not in takes_value else word
            for before, word in zip(["", *args], args, strict=False)
        ]
        return super().parse_args(ctx, protected)


class RevisionType(click.ParamType[str]):
    """A revision identifier."""

    name = "revision"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """The identifier as typed."""
        return str(value).removeprefix(_PROTECTED)


REVISION = RevisionType()
