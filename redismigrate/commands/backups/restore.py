"""`backup restore`: the original values of a run's backups into the documents, without a word on indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import (
    older_backups_in,
    quantizations_in,
    require_restorable,
    rewrite_in,
    schema_before,
)
from redismigrate.backup.folders import open_in_place
from redismigrate.backup.replaced_documents import holds_values, is_of_replaced
from redismigrate.commands.backups.backup_needs import is_known
from redismigrate.commands.backups.listing import list_backups, translated_errors
from redismigrate.commands.migration_options import MigrationOptions, failed_to_json
from redismigrate.commands.project import Project
from redismigrate.commands.session import locked_state, refuse_unfinished_run
from redismigrate.documents.failures import Restored
from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import BackupDamaged, BackupError, PlanBlocked
from redismigrate.execution.documents.beside.dropping import bring_values_back
from redismigrate.execution.documents.beside.restoring_replaced import restore_replaced
from redismigrate.execution.documents.beside.restoring_values import restore_values
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.in_place.older_originals import take_precision_back
from redismigrate.execution.documents.in_place.restoring import restore_documents
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.execution.indexes.live import existing_indexes, live_schemas
from redismigrate.execution.progress import Watcher
from redismigrate.execution.steps.document_work import failed
from redismigrate.execution.steps.storage_steps import restore_type
from redismigrate.planning.overlap import overlap_problems
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import readable_key
from redismigrate.shown_url import shown_url
from redismigrate.state.fence import Fence
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature
from redismigrate.state.store import State
from redismigrate.state.transaction import Transaction


@dataclass(frozen=True)
class RestoredBackup:
    """What was restored from one backup.

    Attributes:
        backup: The backup.
        restored: What became of its documents.
    """

    backup: Backup
    restored: Restored


@dataclass(frozen=True)
class RestoredBackups:
    """What `restore_backups` did.

    Attributes:
        folder: The setting `backup_dir`.
        run: Whose backups they are.
        backups: In the order in which they were restored, the newest first.
    """

    folder: Path
    run: str
    backups: tuple[RestoredBackup, ...]

    def to_json(self) -> dict[str, Any]:
        """What was put back, as data for `--json`."""
        return {
            "folder": str(self.folder),
            "run": self.run,
            "backups": [
                {
                    "revision": item.backup.manifest.revision,
                    "index": item.backup.manifest.index,
                    "restored": item.restored.documents,
                    "left_count": item.restored.left.count,
                    "left": failed_to_json(failed(item.restored.left)),
                }
                for item in self.backups
            ],
        }


def restore_backups(
    project: Project,
    run: str,
    *,
    is_forced: bool = False,
    lock_timeout: float | None = None,
    allow_evictable_state: bool | None = None,
    watcher: Watcher | None = None,
) -> RestoredBackups:
    """Put original values back into the documents that still hold what the run made of them.

    Indexes and the record of revisions stay as they are: `rollback` and `downgrade` bring them back, too. All
    backups of the run are verified before anything is written.

    Args:
        project: Whose backups.
        run: The id of a run or its unique beginning.
        is_forced: Restore although a live index would lose the documents by it, or Redis knows of no such
            run.
        lock_timeout: Seconds to wait for another process; None takes the setting.
        allow_evictable_state: Work although the server may evict the state; None takes the setting.
        watcher: Is told of every document that is left as it is.

    Raises:
        BackupMissing: No backup is of that run, or one is gone from which a downgrade has brought originals
            back.
        BackupDamaged: One of them is not as it was written, or could not have been written by a run; nothing
            was restored.
        BackupError: Redis knows of no such run.
        PlanBlocked: A live index would lose the documents.
        RunInProgress: A run is unfinished.
    """
    watcher = watcher or Watcher()
    backup_dir, backups = _restorable(project, run)
    older_backups = {backup.folder: _older_backups(backup, backup_dir) for backup in backups}
    with (
        project.connect() as server,
        locked_state(project, server, lock_timeout, allow_evictable_state) as writer,
    ):
        refuse_unfinished_run(writer.state)
        if not is_forced:
            _require_known(project, server, writer.state, backups[0].manifest.run)
            _require_harmless(server, backups)
        node = Node(server, Fence(project.keys.fence.encode(), writer.token.encode()))
        done = []
        for backup in backups:
            restored = _restored(node, backup, older_backups[backup.folder], watcher)
            done.append(RestoredBackup(backup, restored))
            for document in done[-1].restored.left.listed:
                watcher.warned(f"{readable_key(document.key)}: {document.reason}")
            manifest = backup.manifest
            event = {
                "event": "restore",
                "run": manifest.run,
                "revision": manifest.revision,
                "index": manifest.index,
                "by": signature(),
            }
            writer.transact(Transaction(event=event))
    return RestoredBackups(backup_dir, backups[0].manifest.run, tuple(done))


def _restorable(project: Project, run: str) -> tuple[Path, list[Backup]]:
    """The folder of all backups, and those of the run, the newest first; all of them were read."""
    listed = list_backups(project, run)
    backups, problems, hints = [], [], []
    # What was backed up last was changed last.
    for summary in reversed(listed.backups):
        try:
            with translated_errors(f"The backup in {summary.folder} can't be read"):
                backups.append(open_in_place(summary.folder))
                require_restorable(backups[-1])
        except BackupDamaged as error:
            problems.append(error.message)
            hints.append(error.hint)
    if problems:
        raise BackupDamaged(f"{' '.join(problems)} Nothing was restored.", " ".join(dict.fromkeys(hints)))
    return listed.folder, backups


def _require_known(project: Project, server: Server, state: State, run: str) -> None:
    """Refuse what anybody who can write to the folder could have put there: a manifest moves any keys."""
    if not is_known(server, project.keys, state, run):
        raise BackupError(
            f"Redis at {shown_url(project.settings.url)} knows of no run {run} of project "
            f"{project.settings.project}.",
            "Check the URL; --force restores a backup whose run was forgotten, if you know where it is from.",
        )


def _older_backups(backup: Backup, backup_dir: Path) -> list[Backup]:
    """The backups from which a downgrade has brought originals back, intact."""
    older = [location.open(backup_dir) for location in older_backups_in(backup)]
    for each in older:
        require_restorable(each)
    return older


def _require_harmless(server: Server, backups: list[Backup]) -> None:
    problems: list[str] = []
    schemas = live_schemas(server, existing_indexes(server))
    for backup in backups:
        if _changed_type(backup):
            problems += _what_reads_the_other_type(backup, schemas)
            continue
        if is_of_replaced(backup):
            continue  # it only goes where nothing is
        rewrite, before = rewrite_in(backup), schema_before(backup)
        moved = rewrite.moves_reversed()
        back = Rewrite(
            rewrite.storage_type,
            tuple(recoding.reversed() for recoding in rewrite.recodings),
            moved.renames,
            moved.prefixes,
        )
        # No live index counts as the one that the backup is of: that one would lose its documents first.
        nobody = IndexDefinition(before, physical="")
        problems += overlap_problems(nobody, nobody, back, schemas, {})
    if problems:
        run = backups[0].manifest.run
        raise PlanBlocked(
            f"Live indexes would lose documents: {'; '.join(dict.fromkeys(problems))}.",
            f"`redismigrate rollback --run {run}` and `downgrade` bring indexes and documents back together; "
            "--force restores the documents alone.",
            tuple(problems),
        )


def _changed_type(backup: Backup) -> bool:
    """Whether a backup is of documents that became ones of the other type under their keys."""
    return rewrite_in(backup).changes_type_in_place


def _what_reads_the_other_type(backup: Backup, schemas: Mapping[str, IndexSchema]) -> Iterator[str]:
    """The indexes that would lose documents of a backup which get their old type back."""
    keys, wanted = KeyPrefixes.of(schema_before(backup).prefixes), rewrite_in(backup).storage_after
    for name, schema in sorted(schemas.items()):
        if schema.storage_type == wanted and keys.overlap(KeyPrefixes.of(schema.prefixes)):
            yield f"index {name} reads the same keys as {wanted}, which become {_type_of(backup)} again"


def _type_of(backup: Backup) -> str:
    """What the documents of a backup are."""
    return "hashes" if schema_before(backup).storage_type == "hash" else "JSON documents"


def _restored(node: Node, backup: Backup, older_backups: list[Backup], watcher: Watcher) -> Restored:
    if holds_values(backup):
        return restore_values(node, backup)
    if _changed_type(backup):
        aside = StateKeys(backup.manifest.project).aside.encode()
        return restore_type(_job(node, backup), aside, backup, older_backups)
    if is_of_replaced(backup):
        return restore_replaced(node, backup, rewrite_in(backup).storage_type)
    job, quantizations = _job(node, backup), quantizations_in(backup)
    if job.rewrite.dropped:
        with Synchroniser(node, job.connections, job.batch_size) as synchroniser:
            return bring_values_back(synchroniser, backup, job.schema, job.rewrite.dropped)
    # Documents that got older originals back don't hold what the conversion made of them.
    taken = take_precision_back(reversed(older_backups), backup, job, quantizations)
    for document in (document for refused in taken.refused for document in refused.listed):
        watcher.warned(f"{readable_key(document.key)}: {document.reason}")
    return restore_documents(job, backup, quantizations, given_back=taken.given_back)


def _job(node: Node, backup: Backup) -> RewriteJob:
    return RewriteJob(
        nodes=node,
        physical=backup.manifest.index,
        schema=schema_before(backup),
        rewrite=rewrite_in(backup),
        batch_size=MigrationOptions.batch_size,
        connections=MigrationOptions.workers,
        is_exclusive=False,
        on_progress=lambda _: None,
    )
