"""Which strategy carries out a change, and what each of them can't do."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import SERVER, index, re_encoding, recoding, schema, server, vector

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.storage_change import StorageChange
from redismigrate.planning.document_obstacles import what_documents_forbid, what_forbids_rewriting
from redismigrate.planning.rewrites import recodings_of
from redismigrate.planning.step_life import STRATEGIES
from redismigrate.planning.strategies import (
    Situation,
    StrategyChoice,
    changes_of,
    choose,
    what_server_lacks,
    why_impossible,
    why_not_alter,
)
from redismigrate.schema import NumericField, TagField, TextField
from redismigrate.schema.moves import PathRename, PrefixChange

COLOR, PRICE = TagField(name="color"), NumericField(name="price")
ADDED = (index("products", COLOR), index("products", COLOR, PRICE))
DROPPED = (index("products", COLOR, PRICE), index("products", COLOR))
FLOAT16 = (index("products", vector()), index("products", vector("FLOAT16")), re_encoding())
MOVED = (
    index("products", prefixes=("p:",)),
    index("products", prefixes=("q:",)),
    Rewrite("hash", prefixes=(PrefixChange("p:", "q:"),)),
)
RENAMED = (
    index("products", TextField(name="desc")),
    index("products", TextField(name="description")),
    Rewrite("hash", renames=(PathRename("desc", "description"),)),
)
NOTHING = Rewrite("hash")


def chosen(before, after, rewrite=NOTHING, choice="auto", **situation):
    return choose(before, after, rewrite, choice, Situation(**situation))


def why_not(strategy, before, after, rewrite=NOTHING, **situation):
    return why_impossible(strategy, before, after, rewrite, Situation(**situation)) or ""


@pytest.mark.parametrize(
    ("change", "strategy"),
    [
        (ADDED, "alter"),
        (DROPPED, "shadow"),
        (FLOAT16, "shadow_field"),
        (MOVED, "shadow_copy"),
        (RENAMED, "shadow_field"),
    ],
)
def test_a_change_is_made_in_the_cheapest_way_that_keeps_search_up(change, strategy):
    assert chosen(*change) == (strategy, None)


@pytest.mark.parametrize("change", [FLOAT16, MOVED, RENAMED])
def test_documents_are_rewritten_in_place_where_nobody_else_writes(change):
    assert chosen(*change, exclusive=True) == ("rebuild", None)


def test_a_change_of_the_index_alone_stays_beside_where_nobody_else_writes():
    assert chosen(*DROPPED, exclusive=True) == ("shadow", None)


def test_what_the_user_asks_for_is_kept_to_and_refused_where_it_cannot_be():
    strategy, reason = chosen(*DROPPED, choice="alter")
    assert strategy == "alter"
    assert reason == (
        "strategy alter can't change index products: FT.ALTER only adds fields "
        "(numeric field 'price' is dropped)"
    )


def test_an_index_that_may_not_become_an_alias_is_rebuilt_unless_it_is_one():
    assert chosen(*DROPPED, adoption="never") == ("rebuild", None)
    behind = [replace(each, physical="products__1") for each in DROPPED]
    assert chosen(*behind, adoption="never") == ("shadow", None)
    assert "may not become one" in why_not("shadow", *DROPPED, adoption="never")


def test_an_index_that_takes_its_documents_along_can_only_be_altered():
    temporary = [replace(each, schema=each.schema.with_options(temporary_seconds=60)) for each in DROPPED]
    for strategy in set(STRATEGIES) - {"alter"}:
        assert why_not(strategy, *temporary) == (
            "index products is TEMPORARY: dropping it would delete its documents"
        )
    added = [replace(each, schema=each.schema.with_options(temporary_seconds=60)) for each in ADDED]
    assert chosen(*added) == ("alter", None)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_makes_an_index_temporary(strategy):
    before, after = DROPPED
    after = replace(after, schema=after.schema.with_options(temporary_seconds=60))
    assert why_not(strategy, before, after)


@pytest.mark.parametrize(
    ("situation", "why"),
    [
        ({"readers": ("offers", "orders")}, "index offers, orders reads the same vectors"),
        ({"ignores_partial_updates": True}, "PARTIAL_INDEXED_DOCS"),
    ],
)
def test_a_second_field_is_refused_where_it_would_harm(situation, why):
    assert why in why_not("shadow_field", *FLOAT16, **situation)
    assert chosen(*FLOAT16, **situation)[0] == "rebuild"


def test_a_second_field_needs_vectors_that_their_length_tells_apart():
    change = (index("products", vector("FLOAT16")), index("products", vector("BFLOAT16")))
    rewrite = re_encoding("BFLOAT16", "FLOAT16")
    assert "FLOAT16 and BFLOAT16 are equally long" in why_not("shadow_field", *change, rewrite)
    assert chosen(*change, rewrite)[0] == "rebuild"


def test_a_second_field_is_for_values_of_documents_that_keep_their_keys():
    both = replace(RENAMED[2], prefixes=MOVED[2].prefixes)
    assert "which keep their keys" in why_not("shadow_field", *RENAMED[:2], both)
    assert "which keep their keys" in why_not("shadow_field", *DROPPED)


@pytest.mark.parametrize(
    ("strategy", "change"),
    [("shadow_field", FLOAT16), ("shadow_field", RENAMED), ("shadow_copy", MOVED)],
)
def test_documents_that_a_filter_keeps_out_get_no_second_form(strategy, change):
    before, after, rewrite = change
    filtered = replace(before, schema=before.schema.with_options(filter="@color=='red'"))
    assert "it has a FILTER" in why_not(strategy, filtered, after, rewrite)


def moved(old, new, before=("p:",), after=None):
    """A change of one prefix: the index before and after it, and what moves."""
    kept = tuple(prefix for prefix in before if prefix != old)
    return (
        index("products", prefixes=before),
        index("products", prefixes=after or (*kept, new)),
        Rewrite("hash", prefixes=(PrefixChange(old, new),)),
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (moved("p:", "p:new:"), "a new prefix begins with an old one, or an old with a new one"),
        (moved("p:new:", "p:", before=("p:new:",)), "a new prefix begins with an old one"),
        (moved("p:", "q:", before=("p:", "r:")), "some of its documents would keep their keys"),
        (moved("p:", "q:", before=("",)), "some of its documents would keep their keys"),
        (moved("p:", "q:", after=("q:", "p:1")), "one of the two indexes would have originals and copies"),
        (DROPPED, "it copies documents to another prefix, and these keep theirs"),
    ],
)
def test_copies_are_made_only_where_none_can_be_taken_for_an_original(change, why):
    assert why in why_not("shadow_copy", *change)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("product:", "product:json:", "product:json: begins with product:, so originals and copies"),
        ("product:json:", "product:", "does not begin so, for example item:"),
        ("item:", "item:json:", "does not begin so, for example doc:"),
    ],
)
def test_of_documents_that_can_not_get_another_type_the_reason_of_the_copies_is_told(old, new, why):
    before, after, rewrite = moved(old, new, before=(old,))
    change = (before, after, replace(rewrite, storage=StorageChange("json")))
    for exclusive in (False, True):
        strategy, reason = chosen(*change, exclusive=exclusive)
        assert strategy == "shadow_copy"
        assert why in reason


def test_copies_are_not_made_under_keys_that_another_index_reads():
    assert "index offers covers the new keys" in why_not("shadow_copy", *MOVED, at_target=("offers",))


def test_copies_are_not_re_encoded_on_the_way():
    both = replace(MOVED[2], recodings=(recoding(),))
    assert "it can't re-encode vectors on the way" in why_not("shadow_copy", *MOVED[:2], both)


situations = st.builds(
    Situation,
    adoption=st.sampled_from(["alias", "never"]),
    exclusive=st.booleans(),
    ignores_partial_updates=st.booleans(),
    readers=st.sampled_from([(), ("other",)]),
    at_target=st.sampled_from([(), ("other",)]),
)
changes = st.sampled_from(
    [
        (*ADDED, NOTHING),
        (*DROPPED, NOTHING),
        FLOAT16,
        MOVED,
        RENAMED,
        (*FLOAT16[:2], replace(FLOAT16[2], renames=RENAMED[2].renames)),
    ]
)


@given(changes, situations, st.sampled_from(get_args(StrategyChoice)))
def test_a_choice_is_possible_unless_it_is_told_why_it_is_not(change, situation, choice):
    strategy, reason = choose(*change, choice, situation)
    assert choice in {"auto", strategy}
    assert reason == why_impossible(strategy, *change, situation)


@given(changes, situations)
def test_search_goes_down_only_where_nothing_else_can_be_or_writers_are_paused(change, situation):
    """Nothing that was chosen by itself is impossible, either."""
    strategy, reason = choose(*change, "auto", situation)
    assert reason is None
    if strategy == "rebuild" and not (change[2] and situation.exclusive):
        others = [each for each in STRATEGIES if each != "rebuild"]
        assert all(why_impossible(each, *change, situation) for each in others)


@given(changes, situations)
def test_more_in_the_way_never_makes_more_possible(change, situation):
    harder = replace(situation, readers=("a",), at_target=("a",), ignores_partial_updates=True)
    for strategy in STRATEGIES:
        if why_impossible(strategy, *change, situation) is not None:
            assert why_impossible(strategy, *change, harder) is not None


def texts(count, **options):
    return schema("products", *(TextField(name=f"t{number}") for number in range(count)), **options)


def test_a_33rd_text_field_is_not_added_to_an_index_that_has_no_room_for_it():
    assert "more than 32 TEXT fields" in (why_not_alter(texts(32), texts(33)) or "")
    assert why_not_alter(texts(31), texts(32)) is None
    wide = [texts(count, max_text_fields=True) for count in (32, 33)]
    assert why_not_alter(*wide) is None


def test_ft_alter_renames_nothing():
    assert why_not_alter(schema("products"), schema("goods")) == "FT.ALTER can't rename an index to goods"


def test_what_only_clients_read_is_no_change_on_the_server():
    before = index("products", key_separator=":")
    for options in ({"key_separator": "-"}, {"skip_initial_scan": True}):
        after = replace(before, schema=before.schema.with_options(**options))
        assert changes_of(before, after) == ()
        assert why_not_alter(before.schema, after.schema) is None
    assert changes_of(before, replace(before, schema=before.schema.with_options(language="german")))


def lacking(wanted, **capabilities):
    return list(what_server_lacks(wanted, server(capabilities=capabilities)))


def test_json_needs_its_module():
    wanted = schema("products", storage_type="json")
    assert lacking(wanted) == []
    assert lacking(wanted, has_json=False) == [
        "index products is on JSON, but this server has no RedisJSON module"
    ]
    assert lacking(schema(), has_json=False) == []


def test_a_vector_type_needs_a_server_that_knows_it():
    wanted = schema("products", vector("INT8"), COLOR)
    assert lacking(wanted, lacks=frozenset({"INT8"})) == [
        "field embedding of index products: INT8 needs Redis Search 8.0 or newer, this server has 2.10.5"
    ]
    assert lacking(wanted, lacks=frozenset({"UINT8"})) == []
    assert lacking(schema("products", vector("FLOAT16"))) == []


def test_an_index_that_would_end_the_server_is_refused():
    wanted = schema("products", TextField(name="title"), max_text_fields=True, no_fields=True)
    assert "crashes" in lacking(wanted)[0]
    assert lacking(wanted, search_version=(8, 0, 0)) == []
    assert lacking(schema("products", COLOR, max_text_fields=True, no_fields=True)) == []
    assert lacking(schema("products", TextField(name="title"), max_text_fields=True)) == []


def test_a_field_that_ft_create_would_take_for_an_option_is_refused():
    assert lacking(schema("products", COLOR, TagField(name="UNF"))) == []  # it can come first
    [reason] = lacking(schema("products", TagField(name="SORTABLE"), TagField(name="UNF")))
    assert "as an option of the field before it" in reason


NOTHING = Rewrite("hash")


def test_documents_do_not_get_other_dimensions_or_another_storage_type():
    [reason] = what_documents_forbid(
        schema("products", vector()), schema("products", vector(dims=8)), NOTHING
    )
    assert "changes from 4 to 8 dimensions" in reason
    [reason] = what_documents_forbid(schema("products"), schema("products", storage_type="json"), NOTHING)
    assert "changes its storage type from hash to json" in reason
    assert not [
        *what_documents_forbid(schema("products", vector()), schema("products", vector("INT8")), NOTHING)
    ]


def test_vectors_that_are_truncated_may_have_fewer_dimensions():
    before, after = schema("products", vector(dims=8)), schema("products", vector())
    [reason] = what_documents_forbid(before, after, NOTHING)
    assert "index.truncate keeps the first 4 numbers" in reason
    cut = Rewrite("hash", recodings_of(before, after, (), {}, {"embedding": True}))
    assert [(each.dims, each.dims_after, each.renormalize) for each in cut.recodings] == [(8, 4, True)]
    assert not [*what_documents_forbid(before, after, cut)]
    back = Rewrite("hash", recodings_of(after, before, (), {}, is_way_back=True))
    assert back.recodings == tuple(each.reversed() for each in cut.recodings)
    assert recodings_of(after, before, (), {}) == ()


def test_a_renamed_vector_is_compared_with_what_it_was():
    before, after = schema("products", vector()), schema("products", vector(dims=8, name="image"))
    renamed = Rewrite("hash", renames=(PathRename("embedding", "image"),))
    assert not [*what_documents_forbid(before, after, NOTHING)]  # another field, whose documents may have it
    [reason] = what_documents_forbid(before, after, renamed)
    assert "field image of index products changes from 4 to 8 dimensions" in reason


def test_two_fields_do_not_read_the_same_bytes_differently():
    both = (vector(), vector("FLOAT16", name="other", path="embedding"))
    [reason] = what_documents_forbid(schema("products", vector()), schema("products", *both), NOTHING)
    assert "fields embedding and other of index products read the same bytes" in reason
    json = [schema("products", *fields, storage_type="json") for fields in ((vector(path="$.e"),), both)]
    assert not [*what_documents_forbid(*json, NOTHING)]  # there each index makes bytes of numbers by itself
    same = (vector(), vector(name="other", path="embedding", distance_metric="L2"))
    assert not [*what_documents_forbid(schema("products", vector()), schema("products", *same), NOTHING)]


def forbidden(before, rewrite, *, exclusive=False, is_made=False, **capabilities):
    inventory = server(before, capabilities=capabilities)
    return list(what_forbids_rewriting(before, rewrite, inventory, exclusive=exclusive, is_made=is_made))


@pytest.mark.parametrize("change", [MOVED, RENAMED])
def test_values_and_keys_move_in_place_only_while_nobody_else_writes(change):
    before, _, rewrite = change
    [reason] = forbidden(before, rewrite)
    assert "needs --exclusive" in reason
    assert forbidden(before, rewrite, exclusive=True) == []
    assert forbidden(before, rewrite, is_made=True) == []  # nobody knows of it yet


def test_vectors_are_re_encoded_in_place_while_others_write_unless_a_filter_hides_documents():
    before, _, rewrite = FLOAT16
    assert forbidden(before, rewrite) == []
    filtered = replace(before, schema=before.schema.with_options(filter="@color=='red'"))
    assert "has a FILTER" in forbidden(filtered, rewrite)[0]
    assert forbidden(filtered, rewrite, exclusive=True) == []


def test_no_documents_are_rewritten_in_a_cluster_whoever_writes():
    assert SERVER.is_cluster is False
    for exclusive in (True, False):
        reason = forbidden(FLOAT16[0], FLOAT16[2], exclusive=exclusive, is_cluster=True)[0]
        assert "several slots of a cluster" in reason


@pytest.mark.parametrize(("old", "new"), [("FLOAT32", "INT8"), ("UINT8", "FLOAT32")])
def test_integers_get_no_path_of_their_own(old, new):
    integers = old if new == "FLOAT32" else new
    before = index("products", vector(old))
    after = index("products", vector(new).altered(path="other"))
    rewrite = Rewrite("hash", (replace(recoding(new, old), new_path="other"),))
    assert why_not("shadow_field", before, after, rewrite) == (
        "strategy shadow_field can't change index products: "
        f"path= is for floats, and {integers} is none: leave path= out"
    )


def test_documents_change_their_type_in_place_where_they_keep_their_keys_and_nobody_else_writes():
    storage = (index("docs", COLOR), index("docs", COLOR, storage_type="json"))
    in_place = Rewrite("hash", storage=StorageChange("json"))
    moved_too = replace(in_place, prefixes=(PrefixChange("p:", "j:"),))
    assert chosen(*storage, in_place, exclusive=True)[0] == "rebuild"
    assert not why_not("rebuild", *storage, in_place)
    assert "keep their keys" in why_not("rebuild", *storage, moved_too, exclusive=True)
    inventory = server()
    [reason] = what_forbids_rewriting(storage[0], in_place, inventory, exclusive=False, is_made=False)
    assert "with --exclusive alone" in reason
    assert not [*what_forbids_rewriting(storage[0], in_place, inventory, exclusive=True, is_made=False)]
