"""How far each index of a run is, at every step of it."""

from __future__ import annotations

import pytest
from planned_revisions import index, planned, vector

from redismigrate.execution.index_states import index_states
from redismigrate.execution.indexes_apart import IndexesApart
from redismigrate.execution.run import begin

A, B = (index(name, vector(), prefixes=(f"{name}:",)) for name in "ab")


def to_float16(op):
    for name in "ab":
        with op.index(name) as changed:
            changed.alter_field("embedding", datatype="float16")


def to_hnsw(op):
    for name in "ab":
        with op.index(name) as changed:
            changed.alter_field("embedding", algorithm="hnsw")


def to_hnsw_alone(op):
    with op.index("a") as changed:
        changed.alter_field("embedding", algorithm="hnsw")


def run_of(plan, **changes):
    return begin("upgrade", "head", plan, "", (), {}).with_changes(**changes)


def states(run):
    return {each.index: each.state for each in index_states(run)}


@pytest.mark.parametrize("cutover", ["together", "each"])
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
@pytest.mark.parametrize("script", [to_float16, to_hnsw])
def test_an_index_goes_from_waiting_to_done(script, strategy, cutover):
    plan = planned(script, A, B, strategy=strategy, cutover=cutover)
    seen: dict[str, list[str]] = {"a": [], "b": []}
    for position in range(len(plan.steps) + 1):
        run = run_of(plan, position=position)
        for name, state in states(run).items():
            seen[name].append(state)
    for name, found in seen.items():
        assert found[-1] == "done"
        assert "building" in found
        if strategy == "auto":
            assert "ready" in found
        if script is to_float16:
            assert "copying" in found
        done = found.index("done")
        assert set(found[done:]) == {"done"}
        assert "done" not in found[:done], name
    assert seen["a"][0] != "waiting"
    assert seen["b"][0] == "waiting"
    if cutover == "each":
        assert set(seen["b"][: seen["a"].index("done")]) == {"waiting"}


def test_progress_is_that_of_the_index_at_work():
    plan = planned(to_hnsw, A, B)
    at = next(at for at, step in enumerate(plan.steps) if step.kind == "wait_for_index" and step.index == "a")
    first, second = index_states(run_of(plan, position=at, progress=(3, 10)))
    assert (first.index, first.state, first.done, first.total) == ("a", "building", 3, 10)
    assert (second.index, second.done, second.total) == ("b", None, None)


def test_an_index_is_done_once_its_revision_is_recorded_though_something_is_left_to_be_removed():
    plan = planned(to_hnsw, A, B)
    at = [step.kind for step in plan.steps].index("record_revision") + 1
    assert set(states(run_of(plan, position=at, done=(plan.revision,))).values()) == {"done"}


def test_what_failed_says_why():
    plan = planned(to_hnsw, A, B)
    at = [step.index for step in plan.steps].index("b") + 1
    apart = IndexesApart(putting_back=("b",), stopped_at=at)
    run = run_of(plan, position=0, failure="it is broken", undo=plan.steps[:1], apart=apart)
    ready, failed = index_states(run)
    assert (ready.index, ready.state) == ("a", "ready")
    assert (failed.index, failed.state, failed.reason) == ("b", "failed", "it is broken")
    left = run_of(planned(to_hnsw_alone, A), position=0, apart=IndexesApart(left={"b": "it was broken"}))
    assert [(each.index, each.state, each.reason) for each in index_states(left)][-1] == (
        "b",
        "failed",
        "it was broken",
    )


def test_of_a_revision_that_is_undone_nothing_is_told():
    plan = planned(to_hnsw, A, B)
    assert index_states(run_of(plan, failure="it is broken", undo=plan.steps[:1])) == ()


def test_a_renamed_index_is_one():
    def script(op):
        with op.index("a") as changed:
            changed.rename_to("z")

    behind_an_alias = index("a", vector(), prefixes=("a:",), physical="a__1_1")
    [only] = index_states(run_of(planned(script, behind_an_alias)))
    assert only.index == "a"
