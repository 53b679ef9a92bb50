"""What a server says of itself, in replies as servers give them that can't be run here."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from redismigrate.errors import ClusterUnsupported
from redismigrate.redis_server.capabilities import Capabilities, read_capabilities

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
    assert found.lacking("INT8") is None
    assert found.lacking("SVS-VAMANA") is None
    assert (found.maxmemory, found.used_memory, found.role) == (2097152, 1048576, "master")


@pytest.mark.parametrize(
    ("version", "number", "may"),
    [
        ((8, 10, 0), 81000, True),
        ((8, 4, 0), 80400, True),
        ((8, 2, 13), 80213, False),
        ((2, 10, 5), 21005, False),
    ],
)
def test_queries_at_maxmemory_may_find_nothing_from_8_4_on(version, number, may):
    found = capabilities(INFO.replace("80402", str(number)))

    assert found.search_version == version
    assert found.may_answer_with_nothing is may


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


def test_a_cluster_needs_a_coordinator():
    capabilities(CLUSTER, SEARCH_CLUSTERINFO=[b"num_partitions", 3]).require_search()
    with pytest.raises(ClusterUnsupported):
        capabilities(CLUSTER).require_search()


@pytest.mark.parametrize(
    ("number", "error", "lists"),
    [
        (81000, redis.ResponseError("SEARCH_INDEX_NOT_FOUND: Index not found"), True),
        # As Redis Software of that version.
        (81000, redis.ResponseError("unknown command 'FT.ALIASLIST', with args beginning with: "), False),
        (81000, redis.exceptions.NoPermissionError("User shop has no permissions"), False),
        (80402, AssertionError("an older server is not asked"), False),
    ],
)
def test_whether_a_server_lists_aliases_is_found_out_by_asking_from_8_10_on(
    number: int, error: Exception, lists: bool
):
    def execute(*command: str) -> Any:
        if command[0] == "FT.ALIASLIST":
            raise error
        if command[0] == "INFO":
            return INFO.replace("80402", str(number)).encode()
        raise redis.ResponseError("unknown command")

    assert read_capabilities(execute).lists_aliases is lists
