"""FT.CREATE and FT.ALTER commands, word by word."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from schema_strategies import schemas

from redismigrate.errors import SchemaError
from redismigrate.schema import (
    GeoField,
    GeoShapeField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)
from redismigrate.schema.create import alter_arguments, create_arguments, misread_field

TITLE = TextField(name="title")


def command_of(field, storage_type="hash"):
    """What stands behind SCHEMA."""
    arguments = create_arguments(IndexSchema(name="i", storage_type=storage_type, fields=(field,)))
    return b" ".join(arguments[arguments.index(b"SCHEMA") + 1 :]).decode()


def words_of(**options):
    """What stands before SCHEMA."""
    arguments = create_arguments(IndexSchema(name="i", fields=(TITLE,), **options))
    return arguments[4 : arguments.index(b"SCHEMA")]


def test_defaults_are_left_out():
    schema = IndexSchema(name="i", fields=(TITLE, TagField(name="kind")))

    assert create_arguments(schema) == b"FT.CREATE i ON HASH SCHEMA title TEXT kind TAG".split()


def test_every_option_has_its_words():
    words = words_of(
        prefixes=("b:", "a:"),
        filter="@title == 'x'",
        language="French",
        language_field="lang",
        score=0.1,
        score_field="rank",
        payload_field="payload",
        stopwords=("the", "a"),
        max_text_fields=True,
        no_offsets=True,
        no_highlight=True,
        no_fields=True,
        no_freqs=True,
        index_all=True,
        temporary_seconds=60,
        skip_initial_scan=True,
    )

    assert words == [
        *(b"PREFIX", b"2", b"b:", b"a:"),
        *(b"FILTER", b"@title == 'x'"),
        *(b"LANGUAGE", b"french", b"LANGUAGE_FIELD", b"lang"),
        *(b"SCORE", b"0.1", b"SCORE_FIELD", b"rank"),
        *(b"PAYLOAD_FIELD", b"payload"),
        *(b"INDEXALL", b"ENABLE"),
        *(b"TEMPORARY", b"60"),
        *(b"STOPWORDS", b"2", b"the", b"a"),
        *(b"MAXTEXTFIELDS", b"NOOFFSETS", b"NOHL", b"NOFIELDS", b"NOFREQS", b"SKIPINITIALSCAN"),
    ]


def test_no_stopwords_are_a_list_of_none():
    assert words_of(stopwords=()) == [b"STOPWORDS", b"0"]


def test_text_that_is_no_utf8_is_sent_as_it_was():
    schema = IndexSchema(name=b"\xff", prefixes=(b"\xfe",), fields=(TextField(name=b"\xfd", path=b"\xfc"),))

    assert create_arguments(schema) == [
        *(b"FT.CREATE", b"\xff", b"ON", b"HASH", b"PREFIX", b"1", b"\xfe"),
        *(b"SCHEMA", b"\xfc", b"AS", b"\xfd", b"TEXT"),
    ]


def test_name_prefixes_and_the_first_scan_can_be_set_for_one_command():
    schema = IndexSchema(name="i", prefixes=("a:",), fields=(TITLE,))

    command = create_arguments(schema, name="scratch", prefixes=("none:",), skip_initial_scan=True)

    assert command == b"FT.CREATE scratch ON HASH PREFIX 1 none: SKIPINITIALSCAN SCHEMA title TEXT".split()


def test_prefixes_and_the_first_scan_can_be_unset_for_one_command():
    schema = IndexSchema(name="i", prefixes=("a:",), skip_initial_scan=True, fields=(TITLE,))

    command = create_arguments(schema, prefixes=(), skip_initial_scan=False)

    assert command == b"FT.CREATE i ON HASH SCHEMA title TEXT".split()


def test_an_index_without_fields_is_refused():
    with pytest.raises(SchemaError, match="Index 'i' has no fields"):
        create_arguments(IndexSchema(name="i"))


@pytest.mark.parametrize(
    ("field", "command"),
    [
        (
            TextField(
                name="t",
                weight=0.1 + 0.2,
                no_stem=True,
                phonetic_matcher="dm:en",
                withsuffixtrie=True,
                index_empty=True,
                index_missing=True,
                sortable=True,
                unf=True,
            ),
            (
                "t TEXT WEIGHT 0.30000000000000004 PHONETIC dm:en NOSTEM WITHSUFFIXTRIE "
                "INDEXEMPTY INDEXMISSING SORTABLE UNF"
            ),
        ),
        (
            TagField(
                name="t",
                separator=";",
                case_sensitive=True,
                withsuffixtrie=True,
                index_empty=True,
                sortable=True,
                unf=True,
                no_index=True,
            ),
            "t TAG SEPARATOR ; CASESENSITIVE WITHSUFFIXTRIE INDEXEMPTY SORTABLE UNF NOINDEX",
        ),
        (NumericField(name="n", index_missing=True, sortable=True), "n NUMERIC INDEXMISSING SORTABLE"),
        (GeoField(name="g", no_index=True), "g GEO NOINDEX"),
        (GeoShapeField(name="g", sortable=True), "g GEOSHAPE SORTABLE"),
        (GeoShapeField(name="g", coord_system="FLAT", index_missing=True), "g GEOSHAPE FLAT INDEXMISSING"),
        (
            VectorField(
                name="v", algorithm="FLAT", dims=2, initial_cap=0, block_size=512, index_missing=True
            ),
            (
                "v VECTOR FLAT 10 TYPE FLOAT32 DIM 2 DISTANCE_METRIC COSINE INITIAL_CAP 0 "
                "BLOCK_SIZE 512 INDEXMISSING"
            ),
        ),
        (
            VectorField(
                name="v",
                algorithm="HNSW",
                dims=2,
                datatype="UINT8",
                distance_metric="L2",
                m=8,
                ef_construction=100,
                ef_runtime=20,
                epsilon=1e-7,
            ),
            (
                "v VECTOR HNSW 14 TYPE UINT8 DIM 2 DISTANCE_METRIC L2 M 8 EF_CONSTRUCTION 100 "
                "EF_RUNTIME 20 EPSILON 1e-07"
            ),
        ),
        (
            VectorField(
                name="v",
                algorithm="SVS-VAMANA",
                dims=8,
                datatype="FLOAT16",
                distance_metric="IP",
                graph_max_degree=40,
                construction_window_size=250,
                search_window_size=20,
                epsilon=0.01,
                compression="LeanVec4x8",
                reduce=4,
                training_threshold=2048,
            ),
            (
                "v VECTOR SVS-VAMANA 20 TYPE FLOAT16 DIM 8 DISTANCE_METRIC IP GRAPH_MAX_DEGREE 40 "
                "CONSTRUCTION_WINDOW_SIZE 250 SEARCH_WINDOW_SIZE 20 EPSILON 0.01 COMPRESSION LeanVec4x8 "
                "REDUCE 4 TRAINING_THRESHOLD 2048"
            ),
        ),
    ],
)
def test_every_attribute_has_its_words_in_the_order_of_the_parser(field, command):
    assert command_of(field) == command


def test_a_json_field_has_a_path_and_a_name():
    assert command_of(TextField(name="t"), "json") == "$.t AS t TEXT"
    assert command_of(TextField(name="t", path="$.a[*]"), "json") == "$.a[*] AS t TEXT"


def test_a_json_tag_has_a_separator_only_when_one_is_asked_for():
    assert command_of(TagField(name="t"), "json") == "$.t AS t TAG"
    assert command_of(TagField(name="t", separator=","), "json") == "$.t AS t TAG SEPARATOR ,"


def test_a_field_of_a_hash_has_a_name_only_where_it_differs():
    assert command_of(TextField(name="t", path="title")) == "title AS t TEXT"
    assert command_of(TextField(name="t", path="t")) == "t TEXT"


def test_a_field_called_like_an_option_comes_before_the_one_that_would_take_it():
    schema = IndexSchema(name="i", fields=(TITLE, NumericField(name="weight"), TagField(name="kind")))

    assert create_arguments(schema)[4:] == b"SCHEMA weight NUMERIC title TEXT kind TAG".split()


def test_a_field_called_like_an_option_stays_where_nothing_takes_it():
    schema = IndexSchema(name="i", fields=(NumericField(name="price"), NumericField(name="weight")))

    assert create_arguments(schema)[4:] == b"SCHEMA price NUMERIC weight NUMERIC".split()


def test_a_json_field_called_like_an_option_stays_for_its_path_is_no_option():
    schema = IndexSchema(name="i", storage_type="json", fields=(TITLE, NumericField(name="weight")))

    assert create_arguments(schema)[4:] == b"SCHEMA $.title AS title TEXT $.weight AS weight NUMERIC".split()


@given(
    st.lists(
        st.builds(
            lambda kind, name: kind(name=name),
            st.sampled_from([TextField, TagField, NumericField, GeoShapeField]),
            st.sampled_from(["weight", "separator", "flat", "IndexEmpty", "unf", "a", "b"]),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda field: field.name,
    )
)
def test_fields_are_sent_in_an_order_in_which_all_are_read_wherever_there_is_one(fields):
    def is_read(order):
        return all(
            field.name not in {"unf", *OPTIONS.get(before.type, ())} for before, field in pairwise(order)
        )

    assert (misread_field(fields, "hash") is None) == any(map(is_read, permutations(fields)))
    if misread_field(fields, "hash") is None:
        by_name = {field.name.encode(): field for field in fields}
        sent = [word for word in alter_arguments("i", fields, "hash")[4:] if word in by_name]
        assert sorted(sent) == sorted(by_name)
        assert is_read([by_name[name] for name in sent])


OPTIONS = {
    "text": {"weight", "IndexEmpty"},
    "tag": {"separator", "IndexEmpty"},
    "geoshape": {"flat"},
}


def test_fields_that_would_be_read_as_options_in_any_order_are_refused():
    schema = IndexSchema(name="i", fields=(NumericField(name="sortable"), NumericField(name="NoIndex")))

    with pytest.raises(
        SchemaError,
        match="would read the name of field 'NoIndex' as an option of the field before it",
    ):
        create_arguments(schema)


def test_fields_are_added_by_one_command():
    command = alter_arguments("i", (NumericField(name="price"), TagField(name="kind", path="k")), "hash")

    assert command == b"FT.ALTER i SCHEMA ADD price NUMERIC k AS kind TAG".split()


@given(schemas())
def test_the_count_of_vector_parameters_is_that_of_the_words_behind_it(schema):
    try:
        create_arguments(schema)
    except SchemaError:
        reject()  # Several fields are called like options.
    for field in schema.fields:
        if isinstance(field, VectorField):
            words = alter_arguments("i", (field,), schema.storage_type)
            words = words[words.index(b"VECTOR") + 2 :]
            assert len(words) == 1 + int(words[0]) + field.index_missing
