"""Slows down what the server builds by itself, where a run waits for an index and has a limit of latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import redis

from redismigrate.errors import AuthenticationFailed, RedisMigrateError, StateError
from redismigrate.execution.build_sleep import (
    LONGEST_US,
    SETTING,
    BuildSleep,
    CannotBeSet,
    begin_sleep,
    by_hand,
    give_back,
    read_sleep,
    write_sleep,
)
from redismigrate.execution.pace.brakes import Brake
from redismigrate.execution.run import Run
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import read_owners

BUILD_LOOK_SECONDS = 0.5
FIRST_US = 1000
SLEEP_GROWTH = 4
# Looks within the limit before it is let go a little.
CALM_LOOKS = 5
# The server sleeps once after so many steps of its scan, of which it takes up to two for a key.
STEPS_BETWEEN = 100
STEPS_PER_KEY = 2
# A build takes this much longer at most, as a multiple of what the plan says of it: the scan goes over all
# keys of the database, so what a sleep costs depends on how many there are, not on the documents.
MOST_LONGER = 3.0
SHORTEST_BUILD_SECONDS = 1.0
# What reading the record of another project comes to where it is damaged.
_DAMAGED = (UnreadableDocument, AttributeError, ValueError)


class Latency(Protocol):
    """Measures the latency on behalf of a run that waits for the server."""

    def over_latency(self) -> Brake | None:
        """The limit of the latency, if there is one and it is exceeded."""


class BuildBrake:
    """Owns the server's setting on behalf of a run: raised by steps, and given back what it was.

    Args:
        server: The connection.
        keys: The project's keys.
        latency: Measures.
        run: Gives the run as it is now.
        record: Writes to the state what the run has made of the setting, and fails once the lock is
            another's; None for nothing any more.
        warn: Is told what can't be done, once.

    Attributes:
        text: How far the build is slowed down, or why it can't be; None while nothing asks for that.
    """

    def __init__(
        self,
        server: Server,
        keys: StateKeys,
        latency: Latency,
        run: Callable[[], Run],
        record: Callable[[BuildSleep | None], None],
        warn: Callable[[str], None],
    ) -> None:
        self._server, self._keys, self._latency = server, keys, latency
        self._run, self._record, self._warn = run, record, warn
        self._next_look, self._calm, self._most_seconds, self._most_us = 0.0, 0, 0.0, 0
        self._is_off = False
        self._told: set[str] = set()
        self.text: str | None = None

    @contextmanager
    def building(self, seconds: float) -> Iterator[None]:
        """An index is waited for, which takes so long by the plan; `look` is called meanwhile."""
        self._next_look, self._calm, self._most_us, self._is_off = 0.0, 0, 0, False
        self._most_seconds = max(seconds, SHORTEST_BUILD_SECONDS) * MOST_LONGER
        try:
            yield
        except BaseException:
            # What ended the wait is what counts. The state says what is left to be given back.
            with suppress(redis.RedisError, RedisMigrateError):
                self.let_go()
            raise
        self.let_go()

    def look(self) -> None:
        """Raise or lower it, twice a second at most, by what was measured.

        Raises:
            ConnectionFailed: The server can't be reached.
            FenceLost: Another process has taken the lock since.
        """
        now = time.monotonic()
        if now < self._next_look or self._is_off:
            return
        self._next_look = now + BUILD_LOOK_SECONDS
        is_over = self._latency.over_latency() is not None
        if not is_over and self._run().build_sleep is None:
            return
        try:
            self._move(is_over=is_over)
        except CannotBeSet as error:
            self._give_up(str(error))

    def let_go(self) -> None:
        """Give the setting back, if this run, in this process or one that died, has changed it.

        Raises:
            ConnectionFailed: The server can't be reached.
            FenceLost: Another process has taken the lock since.
        """
        sleep, self.text = self._run().build_sleep, None
        if sleep is None:
            return
        # Whoever has the lock by now gives it back.
        self._record(sleep)
        try:
            give_back(self._server, sleep)
        except CannotBeSet as error:
            self._warn(by_hand(sleep, error))
        self._record(None)

    def _move(self, *, is_over: bool) -> None:
        sleep, current = self._run().build_sleep, read_sleep(self._server)
        if sleep is not None and current not in sleep.ours:
            self._record(None)
            self._give_up(f"somebody has set {SETTING} meanwhile")
            return
        self._calm = 0 if is_over else self._calm + 1
        if is_over:
            self._raise_from(current, sleep)
        elif sleep is not None and self._calm >= CALM_LOOKS:
            self._calm = 0
            lower = current // SLEEP_GROWTH
            if lower > sleep.before:
                self._set(sleep, lower)
            else:
                self.let_go()

    def _raise_from(self, current: int, sleep: BuildSleep | None) -> None:
        wanted = min(max(FIRST_US, current * SLEEP_GROWTH), self._most())
        if sleep is None:
            other = self._raised_by_another(current)
            if other is not None:
                self.text = f"project {other} slows down builds of indexes on this server already"
                return
            if wanted <= current:
                raise CannotBeSet("with so many keys, or so long a sleep already, it would take too long")
            sleep = begin_sleep(self._server, current)
        if wanted > current:
            self._set(sleep, wanted)

    def _set(self, sleep: BuildSleep, microseconds: int) -> None:
        """Let the server have another value; the state has it before.

        Raises:
            CannotBeSet: The server refuses it, and has what it had.
        """
        last = self._run().build_sleep
        self._record(sleep.to(microseconds))
        try:
            write_sleep(self._server, microseconds)
        except CannotBeSet:
            self._record(last)
            raise
        self.text = f"the build is slowed down: {SETTING} {sleep.before} -> {microseconds}"

    def _most(self) -> int:
        """Microseconds with which the build takes as long as it may."""
        if not self._most_us:
            keys = int(self._server.execute("DBSIZE"))
            sleeps = max(1, keys * STEPS_PER_KEY // STEPS_BETWEEN)
            self._most_us = max(1, min(LONGEST_US, int(self._most_seconds / sleeps * 1_000_000)))
        return self._most_us

    def _raised_by_another(self, current: int) -> str | None:
        """The project whose run has set what the server has: what it was before, only that one knows.

        Raises:
            CannotBeSet: One of them does not tell, for its record is damaged, or not for this user to read.
        """
        unread = "whether a run of another project has raised it can't be read"
        try:
            projects = set(read_owners(self._server).values())
        except (redis.ResponseError, AuthenticationFailed, StateError) as error:
            raise CannotBeSet(unread) from error
        for project in sorted(projects - {self._keys.project}):
            try:
                if current in self._set_by(project):
                    return project
            except (*_DAMAGED, redis.ResponseError, AuthenticationFailed) as error:
                raise CannotBeSet(unread) from error
        return None

    def _set_by(self, project: str) -> tuple[int, ...]:
        """What another project's run notes to have set: beside its progress, or in its record."""
        keys = StateKeys(project)
        for key in (keys.progress, keys.run):
            recorded = parse_json(self._server.execute("GET", key) or b"{}").get("build_sleep")
            if recorded is not None:
                return BuildSleep.model_validate(recorded).ours
        return ()

    def _give_up(self, reason: str) -> None:
        self._is_off = True
        self.text = f"the build can't be slowed down: {reason}"
        if self.text not in self._told:
            self._told.add(self.text)
            self._warn(self.text)
