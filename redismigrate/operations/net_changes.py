"""The changes of one index as the shortest ones that lead to the same, in the order of generated scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redismigrate.errors import SchemaError
from redismigrate.operations.block_moves import moves_of, storage_change_of
from redismigrate.operations.changes import AddField, DropField, IndexChange, RenameField, RenameTo
from redismigrate.operations.differing import Rename, applied, changes_between
from redismigrate.operations.dropped_values import DropValues, RestoreValues
from redismigrate.operations.field_changes import AlterField, Truncate
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import diff


def net_changes(changes: Sequence[IndexChange], before: IndexSchema) -> tuple[IndexChange, ...]:
    """What changes come to: what is taken back by a later one is gone, and what is about one field is one.

    Args:
        changes: In the order in which somebody asked for them.
        before: The index before the first of them.

    Returns:
        The changes that comparing the two schemas finds, for the keys of documents as well; those
        given where these would not lead to the same index, or not rename the same in its documents, as where
        a field gets the name of one that goes.

    Raises:
        SchemaError: One of them can't be applied.
    """
    after = applied(before, changes)
    if any(map(_shows_in_documents_alone, changes)):
        return tuple(changes)
    try:
        net = changes_between(before, after, _renames(changes, before))
        if after.name != before.name:
            net = (*net, RenameTo(after.name))
        (renames, keys), (given, given_keys) = moves_of(net, before), moves_of(changes, before)
        moves_as_many = len(keys) == len(given_keys)
        if not diff(applied(before, net), after) and set(renames) == set(given) and moves_as_many:
            return net
    except SchemaError:  # a rename that is none between the two schemas
        pass
    return tuple(changes)


def lead_to_the_same(some: Sequence[IndexChange], others: Sequence[IndexChange], before: IndexSchema) -> bool:
    """Whether changes make the same index, and move the same within its documents.

    Args:
        some: The ones.
        others: The others.
        before: The index before either.

    Raises:
        SchemaError: Some of them can't be applied, or not together.
    """
    one, other = applied(before, some), applied(before, others)
    if one.name != other.name or diff(one, other):
        return False
    if storage_change_of(some, before) != storage_change_of(others, before):
        return False
    (renames, keys), (other_renames, other_keys) = moves_of(some, before), moves_of(others, before)
    return set(renames) == set(other_renames) and set(keys) == set(other_keys)


def _shows_in_documents_alone(change: IndexChange) -> bool:
    """Whether two schemas don't tell it: documents are cut, lose values, or have them elsewhere."""
    if isinstance(change, AlterField):
        return change.new_path is not None
    return isinstance(change, Truncate | DropValues | RestoreValues | ChangeStorage)


def _renames(changes: Iterable[IndexChange], before: IndexSchema) -> tuple[Rename, ...]:
    """The fields that are there before and after under other names."""
    origins = {field.name: field.name for field in before.fields}
    for change in changes:
        if isinstance(change, RenameField) and change.old in origins:
            origins[change.new] = origins.pop(change.old)
        elif isinstance(change, DropField):
            origins.pop(change.name, None)
        elif isinstance(change, AddField):
            origins.pop(change.field.name, None)
    return tuple(Rename(before.name, old, new) for new, old in origins.items() if old != new)
