"""What every command of the command line shares: the global options, the way out for results and errors."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from redismigrate.cli.alembic_options import config_of_alembic
from redismigrate.errors import RedisMigrateError
from redismigrate.foreign_documents import problem_with_path
from redismigrate.foreign_text import readable, readable_lines, readable_paragraph

if TYPE_CHECKING:
    from rich.console import Console

    from redismigrate.commands import Project

    _TextType = click.ParamType[str]
else:
    _TextType = click.ParamType  # generic since click 8.4

# Where lines are told instead of drawn, a change of numbers alone is told no more often.
LINE_EVERY_SECONDS = 5.0
_Function = TypeVar("_Function", bound=Callable[..., Any])
_RELATIVE = re.compile(r"-\d+(?::.*)?")
_PROTECTED = "\0"


class FilePath(click.Path):
    """A path; what can't be one is a mistake of the call."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path as click checks it."""
        try:
            return super().convert(value, param, ctx)
        except ValueError:  # the system's calls take neither NUL nor half of a character
            self.fail(f"{value!r} {problem_with_path(value) or 'is no path'}.", param, ctx)


@dataclass
class Invocation:
    """The global options of one call; they may stand before or after the command.

    Attributes:
        config: The configuration file, None to search for it.
        env: The named environment, None for what REDISMIGRATE_ENV says.
        x: Values for the functions of the project's `env.py`.
        url: The URL that wins over all settings.
        profile: The profile of the server that wins over all settings.
        backup_dir: The folder above all backups that wins over all settings; absolute, or empty as given.
        json: Stdout is one JSON document, everything else goes to stderr.
        is_quiet: No progress, no chatter.
        is_verbose: Tracebacks and debug messages.
        document_stream: Where the JSON document or the file for redis-cli goes: the real stdout, which is
            stderr to all else then.
    """

    config: Path | None = None
    env: str | None = None
    x: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    profile: str | None = None
    backup_dir: str | None = None
    json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    document_stream: TextIO | None = None

    def project(self) -> Project:
        """The project these options lead to."""
        from redismigrate.commands import Project

        overrides = {"url": self.url, "profile": self.profile, "backup_dir": self.backup_dir}
        return Project.load(self.config, overrides, env=self.env, x=self.x)

    def console(self) -> Console:
        """Where text for people goes."""
        from redismigrate.cli.rendering import ForeignSafeConsole

        console = ForeignSafeConsole(stderr=self.json, highlight=False, soft_wrap=True, quiet=self.is_quiet)
        if not console.is_terminal:
            console.width = 160
        return console

    def say(self, text: str) -> None:
        """A line for people; not with --quiet."""
        if not self.is_quiet:
            with suppress(OSError):  # a full disk below it is no reason to stop a run
                echo(readable_paragraph(text), sys.stderr if self.json else sys.stdout)

    def result(self, document: Any, text: str = "") -> None:
        """The command's result: the document with --json, else the text.

        Raises:
            RedisMigrateError: It can't be written.
        """
        try:
            if self.json:
                echo(json.dumps(document, indent=2), self.document_stream or sys.stdout)
            elif text:
                echo(text, self.document_stream or sys.stdout)
        except OSError as error:
            raise RedisMigrateError(
                f"The result can't be written to standard output: {error.strerror}.",
                "What the command does is done: `redismigrate status` and `current` tell.",
            ) from error


def echo(text: str, stream: TextIO) -> None:
    """Write lines as `readable_lines` shows them; a reader that has gone away doesn't stop the command."""
    try:
        click.echo(readable_lines(text), file=stream)
    except BrokenPipeError:
        lead_nowhere(stream)


def lines_text(lines: Iterable[str]) -> str:
    """Lines as one text: a line break in a value of others begins no line of ours."""
    return "\n".join(map(readable, lines))


