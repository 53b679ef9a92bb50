"""Every error a user can meet, with what to do about it and the exit code it ends the command with.

RedisMigrateError
├── UsageError                     2  the command line asks for something that makes no sense
│   ├── RevisionNotFound              no revision of that identifier
│   ├── AmbiguousRevision             a prefix that fits several revisions
│   ├── SeveralHeads                  "head" where the history has more than one
│   ├── UnknownBranchLabel
│   ├── NotAnAncestor                 a range or a downgrade along a line that does not exist
│   └── StepsOutOfRange               +N or -N that leaves the history
├── ConfigurationError             8  a setting or a configuration file is wrong
├── ScriptError                    8  a migration script, or the history the scripts form, is wrong
│   ├── DuplicateRevision
│   ├── HistoryCycle
│   └── MissingParent
├── SchemaError                    8  a schema or a field definition is wrong
├── ServerError                    1  the server can't do the work; nothing was changed
│   ├── ConnectionFailed
│   ├── AuthenticationFailed
│   ├── SearchMissing
│   ├── ReplicaRefused
│   ├── ClusterUnsupported
│   ├── CommandRefused                it refused a command of a step
│   └── EmbeddedServerUnavailable
├── StateError                     1  what is recorded in Redis can't be used
│   ├── NewerState                    written by a newer version of redismigrate
│   ├── StateMissing                  indexes of ours exist, their record does not
│   ├── EvictableState                the server may evict the record
│   └── RunInProgress              7  an interrupted run has to be finished or undone first
├── BackupError                    1  a backup can't be used
│   ├── BackupFailed                  it can't be written; what it should hold was not changed
│   ├── BackupDamaged                 it is not as it was written
│   └── BackupMissing                 it is not on this machine
├── DriftError                     3  the server, the record and the scripts differ
├── BehindHead                     4  revisions wait to be applied
├── LockError                      5  another process works on the project
├── PlanBlocked                    6  the plan can't run as asked
├── CallbackFailed                 1  a function that the caller gave has raised
├── RunInterrupted                 7  stopped half way; the same command resumes
│   ├── RevisionPartial               some indexes of a revision are changed, others could not be
│   └── FenceLost                     another process has taken the lock over
└── RunFailed                      1  failed, and undone
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


class RedisMigrateError(Exception):
    """The base of all errors that are meant for the user.

    Attributes:
        message: What is wrong, one sentence.
        hint: What to do about it, one sentence; may be empty.
        exit_code: What the command line exits with.
        code: A stable name of the kind of error for `--json`, derived from the class.
        run: The id of the run that failed or was interrupted by it; None when none had begun.
        revisions: The revisions that this run had finished, and that stay.
        documents: What became of documents in it, a `DocumentCounts`; None when no run had begun.
        report: The `MigrationReport` of the call that it ended; None of other calls.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.run: str | None = None
        self.revisions: tuple[str, ...] = ()
        self.documents: Any = None
        self.report: Any = None

    @property
    def code(self) -> str:
        """The class name in snake case, for example `plan_blocked`."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(RedisMigrateError):
    """The command line, or a caller, asks for something that makes no sense."""

    exit_code = 2


class RevisionNotFound(UsageError):
    """No revision has that identifier."""


class AmbiguousRevision(UsageError):
    """A prefix fits several revisions."""


class SeveralHeads(UsageError):
    """`head` was asked for where the history has more than one."""


class UnknownBranchLabel(UsageError):
    """No revision carries that branch label."""


class NotAnAncestor(UsageError):
    """A range or a downgrade asks for a line between two revisions that does not exist."""


class StepsOutOfRange(UsageError):
    """A relative identifier leaves the history."""


class ConfigurationError(RedisMigrateError):
    """A setting or a configuration file is wrong."""

    exit_code = 8


class ScriptError(RedisMigrateError):
    """A migration script, or the history the scripts form, is wrong."""

    exit_code = 8


class DuplicateRevision(ScriptError):
    """Two scripts carry the same revision id."""


class HistoryCycle(ScriptError):
    """Revisions revise or depend on each other in a circle."""


class MissingParent(ScriptError):
    """A script revises or depends on a revision that no script has."""


class SchemaError(RedisMigrateError):
    """A schema or a field definition is wrong."""

    exit_code = 8


class ServerError(RedisMigrateError):
    """The server can't do the work; nothing was changed."""

    exit_code = 1


