"""Commands about scripts, which need no server: init, revision, edit, heads, history, show, templates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from redismigrate.cli.context import REVISION, Invocation, RevisionCommand, global_options

if TYPE_CHECKING:
    from redismigrate.history.script import Script


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("-t", "--template", default="generic", show_default=True, help="See list-templates.")
@global_options
@click.pass_obj
def init(invocation: Invocation, /, directory: Path, template: str) -> None:
    """Make a folder for migration scripts and its configuration."""
    from redismigrate import commands

    made = commands.init(directory, template, invocation.url)
    for path in made.written:
        invocation.say(f"  wrote {path}")
    invocation.say(f"Check the url in {made.configuration}, then:")
    invocation.say('  redismigrate revision -m "create the first index"')
    written = [str(path) for path in made.written]
    invocation.result({"written": written, "configuration": str(made.configuration)})


@click.command("list-templates")
@global_options
@click.pass_obj
def list_templates(invocation: Invocation) -> None:
    """List the templates that init knows."""
    from redismigrate import commands

    known = commands.templates()
    invocation.result(
        [{"name": template.name, "description": template.description} for template in known],
        "\n".join(f"{template.name:<12}{template.description}" for template in known),
    )


@click.command(cls=RevisionCommand)
@click.option("-m", "--message", required=True, help="What the revision is for.")
@click.option("--head", type=REVISION, help="The head it revises; needed when there are several.")
@click.option("--rev-id", help="Its id instead of a random one.")
@global_options
@click.pass_obj
def revision(invocation: Invocation, /, message: str, head: str | None, rev_id: str | None) -> None:
    """Write an empty migration script."""
    from redismigrate import commands

    path = commands.revision(invocation.project(), message, head=head, revision_id=rev_id)
    invocation.result(
        {"path": str(path), "revision": path.name.partition("_")[0]}, f"Wrote {_relative(path)}"
    )
    invocation.say("Fill in upgrade() and downgrade(), then: redismigrate plan")


@click.command(cls=RevisionCommand)
@click.argument("rev", type=REVISION)
@global_options
@click.pass_obj
def edit(invocation: Invocation, /, rev: str) -> None:
    """Open a revision's script in $EDITOR."""
    from redismigrate import commands

    path = commands.edit(invocation.project(), rev)
    invocation.result({"path": str(path)})


@click.command()
@global_options
@click.pass_obj
def heads(invocation: Invocation) -> None:
    """List the revisions that no other revises."""
    from redismigrate import commands
    from redismigrate.commands.scripts import script_to_json

    found = commands.heads(invocation.project())
    invocation.result(
        [script_to_json(script) for script in found],
        "\n".join(_line(script) for script in found) or "There are no revisions yet.",
    )


@click.command()
@global_options
@click.pass_obj
def history(invocation: Invocation) -> None:
    """List all revisions, newest first."""
    from redismigrate import commands
    from redismigrate.commands.scripts import script_to_json

    scripts = commands.history(invocation.project())
    at_head = {script.revision for script in commands.heads(invocation.project())}
    lines = []
    for script in scripts:
        parents = ", ".join(script.down_revisions) or "base"
        mark = " (head)" if script.revision in at_head else ""
        labels = f" [{', '.join(script.branch_labels)}]" if script.branch_labels else ""
        needs = f" (needs {', '.join(script.depends_on)})" if script.depends_on else ""
        lines.append(f"{parents} -> {script.revision}{mark}{labels}{needs}, {script.message}")
    invocation.result(
        [script_to_json(script) for script in scripts],
        "\n".join(lines) or "There are no revisions yet.",
    )


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
        f"Script:    {_relative(script.path)}",
        f"Created:   {script.create_date or 'unknown'}",
    ]
    if script.branch_labels:
        lines.append(f"Labels:    {', '.join(script.branch_labels)}")
    if script.depends_on:
        lines.append(f"Needs:     {', '.join(script.depends_on)}")
    if shown.children:
        lines.append(f"Children:  {', '.join(shown.children)}")
    lines.append("Upgrade:")
    if shown.upgrade is None:
        lines.append(f"  can't be told from the scripts alone: {shown.unknown}")
    else:
        lines += [f"  {operation}" for operation in shown.upgrade] or ["  nothing"]
    invocation.result(shown.to_json(), "\n".join(lines))


def _line(script: Script) -> str:
    labels = f" [{', '.join(script.branch_labels)}]" if script.branch_labels else ""
    return f"{script.revision}{labels} {script.message}"


def _relative(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


COMMANDS = (init, list_templates, revision, edit, heads, history, show)
