"""Batches of values exchanged optimistically on a real server, while a second client gets in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis

from redismigrate.errors import FenceLost
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.optimistic import MOST_ATTEMPTS
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.wire import render
from redismigrate.state.fence import Fence

FENCE = Fence(b"fence", b"7")
COMPARING = Mode()
FAR_AWAY = 4_102_444_800_000
Exchanging = Callable[..., list[ExchangeOutcome]]


def keys_of(count: int) -> list[bytes]:
    return [b"k:\xff%d" % number for number in range(count)]


def old_to_new(keys: list[bytes], field: bytes = b"v") -> Exchange:
    return Exchange(keys, {field: [b"old"] * len(keys)}, {field: [b"new"] * len(keys)})


def between(action: Callable[[], object]) -> Mode:
    """A mode in which something happens after the values were read and before new ones are written."""

    def after(keys: Sequence[bytes]) -> bytes:
        action()
        # Answers with a list as long as the keys, whatever they hold.
        return render(b"MGET", *keys)

    return Mode(after=after)


def once(action: Callable[[], object]) -> Callable[[], None]:
    """The action when it is called for the first time, and nothing after that."""
    actions = [action]

    def act() -> None:
        if actions:
            actions.pop()()

    return act


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        yield server


@pytest.fixture
def exchange(server: Server, client: redis.Redis) -> Exchanging:
    """Exchanges batches while this process holds the lock."""
    client.set(FENCE.key, FENCE.token)

    def run(*exchanges: Exchange, mode: Mode = COMPARING, connections: int = 3) -> list[ExchangeOutcome]:
        with Exchanger(server, FENCE, connections) as exchanger:
            return list(exchanger.run(exchanges, mode))

    return run


def fill(client: redis.Redis, keys: list[bytes], **fields: str) -> None:
    values: dict[Any, Any] = fields or {"v": "old"}
    for key in keys:
        client.hset(key, mapping=values)


def values(client: redis.Redis, keys: list[bytes], field: str = "v") -> list[Any]:
    return [client.hget(key, field) for key in keys]


def hset_calls(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_hset", {"calls": 0})["calls"])


@pytest.mark.parametrize("connections", [1, 2, 8])
def test_outcomes_come_in_the_order_of_the_batches(
    client: redis.Redis, exchange: Exchanging, connections: int
):
    keys = keys_of(105)
    fill(client, keys)

    outcomes = exchange(*old_to_new(keys).parts(10), connections=connections)

    assert [(outcome.documents, outcome.done, outcome.changed) for outcome in outcomes] == [
        *[(10, 10, [])] * 10,
        (5, 5, []),
    ]
    assert values(client, keys) == [b"new"] * 105


@pytest.mark.parametrize("connections", [1, 3])
def test_no_batches_have_no_outcomes(exchange: Exchanging, connections: int):
    assert exchange(connections=connections) == []


def test_only_what_is_as_expected_is_replaced(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(6)
    fill(client, keys)
    client.hset(keys[0], "v", "another")
    client.delete(keys[1])
    client.hdel(keys[2], "v")
    client.hset(keys[2], "w", "1")
    client.delete(keys[3])
    client.set(keys[3], "text")
    client.hset(keys[4], "v", "new")
    before = hset_calls(client)

    (outcome,) = exchange(old_to_new(keys))

    assert hset_calls(client) - before == 1
    assert (outcome.done, outcome.changed) == (2, [keys[0]])
    assert client.hget(keys[0], "v") == b"another"
    assert not client.exists(keys[1])
    assert client.hgetall(keys[2]) == {b"w": b"1"}
    assert client.get(keys[3]) == b"text"
    assert values(client, keys[4:]) == [b"new", b"new"]


def test_a_batch_that_was_exchanged_before_is_done_and_writes_nothing(
    client: redis.Redis, exchange: Exchanging
):
    keys = keys_of(50)
    fill(client, keys)
    exchange(old_to_new(keys))
    before = hset_calls(client)

    (outcome,) = exchange(old_to_new(keys))

    assert (outcome.done, outcome.changed, hset_calls(client)) == (50, [], before)


def test_of_several_fields_all_are_as_expected_or_the_document_counts_as_changed(
    client: redis.Redis, exchange: Exchanging
):
    keys = keys_of(4)
    fill(client, keys, v="old", w="old")
    client.hset(keys[1], "w", "another")
    client.hdel(keys[2], "w")
    client.hset(keys[3], "w", "new")
    columns = {name: [b"old"] * 4 for name in (b"v", b"w")}
    new = {name: [b"new"] * 4 for name in (b"v", b"w")}

    (outcome,) = exchange(Exchange(keys, columns, new))

    assert (outcome.done, outcome.changed) == (3, [keys[1]])
    assert values(client, keys, "w") == [b"new", b"another", None, b"new"]
    assert values(client, [keys[0], *keys[2:]]) == [b"new"] * 3


def test_a_field_without_a_new_value_is_left_alone(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(2)
    fill(client, keys)

    (outcome,) = exchange(Exchange(keys, {b"v": [b"old", b"old"]}, {b"v": [b"new", None]}))

    assert outcome.done == 1
    assert values(client, keys) == [b"new", b"old"]


def test_a_write_in_between_repeats_the_batch_and_loses_neither_write(
    client: redis.Redis, exchange: Exchanging
):
    keys = keys_of(40)
    fill(client, keys)

    (outcome,) = exchange(old_to_new(keys), mode=between(once(lambda: client.hset(keys[13], "note", "kept"))))

    assert (outcome.done, outcome.changed, sorted(outcome.after)) == (40, [], sorted(keys))
    assert values(client, keys) == [b"new"] * 40
    assert client.hget(keys[13], "note") == b"kept"


def test_a_value_written_in_between_is_kept_and_told(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(40)
    fill(client, keys)

    (outcome,) = exchange(old_to_new(keys), mode=between(once(lambda: client.hset(keys[13], "v", "fresh"))))

    assert (outcome.done, outcome.changed) == (39, [keys[13]])
    assert client.hget(keys[13], "v") == b"fresh"


@pytest.mark.parametrize("connections", [1, 3])
def test_a_conflict_in_one_batch_leaves_the_others_alone(
    client: redis.Redis, exchange: Exchanging, connections: int
):
    keys = keys_of(100)
    fill(client, keys)

    outcomes = exchange(
        *old_to_new(keys).parts(10),
        mode=between(once(lambda: client.delete(keys[5]))),
        connections=connections,
    )

    assert [outcome.done for outcome in outcomes] == [9] + [10] * 9
    assert values(client, keys) == [b"new"] * 5 + [None] + [b"new"] * 94
    assert not client.exists(keys[5])


def test_a_document_that_expires_in_between_stays_away(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(10)
    fill(client, keys)

    def expire() -> None:
        client.pexpire(keys[4], 1)
        time.sleep(0.01)

    (outcome,) = exchange(old_to_new(keys), mode=between(once(expire)))

    assert (outcome.done, outcome.changed) == (9, [])
    assert not client.exists(keys[4])


def test_a_key_that_is_written_all_the_time_is_given_up_and_the_others_are_done(
    client: redis.Redis, exchange: Exchanging
):
    keys = keys_of(16)
    fill(client, keys)

    (outcome,) = exchange(old_to_new(keys), mode=between(lambda: client.hincrby(keys[3], "count", 1)))

    assert (outcome.done, outcome.changed) == (15, [keys[3]])
    assert values(client, keys) == [b"new"] * 3 + [b"old"] + [b"new"] * 12
    assert int(client.hget(keys[3], "count") or 0) > MOST_ATTEMPTS


def test_times_to_live_of_keys_and_fields_stay(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(5)
    fill(client, keys, v="old", w="old")
    client.pexpireat(keys[1], FAR_AWAY)
    client.execute_command("HPEXPIREAT", keys[2], FAR_AWAY, "FIELDS", 1, "v")
    client.execute_command("HPEXPIREAT", keys[3], FAR_AWAY, "FIELDS", 1, "w")

    (outcome,) = exchange(old_to_new(keys), mode=Mode())

    assert outcome.done == 5
    moments = [client.execute_command("HPEXPIRETIME", key, "FIELDS", 2, "v", "w") for key in keys]
    assert moments == [[-1, -1], [-1, -1], [FAR_AWAY, -1], [-1, FAR_AWAY], [-1, -1]]
    assert client.pexpiretime(keys[1]) == FAR_AWAY


def test_a_field_that_gets_a_time_to_live_in_between_keeps_it(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(5)
    fill(client, keys)

    def give() -> None:
        client.execute_command("HPEXPIREAT", keys[2], FAR_AWAY, "FIELDS", 1, "v")

    (outcome,) = exchange(old_to_new(keys), mode=between(once(give)))

    assert outcome.done == 5
    assert client.execute_command("HPEXPIRETIME", keys[2], "FIELDS", 1, "v") == [FAR_AWAY]


def test_nothing_is_written_where_the_record_is_gone(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(5)
    fill(client, keys)
    client.delete(FENCE.key)

    with pytest.raises(FenceLost, match="The record of this project was deleted from Redis meanwhile"):
        exchange(old_to_new(keys), mode=Mode(compares=True))

    assert values(client, keys) == [b"old"] * 5


@pytest.mark.parametrize("compares", [True, False])
def test_nothing_is_written_without_the_lock(client: redis.Redis, exchange: Exchanging, compares: bool):
    keys = keys_of(5)
    fill(client, keys)
    client.set(FENCE.key, b"8")

    with pytest.raises(FenceLost, match="Another process has taken over the lock of this project"):
        exchange(old_to_new(keys), mode=Mode(compares=compares))

    assert values(client, keys) == [b"old"] * 5


@pytest.mark.parametrize("compares", [True, False])
def test_a_batch_that_loses_the_lock_half_way_is_not_written(
    client: redis.Redis, exchange: Exchanging, compares: bool
):
    keys = keys_of(30)
    fill(client, keys)
    batches: list[int] = []

    def after(batch: Sequence[bytes]) -> bytes:
        batches.append(len(batch))
        if len(batches) == 2:
            client.set(FENCE.key, b"8")
        return render(b"MGET", *batch)

    with pytest.raises(FenceLost):
        exchange(*old_to_new(keys).parts(10), mode=Mode(compares=compares, after=after), connections=1)

    assert values(client, keys) == [b"new"] * 10 + [b"old"] * 20


def test_the_plain_way_reads_nothing_and_overwrites_everything(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(20)
    fill(client, keys)
    client.hset(keys[3], "v", "another")
    reads = client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]

    (outcome,) = exchange(old_to_new(keys), mode=Mode(compares=False))

    assert (outcome.done, outcome.changed) == (20, [])
    assert values(client, keys) == [b"new"] * 20
    assert client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] == reads


def test_what_follows_the_writes_is_one_transaction_with_them_and_answers_key_by_key(
    client: redis.Redis, exchange: Exchanging
):
    keys = keys_of(10)
    fill(client, keys)
    script = b"local r = {} for i, k in ipairs(KEYS) do r[i] = redis.call('HGET', k, 'v') end return r"

    def after(batch: Sequence[bytes]) -> bytes:
        return render(b"EVAL", script, b"%d" % len(batch), *batch)

    outcomes = exchange(*old_to_new(keys).parts(4), mode=Mode(after=after))

    answers = {key: answer for outcome in outcomes for key, answer in outcome.after.items()}
    assert answers == dict.fromkeys(keys, b"new")


def test_keys_alone_are_enough_for_what_follows(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(10)
    fill(client, keys)

    (outcome,) = exchange(Exchange(keys, {}, {}), mode=Mode(after=lambda batch: render(b"MGET", *batch)))

    assert (outcome.done, outcome.changed, list(outcome.after)) == (0, [], keys)


def test_a_command_that_the_server_refuses_is_raised(client: redis.Redis, exchange: Exchanging):
    keys = keys_of(3)
    fill(client, keys)

    with pytest.raises(redis.ResponseError, match="unknown command 'NONSENSE'"):
        exchange(old_to_new(keys), mode=Mode(after=lambda _: render(b"NONSENSE")))

    assert values(client, keys) == [b"old"] * 3
