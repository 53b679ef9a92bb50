"""One migration of one project: record, survey, plan, and carry out under the lock."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

from redismigrate.commands.alias_candidates import candidates
from redismigrate.commands.aliases_again import indexes_by_alias, set_aliases_again
from redismigrate.commands.authoring.unmanaged import unmanaged_indexes
from redismigrate.commands.backups.readable_backups import ReadableBackups
from redismigrate.commands.document_totals import document_counts_of
from redismigrate.commands.folding_scripts import folds_wanted
from redismigrate.commands.migration_options import QUERIES_UNASKED, MigrationOptions, MigrationResult
from redismigrate.commands.project import Project
from redismigrate.commands.readiness import require_indexes
from redismigrate.commands.recording import function_source, record_downgrades, record_upgrades
from redismigrate.commands.redis_ahead import telling, told_ahead
from redismigrate.commands.reviewed_plans import require_not_blocked, require_same_plan
from redismigrate.commands.rolling_back import (
    finished_run,
    how_to_undo,
    require_interrupted,
    require_unchanged,
)
from redismigrate.commands.session import (
    expanded_run,
    locked_state,
    refuse_unfinished_run,
    require_record,
)
from redismigrate.commands.squashed_history import refuse_in_between, seen, seen_to_undo
from redismigrate.commands.taking_up import (
    covers,
    limits_of,
    stored_arguments,
    stored_options,
    what_still_holds,
)
from redismigrate.errors import RunInProgress
from redismigrate.execution.executor import Executor
from redismigrate.execution.holding import hold
from redismigrate.execution.indexes.expecting import with_folds_asked
from redismigrate.execution.indexes.survey import backups_of, live_index_reader, survey
from redismigrate.execution.leaving_out import Replan
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run, begin
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.history.identifiers import revisions_to_apply, revisions_to_undo
from redismigrate.operations.query_checks import with_query_checks
from redismigrate.operations.recorded import Direction, RecordedRevision, touched_indexes
from redismigrate.planning.chain import dropped_indexes, plan_chain
from redismigrate.planning.drift import require_no_drift
from redismigrate.planning.folding import fold
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Plan, RevisionPlan
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.redis_server.connection import Server
from redismigrate.state.control import begun_with, write_control
from redismigrate.state.lock import last_token_number
from redismigrate.state.store import State, StateWriter, read_state

Recorded = tuple[RecordedRevision, ...]


class Migration:
    """Plans and carries out what the scripts ask for on one server.

    Args:
        project: The project.
        server: The connection.
        options: The user's wishes.
        watcher: Is told what happens.
    """

    def __init__(
        self, project: Project, server: Server, options: MigrationOptions, watcher: Watcher | None = None
    ) -> None:
        self._project = project
        self._server = server
        self._options = options
        self._watcher = watcher or Watcher()
        self._holds_lock = False
        self._readable_backups = ReadableBackups(self._watcher)

    def plan(self, direction: Direction, target: str, *, compares: bool = False) -> Plan:
        """The plan, made without changing anything; if asked for, with all that could be done instead."""
        self._server.capabilities.require_search()
        state = read_state(self._server, self._project.keys)
        require_record(self._server, self._project, state)
        refuse_unfinished_run(state)
        plan = self._make_plan(state, direction, target, compares=compares)
        if self._options.plan_file is not None:
            require_same_plan(plan, self._options.plan_file)
        return plan

    def migrate(self, direction: Direction, target: str) -> MigrationResult:
        """Finish an interrupted run of the same direction, then do what the target still needs."""
        started = time.monotonic()
        with self._locked() as writer:
            self._holds_lock = True
            require_record(self._server, self._project, writer.state)
            waiting = expanded_run(writer.state)
            if waiting is not None and self._options.phase == "expand":
                return MigrationResult("nothing", waiting.id, expanded=waiting.plan.revision)
            if waiting is not None and self._options.phase == "all":
                wanted = self._wanted(writer.state, direction, target)
                if not wanted:
                    # An old release that starts again during the roll-out of the next one.
                    return MigrationResult("nothing", waiting.id, expanded=waiting.plan.revision)
                if waiting.plan.revision not in wanted:
                    refuse_unfinished_run(writer.state)
            resumed = self._resume(writer, direction)
            executors = [] if resumed is None else [resumed]
            plan_started = time.monotonic()
            revisions: tuple[RevisionPlan, ...] = ()
            told: tuple[str, ...] = ()
            is_all = self._options.phase == "contract" or (resumed is not None and resumed.run.is_expanded)
            if not is_all and (resumed is None or not covers(resumed.run, target)):
                plan = self._plan_anew(writer.state, direction, target)
                revisions, told = plan.revisions, plan.warnings
            if self._options.query_checks and not revisions:
                told = (*told, QUERIES_UNASKED)
            seconds: dict[str, float] = {"plan": time.monotonic() - plan_started}
            if revisions:
                executor = self._begin(writer, plan)
                executors.append(executor)
                executor.finish(self._replanner(writer, self._options), self._options.phase)
            for executor in executors:
                for phase, value in executor.seconds.items():
                    seconds[phase] = seconds.get(phase, 0.0) + value
            return MigrationResult(
                "done" if executors else "nothing",
                executors[-1].run.id if executors else None,
                tuple(revision for executor in executors for revision in executor.run.done),
                seconds | {"total": time.monotonic() - started},
                (
                    *told,
                    *(warning for item in revisions for warning in item.warnings),
                    *(warning for executor in executors for warning in executor.warnings),
                ),
                *document_counts_of(executors),
                expanded=executors[-1].run.expanded_revision if executors else None,
            )

    def _plan_anew(self, state: State, direction: Direction, target: str) -> Plan:
        """The plan of a further run; where there is nothing to do, all has to be there."""
        plan = self._make_plan(state, direction, target)
        if not plan.revisions and direction == "upgrade":
            with telling(told_ahead(self._project, state.head)):
                require_indexes(self._server, state)
        return plan

    def _begin(self, writer: StateWriter, plan: Plan) -> Executor:
        """A new run of a plan; what concerns the plan as a whole is told first."""
        if self._options.plan_file is not None:
            require_same_plan(plan, self._options.plan_file)
        with telling(told_ahead(self._project, writer.state.head)):
            require_not_blocked(plan, self._readable_backups.damaged)
        for warning in plan.warnings:
            self._watcher.warned(warning)
        self._watcher.at_safe_point()
        return self._executor(writer, self._new_run(plan))

    def _wanted(self, state: State, direction: Direction, target: str) -> tuple[str, ...]:
        """The revisions that a target still needs, in order."""
        project, history = self._project, self._project.history
        if direction == "upgrade":
            ids = revisions_to_apply(history, target, seen(project, state.head).applied)
            refuse_in_between(project, state.head, ids)
            return ids
        head = seen_to_undo(project, state.head)
        return revisions_to_undo(history, target, head.applied, head.parents)

    def roll_back(self, run: str | None = None) -> MigrationResult:
        """Undo all of the interrupted run, or of the last finished one where its id is given."""
        started = time.monotonic()
        with self._locked() as writer:
            if writer.state.run is not None:
                require_interrupted(writer.state, run)
                interrupted = Run.from_content(writer.state.run, self._project.keys).taken_up()
                aliases = self._aliases_to_set_again(writer, interrupted)
                executor = self._executor(writer, interrupted, rolls_back=True)
            elif run is not None:
                finished = self._finished(writer, run)
                aliases = self._aliases_to_set_again(writer, finished)
                executor = self._executor(writer, finished, rolls_back=True)
            else:
                last = writer.state.last_run
                return MigrationResult("nothing", warnings=() if last is None else (how_to_undo(last),))
            executor.roll_back()
            told = set_aliases_again(self._server, writer, aliases)
            for sentence in told:
                self._watcher.warned(sentence)
            total = {"total": time.monotonic() - started}
            return MigrationResult(
                "done",
                executor.run.id,
                executor.run.undone,
                executor.seconds | total,
                (*executor.warnings, *told),
                *document_counts_of([executor]),
            )

    def _aliases_to_set_again(self, writer: StateWriter, run: Run) -> dict[str, str]:
        """The aliases that the user wants to have again, and the indexes that they are to lead to."""
        records = (self._undo_record(writer, revision) for revision in reversed(run.done))
        at_work = None if run.is_recorded else run.plan.recorded
        return indexes_by_alias(self._server, self._options.aliases, writer.state.catalog, records, at_work)

    def _undo_record(self, writer: StateWriter, revision: str) -> UndoRecord:
        return UndoRecord.from_content(writer.read_undo(revision), self._project.keys.undo(revision))

    def _finished(self, writer: StateWriter, run: str) -> Run:
        """The last finished run, turned back to the last of its revisions."""
        require_record(self._server, self._project, writer.state)
        last = finished_run(writer.state, run)
        records = (self._undo_record(writer, revision) for revision in reversed(last.revisions))
        newest = next(records)
        require_unchanged(
            self._server, self._project.settings.project, writer.state, chain((newest,), records)
        )
        return newest.rollback(last.revisions)

    def _locked(self) -> AbstractContextManager[StateWriter]:
        return locked_state(
            self._project,
            self._server,
            self._options.lock_timeout,
            self._options.allow_evictable_state,
            on_wait=lambda holder: self._watcher.warned(f"waiting for {holder}"),
            while_waiting=self._watcher.at_safe_point,
        )

    def _make_plan(self, state: State, direction: Direction, target: str, *, compares: bool = False) -> Plan:
        """The plan; it, and the error where there can be none, begins with what Redis has and no script."""
        told = told_ahead(self._project, state.head)
        with telling(told):
            plan = self._plan_scripts(state, direction, target, compares=compares)
        return plan if told is None else plan.model_copy(update={"warnings": (told, *plan.warnings)})

    def _plan_scripts(self, state: State, direction: Direction, target: str, *, compares: bool) -> Plan:
        alone = self._record(state, direction, target)
        history, head = self._project.history, state.head
        folds = folds_wanted(history, alone, state.catalog, head, is_wanted=self._options.fold)
        asked = with_query_checks(folds.recorded, state.catalog, self._options.query_checks)
        recorded = tuple(member for item in asked for member in item.members)
        inventory = self._survey(state, recorded, self._options, asked)
        inventory = with_folds_asked(inventory, self._server, state.catalog, asked)
        require_no_drift(state.catalog, inventory, touched_indexes(recorded), dropped_indexes(recorded))

        def make(inventory: Inventory) -> Plan:
            plan = plan_chain(
                asked,
                state.catalog,
                inventory,
                self._plan_options(self._options),
                direction=direction,
                target=target,
                compares=compares,
            )
            return plan.model_copy(update={"warnings": (*plan.warnings, *folds.remarks)})

        return self._readable_backups.planned(make, inventory, self._options)

    def _survey(
        self, state: State, recorded: Recorded, options: MigrationOptions, folds: Recorded = ()
    ) -> Inventory:
        settings, backup_dir = self._project.settings, self._backup_dir(options)
        known = (*options.aliases, *settings.known_aliases)
        inventory = survey(self._server, settings.project, state.catalog, recorded, backup_dir, known)
        backups, of_folds = (
            backups_of(each, state.head, options.backup_dir)
            for each in (recorded, [item for item in folds if item.folded])
        )
        folded = state.head.folds
        return replace(
            inventory, backups=backups, backups_of_folds=of_folds, folds=folded, fence=self._fence()
        )

    def _fence(self) -> str:
        """The number of the run's fencing token: without the lock that which the next holder will get."""
        return str(last_token_number(self._server, self._project.keys) + (0 if self._holds_lock else 1))

    def _backup_dir(self, options: MigrationOptions) -> Path:
        return (options.backup_dir or self._project.settings.backup_dir).absolute()

    def _plan_options(self, options: MigrationOptions) -> PlanOptions:
        return PlanOptions(
            options.strategy,
            options.allow_lossy,
            options.exclusive,
            self._project.settings.adopt,
            options.phase == "expand",
            options.ignore_other_databases,
            options.on_failure,
            options.cutover,
            options.drop_field_ttls,
        )

    def _record(self, state: State, direction: Direction, target: str) -> Recorded:
        history, ids = self._project.history, self._wanted(state, direction, target)
        given = self._options.aliases
        read_live = live_index_reader(self._server, lambda: candidates(self._project, self._server, given))
        if direction == "upgrade":
            unmanaged = partial(unmanaged_indexes, self._project, self._server)
            return record_upgrades(
                history, ids, state.catalog, read_live, unmanaged, applied=state.head.applied
            )
        head = seen_to_undo(self._project, state.head)
        return record_downgrades(history, ids, head, state.catalog, read_live)

    def _new_run(self, plan: Plan) -> Run:
        first, *rest = plan.revisions
        arguments = stored_arguments(self._options, self._backup_dir(self._options))
        remaining = tuple(item.recorded for item in rest)
        return begin(plan.direction, plan.target, first, plan.digest, remaining, arguments)

    def _change_limits(self, run: Run) -> None:
        """Let limits that this command gives, and the one that began the run did not, hold from now on."""
        begun = asdict(begun_with(run.arguments))
        changes = {
            name: value for name, value in limits_of(self._options).items() if value and value != begun[name]
        }
        if changes:
            write_control(self._server, self._project.keys, run.id, changes)

    def _resume(self, writer: StateWriter, direction: Direction) -> Executor | None:
        """Finish an interrupted run; its stored plan and options count, not ours."""
        if writer.state.run is None:
            return None
        run = Run.from_content(writer.state.run, self._project.keys)
        if run.rolls_back:
            raise RunInProgress(
                f"Run {run.id} ({run.direction} to {run.target}) is being rolled back.",
                "Go on with `redismigrate rollback`.",
            )
        if run.direction != direction:
            if run.is_expanded:
                refuse_unfinished_run(writer.state)
            raise RunInProgress(
                f"Run {run.id} ({run.direction} to {run.target}) was interrupted at revision "
                f"{run.plan.revision}.",
                f"Resume it with `redismigrate {run.direction} {run.target}`, or undo all of it with "
                "`redismigrate rollback`.",
            )
        self._watcher.warned(f"taking up run {run.id}: {run.direction} to {run.target}")
        for told in what_still_holds(run, self._options):
            self._watcher.warned(told)
        self._change_limits(run)
        executor = self._executor(writer, run.taken_up())
        if self._options.ignore_other_databases:
            executor.ignore_other_databases()
        executor.admit_failures(self._options.max_failures)
        options = stored_options(executor.run.arguments)
        executor.finish(self._replanner(writer, options), self._options.phase)
        return executor

    def _executor(self, writer: StateWriter, run: Run, *, rolls_back: bool = False) -> Executor:
        run.require_arguments(self._project.keys)
        functions = function_source(self._project, lambda: executor.catalog_met)
        work = hold(
            self._server,
            self._project.keys,
            writer,
            run,
            self._watcher,
            functions,
            self._options.backup_dir,
            # For a run that goes forward it is about its downgrades, not about undoing it when it fails.
            allows_lossy=rolls_back and self._options.allow_lossy,
            max_removals=self._options.max_removals,
        )
        executor = Executor(work)
        return executor

    def _replanner(self, writer: StateWriter, options: MigrationOptions) -> Replan:
        def replan(members: Recorded, made: frozenset[str] | None) -> RevisionPlan:
            recorded = fold(members, catalog := writer.state.catalog)
            inventory = replace(self._survey(writer.state, (recorded,), options), made=made)
            # What an earlier revision did to an index that this one brings under management counts, too.
            known = recorded.start(catalog)
            require_no_drift(known, inventory, touched_indexes([recorded]), dropped_indexes([recorded]))

            def make(inventory: Inventory) -> RevisionPlan:
                return plan_revision(recorded, catalog, inventory, self._plan_options(options))

            return self._readable_backups.planned(make, inventory, options)

        return replan
