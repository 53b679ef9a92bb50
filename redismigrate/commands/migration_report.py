"""The report of one `upgrade`, `downgrade` or `rollback`: what was done, validated and measured, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from redismigrate.errors import RedisMigrateError
from redismigrate.html_tables import box, heading, paragraph, table
from redismigrate.operations.expectations import Source
from redismigrate.quantities import seconds_text, size_text

ReportResult = Literal["done", "nothing", "expanded", "blocked", "failed", "interrupted", "partial"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class StepTime(_Part):
    """How long a step took.

    Attributes:
        revision: The revision at work.
        step: The kind of the step.
        index: The index that it is about, if any.
        seconds: Wall seconds, done or not.
    """

    revision: str
    step: str
    index: str | None
    seconds: float


class ValidatedIndex(_Part):
    """An index that was compared with what was asked for and with the one before it. All was as it should be.

    Attributes:
        revision: The revision that has built or changed it.
        index: The name that clients query.
        physical: The index itself.
        schema_matches: Every option and field is as asked for.
        documents_before: Documents in the index before it; None for a new one.
        documents_after: Documents in it.
        failures_before: Indexing failures that the one before it counted; None for a new one.
        failures_after: Those that it counts.
        unindexed: Documents that it lacks, which was allowed.
        answers: Query that both were asked, to the same answer -> how often: all documents, neighbours of the
            vectors of some documents, some of their tags.
    """

    revision: str
    index: str
    physical: str
    schema_matches: bool
    documents_before: int | None
    documents_after: int
    failures_before: int | None
    failures_after: int
    unindexed: int
    answers: dict[str, int]


class CheckedExpectation(_Part):
    """What was expected of an index, and what it has answered.

    Attributes:
        revision: The revision that says so, or carries out what a file of queries is about.
        index: The name that clients query.
        when: Before anything was changed, or of what the revision has made of the index.
        asked: What was asked, in words.
        wanted: What was to be found, in words.
        found: What was found, in words.
        passed: Whether it was as expected.
        source: Whether a script says so (`op.expect`), or a file of queries.
    """

    revision: str
    index: str
    when: Literal["before", "after"]
    asked: str
    wanted: str
    found: str
    passed: bool
    source: Source


class IndexSizes(_Part):
    """What an index takes of the server's memory, and its documents, by a sample.

    Attributes:
        index: The name that clients query.
        index_bytes_before: The index before the run; None where it was not there, or not measured.
        index_bytes_after: The index after it.
        document_bytes_before: Its documents before the run; None where the server did not tell.
        document_bytes_after: Its documents after it.
    """

    index: str
    index_bytes_before: int | None = None
    index_bytes_after: int | None = None
    document_bytes_before: int | None = None
    document_bytes_after: int | None = None

    @property
    def saved_bytes(self) -> int | None:
        """How much less it takes than before; None where that is not known."""
        before = (self.index_bytes_before, self.document_bytes_before)
        after = (self.index_bytes_after, self.document_bytes_after)
        if None in (*before, *after):
            return None
        return sum(filter(None, before)) - sum(filter(None, after))


class ReportedFailure(_Part):
    """A document that was left as it is.

    Attributes:
        key: Its key; one that is not UTF-8 as {"base64"}.
        reason: Why.
    """

    key: str | dict[str, str]
    reason: str


class ReportedDocuments(_Part):
    """What became of documents.

    Attributes:
        read: That were looked at before anything was changed.
        rewritten: That have a new form, or their old one back.
        left_in_old_type: That writers brought back to the old form faster than they could be converted.
        failed_count: That were left as they are.
        failed: The first hundred of these.
    """

    read: int = 0
    rewritten: int = 0
    left_in_old_type: int = 0
    failed_count: int = 0
    failed: tuple[ReportedFailure, ...] = ()


class ReportedError(_Part):
    """What it ended with.

    Attributes:
        code: The kind of error, as in `--json`.
        message: What is wrong.
        hint: What to do.
    """

    code: str
    message: str
    hint: str


class MigrationReport(_Part):
    """What one call has done.

    Attributes:
        version: Of this form.
        tool: The version of redismigrate.
        project: The project.
        command: The verb.
        target: The revision identifier that was asked for; None for a rollback.
        result: How it ended.
        run: The id of the run; None where there was none.
        revisions: The revisions that were applied or undone, in order.
        expanded: The revision that waits to be contracted; None where none does.
        started: When the call began, ISO 8601.
        finished: When it ended.
        seconds: Wall seconds: total, plan, documents, index, validate, cutover; empty where it failed.
        steps: Every step, in the order in which they ended.
        validated: Every index that was found to be as it should be.
        query_checks: Every expectation that was asked: of scripts, and of files of queries.
        sizes: Every index that was changed.
        memory_saved_bytes: How much less all of them take than before, less than nothing for more; None where
            that is not known.
        documents: What became of documents.
        backups: Where the backups of the run are, `host:path`.
        warnings: What the user should know.
        error: What it ended with; None where all went well.
        what_next: What to do next, each a sentence.
    """

    version: Literal[1] = 1
    tool: str
    project: str
    command: Literal["upgrade", "downgrade", "rollback"]
    target: str | None
    result: ReportResult
    run: str | None
    revisions: tuple[str, ...]
    expanded: str | None
    started: str
    finished: str
    seconds: dict[str, float]
    steps: tuple[StepTime, ...]
    validated: tuple[ValidatedIndex, ...]
    query_checks: tuple[CheckedExpectation, ...] = ()
    sizes: tuple[IndexSizes, ...]
    memory_saved_bytes: int | None
    documents: ReportedDocuments
    backups: tuple[str, ...]
    warnings: tuple[str, ...]
    error: ReportedError | None
    what_next: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as data for JSON: words, numbers, lists and dictionaries."""
        # Not mode="json": that replaces what is not UTF-8 in names.
        content: dict[str, Any] = _with_lists(self.model_dump())
        return content

    def write(self, file: Path) -> None:
        """Write it, as JSON where the name ends with .json, else as YAML.

        Raises:
            RedisMigrateError: It can't be written.
        """
        if file.suffix == ".json":
            text = json.dumps(self.to_json(), indent=2) + "\n"
        else:
            import yaml

            text = yaml.safe_dump(self.to_json(), sort_keys=False)
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RedisMigrateError(
                f"The report can't be written to {file}: {error.strerror}.",
                "What the command does is done: `redismigrate status` and `current` tell.",
            ) from error

    def _repr_html_(self) -> str:
        """The report as a notebook shows it."""
        run = "" if self.run is None else f", run {self.run}"
        target = "" if self.target is None else f" to {self.target}"
        parts = [heading(f"{self.command}{target}: {self.result}{run}, project {self.project}")]
        if self.error is not None:
            parts.append(paragraph(f"{self.error.message} {self.error.hint}", "error:"))
        parts += [paragraph(warning, "note:") for warning in self.warnings]
        parts += [paragraph(step, "next:") for step in self.what_next]
        facts = {
            "revisions": ", ".join(self.revisions),
            "started": self.started,
            "finished": self.finished,
            **{f"{name} took": seconds_text(value) for name, value in self.seconds.items()},
            "documents rewritten": f"{self.documents.rewritten:,}" if self.documents.rewritten else "",
            "documents left as they were": self.documents.failed_count or "",
            "memory saved": None if self.memory_saved_bytes is None else _size(self.memory_saved_bytes),
            "backups": ", ".join(self.backups),
        }
        parts.append(table(("", "value"), [(name, value) for name, value in facts.items() if value]))
        parts.append(
            table(
                ("index", "physical", "documents before", "after", "failures before", "after", "asked alike"),
                [
                    (
                        found.index,
                        found.physical,
                        found.documents_before,
                        found.documents_after,
                        found.failures_before,
                        found.failures_after,
                        ", ".join(f"{what} ({count})" for what, count in found.answers.items()),
                    )
                    for found in self.validated
                ],
            )
        )
        parts.append(
            table(
                ("index", "asked", "when", "wanted", "found", "passed"),
                [
                    (c.index, c.asked, c.when, c.wanted, c.found, "yes" if c.passed else "no")
                    for c in self.query_checks
                ],
            )
        )
        parts.append(
            table(
                ("index", "index before", "after", "documents before", "after"),
                [(sizes.index, *map(_size, list(sizes.model_dump().values())[1:])) for sizes in self.sizes],
            )
        )
        steps = [(step.revision, step.step, step.index, seconds_text(step.seconds)) for step in self.steps]
        parts.append(table(("revision", "step", "index", "took"), steps))
        return box(*parts)


def _with_lists(value: Any) -> Any:
    """The same data without tuples, which YAML has no word for."""
    if isinstance(value, dict):
        return {name: _with_lists(item) for name, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, tuple) else value


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return ""
    sign = "-" if size_bytes < 0 else ""
    return size_text(abs(size_bytes), sign) or "0 MB"
