"""New forms of vectors in fields of their own beside the old ones, while an application writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import redis
from document_writer import LONGEST_TTL_MS, Writer, vector_of, written
from mirrored_documents import (
    BATCH_SIZE,
    CONNECTIONS,
    FENCE,
    SECOND,
    Interrupted,
    create_index,
    follow_at_work,
    recoding,
    schema_of,
    second_fields,
    synchronise,
)

from redismigrate.errors import FenceLost
from redismigrate.execution.documents.beside.follower import Follower, read_guard
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import FieldAim, SecondField
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import Decision
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema.quantization import Quantization

FAR_AWAY = 4_102_444_800_000
OLD = np.array([1.1, -2.2, 3.3, 0.0], np.float32)
OTHER = np.array([0.7, 0.1, -5.5, 9.0], np.float32)
TOO_LARGE = np.array([1e6, 0, 0, 0], np.float32)
FIELDS = second_fields()


def old(numbers: Any = OLD) -> bytes:
    return np.asarray(numbers, np.float32).tobytes()


def new(numbers: Any = OLD) -> bytes:
    return np.asarray(numbers, np.float32).astype(np.float16).tobytes()


def back(value: bytes) -> bytes:
    return np.frombuffer(value, np.float16).astype(np.float32).tobytes()


def put(client: redis.Redis, key: str, declared: bytes | None, second: bytes | None = None) -> None:
    values: dict[Any, Any] = {"title": "shoe", "embedding": declared, SECOND: second}
    client.hset(key, mapping={name: value for name, value in values.items() if value is not None})


def forms(client: redis.Redis, key: str = "p:1") -> list[Any]:
    return client.hmget(key, "embedding", SECOND)


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def test_every_document_gets_a_second_form(server: Server, client: redis.Redis):
    for number in range(500):
        put(client, f"p:{number}", old(OLD + number))
    client.set("p:string", "no document")
    client.hset("p:none", "title", "no vector")
    client.hset("q:1", "embedding", old())

    result = synchronise(server, FIELDS)

    assert (result.documents, result.written, result.removed, result.failures.count) == (500, 500, 0, 0)
    for number in range(500):
        assert forms(client, f"p:{number}") == [old(OLD + number), new(OLD + number)]
    assert forms(client, "q:1") == [old(), None]


def test_what_is_in_step_is_not_written_again(server: Server, client: redis.Redis):
    for number in range(120):
        put(client, f"p:{number}", old(OLD + number))
    synchronise(server, FIELDS)
    create_index(client)
    before = read_guard(server, "products")

    result = synchronise(server, FIELDS)

    assert (result.documents, result.written, result.removed) == (120, 0, 0)
    assert read_guard(server, "products") == before


@pytest.mark.parametrize(
    ("declared", "second", "aim", "declared_after", "second_after"),
    [
        (old(), None, "beside", old(), new()),
        (old(), new(OTHER), "beside", old(), new()),
        (None, new(), "beside", None, None),
        (new(), None, "beside", back(new()), new()),
        (new(), new(OTHER), "beside", back(new()), new()),
        (b"short", new(), "beside", b"short", None),
        (old(TOO_LARGE), new(), "beside", old(TOO_LARGE), None),
        (old(), new(), "promoted", new(), new()),
        (old(OTHER), new(), "promoted", new(OTHER), new(OTHER)),
        (old(), None, "promoted", new(), new()),
        (new(), None, "promoted", new(), new()),
        (new(OTHER), new(), "promoted", new(OTHER), new(OTHER)),
        (None, new(), "promoted", None, None),
        (b"short", new(), "promoted", b"short", None),
        (old(TOO_LARGE), None, "promoted", old(TOO_LARGE), None),
        (new(), new(), "removed", new(), None),
        (old(), new(), "removed", new(), None),
        (old(OTHER), None, "removed", new(OTHER), None),
        (old(TOO_LARGE), None, "removed", old(TOO_LARGE), None),
        (b"short", new(), "removed", b"short", None),
        (old(), new(), "reverted", old(), None),
        (new(), new(), "reverted", back(new()), None),
        (b"short", new(), "reverted", b"short", None),
    ],
)
def test_both_fields_become_what_the_aim_says(
    server: Server,
    client: redis.Redis,
    declared: bytes | None,
    second: bytes | None,
    aim: FieldAim,
    declared_after: bytes | None,
    second_after: bytes | None,
):
    put(client, "p:1", declared, second)

    for _ in range(2):  # a repetition changes nothing
        synchronise(server, replace(FIELDS, aim=aim))
        assert forms(client) == [declared_after, second_after]
    assert client.hget("p:1", "title") == b"shoe"


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (b"short", "embedding: 5 bytes, expected 16 (4 x FLOAT32) or 8 (4 x FLOAT16)"),
        (old(TOO_LARGE), "embedding: component 0 is 1e+06, FLOAT16 ends at 65504"),
    ],
)
def test_a_vector_that_has_no_second_form_is_a_failure(
    server: Server, client: redis.Redis, declared: bytes, reason: str
):
    put(client, "p:1", declared)
    failures = synchronise(server, FIELDS).failures
    assert [(failed.key, failed.reason) for failed in failures.listed] == [(b"p:1", reason)]


def test_documents_in_the_new_form_are_counted(server: Server, client: redis.Redis):
    fields = second_fields("FLOAT16", "FLOAT64")
    overflowing = np.array([1e6, 0, 0, 0], np.float64).tobytes()
    put(client, "p:1", overflowing)
    put(client, "p:2", OLD.astype(np.float64).tobytes())
    put(client, "p:3", OLD.astype(np.float16).tobytes())

    result = synchronise(server, fields)

    assert (result.turned_back, result.only_new, result.failures.count) == (1, 1, 0)
    assert forms(client, "p:1") == [overflowing, overflowing]


def test_what_the_old_form_can_not_tell_stays_in_the_second_field(server: Server, client: redis.Redis):
    fields = second_fields("FLOAT32", "FLOAT64")
    precise = np.array([0.1, 0.2, 0.3, 0.4], np.float64)
    put(client, "p:1", precise.tobytes())

    synchronise(server, fields)
    assert forms(client) == [precise.astype(np.float32).tobytes(), precise.tobytes()]
    assert synchronise(server, fields).written == 0
    synchronise(server, replace(fields, aim="promoted"))
    assert forms(client) == [precise.tobytes(), precise.tobytes()]


def test_integers_have_no_way_back(server: Server, client: redis.Redis):
    quantizations = {"embedding": Quantization("int8_per_vector")}
    fields = SecondFields(schema_of(), (SecondField.of(recoding("FLOAT32", "INT8"), SECOND, quantizations),))
    put(client, "p:1", old())
    put(client, "p:2", b"\x01\x02\x03\x04")

    result = synchronise(server, fields)

    assert (result.written, result.only_new) == (2, 1)
    assert forms(client, "p:1") == [old(), bytes(np.array([42, -85, 127, 0], np.int8))]
    assert forms(client, "p:2") == [b"\x01\x02\x03\x04"] * 2


def test_what_has_no_way_back_is_named_when_second_fields_are_taken_back(server: Server, client: redis.Redis):
    quantizations = {"embedding": Quantization("int8_per_vector")}
    fields = SecondFields(schema_of(), (SecondField.of(recoding("FLOAT32", "INT8"), SECOND, quantizations),))
    put(client, "p:1", old())
    put(client, "p:2", b"\x01\x02\x03\x04")
    synchronise(server, fields)

    result = synchronise(server, replace(fields, aim="reverted"))

    assert [failed.key for failed in result.failures.listed] == [b"p:2"]
    assert forms(client, "p:1") == [old(), None]
    assert forms(client, "p:2") == [b"\x01\x02\x03\x04", None]


def test_of_two_types_of_one_width_the_declared_one_counts_as_old(server: Server, client: redis.Redis):
    fields = second_fields("FLOAT16", "BFLOAT16")
    value = OLD.astype(np.float16).tobytes()
    wanted = OLD.astype(np.float16).astype(ml_dtypes.bfloat16).tobytes()
    put(client, "p:1", value)

    synchronise(server, fields)
    assert forms(client) == [value, wanted]
    for _ in range(2):
        synchronise(server, replace(fields, aim="promoted"))
        assert forms(client) == [wanted, wanted]


def test_several_fields_are_kept_at_a_time_all_of_a_document_or_none(server: Server, client: redis.Redis):
    other = replace(recoding(), path="image")
    fields = replace(FIELDS, fields=(*FIELDS.fields, SecondField.of(other, "image__new", {})))
    client.hset("p:1", mapping={"embedding": old(), "image": old(OTHER)})
    client.hset("p:2", mapping={"image": b"short", "embedding": old()})

    result = synchronise(server, fields)

    assert client.hmget("p:1", SECOND, "image__new") == [new(), new(OTHER)]
    assert client.hmget("p:2", SECOND, "image__new") == [None, None]
    assert [failed.key for failed in result.failures.listed] == [b"p:2"]


def test_a_hash_of_which_only_the_second_field_is_left_goes(server: Server, client: redis.Redis):
    client.hset("p:1", SECOND, new())
    assert synchronise(server, FIELDS).removed == 1
    assert not client.exists("p:1")


def test_excluded_prefixes_are_left_alone(server: Server, client: redis.Redis):
    put(client, "p:1", old())
    put(client, "p:done:1", old())
    fields = replace(FIELDS, excluded_prefixes=("p:done:",))
    with (
        Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE) as synchroniser,
        Follower(Node(server, FENCE), fields, synchroniser) as follower,
    ):
        follower.synchronise_all()
        put(client, "p:done:1", old(OTHER))
        create_index(client)
        assert follower.settle("products").remaining == frozenset()
    assert forms(client, "p:done:1") == [old(OTHER), None]


def field_moments(client: redis.Redis, key: str = "p:1") -> list[int]:
    return client.execute_command("HPEXPIRETIME", key, "FIELDS", 3, "title", "embedding", SECOND)


def test_both_forms_expire_together(server: Server, client: redis.Redis):
    put(client, "p:1", old())
    client.pexpireat("p:1", FAR_AWAY)
    client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 2, "title", "embedding")
    for moment in (FAR_AWAY, FAR_AWAY + 1000):
        client.execute_command("HPEXPIREAT", "p:1", moment, "FIELDS", 1, "embedding")
        synchronise(server, FIELDS)
        assert field_moments(client) == [FAR_AWAY, moment, moment]
    client.execute_command("HPERSIST", "p:1", "FIELDS", 1, "embedding")
    synchronise(server, FIELDS)
    assert field_moments(client) == [FAR_AWAY, -1, -1]
    client.hset("p:1", "embedding", new(OTHER))
    client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 1, "embedding")
    synchronise(server, FIELDS)
    assert forms(client) == [back(new(OTHER)), new(OTHER)]
    assert field_moments(client) == [FAR_AWAY] * 3
    synchronise(server, replace(FIELDS, aim="promoted"))
    assert field_moments(client) == [FAR_AWAY] * 3
    assert client.pexpiretime("p:1") == FAR_AWAY


@pytest.mark.parametrize("connections", [1, 3])
def test_a_document_that_is_deleted_in_between_stays_away(
    server: Server, client: redis.Redis, connections: int
):
    class Meddling(SecondFields):
        def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
            client.delete("p:7")
            return super().decide(keys, replies, reader)

    for number in range(100):
        put(client, f"p:{number}", old())
    mirror = Meddling(FIELDS.schema, FIELDS.fields)
    with Synchroniser(Node(server, FENCE), connections, 10) as synchroniser:
        result = synchroniser.synchronise(mirror, mirror.keys(server))
    assert (result.documents, result.written) == (99, 99)
    assert not client.exists("p:7")


def test_a_document_that_is_written_all_the_time_is_told_and_the_others_are_done(
    server: Server, client: redis.Redis
):
    class Meddling(SecondFields):
        def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
            client.hincrby("p:7", "count", 1)
            return super().decide(keys, replies, reader)

    for number in range(20):
        put(client, f"p:{number}", old())
    mirror = Meddling(FIELDS.schema, FIELDS.fields)
    with Synchroniser(Node(server, FENCE), CONNECTIONS, 10) as synchroniser:
        result = synchroniser.synchronise(mirror, mirror.keys(server))
    assert (result.written, result.busy) == (19, [b"p:7"])
    assert forms(client, "p:7") == [old(), None]


def test_nothing_is_written_without_the_lock(server: Server, client: redis.Redis):
    put(client, "p:1", old())
    client.set(FENCE.key, b"8")
    with pytest.raises(FenceLost):
        synchronise(server, FIELDS)
    assert forms(client) == [old(), None]


@pytest.mark.parametrize("aim", ["beside", "promoted", "removed"])
def test_a_pass_that_was_cut_off_is_finished_by_the_next_one(
    server: Server, client: redis.Redis, aim: FieldAim
):
    for number in range(600):
        put(client, f"p:{number}", old(OLD + number))
    if aim != "beside":
        synchronise(server, FIELDS)
    fields = replace(FIELDS, aim=aim)
    with pytest.raises(Interrupted):
        synchronise(server, fields, stop_after=4)

    synchronise(server, fields)

    second = {"beside": new, "promoted": new, "removed": lambda _: None}[aim]
    declared = old if aim == "beside" else new
    for number in range(600):
        assert forms(client, f"p:{number}") == [declared(OLD + number), second(OLD + number)]


@pytest.mark.slow_beyond(1)
def test_writers_are_followed_even_if_the_tracker_is_lost(
    server: Server, client: redis.Redis, redis_url: str, tmp_path: Path
):
    log = tmp_path / "writer.log"
    application = Writer(redis_url, str(log), 4, "float32", 3000, per_second=1000)
    application.fill()
    create_index(client)

    follow_at_work(server, client, FIELDS, application.at_work, 3.0)

    time.sleep(LONGEST_TTL_MS / 1000 + 0.2)
    expected = written(log)
    assert set(client.scan_iter(match="*", count=1000, _type="hash")) == set(expected)
    for key, document in expected.items():
        wanted: list[Any] = [None, None]
        if document.vector is not None:
            vector = vector_of(document.vector, 4, "float32")
            wanted = [vector, np.frombuffer(vector, np.float32).astype(np.float16).tobytes()]
        assert forms(client, key.decode()) == wanted, document
        moments = field_moments(client, key.decode())
        assert moments[1] == moments[2], document
        assert document.vector is None or moments[1] == document.vector_expires_ms, document
