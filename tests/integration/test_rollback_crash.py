"""A rollback that is killed goes on where it was, and ends as if it had not been."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from command_proxy import proxy_to
from long_chain import REVISIONS, outcome, rehearse, run
from signalled_process import KILLED, kill_at, kill_at_every

from redismigrate import commands
from redismigrate.errors import RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.state import lock, store

if TYPE_CHECKING:
    from command_proxy import Loss
    from conftest import Shop

    from redismigrate.planning.plan import Step
    from redismigrate.redis_server.embedded import EmbeddedServer

FEWEST_STEPS = 25


def last_run(shop: Shop) -> str:
    """The id of the run that has just finished."""
    return str((shop.state("last_run") or {})["run"])


class Stop(Watcher):
    """Ends the process as a signal does, at the n-th step."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step_started(self, step: Step) -> None:
        del step
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def stop_at(shop: Shop, run_id: str, at: int) -> None:
    """Begin to roll a finished run back, and stop before a step."""
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(
        RunInterrupted, match=r"Run `redismigrate rollback` again: it goes on undoing the run\."
    ):
        commands.rollback(project, watcher=Stop(at), run=run_id)


def _kill_at_every_step(shop: Shop, run_id: str) -> int:
    """Roll a finished run back, stopped before every step; how often it was killed."""
    stop_at(shop, run_id, 1)
    kills, at, reached = 0, 2, None
    while (code := kill_at(shop, "rollback", "", at=at, moment="undo step")) == KILLED:
        kills += 1
        progress, run_now = shop.state("progress") or {}, shop.state("run") or {}
        now = progress.get("position"), run_now.get("undone")
        # Steps that are one transaction are begun together: a kill before the second has done none of them.
        at = at + 1 if now == reached else 2
        reached = now
    assert code == 0
    return kills


@pytest.mark.slow_beyond(1)
def test_a_rollback_of_a_finished_upgrade_killed_at_every_step_ends_as_if_it_had_not_been(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    assert _kill_at_every_step(shop, last_run(shop)) > FEWEST_STEPS
    assert outcome(shop) == ends.base


@pytest.mark.slow_beyond(1)
def test_a_rollback_of_a_finished_downgrade_killed_at_every_step_ends_as_if_it_had_not_been(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    applied = (shop.state("head") or {})["revisions"]
    run(shop, "downgrade", "base")
    assert _kill_at_every_step(shop, last_run(shop)) > FEWEST_STEPS
    assert outcome(shop) == ends.head
    assert (shop.state("head") or {})["revisions"] == applied


def test_a_rollback_of_an_interrupted_run_killed_at_every_step_ends_as_if_it_had_not_been(shop: Shop):
    ends = rehearse(shop)
    assert kill_at(shop, "upgrade", "head", at=35) == KILLED
    kills, code = kill_at_every(shop, "rollback", "", "undo step")
    assert (code, kills > 15) == (0, True)
    assert outcome(shop) == ends.base


def test_a_rollback_that_was_killed_tells_all_that_it_undid_once_it_is_done(shop: Shop):
    rehearse(shop)
    run(shop, "upgrade", "head")
    run_id = last_run(shop)
    stop_at(shop, run_id, 12)
    assert (shop.state("run") or {})["undone"]
    result = shop.run("--json", "rollback", "--run", run_id)
    assert (result.json["run"], result.json["revisions"]) == (run_id, list(reversed(REVISIONS)))


@pytest.mark.parametrize("command", [("upgrade", "head"), ("downgrade", "base")])
def test_while_a_run_is_rolled_back_no_other_begins(shop: Shop, command: tuple[str, ...]):
    rehearse(shop)
    run(shop, "upgrade", "head")
    run_id = last_run(shop)
    stop_at(shop, run_id, 9)
    shop.refuses(
        *command,
        code=7,
        says=(
            f"Run {run_id} (upgrade to head) is being rolled back.",
            "Go on with `redismigrate rollback`.",
        ),
    )


def test_a_rollback_that_meets_what_it_cannot_do_says_so_and_goes_on_later(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    stop_at(shop, last_run(shop), 1)
    shop.client.execute_command("FT.CREATE", "orders", "PREFIX", "1", "x:", "SCHEMA", "isbn", "TAG")
    result = shop.run("rollback")
    assert result.code == 7
    assert "Undoing revision 000000000007 stopped at “create index orders again”" in result.err
    assert "Remove the cause and run `redismigrate rollback` again: it goes on undoing." in result.err
    shop.client.execute_command("FT.DROPINDEX", "orders")
    run(shop, "rollback")
    assert outcome(shop) == ends.base


@pytest.mark.parametrize("rounds", [2, pytest.param(80, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_rollback_killed_at_random_moments_ends_as_if_it_had_not_been(shop: Shop, rounds: int):
    ends = rehearse(shop)
    killed = 0
    for _ in range(rounds):
        run(shop, "upgrade", "head")
        with shop.process("rollback", "--run", last_run(shop)) as process:
            while process.poll() is None and shop.state("run") is None:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.2))  # noqa: S311 - no secret
            process.kill()
        killed += shop.state("run") is not None
        run(shop, "rollback")
        assert outcome(shop) == ends.base
    assert killed or rounds < 20


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("loss", ["request", "reply"])
@pytest.mark.parametrize("is_scripted", [True, False])
@pytest.mark.parametrize("every", [37, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_rollback_can_be_repeated_whichever_command_the_network_loses(
    shop: Shop,
    redis_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    loss: Loss,
    every: int,
    *,
    is_scripted: bool,
):
    # In this process the lock of an interrupted command is no dead process's, so it lasts its lease.
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.1)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.03)
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.02)
    if not is_scripted:  # as with definitions that are too long for a script
        monkeypatch.setattr(store, "LONGEST_SCRIPTED_COMMAND", 6)
    ends = rehearse(shop)
    at, has_cut = 8, True
    while has_cut:
        run(shop, "upgrade", "head")
        with proxy_to(redis_server, at, loss) as proxy:
            result = shop.run("--url", proxy.url, "rollback", "--run", last_run(shop))
            has_cut = proxy.has_cut
        if shop.state("run") is not None:
            assert result.code == 7, (at, result.err)
            run(shop, "rollback")
        elif shop.state("last_run") is not None:
            run(shop, "rollback", "--run", last_run(shop))
        assert outcome(shop) == ends.base, at
        at += every
    assert at > 100
