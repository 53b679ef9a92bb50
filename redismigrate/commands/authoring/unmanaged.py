"""Indexes of the server that no revision made: which there are, and why a name can't be taken for one."""

from __future__ import annotations

from collections.abc import Mapping

from redismigrate.commands.authoring.declared import declared_schemas
from redismigrate.commands.leftovers import served_by
from redismigrate.commands.project import Project
from redismigrate.errors import UsageError
from redismigrate.execution.indexes.live import existing_indexes
from redismigrate.execution.indexes.survey import live_index_reader
from redismigrate.operations.source import literal
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.owners import read_owners
from redismigrate.state.store import read_state


def unmanaged_indexes(project: Project, server: Server, catalog: Catalog) -> tuple[str, ...]:
    """The indexes that belong to nobody, sorted; what `include` of `env.py` leaves out is not among them.

    Args:
        project: The project.
        server: The connection.
        catalog: The indexes that the history makes.
    """
    ours = {
        name
        for known in (catalog, read_state(server, project.keys).catalog)
        for definition in known.values()
        for name in (definition.physical, *definition.all_aliases)
    }
    owned = tuple(read_owners(server))
    return tuple(
        name
        for name in sorted(existing_indexes(server) - ours)
        if name not in owned and served_by(name, owned) is None and project.env_module.includes("index", name)
    )


def catalog_with(project: Project, index: str, catalog: Catalog) -> Catalog:
    """The indexes of the history, and one that is to be changed: where no revision creates it, as it is live.

    Args:
        project: The project.
        index: Its name.
        catalog: Those of the history.

    Raises:
        UsageError: There is no such index, or it is an alias of one that a revision creates.
        SchemaError: A revision has made an alias of that name.
    """
    refuse_further_name(catalog, index)
    if index in catalog:
        return catalog
    with project.connect() as server:
        return catalog_with_live(project, server, index, catalog)


def catalog_with_live(project: Project, server: Server, index: str, catalog: Catalog) -> Catalog:
    """The same with an index that is not in the catalog, by a connection that is there already."""
    definition = live_index_reader(server)(index)
    recorded = read_state(server, project.keys).catalog
    if definition is None:
        raise UsageError(
            f"There is no index {index}, neither in the history nor on the server.",
            f"The history has: {', '.join(sorted(catalog)) or 'none'}.",
        )
    refuse_alias_of_created(catalog, index, definition.physical)
    if index not in recorded:
        refuse_managed(recorded, index, definition.physical)
    refuse_same(catalog, index, definition.physical)
    declared = declared_schemas(project).get(index)
    if declared is not None:
        # What clients put between prefix and id no server tells.
        separated = definition.schema.with_options(key_separator=declared.key_separator)
        definition = definition.with_schema(separated)
    return catalog.with_definition(definition)


def refuse_further_name(catalog: Catalog, index: str) -> None:
    """Raise SchemaError, with the name that is meant, for an alias that a revision has made."""
    if catalog.alias_target(index) is not None:
        catalog.index(index)


def refuse_alias_of_created(catalog: Catalog, index: str, physical: str | None) -> None:
    """Raise UsageError where a name is an alias on the server of an index that a revision creates."""
    if physical in catalog:
        raise UsageError(
            f"{index} is an alias of index {physical}, which a revision creates already.",
            f"Name {physical}, or add op.create_alias({literal(index)}, {literal(physical)}) to a revision.",
        )


def refuse_managed(recorded: Mapping[str, IndexDefinition], index: str, physical: str | None) -> None:
    """Raise UsageError where a name, one that an index got beside its served one, too, is recorded."""
    managed = next((served for served, known in recorded.items() if known.physical == physical), None)
    if managed is not None:
        raise UsageError(
            f"Index {index} is managed already, as {managed}.",
            f"Name {managed}; see `redismigrate current` and `check`.",
        )


def refuse_same(catalog: Mapping[str, IndexDefinition], index: str, physical: str) -> None:
    """Raise UsageError where an index is taken on already, by another name."""
    other = next((served for served, known in catalog.items() if known.physical == physical), None)
    if other is not None and other != index:
        raise UsageError(f"{index} and {other} are one index, {physical}.", "Name it once.")
