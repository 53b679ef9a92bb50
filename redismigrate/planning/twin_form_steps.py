"""The steps of a change that gives values a second path in their documents, with search up."""

from __future__ import annotations

from typing import Any

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.twins import twins_of
from redismigrate.planning.index_steps import prove_step
from redismigrate.planning.plan import Step
from redismigrate.planning.second_form_steps import SecondFormCosts, built_beside, steps_of
from redismigrate.planning.step_payloads import DocumentsPayload
from redismigrate.schema.definition import IndexDefinition


def twin_steps(
    old: IndexDefinition,
    new: IndexDefinition,
    rewrite: Rewrite,
    costs: SecondFormCosts,
    expanded: IndexDefinition | None = None,
    restores_from: tuple[str, ...] = (),
) -> list[Step]:
    """Values written to their new path beside the old one, with an index over it; the old ones go at the end.

    Nothing is moved afterwards, so the one index that is built is the final one. No value is backed up: until
    the end each value stands twice, and the way back is the same the other way round.

    Args:
        old: The index as it is.
        new: The index over the new paths.
        rewrite: What gets another path.
        costs: What it costs.
        expanded: An index over the new paths that answers to the old names as well. It is built for the
            expand phase and serves until the final one is built; None where that one is built at once.
        restores_from: The backups that tell what stood at the old paths before they were the new ones.
    """
    documents = DocumentsPayload(rewrite=rewrite, restores_from=restores_from)
    both: dict[str, Any] = {"before": old, "after": new, "documents": documents}
    step = steps_of("shadow_field", new.served)
    twins = twins_of(rewrite)
    beside = " and ".join(f"{twin.new} beside {twin.old}" for twin in twins)
    gone = " and ".join(twin.old for twin in twins if not twin.keeps_old)
    fill = step(
        "copy_documents",
        f"write {beside} in the documents of {old.served}, and follow what is written",
        f"remove {' and '.join(twin.new for twin in twins)}",
        # Each write indexes its document once more in the index that serves, as each removal does.
        estimate=costs.copy.model_copy(update={"seconds": costs.remove.seconds}),
        **both,
    )
    remove = step(
        "remove_documents",
        f"remove {gone} from the documents of {new.served}"
        if gone
        else f"follow no longer what is written to {' and '.join(twin.old for twin in twins)}",
        f"write {gone} again" if gone else "none needed",
        estimate=costs.remove,
        after_record=True,
        **both,
    )
    has_other_bytes = any(twin.recoding for twin in twins)
    built: list[Step] = []
    for before, after in ((old, new),) if expanded is None else ((old, expanded), (expanded, new)):
        built += built_beside(before, after, "shadow_field", costs.build, has_other_bytes=has_other_bytes)
    return [prove_step(expanded or new, "shadow_field"), fill, *built, remove]
