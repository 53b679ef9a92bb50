"""Which other indexes are harmed when the documents of one are rewritten, and what they are told to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.planning.overlap import overlap_problems
from redismigrate.schema import IndexSchema, NumericField, TagField, TextField, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.moves import PathRename, PrefixChange


def vector(datatype="FLOAT32", dims=4, name="embedding", path=None):
    return VectorField(name=name, path=path, algorithm="FLAT", dims=dims, datatype=datatype)


def schema(name="products", *fields, prefixes=("p:",), **options):
    return IndexSchema(name=name, prefixes=prefixes, fields=fields or (TagField(name="tag"),), **options)


def definition(*fields, prefixes=("p:",), **options):
    return IndexDefinition.plain(schema("products", *fields, prefixes=prefixes, **options))


def recoding(after="FLOAT16", dims=4):
    return Recoding("embedding", dims, "COSINE", "FLOAT32", after)


def problems_of_recoding(other, after="FLOAT16", changed_too=None):
    return overlap_problems(
        definition(vector()),
        definition(vector(after)),
        Rewrite("hash", recodings=(recoding(after),)),
        {other.name: other},
        changed_too or {},
    )


def problems_of_rename(other, old="desc", new="description", storage_type="hash", field_type=TextField):
    own = definition(field_type(name="text", path=old), storage_type=storage_type)
    after = definition(field_type(name="text", path=new), storage_type=storage_type)
    rewrite = Rewrite(storage_type, renames=(PathRename(old, new),))
    return overlap_problems(own, after, rewrite, {other.name: other}, {})


def problems_of_prefixes(prefixes, old="p:", new="q:"):
    own, after = definition(prefixes=(old,)), definition(prefixes=(new,))
    rewrite = Rewrite("hash", prefixes=(PrefixChange(old, new),))
    return overlap_problems(own, after, rewrite, {"other": schema("other", prefixes=prefixes)}, {})


def test_an_index_that_reads_the_old_vectors_would_lose_its_documents():
    [reason] = problems_of_recoding(schema("other", vector()))
    assert reason == (
        "index other reads field embedding of the same keys as 4 x FLOAT32: after the change its "
        "documents would leave it; change both in one revision"
    )


def test_the_path_counts_and_not_what_the_index_calls_it():
    assert problems_of_recoding(schema("other", vector(name="e", path="embedding")))
    assert not problems_of_recoding(schema("other", vector(path="another")))


def test_vectors_of_another_type_but_the_same_length_would_be_taken_for_its_own():
    [reason] = problems_of_recoding(schema("other", vector("BFLOAT16")))
    assert reason == (
        "index other reads field embedding of the same keys as 4 x BFLOAT16: after the change it would "
        "take vectors of 4 x FLOAT16, which are as long, for its own and find wrong neighbours; change "
        "both in one revision"
    )


def test_fewer_dimensions_of_a_wider_type_are_as_long_too():
    assert "for its own" in problems_of_recoding(schema("other", vector("FLOAT32", dims=2)))[0]


def test_an_index_that_reads_the_new_vectors_already_is_not_harmed():
    assert problems_of_recoding(schema("other", vector("FLOAT16"))) == []


def test_an_index_that_can_read_neither_the_old_nor_the_new_vectors_is_not_harmed():
    assert problems_of_recoding(schema("other", vector("FLOAT64"))) == []


def test_an_index_of_other_fields_is_not_harmed_by_re_encoding():
    assert problems_of_recoding(schema("other", TextField(name="title"))) == []


@pytest.mark.parametrize("prefixes", [(), ("",), ("p",), ("p:",), ("p:x:",), ("q:", "p:1")])
def test_prefixes_overlap_where_one_begins_with_the_other(prefixes):
    assert problems_of_recoding(schema("other", vector(), prefixes=prefixes))


@pytest.mark.parametrize("prefixes", [("q:",), ("P:",), ("pp:",)])
def test_prefixes_that_differ_share_no_keys(prefixes):
    assert problems_of_recoding(schema("other", vector(), prefixes=prefixes)) == []


def test_prefixes_are_compared_as_bytes():
    half = b"\xc3".decode("utf-8", "surrogateescape")
    own = definition(vector(), prefixes=("é",))
    rewrite = Rewrite("hash", recodings=(recoding(),))
    others = {"other": schema("other", vector(), prefixes=(half,))}
    assert overlap_problems(own, own, rewrite, others, {})


def test_an_index_without_prefixes_shares_keys_with_every_other():
    own = definition(vector(), prefixes=())
    rewrite = Rewrite("hash", recodings=(recoding(),))
    assert overlap_problems(own, own, rewrite, {"other": schema("other", vector(), prefixes=("x",))}, {})


def test_an_index_of_the_other_storage_type_has_other_documents():
    assert problems_of_recoding(schema("other", vector(path="embedding"), storage_type="json")) == []


def test_the_index_itself_is_not_another_one_under_its_old_or_its_new_name():
    own = IndexDefinition(schema=schema("products", vector()), physical="products__1")
    after = IndexDefinition(schema=schema("products", vector("FLOAT16")), physical="products__2")
    rewrite = Rewrite("hash", recodings=(recoding(),))
    others = {"products__1": own.schema, "products__2": own.schema}
    assert overlap_problems(own, after, rewrite, others, {}) == []


def test_an_index_that_the_same_revision_changes_in_the_same_way_is_not_harmed():
    changed = {"other": schema("other", vector("FLOAT16"))}
    assert problems_of_recoding(schema("other", vector()), changed_too=changed) == []


def test_an_index_that_the_same_revision_changes_in_another_way_is_harmed():
    changed = {"other": schema("other", vector(), TagField(name="tag"))}
    assert problems_of_recoding(schema("other", vector()), changed_too=changed)


def test_an_index_that_the_same_revision_drops_is_not_harmed():
    assert problems_of_recoding(schema("other", vector()), changed_too={"other": None}) == []


def test_an_index_that_the_same_revision_creates_is_harmed():
    created = {"created": schema("created", vector())}
    assert "index created" in problems_of_recoding(schema("other"), changed_too=created)[0]


def test_reasons_come_in_the_order_of_names():
    others = {name: schema(name, vector()) for name in ("c", "a", "b")}
    own = definition(vector())
    found = overlap_problems(own, own, Rewrite("hash", recodings=(recoding(),)), others, {})
    assert [reason.split()[1] for reason in found] == ["a", "b", "c"]


def test_an_index_loses_a_field_that_is_renamed():
    [reason] = problems_of_rename(schema("other", TextField(name="body", path="desc")))
    assert reason == (
        "index other reads desc of the same keys: after the rename to description it would lose it; "
        "change both in one revision"
    )


@pytest.mark.parametrize("option", ["score_field", "language_field", "payload_field"])
def test_an_index_loses_what_an_option_reads(option):
    assert problems_of_rename(schema("other", **{option: "desc"}))


@pytest.mark.parametrize("expression", ["exists(@desc)", "@desc=='x'", "!@desc"])
def test_an_index_loses_what_its_filter_reads(expression):
    assert problems_of_rename(schema("other", filter=expression))


def test_a_filter_that_reads_an_attribute_of_that_name_reads_its_path():
    fields = (TextField(name="desc", path="elsewhere"),)
    assert problems_of_rename(schema("other", *fields, filter="exists(@desc)")) == []
    assert problems_of_rename(schema("other", filter="exists(@described)")) == []


def test_an_index_that_reads_other_fields_is_not_harmed_by_a_rename():
    assert problems_of_rename(schema("other", TextField(name="desc", path="title"))) == []


@pytest.mark.parametrize("path", ["$.a", "$['a']", "$.a.b", "$.a[*]", "$.*", "$..b"])
def test_a_renamed_member_of_json_takes_all_within_it_along(path):
    other = schema("other", TagField(name="t", path=path), storage_type="json")
    assert problems_of_rename(other, "$.a", "$.z", "json", TagField)


def test_a_renamed_member_of_json_leaves_those_beside_it():
    other = schema("other", TagField(name="t", path="$.ab"), storage_type="json")
    assert problems_of_rename(other, "$.a", "$.z", "json", TagField) == []


def test_an_index_that_reads_the_new_name_as_another_type_may_lose_documents():
    [reason] = problems_of_rename(schema("other", NumericField(name="description")))
    assert reason == (
        "index other reads description of the same keys as another type than desc has: after the rename "
        "documents may leave it; change both in one revision"
    )


def test_an_index_that_reads_the_new_name_as_the_same_type_is_not_harmed():
    assert problems_of_rename(schema("other", TextField(name="description"))) == []


def test_an_index_loses_documents_that_move_out_of_its_prefixes():
    [reason] = problems_of_prefixes(("p:",))
    assert reason == (
        "index other covers keys p:*: it would lose the documents that move to q:*; change that of other in"
        " the same revision"
    )


def test_an_index_gets_documents_that_move_into_its_prefixes():
    [reason] = problems_of_prefixes(("q:",))
    assert reason == (
        "index other covers keys q:*: it would get the documents that move there from p:*; choose "
        "another prefix, or change that of other in the same revision"
    )


@pytest.mark.parametrize("prefixes", [(), ("",), ("p:", "q:"), ("r:",), ("p:x", "q:x")])
def test_an_index_that_covers_both_or_neither_is_not_harmed_by_a_move(prefixes):
    assert problems_of_prefixes(prefixes) == []


def test_an_index_of_some_of_the_moved_keys_is_harmed():
    assert len(problems_of_prefixes(("p:x", "q:y"))) == 2
    assert "lose" in problems_of_prefixes(("p:x",))[0]
    assert "get" in problems_of_prefixes(("q:x",))[0]


def test_a_prefix_that_grows_moves_documents_nowhere_else():
    assert problems_of_prefixes(("shop:",), old="shop:", new="shop:v2:") == []


short = st.text("ab", max_size=4)


@given(prefixes=st.lists(short, min_size=1, max_size=3), old=short, new=short, rest=short)
def test_a_key_changes_an_index_only_where_a_reason_is_given(prefixes, old, new, rest):
    was, will = (old + rest).startswith(tuple(prefixes)), (new + rest).startswith(tuple(prefixes))
    found = problems_of_prefixes(tuple(prefixes), old, new)
    if was != will:
        assert any(("would lose" if was else "would get") in reason for reason in found)
