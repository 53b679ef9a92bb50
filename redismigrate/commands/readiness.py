"""`current --check-heads`: whether all revisions are applied, and their indexes there. No lock, no writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redismigrate.commands.project import Project
from redismigrate.commands.redis_ahead import revisions_ahead, telling, told_ahead
from redismigrate.commands.squashed_history import in_between, seen
from redismigrate.errors import AuthenticationFailed, BehindHead, DriftError
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.glance import what_is_wrong
from redismigrate.state.glanced import glanced_indexes
from redismigrate.state.store import State, read_state

_LISTED = 5


@dataclass(frozen=True)
class AtHead:
    """A server on which every revision of the scripts is applied.

    Attributes:
        heads: What is recorded as its heads.
        ahead: Applied revisions that no script has: an older application looks at it.
        notes: What could not be looked at.
    """

    heads: tuple[str, ...]
    ahead: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The answer as data for `--json`."""
        return {"heads": list(self.heads), "ahead": list(self.ahead), "notes": list(self.notes)}


def require_indexes(server: Server, state: State) -> tuple[str, ...]:
    """Insist that the recorded indexes are there, and about the same. While a run is at work nobody can.

    Returns:
        Why it could not be looked at, if it could not.

    Raises:
        DriftError: One is gone, replaced, or not what its names lead to.
    """
    if state.run is not None:
        return ()
    try:
        problems = what_is_wrong(
            server, glanced_indexes(state.documents["indexes"].content, state.keys.indexes)
        )
    except AuthenticationFailed as error:
        return (f"whether the indexes are there was not looked at: {error.message}",)
    if problems:
        raise DriftError(
            f"All is applied, but the server is not what is recorded: {'; '.join(problems)}.",
            "`redismigrate check` names the command that mends it.",
        )
    return ()


def check_heads(project: Project) -> AtHead:
    """Insist that every revision of the scripts is applied. Works on a replica and beside a run, too.

    Raises:
        BehindHead: Some are not.
        DriftError: Some are, but a recorded index is gone or replaced.
        StateError: The record is damaged.
    """
    known = [script.revision for script in project.scripts]
    with project.connect() as server:
        state = read_state(server, project.keys)
        head = seen(project, state.head)
        parts = in_between(project, state.head)
        missing = [revision for revision in known if revision not in head.applied]
        told = told_ahead(project, head)
        with telling(told):
            notes = () if missing else require_indexes(server, state)
    if missing:
        names = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        verb = "revision waits" if len(missing) == 1 else "revisions wait"
        waits = " ".join((f"{len(missing)} {verb} to be applied: {names}.", *map(str, parts.values())))
        raise BehindHead(
            waits if told is None else f"{told} {waits}", "Apply them with `redismigrate upgrade heads`."
        )
    return AtHead(head.heads, revisions_ahead(project, head), notes)
