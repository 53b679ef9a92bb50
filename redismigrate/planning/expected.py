"""The steps that look whether indexes are as expected, and what is known of that before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from redismigrate.operations.expectations import Expectation, ExpectationAnswer
from redismigrate.operations.placed_expectations import PlacedExpectation
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import Step
from redismigrate.planning.step_payloads import ExpectationsPayload
from redismigrate.schema.definition import Catalog, IndexDefinition

# What makes an index of another.
_BUILDS = frozenset({"create_index", "replace_index"})

# Served name and expectation -> what the index on the server has answered.
Answers = Mapping[tuple[str, Expectation], ExpectationAnswer]


def answers_after(
    answers: Answers, recorded: RecordedRevision, before: Catalog, after: Catalog
) -> dict[tuple[str, Expectation], ExpectationAnswer]:
    """What is known of indexes once a revision is applied: nothing of those that it changes.

    Args:
        answers: What is known before it.
        recorded: The revision.
        before: The indexes that its operations find.
        after: Those that they leave.
    """
    for operation in recorded.operations:
        moves = operation.kind == "change_index" and any(
            c.kind in {"change_prefix", "change_storage"} for c in operation.changes
        )
        if (
            operation.kind == "run"
            or moves
            or (operation.kind == "drop_index" and operation.delete_documents)
        ):
            return {}  # documents of others may have changed
    return {
        (name, expectation): answer
        for (name, expectation), answer in answers.items()
        if before.get(name) == after.get(name)
    }


def with_checks(
    steps: Iterable[Step], placed: Iterable[PlacedExpectation], marks: Iterable[int], catalog: Catalog
) -> list[Step]:
    """The steps of a revision, with those that look whether what it has made is as expected.

    An index that is built is looked at as soon as it is complete, before names move to it; where a function
    of the script runs between that and the expectation, after the function.

    Args:
        steps: In the order of the operations.
        placed: The expectations.
        marks: Place of an operation -> how many steps there were before it.
        catalog: The indexes that the operations leave, under their physical names.
    """
    ordered, marks = list(steps), tuple(marks)
    found: dict[int, list[Step]] = {}
    for item in placed:
        name = item.name_after
        if not item.is_asked_after or name is None or name not in catalog:
            continue
        at, definition = _where_asked(ordered, marks[item.operation], catalog[name])
        checks = found.setdefault(at, [])
        same = next((check for check in checks if check.after == definition), None)
        if same is None:
            checks.append(_check(name, definition, (item.expectation,)))
        else:
            expectations = (*(same.checks.expectations if same.checks else ()), item.expectation)
            checks[checks.index(same)] = _check(name, definition, expectations)
    for at in sorted(found, reverse=True):
        ordered[at:at] = found[at]
    return ordered


def _where_asked(
    steps: Sequence[Step], mark: int, definition: IndexDefinition
) -> tuple[int, IndexDefinition]:
    """Before which step, and of which index.

    Names may change hands: what the index was built as is found by its physical names, the last one first.
    """
    physical, last = definition.physical, None
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if step.after is None or step.after.physical != physical:
            continue
        if step.kind == "validate_index" and not step.after_record:
            last = at
            break
        if step.kind in _BUILDS:
            if step.before is None:
                break
            physical = step.before.physical
    if last is None:
        return mark, definition
    definition = steps[last].after or definition
    if any(step.kind == "run_function" for step in steps[last:mark]):
        return mark, definition
    return last + 1, definition


def _check(name: str, definition: IndexDefinition, expectations: tuple[Expectation, ...]) -> Step:
    return Step(
        kind="check_expectations",
        index=name,
        after=definition,
        checks=ExpectationsPayload(expectations=expectations),
        description=f"check what is expected of {name}: {'; '.join(map(str, expectations))}",
    )
