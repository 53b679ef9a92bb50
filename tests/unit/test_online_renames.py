"""Fields that are renamed with search up: what is planned and undone, and what keeps it from going so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planned_revisions import index, kinds, planned, reasons, recoding, schema, server, step_of, vector

from redismigrate.documents.rewrite import Rewrite
from redismigrate.planning.both_names import with_both_names
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.query_warnings import renamed_attributes
from redismigrate.planning.twin_limits import why_no_twins
from redismigrate.planning.undo import undo_of
from redismigrate.schema import NumericField, TagField, TextField
from redismigrate.schema.moves import PathRename

DESC, COLOR = TextField(name="desc"), TagField(name="color")
PRODUCTS = index("products", DESC, COLOR, vector())
BEHIND = replace(PRODUCTS, physical="products__1_1")
PAGES = index("pages", TextField(name="desc", path="$.spec.desc"), COLOR, storage_type="json")
RENAME = Rewrite("hash", renames=(PathRename("desc", "description"),))


def rename(op):
    with op.index("products") as products:
        products.rename_field("desc", "description")


def rename_pages(op):
    with op.index("pages") as pages:
        pages.rename_field("desc", "description")


def lives(steps):
    return [step.life.name for step in steps]


@pytest.mark.parametrize(("script", "definition"), [(rename, BEHIND), (rename_pages, PAGES)])
def test_a_field_is_renamed_with_search_up_and_one_build(script, definition):
    plan = planned(script, definition)
    assert reasons(plan) == []
    assert {step.strategy for step in plan.steps} == {"shadow_field", None}
    assert kinds(plan).count("create_index") == 1
    assert [step.estimate.search_downtime_seconds for step in plan.steps] == [0.0] * len(plan.steps)
    assert [step.estimate.backup_bytes for step in plan.steps] == [0] * len(plan.steps)


def test_values_stand_at_both_names_until_the_revision_is_recorded_and_nothing_reads_the_old_one():
    plan = planned(rename, BEHIND)
    assert lives(plan.steps) == [
        "prove_index",
        "fill_twins",
        "create_beside",
        "wait_for_index",
        "validate_index",
        "swap_alias",
        "record_revision",
        "drop_left",
        "remove_twins",
    ]
    assert step_of(plan, "copy_documents").description == (
        "write description beside desc in the documents of products, and follow what is written"
    )
    assert step_of(plan, "remove_documents").description == "remove desc from the documents of products"
    assert plan.steps[plan.cutover].life.name == "swap_alias"


def test_what_else_changes_in_the_index_is_in_the_same_build():
    def both(op):
        with op.index("products") as products:
            products.rename_field("desc", "description")
            products.alter_field("embedding", algorithm="hnsw")
            products.add_field({"name": "price", "type": "numeric"})

    plan = planned(both, BEHIND)
    assert reasons(plan) == []
    made = step_of(plan, "create_index").after.schema
    assert [field.name for field in made.fields] == ["description", "color", "embedding", "price"]
    assert made.field("embedding").algorithm == "HNSW"


def test_who_says_that_writers_are_paused_gets_it_in_place():
    plan = planned(rename, BEHIND, exclusive=True)
    assert {step.strategy for step in plan.steps} == {"rebuild", None}


def test_a_prefix_that_changes_with_it_is_copied_with_the_new_name():
    def both(op):
        with op.index("products") as products:
            products.rename_field("desc", "description")
            products.change_prefix("p:", "q:")

    assert {step.strategy for step in planned(both, BEHIND).steps} == {"shadow_copy", None}


def test_before_names_have_moved_undoing_takes_the_new_name_back():
    plan = planned(rename, BEHIND)
    undo = undo_of(plan.steps[: plan.cutover])
    assert lives(undo) == ["drop_index", "take_twins_back"]


def test_afterwards_undoing_writes_the_old_name_before_the_index_over_it_is_built_and_serves():
    undo = undo_of(planned(rename, BEHIND).steps)
    assert lives(undo) == [
        "remove_twins",
        "fill_twins",
        "set_alias",
        "create_beside",
        "wait_for_index",
        "swap_alias",
        "drop_index",
        "remove_twins",
    ]
    finish, back, *_, swap, drop, remove = undo
    assert finish.work.rewrite == RENAME
    assert back.work.rewrite == remove.work.rewrite == RENAME.moves_reversed()
    assert back.description == "write desc beside description in the documents of products again"
    assert remove.description == "remove description from the documents of products"
    assert (swap.after.physical, drop.before.physical) == ("products__1_1", back.before.physical)


def test_the_way_down_is_the_same_with_the_names_exchanged():
    def back(op):
        with op.index("products") as products:
            products.rename_field("description", "desc")

    plan = planned(back, index("products", TextField(name="description"), COLOR), direction="downgrade")
    assert reasons(plan) == []
    assert step_of(plan, "copy_documents").work.rewrite == RENAME.moves_reversed()


def test_queries_with_the_old_name_are_told_to_find_nothing():
    told = planned(rename, BEHIND).warnings
    [names] = [each for each in told if "(query_names_change)" in each]
    assert names == (
        "queries on products must say description instead of desc afterwards: with the old name they find "
        "nothing, on Redis 7.4 without an error (query_names_change)"
    )
    assert any("(old_name_writers)" in each for each in told)


def test_a_field_that_keeps_its_name_in_queries_changes_nothing_for_them():
    aliased = index("products", TextField(name="about", path="desc"), COLOR)
    after = index("products", TextField(name="about", path="description"), COLOR)
    assert renamed_attributes(aliased, after, RENAME) == {}
    called = index("products", TextField(name="description"), COLOR)
    assert renamed_attributes(aliased, called, RENAME) == {"about": "description"}


# Both names at once, for as long as two releases ask.


def test_the_expanded_index_answers_to_both_names_and_the_final_one_is_built_when_it_is_contracted():
    plan = planned(rename, BEHIND, expands=True)
    assert reasons(plan) == []
    assert lives(plan.steps[plan.cutover :]) == [
        "swap_alias",
        "create_beside",
        "wait_for_index",
        "validate_index",
        "swap_alias",
        "record_revision",
        "drop_left",
        "drop_left",
        "remove_twins",
    ]
    expanded = plan.built_beside["products"]
    read = {field.name: field.path_in("hash") for field in expanded.schema.fields}
    assert (read["desc"], read["description"]) == ("description", "description")
    final = plan.steps[plan.cutover + 1].after
    assert [field.name for field in final.schema.fields] == ["description", "color", "embedding"]
    assert final.physical != expanded.physical
    left = [step for step in plan.steps if step.life.name == "drop_left"]
    assert [step.before.physical for step in left] == [BEHIND.physical, expanded.physical]
    assert {step.after.physical for step in left} == {final.physical}
    assert any("that say desc and those that say description" in each for each in plan.warnings)


def test_an_index_that_was_contracted_is_undone_through_the_one_with_both_names():
    plan = planned(rename, BEHIND, expands=True)
    undo = undo_of(plan.steps)
    swaps = [(step.before.physical, step.after.physical) for step in undo if step.kind == "swap_alias"]
    both, final = plan.built_beside["products"].physical, plan.steps[plan.cutover + 1].after.physical
    assert swaps == [(final, both), (both, BEHIND.physical)]
    assert lives(undo)[:2] == ["remove_twins", "fill_twins"]
    assert lives(undo)[-1] == "remove_twins"


def test_json_members_are_read_under_both_names_too():
    expanded = planned(rename_pages, PAGES, expands=True).built_beside["pages"]
    assert {field.name: field.path for field in expanded.schema.fields if field.name != "color"} == {
        "desc": "$.spec.description",
        "description": "$.spec.description",
    }


def test_a_vector_has_no_second_attribute_as_that_would_be_a_second_vector_index():
    def embedding(op):
        with op.index("products") as products:
            products.rename_field("embedding", "image")

    plan = planned(embedding, BEHIND, expands=True)
    assert kinds(plan).count("create_index") == 1
    assert any("must say image instead of embedding afterwards" in each for each in plan.warnings)


def test_several_indexes_are_expanded_together_each_with_one_name():
    """Else the names of the first would have to move before the second is built."""

    def both(op):
        rename(op)
        rename_pages(op)

    plan = planned(both, BEHIND, replace(PAGES, physical="pages__1_1"), expands=True)
    assert reasons(plan) == []
    assert lives(plan.steps[: plan.cutover]).count("create_beside") == 2
    assert lives(plan.steps[plan.cutover :])[:2] == ["swap_alias", "swap_alias"]


def test_where_queries_call_it_as_before_one_index_is_enough():
    aliased = index("products", TextField(name="about", path="desc"), COLOR)
    after = index("products", TextField(name="about", path="description"), COLOR)
    assert with_both_names(aliased, after, RENAME) is None


def test_an_index_that_could_not_have_so_many_fields_has_one_name_each():
    many = [TextField(name=f"t{number}") for number in range(127)]
    before = index("products", DESC, *many)
    after = index("products", TextField(name="description"), *many)
    assert with_both_names(before, after, RENAME) is None
    assert with_both_names(
        index("products", DESC, *many[1:]), index("products", *after.schema.fields[:-1]), RENAME
    )


def test_a_server_that_is_short_of_memory_goes_without_the_second_index():
    roomy, short = (
        server(BEHIND, documents=10_000, capabilities={"maxmemory": maxmemory})
        for maxmemory in (10**9, 12_000_000)
    )
    assert kinds(planned(rename, BEHIND, on=roomy, expands=True)).count("create_index") == 2
    plan = planned(rename, BEHIND, on=short, expands=True)
    assert (reasons(plan), kinds(plan).count("create_index")) == ([], 1)


# What keeps it from going so, and what to do.


def test_another_index_that_reads_the_old_name_would_lose_it():
    other = index("offers", TextField(name="desc"))
    plan = planned(rename, BEHIND, other, strategy="shadow_field")
    assert any("index offers reads the same values" in each for each in reasons(plan))
    assert any("change both in one revision" in each for each in reasons(plan))
    assert {step.strategy for step in planned(rename, BEHIND, other).steps} == {"rebuild", None}
    unharmed = index("offers", COLOR)
    assert reasons(planned(rename, BEHIND, unharmed)) == []
    elsewhere = index("offers", TextField(name="desc"), prefixes=("o:",))
    assert reasons(planned(rename, BEHIND, elsewhere)) == []


def test_another_index_that_reads_the_new_name_as_another_type_is_named():
    other = index("offers", NumericField(name="description"))
    assert any("offers reads description" in each for each in reasons(planned(rename, BEHIND, other)))


def test_a_filter_is_a_reason_against_it():
    filtered = replace(BEHIND, schema=BEHIND.schema.with_options(filter="@color=='red'"))
    plan = planned(rename, filtered, strategy="shadow_field")
    assert any("it has a FILTER" in each for each in reasons(plan))


def test_writers_have_to_be_told_by_the_server():
    def blocked_by(inventory: Inventory) -> list[str]:
        return reasons(planned(rename, BEHIND, on=inventory, strategy="shadow_field"))

    assert any("CLIENT TRACKING" in each for each in blocked_by(server(BEHIND, untold_because="no")))
    ignoring = server(BEHIND, capabilities={"ignores_partial_updates": True})
    assert any("PARTIAL_INDEXED_DOCS" in each for each in blocked_by(ignoring))


def limits(before, after, rewrite, storage_type="hash"):
    schemas = [schema("products", *fields, storage_type=storage_type) for fields in (before, after)]
    return why_no_twins(*schemas, rewrite)


def test_a_new_name_that_is_read_today_has_values_of_its_own():
    taken = limits((DESC, TextField(name="description")), (TextField(name="description"),), RENAME)
    assert taken is not None
    assert taken.startswith("field 'description' reads description today")
    assert limits((DESC,), (TextField(name="description"),), RENAME) is None


def test_nothing_may_read_the_old_name_afterwards():
    read = limits((DESC,), (TextField(name="description"), TagField(name="d", path="desc")), RENAME)
    assert read is not None
    assert read.startswith("field 'd' reads desc afterwards")


def test_a_path_that_finds_both_members_finds_the_value_twice():
    moved = Rewrite("json", renames=(PathRename("$.spec.desc", "$.spec.description"),))
    before, after = (TextField(name=name, path=f"$.spec.{name}") for name in ("desc", "description"))
    wild = TagField(name="all", path="$.spec.*")
    assert "twice meanwhile" in (limits((before, wild), (after,), moved, "json") or "")
    assert "twice meanwhile" in (limits((before,), (after, wild), moved, "json") or "")
    assert limits((before,), (after,), moved, "json") is None


def test_a_field_that_is_renamed_and_re_encoded_takes_two_revisions():
    def both(op):
        with op.index("products") as products:
            products.alter_field("embedding", datatype="float16")
            products.rename_field("embedding", "image")

    plan = planned(both, BEHIND, strategy="shadow_field")
    assert any("do that in two revisions" in each for each in reasons(plan))


def test_vectors_that_are_re_encoded_beside_a_rename_take_two_revisions():
    def both(op):
        with op.index("products") as products:
            products.alter_field("embedding", datatype="float16")
            products.rename_field("desc", "description")

    plan = planned(both, BEHIND, strategy="shadow_field")
    assert any("in one pass with desc to description: do that in two revisions" in e for e in reasons(plan))


def test_what_goes_from_its_path_and_what_stays_there_take_two_revisions():
    second = replace(recoding(), new_path="embedding_2")
    both = Rewrite("hash", (second,), RENAME.renames)
    reason = limits((DESC, vector()), (TextField(name="description"), vector()), both)
    assert reason is not None
    assert "since one goes and the other stays: do that in two revisions" in reason