def lead_nowhere(stream: TextIO) -> None:
    """Lead a stream nowhere: its buffer would raise again when Python flushes it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def relative_path(path: Path) -> Path:
    """A path as it is typed from the working directory, where it lies below that."""
    try:
        return Path(os.path.realpath(path)).relative_to(Path.cwd())
    except ValueError:
        return path


def report_error(
    invocation: Invocation, code: str, message: str, hint: str, run: Mapping[str, Any] | None = None
) -> None:
    """An error: what is wrong and what to do.

    Args:
        invocation: The call.
        code: The kind of error.
        message: What is wrong.
        hint: What to do.
        run: What is to be told of the run that ended so, besides.
    """
    if invocation.json:
        with suppress(RedisMigrateError):
            invocation.result({**(run or {}), "error": {"code": code, "message": message, "hint": hint}})
            return
    with suppress(OSError):
        echo(f"Error: {readable_paragraph(message)}", sys.stderr)
        if hint:
            echo(readable_paragraph(hint), sys.stderr)


@contextmanager
def stdout_kept_for(invocation: Invocation, *, for_good: bool) -> Iterator[None]:
    """Keep stdout for the result: what env.py, scripts and their child processes print goes to stderr.

    Args:
        invocation: Writes the result.
        for_good: Nobody needs stdout afterwards; what they print when Python ends goes to stderr as well.
    """
    stdout = sys.stdout
    try:
        is_real = stdout.fileno() == 1
    except (OSError, ValueError, AttributeError):
        is_real = False  # somebody captures it
    saved = os.dup(1) if is_real else -1
    invocation.document_stream = os.fdopen(saved, "w", encoding="utf-8") if is_real else stdout
    if is_real:
        stdout.flush()
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        if is_real:
            # What was printed to the real one by its other name.
            for stream in (stdout, invocation.document_stream):
                with suppress(OSError, ValueError):  # ValueError: code of others has closed it
                    stream.flush()
            if not for_good:
                os.dup2(saved, 1)
            with suppress(OSError):
                invocation.document_stream.close()
        if not (is_real and for_good):
            sys.stdout = stdout


def global_options(function: _Function) -> _Function:
    """Give a command the global options."""

    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        invocation = context.ensure_object(Invocation)
        if value is not None and value is not False:
            setattr(invocation, str(parameter.name), value)
        if parameter.name == "is_verbose" and value:
            logging.getLogger("redismigrate").setLevel(logging.DEBUG)
        elif parameter.name == "is_quiet" and value:
            logging.getLogger("redismigrate").setLevel(logging.ERROR)

    def remember_value(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
        for value in values:
            name, separator, text = value.partition("=")
            if not (name and separator):
                raise click.BadParameter(f"{value!r} is not name=value.", context, parameter)
            context.ensure_object(Invocation).x[name] = text

    def option(*names: str, **attributes: Any) -> Callable[[_Function], _Function]:
        return click.option(*names, expose_value=False, **{"callback": remember, **attributes})

    for decorate in (
        option("-v", "--verbose", "is_verbose", is_flag=True, help="Tracebacks and debug messages."),
        option("-q", "--quiet", "is_quiet", is_flag=True, help="No progress and no chatter."),
        option("--json", is_flag=True, help="Stdout is one JSON document; all else goes to stderr."),
        option(
            "-x",
            metavar="NAME=VALUE",
            multiple=True,
            callback=remember_value,
            help="A value for the functions of env.py; may be repeated.",
        ),
        option("--url", help="The Redis: redis://, rediss://, unix://, sentinel:// or embedded://[/folder]."),
        option(
            "--profile",
            type=click.Choice(["auto", "managed"]),
            help="What the server has: tried, or nothing that Redis Software lacks. [the setting profile]",
        ),
        option("--env", metavar="NAME", help="The named environment of the configuration."),
        option("--config", type=FilePath(path_type=Path, dir_okay=False), help="The configuration file."),
        config_of_alembic,
    ):
        function = decorate(function)
    return function


def backup_dir_option(function: _Function) -> _Function:
    """Give a command that works with backups the option `--backup-dir`."""

    def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:  # noqa: ARG001
        # A path in a configuration file counts from there, one on the command line from where it is typed.
        context.ensure_object(Invocation).backup_dir = str(Path(value).absolute()) if value else value

    return click.option(
        "--backup-dir",
        type=FilePath(file_okay=False),
        expose_value=False,
        callback=remember,
        help="The folder above all backups. [the setting backup_dir]",
    )(function)


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
        # Behind an equals sign it is a value, where click would take one with a dash for the next option.
        unwrapped = {
            name
            for parameter in self.params
            if isinstance(parameter.type, RevisionType)
            for name in parameter.opts
        }
        args = [
            f"{name}={_PROTECTED}{value}" if name in unwrapped and value.startswith("-") else word
            for word in args
            for name, _, value in [word.partition("=")]
        ]
        protected = [
            _PROTECTED + word if _RELATIVE.fullmatch(word) and before not in takes_value else word
            for before, word in zip(["", *args], args, strict=False)
        ]
        return super().parse_args(ctx, protected)


class RevisionType(_TextType):
    """The type of arguments that are revision identifiers."""

    name = "revision"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the identifier as it was typed; it is looked up later."""
        return str(value).removeprefix(_PROTECTED)


REVISION = RevisionType()
