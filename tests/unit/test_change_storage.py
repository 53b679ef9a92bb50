"""What `index.change_storage` records: the schema, the documents, the way back, the script."""

from __future__ import annotations

from typing import Any

import pytest

from redismigrate.errors import SchemaError
from redismigrate.operations.block_moves import storage_change_of
from redismigrate.operations.differing import Rename, changes_between
from redismigrate.operations.net_changes import lead_to_the_same, net_changes
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.recorder import Operations
from redismigrate.operations.source import source_lines
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog, IndexDefinition

FIELDS = [
    {"name": "title", "type": "text"},
    {"name": "topics", "type": "tag", "attrs": {"separator": ";"}},
    {"name": "kind", "type": "tag", "path": "k"},
    {"name": "price", "type": "numeric"},
    {"name": "place", "type": "geo"},
    {
        "name": "embedding",
        "type": "vector",
        "attrs": {"dims": 3, "algorithm": "flat", "distance_metric": "cosine"},
    },
]


def recorder(**index: Any) -> Operations:
    op = Operations(Catalog())
    op.create_index({"index": {"name": "docs", "prefix": "doc:", **index}, "fields": FIELDS})
    return op


def changed(op: Operations, *arguments: Any, **options: Any) -> ChangeIndex:
    """The recorded change of the storage of `docs`."""
    with op.index("docs") as index:
        index.change_storage(*arguments, **options)
    operation = op.recorded[-1]
    assert isinstance(operation, ChangeIndex)
    return operation


def test_an_index_on_json_reads_each_field_at_a_path_of_its_name():
    op = recorder()
    changed(op, "json", prefix=("doc:", "jdoc:"), paths={"title": "$.meta.title", "topics": "$.topics[*]"})
    after = op.catalog["docs"].schema
    assert (after.storage_type, after.prefixes) == ("json", ("jdoc:",))
    assert {field.name: field.path_in("json") for field in after.fields} == {
        "title": "$.meta.title",
        "topics": "$.topics[*]",
        "kind": "$.k",
        "price": "$.price",
        "place": "$.place",
        "embedding": "$.embedding",
    }
    # Tags of JSON are separated only where the index is told so.
    assert [getattr(after.field(name), "separator", None) for name in ("topics", "kind")] == [";", ","]


def test_the_way_back_makes_the_same_index_and_the_same_hashes():
    op = recorder(language_field="lang", score_field="rank")
    before = op.catalog
    change = changed(
        op, "json", prefix=("doc:", "jdoc:"), paths={"title": "$.meta.title", "note": "$.meta.note"}
    )
    after = op.catalog
    (back,) = change.reverse(before)
    assert not diff(back.apply(after)["docs"].schema, before["docs"].schema)
    there = storage_change_of(change.changes, before["docs"].schema)
    again = storage_change_of(back.changes, after["docs"].schema)
    assert there is not None
    assert again == there.reversed()
    (forth,) = back.reverse(after)
    assert not diff(forth.apply(back.apply(after))["docs"].schema, after["docs"].schema)


def test_an_array_of_tags_comes_back_under_the_name_of_its_attribute():
    op = recorder()
    before = op.catalog["docs"].schema
    change = changed(op, "json", prefix=("doc:", "jdoc:"), paths={"topics": "$.subjects[*]"})
    after = op.catalog["docs"].schema
    back = changed(op, "hash", prefix=("jdoc:", "doc:"))
    assert op.catalog["docs"].schema.field("topics").path_in("hash") == "topics"
    there = storage_change_of(change.changes, before)
    assert there is not None
    assert {value.field: value.path for value in there.values}["topics"] == "$.subjects"
    again = storage_change_of(back.changes, after)
    assert again == there.reversed()


def test_attributes_of_one_array_stay_attributes_of_one_field_of_the_hash():
    op = recorder()
    changed(op, "json", paths={"topics": "$.subjects[*]"})
    with op.index("docs") as index:
        index.add_field(
            {"name": "again", "type": "tag", "path": "$.subjects[*]", "attrs": {"separator": ";"}}
        )
    changed(op, "hash")
    after = op.catalog["docs"].schema
    assert {after.field(name).path_in("hash") for name in ("topics", "again")} == {"subjects"}


def test_a_vector_has_the_datatype_that_the_hash_has():
    op = recorder()
    before = op.catalog
    with op.index("docs") as index:
        index.alter_field("embedding", datatype="float16")
        index.change_storage("json", prefix=("doc:", "jdoc:"))
    operation = op.recorded[-1]
    assert isinstance(operation, ChangeIndex)
    found = storage_change_of(operation.changes, before["docs"].schema)
    assert found is not None
    assert {value.field: value.datatype for value in found.values if value.datatype} == {
        "embedding": "FLOAT32"
    }


