"""The changes of one index as a schema patch of RedisVL (0.28), which reads as the same changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import AddField, DropField, IndexChange, RenameField
from redismigrate.operations.field_changes import AlterField
from redismigrate.operations.net_changes import lead_to_the_same
from redismigrate.operations.redisvl_patch import SECTIONS, VERSION, changes_of_patch, schema_patch
from redismigrate.operations.source import field_layout
from redismigrate.schema import IndexSchema
from redismigrate.schema.vector_field import SVS_DEFAULTS

# What RedisVL writes in lower case.
_LOWER = frozenset({"algorithm", "datatype", "distance_metric"})


def patch_of_changes(changes: Sequence[IndexChange], before: IndexSchema) -> dict[str, Any]:
    """The patch that asks for some changes, as the data of its file.

    Args:
        changes: Of one index, as `net_changes` gives them.
        before: The index before them.

    Raises:
        SchemaError: A patch that says this would be read as something else: it knows no order, and one
            default for each attribute.
    """
    sections: dict[str, Any] = {name: {} if name == "index" else [] for name in SECTIONS}
    schema = before
    for change in changes:
        _add(sections, change, schema)
        schema = change.apply(schema)
    if schema.prefixes != before.prefixes:
        sections["index"]["prefix"] = list(schema.prefixes)
        if len(schema.prefixes) == 1:
            sections["index"]["prefix"] = schema.prefixes[0]
    if schema.name != before.name:
        sections["index"]["name"] = schema.name
    patch = {"version": VERSION, "changes": sections}
    _require_same(patch, changes, before)
    return patch


def _add(sections: dict[str, Any], change: IndexChange, schema: IndexSchema) -> None:
    match change:
        case AddField():
            sections["add_fields"].append(field_layout(change.field, schema))
        case DropField():
            sections["remove_fields"].append(change.name)
        case RenameField():
            sections["rename_fields"].append({"old_name": change.old, "new_name": change.new})
            if change.path is not None:
                _update(sections, change.new)["path"] = change.path
        case AlterField():
            attributes = dict(change.attributes)
            if "path" in attributes:
                path = change.apply(schema).field(change.name).path_in(schema.storage_type)
                _update(sections, change.name)["path"] = path
                del attributes["path"]
            if attributes:
                _update(sections, change.name)["attrs"] = _attrs(attributes, change.name, schema)
        case _ if change.kind == "set_options":
            options = {name: value for name, value in change.options.items() if name != "prefixes"}
            sections["index"] |= options


def _update(sections: dict[str, Any], name: str) -> dict[str, Any]:
    """The one update of a field, made where there is none yet."""
    updates: list[dict[str, Any]] = sections["update_fields"]
    known = next((update for update in updates if update["name"] == name), None)
    if known is None:
        known = {"name": name}
        updates.append(known)
    return known


def _attrs(attributes: dict[str, Any], name: str, schema: IndexSchema) -> dict[str, Any]:
    attrs = {
        key: value.lower() if key in _LOWER and isinstance(value, str) else value
        for key, value in attributes.items()
    }
    if attrs.get("algorithm") == "svs-vamana":
        # What a patch says of such an index that it does not name, RedisVL fills in with its own defaults.
        after = schema.field(name).altered(**attributes)
        attrs = {each: getattr(after, each) for each in SVS_DEFAULTS} | attrs
    return attrs


def _require_same(patch: dict[str, Any], changes: Sequence[IndexChange], before: IndexSchema) -> None:
    reason = "RedisVL applies renames first, then what goes, updates, and what comes"
    try:
        read = changes_of_patch(schema_patch(patch), before)
        if read == tuple(changes) or lead_to_the_same(read, changes, before):
            return
    except SchemaError as error:
        reason = error.message.rstrip(".")
    raise SchemaError(
        f"A schema patch can't say this of index {before.name!r}: {reason}.",
        "Leave the patch out, or do it in two revisions.",
    )
