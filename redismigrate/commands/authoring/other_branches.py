"""What keeps a generated script from changing indexes that it can't find where it stands in the history."""

from __future__ import annotations

from collections.abc import Container, Iterable

from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.placing import Placement
from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_upgrades
from redismigrate.errors import UsageError
from redismigrate.history.graph import History
from redismigrate.history.identifiers import resolve_many
from redismigrate.schema.definition import Catalog


def refuse_indexes_of_other_branches(
    project: Project, placement: Placement, changed: Iterable[str], gone: Container[str]
) -> None:
    """Refuse a script that changes or drops an index as revisions make it on which it will not stand.

    What is generated leads from all revisions to the wanted schemas. Applied without those of another branch,
    such a script would find the index otherwise, or not at all.

    Args:
        project: The project.
        placement: Where the script goes.
        changed: The served names of the indexes that it changes or drops.
        gone: Those that no index has after it. Aliases and synonyms go, too, and the way back sets them.

    Raises:
        UsageError: It would do so; says for which index, and which revision makes it so.
    """
    names = tuple(changed)
    if not project.scripts or not names:
        return
    history = project.history
    needed = [
        revision for name in placement.depends_on for revision in resolve_many(history, name, frozenset())
    ]
    below = history.ancestors([*placement.parents, *needed])
    if below == history.keys():
        return
    own, whole = replay(project, below), replay(project)
    for name in names:
        if name not in whole:
            continue
        differs = name not in own or own[name].schema != whole[name].schema
        if differs or (name in gone and own[name] != whole[name]):
            maker = _maker(history, below, name)
            raise UsageError(
                f"This would change or drop index {name} as revision {maker} makes it, on which the new "
                "revision would not stand.",
                f"Put it on that branch (--head {maker}@head), add --depends-on {maker}, or merge first.",
            )


def _maker(history: History, below: frozenset[str], name: str) -> str:
    """The last revision of other branches that makes something of an index."""
    maker, catalog = "", Catalog()
    for item in record_upgrades(history, history.ordered(history), catalog, None):
        after = item.apply(catalog)
        if item.revision not in below and catalog.get(name) != after.get(name):
            maker = item.revision
        catalog = after
    return maker
