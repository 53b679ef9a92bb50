"""Changes of one index as a schema patch of RedisVL: what is written reads as the same changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from schema_strategies import changed_schemas

from redismigrate.errors import SchemaError
from redismigrate.foreign_documents import parse_yaml
from redismigrate.operations.changes import (
    AddField,
    AlterField,
    ChangePrefix,
    DropField,
    RenameField,
    RenameTo,
    SetOptions,
)
from redismigrate.operations.differing import changes_between
from redismigrate.operations.net_changes import lead_to_the_same, net_changes
from redismigrate.operations.patch_writing import patch_of_changes
from redismigrate.operations.redisvl_patch import changes_of_patch, schema_patch
from redismigrate.schema import IndexSchema, NumericField, TagField, TextField, VectorField
from redismigrate.schema.yaml_file import yaml_text

SCHEMA = IndexSchema(
    name="products",
    prefixes=("product",),
    fields=(
        TextField(name="title"),
        TagField(name="brand", separator=","),
        VectorField(name="embedding", algorithm="HNSW", dims=8, m=32),
    ),
)


def read_back(patch, before):
    return changes_of_patch(schema_patch(parse_yaml(yaml_text(patch))), before)


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ((DropField("brand"),), {"remove_fields": ["brand"]}),
        (
            (RenameField("title", "name"),),
            {"rename_fields": [{"old_name": "title", "new_name": "name"}]},
        ),
        (
            (AlterField("embedding", {"algorithm": "FLAT", "datatype": "FLOAT16"}),),
            {"update_fields": [{"name": "embedding", "attrs": {"algorithm": "flat", "datatype": "float16"}}]},
        ),
        (
            (AlterField("title", {"path": "headline", "weight": 2.0}),),
            {"update_fields": [{"name": "title", "path": "headline", "attrs": {"weight": 2.0}}]},
        ),
        (
            (AddField(NumericField(name="price", sortable=True)),),
            {"add_fields": [{"name": "price", "type": "numeric", "attrs": {"sortable": True}}]},
        ),
        ((ChangePrefix("product", "shop"),), {"index": {"prefix": "shop"}}),
        ((SetOptions({"stopwords": []}), RenameTo("goods")), {"index": {"stopwords": [], "name": "goods"}}),
    ],
)
def test_a_change_is_in_its_section_and_reads_as_itself(changes, section):
    patch = patch_of_changes(changes, SCHEMA)
    assert patch["version"] == 1
    assert {name: found for name, found in patch["changes"].items() if found} == section
    assert lead_to_the_same(read_back(patch, SCHEMA), changes, SCHEMA)


def test_an_attribute_that_goes_back_to_its_default_is_null():
    changes = (AlterField("embedding", {"m": None}),)
    patch = patch_of_changes(changes, SCHEMA)
    assert patch["changes"]["update_fields"] == [{"name": "embedding", "attrs": {"m": None}}]
    assert read_back(patch, SCHEMA) == changes


def test_the_defaults_that_redisvl_would_fill_in_are_taken_out_by_name():
    changes = (AlterField("embedding", {"algorithm": "SVS-VAMANA", "m": None}),)
    patch = patch_of_changes(net_changes(changes, SCHEMA), SCHEMA)
    (update,) = patch["changes"]["update_fields"]
    assert update["attrs"]["graph_max_degree"] is None
    assert lead_to_the_same(read_back(patch, SCHEMA), changes, SCHEMA)


@given(pair=changed_schemas())
def test_every_difference_of_two_schemas_is_a_patch_or_refused(pair):
    before, after = pair
    changes = changes_between(before, after)
    try:
        patch = patch_of_changes(changes, before)
    except SchemaError:
        # RedisVL's form can't call a field of a hash like a path of JSON.
        assert any(isinstance(change, AddField | SetOptions) for change in changes)
        return
    assert lead_to_the_same(read_back(patch, before), changes, before)
