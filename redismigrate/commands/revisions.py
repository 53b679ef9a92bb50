"""`heads`, `branches`, `history`, `show`: what the scripts say, and of which revisions a server has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redismigrate.commands.project import Project
from redismigrate.errors import RevisionNotFound, SchemaError, ScriptError
from redismigrate.history.folder import heads_of
from redismigrate.history.script import Script
from redismigrate.state.stored_documents import Head

if TYPE_CHECKING:
    from redismigrate.state.stored_documents import AppliedRevision


@dataclass(frozen=True)
class ShownRevision:
    """A revision, told in words.

    Attributes:
        script: Its script.
        children: The revisions that revise it.
        upgrade: What applying it does; None when that can't be told without a server, see `unknown`.
        downgrade: What undoing it does; None likewise.
        unknown: Why not.
    """

    script: Script
    children: tuple[str, ...]
    upgrade: tuple[str, ...] | None
    downgrade: tuple[str, ...] | None
    unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        """The revision as data for `--json`."""
        return {
            **script_to_json(self.script),
            "children": list(self.children),
            "upgrade": None if self.upgrade is None else list(self.upgrade),
            "downgrade": None if self.downgrade is None else list(self.downgrade),
            "unknown": self.unknown,
        }


@dataclass(frozen=True)
class Listing:
    """Revisions, newest first.

    Attributes:
        scripts: Their scripts.
        dependencies: Revision -> what it depends on, as ids.
        heads: Which of all revisions no other revises.
        applied: What is recorded of those that a server has; None when it was not asked.
        ahead: Applied revisions that no script has.
    """

    scripts: tuple[Script, ...]
    dependencies: Mapping[str, tuple[str, ...]]
    heads: frozenset[str]
    applied: Mapping[str, AppliedRevision] | None = None
    ahead: tuple[str, ...] = ()

    @cached_property
    def folds(self) -> Mapping[str, tuple[str, ...]]:
        """Applied revision -> those that were carried out as one with it, where there are others."""
        return Head(self.applied or {}).folds

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON data; each has `applied`, null for what is not, where a server was asked."""
        return [{**script_to_json(script), **self._applied_to_json(script)} for script in self.scripts]

    def _applied_to_json(self, script: Script) -> dict[str, Any]:
        if self.applied is None:
            return {}
        record = self.applied.get(script.revision)
        return {"applied": None if record is None else record.to_json()}


@dataclass(frozen=True)
class Branches:
    """Where the history branches.

    Attributes:
        points: Each revision that several others revise, and these.
        labels: Each branch label: the revision that gives it, and the heads of its branch.
    """

    points: tuple[tuple[Script, tuple[Script, ...]], ...]
    labels: Mapping[str, tuple[Script, tuple[str, ...]]]

    def to_json(self) -> dict[str, Any]:
        """Branch points and labels as data for `--json`."""
        return {
            "branch_points": [
                {**script_to_json(point), "children": [child.revision for child in children]}
                for point, children in self.points
            ],
            "labels": {
                label: {"revision": script.revision, "heads": list(heads)}
                for label, (script, heads) in self.labels.items()
            },
        }


def script_to_json(script: Script) -> dict[str, Any]:
    """A script's metadata as JSON data."""
    return {
        "revision": script.revision,
        "down_revisions": list(script.down_revisions),
        "branch_labels": list(script.branch_labels),
        "depends_on": list(script.depends_on),
        "message": script.message,
        "create_date": script.create_date,
        "path": str(script.path),
        "sha256": script.sha256,
        **({"replaces": list(script.replaces)} if script.replaces else {}),
    }


def heads(project: Project, *, check: bool = False, resolve_dependencies: bool = False) -> tuple[Script, ...]:
    """The scripts that no other revises.

    Args:
        project: The project.
        check: Insist on one at most.
        resolve_dependencies: Leave out those on which another one depends.

    Raises:
        ScriptError: There are several, and that was to be checked; or the history has a circle or a gap.
    """
    ids = set(heads_of(project.scripts))
    # Who relies on it, for CI, has to hear of a parent that is missing; a circle has no head at all.
    if check or resolve_dependencies or not ids:
        history = project.history
        ids &= set(history.maximal(history) if resolve_dependencies else history)
    found = tuple(script for script in project.scripts if script.revision in ids)
    if check and len(found) > 1:
        names = ", ".join(f"{script.revision} ({script.message})" for script in found)
        raise ScriptError(
            f"The history has {len(found)} heads: {names}.", 'Join them with `redismigrate merge -m "..."`.'
        )
    return found


