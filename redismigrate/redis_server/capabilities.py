"""What the connected server is and can do, by INFO, its Search configuration and what trying tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import redis

from redismigrate.errors import ClusterUnsupported, EvictableState, ReplicaRefused, SearchMissing
from redismigrate.redis_server.loaded_modules import Version, as_version, look_at_modules
from redismigrate.redis_server.probes import knows_command, reaches_all_slots

Profile = Literal["auto", "managed"]

# Only for the hint: whether a server has them, trying tells (`probes.knows_feature`).
_FIRST_SEARCH_WITH: Mapping[str, str] = {"INT8": "8.0", "UINT8": "8.0", "SVS-VAMANA": "8.2"}
# Without these no index is changed with search up, nor the names moved in one step.
NEEDED_COMMANDS = ("FT.ALTER", "FT.ALIASUPDATE")
_LISTS_ALIASES = "FT.ALIASLIST"
# What Redis Software and Redis Cloud don't have. A server may answer one of these with anything; a proxy may
# count it, or raise an alarm.
_ABSENT_WHERE_MANAGED = frozenset(
    {"CONFIG", "FT.CONFIG", "DEBUG", "FT.DEBUG", "_FT.DEBUG", "FT.ALIASLIST", "ROLE", "MEMORY", "REPLICAOF"}
)
# How long the server sleeps between the steps of its own builds; the only setting that is ever changed.
BUILD_SLEEP_SETTING = "search-bg-index-sleep-duration-us"
_PARTIAL, _ON_OOM, _WORKERS = "partial updates", "queries at maxmemory", "workers"
_SETTINGS = {
    _PARTIAL: (
        ("FT.CONFIG", "GET", "PARTIAL_INDEXED_DOCS"),
        ("CONFIG", "GET", "search-partial-indexed-docs"),
    ),
    _WORKERS: (("CONFIG", "GET", "search-workers"), ("FT.CONFIG", "GET", "WORKERS")),
    _ON_OOM: (("CONFIG", "GET", "search-on-oom"), ("FT.CONFIG", "GET", "ON_OOM")),
}
_YES = frozenset({b"true", b"yes"})
_ABSENT_SUBCOMMANDS = frozenset({("CLIENT", "PAUSE"), ("ACL", "LOG"), ("ACL", "SETUSER")})


@dataclass(frozen=True)
class Standing:
    """What stays as it is as long as a connection lives, so that it is tried once.

    Attributes:
        missing_commands: Those of `NEEDED_COMMANDS` that the server does not know.
        lists_aliases: FT.ALIASLIST is there.
        reaches_all_slots: One script may have any keys; behind a proxy of several shards it may not.
    """

    missing_commands: tuple[str, ...] = ()
    lists_aliases: bool = False
    reaches_all_slots: bool = True


@dataclass(frozen=True)
class Capabilities:
    """The server as far as it matters to a plan.

    Attributes:
        redis_version: As INFO says, for example "7.4.1".
        search_version: (major, minor, patch) of the Search module; None when it is not loaded, or nothing
            tells. For people to read: what the server can do is tried.
        has_json: RedisJSON is loaded.
        role: "master" or "slave".
        is_cluster: Cluster mode is enabled.
        has_search_coordinator: Any node of the cluster answers for all of them (Redis 8).
        maxmemory: Bytes; 0 is no limit.
        maxmemory_policy: As INFO says.
        used_memory: Bytes.
        ignores_partial_updates: PARTIAL_INDEXED_DOCS is on: writes to `field AS name` may not be indexed.
        may_answer_with_nothing: At maxmemory every query may find nothing, without an error: the server has
            `search-on-oom` and it says so, or it does not tell its settings.
        tells_settings: It answers FT.CONFIG or CONFIG; one that answers neither is taken for a managed one.
        search_workers: Threads that build graphs and answer queries beside the server's one, as it is set; 0
            where it has none, or does not tell.
        tells_maxmemory: INFO has it; else nobody can know whether an index fits.
        tells_expiring_fields: INFO says of how many hashes fields expire, or no field can.
        has_search: The Search module is loaded.
        is_search_of_redis_8: Where `search_version` is not told: it can do what came with Redis 8.
        server_name: As INFO says where the server is no Redis: "valkey"; else "redis".
        standing: What was tried.
        lacks: Vector types and algorithms that it turned out not to know.
    """

    redis_version: str
    search_version: Version | None
    has_json: bool
    role: str
    is_cluster: bool
    has_search_coordinator: bool
    maxmemory: int
    maxmemory_policy: str
    used_memory: int
    ignores_partial_updates: bool
    may_answer_with_nothing: bool = False
    tells_settings: bool = True
    search_workers: int = 0
    tells_maxmemory: bool = True
    tells_expiring_fields: bool = True
    has_search: bool = True
    is_search_of_redis_8: bool = False
    server_name: str = "redis"
    standing: Standing = field(default_factory=Standing)
    lacks: frozenset[str] = frozenset()

    @property
    def runs_search_in_scripts(self) -> bool:
        """FT.* may be called in Lua; a cluster's coordinator says "Cannot block" there."""
        return not self.is_cluster

    @property
    def forgets_renames(self) -> bool:
        """Whether it may not know the name of a renamed hash of which fields have expired (seen on 7.4.1).

        By the version: to try it takes an expiry that deletes another key. It was corrected in 8.0.
        """
        return self.redis_version.startswith("7.4.")

    @property
    def lists_aliases(self) -> bool:
        """Whether FT.ALIASLIST is there: the server can say which aliases an index has."""
        return self.standing.lists_aliases

    @property
    def crashes_on_wide_text_without_fields(self) -> bool:
        """With MAXTEXTFIELDS and NOFIELDS the server ends at the first text it indexes (seen on 2.10.5).

        By the version: to try it would end the server. Later ones refuse FT.CREATE.
        """
        return self._has_older_search

    @property
    def keeps_words_of_any_bytes(self) -> bool:
        """A stopword or synonym that is no UTF-8 stays as it is.

        By the version: to try it would take an index. Redis 8 lower-cases characters, takes other bytes for
        the beginning of one and reads on behind the end: each time other bytes come out (seen on 8.2.13).
        """
        return not self.has_search or self._has_older_search

    @property
    def guards_indexes_by_their_keys(self) -> bool:
        """Nobody may use an index who may not read the keys of all its prefixes (seen on 8.2.13).

        By the version: to try it would take an index. It makes such an index all the same.
        """
        return self.has_search and not self._has_older_search

    @property
    def _has_older_search(self) -> bool:
        """Search is older than the one that Redis 8 came with."""
        if self.search_version is None:
            return self.has_search and not self.is_search_of_redis_8
        return self.search_version < (8, 0, 0)

    @staticmethod
    def why_unreadable(prefix: str) -> tuple[str, str]:
        """Why a user may not use an index over keys that he may not read, and what to grant him.

        Args:
            prefix: Of the keys.
        """
        reason = (
            f"the Redis user may not read keys {prefix}*, and this server lets nobody use an index who may "
            "not read all its keys"
        )
        return reason, f"~{prefix}* with ACL SETUSER"

    def lacking(self, feature: str) -> str | None:
        """Why a vector type or algorithm can't be used here; None when it can."""
        if feature not in self.lacks:
            return None
        have = ".".join(map(str, self.search_version or ("an older one",)))
        return f"{feature} needs Redis Search {_FIRST_SEARCH_WITH[feature]} or newer, this server has {have}"

    def require_search(self) -> None:
        """Raise unless the server can hold indexes that see all documents.

        Raises:
            SearchMissing: The Search module is not loaded.
            ClusterUnsupported: A cluster whose shards each know only their own documents, or several shards
                behind a proxy.
        """
        if self.server_name != "redis" and self.standing.missing_commands:
            raise SearchMissing(
                f"This server is {self.server_name.capitalize()} {self.redis_version}, whose search lacks "
                f"{' and '.join(self.standing.missing_commands)}, without which no index can be changed.",
                "Use Redis 8, or Redis Stack.",
            )
        if not self.has_search:
            raise SearchMissing(
                f"This Redis {self.redis_version} has no Search module.",
                "Use Redis 8, Redis Stack, or load redisearch.so.",
            )
        if not self.is_cluster and not self.standing.reaches_all_slots:
            raise ClusterUnsupported(
                "This database has several shards behind a proxy: no script and no transaction can have keys "
                "of two slots.",
                "Use a database of one shard without clustering.",
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


def is_absent_where_managed(command: tuple[Any, ...]) -> bool:
    """Whether Redis Software and Redis Cloud don't have a command."""
    name, *arguments = (_text(word).upper() for word in command[:2])
    return name in _ABSENT_WHERE_MANAGED or (name, *arguments) in _ABSENT_SUBCOMMANDS


def read_capabilities(execute: Callable[..., Any]) -> Capabilities:
    """Ask the server; needs the right to run INFO, everything else is optional.

    Args:
        execute: `redis.Redis.execute_command` of a client that does not decode.

    Returns:
        What it is, without what takes trying, see `try_out`.
    """
    info = parse_info(execute("INFO", "everything"))
    modules = look_at_modules(execute, info["modules"])
    is_cluster = info.get("cluster_enabled") == "1"
    settings = _settings(execute) if modules.has_search else {}
    return Capabilities(
        redis_version=info.get(f"{info['server_name']}_version", info["redis_version"]),
        search_version=modules.search_version,
        has_json=modules.has_json,
        role=info.get("role", "master"),
        is_cluster=is_cluster,
        has_search_coordinator=is_cluster and _answers(execute, "SEARCH.CLUSTERINFO"),
        maxmemory=int(info.get("maxmemory", 0)),
        maxmemory_policy=info.get("maxmemory_policy", "noeviction"),
        used_memory=int(info.get("used_memory", 0)),
        ignores_partial_updates=settings is not None and not _YES.isdisjoint(settings.get(_PARTIAL, ())),
        may_answer_with_nothing=settings is None or b"return" in settings.get(_ON_OOM, ()),
        tells_settings=settings is not None,
        search_workers=_number((settings or {}).get(_WORKERS, ())),
        tells_maxmemory="maxmemory" in info,
        tells_expiring_fields="subexpiry" in info.get("db0", "subexpiry")
        or not knows_command(execute, "HPEXPIRETIME"),
        has_search=modules.has_search,
        is_search_of_redis_8=modules.is_search_of_redis_8,
        server_name=info["server_name"],
    )


def try_out(execute: Callable[..., Any]) -> Standing:
    """Try what INFO does not tell; nothing is read or changed."""
    return Standing(
        tuple(name for name in NEEDED_COMMANDS if not knows_command(execute, name)),
        knows_command(execute, _LISTS_ALIASES),
        reaches_all_slots(execute),
    )


def parse_info(reply: Any) -> dict[str, Any]:
    """INFO as a flat dict, `modules` as name -> version. redis-py may have parsed the reply already."""
    info: dict[str, Any] = {"modules": {}, "server_name": "redis"}
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
        info["modules"][name] = as_version(version)
    return info


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _answers(execute: Callable[..., Any], *command: str) -> bool:
    try:
        execute(*command)
    except redis.ResponseError:
        return False
    return True


def _settings(execute: Callable[..., Any]) -> dict[str, list[bytes]] | None:
    """Settings of Search that matter, as far as the server has them; None where it tells none."""
    # Redis 8 has them among the server's, and in a cluster there only. An ACL may forbid both, and the CONFIG
    # of a service may know a few others only. Every server has the first one.
    found: dict[str, list[bytes]] = {}
    for name, words in _SETTINGS.items():
        for command in words:
            try:
                values = _flatten(execute(*command))
            except redis.ResponseError:
                continue
            if values:
                found[name] = values
                break
    return found or None


def _number(values: Iterable[bytes]) -> int:
    """What stands behind the name of a setting; 0 where it is not told."""
    return next((int(value) for value in values if value.isdigit()), 0)


def _flatten(reply: Any) -> list[bytes]:
    if isinstance(reply, Mapping):
        reply = [*reply.keys(), *reply.values()]
    if isinstance(reply, list | tuple):
        return [item for part in reply for item in _flatten(part)]
    return [_text(reply).lower().encode()]
