"""The optimistic writer: many batches under way, each of which is written if nobody else wrote meanwhile.

Several connections take turns, so that one batch is with the server while another one is computed. Each batch
goes over one to its own node, and is guarded by the fence of that node. Where the next one is not there yet,
those under way are finished before it is waited for: none stays watched meanwhile. What becomes of one batch
is in `turn`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Self

from redismigrate.execution.documents.traffic.decisions import OutcomeT, Work, WritesT
from redismigrate.execution.documents.traffic.node import Node, Nodes
from redismigrate.execution.documents.traffic.turn import Turn
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.wire import Wire


class OptimisticWriter:
    """Owns the connections over which batches are written.

    Args:
        nodes: Where the documents are; the fence of a batch's node is checked in every attempt at it.
        connections: How many batches are under way at a time on a node.
        pace: Admits every batch; None for no limits.
    """

    def __init__(self, nodes: Nodes, connections: int, pace: Pace | None = None) -> None:
        self._nodes = nodes
        self._connections = connections
        self._pace = pace
        self._node_of: dict[Wire, Node] = {}
        with ExitStack() as opened:
            for node in nodes.all:
                with node.server.translated_errors():
                    for _ in range(connections):
                        wire = opened.enter_context(closing(Wire(node.server.client)))
                        self._node_of[wire] = node
            for node in nodes.all:
                node.fence.require_state()
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        if self._pace is not None:
            self._pace.begin_writes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    def write(self, works: Iterable[Work[WritesT, OutcomeT] | None]) -> Iterator[Turn[WritesT, OutcomeT]]:
        """Carry out batches, in order.

        Args:
            works: The batches, each of one node. Each is asked for when the one before it is under way; so
                where it may take long, None comes before it.

        Yields:
            The finished turn of every batch, some batches later. One of many documents is done in parts, and
            has as many turns.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        asked: deque[Turn[WritesT, OutcomeT]] = deque()
        sent: deque[Turn[WritesT, OutcomeT]] = deque()
        idle: dict[Node, deque[Wire]] = {node: deque() for node in self._nodes.all}
        for wire, node in self._node_of.items():
            idle[node].append(wire)
        for work in works:
            if work is None:
                while asked or sent:
                    yield self._finish(asked, sent, idle)
                continue
            node = self._nodes.of(work.keys)
            rest: Work[WritesT, OutcomeT] | None = work
            while rest is not None:
                # What waits must not keep others waiting: batches under way are finished first.
                most = rest.most_at_once
                while (asked or sent) and self._is_held(most):
                    yield self._finish(asked, sent, idle)
                part, rest = self._admitted(rest, most)
                while not idle[node]:
                    yield self._finish(asked, sent, idle)
                turn = Turn(idle[node].popleft(), part, node.fence)
                with node.server.translated_errors():
                    turn.ask()
                asked.append(turn)
                # The newest one is on its way while the one before it is decided.
                if len(asked) > 1 or self._connections == 1:
                    self._write_oldest(asked, sent)
        while asked or sent:
            yield self._finish(asked, sent, idle)

    def _write_oldest(
        self, asked: deque[Turn[WritesT, OutcomeT]], sent: deque[Turn[WritesT, OutcomeT]]
    ) -> None:
        """Decide and send the oldest batch that was asked for."""
        turn = asked.popleft()
        sent.append(turn)
        with self._node_of[turn.wire].server.translated_errors():
            turn.write()

    def _is_held(self, keys: int) -> bool:
        return self._pace is not None and self._pace.is_held(keys)

    def _admitted(
        self, work: Work[WritesT, OutcomeT], most: int
    ) -> tuple[Work[WritesT, OutcomeT], Work[WritesT, OutcomeT] | None]:
        """What of a batch may be begun now, of at most so many documents, and the rest."""
        size, count = most, len(work.keys)
        if self._pace is not None:
            size = self._pace.admit(size)
        if size >= count:
            return work, None
        return work.part(0, size), work.part(size, count)

    def _finish(
        self,
        asked: deque[Turn[WritesT, OutcomeT]],
        sent: deque[Turn[WritesT, OutcomeT]],
        idle: Mapping[Node, deque[Wire]],
    ) -> Turn[WritesT, OutcomeT]:
        """Finish the oldest batch."""
        if not sent:
            self._write_oldest(asked, sent)
        turn = sent.popleft()
        node = self._node_of[turn.wire]
        with node.server.translated_errors():
            is_done = turn.is_done()
            turn.seconds = time.monotonic() - turn.sent_at if turn.has_written else 0.0
            if self._pace is not None and turn.has_written:
                self._pace.took(turn.seconds)
            if not is_done:
                turn.repeat()
        idle[node].append(turn.wire)
        return turn
