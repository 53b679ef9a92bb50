"""`current` and `status`: what is recorded, and what a run is doing. They only read, on a replica as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from redismigrate.commands.leftovers import leftovers
from redismigrate.commands.migration_options import key_to_json
from redismigrate.commands.project import Project
from redismigrate.commands.redis_ahead import revisions_ahead, told_ahead
from redismigrate.commands.session import expanded_run, partial_run, unrecorded_indexes
from redismigrate.commands.squashed_history import InBetween, in_between, seen
from redismigrate.errors import BehindHead
from redismigrate.history.folder import heads_of
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.redisvl import schema_to_redisvl
from redismigrate.state.control import Control
from redismigrate.state.follower_report import FollowerReport, read_follower
from redismigrate.state.journal import read_journal
from redismigrate.state.lock import Holder, read_holder
from redismigrate.state.store import read_state
from redismigrate.state.stored_documents import Head
from redismigrate.state.while_expanded import WhileExpanded, read_while_expanded

if TYPE_CHECKING:
    from redismigrate.execution.index_states import IndexProgress

_JOURNAL_EVENTS = 10


@dataclass(frozen=True)
class Current:
    """What is applied.

    Attributes:
        project: Whose state it is.
        head: The applied revisions.
        catalog: The indexes as recorded.
        missing: Revisions in the folder that are not applied.
        ahead: Applied revisions that the folder lacks.
        changed: Applied revisions whose script was changed since.
        unfinished_run: The id of a run that is under way or interrupted; None when there is none.
        expanded: The revision that waits to be contracted; None when none does.
        partial: The revision of which some indexes could not be changed; None when there is none.
        left: Those indexes, and why each was put back as it was.
        built_beside: Served name -> the index that was built beside it for that, under its physical name.
        heads_of_scripts: How many heads the scripts have.
        told_ahead: What `ahead` means and what to do about it; None where it is empty.
        in_between: Squashed revisions of which a part is applied -> what that means and what to do.
    """

    project: str
    head: Head
    catalog: Catalog
    missing: tuple[str, ...]
    ahead: tuple[str, ...]
    changed: tuple[str, ...]
    unfinished_run: str | None
    heads_of_scripts: int
    expanded: str | None = None
    partial: str | None = None
    left: Mapping[str, str] = field(default_factory=dict)
    built_beside: Mapping[str, IndexDefinition] = field(default_factory=dict)
    told_ahead: str | None = None
    in_between: Mapping[str, InBetween] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0; or that of revisions that wait, where one is applied in part only."""
        return 0 if self.partial is None else BehindHead.exit_code

    def to_json(self) -> dict[str, Any]:
        """In the shape that `current --json` promises."""
        return {
            "project": self.project,
            "heads": list(self.head.heads),
            "applied": [{"revision": id_, **record.to_json()} for id_, record in self.head.revisions.items()],
            "indexes": {
                served: {
                    "physical": definition.physical,
                    "schema": schema_to_redisvl(definition.schema),
                    "aliases": list(definition.aliases),
                    "synonyms": {group: list(terms) for group, terms in definition.synonyms.items()},
                    "quantization": {path: asdict(made) for path, made in definition.quantization.items()},
                    "expanded": self._built_beside(served),
                }
                for served, definition in self.catalog.items()
            },
            "missing": list(self.missing),
            "pending": len(self.missing),
            "ahead": list(self.ahead),
            "changed": list(self.changed),
            "unfinished_run": self.unfinished_run,
            "expanded": self.expanded,
            "partial": self.partial,
            "left": dict(self.left),
            "in_between": {revision: str(part) for revision, part in self.in_between.items()},
        }

    def _built_beside(self, served: str) -> dict[str, Any] | None:
        """The index that clients of the new form query until the served name moves to it."""
        definition = self.built_beside.get(served)
        if definition is None:
            return None
        return {"physical": definition.physical, "schema": schema_to_redisvl(definition.schema)}


