"""The changes of one index that `op.index(name)` records; all of one context are one rebuild at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field as PydanticField

from redismigrate.errors import SchemaError
from redismigrate.schema import Field, IndexSchema


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
class AlterField:
    """Attributes of a field that change, by RedisVL's attribute names."""

    name: str
    attributes: dict[str, Any]
    kind: Literal["alter_field"] = "alter_field"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with the altered field; SchemaError for an unknown field or attribute."""
        return schema.replace_field(self.name, schema.field(self.name).altered(**self.attributes))

    def reverse(self, before: IndexSchema) -> IndexChange:
        """The change that gives every touched attribute its value back."""
        old = before.field(self.name)
        new = old.altered(**self.attributes)
        attributes = {
            attribute: getattr(old, attribute)
            for attribute in type(old).model_fields
            if getattr(old, attribute) != getattr(new, attribute)
        }
        return AlterField(self.name, attributes)

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"alter field {self.name}: {values}"


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
        return SetOptions({name: _as_json(getattr(before, name)) for name in self.options})

    def __str__(self) -> str:
        return "set " + ", ".join(f"{name}={value!r}" for name, value in self.options.items())


@dataclass(frozen=True)
class RenameTo:
    """A new served name."""

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


def as_recorded(change: IndexChange, after: IndexSchema) -> IndexChange:
    """The change with the values that the schema made of those that a script gave.

    A script may give sets, generators, or lists that it goes on to change.

    Args:
        change: As asked for.
        after: The schema that it made.
    """
    if isinstance(change, AlterField):
        field = after.field(change.name)
        return AlterField(change.name, {name: _as_json(getattr(field, name)) for name in change.attributes})
    if isinstance(change, SetOptions):
        return SetOptions({name: _as_json(getattr(after, name)) for name in change.options})
    return change


def _as_json(value: Any) -> Any:
    # So that the record is equal to itself after it was stored.
    return list(value) if isinstance(value, tuple) else value


IndexChange = Annotated[
    AddField | DropField | AlterField | SetOptions | RenameTo, PydanticField(discriminator="kind")
]
