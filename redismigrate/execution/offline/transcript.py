"""Turns a plan into a file for `redis-cli` that does the same: `upgrade --script`. Pure.

Every revision is one call of a script that looks first whether the record is what the file was made for
(`redismigrate.state.offline_script`). An index that is built beside the one that serves takes a call of its
own before that: the file can't wait, so the second call refuses until the index is complete, and the file is
run again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from redismigrate.errors import PlanBlocked
from redismigrate.execution.offline.offline_steps import Scratch, existing_after, offline_commands
from redismigrate.execution.offline.redis_cli import command_line, remark_line
from redismigrate.operations.placed_expectations import lasting_expectations
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.planning.plan import Plan, RevisionPlan, Step, moves_names
from redismigrate.planning.step_life import BESIDE
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.offline_script import (
    APPLY,
    APPLY_SHA1,
    RECORDED_AT,
    behind_version,
    digest_of_ids,
    digest_of_indexes,
)
from redismigrate.state.store import LONGEST_SCRIPTED_COMMAND
from redismigrate.state.stored_documents import AppliedRevision, Head, catalog_content
from redismigrate.state.transaction import Command


@dataclass(frozen=True)
class Start:
    """What a file is made for.

    Attributes:
        head: The applied revisions.
        catalog: The indexes as recorded.
        indexes_digest: Of the document that records them, see `digest_of_indexes`.
        existing: The physical names that exist.
        undoable: Revisions that the last run may have left something to undo them by.
    """

    head: Head
    catalog: Catalog
    indexes_digest: str
    existing: frozenset[str]
    undoable: frozenset[str] = frozenset()


LOADING_LINE = command_line(("SCRIPT", "LOAD", APPLY))


def script_of(plan: Plan, start: Start, keys: StateKeys, by: str) -> tuple[str, ...]:
    """The lines of a file for `redis-cli` that carries out a plan.

    Args:
        plan: What is to be done; not blocked.
        start: The record and the indexes that it begins with.
        keys: The project's keys.
        by: Who makes it, to be recorded.

    Raises:
        PlanBlocked: It has a step that no such file can do; tells which.
    """
    reasons = [reason for item in plan.revisions for reason in _why_not(item)]
    if reasons:
        raise PlanBlocked(
            f"The plan can't be a script: {'; '.join(reasons)}.",
            f"Let redismigrate run it, or make a script up to the revision before: `redismigrate "
            f"{plan.direction} --script REV`.",
            tuple(reasons),
        )
    lines = [LOADING_LINE]
    for item in plan.revisions:
        section = _Section(plan, item, start, keys, by)
        lines += section.lines()
        start = section.end
    return tuple(lines)


def _why_not(plan: RevisionPlan) -> list[str]:
    """What of a revision takes more than commands."""
    reasons = [
        f"{plan.revision}: {step.kind} reads documents or runs code ({step.description})"
        for step in plan.steps
        if step.life.offline is None
    ]
    tail = [step for step in plan.steps if not step.after_record][:-1]
    while tail and moves_names(tail[-1]):
        tail.pop()
    reasons += [
        f"{plan.revision}: {step.kind} of {step.index} has to come before other steps of the revision, and "
        "waits for an index; make two revisions of it"
        for step in tail
        if step.kind == "swap_alias" or (step.kind == "drop_index" and step.strategy in BESIDE)
    ]
    return reasons


@dataclass(frozen=True)
class _Section:
    """The lines of one revision.

    Attributes:
        whole: The plan that it belongs to.
        plan: The revision.
        start: What it begins with.
        keys: The project's keys.
        by: Who makes the file.
    """

    whole: Plan
    plan: RevisionPlan
    start: Start
    keys: StateKeys
    by: str

    @property
    def end(self) -> Start:
        """What the next revision begins with; no last run, which this one ends."""
        head, catalog = self._head, self._catalog
        existing = self.start.existing
        for step in self.plan.steps:
            existing = existing_after(step, existing)
        return Start(head, catalog, digest_of_indexes(catalog_content(catalog)), existing)

    @property
    def _head(self) -> Head:
        recorded = self.plan.recorded
        if recorded.direction == "downgrade":
            return self.start.head.without_revisions([recorded.revision])
        return self.start.head.with_revision(recorded.revision, self._record)

    @property
    def _record(self) -> AppliedRevision:
        recorded = self.plan.recorded
        return AppliedRevision(
            parents=recorded.parents,
            depends_on=recorded.depends_on,
            message=recorded.message,
            sha256=recorded.sha256,
            code_sha256=recorded.code_sha256,
            applied_at=RECORDED_AT,
            seconds=0.0,
            by=self.by,
            plan_digest=self.whole.digest,
            adopted=tuple(sorted(recorded.adopted)),
            replaces=recorded.replaces,
            expectations=lasting_expectations(recorded, self.start.catalog),
        )

    @property
    def _catalog(self) -> Catalog:
        catalog = self.plan.recorded.apply(self.start.catalog)
        return with_physical_names(catalog, self.plan.steps)

    def lines(self) -> list[str]:
        """Remarks and calls, in order."""
        recorded = self.plan.recorded
        goes_back = recorded.direction == "downgrade"
        mode, builds = ("remove", "build_back") if goes_back else ("record", "build")
        lines = [remark_line(f"{recorded.revision} {recorded.message}")]
        lines += [remark_line(f"  note: {warning}") for warning in self.plan.warnings]
        beside = {step.index for step in self.plan.steps if step.life.name == "create_beside"}
        building = [step for step in self.plan.steps if step.index in beside and _builds(step)]
        for index in sorted(map(str, beside)):
            steps = [step for step in building if step.index == index]
            lines += [*self._remarks(steps), self._call(builds, steps)]
        rest = [step for step in self.plan.steps if step not in building]
        return [*lines, *self._remarks(rest), self._call(mode, rest)]

    @property
    def _scratch(self) -> Scratch:
        prefix = self.keys.scratch_prefix
        return Scratch(f"{prefix}{self.plan.revision}", prefix)

    def _remarks(self, steps: Iterable[Step]) -> list[str]:
        lines = []
        existing = self.start.existing
        for step in steps:
            lines.append(remark_line(f"  {self._description(step)}"))
            if step.life.offline == "commands" and step.kind != "prove_index":
                forward = offline_commands(step, existing, self._scratch).forward
                lines += [remark_line(f"    {command_line(command)}") for command in forward]
            existing = existing_after(step, existing)
        return lines

    @staticmethod
    def _description(step: Step) -> str:
        if step.kind == "wait_for_index" and step.strategy in BESIDE:
            return f"{step.description}: refused until then; run this file again"
        if step.life.offline == "look" and step.strategy not in BESIDE and step.after is not None:
            return f"left to you: {step.description} (FT.INFO {step.after.physical})"
        return step.description

    def _call(self, mode: str, steps: Sequence[Step]) -> str:
        """The line that does some steps of the revision."""
        recorded, keys = self.plan.recorded, self.keys
        changing = [step for step in steps if step.life.offline == "commands"]
        is_build = mode in {"build", "build_back"}
        complete = [] if is_build else self._complete()
        built = [str(step.after.physical) for step in changing if is_build and step.after]
        event = {
            "event": "step" if is_build else recorded.direction,
            "revision": recorded.revision,
            "by": self.by,
            **({"kind": "create_index", "index": built[-1]} if built else {}),
        }
        words: list[bytes | str] = [
            mode,
            recorded.revision,
            digest_of_ids(self.start.head.applied),
            json.dumps(list(self.start.head.heads)),
            self.start.indexes_digest,
            json.dumps(list(self._head.heads)),
            json.dumps(self._record.to_json()) if mode == "record" else "",
            "" if is_build else behind_version(catalog_content(self._catalog)),
            json.dumps(keys.project),
        ]
        # An index that is dropped and created again is claimed in the end.
        last = {step.index: step.kind for step in steps if step.life.has("owns")}
        for kind in ("claim_index", "release_index"):
            words += length_first([json.dumps(index) for index, found in last.items() if found == kind])
        words += length_first(complete)
        words += length_first([word for pair in event.items() for word in pair])
        words.append(str(len(changing)))
        existing = self.start.existing
        for step in changing:
            commands = offline_commands(step, existing, self._scratch)
            for group in (commands.forward, commands.put_back):
                words.append(str(len(group)))
                for command in group:
                    _refuse_long(recorded.revision, command)
                    words += length_first(command)
            existing = existing_after(step, existing)
        return call_line(keys, words, () if is_build else self.start.undoable)

    def _complete(self) -> list[str]:
        """For each index that was built beside another: it, that other, and whether they hold the same.

        The other is "" where it is no successor.
        """
        swaps = [step for step in self.plan.steps if step.kind == "swap_alias"]
        return [
            word
            for step in swaps
            for word in (
                "" if step.after is None else step.after.physical,
                "" if step.before is None else step.before.physical,
                "alike" if _hold_the_same(step.before, step.after) else "",
            )
        ]


def _hold_the_same(before: IndexDefinition | None, after: IndexDefinition | None) -> bool:
    """Whether two indexes hold the same documents, but for those that can't be indexed."""
    if before is None or after is None or before.schema.skip_initial_scan:
        return False
    if any(field.type == "geoshape" for field in after.schema.fields):
        return False  # a document whose shape can't be indexed is held without it
    kinds = [
        (schema.storage_type, KeyPrefixes.of(schema.prefixes), schema.filter)
        for schema in (before.schema, after.schema)
    ]
    return kinds[0] == kinds[1]


def call_line(keys: StateKeys, words: Iterable[bytes | str], undoable: Collection[str]) -> str:
    """The line that calls the script which `LOADING_LINE` loads.

    Args:
        keys: The project's keys.
        words: What the script gets.
        undoable: Revisions whose undo documents go with the last run.
    """
    script_keys = (
        keys.head,
        keys.indexes,
        keys.run,
        keys.lock,
        keys.fence,
        keys.journal,
        keys.last_run,
        OWNERS_KEY,
        *map(keys.undo, sorted(undoable)),
    )
    return command_line(("EVALSHA", APPLY_SHA1, str(len(script_keys)), *script_keys, *words))


def _builds(step: Step) -> bool:
    return step.strategy in BESIDE and step.kind in {"prove_index", "create_index"}


def length_first(words: Sequence[bytes | str]) -> list[bytes | str]:
    """A list as the script takes it: its length first."""
    return [str(len(words)), *words]


def _refuse_long(revision: str, command: Command) -> None:
    if len(command) > LONGEST_SCRIPTED_COMMAND:
        raise PlanBlocked(
            f"The plan can't be a script: revision {revision} has a command of {len(command):,} words, more "
            "than a script can call.",
            "Let redismigrate run it.",
        )
