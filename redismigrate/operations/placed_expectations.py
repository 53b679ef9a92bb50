"""Where an expectation stands among the changes of its index, and on which side of them it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redismigrate.operations.changes import IndexChange
from redismigrate.operations.expectations import Expectation, expectation_words
from redismigrate.operations.operation_types import Operation, SetSynonyms
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.schema.definition import Catalog, IndexDefinition

Change = IndexChange | SetSynonyms

# Options of an index that decide which documents it has.
_OF_DOCUMENTS = frozenset(
    {"prefixes", "key_separator", "filter", "storage_type", "skip_initial_scan", "temporary_seconds"}
)
# Attributes of a field that don't decide what is found by it, or by its vectors hardly.
_TUNING = frozenset(
    {
        "algorithm",
        "block_size",
        "compression",
        "construction_window_size",
        "datatype",
        "ef_construction",
        "ef_runtime",
        "epsilon",
        "graph_max_degree",
        "initial_cap",
        "m",
        "no_index",
        "reduce",
        "search_window_size",
        "sortable",
        "training_threshold",
        "unf",
        "weight",
    }
)
_MATTERS_TO_VECTORS = frozenset({"dims", "distance_metric"})


@dataclass(frozen=True)
class PlacedExpectation:
    """An expectation, and what the revision does to its index before and after the place where it stands.

    Attributes:
        expectation: It.
        operation: Its place among the operations, from 0.
        name_before: What the index is called before the revision; None where the revision creates it.
        name_after: What it is called after it; None where it is gone.
        definition: The index before the revision; None where no revision has made or changed it.
        before: What was done to it before that place.
        after: What is done to it after that place.
        comes_after_function: Whether a function of the script has run by then.
    """

    expectation: Expectation
    operation: int
    name_before: str | None
    name_after: str | None
    definition: IndexDefinition | None
    before: tuple[Change, ...] = ()
    after: tuple[Change, ...] = ()
    comes_after_function: bool = False

    @property
    def is_asked_before(self) -> bool:
        """Whether the index as it is tells before anything is changed that it can't be met."""
        if self.name_before is None or self.comes_after_function:
            return False
        return all(foretells(self.expectation, change) for change in self.before)

    @property
    def is_asked_after(self) -> bool:
        """Whether what the revision makes of the index has to meet it."""
        return self.name_after is not None and all(bears(self.expectation, change) for change in self.after)


def expectations_of(recorded: RecordedRevision, catalog: Catalog) -> tuple[PlacedExpectation, ...]:
    """The expectations of a revision in their order, each with its place.

    Args:
        recorded: The revision.
        catalog: The indexes before it.
    """
    if not any(operation.kind == "expect" for operation in recorded.operations):
        return ()
    start = recorded.start(catalog)
    followed = [_Followed(name, name, definition) for name, definition in start.items()]
    asked: list[tuple[Expectation, int, _Followed, int, bool]] = []
    has_run = False
    for position, operation in enumerate(recorded.operations):
        has_run = has_run or operation.kind == "run"
        if operation.kind == "create_index":
            followed.append(_Followed(None, operation.schema.name, None))
        elif operation.kind == "expect":
            here = next((index for index in followed if index.name == operation.index), None)
            if here is None:  # no revision manages it: nothing is done to it
                here = _Followed(operation.index, None, None)
            asked.append((operation.expectation, position, here, len(here.changes), has_run))
        else:
            for index in followed:
                index.take(operation)
    return tuple(
        PlacedExpectation(
            expectation=expectation,
            operation=position,
            name_before=index.first,
            name_after=index.name,
            definition=index.definition,
            before=tuple(index.changes[:done]),
            after=tuple(index.changes[done:]),
            comes_after_function=comes_after,
        )
        for expectation, position, index, done, comes_after in asked
    )


def lasting_expectations(recorded: RecordedRevision, catalog: Catalog) -> tuple[dict[str, Any], ...]:
    """What a script expects of indexes once its revision is applied or undone, as the record has it.

    Args:
        recorded: The revision.
        catalog: The indexes before it.

    Returns:
        Of each "index" and the arguments of `op.expect`.
    """
    return tuple(
        {"index": placed.name_after, **expectation_words(placed.expectation)}
        for placed in expectations_of(recorded, catalog)
        if placed.is_asked_after and placed.expectation.source == "script"
    )


def bears(expectation: Expectation, change: Change) -> bool:
    """Whether an index is to answer as expected after a change, too: it is no other question then."""
    match change.kind:
        case "rename_to" | "drop_values" | "restore_values":
            return True
        case "set_synonyms":
            return expectation.query is None
        case "set_options":
            if expectation.query is None:
                return _OF_DOCUMENTS.isdisjoint(change.options)
            return False
        case "change_prefix" | "change_storage":
            # What a text holds is split otherwise in JSON, and in a hash.
            is_asked_otherwise = change.kind == "change_storage" and expectation.query is not None
            return not (expectation.names_keys or is_asked_otherwise)
        case "add_field":
            return not (expectation.has_free_terms and change.field.type == "text")
        case "alter_field" | "truncate":
            attributes = change.attributes if change.kind == "alter_field" else {"dims"}
            return _bears_altered(expectation, change.name, frozenset(attributes))
        case "drop_field":
            return change.name not in expectation.fields and not expectation.has_free_terms
        case "rename_field":
            return change.old not in expectation.fields


def foretells(expectation: Expectation, change: Change) -> bool:
    """Whether an index that does not answer as expected can't do so after a change either."""
    if not bears(expectation, change):
        return False
    match change.kind:
        case "drop_field" | "rename_field" | "truncate" | "change_storage":
            return False  # documents that could not be indexed because of it come into the index
        case "add_field":
            return change.field.name not in expectation.fields
        case "alter_field":
            # By another algorithm, or with other parameters, other neighbours are found.
            is_asked = expectation.knn is not None and expectation.knn.field == change.name
            return not is_asked and _TUNING.issuperset(change.attributes)
    return True


def _bears_altered(expectation: Expectation, name: str, attributes: frozenset[str]) -> bool:
    if expectation.knn is not None and expectation.knn.field == name:
        return _MATTERS_TO_VECTORS.isdisjoint(attributes)
    if _TUNING.issuperset(attributes):
        return True
    return name not in expectation.fields and not expectation.has_free_terms


@dataclass
class _Followed:
    """An index through the operations of a revision.

    Attributes:
        first: Its name before them; None where one of them creates it.
        name: Its name by now; None where it is gone.
        definition: As it was before them.
        changes: What was done to it so far.
    """

    first: str | None
    name: str | None
    definition: IndexDefinition | None
    changes: list[Change] = field(default_factory=list)

    def take(self, operation: Operation) -> None:
        """Note what an operation does to it, if anything."""
        if operation.kind == "drop_index" and operation.name == self.name:
            self.name = None
        elif operation.kind == "set_synonyms" and operation.index == self.name:
            self.changes.append(operation)
        elif operation.kind == "change_index" and operation.name == self.name:
            self.changes += operation.changes
            self.name = operation.name_after
