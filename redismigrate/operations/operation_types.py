"""The operations of a migration script: frozen records that know their effect and their reverse."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field as PydanticField
from pydantic import SerializerFunctionWrapHandler, model_serializer

from redismigrate.errors import SchemaError
from redismigrate.operations.block_moves import check_block
from redismigrate.operations.changes import IndexChange
from redismigrate.operations.expectations import Expectation
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition


@dataclass(frozen=True)
class CreateIndex:
    """Creates an index that there was none of."""

    schema: IndexSchema
    kind: Literal["create_index"] = "create_index"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog with the index; SchemaError when the name is taken."""
        _refuse_taken_name(catalog, self.schema.name)
        _require_fields(self.schema)
        return catalog.with_definition(IndexDefinition.plain(self.schema))

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:  # noqa: ARG002 - all reverses take the same
        """The index is dropped, its documents stay."""
        return (DropIndex(self.schema.name),)

    def __str__(self) -> str:
        keys = " or ".join(f"{prefix}*" for prefix in self.schema.prefixes) or "*"
        fields = ", ".join(f"{field.name} {field.type}" for field in self.schema.fields)
        return f"create index {self.schema.name} on {self.schema.storage_type} {keys} with {fields}"


@dataclass(frozen=True)
class DropIndex:
    """An index that goes; its documents only where the script says so."""

    name: str
    delete_documents: bool = False
    kind: Literal["drop_index"] = "drop_index"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog without the index; SchemaError when there is none."""
        catalog.index(self.name)
        return catalog.without(self.name)

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:
        """The index as it was, with its aliases and synonyms."""
        definition = before.index(self.name)
        return (
            CreateIndex(definition.schema),
            *(CreateAlias(alias, self.name) for alias in definition.aliases),
            *(SetSynonyms(self.name, group, terms) for group, terms in definition.synonyms.items()),
        )

    def __str__(self) -> str:
        return f"drop index {self.name}" + (" and its documents" if self.delete_documents else "")


@dataclass(frozen=True)
class CreateAlias:
    """A further name for an index, or one that moves to another index."""

    alias: str
    index: str
    kind: Literal["create_alias"] = "create_alias"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog with the alias on that index alone; SchemaError when an index has that name."""
        definition = catalog.index(self.index)
        if self.alias in catalog:
            raise SchemaError(f"{self.alias} is an index, so it can't be an alias.", "Choose another alias.")
        holder = catalog.alias_target(self.alias)
        if holder is not None and holder != self.index:
            catalog = DropAlias(self.alias).apply(catalog)
        aliases = tuple(sorted({*definition.aliases, self.alias}))
        return catalog.with_definition(replace(definition, aliases=aliases))

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:
        """The alias goes back to the index that had it, or goes."""
        holder = before.alias_target(self.alias)
        if holder == self.index:
            return ()
        return (DropAlias(self.alias),) if holder is None else (CreateAlias(self.alias, holder),)

    def __str__(self) -> str:
        return f"create alias {self.alias} of {self.index}"


@dataclass(frozen=True)
class DropAlias:
    """Drops a further name of an index."""

    alias: str
    kind: Literal["drop_alias"] = "drop_alias"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog without the alias; SchemaError when no index has it."""
        definition = catalog.index(self._holder(catalog))
        aliases = tuple(alias for alias in definition.aliases if alias != self.alias)
        return catalog.with_definition(replace(definition, aliases=aliases))

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:
        """The alias on the index that had it."""
        return (CreateAlias(self.alias, self._holder(before)),)

    def _holder(self, catalog: Catalog) -> str:
        holder = catalog.alias_target(self.alias)
        if holder is None:
            known = ", ".join(sorted(alias for d in catalog.values() for alias in d.aliases)) or "none"
            raise SchemaError(f"No index of this project has the alias {self.alias}.", f"Aliases: {known}.")
        return holder

    def __str__(self) -> str:
        return f"drop alias {self.alias}"


@dataclass(frozen=True)
class SetSynonyms:
    """The terms of a synonym group; Redis Search can add terms to a group but take none out."""

    index: str
    group: str
    terms: tuple[str, ...] = field()
    kind: Literal["set_synonyms"] = "set_synonyms"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog with exactly these terms in the group; no terms, no group."""
        definition = catalog.index(self.index)
        synonyms = {group: terms for group, terms in definition.synonyms.items() if group != self.group}
        if self.terms:
            # FT.SYNDUMP gives terms back in lower case: that is how the server keeps and compares them.
            synonyms[self.group] = tuple(sorted({term.lower() for term in self.terms}))
        return catalog.with_definition(replace(definition, synonyms=dict(sorted(synonyms.items()))))

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:
        """The terms that the group had."""
        old = before.index(self.index).synonyms.get(self.group, ())
        return (SetSynonyms(self.index, self.group, old),)

    def __str__(self) -> str:
        return f"set synonyms {self.group} of {self.index}: {', '.join(self.terms) or 'none'}"


