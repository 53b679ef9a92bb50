"""The steps that create, alter, replace or drop one index, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from redismigrate.documents.rewrite import Rewrite
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.step_life import StepKind, Strategy
from redismigrate.planning.step_payloads import DocumentsPayload, DropPayload
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.quantization import Quantization


@dataclass(frozen=True)
class RewriteCosts:
    """What rewriting the documents of an index costs, and how it is done.

    Attributes:
        backup: Of reading and backing up.
        rewrite: Of writing.
        build: Of the new index.
        catch_up: Of converting what was written meanwhile; None where nobody writes, or that can't be.
        quantizations: Hash field -> how integers will about be made of it.
        is_sparse: The documents are few among the keys of the server.
        restores_from: The backups, `host:path`, from which originals come back that a conversion can't give.
        is_all_indexed: No document failed to be indexed so far.
        counts_on_none: There are no documents, and it is to be refused once there are.
    """

    backup: Estimate
    rewrite: Estimate
    build: Estimate
    catch_up: Estimate | None
    is_sparse: bool = False
    restores_from: tuple[str, ...] = ()
    quantizations: dict[str, Quantization] = field(default_factory=dict)
    is_all_indexed: bool = False
    counts_on_none: bool = False


def create_steps(definition: IndexDefinition, estimate: Estimate) -> list[Step]:
    """A new index; under a physical name it gets its served one from another index once it is complete."""
    if definition.physical != definition.served:
        return _beside_what_it_is_no_successor_of(definition, estimate)
    create = Step(
        kind="create_index",
        index=definition.served,
        after=definition,
        description=f"create index {definition.served}",
        rollback="drop it; documents stay",
    )
    return [prove_step(definition, None), create, *complete_steps(None, definition, None, estimate)]


def _beside_what_it_is_no_successor_of(definition: IndexDefinition, estimate: Estimate) -> list[Step]:
    create = Step(
        kind="create_index",
        index=definition.served,
        strategy="shadow",
        after=definition,
        description=f"create {definition.physical} beside what {definition.served} leads to",
        rollback="drop it; documents stay",
    )
    swap = Step(
        kind="swap_alias",
        index=definition.served,
        strategy="shadow",
        after=definition,
        description=f"point {definition.served} to {definition.physical}",
        rollback="set the name back",
    )
    wait_and_validate = complete_steps(None, definition, "shadow", estimate)
    return [prove_step(definition, "shadow"), create, *wait_and_validate, swap]


def rename_steps(old: IndexDefinition, new: IndexDefinition) -> list[Step]:
    """Another name for an index whose name is an alias: that moves, and nothing is built.

    Args:
        old: The index.
        new: The same under its new name.
    """
    give = Step(
        kind="set_alias",
        index=new.served,
        alias=new.served,
        after=new,
        description=f"point {new.served} to {new.physical}",
        rollback="drop the alias",
    )
    take = Step(
        kind="set_alias",
        index=new.served,
        alias=old.served,
        before=old,
        description=f"drop alias {old.served} of {old.physical}",
        rollback="set the alias back",
    )
    return [give, take]


def alter_steps(old: IndexDefinition, new: IndexDefinition, estimate: Estimate, changes: str) -> list[Step]:
    """The steps that add fields to a live index with FT.ALTER."""
    alter = Step(
        kind="alter_index",
        index=new.served,
        strategy="alter",
        before=old,
        after=new,
        description=f"alter index {new.served}: {changes}",
        rollback="rebuild the index without the added fields",
    )
    return [prove_step(new, "alter"), alter, *complete_steps(old, new, "alter", estimate)]


def replace_steps(old: IndexDefinition, new: IndexDefinition, estimate: Estimate, changes: str) -> list[Step]:
    """The index dropped and created in one transaction, its aliases and synonyms with it."""
    replace = Step(
        kind="replace_index",
        index=new.served,
        strategy="rebuild",
        before=old,
        after=new,
        description=f"drop and create index {old.served}: {changes}",
        rollback="drop it and create the old one",
    )
    return [prove_step(new, "rebuild"), replace, *complete_steps(old, new, "rebuild", estimate)]


def rewrite_steps(
    old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite, costs: RewriteCosts, changes: str
) -> list[Step]:
    """The documents backed up with search still up; then rewritten, with the index down in between."""

    def step(kind: StepKind, description: str, rollback: str = "", **values: Any) -> Step:
        return Step(
            kind=kind,
            index=new.served,
            strategy="rebuild",
            description=description,
            rollback=rollback,
            **values,
        )

    indexes: dict[str, Any] = {"before": old, "after": new}
    documents = DocumentsPayload(rewrite=rewrite, restores_from=costs.restores_from)
    wait, validate = complete_steps(old, new, "rebuild", costs.build)
    steps = [
        prove_step(new, "rebuild"),
        step(
            "back_up_documents",
            f"back up the documents of {old.served} and find those that can't be rewritten",
            "none needed: the backup stays until it is pruned",
            estimate=costs.backup,
            documents=documents.model_copy(
                update={
                    "is_all_indexed": costs.is_all_indexed,
                    "counts_on_none": costs.counts_on_none,
                }
            ),
            **indexes,
        ),
        step(
            "drop_index",
            f"drop index {old.served}, its documents stay: {changes}",
            "create it again and index its documents",
            before=old,
        ),
        step(
            "rewrite_documents",
            f"{rewrite} in the documents of {old.served}",
            "restore the originals from the backup",
            estimate=costs.rewrite,
            documents=documents.model_copy(update={"quantizations": costs.quantizations}),
            **indexes,
        ),
        step(
            "create_index",
            f"create index {new.served}",
            "drop it; documents stay",
            after=scanning(new, scans=not costs.is_sparse),
        ),
    ]
    if costs.is_sparse:
        description = f"show the documents to {new.served}, which is faster than its scan of all keys"
        shown = DocumentsPayload(rewrite=rewrite)
        steps.append(step("index_documents", description, documents=shown, **indexes))
    steps.append(wait)
    if rewrite.recodings and costs.catch_up is not None:
        description = f"convert what writers have written in {new.served} meanwhile"
        steps.append(
            step(
                "catch_up_documents",
                description,
                estimate=costs.catch_up,
                documents=documents,
                **indexes,
            )
        )
    return [*steps, validate.model_copy(update={"documents": DocumentsPayload(rewrite=rewrite)})]


def scanning(definition: IndexDefinition, *, scans: bool = True) -> IndexDefinition:
    """The index made so that it scans its documents: other than a first creation it would be empty else.

    Args:
        definition: The index.
        scans: False where its documents are shown to it one by one.
    """
    return replace(definition, schema=definition.schema.with_options(skip_initial_scan=not scans))


def shadow_steps(old: IndexDefinition, new: IndexDefinition, estimate: Estimate, changes: str) -> list[Step]:
    """A second index beside the first, over the same documents; then the names that clients query move."""
    create = Step(
        kind="create_index",
        index=new.served,
        strategy="shadow",
        before=old,
        after=new,
        description=f"create {new.physical} beside index {old.served}: {changes}",
        rollback="drop it; documents stay",
    )
    swap = Step(
        kind="swap_alias",
        index=new.served,
        strategy="shadow",
        before=old,
        after=new,
        description=f"point {' and '.join(new.all_aliases)} to {new.physical} in one command"
        + (f", in place of the index {old.physical}" if old.physical in new.all_aliases else ""),
        rollback="move the names back; build the old index beside the new one before that where it is gone",
    )
    steps = [prove_step(new, "shadow"), create, *complete_steps(old, new, "shadow", estimate), swap]
    if old.physical not in new.all_aliases:
        steps.append(leave_step(old, new, "shadow"))
    return steps


def leave_step(
    old: IndexDefinition, new: IndexDefinition, strategy: Strategy, *, has_other_bytes: bool = False
) -> Step:
    """The index that was swapped out is dropped, and leaves its name to the one that serves.

    Some clients look up what an alias points to and query that from then on, as RedisVL's
    `SearchIndex.from_existing` does. The name is an alias until the other one is swapped out in its turn.
    Where queries have other bytes from now on, those clients fail anyway; and a served name that is given up
    is meant to be free.

    Args:
        old: The index that was swapped out.
        new: The one that serves.
        strategy: How the change is carried out.
        has_other_bytes: Queries have to send other bytes to the new one.
    """
    is_left = not has_other_bytes and old.physical != old.served
    what_then = (
        f"whose name becomes an alias of {new.physical}" if is_left else "which nothing queries any more"
    )
    return Step(
        kind="drop_index",
        index=old.served,
        strategy=strategy,
        before=old,
        after=new if is_left else None,
        alias=old.physical if is_left else None,
        after_record=True,
        description=f"drop {old.physical}, {what_then}",
        rollback="create it again and index its documents, with search up",
    )


def synonym_steps(old: IndexDefinition, new: IndexDefinition, estimate: Estimate, changes: str) -> list[Step]:
    """Synonym terms that FT.SYNUPDATE adds; it indexes all documents again."""
    update = Step(
        kind="set_synonyms",
        index=new.served,
        before=old,
        after=new,
        description=changes,
        rollback="rebuild the index with the old synonyms",
    )
    return [update, *complete_steps(old, new, None, estimate)]


def drop_steps(
    definition: IndexDefinition, documents: int, description: str, *, delete_documents: bool
) -> list[Step]:
    """The steps that drop an index, with its documents or without them."""
    return [
        Step(
            kind="drop_index",
            index=definition.served,
            before=definition,
            drop=DropPayload(delete_documents=delete_documents),
            description=description,
            estimate=Estimate(documents=documents if delete_documents else 0),
            rollback="create it again and index its documents",
        )
    ]


def prove_step(definition: IndexDefinition, strategy: Strategy | None) -> Step:
    """Trying a definition out, before anything is changed."""
    return Step(
        kind="prove_index",
        index=definition.served,
        strategy=strategy,
        after=definition,
        description=f"prove the definition of {definition.served} on a scratch index without documents",
    )


def complete_steps(
    old: IndexDefinition | None, new: IndexDefinition, strategy: Strategy | None, estimate: Estimate
) -> list[Step]:
    """Waiting for an index, and looking whether it is what was asked for."""
    wait = Step(
        kind="wait_for_index",
        index=new.served,
        strategy=strategy,
        before=old,
        after=new,
        estimate=estimate,
        description=(
            f"wait until {estimate.documents:,} documents are indexed in {new.served}"
            if estimate.documents
            else f"wait until {new.served} is indexed"
        ),
    )
    validate = Step(
        kind="validate_index",
        index=new.served,
        strategy=strategy,
        before=old,
        after=new,
        description=f"validate {new.served}: schema, documents, indexing failures",
    )
    return [wait, validate]
