"""What a script holds that is found by comparing declared schemas with the history, or with the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from redismigrate.commands.authoring.declared import declared_schemas, declares_schemas
from redismigrate.commands.authoring.rename_questions import IsRename, find_renames
from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.authoring.script_content import ScriptContent, content_of
from redismigrate.commands.project import Project
from redismigrate.errors import ConfigurationError, DriftError
from redismigrate.operations.differing import operations_between
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import completed
from redismigrate.schema.definition import Catalog, IndexDefinition

if TYPE_CHECKING:
    from redismigrate.redis_server.connection import Server


def autogenerate(
    project: Project,
    *,
    from_live: bool = False,
    renames: Iterable[str] = (),
    is_rename: IsRename | None = None,
) -> ScriptContent:
    """What turns the indexes of the history into the declared ones.

    The history is replayed without a server.

    Args:
        project: The project.
        from_live: Compare with the server's indexes: those that the history makes have to be there just so,
            and declared ones that no revision has created are taken as they are found.
        renames: "old:new" of fields or indexes that are one under a new name; "field:old:new" or
            "index:old:new" where both could be meant.
        is_rename: Asked about every other pair that may be one; without it, and where it says None, a comment
            in the script tells.

    Raises:
        ConfigurationError: No schemas are declared, or they can't be read.
        SchemaError: A declared schema is wrong, or a rename can't be done.
        ScriptError: The history can't be replayed.
        UsageError: A rename fits no index.
        DriftError: The server's indexes are not what the history makes.
    """
    if not declares_schemas(project):
        raise ConfigurationError(
            "No schemas are declared, so there is nothing to compare the history with.",
            f'Add schemas = ["schemas/*.yaml"] or ["myapp.search:SCHEMAS"] to {project.settings.file}.',
        )
    declared = declared_schemas(project)
    catalog = replay(project)
    if from_live:
        with project.connect() as server:
            catalog = _as_live(project, server, catalog, declared)
    before = {
        name: definition.schema
        for name, definition in catalog.items()
        if project.env_module.includes("index", name)
    }
    found = find_renames(before, declared, renames, is_rename)
    operations = operations_between(before, declared, found.fields, found.indexes)
    return content_of(operations, catalog, found)


def _as_live(
    project: Project, server: Server, catalog: Catalog, declared: Mapping[str, IndexSchema]
) -> Catalog:
    """The indexes of the history, which the server has to have just so, and declared ones it has besides."""
    from redismigrate.execution.indexes.live import alias_target, look_at
    from redismigrate.execution.indexes.survey import survey, with_live_names
    from redismigrate.planning.drift import drift_of

    catalog = with_live_names(server, catalog)
    inventory = survey(server, project.settings.project, catalog)
    problems = [f"{name}: {problem}" for name in catalog for problem in drift_of(catalog[name], inventory)]
    if problems:
        raise DriftError(
            f"The server is not what the history makes: {'; '.join(problems)}.",
            "Bring it to head with `redismigrate upgrade` first, or leave --from-live out.",
        )
    for name, wanted in declared.items():
        physical = name if name in inventory.names else alias_target(server, name)
        live = None if name in catalog or physical is None else look_at(server, physical)
        if live is not None:
            schema = completed(live.schema, wanted, has_vector_details=live.has_vector_details)
            catalog = catalog.with_definition(
                IndexDefinition(schema.renamed(name), live.physical, synonyms=dict(live.synonyms))
            )
    return catalog
