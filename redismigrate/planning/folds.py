"""Which of the revisions that wait are folded, and for which of them not, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redismigrate.operations.operation_types import Operation
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.folding import fold, histories_of
from redismigrate.schema.definition import Catalog

# What several revisions may ask for and be one all the same; `folding.fold` carries nothing else. All other
# operations stand for themselves: what reads or checks a form in between would meet another one, and what
# nobody can take back has to be a step of its own.
_FOLDED = frozenset({"change_index"})


@dataclass(frozen=True)
class ScriptsAround:
    """What the scripts say of revisions beside what those do.

    Attributes:
        depending: Revision -> those whose `depends_on` names it, whether they wait or not.
        no_way_back: Revision -> why its downgrade says that there is none.
        applied: The revisions that are recorded, one by one.
        within_others: Those among them that stand in the record of a squashed one.
    """

    depending: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    no_way_back: Mapping[str, str] = field(default_factory=dict)
    applied: Collection[str] = frozenset()
    within_others: Collection[str] = frozenset()


@dataclass(frozen=True)
class Folds:
    """Revisions with those that can be folded as one.

    Attributes:
        recorded: What is carried out one by one: revisions, and folds of them.
        remarks: Why others stand for themselves, one sentence each.
    """

    recorded: tuple[RecordedRevision, ...]
    remarks: tuple[str, ...] = ()


def what_keeps_from_folding(recorded: RecordedRevision, around: ScriptsAround) -> tuple[str, ...]:
    """Why a revision can't be one of several that are carried out as one; empty where nothing is in the way.

    Args:
        recorded: What it does.
        around: What the scripts say of it beside that.
    """
    reasons = [
        _as_reason(operation) for operation in recorded.operations if operation.kind not in _FOLDED
    ] + [f"it undoes op.run({function.name})" for function in recorded.undone_functions]
    puts_together = any(set(squash.replaces) & set(around.applied) for squash in recorded.squashes)
    if recorded.replaces or puts_together or recorded.revision in around.within_others:
        reasons.append("squashed revisions change their record with it")
    if recorded.revision in around.no_way_back:
        reasons.append(f"its downgrade is irreversible: {around.no_way_back[recorded.revision]}")
    unmanaged = sorted({*recorded.given_up, *recorded.found})
    if unmanaged:
        reasons.append(f"it gives up {', '.join(unmanaged)}")
    return tuple(dict.fromkeys(reasons))


def folds_of(
    recorded: Sequence[RecordedRevision], catalog: Catalog, around: ScriptsAround | None = None
) -> Folds:
    """Fold what can be: consecutive revisions that change the same indexes, and those between them.

    Two indexes that no revision ties together are not made one, so that one can fail without the other, and
    they need no memory at the same time.

    Args:
        recorded: The revisions, in the order in which they are carried out.
        catalog: The indexes as the first of them finds them.
        around: What the scripts say beside that.
    """
    folder = _Folder(around or ScriptsAround())
    group: list[RecordedRevision] = []
    start = catalog
    for item in recorded:
        reasons = what_keeps_from_folding(item, folder.around)
        if reasons:
            folder.add(group, start)
            folder.done.append(item)
            group = []
            if len(recorded) > 1:  # there is something that it could be folded with
                folder.remarks.append(f"revision {item.revision} is not folded: {'; '.join(reasons)}")
        elif not group:
            group, start = [item], catalog
        else:
            group.append(item)
        catalog = item.apply(catalog)
    folder.add(group, start)
    return Folds(tuple(folder.done), tuple(folder.remarks))


def _as_reason(operation: Operation) -> str:
    match operation.kind:
        case "run":
            return f"it calls op.run({operation.name}), which may need the form in between"
        case "irreversible":
            return f"it is irreversible: {operation.reason}"
        case "assume_exclusive":
            return f"it assumes that nobody else writes meanwhile, for itself alone: {operation.reason}"
        case "expect":
            return f"it expects something in between: {operation}"
        case _:
            return f"it does something else than to change indexes: {operation}"


@dataclass
class _Folder:
    """Owns what has become of the revisions so far."""

    around: ScriptsAround
    done: list[RecordedRevision] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, members: Sequence[RecordedRevision], catalog: Catalog) -> None:
        """Fold revisions that only change indexes, as far as they are tied together and come to the same."""
        parts = _parts(members, catalog)
        if len(parts) > 1:
            self._add_each(parts, catalog)
        elif len(members) < 2:  # noqa: PLR2004 - one alone
            self.done += members
        elif (cut := self._cut(members)) is not None:
            self._add_each((members[:cut], members[cut:]), catalog)
        else:
            try:
                self.done.append(fold(members, catalog))
            except ValueError:
                at = self._first_that_does_not_fit(members, catalog)
                self._add_each((members[:at], members[at:]), catalog)

    def _add_each(self, parts: Iterable[Sequence[RecordedRevision]], catalog: Catalog) -> None:
        for part in parts:
            self.add(part, catalog)
            for member in part:
                catalog = member.apply(catalog)

    def _cut(self, members: Sequence[RecordedRevision]) -> int | None:
        """Where `depends_on` ties one of them to what is none of them; None where that is nowhere.

        Only the first of the history may depend on others, and others only on the last.
        """
        goes_back = members[0].direction == "downgrade"
        at = self._cut_in_history(members[::-1] if goes_back else members)
        return len(members) - at if goes_back and at is not None else at

    def _cut_in_history(self, members: Sequence[RecordedRevision]) -> int | None:
        ids = [member.revision for member in members]
        for at, member in enumerate(members):
            needed = _without(member.depends_on, ids)
            if at and needed:
                self.remarks.append(
                    f"revision {member.revision} is not folded with those before it: it depends on "
                    f"{', '.join(needed)}"
                )
                return at
            needing = _without(self.around.depending.get(member.revision, ()), ids)
            if at < len(ids) - 1 and needing:
                self.remarks.append(
                    f"revision {member.revision} is not folded with those after it: {', '.join(needing)} "
                    f"depend{'s' if len(needing) == 1 else ''} on it"
                )
                return at + 1
        return None

    def _first_that_does_not_fit(self, members: Sequence[RecordedRevision], catalog: Catalog) -> int:
        """Where a fold of them ends: the first of them are one, and with the next they are not."""
        fits, does_not, reason = 1, len(members) + 1, ""
        while does_not - fits > 1:
            count = min((fits + does_not) // 2, len(members))
            try:
                fold(members[:count], catalog)
                fits = count
            except ValueError as error:
                does_not, reason = count, str(error)
        self.remarks.append(f"revision {members[fits].revision} is not folded with those before it: {reason}")
        return fits


def _parts(group: Sequence[RecordedRevision], catalog: Catalog) -> list[list[RecordedRevision]]:
    """Revisions, cut where no index is changed both before and after."""
    positions = {member.revision: at for at, member in enumerate(group)}
    last = dict.fromkeys(range(len(group)), 0)
    for history in histories_of(group, catalog).values():
        touched = [positions[part.revision] for part in history.parts]
        last[touched[0]] = max(last[touched[0]], touched[-1])
    parts: list[list[RecordedRevision]] = []
    end = -1
    for at, member in enumerate(group):
        if at > end:
            parts.append([])
        parts[-1].append(member)
        end = max(end, at, last[at])
    return parts


def _without(revisions: Iterable[str], inside: Collection[str]) -> list[str]:
    return [revision for revision in revisions if revision not in inside]
