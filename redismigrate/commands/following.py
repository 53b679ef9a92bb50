"""`follow`: keeps the old and the new form of an expanded revision in step until it is contracted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from redismigrate.commands.project import Project
from redismigrate.commands.session import expanded_run
from redismigrate.errors import FenceLost, RedisMigrateError
from redismigrate.execution.expanded import ExpandedRun
from redismigrate.execution.progress import Watcher
from redismigrate.state.follower_report import FollowerReport
from redismigrate.state.lock import token_to_follow
from redismigrate.state.store import read_state

# How often to look whether a command that holds the lock has finished.
WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Followed:
    """How following ended.

    Attributes:
        why: In words.
        revision: The revision that was expanded; None where none was.
        report: What was done, as told last.
    """

    why: str
    revision: str | None = None
    report: FollowerReport | None = None

    def to_json(self) -> dict[str, Any]:
        """In the shape that `--json` promises."""
        report = None if self.report is None else asdict(self.report)
        return {"result": "nothing" if report is None else "done", "why": self.why, "follower": report}


def follow(
    project: Project,
    goes_on: Callable[[FollowerReport], bool] | None = None,
    watcher: Watcher | None = None,
    max_removals: int | None = None,
) -> Followed:
    """Follow the application's writes while a revision is expanded.

    It returns once the revision is contracted or rolled back, and at once where nothing has to be followed.
    While another command holds the lock it waits; then it looks at all documents once more.

    Args:
        project: The project.
        goes_on: Told about once a second how it goes; False ends it. Without it nothing does.
        watcher: Is told of documents that can't be converted.
        max_removals: How many documents may go in both forms because they are gone in one, when nobody saw
            them being deleted; None for ten, or a thousandth if that is more.

    Raises:
        RedisMigrateError: The server can't be reached or used.
    """
    revision, report, stopped = None, None, False
    watcher = watcher or Watcher()

    def tell(latest: FollowerReport) -> bool:
        nonlocal report, stopped
        report = latest
        stopped = goes_on is not None and not goes_on(latest)
        return not stopped

    with project.connect() as server:
        server.capabilities.require_writable(project.settings.allow_evictable_state)
        while True:
            run = expanded_run(read_state(server, project.keys))
            if run is None:
                nothing = "no revision is expanded"
                why = nothing if revision is None else f"revision {revision} is expanded no more"
                return Followed(why, revision, report)
            revision = run.plan.revision
            token = token_to_follow(server, project.keys)
            if token is None:
                watcher.at_safe_point()
                time.sleep(WAIT_SECONDS)
                continue
            # Once more: what was contracted before the token was taken must not be followed.
            run = expanded_run(read_state(server, project.keys))
            if run is None:
                continue
            expanded = ExpandedRun(server, project.keys, run, token, watcher, max_removals)
            if not expanded.indexes:
                why = f"the indexes of revision {revision} follow by themselves: they read the same documents"
                return Followed(why, revision)
            try:
                expanded.follow(tell)
            except FenceLost:
                continue
            finally:
                with suppress(RedisMigrateError):
                    expanded.leave()
            if stopped:
                return Followed("it was stopped", revision, report)
