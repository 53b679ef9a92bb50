"""Values that no index reads any more: what dropping them costs, what forbids it, and the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.documents.rewrite import Rewrite
from redismigrate.operations.changes import IndexChange
from redismigrate.operations.dropped_values import DropValues, RestoreValues
from redismigrate.operations.renaming import paths_read
from redismigrate.planning.document_estimates import (
    HASH_VALUE_OVERHEAD,
    USUAL_VALUE_BYTES,
    backup_estimate,
)
from redismigrate.planning.document_obstacles import why_not_in_cluster
from redismigrate.planning.document_sample import bytes_of, share_of
from redismigrate.planning.estimates import build_estimate, documents_of
from redismigrate.planning.index_memory import allocated_bytes
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.missing_values import missing_paths, nowhere
from redismigrate.planning.overlap import filters_by
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.plan_in_progress import PlanInProgress
from redismigrate.planning.room import why_backup_does_not_fit
from redismigrate.planning.step_life import StepKind
from redismigrate.planning.step_payloads import DocumentsPayload
from redismigrate.quantities import size_text
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.moves import may_read
from redismigrate.schema.prefixes import KeyPrefixes


def is_of_values(changes: Sequence[IndexChange]) -> bool:
    """Whether changes of one index are about values that it does not read; then all of them are."""
    return any(isinstance(change, DropValues | RestoreValues) for change in changes)


def change_values(plan: PlanInProgress, index: IndexDefinition, changes: Sequence[IndexChange]) -> None:
    """Add what drops values of the documents of an index, or brings them back.

    Args:
        plan: Gets the steps, warnings and obstacles.
        index: The index, which stays as it is.
        changes: Of values alone, in order.
    """
    dropped = tuple(dict.fromkeys(each.path for each in changes if isinstance(each, DropValues)))
    restored = tuple(dict.fromkeys(each.path for each in changes if isinstance(each, RestoreValues)))
    if set(dropped) & set(restored) or (dropped and restored):
        plan.blocked.append(
            f"index {index.served} drops values and restores others in one block: give each a revision"
        )
    plan.blocked += _what_forbids(plan, index)
    if dropped:
        drop_values(plan, index, dropped)
    if restored:
        _restore(plan, index, restored)


def drop_values(plan: PlanInProgress, index: IndexDefinition, paths: tuple[str, ...]) -> None:
    """Add the steps that back values up and remove them, and what has to be known of that.

    Args:
        plan: Gets them.
        index: Whose documents have the values.
        paths: Hash fields or JSON paths.
    """
    plan.blocked += _what_reads(plan, index, paths)
    estimate = _estimate(index, paths, plan.inventory)
    named = " and ".join(paths)
    plan.block(why_backup_does_not_fit(estimate.backup_bytes, plan.inventory, plan.steps))
    sample, in_all = plan.inventory.samples.get(index.served), documents_of(index, plan.inventory)
    missing = missing_paths(sample, paths)
    if sample is not None:
        plan.warnings += (
            f"{nowhere(path, index.schema, sample, in_all)}: nothing is removed" for path in missing
        )
    if set(missing) != set(paths):
        there = " and ".join(path for path in paths if path not in missing)
        whose = f"{estimate.documents:,} documents" if estimate.documents else "documents"
        size = f", {size_text(estimate.bytes_read)}" if estimate.bytes_read else ""
        plan.warnings.append(
            f"the values at {there} of {whose} of index {index.served} go to the backup{size}; a release "
            "that still reads or writes them has to be gone"
        )
    documents = DocumentsPayload(rewrite=Rewrite(index.schema.storage_type, dropped=paths))
    plan.steps += [
        _step("start_backup", index, documents, f"start the backup of the values at {named}"),
        _step(
            "drop_values",
            index,
            documents,
            f"back up the values at {named} in the documents of {index.served}, and remove them",
            "bring them back from the backup",
            estimate,
        ),
    ]


def _restore(plan: PlanInProgress, index: IndexDefinition, paths: tuple[str, ...]) -> None:
    backup = plan.inventory.backups.get((plan.recorded.revision, index.served))
    named = " and ".join(paths)
    is_held = backup is not None and backup.is_here and set(paths) <= set(backup.paths)
    if not is_held and not plan.options.allow_lossy:
        plan.blocked.append(
            f"the values at {named} of index {index.served} come back from the backup of the revision that "
            "has dropped them, and that is not here: name the folder of the backups with --backup-dir, or go "
            "back without them by --allow-lossy"
        )
    if backup is None or not is_held:
        return
    rewrite = Rewrite(index.schema.storage_type, dropped=paths)
    documents = DocumentsPayload(rewrite=rewrite, restores_from=(backup.location,))
    estimate = _estimate(index, paths, plan.inventory)
    changed = {
        "bytes_written": estimate.bytes_read,
        "bytes_read": 0,
        "backup_bytes": 0,
        "kept_memory_bytes": None,
    }
    plan.steps.append(
        _step(
            "restore_values",
            index,
            documents,
            f"bring the values at {named} back into the documents of {index.served}",
            "remove them again",
            estimate.model_copy(update=changed),
        )
    )


def _what_forbids(plan: PlanInProgress, index: IndexDefinition) -> Iterator[str]:
    if plan.inventory.capabilities.is_cluster:
        yield why_not_in_cluster(index)
    if index.schema.filter is not None:
        yield (
            f"index {index.served} has a FILTER, and values would go from documents that it keeps out, too: "
            "drop them by a function, op.run"
        )
    changes = [item for item in plan.recorded.operations if item.kind == "change_index"]
    if sum(index.served in {item.name, item.name_after} for item in changes) > 1:
        yield (
            f"index {index.served} is changed by another block of this revision: give its values a "
            "revision of their own"
        )


def _what_reads(plan: PlanInProgress, index: IndexDefinition, paths: tuple[str, ...]) -> Iterator[str]:
    """Other indexes over the same documents, and this one as searches still ask it."""
    keys = KeyPrefixes.of(index.schema.prefixes)
    recorded = {definition.physical: definition.schema for definition in plan.start.values()}
    for name, schema in sorted({**plan.inventory.schemas, **recorded}.items()):
        if schema.storage_type != index.schema.storage_type or not keys.overlap(
            KeyPrefixes.of(schema.prefixes)
        ):
            continue
        for path in paths:
            reader = _reader(schema, path)
            if reader is not None:
                yield (
                    f"{reader} of index {name} reads {path} of the same documents: drop the values in a "
                    "revision after it reads something else"
                )


def _reader(schema: IndexSchema, path: str) -> str | None:
    return next(
        (who for who, read in paths_read(schema) if may_read(read, path, schema.storage_type)),
        "FILTER" if filters_by(schema, path) else None,
    )


def _estimate(index: IndexDefinition, paths: tuple[str, ...], inventory: Inventory) -> Estimate:
    """What backing values up and removing them costs: each removal indexes its document once more."""
    sample = inventory.samples.get(index.served)
    documents = documents_of(index, inventory)
    sizes = {path: bytes_of(sample, path, USUAL_VALUE_BYTES) for path in paths}
    rewrite = Rewrite(index.schema.storage_type, dropped=paths)
    backup = backup_estimate(index, rewrite, inventory)
    read_bytes = round(documents * sum(sizes.values()))
    having = round(documents * max(share_of(sample, path) for path in paths))
    freed = sum(
        documents * share_of(sample, path) * allocated_bytes(round(size) + HASH_VALUE_OVERHEAD)
        for path, size in sizes.items()
    )
    seconds = backup.seconds + build_estimate(index, index, inventory).seconds
    return Estimate(
        documents=having,
        bytes_read=read_bytes,
        backup_bytes=backup.backup_bytes + read_bytes,
        kept_memory_bytes=-round(freed),
        seconds=round(seconds, 2),
    )


def _step(
    kind: StepKind,
    index: IndexDefinition,
    documents: DocumentsPayload,
    description: str,
    rollback: str = "",
    estimate: Estimate | None = None,
) -> Step:
    return Step(
        kind=kind,
        index=index.served,
        before=index,
        after=index,
        documents=documents,
        description=description,
        rollback=rollback,
        estimate=estimate or Estimate(),
    )
