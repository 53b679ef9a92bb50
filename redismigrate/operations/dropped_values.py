"""Values that leave documents, or come back: what no index reads any more, kept in a backup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from redismigrate.errors import SchemaError
from redismigrate.operations.renaming import paths_read
from redismigrate.schema import IndexSchema
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import may_read


@dataclass(frozen=True)
class DropValues:
    """Values that are backed up and removed from documents: a field of hashes, or a member of JSON documents.

    Attributes:
        path: The field of the hash or the JSON path; nothing of the index reads it.
    """

    path: str
    kind: Literal["drop_values"] = "drop_values"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema as it was; SchemaError where something of it reads them, or they can't be removed."""
        if schema.storage_type == "json" and not JsonPath.parse(self.path).is_plain:
            raise SchemaError(
                f"Values at {self.path} can't be dropped from the JSON documents of index {schema.name!r}: "
                'only members along plain names can, as in $.a.b or $["a b"].c.',
                "Name the JSON path of a member.",
            )
        for reader, read in paths_read(schema):
            if may_read(read, self.path, schema.storage_type):
                raise SchemaError(
                    f"{reader[0].upper()}{reader[1:]} of index {schema.name!r} reads {read}, so the values "
                    f"at {self.path} can't be dropped.",
                    "Let the index read something else, or drop the field, in a revision before.",
                )
        return schema

    def reverse(self, before: IndexSchema) -> RestoreValues:  # noqa: ARG002 - all reverses take the same
        """The change that brings them back from the backup."""
        return RestoreValues(self.path)

    def __str__(self) -> str:
        return f"drop the values at {self.path}"


@dataclass(frozen=True)
class RestoreValues:
    """Values that a revision has dropped, and whose downgrade brings them back from its backup.

    Attributes:
        path: The field of the hash or the JSON path.
    """

    path: str
    kind: Literal["restore_values"] = "restore_values"

    def apply(self, schema: IndexSchema) -> IndexSchema:
        """The schema as it was."""
        return schema

    def reverse(self, before: IndexSchema) -> DropValues:  # noqa: ARG002 - all reverses take the same
        """The change that drops them again."""
        return DropValues(self.path)

    def __str__(self) -> str:
        return f"restore the values at {self.path}"
