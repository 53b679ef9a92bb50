"""`index`, what `with op.index(name)` gives to a migration script: the changes of one index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import (
    AddField,
    ChangePrefix,
    DropField,
    IndexChange,
    RenameField,
    RenameTo,
    SetOptions,
)
from redismigrate.operations.dropped_values import DropValues, RestoreValues
from redismigrate.operations.field_changes import AlterField, Truncate
from redismigrate.operations.given import as_field, as_name
from redismigrate.operations.given_paths import as_place
from redismigrate.operations.given_storage import as_storage_change
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.fields import StorageType

ApplyChange = Callable[[IndexChange, IndexSchema], tuple[IndexSchema, IndexChange]]


class IndexChanges:
    """The changes of one index; recorded as one operation when the `with` block ends.

    Args:
        name: The index, by its served name.
        schema: As it is before the block.
        after: The indexes after which it is to be changed.
        apply: Applies a change to a schema: what that becomes, and the change as it is recorded.
        record: Records the operation.
        is_upgrade: The script's `upgrade` is being recorded.
    """

    def __init__(
        self,
        name: str,
        schema: IndexSchema,
        after: tuple[str, ...],
        apply: ApplyChange,
        record: Callable[[ChangeIndex], None],
        *,
        is_upgrade: bool = False,
    ) -> None:
        self._name = name
        self._schema = schema
        self._after = after
        self._apply = apply
        self._record_operation = record
        self._changes: list[IndexChange] = []
        self._is_open = False
        self._is_upgrade = is_upgrade

    @property
    def schema(self) -> IndexSchema:
        """The schema with the changes so far."""
        return self._schema

    def add_field(self, field: Field | Mapping[str, Any]) -> None:
        """Add a field; our model or a dict in RedisVL's form."""
        self._record(AddField(as_field(field)))

    def drop_field(self, name: str) -> None:
        """Take a field out of the index; the documents keep its data."""
        self._record(DropField(name))

    def alter_field(self, name: str, /, *, attribute: str | None = None, **attributes: Any) -> None:
        """Change attributes of a field, by RedisVL's names: algorithm, m, sortable, separator, weight.

        A field that becomes SVS-VAMANA gets RedisVL's parameters for it, as in `create_index`. Vectors of
        hashes that get another `datatype` and another `path` at once are written to that path in their new
        form, and the old form stays where it is; the field is called like the path then, or `attribute`.
        """
        if not attributes:
            raise SchemaError(f"alter_field({name!r}) names no attribute.", "Write alter_field(name, m=32).")
        called = None if attribute is None else as_name(attribute, "field")
        if isinstance(attributes.get("path"), str) and (called or {"datatype", "dims"} & attributes.keys()):
            attributes["path"] = as_place(attributes["path"], self._schema)
        self._record(AlterField(name, attributes, attribute=called))

    def truncate(
        self,
        name: str,
        dims: int,
        *,
        path: str | None = None,
        attribute: str | None = None,
        renormalize: bool = True,
    ) -> None:
        """Keep the first components of a vector field, in the documents, too: for models trained for that.

        `renormalize` gives what is left length 1. The way back, `alter_field(name, dims=...)` in the
        downgrade, brings the original vectors back from the backup. With `path` the shorter vectors go there,
        and the whole ones stay; on hashes the field is called like the path then, or `attribute`.
        """
        if not isinstance(dims, int) or isinstance(dims, bool):
            raise SchemaError(f"truncate({name!r}) takes a number of dimensions.", "Write dims=128.")
        at = None if path is None else as_place(path, self._schema)
        called = None if attribute is None else as_name(attribute, "field")
        self._record(Truncate(name, dims, bool(renormalize), path=at, attribute=called))

    def drop_values(self, path: str) -> None:
        """Back up and remove the values that documents have at a path which no index reads any more.

        The path is a field of the hashes, or a JSON path. The way back is `restore_values`.
        """
        self._record(DropValues(as_place(path, self._schema, "drop_values({})")))

    def restore_values(self, path: str) -> None:
        """In a downgrade: bring back what its upgrade has removed with `drop_values`, from the backup."""
        if self._is_upgrade:
            raise SchemaError(
                "restore_values belongs in downgrade(): it brings back what its upgrade drops.",
                f"Write drop_values({path!r}) in upgrade(), or leave it out.",
            )
        self._record(RestoreValues(as_place(path, self._schema, "restore_values({})")))

    def set_options(self, **options: Any) -> None:
        """Change options of the index: prefixes, stopwords, language, filter."""
        if not options:
            raise SchemaError("set_options names no option.", "Write set_options(language='german').")
        if "name" in options:
            raise SchemaError("set_options can't change the name.", "Use rename_to(name).")
        self._record(SetOptions(options))

    def rename_field(self, old: str, new: str, path: str | None = None) -> None:
        """Give a field another name, in the documents as well where it has its own name there.

        `path` says where the documents shall hold it; the path that it has leaves them as they are.
        """
        new = as_name(new, "field")
        self._record(RenameField(old, new, None if path is None else as_place(path, self._schema)))

    def change_prefix(self, old: str, new: str) -> None:
        """Give the documents under a prefix of the index another one: their keys are renamed."""
        self._record(ChangePrefix(old, as_name(new, "prefix")))

    def change_storage(
        self,
        storage_type: StorageType,
        prefix: Sequence[Any] | None = None,
        paths: Mapping[str, str] | None = None,
        separators: Mapping[str, str | None] | None = None,
    ) -> None:
        """Make JSON documents of the hashes of the index, or hashes of its JSON documents.

        Args:
            storage_type: "json" or "hash".
            prefix: ("doc:", "jdoc:"): what keys begin with, and what the new documents' keys shall; several
                such pairs for several prefixes. Search stays up with it; without it the keys stay, which
                takes search away and needs --exclusive.
            paths: Attribute, or hash field -> JSON path, {"title": "$.meta.title"}; to "hash": attribute, or
                JSON path -> hash field. What is not said keeps its name. `$.tags[*]` is an array of tags,
                which a hash has under the attribute's name.
            separators: Attribute of a tag field -> the byte between its tags; None for none, in JSON alone.
        """
        self._record(as_storage_change(storage_type, prefix, paths, separators))

    def rename_to(self, name: str) -> None:
        """Give the index another name."""
        self._record(RenameTo(name))

    def _record(self, change: IndexChange) -> None:
        if not self._is_open:
            raise SchemaError(
                "Changes of an index are recorded when their `with` block ends, so they have to be in it.",
                f"Write `with op.index({self._name!r}) as index:` and put them below.",
            )
        self._schema, recorded = self._apply(change, self._schema)
        self._changes.append(recorded)

    def __enter__(self) -> Self:
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        if kind is None and self._changes:
            self._record_operation(ChangeIndex(self._name, tuple(self._changes), after=self._after))
