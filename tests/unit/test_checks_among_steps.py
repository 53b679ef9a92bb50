"""Which index a plan asks what is expected, and before which step, where names change hands."""

from __future__ import annotations

import pytest
from planned_revisions import index, planned, reasons, vector

A, B = (index(name, vector(), prefixes=(f"{name}:",)) for name in "ab")
BEHIND_ALIASES = tuple(
    index(name, vector(), physical=f"{name}__shop_1", prefixes=(f"{name}:",)) for name in "ab"
)


def renames(op, *names):
    for old, new in names:
        with op.index(old) as changed:
            if old != "tmp":
                changed.alter_field("embedding", algorithm="HNSW")
            changed.rename_to(new)


def passes_on(op):
    renames(op, ("a", "z"), ("b", "a"))
    op.expect("z", count=20)
    op.expect("a", count=25)


def swaps(op):
    renames(op, ("a", "tmp"), ("b", "a"), ("tmp", "b"))
    op.expect("b", count=20)
    op.expect("a", count=25)


def makes_another(op):
    renames(op, ("a", "z"))
    op.create_index(index("a", vector(), prefixes=("b:",)).schema)
    op.expect("z", count=20)
    op.expect("a", count=25)


@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
@pytest.mark.parametrize("indexes", [(A, B), BEHIND_ALIASES], ids=["adopted", "behind_aliases"])
@pytest.mark.parametrize("script", [passes_on, swaps, makes_another])
def test_each_index_is_asked_what_is_expected_of_it_whatever_others_are_called(script, indexes, strategy):
    plan = planned(script, *indexes, strategy=strategy)
    assert not reasons(plan)
    asked = {
        str(step.checks.expectations[0]): step for step in plan.steps if step.kind == "check_expectations"
    }
    assert asked.keys() == {"20 documents", "25 documents"}
    for text, prefix in (("20 documents", "a:"), ("25 documents", "b:")):
        check = asked[text]
        assert check.after.schema.prefixes == (prefix,)
        complete = next(
            step for step in plan.steps if step.kind == "validate_index" and step.after == check.after
        )
        assert plan.steps.index(complete) < plan.steps.index(check)