def branches(project: Project) -> Branches:
    """The revisions at which the history branches, and the branch labels."""
    graph = project.history
    return Branches(
        tuple(
            (graph[point], tuple(graph[child] for child in graph.children(point)))
            for point in graph.ordered(graph.branch_points())
        ),
        {
            label: (graph[owner], tuple(head for head in graph.heads() if head in graph.branch(owner)))
            for label, owner in sorted(graph.labels.items())
        },
    )


def history(project: Project, revisions: str | None = None, *, indicate_applied: bool = False) -> Listing:
    """The scripts, newest first.

    Args:
        project: The project.
        revisions: A range `a:b`, by default all; either end may be left out, and may be `current`.
        indicate_applied: Ask the server which of them are applied, when and by whom.

    Raises:
        UsageError: The range makes no sense.
    """
    from redismigrate.history.identifiers import resolve_range

    project = project if revisions is None else project.showing(revisions)
    graph, recorded = project.history, None
    if indicate_applied or (revisions is not None and _counts_from_server(revisions)):
        recorded = _recorded(project)
    ids = (
        graph.ordered(graph)
        if revisions is None
        else resolve_range(graph, revisions, frozenset(recorded or ()))
    )
    return Listing(
        scripts=tuple(graph[id_] for id_ in reversed(ids)),
        dependencies={id_: graph.dependencies(id_) for id_ in ids},
        heads=frozenset(graph.heads()),
        applied=recorded if indicate_applied else None,
        ahead=tuple(sorted(set(recorded or ()) - graph.keys())) if indicate_applied else (),
    )


def show(project: Project, identifier: str) -> ShownRevision:
    """A revision and what it does in both directions, as far as that can be told from the scripts alone."""
    from redismigrate.commands.recording import record_upgrades
    from redismigrate.operations.script_calls import record
    from redismigrate.schema.definition import Catalog

    project = project.showing(identifier)
    script = find_script(project, identifier)
    graph = project.history
    children = graph.children(script.revision)
    upgrade: tuple[str, ...] | None = None
    downgrade: tuple[str, ...] | None = None
    try:
        catalog = Catalog()
        said: list[str] = []
        for item in record_upgrades(graph, graph.ordered(graph.ancestors([script.revision])), catalog, None):
            catalog = item.apply(catalog)
            if item.revision in {script.revision, *script.replaces}:
                said += map(str, item.operations)
        upgrade = tuple(said)
        back = record(script.load().downgrade, catalog, str(script.path))
        downgrade = tuple(str(operation) for operation in back.recorded)
    except (ScriptError, SchemaError) as error:
        return ShownRevision(script, children, upgrade, downgrade, error.message)
    return ShownRevision(script, children, upgrade, downgrade)


def find_script(project: Project, identifier: str) -> Script:
    """The script of the one revision that an identifier stands for.

    Raises:
        UsageError: It stands for none, or for several.
    """
    from redismigrate.history.identifiers import resolve_one

    applied = frozenset(_recorded(project)) if _counts_from_server(identifier) else frozenset[str]()
    revision_id = resolve_one(project.history, identifier, applied)
    if revision_id not in project.history:
        raise RevisionNotFound(f"There is no script for {identifier}.", "See `redismigrate history`.")
    return project.history[revision_id]


def _counts_from_server(identifiers: str) -> bool:
    """Whether an identifier, or one end of a range, says `current` or counts from it."""
    ends = identifiers.split(":")
    symbols = [end.strip().rpartition("@")[2] for end in ends]
    if any(symbol.startswith("current") for symbol in symbols):
        return True
    # In a range a count goes on from the other end, unless that counts as well.
    return all(symbol.startswith(("+", "-")) for symbol in symbols)


def _recorded(project: Project) -> Mapping[str, AppliedRevision]:
    from redismigrate.commands.squashed_history import seen
    from redismigrate.state.store import read_state

    with project.connect() as server:
        return seen(project, read_state(server, project.keys).head).revisions