class ConnectionFailed(ServerError):
    """The server can't be reached."""


class AuthenticationFailed(ServerError):
    """The server refuses the user name or the password, or the user lacks a right."""


class SearchMissing(ServerError):
    """The server has no Search module."""


class ReplicaRefused(ServerError):
    """The server is a replica: FT.ALIASUPDATE would succeed there, locally, and diverge."""


class ClusterUnsupported(ServerError):
    """A cluster without a search coordinator: an index would see one shard's documents only."""


class ServerOutOfMemory(ServerError):
    """The server is over maxmemory: it takes no writes, answers no queries, or gave up building an index."""


class CommandRefused(ServerError):
    """The server refused one command of a transaction; those before it were put back.

    Attributes:
        position: Which command, from 0.
        reason: The server's own words.
    """

    def __init__(self, position: int, reason: str, command: str = "") -> None:
        super().__init__(f"Redis refused {command or 'a command'}: {reason}")
        self.position = position
        self.reason = reason


class EmbeddedServerUnavailable(ServerError):
    """No redis-server with Search could be started on this machine."""


class StateError(RedisMigrateError):
    """What is recorded in Redis can't be used."""

    exit_code = 1


class NewerState(StateError):
    """The state was written by a newer version."""


class StateMissing(StateError):
    """Indexes of this project exist, but not the record of them."""


class EvictableState(StateError):
    """The server's maxmemory policy may evict the state."""


class RunInProgress(StateError):
    """An interrupted run blocks a different command."""

    exit_code = 7


class BackupError(RedisMigrateError):
    """A backup can't be used."""

    exit_code = 1


class BackupFailed(BackupError):
    """A backup can't be written; none of the documents of the chunk may be changed."""


class BackupDamaged(BackupError):
    """A backup is not as it was written; nothing was restored from the damaged part."""


class BackupMissing(BackupError):
    """The backup that is needed is not on this machine."""


class DriftError(RedisMigrateError):
    """The server, the record and the scripts differ."""

    exit_code = 3


class BehindHead(RedisMigrateError):
    """Revisions wait to be applied."""

    exit_code = 4


class LockError(RedisMigrateError):
    """Another process works on the project."""

    exit_code = 5


class PlanBlocked(RedisMigrateError):
    """The plan can't run as asked.

    Attributes:
        reasons: Every reason, each one sentence.
    """

    exit_code = 6

    def __init__(self, message: str, hint: str = "", reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.reasons = reasons


class CallbackFailed(RedisMigrateError):
    """A function that the caller gave, `on_progress`, has raised; a run is interrupted by it."""

    exit_code = 1


class RunInterrupted(RedisMigrateError):
    """Stopped half way; the same command resumes."""

    exit_code = 7


class RevisionPartial(RunInterrupted):
    """Some indexes of a revision are changed, and those that could not be were put back as they were.

    Attributes:
        indexes: Each index of the revision: its name, its state, and why it failed, empty where it did not.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.indexes: tuple[tuple[str, str, str], ...] = ()


class FenceLost(RunInterrupted):
    """Another process has taken over, or the record is gone; this one may write nothing any more."""

    @classmethod
    def with_token(cls, token: object) -> Self:
        """The error of a process that finds another fencing token than its own.

        Args:
            token: What it finds; None where the key is gone, and so all of the record that says what is done.
        """
        if token is None:
            return cls(
                "The record of this project was deleted from Redis meanwhile; this process stops.",
                "Look with `redismigrate status`; backups of the run stay, see `redismigrate backup list`.",
            )
        return cls(
            "Another process has taken over the lock of this project; this one stops.",
            "Look with `redismigrate status`; run the same command again to resume what is unfinished.",
        )


class RunFailed(RedisMigrateError):
    """A revision failed, and what it had changed was undone."""

    exit_code = 1
