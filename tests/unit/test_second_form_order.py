"""In which order a second form of documents is made, served, moved to its place and removed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import REVISION, index, re_encoding, recoding, vector

from redismigrate.documents.rewrite import Rewrite
from redismigrate.planning.plan import Estimate
from redismigrate.planning.second_form_steps import (
    SecondFormCosts,
    reading_second_fields,
    second_field_names,
    shadow_copy_steps,
    shadow_field_steps,
)
from redismigrate.planning.step_order import in_phases
from redismigrate.planning.undo import undo_of
from redismigrate.schema import TagField
from redismigrate.schema.moves import PrefixChange

COSTS = SecondFormCosts(
    backup=Estimate(backup_bytes=11, seconds=1.0),
    copy=Estimate(memory_bytes=22, seconds=2.0),
    build=Estimate(memory_bytes=33, seconds=3.0),
    promote=Estimate(seconds=4.0),
    remove=Estimate(seconds=5.0),
)
OLD = index("products", vector(), TagField(name="color"))
WANTED = index("products", vector("FLOAT16"), TagField(name="color"), physical="products__2")
NAMES = {"embedding": f"embedding__{REVISION}"}
SERVING = replace(reading_second_fields(WANTED, NAMES), physical="products__1")
PREFIXES = Rewrite("hash", prefixes=(PrefixChange("p:", "q:"),))


def by_fields(old=OLD, restores_from=(), is_all_indexed=True, costs=COSTS):
    return shadow_field_steps(
        old, SERVING, WANTED, re_encoding(), NAMES, costs, restores_from, is_all_indexed
    )


def by_copies(old=OLD):
    return shadow_copy_steps(old, replace(WANTED, schema=old.schema), PREFIXES, COSTS)


def at(steps, kind):
    """Where the steps of a kind are."""
    return [number for number, step in enumerate(steps) if step.kind == kind]


def test_second_fields_are_called_after_their_field_and_the_revision():
    rewrite = Rewrite("hash", (recoding(path="embedding"), recoding(path="image")))
    assert second_field_names(rewrite, REVISION) == {
        "embedding": f"embedding__{REVISION}",
        "image": f"image__{REVISION}",
    }


def test_the_serving_index_answers_the_same_queries_from_the_second_field():
    fields = SERVING.schema.fields
    assert [field.name for field in fields] == [field.name for field in WANTED.schema.fields]
    assert [field.path_in("hash") for field in fields] == [NAMES["embedding"], "color"]
    assert fields[0].datatype == "FLOAT16"


@given(st.sets(st.sampled_from(["a", "b", "c"])))
def test_only_vectors_that_get_a_second_field_are_read_from_it(recoded):
    """What is no vector stays where it is, though it is called like one."""
    fields = [vector(name=name) for name in ("a", "b")]
    definition = index("products", *fields, TagField(name="c"))
    paths = {name: f"{name}__2" for name in recoded}
    read = {
        field.name: field.path_in("hash") for field in reading_second_fields(definition, paths).schema.fields
    }
    assert read == {name: paths.get(name, name) if name != "c" else "c" for name in "abc"}


def test_originals_are_on_disk_and_the_second_fields_filled_before_an_index_is_built_over_them():
    steps = by_fields()
    first_index = at(steps, "create_index")[0]
    assert at(steps, "prove_index")[0] < at(steps, "back_up_documents")[0] < at(steps, "copy_documents")[0]
    assert at(steps, "copy_documents")[0] < first_index
    assert steps[first_index].after == SERVING


def test_names_move_to_the_second_form_before_the_declared_field_is_written():
    steps = in_phases([*by_fields()])
    first_swap, second_swap = at(steps, "swap_alias")
    [promote] = at(steps, "promote_documents")
    assert first_swap < promote < second_swap
    assert (steps[first_swap].after, steps[second_swap].after) == (SERVING, WANTED)
    assert (steps[first_swap].before, steps[second_swap].before) == (OLD, SERVING)


def test_second_fields_are_removed_last_when_no_index_reads_them():
    steps = in_phases([*by_fields()])
    [removal] = at(steps, "remove_documents")
    dropped = [step.before.physical for step in steps[:removal] if step.kind == "drop_index"]
    assert removal == len(steps) - 1
    assert SERVING.physical in dropped


def test_every_index_is_complete_and_valid_before_a_name_leads_to_it():
    for steps in (by_fields(), by_copies()):
        for swap in at(steps, "swap_alias"):
            target = steps[swap].after.physical
            before = [step.kind for step in steps[:swap] if step.after and step.after.physical == target]
            assert {"create_index", "wait_for_index", "validate_index"} <= set(before)


def test_a_revision_is_recorded_once_names_have_moved_and_what_removes_the_old_form_comes_after():
    for steps in (by_fields(), by_copies()):
        first_swap = at(steps, "swap_alias")[0]
        assert not any(step.after_record for step in steps[: first_swap + 1])
        assert all(step.after_record for step in steps[first_swap + 1 :])


def test_the_name_of_the_serving_index_leads_on_to_the_final_one():
    drop = next(step for step in by_fields() if step.kind == "drop_index" and step.before == SERVING)
    assert (drop.alias, drop.after) == (SERVING.physical, WANTED)
    assert drop.drop.second_fields == NAMES


def test_an_index_behind_an_alias_is_dropped_and_one_that_was_none_goes_with_the_swap():
    behind = replace(OLD, physical="products__0")
    for steps in (by_fields(behind), by_copies(behind)):
        assert "products__0" in [step.before.physical for step in steps if step.kind == "drop_index"]
    for steps in (by_fields(), by_copies()):
        assert OLD.physical not in [step.before.physical for step in steps if step.kind == "drop_index"]


def test_the_memory_of_the_second_build_is_not_counted_on_top_of_the_first():
    waits = [step.estimate for step in by_fields() if step.kind == "wait_for_index"]
    assert [each.memory_bytes for each in waits] == [33, 0]
    assert [each.seconds for each in waits] == [3.0, 3.0]


def test_costs_stand_at_the_steps_that_cause_them():
    steps = {step.kind: step.estimate for step in by_fields()}
    assert steps["back_up_documents"] == COSTS.backup
    assert steps["copy_documents"] == COSTS.copy
    assert steps["promote_documents"] == COSTS.promote
    assert steps["remove_documents"] == COSTS.remove


def test_a_backup_knows_where_originals_come_from_and_whether_documents_are_missing():
    [backup] = [step for step in by_fields(restores_from=("host:/b",)) if step.kind == "back_up_documents"]
    assert (backup.documents.restores_from, backup.documents.is_all_indexed) == (("host:/b",), True)
    [backup] = [step for step in by_fields(is_all_indexed=False) if step.kind == "back_up_documents"]
    assert not backup.documents.is_all_indexed
    copying = [step for step in by_fields(restores_from=("host:/b",)) if step.kind == "copy_documents"]
    assert copying[0].documents.restores_from == ("host:/b",)


def test_copies_need_no_backup_as_originals_stay_until_the_end():
    steps = in_phases([*by_copies(replace(OLD, physical="products__0"))])
    assert at(steps, "back_up_documents") == []
    [removal] = at(steps, "remove_documents")
    assert all(at(steps, kind)[-1] < removal for kind in ("copy_documents", "swap_alias", "validate_index"))
    assert steps[removal].life.name == "remove_originals"


def test_before_names_have_moved_undoing_leaves_the_old_form_alone():
    """Nothing but what was made is taken back, and no declared field is written."""
    for steps in (by_fields(), by_copies()):
        done = tuple(steps[: at(steps, "swap_alias")[0]])
        undo = undo_of(done)
        assert {step.kind for step in undo} <= {"drop_index", "remove_documents"}
        assert all(step.documents.takes_back for step in undo if step.kind == "remove_documents")
