"""Bringing second forms in step with an application that goes on writing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from document_writer import REWRITES, Writer
from mirrored_documents import (
    BATCH_SIZE,
    CONNECTIONS,
    FENCE,
    SECOND,
    Interrupted,
    copies,
    create_index,
    kill_trackers,
    second_fields,
)

from redismigrate.execution.documents.beside import follower as follower_module
from redismigrate.execution.documents.beside.follower import Follower, Guard, TrackingLost, read_guard
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import Decision
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.indexes.waiting import IndexVanished
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.connection import Server, connect

FIELDS = second_fields()
DOCUMENTS = 300


def put(client: redis.Redis, *numbers: int, value: float = 1) -> None:
    for number in numbers:
        client.hset(f"p:{number}", "embedding", np.full(4, value, np.float32).tobytes())


def second(client: redis.Redis, number: int) -> Any:
    return client.hget(f"p:{number}", SECOND)


def float16(value: float) -> bytes:
    return np.full(4, value, np.float16).tobytes()


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    put(client, *range(DOCUMENTS))
    create_index(client)
    with connect(redis_url) as server:
        yield server


@contextmanager
def follower_of(
    server: Server, mirror: Any = FIELDS, on_progress: Callable[[int], object] = lambda _: None
) -> Iterator[Follower]:
    with (
        Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE, on_progress) as synchroniser,
        Follower(Node(server, FENCE), mirror, synchroniser, is_first=True) as follower,
    ):
        yield follower


def test_the_first_thing_to_do_is_a_pass_over_all_documents(server: Server):
    with follower_of(server) as follower:
        assert follower.is_behind
        assert follower.follow().written == DOCUMENTS
        assert not follower.is_behind


def test_after_that_only_what_was_written_is_looked_at(server: Server, client: redis.Redis):
    with follower_of(server, copies()) as follower:
        follower.synchronise_all()
        put(client, 1, 2, value=2)
        client.delete("p:3")
        assert follower.settle("products").remaining == frozenset()
        assert not client.exists("q:3")
        put(client, 1, value=3)
        result = follower.settle("products").result
    # What we write ourselves to copies is reported as well, perhaps late, and looked at once more.
    assert result.written == 1
    assert 1 <= result.documents <= 3


def test_what_settles_is_guarded_by_what_the_old_index_looks_like(server: Server, client: redis.Redis):
    with follower_of(server) as follower:
        settled = follower.settle("products")
        assert settled.remaining == frozenset()
        assert settled.guard == read_guard(server, "products")
        put(client, 1, value=2)
        after = read_guard(server, "products")
        assert after == Guard(settled.guard.max_doc_id + 1, DOCUMENTS)
        client.delete("p:1")
        assert read_guard(server, "products") == Guard(after.max_doc_id, DOCUMENTS - 1)


def test_a_write_after_the_guard_was_read_is_waited_for(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    guards = []

    def write_after(server: Server, physical: str) -> Guard:
        guards.append(read_guard(server, physical))
        if len(guards) == 1:
            put(client, 7, value=2)
        return guards[-1]

    monkeypatch.setattr(follower_module, "read_guard", write_after)
    with follower_of(server, copies()) as follower:
        settled = follower.settle("products")
    assert len(guards) == 2
    assert settled.guard == guards[1] == read_guard(server, "products")
    assert client.hget("q:7", "embedding") == np.full(4, 2, np.float32).tobytes()


def test_what_is_left_after_the_last_round_is_told_and_not_forgotten(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    guards = []

    def write_after(server: Server, physical: str) -> Guard:
        guards.append(read_guard(server, physical))
        put(client, 7, 8, value=len(guards))
        return guards[-1]

    monkeypatch.setattr(follower_module, "read_guard", write_after)
    with follower_of(server, copies()) as follower:
        assert follower.settle("products", rounds=3).remaining == {b"p:7", b"p:8"}
        assert len(guards) == 3
        assert follower.waiting == 2
        assert follower.follow().written == 2
    assert client.hget("q:7", "embedding") == np.full(4, 3, np.float32).tobytes()


def test_a_busy_writer_is_not_waited_for(server: Server, client: redis.Redis, redis_url: str, tmp_path: Path):
    weights = dict(REWRITES)
    writer = Writer(redis_url, str(tmp_path / "log"), 4, "float32", 500, 4000, weights)
    writer.fill()
    with follower_of(server) as follower:
        follower.synchronise_all()
        with writer.at_work():
            started = time.monotonic()
            for _ in range(5):
                follower.settle("products", rounds=3)
            assert time.monotonic() - started < 120  # to wait for it would be for as long as it writes
        settled = follower.settle("products")
    assert settled.remaining == frozenset()
    assert settled.guard == read_guard(server, "products")
    for number in range(500):
        declared = client.hget(f"p:{number}", "embedding") or b""
        assert second(client, number) == np.frombuffer(declared, np.float32).astype(np.float16).tobytes()


def test_a_lost_tracker_means_a_pass_over_all_documents(server: Server, client: redis.Redis):
    with follower_of(server) as follower:
        follower.synchronise_all()
        kill_trackers(client)
        while not follower.is_behind:
            time.sleep(0.005)
        put(client, 1, value=2)
        client.hdel("p:2", "embedding")

        result = follower.follow()

        assert (result.documents, result.written, result.removed) == (DOCUMENTS - 1, 1, 1)
        assert second(client, 1) == float16(2)
        assert not follower.is_behind


def test_a_pass_that_fails_is_owed(server: Server):
    batches = []

    def fail_once(count: int) -> None:
        batches.append(count)
        if len(batches) == 3:
            raise Interrupted

    with follower_of(server, on_progress=fail_once) as follower:
        with pytest.raises(Interrupted):
            follower.synchronise_all()
        assert follower.is_behind


def test_what_is_written_during_a_pass_is_drained_meanwhile(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(follower_module, "DRAINED_DURING_PASS", 10)
    values = iter(range(2, 22))

    def write(_: int) -> None:
        value = next(values, None)
        if value is not None:
            put(client, *range(20), value=value)
            time.sleep(0.05)

    # With this many documents the pass enumerates them in several portions.
    put(client, *range(3000))
    with follower_of(server, copies(), write) as follower:
        follower.synchronise_all()
        assert follower.waiting == 0
    assert (
        client.hget("q:3", "embedding") == client.hget("p:3", "embedding") != np.full(4, 1, "<f4").tobytes()
    )


def test_trackers_that_are_lost_again_and_again_are_told(server: Server, client: redis.Redis):
    class Cutting(SecondFields):
        def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
            kill_trackers(client)
            time.sleep(0.01)
            return super().decide(keys, replies, reader)

    with (
        follower_of(server, Cutting(FIELDS.schema, FIELDS.fields)) as follower,
        pytest.raises(TrackingLost, match=r"The application's writes could not be followed: .*connection"),
    ):
        follower.synchronise_all()


def test_an_old_index_that_is_gone_is_told(server: Server, client: redis.Redis):
    with follower_of(server) as follower:
        follower.synchronise_all()
        client.execute_command("FT.DROPINDEX", "products")
        with pytest.raises(IndexVanished):
            follower.settle("products")


def test_large_documents_make_small_batches(server: Server, client: redis.Redis):
    for number in range(DOCUMENTS):
        client.hset(f"p:{number}", "text", b"x" * 300_000)
    sizes: list[int] = []
    with follower_of(server, copies(), sizes.append) as follower:
        follower.synchronise_all()
    assert sum(sizes) == DOCUMENTS
    assert max(sizes[CONNECTIONS + 1 :]) <= 4


class TenAtATime(Pace):
    """Admits ten documents, after a wait."""

    def __init__(self) -> None:
        self.admitted: list[int] = []

    def begin_writes(self) -> None:
        assert not self.admitted

    def is_held(self, documents: int) -> bool:
        return documents > 40

    def admit(self, documents: int) -> int:
        self.admitted.append(min(documents, 10))
        return self.admitted[-1]

    def took(self, seconds: float) -> None:
        assert 0 < seconds < 60


def test_every_batch_is_admitted_by_the_pace(server: Server, client: redis.Redis):
    pace = TenAtATime()
    sizes: list[int] = []
    with Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE, sizes.append, pace) as synchroniser:
        result = synchroniser.synchronise(FIELDS, FIELDS.keys(server))
    assert result.written == DOCUMENTS
    assert max(sizes) == 10
    assert sizes == pace.admitted
