"""A socket to Redis with nothing between it and the caller but hiredis: the least that a client can cost."""

from __future__ import annotations

import socket
from typing import Any

import hiredis

_RECEIVE_BYTES = 1 << 20


class RawConnection:
    """Owns one connection, which speaks RESP2.

    Args:
        port: Of a server on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def send(self, commands: bytes) -> None:
        """Send encoded commands, see `encode`."""
        self._socket.sendall(commands)

    def receive(self, count: int) -> list[Any]:
        """That many replies; an error is a `hiredis.ReplyError` in the list, not raised.

        Raises:
            ConnectionError: The server has gone away.
        """
        replies: list[Any] = []
        while len(replies) < count:
            reply = self._reader.gets()
            if reply is not False:
                replies.append(reply)
                continue
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionError("The server has closed the connection.")
            self._reader.feed(data)
        return replies

    def ask(self, *parts: bytes | str | int) -> Any:
        """Send one command; its reply, which may be a `hiredis.ReplyError`."""
        self.send(encode(*parts))
        return self.receive(1)[0]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def encode(*parts: bytes | str | int) -> bytes:
    """One command in RESP."""
    words = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def require_no_error(replies: list[Any]) -> None:
    """Raise the first error among the replies.

    Raises:
        hiredis.ReplyError: There is one.
    """
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise reply
