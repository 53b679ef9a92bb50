"""Where FT.* can't run in a script, a command and the note of it are two things, and either may get lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from command_proxy import proxy_to
from long_chain import Ends, outcome, rehearse, run, write_failing_revision
from signalled_process import KILLED, kill_at

from redismigrate.redis_server import connection
from redismigrate.redis_server.capabilities import Capabilities, read_capabilities
from redismigrate.redis_server.inspection import list_indexes
from redismigrate.state import lock, store

if TYPE_CHECKING:
    from command_proxy import Loss
    from conftest import Shop

    from redismigrate.redis_server.embedded import EmbeddedServer

# Every command that changes an index or an alias.
CHANGES = (b"FT.CREATE", b"FT.DROPINDEX", b"FT.ALTER", b"FT.ALIAS", b"FT.SYNUPDATE")
FEWEST_CHANGES = 10
EVERY = [29, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process the lock of an interrupted command is no dead process's, so it lasts its lease."""
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.1)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.03)
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.02)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is taken for a cluster with a search coordinator, which takes no FT.* in scripts."""

    def read_as_cluster(execute: Any) -> Capabilities:
        return replace(read_capabilities(execute), is_cluster=True, has_search_coordinator=True)

    monkeypatch.setattr(connection, "read_capabilities", read_as_cluster)


@pytest.mark.usefixtures("cluster")
def test_without_scripts_the_chain_leaves_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    ends = rehearse(shop)
    monkeypatch.setattr(connection, "read_capabilities", read_capabilities)
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


@pytest.mark.slow_beyond(1)
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("loss", ["request", "reply"])
@pytest.mark.parametrize("every", EVERY)
def test_without_scripts_a_run_resumes_whichever_change_gets_lost(
    shop: Shop, redis_server: EmbeddedServer, loss: Loss, every: int
):
    _lose_changes(shop, redis_server, rehearse(shop), loss, every)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("every", EVERY)
def test_without_scripts_a_failed_revision_is_undone_whichever_change_gets_lost(
    shop: Shop, redis_server: EmbeddedServer, every: int
):
    rehearse(shop)
    run(shop, "upgrade", "head")
    before = outcome(shop)
    write_failing_revision(shop)
    at = 1
    has_cut = True
    while has_cut:
        with proxy_to(redis_server, (at, CHANGES), "reply") as proxy:
            code = shop.run("--url", proxy.url, "upgrade", "head").code
            has_cut = proxy.has_cut
        assert code == (7 if has_cut else 1)
        if has_cut:
            result = shop.run("upgrade", "head")
            assert result.code == 1, result.err
            at += every
        assert outcome(shop) == before, at
    assert at > FEWEST_CHANGES


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("loss", ["request", "reply"])
@pytest.mark.parametrize("every", EVERY)
def test_definitions_too_long_for_a_script_resume_whichever_change_gets_lost(
    shop: Shop, redis_server: EmbeddedServer, loss: Loss, every: int, monkeypatch: pytest.MonkeyPatch
):
    # Shorter than any FT.CREATE. One that is really too long makes documents of half a megabyte.
    monkeypatch.setattr(store, "LONGEST_SCRIPTED_COMMAND", 6)
    _lose_changes(shop, redis_server, rehearse(shop), loss, every)


def test_an_index_of_a_stranger_is_not_taken_for_that_of_an_earlier_attempt(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store, "LONGEST_SCRIPTED_COMMAND", 6)
    rehearse(shop)
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    shop.client.execute_command("FT.CREATE", "products", "PREFIX", "1", "x:", "SCHEMA", "isbn", "TAG")
    result = shop.run("upgrade", "head")
    assert result.code == 1
    assert "index products was made meanwhile" in result.err
    assert list_indexes(shop.client.execute_command) == ("products",)


def _lose_changes(shop: Shop, server: EmbeddedServer, ends: Ends, loss: Loss, every: int) -> None:
    """Interrupt upgrades and downgrades at one change, resume them, and go on with a change further on."""
    for verb, target, expected in (("upgrade", "head", ends.head), ("downgrade", "base", ends.base)):
        at = 1
        has_cut = True
        while has_cut:
            with proxy_to(server, (at, CHANGES), loss) as proxy:
                result = shop.run("--url", proxy.url, verb, target)
                has_cut = proxy.has_cut
            if has_cut:
                assert result.code == 7, (verb, at, result.err)
                run(shop, verb, target)
            assert outcome(shop) == expected, (verb, at)
            assert not [name for name in list_indexes(shop.client.execute_command) if "scratch" in name]
            if has_cut:
                run(shop, *(("downgrade", "base") if verb == "upgrade" else ("upgrade", "head")))
                at += every
        assert at > FEWEST_CHANGES
