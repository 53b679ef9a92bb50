"""What takes operations back, last one first."""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.operations.operation_types import CreateIndex, Operation, SetSynonyms
from redismigrate.schema.definition import Catalog


def reversed_operations(operations: Iterable[Operation], catalog: Catalog) -> tuple[Operation, ...]:
    """The operations of the way back.

    Args:
        operations: Of the way there, in order.
        catalog: The indexes as the first of them finds them.

    Raises:
        SchemaError: One can't be applied.
    """
    back: list[Operation] = []
    created = set()
    for operation in operations:
        # Synonyms go with the index that is dropped; to take them out before would build it anew.
        if not (isinstance(operation, SetSynonyms) and operation.index in created):
            back[:0] = operation.reverse(catalog)
        if isinstance(operation, CreateIndex):
            created.add(operation.schema.name)
        catalog = operation.apply(catalog)
    return tuple(back)
