"""Migrations in processes of their own that kill or stop themselves at a given step."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from redismigrate import commands
from redismigrate.cli import main
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.progress import Watcher
from redismigrate.state import lock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import ForkServerProcess

    from conftest import Shop

    from redismigrate.execution.run import Run
    from redismigrate.planning.plan import Step

Verb = Literal["upgrade", "downgrade", "rollback"]
Moment = Literal["step", "undo step", "any step", "end of revision"]
KILLED = -signal.SIGKILL

# Children are forked from a process that has imported everything and has no threads: a start takes
# milliseconds, so that every boundary between steps can be tried.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "pytest",
        "signalled_process",
        "redismigrate.commands.migrate",
        "redismigrate.commands.report_collector",
        "redismigrate.commands.reporting",
        "redismigrate.cli.migration_commands",
        "redismigrate.execution.indexes.sizes",
        "numpy",
    ]
)


class SelfSignaller(Watcher):
    """Sends its own process a signal at the n-th moment of a kind."""

    def __init__(self, number: signal.Signals, moment: Moment, count: int) -> None:
        self._signal, self._moment, self._left = number, moment, count
        self._is_undoing = False

    def step_started(self, step: Step) -> None:
        """Before the step does anything."""
        del step
        if self._moment == "any step":
            self._at("any step")
        self._at("undo step" if self._is_undoing else "step")

    def undo_started(self, run: Run) -> None:
        del run
        self._is_undoing = True

    def revision_finished(self, run: Run) -> None:
        """The revision is recorded, the next one has not begun."""
        del run
        self._at("end of revision")

    def _at(self, moment: Moment) -> None:
        if moment == self._moment:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


def start(
    shop: Shop,
    verb: Verb,
    target: str,
    *,
    signalled: signal.Signals = signal.SIGKILL,
    at: int,
    moment: Moment = "step",
    lease_seconds: float | None = None,
    options: MigrationOptions | None = None,
) -> ForkServerProcess:
    """Start a migration that signals itself.

    Args:
        shop: Its project.
        verb: What it does.
        target: Up or down to where; of a rollback the id of a finished run, or nothing.
        signalled: The signal.
        at: At which one of the moments, from 1.
        moment: What counts as a moment.
        lease_seconds: How long its lock lasts without being renewed; by default as long as always.
        options: Of the command.
    """
    options = options or MigrationOptions(strategy=shop.strategy)
    arguments = (shop.folder, verb, target, SelfSignaller(signalled, moment, at), lease_seconds, options)
    process = _PROCESSES.Process(target=_migrate, args=arguments, daemon=True)
    process.start()
    return process


def exit_code(process: ForkServerProcess, timeout_seconds: float = 120) -> int:
    """Wait for the end: the exit code, negative for a signal."""
    process.join(timeout_seconds)
    code = process.exitcode
    process.close()
    assert code is not None
    return code


def start_command(folder: Path, arguments: Sequence[str], output: Path) -> ForkServerProcess:
    """Start a command as its entry point does, but for the imports, which are done already.

    Args:
        folder: Where it is started.
        arguments: Of the command.
        output: What it writes goes to this file, and its errors to one with `.err` behind the name.
    """
    process = _PROCESSES.Process(target=_command, args=(folder, list(arguments), output), daemon=True)
    process.start()
    return process


def kill_at(
    shop: Shop,
    verb: Verb,
    target: str,
    at: int,
    moment: Moment = "step",
    options: MigrationOptions | None = None,
) -> int:
    """Run a migration that is killed at a moment: `KILLED`, or its exit code when it did not come to that."""
    return exit_code(start(shop, verb, target, at=at, moment=moment, options=options))


def kill_at_every(shop: Shop, verb: Verb, target: str, moment: Moment = "step") -> tuple[int, int]:
    """Start the same migration again and again, killed a moment later each time, until it ends by itself.

    Returns:
        How often it was killed, and the exit code of the last one.
    """
    kills, at, written = 0, 1, 0
    while (code := kill_at(shop, verb, target, at=at, moment=moment)) == KILLED:
        kills += 1
        # One that takes up a run begins with the step before which the last one was killed. Steps that are
        # one transaction begin all at once: killed among them, it has not got on.
        before, written = written, shop.client.xlen("{redismigrate:shop}:journal")
        at = 2 if written > before else at + 1
    return kills, code


def wait_until_stopped(process: ForkServerProcess) -> None:
    """Wait until a process has stopped itself with SIGSTOP."""
    deadline = time.monotonic() + 90
    while _state(process.pid) != "T":
        assert time.monotonic() < deadline, "the process did not come to where it stops"
        time.sleep(0.005)


def _state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def _command(folder: Path, arguments: list[str], output: Path) -> None:
    os.chdir(folder)
    for number, path in ((1, output), (2, output.with_name(f"{output.name}.err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    main(arguments)


def _migrate(
    folder: Path,
    verb: Verb,
    target: str,
    watcher: Watcher,
    lease_seconds: float | None,
    options: MigrationOptions,
) -> None:
    logging.disable()
    if lease_seconds is not None:
        lock.LEASE_SECONDS, lock.RENEW_SECONDS = lease_seconds, lease_seconds / 3
    project = commands.Project.load(folder / "redismigrate.toml")
    try:
        if verb == "upgrade":
            commands.upgrade(project, target, options, watcher)
        elif verb == "downgrade":
            commands.downgrade(project, target, options, watcher)
        else:
            commands.rollback(project, options, watcher, run=target or None)
    except RedisMigrateError as error:
        sys.exit(error.exit_code)
