"""`check`: whether declared schemas, scripts, record and server agree. Only reads, on a replica as well."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from redismigrate.commands.authoring.declared import declared_schemas, declares_schemas
from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.leftovers import leftovers, served_by
from redismigrate.commands.long_expansion import told_of_long_expansion
from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_upgrades
from redismigrate.commands.redis_ahead import revisions_ahead
from redismigrate.commands.session import expanded_run, partial_run, unrecorded_indexes
from redismigrate.commands.squashed_history import in_between, seen
from redismigrate.errors import BehindHead, DriftError, ScriptError
from redismigrate.execution.indexes.survey import live_index_reader, survey
from redismigrate.foreign_text import shell_command
from redismigrate.history.folder import heads_of
from redismigrate.planning.drift import drifts_of
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.store import State, read_state
from redismigrate.state.stored_documents import Head

if TYPE_CHECKING:
    from redismigrate.execution.run import Run

_AUTOGENERATE = "`redismigrate revision --autogenerate -m MESSAGE` writes a revision that makes it so"


@dataclass(frozen=True)
class Finding:
    """One thing in which two of the four differ.

    Attributes:
        between: `declared`: the declared schemas and what the scripts make; `history`: the scripts and what
            is recorded as applied; `server`: what is applied and the live indexes.
        kind: What differs, for programs.
        index: The served name; None where it is not about one index.
        message: The same in words.
        remedy: The command that mends it, and what that does.
    """

    between: Literal["declared", "history", "server"]
    kind: str
    index: str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        told = f"{self.message}; {self.remedy}"
        return told if self.index is None else f"{self.index}: {told}"


@dataclass(frozen=True)
class CheckReport:
    """What `check` found.

    Attributes:
        project: Whose state it is about.
        findings: What differs.
        missing: Revisions that wait to be applied.
        unmanaged: Indexes of the server that no project manages; nothing is ever done to them.
        notes: What could not be compared, and why; and a revision that has been expanded for long.
        partial: The revision of which some indexes could not be changed; None when there is none.
    """

    project: str
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    unmanaged: tuple[str, ...]
    notes: tuple[str, ...] = ()
    partial: str | None = None

    @property
    def result(self) -> Literal["same", "behind", "different"]:
        """Whether schemas, scripts, record and server agree."""
        if self.findings:
            return "different"
        return "behind" if self.missing else "same"

    @property
    def exit_code(self) -> int:
        """0, or that of the error that says the same."""
        return {"same": 0, "behind": BehindHead.exit_code, "different": DriftError.exit_code}[self.result]

    def to_json(self) -> dict[str, Any]:
        """The comparison as data for `--json`."""
        return {
            "project": self.project,
            "result": self.result,
            "differences": [asdict(finding) for finding in self.findings],
            "missing": list(self.missing),
            "unmanaged": list(self.unmanaged),
            "notes": list(self.notes),
            **({} if self.partial is None else {"partial": self.partial}),
        }


def check(project: Project) -> CheckReport:
    """Compare the declared schemas, the replayed history, the record and the live indexes.

    Without declared schemas, history and server are compared. What waits to be applied is no difference by
    itself: the server is compared with what is applied.

    Raises:
        ScriptError: A script that waits to be applied raised or asked for what can't be.
        ConfigurationError, SchemaError: The declared schemas can't be read.
    """
    declared = declared_schemas(project) if declares_schemas(project) else None
    with project.connect() as server:
        state = read_state(server, project.keys)
        head = seen(project, state.head)
        applied = head.applied
        missing = tuple(script.revision for script in project.scripts if script.revision not in applied)
        notes: list[str] = []
        at_head = head_catalog(project, server, state, missing, notes)
        findings = [*_of_schemas(project, declared, at_head), *_of_history(project, state, head)]
        server.capabilities.require_search()
        partial = partial_run(state)
        if partial is not None:
            notes.append(_partly(partial))
        # Of a revision that is partly applied the record alone tells how each index is.
        expected = (
            state.catalog
            if partial is not None
            else _applied_catalog(project, state, applied, at_head if not missing else None)
        )
        inventory = survey(server, project.settings.project, expected)
        findings += _of_server(project, server, state, head, expected, inventory)
        expanded = expanded_run(state)
        if expanded is not None:
            long = told_of_long_expansion(server, expanded, project.settings.longest_expansion_days)
            notes += [] if long is None else [long]
        unmanaged = _unmanaged(project, state, expected, inventory)
    return CheckReport(
        project.settings.project,
        tuple(findings),
        missing,
        unmanaged,
        tuple(notes),
        None if partial is None else partial.plan.revision,
    )


def _partly(run: Run) -> str:
    """That a revision is applied in part, and what to do."""
    left = "; ".join(f"{index}: {reason}" for index, reason in run.apart.left.items())
    return f"Revision {run.plan.revision} is partly applied ({left}); {_way_on(run.model_dump())}"


def head_catalog(
    project: Project, server: Server, state: State, missing: Collection[str], notes: list[str]
) -> Catalog:
    """What all scripts make; where they can't be replayed, what those to come make of what is recorded.

    Args:
        project: The project.
        server: Has the record.
        state: It.
        missing: The revisions that are not applied.
        notes: Is told why the record stands for scripts.

    Raises:
        ScriptError: One of those to come raised or asked for what can't be.
    """
    try:
        return replay(project)
    except ScriptError as error:
        reason = error.message
    catalog = state.catalog
    if missing:
        server.capabilities.require_search()
        # A fault in one of these is told: they are what the next upgrade runs.
        to_come = project.history.ordered(missing)
        read_live, applied = live_index_reader(server), state.head.applied
        for item in record_upgrades(project.history, to_come, catalog, read_live, applied=applied):
            catalog = item.apply(catalog)
    if state.head.applied:
        notes.append(f"The record stands for the applied scripts, which can't be replayed: {reason}")
    return catalog


def _applied_catalog(
    project: Project, state: State, applied: Collection[str], at_head: Catalog | None
) -> Catalog:
    """What the applied scripts make, under the physical names that are recorded.

    The record stands for scripts that are missing or can't be replayed.
    """
    if not set(applied) <= {script.revision for script in project.scripts}:
        return state.catalog
    if at_head is None:
        try:
            at_head = replay(project, applied)
        except ScriptError:
            return state.catalog
    return Catalog(
        {
            name: replace(
                definition,
                physical=state.catalog[name].physical,
                quantization=state.catalog[name].quantization,
            )
            if name in state.catalog
            else definition
            for name, definition in at_head.items()
        }
    )


def _of_schemas(
    project: Project, declared: Mapping[str, IndexSchema] | None, at_head: Catalog
) -> Iterator[Finding]:
    if declared is None:
        return
    included = {
        name: definition.schema
        for name, definition in at_head.items()
        if project.env_module.includes("index", name)
    }
    for name in sorted(declared.keys() | included.keys()):
        if name not in included:
            yield Finding(
                "declared", "index_added", name, "it is declared, and no revision creates it", _AUTOGENERATE
            )
        elif name not in declared:
            yield Finding(
                "declared",
                "index_dropped",
                name,
                "it is not declared, and no revision drops it",
                _AUTOGENERATE,
            )
        else:
            for difference in diff(included[name], declared[name]):
                yield Finding("declared", difference.kind, name, str(difference), _AUTOGENERATE)


def _of_history(project: Project, state: State, head: Head) -> Iterator[Finding]:
    known = {script.revision: script for script in project.scripts}
    heads = heads_of(project.scripts)
    if len(heads) > 1:
        yield Finding(
            "history",
            "several_heads",
            None,
            f"the history has several heads: {', '.join(heads)}",
            f"`redismigrate merge -m MESSAGE {' '.join(heads)}` joins them",
        )
    for part in in_between(project, state.head).values():
        hint = part.hint[:1].lower() + part.hint[1:].rstrip(".")
        yield Finding("history", "squash_in_between", None, part.message.rstrip("."), hint)
    ahead = revisions_ahead(project, state.head)
    for revision, record in head.revisions.items():
        if revision not in known and revision not in ahead:
            continue  # a part of a squashed one
        if revision not in known:
            yield Finding(
                "history",
                "ahead",
                None,
                f"Redis is ahead by revision {revision} ({record.message or 'no message'}): no script has it",
                "take the scripts of the release that has it; where the indexes are as the scripts here make "
                "them, `redismigrate stamp heads` forgets it",
            )
        elif not record.is_of(known[revision].sha256, known[revision].code_sha256):
            yield Finding(
                "history",
                "script_changed",
                None,
                f"{known[revision].path.name} was changed since revision {revision} was applied",
                f"`redismigrate stamp {' '.join(head.heads)}` accepts it as it is",
            )


def _of_server(
    project: Project, server: Server, state: State, head: Head, expected: Catalog, inventory: Inventory
) -> Iterator[Finding]:
    if state.run is not None and expanded_run(state) is None and partial_run(state) is None:
        # Half way, neither what was nor what is to be can be expected.
        run = state.run.get("id")
        yield Finding("server", "unfinished_run", None, f"run {run} is unfinished", _way_on(state.run))
        return
    for name in unrecorded_indexes(server, project, state):
        yield Finding(
            "server",
            "record_lost",
            name,
            "its record is lost",
            "restore it from a dump, or say what is applied with `redismigrate stamp REV`",
        )
    for name in sorted(expected.keys() ^ state.catalog.keys()):
        message = (
            "the applied scripts make it, and it is not recorded"
            if name in expected
            else "it is recorded, and the applied scripts don't make it"
        )
        remedy = f"`redismigrate stamp {' '.join(head.heads)}` records what the scripts make"
        yield Finding("history", "record_differs", name, message, remedy)
    for name, definition in expected.items():
        if name in state.catalog:
            yield from _of_index(name, definition, state.catalog[name], inventory)
    for leftover in leftovers(server, state, inventory):
        yield Finding("server", "leftover_index", leftover.index, leftover.message, leftover.remedy)


def _way_on(run: Mapping[str, Any]) -> str:
    """What ends an unfinished run."""
    if run.get("rolls_back"):
        return "`redismigrate rollback` goes on undoing it"
    command = shell_command("redismigrate", str(run.get("direction")), str(run.get("target")))
    return f"`{command}` goes on with it, `redismigrate rollback` undoes it"


def _of_index(
    name: str, definition: IndexDefinition, recorded: IndexDefinition, inventory: Inventory
) -> Iterator[Finding]:
    differences = [*diff(recorded.schema, definition.schema)]
    for difference in differences:
        # A script that was changed after it was applied; the server is what the record says.
        yield Finding(
            "history",
            difference.kind,
            name,
            f"since it was applied, {difference}",
            "put the script back, and the change into a revision of its own, which `redismigrate revision -m "
            "MESSAGE` begins",
        )
    for drift in drifts_of(recorded if differences else definition, inventory):
        yield Finding("server", drift.kind, name, drift.text, drift.remedy)


def _unmanaged(project: Project, state: State, expected: Catalog, inventory: Inventory) -> tuple[str, ...]:
    """The indexes that belong to nobody, those left out that are being built or hide an alias."""
    ours = {name for catalog in (state.catalog, expected) for d in catalog.values() for name in _names(d)}
    run = expanded_run(state)
    if run is not None:
        ours |= {definition.physical for definition in run.plan.built_beside.values()}
    elif state.run is not None:
        return ()
    served = tuple(inventory.owners)
    return tuple(
        name
        for name in sorted(inventory.names - ours)
        if name not in served
        and served_by(name, served) is None
        and project.env_module.includes("index", name)
    )


def _names(definition: IndexDefinition) -> set[str]:
    return {definition.physical, *definition.all_aliases}
