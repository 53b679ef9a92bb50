"""`plan`, `upgrade`, `downgrade` and `rollback`.

An upgrade with nothing to do is the common case of a deploy: it is told here, without the lock and without
importing what planning needs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redismigrate.commands.migration_options import QUERIES_UNASKED, MigrationOptions, MigrationResult
from redismigrate.commands.project import Project
from redismigrate.commands.readiness import require_indexes
from redismigrate.commands.redis_ahead import telling, told_ahead
from redismigrate.commands.reporting import Reporting
from redismigrate.commands.squashed_history import seen
from redismigrate.history.folder import heads_of
from redismigrate.state.store import State, read_state

if TYPE_CHECKING:
    from redismigrate.commands.migration import Migration
    from redismigrate.commands.progress_events import OnProgress
    from redismigrate.execution.progress import Watcher
    from redismigrate.operations.recorded import Direction
    from redismigrate.planning.plan import Plan
    from redismigrate.redis_server.connection import Server


def plan(
    project: Project,
    target: str = "head",
    direction: Direction = "upgrade",
    options: MigrationOptions | None = None,
    *,
    compares: bool = False,
    watcher: Watcher | None = None,
    on_progress: OnProgress | None = None,
) -> Plan:
    """What an upgrade or downgrade would do and cost. Reads the server, writes nothing.

    Args:
        project: The project.
        target: A revision identifier.
        direction: Upgrade or downgrade.
        options: See `MigrationOptions`.
        compares: Tell for every changed index what each strategy would cost, and why one is impossible.
        watcher: Is told how far the backups are read that a downgrade restores from.
        on_progress: As of `upgrade`; gets the same as `Progress`.
    """
    from redismigrate.commands.migration import Migration
    from redismigrate.commands.progress_events import watched

    project = project.showing(target)
    if direction == "downgrade" and options is not None:
        options.refuse_indexes_apart("a downgrade")
    with project.connect() as server:
        migration = Migration(project, server, options or MigrationOptions(), watched(watcher, on_progress))
        return migration.plan(direction, target, compares=compares)


def upgrade(
    project: Project,
    target: str = "head",
    options: MigrationOptions | None = None,
    watcher: Watcher | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> MigrationResult:
    """Apply what is missing up to a revision. An interrupted upgrade is taken up first.

    Args:
        project: The project.
        target: A revision identifier, or "heads".
        options: See `MigrationOptions`.
        watcher: Is told what happens meanwhile.
        on_progress: Called with a `Progress` at every event, at most some hundred times a second, in the
            thread in which the run is at work. What it raises interrupts the run, which can be resumed.

    Raises:
        CallbackFailed: `on_progress` raised before the run had begun.
        DriftError: Nothing is to be applied, but a recorded index is gone or replaced.
        RedisMigrateError: See `redismigrate.errors` for all kinds. After `RunInterrupted` the same call
            resumes; after every other one nothing is left half done.
    """
    started = time.monotonic()
    options, project = options or MigrationOptions(), project.showing(target)
    reporting = Reporting(project, "upgrade", target, options)

    def act() -> MigrationResult:
        with project.connect() as server:
            state = read_state(server, project.keys)
            if not _is_at_head(project, state, target):
                told = reporting.watcher(server, watcher, on_progress)
                return _migration(project, server, options, told).migrate("upgrade", target)
            told_notes = told_ahead(project, state.head)
            with telling(told_notes):
                notes = require_indexes(server, state)
            seconds = {"total": time.monotonic() - started}
            warnings = (() if told_notes is None else (told_notes,)) + notes
            warnings += (QUERIES_UNASKED,) if options.query_checks else ()
            return MigrationResult("nothing", seconds=seconds, warnings=warnings)

    return reporting.of(act)


def downgrade(
    project: Project,
    target: str,
    options: MigrationOptions | None = None,
    watcher: Watcher | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> MigrationResult:
    """Undo what was applied after a revision. An interrupted downgrade is taken up first."""
    options, project = options or MigrationOptions(), project.showing(target)
    options.refuse_indexes_apart("a downgrade")
    reporting = Reporting(project, "downgrade", target, options)

    def act() -> MigrationResult:
        with project.connect() as server:
            told = reporting.watcher(server, watcher, on_progress)
            return _migration(project, server, options, told).migrate("downgrade", target)

    return reporting.of(act)


def rollback(
    project: Project,
    options: MigrationOptions | None = None,
    watcher: Watcher | None = None,
    run: str | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> MigrationResult:
    """Undo all of a run: what is unfinished, then its revisions, last first.

    Args:
        project: The project.
        options: Only `backup_dir`, `allow_lossy`, `max_removals`, `aliases`, `lock_timeout`,
            `allow_evictable_state` and `report_out` count. With `allow_lossy`, where a backup is damaged or
            gone, what is left of it is restored and the rest is converted back.
        watcher: Is told what happens meanwhile.
        run: The id of the last finished run, to undo that. Without it an interrupted run is undone; where
            none is, nothing is done, and a warning names the last finished one.
        on_progress: As of `upgrade`.

    Raises:
        UsageError: The run is not the last one.
        RunInProgress: Another run is interrupted.
        DriftError: Somebody has changed an index of the finished run since. Nothing was changed.
        PlanBlocked: An index that the run had given up belongs to another project by now. Nothing was
            changed.
        StateError: What undoes the run is gone or damaged. Nothing was changed.
        BackupMissing, BackupDamaged: So is a backup, and nothing lossy is allowed. Nothing was changed.
        RunInterrupted: It stopped half way. The same call, or one without `run`, goes on.
    """
    options = options or MigrationOptions()
    reporting = Reporting(project, "rollback", None, options)

    def act() -> MigrationResult:
        with project.connect() as server:
            told = reporting.watcher(server, watcher, on_progress)
            return _migration(project, server, options, told).roll_back(run)

    return reporting.of(act)


def _migration(project: Project, server: Server, options: MigrationOptions, watcher: Watcher) -> Migration:
    """What carries a migration out; imported only where something is to be done."""
    from redismigrate.commands.migration import Migration

    return Migration(project, server, options, watcher)


def _is_at_head(project: Project, state: State, target: str) -> bool:
    if state.run is not None or target not in {"head", "heads"}:
        return False
    if state.documents["head"].exists != state.documents["indexes"].exists:
        return False  # half of the record is lost
    if target == "head" and len(heads_of(project.scripts)) != 1:
        return False
    return {script.revision for script in project.scripts} <= seen(project, state.head).applied
