"""Records what scripts do, in either direction, and finds the functions they gave to `op.run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from redismigrate.commands.project import Project
from redismigrate.errors import RevisionNotFound
from redismigrate.execution.steps import FunctionSource
from redismigrate.history.script import Script
from redismigrate.operations.model import RunFunction
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.recorder import LiveIndexReader, collect_functions, record
from redismigrate.planning.plan import Step
from redismigrate.schema.definition import Catalog, IndexDefinition


def record_upgrade(script: Script, catalog: Catalog, live_index: LiveIndexReader | None) -> RecordedRevision:
    """What applying a revision asks for.

    Args:
        script: The revision's script.
        catalog: The indexes as it finds them.
        live_index: Reads an index that no revision created; without a server there is none.
    """
    op = record(script.load().upgrade, catalog, str(script.path), live_index)
    return RecordedRevision(
        revision=script.revision,
        direction="upgrade",
        message=script.message,
        parents=script.down_revisions,
        depends_on=script.depends_on,
        sha256=script.sha256,
        operations=op.recorded,
        adopted=dict(op.adopted),
    )


def record_downgrade(
    script: Script, catalog: Catalog, adopted: tuple[str, ...], live_index: LiveIndexReader | None
) -> RecordedRevision:
    """What undoing a revision asks for.

    Args:
        script: The revision's script.
        catalog: The indexes as they are recorded while it is applied.
        adopted: The indexes that it brought under management and that are given up again.
        live_index: Reads an index that no revision created.
    """
    migration = script.load()
    op = record(migration.downgrade, catalog, str(script.path), live_index)
    functions = collect_functions(migration.upgrade, catalog, str(script.path))
    undone = [
        RunFunction(getattr(up, "__name__", "function"), position, has_down=down is not None)
        for position, (up, down) in enumerate(functions)
    ]
    given_up: dict[str, IndexDefinition] = {
        name: definition for name in adopted if (definition := catalog.get(name)) is not None
    }
    return RecordedRevision(
        revision=script.revision,
        direction="downgrade",
        message=script.message,
        parents=script.down_revisions,
        depends_on=script.depends_on,
        sha256=script.sha256,
        operations=op.recorded,
        adopted=given_up,
        undone_functions=tuple(reversed(undone)),
    )


def record_chain(
    scripts: tuple[Script, ...],
    catalog: Catalog,
    record_one: Callable[[Script, Catalog], RecordedRevision],
) -> tuple[RecordedRevision, ...]:
    """Record scripts in order, each against the indexes that the one before leaves."""
    recorded = []
    for script in scripts:
        item = record_one(script, catalog)
        catalog = item.apply(catalog)
        recorded.append(item)
    return tuple(recorded)


def function_source(project: Project) -> FunctionSource:
    """Finds the functions of `op.run` in the project's scripts, again after a crash as well."""

    def find(recorded: RecordedRevision, step: Step) -> Callable[[Any], object] | None:
        script = by_id(project).get(recorded.revision)
        if script is None:
            raise RevisionNotFound(
                f"Revision {recorded.revision} runs a function of its script, which is not in "
                f"{project.settings.version_locations[0]}.",
                "Run this where the script is.",
            )
        migration = script.load()
        function = migration.upgrade if step.function_in == "upgrade" else migration.downgrade
        functions = collect_functions(function, Catalog(), str(script.path))
        if step.function is None or step.function >= len(functions):
            return None
        up, down = functions[step.function]
        return up if step.function_direction == "up" else down

    return find


def by_id(project: Project) -> Mapping[str, Script]:
    """The project's scripts by revision."""
    return {script.revision: script for script in project.scripts}
