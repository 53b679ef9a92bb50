"""Whether the server tells a connection what others write: CLIENT TRACKING, in RESP3 and broadcast mode."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import redis

from redismigrate.errors import ConfigurationError
from redismigrate.redis_server.wire import Wire, raise_refusal, render

if TYPE_CHECKING:
    from redismigrate.redis_server.connection import Server

_TRACKING = render(b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"{redismigrate}", b"NOLOOP")


def why_unreported(server: Server) -> str | None:
    """Why it does not, in the server's words; None where it says that it does, or this user may not ask.

    Whether a proxy in between passes the reports on can be seen only when something is written.

    Raises:
        RedisMigrateError: The server can't be reached.
    """
    with server.translated_errors():
        try:
            with closing(Wire(server.client, protocol=3)) as wire:
                wire.send(_TRACKING)
                raise_refusal(*wire.receive(1))
        except redis.ResponseError as error:
            return None if "NOPERM" in str(error) else str(error)
        except ConfigurationError as error:  # the connection has been made before, but not in RESP3
            return error.message
    return None
