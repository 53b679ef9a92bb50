"""What became of indexes of a revision that is not recorded yet, as the record of the run keeps it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.strict import Count


class IndexesApart(BaseModel):
    """A part of the `:run` document, once an index was recorded or put back before its revision is recorded.

    Attributes:
        met: Served name -> the definition that the revision met, None for none; of the indexes that are
            recorded as they are by now, though the revision is not.
        left: Index -> why it was put back as it was.
        putting_back: The served names, before and after the revision, of what is being put back.
        stopped_at: The step of the revision that was to be done next when that began.
    """

    model_config = ConfigDict(frozen=True)

    met: dict[str, IndexDefinition | None] = {}
    left: dict[str, str] = {}
    putting_back: tuple[str, ...] = ()
    stopped_at: Count = 0

    def catalog_met(self, catalog: Catalog) -> Catalog:
        """The recorded indexes as the revision met them.

        Args:
            catalog: As they are recorded by now.
        """
        for name, definition in self.met.items():
            catalog = catalog.without(name) if definition is None else catalog.with_definition(definition)
        return catalog

    def with_changes(self, **changes: object) -> Self:
        """The same with other values."""
        return self.model_copy(update=changes)


NOTHING_APART = IndexesApart()
