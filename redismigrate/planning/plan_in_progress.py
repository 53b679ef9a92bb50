"""What a plan of one revision has come to while its operations are walked over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.estimates import memory_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.names import owner_of, why_taken
from redismigrate.planning.obstacles import Obstacles
from redismigrate.planning.physical_names import physical_name
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.rewrites import DoneRewrite
from redismigrate.planning.room import MemoryNeed, why_memory_is_short
from redismigrate.planning.step_life import CutoverChoice, OnFailure, StepKind, Strategy, StrategyChoice
from redismigrate.planning.strategies import Adoption
from redismigrate.quantities import duration
from redismigrate.schema.definition import Catalog, IndexDefinition


@dataclass(frozen=True)
class PlanOptions:
    """What the user may say about how a plan is made.

    Attributes:
        strategy: "auto", or one strategy for every changed index.
        allow_lossy: Go back although something can't be brought back.
        exclusive: Nobody else writes to the documents meanwhile.
        adoption: Whether an index may become what an alias points to.
        ignores_other_databases: Searches need not find what databases other than 0 hold.
        on_failure: What becomes of the other indexes of a revision when one fails.
        cutover: Whether the indexes of a revision begin to serve together, or one after the other.
        expands: What clients query now has to stay: nothing may be changed in its place.
        drop_field_ttls: Fields of hashes that expire may become members of JSON documents that do not.
    """

    strategy: StrategyChoice = "auto"
    allow_lossy: bool = False
    exclusive: bool = False
    adoption: Adoption = "alias"
    expands: bool = False
    ignores_other_databases: bool = False
    on_failure: OnFailure = "undo"
    cutover: CutoverChoice = "together"
    drop_field_ttls: bool = False


@dataclass
class PlanInProgress:
    """The steps of one revision so far, with what they leave behind.

    Attributes:
        recorded: What the revision does.
        catalog: The indexes once the steps so far are done.
        inventory: The server once they are.
        options: The user's wishes.
        start: The indexes before the revision, those among them that it brings under management.
        names: Those that clients may query before the revision.
        steps: In the order of the operations.
        rewritten: What was done to documents so far.
        renames: Served name that was given up -> the one instead, in the order of the operations.
        turns: The served names of what `--cutover each` changes together.
        needs: What the indexes so far add to the server's memory.
        short_of_memory: Why the server lacks that, each as it is in `blocked`.
        warnings: What the user should know before.
        blocked: Why it can't run.
    """

    recorded: RecordedRevision
    catalog: Catalog
    inventory: Inventory
    options: PlanOptions
    start: Catalog = field(default_factory=Catalog)
    names: frozenset[str] = frozenset()
    steps: list[Step] = field(default_factory=list)
    rewritten: list[DoneRewrite] = field(default_factory=list)
    renames: list[tuple[str, str]] = field(default_factory=list)
    turns: tuple[frozenset[str], ...] = ()
    needs: list[MemoryNeed] = field(default_factory=list)
    short_of_memory: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blocked: Obstacles = field(default_factory=Obstacles)

    @property
    def is_exclusive(self) -> bool:
        """Whether nobody else writes to the documents meanwhile: the user says so, or the script."""
        return self.options.exclusive or self.recorded.exclusive_because is not None

    def add(self, kind: StepKind, index: str | None = None, **values: Any) -> None:
        """Append a step, after those that are planned already."""
        self.steps.append(Step(kind=kind, index=index, **values))

    def claim(self, name: str) -> None:
        """Make an index one of this project, unless it is another one's."""
        owner = self.owner(name)
        if owner is None:
            self.add(
                "claim_index",
                name,
                description=f"claim index {name} for this project",
                rollback="give it up",
            )
        elif owner != self.inventory.project:
            self.blocked.append(f"index {name} belongs to project {owner}", name)

    def release(self, name: str) -> None:
        """Append the step that gives up the claim on an index."""
        self.add("release_index", name, description=f"give up index {name}", rollback="claim it again")

    def owner(self, name: str) -> str | None:
        """The project that an index belongs to by now; None when it is nobody's."""
        return owner_of(name, self.inventory, self.steps)

    def refuse_taken_name(self, name: str) -> None:
        """Block the plan where a new index can't have that name."""
        reason = why_taken(name, self.inventory, self.steps)
        if reason is not None:
            self.blocked.append(reason)

    def check_memory(self, name: str, estimate: Estimate, in_place: Estimate | None = None) -> None:
        """Block the plan where the server lacks the memory.

        Args:
            name: Of the index.
            estimate: Of what is planned.
            in_place: Of the same by a rebuild, to be told as a way out.
        """
        planned_bytes = memory_of(self.steps)
        if self.options.cutover == "each":
            turn = next((turn for turn in self.turns if name in turn), frozenset())
            planned_bytes = sum(
                need.peak_bytes if need.index in turn else need.kept_bytes for need in self.needs
            )
        kept = estimate if in_place is None else in_place
        self.needs.append(MemoryNeed(name, estimate.memory_bytes, kept.memory_bytes))
        reason = why_memory_is_short(name, estimate.memory_bytes, self.inventory, planned_bytes)
        if reason is not None and in_place is not None:
            reason += (
                f"; --strategy rebuild would need about {in_place.memory_bytes / 1e6:,.1f} MB more, and "
                f"searches would miss documents for about {duration(in_place.seconds)}"
            )
        self.block(reason)
        if reason is not None:
            self.short_of_memory.append(reason)

    def block(self, reason: str | None, strategy: Strategy | None = None) -> None:
        """Block the plan for a reason, if there is one; of a strategy, if it is that which can't do it."""
        if reason is not None:
            self.blocked.append(reason, strategy=strategy)

    def beside(self, definition: IndexDefinition) -> IndexDefinition:
        """The index under a physical name of its own; from now on it is called so."""
        built = {step.after.physical for step in self.steps if step.after is not None}
        taken = self.inventory.names | built | {definition.physical}
        name = physical_name(definition.served, self.recorded.revision, self.inventory.fence, taken)
        definition = replace(definition, physical=name)
        self.catalog = self.catalog.with_definition(definition)
        return definition
