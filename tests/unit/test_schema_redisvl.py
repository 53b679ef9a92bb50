"""RedisVL's layout, read and written."""

from __future__ import annotations

import json
import logging

import pytest
import yaml
from hypothesis import given
from schema_strategies import schemas

from redismigrate.errors import SchemaError
from redismigrate.schema import (
    GeoShapeField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)
from redismigrate.schema.compare import canonical
from redismigrate.schema.redisvl import (
    field_from_redisvl,
    read_schema_yaml,
    schema_from_redisvl,
    schema_to_redisvl,
)

TITLE = {"name": "title", "type": "text"}
VECTOR = {"name": "v", "type": "vector", "attrs": {"dims": 4, "algorithm": "flat"}}


def layout(*fields, **index):
    return {"index": {"name": "i", **index}, "fields": list(fields) or [TITLE]}


def message_of(given):
    with pytest.raises(SchemaError) as caught:
        schema_from_redisvl(given)
    return caught.value.message


# Reading


def test_a_schema_reads_as_redisvl_would_make_it():
    schema = schema_from_redisvl(layout(TITLE, {"name": "kind", "type": "tag"}, VECTOR))

    assert schema == IndexSchema(
        name="i",
        prefixes=("rvl",),
        fields=(
            TextField(name="title"),
            TagField(name="kind", separator=","),
            VectorField(name="v", algorithm="FLAT", dims=4, datatype="FLOAT32", distance_metric="COSINE"),
        ),
    )


@pytest.mark.parametrize(
    ("prefix", "prefixes"),
    [("doc", ("doc",)), ("doc:", ("doc:",)), ("", ("",)), (["b", "a"], ("b", "a")), ([], ())],
)
def test_a_prefix_is_taken_as_it_is_without_the_separator(prefix, prefixes):
    assert schema_from_redisvl(layout(prefix=prefix, key_separator="_")).prefixes == prefixes


def test_a_json_tag_gets_redisvl_s_separator():
    schema = schema_from_redisvl(layout({"name": "t", "type": "tag"}, storage_type="json"))

    assert schema.fields == (TagField(name="t", separator=","),)


def test_an_empty_separator_is_none():
    field = {"name": "t", "type": "tag", "attrs": {"separator": ""}}

    assert schema_from_redisvl(layout(field, storage_type="json")).fields == (TagField(name="t"),)


def test_svs_vamana_gets_redisvl_s_parameters():
    field = field_from_redisvl({**VECTOR, "attrs": {"dims": 4, "algorithm": "svs-vamana"}})

    assert field == VectorField(
        name="v",
        algorithm="SVS-VAMANA",
        dims=4,
        graph_max_degree=40,
        construction_window_size=250,
        search_window_size=20,
        epsilon=0.01,
    )


def test_unf_without_sortable_is_ignored_as_redisvl_does():
    assert field_from_redisvl({**TITLE, "attrs": {"unf": True}}) == TextField(name="title")


def test_values_of_none_are_not_given():
    attrs = {"dims": 4, "algorithm": "flat", "initial_cap": None, "block_size": None}

    assert field_from_redisvl({**VECTOR, "attrs": attrs}) == VectorField(name="v", algorithm="FLAT", dims=4)


def test_a_json_path_on_a_hash_is_ignored_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, logger="redismigrate"):
        schema = schema_from_redisvl(layout({**TITLE, "path": "$.a.title"}))

    assert schema.fields == (TextField(name="title"),)
    assert caplog.messages == ["fields[0]: path $.a.title is ignored, a hash has no JSON paths"]


def test_a_path_of_a_hash_is_the_field_of_the_hash():
    schema = schema_from_redisvl(layout({**TITLE, "path": "title__v2"}))

    assert schema.fields == (TextField(name="title", path="title__v2"),)


def test_fields_are_given_by_name_too():
    assert schema_from_redisvl({"index": {"name": "i"}, "fields": {"title": TITLE}}).fields == (
        TextField(name="title"),
    )


def test_a_schema_object_is_read_by_its_to_dict():
    class TheirSchema:
        def to_dict(self):
            return layout(prefix="doc")

    assert schema_from_redisvl(TheirSchema()).prefixes == ("doc",)


def test_further_options_stand_under_index():
    options = {
        "filter": "@title != ''",
        "language": "french",
        "score": 0.5,
        "no_offsets": True,
        "temporary_seconds": 60,
        "stopwords": [],
    }
    schema = schema_from_redisvl(layout(**options))

    assert schema == IndexSchema(
        name="i",
        prefixes=("rvl",),
        fields=(TextField(name="title"),),
        **{**options, "stopwords": ()},
    )


