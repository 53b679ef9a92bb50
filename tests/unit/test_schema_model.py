"""Index schemas and fields: what they accept, how they say what is wrong, how they change."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
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
from redismigrate.schema.strict import readable_key

HNSW = VectorField(name="v", algorithm="HNSW", dims=8, m=32, ef_runtime=20, epsilon=0.1, initial_cap=100)
SVS = VectorField(
    name="v", algorithm="SVS-VAMANA", dims=8, compression="LeanVec4x8", reduce=4, training_threshold=2048
)
PRODUCTS = IndexSchema(name="products", fields=(TextField(name="title"), TagField(name="kind")))


def message_of(make):
    with pytest.raises(SchemaError) as caught:
        make()
    return caught.value.message


def hint_of(make):
    with pytest.raises(SchemaError) as caught:
        make()
    return caught.value.hint


# Values


@pytest.mark.parametrize("algorithm", ["hnsw", "HNSW", "Hnsw"])
def test_an_algorithm_is_taken_in_any_case(algorithm):
    assert VectorField(name="v", algorithm=algorithm, dims=2).algorithm == "HNSW"


def test_words_of_a_vector_field_are_taken_in_any_case():
    field = VectorField(
        name="v",
        algorithm="svs-vamana",
        dims=2,
        datatype="float16",
        distance_metric="ip",
        compression="LVQ4X8",
    )

    assert (field.algorithm, field.datatype, field.distance_metric, field.compression) == (
        "SVS-VAMANA",
        "FLOAT16",
        "IP",
        "LVQ4x8",
    )


def test_words_of_an_index_and_other_fields_are_taken_in_any_case():
    assert IndexSchema(name="i", storage_type="JSON", language="French").language == "french"
    assert TextField(name="t", phonetic_matcher="DM:EN").phonetic_matcher == "dm:en"
    assert GeoShapeField(name="g", coord_system="flat").coord_system == "FLAT"


def test_fields_are_given_as_mappings_too():
    schema = IndexSchema(name="i", fields=[{"type": "tag", "name": "kind", "separator": ";"}])

    assert schema.fields == (TagField(name="kind", separator=";"),)


def test_bytes_that_are_no_utf8_are_kept():
    assert TextField(name=b"a\xff").name == "a\udcff"


@given(schemas())
def test_a_schema_survives_json(schema):
    text = json.dumps(schema.model_dump(mode="json"))

    assert IndexSchema.model_validate(json.loads(text)) == schema


def test_values_are_frozen_and_hashable():
    with pytest.raises(Exception, match="frozen"):
        HNSW.dims = 3  # type: ignore[misc]
    assert len({HNSW, HNSW.altered()}) == 1


# Where a document has a field


def test_a_field_of_a_hash_is_called_as_the_attribute():
    assert TextField(name="title").path_in("hash") == "title"


def test_a_field_of_json_is_at_the_root():
    assert TextField(name="title").path_in("json") == "$.title"


@pytest.mark.parametrize("storage_type", ["hash", "json"])
def test_a_path_says_where_a_field_is(storage_type):
    assert TextField(name="title", path="$.a.b").path_in(storage_type) == "$.a.b"


# Mistakes


def test_a_typo_is_refused_with_the_near_match_and_the_valid_names():
    def make():
        TextField(name="title", wieght=2)  # type: ignore[call-arg]

    assert message_of(make) == "text field 'title': no attribute 'wieght' (did you mean 'weight'?)."
    assert hint_of(make) == (
        "Valid attributes: index_empty, index_missing, name, no_index, no_stem, path, phonetic_matcher, "
        "sortable, type, unf, weight, withsuffixtrie."
    )


def test_a_typo_in_a_nested_field_is_told_as_that_of_the_field():
    def make():
        IndexSchema.model_validate(
            {"name": "i", "fields": [{"type": "tag", "name": "kind", "sortabel": True}]}
        )

    assert message_of(make) == "tag field 'kind': no attribute 'sortabel' (did you mean 'sortable'?)."


def test_all_mistakes_are_told_at_once():
    assert message_of(lambda: IndexSchema(name="i", score=2, temporary_seconds=0)) == (
        "index 'i': score: input should be less than or equal to 1, got 2; "
        "temporary_seconds: input should be greater than or equal to 1, got 0."
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VectorField(name="v", algorithm="FLAT"), "vector field 'v': 'dims' is missing."),
        (
            lambda: VectorField(name="v", algorithm="FLAT", dims=0),
            "vector field 'v': dims: input should be greater than or equal to 1, got 0.",
        ),
        (
            lambda: VectorField(name="v", algorithm="FLAT", dims=2, m=16),
            "vector field 'v': m belongs to HNSW, not to FLAT.",
        ),
        (
            lambda: VectorField(name="v", algorithm="SVS-VAMANA", dims=2, initial_cap=16),
            "vector field 'v': initial_cap belongs to FLAT and HNSW, not to SVS-VAMANA.",
        ),
        (
            lambda: VectorField(name="v", algorithm="HNSW", dims=2, m=1),
            "vector field 'v': m: input should be greater than or equal to 2, got 1.",
        ),
        (
            lambda: VectorField(name="v", algorithm="HNSW", dims=2, m=32768),
            "vector field 'v': m: input should be less than or equal to 32767, got 32768.",
        ),
        (
            lambda: VectorField(name="v", algorithm="HNSW", dims=2, epsilon=float("nan")),
            "vector field 'v': epsilon: input should be a finite number, got nan.",
        ),
        (
            lambda: VectorField(name="v", algorithm="SVS-VAMANA", dims=2, datatype="INT8"),
            "vector field 'v': SVS-VAMANA takes FLOAT16 and FLOAT32 only, not INT8.",
        ),
        (
            lambda: VectorField(name="v", algorithm="SVS-VAMANA", dims=2, training_threshold=2048),
            "vector field 'v': training_threshold needs a compression.",
        ),
        (
            lambda: VectorField(name="v", algorithm="SVS-VAMANA", dims=2, compression="LVQ8", reduce=1),
            "vector field 'v': reduce needs a LeanVec compression.",
        ),
        (
            lambda: VectorField(name="v", algorithm="SVS-VAMANA", dims=2, compression="LeanVec4x8", reduce=2),
            "vector field 'v': reduce (2) should be less than dims (2).",
        ),
        (lambda: TextField(name="t", unf=True), "text field 't': unf needs sortable."),
        (
            lambda: GeoField(name="g", no_index=True, index_missing=True),
            "geo field 'g': no_index and index_missing exclude each other.",
        ),
        (
            lambda: TagField(name="t", separator="é"),
            "tag field 't': separator: should be one byte, got 'é'; leave it out for the default.",
        ),
        (lambda: TextField(name=""), "text field '': name: is empty."),
        (
            lambda: TextField(name=True),
            "text field True: name: should be text, got True (bool); quote it if it comes from YAML.",
        ),
        (
            lambda: TextField(name="a\0b"),
            "text field 'a\\x00b': name: 'a\\x00b' holds a NUL byte, where Redis Search would cut it.",
        ),
        (
            lambda: TextField(name="a\nb"),
            (
                "text field 'a\\nb': name: 'a\\nb' holds a line break, which FT.INFO does not tell from a "
                "backslash and a letter."
            ),
        ),
        (
            lambda: TextField(name="\ud800"),
            "text field '\\ud800': name: '\\ud800' can't be stored: it is neither UTF-8 nor escaped bytes.",
        ),
        (
            lambda: IndexSchema(name="i", fields=(TextField(name="a"), TagField(name="a"))),
            "index 'i': two fields are named 'a'.",
        ),
        (
            lambda: IndexSchema(name="i", prefixes="a:"),
            "index 'i': prefixes: input should be a valid tuple, got 'a:'.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(make, message):
    assert message_of(make) == message


def test_a_type_that_does_not_exist_is_refused():
    with pytest.raises(
        SchemaError, match="'texxt' found using 'type' does not match any of the expected tags"
    ):
        IndexSchema(name="i", fields=[{"type": "texxt", "name": "t"}])


# Altered fields


def test_an_altered_field_keeps_what_is_not_named():
    altered = HNSW.altered(datatype="float16", m=8)

    assert altered == VectorField(
        name="v",
        algorithm="HNSW",
        dims=8,
        datatype="FLOAT16",
        m=8,
        ef_runtime=20,
        epsilon=0.1,
        initial_cap=100,
    )


def test_parameters_of_the_old_algorithm_are_dropped():
    assert HNSW.altered(algorithm="flat") == VectorField(name="v", algorithm="FLAT", dims=8, initial_cap=100)


def test_parameters_that_both_algorithms_have_are_kept():
    altered = HNSW.altered(algorithm="svs-vamana")

    assert altered == VectorField(name="v", algorithm="SVS-VAMANA", dims=8, epsilon=0.1)


def test_a_parameter_of_the_old_algorithm_that_is_named_is_refused():
    assert message_of(lambda: HNSW.altered(algorithm="FLAT", m=8)) == (
        "vector field 'v': m belongs to HNSW, not to FLAT."
    )


def test_a_parameter_of_the_old_algorithm_may_be_taken_back():
    assert HNSW.altered(algorithm="FLAT", m=None).algorithm == "FLAT"


def test_none_takes_an_attribute_back_to_its_default():
    assert TextField(name="t", weight=2, phonetic_matcher="dm:en").altered(
        weight=None, phonetic_matcher=None
    ) == TextField(name="t")


def test_parameters_of_a_compression_go_with_it():
    assert SVS.altered(compression=None) == VectorField(name="v", algorithm="SVS-VAMANA", dims=8)
    assert SVS.altered(compression="LVQ8") == VectorField(
        name="v", algorithm="SVS-VAMANA", dims=8, compression="LVQ8", training_threshold=2048
    )


def test_a_field_that_is_not_sortable_any_more_has_no_unf():
    assert TagField(name="t", sortable=True, unf=True).altered(sortable=False) == TagField(name="t")


def test_an_unknown_attribute_is_refused_with_the_near_match_and_the_valid_names():
    def alter():
        NumericField(name="price").altered(sortabel=True)

    assert (
        message_of(alter) == "numeric field 'price' has no attribute 'sortabel' (did you mean 'sortable'?)."
    )
    assert hint_of(alter) == "Valid attributes: index_missing, name, no_index, path, sortable, unf."


def test_the_type_of_a_field_can_not_be_altered():
    def alter():
        NumericField(name="price").altered(type="tag")

    assert message_of(alter) == "numeric field 'price' can't change its type."
    assert hint_of(alter) == "Drop the field and add one of that name and the new type."


@given(schemas())
def test_a_field_altered_by_nothing_stays_the_same(schema):
    assert [field.altered() for field in schema.fields] == list(schema.fields)


# Changed schemas


def test_a_field_is_found_by_name():
    assert PRODUCTS.field("kind") == TagField(name="kind")


def test_a_missing_field_is_refused_with_the_near_match():
    assert message_of(lambda: PRODUCTS.field("titel")) == (
        "Index 'products' has no field 'titel' (did you mean 'title'?)."
    )
    assert hint_of(lambda: PRODUCTS.without_field("x")) == "Its fields: 'title', 'kind'."


def test_a_field_is_added_at_the_end():
    fields = PRODUCTS.with_field(NumericField(name="price")).fields

    assert [field.name for field in fields] == ["title", "kind", "price"]


def test_a_field_of_a_known_name_is_not_added():
    assert message_of(lambda: PRODUCTS.with_field(NumericField(name="kind"))) == (
        "Index 'products' already has a field 'kind'."
    )


def test_a_field_is_taken_out():
    assert PRODUCTS.without_field("title").fields == (TagField(name="kind"),)


def test_a_field_is_replaced_at_its_place():
    changed = PRODUCTS.replace_field("title", TextField(name="name"))

    assert [field.name for field in changed.fields] == ["name", "kind"]


def test_a_field_is_not_replaced_by_one_of_another_name_that_is_taken():
    assert message_of(lambda: PRODUCTS.replace_field("title", TextField(name="kind"))) == (
        "index 'products': two fields are named 'kind'."
    )


def test_options_are_changed_by_name():
    changed = PRODUCTS.with_options(language="French", prefixes=("a:",), stopwords=())

    assert (changed.language, changed.prefixes, changed.stopwords) == ("french", ("a:",), ())
    assert changed.fields == PRODUCTS.fields


def test_none_takes_an_option_back_to_its_default():
    french = PRODUCTS.with_options(language="french", filter="@a > 1", score=0.5)

    assert french.with_options(language=None, filter=None, score=None) == PRODUCTS


def test_an_unknown_option_is_refused_with_the_near_match_and_the_valid_names():
    def change():
        PRODUCTS.with_options(stopword=())

    assert message_of(change) == "Index 'products' has no option 'stopword' (did you mean 'stopwords'?)."
    assert hint_of(change).startswith("Valid options: filter, index_all, key_separator, language,")


@pytest.mark.parametrize("option", ["name", "fields"])
def test_name_and_fields_are_no_options(option):
    assert message_of(lambda: PRODUCTS.with_options(**{option: "x"})).startswith(
        f"Index 'products' has no option '{option}'"
    )


def test_an_index_is_renamed():
    assert PRODUCTS.renamed("articles") == IndexSchema(name="articles", fields=PRODUCTS.fields)


def test_line_breaks_of_a_filter_are_spaces():
    assert IndexSchema(name="i", filter="@a > 1\n  && @b > 2\n").filter == "@a > 1   && @b > 2"


# Cost


def test_models_are_imported_without_redis_and_yaml():
    loaded = "import sys, redismigrate.schema; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, check=True, text=True
    ).stdout

    assert not {"redis", "yaml", "numpy", "networkx", "difflib"} & set(modules.split())


def test_a_key_in_a_message_is_neither_nothing_nor_endless():
    assert readable_key(b"") == '""'
    assert readable_key(b"p:\n1") == "p:\\n1"
    assert readable_key(b"k" * 100_000) == "k" * 200 + "… (100,000 bytes)"
