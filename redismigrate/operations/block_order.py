"""The order of the operations of a script: as written, but for what has to come after a named index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from redismigrate.errors import SchemaError
from redismigrate.operations.operation_types import ChangeIndex, Operation
from redismigrate.schema.definition import Catalog
from redismigrate.schema.strict import did_you_mean


def in_order(operations: Sequence[Operation], catalog: Catalog) -> tuple[Operation, ...]:
    """The operations, each `op.index(name, after=...)` behind all that changes or creates those indexes.

    What need not move stays where it is written. Operations that name one index or alias keep their order,
    and so does everything with `op.run`: a function may look at every index.

    Args:
        operations: As they are written.
        catalog: The indexes as the first of them finds them.

    Raises:
        SchemaError: There is no such index, or no such order.
    """
    if not any(isinstance(operation, ChangeIndex) and operation.after for operation in operations):
        return tuple(operations)
    _require_known(operations, catalog)
    reasons = _reasons(operations)
    left, ordered = list(range(len(operations))), list[int]()
    while left:
        free = next((at for at in left if not reasons[at].keys() & {*left}), None)
        if free is None:
            raise SchemaError(
                f"There is no order in which {_circle(left, reasons)}.",
                "Take one of these after= out, or put the blocks into another order.",
            )
        left.remove(free)
        ordered.append(free)
    return tuple(operations[at] for at in ordered)


def _require_known(operations: Sequence[Operation], catalog: Catalog) -> None:
    """Raise SchemaError for a name in `after` that no index has at this point of the history."""
    known = {*catalog, *(name for operation in operations for name in _indexes(operation))}
    asked = [(block, name) for block in operations if isinstance(block, ChangeIndex) for name in block.after]
    for block, name in asked:
        call = f"op.index({block.name!r}, after={name!r})"
        if name == block.name:
            raise SchemaError(f"{call}: an index can't come after itself.", "Take it out.")
        if name not in known:
            raise SchemaError(
                f"{call}: there is no index {name} at this revision{did_you_mean(name, sorted(known))}.",
                f"Indexes here: {', '.join(sorted(known))}.",
            )


def _reasons(operations: Sequence[Operation]) -> list[dict[int, str]]:
    """Of each operation, those that have to come before it, and why, in words."""
    reasons: list[dict[int, str]] = []
    for at, operation in enumerate(operations):
        own = {*_names(operation)}
        reasons.append(
            {
                before: f"{_told(operation)} is written behind {_told(earlier)}"
                for before, earlier in enumerate(operations[:at])
                if own & {*_names(earlier)} or "run" in (operation.kind, earlier.kind)
            }
        )
        if isinstance(operation, ChangeIndex):
            reasons[at] |= {
                other: f"{operation.name} comes after {name} (after=)"
                for name in operation.after
                for other, later in enumerate(operations)
                if other != at and name in _indexes(later)
            }
    return reasons


def _circle(left: Sequence[int], reasons: Sequence[dict[int, str]]) -> str:
    """What contradicts itself among operations of which each has to come after another one."""
    way: list[int] = [left[0]]
    while True:
        before = next(at for at in sorted(reasons[way[-1]]) if at in left)
        if before in way:
            circle = [*way[way.index(before) :], before]
            return " and ".join(reasons[at][earlier] for at, earlier in pairwise(circle))
        way.append(before)


def _indexes(operation: Operation) -> Iterator[str]:
    """The served names that an operation makes or changes an index under."""
    match operation.kind:
        case "create_index":
            yield operation.schema.name
        case "change_index":
            yield operation.name
            yield operation.name_after


def _names(operation: Operation) -> Iterator[str]:
    """All names that an operation is about."""
    yield from _indexes(operation)
    match operation.kind:
        case "drop_index":
            yield operation.name
        case "create_alias":
            yield operation.alias
            yield operation.index
        case "drop_alias":
            yield operation.alias
        case "set_synonyms":
            yield operation.index


def _told(operation: Operation) -> str:
    """An operation in few words."""
    match operation.kind:
        case "change_index":
            return f"op.index({operation.name!r})"
        case "run":
            return f"op.run({operation.name})"
    return str(operation)
