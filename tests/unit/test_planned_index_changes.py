"""What a change of an index adds to a plan: steps by the strategy that was chosen, warnings, obstacles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import REVISION, index, kinds, planned, reasons, server, step_of, vector

from redismigrate.planning.step_life import BESIDE
from redismigrate.schema import NumericField, TagField

COLOR = TagField(name="color")
PRODUCTS = index("products", COLOR)
VECTORS = index("products", vector())
BEHIND = index("products", COLOR, physical="products__0")


def changing(name="products", **calls):
    """A script that calls methods of one index, each with the arguments given."""

    def script(op):
        with op.index(name) as changes:
            for method, arguments in calls.items():
                values = dict(arguments)
                getattr(changes, method)(*values.pop("args", ()), **values)

    return script


SORTABLE = changing(alter_field={"args": ("color",), "sortable": True})
FLOAT16 = changing(alter_field={"args": ("embedding",), "datatype": "FLOAT16"})
PREFIX = changing(change_prefix={"args": ("p:", "q:")})
GERMAN = changing(set_options={"language": "german"})


def rename_to(name):
    return changing(rename_to={"args": (name,)})


def both(*scripts):
    def script(op):
        for each in scripts:
            each(op)

    return script


def test_what_changes_nothing_on_the_server_gets_no_step_but_the_record():
    plan = planned(changing(set_options={"key_separator": "-"}), PRODUCTS)
    assert kinds(plan) == ["record_revision"]


def test_a_field_is_added_in_place():
    plan = planned(changing(add_field={"args": (NumericField(name="price"),)}), PRODUCTS)
    assert kinds(plan)[:2] == ["prove_index", "alter_index"]
    assert plan.warnings == ()
    assert step_of(plan, "alter_index").after.physical == "products"


def test_an_index_is_built_beside_under_the_name_of_revision_and_fence():
    plan = planned(SORTABLE, BEHIND)
    assert step_of(plan, "create_index").after.physical == f"products__{REVISION}_7"
    assert step_of(plan, "swap_alias").before.physical == "products__0"


def test_a_name_that_is_taken_is_not_given_to_another_index():
    stray = index(f"products__{REVISION}_7", COLOR)
    plan = planned(SORTABLE, BEHIND, on=server(BEHIND, foreign=[stray]))
    assert step_of(plan, "create_index").after.physical == f"products__{REVISION}_7_2"


def test_a_rebuild_tells_how_long_searches_miss_documents_unless_there_are_none():
    [warning] = planned(SORTABLE, BEHIND, strategy="rebuild").warnings
    assert warning.startswith("searches on products miss documents for about")
    assert planned(SORTABLE, BEHIND, on=server(BEHIND, documents=0), strategy="rebuild").warnings == ()


@pytest.mark.parametrize(("script", "definition"), [(SORTABLE, BEHIND), (FLOAT16, VECTORS)])
def test_the_expand_phase_refuses_what_takes_search_down(script, definition):
    [reason] = reasons(planned(script, definition, strategy="rebuild", expands=True))
    assert "index products would be rebuilt in its place, with search down" in reason
    assert reasons(planned(script, definition, expands=True)) == []


def test_an_index_that_never_looked_at_old_documents_is_told_to_do_so_now():
    unscanned = index("products", COLOR, skip_initial_scan=True)
    for strategy in ("auto", "rebuild"):
        warnings = " ".join(planned(SORTABLE, unscanned, strategy=strategy).warnings)
        assert "made with SKIPINITIALSCAN; this scans all documents" in warnings
    assert "SKIPINITIALSCAN" not in " ".join(planned(SORTABLE, PRODUCTS).warnings)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"datatype": "FLOAT16"}, "FLOAT16 vectors"),
        ({"dims": 8}, "vectors of 8 dimensions"),
        ({"datatype": "FLOAT64", "dims": 8}, "FLOAT64 vectors of 8 dimensions"),
    ],
)
def test_clients_are_told_that_they_have_to_send_other_bytes(attributes, told):
    plan = planned(changing(alter_field={"args": ("embedding",), **attributes}), VECTORS)
    assert f"queries on products must send {told} afterwards (query_bytes_change)" in plan.warnings


def test_queries_that_stay_as_they_are_are_not_warned_of():
    plan = planned(changing(alter_field={"args": ("embedding",), "algorithm": "HNSW"}), VECTORS)
    assert "query_bytes_change" not in " ".join(plan.warnings)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("FLOAT32", "FLOAT16", "searches do not find it until it is written in FLOAT16"),
        ("FLOAT16", "BFLOAT16", "searches take it for BFLOAT16"),
    ],
)
def test_what_a_release_writes_that_knows_the_old_form_only_is_told(before, after, told):
    script = changing(alter_field={"args": ("embedding",), "datatype": after})
    warnings = planned(script, index("products", vector(before))).warnings
    assert any(told in each and "(old_form_writers)" in each for each in warnings)
    json = index("products", vector(before), storage_type="json")
    assert "old_form_writers" not in " ".join(planned(script, json).warnings)


def test_a_star_in_a_new_prefix_is_said_to_be_no_glob_and_an_old_one_is_not():
    def prefixes(*names):
        return changing(set_options={"prefixes": names})

    glob = "the * in prefix p:* of index products is taken literally"
    assert any(each.startswith(glob) for each in planned(prefixes("p:*"), PRODUCTS).warnings)
    known = index("products", COLOR, prefixes=("p:*",))
    assert not any(each.startswith(glob) for each in planned(prefixes("p:*", "q:"), known).warnings)


def test_a_strategy_that_cannot_is_told_as_an_obstacle_of_that_strategy():
    plan = planned(SORTABLE, PRODUCTS, strategy="shadow_copy")
    [obstacle] = plan.obstacles
    assert (obstacle.index, obstacle.strategy) == ("products", "shadow_copy")


def test_what_the_server_lacks_for_the_changed_index_is_told():
    old = server(VECTORS, capabilities={"lacks": frozenset({"INT8"})})
    plan = planned(changing(alter_field={"args": ("embedding",), "datatype": "INT8"}), VECTORS, on=old)
    assert any("INT8 needs Redis Search 8.0 or newer" in reason for reason in reasons(plan))


def test_who_reads_other_fields_of_the_same_documents_is_no_reader_of_the_vectors():
    others = (index("others", COLOR), index("apart", vector(), prefixes=("x:",)))
    plan = planned(FLOAT16, VECTORS, on=server(VECTORS, foreign=others), strategy="shadow_field")
    assert reasons(plan) == []
    reader = index("reader", vector())
    plan = planned(FLOAT16, VECTORS, on=server(VECTORS, foreign=[reader]), strategy="shadow_field")
    assert any("index reader reads the same vectors" in reason for reason in reasons(plan))


def used(bytes_free):
    return {"maxmemory": 10**9, "used_memory": 10**9 - bytes_free}


def test_an_index_that_does_not_fit_tells_what_a_rebuild_would_take():
    full = server(BEHIND, documents=100_000, capabilities=used(1_000))
    [reason] = reasons(planned(SORTABLE, BEHIND, on=full))
    assert "index products needs about" in reason
    assert "--strategy rebuild would need about" in reason
    roomy = server(BEHIND, documents=100_000, capabilities=used(10**9))
    assert reasons(planned(SORTABLE, BEHIND, on=roomy)) == []


def test_memory_is_needed_for_a_second_form_and_for_the_index_over_it():
    """Either fits alone."""
    wide = index("products", vector(dims=768))
    plan = planned(FLOAT16, wide, on=server(wide, documents=100_000))
    copy = step_of(plan, "copy_documents").estimate.memory_bytes
    build = max(step.estimate.memory_bytes for step in plan.steps if step.kind == "wait_for_index")
    assert copy > 0
    assert build > 0

    def on(bytes_free):
        return server(wide, documents=100_000, capabilities=used(bytes_free))

    assert "index products needs about" in reasons(planned(FLOAT16, wide, on=on(max(copy, build) + 1_000)))[0]
    assert reasons(planned(FLOAT16, wide, on=on(copy + build + 1_000))) == []


def test_a_backup_that_the_disk_has_no_room_for_blocks_both_ways_that_make_one():
    for strategy in ("rebuild", "shadow_field"):
        plan = planned(FLOAT16, VECTORS, on=server(VECTORS, backup_free_bytes=10), strategy=strategy)
        assert any("the folder for backups has room" in reason for reason in reasons(plan))
    plan = planned(PREFIX, PRODUCTS, on=server(PRODUCTS, backup_free_bytes=10))
    assert reasons(plan) == []


def test_copies_have_no_backup_step_and_second_fields_have():
    assert "back_up_documents" not in kinds(planned(PREFIX, PRODUCTS))
    assert "back_up_documents" in kinds(planned(FLOAT16, VECTORS))


def test_a_name_that_is_an_alias_moves_and_nothing_is_built():
    plan = planned(rename_to("goods"), BEHIND)
    assert kinds(plan) == ["claim_index", "set_alias", "set_alias", "release_index", "record_revision"] or (
        "create_index" not in kinds(plan)
    )
    moved = {
        step.alias: step.after and step.after.physical for step in plan.steps if step.kind == "set_alias"
    }
    assert moved == {"goods": "products__0", "products": None}
    assert "the name products is gone afterwards; clients query goods" in plan.warnings


def test_an_index_that_is_no_alias_is_built_under_its_new_name():
    plan = planned(rename_to("goods"), PRODUCTS)
    assert step_of(plan, "create_index").after.served == "goods"
    assert {
        step.kind: step.index for step in plan.steps if step.kind in {"claim_index", "release_index"}
    } == {
        "claim_index": "goods",
        "release_index": "products",
    }


def test_a_renamed_index_that_is_changed_too_is_built_once_under_the_new_name():
    plan = planned(
        changing(alter_field={"args": ("color",), "sortable": True}, rename_to={"args": ("goods",)}), BEHIND
    )
    assert step_of(plan, "create_index").after.served == "goods"
    assert step_of(plan, "create_index").after.schema.fields[0].sortable


@pytest.mark.parametrize("taken_by", ["index", "alias", "project"])
def test_a_name_that_is_somebody_elses_is_not_taken(taken_by):
    stranger = index("goods", COLOR, physical="goods" if taken_by != "alias" else "goods__0")
    on = (
        server(BEHIND, owners={"products": "shop", "goods": "office"})
        if taken_by == "project"
        else server(BEHIND, foreign=[stranger])
    )
    told = {
        "index": "index goods exists already on the server",
        "alias": "goods is an alias of index goods__0 on the server",
        "project": "index goods belongs to project office",
    }
    assert any(told[taken_by] in reason for reason in reasons(planned(rename_to("goods"), BEHIND, on=on)))


OFFERS = index("offers", vector())


def re_encoding(name):
    return changing(name, alter_field={"args": ("embedding",), "datatype": "FLOAT16"})


RE_ENCODED = both(re_encoding("products"), re_encoding("offers"))


def test_documents_that_two_indexes_share_are_rewritten_once():
    plan = planned(
        RE_ENCODED,
        VECTORS,
        OFFERS,
        exclusive=True,
        strategy="rebuild",
    )
    assert reasons(plan) == []
    assert [step.index for step in plan.steps if step.kind == "rewrite_documents"] == ["products"]
    made = [step.index for step in plan.steps if step.life.has("makes_index")]
    assert sorted(made) == ["offers", "products"]


def test_documents_that_two_indexes_share_are_not_copied_for_both():
    offers = index("offers", COLOR)
    plan = planned(
        both(PREFIX, changing("offers", change_prefix={"args": ("p:", "q:")})),
        PRODUCTS,
        offers,
        strategy="shadow_copy",
    )
    shared = [each for each in plan.obstacles if "shares its documents with another one" in each.text]
    assert [(each.index, each.strategy) for each in shared] == [("offers", "shadow_copy")]


def test_an_index_that_shares_documents_is_re_encoded_in_place_by_itself():
    """A second field would leave the other reader behind."""
    plan = planned(RE_ENCODED, VECTORS, OFFERS)
    assert {step.strategy for step in plan.steps if step.strategy} == {"rebuild"}
    apart = index("offers", vector(), prefixes=("o:",))
    plan = planned(RE_ENCODED, VECTORS, apart)
    assert {step.strategy for step in plan.steps if step.strategy} == {"shadow_field"}


def test_what_reads_the_target_keys_keeps_copies_from_being_made():
    at_target = index("offers", COLOR, prefixes=("q:",))
    plan = planned(PREFIX, PRODUCTS, on=server(PRODUCTS, at_target), strategy="shadow_copy")
    assert any("index offers covers the new keys" in reason for reason in reasons(plan))


def test_a_second_rewrite_of_one_index_is_told_to_be_one_block():
    plan = planned(
        both(FLOAT16, changing(rename_field={"args": ("color", "colour")})),
        index("products", vector(), COLOR),
        strategy="rebuild",
        exclusive=True,
    )
    assert (
        "index products rewrites its documents twice: do it in one `with op.index` block, or in two revisions"
        in (reasons(plan))
    )


@given(
    st.sampled_from([SORTABLE, GERMAN, PREFIX, both(SORTABLE, GERMAN)]),
    st.sampled_from([PRODUCTS, BEHIND]),
    st.sampled_from(["auto", "shadow", "rebuild", "shadow_copy", "alter"]),
    st.booleans(),
    st.sampled_from(["alias", "never"]),
)
def test_no_plan_that_may_run_takes_search_away_but_by_a_rebuild(
    script, definition, strategy, exclusive, adoption
):
    plan = planned(script, definition, strategy=strategy, exclusive=exclusive, adoption=adoption)
    if plan.obstacles:
        return
    strategies = {step.strategy for step in plan.steps if step.strategy}
    if strategies <= BESIDE | {"alter"}:
        assert not any(step.life.has("takes_search_away") and not step.after_record for step in plan.steps)
        assert "miss documents" not in " ".join(plan.warnings)
    else:
        assert "searches on products miss documents" in " ".join(plan.warnings)
    if adoption == "never" and definition is PRODUCTS:
        assert not strategies & BESIDE
    if strategy != "auto":
        assert strategies == {strategy}
