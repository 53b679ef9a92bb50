"""What the connected server is and can do, read from one INFO reply and its Search configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from redismigrate.errors import ClusterUnsupported, EvictableState, ReplicaRefused, SearchMissing

# First Search version that knows a vector type or algorithm (measured on 7.4.1 and 8.0 to 8.2 servers).
FIRST_SEARCH_WITH: Mapping[str, tuple[int, int]] = {
    "INT8": (8, 0),
    "UINT8": (8, 0),
    "SVS-VAMANA": (8, 2),
}

# From its sources.
FIRST_ALIAS_LIST = (8, 10, 0)
_NO_INDEX = "redismigrate:no-index"
_PARTIAL_UPDATES = "search-partial-indexed-docs"


@dataclass(frozen=True)
class Capabilities:
    """The server as far as it matters to a plan.

    Attributes:
        redis_version: As INFO says, for example "7.4.1".
        search_version: (major, minor, patch) of the Search module; None when it is not loaded.
        has_json: RedisJSON is loaded.
        role: "master" or "slave".
        is_cluster: Cluster mode is enabled.
        has_search_coordinator: Any node of the cluster answers for all of them (Redis 8).
        maxmemory: Bytes; 0 is no limit.
        maxmemory_policy: As INFO says.
        used_memory: Bytes.
        ignores_partial_updates: PARTIAL_INDEXED_DOCS is on: writes to `field AS name` may not be indexed.
        lists_aliases: FT.ALIASLIST is there, and this user may ask it.
    """

    redis_version: str
    search_version: tuple[int, int, int] | None
    has_json: bool
    role: str
    is_cluster: bool
    has_search_coordinator: bool
    maxmemory: int
    maxmemory_policy: str
    used_memory: int
    ignores_partial_updates: bool
    lists_aliases: bool = False

    @property
    def runs_search_in_scripts(self) -> bool:
        """FT.* may be called in Lua; a cluster's coordinator says "Cannot block" there."""
        return not self.is_cluster

    @property
    def forgets_renames(self) -> bool:
        """Whether it may not know the name of a renamed hash of which fields have expired (seen on 7.4.1)."""
        return self.redis_version.startswith("7.4.")

    @property
    def may_answer_with_nothing(self) -> bool:
        """At maxmemory every query finds nothing, without an error, unless `search-on-oom` says otherwise."""
        return self.search_version is not None and self.search_version >= (8, 4, 0)

    @property
    def crashes_on_wide_text_without_fields(self) -> bool:
        """With MAXTEXTFIELDS and NOFIELDS the server ends at the first text it indexes (seen on 2.10.5)."""
        return self.search_version is not None and self.search_version < (8, 0, 0)

    def lacking(self, feature: str) -> str | None:
        """Why a vector type or algorithm can't be used here; None when it can."""
        needed = FIRST_SEARCH_WITH.get(feature)
        if needed is None or self.search_version is None or self.search_version[:2] >= needed:
            return None
        have = ".".join(map(str, self.search_version))
        return f"{feature} needs Redis Search {needed[0]}.{needed[1]} or newer, this server has {have}"

    def require_search(self) -> None:
        """Raise unless the server can hold indexes that see all documents.

        Raises:
            SearchMissing: The Search module is not loaded.
            ClusterUnsupported: A cluster whose shards each know only their own documents.
        """
        if self.search_version is None:
            raise SearchMissing(
                f"This Redis {self.redis_version} has no Search module.",
                "Use Redis 8, Redis Stack, or load redisearch.so.",
            )
        if self.is_cluster and not self.has_search_coordinator:
            raise ClusterUnsupported(
                "This cluster has no search coordinator: an index would see the documents of one shard only.",
                "Use Redis 8 or Redis Enterprise for a cluster, or a single server.",
            )

    def require_writable(self, allow_evictable_state: bool) -> None:
        """Raise unless state can be written and will stay.

        Raises:
            ReplicaRefused: The server is a replica.
            EvictableState: Its policy evicts keys that have no TTL.
        """
        self.require_search()
        if self.role != "master":
            raise ReplicaRefused(
                "This server is a replica; a migration there would diverge from its master.",
                "Give the URL of the master.",
            )
        if self.maxmemory_policy.startswith("allkeys-") and not allow_evictable_state:
            raise EvictableState(
                f"This server may evict the record of migrations (maxmemory-policy {self.maxmemory_policy}).",
                "Use a noeviction or volatile-* policy, or say --allow-evictable-state.",
            )


