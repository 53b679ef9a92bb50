"""Runs with limits: as slow as asked for, held up and let go from outside, ended in order if need be."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import Result, Shop
from patience import wait_until
from vector_documents import TO_FLOAT16, TO_FLOAT32, add_products, creation, documents, vector

from redismigrate.errors import UsageError
from redismigrate.execution.pace.pace import Pace
from redismigrate.execution.run import Run
from redismigrate.redis_server.connection import connect
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.state.control import read_control, write_control
from redismigrate.state.keys import StateKeys

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

COUNT = 1000
UPGRADE = ("upgrade", "--strategy", "rebuild")
# TIME stands still in a script.
BUSY = "local ends = os.clock() + ARGV[1] / 1000; repeat until os.clock() >= ends"


@pytest.fixture
def products(shop: Shop) -> Shop:
    """A thousand products in an index, and a revision that gives all of them another vector."""
    add_products(shop, COUNT)
    shop.write(creation(), "op.drop_index('products')")
    assert shop.run("upgrade").code == 0
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def written(shop: Shop) -> int:
    """How many documents have the new form."""
    pipeline = shop.client.pipeline(transaction=False)
    for number in range(COUNT):
        pipeline.hstrlen(f"p:{number}", "embedding")
    return pipeline.execute().count(len(vector(0, "float16")))


def pace_of(shop: Shop) -> dict[str, Any]:
    """What the run told last of its speed."""
    progress = shop.state("progress")
    return (progress or {}).get("pace") or {}


@contextmanager
def under_way(shop: Shop, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An upgrade in a process of its own, which is at work on documents."""
    with shop.process(*UPGRADE, *arguments) as process:
        try:
            wait_until(lambda: (shop.state("progress") or {}).get("progress"))
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> Result:
    """How a process ends, which it is about to do."""
    out, err = process.communicate(timeout=120)
    return Result(process.returncode, out, err)


def is_rewritten(shop: Shop) -> bool:
    found = documents(shop)
    return all(found[b"p:%d" % number][b"embedding"] == vector(number, "float16") for number in range(COUNT))


@contextmanager
def busy_server(shop: Shop, blocked_ms: int, free_seconds: float) -> Iterator[None]:
    """Another client blocks the server for some time, leaves it alone for some, and so on."""
    stopped = threading.Event()

    def block() -> None:
        with redis.Redis.from_url(shop.url) as client:
            while not stopped.wait(free_seconds):
                client.eval(BUSY, 0, blocked_ms)

    thread = threading.Thread(target=block)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_a_run_with_a_rate_takes_as_long_as_it_must_and_no_longer(products: Shop):
    started = time.monotonic()
    result = products.run(*UPGRADE, "--max-docs-per-second", "1000", "--json")
    seconds = time.monotonic() - started
    assert result.code == 0, result.err
    assert is_rewritten(products)
    # A thousand are backed up and a thousand are written; the index tells that writers did nothing meanwhile.
    assert 1.8 <= seconds <= 30
    assert products.state("control") is None


@pytest.mark.slow
def test_a_pause_from_another_process_stops_writes_until_it_is_taken_back(products: Shop):
    with under_way(products, "--max-docs-per-second", "250") as process:
        wait_until(lambda: written(products) > 50)
        assert products.run("status", "--pause").code == 0
        wait_until(lambda: pace_of(products).get("is_paused"))
        before = written(products)
        time.sleep(1.5)
        assert written(products) == before < COUNT
        heartbeat = products.state("progress")["heartbeat"]
        wait_until(lambda: products.state("progress")["heartbeat"] != heartbeat)
        shown = products.run("status")
        assert "limits: max-docs-per-second 250, paused\n  waits: paused\n" in shown.out
        assert products.run("status", "--resume", "--set", "max-docs-per-second=off").code == 0
        result = ended(process)
    assert result.code == 0, result.err
    assert "note: the run is paused; `redismigrate status --resume` lets it go on" in result.out
    assert is_rewritten(products)


def test_no_index_is_taken_away_while_a_run_is_paused(products: Shop):
    with under_way(products, "--max-docs-per-second", "250") as process:
        assert products.run("status", "--pause").code == 0
        wait_until(lambda: pace_of(products).get("is_paused"))
        time.sleep(1)
        assert products.hits("products") == COUNT
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 7
    assert products.hits("products") == COUNT
    with products.process(*UPGRADE) as taken_up:
        assert "taking up run" in wait_until(lambda: taken_up.stdout and taken_up.stdout.readline())
        time.sleep(0.5)
        assert taken_up.poll() is None, "it is paused still"
        products.run("status", "--resume", "--set", "max-docs-per-second=off")
        assert ended(taken_up).code == 0
    assert is_rewritten(products)


