"""A connection for bulk traffic: commands are rendered once into bytes, replies parsed by hiredis.

redis-py renders and parses command by command, which for hundreds of thousands of small commands costs more
than the server's own work. It still makes the connection: TLS, users and URL options stay its business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hiredis
import redis

RECEIVE_BYTES = 1 << 18
# hiredis moves all that it holds to the front of its buffer after every reply of more than a kilobyte.
FEED_BYTES = 1 << 13


class Wire:
    """Owns one connection outside of the client's pool.

    Args:
        client: Where to connect to, and how.
    """

    def __init__(self, client: redis.Redis) -> None:
        pool = client.connection_pool
        # Not pool.make_connection(): that counts all it ever made, and refuses the hundred and first.
        self._connection = pool.connection_class(**pool.connection_kwargs)
        self._connection.connect()
        # redis-py offers the socket no other way; it is public in nothing but name since its first version.
        self._socket = self._connection._sock  # noqa: SLF001
        self._reader = hiredis.Reader()
        self._waiting = memoryview(b"")

    def send(self, commands: bytes) -> None:
        """Send rendered commands.

        Raises:
            redis.ConnectionError: The server is gone.
        """
        try:
            self._socket.sendall(commands)
        except OSError as error:
            raise redis.ConnectionError(f"the connection was lost: {error}") from error

    def receive(self, count: int) -> list[Any]:
        """The next replies; an error reply is a `hiredis.ReplyError` in the list.

        Raises:
            redis.ConnectionError: The server is gone.
        """
        replies: list[Any] = []
        get = self._reader.gets
        while len(replies) < count:
            reply = get()
            if reply is not False:
                replies.append(reply)
                continue
            if self._waiting:
                self._reader.feed(self._waiting[:FEED_BYTES])  # type: ignore[arg-type]  # takes any buffer
                self._waiting = self._waiting[FEED_BYTES:]
                continue
            try:
                received = self._socket.recv(RECEIVE_BYTES)
            except OSError as error:
                raise redis.ConnectionError(f"the connection was lost: {error}") from error
            if not received:
                raise redis.ConnectionError("the server closed the connection")
            self._waiting = memoryview(received)
        return replies

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def render(*words: bytes) -> bytes:
    """One command in the form in which Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%s\r\n" % (len(word), word) for word in words])


def render_for_keys(command: bytes, keys: Iterable[bytes], arguments: tuple[bytes, ...]) -> bytes:
    """The same command for many keys, each followed by the same arguments."""
    head = b"*%d\r\n$%d\r\n%s\r\n" % (2 + len(arguments), len(command), command)
    tail = b"\r\n" + b"".join([b"$%d\r\n%s\r\n" % (len(argument), argument) for argument in arguments])
    return b"".join([head + b"$%d\r\n%s%s" % (len(key), key, tail) for key in keys])


def raise_refusal(*replies: object) -> None:
    """Raise the first error among replies.

    Raises:
        redis.ResponseError: As redis-py would raise it.
    """
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if text.startswith("READONLY"):
                raise redis.exceptions.ReadOnlyError(text)
            raise redis.ResponseError(text)
