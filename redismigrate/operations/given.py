"""What a script gives, as the values that are recorded: names, fields and schemas in any of their forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.redisvl import field_from_redisvl, schema_from_redisvl
from redismigrate.schema.strict import Name

_NAMES: TypeAdapter[str] = TypeAdapter(Name)


def as_name(text: str, what: str) -> str:
    """A name as text, given as such or as bytes.

    Args:
        text: The name.
        what: Of what, for messages.

    Raises:
        SchemaError: It is empty, or the server would take it for another.
    """
    try:
        return _NAMES.validate_python(text)
    except ValidationError as error:
        reason = error.errors()[0]["ctx"]["error"]
        raise SchemaError(f"{what} {shown_value(text)}: {reason}.", "Correct it.") from None


def as_reason(text: str) -> str:
    """A reason for people, of any number of lines; SchemaError when it is no text."""
    if not isinstance(text, str):
        raise SchemaError(f"A reason is text, not {shown_value(text)}.", "Say why in a sentence.")
    return str.__str__(text).encode("utf-8", "backslashreplace").decode()


def as_schema(schema: IndexSchema | Mapping[str, Any]) -> IndexSchema:
    """A schema, given as such or as a dict in RedisVL's form; SchemaError when it is none."""
    return schema if isinstance(schema, IndexSchema) else schema_from_redisvl(schema)


def as_field(field: Field | Mapping[str, Any]) -> Field:
    """A field, given as such or as a dict in RedisVL's form; SchemaError when it is none."""
    return field_from_redisvl(field) if isinstance(field, Mapping) else field
