"""Folds what waits, where that is wanted, with what scripts say of it: who needs it, and no way back."""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.errors import ScriptError
from redismigrate.history.graph import History
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.script_calls import record
from redismigrate.planning.folds import Folds, ScriptsAround, folds_of
from redismigrate.schema.definition import Catalog
from redismigrate.state.stored_documents import Head


def folds_wanted(
    history: History,
    recorded: tuple[RecordedRevision, ...],
    catalog: Catalog,
    head: Head,
    *,
    is_wanted: bool,
) -> Folds:
    """The revisions, folded as far as they can be.

    Args:
        history: The scripts.
        recorded: The revisions, in the order in which they are carried out.
        catalog: The indexes as the first of them finds them.
        head: What is recorded.
        is_wanted: Whether anybody asks for it; without that each stands for itself.
    """
    if not is_wanted:
        return Folds(recorded)
    return folds_of(recorded, catalog, _around(history, recorded, catalog, head))


def _around(
    history: History, recorded: Iterable[RecordedRevision], catalog: Catalog, head: Head
) -> ScriptsAround:
    """What ties revisions to others, by all scripts, and what the downgrades of some say."""
    depending: dict[str, tuple[str, ...]] = {}
    for revision in history:
        for needed in history.dependencies(revision):
            depending[needed] = (*depending.get(needed, ()), revision)
    no_way_back = {}
    for item in recorded:
        catalog = item.apply(catalog)
        reason = _why_no_way_back(history, item, catalog) if item.direction == "upgrade" else None
        if reason is not None:
            no_way_back[item.revision] = reason
    within = frozenset(old for record in head.revisions.values() for old in record.replaced)
    return ScriptsAround(depending, no_way_back, head.applied, within)


def _why_no_way_back(history: History, item: RecordedRevision, after: Catalog) -> str | None:
    """What a downgrade says of why there is none; one that can't be recorded here is nothing to a fold."""
    script = history[item.revision]
    try:
        operations = record(script.load().downgrade, after, str(script.path)).recorded
    except ScriptError:
        return None
    return next((operation.reason for operation in operations if operation.kind == "irreversible"), None)