def test_the_rate_of_a_run_under_way_can_be_changed(products: Shop):
    with under_way(products, "--max-docs-per-second", "20") as process:
        assert 0 < wait_until(lambda: pace_of(products).get("rate")) <= 100
        assert products.run("status", "--set", "max-docs-per-second=2000", "-q").code == 0
        started = time.monotonic()
        result = ended(process)
    assert result.code == 0, result.err
    assert time.monotonic() - started < 60  # with 20 a second it would be two minutes
    (told,) = [
        entry[b"reason"]
        for _, entry in products.client.xrange("{redismigrate:shop}:journal")
        if entry[b"event"] == b"control"
    ]
    assert told == b"max_docs_per_second=2000.0"


def test_limits_of_the_command_that_takes_a_run_up_hold_where_they_are_others(products: Shop):
    with under_way(products, "--max-docs-per-second", "50") as process:
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 7
    assert products.run("status", "--json").json["control"]["max_docs_per_second"] == 50
    started = time.monotonic()
    assert products.run(*UPGRADE, "--max-docs-per-second", "5000").code == 0
    assert time.monotonic() - started < 30  # with 50 a second it would be 40


@pytest.mark.slow
def test_a_critical_latency_ends_the_run_in_order_and_the_same_command_ends_the_work(products: Shop):
    with under_way(products, "--max-docs-per-second", "200", "--json") as process:
        assert products.run("status", "--set", "critical-latency=40").code == 0
        with busy_server(products, blocked_ms=150, free_seconds=0.1):
            wait_until(lambda: pace_of(products).get("brakes"))
            result = ended(process)
    assert result.code == 7, result.out + result.err
    error = result.json["error"]
    assert error["code"] == "run_interrupted"
    assert error["message"].startswith(
        "The run stopped: for 10 seconds, in which it waited, a round trip to "
    )
    assert error["message"].endswith(" ms (99th percentile); critical are 40 ms.")
    assert "status --set critical-latency=MS" in error["hint"]
    assert result.json["run"] == products.run("status", "--json").json["run"]["id"]
    assert products.run("status", "--set", "max-docs-per-second=off").code == 0
    assert products.run(*UPGRADE).code == 0
    assert is_rewritten(products)


@pytest.mark.slow
def test_a_run_waits_while_the_server_is_slow_and_goes_on_when_it_is_not(products: Shop):
    with under_way(products, "--max-latency", "30", "--max-docs-per-second", "250") as process:
        wait_until(lambda: written(products) > 20)
        with busy_server(products, blocked_ms=150, free_seconds=0.05):
            brakes = wait_until(lambda: pace_of(products).get("brakes"))
            assert brakes[0].startswith("latency ")
            assert brakes[0].endswith(" ms > 30 ms")
            before = written(products)
            time.sleep(2)
            assert written(products) - before < 250
        result = ended(process)
    assert result.code == 0, result.err
    assert is_rewritten(products)


