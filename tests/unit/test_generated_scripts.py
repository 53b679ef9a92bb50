"""Generated scripts: written from two schemas and imported, they lead from the one to the other and back."""

from __future__ import annotations

import ast
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from schema_strategies import changed_schemas, redis_text

from redismigrate.errors import SchemaError
from redismigrate.history.folder import read_scripts
from redismigrate.history.script_writer import write_script
from redismigrate.history.templates import template_folder
from redismigrate.operations.differing import Rename, changes_between, operations_between, rename_candidates
from redismigrate.operations.index_renames import IndexRename, index_rename_candidates
from redismigrate.operations.operation_types import CreateIndex
from redismigrate.operations.remarks import remarks_on_change, remarks_on_upgrade
from redismigrate.operations.reversing import reversed_operations
from redismigrate.operations.script_calls import record
from redismigrate.operations.source import literal, source_lines
from redismigrate.schema import IndexSchema, NumericField, TagField, TextField, VectorField
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog


def catalog_of(*schemas):
    catalog = Catalog()
    for schema in schemas:
        catalog = CreateIndex(schema).apply(catalog)
    return catalog


def schemas_of(catalog):
    return {name: definition.schema for name, definition in catalog.items()}


def written_and_loaded(operations, catalog, folder, candidates=()):
    """The migration of a script with these operations, from the template of new projects."""
    after = catalog
    for operation in operations:
        after = operation.apply(after)
    write_script(
        template_folder("generic"),
        Path(folder),
        revision="a1",
        message="generated",
        down_revisions=(),
        create_date=datetime(2026, 11, 20, tzinfo=UTC),
        upgrade_lines=source_lines(operations, catalog, remarks_on_upgrade(candidates)),
        downgrade_lines=source_lines(reversed_operations(operations, catalog), after, remarks_on_change),
    )
    (script,) = read_scripts([Path(folder)])
    return script


def there_and_back(operations, before):
    """The catalogs after a script with these operations, and after its downgrade."""
    with tempfile.TemporaryDirectory() as folder:
        script = written_and_loaded(operations, before, folder)
        migration = script.load()
        upgraded = record(migration.upgrade, before, str(script.path)).catalog
        return upgraded, record(migration.downgrade, upgraded, str(script.path)).catalog


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, schema in found.items():
        assert diff(schema, wanted[name]) == ()


@given(pair=changed_schemas())
def test_a_script_leads_to_the_wanted_schema_and_back_and_then_there_is_nothing_to_do(pair):
    before, after = catalog_of(pair[0]), schemas_of(catalog_of(pair[1]))
    operations = operations_between(schemas_of(before), after)
    upgraded, downgraded = there_and_back(operations, before)

    assert_same(schemas_of(upgraded), after)
    assert operations_between(schemas_of(upgraded), after) == ()
    assert_same(schemas_of(downgraded), schemas_of(before))


@given(pair=changed_schemas())
def test_every_rename_that_is_offered_can_be_written_applied_and_taken_back(pair):
    before, after = catalog_of(pair[0]), schemas_of(catalog_of(pair[1]))
    for rename in rename_candidates(*pair):
        operations = operations_between(schemas_of(before), after, [rename])
        upgraded, downgraded = there_and_back(operations, before)
        assert_same(schemas_of(upgraded), after)
        assert_same(schemas_of(downgraded), schemas_of(before))


@given(pair=changed_schemas(), new_name=redis_text)
def test_an_index_that_is_renamed_may_change_as_well(pair, new_name):
    first, last = pair[0], pair[1].renamed(new_name)
    assume(first.name != new_name)
    before, after = catalog_of(first), schemas_of(catalog_of(last))
    operations = operations_between(
        schemas_of(before), after, index_renames=[IndexRename(first.name, new_name)]
    )
    assert [operation.kind for operation in operations] == ["change_index"]
    upgraded, downgraded = there_and_back(operations, before)

    assert_same(schemas_of(upgraded), after)
    assert_same(schemas_of(downgraded), schemas_of(before))
    same = {new_name: first.renamed(new_name)}
    assert index_rename_candidates({first.name: first}, same) == (IndexRename(first.name, new_name),)


def schema(*fields, name="products", **options):
    return IndexSchema(name=name, prefixes=("product:",), fields=fields, **options)


def upgrade_lines(before, after, renames=(), candidates=()):
    operations = operations_between({before.name: before}, {after.name: after}, renames)
    return source_lines(operations, catalog_of(before), remarks_on_upgrade(candidates))


TITLE, PRICE, BRAND = TextField(name="title"), NumericField(name="price"), TagField(name="brand")
VECTOR = VectorField(name="embedding", algorithm="HNSW", dims=4, m=16)


