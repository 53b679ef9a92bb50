"""How one index is changed: the strategy is chosen, and its steps, warnings and obstacles go to the plan."""

from __future__ import annotations

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.twins import twins_of
from redismigrate.planning.both_names import with_both_names
from redismigrate.planning.document_changes import DocumentChange
from redismigrate.planning.estimates import build_estimate, documents_of, memory_of
from redismigrate.planning.hidden_keys import keys_that_clients_miss
from redismigrate.planning.index_steps import (
    alter_steps,
    rename_steps,
    replace_steps,
    rewrite_steps,
    shadow_steps,
)
from redismigrate.planning.missing_values import already_there, read_from_nowhere
from redismigrate.planning.names_before import backups_of_what_stood, warn_of_what_stood
from redismigrate.planning.overlap import reads_place
from redismigrate.planning.plan import Estimate
from redismigrate.planning.plan_in_progress import PlanInProgress
from redismigrate.planning.query_warnings import query_bytes_warnings, query_names_warnings
from redismigrate.planning.rewrites import DoneRewrite
from redismigrate.planning.room import why_backup_does_not_fit, why_memory_is_short
from redismigrate.planning.second_form_steps import (
    SecondFormCosts,
    reading_second_fields,
    second_field_names,
    shadow_copy_steps,
    shadow_field_steps,
)
from redismigrate.planning.step_life import BESIDE, Strategy
from redismigrate.planning.storage_warnings import warnings_of_storage
from redismigrate.planning.strategies import Situation, changes_of, choose, untold, what_server_lacks
from redismigrate.planning.twin_form_steps import twin_steps
from redismigrate.quantities import duration
from redismigrate.schema import IndexSchema
from redismigrate.schema.compression import compression_warnings
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes

SECOND_FORMS = {"shadow_field", "shadow_copy"}


def change_index(
    plan: PlanInProgress, old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite, changes: str
) -> None:
    """Add what changes an index.

    Args:
        plan: Gets the steps, warnings and obstacles.
        old: The index as it is.
        new: The index as it is wanted.
        rewrite: What has to become of its documents.
        changes: The same in words.
    """
    if old.served != new.served:
        _rename(plan, old, new, rewrite, changes)
        return
    if not changes_of(old, new) and not rewrite:
        return
    _change(plan, old, new, rewrite, changes)


def _rename(
    plan: PlanInProgress, old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite, changes: str
) -> None:
    """Give an index another name. An alias moves; what is no alias is built under the other name."""
    plan.refuse_taken_name(new.served)
    plan.claim(new.served)
    plan.renames.append((old.served, new.served))
    if old.physical == old.served:
        _change(plan, old, new, rewrite, changes)
    else:
        renamed = old.with_schema(old.schema.renamed(new.served))
        plan.steps += rename_steps(old, renamed)
        plan.inventory = plan.inventory.with_sample_of(new.served, old.served)
        change_index(plan, renamed, new, rewrite, changes)
    plan.release(old.served)
    plan.inventory = plan.inventory.renamed(plan.steps)


def _change(
    plan: PlanInProgress, old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite, changes: str
) -> None:
    """Choose the strategy, and add its steps."""
    strategy, reason = choose(old, new, rewrite, plan.options.strategy, _situation(plan, old, rewrite))
    plan.block(reason, strategy)
    untold_as = plan.inventory.untold_because
    if untold_as is not None and rewrite and strategy == "rebuild" and plan.options.strategy == "auto":
        plan.warnings.append(
            f"documents of index {old.served} are rewritten in place, with search down: {untold(untold_as)}"
        )
    if strategy in BESIDE:
        new = plan.beside(new)
    plan.blocked += what_server_lacks(new.schema, plan.inventory)
    plan.warnings += compression_warnings(old.schema, new.schema)
    sampled = plan.inventory.with_sample_after(old, rewrite)
    estimate = build_estimate(old, new, sampled, strategy)
    in_place = build_estimate(old, new, sampled, "rebuild") if strategy in BESIDE else None
    if strategy not in SECOND_FORMS:  # of those the documents take memory, too
        plan.check_memory(new.served, estimate, in_place)
    plan.warnings += query_bytes_warnings(old, new)
    plan.warnings += warnings_of_storage(new, rewrite)
    sample = plan.inventory.samples.get(old.served)
    plan.warnings += keys_that_clients_miss(old.schema, new.schema, rewrite, sample)
    documents = documents_of(old, plan.inventory)
    plan.warnings += read_from_nowhere(old.schema, new.schema, rewrite, sample, documents)
    plan.warnings += already_there(new.schema, rewrite, sample, is_beside=strategy in BESIDE)
    warn_of_globs(plan, new.served, new.schema, old.schema)
    warn_of_scan(plan, old)
    # Whoever removes the first copy's originals would take them for deleted in the second copy.
    is_moved_before = any(
        done.moves_documents_of(old.schema) or set(done.rewrite.prefixes) & set(rewrite.prefixes)
        for done in plan.rewritten
    )
    rewrite = _without_done(plan, old, new, rewrite)
    is_shared = not rewrite or (strategy == "shadow_copy" and is_moved_before)
    has_second_form = any(
        step.kind == "promote_documents" and step.index == old.served for step in plan.steps
    )
    if strategy == "alter" and has_second_form and not reason:
        plan.blocked.append(
            f"index {old.served} is built anew by an earlier change of this revision: add its fields in "
            "the same `with op.index` block"
        )
    plan.block(_why_not_shared(old, strategy) if is_shared and not reason else None, strategy)
    if rewrite and strategy in BESIDE:
        _second_form(plan, old, new, rewrite, estimate, strategy, in_place)
    elif rewrite:
        _rewrite(plan, old, new, rewrite, estimate, changes)
    elif strategy == "alter":
        plan.steps += alter_steps(old, new, estimate, changes)
    elif strategy == "shadow":
        build_beside(plan, old, new, estimate, changes)
    else:
        warn_of_rebuild(plan, old, estimate)
        plan.steps += replace_steps(old, new, estimate, changes)


