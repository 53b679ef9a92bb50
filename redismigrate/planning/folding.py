"""Several revisions as one: what they come to, and what of them one build would not do as they do it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from redismigrate.documents.rewrite import LOSSLESS, Recoding, Rewrite
from redismigrate.errors import SchemaError
from redismigrate.operations.changes import IndexChange, leaves_values
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.document_obstacles import what_documents_forbid
from redismigrate.planning.rewrites import rewrite_of
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.vector_field import Datatype, DistanceMetric


def fold(members: Sequence[RecordedRevision], catalog: Catalog) -> RecordedRevision:
    """One revision that does what some do one by one, with all changes of an index in one block.

    It has the id of the last of them, and leaves the same indexes and documents. One alone is itself.

    Args:
        members: In the order in which they are carried out; they only change indexes. What files of queries
            expect of the last one is expected of all.
        catalog: The indexes as the first of them finds them.

    Raises:
        ValueError: One build would not leave the same; the text says why.
    """
    if len(members) == 1:
        return members[0]
    histories = histories_of(members, catalog)
    last = members[-1]
    changes = [ChangeIndex(first, history.changes) for first, history in histories.items()]
    expected = [operation for operation in last.operations if operation.kind == "expect"]
    folded = replace(
        last,
        message=f"{len(members)} revisions as one: {'; '.join(member.message for member in members)}",
        parents=members[0].parents,
        depends_on=tuple(dict.fromkeys(each for member in members for each in member.depends_on)),
        operations=(*changes, *expected),
        adopted={name: index for member in members for name, index in member.adopted.items()},
        folded=tuple(members),
    )
    try:
        is_same = folded.apply(catalog) == _applied(members, catalog)
    except SchemaError as error:
        raise ValueError(error.message.rstrip(".")) from error
    if not is_same:
        raise ValueError("names move between indexes in a way that depends on their order")
    for history in histories.values():
        history.require_same_documents()
    _refuse_shared_documents(histories)
    return replace(folded, restorable_alone=_restorable_alone(members, histories.values()))


@dataclass(frozen=True)
class IndexPart:
    """What one revision does to one index.

    Attributes:
        revision: Which.
        before: The index before it.
        after: The index after it.
        changes: In order.
    """

    revision: str
    before: IndexDefinition
    after: IndexDefinition
    changes: tuple[IndexChange, ...]

    @property
    def rewrite(self) -> Rewrite:
        """What it does to the documents."""
        return rewrite_of(self.before, self.after, self.changes)


@dataclass(frozen=True)
class IndexHistory:
    """What some revisions do to one index, whatever it is called meanwhile."""

    parts: tuple[IndexPart, ...]

    @property
    def changes(self) -> tuple[IndexChange, ...]:
        """All of them, in order."""
        return tuple(change for part in self.parts for change in part.changes)

    @property
    def at_once(self) -> Rewrite:
        """What all changes do to the documents as those of one block."""
        return rewrite_of(self.parts[0].before, self.parts[-1].after, self.changes)

    @property
    def rewrites(self) -> bool:
        """Whether any revision changes documents."""
        return any(part.rewrite for part in self.parts)

    def require_same_documents(self) -> None:
        """Refuse where one pass over the documents would not do what several do.

        Raises:
            ValueError: It would not.
        """
        if self.rewrites:
            self._require_same_coverage()
        one_by_one = _Effect()
        for part in self.parts:
            old, new, rewrite = part.before.schema, part.after.schema, part.rewrite
            if any(map(leaves_values, part.changes)):
                raise ValueError(
                    f"revision {part.revision} leaves values of documents beside others, or drops them"
                )
            if rewrite.storage is not None:
                raise ValueError(f"revision {part.revision} changes the storage of the documents")
            resized = _resized(old, new)
            if resized is not None:
                raise ValueError(f"revision {part.revision} changes the dimensions of {resized}")
            for reason in what_documents_forbid(old, new, rewrite):
                raise ValueError(reason)
            one_by_one.add(rewrite)
        at_once = _Effect()
        at_once.add(self.at_once)
        name = self.parts[0].before.served
        if one_by_one != at_once:
            raise ValueError(
                f"documents of index {name} would not become the same: one by one {one_by_one}, "
                f"at once {at_once}"
            )

    def _require_same_coverage(self) -> None:
        """Refuse where which documents there are to rewrite depends on the moment."""
        first = self.parts[0].before.schema
        expected = first.prefixes
        moving: str | None = None
        for part in self.parts:
            if moving is not None and part.rewrite:
                # What is at the new keys by then is rewritten, too, whoever wrote it.
                raise ValueError(
                    f"revision {part.revision} rewrites what it finds under the keys to which revision "
                    f"{moving} moves documents"
                )
            if part.rewrite.prefixes:
                moving = part.revision
            moved = {change.old: change.new for change in part.rewrite.prefixes}
            expected = tuple(moved.get(prefix, prefix) for prefix in expected)
            schema = part.after.schema
            if expected != schema.prefixes or first.filter != schema.filter:
                raise ValueError(
                    f"revision {part.revision} changes which documents index {part.before.served} has, and "
                    "another one of them rewrites these"
                )


def _resized(old: IndexSchema, new: IndexSchema) -> str | None:
    """A vector field that has other dimensions afterwards; None where none has."""
    before = {field.name: field.dims for field in old.fields if isinstance(field, VectorField)}
    after = {field.name: field.dims for field in new.fields if isinstance(field, VectorField)}
    return next((name for name, dims in after.items() if before.get(name, dims) != dims), None)


def histories_of(members: Iterable[RecordedRevision], catalog: Catalog) -> dict[str, IndexHistory]:
    """What revisions that only change indexes do to each, by its served name before the first of them."""
    parts: dict[str, list[IndexPart]] = {}
    called: dict[str, str] = {}
    for member in members:
        catalog = member.start(catalog)
        for operation in member.operations:
            if not isinstance(operation, ChangeIndex):
                continue
            before, catalog = catalog, operation.apply(catalog)
            first = called.pop(operation.name, operation.name)
            called[operation.name_after] = first
            old, new = before[operation.name], catalog[operation.name_after]
            parts.setdefault(first, []).append(IndexPart(member.revision, old, new, operation.changes))
    return {first: IndexHistory(tuple(found)) for first, found in parts.items()}


def _restorable_alone(
    members: Sequence[RecordedRevision], histories: Iterable[IndexHistory]
) -> tuple[str, ...]:
    """The first one, and all whose vectors the backup has under the keys and paths, and as, they met them."""
    lacking: set[str] = set()
    for history in histories:
        at_once = history.at_once
        moved: set[str] = set()
        for part in history.parts:
            own = part.rewrite
            is_same = all(any(map(each.is_same_as, at_once.recodings)) for each in own.recodings)
            is_found = not at_once.prefixes and moved.isdisjoint(own.recoded_paths)
            if own.recodings and not (is_same and is_found):
                lacking.add(part.revision)
            moved |= {path for rename in own.renames for path in (rename.old, rename.new)}
    first, *others = (member.revision for member in members)
    return (first, *(revision for revision in others if revision not in lacking))


def _applied(members: Iterable[RecordedRevision], catalog: Catalog) -> Catalog:
    for member in members:
        catalog = member.apply(catalog)
    return catalog


def _refuse_shared_documents(histories: Mapping[str, IndexHistory]) -> None:
    """Refuse to change several readers of the same documents at once where one of them rewrites these."""
    for (name, one), (other_name, other) in combinations(histories.items(), 2):
        if (one.rewrites or other.rewrites) and _shares_documents(one, other):
            raise ValueError(f"indexes {name} and {other_name} share documents that are rewritten")


def _shares_documents(one: IndexHistory, other: IndexHistory) -> bool:
    keys, others = (
        [KeyPrefixes.of(d.schema.prefixes) for part in each.parts for d in (part.before, part.after)]
        for each in (one, other)
    )
    return any(mine.overlap(theirs) for mine in keys for theirs in others)


@dataclass
class _Effect:
    """What rewrites do to documents, one after the other: where values come from, and in which datatype.

    Attributes:
        values: Path afterwards -> the path before, and how the vectors there are re-encoded, net.
        prefixes: Prefix afterwards -> the one before.
    """

    values: dict[str, tuple[str, _Datatypes | None]] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)

    def add(self, rewrite: Rewrite) -> None:
        """Do one more.

        Raises:
            ValueError: It depends on what an earlier one has lost, or on what documents have where that one
                has moved a value to.
        """
        for path in (*rewrite.recoded_paths, *(rename.old for rename in rewrite.renames)):
            self._refuse_moved(path)
        for recoding in rewrite.recodings:
            _, known = self.values.get(recoding.path, (recoding.path, None))
            self.values[recoding.path] = recoding.path, _Datatypes.after(known, recoding)
        for rename in rewrite.renames:
            self.values[rename.new] = self.values.pop(rename.old, (rename.old, None))
        self.prefixes |= {change.new: change.old for change in rewrite.prefixes}

    def _refuse_moved(self, path: str) -> None:
        origin, _ = self.values.get(path, (path, None))
        if origin != path:
            raise ValueError(
                f"{origin} moves to {path} before what is at {path} is rewritten, which is something else "
                f"where a document has no {origin}"
            )

    def __str__(self) -> str:
        moved = [
            f"{path} is {origin}" + ("" if datatypes is None else f" as {datatypes.after_all}")
            for path, (origin, datatypes) in self.values.items()
        ]
        moved += [f"{new}* is {old}*" for new, old in self.prefixes.items()]
        return ", ".join(moved) or "they stay"


@dataclass(frozen=True)
class _Datatypes:
    """How vectors are re-encoded, net.

    Attributes:
        before: The datatype that they had.
        after_all: The one that they have in the end.
        metric: Decides how integers are made; None where there are none.
    """

    before: Datatype
    after_all: Datatype
    metric: DistanceMetric | None

    @classmethod
    def after(cls, known: _Datatypes | None, recoding: Recoding) -> _Datatypes:
        """What a further recoding makes of it.

        Raises:
            ValueError: One conversion would not do the same as both.
        """
        metric = recoding.distance_metric if recoding.makes_integers else None
        if known is None:
            return cls(recoding.before, recoding.after, metric)
        keeps_all = recoding.before in LOSSLESS.get(known.before, ())
        goes_back = recoding.after == known.before
        if recoding.before != known.after_all or not keeps_all or goes_back or metric is not None:
            raise ValueError(
                f"{recoding.path} is re-encoded from {known.before} to {known.after_all} and then to "
                f"{recoding.after}, which one conversion would not do alike"
            )
        return cls(known.before, recoding.after, None)
