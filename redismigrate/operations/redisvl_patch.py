"""RedisVL's schema patches (0.28): read strictly, and turned into the changes of one index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import IndexChange, RenameField, RenameTo
from redismigrate.operations.differing import Rename, changes_between
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.redisvl import as_mapping, field_from_redisvl, located, refuse_unknown
from redismigrate.schema.vector_field import svs_parameters
from redismigrate.schema.yaml_file import read_yaml

VERSION = 1
SECTIONS = ("add_fields", "remove_fields", "update_fields", "rename_fields", "index")
_OPTIONS = ("prefix", *(IndexSchema.model_fields.keys() - {"prefixes", "fields"}))


@dataclass(frozen=True)
class FieldUpdate:
    """What changes of one field.

    Attributes:
        name: Of the field, before or after its rename.
        type: The new type; None: it stays.
        path: The new path; None: it stays.
        attrs: Attributes by RedisVL's names.
    """

    name: str
    type: str | None
    path: str | None
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class SchemaPatch:
    """The five sections of a patch.

    Attributes:
        added: Fields that come.
        removed: Names of fields that go.
        updates: What changes of others.
        renames: Old name -> new name.
        index: Options of the index, by RedisVL's names.
    """

    added: tuple[Field, ...] = ()
    removed: tuple[str, ...] = ()
    updates: tuple[FieldUpdate, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    index: Mapping[str, Any] | None = None


def read_schema_patch(path: Path) -> SchemaPatch:
    """The patch in a YAML file.

    Raises:
        SchemaError: The file can't be read, is no YAML or holds no patch: a key that is not known is an
            error, too.
    """
    content = read_yaml(path)
    with located(str(path)):
        return schema_patch(content)


def schema_patch(content: Any) -> SchemaPatch:
    """The patch that the data of a file is.

    Raises:
        SchemaError: It is none.
    """
    patch = as_mapping(content, "the file")
    refuse_unknown(patch, ("version", "changes"), "the patch")
    if patch.get("version", VERSION) != VERSION:
        raise SchemaError(
            f"version is {patch['version']!r}, known is {VERSION}.", f"Write version: {VERSION}."
        )
    changes = as_mapping(patch.get("changes") or {}, "changes")
    refuse_unknown(changes, SECTIONS, "changes")
    return SchemaPatch(
        added=tuple(_each(changes, "add_fields", field_from_redisvl)),
        removed=tuple(_each(changes, "remove_fields", _name)),
        updates=tuple(_each(changes, "update_fields", _update)),
        renames=tuple(_each(changes, "rename_fields", _rename)),
        index=_options(changes.get("index") or {}),
    )


def changes_of_patch(patch: SchemaPatch, schema: IndexSchema) -> tuple[IndexChange, ...]:
    """What a patch changes of an index; empty when the index is like that already.

    As RedisVL applies it: renames, then what goes, updates, what comes, options. A prefix that becomes
    another one takes the keys of the documents along, a field that is renamed the documents' field.

    Args:
        patch: The changes.
        schema: The index as it is.

    Raises:
        SchemaError: The patch does not fit the index.
    """
    renames = [(old, new) for old, new in patch.renames if old != new]
    wanted = schema
    for old, new in renames:
        wanted = RenameField(old, new).apply(wanted)
    for name in patch.removed:
        wanted = wanted.without_field(name)
    for update in patch.updates:
        name = dict(renames).get(update.name, update.name)
        wanted = wanted.replace_field(name, _updated(wanted.field(name), update))
    for field in patch.added:
        wanted = wanted.with_field(field)
    options = dict(patch.index or {})
    name = options.pop("name", schema.name)
    if "prefix" in options:
        prefix = options.pop("prefix")
        options["prefixes"] = (prefix,) if isinstance(prefix, str) else prefix
    wanted = wanted.with_options(**options)
    kept = {field.name for field in wanted.fields}
    said = [Rename(schema.name, old, new) for old, new in renames if new in kept]
    changes = changes_between(schema, wanted, said)
    return changes if name == schema.name else (*changes, RenameTo(name))


def _updated(field: Field, update: FieldUpdate) -> Field:
    path = field.path if update.path is None else update.path
    if update.type is None or update.type == field.type:
        return field.altered(**{**svs_parameters(field, update.attrs), **update.attrs, "path": path})
    # No attribute of the old type goes along: what it means there nobody can tell.
    return field_from_redisvl(
        {"name": field.name, "type": update.type, "path": path, "attrs": dict(update.attrs)}
    )


def _each(changes: Mapping[str, Any], section: str, read: Any) -> list[Any]:
    given = changes.get(section) or []
    if not isinstance(given, list):
        raise SchemaError(f"{section} is no list.", "Write one entry per field, each behind a dash.")
    found = []
    for position, item in enumerate(given):
        with located(f"{section}[{position}]"):
            found.append(read(item))
    return found


def _name(given: Any, of: str = "a field") -> str:
    if not isinstance(given, str) or not given:
        raise SchemaError(f"{given!r} is no name of {of}.", "Write the name, in quotes if it is a number.")
    return given


def _update(given: Any) -> FieldUpdate:
    mapping = as_mapping(given, "an update")
    refuse_unknown(mapping, ("name", "type", "path", "attrs", "options"), "the update")
    attrs = {
        **as_mapping(mapping.get("attrs") or {}, "attrs"),
        **as_mapping(mapping.get("options") or {}, "options"),
    }
    return FieldUpdate(_name(mapping.get("name")), mapping.get("type"), mapping.get("path"), attrs)


def _rename(given: Any) -> tuple[str, str]:
    mapping = as_mapping(given, "a rename")
    refuse_unknown(mapping, ("old_name", "new_name"), "the rename")
    return _name(mapping.get("old_name")), _name(mapping.get("new_name"))


def _options(given: Any) -> Mapping[str, Any]:
    options = as_mapping(given, "index")
    refuse_unknown(options, _OPTIONS, "index")
    if "name" in options:
        _name(options["name"], "an index")
    return options
