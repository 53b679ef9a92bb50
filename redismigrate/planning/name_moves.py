"""What steps make of names: those that move some one after the other are one, and count by its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import takewhile

from redismigrate.planning.plan import Step, moves_names
from redismigrate.schema.definition import Catalog, IndexDefinition


def leading_moves(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The first of some steps, as far as they move names: they are carried out as one."""
    return tuple(takewhile(moves_names, steps))


@dataclass
class NameMoves:
    """What a group of steps makes of names, whatever they are in between.

    Attributes:
        targets: Name -> the index that it leads to in the end; None for none.
        known: Name -> the physical indexes that it leads to before, in between or after.
        dropped: Physical name -> the step that drops that index.
        by_drop: The names that only go with an index that is dropped, if they still lead to it.
    """

    targets: dict[str, IndexDefinition | None] = field(default_factory=dict)
    known: dict[str, set[str]] = field(default_factory=dict)
    dropped: dict[str, Step] = field(default_factory=dict)
    by_drop: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, steps: Iterable[Step]) -> NameMoves:
        """What some steps make of names, the last one counting."""
        moves = cls()
        for step in steps:
            moves._add(step)
        return moves

    @property
    def heirs(self) -> dict[str, IndexDefinition]:
        """Physical name of an index that is dropped -> the index that has its name in the end."""
        return {name: heir for name in self.dropped if (heir := self.targets.get(name)) is not None}

    def _add(self, step: Step) -> None:
        before, after = step.before, step.after
        if step.kind == "set_alias":
            self._lead(str(step.alias), before, after)
        elif step.kind == "swap_alias" and after is not None:
            if before is not None and before.physical in after.all_aliases:
                self.dropped[before.physical] = step
            for name in after.all_aliases:
                self._lead(name, before, after)
        elif step.kind == "drop_index" and before is not None:
            self.dropped[before.physical] = step
            for name in (before.physical, *before.all_aliases):
                target = self.targets.get(name)
                if name not in self.targets or (target is not None and target.physical == before.physical):
                    self._lead(name, before, None)
                    self.by_drop.add(name)
            if step.alias is not None:
                self._lead(step.alias, before, after)

    def _lead(self, name: str, before: IndexDefinition | None, after: IndexDefinition | None) -> None:
        known = self.known.setdefault(name, set())
        known |= {definition.physical for definition in (before, after) if definition is not None}
        self.targets[name] = after
        self.by_drop.discard(name)


def names_in(catalog: Catalog) -> frozenset[str]:
    """The names that clients may query: of indexes, and further aliases."""
    return frozenset(name for d in catalog.values() for name in (d.served, *d.aliases))


def times_without(
    steps: Sequence[Step], kept: AbstractSet[str]
) -> Iterator[tuple[str, Step, tuple[Step, ...]]]:
    """The names that don't answer all the time while some steps are done.

    What a rebuild takes away for a while is not among them.

    Args:
        steps: In order.
        kept: The names that answer before and after them.

    Yields:
        The name, the step that takes it away, and the steps during which it does not answer.
    """
    gone: dict[str, int] = {}
    at = 0
    while at < len(steps):
        group = leading_moves(steps[at:]) or steps[at : at + 1]
        targets = NameMoves.of(filter(moves_names, group)).targets
        at += len(group)
        for name, target in targets.items():
            if target is None and name in kept:
                gone.setdefault(name, at)
            elif name in gone:
                start = gone.pop(name)
                yield name, _taking(steps[:start], name), tuple(steps[start : at - len(group)])
        created = _made_in_place(group[0])
        if created in gone:
            start = gone.pop(created)
            kinds = [step.kind for step in steps[at:]]
            end = at + (kinds.index("wait_for_index") + 1 if "wait_for_index" in kinds else 0)
            yield created, _taking(steps[:start], created), tuple(steps[start:end])


def _made_in_place(step: Step) -> str | None:
    """The name that an index gets by being made, as all its documents are still to be indexed."""
    is_made = step.life.has("makes_index")
    return step.after.physical if is_made and step.after is not None else None


def _taking(steps: Sequence[Step], name: str) -> Step:
    """The last step that takes a name away."""
    return next(
        step
        for step in reversed(steps)
        if moves_names(step)
        and step.before is not None
        and name in {step.alias, step.before.physical, *step.before.all_aliases}
    )
