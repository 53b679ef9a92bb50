"""Copies of documents under another prefix, kept in step while an application writes."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from document_writer import LONGEST_TTL_MS, Writer, vector_of, written
from mirrored_documents import (
    BATCH_SIZE,
    CONNECTIONS,
    FENCE,
    KEPT,
    MARKS,
    Interrupted,
    copies,
    create_index,
    follow_at_work,
    recoding,
    synchronise,
)

from redismigrate.errors import FenceLost
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.mark_store import forget_marks
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.mirroring import Decision
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.wire import Wire
from redismigrate.schema.moves import PathRename

FAR_AWAY = 4_102_444_800_000
FLOATS = np.array([1.1, -2.2, 3.3, 0.0], np.float32)
COPIES = copies(recodings=(recoding(),))
RENAMING = copies((PathRename("desc", "description"),), (recoding(),))
JSON = copies(storage_type="json")
SERVING = replace(COPIES, aim="serving")
OVER = replace(COPIES, aim="originals_removed")
BACK = replace(COPIES, aim="copies_removed")


def vector(number: int = 0, dtype: Any = np.float32) -> bytes:
    return (FLOATS + number).astype(np.float32).astype(dtype).tobytes()


def put(client: redis.Redis, key: str, number: int = 0, dtype: Any = np.float32) -> None:
    client.hset(key, mapping={"title": f"shoe {number}", "embedding": vector(number, dtype)})


def product(number: int = 0) -> dict[bytes, bytes]:
    """A copy."""
    return {b"title": b"shoe %d" % number, b"embedding": vector(number, np.float16)}


def hashes(client: redis.Redis) -> dict[bytes, Any]:
    return {key: client.hgetall(key) for key in client.scan_iter(count=1000, _type="hash")}


def marks(client: redis.Redis) -> set[bytes]:
    return {key[len(MARKS) :] for key in client.scan_iter(match=MARKS + b"*", count=1000)}


def reasons(server: Server, mirror: Copies = COPIES) -> list[tuple[bytes, str]]:
    return sorted((failed.key, failed.reason) for failed in synchronise(server, mirror).failures.listed)


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def test_every_document_gets_a_copy_and_a_second_pass_writes_nothing(server: Server, client: redis.Redis):
    for number in range(500):
        put(client, f"p:{number}", number)
    client.set("p:string", "no document")
    client.hset("o:1", "title", "another")

    result = synchronise(server, COPIES)

    assert (result.documents, result.written, result.failures.count) == (500, 500, 0)
    assert all(client.hgetall(f"q:{number}") == product(number) for number in range(500))
    assert not client.exists("q:string")
    again = synchronise(server, COPIES)
    assert (again.documents, again.written, again.removed) == (500, 0, 0)


def test_the_transform_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(RENAMING.transform)) == RENAMING.transform  # noqa: S301 - our own bytes


def test_fields_are_renamed_with_their_times_to_live(server: Server, client: redis.Redis):
    client.hset("p:1", mapping={"desc": "fine", "embedding": vector(), "title": "shoe"})
    client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 2, "desc", "embedding")
    client.hset("p:2", mapping={"desc": "fine", "description": "both"})

    assert reasons(server, RENAMING) == [(b"p:2", "it has a field description already, beside desc")]

    assert client.hgetall("q:1") == {
        b"description": b"fine",
        b"embedding": vector(0, np.float16),
        b"title": b"shoe",
    }
    moments = client.execute_command("HPEXPIRETIME", "q:1", "FIELDS", 3, "description", "embedding", "title")
    assert moments == [FAR_AWAY, FAR_AWAY, -1]
    assert not client.exists("q:2")


def test_a_copy_follows_its_original(server: Server, client: redis.Redis):
    for number in range(4):
        put(client, f"p:{number}", number)
    synchronise(server, COPIES)
    put(client, "p:0", 9)
    client.hdel("p:1", "title")
    client.delete("p:2")
    client.hset("p:3", "note", "more")
    put(client, "p:4", 4)

    result = synchronise(server, COPIES)

    assert (result.written, result.removed) == (4, 1)
    assert client.hgetall("q:0") == product(9)
    assert client.hgetall("q:1") == {b"embedding": vector(1, np.float16)}
    assert not client.exists("q:2")
    assert client.hgetall("q:3") == product(3) | {b"note": b"more"}
    assert client.hgetall("q:4") == product(4)
    assert marks(client) == {b"p:0", b"p:1", b"p:3", b"p:4"}


def test_times_to_live_follow(server: Server, client: redis.Redis):
    def moments() -> tuple[Any, ...]:
        synchronise(server, COPIES)
        return (
            client.pexpiretime("q:1"),
            *client.execute_command("HPEXPIRETIME", "q:1", "FIELDS", 2, "title", "embedding"),
        )

    put(client, "p:1")
    client.pexpireat("p:1", FAR_AWAY)
    assert moments() == (FAR_AWAY, -1, -1)
    client.pexpireat("p:1", FAR_AWAY + 1)
    client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 1, "title")
    assert moments() == (FAR_AWAY + 1, FAR_AWAY, -1)
    client.persist("p:1")
    client.hset("p:1", "embedding", vector(5))
    assert moments() == (-1, FAR_AWAY, -1)
    client.hset("p:1", "title", "eternal")
    client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 1, "embedding")
    assert moments() == (-1, -1, FAR_AWAY)
    client.execute_command("HPERSIST", "p:1", "FIELDS", 1, "embedding")
    assert moments() == (-1, -1, -1)
    assert client.hgetall("q:1") == {b"title": b"eternal", b"embedding": vector(5, np.float16)}


def test_fields_that_expire_on_both_sides_are_no_write_of_the_application(
    server: Server, client: redis.Redis
):
    put(client, "p:1")
    client.hset("p:1", "fading", "soon gone")
    client.execute_command("HPEXPIRE", "p:1", 60, "FIELDS", 1, "fading")
    synchronise(server, COPIES)
    time.sleep(0.15)
    client.hset("p:1", "title", "shoe 7")

    assert reasons(server) == []
    assert client.hgetall("q:1") == product() | {b"title": b"shoe 7"}


def test_a_key_that_was_there_before_is_never_written(server: Server, client: redis.Redis):
    for number in range(3):
        put(client, f"p:{number}", number)
    client.hset("q:0", "title", "mine")
    client.set("q:1", "mine")
    client.hset("q:2", mapping={key.decode(): value for key, value in product(2).items()})

    for _ in range(2):
        assert reasons(server) == [
            (b"p:%d" % number, f"a key q:{number} exists already, and was not made by this migration")
            for number in range(2)
        ]
        assert client.hgetall("q:0") == {b"title": b"mine"}
        assert client.get("q:1") == b"mine"
    assert synchronise(server, BACK).removed == 0
    assert client.hgetall("q:2") == product(2)


def written_on_both_sides(client: redis.Redis) -> None:
    """Copies that are written, one of them like its original, one without it, and one that is deleted."""
    for number in range(3):
        client.hset(f"q:{number}", "title", "newer")
    client.delete("q:3")
    put(client, "p:1", 11)
    client.delete("p:2")


def test_what_is_written_to_a_copy_goes_back_to_its_original(server: Server, client: redis.Redis):
    for number in range(4):
        put(client, f"p:{number}", number)
    synchronise(server, COPIES)
    written_on_both_sides(client)

    result = synchronise(server, COPIES)

    assert result.failures.count == 0
    assert (result.written, result.turned_back, result.only_new) == (1, 4, 0)
    assert [failed.key for failed in result.conflicts.listed] == [b"p:1"]
    rounded = np.frombuffer(vector(2, np.float16), np.float16).astype(np.float32).tobytes()
    assert client.hgetall("p:0")[b"title"] == b"newer"
    # The vector was written in the old form alone, the title in both.
    assert client.hgetall("q:1") == product(11) | {b"title": b"newer"}
    assert client.hget("p:1", "title") == b"newer"
    assert client.hgetall("p:2") == {b"title": b"newer", b"embedding": rounded}
    assert not client.exists("p:3", "q:3")
    put(client, "p:3", 33)
    synchronise(server, COPIES)
    assert client.hgetall("q:3") == product(33)


def test_what_is_written_to_a_copy_that_serves_stays_there(server: Server, client: redis.Redis):
    for number in range(4):
        put(client, f"p:{number}", number)
    synchronise(server, COPIES)
    written_on_both_sides(client)
    before = {key: value for key, value in hashes(client).items() if key.startswith(b"p:")}

    result = synchronise(server, SERVING)

    assert (result.only_new, result.only_new_deleted, result.turned_back) == (2, 1, 0)
    assert [failed.key for failed in result.conflicts.listed] == [b"p:1"]
    assert {key: value for key, value in hashes(client).items() if key.startswith(b"p:")} == before
    assert client.hgetall("q:1") == product(11) | {b"title": b"newer"}
    assert [client.hget(f"q:{number}", "title") for number in range(4)] == [b"newer"] * 3 + [None]
    assert synchronise(server, SERVING).written == 0
    put(client, "p:3", 33)
    synchronise(server, SERVING)
    assert client.hgetall("q:3") == product(33)


def test_the_originals_that_a_copy_replaces_are_backed_up_before(server: Server, client: redis.Redis):
    for number in range(4):
        put(client, f"p:{number}", number)
    synchronise(server, COPIES)
    written_on_both_sides(client)
    before = hashes(client)
    del KEPT[:]

    synchronise(server, COPIES)

    kept = {each.key: each.original.document for each in KEPT}
    assert kept == {key: before[key] for key in (b"p:0", b"p:1", b"p:3")}
    assert {each.key for each in KEPT if each.is_conflict} == {b"p:1"}
    del KEPT[:]
    for number in range(3):
        client.hset(f"q:{number}", "title", "newest")
    synchronise(server, COPIES)
    assert KEPT == []  # the originals are what came from the copies before


def test_a_document_that_can_not_be_converted_has_no_copy_any_more(server: Server, client: redis.Redis):
    put(client, "p:1")
    put(client, "p:2", dtype=np.float16)
    synchronise(server, COPIES)
    client.hset("p:1", "embedding", b"short")

    assert reasons(server) == [(b"p:1", "embedding: 5 bytes, expected 16 (4 x FLOAT32)")]

    assert not client.exists("q:1")
    assert client.hgetall("q:2") == product()
    put(client, "p:1")
    assert reasons(server) == []
    assert client.hgetall("q:1") == product()


def test_originals_go_once_their_copies_are_in_step(server: Server, client: redis.Redis):
    for number in range(300):
        put(client, f"p:{number}", number)
    synchronise(server, COPIES)
    put(client, "p:1", 11)
    client.hset("q:2", "title", "newer")
    client.delete("q:3")
    client.delete("p:4")
    client.hset("q:5", "title", "mine")
    put(client, "p:5", 55)
    put(client, "p:new", 7)
    client.hset("p:occupied", "title", "another")
    client.hset("q:occupied", "title", "mine")
    del KEPT[:]

    result = synchronise(server, OVER)

    left = hashes(client)
    assert [key for key in left if key.startswith(b"p:")] == [b"p:occupied"]
    assert [failed.key for failed in result.failures.listed] == [b"p:occupied"]
    assert [failed.key for failed in result.conflicts.listed] == [b"p:5"]
    assert left[b"q:1"] == product(11)
    assert left[b"q:2"] == product(2) | {b"title": b"newer"}
    assert not left.keys() & {b"q:3", b"q:4"}
    assert left[b"q:5"] == product(55) | {b"title": b"mine"}
    assert left[b"q:new"] == product(7)
    assert len(left) == 301
    assert {each.key for each in KEPT} == {b"p:2", b"p:3", b"p:5"}
    for mirror in (SERVING, OVER):
        synchronise(server, mirror)
        assert hashes(client) == left
    forget_marks(server, MARKS)
    assert marks(client) == set()
    for mirror in (COPIES, OVER):  # copies without originals belong to the application by now
        synchronise(server, mirror)
        assert hashes(client) == left


def test_what_is_written_under_an_old_key_that_is_gone_goes_on_to_its_copy(
    server: Server, client: redis.Redis
):
    for number in range(3):
        put(client, f"p:{number}", number)
    synchronise(server, COPIES)
    synchronise(server, OVER)
    client.hset("q:1", "title", "newer")
    del KEPT[:]
    for number in range(3):
        client.hset(f"p:{number}", mapping={"title": "late", "stock": "3"})

    result = synchronise(server, OVER)

    assert [failed.key for failed in result.conflicts.listed] == [b"p:1"]
    assert [each.key for each in KEPT] == [b"p:1"]
    assert hashes(client) == {
        b"q:0": product(0) | {b"title": b"late", b"stock": b"3"},
        b"q:1": product(1) | {b"title": b"newer", b"stock": b"3"},
        b"q:2": product(2) | {b"title": b"late", b"stock": b"3"},
    }


@pytest.mark.parametrize("mirror", [COPIES, OVER])
def test_an_original_that_becomes_another_type_takes_its_copy_along(
    server: Server, client: redis.Redis, mirror: Copies
):
    put(client, "p:1")
    synchronise(server, COPIES)
    client.delete("p:1")
    client.set("p:1", "no document")

    synchronise(server, mirror)

    assert (hashes(client), marks(client)) == ({}, set())


def test_an_original_that_becomes_another_type_while_originals_go_takes_its_copy_along(
    server: Server, client: redis.Redis
):
    put(client, "p:1")
    put(client, "p:2")
    synchronise(server, COPIES)

    def portions() -> Iterator[Sequence[bytes]]:
        for number, portion in enumerate(OVER.keys(server)):
            if number == 0:  # before the originals are looked for
                client.delete("p:1")
                client.set("p:1", "no document")
            yield portion

    with Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE) as synchroniser:
        synchroniser.synchronise(OVER, portions())

    assert (set(hashes(client)), marks(client)) == ({b"q:2"}, {b"p:2"})


def test_only_copies_that_were_made_here_are_taken_back(server: Server, client: redis.Redis):
    for number in range(200):
        put(client, f"p:{number}", number)
    client.hset("q:0", "title", "mine")
    client.hset("q:other", "title", "mine")
    synchronise(server, COPIES)
    client.hset("q:1", "title", "newer")
    client.delete("p:2")
    before = {key: value for key, value in hashes(client).items() if key.startswith(b"p:")}

    result = synchronise(server, BACK)

    assert (result.removed, result.turned_back) == (199, 1)
    copies_left = {b"q:0": {b"title": b"mine"}, b"q:other": {b"title": b"mine"}}
    rounded = np.frombuffer(vector(1, np.float16), np.float16).astype(np.float32).tobytes()
    before[b"p:1"] = {b"title": b"newer", b"embedding": rounded}
    assert hashes(client) == before | copies_left
    assert marks(client) == set()


@pytest.mark.parametrize("aim", ["beside", "originals_removed", "copies_removed"])
def test_a_pass_that_was_cut_off_is_finished_by_the_next_one(server: Server, client: redis.Redis, aim: Any):
    for number in range(600):
        put(client, f"p:{number}", number)
    if aim != "beside":
        synchronise(server, COPIES)
    with pytest.raises(Interrupted):
        synchronise(server, replace(COPIES, aim=aim), stop_after=4)
    client.delete("p:3")  # while nobody looks

    assert reasons(server, replace(COPIES, aim=aim)) == []

    numbers = [number for number in range(600) if number != 3]
    originals = {b"p:%d" % number for number in numbers} if aim != "originals_removed" else set()
    expected = {b"q:%d" % number: product(number) for number in numbers} if aim != "copies_removed" else {}
    left = hashes(client)
    # If its original had been removed already, the copy of document 3 is the document.
    left.pop(b"q:3", None) if aim == "originals_removed" else None
    assert {key for key in left if key.startswith(b"p:")} == originals
    assert {key: value for key, value in left.items() if key.startswith(b"q:")} == expected
    if aim == "originals_removed":  # until the run ends they tell what comes under old keys from the rest
        forget_marks(server, MARKS)
    assert marks(client) == ({b"p:%d" % number for number in numbers} if aim == "beside" else set())


def test_an_original_that_is_deleted_in_between_leaves_no_ghost(server: Server, client: redis.Redis):
    class Meddling(Copies):
        def decide(self, keys: Sequence[bytes], replies: list[Any], reader: Reader) -> Decision:
            client.delete("p:7")
            client.hset("q:8", "title", "mine")
            return super().decide(keys, replies, reader)

    for number in range(100):
        put(client, f"p:{number}", number)
    fields = {name: getattr(COPIES, name) for name in COPIES.__dataclass_fields__}
    mirror = Meddling(**fields)
    with Synchroniser(Node(server, FENCE), CONNECTIONS, 10) as synchroniser:
        result = synchroniser.synchronise(mirror, mirror.keys(server))
    assert not client.exists("q:7")
    assert client.hgetall("q:8") == {b"title": b"mine"}
    assert [failed.key for failed in result.failures.listed] == [b"p:8"]


# What the server refuses for one document.


def as_user(client: redis.Redis, redis_url: str, *rules: str) -> Server:
    """A connection of a user who may not do everything."""
    client.acl_setuser("mover", enabled=True, nopass=True, reset=True)
    client.execute_command("ACL", "SETUSER", "mover", "allcommands", *rules)
    return connect(redis_url.replace("unix://", "unix://mover:x@"))


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    "rules",
    [("~{*", "~p:*", "~q:[0-8]*"), ("~{*", "~p:[0-8]*", "~q:*"), ("~{*", "~p:*", "%R~q:*", "~q:[0-8]*")],
)
def test_a_key_without_a_right_is_named_and_the_others_go_on(
    server: Server, client: redis.Redis, redis_url: str, rules: tuple[str, ...], is_first: bool
):
    for number in range(100):
        put(client, f"p:{number}", number)
    if not is_first:
        synchronise(server, COPIES)
        for number in range(100):
            put(client, f"p:{number}", number + 1)
    forbidden = {f"p:{number}".encode() for number in (9, *range(90, 100))}

    with as_user(client, redis_url, *rules) as limited:
        result = synchronise(limited, COPIES)

    assert {failed.key for failed in result.failures.listed} == forbidden
    assert {failed.reason for failed in result.failures.listed} == {
        "the Redis user lacks a right on this key"
    }
    assert result.written == 89
    allowed = {f"p:{number}".encode() for number in range(100)} - forbidden
    assert marks(client) == (allowed if is_first else allowed | forbidden)
    assert synchronise(server, COPIES).written == 11
    assert all(client.hgetall(f"q:{number}") == product(number + (not is_first)) for number in range(100))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_right_that_is_taken_away_inside_of_a_transaction_leaves_true_marks(
    server: Server, client: redis.Redis, redis_url: str, is_first: bool, monkeypatch: pytest.MonkeyPatch
):
    """Rights are looked at again when EXEC is carried out: what is refused then undoes nothing beside it."""
    for number in range(40):
        put(client, f"p:{number}", number)
    if not is_first:
        synchronise(server, COPIES)
        for number in range(40):
            put(client, f"p:{number}", number + 1)
    send = Wire.send

    def take_right(wire: Wire, *parts: Any) -> None:
        text = b"".join(map(bytes, parts))
        if text.startswith(b"*1\r\n$5\r\nMULTI"):
            queued, exec_ = text.rsplit(b"*1\r\n$4\r\nEXEC", 1)
            send(wire, queued)
            time.sleep(0.3)
            client.execute_command("ACL", "SETUSER", "mover", "resetkeys", "~{*", "~p:*", "~q:[0-2]*")
            send(wire, b"*1\r\n$4\r\nEXEC" + exec_)
            return
        send(wire, *parts)

    with as_user(client, redis_url, "~*") as limited:
        monkeypatch.setattr(Wire, "send", take_right)
        result = synchronise(limited, COPIES)
        monkeypatch.undo()

    assert result.failures.count
    copied = {
        number for number in range(40) if client.hgetall(f"q:{number}") == product(number + (not is_first))
    }
    named = {int(failed.key[2:]) for failed in result.failures.listed}
    assert copied.isdisjoint(named)
    assert copied | named == set(range(40))
    if is_first:
        assert marks(client) == {b"p:%d" % number for number in copied}
    assert synchronise(server, COPIES).written == len(named)
    assert synchronise(server, OVER).failures.count == 0
    assert len(hashes(client)) == 40


def test_numbers_of_json_documents_are_copied_exactly(server: Server, client: redis.Redis):
    numbers = np.random.default_rng(7).standard_normal(3000) * 10.0 ** np.arange(-150, 150, 0.1)
    for number, value in enumerate(numbers):
        client.execute_command("JSON.SET", f"p:{number}", "$", json.dumps({"n": float(value)}))

    result = synchronise(server, JSON)

    copied = [number for number in range(len(numbers)) if client.exists(f"q:{number}")]
    assert result.failures.count == len(numbers) - len(copied) < 10
    for number in copied:
        assert client.execute_command("JSON.GET", f"q:{number}") == client.execute_command(
            "JSON.GET", f"p:{number}"
        )


def test_a_deep_document_is_refused_alone(server: Server, client: redis.Redis):
    for number in range(60):
        client.execute_command("JSON.SET", f"p:{number}", "$", '{"deep":0}')
    inner = "[" * 70 + "1" + "]" * 70
    for number in (3, 33):
        client.execute_command("JSON.SET", f"p:{number}", "$.deep", inner)
        client.execute_command("JSON.SET", f"p:{number}", "$.deep" + "[0]" * 70, inner)

    for _ in range(2):
        result = synchronise(server, JSON)
        assert {failed.key for failed in result.failures.listed} == {b"p:3", b"p:33"}
        assert marks(client) == {b"p:%d" % number for number in range(60) if number not in {3, 33}}
    result = synchronise(server, replace(JSON, aim="originals_removed"))
    assert {failed.key for failed in result.failures.listed} == {b"p:3", b"p:33"}
    assert set(client.scan_iter("p:*")) == {b"p:3", b"p:33"}


def test_nothing_is_written_without_the_lock(server: Server, client: redis.Redis):
    put(client, "p:1")
    client.set(FENCE.key, b"8")
    with pytest.raises(FenceLost):
        synchronise(server, COPIES)
    assert not client.exists("q:1")


def test_json_documents_are_copied_as_the_server_prints_them(server: Server, client: redis.Redis):
    numbers = '"v":[0.1,1e-7,1.0,100000000000000000000.0],"n":3,"big":18446744073709551615'
    text = f'{{"title":"Schuh é \\u0001",{numbers}}}'
    for number in range(100):
        client.execute_command("JSON.SET", f"p:{number}", "$", text)
    client.hset("p:hash", "title", "no document")

    assert synchronise(server, JSON).written == 100
    assert client.execute_command("JSON.GET", "q:5") == client.execute_command("JSON.GET", "p:5")
    assert synchronise(server, JSON).written == 0
    client.execute_command("JSON.SET", "p:5", "$.n", "4")
    client.pexpireat("p:5", FAR_AWAY)
    client.delete("p:6")
    result = synchronise(server, JSON)
    assert (result.written, result.removed, result.failures.count) == (1, 1, 0)
    assert json.loads(client.execute_command("JSON.GET", "q:5"))["n"] == 4
    assert client.pexpiretime("q:5") == FAR_AWAY
    assert synchronise(server, replace(JSON, aim="originals_removed")).failures.count == 0
    assert not list(client.scan_iter("p:[0-9]*"))
    forget_marks(server, MARKS)
    assert not marks(client)


def test_members_of_json_documents_are_renamed(server: Server, client: redis.Redis):
    mirror = copies((PathRename("$.meta.desc", "$.meta.description"),), storage_type="json")
    client.execute_command("JSON.SET", "p:1", "$", '{"desc":1,"meta":{"v":[1e-7,1.0],"desc":{"desc":"a"}}}')
    client.execute_command("JSON.SET", "p:2", "$", '{"meta":{"desc":1,"description":2}}')
    client.execute_command("JSON.SET", "p:3", "$", '{"meta":[]}')

    for _ in range(2):
        assert reasons(server, mirror) == [
            (b"p:2", "it has a field $.meta.description already, beside $.meta.desc")
        ]
        found = client.execute_command("JSON.GET", "q:1")
        assert json.loads(found) == {"desc": 1, "meta": {"v": [1e-7, 1.0], "description": {"desc": "a"}}}
        assert client.execute_command("JSON.GET", "q:3") == b'{"meta":[]}'
    client.execute_command("JSON.SET", "p:1", "$.desc", "2")
    assert synchronise(server, mirror).written == 1


@pytest.mark.slow_beyond(1)
def test_writers_are_followed_even_if_the_tracker_is_lost(
    server: Server, client: redis.Redis, redis_url: str, tmp_path: Path
):
    log = tmp_path / "writer.log"
    application = Writer(redis_url, str(log), 4, "float32", 3000, per_second=1000)
    application.fill()
    create_index(client)

    result = follow_at_work(server, client, COPIES, application.at_work, 3.0)

    assert (result.failures.count, result.only_new, result.only_new_deleted) == (0, 0, 0)
    time.sleep(LONGEST_TTL_MS / 1000 + 0.2)
    expected = written(log)
    wanted = {b"q" + key[1:]: document for key, document in expected.items()}
    assert set(client.scan_iter(match="q:*", count=1000)) == set(wanted)
    for key, document in wanted.items():
        values = dict(document.values)
        if document.vector is not None:
            original = np.frombuffer(vector_of(document.vector, 4, "float32"), np.float32)
            values[b"embedding"] = original.astype(np.float16).tobytes()
        assert client.hgetall(key) == values, document
        assert client.pexpiretime(key) == document.expires_ms
        (moment,) = client.execute_command("HPEXPIRETIME", key, "FIELDS", 1, "embedding")
        assert document.vector is None or moment == document.vector_expires_ms
    synchronise(server, COPIES)
    assert marks(client) == set(expected)
