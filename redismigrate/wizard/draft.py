"""The change of one index that answers have come to so far, checked as a script with it would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from redismigrate.operations.changes import IndexChange
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.net_changes import net_changes
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.recorder import Operations
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog


@dataclass(frozen=True)
class Draft:
    """The change so far.

    Attributes:
        catalog: All indexes as they are before it.
        name: The served name of the index, before it.
        answered: What each answer has changed, in order.
    """

    catalog: Catalog
    name: str
    answered: tuple[tuple[IndexChange, ...], ...] = ()

    @property
    def before(self) -> IndexSchema:
        """The index as it is."""
        return self.catalog.index(self.name).schema

    @property
    def schema(self) -> IndexSchema:
        """The index as it is wanted."""
        schema = self.before
        for change in self._all():
            schema = change.apply(schema)
        return schema

    @property
    def changes(self) -> tuple[IndexChange, ...]:
        """What all answers come to; empty when that is nothing."""
        return net_changes(self._all(), self.before)

    @property
    def operations(self) -> tuple[ChangeIndex, ...]:
        """The one operation of the script, or none."""
        changes = self.changes
        return (ChangeIndex(self.name, changes),) if changes else ()

    def changed(self, change: Callable[[IndexChanges], None]) -> Draft:
        """The draft with a further change.

        Args:
            change: Says what changes, as a script does.

        Raises:
            SchemaError: It can't be, or not together with what was answered before.
        """
        op = Operations(self._catalog_after())
        with op.index(self.schema.name) as index:
            change(index)
        return self.with_changes([item for each in op.recorded for item in _changes_in(each)])

    def with_changes(self, changes: Sequence[IndexChange]) -> Draft:
        """The draft with further changes, which one answer stands for; SchemaError as for `changed`."""
        draft = replace(self, answered=(*self.answered, tuple(changes)))
        draft._catalog_after()  # noqa: SLF001 - one class
        for operation in draft.operations:
            operation.apply(self.catalog)
        return draft

    def undone(self) -> Draft:
        """The draft without the last answer."""
        return replace(self, answered=self.answered[:-1])

    def _all(self) -> tuple[IndexChange, ...]:
        return tuple(change for group in self.answered for change in group)

    def _catalog_after(self) -> Catalog:
        changes = self._all()
        return ChangeIndex(self.name, changes).apply(self.catalog) if changes else self.catalog


def _changes_in(operation: object) -> tuple[IndexChange, ...]:
    return operation.changes if isinstance(operation, ChangeIndex) else ()
