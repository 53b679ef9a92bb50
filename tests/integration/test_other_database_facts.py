"""What Redis Search 2.10.5 does with the databases other than 0; a test fails when that changes.

Keys of every database enter an index when they are written, and no scan ever looks at another one than 0.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = {"HASH": ("t", "TAG"), "JSON": ("$.t", "AS", "t", "TAG")}
BOTH = pytest.mark.parametrize("storage", ["HASH", "JSON"])


@pytest.fixture
def other(redis_url: str) -> Iterator[redis.Redis]:
    """A client of database 1."""
    with redis.Redis.from_url(redis_url, protocol=2, db=1) as client:
        yield client


def put(client, key, storage="HASH", value="x"):
    if storage == "HASH":
        client.hset(key, "t", value)
    else:
        client.json().set(key, "$", {"t": value})


def create(client, storage="HASH", name="i"):
    client.execute_command("FT.CREATE", name, "ON", storage, "PREFIX", 1, "p:", "SCHEMA", *FIELDS[storage])
    wait(client, name)


def wait(client, name="i"):
    deadline = time.monotonic() + 90
    while info(client, name)[b"indexing"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def info(client, name="i"):
    reply = client.execute_command("FT.INFO", name)
    return dict(zip(reply[::2], reply[1::2], strict=True))


def found(client, query="*", name="i"):
    return sorted(client.execute_command("FT.SEARCH", name, query, "NOCONTENT")[1:])


@BOTH
def test_the_initial_scan_looks_at_database_0_only(client, other, storage):
    put(client, "p:0", storage)
    put(other, "p:1", storage)
    create(client, storage)

    assert found(client) == found(other) == [b"p:0"]


@BOTH
def test_what_is_written_in_another_database_enters_the_index(client, other, storage):
    create(client, storage)
    put(other, "p:1", storage)

    assert found(client) == [b"p:1"]
    # Its content is loaded from the database of whoever asks.
    assert client.execute_command("FT.SEARCH", "i", "*")[1:] == [b"p:1", None]


@BOTH
def test_a_document_is_its_name_whatever_the_database(client, other, storage):
    put(client, "p:1", storage, "zero")
    create(client, storage)
    put(other, "p:1", storage, "one")

    assert found(client) == found(client, "@t:{one}") == [b"p:1"]
    assert found(client, "@t:{zero}") == []
    other.delete("p:1")
    assert found(client) == []


@BOTH
def test_what_expires_in_another_database_leaves_the_index(client, other, storage):
    create(client, storage)
    put(other, "p:1", storage)
    other.pexpire("p:1", 1)
    time.sleep(0.01)

    assert not other.exists("p:1")
    assert found(client) == []


@BOTH
def test_ft_alter_keeps_documents_of_other_databases_and_does_not_find_what_it_adds_in_them(
    client, other, storage
):
    create(client, storage)
    put(client, "p:0", storage, "red")
    put(other, "p:1", storage, "red")
    again = ("t", "AS", "u", "TAG") if storage == "HASH" else ("$.t", "AS", "u", "TAG")
    client.execute_command("FT.ALTER", "i", "SCHEMA", "ADD", *again)
    wait(client)

    assert found(client) == [b"p:0", b"p:1"]
    assert found(client, "@u:{red}") == [b"p:0"]
    put(other, "p:1", storage, "red")
    assert found(client, "@u:{red}") == [b"p:0", b"p:1"]


def test_ft_synupdate_does_not_reach_documents_of_other_databases(client, other):
    client.execute_command("FT.CREATE", "i", "SCHEMA", "t", "TEXT")
    wait(client)
    put(client, "p:0", value="boy")
    put(other, "p:1", value="boy")
    client.execute_command("FT.SYNUPDATE", "i", "g", "boy", "child")
    wait(client)

    assert found(client, "child") == [b"p:0"]
    assert found(client, "boy") == [b"p:0", b"p:1"]


@BOTH
def test_a_swap_to_an_index_built_beside_leaves_out_other_databases(client, other, storage):
    create(client, storage, "old")
    client.execute_command("FT.ALIASADD", "served", "old")
    for number in range(5):
        put(client, f"p:{number}", storage)
    for number in range(5, 8):
        put(other, f"p:{number}", storage)
    assert len(found(client, name="served")) == 8
    create(client, storage, "new")
    put(other, "p:7", storage)
    client.execute_command("FT.ALIASUPDATE", "served", "new")

    assert found(client, name="served") == [b"p:0", b"p:1", b"p:2", b"p:3", b"p:4", b"p:7"]


def test_dropping_with_documents_deletes_keys_of_database_0_by_name_whatever_they_are(client, other):
    create(client)
    put(other, "p:1")
    client.set("p:2", "never a document")
    put(other, "p:2")
    client.execute_command("FT.DROPINDEX", "i", "DD")

    assert client.keys() == []
    assert sorted(other.keys()) == [b"p:1", b"p:2"]


def test_flushdb_of_another_database_drops_all_indexes(client, other):
    put(client, "p:0")
    create(client)
    other.flushdb()

    assert client.execute_command("FT._LIST") == []
    assert client.keys() == [b"p:0"]


def test_an_index_can_be_dropped_but_not_created_in_another_database(client, other):
    create(client)

    with pytest.raises(redis.ResponseError, match="Cannot create index on db != 0"):
        create(other, name="j")
    assert other.execute_command("FT.DROPINDEX", "i") == b"OK"


def test_moving_a_key_to_another_database_or_renaming_it_there_is_not_noticed(client, other):
    put(client, "p:0")
    create(client)
    client.move("p:0", 1)
    assert found(client) == [b"p:0"]
    other.rename("p:0", "q:0")
    assert found(client) == [b"p:0"]
