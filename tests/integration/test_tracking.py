"""Keys that other clients write, as the server reports them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
import redis
from mirrored_documents import kill_trackers

from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.documents.traffic.tracking import Tracker
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.embedded import EmbeddedServer


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        yield server


def drained(tracker: Tracker) -> set[bytes]:
    assert tracker.barrier(10)
    return tracker.drain()


def wait_until_lost(tracker: Tracker) -> None:
    end = time.monotonic() + 90
    while not tracker.is_lost:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_every_kind_of_write_is_seen(server: Server, client: redis.Redis):
    def seen(*command: object) -> set[bytes]:
        client.execute_command(*command)
        return drained(tracker)

    with Tracker(server, (b"p:",)) as tracker:
        assert seen("HSET", "p:1", "a", "1", "b", "2") == {b"p:1"}
        assert seen("HPEXPIRE", "p:1", 100_000, "FIELDS", 1, "a") == {b"p:1"}
        assert seen("HPERSIST", "p:1", "FIELDS", 1, "a") == {b"p:1"}
        assert seen("PEXPIRE", "p:1", 100_000) == {b"p:1"}
        assert seen("PERSIST", "p:1") == {b"p:1"}
        assert seen("RENAME", "p:1", "p:2") == {b"p:1", b"p:2"}
        assert seen("COPY", "p:2", "p:3") == {b"p:3"}
        assert seen("HDEL", "p:3", "a") == {b"p:3"}
        assert seen("EVAL", "return redis.call('HSET', KEYS[1], 'a', '2')", 1, "p:2") == {b"p:2"}
        assert seen("JSON.SET", "p:4", "$", "{}") == {b"p:4"}
        assert seen("DEL", "p:2", "p:9") == {b"p:2"}
        assert seen("SET", "other", "1") == set()


def test_a_key_that_expires_is_seen(server: Server, client: redis.Redis):
    client.hset("p:1", "a", "1")
    with Tracker(server, (b"p:",)) as tracker:
        client.pexpire("p:1", 20)
        assert drained(tracker) == {b"p:1"}
        time.sleep(0.1)
        assert not client.exists("p:1")
        assert drained(tracker) == {b"p:1"}


def test_any_bytes_make_a_prefix(server: Server, client: redis.Redis):
    prefix = b"\xff\x00 *\r\n:"
    with Tracker(server, (prefix,)) as tracker:
        client.hset(prefix + b"\xfe", "a", "1")
        assert drained(tracker) == {prefix + b"\xfe"}


@pytest.mark.parametrize("prefixes", [(), (b"",)])
def test_without_a_prefix_all_keys_are_seen_but_those_of_the_state(
    server: Server, client: redis.Redis, prefixes: Sequence[bytes]
):
    with Tracker(server, prefixes) as tracker:
        client.set("{redismigrate:shop}:run", "1")
        client.set("{redismigrate}:owners", "1")
        client.hset("{redismigrated}", "a", "1")
        client.hset("q", "a", "1")
        assert drained(tracker) == {b"{redismigrated}", b"q"}


def test_a_barrier_has_all_that_was_written_before_whatever_its_prefix(server: Server, client: redis.Redis):
    prefixes = tuple(b"p%02d:" % number for number in range(20))
    with Tracker(server, prefixes) as tracker:
        for turn in range(50):
            pipeline = client.pipeline(transaction=False)
            keys = {prefix + b"%d" % turn for prefix in prefixes}
            for key in keys:
                pipeline.hset(key, "a", "1")
            pipeline.execute()
            assert drained(tracker) == keys


def test_a_barrier_leaves_no_key(server: Server, client: redis.Redis):
    with Tracker(server, (b"p:", b"q:")) as tracker:
        assert drained(tracker) == set()
        assert drained(tracker) == set()
        assert client.dbsize() == 0


def test_a_barrier_is_no_document_to_an_index(server: Server, client: redis.Redis):
    client.execute_command("FT.CREATE", "all", "SCHEMA", "title", "TEXT")
    with Tracker(server, ()) as tracker:
        assert tracker.barrier(10)
    info = client.execute_command("FT.INFO", "all")
    assert int(info[info.index(b"max_doc_id") + 1]) == 0


def test_a_connection_that_is_cut_is_lost(server: Server, client: redis.Redis):
    with Tracker(server, (b"p:",)) as tracker:
        kill_trackers(client)
        wait_until_lost(tracker)
        assert "connection" in str(tracker.lost_because)
        assert not tracker.barrier(10)


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_is_lost(server: Server, client: redis.Redis, command: str):
    with Tracker(server, (b"p:",)) as tracker:
        client.execute_command(command)
        wait_until_lost(tracker)
        assert tracker.lost_because == "the database was flushed"


def test_more_keys_than_there_is_room_for_are_lost(server: Server, client: redis.Redis):
    with Tracker(server, (b"p:",), most_keys=10) as tracker:
        for number in range(11):
            client.hset(f"p:{number}", "a", "1")
        wait_until_lost(tracker)
        assert tracker.lost_because == "more than 10 keys were written and waited"
        assert tracker.drain() == set()


def test_a_barrier_that_does_not_come_back_in_time_is_lost(server: Server, client: redis.Redis):
    with Tracker(server, (b"p:",)) as tracker:
        tracker._sentinel = b"elsewhere:"  # as if the server had forgotten that somebody listens
        assert not tracker.barrier(0.05)
        assert tracker.lost_because == "no invalidation came back within 0.05 s"


def test_a_tracker_that_is_closed_is_lost(server: Server):
    with Tracker(server, (b"p:",)) as tracker:
        assert not tracker.is_lost
    assert tracker.is_lost


def test_many_writes_are_all_seen(server: Server, client: redis.Redis):
    keys = {b"p:%d" % number for number in range(50_000)}
    with Tracker(server, (b"p:",)) as tracker:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hset(key, "a", "1")
        pipeline.execute()
        assert tracker.barrier(30)
        assert tracker.waiting == len(keys)
        assert tracker.drain() == keys


def test_a_user_with_a_password_is_followed_over_tcp():
    with EmbeddedServer(port=0) as embedded, redis.Redis.from_url(embedded.url) as client:
        client.acl_setuser("app", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all"])
        with (
            connect(embedded.url.replace("redis://", "redis://app:secret@")) as server,
            Tracker(server, (b"p:",)) as tracker,
        ):
            client.hset("p:1", "a", "1")
            assert drained(tracker) == {b"p:1"}


def test_a_user_without_the_right_to_track_is_told():
    with EmbeddedServer(port=0) as embedded, redis.Redis.from_url(embedded.url) as client:
        commands = ["+@all", "-client|tracking"]
        client.acl_setuser("app", enabled=True, passwords=["+secret"], keys=["*"], commands=commands)
        with (
            connect(embedded.url.replace("redis://", "redis://app:secret@")) as server,
            pytest.raises(AuthenticationFailed, match=r"'client\|tracking' command"),
        ):
            Tracker(server, (b"p:",))
