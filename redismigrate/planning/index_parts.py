"""The parts of a revision: each is one index, with all that is asked of it, if they can be changed apart.

`--on-failure continue` puts a part back while the others go on, and needs parts that have nothing to do with
each other. `--cutover each` carries out one after the other, and those together that can't be taken apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from redismigrate.operations.operation_types import Operation
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import Step
from redismigrate.schema.definition import Catalog
from redismigrate.schema.prefixes import KeyPrefixes

# What ends a stretch of steps whose effect is recorded as one.
RECORDS = frozenset({"record_indexes", "record_revision", "record_fold"})


def parts_of(recorded: RecordedRevision, catalog: Catalog) -> tuple[frozenset[str], ...]:
    """The served names of each part: one index, before and after it is renamed.

    Args:
        recorded: The revision.
        catalog: The indexes that it meets.

    Returns:
        In the order in which the operations name them first. A part with several indexes can't be split.
    """
    parts: list[frozenset[str]] = []
    for _, names in _with_names(recorded, catalog):
        met = [part for part in parts if part & names]
        if met:
            at = parts.index(met[0])
            parts = [part for part in parts if part not in met]
            parts.insert(at, names.union(*met))
        elif names:
            parts.append(names)
    return tuple(parts)


def indexes_of(part: Collection[str], catalog: Catalog) -> tuple[str, ...]:
    """The indexes of a part, as they are called before the revision.

    Args:
        part: The served names.
        catalog: The indexes that the revision meets, those among them that it brings under management.
    """
    return tuple(name for name in sorted(part) if name in catalog) or tuple(sorted(part))[:1]


def why_not_apart(recorded: RecordedRevision, catalog: Catalog) -> tuple[str, ...]:
    """Why the indexes of a revision can't be changed each on its own; empty where they can.

    Args:
        recorded: The revision.
        catalog: The indexes that it meets.
    """
    start, after = recorded.start(catalog), recorded.apply_operations(recorded.start(catalog))
    reasons = []
    for operation in recorded.operations:
        match operation.kind:
            case "run":
                reasons.append(f"op.run({operation.name}) may be about all of them")
            case "create_index" | "drop_index":
                reasons.append(f"it has “{operation}”: put that in a revision of its own")
    parts = parts_of(recorded, catalog)
    for part in parts:
        several = [name for name in indexes_of(part, start) if name in start]
        if len(several) > 1:
            reasons.append(f"names move between indexes {' and '.join(several)}")
    for one, other in combinations(parts, 2):
        if _share_documents(one, other, (start, after)):
            names = " and ".join((indexes_of(one, start)[0], indexes_of(other, start)[0]))
            reasons.append(f"indexes {names} share documents")
    return tuple(dict.fromkeys(reasons))


def turns_of(recorded: RecordedRevision, catalog: Catalog) -> tuple[tuple[frozenset[str], ...], list[str]]:
    """The served names of what is changed in one turn each, as few indexes as can be.

    Args:
        recorded: The revision.
        catalog: The indexes that it meets.

    Returns:
        The turns, in the order of the operations; and why some indexes are in one turn, each a sentence.
    """
    start, after = recorded.start(catalog), recorded.apply_operations(recorded.start(catalog))
    turns = list(parts_of(recorded, catalog))
    functions = [operation for operation in recorded.operations if operation.kind == "run"]
    if functions and len(turns) > 1:
        about = f"op.run({functions[0].name}) may be about all indexes of the revision"
        return (frozenset().union(*turns),), [f"{about}: they are changed together"]
    reasons = []
    for turn in turns:
        several = [name for name in indexes_of(turn, start) if name in start]
        if len(several) > 1:
            reasons.append(f"names move between indexes {' and '.join(several)}: they are changed together")
    at = 0
    while at < len(turns):
        sharing = [other for other in turns[at + 1 :] if _share_documents(turns[at], other, (start, after))]
        for other in sharing:
            names = " and ".join((indexes_of(turns[at], start)[0], indexes_of(other, start)[0]))
            reasons.append(f"indexes {names} share documents: they are changed together")
            turns.remove(other)
        turns[at] = turns[at].union(*sharing)
        at += not sharing  # what has joined may share documents with one that comes before it
    return tuple(turns), reasons


def cut_down(recorded: RecordedRevision, names: Collection[str], catalog: Catalog) -> RecordedRevision:
    """A revision as if it were about some of its parts only.

    Args:
        recorded: The revision.
        names: The served names of these parts.
        catalog: The indexes that the revision meets.
    """
    kept = []
    for operation, own in _with_names(recorded, catalog):
        # What other indexes answer is not looked at again: they may have been changed by now.
        about = frozenset({operation.index}) if operation.kind == "expect" else own
        if not about or about & frozenset(names):
            kept.append(operation)
    return replace(
        recorded,
        operations=tuple(kept),
        adopted={name: found for name, found in recorded.adopted.items() if name in names},
    )


def names_of(step: Step) -> frozenset[str]:
    """The served names that a step is about; none for one that records."""
    sides = [side.served for side in (step.before, step.after) if side is not None]
    return frozenset(sides) | ({step.index} if step.index is not None else frozenset())


def steps_about(steps: Sequence[Step], names: Collection[str]) -> tuple[Step, ...]:
    """Those of some steps that are about one of these served names."""
    return tuple(step for step in steps if not names_of(step).isdisjoint(names))


def in_turns(steps: Sequence[Step], parts: Sequence[frozenset[str]]) -> list[Step]:
    """The steps of a revision part by part: built, swapped in, recorded, and what was replaced removed.

    What is about none of them, as a look at an index that the revision does not change, comes with the last.

    Args:
        steps: In the order in which all parts would begin to serve together.
        parts: That have nothing to do with each other; see `turns_of`.
    """
    earlier = [part for part in parts if steps_about(steps, part)][:-1]
    ordered: list[Step] = []
    for part in earlier:
        own = steps_about(steps, part)
        ordered += [step for step in own if not step.after_record]
        ordered += [_recording(own), *(step for step in own if step.after_record)]
    done = frozenset().union(*earlier)
    return [*ordered, *(step for step in steps if names_of(step).isdisjoint(done))]


def steps_without(steps: Sequence[Step], names: Collection[str], position: int) -> tuple[list[Step], int]:
    """The steps of a revision without those about some names, and where among them a run is that was at one.

    The revision can't be recorded then: what recorded it records the other indexes.

    Args:
        steps: Of the revision.
        names: The served names.
        position: The step that the run would have done next.
    """
    kept: list[Step] = []
    is_open, position_now = False, len(steps)
    for at, step in enumerate(steps):
        if at == position:
            position_now = len(kept)
        if step.kind in RECORDS:
            if is_open:
                kept.append(_recording_only(step))
            is_open = False
        elif names_of(step).isdisjoint(names):
            kept.append(step)
            is_open = is_open or not step.after_record
    return kept, min(position_now, len(kept))


def recording_no_revision(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps of a revision, of which the last record is that of its indexes alone."""
    return tuple(_recording_only(step) if step.kind in RECORDS else step for step in steps)


