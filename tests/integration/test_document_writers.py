"""Writers go on while documents are rewritten: no write is lost, nothing that was deleted comes back."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import pytest
from document_writer import REWRITES
from documents_written import begin, compare, require_in_index
from doomed_process import StrikingProxy

from redismigrate.execution.documents.traffic.exchange import Exchange, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.redis_server.connection import connect
from redismigrate.state.fence import Fence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from conftest import Shop
    from redis import Redis

pytestmark = pytest.mark.usefixtures("rebuilding")

SIZES = [
    pytest.param(3000, 16, id="3,000"),
    pytest.param(20_000, 64, id="20,000", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
]


def time_of_step(shop: Shop, kind: str) -> int:
    """When the last step of a kind was done, Unix time in milliseconds."""
    for number, fields in shop.client.xrevrange("{redismigrate:shop}:journal"):
        if fields.get(b"kind") == kind.encode():
            return int(number.split(b"-")[0])
    raise AssertionError(f"no step {kind}")


def step_at_work(shop: Shop) -> str | None:
    """The kind of the step that the run is at; None without a run."""
    run = shop.state("run")
    if run is None:
        return None
    run |= shop.state("progress") or {}
    steps = run["plan"]["steps"] if run["failure"] is None else run["undo"]
    return steps[run["position"]]["kind"] if run["position"] < len(steps) else None


def wait_for_step(shop: Shop, process: Popen[str], *kinds: str) -> bool:
    """Wait until a migration is at such a step; False when it ended before."""
    while process.poll() is None:
        if step_at_work(shop) in kinds:
            return True
        time.sleep(0.001)
    return False


@pytest.mark.slow_beyond(2)
@pytest.mark.parametrize(("documents", "dims"), SIZES)
@pytest.mark.parametrize(
    ("before", "after", "options"),
    [
        ("float32", "float16", ()),
        ("float16", "bfloat16", ()),
        pytest.param("bfloat16", "float64", ("--batch-size", "100"), marks=pytest.mark.slow),
        ("float32", "bfloat16", ("--batch-size", "20", "--workers", "1")),
        pytest.param(
            "float16", "bfloat16", ("--batch-size", "50", "--workers", "20"), marks=pytest.mark.slow
        ),
    ],
)
def test_no_write_during_an_upgrade_is_lost(
    shop: Shop, before: str, after: str, options: tuple[str, ...], documents: int, dims: int
):
    writer = begin(shop, before, after, documents, dims)
    with writer.at_work():
        result = shop.run("--json", "upgrade", *options)
        time.sleep(0.2)
    assert result.code == 0, result.err
    found = compare(shop, writer, after)
    assert found.wrong == []
    assert found.new or found.old
    # Whatever the writer leaves in the old form, it wrote after the run had caught up with it.
    assert all(at >= time_of_step(shop, "wait_for_index") for at in found.old.values())
    require_in_index(shop, found.new)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(("documents", "dims"), SIZES)
@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "bfloat16")])
def test_no_write_during_a_downgrade_is_lost_and_originals_come_back(
    shop: Shop, before: str, after: str, documents: int, dims: int
):
    writer = begin(shop, before, after, documents, dims)
    assert shop.run("upgrade", "--exclusive").code == 0
    with replace(writer, datatype=after).at_work():
        result = shop.run("--json", "downgrade", "-1")
        time.sleep(0.2)
    assert result.code == 0, result.err
    found = compare(shop, writer, before)
    assert found.wrong == []
    assert all(at >= time_of_step(shop, "wait_for_index") for at in found.old.values())
    require_in_index(shop, found.new)


def test_documents_among_many_other_keys_are_caught_up_with_too(shop: Shop):
    with shop.client.pipeline(transaction=False) as pipeline:
        for number in range(30_000):
            pipeline.set(f"other:{number}", number)
        pipeline.execute()
    writer = begin(shop, "float32", "float16", 1000, 8)
    with writer.at_work():
        result = shop.run("--json", "upgrade")
        time.sleep(0.2)
    assert result.code == 0, result.err
    found = compare(shop, writer, "float16")
    assert found.wrong == []
    assert all(at >= time_of_step(shop, "create_index") for at in found.old.values())
    require_in_index(shop, found.new)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("hot", [pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "bfloat16")])
def test_documents_that_are_written_all_the_time_hold_the_run_up_not_at_all(
    shop: Shop, before: str, after: str, hot: int
):
    writer = begin(shop, before, after, 2000, 8, weights=REWRITES, hot=hot)
    with writer.at_work():
        result = shop.run("--json", "upgrade")
        time.sleep(0.1)
    assert result.code == 0, result.err
    found = compare(shop, writer, after)
    assert found.wrong == []
    assert set(found.old) <= {b"p:%d" % number for number in range(hot)}
    assert result.json["documents"]["left_in_old_type"] <= hot
    require_in_index(shop, found.new)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(
    ("before", "after"),
    [("float32", "float16"), pytest.param("float16", "float64", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("step", ["prove_index", "back_up_documents", "rewrite_documents"])
def test_what_a_new_version_of_the_application_writes_in_mid_run_is_left_alone(
    shop: Shop, before: str, after: str, step: str
):
    writer = begin(shop, before, after, 3000, 16)
    with writer.at_work() as write_in, shop.process("--json", "upgrade", "--batch-size", "50") as process:
        # A short step may be over before it is seen.
        assert wait_for_step(shop, process, step, "rewrite_documents")
        write_in(after)
        out, err = process.communicate(timeout=120)
        time.sleep(0.1)
    assert process.returncode == 0, err
    found = compare(shop, writer, after)
    assert (found.wrong, found.old) == ([], {})
    assert json.loads(out)["documents"]["left_in_old_type"] == 0
    require_in_index(shop, found.new)


def kill_at_batch(shop: Shop, batch: int) -> None:
    """Kill an upgrade with SIGKILL when it sends its n-th batch of writes, and lose that."""
    named = Event()

    def strike() -> None:
        assert named.wait(120)
        process.kill()

    with StrikingProxy(shop.url, (batch, (b"$4\r\nEXEC\r\n",)), strike, "request") as proxy:
        with shop.process("--url", proxy.url, "upgrade", "--batch-size", "100") as process:
            named.set()
        assert proxy.has_struck.is_set()


KILLED = [
    pytest.param("float32", "float16", (12, 31), id="another width"),
    pytest.param("float16", "bfloat16", (3, 29), id="one width"),
    pytest.param("float32", "float16", (1, 7, 20, 30, 34), id="often, another width", marks=pytest.mark.slow),
    pytest.param("float16", "bfloat16", (1, 7, 20, 30, 34), id="often, one width", marks=pytest.mark.slow),
]


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(("before", "after", "batches"), KILLED)
def test_rollback_of_a_killed_run_loses_no_write(
    shop: Shop, before: str, after: str, batches: tuple[int, ...]
):
    writer = begin(shop, before, after, 3000, 16)
    with writer.at_work():
        for batch in batches:
            kill_at_batch(shop, batch)
            assert shop.state("run") is not None
            result = shop.run("rollback")
            assert result.code == 0, result.err
    found = compare(shop, writer, before)
    assert found.wrong == []
    require_in_index(shop, found.new)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(("before", "after", "batches"), KILLED)
def test_a_run_that_is_killed_again_and_again_loses_no_write(
    shop: Shop, before: str, after: str, batches: tuple[int, ...]
):
    writer = begin(shop, before, after, 3000, 16)
    with writer.at_work():
        for batch in batches:
            kill_at_batch(shop, batch)
            assert shop.state("run") is not None
        result = shop.run("--json", "upgrade")
        time.sleep(0.1)
    assert result.code == 0, result.err
    found = compare(shop, writer, after)
    assert found.wrong == []
    assert found.new or found.old
    require_in_index(shop, found.new)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "bfloat16")])
def test_rollback_of_a_finished_run_loses_no_write(shop: Shop, before: str, after: str):
    writer = begin(shop, before, after, 3000, 16)
    with writer.at_work():
        upgraded = shop.run("--json", "upgrade")
        result = shop.run("rollback", "--run", upgraded.json["run"])
        time.sleep(0.1)
    assert result.code == 0, result.err
    found = compare(shop, writer, before)
    assert found.wrong == []
    require_in_index(shop, found.new)


def test_a_run_back_and_forth_converts_what_the_one_before_has_left(shop: Shop):
    writer = begin(shop, "float32", "float16", 3000, 16)
    with writer.at_work():
        assert shop.run("upgrade").code == 0
        time.sleep(0.3)
    result = shop.run("downgrade", "-1")
    assert result.code == 0, result.err
    assert "vectors in embedding of products have the length of the new datatype already" in result.out
    found = compare(shop, writer, "float32")
    assert found.wrong == []
    require_in_index(shop, found.new)
    assert shop.run("upgrade").code == 0
    found = compare(shop, writer, "float16")
    assert (found.wrong, found.old) == ([], {})


def test_a_field_that_expires_between_two_looks_does_not_come_back(redis_url: str, client: Redis):
    client.set("fence", 1)

    def exchanges() -> Iterator[Exchange]:
        for number in range(50):
            client.hset(f"p:{number}", mapping={"title": "a shoe", "v": "old"})
            client.hpexpire(f"p:{number}", 5, "v")
            # While this one was looked at already, it expires before the next one is asked for.
            yield Exchange([b"p:%d" % number], {b"v": [b"old"]}, {b"v": [b"new"]})
            time.sleep(0.006)

    with connect(redis_url) as server, Exchanger(Node(server, Fence(b"fence", b"1")), 2) as exchanger:
        assert sum(outcome.documents for outcome in exchanger.run(exchanges(), Mode())) == 50
    time.sleep(0.01)
    assert [client.hget(f"p:{number}", "v") for number in range(50)] == [None] * 50
