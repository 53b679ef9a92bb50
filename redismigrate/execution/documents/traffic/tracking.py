"""Learns which keys other clients write, from the server's own invalidations of client-side caches.

CLIENT TRACKING in broadcast mode needs no configuration and reports every write of a key with one of some
prefixes: Lua's, expiries and evictions among them. Only the expiry of hash fields it does not report. What
was written while nobody listened is unknown, so that a lost connection means: look at everything again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import hiredis
import redis

from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import Wire, raise_refusal, render

_MOST_KEYS = 1_000_000
# A sentinel goes by itself when its process is killed before it is deleted.
SENTINEL_SECONDS = 60
_SENTINEL = b"redismigrate:barrier:"
# What begins so is state of a project, and no document.
_OUR_KEYS = (b"{redismigrate:", b"{redismigrate}")


class Tracker:
    """Owns the connection that is told of writes, and the thread that listens on it.

    Args:
        server: The connection that this one is a copy of.
        prefixes: Of the keys to track, none of which begins with another one, see `KeyPrefixes.outermost`;
            none for all keys but those of redismigrate's own state.
        most_keys: With more keys waiting to be drained than this the tracker counts as lost.

    Raises:
        RedisMigrateError: The server can't be reached, or lets this user not track.
    """

    def __init__(self, server: Server, prefixes: Collection[bytes], most_keys: int = _MOST_KEYS) -> None:
        self._server = server
        self._most_keys = most_keys
        self._changed = threading.Condition()
        self._dirty: set[bytes] = set()
        self._reported = 0
        self._lost_because: str | None = None
        # Clients tell their documents by their keys, so a name that nobody can have chosen.
        first = min(prefixes, default=b"")
        self._sentinel = (first or b"{redismigrate}:") + _SENTINEL + token_hex(16).encode() + b":"
        self._sentinels_sent = 0
        self._sentinels_seen: set[bytes] = set()
        # Redis sends what one turn of its event loop has changed prefix by prefix. A second sentinel, written
        # when the first is back, comes in a later turn.
        self._sentinels_per_barrier = 1 if len(prefixes) <= 1 else 2
        with server.translated_errors():
            self._wire = Wire(server.client, protocol=3, socket_timeout=None, **_keepalive(server))
            words = [word for prefix in prefixes if prefix for word in (b"PREFIX", prefix)]
            self._wire.send(render(b"CLIENT", b"TRACKING", b"ON", b"BCAST", *words, b"NOLOOP"))
            raise_refusal(*self._wire.receive(1))
        self._listener = threading.Thread(target=self._listen, name="redismigrate-tracker", daemon=True)
        self._listener.start()

    @property
    def is_lost(self) -> bool:
        """Whether writes may have been missed: all documents have to be looked at once more."""
        return self._lost_because is not None

    @property
    def lost_because(self) -> str | None:
        """What was lost, in words for the user; None while nothing is."""
        return self._lost_because

    @property
    def waiting(self) -> int:
        """How many keys were written since the last `drain`."""
        return len(self._dirty)

    @property
    def reported(self) -> int:
        """How many writes were reported so far; of one key some at the same moment may be one."""
        return self._reported

    def drain(self) -> set[bytes]:
        """The keys that were written since the last time, whatever they hold by now."""
        with self._changed:
            drained, self._dirty = self._dirty, set()
        return drained

    def barrier(self, timeout_seconds: float) -> bool:
        """Wait until every write that was made before this call can be drained.

        Args:
            timeout_seconds: How long to wait. When it is over, the tracker counts as lost.

        Returns:
            Whether that is so; False: the tracker is lost.

        Raises:
            RedisMigrateError: The server can't be reached, or refuses to write the sentinel.
        """
        deadline = time.monotonic() + timeout_seconds
        for _ in range(self._sentinels_per_barrier):
            self._sentinels_sent += 1
            sentinel = self._sentinel + b"%d" % self._sentinels_sent
            # A string is no document to any index.
            self._server.execute("SET", sentinel, b"", "EX", SENTINEL_SECONDS)
            with self._changed:
                is_back = self._changed.wait_for(
                    lambda sentinel=sentinel: self.is_lost or sentinel in self._sentinels_seen,  # type: ignore[misc]
                    max(0.0, deadline - time.monotonic()),
                )
                if not is_back:
                    self._lose(f"no invalidation came back within {timeout_seconds:g} s")
                self._sentinels_seen.clear()
            self._server.execute("DEL", sentinel)
        return not self.is_lost

    def close(self) -> None:
        """Stop listening; from now on the tracker is lost."""
        self._lose("it was closed")
        self._wire.close()
        self._listener.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        try:
            while not self.is_lost:
                (message,) = self._wire.receive(1)
                self._take(message)
        except redis.RedisError as error:
            self._lose(str(error))

    def _take(self, message: Any) -> None:
        """Note the keys of an invalidation; a server may push other messages as well."""
        if not isinstance(message, hiredis.PushNotification) or message[0] != b"invalidate":
            return
        keys = message[1]
        if keys is None:
            self._lose("the database was flushed")
            return
        with self._changed:
            for key in keys:
                if key.startswith(self._sentinel):
                    self._sentinels_seen.add(key)
                elif not key.startswith(_OUR_KEYS):
                    self._dirty.add(key)
                    self._reported += 1
            if len(self._dirty) > self._most_keys:
                self._lose(f"more than {self._most_keys:,} keys were written and waited")
            self._changed.notify_all()

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self._lost_because is None:
                self._lost_because = reason
                self._dirty = set()
            self._changed.notify_all()


def _keepalive(server: Server) -> dict[str, Any]:
    """Options that end a connection whose other end has vanished: this one only listens."""
    if not issubclass(server.client.connection_pool.connection_class, redis.Connection):
        return {}  # a Unix socket
    seconds = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    options = {getattr(socket, name): value for name, value in seconds.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": options}
