"""`current --check-heads`: whether all revisions are applied. One GET, no lock, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redismigrate.commands.ahead import revisions_ahead, told_ahead
from redismigrate.commands.project import Project
from redismigrate.errors import BehindHead
from redismigrate.state.store import read_head

LISTED = 5


@dataclass(frozen=True)
class AtHead:
    """A server on which every revision of the scripts is applied.

    Attributes:
        heads: What is recorded as its heads.
        ahead: Applied revisions that no script has: an older application looks at it.
    """

    heads: tuple[str, ...]
    ahead: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {"heads": list(self.heads), "ahead": list(self.ahead)}


def check_heads(project: Project) -> AtHead:
    """Insist that every revision of the scripts is applied. Works on a replica and beside a run, too.

    Raises:
        BehindHead: Some are not.
        StateError: The record is damaged.
    """
    with project.connect() as server:
        head = read_head(server, project.keys)
    known = [script.revision for script in project.scripts]
    missing = [revision for revision in known if revision not in head.applied]
    if missing:
        names = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
        verb = "revision waits" if len(missing) == 1 else "revisions wait"
        told = told_ahead(project, head)
        waits = f"{len(missing)} {verb} to be applied: {names}."
        raise BehindHead(
            waits if told is None else f"{told} {waits}", "Apply them with `redismigrate upgrade heads`."
        )
    return AtHead(head.heads, revisions_ahead(project, head))
