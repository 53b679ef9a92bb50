"""`status --watch`: looks at the run under way again and again, until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from redismigrate.commands.controlling import control_of
from redismigrate.commands.project import Project
from redismigrate.execution.run import Run
from redismigrate.redis_server.connection import Server
from redismigrate.state.control import Control
from redismigrate.state.journal import read_journal
from redismigrate.state.lock import read_holder
from redismigrate.state.store import read_state

RunOutcome = Literal["done", "failed", "rolled back", "interrupted", "expanded", "partial"]

_POLL_SECONDS = 0.5
# Between two looks the lock may just change hands.
LOOKS_WITHOUT_HOLDER = 2
_JOURNAL_EVENTS = 100
ENDED = frozenset({"upgrade", "downgrade", "end"})


@dataclass(frozen=True)
class Watched:
    """A run at one moment.

    Attributes:
        run: As it was written last.
        control: What it has to keep to.
        outcome: How it ended; None while it is under way.
    """

    run: Run
    control: Control
    outcome: RunOutcome | None = None


def watch(project: Project, poll_seconds: float = _POLL_SECONDS) -> Iterator[Watched]:
    """Follow the run that is under way. It only reads, on a replica as well.

    Args:
        project: The project.
        poll_seconds: Between two looks.

    Yields:
        The run at every look, nothing without one. The last one has the outcome: "interrupted" when nobody
        holds the lock any more; after the loss of another machine that takes as long as its lease.
    """
    seen: Watched | None = None
    without_holder = 0
    with project.connect() as server:
        while True:
            # Asked for first: a run that ends in between is gone, and not left behind.
            holder = read_holder(server, project.keys)
            content = read_state(server, project.keys).run
            if content is None or (seen is not None and content.get("id") != seen.run.id):
                if seen is not None:
                    yield Watched(seen.run, seen.control, _outcome(server, project, seen.run))
                return
            run = Run.from_content(content, project.keys)
            without_holder = without_holder + 1 if holder is None or holder.is_dead() else 0
            outcome: RunOutcome | None = None
            if without_holder >= LOOKS_WITHOUT_HOLDER:
                outcome = "partial" if run.is_partial else "interrupted"
                outcome = "expanded" if run.is_expanded else outcome
            seen = Watched(run, control_of(server, project, run), outcome)
            yield seen
            if outcome is not None:
                return
            time.sleep(poll_seconds)


def _outcome(server: Server, project: Project, run: Run) -> RunOutcome:
    """How a run that is gone has ended, by the journal."""
    for event in read_journal(server, project.keys, _JOURNAL_EVENTS):
        name, of = event.get("event"), event.get("run")
        if name == "blocked" and of in {None, run.id}:
            return "failed"
        if of == run.id and name in ENDED:
            return "done"
        if of == run.id and name == "undone":
            return "rolled back" if run.rolls_back else "failed"
    return "done"
