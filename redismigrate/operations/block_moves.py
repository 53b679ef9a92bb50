"""What all changes of one block move in the documents together, and what of that can't be done in one go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations, permutations, product

from redismigrate.documents.storage_change import StorageChange
from redismigrate.errors import SchemaError
from redismigrate.operations.changes import AddField, ChangePrefix, IndexChange, RenameField
from redismigrate.operations.dropped_values import DropValues, RestoreValues
from redismigrate.operations.field_changes import AlterField, Truncate
from redismigrate.operations.renaming import paths_read
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import PathRename, PrefixChange, reads

Moves = tuple[tuple[PathRename, ...], tuple[PrefixChange, ...]]

# Text in quotes, or a name behind "@": what the server's lexer of expressions takes for one.
_QUOTED_OR_NAME = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|@(?P<name>(?:\\.|[^\s!-/:-@\[-^`{-~])+)"""
)


def moves_of(changes: Iterable[IndexChange], schema: IndexSchema) -> Moves:
    """What the changes of one index move in its documents, net: a to b and b to c is a to c.

    What the index did not read before, or does not read after, stays where it is: a field that the same
    changes add or drop.

    Args:
        changes: Of one `ChangeIndex`, in order.
        schema: The index before them.

    Returns:
        Renames within the documents and changes of their keys, independent of each other and in any order.

    Raises:
        SchemaError: A change can't be applied, or the moves depend on their order.
    """
    before = after = schema
    renames: list[tuple[str, str]] = []
    prefixes: list[tuple[str, str]] = []
    for change in changes:
        if isinstance(change, RenameField):
            move = change.path_rename(after)
            renames += [] if move is None else [(move.old, move.new)]
        elif isinstance(change, ChangePrefix):
            prefixes.append((change.old, change.new))
        after = change.apply(after)
    _refuse_renames_within_renames(renames, schema)
    renames = [(old, new) for old, new in _net(renames) if _is_read(old, before) and _is_read(new, after)]
    prefixes = [
        (old, new) for old, new in _net(prefixes) if _is_covered(old, before) and _is_covered(new, after)
    ]
    for one, other in combinations(renames, 2):
        if set(one) & set(other):
            raise _entangled(one, other, schema)
    for one, other in combinations(prefixes, 2):
        if any(_share_keys(*each) for each in product(one, other)):
            raise _entangled(one, other, schema)
    return tuple(PathRename(*each) for each in renames), tuple(PrefixChange(*each) for each in prefixes)


def truncations_of(changes: Iterable[IndexChange], schema: IndexSchema) -> dict[str, bool]:
    """The vectors that the changes of one index truncate.

    Args:
        changes: Of one `ChangeIndex`, in order.
        schema: The index before them.

    Returns:
        Hash field, as it is called before -> whether what is left gets length 1.
    """
    called_before: dict[str, str] = {}
    truncated: dict[str, bool] = {}
    for change in changes:
        if isinstance(change, Truncate):
            path = schema.field(change.name).path_in(schema.storage_type)
            first = called_before.get(path, path)
            truncated[first] = truncated.get(first, False) or change.renormalize
        if isinstance(change, AlterField | Truncate) and change.new_path is not None:
            path = schema.field(change.name).path_in(schema.storage_type)
            called_before[change.new_path] = called_before.get(path, path)
        elif isinstance(change, RenameField) and (move := change.path_rename(schema)) is not None:
            called_before[move.new] = called_before.pop(move.old, move.old)
        schema = change.apply(schema)
    return truncated


def second_paths_of(changes: Iterable[IndexChange], schema: IndexSchema) -> dict[str, str]:
    """Where the changes of one index write a new form of vectors, beside the old one.

    Args:
        changes: Of one `ChangeIndex`, in order.
        schema: The index before them.

    Returns:
        Path of the old form -> that of the new one.
    """
    paths: dict[str, str] = {}
    for change in changes:
        if isinstance(change, AlterField | Truncate) and change.new_path is not None:
            paths[schema.field(change.name).path_in(schema.storage_type)] = change.new_path
        schema = change.apply(schema)
    return paths


