"""What `check` says of a revision that has been expanded for long: how long that is, and what it holds."""

from __future__ import annotations

from datetime import UTC, datetime

from redismigrate.execution.indexes.live import look_at
from redismigrate.execution.run import Run
from redismigrate.foreign_text import shell_command
from redismigrate.quantities import size_text
from redismigrate.redis_server.connection import Server

_SECONDS_PER_DAY = 86_400


def told_of_long_expansion(server: Server, run: Run, longest_days: float) -> str | None:
    """The warning; None where the revision was begun more lately.

    Args:
        server: Has the indexes.
        run: The one that waits to be contracted.
        longest_days: For how long nothing is said.
    """
    # Not its last sign of life: a contraction that was refused is one as well.
    since = datetime.fromisoformat(run.revision_started_at)
    days = (_this_moment() - since).total_seconds() / _SECONDS_PER_DAY
    if days <= longest_days:
        return None
    command = shell_command("redismigrate", str(run.direction), run.target, "--phase", "contract")
    held = size_text(_held_bytes(server, run)) or "nothing"
    return (
        f"Revision {run.plan.revision} has been expanded for {days:,.0f} days. The second form of its "
        f"documents and its new indexes hold {held}. `{command}` ends that, `redismigrate rollback` takes it "
        "back."
    )


def _this_moment() -> datetime:
    return datetime.now(UTC)


def _held_bytes(server: Server, run: Run) -> int:
    """What the second forms take by the plan's estimate, and the indexes that are built beside others."""
    lives = [look_at(server, definition.physical) for definition in run.plan.built_beside.values()]
    indexes = sum(live.statistics.size_bytes for live in lives if live is not None)
    forms = [step for step in run.plan.steps if step.life.has("is_followed") and not step.after_record]
    return indexes + sum(step.estimate.memory_bytes for step in forms)