@dataclass(frozen=True)
class Status:
    """What goes on.

    Attributes:
        project: Whose state it is.
        heads: The applied heads.
        run: The `:run` document; None when no run is under way or interrupted.
        holder: Who holds the lock; None when nobody does.
        problems: What `repair` or a person should look at.
        journal: The last events, newest first.
        expanded: The revision that waits to be contracted; None when none does.
        partial: The revision of which some indexes could not be changed; None when there is none.
        indexes: How far each index of the revision at work is; empty without a run, and while it is undone.
        follower: What a process that follows the expanded revision said last; None when none does.
        control: What the run has to keep to; None without one.
        while_expanded: What became of documents since they have two forms; None where nothing was counted.
    """

    project: str
    heads: tuple[str, ...]
    run: dict[str, Any] | None
    holder: Holder | None
    problems: tuple[str, ...]
    journal: tuple[dict[str, str], ...]
    expanded: str | None = None
    partial: str | None = None
    indexes: tuple[IndexProgress, ...] = ()
    follower: FollowerReport | None = None
    control: Control | None = None
    while_expanded: WhileExpanded | None = None

    @property
    def is_interrupted(self) -> bool:
        """A run is unfinished and nobody works on it, though it does not wait to be contracted."""
        is_left = self.run is not None and (self.holder is None or self.holder.is_dead())
        return is_left and self.expanded is None and self.partial is None

    def to_json(self) -> dict[str, Any]:
        """The status as data for `--json`."""
        return {
            "project": self.project,
            "heads": list(self.heads),
            "run": self.run,
            "control": None if self.control is None else asdict(self.control),
            "interrupted": self.is_interrupted,
            "expanded": self.expanded,
            "partial": self.partial,
            "indexes": [each.to_json() for each in self.indexes],
            "follower": None if self.follower is None else asdict(self.follower),
            "while_expanded": _traffic_to_json(self.while_expanded),
            "lock": None if self.holder is None else asdict(self.holder),
            "problems": list(self.problems),
            "journal": list(self.journal),
        }


def _traffic_to_json(counts: WhileExpanded | None) -> dict[str, Any] | None:
    """What became of documents while there are two forms of them; keys that aren't UTF-8 as {"base64"}."""
    if counts is None:
        return None
    listed = [{**document, "key": key_to_json(str(document.get("key")))} for document in counts.listed]
    return {**asdict(counts), "listed": listed}


def current(project: Project) -> Current:
    """What is applied on the server."""
    with project.connect() as server:
        state = read_state(server, project.keys)
    run, partial, head = expanded_run(state), partial_run(state), seen(project, state.head)
    known = {script.revision: script for script in project.scripts}
    return Current(
        project=project.settings.project,
        head=head,
        catalog=state.catalog,
        missing=tuple(script.revision for script in project.scripts if script.revision not in head.applied),
        ahead=revisions_ahead(project, state.head),
        told_ahead=told_ahead(project, state.head),
        changed=tuple(
            id_
            for id_, record in head.revisions.items()
            if id_ in known and not record.is_of(known[id_].sha256, known[id_].code_sha256)
        ),
        unfinished_run=None if state.run is None else str(state.run.get("id")),
        heads_of_scripts=len(heads_of(project.scripts)),
        expanded=None if run is None else run.plan.revision,
        partial=None if partial is None else partial.plan.revision,
        left={} if partial is None else partial.apart.left,
        built_beside={} if run is None else run.plan.built_beside,
        in_between=in_between(project, state.head),
    )


def status(project: Project) -> Status:
    """The run, the lock, the last events, and what differs from the record."""
    from redismigrate.commands.controlling import control_of
    from redismigrate.execution.index_states import index_states
    from redismigrate.execution.indexes.survey import survey
    from redismigrate.execution.run import Run
    from redismigrate.planning.drift import drift_of

    with project.connect() as server:
        state = read_state(server, project.keys)
        run, partial = expanded_run(state), partial_run(state)
        at_work = None if state.run is None else Run.from_content(state.run, state.keys)
        holder = read_holder(server, project.keys)
        follower = read_follower(server, project.keys)
        journal = read_journal(server, project.keys, _JOURNAL_EVENTS)
        control = None if at_work is None else control_of(server, project, at_work)
        counts = None if at_work is None else read_while_expanded(server, project.keys, at_work.id)
        server.capabilities.require_search()
        problems = tuple(
            f"{name}: its record is lost; restore the state's keys from a dump, or `redismigrate stamp REV`"
            for name in unrecorded_indexes(server, project, state)
        )
        if len(state.catalog) and state.run is None:
            inventory = survey(server, project.settings.project, state.catalog)
            problems += tuple(
                f"{name}: {problem}"
                for name, definition in state.catalog.items()
                for problem in drift_of(definition, inventory, has_remedies=True)
            )
            problems += tuple(f"{left.index}: {left.text}" for left in leftovers(server, state, inventory))
    return Status(
        project=project.settings.project,
        heads=seen(project, state.head).heads,
        run=None if state.run is None else dict(state.run),
        control=control,
        holder=holder,
        problems=problems,
        journal=journal,
        expanded=None if run is None else run.plan.revision,
        partial=None if partial is None else partial.plan.revision,
        indexes=() if at_work is None else index_states(at_work),
        follower=follower,
        while_expanded=counts,
    )
