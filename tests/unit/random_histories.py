"""Random histories of up to some hundred revisions, each with a model of it that is made of plain sets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from history_builder import make_script

from redismigrate.history.graph import History


@dataclass
class Model:
    """What each revision revises and requires, the labels, and what is applied; sets and loops only."""

    revises: dict[str, set[str]]
    requires: dict[str, set[str]]
    labels: dict[str, str]
    applied: set[str] = field(default_factory=set)

    def up(self, start: set[str], relation: dict[str, set[str]] | None = None) -> set[str]:
        relation, found = relation or self.requires, set(start)
        while more := {parent for name in found for parent in relation[name]} - found:
            found |= more
        return found

    def down(self, start: set[str], relation: dict[str, set[str]] | None = None) -> set[str]:
        relation, found = relation or self.requires, set(start)
        for name in relation:  # parents come before children
            if relation[name] & found:
                found.add(name)
        return found

    def heads(self) -> set[str]:
        return set(self.revises) - {parent for parents in self.revises.values() for parent in parents}

    def children(self, name: str) -> set[str]:
        return {other for other in self.revises if name in self.revises[other]}

    def branch(self, label: str) -> set[str]:
        """What a label covers: all above it, and below it as far as the line neither branches nor merges."""
        at = self.labels[label]
        members = self.down({at}, self.revises)
        while len(self.revises[at]) == 1:
            (at,) = self.revises[at]
            if len(self.children(at)) > 1 or len(self.revises[at]) > 1:
                break
            members.add(at)
        return members

    def lineage(self, label: str) -> set[str]:
        """All below a label and all above it, merges included."""
        at = {self.labels[label]}
        return self.up(at, self.revises) | self.down(at, self.revises)

    def last(self, within: set[str] | None = None) -> set[str]:
        """The applied revisions on which none stands; those within first, else the last ones of these."""
        current = {name for name in self.applied if self.down({name}) & self.applied == {name}}
        if within is None or current & within:
            return current if within is None else current & within
        inside = self.applied & within
        return {name for name in inside if self.down({name}) & inside == {name}}

    def apply(self, path: tuple[str, ...], expected: set[str]) -> None:
        """Apply one by one: each finds what it stands on."""
        assert set(path) == expected
        for name in path:
            assert name not in self.applied
            assert self.requires[name] <= self.applied
            self.applied.add(name)

    def undo(self, path: tuple[str, ...], expected: set[str]) -> None:
        """Undo one by one: nothing that stays stands on it."""
        assert set(path) == expected
        for name in path:
            self.applied.remove(name)
            assert not any(name in self.requires[other] for other in self.applied)


def random_history(seed: int, size: int) -> tuple[History, Model]:
    """A history with branches, merges, dependencies on ids and on labels, and several bases."""
    chance = random.Random(seed)  # noqa: S311 - a seed gives the same history again
    names = [f"{chance.getrandbits(48):012x}" for _ in range(size)]
    revises: dict[str, set[str]] = {}
    requires: dict[str, set[str]] = {}
    labels: dict[str, str] = {}
    scripts = []
    for number, name in enumerate(names):
        recent = names[max(0, number - chance.choice((1, 2, 9))) : number]
        parents = chance.sample(recent, min(len(recent), chance.choice((0, 1, 1, 1, 1, 1, 2, 3))))
        needed = chance.sample(names[:number], min(number, chance.choice((0, 0, 0, 0, 1, 2))))
        needed_labels = chance.sample(sorted(labels), min(len(labels), chance.choice((0, 0, 0, 1))))
        own = (f"label{number}",) if chance.random() < 0.05 else ()
        revises[name] = set(parents)
        requires[name] = {*parents, *needed, *(labels[label] for label in needed_labels)}
        scripts.append(make_script(name, tuple(parents), own, (*needed, *needed_labels)))
        labels |= dict.fromkeys(own, name)
    chance.shuffle(scripts)
    return History(scripts), Model(revises, requires, labels)
