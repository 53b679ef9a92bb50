"""What `plan --compare` tells of every way to change an index, beside the one that was chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import catalog, index, recorded, schema, server, vector

from redismigrate.planning.alternatives import alternatives_of
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.planning.step_life import STRATEGIES
from redismigrate.schema import NumericField, TagField

COLOR = TagField(name="color")
PRODUCTS = index("products", COLOR)
CATALOG_INDEX = index("catalog", COLOR, prefixes=("c:",))
SHORT = index("a", COLOR, prefixes=("a:",))
VECTORS = index("products", vector())


def compared(script, *definitions, on=None, **options):
    """Index and strategy -> what is told of it."""
    revision, before = recorded(script, *definitions), catalog(*definitions)
    inventory, wishes = on or server(*definitions), PlanOptions(**options)
    plan = plan_revision(revision, before, inventory, wishes)
    told = alternatives_of(plan, revision, before, inventory, wishes)
    return {(each.index, each.strategy): each for each in told}


def adds(*names):
    def script(op):
        for name in names:
            with op.index(name) as changes:
                changes.add_field(NumericField(name="price"))

    return script


def sorts(*names):
    def script(op):
        for name in names:
            with op.index(name) as changes:
                changes.alter_field("color", sortable=True)

    return script


def re_encodes(op):
    with op.index("products") as changes:
        changes.alter_field("embedding", datatype="FLOAT16")


def possible(told, name="products"):
    return {strategy for (of, strategy), each in told.items() if of == name and not each.impossible}


def test_every_strategy_is_told_of_every_changed_index_and_one_is_chosen():
    told = compared(adds("products", "catalog"), PRODUCTS, CATALOG_INDEX)
    assert set(told) == {(name, each) for name in ("products", "catalog") for each in STRATEGIES}
    chosen = [of for of, each in told.items() if each.is_chosen]
    assert chosen == [("products", "alter"), ("catalog", "alter")]


def test_an_index_that_is_only_made_has_no_alternatives():
    assert compared(lambda op: op.create_index(schema("products", COLOR))) == {}


def test_what_changes_nothing_on_the_server_has_no_alternatives():
    def separator(op):
        with op.index("products") as changes:
            changes.set_options(key_separator="-")

    assert compared(separator, PRODUCTS) == {}


def test_what_can_be_done_and_what_can_not_is_told_with_the_reason():
    told = compared(sorts("products"), PRODUCTS)
    assert possible(told) == {"shadow", "rebuild"}
    [reason] = told["products", "alter"].impossible
    assert reason.startswith("strategy alter can't change index products: FT.ALTER only adds fields")


def test_an_index_is_told_its_own_reasons_though_its_name_is_a_part_of_another():
    told = compared(sorts("a", "catalog"), SHORT, CATALOG_INDEX)
    [of_a], [of_catalog] = told["a", "alter"].impossible, told["catalog", "alter"].impossible
    assert "can't change index a:" in of_a
    assert "can't change index catalog:" in of_catalog


def test_one_index_that_can_not_keeps_no_other_from_it():
    def script(op):
        adds("a")(op)
        sorts("catalog")(op)

    told = compared(script, SHORT, CATALOG_INDEX)
    assert told["a", "alter"].impossible == ()
    assert told["catalog", "alter"].impossible


def test_a_renamed_index_is_told_what_concerned_it_under_its_old_name():
    def script(op):
        with op.index("products") as changes:
            changes.alter_field("color", sortable=True)
            changes.rename_to("goods")

    told = compared(script, PRODUCTS, adoption="never")
    assert "can't change index products" in told["goods", "alter"].impossible[0]
    assert {name for name, _ in told} == {"goods"}


def test_what_blocks_the_whole_revision_blocks_every_way():
    def script(op):
        op.irreversible("mails were sent")
        sorts("products")(op)

    told = compared(script, PRODUCTS)
    assert possible(told) == set()
    assert told["products", "shadow"].impossible == ("this revision is irreversible: mails were sent",)
    # What the strategy can't do at all is said alone.
    assert "FT.ALTER only adds fields" in told["products", "alter"].impossible[0]
    assert len(told["products", "alter"].impossible) == 1


@pytest.mark.parametrize(
    ("options", "rebuild", "shadow_field"),
    [
        ({}, "kept by compare-and-set", "kept, followed by tracking"),
        ({"exclusive": True}, "paused, as --exclusive says", "paused, as --exclusive says"),
    ],
)
def test_what_becomes_of_writes_is_told_of_each(options, rebuild, shadow_field):
    told = compared(re_encodes, VECTORS, **options)
    assert told["products", "rebuild"].writes == rebuild
    assert told["products", "shadow_field"].writes == shadow_field


def test_writes_that_a_script_says_are_paused_are_told_so():
    def script(op):
        op.assume_exclusive("nightly job")
        re_encodes(op)

    assert compared(script, VECTORS)["products", "rebuild"].writes == "paused, as the script says"


def test_writes_go_on_where_no_document_changes():
    told = compared(sorts("products"), PRODUCTS, exclusive=True)
    assert {each.writes for each in told.values()} == {"kept"}
    assert all(each.changes == () for each in told.values())


def test_each_index_is_told_its_own_costs():
    both = server(SHORT, CATALOG_INDEX, documents=100_000)
    alone = {**compared(sorts("a"), SHORT, on=both), **compared(sorts("catalog"), CATALOG_INDEX, on=both)}
    together = compared(sorts("a", "catalog"), SHORT, CATALOG_INDEX, on=both)
    assert {of: each.memory_bytes for of, each in together.items()} == {
        of: each.memory_bytes for of, each in alone.items()
    }


def test_what_else_happens_to_an_index_hides_no_strategy():
    def script(op):
        op.create_alias("goods", "products")
        adds("products")(op)

    told = compared(script, PRODUCTS)
    assert told["products", "alter"].is_chosen


def test_what_changes_in_documents_is_told_once():
    told = compared(re_encodes, VECTORS)
    assert told["products", "shadow_field"].changes == ("re-encode embedding from FLOAT32 to FLOAT16",)


def test_search_goes_down_by_a_rebuild_and_memory_is_taken_by_what_is_beside():
    on = server(VECTORS, documents=100_000)
    told = compared(re_encodes, VECTORS, on=on)
    rebuild, beside = told["products", "rebuild"], told["products", "shadow_field"]
    assert rebuild.search_downtime_seconds > 0
    assert beside.search_downtime_seconds == 0
    assert beside.memory_bytes > rebuild.memory_bytes
    assert beside.seconds > rebuild.seconds


@given(
    st.sampled_from(["auto", *STRATEGIES]),
    st.booleans(),
    st.sampled_from(["alias", "never"]),
    st.sampled_from([(adds("products"), PRODUCTS), (sorts("products"), PRODUCTS), (re_encodes, VECTORS)]),
)
def test_what_auto_takes_is_possible_and_what_was_asked_for_is_chosen_where_it_is(
    strategy, exclusive, adoption, change
):
    script, definition = change
    told = compared(script, definition, strategy=strategy, exclusive=exclusive, adoption=adoption)
    [chosen] = [each for each in told.values() if each.is_chosen]
    if strategy == "auto":
        assert chosen.impossible == ()
    elif strategy in possible(told):
        assert chosen.strategy == strategy


@given(st.sampled_from(STRATEGIES), st.sampled_from(STRATEGIES))
def test_what_is_told_of_a_strategy_does_not_depend_on_the_one_asked_for(one, other):
    first, second = (compared(sorts("products"), PRODUCTS, strategy=each) for each in (one, other))
    for of, told in first.items():
        assert told.model_copy(update={"is_chosen": False}) == second[of].model_copy(
            update={"is_chosen": False}
        )
