"""A run that goes on after failures, killed at any moment: it ends as if it had not been."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from long_chain import outcome
from many_indexes import (
    CONTINUE,
    break_document,
    break_price,
    datatypes,
    mend_document,
    require_partial,
    require_tidy,
    write_float16,
    write_indexes,
)
from signalled_process import KILLED, exit_code, kill_at, start_command

from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.strategies import StrategyChoice

GOES_ON = MigrationOptions(on_failure="continue")


def killed_at_random(shop: Shop, arguments: tuple[str, ...], seconds: float) -> bool:
    """Start a command and kill it some time after it has begun to work; whether it was still at work."""
    process = start_command(shop.folder, arguments, shop.folder / "output")
    while process.is_alive() and shop.client.get("{redismigrate:shop}:lock") is None:
        time.sleep(0.001)
    time.sleep(random.uniform(0, seconds))  # noqa: S311 - no secret
    process.kill()
    return exit_code(process) == KILLED


def killed_so_often(shop: Shop, arguments: tuple[str, ...], seconds: float, kills: int) -> None:
    """Kill a command that often at random moments; one that had ended by itself does not count."""
    for _ in range(10 * kills):
        kills -= killed_at_random(shop, arguments, seconds)
        if not kills:
            break
    assert not kills


@pytest.mark.parametrize(
    ("indexes", "documents", "kills"),
    [(4, 200, 3), pytest.param(10, 5000, 30, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_killed_at_random_moments_it_changes_what_can_be_changed_and_then_the_rest(
    shop: Shop, indexes: int, documents: int, kills: int
):
    write_indexes(shop, indexes, documents)
    revision = write_float16(shop, indexes)
    break_document(shop)
    seconds = 0.02 * indexes + 2e-5 * indexes * documents
    killed_so_often(shop, CONTINUE, seconds, kills)
    result = shop.run(*CONTINUE)
    assert result.code == 7, result.err
    assert f"Revision {revision} is partly applied: 1 of its {indexes} indexes" in result.err
    assert "b:1: embedding: component 0 is 1e+30" in result.err
    require_partial(shop, indexes, documents)
    mend_document(shop)
    for _ in range(kills // 3):  # of one index alone: it is soon done, and then there is nothing to be killed
        killed_at_random(shop, ("upgrade", "head"), seconds / indexes)
    result = shop.run("upgrade", "head")
    assert result.code == 0, result.err
    assert set(datatypes(shop).values()) == {"FLOAT16"}
    assert (shop.state("head") or {})["heads"] == [revision]
    assert shop.state("run") is None
    require_tidy(shop, indexes, documents)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_killed_at_every_step_it_ends_partial_and_then_done(shop: Shop, strategy: StrategyChoice):
    write_indexes(shop, 3, 20)
    write_float16(shop, 3, with_price=True)
    break_price(shop)
    require_killed_at_every_step(shop, replace(GOES_ON, strategy=strategy), 7)
    require_partial(shop, 3)
    mend_document(shop)
    require_killed_at_every_step(shop, GOES_ON, 0)
    assert set(datatypes(shop).values()) == {"FLOAT16"}
    require_tidy(shop, 3, 20)
    assert shop.run("check").code == 0


def require_killed_at_every_step(shop: Shop, options: MigrationOptions, code: int) -> None:
    """Kill the upgrade at each of its steps in turn, going forward or back, until it ends by itself."""
    kills, at, written = 0, 1, 0
    while (ended := kill_at(shop, "upgrade", "head", at, "any step", options)) == KILLED:
        kills += 1
        before, written = written, shop.client.xlen("{redismigrate:shop}:journal")
        at = 2 if written > before else at + 1
    assert (ended, kills > 5) == (code, True)


@pytest.mark.parametrize("strategy", [pytest.param("auto", marks=pytest.mark.slow), "rebuild"])
def test_killed_while_an_index_is_put_back_all_can_be_undone(shop: Shop, strategy: StrategyChoice):
    write_indexes(shop, 2, 20)
    write_float16(shop, 2, with_price=True)
    break_price(shop)
    before = outcome(shop)
    options = replace(GOES_ON, strategy=strategy)
    assert kill_at(shop, "upgrade", "head", 2, "undo step", options) == KILLED
    run = shop.state("run") or {}
    assert run["apart"]["putting_back"] == ["b"]
    # By that a version that would undo this index alone, and end the run, refuses it.
    assert "record_indexes" in {step["kind"] for step in run["plan"]["steps"]}
    assert "record_revision" not in {step["kind"] for step in run["plan"]["steps"]}
    status = shop.run("status", "--json").json
    assert {each["index"]: each["state"] for each in status["indexes"]} == {"a": "ready", "b": "failed"}
    result = shop.run("rollback")
    assert result.code == 0, result.err
    after = outcome(shop)
    assert after["documents"] == before["documents"]
    assert (after["found"], after["heads"], after["run"]) == (before["found"], before["heads"], None)
    assert after["indexes"] == before["indexes"]
    assert set(datatypes(shop).values()) == {"FLOAT32"}
    require_tidy(shop, 2, 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_rollback_after_a_kill_at_any_step_undoes_indexes_that_serve_already(
    shop: Shop, strategy: StrategyChoice
):
    write_indexes(shop, 2, 20)
    write_float16(shop, 2)
    before = outcome(shop)
    options = MigrationOptions(cutover="each", strategy=strategy)
    at = 1
    while kill_at(shop, "upgrade", "head", at, options=options) == KILLED:
        result = shop.run("rollback")
        assert result.code == 0, (at, result.err)
        after = outcome(shop)
        assert after["documents"] == before["documents"], at
        assert (after["indexes"], after["found"]) == (before["indexes"], before["found"]), at
        assert (after["heads"], after["run"]) == (before["heads"], None), at
        require_tidy(shop, 2, 20)
        at += 1
    assert at > 10
    assert set(datatypes(shop).values()) == {"FLOAT16"}
    require_tidy(shop, 2, 20)
