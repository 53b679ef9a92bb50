"""What a killed migration leaves: the same command again ends as if nothing had happened."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from long_chain import REVISIONS, outcome, recorded_events, rehearse, run, write_failing_revision
from signalled_process import KILLED, kill_at, kill_at_every

if TYPE_CHECKING:
    from conftest import Shop

FEWEST_STEPS = 35


def test_an_upgrade_killed_at_every_step_boundary_ends_as_if_it_had_not_been(shop: Shop):
    ends = rehearse(shop)
    kills, code = kill_at_every(shop, "upgrade", "head")
    assert (code, kills > FEWEST_STEPS) == (0, True)
    assert outcome(shop) == ends.head
    assert recorded_events(shop, "upgrade") == [*REVISIONS, *REVISIONS]


def test_a_downgrade_killed_at_every_step_boundary_ends_as_if_it_had_not_been(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    kills, code = kill_at_every(shop, "downgrade", "base")
    assert (code, kills > FEWEST_STEPS) == (0, True)
    assert outcome(shop) == ends.base


def test_an_upgrade_killed_between_any_two_revisions_goes_on_with_the_next(shop: Shop):
    ends = rehearse(shop)
    for revision in REVISIONS:
        assert kill_at(shop, "upgrade", "head", at=1, moment="end of revision") == KILLED
        assert (shop.state("head") or {})["heads"] == [revision]
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


@pytest.mark.parametrize("rounds", [5, pytest.param(150, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_the_command_killed_at_random_moments_ends_as_if_it_had_not_been(shop: Shop, rounds: int):
    ends = rehearse(shop)
    killed = 0
    for _ in range(rounds):
        verb, target, expected = random.choice(  # noqa: S311 - no secret
            [("upgrade", "head", ends.head), ("downgrade", "base", ends.base)]
        )
        with shop.process(verb, target) as process:
            while process.poll() is None and shop.state("run") is None:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.2))  # noqa: S311 - no secret
            process.kill()
        killed += shop.state("run") is not None
        run(shop, verb, target)
        assert outcome(shop) == expected
    assert killed or rounds < 20


def test_a_failed_revision_is_undone_though_every_step_of_the_undoing_is_killed(shop: Shop):
    rehearse(shop)
    run(shop, "upgrade", "head")
    before = outcome(shop)
    write_failing_revision(shop)
    kills, code = kill_at_every(shop, "upgrade", "head", "undo step")
    assert (code, kills > 6) == (1, True)
    assert outcome(shop) == before


def test_the_command_that_ends_an_interrupted_undoing_says_what_had_failed(shop: Shop):
    rehearse(shop)
    revision = write_failing_revision(shop)
    assert kill_at(shop, "upgrade", "head", at=3, moment="undo step") == KILLED
    result = shop.run("upgrade", "head")
    assert result.code == 1
    assert f"Could not apply revision {revision}: run fail" in result.err
    assert "raised RuntimeError: out of paint" in result.err
    assert f"All that it had changed is undone. Kept from before it: {', '.join(REVISIONS)}." in result.err


@pytest.mark.parametrize(
    "revisions", [REVISIONS[3:6], pytest.param(REVISIONS, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_rollback_after_a_kill_at_any_step_leaves_the_server_as_before_the_revision(
    shop: Shop, revisions: tuple[str, ...]
):
    rehearse(shop)
    for revision in REVISIONS:
        if revision in revisions:
            before = outcome(shop)
            at = 1
            while kill_at(shop, "upgrade", revision, at=at) == KILLED:
                run(shop, "rollback")
                assert outcome(shop) == before, (revision, at)
                at += 1
            assert at > 2
        else:
            run(shop, "upgrade", revision)


@pytest.mark.parametrize(
    "revisions",
    [REVISIONS[3:6], pytest.param(REVISIONS, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_rollback_of_a_killed_downgrade_leaves_the_revision_applied(shop: Shop, revisions: tuple[str, ...]):
    rehearse(shop)
    run(shop, "upgrade", "head")
    below = ("base", *REVISIONS)
    for target, revision in reversed(list(zip(below, REVISIONS, strict=False))):
        if revision in revisions:
            before = outcome(shop)
            at = 1
            while kill_at(shop, "downgrade", target, at=at) == KILLED:
                run(shop, "rollback")
                assert outcome(shop) == before, (revision, at)
                at += 1
            assert at > 2
        else:
            run(shop, "downgrade", target)


def test_a_rollback_killed_at_every_step_can_be_repeated(shop: Shop):
    rehearse(shop)
    run(shop, "upgrade", REVISIONS[4])
    before = outcome(shop)
    assert kill_at(shop, "upgrade", "head", at=5) == KILLED
    kills, code = kill_at_every(shop, "rollback", "", "undo step")
    assert (code, kills > 1) == (0, True)
    assert outcome(shop) == before


def test_rollback_between_two_revisions_undoes_the_recorded_ones(shop: Shop):
    ends = rehearse(shop)
    assert kill_at(shop, "upgrade", "head", at=4, moment="end of revision") == KILLED
    result = shop.run("rollback", "--json")
    assert result.json["revisions"] == list(reversed(REVISIONS[:4]))
    assert outcome(shop) == ends.base
