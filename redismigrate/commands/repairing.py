"""`repair`: brings the server back to what is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from redismigrate.commands.project import Project
from redismigrate.commands.session import locked_state, refuse_unfinished_run
from redismigrate.errors import DriftError, PlanBlocked, RunInProgress, StateError, UsageError
from redismigrate.execution.build_sleep import SETTING, CannotBeSet, by_hand, give_back
from redismigrate.execution.indexes.keys_elsewhere import look_at_other_databases
from redismigrate.execution.indexes.live import alias_target, look_at
from redismigrate.execution.indexes.search_commands import create, drop
from redismigrate.execution.indexes.survey import survey
from redismigrate.execution.run import Run
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.planning.drift import differences_to
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.other_databases import in_words, left_without, why_left_out
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.strict import encode
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature
from redismigrate.state.owners import owned_by_another
from redismigrate.state.store import StateWriter
from redismigrate.state.transaction import Command, Transaction


@dataclass(frozen=True)
class Repaired:
    """What `repair` did.

    Attributes:
        dropped: Indexes that hid an alias; their documents stay.
        aliases: Aliases that were set again.
        created: Indexes that were gone and are made again as recorded; their documents are being scanned.
        rebuilt: Indexes that somebody had changed and that are made again as recorded, likewise.
        warnings: What these will lack of other databases than 0, or what could not be told of that.
    """

    dropped: tuple[str, ...]
    aliases: tuple[str, ...]
    created: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON data; `warnings` only where there are some."""
        done = {"dropped": self.dropped, "aliases": self.aliases, "created": self.created}
        told = {"warnings": self.warnings} if self.warnings else {}
        if self.rebuilt:
            done |= {"rebuilt": self.rebuilt}
        return {name: list(value) for name, value in (done | told).items()}


def repair(
    project: Project,
    *,
    aliases: Iterable[str] = (),
    rebuild: Iterable[str] = (),
    lock_timeout: float | None = None,
    allow_evictable_state: bool | None = None,
    ignore_other_databases: bool = False,
) -> Repaired:
    """Drop indexes that hide an alias of ours, set aliases that are lost or moved, create lost indexes again.

    A client that thinks a name is free, because FT._LIST lacks aliases, may create an index over one: the
    index wins, and queries see its documents only. They stay when it is dropped. A TEMPORARY index that is
    gone has expired as it should. While a run is interrupted it gives back what that had made of the server's
    setting for builds, and nothing else.

    Args:
        project: The project.
        aliases: Further aliases that an index had and that nobody has recorded: "alias", or "alias=index"
            where the project has several. They are recorded from now on.
        rebuild: Served names of indexes that somebody has changed: each is dropped and created again as it is
            recorded, in one transaction. Documents stay, and searches miss them until they are indexed.
        lock_timeout: Seconds to wait for another process; None takes the setting.
        allow_evictable_state: Work although the server may evict the state; None takes the setting.
        ignore_other_databases: Create an index although databases other than 0 hold documents of it.

    Raises:
        RunInProgress: A run is interrupted.
        UsageError: There is no such index, or it can't be told which index an alias is to have.
        DriftError: An index is gone that an alias is to be given to.
        PlanBlocked: The hiding index is TEMPORARY, so dropping it would delete documents, or it belongs to
            another project. Or databases other than 0 hold documents that an index to be created would lack;
            nothing was changed then.
    """
    with (
        project.connect() as server,
        locked_state(project, server, lock_timeout, allow_evictable_state) as writer,
    ):
        _refuse_unfinished_run(server, writer)
        catalog = writer.state.catalog
        inventory = survey(server, project.settings.project, catalog)
        wanted = [_index_named(catalog, name) for name in rebuild]
        changed = [d for d in wanted if d.physical in inventory.names and _is_changed(d, inventory)]
        gone = _gone(catalog, inventory, wanted)
        found = _with_aliases(server, catalog, aliases, inventory)
        _refuse_temporary(changed, inventory)
        _refuse_foreign_targets(server, project, found, inventory)
        warnings = _look_elsewhere(server, (*gone, *changed), ignores=ignore_other_databases)
        if found != catalog:
            undo = _undo_with_aliases(writer, project.keys, found)
            event = {"event": "repair", "by": signature()}
            writer.transact(Transaction(catalog=found, undo=undo, event=event))
        for definition in (*gone, *changed):
            drops = [drop(definition)] if definition in changed else []
            _send(writer, definition, [*drops, *create(definition, scans_documents=True)])
        hidden, lost = _set_aliases(writer, found, inventory, {d.served for d in gone})
        created, rebuilt = (tuple(d.served for d in made) for made in (gone, changed))
        return Repaired(hidden, lost, created, warnings, rebuilt)


