"""Replaces values in hashes where they are what they are expected to be, many batches at a time.

A batch is optimistic: WATCH its keys and the fence, read, then write in MULTI and EXEC. If one of the keys
was written, deleted or has expired meanwhile, EXEC does nothing and the batch is tried again in halves. That
costs the server less than comparing the values in Lua. So it is when the server refuses one of its commands:
the document is found and told, and the others are done.

Several connections take turns, so that one batch is with the server while another one is computed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from redismigrate.execution.documents.traffic.exchange import Exchange, Mode, Outcome
from redismigrate.execution.documents.traffic.reading import KEYS_PER_SCRIPT
from redismigrate.execution.documents.traffic.turn import Turn
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import Wire
from redismigrate.state.fence import Fence

# In a transaction that reads or writes values. WATCH compares a key with all that its client watches already,
# and commands that were queued long ago have left the processor's caches when EXEC comes to them.
MOST_KEYS = 200


class Exchanger:
    """Owns the connections over which batches are exchanged.

    Args:
        server: The connection that they are copies of.
        fence: Checked in every batch.
        connections: How many batches are under way at a time.
        pace: Admits every batch; None for no limits.
    """

    def __init__(self, server: Server, fence: Fence, connections: int, pace: Pace | None = None) -> None:
        self._server = server
        self._fence = fence
        self._pace = pace
        with server.translated_errors():
            self._wires = [Wire(server.client) for _ in range(connections)]
        fence.require_state()

    def __enter__(self) -> Self:
        if self._pace is not None:
            self._pace.begin_writes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for wire in self._wires:
            wire.close()

    def run(self, exchanges: Iterable[Exchange], mode: Mode) -> Iterator[Outcome]:
        """Carry out exchanges, in order.

        Yields:
            The outcome of every exchange, some exchanges later. One of many documents is done in parts, and
            has as many outcomes.

        Raises:
            FenceLost: Another process has taken over the lock; the batch was not written.
            RedisMigrateError: The server can't be reached or used.
        """
        asked: deque[Turn] = deque()
        written: deque[Turn] = deque()
        idle = deque(self._wires)
        with self._server.translated_errors():
            for exchange in exchanges:
                rest: Exchange | None = exchange
                while rest is not None:
                    # What waits must not keep others waiting: batches under way are finished first.
                    most = _most_keys(rest)
                    while (asked or written) and self._is_held(most):
                        yield self._finish(asked, written, idle)
                    part, rest = self._admitted(rest, most)
                    if not idle:
                        yield self._finish(asked, written, idle)
                    turn = Turn(idle.popleft(), Outcome(part), mode, self._fence)
                    turn.ask()
                    asked.append(turn)
                    # The newest one is on its way while the one before it is decided.
                    if len(asked) > 1 or len(self._wires) == 1:
                        written.append(asked.popleft())
                        written[-1].write()
            while asked or written:
                yield self._finish(asked, written, idle)

    def _is_held(self, keys: int) -> bool:
        return self._pace is not None and self._pace.is_held(keys)

    def _admitted(self, exchange: Exchange, most: int) -> tuple[Exchange, Exchange | None]:
        """What of an exchange may be begun now, of at most so many documents, and the rest."""
        size, count = most, len(exchange.keys)
        if self._pace is not None:
            size = self._pace.admit(size)
        if size >= count:
            return exchange, None
        return exchange.part(0, size), exchange.part(size, count)

    def _finish(self, asked: deque[Turn], written: deque[Turn], idle: deque[Wire]) -> Outcome:
        """Finish the oldest batch."""
        if not written:
            written.append(asked.popleft())
            written[-1].write()
        turn = written.popleft()
        is_written = turn.is_written()
        if self._pace is not None and turn.has_written:
            self._pace.took(time.monotonic() - turn.sent_at)
        if not is_written:
            turn.repeat()
        idle.append(turn.wire)
        return turn.outcome


def _most_keys(exchange: Exchange) -> int:
    """How many documents of an exchange one transaction has at most."""
    return min(len(exchange.keys), MOST_KEYS if exchange.new else KEYS_PER_SCRIPT)
