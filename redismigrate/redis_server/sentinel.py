"""Connections to the master of a service that Redis Sentinel watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import redis
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from redismigrate.redis_server.handshake import with_limited_handshake

DEFAULT_PORT = 26379
# Of a URL's query, for the sentinels themselves; what else it says is for the master.
_SENTINEL_PREFIX = "sentinel_"
# Of the master's options those that the way to the sentinels shares.
_SHARED_PREFIXES = ("socket_", "ssl")
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class Sentinels(Sentinel):
    """Owns the connections to the sentinels of one URL.

    redis-py's own class tells of no reason why a sentinel gave no answer, but of all its options.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master, as the first sentinel knows it that answers.

        Raises:
            MasterNotFoundError: No sentinel knows one; the text says why, sentinel by sentinel.
        """
        reasons = []
        for sentinel in self.sentinels:
            options = sentinel.connection_pool.connection_kwargs
            address = f"{options['host']}:{options['port']}"
            try:
                masters: Any = sentinel.sentinel_masters()
            except redis.AuthenticationError:
                reasons.append(f"{address} refuses the user name or the password of sentinels")
            except (redis.ConnectionError, redis.TimeoutError):
                reasons.append(f"{address} can't be reached")
            except redis.ResponseError as error:
                reasons.append(f"{address} answers {error}")
            else:
                state = masters.get(service_name)
                if state is None:
                    reasons.append(f"{address} knows no {service_name}")
                elif not self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                    reasons.append(f"{address} says that the master is down")
                else:
                    return state["ip"], state["port"]
        raise MasterNotFoundError(f"no sentinel knows its master: {'; '.join(reasons)}")


def sentinel_pool(url: str, tls: Mapping[str, Any], retry: Retry, **options: Any) -> SentinelConnectionPool:
    """The pool of connections to the master that a URL names; no sentinel is asked yet.

    Args:
        url: sentinel://user:password@host:port,host:port/service/0, where user and password are those of the
            master. In the query `ssl=true` asks for TLS, to the sentinels as well; `sentinel_username` and
            `sentinel_password` are theirs; what else stands there is as in redis-py's URLs.
        tls: Options that begin with ssl_, for what the query does not say.
        retry: Of every connection.
        options: Of redis-py's connections; those of the query win.

    Raises:
        ValueError: The URL can't be understood.
    """
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not hosts or not service or "/" in database:
        raise ValueError("hosts or the service are missing")
    master = _parsed(parts, f"{credentials}{at}", f"/{database or 0}")
    for of_the_url in ("connection_class", "host", "port"):
        master.pop(of_the_url, None)
    uses_tls = _boolean(master.pop("ssl", "false"))
    own = {
        name.removeprefix(_SENTINEL_PREFIX): master.pop(name)
        for name in [*master]
        if name.startswith(_SENTINEL_PREFIX)
    }
    if own.keys() - {"username", "password"}:
        raise ValueError("unknown options of sentinels")
    master = {**options, **(tls if uses_tls else {}), **master, "retry": retry}
    shared = {name: value for name, value in master.items() if name.startswith(_SHARED_PREFIXES)}
    sentinels = Sentinels(  # type: ignore[no-untyped-call]
        [_host_and_port(host) for host in hosts.split(",")],
        sentinel_kwargs={**shared, "ssl": uses_tls, "retry": retry, "protocol": 2, **own},
    )
    for sentinel in sentinels.sentinels:
        pool = sentinel.connection_pool
        pool.connection_class = with_limited_handshake(pool.connection_class)
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        unquote(service), sentinels, ssl=uses_tls, **master
    )


def _parsed(parts: SplitResult, credentials: str, path: str) -> dict[str, Any]:
    """Credentials, database and query as redis-py reads them in a URL of its own."""
    url = parts._replace(scheme="redis", netloc=f"{credentials}localhost", path=path).geturl()
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if parts.hostname is None:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or DEFAULT_PORT


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("ssl is neither true nor false")
    return text.lower() in _TRUE
