"""The order that `op.index(name, after=...)` asks for: what moves behind what, and what can't be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import recorded, server
from pydantic import TypeAdapter

from redismigrate.errors import ScriptError
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex, Operation
from redismigrate.operations.recorder import Operations
from redismigrate.operations.script_calls import record
from redismigrate.operations.source import source_lines
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.schema import IndexSchema, TagField
from redismigrate.schema.definition import Catalog

OPERATIONS: TypeAdapter[list[Operation]] = TypeAdapter(list[Operation])


def catalog_of(names: str) -> Catalog:
    catalog = Catalog()
    for name in names:
        schema = IndexSchema(name=name, prefixes=(f"{name}:",), fields=(TagField(name="t"),))
        catalog = CreateIndex(schema).apply(catalog)
    return catalog


def change(op: Operations, name: str, after: str | list[str] = ()) -> None:
    with op.index(name, after=after) as index:
        index.add_field({"name": f"of_{name}", "type": "tag"})


def order_of(script, names: str = "abcd") -> list[str]:
    def short(operation: Operation) -> str:
        return operation.name if operation.kind in {"change_index", "run"} else operation.kind

    return [short(operation) for operation in record(script, catalog_of(names), "script.py").recorded]


def test_a_block_comes_behind_those_that_it_names_and_others_stay():
    def upgrade(op: Operations) -> None:
        change(op, "d", after=["a", "b"])
        change(op, "c")
        change(op, "b", after="a")
        change(op, "a")

    assert order_of(upgrade) == ["c", "a", "b", "d"]


def test_what_stands_right_already_stays_as_it_is_written():
    def upgrade(op: Operations) -> None:
        change(op, "c")
        change(op, "b", after="c")
        change(op, "a", after=["d", "b"])  # the script does not change d

    assert order_of(upgrade) == ["c", "b", "a"]


def test_a_block_comes_behind_all_blocks_of_the_index_and_under_its_new_name():
    def upgrade(op: Operations) -> None:
        change(op, "b", after="goods")
        change(op, "c", after="a")
        with op.index("a") as index:
            index.rename_to("goods")
        with op.index("goods") as index:
            index.drop_field("t")
            index.add_field({"name": "u", "type": "tag"})

    assert order_of(upgrade) == ["a", "c", "goods", "b"]


def test_an_index_may_come_after_one_that_the_script_creates():
    def upgrade(op: Operations) -> None:
        change(op, "a", after="new")
        op.create_index({"index": {"name": "new"}, "fields": [{"name": "t", "type": "tag"}]})

    assert order_of(upgrade) == ["create_index", "a"]


def test_nothing_moves_past_a_function():
    def upgrade(op: Operations) -> None:
        change(op, "b", after="a")
        op.run(print)
        change(op, "a")

    with pytest.raises(ScriptError) as failure:
        order_of(upgrade)
    assert failure.value.message == (
        "script.py: There is no order in which b comes after a (after=) and op.index('a') is written behind "
        "op.run(print) and op.run(print) is written behind op.index('b')."
    )


def test_a_circle_is_refused_with_what_it_consists_of():
    def upgrade(op: Operations) -> None:
        change(op, "d")
        change(op, "a", after="c")
        change(op, "b", after="a")
        change(op, "c", after="b")

    with pytest.raises(ScriptError) as failure:
        order_of(upgrade)
    assert failure.value.message == (
        "script.py: There is no order in which a comes after c (after=) and c comes after b (after=) and "
        "b comes after a (after=)."
    )
    assert failure.value.hint == "Take one of these after= out, or put the blocks into another order."


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ("aa", "op.index('b', after='aa'): there is no index aa at this revision"),
        ("b", "op.index('b', after='b'): an index can't come after itself."),
        (3, "script.py"),
        ([""], "script.py"),
    ],
)
def test_what_is_no_other_index_is_refused(after, says):
    with pytest.raises(ScriptError) as failure:
        order_of(lambda op: change(op, "b", after=after))
    assert says in failure.value.message


@given(
    st.permutations("abcd"), st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=5)
)
def test_every_order_that_there_is_is_found_and_others_are_refused(written, pairs):
    pairs = {(later, first) for later, first in pairs if later != first}

    def upgrade(op: Operations) -> None:
        for name in written:
            change(op, name, after=sorted(first for later, first in pairs if later == name))

    reached = set(pairs)
    while more := {(a, d) for a, b in reached for c, d in reached if b == c} - reached:
        reached |= more
    if any(a == b for a, b in reached):
        with pytest.raises(ScriptError, match="There is no order"):
            order_of(upgrade)
        return
    found = order_of(upgrade)
    assert sorted(found) == sorted(written)
    assert all(found.index(first) < found.index(later) for later, first in pairs)
    if all(written.index(first) < written.index(later) for later, first in pairs):
        assert found == list(written)


def test_it_is_recorded_and_written_and_says_nothing_where_nothing_is_asked():
    def upgrade(op: Operations) -> None:
        change(op, "a")
        change(op, "b", after="a")
        change(op, "c", after=["a", "b"])

    catalog = catalog_of("abc")
    operations = record(upgrade, catalog, "script.py").recorded
    dumped = OPERATIONS.dump_python(list(operations))
    assert ["after" in each for each in dumped] == [False, True, True]
    assert OPERATIONS.validate_python(dumped) == list(operations)
    assert [str(each).partition(":")[0] for each in operations] == [
        "change index a",
        "change index b after a",
        "change index c after a and b",
    ]
    lines = [line for line in source_lines(operations, catalog) if line.startswith("with")]
    assert lines == [
        'with op.index("a") as index:',
        'with op.index("b", after="a") as index:',
        'with op.index("c", after=["a", "b"]) as index:',
    ]
    assert ChangeIndex("a", ()) == ChangeIndex("a", (), after=())


def test_the_plan_says_so_and_has_the_steps_in_that_order():
    definitions = [catalog_of(name)[name] for name in "ab"]

    def upgrade(op: Operations) -> None:
        with op.index("a", after="b") as index:
            index.alter_field("t", sortable=True)
        with op.index("b") as index:
            index.alter_field("t", sortable=True)

    item = recorded(upgrade, *definitions)
    plan = plan_revision(
        item, Catalog({each.served: each for each in definitions}), server(*definitions), PlanOptions()
    )
    assert "index a is changed after b, as the script says" in plan.warnings
    built = [step.index for step in plan.steps if step.kind == "create_index"]
    assert built == ["b", "a"]
    kinds = [(step.kind, step.index) for step in plan.steps]
    assert kinds.index(("validate_index", "b")) < kinds.index(("create_index", "a"))
