"""How the server's memory rises and falls while a plan is carried out: what builds beside each other need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redismigrate.planning.estimates import documents_of
from redismigrate.planning.index_memory import index_bytes
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Step

# Each is an index that goes for good; one that is dropped to be built again counts where that is built.
_FREES_INDEX = frozenset({"drop_index", "drop_left", "drop_over_second_fields"})


@dataclass(frozen=True)
class MemoryCourse:
    """What steps take of the server's memory, beyond what it has before them.

    Attributes:
        peak_bytes: The most at any moment.
        kept_bytes: What stays of it, as far as that is known; below 0: what is freed.
        is_all_known: Whether all that stays is known.
        by_index: Served name -> the most that its own steps take.
    """

    peak_bytes: int
    kept_bytes: int
    is_all_known: bool
    by_index: Mapping[str, int] = field(default_factory=dict)


def memory_course(steps: Iterable[Step]) -> MemoryCourse:
    """The memory that steps take in the order in which they stand.

    Indexes that are built before an old one is dropped are there beside each other, so they add up; where
    each old one is dropped before the next is built, the largest counts.

    Args:
        steps: In the order in which they run, of one revision or of several.
    """
    steps = tuple(steps)
    peak, level = _walk(steps)
    names = dict.fromkeys(step.index for step in steps if step.index is not None)
    each = {name: _walk([step for step in steps if step.index == name])[0] for name in names}
    return MemoryCourse(
        peak,
        level,
        all(step.estimate.kept_memory_bytes is not None for step in steps),
        {name: size for name, size in each.items() if size},
    )


def with_freed_memory(steps: Iterable[Step], inventory: Inventory) -> list[Step]:
    """The steps with what they free by dropping indexes, and without a number where that is not known.

    Args:
        steps: Of one revision.
        inventory: The server, with the indexes as they are before and while the steps run.
    """
    return [_with_freed(step, inventory) for step in steps]


def _with_freed(step: Step, inventory: Inventory) -> Step:
    if step.kind == "run_function" or step.deletes_documents:
        freed = None  # nobody knows what a function does, nor what documents take
    elif step.before is not None and (step.life.name in _FREES_INDEX or _takes_name_of_index(step)):
        before = step.before
        live = inventory.live.get(before.physical)
        sample = inventory.samples.get(before.served)
        freed = -index_bytes(before.schema, documents_of(before, inventory), sample, live)
    else:
        return step
    estimate = step.estimate.model_copy(update={"kept_memory_bytes": freed})
    return step.model_copy(update={"estimate": estimate})


def _takes_name_of_index(step: Step) -> bool:
    """Whether an index is dropped because its own name becomes an alias of the new one."""
    if step.life.name != "swap_alias" or step.before is None or step.after is None:
        return False
    return step.before.physical in step.after.all_aliases


def _walk(steps: Sequence[Step]) -> tuple[int, int]:
    """The most at once, and what stays."""
    peak = level = 0
    for step in steps:
        peak = max(peak, level + step.estimate.memory_bytes)
        level += step.estimate.kept_memory_bytes or 0
        peak = max(peak, level)
    return peak, level
