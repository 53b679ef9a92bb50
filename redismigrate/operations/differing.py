"""The operations that turn the indexes of one moment into those of another, found by comparing schemas."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import (
    AddField,
    DropField,
    IndexChange,
    RenameField,
    RenameTo,
    SetOptions,
)
from redismigrate.operations.client_keys import ways_to_move_keys
from redismigrate.operations.field_changes import AlterField
from redismigrate.operations.index_renames import IndexRename, new_names
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex, DropIndex, Operation
from redismigrate.operations.storage_operation import ChangeStorage, without_the_usual
from redismigrate.schema import Field, IndexSchema, TagField
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog
from redismigrate.schema.vector_field import SVS_DEFAULTS, becomes_svs


@dataclass(frozen=True, order=True)
class Rename:
    """A field of an index that may be, or is, another one under a new name.

    Attributes:
        index: The served name.
        old: The name of the field that goes.
        new: The name of the field that comes.
    """

    index: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}:{self.new} of index {self.index}"


def operations_between(
    before: Mapping[str, IndexSchema],
    after: Mapping[str, IndexSchema],
    renames: Collection[Rename] = (),
    index_renames: Collection[IndexRename] = (),
) -> tuple[Operation, ...]:
    """What turns some indexes into others: new ones first, those that go last.

    All changes of one index are one operation. One index goes and another one comes, and so do fields, unless
    a rename says that they are one.

    Args:
        before: Served name -> schema.
        after: Served name -> wanted schema, under the same name.
        renames: What the user says about fields, by the old name of their index.
        index_renames: What the user says about indexes.

    Raises:
        SchemaError: A wanted schema can't be an index, or a rename can't be done.
    """
    names = new_names(before, after, index_renames)
    created = [CreateIndex(after[name]) for name in sorted(after.keys() - set(names.values()))]
    changed = []
    for name, new_name in sorted(names.items()):
        changes = changes_between(before[name], after[new_name], renames)
        if name != new_name:
            changes = (*changes, RenameTo(new_name))
        changed += [ChangeIndex(name, changes)] if changes else []
    dropped = [DropIndex(name) for name in sorted(before.keys() - names.keys())]
    return (*created, *changed, *dropped)


def changes_between(
    before: IndexSchema, after: IndexSchema, renames: Collection[Rename] = ()
) -> tuple[IndexChange, ...]:
    """The changes of one index, in an order in which each can be applied; empty when there is nothing to do.

    Args:
        before: The schema as it is.
        after: The wanted one; its name does not count.
        renames: What the user says about fields of this index.

    Raises:
        SchemaError: A rename can't be done.
    """
    if before.storage_type != after.storage_type:
        changes = _with_other_storage(before, after, renames)
        if changes is not None:
            return changes
    moved = [rename for rename in renames if rename.index == before.name]
    plain = tuple(_field_changes(before, after, moved))
    schema = applied(before, plain)
    for keys in ways_to_move_keys(schema, after):
        try:
            changes = (*plain, *keys, *_options(applied(schema, keys), after))
            ChangeIndex(before.name, changes).apply(_alone(before))
        except SchemaError:
            continue  # another prefix shares keys with these, or the filter names keys
        return changes
    return (*plain, *_options(schema, after))


def _with_other_storage(
    before: IndexSchema, after: IndexSchema, renames: Collection[Rename]
) -> tuple[IndexChange, ...] | None:
    """The changes of an index that gets documents of the other type; None where that can't be said.

    A field under a new name gets the place of that at once, so the rename is one of the index alone.
    """
    moved = [rename for rename in renames if rename.index == before.name]
    _refuse_what_is_no_rename(before, after, moved)
    gone = [prefix for prefix in before.prefixes if prefix not in after.prefixes]
    come = [prefix for prefix in after.prefixes if prefix not in before.prefixes]
    pairs = ((gone[0], come[0]),) if len(gone) == len(come) == 1 else ()
    names = {field.name: field.name for field in before.fields} | {each.old: each.new for each in moved}
    by_name = {field.name: field for field in after.fields}
    wanted = {old: by_name[new] for old, new in names.items() if new in by_name}
    places = {name: field.path_in(after.storage_type) for name, field in wanted.items()}
    separators = {name: field.separator for name, field in wanted.items() if isinstance(field, TagField)}
    change = ChangeStorage(after.storage_type, pairs, places, separators)
    try:
        change = without_the_usual(change, before)
        changes = (change, *changes_between(change.apply(before), after, moved))
        ChangeIndex(before.name, changes).apply(_alone(before))
    except SchemaError as error:
        if moved:
            raise SchemaError(
                f"Index {before.name!r} can't get another storage type and rename {moved[0].old!r} to "
                f"{moved[0].new!r} in one revision. {error.message}",
                "Declare the rename first, with the old storage type, and the storage type after.",
            ) from None
        return None
    return changes


def rename_candidates(before: IndexSchema, after: IndexSchema) -> tuple[Rename, ...]:
    """Pairs of a field that goes and one that comes with the same definition, which may be renames.

    A pair that can't be renamed, for another field reads the new path, is left out.
    """
    old = {field.name: field for field in before.fields}
    new = {field.name: field for field in after.fields}
    found = []
    for gone in sorted(old.keys() - new.keys()):
        for come in sorted(new.keys() - old.keys()):
            if _is_same_but_for_name(old[gone], new[come], before, after):
                rename = Rename(before.name, gone, come)
                try:
                    renamed = changes_between(before, after, (rename,))
                    ChangeIndex(before.name, renamed).apply(_alone(before))
                except SchemaError:
                    continue
                found.append(rename)
    return tuple(found)


def applied(schema: IndexSchema, changes: Iterable[IndexChange]) -> IndexSchema:
    """The schema after some changes."""
    for change in changes:
        schema = change.apply(schema)
    return schema


def _field_changes(before: IndexSchema, after: IndexSchema, renames: list[Rename]) -> Iterator[IndexChange]:
    _refuse_what_is_no_rename(before, after, renames)
    new_names = {rename.old: rename.new for rename in renames}
    wanted = {field.name: field for field in after.fields}
    schema = before
    for field in before.fields:
        target = wanted.get(new_names.get(field.name, field.name))
        # Redis Search knows no change of a type: the field goes, and another one comes.
        if target is None or target.type != field.type:
            schema = schema.without_field(field.name)
            yield DropField(field.name)
    for rename in renames:
        change = _rename(schema, rename, after)
        schema = change.apply(schema)
        yield change
    present = {field.name: field for field in schema.fields}
    for name, field in present.items():
        attributes = _attributes_between(field, wanted[name], schema, after)
        if "path" in attributes and {"datatype", "dims"} & attributes.keys():
            # In one call that would be a new form, made of the old one; which nobody has said.
            yield AlterField(name, {"path": attributes.pop("path")})
        if attributes:
            yield AlterField(name, attributes)
    for field in after.fields:
        if field.name not in present:
            yield AddField(field)


def _refuse_what_is_no_rename(before: IndexSchema, after: IndexSchema, renames: list[Rename]) -> None:
    old = {field.name: field.type for field in before.fields}
    new = {field.name: field.type for field in after.fields}
    gone = [rename.old for rename in renames]
    for rename in renames:
        come = rename.new
        if rename.old not in old or rename.old in new or come not in new or come in old:
            raise SchemaError(
                f"Index {before.name!r} has no change from field {rename.old!r} to {come!r}.",
                "Name a field that goes and one that comes.",
            )
        if old[rename.old] != new[come]:
            raise SchemaError(
                f"Index {before.name!r}: {old[rename.old]} field {rename.old!r} can't become {come!r}, "
                f"which is a {new[come]} field.",
                "Take the rename out: one field goes, another one comes.",
            )
    if len({*gone}) < len(gone) or len({rename.new for rename in renames}) < len(renames):
        raise SchemaError(
            f"Index {before.name!r}: a field is renamed twice.", "Name every field in one rename only."
        )


def _rename(schema: IndexSchema, rename: Rename, after: IndexSchema) -> RenameField:
    """The rename that leads to the wanted path: by default the documents' field moves along with its name."""
    change = RenameField(rename.old, rename.new)
    wanted = after.field(rename.new).path_in(after.storage_type)
    try:
        found = change.apply(schema).field(rename.new).path_in(schema.storage_type)
    except SchemaError:
        found = None
    if found == wanted or schema.storage_type != after.storage_type:
        return change
    return RenameField(rename.old, rename.new, wanted)


