"""The server's own build of an index, slowed down by the limit of latency, and its setting given back."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
import redis
from patience import wait_until
from vector_documents import add_products, vector

from redismigrate.execution.build_sleep import SETTING
from redismigrate.redis_server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

COUNT = 6000
BEFORE = 7
# A graph that takes seconds to build, however few its vectors are.
ATTRS = "algorithm='hnsw', m=64, ef_construction=1000"
TO_HNSW = f"with op.index('products') as index:\n    index.alter_field('embedding', {ATTRS})"
TO_FLAT = "with op.index('products') as index:\n    index.alter_field('embedding', algorithm='flat')"
CREATION = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "embedding", "type": "vector", "attrs": {"algorithm": "flat", "dims": %d}}],
})
"""
# No server answers so fast.
LIMIT = ("--max-latency", "0.1")


def settings(shop: Shop) -> dict[str, str]:
    """All settings of Redis Search."""
    return dict(shop.client.config_get("search-*"))


def sleep_of(shop: Shop) -> int:
    return int(settings(shop)[SETTING])


@pytest.fixture
def products(shop: Shop) -> Iterator[Shop]:
    """Products in a FLAT index, and a revision that makes it HNSW; the setting is no usual one."""
    if not shop.client.config_get(SETTING):
        pytest.skip(f"this server has no {SETTING}")
    usual = sleep_of(shop)
    shop.client.config_set(SETTING, BEFORE)
    filled(shop)
    yield shop
    shop.client.config_set(SETTING, usual)


