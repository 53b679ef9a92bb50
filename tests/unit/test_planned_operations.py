"""What each operation of a script becomes in a plan: whose indexes, which names, what is refused or told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import (
    catalog,
    index,
    kinds,
    live,
    planned,
    reasons,
    recorded,
    schema,
    server,
    step_of,
    vector,
)

from redismigrate.operations.operation_types import RunFunction
from redismigrate.planning.other_databases import KeysElsewhere, OtherDatabases
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.schema import NumericField, TagField, TextField

COLOR = TagField(name="color")
PRODUCTS = index("products", COLOR, physical="products__0", aliases=("goods",))
PLAIN = index("products", COLOR)
OFFERS = index("offers", COLOR, prefixes=("o:",))
TEMPORARY = index("products", COLOR, temporary_seconds=60)
ELSEWHERE = OtherDatabases({("hash", b"p:"): (KeysElsewhere(3, 2, (b"p:1", b"p:2")),)})


def nothing(op):
    """A script without operations."""


def creates(op):
    op.create_index(schema("products", COLOR))


def drops(op):
    op.drop_index("products")


def deletes(op):
    op.drop_index("products", delete_documents=True)


def adds(op):
    with op.index("products") as changes:
        changes.add_field(NumericField(name="price"))


def fill(client):
    """A data migration."""


def clear(client):
    """What undoes it."""


def test_a_revision_without_operations_is_recorded():
    plan = planned(nothing)
    assert (kinds(plan), plan.warnings, plan.obstacles) == (["record_revision"], (), ())


def test_a_new_index_is_claimed_made_and_validated_before_it_is_recorded():
    plan = planned(creates)
    assert kinds(plan) == [
        "claim_index",
        "prove_index",
        "create_index",
        "wait_for_index",
        "validate_index",
        "record_revision",
    ]
    assert step_of(plan, "create_index").after.physical == "products"


@pytest.mark.parametrize(
    ("inventory", "told"),
    [
        (server(foreign=[PLAIN]), "index products exists already on the server"),
        (server(aliases={"products": "products__1"}), "products is an alias of index products__1"),
        (server(owners={"products": "office"}), "index products belongs to project office"),
        (server(capabilities={"maxmemory": 10, "used_memory": 9}), "index products needs about"),
    ],
)
def test_a_new_index_is_refused_where_there_is_no_room_for_it(inventory, told):
    inventory = replace(inventory, matching_keys={"products": 100_000})
    assert any(told in reason for reason in reasons(planned(creates, on=inventory)))


def test_an_index_that_is_ours_already_is_not_claimed_again():
    assert "claim_index" not in kinds(planned(creates, on=server(owners={"products": "shop"})))


def test_a_star_in_the_prefix_of_a_new_index_is_said_to_be_no_glob():
    plan = planned(lambda op: op.create_index(schema("products", COLOR, prefixes=("p:*",))))
    assert any("the * in prefix p:* of index products is taken literally" in each for each in plan.warnings)


def test_an_index_that_is_dropped_and_made_again_is_built_beside_the_one_that_serves():
    def again(op):
        op.drop_index("products")
        op.create_index(schema("products", TextField(name="title")))

    plan = planned(again, PRODUCTS)
    assert reasons(plan) == []
    assert step_of(plan, "create_index").after.physical.startswith("products__8f3a1c9b2d4e_7")
    in_place = planned(again, PRODUCTS, strategy="rebuild")
    assert step_of(in_place, "create_index").after.physical == "products"
    never = planned(again, PRODUCTS, adoption="never")
    assert step_of(never, "create_index").after.physical == "products"
    assert any('adopt = "never"' in warning for warning in never.warnings)


def test_dropping_an_index_keeps_its_documents_and_frees_its_name():
    plan = planned(drops, PRODUCTS)
    assert not step_of(plan, "drop_index").drop.delete_documents
    assert step_of(plan, "release_index").index == "products"
    assert (plan.warnings, plan.obstacles) == ((), ())


def test_dropping_an_index_with_its_documents_tells_how_many():
    plan = planned(deletes, PRODUCTS)
    assert step_of(plan, "drop_index").drop.delete_documents
    assert step_of(plan, "drop_index").estimate.documents == 1_000
    assert plan.warnings == ("the 1,000 documents of index products are deleted and can't come back",)


def test_dropping_an_index_that_takes_its_documents_along_has_to_be_meant():
    [reason] = reasons(planned(drops, TEMPORARY))
    assert "say drop_index(..., delete_documents=True) if that is meant" in reason
    assert reasons(planned(deletes, TEMPORARY)) == []


def test_documents_that_this_revision_moves_are_not_deleted_with_another_index():
    other = index("others", COLOR)

    def moves_then_deletes(op):
        with op.index("products") as changes:
            changes.change_prefix("p:", "q:")
        op.drop_index("others", delete_documents=True)

    plan = planned(moves_then_deletes, PLAIN, other, strategy="rebuild", exclusive=True)
    assert any(
        "would delete documents of index products that this revision moves" in r for r in reasons(plan)
    )
    apart = planned(moves_then_deletes, PLAIN, index("others", COLOR, prefixes=("x:",)))
    assert not any("would delete documents" in reason for reason in reasons(apart))


def test_an_alias_leads_to_its_index_and_moves_between_ours():
    def alias(op):
        op.create_alias("goods", "offers")

    plan = planned(alias, PRODUCTS, OFFERS)
    step = step_of(plan, "set_alias")
    assert (step.alias, step.before.served, step.after.served) == ("goods", "products", "offers")
    assert step.index == "offers"
    new = step_of(planned(alias, OFFERS), "set_alias")
    assert (new.index, new.before, new.after.served) == ("offers", None, "offers")
    moved = server(PRODUCTS, OFFERS, aliases={"products": "products__0", "goods": "strange"})
    plan = planned(alias, PRODUCTS, OFFERS, on=moved)
    assert any("goods points to index strange" in reason for reason in reasons(plan))


def test_an_alias_that_stays_where_it_is_needs_no_step():
    assert kinds(planned(lambda op: op.create_alias("goods", "products"), PRODUCTS)) == ["record_revision"]


def test_an_alias_is_not_taken_from_an_index_or_from_others():
    def alias(op):
        op.create_alias("goods", "offers")

    foreign = index("goods", COLOR)
    assert reasons(planned(alias, OFFERS, on=server(OFFERS, foreign=[foreign]))) == [
        "goods is an index on the server, so it can't be an alias"
    ]
    taken = server(OFFERS, aliases={"goods": "strange"})
    assert reasons(planned(alias, OFFERS, on=taken)) == [
        "alias goods points to index strange, which this project does not manage"
    ]
    assert reasons(planned(alias, OFFERS, on=server(OFFERS, aliases={"goods": "offers"}))) == []


def test_an_alias_that_points_elsewhere_by_now_is_not_dropped():
    def drop(op):
        op.drop_alias("goods")

    step = step_of(planned(drop, PRODUCTS), "set_alias")
    assert (step.index, step.before.served, step.after) == ("products", "products", None)
    moved = server(PRODUCTS, aliases={"products": "products__0", "goods": "strange"})
    assert reasons(planned(drop, PRODUCTS, on=moved)) == [
        "alias goods points to index strange by now, which is not products"
    ]
    gone = server(PRODUCTS, aliases={"products": "products__0"})
    assert reasons(planned(drop, PRODUCTS, on=gone)) == []


def synonyms(*terms):
    return lambda op: op.set_synonyms("products", "g", terms)


def test_terms_are_added_in_place_and_taken_out_by_a_new_index():
    known = replace(PRODUCTS, synonyms={"g": ("a", "b")})
    assert kinds(planned(synonyms("a", "b"), known)) == ["record_revision"]
    assert "set_synonyms" in kinds(planned(synonyms("a", "b", "c"), known))
    fewer = planned(synonyms("a"), known)
    assert "set_synonyms" not in kinds(fewer)
    assert step_of(fewer, "swap_alias").after.synonyms == {"g": ("a",)}
    assert "replace_index" in kinds(planned(synonyms("a"), known, strategy="rebuild"))


def test_terms_are_taken_out_in_place_where_the_index_may_not_become_an_alias():
    plain, behind = (replace(each, synonyms={"g": ("a", "b")}) for each in (PLAIN, PRODUCTS))
    assert "replace_index" in kinds(planned(synonyms("a"), plain, adoption="never"))
    assert "swap_alias" in kinds(planned(synonyms("a"), behind, adoption="never"))
    temporary = replace(TEMPORARY, synonyms={"g": ("a", "b")})
    assert "terms leave synonyms no other way" in reasons(planned(synonyms("a"), temporary))[0]
    assert reasons(planned(synonyms("a", "b", "c"), temporary)) == []


def test_a_function_is_a_step_of_its_own_and_one_that_cannot_be_undone_is_told():
    with_down = planned(lambda op: op.run(fill, clear))
    assert with_down.warnings == ()
    call = step_of(with_down, "run_function").call
    assert (call.function, call.function_in, call.function_direction) == (0, "upgrade", "up")
    without = planned(lambda op: op.run(fill))
    assert without.warnings == ("op.run(fill) gives no function that undoes it",)
    assert planned(lambda op: op.run(fill), direction="downgrade").warnings == ()


def going_back(script, *functions, **options):
    """A downgrade of a revision whose upgrade has called op.run."""
    return planned(script, direction="downgrade", revision={"undone_functions": functions}, **options)


UNDOABLE, LASTING = RunFunction("fill", 1, has_down=True), RunFunction("send", 0, has_down=False)


def test_functions_are_undone_before_the_downgrade_itself():
    plan = going_back(lambda op: op.run(clear), UNDOABLE)
    calls = [step.call for step in plan.steps if step.kind == "run_function"]
    assert [(call.function_in, call.function_direction) for call in calls] == [
        ("upgrade", "down"),
        ("downgrade", "up"),
    ]


def test_a_function_that_nothing_undoes_keeps_from_going_back_unless_that_is_dealt_with():
    assert reasons(going_back(nothing, LASTING)) == [
        "op.run(send) has no function that undoes it; --allow-lossy goes back without one"
    ]
    assert reasons(going_back(nothing, LASTING, allow_lossy=True)) == []
    assert reasons(going_back(lambda op: op.run(clear), LASTING)) == []
    assert reasons(going_back(nothing, UNDOABLE)) == []


def test_a_revision_that_says_so_cannot_be_undone():
    assert reasons(planned(lambda op: op.irreversible("mails were sent"), direction="downgrade")) == [
        "this revision is irreversible: mails were sent"
    ]


def test_a_script_that_assumes_to_be_alone_is_taken_at_its_word_and_it_is_told():
    def alone(op):
        op.assume_exclusive("nightly job")
        with op.index("products") as changes:
            changes.change_prefix("p:", "q:")

    plan = planned(alone, PLAIN)
    assert "rewrite_documents" in kinds(plan)
    assert any("nightly job (op.assume_exclusive)" in warning for warning in plan.warnings)


def test_an_index_that_no_revision_made_is_brought_in_and_what_it_does_not_tell_is_named():
    found = index("products", TextField(name="title"), vector())
    plan = planned(adds, adopts=[found])
    assert step_of(plan, "claim_index").index == "products"
    assert reasons(plan) == []
    [warning] = [each for each in plan.warnings if "was not made by a revision" in each]
    assert "SKIPINITIALSCAN, PHONETIC, INITIAL_CAP can't be read" in warning
    plain = planned(adds, adopts=[PLAIN])
    assert any(": SKIPINITIALSCAN can't be read" in each for each in plain.warnings)


def test_parameters_of_vectors_are_missed_where_only_ft_debug_tells_them():
    found = index("products", vector(algorithm="HNSW"))
    silent = live(found, has_vector_details=False, stays=True)
    plan = planned(adds, adopts=[found], on=server(foreign=[found], live={"products": silent}))
    assert any("EF_RUNTIME" in each for each in plan.warnings)
    assert not any("EF_RUNTIME" in each for each in planned(adds, adopts=[found]).warnings)


def test_an_index_that_may_be_temporary_is_not_brought_in_unless_the_user_knows_better():
    silent = live(PLAIN, has_vector_details=False)
    on = server(foreign=[PLAIN], live={"products": silent})
    [reason] = reasons(planned(adds, adopts=[PLAIN], on=on))
    assert "it can't be told whether index products is TEMPORARY" in reason
    assert reasons(planned(adds, adopts=[PLAIN], on=on, allow_lossy=True)) == []
    stays = server(foreign=[PLAIN], live={"products": replace(silent, stays=True)})
    assert reasons(planned(adds, adopts=[PLAIN], on=stays)) == []


def test_an_index_of_others_behind_an_alias_is_not_brought_in():
    found = index("products", COLOR, physical="theirs")
    on = server(foreign=[found], owners={"theirs": "office"})
    assert reasons(planned(adds, adopts=[found], on=on)) == [
        "products is an alias of index theirs, which belongs to project office"
    ]
    assert reasons(planned(adds, adopts=[found])) == []
    assert reasons(planned(adds, adopts=[found], on=server(foreign=[found], owners={"theirs": "shop"}))) == []
    gone = server(foreign=[found], live={})
    assert "index products does not exist on the server" in reasons(planned(adds, adopts=[found], on=gone))


def test_going_back_gives_up_what_the_revision_had_brought_in():
    revision = recorded(nothing, PLAIN, direction="downgrade", adopted={"products": PLAIN})
    plan = plan_revision(revision, catalog(PLAIN), server(PLAIN), PlanOptions())
    assert kinds(plan) == ["release_index", "record_revision"]
    assert step_of(plan, "record_revision").description == f"take back the record of {revision.revision}"


def test_documents_of_other_databases_keep_from_building_an_index_unless_the_user_says_so():
    on = server(other_databases=ELSEWHERE)
    [obstacle] = planned(creates, on=on).obstacles
    assert obstacle.index == "products"
    assert "database 3 has 2 keys (p:1, p:2)" in obstacle.text
    ignored = planned(creates, on=on, ignores_other_databases=True)
    assert ignored.obstacles == ()
    assert any("which will lack them until they are written again" in each for each in ignored.warnings)


def test_a_change_in_place_keeps_what_other_databases_hold_and_says_so():
    plan = planned(adds, PRODUCTS, on=server(PRODUCTS, other_databases=ELSEWHERE))
    assert plan.obstacles == ()
    assert any("they stay in it, but what is added finds them only once" in each for each in plan.warnings)


def test_what_could_not_be_looked_at_in_other_databases_is_told_where_it_matters():
    unknown = OtherDatabases(remarks=("database 3 could not be looked at",))
    assert planned(creates, on=server(other_databases=unknown)).warnings == unknown.remarks
    assert planned(nothing, on=server(other_databases=unknown)).warnings == ()


def test_the_expand_phase_takes_nothing_away_before_names_move():
    def loses(op):
        op.drop_index("offers")
        op.run(fill, clear)
        with op.index("products") as changes:
            changes.alter_field("color", sortable=True)

    plan = planned(loses, PRODUCTS, OFFERS, expands=True)
    assert any(
        each.index == "offers" and "has to come before a name moves, and --phase expand" in each.text
        for each in plan.obstacles
    )
    assert planned(loses, PRODUCTS, OFFERS).obstacles == ()


def test_every_reason_tells_the_index_that_it_concerns():
    def several(op):
        op.irreversible("mails were sent")
        op.drop_index("products")
        op.create_index(schema("goods", COLOR, storage_type="json"))

    temporary = replace(TEMPORARY, aliases=())
    on = server(temporary, capabilities={"has_json": False})
    plan = planned(several, temporary, on=on)
    assert [each.index for each in plan.obstacles] == [None, "products", "goods"]


def test_an_operation_meets_what_the_one_before_it_leaves():
    def twice(op):
        with op.index("products") as changes:
            changes.alter_field("color", sortable=True)
        with op.index("products") as changes:
            changes.alter_field("color", separator=";")

    plan = planned(twice, PRODUCTS)
    first, second = [step for step in plan.steps if step.kind == "create_index"]
    assert second.before.physical == first.after.physical
    assert second.after.physical != first.after.physical
    assert second.after.schema.fields[0].sortable


operations = st.sampled_from(
    [
        adds,
        drops,
        lambda op: op.create_alias("goods", "offers"),
        lambda op: op.set_synonyms("offers", "g", ["a"]),
        lambda op: op.run(fill, clear),
        lambda op: op.create_index(schema("orders", COLOR, prefixes=("r:",))),
    ]
)


@given(st.lists(operations, unique=True), st.sampled_from(["auto", "rebuild"]))
def test_the_record_comes_once_after_all_that_the_revision_makes(scripts, strategy):
    """What comes after it only removes."""

    def script(op):
        for each in sorted(scripts, key=lambda each: each is drops):
            each(op)

    plan = planned(script, PRODUCTS, OFFERS, strategy=strategy)
    at = kinds(plan).index("record_revision")
    assert kinds(plan).count("record_revision") == 1
    assert all(step.after_record for step in plan.steps[at + 1 :])
    assert not any(step.after_record for step in plan.steps[:at])
    made = {step.after.physical for step in plan.steps[:at] if step.kind == "create_index"}
    validated = {step.after.physical for step in plan.steps[:at] if step.kind == "validate_index"}
    assert made <= validated
