"""Vectors with a second form at another path of the same hashes, while two releases write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import redis
from mirrored_documents import BATCH_SIZE, CONNECTIONS, DIMS, FENCE, create_index, follow_for, recoding
from twin_documents import Mirrored

from redismigrate.documents.batch import Batch, Transformed
from redismigrate.documents.twins import Twin
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.beside.twin_conversions import TwinConversion
from redismigrate.execution.documents.beside.twin_values import TwinValues
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import Decision
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.vector_field import Datatype

FLOATS = np.array([1.1, -2.2, 3.3, 0.0], np.float32)
TITLE = Twin("title", "headline")


def kept_beside(before: Datatype = "FLOAT32", after: Datatype = "FLOAT16", *, keeps_old: bool = True) -> Twin:
    return Twin("embedding", "small", recoding(before, after), keeps_old)


def vector(number: float = 0, dtype: Any = np.float32) -> bytes:
    return (FLOATS + np.float32(number)).astype(dtype).tobytes()


def both(client: redis.Redis, key: str = "p:1") -> list[bytes | None]:
    found: list[bytes | None] = client.hmget(key, "embedding", "small")
    return found


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def put(client: redis.Redis, count: int = 3) -> None:
    for number in range(count):
        client.hset(f"p:{number}", mapping={"title": f"t{number}", "embedding": vector(number)})


def test_vectors_get_their_new_form_beside_and_keep_the_old_one(server: Server, client: redis.Redis):
    put(client)
    vectors = Mirrored(server, kept_beside(), TITLE)
    vectors.look(is_first=True)
    client.hset("p:0", "embedding", vector(10))
    client.hset("p:1", "small", vector(11, np.float16))
    client.hset("p:9", mapping={"headline": "born", "small": vector(9, np.float16)})
    done = vectors.look()
    assert both(client, "p:0") == [vector(10), vector(10, np.float16)]
    assert both(client, "p:1") == [
        np.frombuffer(vector(11, np.float16), np.float16).astype(np.float32).tobytes(),
        vector(11, np.float16),
    ]
    assert client.hget("p:9", "title") == b"born"
    assert (done.written, done.turned_back) == (1, 2)
    assert vectors.look().changed == 0
    vectors.look("old_removed")
    assert both(client, "p:2") == [vector(2), vector(2, np.float16)]
    assert client.hmget("p:2", "title", "headline") == [None, b"t2"]
    assert vectors.kept == []


def test_an_old_form_that_goes_is_backed_up_where_the_new_one_tells_less(server: Server, client: redis.Redis):
    put(client, 1)
    narrowed = Mirrored(server, kept_beside(keeps_old=False))
    narrowed.look(is_first=True)
    narrowed.look("old_removed")
    assert both(client, "p:0") == [None, vector(0, np.float16)]
    assert narrowed.losses() == [(b"p:0", {b"embedding": vector(0)})]
    client.hset("p:1", "embedding", vector(1, np.float16))
    widened = Mirrored(server, kept_beside("FLOAT16", "FLOAT32", keeps_old=False), way="wider")
    widened.look(is_first=True)
    widened.look("old_removed")
    assert both(client, "p:1")[0] is None
    assert widened.kept == []


def test_what_no_vector_can_be_made_of_is_named_and_has_no_second_form(server: Server, client: redis.Redis):
    put(client)
    vectors = Mirrored(server, kept_beside(), TITLE)
    client.hset("p:0", "embedding", b"short")
    first = vectors.look(is_first=True)
    assert [(each.key, each.reason) for each in first.failures.listed] == [
        (b"p:0", "embedding: 5 bytes, expected 16 (4 x FLOAT32)")
    ]
    assert client.hget("p:0", "headline") == b"t0"
    client.hset("p:1", "embedding", np.array([1e6, 0, 0, 0], np.float32).tobytes())
    assert [each.key for each in vectors.look().failures.listed] == [b"p:0", b"p:1"]
    assert both(client, "p:1")[1] is None
    client.hset("p:0", "embedding", vector(5))
    assert [each.key for each in vectors.look().failures.listed] == [b"p:1"]
    assert both(client, "p:0") == [vector(5), vector(5, np.float16)]


def test_integers_stay_where_the_new_release_wrote_them(server: Server, client: redis.Redis):
    put(client)
    twin = kept_beside("FLOAT32", "INT8")
    scale = Quantization("int8_per_index", 10 / 127)
    vectors = Mirrored(server)
    vectors.values = replace(vectors.values, conversions=(TwinConversion.of(twin, {"embedding": scale}),))
    vectors.look(is_first=True)
    made = both(client, "p:1")[1]
    assert made is not None
    assert len(made) == DIMS
    client.hset("p:1", "small", b"\x01\x02\x03\x04")
    assert vectors.look().only_new == 1
    assert both(client, "p:1") == [vector(1), b"\x01\x02\x03\x04"]
    undone = vectors.look("new_removed")
    assert [each.key for each in undone.failures.listed] == [b"p:1"]
    assert [both(client, f"p:{number}")[1] for number in range(3)] == [None, b"\x01\x02\x03\x04", None]


def test_what_the_way_back_would_round_is_backed_up_before_it_goes(server: Server, client: redis.Redis):
    client.hset("p:1", "embedding", vector(1, np.float16))
    client.hset("p:2", "embedding", vector(2, np.float16))
    vectors = Mirrored(server, kept_beside("FLOAT16", "FLOAT32"))
    vectors.look(is_first=True)
    client.hset("p:1", "small", vector(0.00001))
    vectors.look()
    assert both(client, "p:1") == [vector(0.00001, np.float16), vector(0.00001)]
    assert vectors.look().changed == 0
    vectors.look("new_removed")
    assert both(client, "p:1") == [vector(0.00001, np.float16), None]
    assert vectors.losses() == [(b"p:1", {b"small": vector(0.00001)})]


@dataclass(frozen=True)
class Interfered(TwinValues):
    """The mirror that somebody writes under whenever it has read, for some times."""

    write: Callable[[], object] = lambda: None
    left: list[int] = field(default_factory=list)

    def prepare(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> None:
        super().prepare(keys, replies, reader)
        self._interfere()

    def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
        decision = super().decide(keys, replies, reader)
        self._interfere()
        return decision

    def _interfere(self) -> None:
        if self.left:
            self.left.pop()
            self.write()


def slowly(conversion: TwinConversion, calls: list[int]) -> TwinConversion:
    """The same conversion, which counts what it is asked for and must not be asked under a watch."""
    second = conversion.second
    assert second is not None

    def counted(batch: Batch) -> Transformed:
        calls.append(len(batch.keys))
        return second.forward(batch)

    return replace(conversion, second=replace(second, forward=counted, is_slow=True))


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.hset("p:1", "embedding", vector(77)),
        lambda client: client.hset("p:1", "small", vector(77, np.float16)),
        lambda client: client.hdel("p:1", "embedding"),
        lambda client: client.hdel("p:1", "small"),
        lambda client: client.delete("p:1"),
        lambda client: (client.delete("p:1"), client.hset("p:1", "embedding", vector(77))),
        lambda client: (client.delete("p:1"), client.set("p:1", "a string")),
    ],
    ids=["old", "new", "old deleted", "new deleted", "deleted", "whole", "a string"],
)
@pytest.mark.parametrize("aim", ["beside", "serving", "old_removed", "new_removed"])
def test_what_is_written_between_reading_and_writing_is_met(
    server: Server, client: redis.Redis, write: Any, aim: Any, is_slow: bool
):
    """The end is as if it had been written before; nobody's write is lost, and no ghost comes back."""
    ends = []
    for times in (0, 1, 2):
        client.flushdb()
        client.set(FENCE.key, FENCE.token)
        put(client)
        vectors = Mirrored(server, kept_beside(keeps_old=False))
        vectors.look(is_first=True)
        client.hset("p:1", "embedding", vector(50))
        client.hset("p:2", "small", vector(60, np.float16))
        if not times:
            write(client)
        values = vectors.values
        conversions = (
            tuple(slowly(each, []) for each in values.conversions) if is_slow else values.conversions
        )
        vectors.values = Interfered(
            values.schema,
            conversions,
            values.mark_prefix,
            keep=values.keep,
            removals=values.removals,
            write=lambda: write(client),
            left=[1] * times,
        )
        vectors.look(aim)
        is_hash = client.type("p:1") == b"hash"
        ends.append((both(client, "p:1") if is_hash else client.get("p:1"), both(client, "p:2")))
    assert ends[0] == ends[1] == ends[2]


