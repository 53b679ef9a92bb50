"""Where a batch of documents is: the node that it belongs to, with its own connection, fence and tracker.

Today there is one node, the server. It stands for all nodes by itself, so that whoever reads, writes or
follows asks for the node of a batch, and pays nothing for it. With several nodes each has a part of the keys:
a batch belongs to one of them, and what is listed, reported or handed over is split before it is a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from redismigrate.execution.documents.traffic.tracking import Tracker
from redismigrate.redis_server.connection import Server
from redismigrate.state.fence import Fence


@dataclass(frozen=True, slots=True)
class Node:
    """A server that holds documents, and what guards the writes there. Alone it is all the nodes there are.

    Attributes:
        server: The connection.
        fence: Checked in every batch of writes to it. Its key is on this node: a watch reaches no other one.
    """

    server: Server
    fence: Fence

    @property
    def home(self) -> Node:
        """The node of the project's state: this one, alone."""
        return self

    @property
    def all(self) -> tuple[Node, ...]:
        """The nodes: this one, alone."""
        return (self,)

    def of(self, keys: Sequence[bytes]) -> Node:  # noqa: ARG002 - of whatever keys
        """The node of a batch: this one, whatever its keys are."""
        return self

    def server_of(self, keys: Sequence[bytes]) -> Server:  # noqa: ARG002 - of whatever keys
        """The connection to the node of a batch: its own."""
        return self.server

    def split(self, keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
        """The same keys in batches of one node: all of them at once."""
        return (keys,)

    def tracker(self, prefixes: Collection[bytes]) -> Tracker:
        """What is told of writes to it from now on, on a connection of its own, see `Tracker`.

        Raises:
            RedisMigrateError: The server can't be reached, or lets this user not track.
        """
        return Tracker(self.server, prefixes)


class Nodes(Protocol):
    """All nodes that hold documents, and which of them a batch of keys belongs to."""

    @property
    def home(self) -> Node:
        """The one that holds the state of the project, and is asked about indexes."""

    @property
    def all(self) -> tuple[Node, ...]:
        """Each of them once."""

    def of(self, keys: Sequence[bytes]) -> Node:
        """The node of a batch; any of them for a batch of no keys.

        Raises:
            ValueError: The keys are on several nodes.
        """

    def server_of(self, keys: Sequence[bytes]) -> Server:
        """The connection to the node of a batch."""

    def split(self, keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
        """The same keys in batches, each of one node."""


class Trackers:
    """Owns a tracker of every node; writes are known as long as each of them knows those of its own.

    Args:
        nodes: Where the keys are.
        prefixes: Of the keys to track, see `Tracker`.

    Raises:
        RedisMigrateError: A node can't be reached, or lets this user not track.
    """

    def __init__(self, nodes: Nodes, prefixes: Collection[bytes]) -> None:
        with ExitStack() as opened:
            self._trackers = [opened.enter_context(node.tracker(prefixes)) for node in nodes.all]
            self._opened = opened.pop_all()

    @property
    def is_lost(self) -> bool:
        """Whether writes may have been missed: all documents have to be looked at once more."""
        return any(tracker.is_lost for tracker in self._trackers)

    @property
    def lost_because(self) -> str | None:
        """What was lost first, in words for the user; None while nothing is."""
        return next(filter(None, (tracker.lost_because for tracker in self._trackers)), None)

    @property
    def waiting(self) -> int:
        """How many keys were written since the last `drain`."""
        return sum(tracker.waiting for tracker in self._trackers)

    @property
    def reported(self) -> int:
        """How many writes were reported so far, see `Tracker.reported`."""
        return sum(tracker.reported for tracker in self._trackers)

    def drain(self) -> set[bytes]:
        """The keys that were written since the last time, whatever they hold by now."""
        return set().union(*(tracker.drain() for tracker in self._trackers))

    def barrier(self, timeout_seconds: float) -> bool:
        """Wait until every write to a node that was made before this call can be drained.

        Args:
            timeout_seconds: How long to wait for a node. When it is over, its tracker counts as lost.

        Returns:
            Whether that is so; False: one of them is lost.

        Raises:
            RedisMigrateError: A node can't be reached, or refuses to write the sentinel.
        """
        return all(tracker.barrier(timeout_seconds) for tracker in self._trackers)

    def close(self) -> None:
        """Stop listening; from now on they are lost."""
        self._opened.close()
