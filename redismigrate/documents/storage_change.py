"""A change of documents from hashes to JSON or back, as data that a plan can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from redismigrate.schema.fields import StorageType
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.vector_field import Datatype

# What JSON holds: a string; an array of strings, which a hash has joined; a number; an array of numbers.
ValueForm = Literal["string", "tags", "number", "vector"]
ELEMENTS = "[*]"


@dataclass(frozen=True)
class StoredValue:
    """A value that stands in a hash as well as in a JSON document.

    Attributes:
        field: Of the hash.
        path: In the JSON document, along plain names; of an array of tags without the `[*]`.
        form: What it is in JSON; in a hash everything is bytes.
        separator: Of tags: what is between them in the hash.
        datatype: Of a vector in the hash.
        dims: Of a vector.
        is_tag: It may be a boolean, or several strings.
        is_one_tag: A string is one tag in JSON, whatever it holds.
    """

    field: str
    path: str
    form: ValueForm = "string"
    separator: str | None = None
    datatype: Datatype | None = None
    dims: int = 0
    is_tag: bool = False
    is_one_tag: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """The names that lead to it in a JSON document."""
        return JsonPath.parse(self.path).members

    def __str__(self) -> str:
        elements = ELEMENTS if self.form == "tags" else ""
        return f"{self.field} as {self.path}{elements}"


@dataclass(frozen=True)
class StorageChange:
    """Hashes that become JSON documents, or the other way round.

    Attributes:
        to: What the documents become.
        values: What the index reads of them, and what is to stand at a path of its own. All else goes along
            under its name.
        drops_field_ttls: Fields of hashes that expire may become members that do not.
    """

    to: StorageType
    values: tuple[StoredValue, ...] = ()
    drops_field_ttls: bool = False

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if not self.drops_field_ttls:
            del content["drops_field_ttls"]
        return content

    def reversed(self) -> StorageChange:
        """The change that makes of the documents what they were before."""
        return StorageChange("json" if self.to == "hash" else "hash", self.values, self.drops_field_ttls)

    @property
    def named(self) -> str:
        """What the documents become, in words."""
        return "JSON documents" if self.to == "json" else "hashes"

    def __str__(self) -> str:
        return f"make {self.named} of them"
