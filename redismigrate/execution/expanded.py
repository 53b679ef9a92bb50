"""Keeps old and new in step while a revision is expanded: writes of either form reach the other."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from redismigrate.errors import FenceLost
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.traffic.mirroring import Synchronised
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.pace.busy_writers import Backlog, BusyWriters
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run, now
from redismigrate.execution.steps.beside_steps import SecondFormSteps
from redismigrate.execution.steps.document_work import HEARTBEAT_SECONDS, DocumentWork
from redismigrate.execution.steps.followed import followed_indexes
from redismigrate.redis_server.connection import Server
from redismigrate.state.fence import Fence
from redismigrate.state.follower_report import FollowerReport, forget_follower, write_follower
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature

# Writes of the application reach the other form about so soon.
LOOK_SECONDS = 0.05


class ExpandedRun:
    """Follows the application's writes on behalf of a run that waits to be contracted.

    It holds no lock, so that contraction can begin at any time: every batch of writes checks the fencing
    token, which changes as soon as another command takes the lock.

    Args:
        server: The connection.
        keys: The project's keys.
        run: The expanded run.
        token: The fencing token of those who follow, taken before the run was read.
        watcher: Is told of documents that can't be converted.
        max_removals: How many documents may go that nobody saw being deleted; None for the usual limit.
    """

    def __init__(
        self,
        server: Server,
        keys: StateKeys,
        run: Run,
        token: bytes,
        watcher: Watcher,
        max_removals: int | None = None,
    ) -> None:
        self._server, self._keys, self._run = server, keys, run
        self._fence = Fence(keys.fence.encode(), token)
        writers = BusyWriters(watcher.warned)

        def watch(index: str, backlog: Backlog) -> None:
            writers.look(index, backlog, None, time.monotonic())
            watcher.at_safe_point()

        work = DocumentWork(
            Node(server, self._fence),
            keys.project,
            watcher,
            _no_beat,
            None,
            max_removals=max_removals,
            watch=watch,
        )
        self._steps = SecondFormSteps(work)
        self._total = Synchronised()
        moment = now()
        self._report = FollowerReport(
            run.id, run.plan.revision, signature(), socket.gethostname(), os.getpid(), moment, moment
        )

    @property
    def indexes(self) -> tuple[str, ...]:
        """The served names whose documents it keeps in step."""
        return followed_indexes(self._run)

    def follow(self, goes_on: Callable[[FollowerReport], bool]) -> None:
        """Follow until told to stop, or until another command takes the lock.

        Args:
            goes_on: Told about once a second how it goes; False ends it.

        Raises:
            FenceLost: Another command holds the lock, or held it.
            RedisMigrateError: The server can't be reached or used.
        """
        with ExitStack() as stack:
            followers = [
                follower
                for index in self.indexes
                if (follower := stack.enter_context(self._steps.following(self._run, index))) is not None
            ]
            for follower in followers:
                follower.synchronise_all(self._total)
            self._report = replace(self._report, documents=self._total.documents)
            while goes_on(self._beat()):
                self._follow_for(HEARTBEAT_SECONDS, followers)

    def _follow_for(self, seconds: float, followers: list[Follower]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for follower in followers:
                if follower.has_to_follow:
                    follower.follow(self._total)
            time.sleep(LOOK_SECONDS)

    def _beat(self) -> FollowerReport:
        """Give a sign of life."""
        if self._server.execute("GET", self._keys.fence) != self._fence.token:
            raise FenceLost("Another command has taken the lock of this project.", "Follow again after it.")
        done = self._total
        self._report = replace(
            self._report,
            heartbeat=now(),
            written=done.written,
            turned_back=done.turned_back,
            only_new=done.only_new,
            failed=done.failures.count,
        )
        self._steps.count_traffic()
        write_follower(self._server, self._keys, self._report)
        return self._report

    def leave(self) -> None:
        """Close what was open for it, and say that nobody follows any more."""
        with ExitStack() as closing:
            closing.callback(forget_follower, self._server, self._keys)
            closing.callback(self._steps.close)


def _no_beat(documents: int, of: int) -> None:
    """The run's own signs of life are its owner's."""
