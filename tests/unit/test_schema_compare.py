"""Canonical forms, what the server can tell of them, and differences in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_strategies import schemas

from redismigrate.schema import (
    GeoField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)
from redismigrate.schema.compare import Difference, canonical, diff, observable

TITLE = TextField(name="title")
FLAT = {"name": "v", "algorithm": "FLAT", "dims": 4}
HNSW = {"name": "v", "algorithm": "HNSW", "dims": 4}
SVS = {"name": "v", "algorithm": "SVS-VAMANA", "dims": 4}


def index(*fields, **options):
    return IndexSchema(name="i", fields=fields or (TITLE,), **options)


def phrases(before, after):
    return [str(difference) for difference in diff(before, after)]


# Schemas that make the same index


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (index(prefixes=("b", "a", "b")), index(prefixes=("a", "b"))),
        (index(prefixes=("",)), index()),
        (index(prefixes=("a", "")), index()),
        (index(stopwords=("The", "a", "the")), index(stopwords=("a", "the"))),
        (index(no_offsets=True), index(no_offsets=True, no_highlight=True)),
        (index(TITLE, TagField(name="kind")), index(TagField(name="kind"), TITLE)),
        (index(TextField(name="t", path="t")), index(TextField(name="t"))),
        (
            index(TextField(name="t", path="$.t"), storage_type="json"),
            index(TextField(name="t"), storage_type="json"),
        ),
        (index(TagField(name="t", separator=",")), index(TagField(name="t"))),
        (
            index(NumericField(name="n", sortable=True, unf=True)),
            index(NumericField(name="n", sortable=True)),
        ),
        (
            index(TagField(name="t", case_sensitive=True, sortable=True, unf=True)),
            index(TagField(name="t", case_sensitive=True, sortable=True)),
        ),
        (
            index(GeoField(name="g", sortable=True, unf=True), storage_type="json"),
            index(GeoField(name="g", sortable=True), storage_type="json"),
        ),
        (index(VectorField(**FLAT, block_size=1024)), index(VectorField(**FLAT))),
        (
            index(VectorField(**HNSW, m=16, ef_construction=200, ef_runtime=10, epsilon=0.01)),
            index(VectorField(**HNSW)),
        ),
        (index(VectorField(**HNSW, epsilon=0)), index(VectorField(**HNSW))),
        (
            index(
                VectorField(
                    **SVS,
                    graph_max_degree=32,
                    construction_window_size=200,
                    search_window_size=10,
                    epsilon=0.01,
                )
            ),
            index(VectorField(**SVS)),
        ),
        (
            index(VectorField(**SVS, compression="LeanVec4x8", training_threshold=10240, reduce=2)),
            index(VectorField(**SVS, compression="LeanVec4x8")),
        ),
    ],
)
def test_schemas_that_make_the_same_index_have_one_canonical_form(one, other):
    assert canonical(one) == canonical(other)
    assert diff(one, other) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (index(stopwords=()), index()),
        (index(prefixes=("*",)), index()),
        (index(no_highlight=True), index(no_offsets=True)),
        (index(TextField(name="t", sortable=True, unf=True)), index(TextField(name="t", sortable=True))),
        (
            index(TagField(name="t", separator=","), storage_type="json"),
            index(TagField(name="t"), storage_type="json"),
        ),
        (index(VectorField(**HNSW, initial_cap=1)), index(VectorField(**HNSW))),
        (index(skip_initial_scan=True), index()),
        (index(temporary_seconds=60), index()),
        (index(key_separator="_"), index()),
    ],
)
def test_schemas_that_make_different_indexes_differ(one, other):
    assert canonical(one) != canonical(other)
    assert diff(one, other) != ()


def test_more_than_32_text_fields_imply_maxtextfields():
    fields = [TextField(name=f"t{number}") for number in range(33)]

    assert canonical(index(*fields)).max_text_fields
    assert not canonical(index(*fields[:32])).max_text_fields


@given(schemas())
def test_a_canonical_form_is_its_own(schema):
    assert canonical(canonical(schema)) == canonical(schema)


@given(schemas(), st.booleans())
def test_an_observable_form_is_its_own(schema, has_vector_details):
    once = observable(schema, has_vector_details=has_vector_details)

    assert observable(once, has_vector_details=has_vector_details) == once


@given(schemas(), st.randoms(use_true_random=False))
def test_order_does_not_count(schema, random):
    fields, prefixes = list(schema.fields), list(schema.prefixes)
    random.shuffle(fields)
    random.shuffle(prefixes)

    assert diff(schema, schema.with_fields(tuple(fields)).with_options(prefixes=prefixes)) == ()


# What the server does not tell


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        (index(TextField(name="t")), index(TextField(name="t", phonetic_matcher="dm:en"))),
        (index(VectorField(**HNSW)), index(VectorField(**HNSW, initial_cap=100))),
        (index(VectorField(**FLAT, block_size=426)), index(VectorField(**FLAT))),
        (index(VectorField(**FLAT)), index(VectorField(**FLAT, block_size=2048))),
        (
            index(VectorField(**SVS, compression="LVQ8")),
            index(VectorField(**SVS, compression="LeanVec4x8", reduce=2)),
        ),
        (index(), index(skip_initial_scan=True)),
        (index(), index(key_separator="_")),
    ],
)
def test_what_the_server_does_not_tell_is_not_observable(told, asked):
    assert diff(told, asked) != ()
    assert observable(told) == observable(asked)


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        (index(VectorField(**HNSW)), index(VectorField(**HNSW, ef_runtime=50))),
        (index(VectorField(**HNSW)), index(VectorField(**HNSW, epsilon=0.5))),
        (index(VectorField(**SVS)), index(VectorField(**SVS, search_window_size=50))),
        (index(), index(temporary_seconds=60)),
    ],
)
def test_what_ft_debug_tells_is_observable_only_where_it_answered(told, asked):
    assert observable(told) != observable(asked)
    assert observable(told, has_vector_details=False) == observable(asked, has_vector_details=False)


def test_that_a_vector_is_compressed_is_observable():
    assert observable(index(VectorField(**SVS, compression="LVQ8"))) != observable(index(VectorField(**SVS)))


# Differences


def test_every_difference_is_told_options_first_then_fields_by_name():
    before = index(TITLE, TagField(name="kind"), NumericField(name="price"), prefixes=("a:",), stopwords=())
    after = index(
        TextField(name="title", sortable=True, weight=2),
        NumericField(name="price"),
        VectorField(**HNSW),
        prefixes=("b:", "c:"),
        language="french",
        no_freqs=True,
        temporary_seconds=60,
    )

    assert phrases(before, after) == [
        "option prefixes changes from 'a:' to 'b:', 'c:'",
        "option language changes from 'english' to 'french'",
        "option stopwords changes from none to unset",
        "option no_freqs changes from off to on",
        "option temporary_seconds changes from unset to 60",
        "tag field 'kind' is dropped",
        "field 'title': sortable changes from off to on",
        "field 'title': weight changes from 1.0 to 2.0",
        "vector field 'v' is added",
    ]


def test_a_difference_holds_what_it_is_about():
    price = NumericField(name="price", path="price")

    assert diff(index(), index(TITLE, price)) == (Difference("field_added", "price", None, None, price),)
    assert diff(index(TITLE, price), index()) == (Difference("field_dropped", "price", None, price, None),)
    assert diff(index(), index(no_freqs=True)) == (
        Difference("index_option", None, "no_freqs", before=False, after=True),
    )
    assert diff(index(), index(TextField(name="title", weight=2))) == (
        Difference("field_changed", "title", "weight", 1.0, 2.0),
    )


def test_a_changed_type_is_one_difference():
    assert phrases(index(TextField(name="t", weight=2)), index(TagField(name="t", separator=";"))) == [
        "field 't': type changes from 'text' to 'tag'"
    ]


def test_parameters_that_go_with_their_algorithm_are_no_differences_of_their_own():
    before, after = index(VectorField(**HNSW, m=32)), index(VectorField(**FLAT))

    assert phrases(before, after) == [
        "field 'v': algorithm changes from 'HNSW' to 'FLAT'",
        "field 'v': block_size changes from unset to 1024",
    ]


def test_names_of_indexes_are_not_compared():
    assert diff(index(), index().renamed("j")) == ()


@given(schemas(), schemas())
def test_there_are_no_differences_exactly_if_the_canonical_forms_are_equal(one, other):
    assert (diff(one, other) == ()) == (canonical(one) == canonical(other.renamed(one.name)))


@given(schemas())
def test_a_schema_does_not_differ_from_itself(schema):
    assert diff(schema, schema) == ()
