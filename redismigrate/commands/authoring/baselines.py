"""What a script holds that creates indexes as they are on the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from redismigrate.commands.alias_candidates import candidates
from redismigrate.commands.authoring.chosen_indexes import choose_unmanaged, is_pattern
from redismigrate.commands.authoring.declared import declared_schemas
from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.authoring.script_content import ScriptContent, content_of
from redismigrate.commands.authoring.unmanaged import (
    refuse_alias_of_created,
    refuse_further_name,
    refuse_managed,
    refuse_same,
    unmanaged_indexes,
)
from redismigrate.commands.project import Project
from redismigrate.errors import PlanBlocked, UsageError
from redismigrate.execution.indexes.aliases import aliases_of
from redismigrate.execution.indexes.live import alias_target, existing_indexes, look_at
from redismigrate.operations.operation_types import CreateAlias, CreateIndex, Operation, SetSynonyms
from redismigrate.operations.source import literal
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import completed
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.owners import owned_by_another, read_owners
from redismigrate.state.store import read_state


def baseline(project: Project, index: str | Iterable[str], aliases: Iterable[str] = ()) -> ScriptContent:
    """What creates indexes that exist already, as they are, with their synonyms and aliases that are found.

    Args:
        project: The project.
        index: The name of the index, or an alias of it that clients query; or several. Patterns stand for
            indexes that nobody manages.
        aliases: Further aliases of theirs, besides those of the setting `known_aliases`.

    Raises:
        UsageError: There is no such index, it is managed already, or a given alias is of none.
        SchemaError: A revision has made the alias.
        ConfigurationError: The declared schemas can't be read.
        PlanBlocked: It belongs to another project.
    """
    given = (index,) if isinstance(index, str) else tuple(dict.fromkeys(index))
    given_aliases = tuple(aliases)
    catalog = replay(project)
    with project.connect() as server:
        existing = existing_indexes(server)
        names = tuple(sorted(given))
        left_out: tuple[str, ...] = ()
        patterns = [name for name in given if is_pattern(name) and name not in existing]
        if patterns:
            names = choose_unmanaged(given, unmanaged_indexes(project, server, catalog))
            left_out = _created_already(patterns, catalog)
        reader = _LiveReader(project, server, catalog, existing, given_aliases)
        for name in names:
            reader.read(name)
    reader.refuse_unused_aliases()
    return content_of(tuple(reader.operations), catalog, notes=(*left_out, *_notes(reader.untold)))


class _LiveReader:
    """Reads one index after the other, as it is to be created.

    Attributes:
        operations: What creates them.
        untold: Index -> what its script may lack.
    """

    def __init__(
        self,
        project: Project,
        server: Server,
        catalog: Catalog,
        existing: frozenset[str],
        aliases: Sequence[str],
    ) -> None:
        self.operations: list[Operation] = []
        self.untold: dict[str, list[str]] = {}
        self._project = project
        self._server = server
        self._catalog = catalog
        self._existing = existing
        self._aliases = aliases
        self._found: set[str] = set()
        self._read: dict[str, IndexDefinition] = {}
        self._owners = read_owners(server)
        self._recorded = read_state(server, project.keys).catalog

    def read(self, index: str) -> None:
        """Add an index; errors as of `baseline`."""
        refuse_further_name(self._catalog, index)
        if index in self._catalog:
            raise UsageError(
                f"A revision creates index {index} already.",
                "See `redismigrate history`; `check` compares them.",
            )
        project = self._project.settings.project
        owner = self._owners.get(index, project)
        physical = index if index in self._existing else alias_target(self._server, index)
        live = None if physical is None else look_at(self._server, physical)
        refuse_alias_of_created(self._catalog, index, physical)
        refuse_managed(self._recorded, index, physical)
        if owner != project:
            raise PlanBlocked(*owned_by_another(index, owner))
        if live is None:
            raise UsageError(
                f"There is no index {index} on the server.",
                f"It has: {', '.join(sorted(self._existing)) or 'none'}.",
            )
        refuse_same(self._read, index, live.physical)
        self._add(index, live)

    def _add(self, index: str, live: LiveIndex) -> None:
        found = aliases_of(self._server, live.physical, self._candidates)
        schema = live.schema.renamed(index)
        declared = declared_schemas(self._project).get(index)
        if declared is not None:
            # Whoever declares the index has most likely made it by that: nobody else can tell.
            schema = completed(schema, declared, has_vector_details=live.has_vector_details)
        self._read[index] = IndexDefinition(schema, live.physical)
        self._found.update(found)
        self.untold[index] = list(_not_told(live, index, declared))
        self.operations += [
            CreateIndex(schema),
            *(SetSynonyms(index, group, terms) for group, terms in live.synonyms.items()),
            *(CreateAlias(alias, index) for alias in found if alias != index),
        ]

    @cached_property
    def _candidates(self) -> tuple[str, ...]:
        return candidates(self._project, self._server, self._aliases)

    def refuse_unused_aliases(self) -> None:
        """Raise UsageError where a given alias is none of the indexes."""
        not_its = [alias for alias in self._aliases if alias not in self._found]
        if not_its:
            of = " or ".join(definition.physical for definition in self._read.values())
            raise UsageError(f"{not_its[0]} is no alias of index {of}.", "Leave it out of --alias.")


def _created_already(patterns: Iterable[str], catalog: Catalog) -> tuple[str, ...]:
    """What is said of indexes that patterns match and that need no script any more."""
    names = sorted({name for pattern in patterns for name in catalog.matching(pattern)})
    return (f"Left out, since revisions create them already: {', '.join(names)}.",) if names else ()


def _notes(untold: dict[str, list[str]]) -> tuple[str, ...]:
    """What the script may lack, said once of all indexes of which it is the same."""
    if len(untold) == 1:
        return tuple(note for notes in untold.values() for note in notes)
    said: dict[str, list[str]] = {}
    for index, notes in untold.items():
        for note in notes:
            said.setdefault(note.replace(literal(index), "INDEX"), []).append(index)
    return tuple(
        note if len(indexes) == len(untold) else f"{', '.join(indexes)}: {note}"
        for note, indexes in said.items()
    )


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
