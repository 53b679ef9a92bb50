"""In which order the steps of a revision come, and what the indexes are called that they build."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from redismigrate.planning.index_steps import drop_steps, shadow_steps
from redismigrate.planning.physical_names import (
    index_brought_back,
    names_changed_by,
    physical_name,
    with_physical_names,
)
from redismigrate.planning.plan import Estimate, Step, cutover_of
from redismigrate.planning.step_order import in_phases, losses_before_cutover
from redismigrate.planning.undo import undo_of
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition

RECORD = Step(kind="record_revision")


def index(name: str, physical: str | None = None) -> IndexDefinition:
    return IndexDefinition(IndexSchema(name=name), physical or name)


def shadow(name: str, before: str, after: str) -> list[Step]:
    """The steps that build an index beside another one."""
    return shadow_steps(index(name, before), index(name, after), Estimate(), "a change")


def kinds(steps: list[Step] | tuple[Step, ...]) -> list[str]:
    return [step.kind for step in steps]


def test_swaps_of_all_indexes_come_right_before_the_record_and_removals_after_it() -> None:
    steps = in_phases([*shadow("a", "a__1", "a__2"), *shadow("b", "b__1", "b__2"), RECORD])
    at = kinds(steps).index("record_revision")
    assert kinds(steps[at - 2 : at]) == ["swap_alias", "swap_alias"]
    assert kinds(steps[at + 1 :]) == ["drop_index", "drop_index"]


def test_a_data_migration_meets_the_change_that_stands_before_it() -> None:
    function = Step(kind="run_function")
    steps = in_phases([*shadow("a", "a__1", "a__2"), function, *shadow("b", "b__1", "b__2"), RECORD])
    names = [(step.kind, step.index) for step in steps]
    assert names.index(("swap_alias", "a")) < names.index(("run_function", None))
    assert names.index(("run_function", None)) < names.index(("swap_alias", "b"))


def test_a_second_change_of_an_index_meets_the_first() -> None:
    steps = in_phases([*shadow("a", "a__1", "a__2"), *shadow("a", "a__2", "a__3"), RECORD])
    swaps = [at for at, step in enumerate(steps) if step.kind == "swap_alias"]
    creations = [at for at, step in enumerate(steps) if step.kind == "create_index"]
    assert swaps[0] < creations[1] < swaps[1]


def test_an_index_that_gives_its_name_to_a_new_one_is_dropped_before_that_is_made() -> None:
    renamed = shadow_steps(index("a"), index("b", "b__1"), Estimate(), "rename")
    creation = Step(kind="create_index", index="a", after=index("a"))
    steps = in_phases([*renamed, creation, RECORD])
    names = [(step.kind, step.strategy) for step in steps]
    assert names.index(("drop_index", "shadow")) < names.index(("create_index", None))


def removals(*steps: Step) -> list[tuple[str, str | None]]:
    """What the indexes are called that go after the record, and what their names lead to then."""
    ordered = in_phases([*steps, RECORD])
    after = ordered[kinds(ordered).index("record_revision") + 1 :]
    found = []
    for step in after:
        assert step.before is not None
        found.append((step.before.physical, step.after.physical if step.alias and step.after else None))
    return found


def drop(name: str, physical: str) -> list[Step]:
    return drop_steps(index(name, physical), 0, "drop it", delete_documents=False)


def test_the_name_of_an_index_that_goes_leads_to_the_one_that_serves_in_the_end() -> None:
    """Dropping the one in between would take the alias along."""
    changes = [*shadow("a", "a__1", "a__2"), *shadow("a", "a__2", "a__3")]
    assert removals(*changes) == [("a__1", "a__3"), ("a__2", "a__3")]


def test_the_name_of_an_index_that_goes_leads_nowhere_where_its_successor_is_dropped() -> None:
    assert removals(*shadow("a", "a__1", "a__2"), *drop("a", "a__2")) == [("a__1", None)]


def test_what_clients_lose_comes_right_before_the_swaps() -> None:
    """There the expand phase ends."""
    alias = Step(kind="set_alias", index="a", alias="x", before=index("a", "a__1"))
    release = Step(kind="release_index", index="b")
    steps = in_phases([alias, *drop("b", "b"), release, *shadow("a", "a__1", "a__2"), RECORD])
    at = kinds(steps).index("release_index")
    assert kinds(steps[at:]) == [
        "release_index",
        "set_alias",
        "drop_index",
        "swap_alias",
        "record_revision",
        "drop_index",
    ]
    assert cutover_of(steps) == at
    assert losses_before_cutover(steps) == []


def test_a_name_that_a_later_step_needs_is_lost_before_that() -> None:
    function = Step(kind="run_function")
    again = Step(kind="create_index", index="b", after=index("b"))
    for needing in (function, again):
        steps = in_phases([*drop("b", "b"), needing, *shadow("a", "a__1", "a__2"), RECORD])
        assert kinds(steps[:2]) == ["drop_index", needing.kind]
        assert losses_before_cutover(steps) == steps[:1]


def test_an_index_that_was_no_alias_is_dropped_by_the_swap_and_comes_back_under_another_name() -> None:
    steps = shadow("a", "a", "a__1")
    assert kinds(steps)[-1] == "swap_alias"
    back = index_brought_back(steps[-1])
    assert back is not None
    assert back.physical not in {"a", "a__1"}
    assert kinds(undo_of(tuple(steps))) == [
        "create_index",
        "wait_for_index",
        "swap_alias",
        "drop_index",
    ]


def test_earlier_revisions_are_undone_by_the_names_that_indexes_have_by_then() -> None:
    plan = tuple(shadow("a", "a", "a__1"))
    undo = undo_of(plan)
    names = names_changed_by(plan, undo, {})
    assert names == {"a": "a__1_back"}
    creation = (Step(kind="create_index", index="a", after=index("a", names["a"])),)
    assert names_changed_by(creation, (), names) == {}


def test_a_swap_that_was_not_undone_changes_no_name() -> None:
    assert names_changed_by(shadow("a", "a", "a__1"), (), {}) == {}


def test_the_record_tells_the_index_that_serves() -> None:
    catalog = Catalog({"a": index("a")})
    assert with_physical_names(catalog, shadow("a", "a", "a__1"))["a"] == replace(index("a"), physical="a__1")


@given(st.lists(st.sampled_from(["up", "down"]), min_size=1, max_size=20))
def test_going_up_and_down_never_meets_a_name_twice(ways: list[str]) -> None:
    taken: set[str] = set()
    for fence, _ in enumerate(ways):
        for _ in range(2):
            name = physical_name("products", "8f3a1c9b2d4e", str(fence), taken)
            assert name not in taken
            taken.add(name)