def check_block(changes: Sequence[IndexChange], before: IndexSchema, after: IndexSchema) -> None:
    """Refuse what the changes of one block can be one by one, but not together.

    Args:
        changes: All of them.
        before: The index before the first.
        after: The index after the last.

    Raises:
        SchemaError: The moves depend on their order, the filter of the index would lose what it names, a
            field is truncated twice or moves in two ways, or values are dropped beside other changes.
    """
    _refuse_two_truncations(changes, before)
    _refuse_second_paths_that_move(changes, before)
    _refuse_values_beside(changes, before)
    _refuse_beside_storage(changes, before)
    called = {
        change.name: change.name_after for change in changes if isinstance(change, AlterField | Truncate)
    }
    called = {name: after for name, after in called.items() if name != after}
    if not called and not any(isinstance(change, RenameField | ChangePrefix) for change in changes):
        return
    renames, prefixes = moves_of(changes, before)
    names = {
        name for change in changes if isinstance(change, RenameField) for name in (change.old, change.new)
    } | {path for rename in renames for path in (rename.old, rename.new)}
    names |= {*called, *called.values()}
    if before.filter == after.filter:
        lost = {
            name
            for name in names & _names_in(after.filter)
            if not _means_the_same(name, before, after, renames)
        }
        lost |= {"__key"} & _names_in(after.filter) if prefixes else set()
    else:
        # Both ways, so that what reverses the changes is refused exactly where they are.
        gone = _attributes(before) - _attributes(after)
        come = _attributes(after) - _attributes(before)
        lost = names & ((gone & _names_in(after.filter)) | (come & _names_in(before.filter)))
    if lost:
        raise SchemaError(
            f"The filter of index {before.name!r} names @{min(lost)}, which is another value or none after "
            "these changes.",
            "In the same block, before or after, set a filter that fits: index.set_options(filter=...).",
        )


def storage_change_of(changes: Iterable[IndexChange], schema: IndexSchema) -> StorageChange | None:
    """What the changes of one index make of the type of its documents; None where that stays.

    Args:
        changes: Of one `ChangeIndex`, in order.
        schema: The index before them.

    Raises:
        SchemaError: They change the documents otherwise as well.
    """
    first, found = schema, None
    changes = tuple(changes)
    _refuse_beside_storage(changes, schema)
    for change in changes:
        if isinstance(change, ChangeStorage):
            found = change.documents(schema)
        schema = change.apply(schema)
    if found is None:
        return None
    # A vector has the datatype that the index gives it in the hash, before or after all of them.
    of_hash = first if found.to == "json" else schema
    datatypes = {
        field.path_in("hash"): field.datatype for field in of_hash.fields if isinstance(field, VectorField)
    }
    values = tuple(
        replace(value, datatype=datatypes.get(value.field, value.datatype)) for value in found.values
    )
    return replace(found, values=values)


def _refuse_beside_storage(changes: Sequence[IndexChange], schema: IndexSchema) -> None:
    """Documents that become others of another type can't be changed otherwise in the same pass."""
    if not any(isinstance(change, ChangeStorage) for change in changes):
        return
    seen = 0
    for change in changes:
        seen += isinstance(change, ChangeStorage)
        moves = isinstance(change, RenameField) and change.path_rename(schema) is not None
        is_elsewhere = isinstance(change, AlterField) and "path" in change.attributes
        others = ChangePrefix | Truncate | DropValues | RestoreValues
        if moves or is_elsewhere or isinstance(change, others) or seen > 1:
            raise SchemaError(
                f"Index {schema.name!r} can't change the storage of its documents and {change} at once.",
                "Give places in paths= and prefixes in prefix= of change_storage, or do it in two revisions."
                if isinstance(change, RenameField | ChangePrefix)
                else "Take two revisions.",
            )
        schema = change.apply(schema)


def _refuse_two_truncations(changes: Iterable[IndexChange], schema: IndexSchema) -> None:
    """Each gives what is left length 1 or not, and documents are rewritten once for all."""
    truncated: set[str] = set()
    for change in changes:
        if isinstance(change, RenameField) and change.old in truncated:
            truncated = truncated - {change.old} | {change.new}
        elif isinstance(change, Truncate):
            if change.name in truncated:
                raise SchemaError(
                    f"Field {change.name!r} of index {schema.name!r} is truncated twice in one block.",
                    "Truncate it once, to the dims that it is to have in the end.",
                )
            truncated.add(change.name_after)
        elif isinstance(change, AlterField) and change.name in truncated:
            truncated = truncated - {change.name} | {change.name_after}


