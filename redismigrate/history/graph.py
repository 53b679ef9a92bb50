"""The DAG that the scripts form: its heads and branches, and the revisions between two states of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from redismigrate.errors import HistoryCycle, MissingParent, RevisionNotFound, ScriptError
from redismigrate.history.script import Script, by_revision
from redismigrate.history.suggestions import suggestion


class History(Mapping[str, Script]):
    """Every revision of a project, in the order of the DAG.

    Two relations join revisions: one revises another (`down_revision`), and one depends on another
    (`depends_on`). Heads, bases, branches and merges are about revising alone, so that two lines of
    development that depend on each other stay two lines. What must be applied before what is about
    both: `ancestors`, `descendants`, `maximal` and the paths follow either relation.

    A mapping of ids to scripts that iterates parents first; among revisions whose order is free, the
    one with the smaller create date comes first, then the one with the smaller id.

    Args:
        scripts: The scripts, as `redismigrate.history.folder.read_scripts` returns them.

    Raises:
        DuplicateRevision: Two scripts carry the same id.
        ScriptError: A branch label is given twice or is also the id of a revision.
        MissingParent: A script revises or depends on a revision that no script has.
        HistoryCycle: Revisions revise or depend on each other in a circle.
    """

    def __init__(self, scripts: Iterable[Script]) -> None:
        self._scripts = by_revision(scripts)
        self._labels = _label_owners(self._scripts)
        self._dependencies = {
            script.revision: tuple(self._labels.get(name, name) for name in script.depends_on)
            for script in self._scripts.values()
        }
        self._check_parents()
        self._revising, self._requiring = (_Relation(sorted(self._scripts)) for _ in range(2))
        for revision, script in self._scripts.items():
            for parent in script.down_revisions:
                self._revising.add(parent, revision)
                self._requiring.add(parent, revision)
        for revision, dependencies in self._dependencies.items():
            for dependency in dependencies:
                self._requiring.add(dependency, revision)
        ordered = self._requiring.parents_first(self._by_date)
        if len(ordered) < len(self._scripts):
            raise _cycle_error(self._requiring.circle(), self._scripts)
        self._rank = {revision: rank for rank, revision in enumerate(ordered)}

    def __getitem__(self, revision: str) -> Script:
        return self._scripts[revision]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rank)

    def __len__(self) -> int:
        return len(self._rank)

    @property
    def labels(self) -> Mapping[str, str]:
        """Every branch label and the revision whose script gives it."""
        return MappingProxyType(self._labels)

    @property
    def replaced(self) -> Mapping[str, str]:
        """Every revision that a squashed one stands for, and that one."""
        return {old: script.revision for script in self._scripts.values() for old in script.replaces}

    def heads(self) -> tuple[str, ...]:
        """Return the revisions that no other revises, sorted by id."""
        return tuple(revision for revision in self._revising.succ if not self._revising.succ[revision])

    def bases(self) -> tuple[str, ...]:
        """Return the revisions that revise no other, sorted by id."""
        return tuple(revision for revision in self._revising.succ if not self._revising.pred[revision])

    def branch_points(self) -> tuple[str, ...]:
        """Return the revisions that more than one other revises, sorted by id."""
        return tuple(revision for revision in self._revising.succ if len(self._revising.succ[revision]) > 1)

    def children(self, revision: str) -> tuple[str, ...]:
        """Return the revisions that revise this one, in the order of the history."""
        return self.ordered(self._revising.succ[self._one(revision)])

    def dependencies(self, revision: str) -> tuple[str, ...]:
        """Return the ids in a script's `depends_on`, labels replaced by the revisions they name."""
        return self._dependencies[self._one(revision)]

    def ancestors(self, revisions: Iterable[str]) -> frozenset[str]:
        """Return the revisions and all that must be applied before them.

        Raises:
            RevisionNotFound: One of them is not in the history.
        """
        return _closure(map(self._one, revisions), self._requiring.pred)

    def descendants(self, revisions: Iterable[str]) -> frozenset[str]:
        """Return the revisions and all that can be applied only after them.

        Raises:
            RevisionNotFound: One of them is not in the history.
        """
        return _closure(map(self._one, revisions), self._requiring.succ)

    def lineage(self, revision: str) -> frozenset[str]:
        """Return the revisions above and below this one and itself, along `down_revision` alone."""
        start = (self._one(revision),)
        return _closure(start, self._revising.pred) | _closure(start, self._revising.succ)

    def branch(self, revision: str) -> frozenset[str]:
        """Return the revisions that a branch label given at this one covers.

        They are the revision, all that descend from it along `down_revision`, and its ancestors back
        to, and without, the nearest branch point or merge.
        """
        members = set(_closure((self._one(revision),), self._revising.succ))
        while len(parents := self._scripts[revision].down_revisions) == 1:
            (revision,) = parents
            if len(self._revising.succ[revision]) > 1 or len(self._revising.pred[revision]) > 1:
                break
            members.add(revision)
        return frozenset(members)

    def ordered(self, revisions: Iterable[str]) -> tuple[str, ...]:
        """Return revisions of the history parents first, each once."""
        return tuple(sorted(set(revisions), key=self._rank.__getitem__))

    def known(self, applied: Iterable[str]) -> frozenset[str]:
        """Return those applied revisions that the history has: a server can be ahead of the scripts."""
        return frozenset(applied).intersection(self._rank)

    def maximal(self, applied: Iterable[str]) -> tuple[str, ...]:
        """Return the applied revisions that no other applied revision descends from, sorted by id.

        These are the heads of a server, its `current`. `depends_on` counts here: a revision that an
        applied one depends on is implied by it, as everything below a head is. So after an upgrade to
        `heads` a head that another line depends on is not listed, and whether everything is applied
        shows in whether each of `heads()` is applied, not in whether the two lists are equal.

        Args:
            applied: Ids; those that the history lacks are left out.
        """
        known = self.known(applied)
        parents = (parent for revision in known for parent in self._requiring.pred[revision])
        return tuple(sorted(known - _closure(parents, self._requiring.pred)))

    def upgrade_path(self, targets: Iterable[str], applied: Iterable[str]) -> tuple[str, ...]:
        """Return what has to be applied to reach the targets, in the order to apply it.

        Raises:
            RevisionNotFound: A target is not in the history; unknown applied ids are ignored.
        """
        return self.ordered(self.ancestors(targets) - set(applied))

    def _one(self, revision: str) -> str:
        if revision not in self._scripts:
            hint = suggestion(revision, self._scripts, "`redismigrate history` lists the revisions.")
            raise RevisionNotFound(f"There is no revision '{revision}'.", hint)
        return revision

    def _by_date(self, revision: str) -> tuple[str, str]:
        return self._scripts[revision].create_date or "", revision

    def _check_parents(self) -> None:
        for revision, script in self._scripts.items():
            for relation, parents in (
                ("revises", script.down_revisions),
                ("depends on", self._dependencies[revision]),
            ):
                for parent in parents:
                    if parent not in self._scripts:
                        raise MissingParent(
                            f"{script.path} {relation} '{parent}', but no script has that revision.",
                            suggestion(
                                parent,
                                (*self._scripts, *self._labels),
                                "Add the missing script, or correct the id.",
                            ),
                        )


