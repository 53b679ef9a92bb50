"""What a plan says of indexes that cover the same keys, by name and prefix."""

from __future__ import annotations

from typing import Any

import pytest
from planned_revisions import recorded, server

from redismigrate.operations.recorded import covers_other_keys
from redismigrate.operations.recorder import Operations
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.schema import IndexSchema, TagField
from redismigrate.schema.definition import Catalog, IndexDefinition


def index(name: str, *prefixes: str, **options: Any) -> IndexDefinition:
    schema = IndexSchema(name=name, prefixes=prefixes, fields=(TagField(name="t"),), **options)
    return IndexDefinition.plain(schema)


PRODUCTS, REVIEWS, ALL, APART = (
    index("products", "product"),
    index("product_reviews", "product_reviews:"),
    index("everything"),
    index("apart", "other:"),
)


def told(script: Any, *ours: IndexDefinition, foreign: tuple[IndexDefinition, ...] = ()) -> list[str]:
    item = recorded(script, *ours)
    plan = plan_revision(
        item,
        Catalog({each.served: each for each in ours}),
        server(*ours, foreign=foreign),
        PlanOptions(exclusive=True),
    )
    return [warning for warning in plan.warnings if "the same keys" in warning]


def change(op: Operations, name: str, **options: Any) -> None:
    with op.index(name) as changes:
        if options:
            changes.set_options(**options)
        else:
            changes.add_field({"name": "u", "type": "tag"})


def create(name: str, prefix: str | list[str]) -> Any:
    layout = {"index": {"name": name, "prefix": prefix}, "fields": [{"name": "t", "type": "tag"}]}
    return lambda op: op.create_index(layout)


def test_a_new_index_is_told_what_else_covers_its_keys_on_the_server_as_well():
    assert told(create("product_reviews", "product_reviews:"), PRODUCTS) == [
        "index product_reviews covers the same keys as index products: product_reviews:*"
    ]
    (warning,) = told(create("product_reviews", "product_reviews:"), APART, foreign=(PRODUCTS, ALL))
    assert warning == (
        "index product_reviews covers the same keys as 2 others: everything (product_reviews:*), "
        "products (product_reviews:*)"
    )
    assert told(create("new", "new:"), PRODUCTS, APART) == []


def test_other_prefixes_of_an_index_are_told_like_a_new_one():
    def upgrade(op: Operations) -> None:
        change(op, "apart", prefixes=["product_r", "x:"])

    (warning,) = told(upgrade, APART, foreign=(REVIEWS, PRODUCTS))
    assert warning == (
        "index apart covers the same keys as 2 others: product_reviews (product_reviews:*), "
        "products (product_r*)"
    )


def test_two_that_one_revision_changes_are_told_once():
    def upgrade(op: Operations) -> None:
        change(op, "products")
        change(op, "product_reviews")
        change(op, "apart")

    assert told(upgrade, PRODUCTS, REVIEWS, APART) == [
        "index product_reviews covers the same keys as index products, changed with it: product_reviews:*"
    ]


def test_nothing_is_said_where_keys_and_documents_stay_and_the_neighbour_is_left_alone():
    assert told(lambda op: change(op, "products"), PRODUCTS, REVIEWS, foreign=(ALL,)) == []


def test_hashes_share_nothing_with_json_documents():
    as_json = index("as_json", "new:", storage_type="json")
    assert told(create("new", "new:"), as_json) == []


def test_keys_that_move_are_told_with_their_neighbours():
    def upgrade(op: Operations) -> None:
        with op.index("apart") as changes:
            changes.change_prefix("other:", "product:")

    assert told(upgrade, APART, foreign=(PRODUCTS,)) == [
        "index apart covers the same keys as index products: product:*"
    ]


def test_an_index_is_no_neighbour_of_itself_under_another_name():
    def upgrade(op: Operations) -> None:
        with op.index("apart") as changes:
            changes.rename_to("aside")
            changes.set_options(prefixes=["other:", "x:"])

    assert told(upgrade, APART) == []


def test_many_neighbours_are_counted():
    others = tuple(index(f"product_{number}", f"product_{number}:") for number in range(8))
    (warning,) = told(create("products", "product"), foreign=others)
    assert warning.startswith("index products covers the same keys as 8 others: product_0 (product_0:*), ")
    assert warning.endswith("product_4 (product_4:*) and 3 more")
    (warning,) = told(
        create("new", [f"product_{number}:{letter}" for number in range(8) for letter in "ab"]), PRODUCTS
    )
    assert warning.endswith("product_0:a*, product_0:b*, product_1:a*, product_1:b*, product_2:a* and more")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (create("new", "new:"), True),
        (lambda op: change(op, "apart", prefixes=["x:"]), True),
        (lambda op: change(op, "apart"), False),
        (lambda op: op.drop_index("apart"), False),
    ],
)
def test_all_indexes_of_the_server_are_looked_at_where_one_may_get_neighbours(script, expected):
    assert covers_other_keys([recorded(script, APART)], Catalog({"apart": APART})) is expected
