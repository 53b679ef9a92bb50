"""The keys of an index in batches: all of them, each portion in the order of its numbers."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from redismigrate.execution.indexes import live
from redismigrate.execution.indexes.live import batches_of_keys, in_complete_index, not_in_index
from redismigrate.redis_server.connection import connect
from redismigrate.schema import IndexSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

SCHEMA = IndexSchema(name="products", prefixes=("p:",))
COUNT = 2500


@pytest.fixture
def keys(client: Redis) -> list[bytes]:
    """Hashes, in the order in which they were written, among others."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(COUNT):
            pipeline.hset(f"p:{number}", "title", "shoe")
            pipeline.set(f"p:string:{number}", 1)
            pipeline.hset(f"q:{number}", "title", "shoe")
        pipeline.execute()
    return [b"p:%d" % number for number in range(COUNT)]


@pytest.mark.parametrize("together", [7, 1000, 10_000])
def test_documents_come_in_the_order_of_their_numbers(
    redis_url: str, keys: list[bytes], together: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "KEYS_PER_SORT", together)
    with connect(redis_url) as server:
        batches = list(batches_of_keys(server, SCHEMA, 400))
    assert [len(batch) for batch in batches] == [400] * 6 + [100]
    assert [key for batch in batches for key in batch] == keys


def test_of_more_documents_than_are_sorted_together_none_is_left_out(
    redis_url: str, keys: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "KEYS_PER_PORTION", 1000)
    with connect(redis_url) as server:
        batches = list(batches_of_keys(server, SCHEMA, 300))
    assert [len(batch) for batch in batches] == [300, 300, 300, 100] * 2 + [300, 200]
    assert sorted(key for batch in batches for key in batch) == sorted(keys)
    assert all(batch == sorted(batch, key=lambda key: (len(key), key)) for batch in batches)


def test_who_is_interrupted_does_not_wait_for_the_rest(
    redis_url: str, client: Redis, monkeypatch: pytest.MonkeyPatch
):
    """Of few documents among many keys a portion is full only at the end of all of them."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(100_000):
            pipeline.set(f"other:{number}", 1)
        pipeline.execute()
    monkeypatch.setattr(live, "scan_some", partial(live.scan_some, count=1))
    before = scans(client)
    previous = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with connect(redis_url) as server, pytest.raises(KeyboardInterrupt):
            list(batches_of_keys(server, SCHEMA, 100))
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, previous)
    assert scans(client) - before < 30_000


def scans(client: Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"])


def test_who_stops_early_leaves_nothing_behind(redis_url: str, keys: list[bytes]):
    with connect(redis_url) as server:
        assert next(batches_of_keys(server, SCHEMA, 1)) == [keys[0]]
        assert server.execute("PING")


@pytest.fixture
def impatient(client: Redis) -> Iterator[None]:
    """A server that ends every query after a millisecond, with what it has found by then."""
    execute: Any = client.execute_command
    ((_, before),) = execute("FT.CONFIG", "GET", "TIMEOUT")
    execute("FT.CONFIG", "SET", "TIMEOUT", "1")
    yield
    execute("FT.CONFIG", "SET", "TIMEOUT", before)


@pytest.mark.usefixtures("impatient")
def test_what_an_index_holds_is_told_whole_however_soon_the_server_ends_queries(
    redis_url: str, client: Redis
):
    keys = [b"p:%d" % number for number in range(20_000)]
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hset(key, "title", "shoe")
        pipeline.execute()
    execute: Any = client.execute_command
    execute("FT.CREATE", "products", "PREFIX", "1", "p:", "SCHEMA", "title", "TAG")

    with connect(redis_url) as server:
        while (found := in_complete_index(server, "products", keys)) is None:
            pass
        assert found == keys
        assert not_in_index(server, "products", keys) == []
