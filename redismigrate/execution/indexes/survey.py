"""Reads from the server what planning wants to know: only looks, never writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from redismigrate.backup.contents import rewrite_in, schema_before
from redismigrate.backup.folders import folder_name, free_bytes
from redismigrate.backup.location import BackupLocation
from redismigrate.backup.replaced_documents import holds_values
from redismigrate.documents.whole import WHOLE_COLUMN
from redismigrate.errors import AuthenticationFailed, BackupDamaged, BackupMissing
from redismigrate.execution.indexes.aliases import aliases_of
from redismigrate.execution.indexes.expecting import answers_before
from redismigrate.execution.indexes.interests import Interest, interests_of
from redismigrate.execution.indexes.keys_elsewhere import look_at_other_databases
from redismigrate.execution.indexes.live import (
    alias_target,
    existing_indexes,
    live_schemas,
    look_at,
    scan_keys,
    scan_some,
)
from redismigrate.execution.indexes.survey_documents import sample_documents
from redismigrate.execution.indexes.unreadable import unreadable_prefixes
from redismigrate.operations.recorded import RecordedRevision, covers_other_keys, touched_indexes
from redismigrate.operations.recorder import LiveIndexReader
from redismigrate.planning.document_sample import DocumentSample
from redismigrate.planning.inventory import Inventory, KnownBackup
from redismigrate.planning.other_databases import schemas_met
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.redis_server.persistence import read_persistence
from redismigrate.redis_server.reports import why_unreported
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.vector_field import VectorField
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import read_owners
from redismigrate.state.stored_documents import Head

SAMPLED_KEYS = 2000
# For the samples of indexes whose documents stay as they are: revisions can be hundreds.
SAMPLING_SECONDS = 1.0


def survey(
    server: Server,
    project: str,
    catalog: Catalog,
    recorded: Iterable[RecordedRevision] = (),
    backup_dir: Path | None = None,
    known_aliases: Iterable[str] = (),
) -> Inventory:
    """The server as far as it concerns these indexes and revisions.

    Args:
        server: The connection.
        project: Whose plan it is for.
        catalog: The indexes as recorded.
        recorded: The revisions to be planned; without any, every recorded index is looked at.
        backup_dir: Where their backups would go; need not exist yet.
        known_aliases: Names that the user knows to be aliases, whether or not they are recorded.
    """
    recorded = tuple(recorded)
    touched = set(touched_indexes(recorded)) if recorded else set(catalog)
    definitions = [catalog[name] for name in catalog if name in touched]
    definitions += [d for item in recorded for d in item.brought_in.values()]
    live: dict[str, LiveIndex] = {}
    for definition in definitions:
        index = look_at(server, definition.physical)
        if index is not None:
            live[definition.physical] = index
    names = existing_indexes(server)
    aliases: dict[str, str] = {}
    probed = {alias for d in definitions for alias in d.all_aliases} | set(_names(recorded))
    for name in sorted(probed - names):
        target = alias_target(server, name)
        if target is not None:
            aliases[name] = target
    if known := frozenset(known_aliases):
        for physical in live:
            aliases |= dict.fromkeys(known.intersection(aliases_of(server, physical, known)), physical)
    interests = interests_of(recorded, catalog)
    met = schemas_met(recorded, catalog)
    server.look_for_features(
        {
            feature
            for schema in met
            for field in schema.fields
            if isinstance(field, VectorField)
            for feature in (field.datatype, field.algorithm)
        }
    )
    rewrites = any(interest.may_be_rewritten for interest in interests.values())
    physical_names = {d.served: d.physical for d in definitions if d.physical in live}
    return Inventory(
        project=project,
        capabilities=server.capabilities_now(),
        live=live,
        names=names,
        aliases=aliases,
        owners=read_owners(server),
        matching_keys={
            operation.schema.name: estimate_keys(server, operation.schema)
            for item in recorded
            for operation in item.operations
            if operation.kind == "create_index"
        },
        total_keys=int(server.execute("DBSIZE")),
        schemas=_neighbours(server, names, live, recorded, catalog, rewrites=rewrites),
        empty=_empty(server, definitions, live, interests),
        samples=_samples(server, interests, physical_names),
        other_databases=look_at_other_databases(server, met),
        unreadable_prefixes=unreadable_prefixes(server, met, StateKeys(project).fence),
        answers=answers_before(server, catalog, recorded),
        untold_because=why_unreported(server) if rewrites else None,
        backup_free_bytes=None if backup_dir is None else free_bytes(backup_dir),
        persistence=read_persistence(server),
    )


def _neighbours(
    server: Server,
    names: Iterable[str],
    live: Mapping[str, LiveIndex],
    recorded: Iterable[RecordedRevision],
    catalog: Catalog,
    *,
    rewrites: bool,
) -> dict[str, IndexSchema]:
    """The schemas of all live indexes, where some may share documents with what revisions make or rewrite."""
    if rewrites:
        return live_schemas(server, names, live)
    if not covers_other_keys(recorded, catalog):
        return {}
    found: dict[str, IndexSchema] = {}
    for name in names:
        # Only to be told: whoever may not look at an index of others can create one all the same.
        with suppress(AuthenticationFailed):
            found |= live_schemas(server, (name,), live)
    return found


def _empty(
    server: Server,
    definitions: Iterable[IndexDefinition],
    live: Mapping[str, LiveIndex],
    interests: Mapping[str, Interest],
) -> frozenset[str]:
    """Physical names of the indexes that may be rewritten and have no documents, new ones among them."""
    rewritten = {name: interest for name, interest in interests.items() if interest.may_be_rewritten}
    known = {definition.served: definition for definition in definitions}
    found = set()
    for name, interest in rewritten.items():
        definition = known.get(name) or IndexDefinition.plain(interest.schema)
        if _is_empty(server, live.get(definition.physical), definition.schema):
            found.add(definition.physical)
    return frozenset(found)


def _is_empty(server: Server, index: LiveIndex | None, schema: IndexSchema) -> bool:
    """Whether no key is a document of an index, nor would be one if it could be indexed.

    The schema is the recorded one: the server does not tell SKIPINITIALSCAN.
    """
    if index is not None:
        statistics = index.statistics
        if statistics.num_docs:
            return False
        may_lack = statistics.is_indexing or statistics.indexing_failures or schema.skip_initial_scan
        if not may_lack and schema.filter is None:
            return True
    try:
        return next(scan_keys(server, schema), None) is None
    except AuthenticationFailed:  # a plan does without what its user may not look at
        return False


def backups_of(
    recorded: Iterable[RecordedRevision], head: Head, backup_dir: Path | None
) -> dict[tuple[str, str], KnownBackup]:
    """The backups that revisions which are to be undone have made, by revision and served name.

    Those that a fold of several has made are told under the id of the fold, where they are one.

    Args:
        recorded: The revisions to be planned.
        head: Tells where the backups were written.
        backup_dir: Where the user says that they are by now; None looks there.
    """
    known = {}
    for item in recorded:
        if item.direction == "upgrade":
            continue
        applied = [head.one_by_one.get(member.revision) for member in item.members]
        places = {record.backup for record in applied if record is not None and record.backup is not None}
        for name in touched_indexes((item,)):
            found = {place: BackupLocation.parse(place) / folder_name(name) for place in places}
            if len(found) > 1:  # one of them may have no documents of this index
                found = {place: at for place, at in found.items() if _is_there(at, backup_dir)}
            if len(found) == 1:
                known[item.revision, name] = _known_backup(next(iter(found.values())), backup_dir)
    return known


def with_live_names(server: Server, catalog: Catalog) -> Catalog:
    """Replayed indexes with the physical names that they have: a served name may be an alias by now.

    Args:
        server: The connection.
        catalog: As the scripts make it.
    """
    names = existing_indexes(server)
    for definition in tuple(catalog.values()):
        physical = None if definition.served in names else alias_target(server, definition.served)
        if physical is not None:
            catalog = catalog.with_definition(replace(definition, physical=physical))
    return catalog


def _is_there(location: BackupLocation, backup_dir: Path | None) -> bool:
    try:
        location.open(backup_dir)
    except BackupMissing:
        return False
    except BackupDamaged:
        return True
    return True


def _known_backup(location: BackupLocation, backup_dir: Path | None) -> KnownBackup:
    try:
        backup = location.open(backup_dir)
        rewrite, schema = rewrite_in(backup), schema_before(backup)
    except BackupMissing:
        return KnownBackup(str(location), is_here=False)
    except BackupDamaged as error:  # no matter where the way back needs none
        return KnownBackup(str(location), is_here=False, problem=error)
    columns = (*rewrite.recoded_paths, *rewrite.dropped)
    return KnownBackup(
        str(location),
        is_here=True,
        paths=(WHOLE_COLUMN,) if rewrite.changes_type_in_place else columns,
        prefixes=schema.prefixes,
        excluded_prefixes=rewrite.excluded_prefixes,
        holds_values=holds_values(backup),
        cut_as_they_are=rewrite.cut_as_they_are,
    )


def _samples(
    server: Server, interests: Mapping[str, Interest], physical_names: Mapping[str, str]
) -> dict[str, DocumentSample]:
    """Samples of documents, first of those that may be rewritten."""
    samples = {}
    deadline = perf_counter() + SAMPLING_SECONDS
    for name, interest in sorted(interests.items(), key=lambda item: not item[1].may_be_rewritten):
        if not interest.may_be_rewritten and perf_counter() > deadline:
            break
        sample = sample_documents(server, interest, physical_names.get(name))
        if sample is not None:
            samples[name] = sample
    return samples


def _names(recorded: Iterable[RecordedRevision]) -> Iterable[str]:
    """Names that revisions want to give to indexes and aliases, or take from them."""
    for item in recorded:
        for operation in item.operations:
            if operation.kind == "create_index":
                yield operation.schema.name
            elif operation.kind in {"create_alias", "drop_alias"}:
                yield operation.alias
            elif operation.kind == "change_index":
                yield from (change.name for change in operation.changes if change.kind == "rename_to")


def live_index_reader(server: Server, candidates: Callable[[], Iterable[str]] = tuple) -> LiveIndexReader:
    """Reads an index that no revision created, as it is on the server.

    Args:
        server: The connection.
        candidates: Gives names that may be aliases of it; asked where there is such an index.
    """

    def read(name: str) -> IndexDefinition | None:
        physical = name if name in existing_indexes(server) else alias_target(server, name)
        index = look_at(server, physical) if physical is not None else None
        if index is None:
            return None
        aliases = set(aliases_of(server, index.physical, candidates())) - {name}
        return IndexDefinition(
            schema=index.schema.renamed(name),
            physical=index.physical,
            aliases=tuple(sorted(aliases)),
            synonyms=dict(index.synonyms),
        )

    return read


def estimate_keys(server: Server, schema: IndexSchema) -> int:
    """About how many keys an index will be about, from a sample of the keyspace."""
    total = int(server.execute("DBSIZE"))
    if total == 0:
        return 0
    if total <= SAMPLED_KEYS:
        return sum(1 for _ in scan_keys(server, schema))
    prefixes = KeyPrefixes.of(schema.prefixes)
    cursor, seen, matching = 0, 0, 0
    while seen < SAMPLED_KEYS:
        cursor, keys = scan_some(server, cursor, count=SAMPLED_KEYS)
        seen += len(keys)
        matching += sum(map(prefixes.cover, keys))
        if not cursor:
            break
    return round(total * matching / seen) if seen else 0
