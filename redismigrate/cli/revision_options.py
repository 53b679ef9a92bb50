"""The options of `revision` that fill a script in: declared schemas, a live index, a schema patch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from redismigrate.cli.context import REVISION, FilePath, Invocation, lines_text, relative_path
from redismigrate.foreign_text import readable

if TYPE_CHECKING:
    from redismigrate.commands import Project
    from redismigrate.commands.authoring.generating import ScriptContent
    from redismigrate.operations.differing import Rename
    from redismigrate.operations.index_renames import IndexRename


@dataclass(frozen=True)
class Sources:
    """What a script is to be made from.

    Attributes:
        autogenerate: The declared schemas.
        from_live: An index of the server; empty: all, to compare the declared schemas with. None: no server.
        schema_patch: A patch of RedisVL.
        index: What the patch is for.
        renames: "old:new".
        aliases: Of the index that is created as it is.
    """

    autogenerate: bool = False
    from_live: str | None = None
    schema_patch: Path | None = None
    index: str | None = None
    renames: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def compares(self) -> bool:
        """Whether the declared schemas are one side."""
        return self.autogenerate or self.from_live == ""

    def __post_init__(self) -> None:
        if bool(self.from_live) + self.compares + (self.schema_patch is not None) > 1:
            raise click.UsageError("Give one of --autogenerate, --from-live INDEX and --schema-patch.")
        if (self.schema_patch is None) != (self.index is None):
            raise click.UsageError("--schema-patch FILE and --index INDEX belong together.")
        if self.renames and not self.compares:
            raise click.UsageError("--rename belongs to --autogenerate.")
        if self.aliases and not self.from_live:
            raise click.UsageError("--alias belongs to --from-live INDEX.")


def placing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that writes a revision the options that say where in the history."""
    for decorate in (
        click.option("--rev-id", help="Its id instead of a random one."),
        click.option(
            "--version-path",
            type=FilePath(path_type=Path, file_okay=False),
            help="Which of the folders with scripts it goes into.",
        ),
        click.option(
            "--depends-on",
            type=REVISION,
            multiple=True,
            help="A revision or label that must be applied before. Can be repeated.",
        ),
        click.option(
            "--branch-label", "branch_labels", multiple=True, help="Name the branch. Can be repeated."
        ),
        click.option("--splice", is_flag=True, help="Let --head be no head: begin a branch there."),
        click.option("--head", type=REVISION, help="The head it revises; needed when there are several."),
    ):
        function = decorate(function)
    return function


def generating_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, and their values as one argument `sources`."""

    @wraps(function)
    def gathered(*arguments: Any, **values: Any) -> Any:
        named = {name: values.pop(name) for name in Sources.__dataclass_fields__}
        return function(*arguments, sources=Sources(**named), **values)

    for decorate in (
        click.option("--index", metavar="INDEX", help="What the patch is for."),
        click.option(
            "--schema-patch",
            type=FilePath(path_type=Path, dir_okay=False),
            help="Do what a schema patch of RedisVL says.",
        ),
        click.option(
            "--rename",
            "renames",
            multiple=True,
            metavar="OLD:NEW",
            help="With --autogenerate: field or index NEW is OLD under a new name. Can be repeated.",
        ),
        click.option(
            "--alias",
            "aliases",
            multiple=True,
            metavar="NAME",
            help="With --from-live INDEX: an alias that it has. Can be repeated.",
        ),
        click.option(
            "--from-live",
            type=REVISION,
            is_flag=False,
            flag_value="",
            metavar="[INDEX]",
            help="Create INDEX as it is on the server; without INDEX, compare the declared schemas with the "
            "server.",
        ),
        click.option(
            "--autogenerate", is_flag=True, help="Do what leads from the history to the declared schemas."
        ),
    ):
        gathered = decorate(gathered)
    return gathered


def generated(invocation: Invocation, project: Project, sources: Sources) -> ScriptContent | None:
    """What the script is to hold; None: nothing, the user fills it in."""
    from redismigrate import commands

    if sources.schema_patch is not None and sources.index is not None:
        return commands.from_schema_patch(project, sources.schema_patch, sources.index)
    if sources.from_live:
        return commands.baseline(project, sources.from_live, sources.aliases)
    if sources.compares:
        return commands.autogenerate(
            project,
            from_live=sources.from_live is not None,
            renames=sources.renames,
            is_rename=_ask if _has_somebody_to_ask(invocation) else None,
        )
    return None


def show_nothing_to_do(invocation: Invocation, sources: Sources) -> None:
    """Say why no script was written."""
    text = (
        f"Index {sources.index} is already as the patch wants it"
        if sources.schema_patch is not None
        else "The indexes are as declared"
    )
    invocation.result(
        {"path": None, "revision": None, "operations": [], "notes": []}, f"{text}: no script was written."
    )


def show_generated(invocation: Invocation, path: Path, content: ScriptContent) -> None:
    """Tell what was written, and what to look at in it."""
    from redismigrate.history.script import read_script

    invocation.result(
        {
            "path": str(path),
            "revision": read_script(path).revision,
            "operations": list(content.operations),
            "notes": list(content.notes),
        },
        lines_text([f"Wrote {relative_path(path)}", *(f"  {operation}" for operation in content.operations)]),
    )
    for note in content.notes:
        invocation.say(f"Note: {note}")
    invocation.say("Read it, then: redismigrate plan")


def _has_somebody_to_ask(invocation: Invocation) -> bool:
    return not invocation.json and sys.stdin.isatty() and sys.stdout.isatty()


def _ask(pair: Rename | IndexRename) -> bool:
    from redismigrate.operations.differing import Rename

    question = (
        f"Index {pair.index}: is field {pair.new} field {pair.old} under a new name?"
        if isinstance(pair, Rename)
        else f"Is index {pair.new} index {pair.old} under a new name?"
    )
    return click.confirm(readable(question))