def _situation(plan: PlanInProgress, old: IndexDefinition, rewrite: Rewrite) -> Situation:
    """What decides, beside a change itself, how it can be carried out."""
    keys = KeyPrefixes.of(old.schema.prefixes)
    targets = KeyPrefixes.of(change.new for change in rewrite.prefixes)
    others = {name: schema for name, schema in plan.inventory.schemas.items() if name != old.physical}
    changed = {recoding.path for recoding in rewrite.recodings if recoding.new_path is None}
    changed |= {rename.old for rename in rewrite.renames}
    return Situation(
        plan.options.adoption,
        plan.is_exclusive,
        plan.inventory.capabilities.ignores_partial_updates,
        plan.inventory.untold_because,
        readers=tuple(
            name
            for name, schema in others.items()
            if schema.storage_type == rewrite.storage_type
            and keys.overlap(KeyPrefixes.of(schema.prefixes))
            and any(reads_place(schema, path) for path in changed)
        ),
        at_target=tuple(
            name
            for name, schema in others.items()
            if rewrite.prefixes and targets.overlap(KeyPrefixes.of(schema.prefixes))
        ),
        is_way_back=plan.recorded.direction == "downgrade",
    )


def _second_form(
    plan: PlanInProgress,
    old: IndexDefinition,
    new: IndexDefinition,
    rewrite: Rewrite,
    build: Estimate,
    strategy: Strategy,
    in_place: Estimate | None,
) -> None:
    change = _document_change(plan, old, new, rewrite, is_beside=True)
    costs = change.second_form_costs(build, strategy)
    expanded = _expanded(plan, old, new, rewrite, costs)
    plan.blocked += change.problems(build.documents)
    if costs.backup is not None:
        plan.block(why_backup_does_not_fit(costs.backup.backup_bytes, plan.inventory, plan.steps))
    builds = 1 if expanded is None else 2
    both = builds * build.memory_bytes + costs.copy.memory_bytes
    plan.check_memory(new.served, build.model_copy(update={"memory_bytes": both}), in_place)
    plan.warnings += change.warnings_beside()
    if strategy == "shadow_copy":
        plan.steps += shadow_copy_steps(old, new, rewrite, costs)
    elif twins_of(rewrite):
        plan.warnings += query_names_warnings(old, new, rewrite, expanded)
        final = new if expanded is None else plan.beside(new)
        stood = backups_of_what_stood(plan.inventory, plan.recorded, old, rewrite)
        plan.warnings += warn_of_what_stood(plan.inventory, plan.recorded, old, rewrite)
        plan.steps += twin_steps(old, final, rewrite, costs, expanded, stood)
    else:
        names = second_field_names(rewrite, plan.recorded.revision)
        serving = reading_second_fields(new, names)
        final = plan.beside(new)
        plan.steps += shadow_field_steps(
            old, serving, final, rewrite, names, costs, change.restores_from, change.is_all_indexed
        )
    plan.inventory = plan.inventory.renamed(plan.steps)


