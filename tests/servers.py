"""What the server that the tests run on has and does, found out by trying it on one started for that.

A test says what it is about with `@pytest.mark.needs("…")` and `@pytest.mark.lacks("…")`, by names of
`TRAITS`; on another server it is skipped with that reason. No version is asked for, so newer ones are served.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import redis

from redismigrate.redis_server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable

# Redis 8 has the second one, and refuses it unless `enable-debug-command` says otherwise.
DEBUG_COMMANDS = ("FT.DEBUG", "_FT.DEBUG")
_VECTOR = ("TYPE", "FLOAT32", "DIM", "4", "DISTANCE_METRIC", "L2")


def debug_command() -> str:
    """The name that the server of the tests has for the debugging command of Redis Search."""
    return DEBUG_COMMANDS[not server_has("ft.debug")]


def debug_search(client: redis.Redis, *arguments: Any) -> Any:
    """The reply of that command."""
    execute: Any = client.execute_command
    return execute(debug_command(), *arguments)


def accepts(client: redis.Redis, *command: Any) -> bool:
    """Whether the server does not refuse a command."""
    execute: Any = client.execute_command
    try:
        execute(*command)
    except redis.ResponseError:
        return False
    return True


def _creates(client: redis.Redis, *arguments: Any) -> bool:
    return accepts(client, "FT.CREATE", "i", *arguments)


def _has_debug(client: redis.Redis) -> bool:
    # HELP is answered even where all else is refused.
    _creates(client, "TEMPORARY", "100", "SCHEMA", "t", "TEXT")
    try:
        debug_search(client, "TTL", "i")
    except redis.ResponseError:
        return False
    return True


def _calls_it_ft_debug(client: redis.Redis) -> bool:
    return accepts(client, DEBUG_COMMANDS[0], "HELP")


def _has_int8(client: redis.Redis) -> bool:
    return _creates(client, "SCHEMA", "v", "VECTOR", "FLAT", "6", "TYPE", "INT8", *_VECTOR[2:])


def _has_svs(client: redis.Redis) -> bool:
    return _creates(client, "SCHEMA", "v", "VECTOR", "SVS-VAMANA", "6", *_VECTOR)


def _crashes(client: redis.Redis, *command: Any) -> bool:
    try:
        accepts(client, *command)
        client.ping()
    except redis.ConnectionError:
        return True
    return False


def _crashes_at_one_edge(client: redis.Redis) -> bool:
    many = ("FT.CREATE", "i", "SCHEMA", "v", "VECTOR", "HNSW", "8", *_VECTOR, "M", "1")
    return _crashes(client, *many) or _crashes(client, "FT.INFO", "i")


def _crashes_on_details_of_a_tag(client: redis.Redis) -> bool:
    _creates(client, "SCHEMA", "t", "TAG")
    return any(_crashes(client, command, "VECSIM_INFO", "i", "t") for command in DEBUG_COMMANDS)


def _crashes_on_wide_text(client: redis.Redis) -> bool:
    if not _creates(client, "MAXTEXTFIELDS", "NOFIELDS", "SCHEMA", "t", "TEXT"):
        return False
    return _crashes(client, "HSET", "a", "t", "x")


def _keeps_any_bytes(client: redis.Redis) -> bool:
    """Whether words that are no UTF-8 stay as they are among stopwords and synonyms."""
    execute: Any = client.execute_command
    _creates(client, "STOPWORDS", "1", b"caf\xe9", "SCHEMA", "t", "TEXT")
    info = execute("FT.INFO", "i")
    return bool(info[info.index(b"stopwords_list") + 1] == [b"caf\xe9"])


def _logs_refused_names(client: redis.Redis) -> bool:
    """Whether ACL LOG has the name, as it was asked for, of an index that a user may not query."""
    _creates(client, "SCHEMA", "t", "TEXT")
    client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~other*", "+@all")  # type: ignore[no-untyped-call]
    other = {**client.connection_pool.connection_kwargs, "username": "reader", "password": "word"}
    pool = redis.ConnectionPool(connection_class=client.connection_pool.connection_class, **other)
    with redis.Redis.from_pool(pool) as reader:
        accepts(reader, "FT.SEARCH", "i", "shoe")
    return any(entry["object"] == "i" for entry in client.acl_log())  # type: ignore[attr-defined]


def _refuses_large_blocks(client: redis.Redis) -> bool:
    client.config_set("maxmemory", "50mb")
    large = ("TYPE", "FLOAT32", "DIM", "3072", "DISTANCE_METRIC", "L2", "BLOCK_SIZE", "1024")
    return not _creates(client, "SCHEMA", "v", "VECTOR", "FLAT", "8", *large)


def _indexes_all(client: redis.Redis) -> bool:
    return _creates(client, "INDEXALL", "ENABLE", "SCHEMA", "t", "TEXT")


def _coordinates(client: redis.Redis) -> bool:
    return accepts(client, "SEARCH.CLUSTERINFO")


def _starts_small(client: redis.Redis) -> bool:
    """Whether an index over one document takes less than a plan tells."""
    execute: Any = client.execute_command
    client.hset("a", "t", "x")
    _creates(client, "SCHEMA", "t", "TAG")
    info = execute("FT.INFO", "i")
    return bool(float(info[info.index(b"total_index_memory_sz_mb") + 1]) < 0.001)


def _finds_nothing_of_unknown_fields(client: redis.Redis) -> bool:
    """Whether a query about a field that the index lacks finds nothing; else it is an error."""
    _creates(client, "SCHEMA", "t", "TAG")
    return accepts(client, "FT.SEARCH", "i", "@u:[1 2]", "DIALECT", "2")


def _makes_wide_text(client: redis.Redis) -> bool:
    return _creates(client, "MAXTEXTFIELDS", "NOFIELDS", "SCHEMA", "t", "TEXT")


def _bears_settings_of_tls(client: redis.Redis) -> bool:
    """Redis 8.0 without TLS has them and ends where they are set."""
    return not _crashes(client, "CONFIG", "SET", "tls-ca-cert-file", "/none", "tls-port", "1")


TRAITS: dict[str, tuple[str, Callable[[redis.Redis], bool]]] = {
    "search debugging": ("a debugging command of Redis Search that answers", _has_debug),
    "ft.debug": ("FT.DEBUG by that name", _calls_it_ft_debug),
    "integer vectors": ("INT8 and UINT8", _has_int8),
    "svs-vamana": ("SVS-VAMANA", _has_svs),
    "crash at one edge": ("a crash where M is out of bounds", _crashes_at_one_edge),
    "crash on details of a tag": ("a crash where a tag is asked for a graph", _crashes_on_details_of_a_tag),
    "crash on wide text": ("a crash with MAXTEXTFIELDS and NOFIELDS", _crashes_on_wide_text),
    "search coordinator": ("a coordinator of Search for clusters", _coordinates),
    "small indexes": ("indexes that begin with next to no memory", _starts_small),
    "unknown fields": ("queries for unknown fields that find nothing", _finds_nothing_of_unknown_fields),
    "indexall": ("INDEXALL", _indexes_all),
    "maxtextfields with nofields": ("MAXTEXTFIELDS with NOFIELDS", _makes_wide_text),
    "refusal of large blocks": ("a limit of BLOCK_SIZE that is told", _refuses_large_blocks),
    "words of any bytes": ("stopwords and synonyms of any bytes", _keeps_any_bytes),
    "settings of tls": ("settings of TLS that can be set without ending it", _bears_settings_of_tls),
    "refused names": ("the names of indexes in ACL LOG", _logs_refused_names),
}


@cache
def server_has(trait: str) -> bool:
    """Whether the server of the tests has what is called so in `TRAITS`; tried once in a process."""
    with EmbeddedServer() as server, redis.Redis.from_url(server.url, protocol=2) as client:
        return TRAITS[trait][1](client)


def why_skipped(needed: list[str], lacked: list[str]) -> str | None:
    """Why a test is not for this server; None: it is."""
    for trait in needed:
        if not server_has(trait):
            return f"this server lacks {TRAITS[trait][0]}"
    for trait in lacked:
        if server_has(trait):
            return f"this server has {TRAITS[trait][0]}"
    return None
