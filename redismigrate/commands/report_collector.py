"""Collects what a report says of a run, while it is at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from redismigrate.commands.migration_report import CheckedExpectation, IndexSizes, StepTime, ValidatedIndex
from redismigrate.execution.indexes.sizes import sizes_of
from redismigrate.execution.indexes.validation import FoundIndex
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run
from redismigrate.operations.expectations import Expectation, ExpectationAnswer
from redismigrate.planning.plan import Step
from redismigrate.redis_server.connection import Server


class ReportCollector(Watcher):
    """Remembers what a run tells.

    Args:
        server: The connection, for the sizes afterwards.

    Attributes:
        steps: How long they took, in the order in which they ended.
        indexes: Revision and served name -> what was found, the last time.
        checks: What was expected, each with its last answer.
        sizes: Served name -> what it took before its first change and takes after its last.
        warnings: What was told, each once.
        backups: Where they are, each once.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._revision = ""
        self._found: dict[str, FoundIndex] = {}
        self.steps: list[StepTime] = []
        self.indexes: dict[tuple[str, str], ValidatedIndex] = {}
        self.checks: dict[tuple[str, str, str, Expectation], CheckedExpectation] = {}
        self.sizes: dict[str, IndexSizes] = {}
        self.warnings: dict[str, None] = {}
        self.backups: dict[str, None] = {}

    def revision_started(self, run: Run) -> None:
        """Another revision, and what its indexes take before it."""
        self._take(run)
        for step in run.plan.steps:
            if step.before is not None and step.index is not None and step.life.has("changes_index"):
                # Where it is taken up, documents may have two forms already.
                self._measure_before(step.index, step.before.physical, has_begun=run.position > 0)
        self.warnings.update(dict.fromkeys(run.plan.warnings))
        for look in run.plan.looks:
            if look.found is not None:  # where it is not as expected no run begins
                met = ExpectationAnswer(is_met=True, found=look.found)
                self._note("before", look.index, look.expectation, met)

    def undo_started(self, run: Run) -> None:
        """What it had built goes; where one index is put back, what was built for that."""
        self._take(run)
        only = frozenset(run.apart.putting_back)
        self._found = {served: found for served, found in self._found.items() if only and served not in only}
        self.indexes = {
            (revision, served): found
            for (revision, served), found in self.indexes.items()
            if revision != run.plan.revision or (only and served not in only)
        }

    def measured(self, run: Run) -> None:
        """Where its backups are by now."""
        self._take(run)

    def warned(self, message: str) -> None:
        """Once more or for the first time."""
        self.warnings[message] = None

    def step_ended(self, step: Step, seconds: float) -> None:
        """How long it took."""
        time = StepTime(revision=self._revision, step=step.kind, index=step.index, seconds=round(seconds, 3))
        self.steps.append(time)

    def validated(self, step: Step, found: FoundIndex) -> None:  # noqa: ARG002 - the event's signature
        """What was found; of an index that is built twice, beside what was there before the first time."""
        first = self._found.get(found.served)
        found = found if first is None else replace(found, before=first.before)
        before, after = found.before, found.statistics
        self._found[found.served] = found
        self.indexes[self._revision, found.served] = ValidatedIndex(
            revision=self._revision,
            index=found.served,
            physical=found.physical,
            schema_matches=True,
            documents_before=None if before is None else before.documents,
            documents_after=after.num_docs,
            failures_before=None if before is None else before.failures,
            failures_after=after.indexing_failures,
            unindexed=found.lost,
            answers=dict(found.answers),
        )

    def checked(self, step: Step, answers: Sequence[tuple[Expectation, ExpectationAnswer]]) -> None:
        """What a changed index has answered, met or not."""
        for expectation, answer in answers:
            self._note("after", step.served, expectation, answer)

    def revision_finished(self, run: Run) -> None:
        """What its indexes take now that what they replaced is gone."""
        self._take(run)
        for served, found in self._found.items():
            index_bytes, document_bytes = sizes_of(self._server, found.physical)
            after = {"index_bytes_after": index_bytes, "document_bytes_after": document_bytes}
            self.sizes[served] = self.sizes.get(served, IndexSizes(index=served)).model_copy(update=after)

    def _note(
        self,
        when: Literal["before", "after"],
        index: str,
        expectation: Expectation,
        answer: ExpectationAnswer,
    ) -> None:
        self.checks[self._revision, index, when, expectation] = CheckedExpectation(
            revision=self._revision,
            index=index,
            when=when,
            asked=expectation.question,
            wanted=expectation.wanted,
            found=answer.found,
            passed=answer.is_met,
            source=expectation.source,
        )

    def _measure_before(self, served: str, physical: str, *, has_begun: bool) -> None:
        if served not in self.sizes:
            index_bytes, document_bytes = sizes_of(self._server, physical)
            self.sizes[served] = IndexSizes(
                index=served,
                index_bytes_before=index_bytes,
                document_bytes_before=None if has_begun else document_bytes,
            )

    def _take(self, run: Run) -> None:
        if run.plan.revision != self._revision:
            self._found.clear()
        self._revision = run.plan.revision
        self.backups.update(dict.fromkeys(run.backups.values()))