def _refuse_unfinished_run(server: Server, writer: StateWriter) -> None:
    """Raise where a run is half way; what it had made of the server's setting for builds is given back.

    Raises:
        RunInProgress: A run is interrupted.
    """
    try:
        refuse_unfinished_run(writer.state)
    except RunInProgress as error:
        told = _give_build_sleep_back(server, writer)
        if told is not None:
            raise RunInProgress(f"{error.message} {told}.", error.hint) from error
        raise


def _give_build_sleep_back(server: Server, writer: StateWriter) -> str | None:
    """Give back what an interrupted run had made of the setting; what to tell of that, if anything."""
    run = Run.from_content(writer.state.run or {}, writer.state.keys)
    sleep = run.build_sleep
    if sleep is None:
        return None
    told = None
    try:
        if give_back(server, sleep):
            told = f"{SETTING} is {sleep.before} again"
    except CannotBeSet as error:
        told = by_hand(sleep, error)
    # Not a sign of life of the run.
    content = run.model_copy(update={"build_sleep": None}).progress_content()
    writer.transact(Transaction(progress=content, event={"event": "repair", "by": signature()}))
    return told


def _undo_with_aliases(writer: StateWriter, keys: StateKeys, found: Catalog) -> dict[str, Mapping[str, Any]]:
    """What undoes the last run, revision by revision: further aliases are to move back with their indexes."""
    revisions = writer.state.last_revisions
    try:
        records = {
            revision: UndoRecord.from_content(writer.read_undo(revision), keys.undo(revision))
            for revision in revisions
        }
    except StateError:
        return {}  # a rollback, which needs all of them, is refused then
    for served, definition in found.items():
        for alias in set(definition.aliases).difference(writer.state.catalog[served].aliases):
            name = served
            for revision in reversed(revisions):
                records[revision], name = records[revision].with_alias(name, alias)
    return {revision: record.content() for revision, record in records.items()}


