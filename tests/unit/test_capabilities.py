"""What a server says of itself, in replies as servers give them that can't be run here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis._parsers import BaseParser

from redismigrate.errors import ClusterUnsupported, SearchMissing
from redismigrate.redis_server.capabilities import Capabilities, Standing, read_capabilities, try_out

# As a server 8.4 says, without what nobody asks for.
INFO = """# Server\r
redis_version:8.4.0\r
redis_mode:standalone\r
# Memory\r
used_memory:1048576\r
maxmemory:2097152\r
maxmemory_policy:noeviction\r
# Replication\r
role:master\r
# Cluster\r
cluster_enabled:0\r
# Modules\r
module:name=timeseries,ver=80400,api=1,filters=0,usedby=[],using=[],options=[handle-io-errors]\r
module:name=ReJSON,ver=80400,api=1,filters=0,usedby=[search],using=[],options=[handle-io-errors]\r
module:name=search,ver=80402,api=1,filters=0,usedby=[],using=[ReJSON],options=[handle-io-errors]\r
# Keyspace\r
db0:keys=1,expires=0,avg_ttl=0,subexpiry=0\r
"""
CLUSTER = INFO.replace("cluster_enabled:0", "cluster_enabled:1")


def capabilities(info: str = INFO, **replies: Any) -> Capabilities:
    """Of a server that gives these replies, by the command with underscores, and knows no other command."""

    def execute(*command: str) -> Any:
        if command[0] == "INFO":
            return info.encode()
        reply = replies.get("_".join(command).replace(".", "_").replace("-", "_"))
        if reply is None:
            raise redis.ResponseError(f"unknown command '{command[0]}', with args beginning with: ")
        return reply

    return read_capabilities(execute)


def test_the_modules_of_redis_8_are_read():
    found = capabilities()

    assert (found.redis_version, found.search_version, found.has_json) == ("8.4.0", (8, 4, 2), True)
    assert (found.maxmemory, found.used_memory, found.role) == (2097152, 1048576, "master")


@pytest.mark.parametrize(
    ("replies", "may"),
    [
        ({"CONFIG_GET_search_on_oom": [b"search-on-oom", b"return"]}, True),
        ({"CONFIG_GET_search_on_oom": {"search-on-oom": "fail"}}, False),
        ({"FT_CONFIG_GET_ON_OOM": [[b"ON_OOM", b"return"]]}, True),
        ({"FT_CONFIG_GET_PARTIAL_INDEXED_DOCS": [[b"PARTIAL_INDEXED_DOCS", b"false"]]}, False),
        ({"CONFIG_GET_search_on_oom": [], "CONFIG_GET_search_partial_indexed_docs": []}, True),
        ({}, True),
    ],
)
def test_queries_at_maxmemory_may_find_nothing_where_the_setting_says_so_or_is_not_told(replies, may):
    assert capabilities(**replies).may_answer_with_nothing is may


@pytest.mark.parametrize(
    ("replies", "ignores"),
    [
        ({}, False),
        ({"FT_CONFIG_GET_PARTIAL_INDEXED_DOCS": [[b"PARTIAL_INDEXED_DOCS", b"true"]]}, True),
        ({"FT_CONFIG_GET_PARTIAL_INDEXED_DOCS": [[b"PARTIAL_INDEXED_DOCS", b"false"]]}, False),
        ({"FT_CONFIG_GET_PARTIAL_INDEXED_DOCS": {b"PARTIAL_INDEXED_DOCS": b"true"}}, True),
        ({"CONFIG_GET_search_partial_indexed_docs": [b"search-partial-indexed-docs", b"yes"]}, True),
        ({"CONFIG_GET_search_partial_indexed_docs": {"search-partial-indexed-docs": "yes"}}, True),
        ({"CONFIG_GET_search_partial_indexed_docs": [b"search-partial-indexed-docs", b"no"]}, False),
        ({"CONFIG_GET_search_partial_indexed_docs": []}, False),
    ],
)
def test_a_setting_of_search_is_asked_of_search_or_of_the_server(replies, ignores):
    assert capabilities(**replies).ignores_partial_updates is ignores


@pytest.mark.parametrize(
    ("replies", "workers"),
    [
        ({"CONFIG_GET_search_workers": [b"search-workers", b"8"]}, 8),
        ({"FT_CONFIG_GET_WORKERS": {b"WORKERS": b"2"}}, 2),
        ({"CONFIG_GET_search_workers": []}, 0),
        ({}, 0),
    ],
)
def test_the_threads_that_build_graphs_are_what_is_set_and_no_version_s_default(replies, workers):
    assert capabilities(**replies).search_workers == workers


def test_an_info_that_lacks_what_services_leave_out_is_no_error():
    found = capabilities("redis_version:7.4.0\r\n", FT__LIST=[])

    assert (found.has_search, found.search_version) == (True, None)
    assert (found.role, found.is_cluster, found.tells_maxmemory) == ("master", False, False)
    found.require_writable(allow_evictable_state=False)


UNTOLD = "redis_version:8.2.0\r\n"
GREETING = [
    b"server",
    b"redis",
    b"modules",
    [[b"name", b"search", b"ver", 80213], [b"name", b"ReJSON", b"ver", 1]],
]
WITHOUT = [b"server", b"redis", b"modules", []]
RESP3 = {
    b"server": b"redis",
    b"modules": [{b"name": b"search", b"ver": 21005}, {b"name": b"ReJSON", b"ver": 1}],
}
INT8_IS_KNOWN = "Invalid field type for field `w`"
INT8_IS_UNKNOWN = "Bad arguments for vector similarity FLAT index type: Unknown argument"


@pytest.mark.parametrize(
    ("greeting", "int8", "version", "is_older"),
    [
        (GREETING, None, (8, 2, 13), False),
        (RESP3, None, (2, 10, 5), True),
        (WITHOUT, INT8_IS_KNOWN, None, False),
        (None, INT8_IS_KNOWN, None, False),
        (None, INT8_IS_UNKNOWN, None, True),
    ],
)
def test_where_info_has_no_modules_hello_tells_them_or_trying(
    greeting: Any, int8: str | None, version: tuple[int, int, int] | None, is_older: bool
):
    """Taken for an older one, a Redis 8 would refuse the rollback of an index that its user may not read."""

    def execute(*command: str) -> Any:
        match command[0].upper():
            case "INFO":
                return UNTOLD.encode()
            case "HELLO" if greeting is not None:
                return greeting
            case "FT._LIST":
                return []
            case "FT.CREATE":
                raise redis.ResponseError(int8)
            case "JSON.GET":
                raise redis.ResponseError("wrong number of arguments for 'JSON.GET' command")
        raise redis.ResponseError(f"unknown command '{command[0]}'")

    found = read_capabilities(execute)

    assert (found.has_search, found.has_json, found.search_version) == (True, True, version)
    assert found.crashes_on_wide_text_without_fields is is_older
    assert found.keeps_words_of_any_bytes is is_older
    assert found.guards_indexes_by_their_keys is not is_older


def test_a_version_that_nothing_tells_is_not_told_as_one():
    found = replace(capabilities(UNTOLD, FT__LIST=[]), lacks=frozenset({"INT8"}))

    assert found.lacking("INT8") == "INT8 needs Redis Search 8.0 or newer, this server has an older one"


@pytest.mark.parametrize(
    ("keyspace", "replies", "tells"),
    [
        ("db0:keys=1,expires=0,avg_ttl=0,subexpiry=0", {"hpexpiretime": []}, True),
        ("db0:keys=1,expires=0,avg_ttl=0", {"hpexpiretime": []}, False),
        ("db0:keys=1,expires=0,avg_ttl=0", {}, True),
        ("", {"hpexpiretime": []}, True),
    ],
)
def test_whether_fields_expire_is_told_by_info_unless_none_can(keyspace, replies, tells):
    info = INFO.partition("db0:")[0] + keyspace

    assert capabilities(info, **replies).tells_expiring_fields is tells


def test_a_server_that_has_neither_modules_nor_search_is_refused():
    with pytest.raises(SearchMissing, match="has no Search module"):
        capabilities("redis_version:7.4.0\r\n").require_search()


@pytest.mark.parametrize("parsed", [BaseParser.parse_error, redis.ResponseError])
def test_a_database_of_several_shards_behind_a_proxy_is_refused(parsed: Callable[[str], Exception]):
    """However redis-py tells it: some versions make a class of its own of the first word."""

    def execute(*command: str) -> Any:
        if command[0] == "EVAL":
            raise parsed("CROSSSLOT Keys in request don't hash to the same slot")
        raise redis.ResponseError("wrong number of arguments")

    found = replace(capabilities(), standing=try_out(execute))

    with pytest.raises(ClusterUnsupported, match="several shards behind a proxy"):
        found.require_search()


def test_another_server_is_refused_by_the_commands_that_it_lacks():
    info = INFO.replace("redis_mode", "server_name:valkey\r\nvalkey_version:9.0.1\r\nredis_mode")

    def execute(*command: str) -> Any:
        raise redis.ResponseError(f"unknown command '{command[0]}'")

    found = replace(capabilities(info), standing=try_out(execute))

    with pytest.raises(
        SearchMissing, match=r"is Valkey 9.0.1, whose search lacks FT.ALTER and FT.ALIASUPDATE"
    ):
        found.require_search()
    replace(found, standing=Standing()).require_search()


def test_a_cluster_needs_a_coordinator():
    capabilities(CLUSTER, SEARCH_CLUSTERINFO=[b"num_partitions", 3]).require_search()
    with pytest.raises(ClusterUnsupported):
        capabilities(CLUSTER).require_search()


@pytest.mark.parametrize(
    ("error", "lists"),
    [
        (redis.ResponseError("wrong number of arguments for 'ft.aliaslist' command"), True),
        # As Redis Software, whatever its version.
        (redis.ResponseError("unknown command 'FT.ALIASLIST', with args beginning with: "), False),
        # Each index is asked for nevertheless, and each refusal is borne.
        (redis.exceptions.NoPermissionError("User shop has no permissions"), True),
    ],
)
def test_whether_a_server_lists_aliases_is_found_out_by_asking(error: Exception, lists: bool):
    def execute(*command: str) -> Any:
        if command[0] == "ft.aliaslist":
            raise error
        raise redis.ResponseError("unknown command")

    assert try_out(execute).lists_aliases is lists
