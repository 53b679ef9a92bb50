"""Commands about what is recorded in Redis: current, check, validate, status, stamp, unlock, repair."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from redismigrate.cli.alembic_options import sql_is_script
from redismigrate.cli.context import REVISION, Invocation, RevisionCommand, global_options, lines_text
from redismigrate.cli.migration_commands import ignore_other_databases_option, lock_options
from redismigrate.cli.option_parameters import option_of
from redismigrate.foreign_text import readable


@click.command()
@click.option(
    "--check-heads",
    is_flag=True,
    help="Only look whether all is applied, and there: else 4 or 3.",
)
@global_options
@click.pass_obj
def current(invocation: Invocation, /, check_heads: bool) -> int:
    """Show what is applied. Exits with 4 where a revision is applied in part only."""
    from redismigrate import commands

    if check_heads:
        at_head = commands.check_heads(invocation.project())
        for note in at_head.notes:
            invocation.say(f"Note: {note}")
        invocation.result(at_head.to_json(), f"All is applied: {', '.join(at_head.heads) or 'base'}.")
        return 0
    from redismigrate.cli.state_view import current_text

    found = commands.current(invocation.project())
    invocation.result(found.to_json(), current_text(found))
    return found.exit_code


@click.command()
@click.option("--watch", is_flag=True, help="Show the run under way until it ends.")
@click.option("--resume", is_flag=True, help="Let a paused run go on.")
@click.option(
    "--pause", is_flag=True, help="Let the run begin no further batch of documents and no further step."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a limit of the run, as max-latency=5 or max-latency=off. Can be repeated.",
)
@global_options
@click.pass_obj
def status(
    invocation: Invocation, /, watch: bool, resume: bool, pause: bool, settings: tuple[str, ...]
) -> None:
    """Show the run, the lock and what differs from the record.

    With --set, --pause and --resume change the limits of the run.
    """
    from redismigrate import commands
    from redismigrate.cli.state_view import status_text

    if watch and invocation.json:
        raise click.UsageError("--watch shows a run as it goes; --json is one document of one moment.")
    if pause and resume:
        raise click.UsageError("--pause and --resume contradict each other.")
    if pause or resume:
        settings = (*settings, f"paused={'on' if pause else 'off'}")
    if settings:
        commands.control(invocation.project(), settings)
        invocation.say(f"The run has from now on: {', '.join(settings)}")
    if watch:
        from redismigrate.cli.progress_view import show_watched

        with suppress(KeyboardInterrupt):
            show_watched(invocation, commands.watch(invocation.project()))
        return
    found = commands.status(invocation.project())
    invocation.result(found.to_json(), status_text(found))


@click.command(cls=RevisionCommand)
@click.argument("revs", metavar="REV...", type=REVISION, nargs=-1, required=True)
@click.option("--purge", is_flag=True, help="Forget first what the record says, damaged or not.")
@click.option(
    "--script",
    "as_script",
    is_flag=True,
    help="Print it for redis-cli and change nothing; REV may be a range A:B.",
)
@sql_is_script
@lock_options
@global_options
@click.pass_obj
def stamp(invocation: Invocation, /, revs: tuple[str, ...], as_script: bool, **values: Any) -> None:
    """Record REV and all before it as applied. Nothing is run; refused where the indexes differ."""
    from redismigrate import commands

    if as_script:
        if values["purge"]:
            raise click.UsageError("--purge can't be a script: a damaged record has to be read first.")
        text = commands.stamp_script(invocation.project(), revs)
        invocation.result({"script": text}, text.rstrip("\n"))
        return
    stamped = commands.stamp(invocation.project(), revs, **values)
    for left in stamped.left:
        invocation.say(f"Note: {left}")
    if stamped.forgotten:
        invocation.say(
            f"Note: no longer recorded as applied: {', '.join(stamped.forgotten)}, which no script here has; "
            "where another project has this name, give one of them another `project`"
        )
    invocation.result(stamped.to_json(), f"Recorded: {', '.join(stamped.heads) or 'base'}.")


@click.command()
@global_options
@click.pass_obj
def unlock(invocation: Invocation) -> None:
    """Free the lock of a process that hangs. That process can write nothing any more."""
    from redismigrate import commands

    holder = commands.unlock(invocation.project())
    text = "Nobody held the lock." if holder is None else f"Freed the lock of {holder}."
    invocation.result({"freed": None if holder is None else str(holder)}, readable(text))


@click.command()
@click.option(
    "--alias",
    "aliases",
    multiple=True,
    metavar="NAME[=INDEX]",
    help="Give an index a further alias back that it had, and record it. Can be repeated.",
)
@click.option(
    "--rebuild",
    multiple=True,
    metavar="INDEX",
    help="Drop an index that was changed and create it again as recorded; searches miss documents "
    "meanwhile. Can be repeated.",
)
@ignore_other_databases_option
@lock_options
@global_options
@click.pass_obj
def repair(invocation: Invocation, /, **values: Any) -> None:
    """Bring indexes and aliases back as they are recorded."""
    from redismigrate import commands

    done = commands.repair(invocation.project(), **values)
    for warning in done.warnings:
        invocation.say(f"Note: {warning}")
    lines = [f"Dropped index {name}, which hid the alias; its documents stay." for name in done.dropped]
    lines += [f"Set alias {name} again." for name in done.aliases]
    lines += [f"Created index {name} as recorded; its documents are being indexed." for name in done.created]
    lines += [f"Built index {name} as recorded; its documents are being indexed." for name in done.rebuilt]
    invocation.result(done.to_json(), lines_text(lines) or "Nothing to repair.")


@click.command()
@global_options
@click.pass_obj
def check(invocation: Invocation) -> int:
    """Compare schemas, scripts, record and server."""
    from redismigrate import commands
    from redismigrate.cli.state_view import check_text

    report = commands.check(invocation.project())
    invocation.result(report.to_json(), check_text(report))
    return report.exit_code


@click.command()
@click.argument("indexes", metavar="[INDEX]...", nargs=-1)
@option_of("query_checks", help="A file of queries that the index has to answer. Can be repeated.")
@global_options
@click.pass_obj
def validate(invocation: Invocation, /, indexes: tuple[str, ...], query_checks: tuple[Path, ...]) -> int:
    """Look at indexes: schema, documents, answers.

    Whether they are as recorded, have all documents, and answer as expected.
    """
    from redismigrate import commands
    from redismigrate.cli.validation_view import validation_text

    report = commands.validate(invocation.project(), indexes, query_checks=query_checks)
    invocation.result(report.to_json(), validation_text(report))
    return report.exit_code


COMMANDS = (current, check, validate, status, stamp, unlock, repair)
