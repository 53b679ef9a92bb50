"""What undoes a revision that is recorded: kept with the last run, so that this can be rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from redismigrate.errors import StateError
from redismigrate.execution.indexes_apart import NOTHING_APART
from redismigrate.execution.run import DocumentCounts, Run
from redismigrate.operations.recorded import RecordedRevision, names_after
from redismigrate.planning.physical_names import (
    catalog_with_names,
    names_brought_back,
    step_with_names,
    with_names,
)
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.undo import is_kept
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.stored_documents import AppliedRevision, Head

REQUESTED = "rolled back on request"


class UndoRecord(BaseModel):
    """The `:undo:<revision>` document.

    Attributes:
        run: The run when it recorded the revision, without what lies before and after that.
        before: Served name -> the definition that the revision met, None for none; of the indexes whose
            record it changed.
        removed: The record that a downgrade took back.
        records: All applied revisions whose records it changed, as they were before, None for those that had
            none; empty where that is the revision alone.
        removed_with_it: Those of the other revisions of a fold.
    """

    model_config = ConfigDict(frozen=True)

    run: Run
    before: dict[str, IndexDefinition | None]
    removed: AppliedRevision | None = None
    records: dict[str, AppliedRevision | None] = {}
    removed_with_it: dict[str, AppliedRevision] = {}

    @model_serializer(mode="wrap")
    def _without_what_others_never_have(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Where nothing is squashed or folded it is written as by versions that knew nothing of it.
        content: dict[str, Any] = handler(self)
        content["removed"] = None if self.removed is None else self.removed.to_json()
        content["removed_with_it"] = {id_: each.to_json() for id_, each in self.removed_with_it.items()}
        for name in ("records", "removed_with_it"):
            if not content[name]:
                del content[name]
        return content

    @classmethod
    def of(
        cls,
        run: Run,
        before: Catalog,
        after: Catalog,
        removed: AppliedRevision | None,
        records: Mapping[str, AppliedRevision | None] = MappingProxyType({}),
        removed_with_it: Mapping[str, AppliedRevision] = MappingProxyType({}),
    ) -> UndoRecord:
        """What to keep of the revision at work, which turns one catalog into the other.

        Args:
            run: The run when it records it.
            before: The recorded indexes before it.
            after: Those after it.
            removed: The record that it takes back, if any.
            records: All records that it changes, as they were; of a fold none.
            removed_with_it: Those of the other revisions of a fold.
        """
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return cls(
            # What the run has done and what remains would make a long chain cost its square.
            run=run.with_changes(
                remaining=(), done=(), progress=None, documents=DocumentCounts(), apart=NOTHING_APART
            ),
            before={name: before.get(name) for name in changed},
            removed=removed,
            records=dict(records) if records.keys() - {run.plan.revision} else {},
            removed_with_it=dict(removed_with_it),
        )

    def of_member(self, member: RecordedRevision) -> UndoRecord:
        """What undoes another revision of the fold once its last one is undone: there is nothing left to do.

        Args:
            member: Which.
        """
        recorded = replace(member, operations=(), adopted={}, found={}, undone_functions=())
        plan = RevisionPlan(recorded=recorded, steps=())
        run = self.run.with_changes(plan=plan, position=0, backups={}, baselines={}, quantizations={})
        return UndoRecord(run=run, before={}, removed=self.removed_with_it.get(member.revision))

    @classmethod
    def from_content(cls, content: Mapping[str, Any], key: str) -> UndoRecord:
        """Read the document.

        Args:
            content: Of the document.
            key: Where it stands.

        Raises:
            StateError: It is none that this version knows.
        """
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            raise StateError(
                "What undoes a revision of the last run can't be read by this version of redismigrate: "
                f"{key}.",
                "Roll back with the version that carried it out. Where this is that version, restore the key "
                "from a dump of this Redis.",
            ) from error

    def with_names(self, names: Mapping[str, str]) -> UndoRecord:
        """The record with the indexes as they are called by now, which later revisions were undone.

        Args:
            names: Physical name as recorded -> as it is by now.
        """
        if not names:
            return self
        plan = self.run.plan
        steps = tuple(step_with_names(step, names) for step in plan.steps)
        run = self.run.with_changes(plan=plan.model_copy(update={"steps": steps}))
        before = {name: with_names(definition, names) for name, definition in self.before.items()}
        return self.model_copy(update={"run": run, "before": before})

    def with_alias(self, served: str, alias: str) -> tuple[UndoRecord, str]:
        """The record of a revision whose index has got a further alias since, which is to move back with it.

        Where indexes have exchanged names in the revision a name does not tell which one is meant: then the
        record stays as it is.

        Args:
            served: How the index is called after the revision.
            alias: What it has got.

        Returns:
            It, and how the index was called before the revision.
        """
        recorded = self.run.plan.recorded
        known = [name for name, definition in self.before.items() if definition is not None]
        after = names_after(recorded.operations, {*known, *recorded.brought_in, served})
        first = next((before for before, now in after.items() if now == served and before != served), served)
        if first != served and (served in {*known, *recorded.brought_in} or first in after.values()):
            return self, first

        def extended(definition: IndexDefinition | None) -> IndexDefinition | None:
            if definition is None or definition.served not in {served, first}:
                return definition
            return replace(definition, aliases=tuple(sorted({*definition.aliases, alias})))

        plan = self.run.plan
        steps = tuple(
            step.model_copy(update={"before": extended(step.before), "after": extended(step.after)})
            for step in plan.steps
        )
        run = self.run.with_changes(plan=plan.model_copy(update={"steps": steps}))
        before = {name: extended(definition) for name, definition in self.before.items()}
        return self.model_copy(update={"run": run, "before": before}), first

    def content(self) -> dict[str, Any]:
        """The record as the content of its document in Redis."""
        # Not mode="json": that replaces what is not UTF-8 in the keys of mappings.
        return self.model_dump(exclude=None if self.removed_with_it else {"removed_with_it"})

    def rollback(
        self,
        done: tuple[str, ...],
        undone: tuple[str, ...] = (),
        documents: DocumentCounts = DocumentCounts(),  # noqa: B008 - frozen
        names: Mapping[str, str] | None = None,
    ) -> Run:
        """The run turned back to this revision, before the first step that undoes it.

        Args:
            done: The revisions of the run that are recorded, this one last.
            undone: Those that are undone already.
            documents: What became of documents by that.
            names: See `with_names`, which has been taken care of.
        """
        unrecord = Step(kind="unrecord_revision", description=self._what_becomes_of_the_record())
        return self.run.with_changes(
            failure=REQUESTED,
            undo=(*self.run.undo_of(self.run.plan.steps), unrecord),
            position=0,
            rolls_back=True,
            done=done,
            undone=undone,
            documents=documents,
            names=dict(names or {}),
        ).taken_up()

    def head_before(self, head: Head) -> Head:
        """The head without what the revision did to it."""
        if self.records:
            return head.with_records(self.records)
        members = [member.revision for member in self.run.plan.recorded.members]
        if self.removed is None:
            return head.without_revisions(members)
        records = {**self.removed_with_it, self.run.plan.revision: self.removed}
        for revision in reversed(members):
            head = head.with_revision(revision, records[revision])
        return head

    def met(self, catalog: Catalog) -> Catalog:
        """The recorded indexes as the revision met them."""
        for name, definition in self.before.items():
            catalog = catalog.without(name) if definition is None else catalog.with_definition(definition)
        return catalog

    def left(self, catalog: Catalog) -> Catalog:
        """The recorded indexes once the revision is undone: TEMPORARY ones stay as they are by now."""
        kept = {step.after.served for step in self.run.plan.steps if is_kept(step) and step.after is not None}
        left = catalog_with_names(self.met(catalog), names_brought_back(self.run.plan.steps))
        for name in kept & left.keys() & catalog.keys():
            left = left.with_definition(replace(catalog[name], aliases=left[name].aliases))
        return left

    def _what_becomes_of_the_record(self) -> str:
        verb = "take back the record of" if self.removed is None else "record"
        return f"{verb} {', '.join(member.revision for member in self.run.plan.recorded.members)}"