def _expanded(
    plan: PlanInProgress,
    old: IndexDefinition,
    new: IndexDefinition,
    rewrite: Rewrite,
    costs: SecondFormCosts,
) -> IndexDefinition | None:
    """An index that answers to old and new names of fields, for as long as two releases ask; None for none.

    It is one more index, which a server that is short of memory goes without. What else a revision does to
    indexes would have to wait until the names of this one have moved, which the expand phase comes before.
    """
    kinds = [operation.kind for operation in plan.recorded.operations if operation.kind != "expect"]
    if not plan.options.expands or rewrite.prefixes or kinds != ["change_index"]:
        return None
    both = with_both_names(old, new, rewrite)
    needed = 2 * costs.build.memory_bytes + costs.copy.memory_bytes
    is_short = why_memory_is_short(new.served, needed, plan.inventory, memory_of(plan.steps)) is not None
    return None if is_short else both


def _why_not_shared(old: IndexDefinition, strategy: Strategy) -> str | None:
    """Why an index can't be changed of whose documents some change for another one; None when it can."""
    if strategy not in SECOND_FORMS:
        return None
    return (
        f"index {old.served} shares its documents with another one that this revision changes, and "
        f"strategy {strategy} can't change both: --strategy rebuild --exclusive does, with search down"
    )


def _document_change(
    plan: PlanInProgress,
    old: IndexDefinition,
    new: IndexDefinition,
    rewrite: Rewrite,
    *,
    is_beside: bool = False,
) -> DocumentChange:
    return DocumentChange(
        plan.recorded,
        plan.start,
        old,
        new,
        rewrite,
        plan.inventory,
        plan.is_exclusive,
        plan.options.allow_lossy,
        is_beside,
    )


def _without_done(
    plan: PlanInProgress, old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite
) -> Rewrite:
    """What is left to do where another change of this revision has rewritten some of the documents."""
    prefixes = old.schema.prefixes
    for done in plan.rewritten:
        try:
            rewrite = done.remainder(old.served, prefixes, rewrite)
        except ValueError as error:
            plan.blocked.append(f"index {old.served} {error}, or in two revisions")
    if rewrite:
        plan.rewritten.append(DoneRewrite(new.served, prefixes, rewrite))
    return rewrite


def _rewrite(
    plan: PlanInProgress,
    old: IndexDefinition,
    new: IndexDefinition,
    rewrite: Rewrite,
    build: Estimate,
    changes: str,
) -> None:
    change = _document_change(plan, old, new, rewrite)
    costs = change.costs(build)
    plan.blocked += change.problems(build.documents)
    plan.block(why_backup_does_not_fit(costs.backup.backup_bytes, plan.inventory, plan.steps))
    plan.check_memory(new.served, costs.rewrite)
    plan.warnings += change.warnings(costs)
    down = costs.build.seconds + costs.rewrite.seconds
    warn_of_rebuild(plan, old, costs.build.model_copy(update={"seconds": down}))
    plan.steps += rewrite_steps(old, new, rewrite, costs, changes)


def warn_of_scan(plan: PlanInProgress, old: IndexDefinition) -> None:
    """An index that never looked at the documents from before it does now."""
    if old.schema.skip_initial_scan:
        plan.warnings.append(
            f"index {old.served} was made with SKIPINITIALSCAN; this scans all documents of its "
            "prefixes, those from before the index as well"
        )


def warn_of_globs(plan: PlanInProgress, name: str, new: IndexSchema, old: IndexSchema | None = None) -> None:
    """Say of prefixes that are new that they are no globs."""
    for prefix in new.prefixes:
        if "*" in prefix and (old is None or prefix not in old.prefixes):
            plan.warnings.append(
                f"the * in prefix {prefix} of index {name} is taken literally: Redis Search matches the "
                "beginning of keys; leave it out unless keys have it"
            )


def warn_of_rebuild(plan: PlanInProgress, old: IndexDefinition, estimate: Estimate) -> None:
    """Search is down meanwhile, which the expand phase must not let happen."""
    if plan.options.expands:
        plan.block(
            f"index {old.served} would be rebuilt in its place, with search down, and --phase expand has to "
            "leave it as it is: `redismigrate plan --compare` tells why, and the same command without "
            "--phase does it"
        )
    if estimate.documents:
        plan.warnings.append(
            f"searches on {old.served} miss documents for about {duration(estimate.seconds)} "
            "while it is rebuilt"
        )


def build_beside(
    plan: PlanInProgress, old: IndexDefinition, new: IndexDefinition, estimate: Estimate, changes: str
) -> None:
    """Add what builds an index beside another one over the same documents, and lets it take the names."""
    plan.steps += shadow_steps(old, new, estimate, changes)
    plan.inventory = plan.inventory.renamed(plan.steps)
