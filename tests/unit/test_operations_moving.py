"""Renamed fields and prefixes: what they make of the index, what they move in documents, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from redismigrate.errors import SchemaError, ScriptError
from redismigrate.operations.block_moves import moves_of
from redismigrate.operations.changes import (
    AddField,
    AlterField,
    ChangePrefix,
    DropField,
    IndexChange,
    RenameField,
    SetOptions,
)
from redismigrate.operations.functions import collect_functions
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex
from redismigrate.operations.recorder import Operations
from redismigrate.operations.script_calls import record
from redismigrate.schema import IndexSchema, NumericField, TagField, TextField
from redismigrate.schema.compare import canonical
from redismigrate.schema.definition import Catalog
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import PathRename, PrefixChange

ARTICLES = IndexSchema(
    name="articles",
    prefixes=("a:", "b:"),
    fields=(TextField(name="desc"), TagField(name="brand", path="b"), NumericField(name="price")),
)
SPECS = IndexSchema(
    name="specs",
    storage_type="json",
    prefixes=("s:",),
    fields=(
        TextField(name="title"),
        TextField(name="desc", path="$.spec.desc"),
        TagField(name="brand", path="$.spec.b"),
        TagField(name="tags", path="$.tags[*]"),
        TagField(name="deep", path="$.many[*].deep"),
    ),
)


def field_and_move(schema, old, new, path=None):
    change = RenameField(old, new, path)
    return change.apply(schema).field(new).path, change.path_rename(schema)


# --- rename_field -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "path", "expected"),
    [
        ("desc", "description", None, (None, PathRename("desc", "description"))),
        ("brand", "maker", None, ("b", None)),
        ("brand", "maker", "m", ("m", PathRename("b", "m"))),
        ("brand", "maker", "maker", ("maker", PathRename("b", "maker"))),
        ("desc", "description", "desc", ("desc", None)),
        ("desc", "description", "d", ("d", PathRename("desc", "d"))),
        ("desc", "description", "description", (None, PathRename("desc", "description"))),
    ],
)
def test_a_field_of_a_hash_moves_with_its_own_name_or_to_the_path_that_is_said(old, new, path, expected):
    assert field_and_move(ARTICLES, old, new, path) == expected


@pytest.mark.parametrize(
    ("old", "new", "path", "expected"),
    [
        ("title", "name", None, (None, PathRename("$.title", "$.name"))),
        ("title", "the title", None, ('$["the title"]', PathRename("$.title", '$["the title"]'))),
        ("title", "a.b", None, ('$["a.b"]', PathRename("$.title", '$["a.b"]'))),
        ("desc", "text", None, ("$.spec.text", PathRename("$.spec.desc", "$.spec.text"))),
        ("desc", "text", "$.spec.t", ("$.spec.t", PathRename("$.spec.desc", "$.spec.t"))),
        ("desc", "text", "$.spec.desc", ("$.spec.desc", None)),
        ("desc", "text", '$["spec"].desc', ('$["spec"].desc', None)),
        ("brand", "maker", None, ("$.spec.b", None)),
        ("brand", "maker", "$.spec.maker", ("$.spec.maker", PathRename("$.spec.b", "$.spec.maker"))),
        ("tags", "labels", "$.tags[*]", ("$.tags[*]", None)),
    ],
)
def test_a_field_of_json_moves_with_its_last_name_or_to_the_path_that_is_said(old, new, path, expected):
    assert field_and_move(SPECS, old, new, path) == expected


def test_all_that_reads_the_renamed_value_goes_on_reading_it():
    schema = ARTICLES.with_field(TagField(name="exact", path="desc")).with_options(score_field="desc")
    after = RenameField("desc", "description").apply(schema)
    assert after.field("exact").path == "description"
    assert after.score_field == "description"

    schema = SPECS.with_field(TagField(name="words", path="$.spec.desc[*]"))
    schema = schema.with_options(language_field="$.spec.desc", payload_field="desc")
    after = RenameField("desc", "text").apply(schema)
    assert after.field("words").path == "$.spec.text[*]"
    assert (after.language_field, after.payload_field) == ("$.spec.text", "desc")


def test_a_field_that_is_renamed_in_the_index_alone_leaves_other_readers_of_its_path():
    schema = ARTICLES.with_options(score_field="b")
    assert RenameField("brand", "maker").apply(schema).score_field == "b"


def test_a_renamed_field_keeps_its_place_and_its_attributes():
    after = RenameField("price", "cost").apply(
        ARTICLES.replace_field("price", NumericField(name="price", sortable=True))
    )
    assert after.fields[2] == NumericField(name="cost", sortable=True)


@pytest.mark.parametrize(
    ("schema", "change", "says"),
    [
        (ARTICLES, RenameField("dsc", "x"), r"has no field 'dsc' \(did you mean 'desc'\?\)"),
        (ARTICLES, RenameField("desc", "desc"), "Field 'desc' of index 'articles' has that name already"),
        (ARTICLES, RenameField("desc", "price"), "Index 'articles' already has a field 'price'"),
        (ARTICLES, RenameField("desc", ""), "name: is empty"),
        (ARTICLES, RenameField("desc", "x", ""), "path: is empty"),
        (ARTICLES, RenameField("desc", "b"), "Field 'brand' reads b, so nothing can be renamed to b"),
        (ARTICLES, RenameField("desc", "x", "price"), "Field 'price' reads price, so nothing can be renamed"),
        (
            ARTICLES.with_options(score_field="rating"),
            RenameField("desc", "rating"),
            "Option score_field reads rating, so nothing can be renamed to rating",
        ),
        (
            SPECS.with_field(TagField(name="x", path="$.name[*]")),
            RenameField("title", "name"),
            r"Field 'x' reads \$\.name\[\*\], so nothing can be renamed to \$\.name",
        ),
        (
            SPECS.with_field(TagField(name="x", path="$..title")),
            RenameField("title", "name"),
            r"Field 'x' reads \$\.\.title, which may find \$\.title by its name",
        ),
        (
            SPECS.with_field(TagField(name="x", path="$.*.text")),
            RenameField("desc", "text"),
            r"reads \$\.\*\.text, which may find \$\.spec\.desc by its name",
        ),
        (SPECS, RenameField("tags", "labels"), r"by the path \$\.tags\[\*\]: only members along plain names"),
        (SPECS, RenameField("deep", "d"), r"With path='\$\.many\[\*\]\.deep' the field of the index is"),
        (
            SPECS,
            RenameField("title", "x", "$.a[0]"),
            r"by the path \$\.a\[0\]: only members along plain names",
        ),
        (SPECS, RenameField("title", "x", "name"), "by the path name: only members along plain names"),
        (
            SPECS,
            RenameField("desc", "x", "$.x"),
            r"would move from \$\.spec\.desc to \$\.x, into another obj",
        ),
        (SPECS, RenameField("title", "a\\b"), "can't be the name of a member of JSON documents"),
    ],
)
def test_a_rename_that_can_not_be_done_in_documents_is_refused(schema, change, says):
    with pytest.raises(SchemaError, match=says):
        change.apply(schema)


# --- change_prefix ------------------------------------------------------------------------------------------


def test_a_prefix_changes_in_its_place():
    assert ChangePrefix("a:", "c:").apply(ARTICLES).prefixes == ("c:", "b:")
    assert ChangePrefix("c:", "a:").apply(ChangePrefix("a:", "c:").apply(ARTICLES)) == ARTICLES


def test_a_prefix_may_become_a_longer_or_a_shorter_one():
    assert ChangePrefix("a:", "a:v2:").apply(ARTICLES).prefixes == ("a:v2:", "b:")
    assert ChangePrefix("a:", "a").apply(ARTICLES).prefixes == ("a", "b:")


@pytest.mark.parametrize(
    ("schema", "change", "says"),
    [
        (ARTICLES, ChangePrefix("a", "c:"), "no prefix 'a'.\nIts prefixes: 'a:', 'b:'."),
        (ARTICLES.with_options(prefixes=()), ChangePrefix("a:", "c:"), "prefixes: none, it takes every key"),
        (
            ARTICLES.with_options(prefixes=("",)),
            ChangePrefix("", "c:"),
            "with an empty one: that covers every",
        ),
        (ARTICLES, ChangePrefix("a:", ""), "with an empty one: that covers every key"),
        (ARTICLES, ChangePrefix("a:", "a:"), "Index 'articles' has the prefix 'a:' already"),
        (ARTICLES, ChangePrefix("a:", "b:"), "has the prefix 'b:', which shares keys with 'b:'"),
        (ARTICLES, ChangePrefix("a:", "b:x:"), "has the prefix 'b:', which shares keys with 'b:x:'"),
        (ARTICLES, ChangePrefix("a:", "b"), "has the prefix 'b:', which shares keys with 'b'"),
        (
            ARTICLES.with_options(prefixes=("a:", "a:x:")),
            ChangePrefix("a:x:", "c:"),
            "has the prefix 'a:', which shares keys with 'a:x:'",
        ),
        (ARTICLES, ChangePrefix("a:", "c\n"), "holds a line break"),
    ],
)
def test_a_prefix_that_would_take_other_keys_is_refused(schema, change, says):
    with pytest.raises(SchemaError, match=says):
        change.apply(schema)


# --- what a block moves -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([RenameField("desc", "x"), RenameField("x", "y")], [PathRename("desc", "y")]),
        ([RenameField("desc", "x"), RenameField("x", "desc")], []),
        ([RenameField("brand", "x")], []),
        ([AddField(TagField(name="n")), RenameField("n", "m")], []),
        ([RenameField("desc", "x"), DropField("x")], []),
        ([RenameField("desc", "x"), AlterField("x", {"path": "z"})], []),
        (
            [RenameField("desc", "x"), RenameField("price", "y")],
            [PathRename("desc", "x"), PathRename("price", "y")],
        ),
        # A field of another type over the same value.
        (
            [DropField("desc"), AddField(TagField(name="desc")), RenameField("desc", "x")],
            [PathRename("desc", "x")],
        ),
        (
            [RenameField("desc", "x"), DropField("x"), AddField(TagField(name="x"))],
            [PathRename("desc", "x")],
        ),
        # The option goes on reading what has moved.
        (
            [SetOptions({"score_field": "price"}), RenameField("price", "x"), DropField("x")],
            [PathRename("price", "x")],
        ),
        # A temporary name is free again.
        (
            [RenameField("desc", "t"), RenameField("t", "x"), RenameField("price", "t")],
            [PathRename("desc", "x"), PathRename("price", "t")],
        ),
    ],
)
def test_the_moves_of_a_block_are_net(changes, expected):
    renames, prefixes = moves_of(changes, ARTICLES)
    assert (list(renames), prefixes) == (expected, ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([ChangePrefix("a:", "c:"), ChangePrefix("c:", "d:")], [PrefixChange("a:", "d:")]),
        ([ChangePrefix("a:", "c:"), ChangePrefix("c:", "a:")], []),
        (
            [ChangePrefix("b:", "d:"), ChangePrefix("a:", "c:")],
            [PrefixChange("b:", "d:"), PrefixChange("a:", "c:")],
        ),
        ([SetOptions({"prefixes": ["n:"]}), ChangePrefix("n:", "m:")], []),
        ([SetOptions({"prefixes": ["a:x:"]}), ChangePrefix("a:x:", "c:")], [PrefixChange("a:x:", "c:")]),
        ([ChangePrefix("a:", "c:"), SetOptions({"prefixes": ["b:"]})], []),
        ([ChangePrefix("a:", "c:"), SetOptions({"prefixes": []})], [PrefixChange("a:", "c:")]),
    ],
)
def test_the_prefixes_of_a_block_change_net(changes, expected):
    renames, prefixes = moves_of(changes, ARTICLES)
    assert (renames, list(prefixes)) == ((), expected)


@pytest.mark.parametrize(
    "changes",
    [
        [RenameField("desc", "t"), RenameField("price", "desc"), RenameField("t", "price")],
        [RenameField("desc", "x"), RenameField("price", "desc")],
        [RenameField("desc", "x"), DropField("x"), RenameField("price", "x")],
        [ChangePrefix("a:", "t:"), ChangePrefix("b:", "a:"), ChangePrefix("t:", "b:")],
        [ChangePrefix("a:", "c:"), ChangePrefix("b:", "a:")],
        [ChangePrefix("a:", "c:"), ChangePrefix("b:", "a:b:")],
    ],
)
def test_moves_whose_order_matters_are_refused(changes):
    with pytest.raises(SchemaError, match=r"can't change .* at once\.\n.*do it in two revisions"):
        moves_of(changes, ARTICLES)


def test_a_member_and_its_object_are_not_renamed_at_once():
    schema = SPECS.with_field(TagField(name="spec"))
    with pytest.raises(SchemaError, match="do it in two revisions"):
        moves_of([RenameField("desc", "text"), RenameField("spec", "details")], schema)
    with pytest.raises(SchemaError, match="do it in two revisions"):
        moves_of([RenameField("spec", "details"), RenameField("desc", "text")], schema)


# --- blocks and scripts -------------------------------------------------------------------------------------


def changed(schema, *changes):
    return ChangeIndex(schema.name, changes).apply(CreateIndex(schema).apply(Catalog()))[schema.name].schema


SOLD = ARTICLES.with_options(filter=r"exists(@desc) && @kind == '@brand'")


@pytest.mark.parametrize(
    "changes",
    [
        (RenameField("desc", "x"), SetOptions({"filter": "exists(@x)"})),
        (SetOptions({"filter": "exists(@x)"}), RenameField("desc", "x")),
        (RenameField("desc", "x"), RenameField("x", "desc")),
        (RenameField("brand", "x"),),
        (ChangePrefix("a:", "c:"),),
    ],
)
def test_a_filter_that_still_fits_is_no_obstacle(changes):
    assert changed(SOLD, *changes).filter is not None


@pytest.mark.parametrize(
    ("schema", "changes", "says"),
    [
        (SOLD, (RenameField("desc", "x"),), "The filter of index 'articles' names @desc, which is another"),
        (SOLD, (RenameField("desc", "x"), SetOptions({"filter": "@desc == 'y'"})), "names @desc"),
        (SOLD, (RenameField("desc", "x", "desc"),), "names @desc"),
        (SOLD.with_options(filter="@x == 1"), (RenameField("desc", "y", "x"),), "names @x, which is another"),
        (SOLD.with_options(filter="@x == 1"), (RenameField("brand", "x"),), "names @x, which is another"),
        (SOLD.with_options(filter=r"exists(@a\-b)"), (RenameField("desc", "a-b"),), "names @a-b"),
        (
            SOLD.with_options(filter="startswith(@__key, 'a:')"),
            (ChangePrefix("a:", "c:"),),
            "names @__key, which is another value or none after these changes.\nIn the same block, before or",
        ),
    ],
)
def test_a_filter_that_would_lose_what_it_names_is_refused(schema, changes, says):
    with pytest.raises(SchemaError, match=says):
        changed(schema, *changes)


def test_a_script_records_renames_and_goes_back_without_a_server():
    def upgrade(op):
        with op.index("articles") as index:
            index.rename_field("desc", b"description")
            index.rename_field("brand", "maker", path="maker")
            index.change_prefix("a:", "c:")

    catalog = CreateIndex(ARTICLES).apply(Catalog())
    recorded = record(upgrade, catalog, __file__)

    assert recorded.recorded[0].changes == (
        RenameField("desc", "description"),
        RenameField("brand", "maker", "maker"),
        ChangePrefix("a:", "c:"),
    )
    (back,) = recorded.recorded[0].reverse(catalog)
    assert back.apply(recorded.catalog) == catalog


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda index: index.rename_field("desc", ""), "field '': is empty."),
        (lambda index: index.rename_field("desc", 5), r"field 5: should be text"),
        (lambda index: index.rename_field("desc", "x", path=""), "path= is empty."),
        (lambda index: index.change_prefix("a:", ""), "prefix '': is empty."),
        (lambda index: index.rename_field("desc", "price"), "already has a field 'price'"),
    ],
)
def test_a_mistake_is_reported_at_its_line(call, says):
    def upgrade(op):
        with op.index("articles") as index:
            call(index)

    with pytest.raises(ScriptError, match=rf"test_operations_moving\.py:\d+: .*{says}"):
        record(upgrade, CreateIndex(ARTICLES).apply(Catalog()), __file__)


def test_functions_are_found_although_the_renames_can_not_be_applied_any_more():
    def upgrade(op):
        with op.index("articles") as index:
            index.rename_field("gone", "x")
            index.change_prefix("gone:", "x:")
        op.run(print)

    assert collect_functions(upgrade, CreateIndex(ARTICLES).apply(Catalog()), __file__) == ((print, None),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (RenameField("desc", "text"), "rename field desc to text"),
        (RenameField("desc", "text", "$.t"), "rename field desc to text at $.t"),
        (ChangePrefix("a:", "c:"), "change prefix a: to c:"),
    ],
)
def test_a_change_says_what_it_does_and_is_the_same_after_it_was_stored(change, words):
    stored = TypeAdapter(IndexChange)

    assert str(change) == words
    assert stored.validate_json(stored.dump_json(change)) == change


# --- invariants ---------------------------------------------------------------------------------------------

few_names = st.sampled_from("abcde")
json_paths = st.sampled_from(["$.a", "$.b", "$.o.a", "$.o.b", "$.o", "$.a[*]", "$.o.a[*]", "$..a", "$.o.x y"])
few_prefixes = st.sampled_from(["p:", "q:", "r:", "p:x:", "q", "s:"])
few_filters = st.none() | few_names.map("exists(@{})".format) | st.just("startswith(@__key, 'p')")


def few_paths(storage_type):
    return st.none() | (few_names if storage_type == "hash" else json_paths)


def few_fields(storage_type):
    return st.builds(TagField, name=few_names, path=few_paths(storage_type))


@st.composite
def small_schemas(draw):
    """Schemas in which names, paths and prefixes meet each other all the time."""
    storage_type = draw(st.sampled_from(["hash", "json"]))
    return IndexSchema(
        name="i",
        storage_type=storage_type,
        prefixes=tuple(draw(st.lists(few_prefixes, max_size=3))),
        filter=draw(few_filters),
        score_field=draw(few_paths(storage_type)),
        fields=tuple(
            draw(st.lists(few_fields(storage_type), min_size=1, max_size=3, unique_by=lambda f: f.name))
        ),
    )


@st.composite
def blocks(draw, *, only_renames=False):
    """A schema and changes of it that are possible one after the other."""
    schema = before = draw(small_schemas())
    kinds = [
        st.builds(RenameField, few_names, few_names, st.none() | few_paths(schema.storage_type)),
        st.builds(ChangePrefix, few_prefixes, few_prefixes),
    ]
    if not only_renames:
        kinds += [
            few_fields(schema.storage_type).map(AddField),
            few_names.map(DropField),
            few_filters.map(lambda value: SetOptions({"filter": value})),
            few_paths(schema.storage_type).map(lambda value: SetOptions({"score_field": value})),
            st.lists(few_prefixes, max_size=2).map(lambda value: SetOptions({"prefixes": value})),
        ]
    changes = []
    for change in draw(st.lists(st.one_of(kinds), max_size=8)):
        try:
            schema = change.apply(schema)
        except SchemaError:
            continue
        changes.append(change)
    return before, tuple(changes)


def same_form(schema):
    """The canonical form with JSON paths in one spelling."""
    schema = canonical(schema)
    if schema.storage_type == "hash":
        return schema
    return schema.with_fields(
        tuple(field.altered(path=str(JsonPath.parse(field.path))) for field in schema.fields)
    )


@given(blocks())
def test_a_change_and_its_reverse_give_the_schema_again(block):
    schema, changes = block
    for change in changes:
        after = change.apply(schema)
        assert same_form(change.reverse(schema).apply(after)) == same_form(schema)
        schema = after


@given(blocks())
def test_a_block_that_is_accepted_goes_back_and_moves_everything_back(block):
    before, changes = block
    catalog = CreateIndex(before).apply(Catalog())
    change = ChangeIndex("i", changes)
    try:
        after = change.apply(catalog)
    except SchemaError:
        return

    (back,) = change.reverse(catalog)

    assert same_form(back.apply(after)["i"].schema) == same_form(before)
    there, again = moves_of(changes, before), moves_of(back.changes, after["i"].schema)
    assert [{(move.old, move.new) for move in moves} for moves in there] == [
        {(move.new, move.old) for move in moves} for moves in again
    ]


@given(blocks(only_renames=True))
def test_after_the_moves_every_field_reads_what_it_read_before(block):
    before, changes = block
    try:
        renames, _ = moves_of(changes, before)
    except SchemaError:
        return
    names = {field.name: field.name for field in before.fields}
    after = before
    for change in changes:
        after = change.apply(after)
        if isinstance(change, RenameField):
            names = {name: change.new if now == change.old else now for name, now in names.items()}

    for name, now in names.items():
        path = before.field(name).path_in(before.storage_type)
        for rename in renames:
            path = rename.follow(path, before.storage_type)
        read = after.field(now).path_in(before.storage_type)
        assert path == read or JsonPath.parse(path) == JsonPath.parse(read)


@given(blocks(only_renames=True))
def test_the_moves_of_a_block_are_the_same_in_any_order(block):
    before, changes = block
    try:
        renames, prefixes = moves_of(changes, before)
    except SchemaError:
        return
    paths = [path for rename in renames for path in (rename.old, rename.new)]
    assert len(set(paths)) == len(paths)
    beginnings = [prefix for change in prefixes for prefix in (change.old, change.new)]
    assert len(set(beginnings)) == len(beginnings)


@given(blocks())
def test_recording_a_block_accepts_what_applying_it_accepts(block):
    before, changes = block
    catalog = CreateIndex(before).apply(Catalog())
    try:
        ChangeIndex("i", changes).apply(catalog)
    except SchemaError:
        return
    op = Operations(catalog)
    with op.index("i") as index:
        for change in changes:
            if isinstance(change, RenameField):
                index.rename_field(change.old, change.new, change.path)
            elif isinstance(change, ChangePrefix):
                index.change_prefix(change.old, change.new)
            else:
                index._record(change)
    assert op.catalog["i"].schema.fields
