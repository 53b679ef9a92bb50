"""Waiting until an index is complete.

`percent_indexed` counts all keys of the database and is no measure. An index is complete when its scan is
over (`indexing` is 1 in the first FT.INFO after FT.CREATE and FT.ALTER, always) and it is still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from redismigrate.errors import CommandRefused
from redismigrate.execution.indexes.live import look_at
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex

SHORTEST_POLL_SECONDS = 0.01
LONGEST_POLL_SECONDS = 0.5
# What a look that comes too late may add to the wait. FT.INFO takes less than a millisecond.
SHARE_OF_THE_WAIT = 0.03


class IndexVanished(CommandRefused):
    """The index that is waited for was dropped by somebody else."""

    def __init__(self, name: str) -> None:
        super().__init__(0, f"index {name} was dropped by another client while it was built", "FT.INFO")


def wait_until_indexed(server: Server, physical: str, on_progress: Callable[[int], None]) -> LiveIndex:
    """Block until the index is complete.

    Args:
        server: The connection.
        physical: The index.
        on_progress: Told the number of documents in the index after every look.

    Raises:
        IndexVanished: It is gone.
    """
    started = time.monotonic()
    while True:
        index = look_at(server, physical)
        if index is None:
            raise IndexVanished(physical)
        on_progress(index.statistics.num_docs)
        if not index.statistics.is_indexing:
            return index
        waited = time.monotonic() - started
        time.sleep(min(max(SHORTEST_POLL_SECONDS, waited * SHARE_OF_THE_WAIT), LONGEST_POLL_SECONDS))
