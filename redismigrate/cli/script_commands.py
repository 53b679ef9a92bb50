"""Commands that make and change scripts, without a server: init, revision, merge, squash, edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from redismigrate.cli.alembic_options import sql_is_needless
from redismigrate.cli.context import (
    REVISION,
    FilePath,
    Invocation,
    RevisionCommand,
    global_options,
    lines_text,
    relative_path,
)
from redismigrate.cli.revision_options import (
    Sources,
    generated,
    generating_options,
    placing_options,
    show_generated,
    show_nothing_to_do,
)


@click.command()
@click.argument("directory", type=FilePath(path_type=Path, file_okay=False))
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
@placing_options
@generating_options
@sql_is_needless
@global_options
@click.pass_obj
def revision(
    invocation: Invocation, /, message: str, rev_id: str | None, sources: Sources, **values: Any
) -> None:
    """Write a migration script: empty, or generated."""
    from redismigrate import commands

    project = invocation.project()
    content = generated(invocation, project, sources)
    if content is not None and not content.operations:
        show_nothing_to_do(invocation, sources, content)
        return
    path = commands.revision(project, message, revision_id=rev_id, content=content, **values)
    if content is None:
        _show_written(invocation, path)
    else:
        show_generated(invocation, path, content, sources)


@click.command(cls=RevisionCommand)
@click.argument("revs", type=REVISION, nargs=-1)
@click.option("-m", "--message", help="What the revision is for. [which it joins]")
@click.option("--branch-label", "branch_labels", multiple=True, help="Name the branch. Can be repeated.")
@click.option("--rev-id", help="Its id instead of a random one.")
@global_options
@click.pass_obj
def merge(
    invocation: Invocation,
    /,
    revs: tuple[str, ...],
    message: str | None,
    branch_labels: tuple[str, ...],
    rev_id: str | None,
) -> None:
    """Write a script that joins heads, by default all."""
    from redismigrate import commands

    path = commands.merge(
        invocation.project(), revs or ("heads",), message, branch_labels=branch_labels, revision_id=rev_id
    )
    _show_written(invocation, path)


@click.command(cls=RevisionCommand)
@click.argument("rev_range", metavar="A:B", type=REVISION)
@click.option("-m", "--message", help="What the revision is for. [which it replaces]")
@click.option("--rev-id", help="Its id instead of a random one.")
@click.option(
    "--replaces", is_flag=True, hidden=True, expose_value=False, help="Say so in the script, as it does."
)
@global_options
@click.pass_obj
def squash(invocation: Invocation, /, rev_range: str, message: str | None, rev_id: str | None) -> None:
    """Write one script that stands for all from A to B."""
    from redismigrate import commands

    made = commands.squash(invocation.project(), rev_range, message, revision_id=rev_id)
    replaced = [script.revision for script in made.scripts]
    lines = [f"Wrote {relative_path(made.path)}", *(f"  {operation}" for operation in made.operations)]
    lines += [f"Note: {note}" for note in made.notes]
    lines.append(f"It replaces {', '.join(replaced)}, whose scripts may stay until every Redis has them all.")
    invocation.result(
        {
            "path": str(made.path),
            "revision": made.revision,
            "replaces": replaced,
            "operations": list(made.operations),
            "notes": list(made.notes),
        },
        lines_text(lines),
    )


def _show_written(invocation: Invocation, path: Path) -> None:
    from redismigrate.history.script import read_script

    invocation.result(
        {"path": str(path), "revision": read_script(path).revision}, f"Wrote {relative_path(path)}"
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


COMMANDS = (init, list_templates, revision, merge, squash, edit)
