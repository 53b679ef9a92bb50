"""The command group `backup`: list, verify, restore, prune."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from redismigrate.cli.context import (
    Invocation,
    backup_dir_option,
    echo,
    global_options,
    lines_text,
    report_error,
)
from redismigrate.cli.migration_commands import lock_options
from redismigrate.foreign_text import readable

if TYPE_CHECKING:
    from redismigrate.backup.folders import BackupSummary
    from redismigrate.commands.backups.listing import ListedBackups, VerifiedBackup, VerifiedBackups
    from redismigrate.commands.backups.prune import PrunedBackups
    from redismigrate.commands.backups.restore import RestoredBackups

_Function = TypeVar("_Function", bound=Callable[..., Any])
KILO = 1000
_TITLES = ("run", "revision", "index", "created", "documents", "size", "")
_RIGHT = {"documents", "size"}


# Without a subcommand click would call the help an error, and show it as one.
@click.group(no_args_is_help=False)
def backup() -> None:
    """List, verify, restore and remove the backups of documents."""


def run_option(function: _Function) -> _Function:
    """The option for the backups of one run."""
    return click.option("--run", help="Only the backups of this run: its id or the unique beginning of it.")(
        function
    )


@backup.command("list")
@run_option
@backup_dir_option
@global_options
@click.pass_obj
def list_backups(invocation: Invocation, /, run: str | None) -> None:
    """List the backups of the project on this machine."""
    from redismigrate import commands

    found = commands.list_backups(invocation.project(), run)
    invocation.result(found.to_json(), _list_text(found))


@backup.command()
@run_option
@backup_dir_option
@global_options
@click.pass_obj
def verify(invocation: Invocation, /, run: str | None) -> int:
    """Read every byte of the backups. Exits with 1 when one is damaged, or on record and gone."""
    from redismigrate import commands

    def tell(verified: VerifiedBackup) -> None:
        state = "damaged" if verified.problems else "intact"
        invocation.say(f"{_name(verified.backup)}: {_amount(verified.backup)}, {state}")

    result = commands.verify_backups(invocation.project(), run, tell)
    for note in result.notes:
        invocation.say(f"Note: {note}")
    if result.damaged:
        _report_damage(invocation, result)
        return 1
    count = len(result.backups)
    text = f"{_counted(count, 'backup')} verified, all intact." if count else _none_in(result.folder)
    invocation.result(result.to_json(), "" if invocation.is_quiet else text)
    return 0


@backup.command()
@click.option(
    "--run", required=True, help="The run whose backups to restore: its id or the unique beginning."
)
@click.option(
    "--force",
    "is_forced",
    is_flag=True,
    help="Restore although a live index would lose the documents by it, or Redis knows of no such run.",
)
@lock_options
@backup_dir_option
@global_options
@click.pass_obj
def restore(invocation: Invocation, /, run: str, **values: Any) -> None:
    """Put original values back where documents still hold what a run made of them.

    Indexes stay as they are: `rollback` and `downgrade` bring them back together with the documents.
    """
    from redismigrate import commands
    from redismigrate.cli.run_view import TerminalWatcher

    with TerminalWatcher(invocation) as watcher:
        restored = commands.restore_backups(invocation.project(), run, **values, watcher=watcher)
    invocation.result(restored.to_json(), "" if invocation.is_quiet else _restore_text(restored))


@backup.command()
@click.option(
    "--run",
    "runs",
    required=True,
    multiple=True,
    help="The run whose backups to remove: its id or the unique beginning of it. May be given several times.",
)
@click.option(
    "--offline", "is_offline", is_flag=True, help="Don't ask Redis whether an unfinished run needs them."
)
@lock_options
@backup_dir_option
@global_options
@click.pass_obj
def prune(invocation: Invocation, /, runs: tuple[str, ...], **values: Any) -> None:
    """Remove the backups of the runs that are named."""
    from redismigrate import commands
    from redismigrate.cli.run_view import TerminalWatcher

    with TerminalWatcher(invocation) as watcher:
        removed = commands.prune_backups(invocation.project(), runs, **values, watcher=watcher)
    for path in removed.kept:
        invocation.say(f"Kept {path}, which belongs to no backup.")
    invocation.result(removed.to_json(), "" if invocation.is_quiet else readable(_prune_text(removed)))


def _report_damage(invocation: Invocation, result: VerifiedBackups) -> None:
    """Every problem, and then how many backups have one: as one document with `--json`."""
    from redismigrate.errors import BackupDamaged

    count = _counted(len(result.backups), "backup")
    verb = "is" if len(result.damaged) == 1 else "are"
    state = "damaged or gone" if any(verified.is_gone for verified in result.damaged) else "damaged"
    message = f"{len(result.damaged)} of {count} in {result.folder} {verb} {state}."
    hints = dict.fromkeys(verified.hint for verified in result.damaged if verified.hint)
    error = BackupDamaged(message, " ".join(hints))
    if not invocation.json:
        for verified in result.damaged:
            for problem in verified.problems:
                echo(problem, sys.stderr)
    report_error(invocation, error.code, error.message, error.hint, result.to_json())


def _list_text(found: ListedBackups) -> str:
    """A table."""
    if not found.backups:
        return _none_in(found.folder)
    rows = [_TITLES, *(_cells(backup) for backup in found.backups)]
    return lines_text(_aligned(rows))


def _cells(backup: BackupSummary) -> tuple[str, ...]:
    names = (backup.run, backup.revision, backup.index)
    if backup.problem is not None:
        return (*names, "", "", "", backup.problem)
    created = backup.created_at[: len("2026-11-20T10:07:00")].replace("T", " ")
    state = "complete" if backup.is_complete else "incomplete"
    return (*names, created, f"{backup.documents:,}", scaled_size_text(backup.size_bytes), state)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    justified = (
        [
            cell.rjust(width) if title in _RIGHT else cell.ljust(width)
            for cell, width, title in zip(row, widths, _TITLES, strict=True)
        ]
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in justified]


def _restore_text(restored: RestoredBackups) -> str:
    lines = []
    for item in restored.backups:
        left = item.restored.left.count
        tail = (
            f"; {_counted(left, 'document')} left as {'they are' if left != 1 else 'it is'}" if left else ""
        )
        manifest = item.backup.manifest
        lines.append(
            f"{manifest.run} {manifest.revision} {manifest.index}: "
            f"{_counted(item.restored.documents, 'document')} restored{tail}."
        )
    return lines_text(lines)


def _prune_text(removed: PrunedBackups) -> str:
    return (
        f"Removed {_counted(len(removed.backups), 'backup')} of "
        f"{'runs' if len(removed.runs) > 1 else 'run'} {', '.join(removed.runs)}: "
        f"{scaled_size_text(removed.freed_bytes)}."
    )


def _name(backup: BackupSummary) -> str:
    return f"{backup.run} {backup.revision} {backup.index}"


def _amount(backup: BackupSummary) -> str:
    return f"{_counted(backup.documents, 'document')}, {scaled_size_text(backup.size_bytes)}"


def _none_in(folder: object) -> str:
    return f"There are no backups in {folder}."


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def scaled_size_text(size_bytes: int) -> str:
    """A size for people, in powers of ten: 999 B, 1.2 kB, 35.0 MB."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        # Rounded, for 999.96 kB would be shown as 1,000.0 kB.
        if round(size, 1) < KILO:
            break
        size, unit = size / KILO, larger
    return f"{size:,.{0 if unit == 'B' else 1}f} {unit}"


COMMANDS = (backup,)