def filled(shop: Shop, count: int = COUNT) -> None:
    add_products(shop, count)
    shop.write(CREATION % (len(vector(0)) // 4), "op.drop_index('products')")
    assert shop.run("upgrade").code == 0
    shop.write(TO_HNSW, TO_FLAT)


def test_a_build_is_slowed_down_and_nothing_else_is_set(products: Shop):
    before = settings(products)
    with products.process("upgrade", *LIMIT) as process:
        wait_until(lambda: sleep_of(products) > BEFORE)
        recorded = products.state("progress")["build_sleep"]
        assert recorded["before"] == BEFORE
        assert {**settings(products), SETTING: before[SETTING]} == before
        told = wait_until(lambda: (products.state("progress")["pace"] or {}).get("build"))
        assert told.startswith(f"the build is slowed down: {SETTING} {BEFORE} -> ")
        assert "waits: latency " in products.run("status").out
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0, out + err
    assert settings(products) == before


def test_without_a_limit_nothing_is_set(products: Shop):
    with products.process("upgrade") as process:
        while process.poll() is None:
            assert sleep_of(products) == BEFORE
            time.sleep(0.05)
    assert process.returncode == 0


def test_a_limit_that_is_taken_away_gives_the_setting_back_at_once(products: Shop):
    with products.process("upgrade", *LIMIT) as process:
        wait_until(lambda: sleep_of(products) > BEFORE)
        assert products.run("status", "--set", "max-latency=off").code == 0
        wait_until(lambda: sleep_of(products) < 1000 or process.poll() is not None)
        process.communicate(timeout=150)
    assert process.returncode == 0
    assert sleep_of(products) == BEFORE


def killed(shop: Shop) -> None:
    """An upgrade that was killed while the build was slowed down."""
    with shop.process("upgrade", *LIMIT) as process:
        wait_until(lambda: sleep_of(shop) > BEFORE)
        process.kill()
    assert sleep_of(shop) > BEFORE


@pytest.mark.parametrize("command", ["upgrade", "rollback"])
def test_what_was_killed_is_given_back_by_the_command_that_goes_on(products: Shop, command: str):
    killed(products)
    assert products.run(command).code == 0
    assert sleep_of(products) == BEFORE


def test_repair_gives_back_what_was_killed_and_leaves_the_run_as_it_is(products: Shop):
    killed(products)
    run = products.state("run")
    repaired = products.run("repair")
    assert repaired.code != 0
    assert f"Error: Run {run['id']} is unfinished. {SETTING} is {BEFORE} again.\n" in repaired.err
    assert sleep_of(products) == BEFORE
    assert products.state("run") == run
    assert products.state("progress")["build_sleep"] is None
    again = products.run("repair")
    assert SETTING not in again.err
    assert products.run("upgrade").code == 0
    assert sleep_of(products) == BEFORE


def test_after_a_failover_the_old_master_is_named_and_the_new_one_left_as_it_is(products: Shop):
    killed(products)
    place = f"{products.url.removeprefix('unix://').partition('?')[0]}:0"
    with EmbeddedServer() as second, redis.Redis.from_url(second.url) as promoted:
        # The record is there as it was replicated; the documents don't matter.
        for key in products.client.scan_iter("{redismigrate*"):
            promoted.restore(key, 0, products.client.dump(key))
        before = promoted.config_get(SETTING)
        assert before != {SETTING: str(BEFORE)}

        repaired = products.run("repair", "--url", second.url)

        assert promoted.config_get(SETTING) == before
    assert (
        f"{SETTING} was {BEFORE} and may be more by now: the run raised it on the server at {place}, and "
        f"this is another one. Set it there with CONFIG SET {SETTING} {BEFORE}.\n"
    ) in repaired.err
    assert sleep_of(products) > BEFORE


def test_where_the_record_of_the_run_is_lost_its_error_says_to_look_after_the_setting(products: Shop):
    killed(products)
    products.client.set("{redismigrate:shop}:progress", "no JSON")

    lost = products.run("repair")

    assert re.findall(r"`redis-cli (CONFIG GET [^`]*)`", lost.err) == [f"CONFIG GET {SETTING}"]
    assert sleep_of(products) > BEFORE


@pytest.mark.parametrize("command", ["upgrade", "rollback", "repair"])
def test_what_a_person_has_set_after_a_kill_stays(products: Shop, command: str):
    killed(products)
    products.client.config_set(SETTING, 55)
    products.run(command)
    assert sleep_of(products) == 55


def test_what_a_person_sets_meanwhile_stays(products: Shop):
    with products.process("upgrade", *LIMIT) as process:
        wait_until(lambda: sleep_of(products) > BEFORE)
        products.client.config_set(SETTING, 55)
        out, _ = process.communicate(timeout=150)
    assert process.returncode == 0
    assert sleep_of(products) == 55
    assert out.count(f"the build can't be slowed down: somebody has set {SETTING} meanwhile") == 1


def test_a_signal_gives_the_setting_back(products: Shop):
    with products.process("upgrade", *LIMIT) as process:
        wait_until(lambda: sleep_of(products) > BEFORE)
        process.terminate()
        process.communicate(timeout=150)
    assert process.returncode == 7
    assert sleep_of(products) == BEFORE
    assert products.state("progress")["build_sleep"] is None


@pytest.mark.parametrize(
    ("denied", "reason"),
    [
        ("-config", "this server does not let its configuration be read"),
        ("-config|set", f"this server does not let {SETTING} be set"),
    ],
)
def test_where_it_may_not_be_set_a_line_says_so(products: Shop, denied: str, reason: str):
    products.client.execute_command("ACL", "SETUSER", "worker", "on", ">word", "~*", "&*", "+@all", denied)
    try:
        url = products.url.replace("unix://", "unix://worker:word@")
        result = products.run("upgrade", "--url", url, *LIMIT)
    finally:
        products.client.acl_deluser("worker")
    assert result.code == 0, result.err
    assert result.out.count(f"note: the build can't be slowed down: {reason}") == 1
    assert sleep_of(products) == BEFORE


def test_a_server_without_the_setting_builds_as_fast_as_it_does(shop: Shop):
    if shop.client.config_get(SETTING):
        pytest.skip("this server has the setting")
    filled(shop, 5000)
    result = shop.run("upgrade", *LIMIT)
    assert result.code == 0, result.err
    assert result.out.count(f"note: the build can't be slowed down: this server has no {SETTING}") == 1
