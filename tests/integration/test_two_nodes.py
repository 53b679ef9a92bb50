"""Documents on two nodes, which are two servers, are read, written and followed by the code that serves one.

Each key belongs to a node by its number. Each node has a connection, a fence and a tracker of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import redis
from backup_samples import manifest
from mirrored_documents import SECOND, recoding, schema_of, second_fields

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import ConnectionFailed, FenceLost
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.in_place.backing_up import back_up
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.restoring import restore_documents
from redismigrate.execution.documents.in_place.rewriting import rewrite
from redismigrate.execution.documents.traffic.exchange import Exchange, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.reading import documents_on, read_batches, read_json
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.wire import render
from redismigrate.state.fence import Fence

PRODUCTS = 60
BATCH = 8
CONNECTIONS = 2


class TwoNodes:
    """Even numbers are on one node, odd ones on the other."""

    def __init__(self, even: Node, odd: Node) -> None:
        self.all = (even, odd)
        self.home = even

    def of(self, keys: Sequence[bytes]) -> Node:
        found = {number(key) % 2 for key in keys} or {0}
        if len(found) > 1:
            raise ValueError(f"the keys are on several nodes: {keys}")
        return self.all[found.pop()]

    def server_of(self, keys: Sequence[bytes]) -> Server:
        return self.of(keys).server

    def split(self, keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        for place in range(2):
            part = [key for key in keys if number(key) % 2 == place]
            if part:
                yield part


def number(key: bytes) -> int:
    return int(key.partition(b":")[2])


def vector(of: int, datatype: str = "<f4") -> bytes:
    return np.array([of, of + 0.1, of + 0.2, of + 0.3], np.float32).astype(datatype).tobytes()


@pytest.fixture(scope="module")
def other_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def nodes(redis_url: str, other_server: EmbeddedServer) -> Iterator[TwoNodes]:
    """Two nodes with products: even numbers on one, odd numbers on the other."""
    with connect(redis_url) as even, connect(other_server.url) as odd:
        odd.client.flushall()
        found = TwoNodes(Node(even, Fence(b"fence:even", b"7")), Node(odd, Fence(b"fence:odd", b"3")))
        for place, node in enumerate(found.all):
            node.server.client.set(node.fence.key, node.fence.token)
            for at in range(place, PRODUCTS, 2):
                node.server.client.hset(f"p:{at}", mapping={"title": "shoe", "embedding": vector(at)})
        yield found


def values(nodes: TwoNodes, field: str = "embedding") -> dict[int, bytes | None]:
    """A field of every product, looked up at its own node; no product is anywhere else."""
    found = {}
    for place, node in enumerate(nodes.all):
        for key in node.server.client.scan_iter(match="p:*"):
            assert number(key) % 2 == place
            found[number(key)] = node.server.client.hget(key, field)
    assert len(found) == PRODUCTS
    return found


def all_as(datatype: str) -> dict[int, bytes]:
    return {at: vector(at, datatype) for at in range(PRODUCTS)}


def keys_of(place: int) -> list[bytes]:
    return [b"p:%d" % at for at in range(place, PRODUCTS, 2)]


def exchange_of(keys: list[bytes], new: bytes = b"<f2") -> Exchange:
    before = [vector(number(key)) for key in keys]
    after = [vector(number(key), new.decode()) for key in keys]
    return Exchange(keys, {b"embedding": before}, {b"embedding": after})


def test_each_batch_is_read_from_its_own_node(nodes: TwoNodes):
    batches = list(documents_on(nodes, schema_of(), BATCH))
    assert sorted(key for keys in batches for key in keys) == sorted(keys_of(0) + keys_of(1))
    by_turns = sorted(batches, key=lambda keys: [number(key) // 2 for key in keys])
    for field, expected in (("embedding", vector), ("title", lambda _: b"shoe")):
        read = list(read_batches(nodes, by_turns, (field,)))
        assert [batch.keys for batch in read] == by_turns
        for batch in read:
            assert list(batch.columns[field]) == [expected(number(key)) for key in batch.keys]
    for node in nodes.all:
        assert node.server.client.info("commandstats")["cmdstat_hmget"]["calls"] >= PRODUCTS


def test_texts_are_read_from_both_nodes(nodes: TwoNodes):
    for place, node in enumerate(nodes.all):
        node.server.client.execute_command("JSON.SET", f"j:{place}", "$", f"{place}")
    read = list(read_json(nodes, ([b"j:0"], [b"j:1"]), "*"))
    assert [batch.keys for batch in read] == [[b"j:0"], [b"j:1"]]
    assert [list(batch.columns["*"]) for batch in read] == [[b"0"], [b"1"]]


def test_batches_of_both_nodes_are_under_way_at_once_and_come_back_in_order(nodes: TwoNodes):
    even, odd = (list(exchange_of(keys_of(place)).parts(BATCH)) for place in range(2))
    exchanges = [each for pair in zip(even, odd, strict=True) for each in pair]
    with Exchanger(nodes, CONNECTIONS) as exchanger:
        outcomes = list(exchanger.run(exchanges, Mode()))
    assert [outcome.exchange.keys for outcome in outcomes] == [each.keys for each in exchanges]
    assert all(outcome.done == outcome.documents for outcome in outcomes)
    assert values(nodes) == all_as("<f2")


def test_what_is_written_to_one_node_meanwhile_is_noticed_there(nodes: TwoNodes):
    odd = nodes.all[1].server.client

    def after(keys: Sequence[bytes]) -> bytes:
        if b"p:1" in keys:
            odd.hset("p:1", "embedding", b"of the application")
        return render(b"MGET", *keys)

    with Exchanger(nodes, CONNECTIONS) as exchanger:
        exchanges = [exchange_of(keys_of(place)[:BATCH]) for place in range(2)]
        of_even, of_odd = exchanger.run(exchanges, Mode(after=after))
    assert (of_even.done, of_even.changed) == (BATCH, [])
    assert (of_odd.done, of_odd.changed) == (BATCH - 1, [b"p:1"])


@pytest.mark.parametrize("place", [0, 1])
def test_who_has_lost_the_fence_of_one_node_writes_no_more_there_alone(nodes: TwoNodes, place: int):
    lost = nodes.all[place]
    lost.server.client.set(lost.fence.key, b"8")
    with Exchanger(nodes, CONNECTIONS) as exchanger, pytest.raises(FenceLost):
        list(exchanger.run([exchange_of(keys_of(place)[:BATCH])], Mode()))
    with Exchanger(nodes, CONNECTIONS) as exchanger:
        (outcome,) = exchanger.run([exchange_of(keys_of(1 - place)[:BATCH])], Mode())
    assert outcome.done == BATCH
    written = {at for at, value in values(nodes).items() if value == vector(at, "<f2")}
    assert written == {number(key) for key in keys_of(1 - place)[:BATCH]}


def test_an_error_names_the_node_that_it_is_of(nodes: TwoNodes, other_server: EmbeddedServer):
    with EmbeddedServer() as third, connect(third.url) as gone:
        fence = Fence(b"fence", b"1")
        gone.client.set(fence.key, fence.token)
        pair = TwoNodes(nodes.home, Node(gone, fence))
        with Exchanger(pair, CONNECTIONS) as exchanger:
            third.stop()
            exchanges = [exchange_of(keys_of(place)[:BATCH]) for place in range(2)]
            with pytest.raises(ConnectionFailed, match=gone.url):
                list(exchanger.run(exchanges, Mode()))


def test_documents_of_both_nodes_are_rewritten_in_place_and_restored(nodes: TwoNodes, tmp_path: Path):
    told: list[int] = []
    job = RewriteJob(
        nodes=nodes,
        physical="products",
        schema=schema_of(),
        rewrite=Rewrite("hash", (recoding(),)),
        batch_size=BATCH,
        connections=CONNECTIONS,
        is_exclusive=False,
        on_progress=told.append,
    )
    with BackupWriter.create(tmp_path, manifest(fields=("embedding",))) as writer:
        prepared = back_up(job, writer, 0)
        writer.finish()
    assert (prepared.documents, prepared.kept) == (PRODUCTS, PRODUCTS)
    backup = Backup.open(writer.folder)
    for chunk in backup.chunks():
        assert len({number(key) % 2 for key in chunk.documents.keys}) == 1

    done = rewrite(job, backup, prepared.quantizations, may_skip_comparing=False)
    assert (done.documents, done.failures.count) == (PRODUCTS, 0)
    assert values(nodes) == all_as("<f2")

    restored = restore_documents(job, backup, prepared.quantizations)
    assert (restored.documents, restored.left.count) == (PRODUCTS, 0)
    assert values(nodes) == all_as("<f4")
    assert sum(told) >= 2 * PRODUCTS


def test_an_application_is_followed_on_both_nodes(nodes: TwoNodes):
    mirror = second_fields()
    with (
        Synchroniser(nodes, CONNECTIONS, BATCH) as synchroniser,
        Follower(nodes, mirror, synchroniser, is_first=True) as follower,
    ):
        done = follower.synchronise_all()
        assert (done.documents, done.written) == (PRODUCTS, PRODUCTS)
        assert values(nodes, SECOND) == all_as("<f2")
        follower.catch_up()

        for place, node in enumerate(nodes.all):
            node.server.client.hset(f"p:{place}", "embedding", vector(100 + place))
        assert follower.count_written() == 2
        followed = follower.follow()
        assert followed.written == 2
        second = values(nodes, SECOND)
        assert [second[place] for place in range(2)] == [vector(100 + place, "<f2") for place in range(2)]


def test_a_tracker_that_one_node_has_lost_makes_all_be_looked_at(nodes: TwoNodes):
    with (
        Synchroniser(nodes, CONNECTIONS, BATCH) as synchroniser,
        Follower(nodes, second_fields(), synchroniser, is_first=True) as follower,
    ):
        follower.synchronise_all()
        odd = nodes.all[1].server.client
        kill_trackers(odd)
        odd.hset("p:1", "embedding", vector(101))
        follower.catch_up()
        assert not follower.is_behind
        assert values(nodes, SECOND)[1] == vector(101, "<f2")


def kill_trackers(client: redis.Redis) -> None:
    for connection in client.client_list():
        if "t" in connection["flags"]:
            client.client_kill_filter(_id=connection["id"])


@pytest.mark.parametrize("place", [0, 1])
def test_who_follows_stops_where_the_fence_of_a_node_is_lost(nodes: TwoNodes, place: int):
    lost = nodes.all[place]
    with Synchroniser(nodes, CONNECTIONS, BATCH) as synchroniser:
        lost.server.client.set(lost.fence.key, b"8")
        synchroniser.synchronise(second_fields(), [keys_of(1 - place)])
        with pytest.raises(FenceLost):
            synchroniser.synchronise(second_fields(), [keys_of(place)])
    have = {at for at, value in values(nodes, SECOND).items() if value is not None}
    assert have == {number(key) for key in keys_of(1 - place)}
