"""Aliases that a run has killed, because nobody knew of them, and that its rollback is told to give back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from redismigrate.errors import DriftError, UsageError
from redismigrate.execution.indexes.live import alias_target, existing_indexes
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog
from redismigrate.schema.strict import encode
from redismigrate.state.lock import signature
from redismigrate.state.store import StateWriter
from redismigrate.state.transaction import Transaction


def indexes_by_alias(
    server: Server,
    texts: Iterable[str],
    catalog: Catalog,
    records: Iterable[UndoRecord],
    at_work: RecordedRevision | None,
) -> dict[str, str]:
    """The served names of the indexes that aliases are to have, by alias.

    Args:
        server: The connection.
        texts: NAME, or NAME=INDEX, as the user says it.
        catalog: The indexes as recorded.
        records: What undoes the recorded revisions of the run, last first.
        at_work: The revision of the run that is not recorded; None for none.

    Raises:
        UsageError: It can't be told which index is meant, or the run leaves none of that name.
        DriftError: A name leads to something else, so it is not lost.
    """
    brought_in = {} if at_work is None else dict.fromkeys(at_work.brought_in)
    for record in records:
        catalog = record.met(catalog)
        brought_in |= dict.fromkeys(record.run.plan.recorded.brought_in)
    names = {**brought_in, **dict.fromkeys(catalog)}
    existing = existing_indexes(server)
    wanted: dict[str, str] = {}
    for text in texts:
        alias, _, served = text.partition("=")
        served = served or _only(alias, tuple(brought_in) or tuple(names))
        if served not in names:
            known = ", ".join(sorted(names)) or "none"
            raise UsageError(f"The rollback leaves no index {served}.", f"It leaves: {known}.")
        target = alias if alias in existing else alias_target(server, alias)
        if alias in names or target not in (None, served, alias_target(server, served)):
            raise DriftError(
                f"{alias} is or leads to index {target or alias}, so it is no alias that was lost.",
                "Leave it out, or take it from that index first.",
            )
        wanted[alias] = served
    return wanted


def set_aliases_again(server: Server, writer: StateWriter, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Let aliases lead to their indexes, and record those of recorded ones; what was done, in sentences.

    Args:
        server: The connection.
        writer: Writes the state.
        wanted: The served names, by alias.
    """
    told = []
    for alias, served in wanted.items():
        physical = served if served in existing_indexes(server) else alias_target(server, served)
        if physical is None:
            told.append(f"alias {alias} was not set: there is no index {served}")
            continue
        catalog = writer.state.catalog
        if served in catalog and alias not in catalog[served].aliases:
            names = tuple(sorted({*catalog[served].aliases, alias}))
            changed = catalog.with_definition(replace(catalog[served], aliases=names))
        else:
            changed = None
        writer.transact(
            Transaction(
                catalog=changed,
                event={"event": "repair", "index": served, "alias": alias, "by": signature()},
                commands=[("FT.ALIASUPDATE", encode(alias), encode(physical))],
            )
        )
        told.append(f"alias {alias} leads to index {physical} again")
    return tuple(told)


def _only(alias: str, names: Sequence[str]) -> str:
    if len(names) != 1:
        raise UsageError(
            f"It can't be told which index alias {alias} is to have.",
            f"Say --alias {alias}=INDEX with one of: {', '.join(sorted(names)) or 'none'}.",
        )
    return names[0]
