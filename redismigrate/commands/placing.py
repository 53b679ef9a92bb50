"""Where a new revision goes in the history: what it revises and depends on, its labels, its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redismigrate.commands.project import Project
from redismigrate.errors import UsageError
from redismigrate.history.script import Script


@dataclass(frozen=True)
class Placement:
    """The place of a revision that is to be written.

    Attributes:
        revision: Its id.
        parents: What it revises: none for a base, several for a merge.
        branch_labels: The labels of a branch that starts there.
        depends_on: Ids or labels that have to be applied before it, without being revised.
        folder: Where its script goes.
    """

    revision: str
    parents: tuple[str, ...]
    branch_labels: tuple[str, ...]
    depends_on: tuple[str, ...]
    folder: Path


def place_revision(
    project: Project,
    *,
    heads: Sequence[str] = (),
    splice: bool = False,
    branch_labels: Sequence[str] = (),
    depends_on: Sequence[str] = (),
    version_path: Path | None = None,
    revision_id: str | None = None,
) -> Placement:
    """Find the place of a new revision.

    Args:
        project: The project.
        heads: Identifiers of what it revises, by default the only head; "base" begins a new history.
        splice: It may revise what is no head, and so begin a branch there.
        branch_labels: Labels for its branch.
        depends_on: Identifiers of what has to be applied before it; a label stays a label.
        version_path: One of the folders with scripts; by default that of the revision it revises.
        revision_id: Its id, by default random.

    Raises:
        SeveralHeads: There is more than one head and none was named.
        UsageError: An id, a label or a folder can't be used, or it would revise what is no head.
    """
    from redismigrate.history.identifiers import resolve_many, resolve_one
    from redismigrate.history.script_writer import new_revision_id

    history = project.history
    require_free(project, revision_id, branch_labels)
    parents: tuple[str, ...]
    if heads:
        parents = tuple(
            dict.fromkeys(parent for name in heads for parent in resolve_many(history, name, frozenset()))
        )
    else:
        parents = (resolve_one(history, "head", frozenset()),) if project.scripts else ()
    not_heads = [parent for parent in parents if parent not in history.heads()]
    if not_heads and not splice:
        raise UsageError(
            f"Revision {not_heads[0]} is not a head.",
            f"Name one of: {', '.join(history.heads())}; or begin a branch there with --splice.",
        )
    return Placement(
        revision_id or new_revision_id(),
        parents,
        tuple(dict.fromkeys(branch_labels)),
        _dependencies(project, depends_on),
        _folder(project, parents, version_path),
    )


def require_free(project: Project, revision_id: str | None, labels: Sequence[str]) -> None:
    """Insist that an id and labels can be given to a new revision.

    Raises:
        UsageError: One of them can't, or another revision has it.
    """
    from redismigrate.history.script import problem_with_name

    history = project.history
    if revision_id is not None:
        problem = problem_with_name(revision_id)
        if problem:
            raise UsageError(f"{revision_id!r} can't be a revision id: {problem}.", "Leave --rev-id out.")
        if revision_id in history.labels:
            raise UsageError(
                f"Revision {history.labels[revision_id]} has the branch label '{revision_id}'.",
                "Choose another --rev-id.",
            )
        if revision_id in history or revision_id in history.replaced:
            raise UsageError(f"Revision {revision_id} exists already.", "Choose another --rev-id.")
    for label in labels:
        problem = problem_with_name(label)
        if problem:
            raise UsageError(f"{label!r} can't be a branch label: {problem}.", "Choose another one.")
        if label in history or label == revision_id:
            raise UsageError(f"'{label}' is the id of a revision.", "Choose another --branch-label.")
        if label in history.labels:
            raise UsageError(
                f"Revision {history.labels[label]} has the branch label '{label}' already.",
                "Choose another one; later revisions of a branch inherit its label.",
            )


def _dependencies(project: Project, identifiers: Sequence[str]) -> tuple[str, ...]:
    from redismigrate.history.identifiers import resolve_many

    found: dict[str, None] = {}
    for name in identifiers:
        if name in project.history.labels:
            found[name] = None
            continue
        revisions = resolve_many(project.history, name, frozenset())
        if not revisions:
            raise UsageError(
                f"'{name}' stands for no revision, so nothing can depend on it.",
                "Name a revision or a label.",
            )
        found |= dict.fromkeys(revisions)
    return tuple(found)


def _folder(project: Project, parents: Sequence[str], version_path: Path | None) -> Path:
    locations = project.settings.version_locations
    if version_path is None:
        if not parents:
            return locations[0]
        return folder_beside(project, project.history[parents[0]])
    for folder in locations:
        if os.path.realpath(folder) == os.path.realpath(version_path):
            return folder
    raise UsageError(
        f"{version_path} is none of the folders with scripts: {', '.join(map(str, locations))}.",
        "Add it to the setting version_locations first, or name one of those.",
    )


def folder_beside(project: Project, script: Script) -> Path:
    """The folder of a script, as the setting `version_locations` names it."""
    locations = project.settings.version_locations
    beside = str(Path(os.path.realpath(script.path)).parent)
    return next((folder for folder in locations if os.path.realpath(folder) == beside), locations[0])
