"""Fields that go and come, or move, and may be one whose vectors get another form: said as a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import AddField, DropField, IndexChange
from redismigrate.operations.field_changes import AlterField, Truncate
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.source import source_lines
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog, IndexDefinition


def second_form_calls(changes: Sequence[IndexChange], before: IndexSchema) -> Mapping[str, str]:
    """What could be meant instead, where two schemas don't tell whether vectors are new or made of others.

    Args:
        changes: Of one block, as comparing schemas finds them.
        before: The index before them.

    Returns:
        The name of a vector field that goes or is read from elsewhere -> the call that makes its new form.
    """
    gone = [before.field(change.name) for change in changes if isinstance(change, DropField)]
    come = [change.field for change in changes if isinstance(change, AddField)]
    pairs = [
        (old, new)
        for old in gone
        for new in come
        if isinstance(old, VectorField) and isinstance(new, VectorField)
    ]
    after = before
    for change in changes:
        after = change.apply(after)
    moved = {
        change.name
        for change in changes
        if isinstance(change, AlterField) and change.new_path is None and "path" in change.attributes
    }
    known = {field.name: field for field in before.fields}
    pairs += [
        (old, new)
        for new in after.fields
        if new.name in moved
        and isinstance(old := known.get(new.name), VectorField)
        and isinstance(new, VectorField)
    ]
    calls: dict[str, list[str]] = {}
    for old, new in pairs:
        for call in _calls(old, new, before):
            calls.setdefault(old.name, []).append(call)
    return {name: found[0] for name, found in calls.items() if len(found) == 1}


def _calls(old: VectorField, new: VectorField, schema: IndexSchema) -> Iterator[str]:
    """The call that makes one field of another; none where the vectors can't be made of each other."""
    storage_type = schema.storage_type
    attributes: dict[str, Any] = {
        name: getattr(new, name)
        for name in type(old).model_fields
        if name not in {"name", "path", "dims"} and getattr(old, name) != getattr(new, name)
    }
    path = new.path_in(storage_type)
    change: AlterField | Truncate
    if new.dims == old.dims:
        change = AlterField(old.name, {**attributes, "path": path}, attribute=new.name)
    elif new.dims < old.dims and not attributes:
        change = Truncate(old.name, new.dims, path=path, attribute=new.name)
    else:
        return
    alone = schema.with_fields((old,))
    try:
        made = change.as_asked(alone).apply(alone)
        if diff(made, alone.with_fields((new,))):
            return
        catalog = Catalog().with_definition(IndexDefinition.plain(alone))
        lines = source_lines((ChangeIndex(schema.name, (change.as_asked(alone),)),), catalog)
    except SchemaError:
        return
    yield " ".join(line.strip() for line in lines[1:])
