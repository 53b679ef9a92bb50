"""Commands that plan or change: plan, upgrade, downgrade, rollback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from redismigrate.cli.alembic_options import sql_is_script
from redismigrate.cli.context import (
    REVISION,
    FilePath,
    Invocation,
    RevisionCommand,
    backup_dir_option,
    global_options,
)
from redismigrate.cli.option_parameters import option_of, options

if TYPE_CHECKING:
    from redismigrate.commands.migration_options import MigrationOptions, MigrationResult
    from redismigrate.operations.recorded import Direction
    from redismigrate.planning.plan import Plan

_Function = TypeVar("_Function", bound=Callable[..., Any])


ignore_other_databases_option = option_of("ignore_other_databases")
# The options of every command that writes state.
lock_options = options("allow_evictable_state", "lock_timeout")


def plan_options(function: _Function) -> _Function:
    """The options that shape a plan."""
    shaping = (
        "query_checks",
        "allow_lossy",
        "drop_field_ttls",
        "max_failures",
        "workers",
        "batch_size",
        "ignore_other_databases",
        "aliases",
    )
    return options(*shaping, "exclusive", "strategy", "fold")(backup_dir_option(function))


def migration_options(function: _Function) -> _Function:
    """The options of upgrade and downgrade."""
    for decorate in (
        lock_options,
        plan_options,
        options("max_removals", "report_out"),
        option_of("plan_file", type=FilePath(path_type=Path, dir_okay=False, exists=True)),
        click.option(
            "--script",
            "as_script",
            is_flag=True,
            help="Print it for redis-cli and change nothing; REV may be a range A:B.",
        ),
        sql_is_script,
        click.option("--dry-run", is_flag=True, help="Show the plan and change nothing."),
        options("postpone_cutover", "max_wait_seconds", "max_docs_per_second", "max_latency_ms", "phase"),
    ):
        function = decorate(function)
    return function


def _options(invocation: Invocation, values: dict[str, Any]) -> MigrationOptions:
    from redismigrate.commands.migration_options import MigrationOptions

    # What the settings say is where new backups go; an option also says where older ones are by now.
    given = invocation.backup_dir
    if "aliases" in values:
        values = {**values, "aliases": tuple(values["aliases"])}
    return MigrationOptions(**values, backup_dir=None if given is None else Path(given))


@click.command(cls=RevisionCommand)
@click.argument("rev", type=REVISION, default="head")
@click.option("--down", is_flag=True, help="Plan a downgrade.")
@click.option("-o", "--output", type=FilePath(path_type=Path, dir_okay=False), help="Write the plan as YAML.")
@click.option("--compare", is_flag=True, help="Show beside it how else every index could be changed.")
@options("cutover", "on_failure")
@plan_options
@global_options
@click.pass_context
def plan(
    context: click.Context, /, rev: str, down: bool, output: Path | None, compare: bool, **values: Any
) -> int:
    """Show what an upgrade would do and cost; changes nothing. Exits with 6 when the plan is blocked."""
    from redismigrate.planning.plan_file import write_plan

    invocation: Invocation = context.obj
    if down and context.get_parameter_source("rev") is ParameterSource.DEFAULT:
        # The head, which an upgrade goes to, is where a downgrade has nothing to do.
        raise click.MissingParameter(ctx=context, param_hint="'REV'", param_type="argument")
    made = _make_plan(invocation, "downgrade" if down else "upgrade", rev, values, compares=compare)
    if output is not None:
        write_plan(made, output)
    code = _show_plan(invocation, made)
    if output is not None:
        invocation.say(f"Wrote {output}")
    return code


@click.command(cls=RevisionCommand)
@click.argument("rev", type=REVISION, default="head")
@migration_options
@options("cutover", "on_failure")
@global_options
@click.pass_obj
def upgrade(invocation: Invocation, /, rev: str, dry_run: bool, as_script: bool, **values: Any) -> int:
    """Apply all revisions up to REV, by default up to the head. An interrupted upgrade is resumed."""
    from redismigrate import commands

    if as_script:
        return _show_script(invocation, "upgrade", rev, dry_run, values)
    if dry_run:
        return _show_plan(invocation, _make_plan(invocation, "upgrade", rev, values))
    project = invocation.project()
    if project.settings.url == "embedded://":
        invocation.say(
            "Note: embedded:// is a server for this command only; embedded:///folder keeps its data."
        )
    watcher = _watcher(invocation)
    with watcher:
        result = commands.upgrade(project, rev, _options(invocation, values), watcher)
    _show_result(invocation, result, "Applied")
    return 0


@click.command(cls=RevisionCommand)
@click.argument("rev", type=REVISION)
@migration_options
@global_options
@click.pass_obj
def downgrade(invocation: Invocation, /, rev: str, dry_run: bool, as_script: bool, **values: Any) -> int:
    """Undo all revisions applied after REV. `-1` undoes the last one, `base` all of them."""
    from redismigrate import commands

    if as_script:
        return _show_script(invocation, "downgrade", rev, dry_run, values)
    if dry_run:
        return _show_plan(invocation, _make_plan(invocation, "downgrade", rev, values))
    project = invocation.project()
    watcher = _watcher(invocation)
    with watcher:
        result = commands.downgrade(project, rev, _options(invocation, values), watcher)
    _show_result(invocation, result, "Undid")
    return 0


@click.command()
@click.option("--run", metavar="ID", help="The run: undoes the last one though it is finished.")
@option_of("allow_lossy", help="Where a backup is damaged or gone, make do with what is left of it.")
@option_of(
    "aliases",
    metavar="NAME[=INDEX]",
    help="An alias that the run has killed, which the index is to have again. Can be repeated.",
)
@lock_options
@options("report_out", "max_removals")
@backup_dir_option
@global_options
@click.pass_obj
def rollback(invocation: Invocation, /, run: str | None, **values: Any) -> None:
    """Undo all of an interrupted run. With --run also the last finished one."""
    from redismigrate import commands

    watcher = _watcher(invocation)
    with watcher:
        result = commands.rollback(invocation.project(), _options(invocation, values), watcher, run)
    _show_result(invocation, result, "Rolled back")


def _make_plan(
    invocation: Invocation, direction: Direction, rev: str, values: dict[str, Any], *, compares: bool = False
) -> Plan:
    from redismigrate import commands

    options = _options(invocation, values)
    if options.report_out is not None:
        raise click.UsageError("--dry-run does nothing that --report-out could tell of.")
    with _watcher(invocation) as watcher:
        return commands.plan(
            invocation.project(), rev, direction, options, compares=compares, watcher=watcher
        )


def _show_script(
    invocation: Invocation, direction: Direction, rev: str, dry_run: bool, values: dict[str, Any]
) -> int:
    from redismigrate import commands

    options = _options(invocation, values)
    others = (
        dry_run,
        options.phase != "all",
        options.plan_file,
        options.report_out,
        options.query_checks,
        options.fold,
    )
    if any(others):
        raise click.UsageError(
            "--script goes with none of --dry-run, --phase, --plan, --query-check, --report-out and --fold."
        )
    text = commands.script(invocation.project(), rev, direction, options)
    invocation.result({"script": text}, text.rstrip("\n"))
    return 0


def _show_plan(invocation: Invocation, made: Plan) -> int:
    """Show a plan; the exit code."""
    from redismigrate.cli.plan_view import render_plan
    from redismigrate.planning.plan_file import plan_to_json

    if invocation.json:
        invocation.result(plan_to_json(made))
    else:
        render_plan(made, invocation.console())
    return 6 if made.blocked else 0


def _watcher(invocation: Invocation) -> Any:
    from redismigrate.cli.run_view import TerminalWatcher

    return TerminalWatcher(invocation)


def _show_result(invocation: Invocation, result: MigrationResult, verb: str) -> None:
    count = len(result.revisions)
    total = result.seconds["total"]
    text = f"{verb} {count} revision{'s' if count != 1 else ''} in {total:.2f} s.{_documents_text(result)}"
    if result.result == "nothing":
        for warning in result.warnings:
            invocation.say(f"Note: {warning}")
        text = "Nothing to do."
    if result.expanded is not None:
        text += (
            f"\nRevision {result.expanded} is expanded: `redismigrate current` names what was built beside "
            "the old. Go on with --phase contract, or take it away with `redismigrate rollback`."
        )
    invocation.result(result.to_json(), "" if invocation.is_quiet else text)


def _documents_text(result: MigrationResult) -> str:
    """What became of documents, on a line of its own; empty where none was rewritten."""
    documents = result.documents
    if documents is None or not (documents.rewritten or documents.failed_count):
        return ""
    text = f"\nDocuments: {documents.rewritten:,} rewritten"
    if documents.failed_count:
        text += f", {documents.failed_count:,} left as they were"
    if documents.left_in_old_type:
        text += f", {documents.left_in_old_type:,} left in the old type"
    return f"{text}." if result.backup is None else f"{text}; backup in {result.backup}"


COMMANDS = (plan, upgrade, downgrade, rollback)
