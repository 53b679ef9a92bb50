"""Connections whose options nobody has looked at: what they can't be made with is an error of ours."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from redismigrate.errors import ConfigurationError, RedisMigrateError
from redismigrate.foreign_modules import ForeignCode, ForeignFailure, describe

Translate = Callable[[redis.RedisError], RedisMigrateError | None]

# Of a client of others: what its pool has added for itself, and what is ours to say.
_NOT_TAKEN_OVER = ("connection_pool", "himport_registry", "maint_notifications_", "orig_", "retry")
_OURS = frozenset({"command_packer", "parser_class", "event_dispatcher", "encoder_class"})
_REDIS_PYS = (
    redis.Connection,
    redis.SSLConnection,
    redis.UnixDomainSocketConnection,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
# What a connection raises by itself.
PASSES: tuple[type[BaseException], ...] = (redis.RedisError, OSError, RedisMigrateError)
_QUOTED = ", with args beginning with"
_HINT = "Correct the options of the URL, or of the client that env.py makes."


def options_taken_over(options: Mapping[str, Any], connect_timeout: float) -> dict[str, Any]:
    """The options of a client of others that hold for a connection of ours.

    Args:
        options: Those of its pool.
        connect_timeout: Seconds for connecting where it has no limit that can be one.
    """
    taken = {
        name: value
        for name, value in options.items()
        if name not in _OURS and not name.startswith(_NOT_TAKEN_OVER)
    }
    limit = taken.get("socket_connect_timeout")
    is_limit = isinstance(limit, int | float) and math.isfinite(limit) and limit > 0
    return {**taken, "socket_connect_timeout": limit if is_limit else connect_timeout}


@functools.cache
def with_guarded_connect(kind: type[Any], translate: Translate) -> type[Any]:
    """A class of connections whose `connect` raises errors that can be told, and no others.

    Ports, timeouts and names of any type are looked at only then, and functions of others are called:
    providers of credentials, callbacks.

    Args:
        kind: A class of connections of redis-py, or of others.
        translate: Our error for one of redis-py; None for one that is no usual one.
    """

    class GuardedConnection(kind):  # type: ignore[misc]
        def connect(self, *arguments: Any, **more: Any) -> Any:
            # redis-py calls it before every command: a class of its own does nothing while it is connected.
            if kind in _REDIS_PYS and self._sock is not None:
                return None
            with ForeignCode(_refused, PASSES):
                try:
                    return super().connect(*arguments, **more)
                except redis.RedisError as error:
                    # What is said at first can't be sent, or the server refuses it: a name with a space.
                    if translate(error) is None:
                        # A server quotes what it does not know, HELLO with the password among it.
                        told = describe(error).partition(_QUOTED)[0]
                        raise refused_options(told) from None
                    raise

    return GuardedConnection


def require_error_classes(options: Mapping[str, Any]) -> None:
    """Refuse what redis-py would catch as errors and can't: it finds that at the first error only.

    Args:
        options: Those of a pool. A URL can say no classes, but anything in their place.

    Raises:
        ConfigurationError: There is something that is no class of errors.
    """
    try:
        found = tuple(options.get("retry_on_error") or ())
    except TypeError:
        found = (None,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in found):
        raise refused_options("retry_on_error has something that is no class of errors")


def refused_options(reason: str) -> ConfigurationError:
    """The error about options that no connection can be made with."""
    return ConfigurationError(f"No connection can be made with these options ({reason}).", _HINT)


def _refused(failure: ForeignFailure) -> ConfigurationError:
    return refused_options(failure.reason)
