"""What each kind of step does.

Commands that change indexes are not sent here but handed back, to be sent in one transaction with the note
that the step is done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import CommandRefused, ConnectionFailed, RedisMigrateError
from redismigrate.execution.indexes.keys_elsewhere import lost_by_swap
from redismigrate.execution.indexes.live import existing_indexes, look_at
from redismigrate.execution.indexes.search_commands import (
    Commands,
    commands_of,
    drop,
    prove,
    replace_index,
)
from redismigrate.execution.indexes.validation import ValidationFailed, baseline_of, require_as_asked
from redismigrate.execution.indexes.waiting import wait_until_indexed
from redismigrate.execution.pace.build_brake import BuildBrake
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Baseline, Run
from redismigrate.execution.steps.answers import different_answer
from redismigrate.execution.steps.beside_steps import SecondFormSteps
from redismigrate.execution.steps.document_work import HEARTBEAT_SECONDS
from redismigrate.execution.steps.expectation_steps import answers_of, require_met
from redismigrate.execution.steps.followed import followed_at
from redismigrate.execution.steps.in_place_steps import DocumentSteps, is_shown_one_by_one
from redismigrate.execution.steps.name_steps import commands_of_moves, require_as_expected
from redismigrate.execution.steps.restoring_steps import RestoringSteps
from redismigrate.execution.steps.values_steps import ValuesSteps
from redismigrate.foreign_modules import ForeignCode, ForeignFailure, place_in
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.recorder import DataMigration
from redismigrate.planning.drift import differences_to
from redismigrate.planning.plan import Step
from redismigrate.planning.step_life import BESIDE
from redismigrate.redis_server.connection import Server, connect_like
from redismigrate.schema.compression import less_compressed
from redismigrate.schema.definition import IndexDefinition
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import OwnersWriter
from redismigrate.state.store import is_one_script

FunctionSource = Callable[[RecordedRevision, Step], DataMigration | None]


class FunctionFailed(RedisMigrateError):
    """A function given to `op.run` raised."""


@dataclass(frozen=True)
class Effect:
    """What is left to do of a step: in one transaction with the note that it is done.

    Attributes:
        commands: Sent, with what puts them back.
        changes: Of the run.
    """

    commands: Commands = field(default_factory=lambda: Commands(()))
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepRunner:
    """Does steps.

    Attributes:
        server: The connection.
        keys: The project's keys.
        owners: Claims and releases indexes.
        watcher: Is told what happens.
        functions: Finds the function of a step run_function; None when the script gives none.
        beat: Notes how many documents of how many are indexed; called about once a second.
        documents: Does the steps that rewrite documents.
        restoring: Does the steps that bring documents back.
        second_forms: Does the steps that make second forms of documents, and follows writers meanwhile.
        values: Does the steps that drop values, and bring them back.
        build_brake: Slows down the server's own builds where a limit asks for that.
    """

    server: Server
    keys: StateKeys
    owners: OwnersWriter
    watcher: Watcher
    functions: FunctionSource
    beat: Callable[[int, int], None]
    documents: DocumentSteps
    restoring: RestoringSteps
    second_forms: SecondFormSteps
    values: ValuesSteps
    build_brake: BuildBrake

    def carry_out(self, step: Step, run: Run) -> Effect:  # noqa: C901, PLR0912 - a table of kinds
        """Do a step, but for the commands in the effect.

        Raises:
            CommandRefused: An index is not what the step needs.
            ValidationFailed: The index is not what was asked for.
            FunctionFailed: A data migration raised.
            PlanBlocked: The index belongs to another project.
            DriftError: Another client changed the index meanwhile.
        """
        match step.life.name:
            case "claim_index":
                self.owners.claim(step.served)
            case "release_index":
                self.owners.release(step.served)
            case "prove_index":
                scratch, existing = f"{self.keys.scratch_prefix}{run.id}", existing_indexes(self.server)
                return Effect(prove(step.index_after, scratch, self.keys.scratch_prefix, existing))
            case "wait_for_index":
                self._wait(step, run)
            case "validate_index":
                self._validate(step, run)
            case "check_expectations":
                self._check_expectations(step, run)
            case "run_function":
                self._run_function(step, run)
            case "back_up_documents":
                return Effect(changes=self.documents.back_up(step, run))
            case "back_up_beside":
                changes = self.documents.back_up(step, run)
                self.second_forms.sweep(step, run)
                return Effect(changes=changes)
            case "rewrite_documents":
                return Effect(changes=self.documents.rewrite(step, run))
            case "index_documents":
                return Effect(changes=self.documents.index(step, run))
            case "catch_up_documents":
                return Effect(changes=self.documents.catch_up(step, run))
            case "verify_backup":
                self.restoring.verify(step)
            case "restore_rewritten" | "restore_promoted":
                return Effect(changes=self.restoring.restore(step, run))
            case "fill_second_fields" | "fill_twins" | "make_copies":
                return Effect(changes=self.second_forms.copy(step, run))
            case "promote_documents":
                return Effect(changes=self.second_forms.promote(step, run))
            case "remove_second_fields":
                return Effect(changes=self.second_forms.remove_second_fields(step, run))
            case "take_second_fields_back" | "take_twins_back" | "take_copies_back":
                return Effect(changes=self.second_forms.take_back(step, run))
            case "remove_twins" | "remove_originals":
                return Effect(changes=self.second_forms.remove_first_forms(step, run))
            case "start_backup":
                return Effect(changes=self.values.start_backup(step, run))
            case "drop_values":
                return Effect(changes=self.values.drop(step, run))
            case "restore_values":
                return Effect(changes=self.values.restore(step, run))
            case "drop_index" | "drop_left" | "drop_over_second_fields":
                return Effect(self._drop(step))
            case "drop_to_rewrite":
                # What is built in its place is compared with it.
                commands = self._drop(step)
                return Effect(commands, {"baselines": self._with_baseline(step, step.index_before, run)})
            case "set_alias" | "swap_alias" | "swap_when_recorded":
                return self.move_names((step,), run)
            case "create_index":
                return self._create(step)
            case "create_beside":
                return self._create_beside(step, run)
            case "alter_index" | "replace_index" | "set_synonyms":
                return self._change(step, run)
            case "record_indexes" | "record_revision" | "record_fold" | "unrecord_revision":
                raise ValueError("the executor itself writes the record")
            case other:
                assert_never(other)
        return Effect()

    # A cluster takes no FT.* in a script, and no script takes a very long FT.CREATE. There an earlier attempt
    # may have done a step and died before it could be noted, so each of these first looks at what is there.

    def move_names(self, steps: Iterable[Step], run: Run) -> Effect:
        """Do steps that move names as one, but for the commands in the effect.

        Raises:
            DriftError: Another client changed an index that is dropped or swapped out, or moved a name.
        """
        steps = tuple(steps)
        for step in steps:
            if step.kind == "swap_alias":
                self.second_forms.settle(step, run)
        return Effect(commands_of_moves(self.server, steps))

    def _drop(self, step: Step) -> Commands:
        require_as_expected(self.server, step)
        return commands_of(step, existing_indexes(self.server))

    def _with_baseline(self, step: Step, before: IndexDefinition, run: Run) -> dict[str, Baseline]:
        return {**run.baselines, step.served: baseline_of(self.server, before)}

    def _create(self, step: Step) -> Effect:
        wanted, existing = step.index_after, existing_indexes(self.server)
        commands = commands_of(step, existing)
        if wanted.physical not in existing:
            return Effect(commands)
        if self._is_made(wanted, commands):
            return Effect()
        raise CommandRefused(0, f"index {wanted.physical} was made meanwhile", "FT.CREATE")

    def _create_beside(self, step: Step, run: Run) -> Effect:
        wanted, existing = step.index_after, existing_indexes(self.server)
        commands, changes = commands_of(step, existing), {}
        if step.before is not None:
            # What is built beside it is compared with it.
            changes["baselines"] = self._with_baseline(step, step.before, run)
        if wanted.physical not in existing:
            return Effect(commands, changes)
        # Its name has the fencing token in it, so it is an earlier attempt's; one that died before the
        # synonyms were set has scanned documents without them.
        live = look_at(self.server, wanted.physical)
        if live is not None and differences_to(live, wanted):
            return Effect(replace(commands, forward=(drop(wanted), *commands.forward)), changes)
        return Effect(changes=changes)

    def _change(self, step: Step, run: Run) -> Effect:
        before, after = step.index_before, step.index_after
        require_as_expected(self.server, step)
        existing = existing_indexes(self.server)
        live = look_at(self.server, before.physical)
        fields = frozenset() if live is None else frozenset(field.name for field in live.schema.fields)
        commands = commands_of(step, existing, fields)
        if (
            before.physical != after.physical
            and after.physical in existing
            and self._is_made(after, commands)
        ):
            commands = replace_index(before, after, existing, is_made=True)
        return Effect(commands, {"baselines": self._with_baseline(step, before, run)})

    def _is_made(self, definition: IndexDefinition, commands: Commands) -> bool:
        """Whether an index is there because an earlier attempt has created it and died at once."""
        if is_one_script(self.server, (*commands.forward, *commands.put_back)):
            return False
        live = look_at(self.server, definition.physical)
        # Synonyms follow by commands of their own.
        return live is not None and not differences_to(live, replace(definition, synonyms=live.synonyms))

    def _wait(self, step: Step, run: Run) -> None:
        baseline = run.baselines.get(step.served, Baseline())
        expected = max(baseline.documents, step.estimate.documents)
        last_beat = time.monotonic()

        def on_progress(documents: int) -> None:
            nonlocal last_beat
            of = max(expected, documents)
            self.watcher.at_safe_point()
            self.second_forms.follow()
            self.build_brake.look()
            if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
                self.second_forms.look_at_index(step, step.index_after.physical)
                self.beat(documents, of)
                last_beat = time.monotonic()
            self.watcher.indexed(step, documents, of)

        with self.build_brake.building(step.estimate.seconds):
            wait_until_indexed(self.server, step.index_after.physical, on_progress)

    def _validate(self, step: Step, run: Run) -> None:
        definition, baseline = step.index_after, run.baselines.get(step.served)
        found, answers = None, Counter[str]()
        self.second_forms.take_up(step, run)
        live = look_at(self.server, definition.physical)
        if live is not None and live.statistics.is_indexing:
            # It was complete; since then the server was restarted, which builds every index anew.
            self._wait(step, run)
        try:
            found = require_as_asked(
                self.server,
                definition,
                baseline or Baseline(),
                int(run.arguments.get("max_failures", 0)),
                counts_on=step.strategy != "rebuild"
                and step.strategy not in BESIDE
                and step.before is not None,
                is_scanned=not is_shown_one_by_one(step, run),
                is_excused=self.documents.excuse(_rewrite_before(step, run), run),
            )
            self.second_forms.require_copies(step, run)
        except ValidationFailed as error:
            if definition.schema.temporary_seconds is None:
                raise
            # It can't be undone without deleting documents, so going forward is the lesser evil.
            self.watcher.warned(f"TEMPORARY index {step.index} is kept although: {error.message}")

        for remark in () if live is None else less_compressed(definition.schema, live.schema):
            self.watcher.warned(remark)
        if step.strategy in BESIDE and step.before is not None and self._is_there(step.before):
            may_lack = self._may_lack(definition, int(run.arguments.get("max_failures", 0)))
            may_lack += self._ignored_elsewhere(step.before, definition, run)
            difference = different_answer(
                self.server,
                step.before,
                definition,
                self.watcher.warned,
                may_lack=may_lack,
                following=self.second_forms,
                asked=answers,
            )
            if difference is not None:
                raise ValidationFailed(
                    f"Index {definition.physical} does not answer as {step.before.physical} does: "
                    f"{difference}.",
                    "Look at both with FT.SEARCH; --strategy rebuild does without the comparison.",
                )
        if found is not None:
            self.watcher.validated(step, replace(found, before=baseline, answers=answers))

    def _check_expectations(self, step: Step, run: Run) -> None:
        self.second_forms.take_up(step, run)
        live = look_at(self.server, step.index_after.physical)
        if live is not None and live.statistics.is_indexing:
            self._wait(step, run)
        answers = answers_of(self.server, step, self.second_forms.catch_up)
        self.watcher.checked(step, answers)
        require_met(step, answers)

    def _is_there(self, definition: IndexDefinition) -> bool:
        """Whether an index still exists: where FT.* can't run in scripts a swap may have been half done."""
        return look_at(self.server, definition.physical) is not None

    def _may_lack(self, definition: IndexDefinition, max_failures: int) -> int:
        """How many documents an index lacks at most because it could not index them, which was allowed."""
        live = look_at(self.server, definition.physical) if max_failures else None
        return 0 if live is None else min(max_failures, live.statistics.indexing_failures)

    def _ignored_elsewhere(self, old: IndexDefinition, new: IndexDefinition, run: Run) -> int:
        """How many documents of other databases than 0 the old index has and the new one may lack."""
        if not run.arguments.get("ignore_other_databases"):
            return 0
        found = lost_by_swap(self.server, old.schema, old.physical, new.physical)
        live = look_at(self.server, old.physical) if found.remarks else None
        if live is not None:
            return live.statistics.num_docs  # not all was looked at
        return sum(keys.count for keys in found.keys_of([old.schema]))

    def _run_function(self, step: Step, run: Run) -> None:
        function = self.functions(run.plan.recorded, step)
        if function is None:
            self.watcher.warned(f"{step.description}: the script gives no function for that")
            return

        def as_error(failure: ForeignFailure) -> FunctionFailed:
            where = place_in(function, failure.error)
            return FunctionFailed(f"{step.description} raised {failure.reason}{where}")

        # An outage is no fault of the function, nor is an interruption: the run stays, to be taken up again.
        # A connection of its own: what it selects or subscribes to is not ours.
        with (
            ForeignCode(as_error, passes=(ConnectionFailed, KeyboardInterrupt)),
            self.server.translated_errors(),
            connect_like(self.server.client) as own,
        ):
            function(own.client)


def _rewrite_before(step: Step, run: Run) -> Rewrite | None:
    """What has given the fields that a new index reads another form."""
    followed = followed_at(run, step.served)
    # Of second fields only those that are promoted: the others are read beside the declared ones.
    return followed.rewrite if followed is not None and followed.life.has("writes_vectors") else step.rewrite