def test_a_slow_conversion_runs_while_nothing_is_watched_and_once(server: Server, client: redis.Redis):
    put(client, 30)
    calls: list[int] = []
    vectors = Mirrored(server, kept_beside())
    conversions = tuple(slowly(each, calls) for each in vectors.values.conversions)
    vectors.values = replace(vectors.values, conversions=conversions)
    assert vectors.values.is_slow
    vectors.look(is_first=True)
    assert sum(calls) == 30
    assert both(client, "p:29") == [vector(29), vector(29, np.float16)]
    vectors.look()
    # What is as it was is asked of nobody.
    assert sum(calls) == 30


def test_writers_of_both_names_are_followed(server: Server, client: redis.Redis):
    put(client, 100)
    create_index(client)
    vectors = Mirrored(server, kept_beside())
    with (
        Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE) as synchroniser,
        Follower(
            Node(server, FENCE), replace(vectors.values, is_first=True), synchroniser, is_first=True
        ) as follower,
    ):
        follower.synchronise_all()
        follower.turn_to(vectors.values)
        for number in range(50):
            client.hset(f"p:{number}", "embedding", vector(number + 1))
            client.hset(f"p:{number + 50}", "small", vector(number, np.float16))
        follow_for(follower, 0.1)
        settled = follower.settle("products")
        assert settled.remaining == frozenset()
    assert all(both(client, f"p:{n}") == [vector(n + 1), vector(n + 1, np.float16)] for n in range(50))
    assert all(both(client, f"p:{n + 50}")[1] == vector(n, np.float16) for n in range(50))
    assert vectors.look().changed == 0