def _refuse_second_paths_that_move(changes: Iterable[IndexChange], schema: IndexSchema) -> None:
    """A new form elsewhere is made of what documents have before the block, and stays where it goes."""
    moved: set[str] = set()  # fields that are read from elsewhere than before the block
    made: set[str] = set()  # those among them whose values are made there
    for change in changes:
        old, new = None, None
        if isinstance(change, AddField):
            new = change.field.name
        elif isinstance(change, RenameField):
            old, new = change.old, change.new
        elif isinstance(change, AlterField | Truncate) and change.new_path is not None:
            old, new = change.name, change.name_after
            if old in moved:
                raise _moves_twice(old, schema)
        elif isinstance(change, AlterField) and "path" in change.attributes:
            old = new = change.name
        if old in made:
            raise _moves_twice(old, schema)
        if new is not None:
            moved.add(new)
        if isinstance(change, AlterField | Truncate) and change.new_path is not None:
            made.add(change.name_after)


def _refuse_values_beside(changes: Sequence[IndexChange], schema: IndexSchema) -> None:
    """Values go when nothing reads them any more, which other changes of the same block only bring about."""
    of_values = [change for change in changes if isinstance(change, DropValues | RestoreValues)]
    if of_values and len(of_values) < len(changes):
        raise SchemaError(
            f"Index {schema.name!r} can't {of_values[0]} beside other changes.",
            "Give them a revision of their own, after the one that lets the index read something else.",
        )


def _net(steps: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The steps as one from each start to its end, those that lead back left out."""
    ways: list[tuple[str, str]] = []
    for old, new in steps:
        known = next((way for way in ways if way[1] == old), None)
        if known is None:
            ways.append((old, new))
        else:
            ways[ways.index(known)] = (known[0], new)
    return [(old, new) for old, new in ways if old != new]


def _is_read(place: str, schema: IndexSchema) -> bool:
    return any(reads(path, place, schema.storage_type) for _, path in paths_read(schema))


def _is_covered(prefix: str, schema: IndexSchema) -> bool:
    return not schema.prefixes or any(_share_keys(prefix, known) for known in schema.prefixes)


def _share_keys(prefix: str, other: str) -> bool:
    return prefix.startswith(other) or other.startswith(prefix)


def _refuse_renames_within_renames(renames: Iterable[tuple[str, str]], schema: IndexSchema) -> None:
    """Renames of an object and of a member in it: where the member is depends on which goes first."""
    if schema.storage_type == "hash":
        return
    for one, other in permutations(renames, 2):
        for outer, inner in product(map(JsonPath.parse, one), map(JsonPath.parse, other)):
            if outer != inner and inner.is_within(outer):
                raise _entangled(one, other, schema)


def _moves_twice(name: str, schema: IndexSchema) -> SchemaError:
    return SchemaError(
        f"Field {name!r} of index {schema.name!r} is given two places in one block, one of them for a "
        "new form of its vectors.",
        "Name the last one alone, with path= and attribute=, or do it in two revisions.",
    )


def _entangled(one: tuple[str, str], other: tuple[str, str], schema: IndexSchema) -> SchemaError:
    return SchemaError(
        f"Index {schema.name!r} can't change {one[0]} to {one[1]} and {other[0]} to {other[1]} at once.",
        "One would meet what the other moves: do it in two revisions.",
    )


def _names_in(expression: str | None) -> set[str]:
    """What a filter names behind "@"; escaped characters both with and without their backslash."""
    matches = _QUOTED_OR_NAME.finditer(expression or "")
    names = {match["name"] for match in matches if match["name"] is not None}
    return names | {re.sub(r"\\(.)", r"\1", name) for name in names}


def _attributes(schema: IndexSchema) -> set[str]:
    return {field.name for field in schema.fields}


def _meaning(name: str, schema: IndexSchema) -> str | None:
    """The path of what a name in a filter reads; None: nothing.

    An attribute's name stands for it. On hashes any other name stands for the field of the hash, but for one
    that the index reads under another name: there the server finds nothing.
    """
    paths = {field.name: field.path_in(schema.storage_type) for field in schema.fields}
    is_field_of_hash = schema.storage_type == "hash" and name not in paths.values()
    return paths.get(name, name if is_field_of_hash else None)


def _means_the_same(
    name: str, before: IndexSchema, after: IndexSchema, renames: Iterable[PathRename]
) -> bool:
    was, now = _meaning(name, before), _meaning(name, after)
    for rename in renames:
        if was is not None and reads(was, rename.old, before.storage_type):
            return now == rename.follow(was, before.storage_type)
        if was is not None and reads(was, rename.new, before.storage_type):
            return False
    return was == now