def _recording_only(step: Step) -> Step:
    if step.kind == "record_indexes":
        return step
    return Step(kind="record_indexes", description="record the indexes that are changed by now")


def _recording(own: Sequence[Step]) -> Step:
    names = dict.fromkeys(step.index for step in own if step.index is not None)
    return Step(kind="record_indexes", description=f"record {', '.join(names)}")


def _with_names(recorded: RecordedRevision, catalog: Catalog) -> Iterator[tuple[Operation, frozenset[str]]]:
    """Each operation, and the served names that it is about; none where it is about all of the revision."""
    catalog = recorded.start(catalog)
    for operation in recorded.operations:
        names: set[str] = set()
        match operation.kind:
            case "create_index":
                names = {operation.schema.name}
            case "drop_index":
                names = {operation.name}
            case "change_index":
                names = {operation.name, operation.name_after}
            case "create_alias" | "drop_alias":
                holder = catalog.alias_target(operation.alias)
                names = {holder} if holder is not None else set()
                if operation.kind == "create_alias":
                    names.add(operation.index)
            case "set_synonyms":
                names = {operation.index}
        catalog = operation.apply(catalog)
        yield operation, frozenset(names)


def _share_documents(one: frozenset[str], other: frozenset[str], catalogs: tuple[Catalog, Catalog]) -> bool:
    """Whether two parts have indexes that can be about the same keys, before or after the revision."""
    sides = [
        [catalog[name].schema for catalog in catalogs for name in part if name in catalog]
        for part in (one, other)
    ]
    return any(
        mine.storage_type == theirs.storage_type
        and KeyPrefixes.of(mine.prefixes).overlap(KeyPrefixes.of(theirs.prefixes))
        for mine in sides[0]
        for theirs in sides[1]
    )
