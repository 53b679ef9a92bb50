"""What a generated script holds, made of operations and their reverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from redismigrate.commands.authoring.rename_questions import NO_RENAMES, Renames
from redismigrate.operations.client_keys import remarks_on_keys
from redismigrate.operations.operation_types import ChangeIndex, DropIndex, Operation
from redismigrate.operations.remarks import remarks_on_change, remarks_on_upgrade
from redismigrate.operations.reversing import reversed_operations
from redismigrate.operations.second_form_candidates import second_form_calls
from redismigrate.operations.source import comment_lines, source_lines
from redismigrate.schema.definition import Catalog


@dataclass(frozen=True)
class ScriptContent:
    """What a generated script does.

    Attributes:
        upgrade_lines: The body of `upgrade`, not indented; empty when there is nothing to do.
        downgrade_lines: The body of `downgrade`, likewise.
        operations: Of the upgrade, each in words.
        notes: What the reader should look at, each one sentence.
        changed: The served names of the indexes that the upgrade changes or drops.
        gone: Those among them that no index has after it.
        unchanged: The indexes that were asked for and are already as they are wanted.
        skipped: Index that was asked for -> why it can't be changed like that, a sentence without its end.
    """

    upgrade_lines: tuple[str, ...] = ()
    downgrade_lines: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)


def content_of(
    operations: tuple[Operation, ...],
    catalog: Catalog,
    renames: Renames = NO_RENAMES,
    notes: tuple[str, ...] = (),
    **texts: str,
) -> ScriptContent:
    """A script with some operations and their reverse.

    Args:
        operations: Of the upgrade; without any the content is empty.
        catalog: The indexes as they find them.
        renames: What is known about renames.
        notes: What the reader should look at besides.
        texts: How the reader says that a field is renamed, see `remarks_on_upgrade`.

    Raises:
        SchemaError: One of them can't be applied, or said in RedisVL's form.
    """
    if not operations:
        return ScriptContent()
    forms = _second_forms(operations, catalog)
    remarks = remarks_on_upgrade(renames.open_fields, renames.open_indexes, second_forms=forms, **texts)
    after = catalog
    told, of_keys = list(notes), []
    for operation in operations:
        if isinstance(operation, ChangeIndex):
            schema = after.index(operation.name).schema
            of_keys += [f"{operation.name}: {remark}" for remark in remarks_on_keys(operation, schema)]
            for change in operation.changes:
                told += [f"{operation.name}: {change}. {remark}" for remark in remarks(change, schema)]
                schema = change.apply(schema)
        elif isinstance(operation, DropIndex):
            said = remarks(operation, after.index(operation.name).schema)
            told += [f"{operation}. {remark}" for remark in said]
        after = operation.apply(after)
    head = [line for note in (*notes, *of_keys) for line in comment_lines(note)]
    back = reversed_operations(operations, catalog)
    changed = tuple(item.name for item in operations if isinstance(item, ChangeIndex | DropIndex))
    return ScriptContent(
        upgrade_lines=(*head, *source_lines(operations, catalog, remarks)),
        downgrade_lines=source_lines(back, after, remarks_on_change),
        operations=tuple(map(str, operations)),
        notes=(*told, *of_keys),
        changed=changed,
        gone=tuple(name for name in changed if name not in after),
    )


def _second_forms(operations: tuple[Operation, ...], catalog: Catalog) -> dict[tuple[str, str], str]:
    """Index and vector field -> the call that would make of it what comes instead."""
    found: dict[tuple[str, str], str] = {}
    for operation in operations:
        if isinstance(operation, ChangeIndex):
            schema = catalog.index(operation.name).schema
            calls = second_form_calls(operation.changes, schema)
            found |= {(schema.name, name): call for name, call in calls.items()}
        catalog = operation.apply(catalog)
    return found
