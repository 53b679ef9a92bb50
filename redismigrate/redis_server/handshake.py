"""TLS handshakes that keep the limit for connecting: redis-py gives them as long as a reply may take."""

from __future__ import annotations

import functools
from typing import Any

import redis


@functools.cache
def with_limited_handshake(kind: type[Any]) -> type[Any]:
    """A class of connections whose TLS handshakes end as soon as connecting has to.

    A server without TLS waits for the end of a line while ours waits for its part of the handshake.

    Args:
        kind: A class of connections of redis-py; one without TLS is given back.
    """
    if not issubclass(kind, redis.SSLConnection):
        return kind

    class LimitedHandshakeConnection(kind):  # type: ignore[misc]
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            limit_of_replies = sock.gettimeout()
            sock.settimeout(self.socket_connect_timeout)
            wrapped = super()._wrap_socket_with_ssl(sock)
            wrapped.settimeout(limit_of_replies)
            return wrapped

    return LimitedHandshakeConnection
