"""The changes of one index that `op.index(name)` records; all of one context are one rebuild at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field as PydanticField

from redismigrate.errors import SchemaError
from redismigrate.operations.dropped_values import DropValues, RestoreValues
from redismigrate.operations.field_changes import AlterField, Truncate, as_json
from redismigrate.operations.prefix_exchange import with_prefix_exchanged
from redismigrate.operations.renaming import rename_field
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.moves import PathRename


@dataclass(frozen=True)
class AddField:
    """A field that the index gets."""

    field: Field
    kind: Literal["add_field"] = "add_field"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with the field; SchemaError when it has one of that name."""
        return schema.with_field(self.field)

    def reverse(self, before: IndexSchema) -> IndexChange:  # noqa: ARG002 - all reverses take the same
        """The change that takes the field out again."""
        return DropField(self.field.name)

    def __str__(self) -> str:
        return f"add {self.field.type} field {self.field.name}"


@dataclass(frozen=True)
class DropField:
    """A field that leaves the index; the documents keep its data."""

    name: str
    kind: Literal["drop_field"] = "drop_field"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema without the field; SchemaError when there is none of that name."""
        return schema.without_field(self.name)

    def reverse(self, before: IndexSchema) -> IndexChange:
        """The change that puts the field back as it was."""
        return AddField(before.field(self.name))

    def __str__(self) -> str:
        return f"drop field {self.name}"


@dataclass(frozen=True)
class SetOptions:
    """Options of the index itself that change."""

    options: dict[str, Any]
    kind: Literal["set_options"] = "set_options"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with the options; SchemaError for an unknown one."""
        return schema.with_options(**self.options)

    def reverse(self, before: IndexSchema) -> IndexChange:
        """The change that sets each option back."""
        return SetOptions({name: as_json(getattr(before, name)) for name in self.options})

    def __str__(self) -> str:
        return "set " + ", ".join(f"{name}={as_json(value)!r}" for name, value in self.options.items())


@dataclass(frozen=True)
class RenameTo:
    """Gives an index a new served name."""

    name: str
    kind: Literal["rename_to"] = "rename_to"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema under its new name."""
        if self.name == schema.name:
            raise SchemaError(f"Index {self.name} has that name already.", "Take rename_to out.")
        return schema.renamed(self.name)

    def reverse(self, before: IndexSchema) -> IndexChange:
        """The change back to the old name."""
        return RenameTo(before.name)

    def __str__(self) -> str:
        return f"rename to {self.name}"


@dataclass(frozen=True)
class RenameField:
    """A field that gets another name; in the documents, too, where they have it under its own name.

    Attributes:
        old: Its name.
        new: The one that queries shall use.
        path: Where the documents shall hold it; None: under the new name if they do under the old one, else
            where they do.
    """

    old: str
    new: str
    path: str | None = None
    kind: Literal["rename_field"] = "rename_field"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with the renamed field; SchemaError for an unknown or a taken name or path.

        What else reads the value that moves goes on reading it: other fields and options that name its path.
        """
        return rename_field(schema, self.old, self.new, self.path).schema

    def path_rename(self, schema: IndexSchema) -> PathRename | None:
        """What moves in the documents; None: nothing does. SchemaError as for `apply`."""
        return rename_field(schema, self.old, self.new, self.path).documents

    def reverse(self, before: IndexSchema) -> IndexChange:
        """The change back to the old name and the old path."""
        path = before.field(self.old).path
        if path is None and self.apply(before).field(self.new).path is not None:
            path = before.field(self.old).path_in(before.storage_type)
        return RenameField(self.new, self.old, path)

    def __str__(self) -> str:
        return f"rename field {self.old} to {self.new}" + (f" at {self.path}" if self.path else "")


@dataclass(frozen=True)
class ChangePrefix:
    """A prefix that becomes another one, in the keys of the documents, too."""

    old: str
    new: str
    kind: Literal["change_prefix"] = "change_prefix"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with the new prefix at the place of the old one.

        Raises:
            SchemaError: The index does not have exactly the old prefix, one of them is empty or they are the
                same, or another prefix of the index begins with one of them or the other way round.
        """
        return with_prefix_exchanged(schema, self.old, self.new)

    def reverse(self, before: IndexSchema) -> IndexChange:  # noqa: ARG002 - all reverses take the same
        """The change back to the old prefix."""
        return ChangePrefix(self.new, self.old)

    def __str__(self) -> str:
        return f"change prefix {self.old} to {self.new}"


def prefixes_changed(change: IndexChange) -> tuple[tuple[str, str], ...]:
    """What the beginnings of documents' keys are before a change and after it; nothing where they stay."""
    if isinstance(change, ChangeStorage):
        return change.prefixes
    return ((change.old, change.new),) if isinstance(change, ChangePrefix) else ()


def as_asked(change: IndexChange, before: IndexSchema) -> IndexChange:
    """The change with what a script means by what it does not say.

    Args:
        change: As the script gives it.
        before: The schema that it is to change.

    Raises:
        SchemaError: It asks for what can't be meant.
    """
    return change.as_asked(before) if isinstance(change, AlterField | Truncate) else change


def as_recorded(change: IndexChange, after: IndexSchema) -> IndexChange:
    """The change with the values that the schema made of those that a script gave.

    A script may give sets, generators, or lists that it goes on to change.

    Args:
        change: As asked for.
        after: The schema that it made.
    """
    if isinstance(change, AlterField):
        return change.as_recorded(after)
    if isinstance(change, SetOptions):
        return SetOptions({name: as_json(getattr(after, name)) for name in change.options})
    return change


def leaves_values(change: IndexChange) -> bool:
    """Whether it makes values that stay beside others, drops such, or brings them back.

    Each of these is about documents as the one before has left them, so they are carried out one by one.

    Args:
        change: Of an index.
    """
    if isinstance(change, DropValues | RestoreValues):
        return True
    return isinstance(change, AlterField | Truncate) and change.new_path is not None


IndexChange = Annotated[
    AddField
    | DropField
    | AlterField
    | Truncate
    | SetOptions
    | RenameTo
    | RenameField
    | ChangePrefix
    | DropValues
    | RestoreValues
    | ChangeStorage,
    PydanticField(discriminator="kind"),
]
