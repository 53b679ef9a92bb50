"""Operations as the Python source of a migration script, with comments on what the reader should know."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.operations.changes import IndexChange
from redismigrate.operations.expectations import expectation_words
from redismigrate.operations.field_changes import AlterField, Truncate
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex, DropIndex, Operation
from redismigrate.operations.storage_operation import ChangeStorage
from redismigrate.schema import Field, IndexSchema
from redismigrate.schema.definition import Catalog
from redismigrate.schema.redisvl import LAYOUT_VERSION, schema_to_redisvl

Remarks = Callable[[IndexChange | DropIndex, IndexSchema], Iterable[str]]
"""What to say above a change of an index, or its end, given the schema that it meets."""

WIDTH = 106  # of a body, before `def` indents it by four
_INDENT = "    "
# What RedisVL writes in lower case, and users do.
_LOWER = frozenset({"algorithm", "datatype", "distance_metric"})


class _Pair(tuple[str, str]):
    """Two texts that a script says as a tuple; any other sequence is a list there."""

    __slots__ = ()


def no_remarks(
    change: IndexChange | DropIndex,  # noqa: ARG001 - a `Remarks`
    schema: IndexSchema,  # noqa: ARG001
) -> tuple[str, ...]:
    """No remarks on a change: the default of who writes operations as Python."""
    return ()


def source_lines(
    operations: Iterable[Operation], catalog: Catalog, remarks: Remarks = no_remarks
) -> tuple[str, ...]:
    """The body of `upgrade(op)` or `downgrade(op)` that records these operations, not indented.

    Args:
        operations: In order; `op.run` can't be among them, for a record does not hold functions.
        catalog: The indexes as the first operation finds them.
        remarks: What to say about changes of an index and about dropping it.

    Raises:
        SchemaError: A schema can't be said in RedisVL's form, or an operation can't be written.
    """
    lines: list[str] = []
    for operation in operations:
        lines += _operation_lines(operation, catalog, remarks)
        catalog = operation.apply(catalog)
    return tuple(lines)


def comment_lines(text: str, indent: str = "") -> list[str]:
    """A comment of any length as lines of a script."""
    readable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return textwrap.wrap(
        readable,
        WIDTH - 6,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def literal(value: Any, column: int = 0) -> str:
    """A value of plain data as Python source with double quotes, broken into lines where it is too long.

    Args:
        value: None, a bool, a number, a string that may hold lone surrogates, or a list, tuple or dict of
            these.
        column: How far the line is indented where it begins; what stands before and behind is not counted.
    """
    flat = _flat(value)
    if not isinstance(value, list | tuple | dict) or column + len(flat) <= WIDTH - len(_INDENT):
        return flat
    inner, outer = " " * (column + len(_INDENT)), " " * column
    if isinstance(value, dict):
        items = [f"{_flat(key)}: {literal(item, len(inner))}" for key, item in value.items()]
        opening, closing = "{", "}"
    else:
        items = [literal(item, len(inner)) for item in value]
        opening, closing = ("(", ")") if isinstance(value, _Pair) else ("[", "]")
    return "\n".join([opening, *(f"{inner}{item}," for item in items), f"{outer}{closing}"])


def _operation_lines(operation: Operation, catalog: Catalog, remarks: Remarks) -> list[str]:
    match operation.kind:
        case "create_index":
            return _call("op.create_index", [_schema_layout(operation)], {})
        case "drop_index":
            options = {"delete_documents": True} if operation.delete_documents else {}
            said = remarks(operation, catalog.index(operation.name).schema)
            lines = [line for remark in said for line in comment_lines(remark)]
            return lines + _call("op.drop_index", [operation.name], options)
        case "create_alias":
            return _call("op.create_alias", [operation.alias, operation.index], {})
        case "drop_alias":
            return _call("op.drop_alias", [operation.alias], {})
        case "set_synonyms":
            return _call("op.set_synonyms", [operation.index, operation.group, list(operation.terms)], {})
        case "change_index":
            return _block(operation, catalog, remarks)
        case "irreversible":
            return _call("op.irreversible", [operation.reason], {})
        case "assume_exclusive":
            return _call("op.assume_exclusive", [operation.reason], {})
        case "expect" if operation.expectation.source == "script":
            return _call("op.expect", [operation.index], expectation_words(operation.expectation))
    raise SchemaError(f"A script can't be written that says: {operation}.", "Write it by hand.")


def _block(operation: ChangeIndex, catalog: Catalog, remarks: Remarks) -> list[str]:
    after = operation.after[0] if len(operation.after) == 1 else list(operation.after)
    order = f", after={literal(after)}" if operation.after else ""
    lines = [f"with op.index({literal(operation.name)}{order}) as index:"]
    schema = catalog.index(operation.name).schema
    for change in operation.changes:
        for remark in remarks(change, schema):
            lines += comment_lines(remark, _INDENT)
        lines += [_INDENT + line for line in _change_lines(change, schema)]
        schema = change.apply(schema)
    return lines


def _change_lines(change: IndexChange, schema: IndexSchema) -> list[str]:
    return _call(f"index.{change.kind}", *_said_of(change, schema))


def _said_of(change: IndexChange, schema: IndexSchema) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of the call that a change is, without and with names."""
    match change.kind:
        case "add_field":
            return [field_layout(change.field, schema)], {}
        case "drop_field" | "rename_to":
            return [change.name], {}
        case "alter_field":
            return [change.name], {**_of_field(change), **_called(change, schema)}
        case "truncate":
            path = {} if change.path is None else {"path": change.path, **_called(change, schema)}
            renormalize = {} if change.renormalize else {"renormalize": False}
            return [change.name], {"dims": change.dims, **path, **renormalize}
        case "set_options":
            return [], change.options
        case "rename_field":
            return [change.old, change.new], {} if change.path is None else {"path": change.path}
        case "change_prefix":
            return [change.old, change.new], {}
        case "drop_values" | "restore_values":
            return [change.path], {}
        case "change_storage":
            return [change.storage_type], _of_storage(change)


