"""Lets an application write between any two commands of a migration, and kills the migration there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import redis
from redis.connection import AbstractConnection

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run
from redismigrate.planning.plan import Step
from redismigrate.redis_server import guarded_connection
from redismigrate.redis_server.wire import Wire, render

EXEC = render(b"EXEC")


class Killed(BaseException):
    """Ends a migration as kill -9 does: what it had not sent by then is never sent."""


# Else it would be taken for an error of whoever wrote the class of a connection.
guarded_connection.PASSES += (Killed,)


class Meddler(Watcher):
    """Is asked before and after every send of the migration.

    Args:
        writes: Called before a send; what the application does then.
        kill_at: At which send the migration is killed; None for never.
        is_sent: Whether that send still reaches the server.
        really: By SIGKILL, in a process that nobody needs afterwards.

    Attributes:
        takes_rights: Called once, between the commands of a transaction and its EXEC, which is refused in
            part then: rights are looked at again.
        sent: How many sends there were.
        step: The kind of the step at work.
        is_undoing: A failed revision is being undone.
        messages: What the user was warned of.
        has_evicted: The server has evicted a key meanwhile: a word of its own, as no server evicts to order.
        is_dead: It was killed.
        failure: What came up while the application wrote.
    """

    def __init__(
        self,
        writes: Callable[[], None] = lambda: None,
        kill_at: int | None = None,
        *,
        is_sent: bool = False,
        really: bool = False,
    ) -> None:
        self._writes, self._kill_at, self._is_sent, self._really = writes, kill_at, is_sent, really
        self._is_busy = False
        self.takes_rights: Callable[[], None] | None = None
        self._thread = threading.current_thread()
        self._patches: list[Any] = []
        self.sent = 0
        self.step = ""
        self.is_undoing = False
        self.has_evicted = False
        self.is_dead = False
        self.failure: Exception | None = None
        self.messages: list[str] = []

    def __enter__(self) -> Self:
        wire_send, packed_send = Wire.send, AbstractConnection.send_packed_command
        nothing_evicted = Removals.nothing_evicted

        def send(wire: Wire, *parts: Any) -> None:
            self._before()
            whole = b"".join(parts)
            takes = self.takes_rights
            if takes is not None and whole.endswith(EXEC) and whole != EXEC and not self._is_busy:
                self.takes_rights = None
                wire_send(wire, whole[: -len(EXEC)])
                self.meddle(takes)
                wire_send(wire, EXEC)
            else:
                wire_send(wire, *parts)
            self._after()

        def send_packed(connection: AbstractConnection, command: Any, check_health: bool = True) -> None:
            self._before()
            packed_send(connection, command, check_health)
            self._after()

        def asked(removals: Removals, reader: Reader) -> bool:
            return nothing_evicted(removals, reader) and not self.has_evicted

        self._patches = [
            patch.object(Removals, "nothing_evicted", asked),
            patch.object(Wire, "send", send),
            patch.object(AbstractConnection, "send_packed_command", send_packed),
        ]
        for each in self._patches:
            each.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in self._patches:
            each.stop()

    def step_started(self, step: Step) -> None:
        self.step = step.kind

    def undo_started(self, run: Run) -> None:
        self.is_undoing = True

    def warned(self, message: str) -> None:
        self.messages.append(message)

    def meddle(self, action: Callable[[], None]) -> None:
        """Do something on behalf of the application."""
        self._is_busy = True
        try:
            action()
        except Exception as error:
            # A migration makes an error of its own of whatever comes up, so it has to end at once.
            self.failure, self.is_dead = error, True
            raise Killed from error
        finally:
            self._is_busy = False

    def _before(self) -> None:
        if threading.current_thread() is not self._thread:
            if self.is_dead:
                raise redis.ConnectionError("the process is dead")
            return
        if self._is_busy:
            return
        if self.is_dead:
            raise Killed
        self.sent += 1
        if self.sent == self._kill_at and not self._is_sent:
            self._die()
        self.meddle(self._writes)

    def _after(self) -> None:
        is_mine = threading.current_thread() is self._thread and not self._is_busy
        if is_mine and self.sent == self._kill_at and not self.is_dead:
            self._die()

    def _die(self) -> None:
        if self._really:
            os.kill(os.getpid(), signal.SIGKILL)
        self.is_dead = True
        raise Killed


def migrate_and_die(
    folder: Path, verb: str, target: str | None, options: MigrationOptions, kill_at: int, *, is_sent: bool
) -> None:
    """Carry out a command in a process of its own that is killed at a send, if it comes to that."""
    project = commands.Project.load(folder / "redismigrate.toml")
    with Meddler(kill_at=kill_at, is_sent=is_sent, really=True) as meddler:
        try:
            carry_out(project, verb, target, options, meddler)
        except commands_errors():
            return


def commands_errors() -> type[Exception]:
    """What commands raise that are refused or fail."""
    from redismigrate.errors import RedisMigrateError

    return RedisMigrateError


def carry_out(
    project: commands.Project, verb: str, target: str | None, options: MigrationOptions, watcher: Watcher
) -> Any:
    """Call one command; its result."""
    if verb == "rollback":
        return commands.rollback(project, options, watcher, target)
    call = {"upgrade": commands.upgrade, "downgrade": commands.downgrade}[verb]
    return call(project, target or "head", options, watcher)
