"""The command line: parses, calls `redismigrate.commands`, renders.

It imports click only, all else when a command needs it: `--help` must be quick.
"""

from __future__ import annotations

import io
import logging
import signal
import sys
from contextlib import nullcontext, suppress
from typing import Any, NoReturn

import click

from redismigrate import __version__
from redismigrate.cli import (
    backup_commands,
    follow_command,
    history_commands,
    migration_commands,
    record_commands,
    script_commands,
    server_commands,
    wizard_command,
)
from redismigrate.cli.context import (
    Invocation,
    echo,
    global_options,
    lead_nowhere,
    report_error,
    stdout_kept_for,
)
from redismigrate.errors import RedisMigrateError, RevisionPartial, RunInterrupted
from redismigrate.foreign_modules import describe, traceback_of
from redismigrate.foreign_text import readable_paragraph

INTERRUPTED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="redismigrate")
@global_options
def redismigrate() -> None:
    """Versioned migrations for Redis Search indexes.

    Start with `redismigrate init migrations`, then `redismigrate revision -m "create index"`, then
    `redismigrate upgrade head`. To see it work first: `redismigrate demo`.
    """


for _module in (
    script_commands,
    wizard_command,
    history_commands,
    migration_commands,
    follow_command,
    backup_commands,
    record_commands,
    server_commands,
):
    for _command in _module.COMMANDS:
        redismigrate.add_command(_command)


class _StandardErrorHandler(logging.Handler):
    """Shows log messages, which quote text of others, too, on what is standard error by then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message; what can't be told must not end a command."""
        with suppress(Exception):
            echo(self.format(record), sys.stderr)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point: run a command and exit with its code."""
    is_process = arguments is None
    # Without a command click would call its own help text an error.
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # A deploy stops a container with SIGTERM: leave in order, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of indexes may hold bytes that are not UTF-8; standard error escapes them by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(handlers=[_StandardErrorHandler()], level=logging.WARNING, format="%(message)s")
    invocation = Invocation()
    has_document = not {"--json", "--script"}.isdisjoint(arguments)
    with stdout_kept_for(invocation, for_good=is_process) if has_document else nullcontext():
        code = _run(invocation, arguments)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a daemon has none
        try:
            stream.flush()
        except OSError:  # a full disk, whose error was told or is none of the command
            lead_nowhere(stream)
    raise SystemExit(code)


def _run(invocation: Invocation, arguments: list[str]) -> int:
    try:
        code = redismigrate.main(
            args=arguments, prog_name="redismigrate", standalone_mode=False, obj=invocation
        )
    except RedisMigrateError as error:
        _show_traceback(invocation, error)
        if isinstance(error, RevisionPartial) and not invocation.json:
            from redismigrate.cli.partial_view import index_table

            with suppress(OSError):
                for line in index_table(error.indexes):
                    echo(readable_paragraph(line), sys.stderr)
        report_error(invocation, error.code, error.message, error.hint, _run_of(error))
        return error.exit_code
    except click.ClickException as error:
        # Options may not have been read when parsing fails, so ask the words themselves.
        invocation.json = invocation.json or "--json" in arguments
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f"See `{error.ctx.command_path} --help`."
        report_error(invocation, "usage_error", error.format_message(), hint)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        # A run that is under way says more than this, unless a second signal comes while it leaves.
        hint = "`redismigrate status` tells whether a run is unfinished."
        report_error(invocation, "interrupted", "Interrupted.", hint)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        _show_traceback(invocation, error)
        report_error(invocation, "unexpected", describe(error), "Run it with -v to see where.")
        return 1
    return code if isinstance(code, int) else 0


def _run_of(error: RedisMigrateError) -> dict[str, Any] | None:
    """What a deploy wants to know of a run that did not end well."""
    if error.run is None:
        return None
    result = "interrupted" if isinstance(error, RunInterrupted) else "failed"
    from redismigrate.commands.migration_options import documents_to_json

    if isinstance(error, RevisionPartial):
        result = "partial"
    return {
        "result": result,
        **_indexes_of(error),
        "run": error.run,
        "revisions": list(error.revisions),
        "documents": documents_to_json(error.documents),
    }


def _indexes_of(error: RedisMigrateError) -> dict[str, Any]:
    """Of a revision that is partly applied: how each of its indexes is."""
    if not isinstance(error, RevisionPartial):
        return {}
    return {
        "indexes": [
            {"index": index, "state": state, "reason": reason or None}
            for index, state, reason in error.indexes
        ]
    }


def _show_traceback(invocation: Invocation, error: Exception) -> None:
    if invocation.is_verbose:
        with suppress(OSError):
            echo(readable_paragraph(traceback_of(error)), sys.stderr)
