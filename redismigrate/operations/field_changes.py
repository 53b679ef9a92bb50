"""Changes of a field where it stands: its attributes, the datatype and the length of its vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from redismigrate.errors import SchemaError
from redismigrate.operations.second_paths import reading_second_path, vector_field
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import is_one_place
from redismigrate.schema.vector_field import SVS_DEFAULTS, becomes_svs, svs_parameters


@dataclass(frozen=True)
class AlterField:
    """Attributes of a field that change, by RedisVL's attribute names.

    Attributes:
        name: The field.
        attributes: What changes. A path is where the index reads from then on.
        attribute: What the field is called afterwards, where its vectors get a new form at that path, and the
            old one stays beside it in the documents; None: no new form goes elsewhere.
    """

    name: str
    attributes: dict[str, Any]
    kind: Literal["alter_field"] = "alter_field"
    attribute: str | None = None

    @model_serializer(mode="wrap")
    def _without_what_others_never_have(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_nothing(handler(self), ("attribute",))

    @property
    def new_path(self) -> str | None:
        """Where the new form of its vectors goes, beside the old one; None: nowhere."""
        return None if self.attribute is None else self.attributes["path"]

    @property
    def name_after(self) -> str:
        """What the field is called afterwards."""
        return self.name if self.attribute is None else self.attribute

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with the altered field; SchemaError for an unknown field, attribute, or a bad path."""
        field = schema.field(self.name)
        if self.attribute is None or self.new_path is None:
            return schema.replace_field(self.name, field.altered(**self.attributes))
        altered = field.altered(**{name: self.attributes[name] for name in self.attributes if name != "path"})
        return reading_second_path(schema, self.name, altered, self.new_path, self.attribute)

    def reverse(self, before: IndexSchema) -> AlterField:
        """The change that gives every touched attribute its value back; vectors are read where they were."""
        old = before.field(self.name)
        new = old.altered(**self.attributes)
        attributes = {
            attribute: getattr(old, attribute)
            for attribute in type(old).model_fields
            if getattr(old, attribute) != getattr(new, attribute)
        }
        if becomes_svs(new, attributes):
            # A script that says nothing of them would get other ones.
            attributes |= {name: getattr(old, name) for name in SVS_DEFAULTS}
        if self.attribute is None:
            return AlterField(self.name, attributes)
        attributes.pop("path", None)
        attributes["path"] = old.path_in(before.storage_type)
        return AlterField(self.attribute, attributes, attribute=old.name)

    def as_asked(self, before: IndexSchema) -> AlterField:
        """The change with what a script means by what it does not say, see `svs_parameters`.

        Vectors that get another datatype and another path at once get a new form there, which is called as
        the path is on hashes. New dimensions alone can't be made: there the index reads what is at the path.

        Raises:
            SchemaError: A name is given for a new form, and there is none; or it would be what the documents
                have.
        """
        field = before.field(self.name)
        attributes = {**self.attributes, **svs_parameters(field, self.attributes)}
        path = attributes.get("path")
        storage_type = before.storage_type
        is_elsewhere = isinstance(path, str) and not is_one_place(
            path, field.path_in(storage_type), storage_type
        )
        is_new_form = {"datatype", "dims"} & attributes.keys() and is_elsewhere
        if self.attribute is not None and not is_new_form:
            raise SchemaError(
                f"attribute={self.attribute!r} says what a new form of vectors is called that goes to "
                f"another path, and field {self.name!r} gets none.",
                "Name a path= and a datatype=. To give a field another name, use rename_field(old, new).",
            )
        is_meant = self.attribute is not None or ("datatype" in attributes and "dims" not in attributes)
        if not is_new_form or not is_meant or not isinstance(field, VectorField):
            return replace(self, attributes=attributes)
        _require_another_form(field, attributes, before)
        by_path = str(path) if storage_type == "hash" else self.name
        return replace(self, attributes=attributes, attribute=self.attribute or by_path)

    def as_recorded(self, after: IndexSchema) -> AlterField:
        """The change with the values that the schema made of those that a script gave."""
        field = after.field(self.name_after)
        attributes = {name: as_json(getattr(field, name)) for name in self.attributes}
        if self.attribute is not None:
            attributes["path"] = self.new_path
        return replace(self, attributes=attributes)

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.attributes.items())
        called = "" if self.attribute in (None, self.name) else f", called {self.attribute}"
        return f"alter field {self.name}: {values}{called}"