class _Relation:
    """Edges from revisions to those that come after them, each once.

    Attributes:
        succ: Of each revision those after it; the values mean nothing.
        pred: Of each revision those before it.
    """

    def __init__(self, revisions: Iterable[str]) -> None:
        self.succ: dict[str, dict[str, None]] = {revision: {} for revision in revisions}
        self.pred: dict[str, dict[str, None]] = {revision: {} for revision in self.succ}

    def add(self, parent: str, child: str) -> None:
        self.succ[parent][child] = self.pred[child][parent] = None

    def parents_first(self, key: Callable[[str], tuple[str, str]]) -> list[str]:
        """In the order of the key where it is free; those in a circle, or after one, are left out."""
        waits_for = {revision: len(parents) for revision, parents in self.pred.items()}
        free = [(key(revision), revision) for revision, count in waits_for.items() if not count]
        heapq.heapify(free)
        ordered = []
        while free:
            _, revision = heapq.heappop(free)
            ordered.append(revision)
            for child in self.succ[revision]:
                waits_for[child] -= 1
                if not waits_for[child]:
                    heapq.heappush(free, (key(child), child))
        return ordered

    def circle(self) -> list[str]:
        """One of the circles there are."""
        # Imported when needed: it takes longer to import than a thousand scripts take to be read.
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.succ)
        graph.add_edges_from((parent, child) for parent, after in self.succ.items() for child in after)
        return [parent for parent, _ in nx.find_cycle(graph)]


def _label_owners(scripts: Mapping[str, Script]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for revision, script in scripts.items():
        for label in script.branch_labels:
            if label in scripts:
                problem = f"the id of the revision in {scripts[label].path}"
            elif label in owners:
                problem = f"given in {scripts[owners[label]].path}"
            else:
                owners[label] = revision
                continue
            raise ScriptError(
                f"{script.path} gives the branch label '{label}', which is already {problem}.",
                "Give a label once, where its branch starts; later revisions of the branch inherit it.",
            )
    return owners


def _cycle_error(circle: list[str], scripts: Mapping[str, Script]) -> HistoryCycle:
    start = circle.index(min(circle))
    circle = [*circle[start:], *circle[:start]]
    return HistoryCycle(
        f"Revisions revise or depend on each other in a circle: {' -> '.join([*circle, circle[0]])}.",
        f"Correct down_revision or depends_on in {', '.join(str(scripts[name].path) for name in circle)}.",
    )


def _closure(start: Iterable[str], neighbours: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the start and all that is reachable from it; iterative, as histories are deep."""
    seen = set(start)
    todo = list(seen)
    while todo:
        for revision in neighbours[todo.pop()]:
            if revision not in seen:
                seen.add(revision)
                todo.append(revision)
    return frozenset(seen)
