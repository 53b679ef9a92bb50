"""Batches whose values are arrays, as those of a backup are: the same outcomes as with lists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import redis

from redismigrate.documents.columns import FixedWidth
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.redis_server.connection import Server, connect
from redismigrate.state.fence import Fence

FENCE = Fence(b"fence", b"7")
FAR_AWAY = 4_102_444_800_000
# Of three different lengths.
KEYS = [b"k:%d" % number for number in (1, 22, 3, 44, 555, 6)]
OLD = FixedWidth(np.arange(6 * 40, dtype=np.uint8).reshape(6, 40))
NEW = FixedWidth(OLD.rows[:, ::-2].copy())


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        yield server


@pytest.fixture
def documents(client: redis.Redis) -> redis.Redis:
    client.set(FENCE.key, FENCE.token)
    for key, value in zip(KEYS, OLD, strict=True):
        client.hset(key, mapping={"v": value, "other": "x"})
    return client


def exchange(server: Server, mode: Mode) -> ExchangeOutcome:
    with Exchanger(server, FENCE, 1) as exchanger:
        (outcome,) = exchanger.run([Exchange(KEYS, {b"v": OLD}, {b"v": NEW})], mode)
    return outcome


def values(client: redis.Redis) -> list[object]:
    return [client.hget(key, "v") for key in KEYS]


@pytest.mark.parametrize("compares", [True, False])
def test_every_key_gets_its_own_value(server: Server, documents: redis.Redis, compares: bool):
    outcome = exchange(server, Mode(compares))
    assert (outcome.done_keys, outcome.changed) == (KEYS, [])
    assert values(documents) == list(NEW)
    assert documents.hget(KEYS[0], "other") == b"x"


def test_a_changed_value_of_the_same_length_is_left_alone(server: Server, documents: redis.Redis):
    documents.hset(KEYS[2], "v", b"c" * 40)
    documents.hset(KEYS[3], "v", NEW[3])
    documents.hdel(KEYS[4], "v")
    outcome = exchange(server, Mode())
    assert outcome.changed == [KEYS[2]]
    assert outcome.done_keys == [KEYS[0], KEYS[1], KEYS[3], KEYS[5]]
    assert values(documents) == [NEW[0], NEW[1], b"c" * 40, NEW[3], None, NEW[5]]


def test_one_changed_value_among_values_of_one_length_is_left_alone(server: Server, documents: redis.Redis):
    documents.hset(KEYS[5], "v", b"c" * 40)
    assert exchange(server, Mode()).changed == [KEYS[5]]
    assert values(documents) == [*NEW[:5], b"c" * 40]


def test_what_has_the_new_value_already_counts_as_done(server: Server, documents: redis.Redis):
    exchange(server, Mode())
    outcome = exchange(server, Mode())
    assert (outcome.done_keys, outcome.changed) == (KEYS, [])
    assert values(documents) == list(NEW)


def test_the_time_to_live_of_a_field_is_kept(server: Server, documents: redis.Redis):
    documents.execute_command("HPEXPIREAT", KEYS[1], FAR_AWAY, "FIELDS", 1, "v")
    assert exchange(server, Mode()).done == 6
    assert documents.execute_command("HPEXPIRETIME", KEYS[1], "FIELDS", 1, "v") == [FAR_AWAY]
    assert values(documents) == list(NEW)