def test_further_types_and_attributes_stand_among_theirs():
    fields = (
        {"name": "area", "type": "geoshape", "attrs": {"coord_system": "flat"}},
        {"name": "kind", "type": "tag", "attrs": {"sortable": True, "unf": True}},
    )

    assert schema_from_redisvl(layout(*fields)).fields == (
        GeoShapeField(name="area", coord_system="FLAT"),
        TagField(name="kind", separator=",", sortable=True, unf=True),
    )


# Mistakes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fields": [TITLE]}, "the schema has no 'index'."),
        ({"index": {"name": "i"}}, "the schema has no 'fields'."),
        ({**layout(), "indx": 1}, "the schema has an unknown key 'indx' (did you mean 'index'?)."),
        ({**layout(), "version": "0.2.0"}, "version is '0.2.0', known is '0.1.0'."),
        ({**layout(), "index": ["i"]}, "index: index is no mapping: ['i']."),
        ({**layout(), "index": {"prefix": "doc"}}, "index: index has no 'name'."),
        (layout(prefx="doc"), "index: index has an unknown key 'prefx' (did you mean 'prefix'?)."),
        (layout(prefix=None), "index: prefix should be text or a list, got None."),
        (
            layout(storage_type="hsah"),
            "index: index 'i': storage_type: input should be 'hash' or 'json', got 'hsah'.",
        ),
        (
            layout(name=12),
            "index: index 12: name: should be text, got 12 (int); quote it if it comes from YAML.",
        ),
        ({**layout(), "fields": "title"}, "fields is no list."),
        (layout("title"), "fields[0]: a field is no mapping: 'title'."),
        (layout(TITLE, {"name": "v"}), "fields[1]: a field has no 'type'."),
        (
            layout({"name": "t", "type": "texxt"}),
            "fields[0]: field 't': there is no type 'texxt' (did you mean 'text'?).",
        ),
        (
            layout({"name": "t", "type": ["text"]}),
            "fields[0]: field 't': there is no type ['text'] (did you mean 'text'?).",
        ),
        (layout({**TITLE, "weight": 2}), "fields[0]: text field 'title': 'weight' is not under attrs."),
        (
            layout({**TITLE, "atrs": {}}),
            "fields[0]: text field 'title' has an unknown key 'atrs' (did you mean 'attrs'?).",
        ),
        (
            layout({**TITLE, "attrs": {"wieght": 2}}),
            "fields[0]: attrs of text field 'title' has an unknown key 'wieght' (did you mean 'weight'?).",
        ),
        (
            layout({**TITLE, "attrs": ["sortable"]}),
            "fields[0]: attrs of text field 'title' is no mapping: ['sortable'].",
        ),
        (
            layout({**VECTOR, "attrs": {"algorithm": "flat"}}),
            "fields[0]: vector field 'v': 'dims' is missing.",
        ),
        (
            layout({**VECTOR, "attrs": {"algorithm": "flat", "dims": 4, "m": 16}}),
            "fields[0]: vector field 'v': m belongs to HNSW, not to FLAT.",
        ),
        (
            {**layout(), "fields": {"title": {"name": "title"}}},
            "fields.title: a field has no 'type'.",
        ),
        (layout(TITLE, TITLE), "index 'i': two fields are named 'title'."),
    ],
)
def test_a_mistake_is_told_with_its_place(given, message):
    assert message_of(given) == message


def test_an_unknown_key_is_refused_with_the_known_ones():
    with pytest.raises(SchemaError) as caught:
        field_from_redisvl({"name": "n", "type": "numeric", "attrs": {"wieght": 2}})

    assert caught.value.hint == "Known keys: index_missing, no_index, sortable, unf."


# YAML