def _set_aliases(
    writer: StateWriter, catalog: Catalog, inventory: Inventory, made: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Let every recorded alias lead to its index; those that an index hid, and those that were elsewhere."""
    hidden: list[str] = []
    lost: list[str] = []
    for definition in catalog.values():
        if definition.physical not in inventory.names and definition.served not in made:
            continue
        for alias in definition.all_aliases:
            is_hidden = alias in inventory.names
            if not is_hidden and inventory.aliases.get(alias) == definition.physical:
                continue
            drops: list[Command] = [("FT.DROPINDEX", encode(alias))] if is_hidden else []
            set_it = ("FT.ALIASUPDATE", encode(alias), encode(definition.physical))
            _send(writer, definition, [*drops, set_it], alias=alias)
            if is_hidden:
                hidden.append(alias)
            elif definition.served not in made:
                lost.append(alias)
    return tuple(hidden), tuple(lost)


def _send(
    writer: StateWriter, definition: IndexDefinition, commands: Iterable[Command], **event: str
) -> None:
    told = {"event": "repair", "index": definition.served, "by": signature(), **event}
    writer.transact(Transaction(event=told, commands=tuple(commands)))


def _index_named(catalog: Catalog, name: str) -> IndexDefinition:
    if name not in catalog:
        known = ", ".join(sorted(catalog)) or "none"
        raise UsageError(f"No index {name} is recorded.", f"Recorded are: {known}.")
    return catalog[name]


def _is_changed(definition: IndexDefinition, inventory: Inventory) -> bool:
    live = inventory.live.get(definition.physical)
    return live is not None and bool(differences_to(live, definition))


def _with_aliases(server: Server, catalog: Catalog, aliases: Iterable[str], inventory: Inventory) -> Catalog:
    """The record with further aliases, each of an index that is there."""
    for text in aliases:
        alias, _, served = text.partition("=")
        if not served and len(catalog) != 1:
            raise UsageError(
                f"It can't be told which index alias {alias} is to have.",
                f"Say --alias {alias}=INDEX with one of: {', '.join(sorted(catalog)) or 'none'}.",
            )
        definition = _index_named(catalog, served or next(iter(catalog)))
        holder = catalog.alias_target(alias)
        if alias in catalog or holder not in (None, definition.served):
            what = "an index" if alias in catalog else f"an alias of {holder}"
            raise UsageError(f"{alias} is {what} already, as recorded.", "Write a revision that moves it.")
        target = alias if alias in inventory.names else alias_target(server, alias)
        if target not in (None, definition.physical):
            raise DriftError(
                f"{alias} leads to index {target}, so it is not lost.",
                "Move it in a revision, or take it from that index first.",
            )
        names = tuple(sorted({*definition.aliases, alias}))
        catalog = catalog.with_definition(replace(definition, aliases=names))
    return catalog


def _gone(
    catalog: Catalog, inventory: Inventory, wanted: Iterable[IndexDefinition]
) -> tuple[IndexDefinition, ...]:
    """The indexes that are to be created again; TEMPORARY ones only where they are named."""
    named = {definition.served for definition in wanted}
    return tuple(
        definition
        for definition in catalog.values()
        if definition.physical not in inventory.names
        and (definition.schema.temporary_seconds is None or definition.served in named)
    )


def _refuse_temporary(changed: Iterable[IndexDefinition], inventory: Inventory) -> None:
    for definition in changed:
        if inventory.live[definition.physical].is_temporary is not False:
            raise PlanBlocked(
                f"Nothing was repaired: index {definition.physical} is TEMPORARY, or without an answer of "
                "FT.DEBUG can't be told not to be: dropping it would delete its documents.",
                "Drop it yourself if they may go.",
            )


def _refuse_foreign_targets(server: Server, project: Project, catalog: Catalog, inventory: Inventory) -> None:
    """Refuse to drop an index that hides an alias, or to take an alias, where it is another project's."""
    ours = project.settings.project
    for definition in catalog.values():
        for alias in definition.all_aliases:
            if alias in inventory.names:
                _refuse_foreign(server, project, alias, inventory.owners.get(alias))
            target = inventory.aliases.get(alias)
            if target is None or target == definition.physical:
                continue
            for name in (target, target.partition("__")[0]):
                owner = inventory.owners.get(name, ours)
                if owner != ours:
                    raise PlanBlocked(*owned_by_another(name, owner))


def _look_elsewhere(server: Server, gone: Iterable[IndexDefinition], *, ignores: bool) -> tuple[str, ...]:
    """What indexes that are created again will lack, as warnings.

    Raises:
        PlanBlocked: They will lack something, and that is not to be ignored.
    """
    gone = tuple(gone)
    elsewhere = look_at_other_databases(server, [definition.schema for definition in gone])
    warnings, reasons = [], []
    for definition in gone:
        keys = in_words(elsewhere.keys_of([definition.schema]))
        if keys and ignores:
            warnings.append(left_without(definition.served, keys))
        elif keys:
            reasons.append(why_left_out(definition.served, keys))
    if reasons:
        raise PlanBlocked(f"Nothing was repaired: {'; '.join(reasons)}.", reasons=tuple(reasons))
    return (*warnings, *elsewhere.remarks)


def _refuse_foreign(server: Server, project: Project, name: str, owner: str | None) -> None:
    if owner not in (None, project.settings.project):
        raise PlanBlocked(*owned_by_another(name, owner))
    index = look_at(server, name)
    if index is not None and index.is_temporary is not False:
        what = "it is" if index.is_temporary else "without an answer of FT.DEBUG it can't be told not to be"
        raise PlanBlocked(
            f"Index {name} hides an alias, but {what} TEMPORARY: dropping it would delete its documents.",
            "Drop it yourself if they may go.",
        )
