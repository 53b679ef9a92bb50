"""What is recorded about an index: its schema and all that hangs on it, and the set of them a project has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from redismigrate.errors import SchemaError
from redismigrate.schema.index_schema import IndexSchema
from redismigrate.schema.quantization import Quantization


@dataclass(frozen=True)
class IndexDefinition:
    """One index as it was created: FT.INFO alone could not tell all of this.

    Attributes:
        schema: The full schema; `schema.name` is the served name.
        physical: The index that exists in Redis; the served name itself, or what it is an alias of.
        aliases: Further names of the index, sorted.
        synonyms: Synonym group -> its terms, sorted.
        quantization: Hash field -> how its integers stand for numbers, where a migration made them.
    """

    schema: IndexSchema
    physical: str
    aliases: tuple[str, ...] = ()
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    quantization: dict[str, Quantization] = field(default_factory=dict)

    @classmethod
    def plain(cls, schema: IndexSchema) -> IndexDefinition:
        """An index that exists under its served name."""
        return cls(schema=schema, physical=schema.name)

    @property
    def served(self) -> str:
        """The name that clients query, whatever the index is called on the server."""
        return self.schema.name

    @property
    def all_aliases(self) -> tuple[str, ...]:
        """Every alias that must point to the physical index, the served name included where it is one."""
        return self.aliases if self.physical == self.served else (self.served, *self.aliases)

    def with_schema(self, schema: IndexSchema) -> IndexDefinition:
        """The same index with another schema; a plain index that changes its name moves with it."""
        is_plain = self.physical == self.served
        return replace(self, schema=schema, physical=schema.name if is_plain else self.physical)


@dataclass(frozen=True)
class Catalog(Mapping[str, IndexDefinition]):
    """The indexes of a project at one revision, by served name. Immutable: changes give a new one."""

    definitions: Mapping[str, IndexDefinition] = field(default_factory=dict)

    def __getitem__(self, name: str) -> IndexDefinition:
        return self.definitions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.definitions)

    def __len__(self) -> int:
        return len(self.definitions)

    def index(self, name: str) -> IndexDefinition:
        """The definition of a served name.

        Raises:
            SchemaError: There is none.
        """
        if name in self.definitions:
            return self.definitions[name]
        served = self.alias_target(name)
        if served is not None:
            raise SchemaError(
                f"{name} is an alias of index {served}, not an index.", f"Use the index's name, {served}."
            )
        known = ", ".join(sorted(self.definitions)) or "none"
        raise SchemaError(f"There is no index {name} at this revision.", f"Indexes here: {known}.")

    def with_definition(self, definition: IndexDefinition) -> Catalog:
        """The catalog with this index added or replaced."""
        return Catalog({**self.definitions, definition.served: definition})

    def without(self, *names: str) -> Catalog:
        """The catalog without these indexes."""
        return Catalog({served: d for served, d in self.definitions.items() if served not in names})

    def alias_target(self, alias: str) -> str | None:
        """The served name of the index that has this further alias."""
        return next((served for served, d in self.definitions.items() if alias in d.aliases), None)

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The served names that match a glob, sorted."""
        return tuple(sorted(name for name in self.definitions if fnmatchcase(name, pattern)))