def test_the_script_says_what_was_asked_for():
    op = recorder()
    before = op.catalog
    operation = changed(op, "json", prefix=[("doc:", "jdoc:")], paths={"title": "$.name"})
    assert source_lines([operation], before) == (
        'with op.index("docs") as index:',
        '    index.change_storage("json", prefix=("doc:", "jdoc:"), paths={"title": "$.name"})',
    )
    assert str(operation) == (
        "change index docs: make JSON documents of the documents, doc:* to jdoc:*, title at $.name"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("xml",), "'xml' is no storage type"),
        (("hash",), "Index 'docs' is on hash already"),
        (("json", "jdoc:"), "does not say what which prefix becomes"),
        (("json", ("other:", "jdoc:")), "has no prefix 'other:'"),
        (("json", ("doc:", "doc:")), "has the prefix 'doc:' already"),
        (("json", None, {"title": "$.a[0]"}), "can't stand at '$.a[0]'"),
        (("json", None, {"title": "$.x", "place": "$.x.y"}), "which can't both be"),
        (("json", None, {"title": "$.__from_hash"}), "redismigrate remembers there"),
        (("json", None, None, {"title": ";"}), "has no tag field 'title'"),
        (("json", None, ["title"]), "is no mapping"),
    ],
)
def test_what_can_not_be_is_refused_at_its_line(arguments: tuple[Any, ...], message: str):
    op = recorder()
    with pytest.raises(SchemaError) as refused:
        changed(op, *arguments)
    assert message in refused.value.message


def test_what_reads_no_one_value_can_not_go_into_a_hash():
    op = recorder()
    changed(op, "json")
    with op.index("docs") as index:
        index.add_field({"name": "all", "type": "tag", "path": "$..x"})
    with pytest.raises(SchemaError, match="leads to no one value"):
        changed(op, "hash")


@pytest.mark.parametrize(
    "other", ["rename_field", "change_prefix", "truncate", "change_storage", "alter_field"]
)
def test_what_rewrites_documents_otherwise_needs_a_revision_of_its_own(other: str):
    op = recorder()
    arguments = {
        "rename_field": ("title", "name"),
        "change_prefix": ("doc:", "other:"),
        "truncate": ("embedding", 2),
        "change_storage": ("json",),
        "alter_field": ("embedding",),
    }[other]
    options = {"datatype": "float16", "path": "half"} if other == "alter_field" else {}

    def change() -> None:
        with op.index("docs") as index:
            getattr(index, other)(*arguments, **options)
            index.change_storage("hash" if other == "change_storage" else "json")

    with pytest.raises(SchemaError, match="at once"):
        change()


def test_schemas_that_differ_in_storage_give_the_call():
    op = recorder()
    before = op.catalog["docs"].schema
    changed(op, "json", prefix=("doc:", "jdoc:"), paths={"title": "$.meta.title", "topics": "$.topics[*]"})
    after = op.catalog["docs"].schema
    (there,) = changes_between(before, after)
    assert there == op.recorded[-1].changes[0]  # type: ignore[union-attr]
    (back,) = changes_between(after, before)
    assert (back.kind, back.storage_type) == ("change_storage", "hash")  # type: ignore[union-attr]


def test_a_rename_beside_another_storage_type_is_said_in_paths():
    op = recorder()
    before = op.catalog["docs"].schema
    with op.index("docs") as index:
        index.change_storage("json", prefix=("doc:", "jdoc:"), paths={"title": "$.name"})
        index.rename_field("title", "name")
    recorded = op.recorded[-1]
    assert isinstance(recorded, ChangeIndex)
    after = op.catalog["docs"].schema
    assert changes_between(before, after, (Rename("docs", "title", "name"),)) == recorded.changes
    back = recorded.reverse(Catalog().with_definition(IndexDefinition(before, "docs")))
    assert not diff(back[0].apply(op.catalog)["docs"].schema, before)


def test_a_rename_that_another_storage_type_has_no_place_for_is_refused():
    op = recorder()
    before = op.catalog["docs"].schema
    changed(op, "json", prefix=("doc:", "jdoc:"))
    after = op.catalog["docs"].schema.without_field("title")
    after = after.with_field(before.field("title").altered(name="name", path="$..name"))
    with pytest.raises(SchemaError, match=r"another storage type and rename 'title' to 'name'") as refused:
        changes_between(before, after, (Rename("docs", "title", "name"),))
    assert str(refused.value.hint).startswith("Declare the rename first")


def test_changes_that_say_where_values_go_stay_as_they_are():
    """Two schemas do not tell where what no index reads is to stand."""
    op = recorder()
    before = op.catalog["docs"].schema
    operation = changed(op, "json", prefix=("doc:", "jdoc:"), paths={"note": "$.meta.note"})
    assert net_changes(operation.changes, before) == operation.changes
    other = changed(recorder(), "json", prefix=("doc:", "jdoc:"))
    assert not lead_to_the_same(operation.changes, other.changes, before)
