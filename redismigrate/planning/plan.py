"""The plan: ordered steps with strategy, costs and warnings, as data that survives in YAML and in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.twins import twins_of
from redismigrate.html_tables import box, heading, paragraph, table
from redismigrate.operations.expectations import LookBefore
from redismigrate.operations.recorded import Direction, RecordedRevision
from redismigrate.planning.plan_summary import PlanSummary
from redismigrate.planning.savings import Saving
from redismigrate.planning.step_kinds import LIVES
from redismigrate.planning.step_life import StepKind, StepLife, Strategy, life_name_of
from redismigrate.planning.step_payloads import (
    DocumentsPayload,
    DropPayload,
    ExpectationsPayload,
    FunctionPayload,
    flat,
    nested,
)
from redismigrate.quantities import seconds_text, size_text
from redismigrate.schema.definition import IndexDefinition

_Value = TypeVar("_Value")


class Estimate(BaseModel):
    """What a step costs.

    Attributes:
        documents: Documents that are indexed or read.
        bytes_read: Bytes of documents read by the client.
        bytes_written: Bytes of documents written.
        backup_bytes: Bytes that go to disk before.
        memory_bytes: Peak extra memory of the server.
        kept_memory_bytes: What of its memory stays when it is done, below 0 what is freed; None: not known.
        seconds: Wall seconds.
        search_downtime_seconds: Seconds in which searches fail or miss documents.
    """

    model_config = ConfigDict(frozen=True)

    documents: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    backup_bytes: int = 0
    memory_bytes: int = 0
    kept_memory_bytes: int | None = 0
    seconds: float = 0.0
    search_downtime_seconds: float = 0.0

    @model_serializer(mode="wrap")
    def _without_what_it_never_had(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A run that an older version began is written back as it was.
        content: dict[str, Any] = handler(self)
        if "kept_memory_bytes" not in self.model_fields_set:
            del content["kept_memory_bytes"]
        return content


class Step(BaseModel):
    """One thing the executor does.

    Attributes:
        kind: What it is called where it is stored and shown; what it means is its life.
        index: The served name it is about, if any.
        strategy: How the change that this step belongs to is carried out.
        description: One line for people.
        before: The index as it is before, None when it does not exist; of an alias, what it points to.
        after: The index as it is after, None when it is gone; of an alias, what it will point to.
        alias: The alias it is about, if any; of a dropped index, its name, which becomes an alias.
        documents: What it does to documents, or has to know of what is done to them.
        call: The function of a script that it runs.
        drop: How it drops an index.
        checks: What an index has to answer.
        after_record: Whether it comes once the revision is recorded and serves: it removes what was replaced.
        estimate: What it costs.
        rollback: What undoing it would do.
    """

    model_config = ConfigDict(frozen=True)

    kind: StepKind
    index: str | None = None
    strategy: Strategy | None = None
    description: str = ""
    before: IndexDefinition | None = None
    after: IndexDefinition | None = None
    alias: str | None = None
    documents: DocumentsPayload | None = None
    call: FunctionPayload | None = None
    drop: DropPayload | None = None
    checks: ExpectationsPayload | None = None
    after_record: bool = False
    estimate: Estimate = Estimate()
    rollback: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_stored(cls, values: Any) -> Any:
        return nested(values) if isinstance(values, dict) else values

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return flat(handler(self))

    @property
    def life(self) -> StepLife:
        """What it means: what it does, how it is undone, and what a second try meets."""
        return LIVES[
            life_name_of(
                self.kind,
                self.strategy,
                takes_back=self.documents is not None and self.documents.takes_back,
                after_record=self.after_record,
                has_second_fields=self.drop is not None and bool(self.drop.second_fields),
                has_twins=self.documents is not None and bool(twins_of(self.documents.rewrite)),
            )
        ]

    @property
    def costs(self) -> dict[str, str]:
        """What it costs, for people, by what that is; empty where it costs nothing of that."""
        estimate = self.estimate
        return {
            "strategy": self.strategy or "",
            "documents": f"{estimate.documents:,}" if estimate.bytes_read or estimate.bytes_written else "",
            "reads": size_text(estimate.bytes_read),
            "writes": size_text(estimate.bytes_written),
            "backup": size_text(estimate.backup_bytes),
            "search down": seconds_text(estimate.search_downtime_seconds),
            "takes": seconds_text(estimate.seconds),
            "memory": size_text(estimate.memory_bytes, "+"),
        }

    @property
    def served(self) -> str:
        """The served name of the index that it is about; an error where it is about none."""
        return self._needed(self.index, "an index")

    @property
    def index_before(self) -> IndexDefinition:
        """The index before it; an error where there is none."""
        return self._needed(self.before, "the index before")

    @property
    def index_after(self) -> IndexDefinition:
        """The index after it; an error where there is none."""
        return self._needed(self.after, "the index after it")

    @property
    def work(self) -> DocumentsPayload:
        """What it does to documents; an error where it does nothing to them."""
        return self._needed(self.documents, "documents")

    @property
    def rewrite(self) -> Rewrite | None:
        """What becomes of documents by it, or has become before it looks; None where nothing does."""
        return None if self.documents is None else self.documents.rewrite

    @property
    def backup(self) -> str | None:
        """Where the backup is that it restores documents from, `host:path`; None for none."""
        return None if self.documents is None else self.documents.backup

    @property
    def restores_from(self) -> tuple[str, ...]:
        """The backups from which originals come back that a conversion can't give."""
        return () if self.documents is None else self.documents.restores_from

    @property
    def backups_read(self) -> tuple[str, ...]:
        """Where all backups are that it takes originals from."""
        return (() if self.backup is None else (self.backup,)) + self.restores_from

    @property
    def deletes_documents(self) -> bool:
        """Whether it drops an index together with its documents."""
        return self.drop is not None and self.drop.delete_documents

    @property
    def is_loss(self) -> bool:
        """Whether clients lose an index or a name by it, for which nothing is built beside."""
        return self.life.has("is_loss") or (self.kind == "set_alias" and self.before is not None)

    def with_documents(self, **changes: Any) -> Step:
        """The step with other values of what it does to documents, where it does something to them."""
        if self.documents is None:
            return self
        return self.model_copy(update={"documents": self.documents.model_copy(update=changes)})

    def _needed(self, value: _Value | None, what: str) -> _Value:
        if value is None:
            raise ValueError(f"a step {self.kind} needs {what}")
        return value