def _of_field(change: AlterField) -> dict[str, Any]:
    """What becomes another one about a field."""
    return {
        name: value.lower() if name in _LOWER and isinstance(value, str) else value
        for name, value in change.attributes.items()
    }


def _of_storage(change: ChangeStorage) -> dict[str, Any]:
    """What a change of storage says beyond the type."""
    pairs = [_Pair(pair) for pair in change.prefixes]
    given = {
        "prefix": pairs[0] if len(pairs) == 1 else pairs,
        "paths": change.paths,
        "separators": change.separators,
    }
    return {name: value for name, value in given.items() if value}


def _called(change: AlterField | Truncate, schema: IndexSchema) -> dict[str, str]:
    """The name of a field whose vectors get a new form elsewhere, where the call alone means another one."""
    if change.attribute is None:
        return {}
    meant = replace(change, attribute=None).as_asked(schema).attribute
    return {} if meant == change.attribute else {"attribute": change.attribute}


def _call(function: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> list[str]:
    flat = [_flat(argument) for argument in arguments]
    flat += [f"{name}={_flat(value)}" for name, value in keywords.items()]
    line = f"{function}({', '.join(flat)})"
    if len(line) <= WIDTH - len(_INDENT):
        return [line]
    broken = [literal(argument, len(_INDENT)) for argument in arguments]
    broken += [f"{name}={literal(value, len(_INDENT))}" for name, value in keywords.items()]
    if len(broken) == 1:  # as formatters do it: no comma behind the only argument
        return [f"{function}(", *f"{_INDENT}{broken[0]}".splitlines(), ")"]
    return [f"{function}(", *(line for item in broken for line in f"{_INDENT}{item},".splitlines()), ")"]


def _schema_layout(operation: CreateIndex) -> dict[str, Any]:
    layout = schema_to_redisvl(operation.schema)
    if layout.get("version") == LAYOUT_VERSION:
        del layout["version"]
    if layout["index"].get("key_separator") == ":":
        del layout["index"]["key_separator"]
    return layout


def field_layout(field: Field, schema: IndexSchema) -> dict[str, Any]:
    """A field in RedisVL's form, as an index of this schema has it."""
    alone = IndexSchema(name=schema.name, storage_type=schema.storage_type, fields=(field,))
    layout: dict[str, Any] = schema_to_redisvl(alone)["fields"][0]
    return layout


def _flat(value: Any) -> str:
    match value:
        case str():
            return _string(value)
        case dict():
            return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
        case _Pair():
            return "(" + ", ".join(map(_flat, value)) + ")"
        case list() | tuple():
            return "[" + ", ".join(map(_flat, value)) + "]"
    return repr(value)


def _string(text: str) -> str:
    """A string in double quotes; what can't be printed, lone surrogates among it, as escapes."""
    escaped = (
        f"\\{character}"
        if character in '"\\'
        else character
        if character.isprintable()
        else character.encode("unicode_escape").decode()
        for character in text
    )
    return f'"{"".join(escaped)}"'
