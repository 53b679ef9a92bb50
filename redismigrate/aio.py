"""The Python API for programs with an event loop: functions of `redismigrate.commands` as coroutines.

    from redismigrate import aio
    from redismigrate.commands import Project

    result = await aio.upgrade(Project.load(), on_progress=print)

Each call does its work in a thread of its own, by the functions that the command line calls, so that the loop
goes on meanwhile. Cancelling the task stops the work at the next safe point, as Ctrl-C stops a command, and
waits until it has stopped: the lock is free then. The same call takes up again what was under way.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationResult
from redismigrate.commands.progress_events import Progress, callback_failed
from redismigrate.errors import CallbackFailed
from redismigrate.execution.progress import Stopped, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from redismigrate.commands.checking import CheckReport
    from redismigrate.commands.following import Followed
    from redismigrate.commands.inspect import Current, Status
    from redismigrate.commands.migration_options import MigrationOptions
    from redismigrate.commands.project import Project
    from redismigrate.commands.validation_report import ValidationReport
    from redismigrate.operations.recorded import Direction
    from redismigrate.planning.plan import Plan
    from redismigrate.state.follower_report import FollowerReport

__all__ = ["plan", "upgrade", "downgrade", "rollback", "current", "check", "validate", "status", "follow"]  # noqa: RUF022

Result = TypeVar("Result")
Event = TypeVar("Event")

AsyncOnProgress = Callable[[Progress], Awaitable[object] | object]
OnReport = Callable[["FollowerReport"], Awaitable[object] | object]


async def plan(
    project: Project,
    target: str = "head",
    direction: Direction = "upgrade",
    options: MigrationOptions | None = None,
    *,
    compares: bool = False,
    on_progress: AsyncOnProgress | None = None,
) -> Plan:
    """What an upgrade or downgrade would do and cost; see `redismigrate.commands.plan`.

    Args:
        project: The project.
        target: A revision identifier.
        direction: Upgrade or downgrade.
        options: See `MigrationOptions`.
        compares: Tell for every changed index what each strategy would cost, and why one is impossible.
        on_progress: As of `upgrade`.
    """
    function = partial(commands.plan, project, target, direction, options, compares=compares)
    return await _migrate(function, on_progress)


async def upgrade(
    project: Project,
    target: str = "head",
    options: MigrationOptions | None = None,
    *,
    on_progress: AsyncOnProgress | None = None,
) -> MigrationResult:
    """Apply what is missing up to a revision; see `redismigrate.commands.upgrade`.

    Args:
        project: The project.
        target: A revision identifier, or "heads".
        options: See `MigrationOptions`.
        on_progress: A function or coroutine function that gets a `Progress` at every event, in the loop, in
            their order. The run does not wait for it. What it raises interrupts the run.

    Raises:
        asyncio.CancelledError: The task was cancelled; its `__cause__` is how the work has ended, most often
            `RunInterrupted`. The same call goes on.
        CallbackFailed: `on_progress` raised before there was a run, or when the work had ended: then the
            error has its `run` and `report`.
        RedisMigrateError: As `redismigrate.commands.upgrade`.
    """
    return await _migrate(partial(commands.upgrade, project, target, options), on_progress)


async def downgrade(
    project: Project,
    target: str,
    options: MigrationOptions | None = None,
    *,
    on_progress: AsyncOnProgress | None = None,
) -> MigrationResult:
    """Undo what was applied after a revision; arguments and errors as of `upgrade`."""
    return await _migrate(partial(commands.downgrade, project, target, options), on_progress)


async def rollback(
    project: Project,
    options: MigrationOptions | None = None,
    run: str | None = None,
    *,
    on_progress: AsyncOnProgress | None = None,
) -> MigrationResult:
    """Undo all of a run; see `redismigrate.commands.rollback`, and `upgrade` for being cancelled."""
    return await _migrate(partial(commands.rollback, project, options, run=run), on_progress)


async def current(project: Project) -> Current:
    """What is applied on the server; see `redismigrate.commands.current`."""
    return await _read(partial(commands.current, project))


async def check(project: Project) -> CheckReport:
    """Whether schemas, scripts, record and server agree; see `redismigrate.commands.check`."""
    return await _read(partial(commands.check, project))


async def validate(
    project: Project, indexes: Iterable[str] = (), *, query_checks: Iterable[str | Path] = ()
) -> ValidationReport:
    """Whether indexes are as recorded and answer as expected; see `redismigrate.commands.validate`."""
    return await _read(partial(commands.validate, project, indexes, query_checks=query_checks))


async def status(project: Project) -> Status:
    """The run, the lock, the last events; see `redismigrate.commands.status`."""
    return await _read(partial(commands.status, project))


async def follow(
    project: Project, on_report: OnReport | None = None, max_removals: int | None = None
) -> Followed:
    """Follow the application's writes while a revision is expanded; see `redismigrate.commands.follow`.

    It ends when the revision is contracted or rolled back, or when the task is cancelled.

    Args:
        project: The project.
        on_report: A function or coroutine function that is told about once a second how it goes.
        max_removals: As of `redismigrate.commands.follow`.
    """
    call: _Call[Followed, FollowerReport] = _Call("on_report", on_report)

    def goes_on(report: FollowerReport) -> bool:
        call.tell(report)
        return not call.is_stopped

    return await call.run(lambda watcher: commands.follow(project, goes_on, watcher, max_removals))


async def _migrate(function: Callable[..., Result], on_progress: AsyncOnProgress | None) -> Result:
    call: _Call[Result, Progress] = _Call("on_progress", on_progress)
    tell = None if on_progress is None else call.tell
    return await call.run(lambda watcher: function(watcher=watcher, on_progress=tell))


async def _read(function: Callable[[], Result]) -> Result:
    call: _Call[Result, object] = _Call()
    return await call.run(lambda _: function())


class _Stopper(Watcher):
    """Stops the work at a safe point once there is an error to stop with."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def at_safe_point(self) -> None:
        if self.error is not None:
            raise self.error

    def backup_read(self, folder: str, documents: int, of: int) -> None:  # noqa: ARG002 - the event's signature
        self.at_safe_point()  # nothing is changed yet


