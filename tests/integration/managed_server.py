"""A user who may run nothing that Redis Software and Redis Cloud lack, and a look at the keys of scripts."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

USER, PASSWORD = "managed", "pw"
# FT.DEBUG has other names from server to server, and FT.ALIASLIST is not there before 8.10.
ABSENT = (
    *("debug", "config", "role", "replicaof", "slaveof", "memory", "client|pause", "acl|setuser", "acl|log"),
    *("ft.config", "ft.debug", "_ft.debug", "ft.aliaslist"),
)
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_BY_SCRIPT = re.compile(rb"^[\d.]+ \[\d+ lua\]")
_SCRIPTED = frozenset({b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"})


def create_user(client: redis.Redis) -> None:
    """Make the user, who may run all commands of this server but those that are absent."""
    rules = [f"-{name}" for name in ABSENT if _is_known(client, name)]
    client.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all", *rules)


def url_of_user(url: str) -> str:
    """The URL by which that user reaches a server."""
    return url.replace("://", f"://{USER}:{PASSWORD}@", 1)


@contextmanager
def as_managed(shop: Shop) -> Iterator[Shop]:
    """The shop as that user reaches it; at the end no script has touched a key that it did not declare."""
    create_user(shop.client)
    configuration = shop.folder / "redismigrate.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace(f'"{shop.url}"', f'"{url_of_user(shop.url)}"'))
    assert USER in configuration.read_text()
    try:
        with undeclared_keys(shop.client) as undeclared:
            yield shop
        assert undeclared == [], undeclared[:5]
    finally:
        shop.client.execute_command("ACL", "DELUSER", USER)


@contextmanager
def undeclared_keys(client: redis.Redis) -> Iterator[list[str]]:
    """What scripts do meanwhile to keys that are not among their KEYS; names of indexes aside.

    The list is complete when the block ends.
    """
    found: list[str] = []
    end = b"end %d" % time.monotonic_ns()
    pool = client.connection_pool
    # Nothing to tell for a while is no fault.
    connection: Any = pool.connection_class(**{**pool.connection_kwargs, "socket_timeout": None})
    connection.connect()
    connection.send_command("MONITOR")
    connection.read_response()
    seen = _KeysOfScripts(client)

    def read() -> None:
        while True:
            line = connection.read_response()
            if end in line:
                return
            found.extend(seen.undeclared_in(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield found
    finally:
        client.echo(end)
        reader.join(timeout=120)
        connection.disconnect()
    assert not reader.is_alive()


class _KeysOfScripts:
    """Compares what MONITOR tells of a script's commands, right behind its own, with its KEYS."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._places: dict[bytes, tuple[int, int, int]] = {}
        self._declared: frozenset[bytes] = frozenset()

    def undeclared_in(self, line: bytes) -> list[str]:
        """The commands in a line of MONITOR that touch other keys, at most one."""
        is_by_script = _BY_SCRIPT.match(line)
        if not is_by_script and b'"eval' not in line[:200].lower() and b'"fcall' not in line[:200].lower():
            return []
        # Lazily: behind the keys come documents, of any length.
        words = (found[1] for found in _WORD.finditer(line))
        name = next(words).upper()
        if not is_by_script:
            if name in _SCRIPTED:
                _, count = next(words), next(words)
                self._declared = frozenset(islice(words, int(count)))
            return []
        if name.startswith(b"FT."):
            return []
        first, last, step = self._places_of(name)
        if not first:
            return []
        arguments = list(words if last < 0 else islice(words, last))
        touched = arguments[first - 1 : len(arguments) if last < 0 else last : step]
        return [f"{name.decode()} {key.decode()}"[:200] for key in touched if key not in self._declared]

    def _places_of(self, name: bytes) -> tuple[int, int, int]:
        """Where the keys of a command stand: first, last, and how far apart."""
        if name not in self._places:
            (about,) = self._client.execute_command("COMMAND", "INFO", name).values()
            self._places[name] = (about["first_key_pos"], about["last_key_pos"], about["step_count"])
        return self._places[name]


def _is_known(client: redis.Redis, name: str) -> bool:
    try:
        client.execute_command("ACL", "SETUSER", USER, f"-{name}")
    except redis.ResponseError:  # no such command
        return False
    return True
