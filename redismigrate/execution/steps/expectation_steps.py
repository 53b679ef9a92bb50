"""The step that asks an index what is expected of it, while writers may go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redismigrate.execution.indexes.expecting import answer_to
from redismigrate.execution.indexes.validation import ValidationFailed
from redismigrate.execution.steps.answers import ATTEMPTS
from redismigrate.operations.expectations import Expectation, ExpectationAnswer, unmet
from redismigrate.planning.plan import Step
from redismigrate.redis_server.connection import Server


class ExpectationFailed(ValidationFailed):
    """An index does not answer as expected."""


def answers_of(
    server: Server, step: Step, catch_up: Callable[[], None]
) -> tuple[tuple[Expectation, ExpectationAnswer], ...]:
    """What the index of a step answers, each expectation with its answer.

    Args:
        server: The connection.
        step: Says of which index, and what is expected.
        catch_up: Brings a second form in step that the index reads; what is not met is asked again then.
    """
    definition = step.index_after
    expectations: Sequence[Expectation] = () if step.checks is None else step.checks.expectations
    answers: dict[Expectation, ExpectationAnswer] = {}
    for _ in range(ATTEMPTS):
        catch_up()
        for expectation in expectations:
            if expectation not in answers or not answers[expectation].is_met:
                answers[expectation] = answer_to(server, definition.schema, definition.physical, expectation)
        if all(answer.is_met for answer in answers.values()):
            break
    return tuple(answers.items())


def require_met(step: Step, answers: Sequence[tuple[Expectation, ExpectationAnswer]]) -> None:
    """Refuse an index that does not answer as expected.

    Args:
        step: Says of which index.
        answers: Each expectation with its answer.

    Raises:
        ExpectationFailed: Names each that is not met, with what was wanted and found.
    """
    problems = [
        unmet(step.served, expectation, answer.found) for expectation, answer in answers if not answer.is_met
    ]
    if problems:
        told = "; ".join(problems)
        raise ExpectationFailed(
            f"{told[0].upper()}{told[1:]}.", "Correct the documents, the change or what is expected."
        )
