"""Fields that get a time to live while documents are at work: HSET would clear it, and it stays."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import redis

from redismigrate.documents.rewrite import Rewrite
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.touching import touch
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema import IndexSchema
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.state.fence import Fence

FAR_AWAY = 4_102_444_800_000
FENCE = Fence(b"fence", b"1")
RENAME = Rewrite("hash", renames=(PathRename("title", "name"),))


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        server.client.set(FENCE.key, FENCE.token)
        yield server


def job(server: Server, rewrite: Rewrite) -> RewriteJob:
    return RewriteJob(
        nodes=Node(server, FENCE),
        physical="products",
        schema=IndexSchema(name="products", prefixes=("p:",)),
        rewrite=rewrite,
        batch_size=500,
        connections=3,
        is_exclusive=False,
        on_progress=lambda _: None,
    )


def expiry(client: redis.Redis, key: str, field: str) -> int:
    (moment,) = client.hpexpiretime(key, field)
    return int(moment)


def test_showing_documents_to_an_index_keeps_an_expiry_that_is_set_meanwhile(
    client: redis.Redis, server: Server
):
    client.hset("p:1", "title", "shoe")

    def keys() -> Iterator[Sequence[bytes]]:
        client.hpexpireat("p:1", FAR_AWAY, "title")
        yield [b"p:1", b"p:gone"]

    assert touch(job(server, Rewrite("hash")), keys()).documents == 1

    assert expiry(client, "p:1", "title") == FAR_AWAY


def send(client: redis.Redis, command: bytes) -> None:
    """Send a command that is rendered already."""
    connection = client.connection_pool.get_connection()
    connection.send_packed_command([command])
    connection.read_response()
    client.connection_pool.release(connection)


def test_moving_a_value_back_keeps_an_expiry_that_was_set_since(client: redis.Redis, server: Server):
    client.hset("p:1", mapping={"name": "shoe", "brand": "nike"})
    mover = job(server, RENAME).mover()
    assert mover is not None
    client.hpexpireat("p:1", FAR_AWAY, "name")

    send(client, mover.reversed().move([b"p:1"]))

    assert client.hget("p:1", "title") == b"shoe"
    assert expiry(client, "p:1", "title") == FAR_AWAY


def test_a_server_that_knows_no_expiry_of_fields_is_not_asked_for_it(client: redis.Redis, server: Server):
    """One before 7.4 would refuse the command; here none of its fields has a time to live."""
    client.config_resetstat()
    client.hset("p:1", "title", "shoe")

    touch(job(server, Rewrite("hash")), [[b"p:1"]])

    assert "cmdstat_hpexpiretime" not in client.info("commandstats")


KEYS = [b"p:%d" % number for number in range(200)]


def let_expire(client: redis.Redis, field: str, value: str) -> float:
    """Fields that expire one after the other within a fifth of a second; when the last of them has."""
    now = time.time()
    with client.pipeline(transaction=False) as pipeline:
        for number, key in enumerate(KEYS):
            pipeline.hset(key, mapping={field: value, "number": number})
            pipeline.hpexpireat(key, int(now * 1000) + 20 + number, field)
        pipeline.execute()
    return now + 0.2 + len(KEYS) / 1000


@pytest.mark.parametrize("value", ["shoe", "shoe" * 30], ids=["short", "long"])
def test_what_expires_while_documents_are_shown_to_an_index_does_not_come_back(
    client: redis.Redis, server: Server, value: str
):
    """In a script HPEXPIRETIME says that a field has expired while other commands still find it."""
    end = let_expire(client, "title", value)
    while time.time() < end:
        touch(job(server, Rewrite("hash")), [KEYS])

    assert [key for key in KEYS if client.hexists(key, "title")] == []


@pytest.mark.parametrize("value", ["shoe", "shoe" * 30], ids=["short", "long"])
@pytest.mark.parametrize(
    "rewrite",
    [RENAME, Rewrite("hash", renames=(*RENAME.renames, PathRename("brand", "maker")))],
    ids=["one field", "two fields"],
)
def test_what_expires_while_it_moves_does_not_come_back(
    client: redis.Redis, server: Server, value: str, rewrite: Rewrite
):
    mover = job(server, rewrite).mover()
    assert mover is not None
    end = let_expire(client, "title", value)
    while time.time() < end:
        send(client, mover.move(KEYS))
        send(client, mover.reversed().move(KEYS))

    assert [key for key in KEYS if client.hexists(key, "title") or client.hexists(key, "name")] == []


def test_a_hash_whose_last_field_expires_while_its_key_moves_is_gone(client: redis.Redis, server: Server):
    rewrite = Rewrite("hash", renames=RENAME.renames, prefixes=(PrefixChange("p:", "q:"),))
    mover = job(server, rewrite).mover()
    assert mover is not None
    now = time.time()
    with client.pipeline(transaction=False) as pipeline:
        for number, key in enumerate(KEYS):
            pipeline.hset(key, "title", "shoe")
            pipeline.hpexpireat(key, int(now * 1000) + 20 + number, "title")
        pipeline.execute()
    while time.time() < now + 0.2 + len(KEYS) / 1000:
        send(client, mover.move(KEYS))
        send(client, mover.reversed().move([mover.target(key) for key in KEYS]))

    assert client.keys("[pq]:*") == []


@pytest.mark.parametrize("copies", [False, True], ids=["by RENAME", "by COPY"])
@pytest.mark.parametrize("value", ["shoe", "shoe" * 30], ids=["short", "long"])
def test_hashes_that_moved_go_with_their_last_field_and_take_no_other_key_along(
    client: redis.Redis, server: Server, value: str, copies: bool
):
    """Redis 7.4.1 removes what the old name of the hash is the name of by then, or nothing."""
    with client.pipeline(transaction=False) as pipeline:
        for key in KEYS:
            pipeline.hset(key, mapping={"title": value, "brand": "nike"})
            pipeline.hpexpire(key, 1, "brand")
        pipeline.execute()
    while client.info("keyspace")["db0"]["subexpiry"]:
        time.sleep(0.001)
    mover = job(server, Rewrite("hash", prefixes=(PrefixChange("p:", "q:"),))).mover()
    assert mover is not None
    assert mover.pins == server.capabilities.forgets_renames
    send(client, replace(mover, copies=copies).move(KEYS))
    moved = [mover.target(key) for key in KEYS]
    assert client.exists(*moved) == len(KEYS)
    assert not any(client.hpexpiretime(key, "title") != [-1] for key in moved)

    expiring, staying = moved[::2], moved[1::2]
    for key in expiring:
        client.hpexpire(key, 1, "title")
    while any(client.hexists(key, "title") for key in expiring):
        time.sleep(0.001)

    assert client.exists(*staying) == len(staying)
    assert client.exists(*expiring) == 0


def test_hashes_of_which_no_field_ever_expires_move_without_more_ado(client: redis.Redis, server: Server):
    client.config_resetstat()
    client.hset("p:1", "title", "shoe")
    mover = job(server, Rewrite("hash", prefixes=(PrefixChange("p:", "q:"),))).mover()
    assert mover is not None
    assert not mover.pins
