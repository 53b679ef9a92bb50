"""Migrations in processes of their own that are killed or stopped from outside at a given command or file."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_proxy import CommandProxy
from signalled_process import _PROCESSES, Verb

from redismigrate import commands
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.documents.in_place import joined_chunks
from redismigrate.planning import document_estimates
from redismigrate.state import lock

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess
    from types import TracebackType

    from command_proxy import Loss, Place
    from document_scenarios import Scenario, Stage

# What writes the state, and looks at or changes indexes.
NOTEWORTHY = (b"EVAL", b"FT.")
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


@dataclass(frozen=True)
class Attempt:
    """A migration that is not meant to come to its end.

    Attributes:
        verb: What it does.
        target: Up or down to where.
        url: Of the server; None takes that of the project.
        lease_seconds: How long its lock lasts without being renewed; None for as long as always.
        before: Called in the process before it begins.
        chunk_bytes: In a chunk of its backups; so few by default that there are several.
    """

    verb: Verb
    target: str = "head"
    url: str | None = None
    lease_seconds: float | None = None
    before: Callable[[], None] | None = None
    chunk_bytes: int = 1000

    def start(self, stage: Stage) -> ForkServerProcess:
        """Start it; the caller ends it."""
        process = _PROCESSES.Process(
            target=_migrate, args=(stage.shop.folder, self, stage.scenario), daemon=True
        )
        process.start()
        return process


class StrikingProxy(CommandProxy):
    """Strikes when a command comes by, and then loses it with all connections, or holds it back.

    Args:
        url: Of the server behind it, on a Unix socket.
        at: The command, see `CommandProxy`; None only counts.
        strike: What happens then; called before the command gets on.
        loss: As for `CommandProxy`; None holds the command back until `release` and loses nothing.
        counts: Whether a command counts that comes by now.

    Attributes:
        has_struck: Set once it has.
        noteworthy: How many commands have come by that write the state or are about indexes.
    """

    def __init__(
        self,
        url: str,
        at: Place | None,
        strike: Callable[[], None] = lambda: None,
        loss: Loss | None = None,
        counts: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(url.removeprefix("unix://"), at, loss or "request")
        self._strike = strike
        self._holds = loss is None
        self._counts = counts
        self._released = threading.Event()
        self.has_struck = threading.Event()
        self.noteworthy = 0

    @property
    def commands(self) -> int:
        """How many have come by."""
        return self._seen

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
        super().__exit__(kind, error, traceback)

    def release(self) -> None:
        """Let the command get on that is held back."""
        self._released.set()

    def _is_lost(self, command: bytes) -> bool:
        self.noteworthy += any(word in command for word in NOTEWORTHY)
        if not any(word in command for word in self._words):
            return False
        if not self._counts() or not super()._is_lost(command):
            return False
        self._strike()
        self.has_struck.set()
        if not self._holds:
            return True
        self.has_cut = False
        self._released.wait(120)
        return False


class Victim:
    """A process that is named after the proxy was made that strikes it."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self._is_named = threading.Event()
        self._pid = 0

    def name(self, process: ForkServerProcess) -> None:
        self._pid = process.pid or 0
        self._is_named.set()

    def strike(self) -> None:
        """Send the signal."""
        assert self._is_named.wait(120)
        os.kill(self._pid, self._number)


def killed_at_file(number: int, folder: Path) -> Callable[[], None]:
    """Makes a process kill itself before its n-th change of a file or folder below another one."""
    return partial(_count_file_events, number, str(folder))


def stopped_at_file(folder: Path, name: str, nth: int) -> Callable[[], None]:
    """Makes a process stop itself before it opens a file of a name below a folder for the n-th time."""
    return partial(_stop_at_file, str(folder), name, nth)


def limited_file_size(size_bytes: int, *, dies: bool) -> Callable[[], None]:
    """Makes the kernel refuse what would make any file longer, or end the process in the middle of that."""
    return partial(_limit_file_size, size_bytes, dies)


def _count_file_events(number: int, folder: str) -> None:
    left, counted = number, threading.Lock()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in FILE_EVENTS or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        with counted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def _stop_at_file(folder: str, name: str, nth: int) -> None:
    left, counted = nth, threading.Lock()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if (
            event != "open"
            or not str(arguments[0]).startswith(folder)
            or not str(arguments[0]).endswith(name)
        ):
            return
        with counted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(watch)


def _limit_file_size(size_bytes: int, dies: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies else signal.SIG_IGN)


def _migrate(folder: Path, attempt: Attempt, scenario: Scenario) -> None:
    logging.disable()
    options = scenario.options
    if attempt.lease_seconds is not None:
        lock.LEASE_SECONDS, lock.RENEW_SECONDS = attempt.lease_seconds, attempt.lease_seconds / 3
    joined_chunks.CHUNK_BYTES = attempt.chunk_bytes
    if scenario.is_sparse:
        document_estimates.SPARSE_FROM_KEYS = document_estimates.SPARSE_KEYS_PER_DOCUMENT = 0
    project = commands.Project.load(folder / "redismigrate.toml", {"url": attempt.url})
    if attempt.before is not None:
        attempt.before()
    try:
        if attempt.verb == "upgrade":
            commands.upgrade(project, attempt.target, options)
        elif attempt.verb == "downgrade":
            commands.downgrade(project, attempt.target, options)
        else:
            commands.rollback(project, options)
    except RedisMigrateError as error:
        sys.exit(error.exit_code)
