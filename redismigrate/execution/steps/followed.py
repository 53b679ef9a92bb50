"""Which step of a run has made what has to be kept in step where the run stands now."""

from __future__ import annotations

from redismigrate.execution.run import Run
from redismigrate.planning.plan import Step


def followed_indexes(run: Run) -> tuple[str, ...]:
    """The served names whose documents have a second form; an index over the same ones needs none."""
    names = dict.fromkeys(str(step.index) for step in run.plan.steps if step.index is not None)
    return tuple(name for name in names if followed_at(run, name) is not None)


def followed_at(run: Run, index: str) -> Step | None:
    """The step that made what has to be followed for an index where a run is now; None where nothing has."""
    for step in reversed(run.steps[: run.position]):
        if step.index == index and step.life.has("ends_following"):
            return None
        if step.index == index and step.life.has("is_followed"):
            return step
    return None


def have_names_moved(run: Run, index: str) -> bool:
    """Whether the served name points to the index over the second form that a step has made."""
    for step in reversed(run.steps[: run.position]):
        if step.index == index and step.kind == "swap_alias":
            return True
        if step.index == index and step.life.has("is_followed"):
            return False
    return False
