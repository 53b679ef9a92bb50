"""What a killed rename with search up leaves: the same command ends it, `rollback` undoes all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from document_scenarios import BASE, Stage, set_stage
from signalled_process import KILLED, kill_at
from vector_documents import kill_before

if TYPE_CHECKING:
    from conftest import Shop
    from signalled_process import Verb

    from redismigrate.planning.step_life import Phase

FEW_DOCUMENTS = 30
NAMES = pytest.mark.parametrize("name", ["rename beside", "JSON beside"])


def kill_in_phase(stage: Stage, verb: Verb, target: str, at: int, phase: Phase = "all") -> int:
    return kill_at(stage.shop, verb, target, at=at, options=replace(stage.scenario.options, phase=phase))


def kill_everywhere(stage: Stage, verb: Verb, target: str, phase: Phase = "all") -> int:
    """Start the same again and again, killed a step later each time, until it ends; how often that was."""
    at, kills, written = 1, 0, 0
    while kill_in_phase(stage, verb, target, at, phase) == KILLED:
        kills += 1
        # As in `kill_at_every`: steps that are one transaction begin all at once.
        before, written = written, stage.shop.client.xlen("{redismigrate:shop}:journal")
        at = 2 if written > before else at + 1
    return kills


def marks(shop: Shop) -> list[bytes]:
    return list(shop.client.scan_iter(match="{redismigrate:shop}:mark:*", count=10_000))


@pytest.mark.slow_beyond(1)
@NAMES
def test_killed_with_both_names_there_it_is_rolled_back_and_killed_while_the_old_one_goes_it_goes_on(
    shop: Shop, name: str
):
    stage = set_stage(shop, name, FEW_DOCUMENTS)
    shop.strategy = stage.scenario.strategy
    kill_before(shop, "swap_alias", "upgrade", "head")
    stage.run("rollback")
    stage.require(BASE)
    kill_before(shop, "remove_documents", "upgrade", "head")
    stage.run("upgrade", "head")
    stage.require(stage.top)
    assert marks(shop) == []


@pytest.mark.slow
@NAMES
def test_killed_at_every_step_boundary_it_goes_on_up_and_down(shop: Shop, name: str):
    stage = set_stage(shop, name, FEW_DOCUMENTS)
    ways: list[tuple[Verb, str]] = [("upgrade", stage.top), ("downgrade", BASE)]
    for verb, target in ways:
        kills = kill_everywhere(stage, verb, target)
        assert kills > 5
        stage.require(target, f"{verb} after {kills} kills")
        assert marks(shop) == []


@pytest.mark.slow
@NAMES
def test_killed_at_every_step_boundary_it_is_rolled_back(shop: Shop, name: str):
    stage = set_stage(shop, name, FEW_DOCUMENTS)
    at = 1
    while kill_in_phase(stage, "upgrade", stage.top, at) == KILLED:
        if shop.state("run") is not None:
            stage.run("rollback")
        stage.require(BASE, f"killed before step {at}")
        assert marks(shop) == []
        at += 1
    assert at > 5


@pytest.mark.slow
@NAMES
def test_an_expanded_revision_is_contracted_whatever_dies_and_rolled_back_before_or_after(
    shop: Shop, name: str
):
    stage = set_stage(shop, name, FEW_DOCUMENTS)
    flags = stage.scenario.flags
    assert shop.run("upgrade", "head", "--phase", "expand", *flags).code == 0
    stage.run("rollback")
    stage.require(BASE, "rolled back from the expand phase")
    kill_everywhere(stage, "upgrade", "head", "expand")
    assert shop.run("current", "--json").json["expanded"] == stage.top
    kill_everywhere(stage, "upgrade", "head", "contract")
    stage.require(stage.top, "contracted")
    assert shop.run("current", "--json").json["expanded"] is None
    assert marks(shop) == []
    finished = shop.run("status", "--json").json["journal"][0]["run"]
    assert shop.run("rollback", "--run", finished).code == 0
    stage.require(BASE, "rolled back from the end")
    assert marks(shop) == []
