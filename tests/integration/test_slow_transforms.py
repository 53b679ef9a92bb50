"""Transforms that take long, while an application writes: no key is watched, and nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import redis
from mirrored_documents import CONNECTIONS, FENCE, copies, synchronise

from redismigrate.documents.batch import Failure
from redismigrate.documents.whole import Document
from redismigrate.documents.whole_transform import Documents
from redismigrate.errors import FenceLost
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server, connect


def do_nothing() -> None:
    """Where nobody gets in between."""


@dataclass
class Shout:
    """A transform of titles, during which something happens.

    Attributes:
        during: Happens each time.
        batches: The titles that it was asked for.
    """

    during: Callable[[], object] = do_nothing
    batches: list[list[bytes]] = field(default_factory=list)

    def __call__(self, documents: Documents) -> Documents:
        self.during()
        titles = [content[b"title"] for content in documents.contents if isinstance(content, dict)]
        self.batches.append(titles)
        contents: list[Document | None] = [{b"title": title.upper()} for title in titles]
        failures = [Failure(row, "it is odd") for row, title in enumerate(titles) if title == b"odd"]
        for failure in failures:
            contents[failure.row] = None
        return Documents(contents, documents.expiries, failures)

    @property
    def times(self) -> dict[bytes, int]:
        """How often it was asked for each title."""
        titles = [title for batch in self.batches for title in batch]
        return {title: titles.count(title) for title in titles}


def whisper(documents: Documents) -> Documents:
    """The way back."""
    contents: list[Document | None] = [
        {b"title": content[b"title"].lower()} for content in documents.contents if isinstance(content, dict)
    ]
    return Documents(contents, documents.expiries)


def watched_keys(client: redis.Redis) -> int:
    return sum(int(each["watch"]) for each in client.client_list())


def commands(client: redis.Redis, name: str) -> int:
    return client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)


@pytest.fixture
def server(redis_url: str, client: redis.Redis):
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def put(client: redis.Redis, count: int) -> None:
    for number in range(count):
        client.hset(f"p:{number}", "title", f"shoe {number}")


def slow(shout: Shout, back: Callable[[Documents], Documents] | None = None):
    return replace(copies(), transform=shout, back=back, is_slow=True)


def title(client: redis.Redis, key: str) -> bytes | None:
    return client.hget(key, "title")


def test_no_key_is_watched_while_a_slow_transform_runs(server: Server, client: redis.Redis):
    put(client, 120)
    watched: list[int] = []
    shout = Shout(lambda: watched.append(watched_keys(client)))

    result = synchronise(server, slow(shout))

    assert result.written == 120
    assert title(client, "q:7") == b"SHOE 7"
    assert len(watched) > CONNECTIONS
    assert set(watched) == {0}
    assert set(shout.times.values()) == {1}


def test_what_is_written_while_a_slow_transform_runs_is_met_by_one_comparison(
    server: Server, client: redis.Redis
):
    put(client, 10)
    writes = [lambda: client.hset("p:7", "title", "boot")]
    shout = Shout(lambda: writes.pop()() if writes else None)
    before = commands(client, "exec"), commands(client, "multi")

    result = synchronise(server, slow(shout))

    assert (result.written, result.busy) == (10, [])
    assert title(client, "q:7") == b"BOOT"
    # Of the one document alone, and the one batch is written once.
    assert shout.batches[1:] == [[b"boot"]]
    assert (commands(client, "exec") - before[0], commands(client, "multi") - before[1]) == (1, 1)


def test_a_document_that_is_deleted_while_a_slow_transform_runs_leaves_no_ghost(
    server: Server, client: redis.Redis
):
    put(client, 10)

    result = synchronise(server, slow(Shout(lambda: client.delete("p:7"))))

    assert result.written == 9
    assert not client.exists("q:7")


def test_a_document_that_is_written_each_time_is_told_and_the_others_are_done(
    server: Server, client: redis.Redis
):
    put(client, 10)
    shout = Shout()
    shout.during = lambda: client.hset("p:7", "title", f"boot {len(shout.batches)}")

    result = synchronise(server, slow(shout))

    assert (result.written, result.busy) == (9, [b"p:7"])
    assert not client.exists("q:7")
    # What was made of the others is kept.
    assert {times for name, times in shout.times.items() if name.startswith(b"shoe")} == {1}
    assert len(shout.batches) < 40


def test_what_is_written_to_copies_is_carried_back_with_nothing_watched(server: Server, client: redis.Redis):
    put(client, 10)
    watched: list[int] = []
    mirror = slow(Shout(lambda: watched.append(watched_keys(client))), whisper)
    synchronise(server, mirror)
    client.hset("q:7", "title", "BOOT")
    client.hset("q:8", "title", "Neither")

    result = synchronise(server, mirror)

    assert (result.turned_back, result.only_new) == (1, 1)
    assert title(client, "p:7") == b"boot"
    assert title(client, "p:8") == b"shoe 8"
    assert set(watched) == {0}
    assert synchronise(server, mirror).written == 0


def test_what_a_slow_transform_leaves_out_is_named(server: Server, client: redis.Redis):
    put(client, 10)
    client.hset("p:7", "title", "odd")
    client.hset("p:8", "title", "shoe 1")  # as another one

    result = synchronise(server, slow(Shout()))

    assert [(each.key, each.reason) for each in result.failures.listed] == [(b"p:7", "it is odd")]
    assert result.written == 9
    assert title(client, "q:8") == b"SHOE 1"


def test_a_slow_transform_is_not_run_without_the_lock(server: Server, client: redis.Redis):
    put(client, 10)
    client.set(FENCE.key, b"8")
    shout = Shout()
    with pytest.raises(FenceLost):
        synchronise(server, slow(shout))
    assert shout.batches == []


def test_the_lock_may_be_lost_while_a_slow_transform_runs(server: Server, client: redis.Redis):
    put(client, 10)
    mirror = slow(Shout(lambda: client.set(FENCE.key, b"8")))
    with Synchroniser(Node(server, FENCE), 1, 10) as synchroniser, pytest.raises(FenceLost):
        synchroniser.synchronise(mirror, mirror.keys(server))
    assert not list(client.scan_iter(match="q:*"))
