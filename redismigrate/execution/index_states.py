"""How far each index of the revision at work is: read off the steps of the run and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from redismigrate.execution.run import Run
from redismigrate.planning.index_parts import RECORDS, names_of
from redismigrate.planning.plan import Step, moves_names

IndexState = Literal["waiting", "copying", "building", "expanded", "ready", "done", "failed"]


@dataclass(frozen=True)
class IndexProgress:
    """One index of the revision at work.

    Attributes:
        index: Its served name before the revision; of one that the revision makes, the name that it gets.
        state: "waiting": nothing is done yet. "copying": documents are read or written. "building": the
            index is made, built or validated. "expanded": old and new can be queried, and it waits to be
            contracted, which makes more than names and the record. "ready": only these are to be changed.
            "done": it serves, and is recorded. "failed": it is put back as it was, or being put back.
        done: Documents done in its step at work; None where none is at work, or that is not known.
        total: Documents that there are for that; None as well.
        reason: Why it failed; None where it did not.
    """

    index: str
    state: IndexState
    done: int | None = None
    total: int | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As data for `--json`."""
        return asdict(self)


def index_states(run: Run) -> tuple[IndexProgress, ...]:
    """The indexes of the revision at work, in the order of the plan, those that failed last.

    Args:
        run: A run. Of one whose whole revision is being undone there is nothing to tell.
    """
    putting_back = frozenset(run.apart.putting_back)
    if run.failure is not None and not putting_back:
        return ()
    steps = run.plan.steps
    position = run.apart.stopped_at if putting_back else run.position
    found = []
    for names in _groups(steps):
        own = [(at, step) for at, step in enumerate(steps) if not names_of(step).isdisjoint(names)]
        index = _name_of([step for _, step in own])
        if names & putting_back:
            found.append(IndexProgress(index, "failed", *_progress(run), run.failure))
            continue
        state: IndexState = "done" if run.is_recorded else _state_of(own, steps, position)
        if state in {"copying", "building"} and run.is_expanded:
            state = "expanded"  # its next work comes after the names have moved
        is_at_work = any(at == position for at, _ in own) and not putting_back and state != "done"
        found.append(IndexProgress(index, state, *(_progress(run) if is_at_work else ())))
    found += [IndexProgress(index, "failed", reason=reason) for index, reason in run.apart.left.items()]
    return tuple(sorted(found, key=lambda each: each.state == "failed"))


def _progress(run: Run) -> tuple[int | None, int | None]:
    return (None, None) if run.progress is None else run.progress


def _state_of(own: Sequence[tuple[int, Step]], steps: Sequence[Step], position: int) -> IndexState:
    """The state of an index, by its steps and their places in the plan."""
    before = [(at, step) for at, step in own if not step.after_record]
    last = before[-1][0] if before else own[-1][0]
    recorded_at = next((at for at in range(last, len(steps)) if steps[at].kind in RECORDS), len(steps))
    if position > recorded_at:
        return "done"
    work = [(at, step) for at, step in before if not moves_names(step) and step.kind != "release_index"]
    ahead = [(at, step) for at, step in work if at >= position]
    if not ahead:
        return "ready"
    if position < own[0][0] or (position not in dict(own) and len(ahead) == len(work)):
        return "waiting"
    return "copying" if ahead[0][1].life.phase == "documents" else "building"


def _groups(steps: Sequence[Step]) -> list[frozenset[str]]:
    """The served names of each index: before and after it is renamed they are one."""
    groups: list[frozenset[str]] = []
    for step in steps:
        names = names_of(step)
        met = [group for group in groups if group & names]
        if met:
            at = groups.index(met[0])
            groups = [group for group in groups if group not in met]
            groups.insert(at, names.union(*met))
        elif names:
            groups.append(names)
    return groups


def _name_of(own: Sequence[Step]) -> str:
    before = next((step.before.served for step in own if step.before is not None), None)
    return before or next(str(step.index) for step in own if step.index is not None)
