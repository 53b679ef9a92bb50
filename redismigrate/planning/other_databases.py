"""What databases other than 0 hold of an index, and which steps would leave it out.

FT.CREATE, and every scan after it, looks at database 0 alone. But a hash or JSON key that is written in
another one enters each index that covers it, and stays there until the index is built anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import Step
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import readable

SHOWN_KEYS = 3
OVERRIDE = "--ignore-other-databases"
_NOT_DELETED = (
    "which FT.DROPINDEX DD does not delete: it deletes the keys of database 0 that are called like them, "
    "whatever they are"
)


@dataclass(frozen=True)
class KeysElsewhere:
    """Keys of one database other than 0.

    Attributes:
        database: Its number.
        count: How many; about, where it was sampled.
        examples: A few of them.
        is_estimate: Whether not all keys of that database were looked at.
    """

    database: int
    count: int
    examples: tuple[bytes, ...]
    is_estimate: bool = False

    def plus(self, other: KeysElsewhere) -> KeysElsewhere:
        """Both together, of the same database."""
        examples = (*self.examples, *other.examples)[:SHOWN_KEYS]
        return KeysElsewhere(
            self.database, self.count + other.count, examples, self.is_estimate or other.is_estimate
        )

    def __str__(self) -> str:
        count = f"{'about ' if self.is_estimate else ''}{self.count:,} key{'' if self.count == 1 else 's'}"
        shown = ", ".join(map(readable, self.examples))
        more = ", ..." if self.count > len(self.examples) else ""
        return f"database {self.database} has {count} ({shown}{more})"


@dataclass(frozen=True)
class OtherDatabases:
    """The keys of all databases but 0, as far as indexes are about them.

    Attributes:
        found: Storage type and prefix -> the keys, one entry a database.
        remarks: What could not be looked at, or was only sampled; one sentence each.
    """

    found: Mapping[tuple[str, bytes], Sequence[KeysElsewhere]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def keys_of(self, schemas: Iterable[IndexSchema]) -> tuple[KeysElsewhere, ...]:
        """The keys that any of some indexes are about, one entry a database; FILTER is not looked at.

        Args:
            schemas: Of these the prefixes were looked for.
        """
        prefixes: dict[str, list[str]] = {}
        for schema in schemas:
            prefixes.setdefault(schema.storage_type, []).extend(schema.prefixes or [""])
        by_database: dict[int, KeysElsewhere] = {}
        for storage_type, given in prefixes.items():
            # Outermost ones don't nest, so no key counts twice.
            for prefix in KeyPrefixes.of(given).outermost:
                for keys in self.found.get((storage_type, prefix), ()):
                    known = by_database.get(keys.database)
                    by_database[keys.database] = keys if known is None else known.plus(keys)
        return tuple(by_database[number] for number in sorted(by_database))

    def left_out(self, steps: Iterable[Step]) -> dict[str, str]:
        """Served name -> what an index that some steps build, or delete the documents of, would leave out."""
        schemas: dict[str, list[IndexSchema]] = {}
        for step in steps:
            schemas.setdefault(str(step.index), []).extend(schemas_left_short(step))
        told = {name: self.keys_of(found) for name, found in schemas.items()}
        return {name: in_words(keys) for name, keys in told.items() if keys}

    def not_indexed_again(self, steps: Iterable[Step]) -> dict[str, str]:
        """Served name -> what stays in an index that some steps change in place, but as it was before."""
        told = {
            str(step.index): self.keys_of([step.before.schema])
            for step in steps
            if step.life.has("stays_same_index") and step.before is not None
        }
        return {name: in_words(keys) for name, keys in told.items() if keys}


def in_words(keys: Iterable[KeysElsewhere]) -> str:
    """Which keys, and where, as the beginning of a sentence."""
    return " and ".join(map(str, keys))


def why_left_out(name: str, keys: str, *, is_deletion: bool = False) -> str:
    """Why a plan is blocked.

    Args:
        name: Of the index.
        keys: As `in_words` tells them.
        is_deletion: The index goes, and its documents with it.
    """
    if is_deletion:
        return (
            f"{keys} with the prefixes of index {name}, {_NOT_DELETED}: delete them there, or say {OVERRIDE}"
        )
    return (
        f"{keys} with the prefixes of index {name}, but Redis Search scans database 0 only, so that searches "
        f"would not find them: move them to database 0, delete them, or say {OVERRIDE}"
    )


def left_without(name: str, keys: str, *, is_deletion: bool = False) -> str:
    """What searches will not find, or what is not deleted, where that does not block anything."""
    if is_deletion:
        return f"{keys} with the prefixes of index {name}, {_NOT_DELETED}"
    return (
        f"{keys} with the prefixes of index {name}, which will lack them until they are written again: Redis "
        "Search scans database 0 only"
    )


def kept_as_it_was(name: str, keys: str) -> str:
    """What a change in place does not reach."""
    return (
        f"{keys} with the prefixes of index {name}: they stay in it, but what is added finds them only "
        "once they are written again, and undoing this takes them out: Redis Search scans database 0 only"
    )


def deleted_with_documents(steps: Iterable[Step]) -> frozenset[str]:
    """The served names of the indexes that go together with their documents."""
    return frozenset(str(step.index) for step in steps if step.deletes_documents)


def schemas_left_short(step: Step) -> tuple[IndexSchema, ...]:
    """Which documents a step leaves out where they are in another database than 0: those of these indexes."""
    before, after = (None if each is None else each.schema for each in (step.before, step.after))
    if step.kind == "create_index" and after is not None:
        # One that scans nothing takes what is written, in whatever database.
        if step.life.name == "create_beside" and before is not None:
            return (before, after)
        return () if after.skip_initial_scan else (after,)
    if step.life.has("replaces_index") and before is not None and after is not None:
        return (before, after)
    if before is not None and (step.deletes_documents or step.life.name == "drop_to_rewrite"):
        # FT.DROPINDEX DD deletes the keys of these names in database 0, whatever they are there.
        return (before,)
    return ()


def schemas_met(recorded: Iterable[RecordedRevision], catalog: Catalog) -> tuple[IndexSchema, ...]:
    """The indexes that revisions create, change or drop with their documents, before and after each of them.

    Args:
        recorded: The revisions, in order.
        catalog: The indexes before them.
    """
    schemas: list[IndexSchema] = []
    for item in recorded:
        catalog = item.start(catalog)
        for operation in item.operations:
            before, catalog = catalog, operation.apply(catalog)
            match operation.kind:
                case "create_index":
                    schemas.append(catalog[operation.schema.name].schema)
                case "change_index":
                    schemas += [before[operation.name].schema, catalog[operation.name_after].schema]
                case "set_synonyms":
                    schemas.append(before[operation.index].schema)
                case "drop_index" if operation.delete_documents:
                    schemas.append(before[operation.name].schema)
    return tuple(schemas)
