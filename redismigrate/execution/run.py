"""A run: one execution of a plan, as it is kept in Redis so that it survives a crash."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from redismigrate.documents.failures import LISTED_FAILURES
from redismigrate.errors import StateError
from redismigrate.execution.build_sleep import BuildSleep
from redismigrate.execution.indexes_apart import NOTHING_APART, IndexesApart
from redismigrate.execution.pace_report import PaceReport
from redismigrate.execution.run_values import NEEDED_ARGUMENTS, Arguments, Moment
from redismigrate.operations.recorded import Direction, RecordedRevision, made_in_run
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.undo import undo_of
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.strict import Count
from redismigrate.state.key_types import way_out_of_run
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature


class Baseline(BaseModel):
    """An index just before it is changed: what validation compares with.

    Attributes:
        documents: Documents in the index.
        failures: Its counter of indexing failures.
        unindexed: Documents with its prefixes and type that are out of it; counted only with failures.
    """

    model_config = ConfigDict(frozen=True)

    documents: Count = 0
    failures: Count = 0
    unindexed: Count = 0


class DocumentCounts(BaseModel):
    """What became of the documents of a run.

    Attributes:
        read: That were looked at before anything was changed.
        rewritten: That have a new form, or their old one back.
        left_in_old_type: That writers brought back to the old form faster than they could be converted.
        failed_count: That were left as they are.
        failed: The first of them: key, reason.
    """

    model_config = ConfigDict(frozen=True)

    read: Count = 0
    rewritten: Count = 0
    left_in_old_type: Count = 0
    failed_count: Count = 0
    failed: tuple[tuple[str, str], ...] = ()

    def plus(self, other: DocumentCounts) -> DocumentCounts:
        """Both together; each document that failed is counted once."""
        failed = dict(self.failed)
        new = [(key, reason) for key, reason in other.failed if key not in failed]
        return DocumentCounts(
            read=self.read + other.read,
            rewritten=self.rewritten + other.rewritten,
            left_in_old_type=self.left_in_old_type + other.left_in_old_type,
            failed_count=self.failed_count + other.failed_count - (len(other.failed) - len(new)),
            failed=(*self.failed, *new)[:LISTED_FAILURES],
        )


# What changes at every step. It is written as a document of its own, since a plan of a hundred indexes is
# large and has as many steps.
MOVING = frozenset(
    {
        "position",
        "baselines",
        "backups",
        "quantizations",
        "documents",
        "heartbeat",
        "progress",
        "pace",
        "build_sleep",
        "step_started_at",
        "by",
        "host",
        "pid",
    }
)


class Run(BaseModel):
    """The `:run` document, with what the `:progress` document says meanwhile.

    Attributes:
        id: Twelve hex digits.
        direction: Upgrade or downgrade.
        target: The revision identifier that was asked for.
        arguments: The options that hold for the whole run.
        plan: The revision at work; its stored steps count, whatever the scripts say meanwhile.
        plan_digest: Of the whole plan.
        position: The step to do next, in `plan.steps` or, once there is a failure, in `undo`.
        failure: Why the revision is undone; None while it goes forward.
        undo: The steps that undo it.
        rolls_back: Whether all of the run is undone, as `redismigrate rollback` asked for; the revisions
            that it recorded follow the one at work, last first.
        undone: The revisions undone by that so far, in order.
        names: Physical name as recorded -> as it is by now, of the indexes that this has built anew.
        apart: What was recorded or put back of the revision at work, which is not recorded itself.
        remaining: The revisions after this one, each for itself.
        folds: Those among them that are to be carried out as one, by their ids.
        made: Served names of the indexes that the revisions before this one have made, see `made_in_run`.
        done: The revisions of this run that are recorded; while it is rolled back, those that still are.
        baselines: Served name -> the index before its change.
        backups: Served name -> where the backup is that the revision at work has made of it, `host:path`.
        quantizations: Served name -> hash field -> how the revision at work makes integers of it.
        documents: What became of documents so far, once it is rolled back by that.
        revision_started_at: When the revision at work began, ISO 8601.
        started_at: When the run began, ISO 8601.
        heartbeat: The last sign of life, ISO 8601.
        progress: Documents done so far in the step at work, and how many there will be.
        pace: How fast it is, and what holds it up; None until a step has taken a second.
        build_sleep: What it has made of the server's setting for builds; None for nothing.
        step_started_at: When the step at work began, ISO 8601.
        by: Who.
        host: Where.
        pid: In which process.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    direction: Direction
    target: str
    arguments: dict[str, Any]
    plan: RevisionPlan
    plan_digest: str
    position: Count = 0
    failure: str | None = None
    undo: tuple[Step, ...] = ()
    rolls_back: bool = False
    undone: tuple[str, ...] = ()
    names: dict[str, str] = {}
    apart: IndexesApart = NOTHING_APART
    remaining: tuple[RecordedRevision, ...] = ()
    folds: tuple[tuple[str, ...], ...] = ()
    made: tuple[str, ...] | None = ()
    done: tuple[str, ...] = ()
    baselines: dict[str, Baseline] = {}
    backups: dict[str, str] = {}
    quantizations: dict[str, dict[str, Quantization]] = {}
    documents: DocumentCounts = DocumentCounts()
    revision_started_at: Moment
    started_at: Moment
    heartbeat: Moment
    progress: tuple[Count, Count] | None = None
    pace: PaceReport | None = None
    build_sleep: BuildSleep | None = None
    step_started_at: Moment | None = None
    by: str
    host: str
    pid: int

    @field_validator("arguments")
    @classmethod
    def _arguments_have_their_types(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        Arguments.model_validate(arguments)
        return arguments

    @model_validator(mode="after")
    def _is_at_one_of_its_steps(self) -> Self:
        if self.position > len(self.steps):
            raise ValueError(f"there are {len(self.steps)} steps, and it is at {self.position}")
        return self

    @property
    def is_exclusive(self) -> bool:
        """Whether nobody else writes to the documents: who began the run said so, or the script at work."""
        return bool(self.arguments["exclusive"]) or self.plan.recorded.exclusive_because is not None

    @property
    def made_so_far(self) -> frozenset[str] | None:
        """As `made`, for the revision after the one at work."""
        made = None if self.made is None else frozenset(self.made)
        for operation in self.plan.recorded.operations:
            made = made_in_run(operation, made)
        return made

    @property
    def next_members(self) -> tuple[RecordedRevision, ...]:
        """The revisions after the one at work that are carried out next, as one where they are several."""
        first = self.remaining[0].revision
        count = next((len(ids) for ids in self.folds if ids[0] == first), 1)
        return self.remaining[:count]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that are being done now, forward or back."""
        return self.plan.steps if self.failure is None else self.undo

    @property
    def step(self) -> Step | None:
        """The step to do next; None at the end."""
        return self.steps[self.position] if self.position < len(self.steps) else None

    @property
    def is_expanded(self) -> bool:
        """Whether it waits, with the old and the new servable, to be contracted."""
        return (
            self.arguments.get("phase") == "expand"
            and self.failure is None
            and self.position == self.plan.cutover
        )

    @property
    def expanded_revision(self) -> str | None:
        """The revision that waits to be contracted."""
        return self.plan.revision if self.is_expanded else None

    @property
    def goes_on_after_failure(self) -> bool:
        """Whether an index that fails is put back alone, and the others of its revision go on."""
        return self.arguments.get("on_failure") == "continue"

    @property
    def is_partial(self) -> bool:
        """Whether some indexes of the revision are changed and serve, and the others are as they were."""
        return bool(self.apart.left) and self.failure is None and self.step is None

    @property
    def partial_revision(self) -> str | None:
        """The revision of which some indexes are still to be changed."""
        return self.plan.revision if self.is_partial else None

    @property
    def is_recorded(self) -> bool:
        """Whether the revision at work is recorded: none has begun since, or it is being rolled back."""
        return self.plan.revision in self.done

    def undo_of(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """What undoes steps of the revision at work, with the places of the backups that it restores from."""
        return tuple(
            step.with_documents(backup=self.backups.get(str(step.index)))
            if step.life.has("restores")
            else step
            for step in undo_of(steps)
        )

    def with_changes(self, **changes: Any) -> Run:
        """The run with other values and a new heartbeat."""
        return self.model_copy(update={"heartbeat": now(), **changes})

    def moved(self, **changes: Any) -> Run:
        """The run with other values of what changes at every step."""
        others = changes.keys() - MOVING
        if others:
            raise ValueError(f"the :progress document has no {', '.join(sorted(others))}; see MOVING")
        return self.with_changes(**changes)

    def taken_up(self) -> Run:
        """The run in the hands of this process."""
        return self.with_changes(by=signature(), host=socket.gethostname(), pid=os.getpid())

    def content(self) -> dict[str, Any]:
        """As the content of the `:run` document."""
        # Not mode="json": that replaces what is not UTF-8 in the keys of mappings.
        return self.model_dump()

    def progress_content(self) -> dict[str, Any]:
        """As the content of the `:progress` document."""
        return self.model_dump(include=set(MOVING))

    @model_serializer(mode="wrap")
    def _without_what_it_never_had(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A run that an older version began is written back as it was.
        content: dict[str, Any] = handler(self)
        if "build_sleep" not in self.model_fields_set:
            content.pop("build_sleep", None)
        if self.apart == NOTHING_APART:
            content.pop("apart", None)
        if not self.folds:
            content.pop("folds", None)
        return content

    @classmethod
    def from_content(cls, content: Mapping[str, Any], keys: StateKeys) -> Run:
        """Read the `:run` document, with what `:progress` has.

        Args:
            content: Of both.
            keys: The project's keys.

        Raises:
            StateError: It is no run that this version knows.
        """
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            raise _unreadable(keys, _first_mistake(error)) from error

    def require_arguments(self, keys: StateKeys) -> None:
        """Refuse to go on with a record that lacks what no run can do without.

        Args:
            keys: The project's keys.

        Raises:
            StateError: It does.
        """
        if missing := NEEDED_ARGUMENTS - self.arguments.keys():
            raise _unreadable(keys, f"arguments.{min(missing)} is missing")


def _unreadable(keys: StateKeys, mistake: str) -> StateError:
    return StateError(
        "The record of the interrupted run can't be read by this version of redismigrate: of "
        f"{keys.run} and {keys.progress} {mistake}.",
        f"Finish it with the version that began it. Where this is that version, the record is damaged. "
        f"{way_out_of_run(keys)}",
    )


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, mistake['loc']))} is wrong ({mistake['msg']})"


def begin(
    direction: Direction,
    target: str,
    plan: RevisionPlan,
    plan_digest: str,
    remaining: Iterable[RecordedRevision],
    arguments: Mapping[str, Any],
) -> Run:
    """A run before its first step."""
    moment, remaining = now(), tuple(remaining)
    return Run(
        id=uuid.uuid4().hex[:12],
        direction=direction,
        target=target,
        arguments=dict(arguments),
        plan=plan,
        plan_digest=plan_digest,
        remaining=tuple(member for item in remaining for member in item.members),
        folds=tuple(tuple(each.revision for each in item.folded) for item in remaining if item.folded),
        revision_started_at=moment,
        started_at=moment,
        heartbeat=moment,
        by=signature(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def now() -> str:
    """This moment, ISO 8601 with time zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
