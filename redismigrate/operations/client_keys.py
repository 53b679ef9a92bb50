"""What becomes of keys where an index gets another prefix or separator, of which clients compose them."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.operations.changes import ChangePrefix, IndexChange, SetOptions
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema import IndexSchema
from redismigrate.schema.prefixes import KeyPrefixes, beginning_of_keys


def ways_to_move_keys(before: IndexSchema, after: IndexSchema) -> Iterator[tuple[IndexChange, ...]]:
    """What moves documents from the keys that clients compose of one schema to those of another one.

    Prefixes are compared by what RedisVL makes of them, not by their bytes: `Player` and `Player:` are the
    same to it, and `product:` and `shop` are `product:` and `shop:`. What is left to be set of the prefixes
    themselves is not among the changes.

    Args:
        before: The index as it is.
        after: The index as it is wanted.

    Returns:
        The ways to do it, the simplest first; a later one takes fewer keys that no client has composed. None
        where clients compose the same keys, and where it can't be told which keys become which: several
        prefixes are others, or a key has none.
    """
    old, new = _beginnings(before), _beginnings(after)
    gone = [prefix for prefix, begins in old.items() if begins not in new.values()]
    come = [prefix for prefix, begins in new.items() if begins not in old.values()]
    if len({old[prefix] for prefix in gone}) != 1 or len({new[prefix] for prefix in come}) != 1:
        return
    begins, shall_begin = old[gone[0]], new[come[0]]
    if not begins or not shall_begin:
        return
    if not (begins.startswith(gone[0]) and shall_begin.startswith(come[0])):
        # An index does not cover what clients make of its own prefix: of two evils it keeps its documents.
        yield (ChangePrefix(gone[0], come[0]),)
        return
    rest = begins.removeprefix(gone[0])
    is_nested = come[0].startswith(gone[0])
    if len(gone) == 1 and come[0] + rest == shall_begin and not is_nested:
        # What else has the prefix goes along. Within the old prefix it could not be told from what has moved.
        yield (ChangePrefix(gone[0], come[0]),)
    composed = tuple(dict.fromkeys(made if made.startswith(each) else each for each, made in old.items()))
    narrowed = () if composed == before.prefixes else (SetOptions({"prefixes": list(composed)}),)
    yield (*narrowed, ChangePrefix(begins, shall_begin))


def remarks_on_keys(operation: ChangeIndex, before: IndexSchema) -> Iterator[str]:
    """What has to be known of keys that stay where they are though prefixes change.

    Args:
        operation: The changes of one index.
        before: The index before them.
    """
    after = before
    for change in operation.changes:
        after = change.apply(after)
    for prefix, begins in _beginnings(after).items():
        if not begins.startswith(prefix):
            yield (
                f"RedisVL makes keys that begin with {begins!r} of the prefix {prefix!r}, which does not "
                "cover them: the index finds none of these documents. Write the prefix without separators at "
                "its end."
            )
    if any(_moves_keys(change) for change in operation.changes):
        return
    old, new = _beginnings(before), _beginnings(after)
    if set(old.values()) != set(new.values()):
        if old and new:
            yield (
                f"No key moves. RedisVL makes keys that begin with {_listed(old)} before this, and with "
                f"{_listed(new)} after it: it does not find the documents by their ids, and what it loads "
                "again is there twice. index.change_prefix moves documents."
            )
    elif not _covers(after, before):
        yield (
            f"No key moves: those that RedisVL makes begin with {_listed(new)} before and after this. "
            "Documents whose keys begin otherwise may leave the index."
        )


def _moves_keys(change: IndexChange) -> bool:
    return isinstance(change, ChangePrefix) or (isinstance(change, ChangeStorage) and bool(change.prefixes))


def _beginnings(schema: IndexSchema) -> dict[str, str]:
    """Each prefix -> what keys begin with that clients make of it."""
    return {prefix: beginning_of_keys(prefix, schema.key_separator) for prefix in schema.prefixes}


def _covers(after: IndexSchema, before: IndexSchema) -> bool:
    """Whether an index has all keys of the other one."""
    covered = KeyPrefixes.of(after.prefixes)
    return all(map(covered.cover, KeyPrefixes.of(before.prefixes).outermost))


def _listed(beginnings: dict[str, str]) -> str:
    return " or ".join(sorted({repr(begins) for begins in beginnings.values()}))