def _attributes_between(old: Field, new: Field, before: IndexSchema, after: IndexSchema) -> dict[str, Any]:
    """The attributes to alter, as the wanted field gives them: those whose effect differs."""
    attributes = {
        difference.attribute: getattr(new, difference.attribute)
        for difference in diff(_alone_in(before, old), _alone_in(after, new))
        if difference.attribute is not None
        and difference.field is not None
        and getattr(old, difference.attribute) != getattr(new, difference.attribute)
    }
    altered = old.altered(**attributes) if _fits(old, attributes) else None
    if altered is None or diff(_alone_in(after, altered), _alone_in(after, new)):
        # What the server fills in depends on other attributes: say all of them.
        attributes = {
            name: getattr(new, name)
            for name in type(old).model_fields
            if getattr(old, name) != getattr(new, name)
        }
    if becomes_svs(old, attributes):
        # What a script says nothing of gets RedisVL's value.
        attributes |= {name: getattr(new, name) for name in SVS_DEFAULTS}
    return attributes


def _fits(field: Field, attributes: dict[str, Any]) -> bool:
    try:
        field.altered(**attributes)
    except SchemaError:
        return False
    return True


def _options(schema: IndexSchema, after: IndexSchema) -> tuple[SetOptions, ...]:
    options = _option_changes(schema, after)
    return (SetOptions(options),) if options else ()


def _option_changes(schema: IndexSchema, after: IndexSchema) -> dict[str, Any]:
    """The options to set on a schema that has the wanted fields already."""
    differing = {difference.attribute for difference in diff(schema, after) if difference.field is None}
    options = {
        name: getattr(after, name)
        for name in type(after).model_fields
        if name in differing and getattr(schema, name) != getattr(after, name)
    }
    if any(difference.field is None for difference in diff(schema.with_options(**options), after)):
        # NOOFFSETS implies NOHL: without the one the other has to be said.
        options = {
            name: getattr(after, name)
            for name in type(after).model_fields
            if name not in {"name", "fields"} and getattr(schema, name) != getattr(after, name)
        }
    return options


def _is_same_but_for_name(old: Field, new: Field, before: IndexSchema, after: IndexSchema) -> bool:
    if old.type != new.type:
        return False
    paths = old.path_in(before.storage_type), new.path_in(after.storage_type)
    are_named_alike = paths == (_default_path(old, before), _default_path(new, after))
    if paths[0] != paths[1] and not are_named_alike:
        return False
    same = new.altered(name=old.name, path=paths[0])
    return not diff(_alone_in(before, old), _alone_in(after, same))


def _default_path(field: Field, schema: IndexSchema) -> str:
    return field.altered(path=None).path_in(schema.storage_type)


def _alone_in(schema: IndexSchema, field: Field) -> IndexSchema:
    return IndexSchema(name=schema.name, storage_type=schema.storage_type, fields=(field,))


def _alone(schema: IndexSchema) -> Catalog:
    return CreateIndex(schema).apply(Catalog()) if schema.fields else Catalog()
