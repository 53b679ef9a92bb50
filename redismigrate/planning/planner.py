"""Turns one recorded revision into steps, given the indexes it meets and what the server is like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from redismigrate.operations.expectations import LookBefore, unmet
from redismigrate.operations.operation_types import (
    AssumeExclusive,
    ChangeIndex,
    CreateAlias,
    CreateIndex,
    DropAlias,
    DropIndex,
    Expect,
    Irreversible,
    Operation,
    RunFunction,
    SetSynonyms,
)
from redismigrate.operations.placed_expectations import PlacedExpectation, expectations_of
from redismigrate.operations.recorded import RecordedRevision, made_in_run
from redismigrate.planning.adopting import adopt
from redismigrate.planning.document_obstacles import what_documents_forbid
from redismigrate.planning.estimates import build_estimate, documents_of
from redismigrate.planning.expected import with_checks
from redismigrate.planning.index_changes import (
    build_beside,
    change_index,
    warn_of_globs,
    warn_of_rebuild,
    warn_of_scan,
)
from redismigrate.planning.index_parts import in_turns, turns_of, why_not_apart
from redismigrate.planning.index_steps import (
    create_steps,
    drop_steps,
    replace_steps,
    synonym_steps,
)
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.memory_course import with_freed_memory
from redismigrate.planning.missing_values import unknown_places
from redismigrate.planning.name_moves import names_in
from redismigrate.planning.name_warnings import lost_aliases, told_of_names, unrecorded_aliases
from redismigrate.planning.names import alias_target_after, is_index
from redismigrate.planning.obstacles import index_of
from redismigrate.planning.other_databases import (
    deleted_with_documents,
    kept_as_it_was,
    left_without,
    schemas_left_short,
    why_left_out,
)
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.plan_in_progress import PlanInProgress, PlanOptions
from redismigrate.planning.rewrites import rewrite_of, unmade_forms
from redismigrate.planning.room import by_turns, told_of_each, what_each_would_need
from redismigrate.planning.shared_keys import told_of_shared_keys
from redismigrate.planning.step_life import StepKind
from redismigrate.planning.step_order import backups_first, in_phases, losses_before_cutover
from redismigrate.planning.step_payloads import FunctionPayload
from redismigrate.planning.strategies import what_server_lacks, why_dropping_deletes, words_that_change
from redismigrate.planning.values_changes import change_values, is_of_values
from redismigrate.schema.compression import compression_warnings
from redismigrate.schema.definition import Catalog, IndexDefinition


def plan_revision(
    recorded: RecordedRevision, catalog: Catalog, inventory: Inventory, options: PlanOptions
) -> RevisionPlan:
    """The plan of one revision.

    Args:
        recorded: What it does.
        catalog: The indexes as its predecessor leaves them.
        inventory: The server as it is now.
        options: The user's wishes.
    """
    return _RevisionPlanner(recorded, catalog, inventory, options).plan()


@dataclass
class _RevisionPlanner(PlanInProgress):
    """Walks over the operations of one revision."""

    def plan(self) -> RevisionPlan:
        """Walk over the operations and put the record last."""
        self.start = self.recorded.start(self.catalog)
        if self.options.cutover == "each":
            self.turns, why_together = turns_of(self.recorded, self.start)
            self.warnings += why_together
        # What a downgrade gives up is not there yet where it only creates it.
        self.names = names_in(self.start if self.recorded.direction == "upgrade" else self.catalog)
        live = self.inventory.schemas
        adopt(self)
        self.catalog = self.start
        if self.recorded.direction == "downgrade":
            self._undo_functions()
        marks = []
        for operation in self.recorded.operations:
            before = self.catalog
            marks.append(len(self.steps))
            self.catalog = operation.apply(before)
            self.blocked.about = index_of(operation)
            _PLANNERS[type(operation)](self, operation, before)
            self.inventory = replace(self.inventory, made=made_in_run(operation, self.inventory.made))
        self.blocked.about = None
        placed = expectations_of(self.recorded, self.start)
        looks = tuple(self._look_before(item) for item in placed if item.is_asked_before)
        self.steps = with_checks(self.steps, placed, marks, self.catalog)
        for name in sorted(self.recorded.given_up & self.catalog.keys()):
            self.release(name)
        verb = "record" if self.recorded.direction == "upgrade" else "take back the record of"
        kind: StepKind = "record_fold" if self.recorded.folded else "record_revision"
        self.add(kind, description=f"{verb} {', '.join(item.revision for item in self.recorded.members)}")
        steps = in_phases(backups_first(self.steps), f"{self.recorded.revision}_{self.inventory.fence}")
        self.warnings[:0] = lost_aliases(steps, self)
        self.blocked += unrecorded_aliases(steps, self)
        steps = with_freed_memory(steps, self.inventory)
        steps, warnings = told_of_names(steps, self)
        self.warnings += warnings
        rewritten = {done.index for done in self.rewritten}
        self.warnings += told_of_shared_keys(self.recorded, self.start, self.catalog, live, rewritten)
        self._look_elsewhere(steps)
        steps = self._apart(steps)
        if self.options.expands:
            self._refuse_losses(losses_before_cutover(steps))
        return RevisionPlan(
            recorded=self.recorded,
            steps=tuple(steps),
            warnings=tuple(dict.fromkeys(self.warnings)),
            obstacles=tuple(self.blocked),
            looks=looks,
        )

    def _look_before(self, item: PlacedExpectation) -> LookBefore:
        """What the index as it is answers; blocks where that is not as expected."""
        name, expectation = str(item.name_before), item.expectation
        answer = self.inventory.answers.get((name, expectation))
        if answer is not None and not answer.is_met:
            self.blocked.append(unmet(name, expectation, answer.found), name)
        found = None if answer is None else answer.found
        return LookBefore(index=name, expectation=expectation, found=found)

    def _apart(self, steps: list[Step]) -> list[Step]:
        """The steps, index by index where that is asked for; blocks what can't be split so."""
        reasons = why_not_apart(self.recorded, self.start) if self.options.on_failure == "continue" else ()
        for reason in reasons:
            self.blocked.append(f"--on-failure continue can't split this revision by its indexes: {reason}")
        if self.options.cutover == "each" and len(self.turns) > 1:
            self.warnings += told_of_each(by_turns(self.needs, self.turns), steps)
            return in_turns(steps, self.turns)
        turns, _ = turns_of(self.recorded, self.start) if self.short_of_memory else ((), ())
        if len(turns) > 1:
            more = what_each_would_need(by_turns(self.needs, turns), self.inventory)
            for reason in self.short_of_memory:
                self.blocked.complete(reason, more)
        return steps

    def _look_elsewhere(self, steps: Iterable[Step]) -> None:
        """Block what would leave out documents of other databases, and tell what stays as it was."""
        elsewhere = self.inventory.other_databases
        left_out = elsewhere.left_out(steps)
        deleted = deleted_with_documents(steps)
        for name, keys in left_out.items():
            if self.options.ignores_other_databases:
                self.warnings.append(left_without(name, keys, is_deletion=name in deleted))
            else:
                self.blocked.append(why_left_out(name, keys, is_deletion=name in deleted), name)
        for name, keys in elsewhere.not_indexed_again(steps).items():
            if name not in left_out:
                self.warnings.append(kept_as_it_was(name, keys))
        if any(schemas_left_short(step) for step in steps):
            self.warnings += elsewhere.remarks

    def _refuse_losses(self, losses: list[Step]) -> None:
        """Block what has to come before a swap: clients query until then what it takes away."""
        for loss in losses:
            self.blocked.append(
                f"{loss.description} has to come before a name moves, and --phase expand has to leave what "
                "clients query: put it in a revision of its own, or do without --phase",
                loss.index,
            )

    def _undo_functions(self) -> None:
        has_own = any(isinstance(operation, RunFunction) for operation in self.recorded.operations)
        for function in self.recorded.undone_functions:
            if function.has_down:
                self.inventory = self.inventory.with_samples_written()
                self.add(
                    "run_function",
                    call=FunctionPayload(
                        function=function.position, function_in="upgrade", function_direction="down"
                    ),
                    description=f"run what undoes {function.name} (opaque)",
                )
            elif not has_own and not self.options.allow_lossy:
                self.blocked.append(
                    f"op.run({function.name}) has no function that undoes it; "
                    "--allow-lossy goes back without one"
                )

    def _create_index(self, operation: CreateIndex, before: Catalog) -> None:  # noqa: ARG002 - one signature
        definition = self.catalog[operation.schema.name]
        name = definition.served
        self.blocked += what_server_lacks(definition.schema, self.inventory)
        self.warnings += compression_warnings(None, definition.schema)
        self.refuse_taken_name(name)
        self.claim(name)
        estimate = build_estimate(None, definition, self.inventory)
        is_beside = self._is_to_be_beside(definition)
        self.check_memory(name, estimate, estimate if is_beside else None)
        warn_of_globs(self, name, definition.schema)
        if is_beside:
            definition = self.beside(definition)
        self.steps += create_steps(definition, estimate)

    def _is_to_be_beside(self, definition: IndexDefinition) -> bool:
        """Whether a new index gets a name that clients query already: it has to be complete by then."""
        return (
            definition.served in self.names
            and definition.schema.temporary_seconds is None  # a TEMPORARY index could not be swapped out
            and self.options.adoption == "alias"
            and self.options.strategy != "rebuild"
        )

    def _drop_index(self, operation: DropIndex, before: Catalog) -> None:
        definition = before[operation.name]
        name = definition.served
        reason = why_dropping_deletes(definition)
        if reason is not None and not operation.delete_documents:
            self.blocked.append(f"{reason}; say drop_index(..., delete_documents=True) if that is meant")
        live = self.inventory.live.get(definition.physical)
        documents = live.statistics.num_docs if live is not None else 0
        self.steps += drop_steps(
            definition, documents, str(operation), delete_documents=operation.delete_documents
        )
        if operation.delete_documents:
            self._refuse_to_delete_what_moves(definition)
            self.warnings.append(
                f"the {documents:,} documents of index {name} are deleted and can't come back"
            )
        self.release(name)

    def _refuse_to_delete_what_moves(self, definition: IndexDefinition) -> None:
        """Documents that this revision has moved before belong to the index that they were moved for."""
        for done in self.rewritten:
            if done.moves_documents_of(definition.schema):
                self.blocked.append(
                    f"dropping index {definition.served} with its documents would delete documents of index "
                    f"{done.index} that this revision moves: drop it in a revision of its own"
                )

    def _change_index(self, operation: ChangeIndex, before: Catalog) -> None:
        old = before[operation.name]
        new = self.catalog[operation.name_after]
        if operation.after:
            first = " and ".join(operation.after)
            self.warnings.append(f"index {operation.name} is changed after {first}, as the script says")
        if is_of_values(operation.changes):
            change_values(self, old, operation.changes)
            return
        is_way_back = self.recorded.direction == "downgrade"
        backup = self.inventory.backups.get((self.recorded.revision, old.served)) if is_way_back else None
        rewrite = rewrite_of(
            old,
            new,
            operation.changes,
            is_way_back=is_way_back,
            cut_as_they_are=() if backup is None else backup.cut_as_they_are,
            drops_field_ttls=self.options.drop_field_ttls,
        )
        sample, documents = self.inventory.samples.get(old.served), documents_of(old, self.inventory)
        self.warnings += unknown_places(operation.changes, old.schema, sample, documents)
        self.blocked += what_documents_forbid(old.schema, new.schema, rewrite)
        self.blocked += unmade_forms(operation.changes, old.schema, rewrite)
        change_index(self, old, new, rewrite, "; ".join(str(change) for change in operation.changes))

    def _create_alias(self, operation: CreateAlias, before: Catalog) -> None:
        old, new = before[operation.index], self.catalog[operation.index]
        alias = operation.alias
        if is_index(alias, self.inventory, self.steps):
            self.blocked.append(f"{alias} is an index on the server, so it can't be an alias")
        target = alias_target_after(alias, self.inventory, self.steps)
        holder = before.alias_target(alias)
        is_ours = holder is not None and before[holder].physical == target
        if target not in (None, old.physical) and not is_ours:
            self.blocked.append(f"alias {alias} points to index {target}, which this project does not manage")
        if holder != operation.index:
            self._set_alias(operation, alias, None if holder is None else before[holder], new)

    def _drop_alias(self, operation: DropAlias, before: Catalog) -> None:
        served = before.alias_target(operation.alias)
        if served is not None:
            target = alias_target_after(operation.alias, self.inventory, self.steps)
            if target not in (None, before[served].physical):
                self.blocked.append(
                    f"alias {operation.alias} points to index {target} by now, which is not {served}"
                )
            self._set_alias(operation, operation.alias, before[served], None)

    def _set_alias(
        self, operation: Operation, alias: str, old: IndexDefinition | None, new: IndexDefinition | None
    ) -> None:
        holder = new or old
        self.add(
            "set_alias",
            holder.served if holder is not None else None,
            alias=alias,
            before=old,
            after=new,
            description=str(operation),
            rollback="set the alias back",
        )

    def _set_synonyms(self, operation: SetSynonyms, before: Catalog) -> None:
        old, new = before[operation.index], self.catalog[operation.index]
        if old.synonyms == new.synonyms:
            return
        terms = new.synonyms.get(operation.group, ())
        self.blocked += words_that_change(f"synonyms of index {new.served}", terms, self.inventory)
        kept = set(old.synonyms.get(operation.group, ())) <= set(new.synonyms.get(operation.group, ()))
        if kept:
            estimate = build_estimate(old, new, self.inventory)
            self.steps += synonym_steps(old, new, estimate, str(operation))
            return
        # FT.SYNUPDATE only adds terms: taking one out needs a new index.
        if why_dropping_deletes(old) is not None:
            self.blocked.append(f"{why_dropping_deletes(old)}, and terms leave synonyms no other way")
        warn_of_scan(self, old)
        in_place = self.options.strategy == "rebuild" or (
            self.options.adoption == "never" and old.physical == old.served
        )
        if in_place:
            estimate = build_estimate(old, new, self.inventory, "rebuild")
            warn_of_rebuild(self, old, estimate)
            self.steps += replace_steps(old, new, estimate, str(operation))
            return
        new = self.beside(new)
        estimate = build_estimate(old, new, self.inventory, "shadow")
        self.check_memory(new.served, estimate)
        build_beside(self, old, new, estimate, str(operation))

    def _run_function(self, operation: RunFunction, before: Catalog) -> None:  # noqa: ARG002 - one signature
        self.inventory = self.inventory.with_samples_written()
        self.add(
            "run_function",
            call=FunctionPayload(
                function=operation.position,
                function_in=self.recorded.direction,
                function_direction="up",
            ),
            description=f"{operation} (opaque: its costs are not known)",
            rollback="run what undoes it" if operation.has_down else "can't be undone",
        )
        if not operation.has_down and self.recorded.direction == "upgrade":
            self.warnings.append(f"op.run({operation.name}) gives no function that undoes it")

    def _irreversible(self, operation: Irreversible, before: Catalog) -> None:  # noqa: ARG002 - one signature
        self.blocked.append(f"this revision is irreversible: {operation.reason}")

    def _expect(self, operation: Expect, before: Catalog) -> None:
        """Nothing by itself: what is asked where depends on all operations, see `expected`."""

    def _assume_exclusive(self, operation: AssumeExclusive, before: Catalog) -> None:  # noqa: ARG002
        self.warnings.append(
            f"the script assumes that nobody else writes to the documents meanwhile: {operation.reason} "
            "(op.assume_exclusive)"
        )


_PLANNERS: dict[type, Callable[[_RevisionPlanner, Any, Catalog], None]] = {
    CreateIndex: _RevisionPlanner._create_index,  # noqa: SLF001 - the class's own table
    DropIndex: _RevisionPlanner._drop_index,  # noqa: SLF001
    ChangeIndex: _RevisionPlanner._change_index,  # noqa: SLF001
    CreateAlias: _RevisionPlanner._create_alias,  # noqa: SLF001
    DropAlias: _RevisionPlanner._drop_alias,  # noqa: SLF001
    SetSynonyms: _RevisionPlanner._set_synonyms,  # noqa: SLF001
    RunFunction: _RevisionPlanner._run_function,  # noqa: SLF001
    Irreversible: _RevisionPlanner._irreversible,  # noqa: SLF001
    AssumeExclusive: _RevisionPlanner._assume_exclusive,  # noqa: SLF001
    Expect: _RevisionPlanner._expect,  # noqa: SLF001
}
