"""Commands that show the history: heads, branches, history, graph, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from redismigrate.cli.context import (
    REVISION,
    Invocation,
    RevisionCommand,
    global_options,
    lines_text,
    relative_path,
)
from redismigrate.cli.fold_text import folded_with

if TYPE_CHECKING:
    from redismigrate.commands.revisions import Listing
    from redismigrate.history.script import Script


@click.command()
@click.option("--check", is_flag=True, help="End with 8 where there are several.")
@click.option("--resolve-dependencies", is_flag=True, help="Leave out those on which another depends.")
@global_options
@click.pass_obj
def heads(invocation: Invocation, /, check: bool, resolve_dependencies: bool) -> None:
    """List the revisions that no other revises."""
    from redismigrate import commands
    from redismigrate.commands.revisions import script_to_json

    found = commands.heads(invocation.project(), check=check, resolve_dependencies=resolve_dependencies)
    invocation.result(
        [script_to_json(script) for script in found],
        lines_text(_line(script) for script in found) or "There are no revisions yet.",
    )


@click.command()
@global_options
@click.pass_obj
def branches(invocation: Invocation) -> None:
    """List where the history branches, and the branch labels."""
    from redismigrate import commands

    found = commands.branches(invocation.project())
    lines = []
    for point, children in found.points:
        lines.append(f"{_line(point)}, revised by")
        lines += [f"  {_line(child)}" for child in children]
    for label, (script, tips) in found.labels.items():
        lines.append(f"label {label}: from {script.revision} to {', '.join(tips)}")
    invocation.result(found.to_json(), lines_text(lines) or "The history does not branch.")


@click.command(cls=RevisionCommand)
@click.option(
    "-r", "--rev-range", type=REVISION, metavar="A:B", help="From A to B, either of which may lack."
)
@click.option("-i", "--indicate-current", is_flag=True, help="Mark what is applied, when and by whom.")
@click.option("--graph", "as_graph", is_flag=True, help="Draw the branches.")
@global_options
@click.pass_obj
def history(invocation: Invocation, /, rev_range: str | None, indicate_current: bool, as_graph: bool) -> None:
    """List all revisions, newest first."""
    from redismigrate import commands

    listing = commands.history(invocation.project(), rev_range, indicate_applied=indicate_current)
    if as_graph:
        lines = _drawn(listing)
    else:
        lines = [
            f"{', '.join(script.down_revisions) or 'base'} -> {script.revision}{_marks(script, listing)}, "
            f"{script.message}{_applied(script, listing)}"
            for script in listing.scripts
        ]
    if listing.ahead:
        lines.append(f"Redis is ahead of these scripts by {', '.join(listing.ahead)}")
    none = "There are no revisions yet." if rev_range is None else "There are no revisions between these."
    invocation.result(listing.to_json(), lines_text(lines) or none)


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "svg"]),
    default="text",
    show_default=True,
    help="Lines for a terminal, a diagram for Markdown, or a picture.",
)
@global_options
@click.pass_obj
def graph(invocation: Invocation, /, form: str) -> None:
    """Draw the history: branches, merges, dependencies."""
    from redismigrate import commands
    from redismigrate.cli.graph_svg import svg
    from redismigrate.cli.graph_view import mermaid

    listing = commands.history(invocation.project())
    if form == "svg":
        text = svg(listing.scripts, _texts(listing), listing.dependencies)
    elif form == "mermaid":
        text = mermaid(listing.scripts, listing.dependencies)
    else:
        text = lines_text(_drawn(listing)) or "There are no revisions yet."
    invocation.result({"format": form, "text": text}, text)


@click.command(cls=RevisionCommand)
@click.argument("rev", type=REVISION)
@global_options
@click.pass_obj
def show(invocation: Invocation, /, rev: str) -> None:
    """Show a revision and what it does."""
    from redismigrate import commands

    shown = commands.show(invocation.project(), rev)
    script = shown.script
    lines = [
        f"Revision:  {script.revision}",
        f"Message:   {script.message}",
        f"Revises:   {', '.join(script.down_revisions) or 'base'}",
        f"Script:    {relative_path(script.path)}",
        f"Created:   {script.create_date or 'unknown'}",
    ]
    if script.branch_labels:
        lines.append(f"Labels:    {', '.join(script.branch_labels)}")
    if script.depends_on:
        lines.append(f"Needs:     {', '.join(script.depends_on)}")
    if script.replaces:
        lines.append(f"Replaces:  {', '.join(script.replaces)}")
    if shown.children:
        lines.append(f"Children:  {', '.join(shown.children)}")
    for title, words in (("Upgrade:", shown.upgrade), ("Downgrade:", shown.downgrade)):
        lines.append(title)
        if words is None:
            lines.append(f"  can't be told from the scripts alone: {shown.unknown}")
        else:
            lines += [f"  {operation}" for operation in words] or ["  nothing"]
    invocation.result(shown.to_json(), lines_text(lines))


def _drawn(listing: Listing) -> list[str]:
    from redismigrate.cli.graph_view import draw

    return draw(listing.scripts, _texts(listing), frozenset(listing.applied or ()))


def _texts(listing: Listing) -> dict[str, str]:
    """What stands beside each revision of a drawing."""
    return {
        script.revision: f"{script.revision}{_marks(script, listing)} {script.message}"
        f"{_applied(script, listing)}"
        for script in listing.scripts
    }


def _line(script: Script) -> str:
    labels = f" [{', '.join(script.branch_labels)}]" if script.branch_labels else ""
    return f"{script.revision}{labels} {script.message}"


def _marks(script: Script, listing: Listing) -> str:
    mark = " (head)" if script.revision in listing.heads else ""
    labels = f" [{', '.join(script.branch_labels)}]" if script.branch_labels else ""
    needs = f" (needs {', '.join(script.depends_on)})" if script.depends_on else ""
    stands_for = f" (replaces {len(script.replaces)})" if script.replaces else ""
    return f"{mark}{labels}{needs}{stands_for}"


def _applied(script: Script, listing: Listing) -> str:
    record = None if listing.applied is None else listing.applied.get(script.revision)
    if record is None:
        return "" if listing.applied is None else "; not applied"
    when = record.applied_at.partition(".")[0].partition("+")[0].replace("T", " ")
    return f"; applied {when} by {record.by}{folded_with(script.revision, listing.folds)}"


COMMANDS = (heads, branches, history, graph, show)
