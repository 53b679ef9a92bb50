"""The steps of a change that gives documents a second form beside the first, with search up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.planning.index_steps import complete_steps, leave_step, prove_step
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.step_life import StepKind, Strategy
from redismigrate.planning.step_payloads import DocumentsPayload, DropPayload
from redismigrate.schema import VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.json_paths import JsonPath


@dataclass(frozen=True)
class SecondFormCosts:
    """What a second form costs.

    Attributes:
        backup: Of reading and backing up, where bytes are rewritten; else None.
        copy: Of making the second form.
        build: Of an index over it, beside the old one.
        promote: Of writing the second form to the declared path; each write indexes the document once more.
        remove: Of removing what is left.
    """

    backup: Estimate | None
    copy: Estimate
    build: Estimate
    promote: Estimate
    remove: Estimate


def second_field_names(rewrite: Rewrite, revision: str) -> dict[str, str]:
    """Hash field or JSON path -> the temporary one beside it."""
    return {recoding.path: _beside(recoding, revision) for recoding in rewrite.recodings}


def _beside(recoding: Recoding, revision: str) -> str:
    """Where the second form of a vector is: in the same hash, or in the same object of a JSON document."""
    if not recoding.is_json:
        return f"{recoding.path}__{revision}"
    path = JsonPath.parse(recoding.path)
    return str(path.sibling(f"{path.members[-1]}__{revision}"))


def reading_second_fields(definition: IndexDefinition, names: dict[str, str]) -> IndexDefinition:
    """The index that reads the temporary fields under the same attributes.

    Args:
        definition: The index as it is wanted.
        names: Hash field or JSON path -> the temporary one.
    """
    fields = tuple(
        field.model_copy(update={"path": names[path]})
        if isinstance(field, VectorField) and (path := field.path_in(definition.schema.storage_type)) in names
        else field
        for field in definition.schema.fields
    )
    return replace(definition, schema=definition.schema.with_fields(fields))


def shadow_field_steps(
    old: IndexDefinition,
    serving: IndexDefinition,
    new: IndexDefinition,
    rewrite: Rewrite,
    names: dict[str, str],
    costs: SecondFormCosts,
    restores_from: tuple[str, ...],
    is_all_indexed: bool,
) -> list[Step]:
    """Vectors re-encoded into a field beside the declared one, served from there, and moved to it at the end.

    Args:
        old: The index as it is.
        serving: The index over the temporary fields.
        new: The final one.
        rewrite: The recodings.
        names: Hash field or JSON path -> the temporary one.
        costs: What it costs.
        restores_from: The backups from which originals come back that a conversion can't give.
        is_all_indexed: No document failed to be indexed so far.
    """
    documents = DocumentsPayload(rewrite=rewrite, second_fields=names, restores_from=restores_from)
    both: dict[str, Any] = {"before": old, "after": new, "documents": documents}
    step = steps_of("shadow_field", new.served)
    beside = " and ".join(names.values())
    back_up = step(
        "back_up_documents",
        f"back up the documents of {old.served} and find those that can't be rewritten",
        "none needed: the backup stays until it is pruned",
        estimate=costs.backup or Estimate(),
        before=old,
        after=new,
        documents=documents.model_copy(update={"is_all_indexed": is_all_indexed}),
    )
    copy = step(
        "copy_documents",
        f"{rewrite} into {beside}, and follow what is written",
        f"remove {beside}",
        estimate=costs.copy,
        **both,
    )
    promote = step(
        "promote_documents",
        f"move {beside} to the declared field, while {serving.physical} serves",
        "restore the originals from the backup",
        estimate=costs.promote,
        after_record=True,
        **both,
    )
    final = step(
        "create_index",
        f"create {new.physical}, which reads the declared fields",
        "drop it; documents stay",
        before=serving,
        after=new,
        after_record=True,
    )
    # Clients of the new form have queried it by that name since the expand phase.
    drop = step(
        "drop_index",
        f"drop {serving.physical}, whose name becomes an alias of {new.physical}",
        before=serving,
        after=new,
        alias=serving.physical,
        after_record=True,
        drop=DropPayload(second_fields=names),
    )
    remove = step("remove_documents", f"remove {beside}", estimate=costs.remove, after_record=True, **both)
    return [
        prove_step(new, "shadow_field"),
        back_up,
        copy,
        *built_beside(old, serving, "shadow_field", costs.build, has_other_bytes=True),
        promote,
        final,
        *(
            each.model_copy(update={"after_record": True, "documents": DocumentsPayload(rewrite=rewrite)})
            # The first index is gone by then: it takes what that has left.
            for each in complete_steps(
                serving, new, "shadow_field", costs.build.model_copy(update={"memory_bytes": 0})
            )
        ),
        _swap(serving, new, "shadow_field", after_record=True),
        drop,
        remove,
    ]


def shadow_copy_steps(
    old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite, costs: SecondFormCosts
) -> list[Step]:
    """Documents copied under another prefix, with an index over the copies; the originals go at the end.

    Args:
        old: The index as it is.
        new: The index over the copies.
        rewrite: The new prefixes, and what is renamed on the way.
        costs: What it costs.
    """
    both: dict[str, Any] = {"before": old, "after": new, "documents": DocumentsPayload(rewrite=rewrite)}
    step = steps_of("shadow_copy", new.served)
    copy = step(
        "copy_documents",
        f"copy the documents of {old.served} and follow what is written: {rewrite}",
        "remove the copies",
        estimate=costs.copy,
        **both,
    )
    remove = step(
        "remove_documents",
        f"remove the documents that were copied: {rewrite}",
        "copy them back",
        estimate=costs.remove,
        after_record=True,
        **both,
    )
    return [
        prove_step(new, "shadow_copy"),
        copy,
        *built_beside(old, new, "shadow_copy", costs.build),
        remove,
    ]


def built_beside(
    old: IndexDefinition,
    new: IndexDefinition,
    strategy: Strategy,
    estimate: Estimate,
    *,
    has_other_bytes: bool = False,
) -> Iterable[Step]:
    """An index over a second form beside the one over the first, which gets the names and replaces it.

    Args:
        old: The index as it is.
        new: The one over the second form.
        strategy: How the change is carried out.
        estimate: Of the build.
        has_other_bytes: Queries have to send other bytes to the new one.
    """
    step = steps_of(strategy, new.served)
    yield step(
        "create_index",
        f"create {new.physical} beside index {old.served}",
        "drop it; documents stay",
        before=old,
        after=new,
    )
    yield from complete_steps(old, new, strategy, estimate)
    yield _swap(old, new, strategy)
    if old.physical not in new.all_aliases:
        yield leave_step(old, new, strategy, has_other_bytes=has_other_bytes)


def _swap(
    old: IndexDefinition, new: IndexDefinition, strategy: Strategy, *, after_record: bool = False
) -> Step:
    return steps_of(strategy, new.served)(
        "swap_alias",
        f"point {' and '.join(new.all_aliases)} to {new.physical} in one command",
        "move the names back",
        before=old,
        after=new,
        after_record=after_record,
    )


def steps_of(strategy: Strategy, index: str) -> Callable[..., Step]:
    """What makes the steps of one change: it takes kind, description, what undoing would do, other values.

    Args:
        strategy: How the change is carried out.
        index: The served name of its index.
    """

    def step(kind: StepKind, description: str, rollback: str = "", **values: Any) -> Step:
        return Step(
            kind=kind, index=index, strategy=strategy, description=description, rollback=rollback, **values
        )

    return step