class Obstacle(BaseModel):
    """One reason why a plan can't run.

    Attributes:
        index: The served name of the index that it concerns, after the change; None for all of the revision.
        strategy: The strategy that can't do the change at all; None where another one would meet it, too.
        text: One sentence, without a full stop.
    """

    model_config = ConfigDict(frozen=True)

    index: str | None
    strategy: Strategy | None
    text: str

    def __str__(self) -> str:
        return self.text


def moves_names(step: Step) -> bool:
    """Whether a step changes what names lead to and nothing else, so that several of these can be one.

    A rebuild that rewrites documents drops its index to write without it; what comes after the record is
    cleaning up.
    """
    return step.life.has("moves_names") and not step.after_record


class Alternative(BaseModel):
    """What one strategy would make of one changed index.

    Attributes:
        index: The served name.
        strategy: How.
        is_chosen: Whether the plan does it so.
        impossible: Why it can't be done so; empty when it can.
        search_downtime_seconds: Seconds in which searches fail or miss documents.
        writes: What becomes of writes meanwhile.
        seconds: Wall seconds.
        memory_bytes: Peak extra memory of the server.
        changes: What changes in the documents: datatypes, names of fields, keys.
    """

    model_config = ConfigDict(frozen=True)

    index: str
    strategy: Strategy
    is_chosen: bool
    impossible: tuple[str, ...]
    search_downtime_seconds: float
    writes: str
    seconds: float
    memory_bytes: int
    changes: tuple[str, ...]


