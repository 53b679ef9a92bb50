"""What generated scripts hold: found by comparing schemas, read from a live index, asked for by a patch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redismigrate.commands.authoring.declared import declared_schemas, declares_schemas
from redismigrate.commands.authoring.rename_questions import NO_RENAMES, IsRename, Renames, find_renames
from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.project import Project
from redismigrate.errors import ConfigurationError, DriftError, PlanBlocked, UsageError
from redismigrate.operations.client_keys import remarks_on_keys
from redismigrate.operations.differing import operations_between, rename_candidates
from redismigrate.operations.operation_types import (
    ChangeIndex,
    CreateAlias,
    CreateIndex,
    DropIndex,
    Operation,
    SetSynonyms,
)
from redismigrate.operations.remarks import remarks_on_change, remarks_on_upgrade
from redismigrate.operations.reversing import reversed_operations
from redismigrate.operations.source import comment_lines, literal, source_lines
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import completed
from redismigrate.schema.definition import Catalog, IndexDefinition

if TYPE_CHECKING:
    from redismigrate.redis_server.connection import Server
    from redismigrate.redis_server.inspection import LiveIndex


@dataclass(frozen=True)
class ScriptContent:
    """What a generated script does.

    Attributes:
        upgrade_lines: The body of `upgrade`, not indented; empty when there is nothing to do.
        downgrade_lines: The body of `downgrade`, likewise.
        operations: Of the upgrade, each in words.
        notes: What the reader should look at, each one sentence.
        changed: The served names of the indexes that the upgrade changes or drops.
        gone: Those among them that no index has after it.
    """

    upgrade_lines: tuple[str, ...] = ()
    downgrade_lines: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


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


def baseline(project: Project, index: str, aliases: Iterable[str] = ()) -> ScriptContent:
    """What creates an index that exists already, as it is, with its synonyms and the aliases that are found.

    Args:
        project: The project.
        index: Its name, or an alias of it that clients query.
        aliases: Further aliases of it, besides those of the setting `known_aliases`.

    Raises:
        UsageError: There is no such index, it is managed already, or a given alias is none of it.
        SchemaError: A revision has made the alias.
        ConfigurationError: The declared schemas can't be read.
        PlanBlocked: It belongs to another project.
    """
    from redismigrate.commands.alias_candidates import candidates
    from redismigrate.execution.indexes.aliases import aliases_of
    from redismigrate.execution.indexes.live import alias_target, existing_indexes, look_at
    from redismigrate.state.owners import owned_by_another, read_owners
    from redismigrate.state.store import read_state

    catalog = replay(project)
    _refuse_further_name(catalog, index)
    if index in catalog:
        raise UsageError(
            f"A revision creates index {index} already.", "See `redismigrate history`; `check` compares them."
        )
    with project.connect() as server:
        names = existing_indexes(server)
        owner = read_owners(server).get(index, project.settings.project)
        physical = index if index in names else alias_target(server, index)
        live = None if physical is None else look_at(server, physical)
        asked = () if physical is None else candidates(project, server, aliases)
        found = () if physical is None else aliases_of(server, physical, asked)
        recorded = read_state(server, project.keys).catalog
    _refuse_alias_of_created(catalog, index, physical)
    _refuse_managed(recorded, index, physical)
    if owner != project.settings.project:
        raise PlanBlocked(*owned_by_another(index, owner))
    if live is None:
        raise UsageError(
            f"There is no index {index} on the server.", f"It has: {', '.join(sorted(names)) or 'none'}."
        )
    not_its = [alias for alias in aliases if alias not in found]
    if not_its:
        raise UsageError(f"{not_its[0]} is no alias of index {live.physical}.", "Leave it out of --alias.")
    schema = live.schema.renamed(index)
    declared = declared_schemas(project).get(index)
    if declared is not None:
        # Whoever declares the index has most likely made it by that: nobody else can tell.
        schema = completed(schema, declared, has_vector_details=live.has_vector_details)
    operations: tuple[Operation, ...] = (
        CreateIndex(schema),
        *(SetSynonyms(index, group, terms) for group, terms in live.synonyms.items()),
        *(CreateAlias(alias, index) for alias in found if alias != index),
    )
    return content_of(operations, catalog, notes=tuple(_not_told(live, index, declared)))


def from_schema_patch(project: Project, file: Path, index: str) -> ScriptContent:
    """What a schema patch of RedisVL asks for.

    Args:
        project: The project.
        file: The patch.
        index: The index to change; one that no revision creates is read from the server.

    Raises:
        SchemaError: The file is no patch, or it does not fit the index.
        UsageError: There is no such index.
    """
    from redismigrate.operations.redisvl_patch import changes_of_patch, read_schema_patch

    patch = read_schema_patch(file)
    catalog = catalog_with(project, index)
    before = catalog[index].schema
    changes = changes_of_patch(patch, before)
    wanted = before
    for change in changes:
        wanted = change.apply(wanted)
    return content_of(
        (ChangeIndex(index, changes),) if changes else (),
        catalog,
        Renames(open_fields=rename_candidates(before, wanted.renamed(before.name))),
        say_rename="with that under rename_fields of the patch",
    )


def catalog_with(project: Project, index: str, catalog: Catalog | None = None) -> Catalog:
    """The indexes of the history, and one that is to be changed: where no revision creates it, as it is live.

    Args:
        project: The project.
        index: Its name.
        catalog: Those of the history; None replays it.

    Raises:
        UsageError: There is no such index, or it is an alias of one that a revision creates.
        SchemaError: A revision has made an alias of that name.
    """
    catalog = replay(project) if catalog is None else catalog
    _refuse_further_name(catalog, index)
    if index in catalog:
        return catalog
    from redismigrate.execution.indexes.survey import live_index_reader
    from redismigrate.state.store import read_state

    with project.connect() as server:
        definition = live_index_reader(server)(index)
        recorded = read_state(server, project.keys).catalog
    if definition is None:
        raise UsageError(
            f"There is no index {index}, neither in the history nor on the server.",
            f"The history has: {', '.join(sorted(catalog)) or 'none'}.",
        )
    _refuse_alias_of_created(catalog, index, definition.physical)
    if index not in recorded:
        _refuse_managed(recorded, index, definition.physical)
    declared = declared_schemas(project).get(index)
    if declared is not None:
        # What clients put between prefix and id no server tells.
        separated = definition.schema.with_options(key_separator=declared.key_separator)
        definition = definition.with_schema(separated)
    return catalog.with_definition(definition)


def _refuse_further_name(catalog: Catalog, index: str) -> None:
    """Raise SchemaError, with the name that is meant, for an alias that a revision has made."""
    if catalog.alias_target(index) is not None:
        catalog.index(index)


def _refuse_alias_of_created(catalog: Catalog, index: str, physical: str | None) -> None:
    """Raise UsageError where a name is an alias on the server of an index that a revision creates."""
    if physical in catalog:
        raise UsageError(
            f"{index} is an alias of index {physical}, which a revision creates already.",
            f"Name {physical}, or add op.create_alias({literal(index)}, {literal(physical)}) to a revision.",
        )


def _refuse_managed(recorded: Mapping[str, IndexDefinition], index: str, physical: str | None) -> None:
    """Raise UsageError where a name, one that an index got beside its served one, too, is recorded."""
    managed = next((served for served, known in recorded.items() if known.physical == physical), None)
    if managed is not None:
        raise UsageError(
            f"Index {index} is managed already, as {managed}.",
            f"Name {managed}; see `redismigrate current` and `check`.",
        )


def content_of(
    operations: tuple[Operation, ...],
    catalog: Catalog,
    renames: Renames = NO_RENAMES,
    notes: tuple[str, ...] = (),
    **texts: str,
) -> ScriptContent:
    """A script with some operations and their reverse.

    Args:
        operations: Of the upgrade; without any the content is empty.
        catalog: The indexes as they find them.
        renames: What is known about renames.
        notes: What the reader should look at besides.
        texts: How the reader says that a field is renamed, see `remarks_on_upgrade`.

    Raises:
        SchemaError: One of them can't be applied, or said in RedisVL's form.
    """
    if not operations:
        return ScriptContent()
    remarks = remarks_on_upgrade(renames.open_fields, renames.open_indexes, **texts)
    after = catalog
    told, of_keys = list(notes), []
    for operation in operations:
        if isinstance(operation, ChangeIndex):
            schema = after.index(operation.name).schema
            of_keys += [f"{operation.name}: {remark}" for remark in remarks_on_keys(operation, schema)]
            for change in operation.changes:
                told += [f"{operation.name}: {change}. {remark}" for remark in remarks(change, schema)]
                schema = change.apply(schema)
        elif isinstance(operation, DropIndex):
            said = remarks(operation, after.index(operation.name).schema)
            told += [f"{operation}. {remark}" for remark in said]
        after = operation.apply(after)
    head = [line for note in (*notes, *of_keys) for line in comment_lines(note)]
    back = reversed_operations(operations, catalog)
    changed = tuple(item.name for item in operations if isinstance(item, ChangeIndex | DropIndex))
    return ScriptContent(
        upgrade_lines=(*head, *source_lines(operations, catalog, remarks)),
        downgrade_lines=source_lines(back, after, remarks_on_change),
        operations=tuple(map(str, operations)),
        notes=(*told, *of_keys),
        changed=changed,
        gone=tuple(name for name in changed if name not in after),
    )


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


def _not_told(live: LiveIndex, index: str, declared: IndexSchema | None) -> Iterator[str]:
    """What a baseline may lack, since the server does not tell it."""
    if live.physical != index:
        yield f"{index} is an alias of index {live.physical}, of which this was read."
    yield (
        "Redis before 8.10 does not list aliases: those that are told, declared, or in its logs are here. "
        f'Add others with --alias NAME, or op.create_alias("...", {literal(index)}).'
    )
    if declared is not None:
        yield "What else it does not tell is taken from the declared schema, as if that had made the index."
    known = set() if declared is None else {field.name for field in declared.fields}
    fields = [field for field in live.schema.fields if field.name not in known]
    texts = ", ".join(field.name for field in fields if field.type == "text")
    vectors = ", ".join(field.name for field in fields if field.type == "vector")
    if texts:
        yield f'Nor does it tell PHONETIC ("phonetic_matcher") of text fields: {texts}.'
    if vectors:
        yield f'Nor does it tell INITIAL_CAP ("initial_cap") of vector fields: {vectors}.'
    if declared is not None:
        return
    yield 'Nor does it tell SKIPINITIALSCAN ("skip_initial_scan").'
    if not live.has_vector_details:
        or_not = ", and whether the index is TEMPORARY" if live.is_temporary is None else ""
        yield (
            "FT.DEBUG did not answer, so these are missing, too: EF_RUNTIME, EPSILON, BLOCK_SIZE and "
            f"SEARCH_WINDOW_SIZE of vector fields{or_not}."
        )
