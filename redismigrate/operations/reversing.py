"""What takes operations back, last one first."""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.operations.model import Operation
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
    for operation in operations:
        back[:0] = operation.reverse(catalog)
        catalog = operation.apply(catalog)
    return tuple(back)
