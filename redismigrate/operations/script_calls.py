"""Calls a function of a migration script with `op`, and tells its mistakes by script and line."""

from __future__ import annotations

from collections.abc import Callable

from redismigrate.errors import SchemaError, ScriptError, ServerError
from redismigrate.foreign_modules import ForeignCode, ForeignFailure
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.recorder import LiveIndexReader, Operations, UnmanagedNames
from redismigrate.schema.definition import Catalog
from redismigrate.schema.strict import did_you_mean


def record(
    function: Callable[[Operations], object],
    catalog: Catalog,
    script: str,
    live_index: LiveIndexReader | None = None,
    unmanaged: UnmanagedNames | None = None,
    *,
    is_upgrade: bool = False,
) -> Operations:
    """Call a script's `upgrade` or `downgrade` and return what it recorded.

    Args:
        function: The script's function.
        catalog: The indexes as the revision finds them.
        script: The script's path, for messages.
        live_index: Reads an index that no revision created.
        unmanaged: Tells which indexes on the server nobody manages, given those that are known.
        is_upgrade: The function is the script's `upgrade`.

    Raises:
        ScriptError: The function raised, or asked for what can't be; names script and line.
    """
    op = Operations(catalog, live_index, unmanaged, is_upgrade=is_upgrade)
    record_with(op, function, script)
    try:
        op._put_in_order()  # noqa: SLF001 - one module
    except SchemaError as error:
        raise ScriptError(f"{script}: {error.message}", error.hint) from None
    return op


def record_with(op: Operations, function: Callable[[Operations], object], script: str) -> None:
    """Call a script's function; what it raises is told with script and line."""

    def as_error(failure: ForeignFailure) -> ScriptError:
        line = failure.line_in(script)
        where = script if line is None else f"{script}:{line}"
        error = failure.error
        if isinstance(error, SchemaError):
            return ScriptError(f"{where}: {error.message}", error.hint)
        return ScriptError(f"{where}: {failure.reason}{_near_match(error)}", "Correct the script.")

    # What is ours else is none of the script: the server that can't be asked for an index, another script.
    with ForeignCode(as_error, passes=(ScriptError, ServerError)):
        function(op)


def _near_match(error: BaseException) -> str:
    """The attribute that was meant; Python itself tells it in tracebacks only."""
    if not isinstance(error, AttributeError) or not issubclass(type(error.obj), Operations | IndexChanges):
        return ""
    return did_you_mean(str(error.name), [name for name in dir(error.obj) if not name.startswith("_")])
