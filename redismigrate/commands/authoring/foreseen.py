"""What an upgrade would do with a revision that is not written yet, and whether it could."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from itertools import product

from redismigrate.commands.alias_candidates import candidates
from redismigrate.commands.authoring.unmanaged import unmanaged_indexes
from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_upgrades
from redismigrate.commands.session import refuse_unfinished_run
from redismigrate.commands.squashed_history import seen
from redismigrate.execution.indexes.survey import live_index_reader, survey
from redismigrate.history.identifiers import revisions_to_apply
from redismigrate.operations.operation_types import Operation
from redismigrate.operations.recorded import RecordedRevision, touched_indexes
from redismigrate.planning.chain import dropped_indexes, plan_chain
from redismigrate.planning.drift import require_no_drift
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Plan
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.step_life import StrategyChoice
from redismigrate.redis_server.connection import Server
from redismigrate.schema.definition import IndexDefinition
from redismigrate.state.lock import last_token_number
from redismigrate.state.store import State, read_state
from redismigrate.wizard.dialogue import Judgement


class Foresight:
    """Plans the revisions that wait to be applied, and one more after them.

    Args:
        project: The project.
        server: Where they would be applied.
        revision: The id that the further one will have.
        found: The names of indexes that it changes and no revision creates.
    """

    def __init__(self, project: Project, server: Server, revision: str, found: Iterable[str]) -> None:
        self._project = project
        self._server = server
        self._revision = revision
        self._found = tuple(found)

    def plan(self, operations: tuple[Operation, ...], message: str = "") -> Plan:
        """The plan of an upgrade with a revision of these operations.

        Args:
            operations: What it does.
            message: What it is for.

        Raises:
            RedisMigrateError: There can be no plan now: a run is unfinished, an index is not as recorded, the
                server can't be asked.
        """
        recorded = self._recorded(operations, message)
        return self._planned(recorded, self._survey(recorded), self._options())

    def judge(self, operations: tuple[Operation, ...]) -> Judgement:
        """Whether an upgrade could carry operations out, and what is to be known; errors as for `plan`."""
        if not operations:
            return Judgement()
        recorded = self._recorded(operations, "")
        inventory = self._survey(recorded)
        last = self._planned(recorded, inventory, self._options()).revisions[-1]
        if not last.blocked:
            return Judgement(notes=last.warnings)
        if_allowed = [
            self._planned(recorded, inventory, options).revisions[-1].blocked
            for options in self._all_allowed()
        ]
        if all(if_allowed):
            return Judgement(if_allowed[0])
        blocked = tuple(f"As things are, the plan is blocked: {reason}." for reason in last.blocked)
        return Judgement(notes=(*blocked, *last.warnings))

    @cached_property
    def _state(self) -> State:
        self._server.capabilities.require_search()
        state = read_state(self._server, self._project.keys)
        refuse_unfinished_run(state)
        return state

    @cached_property
    def _waiting(self) -> tuple[RecordedRevision, ...]:
        """The revisions that are not applied yet."""
        if not self._project.scripts:
            return ()
        history, state = self._project.history, self._state
        ids = revisions_to_apply(history, "heads", seen(self._project, state.head).applied)
        unmanaged = partial(unmanaged_indexes, self._project, self._server)
        return record_upgrades(
            history, ids, state.catalog, self._read_live, unmanaged, applied=state.head.applied
        )

    @cached_property
    def _adopted(self) -> dict[str, IndexDefinition]:
        """The indexes that the further revision brings under management, as they are with their aliases."""
        waiting = {name for item in self._waiting for name in item.adopted}
        read = {name: self._read_live(name) for name in self._found if name not in waiting}
        return {name: definition for name, definition in read.items() if definition is not None}

    def _read_live(self, name: str) -> IndexDefinition | None:
        aliases = partial(candidates, self._project, self._server, ())
        return live_index_reader(self._server, aliases)(name)

    def _recorded(self, operations: tuple[Operation, ...], message: str) -> tuple[RecordedRevision, ...]:
        further = RecordedRevision(
            revision=self._revision,
            direction="upgrade",
            message=message,
            parents=self._project.history.heads() if self._project.scripts else (),
            depends_on=(),
            sha256="",
            operations=operations,
            adopted=self._adopted,
        )
        return (*self._waiting, further)

    def _survey(self, recorded: tuple[RecordedRevision, ...]) -> Inventory:
        catalog, project = self._state.catalog, self._project
        inventory = survey(
            self._server, project.settings.project, catalog, recorded, project.settings.backup_dir.absolute()
        )
        require_no_drift(catalog, inventory, touched_indexes(recorded), dropped_indexes(recorded))
        return replace(inventory, fence=str(last_token_number(self._server, project.keys) + 1))

    def _planned(
        self, recorded: tuple[RecordedRevision, ...], inventory: Inventory, options: PlanOptions
    ) -> Plan:
        return plan_chain(
            recorded, self._state.catalog, inventory, options, direction="upgrade", target="heads"
        )

    def _options(self) -> PlanOptions:
        return PlanOptions(adoption=self._project.settings.adopt)

    def _all_allowed(self) -> Iterator[PlanOptions]:
        """The ways in which the user could ask for it, with everything that options can allow."""
        strategies: tuple[StrategyChoice, ...] = ("auto", "rebuild")
        for exclusive, strategy in product((True, False), strategies):
            yield replace(
                self._options(),
                strategy=strategy,
                exclusive=exclusive,
                allow_lossy=True,
                drop_field_ttls=True,
                ignores_other_databases=True,
            )
