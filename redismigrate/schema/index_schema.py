"""What an index is: its options and its fields, as one frozen value."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

import pydantic
from pydantic import BeforeValidator, Discriminator, model_validator

from redismigrate.errors import SchemaError
from redismigrate.schema.fields import (
    GeoField,
    GeoShapeField,
    NumericField,
    StorageType,
    TagField,
    TextField,
    lower,
)
from redismigrate.schema.strict import Line, Name, Strict, Text, as_items, did_you_mean
from redismigrate.schema.vector_field import VectorField

__all__ = [
    "Field",
    "GeoField",
    "GeoShapeField",
    "IndexSchema",
    "NumericField",
    "StorageType",
    "TagField",
    "TextField",
    "VectorField",
]

Field = Annotated[
    TextField | TagField | NumericField | GeoField | GeoShapeField | VectorField, Discriminator("type")
]


def _one_line(expression: object) -> object:
    # Line breaks are white space to an expression, and YAML's block scalars leave one at its end.
    return re.sub(r"[\r\n]+", " ", expression).strip() if isinstance(expression, str) else expression


class IndexSchema(Strict):
    """Everything FT.CREATE is told.

    Attributes:
        name: The name of the index.
        storage_type: `hash` or `json`.
        prefixes: Of the keys that are documents; empty: every key.
        key_separator: What RedisVL puts between prefix and id; not part of the index.
        filter: An expression that a document must satisfy.
        language: Of documents that do not name theirs.
        language_field: Where a document names its language.
        score: Of documents that do not name theirs, 0 to 1.
        score_field: Where a document names its score.
        payload_field: Where a document has its payload.
        stopwords: Words that are not indexed; None: the server's list; empty: none.
        max_text_fields: Room for more than 32 TEXT fields to be added later.
        no_offsets: Don't store positions: no phrases, no highlighting.
        no_highlight: Don't store byte offsets.
        no_fields: Don't store in which field a word stands.
        no_freqs: Don't store how often a word occurs.
        index_all: Keep a list of all documents, which makes `*` faster (server 8.0 and newer).
        temporary_seconds: Drop the index, documents included, after so long without use.
        skip_initial_scan: Don't index the documents that exist.
        fields: In order; names are unique.
    """

    name: Name
    storage_type: Annotated[StorageType, BeforeValidator(lower)] = "hash"
    prefixes: Annotated[tuple[Line, ...], BeforeValidator(as_items)] = ()
    key_separator: Line = ":"
    filter: Annotated[Name, BeforeValidator(_one_line)] | None = None
    language: Annotated[Name, BeforeValidator(lower)] = "english"
    language_field: Name | None = None
    score: float = pydantic.Field(default=1.0, ge=0, le=1)
    score_field: Name | None = None
    payload_field: Name | None = None
    stopwords: Annotated[tuple[Text, ...], BeforeValidator(as_items)] | None = None
    max_text_fields: bool = False
    no_offsets: bool = False
    no_highlight: bool = False
    no_fields: bool = False
    no_freqs: bool = False
    index_all: bool = False
    # At 0 the index is gone before FT.CREATE replies.
    temporary_seconds: int | None = pydantic.Field(default=None, ge=1)
    skip_initial_scan: bool = False
    fields: Annotated[tuple[Field, ...], BeforeValidator(as_items)] = ()

    @classmethod
    def _describe(cls, data: dict[str, Any]) -> str:
        return f"index {data.get('name', '')!r}"

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = set()
        for field in self.fields:
            if field.name in names:
                raise ValueError(f"two fields are named {field.name!r}")
            names.add(field.name)
        return self

    def field(self, name: str) -> Field:
        """The field of that name.

        Raises:
            SchemaError: There is none.
        """
        return self.fields[self._position(name)]

    def with_field(self, field: Field) -> IndexSchema:
        """The schema with one more field.

        Raises:
            SchemaError: It has a field of that name.
        """
        if any(known.name == field.name for known in self.fields):
            raise SchemaError(
                f"Index {self.name!r} already has a field {field.name!r}.",
                "Choose another name, alter the field, or drop it first.",
            )
        return self._with(fields=(*self.fields, field))

    def without_field(self, name: str) -> IndexSchema:
        """The schema without the field of that name.

        Raises:
            SchemaError: There is none.
        """
        position = self._position(name)
        return self._with(fields=self.fields[:position] + self.fields[position + 1 :])

    def replace_field(self, name: str, field: Field) -> IndexSchema:
        """The schema with another field at the place of the one of that name.

        Raises:
            SchemaError: There is none, or another one has the name of the new one.
        """
        position = self._position(name)
        return self._with(fields=(*self.fields[:position], field, *self.fields[position + 1 :]))

    def with_fields(self, fields: tuple[Field, ...]) -> IndexSchema:
        """The schema with these fields instead of its own.

        Raises:
            SchemaError: Two of them have one name.
        """
        return self._with(fields=fields)

    def with_options(self, **options: Any) -> IndexSchema:
        """The schema with other options.

        Args:
            options: Values by the names of the attributes above, `name` and `fields` excepted; None takes one
                back to its default.

        Raises:
            SchemaError: An unknown option, or a value it does not take.
        """
        known = [option for option in type(self).model_fields if option not in {"name", "fields"}]
        for option in options:
            if option not in known:
                raise SchemaError(
                    f"Index {self.name!r} has no option {option!r}{did_you_mean(option, known)}.",
                    f"Valid options: {', '.join(sorted(known))}.",
                )
        return self._with(**options)

    def renamed(self, name: str) -> IndexSchema:
        """The schema under another name."""
        return self._with(name=name)

    def _with(self, **values: Any) -> IndexSchema:
        changed = {**self.__dict__, **values}
        return IndexSchema(**{name: value for name, value in changed.items() if value is not None})

    def _position(self, name: str) -> int:
        names = [field.name for field in self.fields]
        if name not in names:
            raise SchemaError(
                f"Index {self.name!r} has no field {name!r}{did_you_mean(name, names)}.",
                f"Its fields: {', '.join(map(repr, names)) or 'none'}.",
            )
        return names.index(name)
