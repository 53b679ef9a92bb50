"""Computes the next items of an iterator in a second thread while the caller works on the present one.

Hashing, checksums and numpy's conversions release the interpreter's lock, so that they take place beside the
traffic with the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
# One is computed while one waits; every further one only costs memory.
ITEMS_AHEAD = 2


def computed_ahead(
    items: Iterator[Item], count: int = ITEMS_AHEAD, is_over: Event | None = None
) -> Iterator[Item]:
    """The same items in the same order; what the iterator raises is raised when its turn comes.

    Args:
        items: Is advanced by a thread of its own.
        count: How many items may be there at a time besides the one that the caller has.
        is_over: Set when nobody wants an item any more, before the one that is being computed is waited for.
    """
    end = object()
    with ThreadPoolExecutor(1, "redismigrate-ahead") as thread:
        asked: deque[Future[Item | object]] = deque(thread.submit(next, items, end) for _ in range(count))
        try:
            while (item := asked.popleft().result()) is not end:
                asked.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]  # all but the end are items
        finally:
            if is_over is not None:
                is_over.set()
