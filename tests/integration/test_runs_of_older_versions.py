"""Runs that an earlier version has begun are read, resumed and rolled back as if they had never stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from document_scenarios import BASE
from stored_runs import CASES, DATA, Case, put, stage, stored

from redismigrate import commands
from redismigrate.execution.run import Run
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.planning.plan_file import plan_to_json

if TYPE_CHECKING:
    from conftest import Shop
    from document_scenarios import Stage

VERSION = "0.1.0"
SCENARIOS = sorted({case.scenario for case in CASES})


def ends(case: Case, content: Any) -> list[tuple[tuple[str, ...], str]]:
    """The commands that end a case, and the revision that is the head then."""
    if case.before is None:
        run = content["state"]["{redismigrate:shop}:last_run"]["run"]
        return [(("rollback", "--run", run), BASE), (("downgrade", BASE), BASE)]
    back = (("rollback",), BASE)
    return [back] if case.verb == "rollback" else [back, (("upgrade", "head"), "000000000002")]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_of_an_older_version_ends_as_an_uninterrupted_one(shop: Shop, scenario: str):
    made = stage(shop, scenario, rehearses=True)
    for case in CASES:
        if case.scenario == scenario:
            content = stored(VERSION, case)
            for command, head in ends(case, content):
                put(shop, content)
                made.run(*command)
                made.require(head, f"{case.name}, {command}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stored_run_is_written_back_as_it_was(case: Case):
    found = {}
    for key, document in stored(VERSION, case)["state"].items():
        name = key.partition("}:")[2].partition(":")[0]
        if name in {"run", "undo"}:
            kind = Run if name == "run" else UndoRecord
            plain = {part: value for part, value in document.items() if part not in {"version", "layout"}}
            # In the same order as well: people read it.
            found[key] = json.dumps(kind.model_validate(plain).content()), json.dumps(plain)
    assert found
    for key, (written, before) in found.items():
        assert written == before, key


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "function"])
def test_a_plan_that_an_older_version_has_written_holds(shop: Shop, scenario: str):
    made = stage(shop, scenario, rehearses=False)
    file = DATA / f"runs_{VERSION}" / f"{scenario.replace(' ', '_')}_plan.yaml"
    assert _steps(_plan_of(made)) == _steps(yaml.safe_load(file.read_text(encoding="utf-8")))
    made.run("upgrade", "head", "--plan", str(file))
    assert made.head == made.top


def _plan_of(made: Stage) -> Any:
    project = commands.Project.load(made.shop.folder / "redismigrate.toml")
    plan = commands.plan(project, "head", "upgrade", made.scenario.options)
    return json.loads(json.dumps(plan_to_json(plan)))


def _steps(plan: Any) -> list[Any]:
    """All of them but what they cost, which is measured."""
    return [
        {name: value for name, value in step.items() if name != "estimate"}
        for item in plan["revisions"]
        for step in item["steps"]
    ]
