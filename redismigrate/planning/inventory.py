"""What planning is told about the server: values only, read by others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import BackupDamaged
from redismigrate.operations.expectations import Expectation, ExpectationAnswer
from redismigrate.planning.document_sample import DocumentSample
from redismigrate.planning.other_databases import OtherDatabases
from redismigrate.planning.plan import Step
from redismigrate.redis_server.capabilities import Capabilities
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.redis_server.persistence import Persistence
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode


@dataclass(frozen=True)
class KnownBackup:
    """The backup that an applied revision has made of an index.

    Attributes:
        location: Where, `host:path`.
        is_here: Whether this machine has it; what follows is known only then.
        paths: The hash fields that it holds, as they were called before the revision.
        prefixes: Of the keys that it holds; none for all keys.
        excluded_prefixes: Of keys that another backup of the revision holds.
        holds_values: It holds values that went, and what stood at new paths, instead of rewritten documents.
        cut_as_they_are: The paths, as they are called since, of vectors that were truncated without getting
            length 1: so are those that are written while that is taken back.
        problem: What is damaged, where it can't be restored from; it counts as not here.
    """

    location: str
    is_here: bool
    paths: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    excluded_prefixes: tuple[str, ...] = ()
    problem: BackupDamaged | None = None
    holds_values: bool = False
    cut_as_they_are: tuple[str, ...] = ()


def backups_that_hold(backups: Iterable[KnownBackup], prefixes: tuple[str, ...]) -> tuple[KnownBackup, ...]:
    """Those of some backups of one revision that together hold the documents with these prefixes.

    Args:
        backups: They hold the same fields.
        prefixes: None for all keys.

    Returns:
        Empty when some of the documents are in none of them.
    """
    wanted = KeyPrefixes.of(prefixes)
    found = {backup: keys for backup in backups if wanted.overlap(keys := KeyPrefixes.of(backup.prefixes))}
    excluded = {backup: frozenset(map(encode, backup.excluded_prefixes)) for backup in found}
    is_held = all(
        any(keys.cover(prefix) and prefix not in excluded[backup] for backup, keys in found.items())
        for prefix in (*wanted.outermost, *(prefix for each in excluded.values() for prefix in each))
    )
    return tuple(found) if is_held else ()


@dataclass(frozen=True)
class Inventory:
    """The server as a plan finds it.

    Attributes:
        project: Who plans.
        capabilities: What it can do.
        live: Physical name -> index, for every index the plan is about.
        names: The names of all indexes of the server, aliases not among them.
        aliases: Alias -> physical name, for the names the plan is about.
        owners: Served name -> project.
        matching_keys: Served name of a new index -> about how many keys its prefixes cover.
        total_keys: Keys of the server, whichever they are.
        schemas: Physical name -> schema, for every live index; empty where no document is to be rewritten.
        samples: Served name -> some documents of it; of an index without documents there is none.
        backups: Revision and served name -> the backup, where a revision is to be undone that made one.
        backups_of_folds: The same for folds that are to be undone at once, by the id of the fold.
        folds: Applied revision -> the revisions that were carried out as one with it, in order.
        backup_free_bytes: The room for backups; None where it is not known.
        planned_memory_bytes: What the revisions planned so far will add to the used memory.
        planned_backup_bytes: What they will back up.
        other_databases: What databases other than 0 hold of the indexes that the plan is about.
        empty: Physical names of the live indexes that are looked at for a rewrite and have no documents.
        made: Served names of the indexes that the run has made itself, see `made_in_run`.
        untold_because: Why the server does not tell what others write; None where it does, or nobody asked.
        fence: The number of the fencing token of the run, or of the next one: physical names end with it.
        answers: What indexes have answered of what is expected of them before the revisions.
        unreadable_prefixes: Those whose keys the user may not read, where that keeps indexes from them.
        persistence: How the server keeps its data on disk.
    """

    project: str
    capabilities: Capabilities
    live: Mapping[str, LiveIndex] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    matching_keys: Mapping[str, int] = field(default_factory=dict)
    total_keys: int = 0
    schemas: Mapping[str, IndexSchema] = field(default_factory=dict)
    samples: Mapping[str, DocumentSample] = field(default_factory=dict)
    backups: Mapping[tuple[str, str], KnownBackup] = field(default_factory=dict)
    backups_of_folds: Mapping[tuple[str, str], KnownBackup] = field(default_factory=dict)
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    backup_free_bytes: int | None = None
    planned_memory_bytes: int = 0
    planned_backup_bytes: int = 0
    other_databases: OtherDatabases = field(default_factory=OtherDatabases)
    empty: frozenset[str] = frozenset()
    made: frozenset[str] | None = frozenset()
    untold_because: str | None = None
    fence: str = "0"
    unreadable_prefixes: frozenset[str] = frozenset()
    persistence: Persistence = field(default_factory=Persistence)
    answers: Mapping[tuple[str, Expectation], ExpectationAnswer] = field(default_factory=dict)

    def with_damaged_backups(self, problems: Mapping[str, BackupDamaged]) -> Inventory:
        """The server where nothing can be restored from some backups.

        Args:
            problems: Their locations, and what is damaged in each.
        """
        backups, of_folds = (
            {
                of: replace(backup, is_here=False, problem=problems[backup.location])
                if backup.location in problems
                else backup
                for of, backup in known.items()
            }
            for known in (self.backups, self.backups_of_folds)
        )
        return replace(self, backups=backups, backups_of_folds=of_folds)

    def with_backups_of_folds(self) -> Inventory:
        """The server as the plan of a fold sees it, which has the id of one of its revisions."""
        return replace(self, backups={**self.backups, **self.backups_of_folds})

    def with_sample_after(self, before: IndexDefinition, rewrite: Rewrite) -> Inventory:
        """The server with the sample of an index as its documents are after a rewrite."""
        sample = self.samples.get(before.served)
        if sample is None:
            return self
        return replace(self, samples={**self.samples, before.served: sample.after(rewrite)})

    def with_sample_of(self, new: str, old: str) -> Inventory:
        """The server with the documents of an index under another served name."""
        if old not in self.samples:
            return self
        return replace(self, samples={**self.samples, new: self.samples[old]})

    def with_samples_written(self) -> Inventory:
        """The server where a function may have written to the documents that samples were taken of."""
        samples = {name: replace(sample, is_current=False) for name, sample in self.samples.items()}
        return replace(self, samples=samples)

    def renamed(self, steps: Iterable[Step]) -> Inventory:
        """The server with statistics and samples as these steps leave them, under the names that they give.

        Taking the same steps once more changes nothing.
        """
        live, samples, empty = dict(self.live), dict(self.samples), set(self.empty)
        matching_keys = dict(self.matching_keys)
        for step in steps:
            before, after = step.before, step.after
            samples = _samples_after(samples, step)
            tells = step.life.has("changes_index") or step.life.has("makes_new_form")
            if not tells or before is None or after is None:
                continue
            if before.physical in live:
                live[after.physical] = live[before.physical]
            if before.physical in empty:
                empty.add(after.physical)
            if before.served in matching_keys:
                matching_keys[after.served] = matching_keys[before.served]
            if before.served in samples:
                sample = samples[before.served]
                samples[after.served] = sample if step.rewrite is None else sample.after(step.rewrite)
        return replace(self, live=live, samples=samples, empty=frozenset(empty), matching_keys=matching_keys)

    def is_made(self, name: str) -> bool:
        """Whether the run has made an index itself, so that no application can use it yet."""
        return self.made is not None and name in self.made

    def after(self, before: Catalog, after: Catalog, given_up: AbstractSet[str] = frozenset()) -> Inventory:
        """The server as it will be once a revision has turned one catalog into the other.

        Args:
            before: The indexes that its operations find, those among them that it has just adopted.
            after: Those that they leave; what is given up is still there.
            given_up: The served names that are no project's from then on.
        """
        old = {definition.physical for definition in before.values()}
        new = {definition.physical for definition in after.values()}
        old_aliases = {alias for definition in before.values() for alias in definition.all_aliases}
        ours = after.keys() - given_up
        owners = {name: owner for name, owner in self.owners.items() if name in ours or name not in before}
        return replace(
            self,
            live={name: index for name, index in self.live.items() if name in new or name not in old},
            names=(self.names - (old - new)) | new,
            aliases={name: target for name, target in self.aliases.items() if name not in old_aliases}
            | {alias: d.physical for d in after.values() for alias in d.all_aliases},
            owners=owners | dict.fromkeys(ours, self.project),
            schemas=self._schemas_after(before, after),
        )

    def _schemas_after(self, before: Catalog, after: Catalog) -> dict[str, IndexSchema]:
        # An index that nothing changes keeps the schema that the server tells, or its absence.
        gone = {d.physical for name, d in before.items() if after.get(name) != d}
        made = {d.physical: d.schema for name, d in after.items() if before.get(name) != d}
        return {name: schema for name, schema in self.schemas.items() if name not in gone} | made


def _samples_after(samples: Mapping[str, DocumentSample], step: Step) -> dict[str, DocumentSample]:
    """The samples once a step has changed values that others read, too, or that no index reads."""
    found = dict(samples)
    if step.before is None or step.after is None or step.rewrite is None:
        return found
    if step.kind == "drop_values" and step.before.served in found:
        found[step.before.served] = found[step.before.served].after(step.rewrite)
    brings_back = step.kind == "restore_values"
    if not (brings_back or step.kind == "drop_values" or step.life.has("makes_new_form")):
        return found
    prefixes = KeyPrefixes.of(step.before.schema.prefixes)
    own = set() if brings_back else {step.before.served, step.after.served}
    return {
        name: sample
        if name in own or not any(map(prefixes.cover, sample.keys))
        else replace(sample, is_current=False)
        for name, sample in found.items()
    }
