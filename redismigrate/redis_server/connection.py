"""One connection to the user's Redis: opened from a URL, its errors turned into ours."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

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
from redismigrate.foreign_modules import ForeignCode, ForeignFailure, text_of
from redismigrate.redis_server.capabilities import (
    Capabilities,
    Profile,
    Standing,
    is_absent_where_managed,
    read_capabilities,
    try_out,
)
from redismigrate.redis_server.guarded_connection import (
    options_taken_over,
    require_error_classes,
    with_guarded_connect,
)
from redismigrate.redis_server.handshake import with_limited_handshake
from redismigrate.redis_server.probes import PROBED_FEATURES, knows_feature
from redismigrate.shown_url import shown_url

if TYPE_CHECKING:
    from redismigrate.redis_server.embedded import EmbeddedServer

CONNECT_TIMEOUT_SECONDS = 5.0
# A blocking script or a busy index build may hold the server for seconds; longer than this it is gone.
REPLY_TIMEOUT_SECONDS = 60.0
# redis-py makes classes of the first words of some refusals, and takes them away.
_NOT_READY_ERRORS = (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError)
_OF_SEVERAL_SHARDS = (
    redis.exceptions.MovedError,
    redis.exceptions.AskError,
    redis.exceptions.ClusterCrossSlotError,
)
# The first words of errors that pass; the last one is of the coordinator in Redis 8.
_NOT_READY = (
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY",
    "ERRCLUSTER",
)
# Redis 8 looks at the keys that an index is about, where 7.4 took its name for a key.
_FORBIDDEN_INDEX = "permissions to query the index"
_PREFIX_RIGHTS = (
    "Let it read the keys of every prefix of the index with ACL SETUSER (~PREFIX*; without PREFIX ~*), or "
    "migrate as another user."
)
_OTHER_RIGHTS = "Grant it with ACL SETUSER, or migrate as another user."
# From 8.4 on, where search-on-oom says fail.
_NO_MEMORY_TO_SEARCH = "Not enough memory available to execute the query"


class Server:
    """Owns the client of one Redis, and the embedded server behind it where the URL asks for one.

    Attributes:
        client: A redis-py client that doesn't decode.
        url: Where it is connected to, without password.
        profile: "managed": commands that Redis Software and Redis Cloud lack are not even tried.
    """

    profile: Profile = "auto"

    def __init__(self, client: redis.Redis, url: str, embedded: EmbeddedServer | None = None) -> None:
        self.client = client
        self.url = shown_url(url)
        self._embedded = embedded
        self._tried: set[str] = set()
        self._lacks: set[str] = set()

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the server can do, read once."""
        return self._read_capabilities()

    def capabilities_now(self) -> Capabilities:
        """What the server can do, and how much memory it uses at this moment."""
        self.capabilities = self._read_capabilities()
        return self.capabilities

    def server_of(self, keys: Sequence[bytes]) -> Server:  # noqa: ARG002 - of whatever keys
        """The server that holds a batch of keys: itself, for whoever only reads from one."""
        return self

    @cached_property
    def _standing(self) -> Standing:
        return try_out(self.ask)

    def _read_capabilities(self) -> Capabilities:
        with self.translated_errors():
            found = read_capabilities(self.ask)
            return replace(found, standing=self._standing, lacks=frozenset(self._lacks))

    def look_for_features(self, features: Collection[str]) -> None:
        """Try vector types and algorithms, so that `capabilities` tells which of them the server lacks."""
        wanted = PROBED_FEATURES.intersection(features) - self._tried
        if wanted:
            with self.translated_errors():
                self._lacks |= {feature for feature in wanted if not knows_feature(self.ask, feature)}
            self._tried |= wanted
            self.capabilities = replace(self.capabilities, lacks=frozenset(self._lacks))

    def ask(self, *command: Any) -> Any:
        """Run one command, with redis-py's errors.

        Raises:
            redis.RedisError: As the server or the connection says; or the profile does without this command.
        """
        if self.profile == "managed" and is_absent_where_managed(command):
            raise redis.ResponseError(f"unknown command '{command[0]}', which no managed server has")
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    def execute(self, *command: Any) -> Any:
        """Run one command, its reply as redis-py gives it.

        Raises:
            redis.ResponseError: The server refused the command itself.
            RedisMigrateError: The server can't be reached or used.
        """
        with self.translated_errors():
            return self.ask(*command)

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
        pool = self.client.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                sentinel.close()
        if self._embedded is not None:
            self._embedded.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def connect(url: str, tls: Mapping[str, Any] | None = None) -> Server:
    """Open a connection; the server is not asked anything yet.

    Args:
        url: redis://, rediss:// or unix://, with redis-py's query options, sentinel://, see
            `sentinel_pool`, or embedded://.
        tls: redis-py's options that begin with ssl_, for what a URL that asks for TLS does not say itself.

    Raises:
        ConfigurationError: The URL can't be understood, or a file for TLS is missing.
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
        pool = _pool_of(address, tls or {})
        # Its options are looked at when the first connection is made: make one, unconnected.
        pool.connection_class(**pool.connection_kwargs)
    except Exception:  # noqa: BLE001 - options of any text are taken for numbers, classes and functions
        # It may quote a piece of a password that is not percent-encoded.
        raise ConfigurationError(
            f"The URL {shown_url(url)} can't be understood.",
            f"Write {_form_of(url)}, with special characters percent-encoded"
            f"{', and behind the ? only options of redis-py' if '?' in url else ''}.",
        ) from None
    return _server(pool, url, embedded)


def _form_of(url: str) -> str:
    if url.startswith("sentinel:"):
        return "sentinel://user:password@host:port,host:port/service/0"
    return "redis://user:password@host:port/0"


def connect_like(client: object, origin: str = "") -> Server:
    """Open a connection of our own with the options of a client that others made and keep.

    Args:
        client: A synchronous client of redis-py, for a single server or the master of a service that
            sentinels watch. Its replies may be decoded, its timeouts and retries any: ours are not.
        origin: Where it is from, for messages.

    Raises:
        ConfigurationError: It is no such client, or a file for TLS is missing.
    """

    def as_error(failure: ForeignFailure) -> ConfigurationError:
        return ConfigurationError(
            f"{origin or 'A client'} can't be used ({failure.reason}).",
            "Give a synchronous client of a single server, or of the master that sentinels watch.",
        )

    # A subclass, or a class of connections of others, does what it likes.
    with ForeignCode(as_error, passes=(ConfigurationError,)):
        return _like(client, origin)


def _like(client: object, origin: str) -> Server:
    if not isinstance(client, redis.Redis):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise ConfigurationError(
            f"{origin or 'A client'} is a {kind}, not a redis.Redis.",
            "Give a synchronous client of a single server, or of the master that sentinels watch.",
        )
    pool = client.connection_pool
    options = {
        **options_taken_over(pool.connection_kwargs, CONNECT_TIMEOUT_SECONDS),
        "socket_timeout": REPLY_TIMEOUT_SECONDS,
        "retry": _no_retry(),
        "connection_class": pool.connection_class,
    }
    if isinstance(pool, SentinelConnectionPool):
        own: redis.ConnectionPool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
            pool.service_name, pool.sentinel_manager, **options
        )
    else:
        own = redis.ConnectionPool(**options)
    own.connection_class(**own.connection_kwargs)  # looks at them, and connects to nothing
    return _server(own, _address_of(own), None)


def _pool_of(url: str, tls: Mapping[str, Any]) -> redis.ConnectionPool:
    timeouts = {
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_timeout": REPLY_TIMEOUT_SECONDS,
    }
    if url.startswith("sentinel:"):
        from redismigrate.redis_server.sentinel import sentinel_pool

        return sentinel_pool(url, tls, _no_retry(), **timeouts)
    options = tls if url.startswith("rediss:") else {}
    return redis.ConnectionPool.from_url(url, retry=_no_retry(), **timeouts, **options)


def _no_retry() -> Retry:
    # A repeated EVAL whose reply was lost would meet its own effect: the run is resumed instead.
    return Retry(NoBackoff(), 0)


def _server(pool: redis.ConnectionPool, url: str, embedded: EmbeddedServer | None) -> Server:
    require_error_classes(pool.connection_kwargs)
    # Set here because redis-py lets the options of the URL win over arguments.
    kind: Any = with_limited_handshake(pool.connection_class)
    pool.connection_class = with_guarded_connect(kind, _translated)
    pool.connection_kwargs |= {
        "decode_responses": False,
        "encoding": "utf-8",
        "encoding_errors": "strict",
        "protocol": 2,
    }
    pool.connection_kwargs.pop("legacy_responses", None)
    if pool.connection_kwargs.get("ssl_cert_reqs") == "none":
        # What is not looked at can't be of a host; ssl refuses to be asked for it.
        pool.connection_kwargs["ssl_check_hostname"] = False
    for option in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        file = pool.connection_kwargs.get(option)
        # redis-py would say that it can't reach the server: no such file or directory.
        if file is not None and not os.path.isfile(file):  # noqa: PTH113 - bears a path that can't be one
            raise ConfigurationError(f"The file {file} of {option} does not exist.", "Correct the path.")
    database = pool.connection_kwargs.get("db") or 0
    if str(database) != "0":
        raise ConfigurationError(
            f"The URL selects database {database}, but Redis Search indexes live in database 0.",
            "Use a URL that ends in /0.",
        )
    return Server(redis.Redis.from_pool(pool), url, embedded)


def _address_of(pool: redis.ConnectionPool) -> str:
    """Where a pool connects to, as a URL without credentials."""
    options = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        known = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
        hosts = ",".join(f"{sentinel['host']}:{sentinel['port']}" for sentinel in known)
        return f"sentinel://{hosts}/{pool.service_name}"
    if "path" in options:
        return f"unix://{options['path']}"
    scheme = "rediss" if issubclass(pool.connection_class, redis.SSLConnection) else "redis"
    return f"{scheme}://{options.get('host', 'localhost')}:{options.get('port', 6379)}/0"


def _hint_to_reach(url: str, reason: str) -> str:
    """What to look at where no connection came about."""
    if "certificate is not valid for" in reason:
        return "Use a name of the certificate in the URL, or ssl_check_hostname=false."
    if "_ssl.c" in reason and "WRONG_VERSION_NUMBER" not in reason:
        return "Check ssl_ca_certs, ssl_certfile and ssl_keyfile, in the settings or the URL."
    if url.startswith("rediss:"):
        # A Redis without TLS waits for the end of a line, and ours for its part of the handshake.
        return "Check the URL and that the server runs, with TLS on that port; without TLS it is redis://."
    if url.startswith("redis:") and ("reset by peer" in reason or "closed by server" in reason):
        return "Check the URL and that the server runs; where its port is one for TLS, it is rediss://."
    return "Check the URL and that the server runs."


def _translated(error: redis.RedisError) -> RedisMigrateError | None:
    return translate(error, "")


def translate(error: redis.RedisError, url: str) -> RedisMigrateError | None:  # noqa: C901 - a table
    """Our error for one of redis-py's; None for a command that the server refused for its own reasons."""
    # What EXEC itself is refused for, as when no memory is left by then, stands behind that.
    text = text_of(error).removeprefix("EXECABORT ").removeprefix("Transaction discarded because of: ")
    if isinstance(error, redis.AuthenticationError) or text.startswith(("WRONGPASS", "NOAUTH")):
        return AuthenticationFailed(
            f"Redis at {url} refuses the user name or the password.", "Check the credentials in the URL."
        )
    if isinstance(error, redis.exceptions.NoPermissionError) or text.startswith("NOPERM"):
        return AuthenticationFailed(
            f"The Redis user lacks a right: {text.removeprefix('NOPERM ')}",
            _PREFIX_RIGHTS if _FORBIDDEN_INDEX in text else _OTHER_RIGHTS,
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
        return ConnectionFailed(f"Can't reach Redis at {url}: {reason}.", _hint_to_reach(url, reason))
    if "unknown command" in text and "FT." in text.upper():
        return SearchMissing(
            "This Redis has no Search module.", "Use Redis 8, Redis Stack, or load redisearch.so."
        )
    if _NO_MEMORY_TO_SEARCH in text:
        return ServerOutOfMemory(
            f"Redis at {url} uses more memory than its maxmemory and answers no queries.",
            "Free memory or raise maxmemory, then run the same command again.",
        )
    if text.startswith("OOM") or isinstance(error, redis.exceptions.OutOfMemoryError):
        return ServerOutOfMemory(
            f"Redis at {url} uses more memory than its maxmemory and takes no writes.",
            "Free memory or raise maxmemory, then run the same command again.",
        )
    if isinstance(error, _OF_SEVERAL_SHARDS) or text.startswith("CROSSSLOT"):
        return ClusterUnsupported(
            f"Redis at {url} is one of several shards of a cluster, which this version can't migrate.",
            "Use a single server, or a cluster of one shard.",
        )
    if text.startswith(_NOT_READY) or isinstance(error, _NOT_READY_ERRORS):
        return ServerError(f"Redis at {url} is not ready: {text}", "Try again when it is.")
    return None
