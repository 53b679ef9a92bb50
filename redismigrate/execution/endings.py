"""Which errors undo a revision, which end a run, and how they are told."""

from __future__ import annotations

from redismigrate.errors import CommandRefused, DriftError, PlanBlocked, RedisMigrateError, RunFailed
from redismigrate.execution.indexes.validation import ValidationFailed
from redismigrate.execution.pace.busy_writers import WritersAhead
from redismigrate.execution.steps.in_place_steps import NoBackup
from redismigrate.execution.steps.refusals import DocumentsRefused
from redismigrate.execution.steps.runner import FunctionFailed
from redismigrate.foreign_modules import describe

# A step that fails by one of these has met what it can't do; every other error leaves the run to be taken up
# again as it is.
FAILURES = (
    CommandRefused,
    ValidationFailed,
    FunctionFailed,
    DocumentsRefused,
    NoBackup,
    PlanBlocked,
    DriftError,
    WritersAhead,
)
# With these a run has an end: nothing of it is left to be taken up.
ENDS = (RunFailed, PlanBlocked, DriftError)


def error_in_message(error: RedisMigrateError) -> str:
    """An error as a part of another one's message."""
    return f"{error.message.rstrip('.')}. {error.hint}".strip() if error.hint else error.message


def reason_of(error: BaseException) -> str:
    """What stopped a process, as the end of a sentence."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped by a signal."
    if isinstance(error, SystemExit):  # from the watcher: rich exits when nobody reads the output any more
        return "the process was made to exit."
    return error.message if isinstance(error, RedisMigrateError) else f"{describe(error)}."