def test_only_what_has_an_effect_is_altered():
    after = VECTOR.altered(algorithm="FLAT", datatype="float16")
    assert upgrade_lines(schema(VECTOR), schema(after)) == (
        'with op.index("products") as index:',
        '    index.alter_field("embedding", algorithm="flat", datatype="float16")',
    )
    assert upgrade_lines(schema(VECTOR), schema(VECTOR.altered(m=None, ef_construction=200))) == ()


def test_a_field_of_another_type_is_another_field():
    assert upgrade_lines(schema(TITLE, BRAND), schema(TITLE, TextField(name="brand"))) == (
        'with op.index("products") as index:',
        '    index.drop_field("brand")',
        '    index.add_field({"name": "brand", "type": "text"})',
    )


def test_a_new_vector_field_says_who_makes_its_embeddings():
    lines = upgrade_lines(schema(TITLE), schema(TITLE, VECTOR))
    assert " ".join(line.strip() for line in lines[1:3]) == (
        "# A new vector field: no strategy makes its embeddings. The application, or op.run, has to write "
        "# 4 x FLOAT32 to embedding of the documents; it finds no others."
    )
    assert lines[3] == "    index.add_field("


def test_prefixes_of_which_several_differ_are_set():
    after = schema(TITLE).with_options(prefixes=("a:", "b:"))
    assert upgrade_lines(schema(TITLE), after)[1:] == ('    index.set_options(prefixes=["a:", "b:"])',)


def test_a_prefix_that_covers_the_old_one_moves_what_clients_compose_otherwise_of_it():
    after = schema(TITLE).with_options(prefixes=("prod",))
    assert upgrade_lines(schema(TITLE), after)[1:] == (
        "    # This renames the keys of the documents. To cover other keys and leave the documents, write",
        "    # index.set_options(prefixes=[...]) alone.",
        '    index.change_prefix("product:", "prod:")',
        '    index.set_options(prefixes=["prod"])',
    )
    same = schema(TITLE).with_options(prefixes=("product",))
    assert upgrade_lines(schema(TITLE), same)[1:] == ('    index.set_options(prefixes=["product"])',)


def test_a_rename_that_is_said_may_alter_the_field_as_well():
    after = schema(TextField(name="name", weight=2), PRICE)
    assert upgrade_lines(schema(TITLE, PRICE), after, [Rename("products", "title", "name")])[1:] == (
        '    index.rename_field("title", "name")',
        '    index.alter_field("name", weight=2.0)',
    )
    assert rename_candidates(schema(TITLE, PRICE), after) == ()


def test_a_rename_that_keeps_its_place_in_the_documents_says_so():
    after = schema(TextField(name="name", path="title"))
    assert rename_candidates(schema(TITLE), after) == (Rename("products", "title", "name"),)
    assert upgrade_lines(schema(TITLE), after, [Rename("products", "title", "name")])[1:] == (
        '    index.rename_field("title", "name", path="title")',
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("titel", "name", "Index 'products' has no change from field 'titel' to 'name'."),
        ("title", "price", "Index 'products' has no change from field 'title' to 'price'."),
        (
            "title",
            "brand",
            "Index 'products': text field 'title' can't become 'brand', which is a tag field.",
        ),
    ],
)
def test_a_rename_that_is_none_is_refused(old, new, says):
    after = schema(TextField(name="name"), PRICE, BRAND)
    with pytest.raises(SchemaError) as caught:
        changes_between(schema(TITLE, PRICE), after, [Rename("products", old, new)])
    assert caught.value.message == says


@pytest.mark.parametrize(
    ("renames", "says"),
    [
        ([IndexRename("nowhere", "goods")], "There is no change from index 'nowhere' to 'goods'."),
        ([IndexRename("products", "nowhere")], "There is no change from index 'products' to 'nowhere'."),
        ([IndexRename("products", "other")], "There is no change from index 'products' to 'other'."),
        (
            [IndexRename("products", "goods"), IndexRename("products", "wares")],
            "Index 'products' or 'wares' is renamed twice.",
        ),
    ],
)
def test_a_rename_of_an_index_that_is_none_is_refused(renames, says):
    before = {"products": schema(TITLE), "other": schema(TITLE, name="other")}
    after = {name: schema(TITLE, name=name) for name in ("goods", "wares", "other")}
    with pytest.raises(SchemaError) as caught:
        operations_between(before, after, index_renames=renames)
    assert caught.value.message == says


def test_new_indexes_come_first_and_dropped_ones_go_last():
    operations = operations_between(
        {"a": schema(TITLE, name="a"), "b": schema(TITLE, name="b")},
        {"b": schema(BRAND, name="b"), "c": schema(TITLE, name="c")},
    )
    assert [operation.kind for operation in operations] == ["create_index", "change_index", "drop_index"]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
        | st.text(st.characters(categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from([0, 4, 96]),
)
def test_every_literal_is_read_back(value, column):
    assert ast.literal_eval(literal(value, column)) == value
