"""Slow transforms from end to end: nothing is watched while one runs, writers get on, all is undone."""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from document_scenarios import BASE, set_stage
from doomed_process import Attempt, StrikingProxy, Victim
from random_transform import RandomVectors, plug_in, plugged_in
from signalled_process import KILLED, exit_code
from slow_transforms import SECONDS, Noting, call_numpy_slow, make_slow, watched_keys
from vector_documents import DIMS, TO_FLOAT16, TO_FLOAT32, Meanwhile, add_products, documents, stock

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.documents.vectors import ReEncodeVectors
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.in_place import joined_chunks, restoring
from redismigrate.state import lock
from redismigrate.state.keys import StateKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis
    from conftest import Shop

    from redismigrate.commands.migration_options import MigrationResult

COUNT = 60
BATCH_SIZE = 15
NEW_BYTES = 2 * DIMS
MANY = [pytest.mark.slow, pytest.mark.timeout(600)]


def upgrade(shop: Shop, strategy: str = "rebuild", watcher: Meanwhile | None = None) -> MigrationResult:
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    options = MigrationOptions(strategy=strategy, batch_size=BATCH_SIZE)  # type: ignore[arg-type]
    return commands.upgrade(project, "head", options, watcher or Meanwhile({}))


@pytest.fixture
def stocked(rebuilding: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Documents that make four chunks of a backup, each of one batch, and a revision that converts them."""
    monkeypatch.setattr(joined_chunks, "CHUNK_BYTES", 1)
    stock(rebuilding, COUNT)
    rebuilding.write(TO_FLOAT16, TO_FLOAT32)
    return rebuilding


def looking(during: Callable[[], object]) -> type[RandomVectors]:
    """A transform at the end of whose time something happens."""

    class Looking(RandomVectors):
        def __call__(self, batch):
            made = super().__call__(batch)
            during()
            return made

    return Looking


def require_restored(shop: Shop, run: str, before: dict[bytes, dict[bytes, bytes]]) -> None:
    undone = shop.run("--json", "rollback", "--run", run)
    assert undone.code == 0, undone.err
    assert documents(shop) == before


@contextmanager
def writing(client: redis.Redis) -> Iterator[list[float]]:
    """Somebody writes titles without a pause, and notes how long each write took."""
    seconds: list[float] = []
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            started = time.monotonic()
            client.hset(f"p:{number % COUNT}", "title", f"boot {number}")
            seconds.append(time.monotonic() - started)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def test_no_key_is_watched_while_documents_are_transformed_that_are_replaced_in_place(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
):
    before = documents(stocked)
    watched: list[int] = []
    kind = looking(lambda: watched.append(watched_keys(stocked.client)))
    meanwhile = Meanwhile({"catch_up_documents": lambda: add_products(stocked, 3)})
    with monkeypatch.context() as patch:
        plug_in(patch, kind, seconds=SECONDS)
        result = upgrade(stocked, watcher=meanwhile)

    # Of the chunks of the backup, and once more of what was written meanwhile.
    assert watched == [0] * (COUNT // BATCH_SIZE + 1)
    assert {len(each[b"embedding"]) for each in documents(stocked).values()} == {NEW_BYTES}
    require_restored(stocked, result.run, before)


def test_no_key_is_watched_while_it_is_found_out_what_was_written(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
):
    """As where the backup is of an older version, and does not tell."""
    before = documents(stocked)
    watched: list[int] = []
    with monkeypatch.context() as patch:
        plug_in(patch, RandomVectors, seconds=SECONDS)
        result = upgrade(stocked)

        def found_out(chunk, transform):
            assert transform.is_slow
            time.sleep(SECONDS)
            watched.append(watched_keys(stocked.client))
            return chunk.written

        patch.setattr(restoring, "written_into", found_out)
        require_restored(stocked, result.run, before)
    assert watched == [0] * (COUNT // BATCH_SIZE)


@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
def test_who_writes_all_the_time_gets_on_and_so_does_a_slow_run(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch, strategy: str
):
    before = documents(stocked)
    with monkeypatch.context() as patch, writing(stocked.client) as seconds:
        if strategy == "rebuild":
            plug_in(patch, RandomVectors, seconds=SECONDS)
        else:
            make_slow(patch)
        result = upgrade(stocked, strategy)

    after = documents(stocked)
    assert result.documents.rewritten == COUNT
    assert {len(each[b"embedding"]) for each in after.values()} == {NEW_BYTES}
    # Nothing of it is lost, and it waited for no transform, but where the machine was busy.
    last = {number % COUNT: f"boot {number}".encode() for number in range(len(seconds))}
    assert {number: after[b"p:%d" % number][b"title"] for number in last} == last
    assert sorted(seconds)[len(seconds) // 4] < SECONDS / 2
    expected = {key: each | {b"title": after[key][b"title"]} for key, each in before.items()}
    require_restored(stocked, result.run, expected)


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=MANY)])
def test_after_a_kill_a_document_is_the_original_or_of_the_run(
    shop: Shop, redis_url: str, tmp_path: Path, kills: int
):
    stage = set_stage(shop, "float16", rehearses=False)
    before, base = vectors(shop), stage.now()
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(kills):
        file = tmp_path / f"made-{number}"
        slow = plugged_in(partial(Noting, file=str(file)), seconds=0.02)  # type: ignore[arg-type]
        at, told = chance.randrange(1, 7), f"seed {seed}, kill {number}"
        victim = Victim(signal.SIGKILL)
        with StrikingProxy(redis_url, (at, (b"MULTI",)), victim.strike, "reply") as proxy:
            process = Attempt("upgrade", url=proxy.url, before=slow).start(stage)
            victim.name(process)
            assert exit_code(process) == KILLED, told

        made, now = Noting.noted(file), vectors(shop)
        written = {key: value for key, value in now.items() if value != before[key]}
        assert set(written.values()) <= made, told
        # Taken up again: what was written stays, the rest is made.
        assert exit_code(Attempt("upgrade", before=slow).start(stage)) == 0, told
        now = vectors(shop)
        assert {key: now[key] for key in written} == written, told
        assert set(now.values()) <= Noting.noted(file), told
        run = (shop.state("last_run") or {})["run"]
        stage.run("rollback", "--run", str(run))
        assert stage.now() == base, told


def vectors(shop: Shop) -> dict[bytes, bytes]:
    found = {key: shop.client.hget(key, "embedding") for key in shop.client.scan_iter("p:*", count=1000)}
    return {key: value for key, value in found.items() if value is not None}


def test_a_transform_that_takes_longer_than_the_lease_does_not_lose_the_lock(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
):
    """A thread of its own renews it, even while Python computes."""
    monkeypatch.setattr(lock, "LEASE_SECONDS", 10.0)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)
    before = documents(stocked)
    held: list[object] = []
    key = StateKeys("shop").lock

    def compute() -> None:
        before, left, deadline = 0, -1000, time.monotonic() + 60
        while len(held) < 2 and left < before - 150:  # so much less than before: it was not renewed
            assert time.monotonic() < deadline
            before, end = stocked.client.pttl(key), time.monotonic() + 0.2
            while time.monotonic() < end:
                pass
            left = stocked.client.pttl(key)
        held.append(stocked.client.get(key))

    with monkeypatch.context() as patch:
        plug_in(patch, looking(compute))
        result = upgrade(stocked)

    assert len(held) == COUNT // BATCH_SIZE
    assert None not in held
    assert len(set(held)) == 1
    require_restored(stocked, result.run, before)


def test_no_key_is_watched_while_second_fields_are_made(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    shop.strategy = "shadow_field"
    stock(shop, COUNT)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    before = documents(shop)
    watched: list[int] = []
    with monkeypatch.context() as patch:
        asked = make_slow(patch, lambda: watched.append(watched_keys(shop.client)))
        meanwhile = Meanwhile({"copy_documents": lambda: add_products(shop, 3, prefix="p:late")})
        result = upgrade(shop, "shadow_field", meanwhile)

    assert len(asked) > 4
    assert set(watched) == {0}
    assert {len(each[b"embedding"]) for each in documents(shop).values()} == {NEW_BYTES}
    undone = shop.run("--json", "rollback", "--run", result.run)
    assert undone.code == 0, undone.err
    add_products(shop, 3, prefix="expected:late")
    now = documents(shop)
    assert {key: now[key] for key in before} == before
    assert all(now[b"p:late%d" % number] == now[b"expected:late%d" % number] for number in range(3))


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("float16 beside", 1),
        pytest.param("float16 beside", 20, marks=MANY),
        pytest.param("prefix beside", 20, marks=MANY),
    ],
)
def test_what_is_made_beside_the_way_around_is_taken_up_and_undone_after_a_kill(
    shop: Shop, redis_url: str, name: str, kills: int
):
    stage = set_stage(shop, name, 30)
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(kills):
        at, told = chance.randrange(1, 9), f"seed {seed}, kill {number}"
        victim = Victim(signal.SIGKILL)
        with StrikingProxy(redis_url, (at, (b"MULTI",)), victim.strike, "reply") as proxy:
            process = Attempt("upgrade", url=proxy.url, before=call_numpy_slow).start(stage)
            victim.name(process)
            has_struck = exit_code(process) == KILLED
        if not has_struck or chance.random() < 1 / 2:
            stage.run("upgrade", "head")
            stage.require(stage.top, told)
            run = (shop.state("last_run") or {})["run"]
            stage.run("rollback", "--run", str(run))
        else:
            stage.run("rollback")
        stage.require(BASE, told)


@pytest.mark.parametrize("name", ["prefix beside", pytest.param("everything beside", marks=pytest.mark.slow)])
def test_whatever_is_made_beside_is_the_same_the_way_around(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Second fields and copies, there and back, as if numpy were slow; the transform is asked."""
    stage = set_stage(shop, name, 30)
    prepared: list[int] = []
    prepare = Copies.prepare

    def noted(copies, keys, replies, reader):
        prepared.append(len(keys))
        prepare(copies, keys, replies, reader)

    monkeypatch.setattr(ReEncodeVectors, "is_slow", ReEncodeVectors.is_slow)
    call_numpy_slow()
    monkeypatch.setattr(Copies, "prepare", noted)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    for revision in stage.revisions[1:]:
        commands.upgrade(project, revision, stage.scenario.options, Meanwhile({}))
        shop.wait_until_indexed()
        stage.require(revision)
    assert sum(prepared) > 0
    commands.downgrade(project, BASE, stage.scenario.options, Meanwhile({}))
    shop.wait_until_indexed()
    stage.require(BASE)
