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
    from redismigrate.commands.authoring.script_content import ScriptContent
    from redismigrate.operations.differing import Rename
    from redismigrate.operations.index_renames import IndexRename


@dataclass(frozen=True)
class Sources:
    """What a script is to be made from.

    Attributes:
        autogenerate: The declared schemas.
        from_live: Indexes of the server, or patterns; an empty one: to compare the declared schemas with all.
        schema_patch: A patch of RedisVL.
        index: What the patch is for: names and patterns.
        indexes_file: A file with more of them.
        skip_inapplicable: Leave out indexes to which the patch does not apply.
        renames: "old:new".
        aliases: Of the indexes that are created as they are.
    """

    autogenerate: bool = False
    from_live: tuple[str, ...] = ()
    schema_patch: Path | None = None
    index: tuple[str, ...] = ()
    indexes_file: Path | None = None
    skip_inapplicable: bool = False
    renames: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def compares(self) -> bool:
        """Whether the declared schemas are one side."""
        return self.autogenerate or "" in self.from_live

    @property
    def is_baseline(self) -> bool:
        """Whether indexes are to be created as they are on the server."""
        return any(self.from_live)

    def __post_init__(self) -> None:
        if self.is_baseline + self.compares + (self.schema_patch is not None) > 1:
            raise click.UsageError("Give one of --autogenerate, --from-live INDEX and --schema-patch.")
        if (self.schema_patch is None) != (not self.index and self.indexes_file is None):
            raise click.UsageError(
                "--schema-patch FILE and --index INDEX belong together."
                if self.indexes_file is None
                else "--schema-patch FILE and --indexes-file FILE belong together."
            )
        if self.skip_inapplicable and self.schema_patch is None:
            raise click.UsageError("--skip-inapplicable belongs to --schema-patch.")
        if self.renames and not self.compares:
            raise click.UsageError("--rename belongs to --autogenerate.")
        if self.aliases and not self.is_baseline:
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
        click.option(
            "--skip-inapplicable",
            is_flag=True,
            help="With --schema-patch: leave out indexes to which it does not apply, and tell which.",
        ),
        click.option(
            "--indexes-file",
            type=FilePath(path_type=Path, dir_okay=False),
            help="What the patch is for: a file with one name or pattern a line.",
        ),
        click.option(
            "--index",
            multiple=True,
            metavar="INDEX",
            help="What the patch is for: a name, or a pattern such as 'prod_*'. Can be repeated.",
        ),
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
            multiple=True,
            metavar="[INDEX]",
            help="Create INDEX, or all that a pattern such as 'cat*' matches, as on the server; can be "
            "repeated. Without INDEX, compare the declared schemas with the server.",
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

    if sources.schema_patch is not None:
        return commands.from_schema_patch(
            project, sources.schema_patch, _named(sources), skip_inapplicable=sources.skip_inapplicable
        )
    if sources.is_baseline:
        return commands.baseline(project, sources.from_live, sources.aliases)
    if sources.compares:
        return commands.autogenerate(
            project,
            from_live=bool(sources.from_live),
            renames=sources.renames,
            is_rename=_ask if _has_somebody_to_ask(invocation) else None,
        )
    return None


def _named(sources: Sources) -> tuple[str, ...]:
    """What a patch is for: what the command line says, and what the file does."""
    if sources.indexes_file is None:
        return sources.index
    from redismigrate.commands.authoring.chosen_indexes import read_names

    return (*sources.index, *read_names(sources.indexes_file))


def show_nothing_to_do(invocation: Invocation, sources: Sources, content: ScriptContent) -> None:
    """Say why no script was written."""
    text = "The indexes are as declared"
    if sources.schema_patch is not None:
        text = f"Index {', '.join(content.unchanged)} is already as the patch wants it"
        if len(content.unchanged) > 1:
            text = f"All {len(content.unchanged):,} indexes are already as the patch wants them"
    invocation.result(
        {"path": None, "revision": None, "operations": [], "notes": [], **_skipped(sources, content)},
        f"{text}: no script was written.",
    )
    for note in content.notes:
        invocation.say(f"Note: {note}")


def _skipped(sources: Sources, content: ScriptContent) -> dict[str, Any]:
    """What the result tells of indexes that were left out, where some may be."""
    if not sources.skip_inapplicable:
        return {}
    return {"skipped": [{"index": name, "reason": reason} for name, reason in content.skipped.items()]}


def show_generated(
    invocation: Invocation, path: Path, content: ScriptContent, sources: Sources | None = None
) -> None:
    """Tell what was written, and what to look at in it."""
    from redismigrate.history.script import read_script

    invocation.result(
        {
            "path": str(path),
            "revision": read_script(path).revision,
            "operations": list(content.operations),
            "notes": list(content.notes),
            **_skipped(sources or Sources(), content),
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
