"""The wizard of a project: it asks about one index, and what the answers come to is a revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from redismigrate.commands.authoring.foreseen import Foresight
from redismigrate.commands.authoring.generating import ScriptContent, catalog_with, content_of
from redismigrate.commands.authoring.rename_questions import Renames
from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.checking import head_catalog
from redismigrate.commands.project import Project
from redismigrate.commands.squashed_history import seen
from redismigrate.errors import (
    ConnectionFailed,
    PlanBlocked,
    RedisMigrateError,
    ScriptError,
    ServerError,
    UsageError,
)
from redismigrate.execution.indexes.live import existing_indexes
from redismigrate.foreign_text import readable
from redismigrate.history.script_writer import new_revision_id
from redismigrate.operations.differing import rename_candidates
from redismigrate.operations.patch_writing import patch_of_changes
from redismigrate.operations.redisvl_patch import SchemaPatch, changes_of_patch
from redismigrate.planning.plan import Plan
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog
from redismigrate.schema.redisvl import schema_to_redisvl
from redismigrate.state.owners import owned_by_another, read_owners
from redismigrate.state.store import read_state
from redismigrate.wizard.dialogue import Dialogue, Judgement
from redismigrate.wizard.draft import Draft
from redismigrate.wizard.entries import Entry, played
from redismigrate.wizard.questions import Answer, Choice, Exact, Question

_PREPARED = "with the wizard's rename"


class Wizard:
    """A dialogue about one index.

    Attributes:
        dialogue: Where it is.
        revision: The id of the revision that may come of it.
        notes: What is to be known before the first question.

    Args:
        catalog: The indexes before the revision.
        index: Which of them it is about.
        revision: The id.
        foresight: Plans; None: the server can't be asked.
        notes: See above.
        message: What the revision is for, where that needs not be asked.
        needs_patch: It may only end with what a schema patch can say.
    """

    def __init__(
        self,
        catalog: Catalog,
        index: str,
        revision: str,
        foresight: Foresight | None,
        *,
        notes: Iterable[str] = (),
        message: str | None = None,
        needs_patch: bool = False,
    ) -> None:
        self.dialogue = Dialogue(Draft(catalog, index))
        self.revision = revision
        self.notes = tuple(notes)
        self._foresight = foresight
        self._message = message
        self._needs_patch = needs_patch
        self._told: set[str] = set()
        self._judged: dict[tuple[Any, ...], Judgement] = {}

    @property
    def question(self) -> Question:
        """What is asked now."""
        return self.dialogue.question

    @property
    def schema(self) -> IndexSchema:
        """The index as the answers so far want it."""
        return self.dialogue.draft.schema

    def answer(self, answer: Answer) -> None:
        """Take an answer; `dialogue` has what it has led to."""
        before = self.dialogue
        self.dialogue = before.answered(answer, self._judge)
        if self.dialogue.form == "finish" and self._message is not None:
            self.dialogue = self.dialogue.answered(Exact(self._message), self._judge)
        if self.dialogue.ending == "finish" and self._needs_patch:
            try:
                self.patch()
            except RedisMigrateError as error:
                self.dialogue = Dialogue(before.draft).refused(error)

    def start_with(self, patch: SchemaPatch) -> None:
        """Begin with what a schema patch says.

        Raises:
            SchemaError: It does not fit the index.
            PlanBlocked: No upgrade could carry it out.
        """
        draft = self.dialogue.draft
        changes = changes_of_patch(patch, draft.schema)
        if not changes:
            return
        draft = draft.with_changes(changes)
        judgement = self._judge(draft)
        if judgement.impossible:
            raise PlanBlocked(
                f"{'; '.join(judgement.impossible)}.", "Correct the patch.", judgement.impossible
            )
        self.notes += judgement.notes
        self.dialogue = Dialogue(draft)

    def content(self) -> ScriptContent:
        """The script that the answers so far come to; all empty where that is nothing."""
        return _content(self.dialogue.draft)

    def patch(self) -> dict[str, Any]:
        """The same as a schema patch of RedisVL; SchemaError where none can say it."""
        draft = self.dialogue.draft
        return patch_of_changes(draft.changes, draft.before)

    def target_schema(self) -> dict[str, Any]:
        """The index as it is wanted, in RedisVL's form; SchemaError where that can't say it."""
        return schema_to_redisvl(self.schema)

    def plan(self) -> Plan:
        """What an upgrade would do.

        Raises:
            ConnectionFailed: The server can't be asked.
            RedisMigrateError: There can be no plan now.
        """
        if self._foresight is None:
            raise ConnectionFailed("There is no plan without the server.", "Start it, or correct the url.")
        draft = self.dialogue.draft
        return self._foresight.plan(draft.operations, self._message or "what the wizard was told")

    def _judge(self, draft: Draft) -> Judgement:
        """What generating a script and planning say of a draft; each note once."""
        foreseen = self._foreseen(draft)
        notes = (*_content(draft).notes, *foreseen.notes)
        new = tuple(note for note in dict.fromkeys(notes) if note not in self._told)
        if not foreseen.impossible:
            self._told.update(new)
        return Judgement(foreseen.impossible, new)

    def _foreseen(self, draft: Draft) -> Judgement:
        operations = draft.operations
        if self._foresight is None or not operations:
            return Judgement()
        try:
            return self._foresight.judge(operations)
        except RedisMigrateError as error:
            return Judgement(notes=(_not_planned(error),))


@contextmanager
def begin_wizard(
    project: Project,
    index: str,
    *,
    revision_id: str | None = None,
    message: str | None = None,
    needs_patch: bool = False,
) -> Iterator[Wizard]:
    """A wizard for an index of the history or of the server, which it may ask until the block ends.

    Args:
        project: The project.
        index: The served name.
        revision_id: The id that the revision will have.
        message: What the revision is for, where that needs not be asked.
        needs_patch: It may only end with what a schema patch can say.

    Raises:
        UsageError: There is no such index.
        PlanBlocked: It belongs to another project.
        ScriptError: The history can't be replayed.
    """
    told: list[str] = []
    of_history = _of_history(project, told)
    catalog = catalog_with(project, index, of_history)
    found = () if index in of_history else (index,)
    with _connected(project) as (server, notes):
        if server is not None:
            owner = read_owners(server).get(index, project.settings.project)
            if owner != project.settings.project:
                raise PlanBlocked(*owned_by_another(index, owner))
        revision = revision_id or new_revision_id()
        foresight = None if server is None else Foresight(project, server, revision, found)
        known = (*told, *notes)
        yield Wizard(
            catalog, index, revision, foresight, notes=known, message=message, needs_patch=needs_patch
        )


def index_question(project: Project) -> Question:
    """Which index to change: those of the history, then those of the server that nobody manages.

    Raises:
        UsageError: There is none.
    """
    catalog = _of_history(project, [])
    with _connected(project) as (server, _):
        unmanaged = [] if server is None else _unmanaged(project, server, catalog)
    choices = [
        *(Choice(name, f"{len(catalog[name].schema.fields)} fields") for name in sorted(catalog)),
        *(Choice(name, "on the server, made by no revision") for name in unmanaged),
    ]
    if not choices:
        raise UsageError(
            "There is no index to change.", 'Create one: `redismigrate revision -m "the first index"`.'
        )
    return Question("index", "Index to change", tuple(choices))


def wizard(
    project: Project,
    answers: Iterable[Entry],
    index: str,
    *,
    on_told: Callable[[str], None] | None = None,
) -> ScriptContent:
    """What answers to the wizard's questions come to, as the content of a revision.

    Args:
        project: The project.
        answers: As in an answers file: each as it would be typed, or one whole change.
        index: What they are about.
        on_told: Is told what is to be known, one sentence each.

    Raises:
        UsageError: An answer is none of the choices, or they end in the middle of a question.
        SchemaError: An answer asks for what can't be.
        PlanBlocked: No upgrade could carry it out.
    """
    with begin_wizard(project, index) as asking:
        for note in asking.notes:
            if on_told is not None:
                on_told(note)
        for _ in played(asking, answers):
            for told in asking.dialogue.told:
                if told.kind == "note" and on_told is not None:
                    on_told(told.text)
        return ScriptContent() if asking.dialogue.ending == "quit" else asking.content()


def _of_history(project: Project, notes: list[str]) -> Catalog:
    """The indexes that the scripts make; where no replay tells that, those that the record leads to."""
    try:
        return replay(project)
    except ScriptError:
        with project.connect() as server:
            state = read_state(server, project.keys)
            applied = seen(project, state.head).applied
            missing = [each.revision for each in project.scripts if each.revision not in applied]
            return head_catalog(project, server, state, missing, notes)


def _content(draft: Draft) -> ScriptContent:
    candidates = rename_candidates(draft.before, draft.schema.renamed(draft.before.name))
    return content_of(draft.operations, draft.catalog, Renames(open_fields=candidates), say_rename=_PREPARED)


@contextmanager
def _connected(project: Project) -> Iterator[tuple[Server | None, tuple[str, ...]]]:
    """The server; None, and why, where it can't be reached: the history is enough to write a revision."""
    notes: tuple[str, ...] = ()
    with ExitStack() as stack:
        server = None
        try:
            server = stack.enter_context(project.connect())
            read_owners(server)
        except ServerError as error:
            server, notes = None, (_not_planned(error),)
        yield server, notes


def _not_planned(error: RedisMigrateError) -> str:
    return (
        f"There is no plan now, so answers are checked against the schemas alone: {error.message} "
        "`redismigrate plan` tells the rest later."
    )


def _unmanaged(project: Project, server: Server, catalog: Catalog) -> list[str]:
    recorded = read_state(server, project.keys).catalog
    managed = {definition.physical for definition in recorded.values()} | recorded.keys() | catalog.keys()
    return sorted(existing_indexes(server) - managed, key=readable)