def read_capabilities(execute: Callable[..., Any]) -> Capabilities:
    """Ask the server; needs the right to run INFO, everything else is optional.

    Args:
        execute: `redis.Redis.execute_command` of a client that does not decode.
    """
    info = _parse_info(execute("INFO", "everything"))
    modules = info["modules"]
    is_cluster = info["cluster_enabled"] == "1"
    return Capabilities(
        redis_version=info["redis_version"],
        search_version=modules.get("search"),
        has_json="ReJSON" in modules,
        role=info["role"],
        is_cluster=is_cluster,
        has_search_coordinator=is_cluster and _answers(execute, "SEARCH.CLUSTERINFO"),
        maxmemory=int(info.get("maxmemory", 0)),
        maxmemory_policy=info.get("maxmemory_policy", "noeviction"),
        used_memory=int(info.get("used_memory", 0)),
        ignores_partial_updates=_ignores_partial_updates(execute) if "search" in modules else False,
        lists_aliases=_lists_aliases(execute, modules.get("search")),
    )


def _parse_info(reply: Any) -> dict[str, Any]:
    """INFO as a flat dict, `modules` as name -> version. redis-py may have parsed the reply already."""
    info: dict[str, Any] = {"modules": {}}
    if isinstance(reply, Mapping):
        info.update({_text(key): _text(value) for key, value in reply.items() if key != "modules"})
        modules = [(_text(module["name"]), int(module["ver"])) for module in reply.get("modules", ())]
    else:
        modules = []
        for line in _text(reply).splitlines():
            name, separator, value = line.partition(":")
            if name == "module":
                module = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
                modules.append((module["name"], int(module["ver"])))
            elif separator:
                info[name] = value
    for name, version in modules:
        info["modules"][name] = (version // 10_000, version // 100 % 100, version % 100)
    return info


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _answers(execute: Callable[..., Any], *command: str) -> bool:
    try:
        execute(*command)
    except redis.ResponseError:
        return False
    return True


def _lists_aliases(execute: Callable[..., Any], search_version: tuple[int, int, int] | None) -> bool:
    # Redis Software of that version lacks it, so it is tried; of older ones nobody has to be asked.
    if search_version is None or search_version < FIRST_ALIAS_LIST:
        return False
    try:
        execute("FT.ALIASLIST", _NO_INDEX)
    except redis.exceptions.NoPermissionError:
        return False
    except redis.ResponseError as error:
        return "unknown command" not in str(error).lower()
    return True


def _ignores_partial_updates(execute: Callable[..., Any]) -> bool:
    # Redis 8 has its settings among the server's, and in a cluster there only. An ACL may forbid both.
    for command in (("FT.CONFIG", "GET", "PARTIAL_INDEXED_DOCS"), ("CONFIG", "GET", _PARTIAL_UPDATES)):
        try:
            reply = execute(*command)
        except redis.ResponseError:
            continue
        return not {b"true", b"yes"}.isdisjoint(_flatten(reply))
    return False


def _flatten(reply: Any) -> list[bytes]:
    if isinstance(reply, Mapping):
        reply = [*reply.keys(), *reply.values()]
    if isinstance(reply, list | tuple):
        return [item for part in reply for item in _flatten(part)]
    return [_text(reply).lower().encode()]
