"""One connection to the user's Redis: opened from a URL, its errors turned into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redismigrate.config import redacted
from redismigrate.errors import (
    AuthenticationFailed,
    ClusterUnsupported,
    ConfigurationError,
    ConnectionFailed,
    RedisMigrateError,
    ReplicaRefused,
    SearchMissing,
    ServerError,
    ServerOutOfMemory,
)
from redismigrate.redis_server.capabilities import Capabilities, read_capabilities

if TYPE_CHECKING:
    from redismigrate.redis_server.embedded import EmbeddedServer

CONNECT_TIMEOUT_SECONDS = 5.0
# A blocking script or a busy index build may hold the server for seconds; longer than this it is gone.
REPLY_TIMEOUT_SECONDS = 60.0


class Server:
    """Owns the client of one Redis, and the embedded server behind it where the URL asks for one.

    Attributes:
        client: A redis-py client that doesn't decode.
        url: Where it is connected to, without password.
    """

    def __init__(self, client: redis.Redis, url: str, embedded: EmbeddedServer | None = None) -> None:
        self.client = client
        self.url = redacted(url)
        self._embedded = embedded

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the server can do, read once."""
        with self.translated_errors():
            return read_capabilities(self.client.execute_command)

    def capabilities_now(self) -> Capabilities:
        """What the server can do, and how much memory it uses at this moment."""
        with self.translated_errors():
            self.capabilities = read_capabilities(self.client.execute_command)
        return self.capabilities

    def execute(self, *command: Any) -> Any:
        """Run one command, its reply as redis-py gives it.

        Raises:
            redis.ResponseError: The server refused the command itself.
            RedisMigrateError: The server can't be reached or used.
        """
        with self.translated_errors():
            return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn the errors of the connection and of rights into ours."""
        try:
            yield
        except redis.RedisError as error:
            translated = translate(error, self.url)
            if translated is None:
                raise
            raise translated from error

    def close(self) -> None:
        """Close the connection and stop the embedded server, if there is one."""
        self.client.close()
        if self._embedded is not None:
            self._embedded.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def connect(url: str) -> Server:
    """Open a connection; the server is not asked anything yet.

    Args:
        url: redis://, rediss:// or unix://, with redis-py's query options, or embedded://.

    Raises:
        ConfigurationError: The URL can't be understood.
        EmbeddedServerUnavailable: No server could be started for an embedded:// URL.
    """
    embedded = None
    address = url
    if url.startswith("embedded:"):
        from redismigrate.redis_server.embedded import embedded_from_url

        embedded = embedded_from_url(url)
        embedded.start()
        address = embedded.url
    try:
        pool = redis.ConnectionPool.from_url(
            address,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=REPLY_TIMEOUT_SECONDS,
            # A repeated EVAL whose reply was lost would meet its own effect: the run is resumed instead.
            retry=Retry(NoBackoff(), 0),
        )
        # Its options are looked at when the first connection is made: make one, unconnected.
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError):
        # The ValueError may quote a piece of a password that is not percent-encoded.
        raise ConfigurationError(
            f"The URL {redacted(url)} can't be understood.",
            "Write redis://user:password@host:port/0, with special characters percent-encoded.",
        ) from None
    # Set here because redis-py lets the options of the URL win over arguments.
    pool.connection_kwargs |= {"decode_responses": False, "protocol": 2}
    database = pool.connection_kwargs.get("db", 0)
    if database != 0:
        raise ConfigurationError(
            f"The URL selects database {database}, but Redis Search indexes live in database 0.",
            "Use a URL that ends in /0.",
        )
    return Server(redis.Redis.from_pool(pool), url, embedded)


def translate(error: redis.RedisError, url: str) -> RedisMigrateError | None:  # noqa: C901 - a table
    """Our error for one of redis-py's; None for a command that the server refused for its own reasons."""
    # What EXEC itself is refused for, as when no memory is left by then, stands behind that.
    text = str(error).removeprefix("EXECABORT Transaction discarded because of: ")
    if isinstance(error, redis.AuthenticationError) or text.startswith(("WRONGPASS", "NOAUTH")):
        return AuthenticationFailed(
            f"Redis at {url} refuses the user name or the password.", "Check the credentials in the URL."
        )
    if isinstance(error, redis.exceptions.NoPermissionError) or text.startswith("NOPERM"):
        return AuthenticationFailed(
            f"The Redis user lacks a right: {text.removeprefix('NOPERM ')}",
            "Grant it with ACL SETUSER, or migrate as another user.",
        )
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return ReplicaRefused(
            "This server is a replica; a migration there would diverge from its master.",
            "Give the URL of the master.",
        )
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return ConnectionFailed(f"Redis at {url} is still loading its data.", "Try again when it is up.")
    if isinstance(error, redis.exceptions.InvalidResponse):
        return ConnectionFailed(f"What answers at {url} is no Redis.", "Check host and port of the URL.")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        reason = text.rstrip(".") or type(error).__name__
        return ConnectionFailed(
            f"Can't reach Redis at {url}: {reason}.", "Check the URL and that the server runs."
        )
    if "unknown command" in text and "FT." in text.upper():
        return SearchMissing(
            "This Redis has no Search module.", "Use Redis 8, Redis Stack, or load redisearch.so."
        )
    if text.startswith("OOM") or isinstance(error, redis.exceptions.OutOfMemoryError):
        return ServerOutOfMemory(
            f"Redis at {url} uses more memory than its maxmemory and takes no writes.",
            "Free memory or raise maxmemory, then run the same command again.",
        )
    if isinstance(error, redis.exceptions.MovedError | redis.exceptions.AskError):
        return ClusterUnsupported(
            f"Redis at {url} is one of several shards of a cluster, which this version can't migrate.",
            "Use a single server, or a cluster of one shard.",
        )
    if text.startswith(("LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY")):
        return ServerError(f"Redis at {url} is not ready: {text}", "Try again when it is.")
    return None
