"""Generated scripts: written from two schemas and imported again, they lead from the first to the second and back."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import changed_schemas

from redismigrate.errors import SchemaError
from redismigrate.history.folder import read_scripts
from redismigrate.history.templates import template_folder
from redismigrate.history.writer import write_script
from redismigrate.operations.differing import Rename, changes_between, operations_between, rename_candidates
from redismigrate.operations.model import CreateIndex
from redismigrate.operations.recorder import record
from redismigrate.operations.remarks import remarks_on_change, remarks_on_upgrade
from redismigrate.operations.reversing import reversed_operations
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


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, schema in found.items():
        assert diff(schema, wanted[name]) == ()


@given(pair=changed_schemas())
@settings(max_examples=300)
def test_a_script_leads_to_the_wanted_schema_and_back_and_then_there_is_nothing_to_do(pair):
    before, after = catalog_of(pair[0]), schemas_of(catalog_of(pair[1]))
    operations = operations_between(schemas_of(before), after)
    with tempfile.TemporaryDirectory() as folder:
        script = written_and_loaded(operations, before, folder)
        migration = script.load()
        upgraded = record(migration.upgrade, before, str(script.path)).catalog
        downgraded = record(migration.downgrade, upgraded, str(script.path)).catalog

    assert_same(schemas_of(upgraded), after)
    assert operations_between(schemas_of(upgraded), after) == ()
    assert_same(schemas_of(downgraded), schemas_of(before))


@given(pair=changed_schemas())
def test_every_rename_that_is_offered_can_be_written_applied_and_taken_back(pair):
    before, after = catalog_of(pair[0]), schemas_of(catalog_of(pair[1]))
    for rename in rename_candidates(*pair):
        operations = operations_between(schemas_of(before), after, [rename])
        with tempfile.TemporaryDirectory() as folder:
            script = written_and_loaded(operations, before, folder)
            migration = script.load()
            upgraded = record(migration.upgrade, before, str(script.path)).catalog
            downgraded = record(migration.downgrade, upgraded, str(script.path)).catalog
        assert_same(schemas_of(upgraded), after)
        assert_same(schemas_of(downgraded), schemas_of(before))