@pytest.mark.slow
def test_a_replica_that_falls_behind_brakes_the_run(shop: Shop):
    with (
        EmbeddedServer(port=0, server_arguments=("--repl-diskless-sync-delay", "0")) as master,
        EmbeddedServer(
            server_arguments=("--replicaof", "127.0.0.1", master.url.rpartition(":")[2])
        ) as replica,
        redis.Redis.from_url(master.url) as client,
    ):
        there = Shop(shop.folder, master.url, client)
        add_products(there, COUNT)
        there.write(creation(), "op.drop_index('products')")
        assert there.run("upgrade", "--url", master.url).code == 0
        there.write(TO_FLOAT16, TO_FLOAT32)
        wait_until(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        with under_way(there, "--url", master.url, "--max-docs-per-second", "200") as process:
            assert there.run("status", "--url", master.url, "--set", "max-replica-lag=2").code == 0
            os.kill(replica.pid, signal.SIGSTOP)
            try:
                brakes = wait_until(lambda: pace_of(there).get("brakes"))
            finally:
                os.kill(replica.pid, signal.SIGCONT)
            result = ended(process)
        assert result.code == 0, result.err
        assert brakes[0].startswith("replica lag ")
        assert brakes[0].endswith(" s > 2 s")
        assert is_rewritten(there)


def test_memory_over_its_limit_brakes_the_run(products: Shop):
    used = int(products.client.info("memory")["used_memory"])
    products.client.config_set("maxmemory", 2 * used)
    try:
        with under_way(products, "--max-docs-per-second", "100") as process:
            assert products.run("status", "--set", "max-memory=10").code == 0
            brakes = wait_until(lambda: pace_of(products).get("brakes"))
            for setting in ("max-memory", "max-docs-per-second"):
                assert products.run("status", "--set", f"{setting}=off").code == 0
            assert ended(process).code == 0
    finally:
        products.client.config_set("maxmemory", 0)
    assert brakes[0].startswith("memory ")
    assert brakes[0].endswith("% > 10%")


def test_the_way_back_keeps_to_the_limits_as_well(products: Shop):
    assert products.run(*UPGRADE).code == 0
    started = time.monotonic()
    result = products.run(
        "downgrade", "-1", "--strategy", "rebuild", "--max-docs-per-second", "1000", "--json"
    )
    assert result.code == 0, result.err
    assert time.monotonic() - started >= 1.8
    assert documents(products)[b"p:7"][b"embedding"] == vector(7)


@pytest.mark.parametrize("arguments", [("--pause",), ("--resume",), ("--set", "max-latency=5")])
def test_without_a_run_there_is_nothing_to_set(products: Shop, arguments: tuple[str, ...]):
    products.refuses(
        "status",
        *arguments,
        code=2,
        says=(
            "No run is under way or interrupted, so there is nothing to set.",
            "Limits of the next run are options of `redismigrate upgrade`.",
        ),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "speed=5"), "speed=5 is nothing that can be set."),
        (("--pause", "--resume"), "--pause and --resume contradict each other."),
        (("--watch", "--json"), "--watch shows a run as it goes; --json is one document of one moment."),
    ],
)
def test_options_of_status_that_make_no_sense_are_refused(
    products: Shop, arguments: tuple[str, ...], message: str
):
    result = products.run("status", *arguments)
    assert result.code == 2
    assert message in (result.json["error"]["message"] if "--json" in arguments else result.err)


def run_in(shop: Shop) -> Run:
    """A run, interrupted after the backup of the documents had begun."""
    with under_way(shop, "--max-docs-per-second", "50") as process:
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 7
    return Run.from_content(
        {**(shop.state("run") or {}), **(shop.state("progress") or {})}, StateKeys("shop")
    )


def test_limits_of_a_run_can_not_be_set_for_another_one(products: Shop):
    run, keys = run_in(products), StateKeys("shop")
    with connect(products.url) as server:
        write_control(server, keys, run.id, {"paused": True})
        write_control(server, keys, run.id, {"max_latency_ms": 5.0})
        assert read_control(server, keys, run.id, {"max_docs_per_second": 50}).paused
        assert not read_control(server, keys, "ffffffffffff", {}).paused
        with pytest.raises(UsageError, match="Run ffffffffffff has ended"):
            write_control(server, keys, "ffffffffffff", {"paused": True})
    stored = json.loads(products.client.get(keys.control) or b"")
    assert stored == {"run": run.id, "changes": {"paused": True, "max_latency_ms": 5.0}}
    assert products.run("rollback").code == 7 or products.client.get(keys.control) is None


def test_a_postponed_cutover_waits_with_signs_of_life_until_it_is_not(products: Shop):
    run, keys = run_in(products), StateKeys("shop")
    signs, told = [], []
    with connect(products.url) as server:
        write_control(server, keys, run.id, {"postpone_cutover": True})
        pace = Pace(server, keys, lambda: run, lambda: signs.append(pace.report()), told.append)
        waiting = threading.Thread(target=pace.wait_for_cutover)
        waiting.start()
        wait_until(lambda: signs and signs[-1].is_cutover_postponed)
        assert waiting.is_alive()
        write_control(server, keys, run.id, {"postpone_cutover": False})
        waiting.join(timeout=120)
        assert not waiting.is_alive()
        assert not pace.report().is_cutover_postponed
        pace.close()
    assert told == [
        "the cutover is postponed; `redismigrate status --set postpone-cutover=off` lets it go on"
    ]
