"""Finds the functions that a script gives to `op.run` again: a stored plan names them by position only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import IndexChange
from redismigrate.operations.operation_types import Operation
from redismigrate.operations.recorder import DataMigration, Operations
from redismigrate.operations.script_calls import record_with
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition

Functions = tuple[tuple[DataMigration, DataMigration | None], ...]


def collect_functions(function: Callable[[Operations], object], catalog: Catalog, script: str) -> Functions:
    """The functions that a script gives to `op.run`, found whatever the indexes are like meanwhile."""
    op = _FunctionCollector(catalog)
    record_with(op, function, script)
    return op.functions


class _FunctionCollector(Operations):
    """Takes every call, checked or not: only `run` matters."""

    def _adopt(self, name: str) -> None:
        if name not in self._catalog:
            self._catalog = self._catalog.with_definition(
                IndexDefinition.plain(IndexSchema(name=name, storage_type="hash", fields=()))
            )

    def _apply(self, operation: Operation) -> None:
        with suppress(SchemaError):
            super()._apply(operation)

    def _changed(self, change: IndexChange, schema: IndexSchema) -> tuple[IndexSchema, IndexChange]:
        try:
            return super()._changed(change, schema)
        except SchemaError:
            return schema, change