@dataclass(frozen=True)
class Truncate:
    """Vectors that keep their first components only, in the documents as well.

    Attributes:
        name: The vector field.
        dims: How many components stay.
        renormalize: What is left gets length 1.
        path: Where the short vectors go, to stay there beside the whole ones; None: they replace these.
        attribute: What the field is called afterwards where they go elsewhere; else None.
    """

    name: str
    dims: int
    renormalize: bool = True
    kind: Literal["truncate"] = "truncate"
    path: str | None = None
    attribute: str | None = None

    @model_serializer(mode="wrap")
    def _without_what_others_never_have(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_nothing(handler(self), ("path", "attribute"))

    @property
    def new_path(self) -> str | None:
        """Where the short vectors go, beside the whole ones; None: nowhere."""
        return self.path

    @property
    def name_after(self) -> str:
        """What the field is called afterwards."""
        return self.name if self.attribute is None else self.attribute

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema with fewer dimensions; SchemaError where that can't be."""
        field = vector_field(schema, self.name, "are truncated")
        if schema.storage_type == "json":
            self._require_plain_array(field, schema)
        if not 0 < self.dims < field.dims:
            raise SchemaError(
                f"Field {self.name!r} has {field.dims} dimensions and can't be truncated to {self.dims}.",
                f"Give 1 to {field.dims - 1} dimensions.",
            )
        shorter = field.altered(dims=self.dims)
        if self.path is None:
            return schema.replace_field(self.name, shorter)
        return reading_second_path(schema, self.name, shorter, self.path, self.name_after)

    def reverse(self, before: IndexSchema) -> AlterField:
        """The change back to all dimensions; the components are where they were, or come from the backup."""
        field = before.field(self.name)
        attributes: dict[str, Any] = {"dims": getattr(field, "dims", self.dims)}
        if self.path is None:
            return AlterField(self.name, attributes)
        attributes["path"] = field.path_in(before.storage_type)
        return AlterField(self.name_after, attributes, attribute=field.name)

    def _require_plain_array(self, field: VectorField, schema: IndexSchema) -> None:
        """Refuse what can't be cut off in JSON documents."""
        path = field.path_in("json")
        if not JsonPath.parse(path).is_plain:
            raise SchemaError(
                f"Field {self.name!r} of index {schema.name!r} is read at {path}, which is not one member "
                "of a JSON document: vectors are truncated at plain paths only.",
                "Name a field whose path is one, as in $.embedding.",
            )
        if field.datatype in {"INT8", "UINT8"} and self.renormalize:
            raise SchemaError(
                f"Field {self.name!r} of index {schema.name!r} has integers, which can't get length 1.",
                "Write renormalize=False.",
            )

    def as_asked(self, before: IndexSchema) -> Truncate:
        """The change with the name of the field that a script means by a path.

        Raises:
            SchemaError: A name is given without a path.
        """
        if self.path is None and self.attribute is not None:
            raise SchemaError(
                f"attribute={self.attribute!r} says what shorter vectors are called that go to another path, "
                "and truncate has no path=.",
                "Name one, or leave attribute= out.",
            )
        if self.path is None or self.attribute is not None:
            return self
        return replace(self, attribute=self.path if before.storage_type == "hash" else self.name)

    def __str__(self) -> str:
        length = "with length 1" if self.renormalize else "as they are"
        called = "" if self.attribute in (None, self.name) else f", called {self.attribute}"
        at = "" if self.path is None else f", at {self.path}{called}"
        return f"truncate {self.name} to {self.dims} dimensions, {length}{at}"


def as_json(value: Any) -> Any:
    """A value as it is equal to itself after it was stored."""
    return list(value) if isinstance(value, tuple) else value


def without_nothing(content: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """What is stored of a change, so that it is recorded as by versions that did not know some of its values.

    Args:
        content: All of it.
        names: Of those values; left out where they are None.
    """
    return {name: value for name, value in content.items() if name not in names or value is not None}


def _require_another_form(field: VectorField, attributes: dict[str, Any], schema: IndexSchema) -> None:
    """Refuse a new form that would be the old one, or that documents can't have.

    Raises:
        SchemaError: It is.
    """
    altered = field.altered(**{name: value for name, value in attributes.items() if name != "path"})
    path = attributes["path"]
    if schema.storage_type == "json" and altered.dims == field.dims:
        raise SchemaError(
            f"Index {schema.name!r} is on JSON, whose vectors are numbers whatever the datatype: "
            f"datatype= makes no new form of field {field.name!r} at {path}.",
            "Leave path= out. Where the application writes vectors to that path itself, let the index read "
            "them there by a call of its own: alter_field(name, path=...).",
        )
    if (altered.dims, altered.datatype) == (field.dims, field.datatype):
        raise SchemaError(
            f"Field {field.name!r} of index {schema.name!r} is {field.datatype} already: there is no new "
            f"form of it to write to {path}.",
            "Use rename_field(old, new) to move it, or alter_field(name, path=...) where the application has "
            "written vectors there.",
        )