def test_a_schema_is_read_from_yaml(tmp_path):
    file = tmp_path / "schema.yaml"
    file.write_text(
        "version: '0.1.0'\nindex: {name: i, prefix: 'ä:'}\nfields: [{name: t, type: text}]\n", "utf-8"
    )

    assert read_schema_yaml(file) == IndexSchema(name="i", prefixes=("ä:",), fields=(TextField(name="t"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"index: {name: i\n",
            "is no YAML at line 2, column 1: expected ',' or '}', but got '<stream end>'.",
        ),
        (b"a:\n  b: c: d", "is no YAML at line 2, column 7: mapping values are not allowed here."),
        (
            b"!!python/object:os.system x",
            "is no YAML at line 1, column 1: could not determine a constructor for the tag",
        ),
        (b"index: 2020-99-99", "is no YAML at line 1, column 8: month must be in 1..12."),
        (b"\x01", "is no YAML: unacceptable character #x0001"),
        (b"\xff", "is no UTF-8 at byte 0."),
        (
            b"index: {name: i}\nfields: []\nfields: [{name: t, type: text}]\n",
            "says 'fields' twice, again at line 3, column 1.",
        ),
        (b"index: &a {name: i, prefix: *a}\n", "contains itself at line 1, column 8."),
        (b"[" * 5000, "is nested too deeply."),
        (
            b"- &a [x, x, x, x, x, x, x, x, x, x]\n"
            + b"".join(
                b"- &%c [%s]\n" % (this, b", ".join([b"*%c" % (this - 1)] * 10)) for this in b"bcdefghi"
            ),
            "has more than 100,000 values.",
        ),
        (b"", "the file is no mapping: None."),
        (b"- a\n", "the file is no mapping: ['a']."),
        (
            b"index: {name: i}\nfields: [{name: on, type: tag}]\n",
            "fields[0]: tag field True: name: should be text",
        ),
    ],
)
def test_a_mistake_in_yaml_is_told_with_the_file_and_the_place(tmp_path, content, message):
    file = tmp_path / "schema.yaml"
    file.write_bytes(content)

    with pytest.raises(SchemaError) as caught:
        read_schema_yaml(file)

    assert caught.value.message.startswith(f"{file}: ")
    assert message in caught.value.message


def test_aliases_and_merges_of_yaml_are_read(tmp_path):
    file = tmp_path / "schema.yaml"
    file.write_text(
        "index: &names {name: i, prefix: 'i:'}\n"
        "fields:\n"
        "- &title {name: t, type: text, attrs: &attrs {weight: 2}}\n"
        "- {<<: *title, name: u}\n"
        "- {name: v, type: text, attrs: *attrs}\n",
        "utf-8",
    )

    assert read_schema_yaml(file).fields == tuple(TextField(name=name, weight=2) for name in "tuv")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SchemaError, match=r"none\.yaml: can't be read: No such file or directory\."):
        read_schema_yaml(str(tmp_path / "none.yaml"))


# Writing


def test_a_schema_is_written_as_redisvl_writes_it():
    schema = IndexSchema(
        name="i",
        storage_type="json",
        prefixes=("doc:",),
        fields=(
            TextField(name="title", path="$.a.title", weight=2),
            TagField(name="kind"),
            NumericField(name="price", sortable=True),
            VectorField(name="v", algorithm="HNSW", dims=4, m=32),
        ),
    )

    assert schema_to_redisvl(schema) == {
        "version": "0.1.0",
        "index": {"name": "i", "prefix": "doc:", "key_separator": ":", "storage_type": "json"},
        "fields": [
            {"name": "title", "type": "text", "path": "$.a.title", "attrs": {"weight": 2.0}},
            {"name": "kind", "type": "tag", "attrs": {"separator": ""}},
            {"name": "price", "type": "numeric", "attrs": {"sortable": True}},
            {
                "name": "v",
                "type": "vector",
                "attrs": {
                    "algorithm": "hnsw",
                    "dims": 4,
                    "datatype": "float32",
                    "distance_metric": "cosine",
                    "m": 32,
                },
            },
        ],
    }


def test_parameters_whose_defaults_differ_are_written():
    schema = IndexSchema(name="i", fields=(VectorField(name="v", algorithm="SVS-VAMANA", dims=4),))

    assert schema_to_redisvl(schema)["fields"][0]["attrs"] == {
        "algorithm": "svs-vamana",
        "dims": 4,
        "datatype": "float32",
        "distance_metric": "cosine",
        "graph_max_degree": 32,
        "construction_window_size": 200,
        "search_window_size": 10,
        "epsilon": 0.01,
    }


def test_a_field_of_a_hash_called_like_a_json_path_can_not_be_written():
    schema = IndexSchema(name="i", fields=(TextField(name="t", path="$.t"),))

    with pytest.raises(SchemaError, match="can't say that field 't' is"):
        schema_to_redisvl(schema)


@given(schemas())
def test_a_written_schema_reads_as_the_same_index(schema):
    assert canonical(schema_from_redisvl(schema_to_redisvl(schema))) == canonical(schema)


@given(schemas())
def test_a_written_schema_survives_json_and_yaml(schema):
    written = schema_to_redisvl(schema)

    assert json.loads(json.dumps(written)) == written
    assert schema_from_redisvl(yaml.safe_load(yaml.safe_dump(written))) == schema_from_redisvl(written)