class _Call(Generic[Result, Event]):
    """Owns one call of the core, in a thread of its own, on behalf of a task.

    Args:
        name: What the caller's function is called.
        on_event: The function: it is told of events, in the loop.
    """

    def __init__(
        self, name: str = "", on_event: Callable[[Event], Awaitable[object] | object] | None = None
    ) -> None:
        self._name, self._on_event = name, on_event
        self._loop = asyncio.get_running_loop()
        # None is the end of events.
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._stopper = _Stopper()

    @property
    def is_stopped(self) -> bool:
        """Whether the work is to end."""
        return self._stopper.error is not None

    def tell(self, event: Event) -> None:
        """Hand an event over; called in the thread.

        Raises:
            Stopped: The loop is closed, so nobody waits for the work any more.
        """
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError as error:
            raise Stopped("The event loop was closed.") from error

    async def run(self, function: Callable[[Watcher], Result]) -> Result:
        """Call a function and wait for its end, whatever becomes of the task meanwhile.

        Args:
            function: Called in the thread, with the watcher that stops it.
        """
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1, "redismigrate-aio") as thread:
            ended = self._loop.run_in_executor(thread, context.run, function, self._stopper)
            ended.add_done_callback(lambda _: self._events.put_nowait(None))
            telling = asyncio.create_task(self._tell_all())
            try:
                await asyncio.wait((ended, telling), return_when=asyncio.FIRST_COMPLETED)
                if telling.done():
                    self._stop(telling.exception())
                await asyncio.wait((ended, telling))
            except asyncio.CancelledError as cancelled:
                self._stop(Stopped("The task was cancelled."))
                telling.cancel()
                while not ended.done():
                    # Whoever cancels once more has to wait as well: the lock is held until then.
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait((ended,))
                raise cancelled from ended.exception()
            finally:
                self._stop(Stopped("Nobody waits for it any more."))
        if (failed := telling.exception()) is not None and ended.exception() is None:
            # Events come later than what they tell of: what was asked for is done by now.
            result = ended.result()
            if isinstance(failed, CallbackFailed) and isinstance(result, MigrationResult):
                failed.run, failed.revisions = result.run, result.revisions
                failed.documents, failed.report = result.documents, result.report
                failed.hint = f"{failed.hint} What was asked for is done."
            raise failed
        return ended.result()

    def _stop(self, error: BaseException | None) -> None:
        if self._stopper.error is None:
            self._stopper.error = error

    async def _tell_all(self) -> None:
        """Tell the events in their order, until the work has ended.

        Raises:
            CallbackFailed: The caller's function has raised.
        """
        while (event := await self._events.get()) is not None:
            if self._on_event is None:
                continue
            try:
                told = self._on_event(event)
                if inspect.isawaitable(told):
                    await told
            except Exception as error:
                raise callback_failed(self._name, error, event) from error
