"""The table of servers in the documentation is what the servers themselves tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from doc_pages import ROOT
from managed_server import create_user, url_of_user
from server_abilities import abilities_of
from vector_documents import creation

from redismigrate.redis_server.connection import connect

if TYPE_CHECKING:
    import redis
    from conftest import Shop

PAGE = ROOT / "docs" / "reference" / "servers.md"
# With enable-debug-command: either answer is right.
IF_ENABLED = "if enabled"
HEAD = "| what it can do |"


def table() -> dict[str, dict[str, str]]:
    """Column -> row -> word."""
    lines = PAGE.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(HEAD))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[at:]]
    head, rows = rows[0][1:], rows[2 : next(n for n, row in enumerate(rows) if row == [""])]
    return {name: {row[0]: row[number + 1] for row in rows} for number, name in enumerate(head)}


def test_the_column_of_this_server_is_what_it_tells(redis_url: str, client: redis.Redis):
    version = client.info("server")["redis_version"]
    columns = {name: column for name, column in table().items() if name.endswith(f" {version}")}
    if not columns:
        pytest.skip(f"the table has no column of Redis {version}")

    client.hset("k", "f", "v")
    with connect(redis_url) as server:
        told = abilities_of(server)

    assert client.execute_command("FT._LIST") == []
    assert client.keys() == [b"k"]
    (written,) = columns.values()
    assert {row: told[row] if word == IF_ENABLED else word for row, word in written.items()} == told


def test_a_plan_says_that_threads_of_the_server_build_graphs(shop: Shop):
    before = shop.client.config_get("search-workers")
    if not before:
        pytest.skip("this server has no search-workers")
    shop.write(creation().replace("'flat'", "'hnsw'"))
    shop.client.config_set("search-workers", 2)
    try:
        with_workers = json.loads(shop.run("plan", "--json").out)["warnings"]
    finally:
        shop.client.config_set(*before.popitem())

    assert "(search-workers 2), and the seconds here were measured without" in with_workers[0]


def test_the_column_of_managed_servers_is_what_their_user_is_told(redis_url: str, client: redis.Redis):
    if not client.info("server")["redis_version"].startswith("7.4."):
        pytest.skip("the column was made with a server 7.4, the oldest that is managed and tells of writes")
    client.hset("k", "f", "v")
    create_user(client)

    with connect(url_of_user(redis_url)) as server:
        by_trying = abilities_of(server)
    with connect(redis_url) as server:
        server.profile = "managed"
        by_profile = abilities_of(server)
    client.acl_deluser("managed")

    assert by_trying == table()["managed"]
    assert by_profile == by_trying
