"""Makes the report of a call, and writes it where the caller wants it, however the call ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from redismigrate import __version__
from redismigrate.commands.migration_options import MigrationOptions, MigrationResult, documents_to_json
from redismigrate.errors import (
    ConfigurationError,
    PlanBlocked,
    RedisMigrateError,
    RevisionPartial,
    RunInterrupted,
)
from redismigrate.foreign_modules import describe
from redismigrate.foreign_text import shell_command

if TYPE_CHECKING:
    from redismigrate.commands.migration_report import MigrationReport, ReportResult
    from redismigrate.commands.progress_events import OnProgress
    from redismigrate.commands.project import Project
    from redismigrate.commands.report_collector import ReportCollector
    from redismigrate.execution.progress import Watcher
    from redismigrate.redis_server.connection import Server

Verb = Literal["upgrade", "downgrade", "rollback"]


class Reporting:
    """Owns the report of one call. What a report needs is imported only where something is done or asked for.

    Args:
        project: The project.
        command: The verb.
        target: The revision identifier that was asked for; None for a rollback.
        options: Say where the report goes, if anywhere.

    Raises:
        ConfigurationError: No file can be written there.
    """

    def __init__(
        self, project: Project, command: Verb, target: str | None, options: MigrationOptions
    ) -> None:
        self._project, self._command, self._target = project, command, target
        self._file = options.report_out
        self._started = _now()
        self._collector: ReportCollector | None = None
        if self._file is not None and (self._file.is_dir() or not os.access(self._file.parent, os.W_OK)):
            raise ConfigurationError(
                f"The report can't be written to {self._file}.", "Name a file in a folder that is there."
            )

    def watcher(self, server: Server, watcher: Watcher | None, on_progress: OnProgress | None) -> Watcher:
        """What tells the caller's watcher and callback, and collects for the report."""
        from redismigrate.commands.progress_events import watched
        from redismigrate.commands.report_collector import ReportCollector
        from redismigrate.execution.progress import Watchers

        self._collector = ReportCollector(server)
        return Watchers(self._collector, watched(watcher, on_progress))

    def of(self, act: Callable[[], MigrationResult]) -> MigrationResult:
        """The result of a call, with its report.

        Args:
            act: The call.

        Raises:
            RedisMigrateError: The report can't be written; or what the call raised, with the report.
        """
        try:
            result = act()
        except (Exception, KeyboardInterrupt) as error:
            report = self._report(error, _NOTHING)
            if isinstance(error, RedisMigrateError):
                error.report = report
            if self._file is not None:
                with suppress(RedisMigrateError):  # what went wrong before matters more
                    report.write(self._file)
            raise
        if self._collector is None and self._file is None:
            return result
        report = self._report(None, result)
        if self._file is not None:
            report.write(self._file)
        return replace(result, report=report)

    def _report(self, error: BaseException | None, result: MigrationResult) -> MigrationReport:
        from redismigrate.commands.migration_report import MigrationReport, ReportedDocuments, ReportedError

        collector, run, revisions, documents = self._collector, result.run, result.revisions, result.documents
        reported = None
        if isinstance(error, RedisMigrateError):
            run, revisions, documents = error.run, error.revisions, error.documents
            reported = ReportedError(code=error.code, message=error.message, hint=error.hint)
        elif isinstance(error, KeyboardInterrupt):
            reported = ReportedError(code="interrupted", message="Interrupted.", hint="")
        elif error is not None:
            reported = ReportedError(code="unexpected", message=describe(error), hint="")
        # What failed is as it was before, so there is nothing to compare.
        measured = [] if collector is None else list(collector.sizes.values())
        sizes = tuple(each for each in measured if each.index_bytes_after is not None)
        saved = [each.saved_bytes for each in sizes]
        known = [each for each in saved if each is not None]
        backups = () if collector is None else tuple(collector.backups)
        warnings = dict.fromkeys(result.warnings)
        if collector is not None:
            warnings = {**collector.warnings, **warnings}
        return MigrationReport(
            tool=__version__,
            project=self._project.settings.project,
            command=self._command,
            target=self._target,
            result=_result_of(error, result),
            run=run,
            revisions=revisions,
            expanded=result.expanded,
            started=self._started,
            finished=_now(),
            seconds={name: round(value, 3) for name, value in result.seconds.items()}
            if error is None
            else {},
            steps=() if collector is None else tuple(collector.steps),
            validated=() if collector is None else tuple(collector.indexes.values()),
            query_checks=() if collector is None else tuple(collector.checks.values()),
            sizes=sizes,
            memory_saved_bytes=sum(known) if known and len(known) == len(saved) else None,
            documents=ReportedDocuments.model_validate(documents_to_json(documents)),
            backups=backups,
            warnings=tuple(warnings),
            error=reported,
            what_next=tuple(
                self._what_next(None if reported is None else reported.hint, run, result, backups)
            ),
        )

    def _what_next(
        self, hint: str | None, run: str | None, result: MigrationResult, backups: tuple[str, ...]
    ) -> list[str]:
        """What to do next, each a sentence."""
        if hint is not None:
            return [hint] if hint else ["`redismigrate status` tells whether a run is unfinished."]
        told = []
        if result.expanded is not None:
            contract = shell_command("redismigrate", self._command, str(self._target), "--phase", "contract")
            told += [
                "Roll the new release out; `redismigrate follow` keeps old and new in step meanwhile.",
                f"Then `{contract}`, or take it away with `redismigrate rollback`.",
            ]
        elif result.result == "done" and self._command != "rollback":
            told.append(f"`redismigrate rollback --run {run}` undoes it, as long as no other run follows.")
        if result.documents is not None and result.documents.failed_count:
            told.append("Correct the documents that were left as they are.")
        if backups and result.expanded is None and self._command != "rollback":
            told.append(
                "Keep the backups for as long as somebody may want to go back; "
                f"`redismigrate backup prune --run {run}` removes them."
            )
        return told


_NOTHING = MigrationResult("nothing")


def _result_of(error: BaseException | None, result: MigrationResult) -> ReportResult:
    if isinstance(error, RevisionPartial):
        return "partial"
    if isinstance(error, RunInterrupted | KeyboardInterrupt):
        return "interrupted"
    if error is not None:
        return "blocked" if isinstance(error, PlanBlocked) and error.run is None else "failed"
    return result.result if result.expanded is None else "expanded"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
