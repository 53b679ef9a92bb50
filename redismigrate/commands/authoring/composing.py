"""The operations of revisions that follow each other as those of one: composed where that leads to the same.

Several changes of one index become one block, which is one build; changes of an index that the same revisions
create go into its schema, and those of one that they drop are left out. Nothing of that is done where
documents would not end as they did one by one. What can't be composed stays one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.storage_change import StorageChange
from redismigrate.errors import SchemaError
from redismigrate.operations.block_moves import check_block, moves_of, storage_change_of, truncations_of
from redismigrate.operations.changes import IndexChange, leaves_values
from redismigrate.operations.net_changes import net_changes
from redismigrate.operations.operation_types import (
    AssumeExclusive,
    ChangeIndex,
    CreateIndex,
    DropIndex,
    Operation,
)
from redismigrate.planning.rewrites import recodings_of
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog, IndexDefinition

Pair = tuple[str, str]


@dataclass(frozen=True)
class Asked:
    """An operation, and the revisions that ask for it.

    Attributes:
        operation: What is asked for.
        revisions: By which, in order.
        rewrites: Whether the documents of its index are rewritten.
    """

    operation: Operation
    revisions: tuple[str, ...]
    rewrites: bool = False


def composed(
    asked: Iterable[tuple[str, Operation]], before: Catalog, *, is_back: bool = False
) -> tuple[Asked, ...]:
    """The operations of several revisions as those of one.

    Args:
        asked: Revision and operation, in the order in which they are carried out.
        before: The indexes as the first finds them.
        is_back: They lead back. Originals come from the backup of the one revision then, so documents need
            not pass through every form in between.

    Raises:
        SchemaError: An operation can't be applied.
    """
    one_by_one, catalog = [], before
    for revision, operation in asked:
        one_by_one.append(_asked(operation, (revision,), catalog))
        catalog = operation.apply(catalog)
    found: list[Asked] = []
    for each in one_by_one:
        _add(found, each, before, is_back=is_back)
    try:
        leads_there = _same(_after(found, before), catalog)
    except SchemaError:
        leads_there = False
    return tuple(found if leads_there else one_by_one)


def rewritten_twice(found: Iterable[Asked]) -> tuple[Asked, Asked] | None:
    """Two changes that rewrite documents of one index one after the other, which no one revision can do."""
    done: dict[str, Asked] = {}
    for each in found:
        operation = each.operation
        if not isinstance(operation, ChangeIndex):
            continue
        known = done.pop(operation.name, None)
        if known is not None and each.rewrites:
            return known, each
        if known is not None or each.rewrites:
            done[operation.name_after] = known or each
    return None


def _asked(operation: Operation, revisions: tuple[str, ...], catalog: Catalog) -> Asked:
    if not isinstance(operation, ChangeIndex):
        return Asked(operation, revisions)
    schema = catalog.index(operation.name).schema
    effect = _Effect.of(operation.changes, schema)
    rewrites = effect.rewrites or any(map(leaves_values, operation.changes))
    return Asked(operation, revisions, rewrites=rewrites)


def _add(found: list[Asked], each: Asked, before: Catalog, *, is_back: bool) -> None:
    """Put an operation behind others, or together with the last of them that is about its index."""
    operation = each.operation
    if isinstance(operation, AssumeExclusive):
        if all(operation != known.operation for known in found):
            found.append(each)
        return
    if isinstance(operation, ChangeIndex | DropIndex):
        names = {operation.name, *([operation.name_after] if isinstance(operation, ChangeIndex) else [])}
        for at in range(len(found) - 1, -1, -1):
            known = found[at]
            if _makes(known.operation) == operation.name:
                one = _together(known, each, _after(found[:at], before), is_back=is_back)
                if one is not None:
                    found[at : at + 1] = one
                    return
                break
            if not names.isdisjoint(_mentioned(known.operation)) or (each.rewrites and known.rewrites):
                break
    found.append(each)


def _together(known: Asked, each: Asked, before: Catalog, *, is_back: bool) -> list[Asked] | None:
    """Two operations about one index as one or none; None where that would not be the same."""
    first, second = known.operation, each.operation
    revisions = tuple(dict.fromkeys((*known.revisions, *each.revisions)))
    if isinstance(second, DropIndex):
        # An index that is about to go need not be changed before.
        if isinstance(first, ChangeIndex) and not known.rewrites and not second.delete_documents:
            return [Asked(replace(second, name=first.name), revisions)]
        return None
    if not isinstance(second, ChangeIndex) or isinstance(first, DropIndex):
        return None
    if isinstance(first, CreateIndex):
        if each.rewrites:  # documents may be there already
            return None
        schema = first.schema
        for change in second.changes:
            schema = change.apply(schema)
        return [Asked(CreateIndex(schema), revisions)]
    if not isinstance(first, ChangeIndex):
        return None
    schema = before.index(first.name).schema
    changes = _as_one_block(first.changes, second.changes, schema, is_back=is_back)
    if changes is None:
        return None
    return [_asked(ChangeIndex(first.name, changes), revisions, before)] if changes else []


def _as_one_block(
    first: Sequence[IndexChange], second: Sequence[IndexChange], schema: IndexSchema, *, is_back: bool
) -> tuple[IndexChange, ...] | None:
    """The changes of two blocks as those of one; None where documents would not end the same."""
    middle, changes = _applied(first, schema), (*first, *second)
    if any(map(leaves_values, changes)):
        return None
    try:
        check_block(changes, schema, _applied(second, middle))
        done, more = _Effect.of(first, schema, is_back=is_back), _Effect.of(second, middle, is_back=is_back)
        if done.followed_by(more, is_back=is_back) != _Effect.of(changes, schema, is_back=is_back):
            return None
        return net_changes(changes, schema)
    except SchemaError:
        return None


def _comparable(recoding: Recoding) -> Recoding:
    """The same without what does not tell what it does to documents."""
    return replace(
        recoding, quantization_before=None, renormalize=recoding.renormalize if recoding.cuts else True
    )


@dataclass(frozen=True)
class _Effect:
    """What changes of an index do to its documents.

    Attributes:
        renames: Where values go, from and to.
        prefixes: What keys begin with, from and to.
        recodings: The vectors that get other bytes.
        storage: The other type that the documents get.
    """

    renames: frozenset[Pair]
    prefixes: frozenset[Pair]
    recodings: frozenset[Recoding]
    storage: StorageChange | None = None

    @property
    def rewrites(self) -> bool:
        return bool(self.renames or self.prefixes or self.recodings or self.storage)

    @classmethod
    def of(cls, changes: Sequence[IndexChange], schema: IndexSchema, *, is_back: bool = False) -> _Effect:
        renames, prefixes = moves_of(changes, schema)
        truncated = truncations_of(changes, schema)
        recodings = recodings_of(
            schema, _applied(changes, schema), renames, {}, truncated, is_way_back=is_back
        )
        return cls(
            frozenset((each.old, each.new) for each in renames),
            frozenset((each.old, each.new) for each in prefixes),
            frozenset(map(_comparable, recodings)),
            storage_change_of(changes, schema),
        )

    def followed_by(self, other: _Effect, *, is_back: bool) -> _Effect | None:
        """What both do, one after the other; None where no one rewrite does that."""
        if self.storage is not None or other.storage is not None:
            only = self if self.storage is not None else other
            return None if self.rewrites and other.rewrites else only
        sources = {new: old for old, new in self.renames}
        known = {recoding.path: recoding for recoding in self.recodings}
        for recoding in other.recodings:
            source = sources.get(recoding.path, recoding.path)
            first = known.pop(source, None)
            if first is None:
                known[source] = replace(recoding, path=source)
                continue
            resizes = first.dims_changed is not None or recoding.dims_changed is not None
            # By way of a form that holds less, or as integers of another scale, they come out otherwise.
            if not is_back and (resizes or not first.is_lossless or recoding.makes_integers):
                return None
            both = replace(
                recoding,
                path=source,
                before=first.before,
                dims=first.dims,
                dims_changed=None if first.dims == recoding.dims_after else recoding.dims_after,
            )
            if both.changes_values:
                known[source] = _comparable(both)
        return _Effect(
            _followed(self.renames, other.renames),
            _followed(self.prefixes, other.prefixes),
            frozenset(known.values()),
        )


def _followed(first: Iterable[Pair], second: Iterable[Pair]) -> frozenset[Pair]:
    """Moves and further moves as one each; those that lead back are none."""
    later = dict(second)
    both = {old: later.pop(new, new) for old, new in first} | later
    return frozenset((old, new) for old, new in both.items() if old != new)


def _applied(changes: Iterable[IndexChange], schema: IndexSchema) -> IndexSchema:
    for change in changes:
        schema = change.apply(schema)
    return schema


def _after(asked: Iterable[Asked], catalog: Catalog) -> Catalog:
    for each in asked:
        catalog = each.operation.apply(catalog)
    return catalog


def _makes(operation: Operation) -> str | None:
    """The index that is there, as the operation leaves it, right after it."""
    match operation:
        case CreateIndex():
            return operation.schema.name
        case ChangeIndex():
            return operation.name_after
    return None


def _mentioned(operation: Operation) -> set[str]:
    match operation.kind:
        case "create_index":
            return {operation.schema.name}
        case "change_index":
            return {operation.name, operation.name_after}
        case "drop_index":
            return {operation.name}
        case "create_alias":
            return {operation.alias, operation.index}
        case "drop_alias":
            return {operation.alias}
        case "set_synonyms" | "expect":
            return {operation.index}
    return set()


def _same(one: Catalog, other: Catalog) -> bool:
    return one.keys() == other.keys() and all(_is_like(one[name], other[name]) for name in one)


def _is_like(one: IndexDefinition, other: IndexDefinition) -> bool:
    named = (one.aliases, one.synonyms) == (other.aliases, other.synonyms)
    return named and not diff(one.schema, other.schema)
