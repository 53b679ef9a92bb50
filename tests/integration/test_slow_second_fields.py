"""Second fields whose conversion takes long, while an application writes: as for copies, see beside this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mirrored_documents import CONNECTIONS, DIMS, FENCE, SECOND, recoding, second_fields, synchronise
from random_transform import RandomVectors
from slow_transforms import SlowVectors, watched_keys

from redismigrate.documents.conversion import transform_of
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import SecondField
from redismigrate.redis_server.connection import Server, connect

if TYPE_CHECKING:
    import redis

VALUES = ("embedding", "image")


@pytest.fixture
def server(redis_url: str, client: redis.Redis):
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def vector(number: float, dtype: str = "<f4") -> bytes:
    return np.full(DIMS, number, dtype).tobytes()


def put(client: redis.Redis, count: int) -> None:
    for number in range(count):
        client.hset(f"p:{number}", mapping=dict.fromkeys(VALUES, vector(number)))


def slow(during: Callable[[], object], asked: list[int]) -> SecondFields:
    """Of two vectors, each of which is converted slowly."""

    def make(recodings: Any, quantizations: Any) -> SlowVectors:
        return SlowVectors(transform_of(recodings, quantizations), during, asked, seconds=0)

    recodings = [replace(recoding(), path=path) for path in VALUES]
    fields = tuple(SecondField.of(each, f"{each.path}{SECOND}", {}, make) for each in recodings)
    return replace(second_fields(), fields=fields)


def seconds_of(client: redis.Redis, key: str) -> list[bytes | None]:
    return client.hmget(key, [f"{path}{SECOND}" for path in VALUES])


def exec_calls(client: redis.Redis) -> int:
    return client.info("commandstats").get("cmdstat_exec", {}).get("calls", 0)


def test_no_key_is_watched_while_vectors_are_converted(server: Server, client: redis.Redis):
    put(client, 120)
    watched: list[int] = []
    asked: list[int] = []

    result = synchronise(server, slow(lambda: watched.append(watched_keys(client)), asked))

    assert result.written == 120
    assert seconds_of(client, "p:7") == [vector(7, "<f2")] * 2
    assert len(watched) > CONNECTIONS
    assert set(watched) == {0}
    # Each once: what was made is kept until it is written.
    assert sum(asked) == 2 * 120


def test_what_is_written_meanwhile_is_met_by_one_comparison_whatever_it_is(
    server: Server, client: redis.Redis
):
    put(client, 10)
    writes: list[Callable[[], object]] = [
        partial(client.hset, "p:7", mapping=dict.fromkeys(VALUES, vector(100))),
        partial(client.hset, "p:8", "image", vector(100, "<f2")),
        partial(client.delete, "p:9"),
    ]
    asked: list[int] = []
    before = exec_calls(client)

    result = synchronise(server, slow(lambda: writes.pop()() if writes else None, asked))

    assert (result.written, result.busy) == (9, [])
    assert seconds_of(client, "p:7") == [vector(100, "<f2")] * 2
    assert seconds_of(client, "p:8") == [vector(8, "<f2"), vector(100, "<f2")]
    assert client.hget("p:8", "image") == vector(100)
    assert not client.exists("p:9")
    assert exec_calls(client) - before == 1


def test_a_document_that_is_written_each_time_is_told_and_the_others_are_done(
    server: Server, client: redis.Redis
):
    put(client, 10)
    asked: list[int] = []

    result = synchronise(server, slow(lambda: client.hset("p:7", "image", vector(100 + len(asked))), asked))

    assert (result.written, result.busy) == (9, [b"p:7"])
    assert seconds_of(client, "p:7") == [None, None]
    assert sum(asked) < 60


def test_a_transform_that_comes_to_other_values_each_time_can_fill_no_second_field():
    with pytest.raises(ValueError, match="deterministic"):
        SecondField.of(recoding(), SECOND, {}, lambda *_: RandomVectors((("embedding", 2 * DIMS),)))