@dataclass(frozen=True)
class ChangeIndex:
    """All changes of one `with op.index(name)` block, carried out as one.

    Attributes:
        name: The served name before them.
        changes: In order.
        after: The served names of indexes that are changed before this one, as its script says.
    """

    name: str
    changes: tuple[IndexChange, ...]
    kind: Literal["change_index"] = "change_index"
    after: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_an_empty_after(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What needs no order is recorded, and counts in the digest of a plan, as by older versions.
        content: dict[str, Any] = handler(self)
        if not self.after:
            content.pop("after", None)
        return content

    @property
    def name_after(self) -> str:
        """The served name of the index once it is changed."""
        names = [change.name for change in self.changes if change.kind == "rename_to"]
        return names[-1] if names else self.name

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog with the changed index; SchemaError for changes that can't be, or not together."""
        definition = catalog.index(self.name)
        schema = definition.schema
        for change in self.changes:
            schema = change.apply(schema)
        check_block(self.changes, definition.schema, schema)
        _require_fields(schema)
        if schema.name != self.name:
            _refuse_taken_name(catalog, schema.name)
        return catalog.without(self.name).with_definition(definition.with_schema(schema))

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:
        """The changes undone, last first."""
        schema = before.index(self.name).schema
        reversed_changes: list[IndexChange] = []
        for change in self.changes:
            reversed_changes.insert(0, change.reverse(schema))
            schema = change.apply(schema)
        return (ChangeIndex(schema.name, tuple(reversed_changes)),)

    def __str__(self) -> str:
        order = f" after {' and '.join(self.after)}" if self.after else ""
        return f"change index {self.name}{order}: " + "; ".join(str(change) for change in self.changes)


@dataclass(frozen=True)
class RunFunction:
    """A data migration: a function of the script that gets a redis client. Opaque to the plan.

    Attributes:
        name: The function's name, for people.
        position: Which `op.run` of the script this is, from 0: how a resumed run finds the function again.
        has_down: Whether the script gave a function that undoes it.
    """

    name: str
    position: int
    has_down: bool
    kind: Literal["run"] = "run"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog as it was: what the function does is not known."""
        return catalog

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:  # noqa: ARG002 - all reverses take the same
        """Nothing that could be told without the function itself."""
        return ()

    def __str__(self) -> str:
        return f"run {self.name}"


@dataclass(frozen=True)
class Irreversible:
    """Says that the way back does not exist."""

    reason: str
    kind: Literal["irreversible"] = "irreversible"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog as it was; the plan is blocked by this."""
        return catalog

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:  # noqa: ARG002 - all reverses take the same
        """No operations: there is nothing to take back."""
        return ()

    def __str__(self) -> str:
        return f"irreversible: {self.reason}"


@dataclass(frozen=True)
class AssumeExclusive:
    """Says that nobody else writes to the documents while it is carried out, as --exclusive does."""

    reason: str
    kind: Literal["assume_exclusive"] = "assume_exclusive"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog as it was."""
        return catalog

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:  # noqa: ARG002 - all reverses take the same
        """The same for the way back."""
        return (self,)

    def __str__(self) -> str:
        return f"assume that nobody else writes to the documents: {self.reason}"


@dataclass(frozen=True)
class Expect:
    """Says what an index is expected to answer, from its place in the script on."""

    index: str
    expectation: Expectation
    kind: Literal["expect"] = "expect"

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog as it was; SchemaError where the index can't be asked that, or the name is an alias.

        An index that the catalog lacks is one that no revision has made or changed so far.
        """
        if self.index in catalog:
            self.expectation.require_fits(catalog[self.index].schema)
        elif (holder := catalog.alias_target(self.index)) is not None:
            raise SchemaError(
                f"{self.index} is an alias of index {holder}, not an index.",
                f"Use the index's name, {holder}.",
            )
        return catalog

    def reverse(self, before: Catalog) -> tuple[Operation, ...]:  # noqa: ARG002 - all reverses take the same
        """Nothing: what was expected on the way there need not hold on the way back."""
        return ()

    def __str__(self) -> str:
        return f"expect of {self.index}: {self.expectation}"


Operation = Annotated[
    CreateIndex
    | DropIndex
    | CreateAlias
    | DropAlias
    | SetSynonyms
    | ChangeIndex
    | RunFunction
    | Irreversible
    | AssumeExclusive
    | Expect,
    PydanticField(discriminator="kind"),
]


def _require_fields(schema: IndexSchema) -> None:
    if not schema.fields:
        raise SchemaError(
            f"Index {schema.name} has no fields.", "Add one: the server makes no index without."
        )


def _refuse_taken_name(catalog: Catalog, name: str) -> None:
    if name in catalog:
        raise SchemaError(f"Index {name} exists already at this revision.", "Choose another name.")
    holder = catalog.alias_target(name)
    if holder is not None:
        raise SchemaError(
            f"{name} is an alias of index {holder}.", "Choose another name or drop the alias first."
        )
