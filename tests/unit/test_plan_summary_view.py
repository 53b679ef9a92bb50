"""The costs of a plan in words: what is not known is said to be so, and a terminal of 80 columns has room."""

from __future__ import annotations

from typing import Any

import pytest

from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.memory_course import memory_course
from redismigrate.planning.plan import Estimate, Plan, RevisionPlan, Step
from redismigrate.planning.plan_summary import PlanSummary

KNOWN: dict[str, Any] = {
    "seconds": 12.34,
    "functions": (),
    "search_downtime_seconds": 0.0,
    "search_downtime_seconds_by_index": {},
    "peak_memory_bytes": 47_400_000,
    "memory_bytes_by_index": {"products": 47_400_000},
    "used_memory_bytes": 812_000_000,
    "maxmemory_bytes": 2_048_000_000,
    "memory_saved_bytes": 15_000_000,
    "backup_bytes": 5_900_000,
    "backup_free_bytes": 40_000_000_000,
    "aof_enabled": True,
    "aof_growth_bytes": 7_100_000,
    "save_points": "3600 1 300 100 60 10000",
    "is_child_running": False,
    "snapshot_bytes": 790_000_000,
    "snapshot_growth_bytes": 0,
    "copy_on_write_bytes": 211_000_000,
}

RECORDED = RecordedRevision("9c1b2cd5abc3", "upgrade", "", (), (), "", ())


def rows(**changes: Any) -> dict[str, str]:
    return dict(PlanSummary(**{**KNOWN, **changes}).rows())


def test_what_is_known_is_told_in_numbers():
    assert rows() == {
        "takes": "12.3 s",
        "search down": "never",
        "peak memory": "+47.4 MB; 812.0 MB are used now of 2,048.0 MB",
        "copy on write": "up to +211.0 MB if a snapshot or AOF is written meanwhile",
        "afterwards": "15.0 MB of memory saved",
        "backups": "5.9 MB on disk",
        "append-only file": "+7.1 MB",
        "snapshot": "up to 790.0 MB on disk, save 3600 1 300 100 60 10000",
    }


@pytest.mark.parametrize(
    ("title", "changes", "told"),
    [
        ("takes", {"functions": ("run fill",)}, "12.3 s, and run fill: not known"),
        ("takes", {"functions": ("run fill",), "seconds": 0}, "run fill: not known"),
        (
            "search down",
            {"search_downtime_seconds": 2.5, "search_downtime_seconds_by_index": {"a": 2.5}},
            "2.5 s for a",
        ),
        (
            "search down",
            {"search_downtime_seconds": 3, "search_downtime_seconds_by_index": {"a": 1, "b": 2}},
            "3.0 s: a 1.0 s, b 2.0 s",
        ),
        ("peak memory", {"maxmemory_bytes": None}, "+47.4 MB; 812.0 MB are used now, maxmemory is not known"),
        ("peak memory", {"maxmemory_bytes": 0}, "+47.4 MB; 812.0 MB are used now, no maxmemory"),
        ("copy on write", {"copy_on_write_bytes": None}, "not known"),
        (
            "copy on write",
            {"is_child_running": True},
            "up to +211.0 MB: a snapshot or AOF is being written now",
        ),
        ("afterwards", {"memory_saved_bytes": None}, "memory not known"),
        ("afterwards", {"memory_saved_bytes": -2_000_000}, "2.0 MB of memory more than before"),
        ("afterwards", {"memory_saved_bytes": 0}, "as much memory as before"),
        ("backups", {"backup_free_bytes": None}, "5.9 MB on disk; what is free there is not known"),
        ("backups", {"backup_free_bytes": 9_000_000}, "5.9 MB on disk, of 9.0 MB that are free"),
        ("backups", {"backup_bytes": 0, "backup_free_bytes": None}, "none"),
        ("append-only file", {"aof_enabled": None}, "not known whether there is one"),
        ("append-only file", {"aof_enabled": False}, "none"),
        ("append-only file", {"aof_growth_bytes": None}, "there is one; how it grows is not known"),
        ("append-only file", {"aof_growth_bytes": 0}, "hardly grows"),
        ("snapshot", {"save_points": None}, "up to 790.0 MB on disk, not known when one is taken"),
        ("snapshot", {"save_points": ""}, "up to 790.0 MB on disk, none is taken by itself"),
        ("snapshot", {"snapshot_bytes": None}, "size not known, save 3600 1 300 100 60 10000"),
    ],
)
def test_what_is_not_known_is_said_to_be_so(title: str, changes: dict[str, Any], told: str):
    found = rows(**changes)[title]
    assert found == told
    assert len(f"  append-only file  {found}") <= 80


def test_several_indexes_are_told_one_by_one():
    assert rows(memory_bytes_by_index={"a": 1_000_000, "b": 2_000_000})[""] == "a +1.0 MB, b +2.0 MB"


def test_a_notebook_shows_the_costs():
    plan = Plan(
        project="shop",
        direction="upgrade",
        target="head",
        revisions=(RevisionPlan(recorded=RECORDED, steps=(BUILD_A,)),),
        digest="",
        summary=PlanSummary(**KNOWN),
    )
    assert "<td" in plan._repr_html_()
    assert "15.0 MB of memory saved" in plan._repr_html_()
    nothing = plan.model_copy(update={"revisions": ()})
    assert "15.0 MB" not in nothing._repr_html_()


def step(kind: Any, index: str, memory: int = 0, kept: int | None = 0) -> Step:
    return Step(kind=kind, index=index, estimate=Estimate(memory_bytes=memory, kept_memory_bytes=kept))


BUILD_A, DROP_A = step("wait_for_index", "a", 40, 40), step("drop_index", "a", 0, -30)
BUILD_B, DROP_B = step("wait_for_index", "b", 50, 50), step("drop_index", "b", 0, -60)


def test_builds_beside_each_other_add_up_and_one_after_the_other_do_not():
    together = memory_course([BUILD_A, BUILD_B, DROP_A, DROP_B])
    assert (together.peak_bytes, together.kept_bytes) == (90, 0)
    each = memory_course([BUILD_A, DROP_A, BUILD_B, DROP_B])
    assert (each.peak_bytes, each.kept_bytes) == (60, 0)
    assert together.by_index == each.by_index == {"a": 40, "b": 50}


def test_what_is_needed_only_meanwhile_counts_for_the_peak():
    course = memory_course([step("wait_for_index", "a", 40, -5), step("wait_for_index", "b", 42, 0)])
    assert (course.peak_bytes, course.kept_bytes) == (40, -5)


def test_a_step_of_which_nobody_knows_what_stays_makes_the_whole_unknown():
    assert memory_course([BUILD_A]).is_all_known
    assert not memory_course([BUILD_A, step("run_function", "a", 0, None)]).is_all_known
