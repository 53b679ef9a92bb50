"""The indexes that the scripts of a project make, found without a server."""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_upgrades
from redismigrate.schema.definition import Catalog


def replay(project: Project, revisions: Iterable[str] | None = None) -> Catalog:
    """The indexes after some revisions.

    Args:
        project: The project.
        revisions: Ids of scripts, in any order; what they stand on has to be among them. None: all.

    Raises:
        ScriptError: A script raised or asked for what can't be, or changes an index that no revision creates.
    """
    if not project.scripts:
        return Catalog()
    history = project.history
    ordered = history.ordered(history if revisions is None else revisions)
    catalog = Catalog()
    for item in record_upgrades(history, ordered, catalog, None):
        catalog = item.apply(catalog)
    return catalog
