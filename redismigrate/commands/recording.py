"""Records what scripts do, in either direction, and finds the functions they gave to `op.run`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from redismigrate.commands.project import Project
from redismigrate.commands.squashed_history import squash_of
from redismigrate.errors import RevisionNotFound, ScriptError
from redismigrate.execution.steps.runner import FunctionSource
from redismigrate.foreign_modules import function_name
from redismigrate.history.graph import History
from redismigrate.history.script import UNDOES_REPLACED, Script, ScriptFunctions
from redismigrate.operations.functions import Functions, collect_functions
from redismigrate.operations.operation_types import Operation, RunFunction
from redismigrate.operations.recorded import Direction, RecordedRevision, names_after, names_mentioned
from redismigrate.operations.recorder import LiveIndexReader, Operations, UnmanagedNames
from redismigrate.operations.script_calls import record
from redismigrate.operations.squash import Squash
from redismigrate.planning.plan import Step
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.stored_documents import AppliedRevision, Head


def record_upgrades(
    history: History,
    revisions: Iterable[str],
    catalog: Catalog,
    live_index: LiveIndexReader | None,
    unmanaged: UnmanagedNames | None = None,
    *,
    applied: Collection[str] = (),
) -> tuple[RecordedRevision, ...]:
    """What applying revisions asks for, each against the indexes that the one before leaves.

    Args:
        history: The scripts.
        revisions: In the order in which they are applied.
        catalog: The indexes as the first finds them.
        live_index: Reads an index that no revision created; without a server there is none.
        unmanaged: Tells which indexes on the server nobody manages, given those that are known.
        applied: What is recorded: of a squashed revision that is applied one by one, that is left out.

    Raises:
        ScriptError: A script raised or asked for what can't be.
    """
    recorded = []
    for revision in revisions:
        script = history[revision]
        if script.applies_one_by_one:
            left = [old for old in script.replaces if old not in applied]
            for item in _done_one_by_one(history, script, left, catalog, live_index):
                catalog = item.apply(catalog)
                recorded.append(item)
            continue
        upgrade = script.load().upgrade
        op = record(upgrade, catalog, str(script.path), live_index, unmanaged, is_upgrade=True)
        recorded.append(_recorded(history, revision, "upgrade", op.recorded, adopted=dict(op.adopted)))
        catalog = op.catalog
    return tuple(recorded)


def _done_one_by_one(
    history: History,
    script: Script,
    revisions: Iterable[str],
    catalog: Catalog,
    live_index: LiveIndexReader | None,
) -> Iterator[RecordedRevision]:
    """What applying a squashed revision asks for that is applied as those which it replaces.

    Raises:
        ScriptError: The script raised or asked for what can't be.
    """
    migration = script.load()
    for revision in revisions:
        op = record(migration.do_replaced[revision], catalog, str(script.path), live_index)
        at = script.replaces.index(revision)
        yield RecordedRevision(
            revision=revision,
            direction="upgrade",
            message=script.message,
            parents=script.replaces[at - 1 : at] if at else script.down_revisions,
            depends_on=() if at else history.dependencies(script.revision),
            # An older release has its own script of it, which does the same.
            sha256="",
            operations=op.recorded,
            adopted=dict(op.adopted),
            squashes=_squashes_below(history, script.revision),
        )
        catalog = op.catalog


def record_downgrades(
    history: History,
    revisions: Iterable[str],
    head: Head,
    catalog: Catalog,
    live_index: LiveIndexReader,
) -> tuple[RecordedRevision, ...]:
    """What undoing revisions asks for, each against the indexes that the one before leaves.

    Args:
        history: The scripts.
        revisions: In the order in which they are undone.
        head: What is recorded of them.
        catalog: The indexes as the first finds them.
        live_index: Reads an index that no revision created.

    Raises:
        ScriptError: A script raised or asked for what can't be.
    """
    recorded = []
    for revision in revisions:
        script = history[revision]
        migration = script.load()
        if head.revisions[revision].replaced:
            for item in _one_by_one(script, migration, head.revisions[revision], catalog, live_index):
                catalog = item.apply(catalog)
                recorded.append(item)
            continue
        op = record(migration.downgrade, catalog, str(script.path), live_index)
        functions = _functions_of_applied(script, migration, op.catalog, catalog)
        undone = [
            RunFunction(function_name(up), position, has_down=down is not None)
            for position, (up, down) in enumerate(functions)
        ]
        found = _found(script, migration, op, live_index)
        unmanaged = (*head.revisions[revision].adopted, *names_after(op.recorded, found).values())
        given_up = {name: op.catalog[name] for name in unmanaged if name in op.catalog}
        item = _recorded(
            history,
            revision,
            "downgrade",
            op.recorded,
            adopted=given_up,
            found=found,
            undone_functions=tuple(reversed(undone)),
        )
        catalog = item.apply(catalog)
        recorded.append(item)
    return tuple(recorded)


def _one_by_one(
    script: Script,
    migration: ScriptFunctions,
    applied: AppliedRevision,
    catalog: Catalog,
    live_index: LiveIndexReader,
) -> Iterator[RecordedRevision]:
    """What undoes the revisions that a squashed one replaces, where each was applied by its own script.

    So each is restored from the backup that it has made itself, the last one first.

    Raises:
        ScriptError: The squashed script does not say how one of them is undone, or that raised.
    """
    for revision, known in reversed(list(applied.replaced.items())):
        if revision not in migration.undo_replaced:
            raise ScriptError(
                f"{script.path} has no function `{UNDOES_REPLACED}{revision}`, which undoes revision "
                f"{revision}: this Redis has applied that by its own script.",
                "Copy `downgrade` of that script and call it so, or run the downgrade where its script is.",
            )
        op = record(migration.undo_replaced[revision], catalog, str(script.path), live_index)
        item = RecordedRevision(
            revision=revision,
            direction="downgrade",
            message=known.message,
            parents=known.parents,
            depends_on=known.depends_on,
            sha256=script.sha256,
            code_sha256=script.code_sha256,
            operations=op.recorded,
            adopted={name: op.catalog[name] for name in known.adopted if name in op.catalog},
            found=dict(op.adopted),
        )
        catalog = item.apply(catalog)
        yield item


def _found(
    script: Script, migration: ScriptFunctions, op: Operations, live_index: LiveIndexReader
) -> dict[str, IndexDefinition]:
    """The indexes that a downgrade changes although nobody manages them any more.

    Raises:
        SchemaError: Its upgrade has not changed it either.
    """
    found = dict(op.adopted)
    if not found:
        return found
    try:
        done = record(migration.upgrade, op.catalog, str(script.path), live_index).recorded
    except ScriptError:
        done = ()
    touched = names_mentioned(done)
    for name in found.keys() - {*touched, *names_after(done, touched).values()}:
        op.catalog.without(*found).index(name)
    return found


def _recorded(
    history: History, revision: str, direction: Direction, operations: tuple[Operation, ...], **more: Any
) -> RecordedRevision:
    script = history[revision]
    return RecordedRevision(
        revision=revision,
        direction=direction,
        message=script.message,
        parents=script.down_revisions,
        depends_on=history.dependencies(revision),
        sha256=script.sha256,
        code_sha256=script.code_sha256,
        operations=operations,
        replaces=script.replaces,
        squashes=_squashes_below(history, revision) if direction == "upgrade" else (),
        **more,
    )


def _squashes_below(history: History, revision: str) -> tuple[Squash, ...]:
    """The squashed revisions that a revision stands on."""
    if not history.replaced:
        return ()
    below = (history[id_] for id_ in history.ordered(history.ancestors([revision]) - {revision}))
    return tuple(squash_of(script) for script in below if script.replaces)


def _functions_of_applied(
    script: Script, migration: ScriptFunctions, before: Catalog, after: Catalog
) -> Functions:
    """The functions that `upgrade` of an applied revision gives to `op.run`.

    It is called on the indexes that its own downgrade leaves, which are those it once met; where a downgrade
    does not lead back to them, on those of now.
    """
    try:
        return collect_functions(migration.upgrade, before, str(script.path))
    except ScriptError:
        return collect_functions(migration.upgrade, after, str(script.path))


def function_source(project: Project, catalog: Callable[[], Catalog]) -> FunctionSource:
    """Finds the functions of `op.run` in the project's scripts, again after a crash as well.

    Args:
        project: The project.
        catalog: Gives the indexes as they are recorded; a script may call `op.run` for each of them.
    """

    def find(recorded: RecordedRevision, step: Step) -> Callable[[Any], object] | None:
        script = by_id(project).get(recorded.revision)
        if script is None:
            raise RevisionNotFound(
                f"Revision {recorded.revision} runs a function of its script, which is not in "
                f"{project.settings.version_locations[0]}.",
                "Run this where the script is.",
            )
        migration, call = script.load(), step.call
        now = catalog()
        if recorded.direction == "upgrade":
            functions = collect_functions(migration.upgrade, recorded.start(now), str(script.path))
        elif call is not None and call.function_in == "upgrade":
            before = recorded.apply_operations(now)
            functions = _functions_of_applied(script, migration, before, now)
        else:
            functions = collect_functions(migration.downgrade, now, str(script.path))
        if call is None or call.function >= len(functions):
            raise ScriptError(
                f"{script.path} no longer gives op.run the function of the step “{step.description}”; "
                "restore the script as it was when the run began.",
            )
        up, down = functions[call.function]
        return up if call.function_direction == "up" else down

    return find


def by_id(project: Project) -> Mapping[str, Script]:
    """The project's scripts by revision."""
    return {script.revision: script for script in project.scripts}