class RevisionPlan(BaseModel):
    """How one revision is carried out.

    Attributes:
        recorded: What the script asks for.
        steps: In order; the last records the revision.
        warnings: What the user should know before.
        obstacles: Why it can't run, empty when it can.
        alternatives: How else its indexes could be changed, where that was asked for.
        looks: What is expected of indexes before it changes anything.
    """

    model_config = ConfigDict(frozen=True)

    recorded: RecordedRevision
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    looks: tuple[LookBefore, ...] = ()

    @model_serializer(mode="wrap")
    def _without_looks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        # Where nothing is expected it is stored as by versions that knew no expectations.
        return content if self.looks else {name: content[name] for name in content if name != "looks"}

    @property
    def revision(self) -> str:
        """The id of the revision."""
        return self.recorded.revision

    @property
    def blocked(self) -> tuple[str, ...]:
        """Why it can't run, in words, each reason once."""
        return tuple(dict.fromkeys(obstacle.text for obstacle in self.obstacles))

    @property
    def ids(self) -> tuple[str, ...]:
        """The revisions that are carried out: this one, or all of a fold, in order."""
        return tuple(member.revision for member in self.recorded.members)

    @property
    def title(self) -> str:
        """What a message calls it at the beginning of a sentence."""
        return f"The fold of {', '.join(self.ids)}" if self.recorded.folded else f"Revision {self.revision}"

    @property
    def title_within(self) -> str:
        """The same within a sentence."""
        return f"{self.title[0].lower()}{self.title[1:]}"

    @property
    def built_beside(self) -> dict[str, IndexDefinition]:
        """Served name -> the index that is built beside it, to be swapped in; of several the first."""
        swaps = [
            step.after for step in self.steps if step.life.name == "swap_alias" and step.after is not None
        ]
        return {definition.served: definition for definition in reversed(swaps)}

    @property
    def cutover(self) -> int | None:
        """Where the expand phase ends; None where there is no swap."""
        return cutover_of(self.steps)


class Plan(BaseModel):
    """A whole upgrade or downgrade.

    Attributes:
        project: Whose state it changes.
        direction: Upgrade or downgrade.
        target: The revision identifier that was asked for.
        revisions: In the order in which they run.
        digest: Over operations, strategies and the schemas they meet, not over counts: `--plan` compares it.
        warnings: What concerns the plan as a whole.
        summary: What it costs in all; None where it was not added up.
        savings: The revision that a fold is called after -> what it saves.
    """

    model_config = ConfigDict(frozen=True)

    project: str
    direction: Direction
    target: str
    revisions: tuple[RevisionPlan, ...]
    digest: str
    warnings: tuple[str, ...] = ()
    summary: PlanSummary | None = None
    savings: dict[str, Saving] = {}

    def _repr_html_(self) -> str:
        """The plan as a notebook shows it."""
        total = sum(len(item.ids) for item in self.revisions)
        count = f"{total} revision{'s' if total != 1 else ''}"
        parts = [heading(f"{self.direction} to {self.target}: {count}, project {self.project}")]
        parts += [paragraph(reason, "blocked:") for reason in self.blocked]
        if self.summary is not None and self.revisions:
            parts.append(table(["costs", "in all"], list(self.summary.rows())))
        parts += [paragraph(warning, "note:") for warning in self.warnings]
        for item in self.revisions:
            parts.append(heading(f"{item.revision} {item.recorded.message}"))
            if item.revision in self.savings:
                parts.append(paragraph(str(self.savings[item.revision]), "folded:"))
            titles = ["step", *item.steps[0].costs, "rollback"] if item.steps else []
            rows = [[step.description, *step.costs.values(), step.rollback] for step in item.steps]
            parts.append(table(titles, rows))
            parts += [paragraph(str(look), "expected:") for look in item.looks]
            parts += [paragraph(warning, "note:") for warning in item.warnings]
        return box(*parts)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Every reason why the plan can't run, with the revision it concerns."""
        return tuple(f"{plan.revision}: {reason}" for plan in self.revisions for reason in plan.blocked)


def cutover_of(steps: Sequence[Step]) -> int | None:
    """The position of the first swap, or of what moves with it; None where there is no swap."""
    at = next((at for at, step in enumerate(steps) if step.kind == "swap_alias"), None)
    while at and (moves_names(steps[at - 1]) or steps[at - 1].kind == "release_index"):
        at -= 1
    return at
