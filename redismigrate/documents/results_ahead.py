"""Computes what comes next in other threads or processes while the caller works on what is there.

Hashing, checksums and numpy's conversions release the interpreter's lock, so that they take place beside the
traffic with the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

_Item = TypeVar("_Item")
Argument = TypeVar("Argument")
_Result = TypeVar("_Result")
# One is computed while one waits; every further one only costs memory.
ITEMS_AHEAD = 2


def computed_ahead(
    items: Iterator[_Item], count: int = ITEMS_AHEAD, is_over: Event | None = None
) -> Iterator[_Item]:
    """The same items in the same order; what the iterator raises is raised when its turn comes.

    Args:
        items: Is advanced by a thread of its own.
        count: How many items may be there at a time besides the one that the caller has.
        is_over: Set when nobody wants an item any more, before the one that is being computed is waited for.
    """
    end = object()
    with ThreadPoolExecutor(1, "redismigrate-ahead") as thread:
        asked: deque[Future[_Item | object]] = deque(thread.submit(next, items, end) for _ in range(count))
        try:
            while (item := asked.popleft().result()) is not end:
                asked.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]  # all but the end are items
        finally:
            if is_over is not None:
                is_over.set()


def results_ahead(
    executor: Executor,
    function: Callable[[Argument], _Result],
    items: Iterable[tuple[_Item, Argument]],
    count: int = ITEMS_AHEAD,
) -> Iterator[tuple[_Item, _Result]]:
    """What a function makes of arguments, in their order; what it raises is raised when its turn comes.

    Args:
        executor: Runs it. With processes the function and its arguments are pickled.
        function: Knows nothing of the order.
        items: Of each something that stays here, and the argument; advanced by the caller's thread.
        count: How many are being computed, or are there, besides the one that the caller has.
    """
    asked: deque[tuple[_Item, Future[_Result]]] = deque()
    try:
        for item, argument in items:
            asked.append((item, executor.submit(function, argument)))
            if len(asked) > count:
                first, future = asked.popleft()
                yield first, future.result()
        while asked:
            first, future = asked.popleft()
            yield first, future.result()
    finally:
        for _, future in asked:
            future.cancel()
