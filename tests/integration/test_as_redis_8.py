"""What Redis 8 does otherwise, as far as this server can be brought to do it, too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from redismigrate.errors import ServerOutOfMemory
from redismigrate.execution.indexes.live import in_complete_index
from redismigrate.redis_server import inspection
from redismigrate.redis_server.connection import connect
from redismigrate.schema.read import statistics_from_info
from redismigrate.state.lua_scripts import READ_INFO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

    from redismigrate.schema.read import IndexStatistics

CHANGE = "with op.index('products') as index:\n    "
TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
TO_FLAT = CHANGE + "index.alter_field('embedding', algorithm='flat')"
PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "embedding", "type": "vector", "attrs": {"algorithm": "flat", "dims": 2}},
    ],
})
"""
BY_HAND = (
    "FT.CREATE products PREFIX 1 p: {} SCHEMA title TEXT "
    "v VECTOR HNSW 8 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 EF_RUNTIME 50"
)
FILTERED = "FT.CREATE i PREFIX 1 p: FILTER !exists(@hidden) SCHEMA t TEXT"
ADD_BRAND = CHANGE + "index.add_field({'name': 'brand', 'type': 'tag'})"


@pytest.fixture
def no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not know FT.DEBUG by any name, and Redis 8 refuses it by default."""
    monkeypatch.setattr(inspection, "_DEBUG_COMMANDS", ("FT.UNKNOWN", "_FT.UNKNOWN"))


@pytest.mark.usefixtures("no_debug")
def test_a_chain_goes_there_and_back_without_ft_debug(shop: Shop):
    shop.add_documents(20, title="shoe", embedding=b"\0\0\x80?\0\0\x80?")
    shop.write(PRODUCTS, "op.drop_index('products')")
    shop.write(TO_HNSW, TO_FLAT)
    shop.write(ADD_BRAND, CHANGE + "index.drop_field('brand')")

    for arguments in (("upgrade",), ("check",), ("downgrade", "base"), ("upgrade",)):
        result = shop.run(*arguments)
        assert result.code == 0, (arguments, result.out, result.err)

    assert shop.hits("products") == 20


@pytest.mark.usefixtures("no_debug")
def test_an_index_is_adopted_without_ft_debug_and_what_is_not_known_is_named(shop: Shop):
    shop.client.execute_command(*BY_HAND.format("").split())
    shop.write(ADD_BRAND)

    result = shop.run("upgrade")

    assert result.code == 0, result.err
    assert "SKIPINITIALSCAN, PHONETIC, INITIAL_CAP, EF_RUNTIME, EPSILON can't be read" in result.out


@pytest.mark.usefixtures("no_debug")
def test_an_index_that_may_be_temporary_is_not_adopted(shop: Shop):
    shop.client.execute_command(*BY_HAND.format("TEMPORARY 3600").split())
    shop.write(ADD_BRAND)

    result = shop.run("upgrade")

    assert result.code == 6
    assert "FT.DEBUG did not answer, so it can't be told whether index products is TEMPORARY" in result.err


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gives up the scan of every index that is built beside another, as 8.0 does at maxmemory."""

    def read(info: Any) -> IndexStatistics:
        name = inspection.index_name_from_info(info)
        return replace(statistics_from_info(info), is_incomplete=name.startswith("products__"))

    monkeypatch.setattr(inspection, "statistics_from_info", read)


@pytest.mark.usefixtures("given_up")
def test_an_index_that_the_server_gave_up_building_does_not_come_to_serve(shop: Shop):
    shop.add_documents(20, title="shoe", embedding=b"\0\0\x80?\0\0\x80?")
    shop.write(PRODUCTS, "op.drop_index('products')")
    assert shop.run("upgrade").code == 0
    shop.write(TO_HNSW, TO_FLAT)

    # One failure is counted, but any number of documents is missing.
    result = shop.run("upgrade", "--max-failures", "1")

    assert result.code == 1
    assert "is incomplete: it has 20 documents, then the server was at maxmemory" in result.err
    assert "Free memory or raise maxmemory" in result.err
    assert shop.hits("products") == 20
    assert shop.client.execute_command("FT._LIST") == [b"products"]


@pytest.fixture
def full(client: redis.Redis) -> Iterator[None]:
    """A server that uses more memory than its maxmemory."""
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@pytest.mark.parametrize("is_sure", [True, False])
def test_at_maxmemory_an_index_of_8_4_can_not_tell_that_it_holds_nothing(
    redis_url: str, client: redis.Redis, is_sure: bool, request: Any
):
    client.execute_command(*FILTERED.split(" "))
    client.hset("p:1", "t", "x")
    client.hset("p:2", mapping={"t": "x", "hidden": "1"})
    with connect(redis_url) as server:
        server.capabilities = replace(server.capabilities, may_answer_with_nothing=not is_sure)
        while in_complete_index(server, "i", [b"p:1"]) is None:
            pass
        assert in_complete_index(server, "i", [b"p:2"]) == []
        request.getfixturevalue("full")
        assert in_complete_index(server, "i", [b"p:1", b"p:2"]) == [b"p:1"]
        if is_sure:
            assert in_complete_index(server, "i", [b"p:2"]) == []
        else:
            with pytest.raises(ServerOutOfMemory, match="more memory than its maxmemory"):
                in_complete_index(server, "i", [b"p:2"])


def test_a_script_reads_what_ft_info_says_of_a_scan_that_was_given_up(client: redis.Redis):
    client.execute_command("FT.CREATE", "i", "SCHEMA", "t", "TEXT")
    errors = "{{ok='indexing failures'}, 1, {ok='background indexing status'}, {ok='OOM failure'}}"
    script = f"""{READ_INFO}
    local found = read_info(redis.call('FT.INFO', 'i'))
    local errors = read_info(found['Index Errors'])
    local given_up = read_info({errors})['background indexing status']
    return {{found.index_name, tonumber(found.num_docs), errors['indexing failures'], given_up}}
    """

    assert client.eval(script, 0) == [b"i", 0, 0, b"OOM failure"]
