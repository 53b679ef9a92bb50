"""What a backup says of the rewrite that made it, and whether the two fit together."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import TypeAdapter, ValidationError

from redismigrate.backup.backup import Backup
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.location import BackupLocation
from redismigrate.backup.manifest import MANIFEST, damaged
from redismigrate.backup.replaced_documents import COLUMN, is_of_replaced, replaced_in
from redismigrate.documents.conversion import Quantizations, transform_of
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.errors import BackupDamaged, RedisMigrateError
from redismigrate.operations.renaming import paths_read
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.json_paths import WHOLE_DOCUMENT
from redismigrate.schema.moves import reads
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.strict import readable

REWRITES: TypeAdapter[Rewrite] = TypeAdapter(Rewrite)
QUANTIZATIONS: TypeAdapter[dict[str, Quantization]] = TypeAdapter(dict[str, Quantization])


def rewrite_in(backup: Backup) -> Rewrite:
    """What the run that made a backup did to the documents.

    Raises:
        BackupDamaged: The manifest does not say it.
    """
    try:
        return REWRITES.validate_python(backup.manifest.options["rewrite"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(backup.folder, f"{MANIFEST} does not say what was rewritten") from error


def quantizations_in(backup: Backup) -> dict[str, Quantization]:
    """How the run that made a backup made integers; empty when it never came so far.

    Raises:
        BackupDamaged: The manifest holds something else.
    """
    try:
        return QUANTIZATIONS.validate_python(backup.manifest.options.get("quantizations", {}))
    except (AttributeError, ValueError) as error:
        raise damaged(backup.folder, f"{MANIFEST} has no usable quantizations") from error


def schema_before(backup: Backup) -> IndexSchema:
    """The index that the documents were in before the rewrite.

    Raises:
        BackupDamaged: The manifest does not hold it.
    """
    try:
        return IndexSchema.model_validate(backup.manifest.schema_before)
    except (ValidationError, RedisMigrateError) as error:
        raise damaged(backup.folder, f"{MANIFEST} holds no schema") from error


def older_backups_in(backup: Backup) -> tuple[BackupLocation, ...]:
    """Where the run that made a backup has taken originals from, which a conversion back can't give.

    Raises:
        BackupDamaged: The manifest holds something else.
    """
    options = backup.manifest.options
    locations = options.get("restores_from", ()) if isinstance(options, dict) else None
    if not isinstance(locations, list | tuple) or not all(isinstance(each, str) for each in locations):
        raise damaged(backup.folder, f"{MANIFEST} does not say where older backups are")
    return tuple(map(BackupLocation.parse, locations))


def require_restorable(backup: Backup, on_read: Callable[[int], object] = lambda _: None) -> None:
    """Read all of a backup before anything is taken from it.

    Args:
        backup: Which.
        on_read: Told how many documents each chunk holds that was read.

    Raises:
        BackupDamaged: It is not as it was written, or could not have been written by the rewrite that it says
            it is of.
    """
    problem_of = _checked(backup)

    def problem_of_read(chunk: Chunk) -> str | None:
        on_read(len(chunk.documents.keys))
        return problem_of(chunk)

    backup.require_intact(problem_of_read)


def restorable_part(backup: Backup) -> Backup:
    """What of a backup can be restored: reads all of it, and has the other chunks as `lost`.

    Raises:
        BackupDamaged: What it says of the rewrite can't be right, so nothing of it can be trusted.
    """
    return backup.without_damaged(_checked(backup))


def _checked(backup: Backup) -> Callable[[Chunk], str | None]:
    """Check what a manifest says; the check of each chunk.

    Whoever can write to the folder can write manifest and chunks that fit their checksums.
    """
    rewrite, schema = rewrite_in(backup), schema_before(backup)
    older_backups_in(backup)
    backup.count("kept")
    if is_of_replaced(backup):
        return lambda chunk: _problem_of_replaced(backup, chunk, rewrite.storage_type)
    problem = _problem_of_rewrite(rewrite, schema)
    if backup.documents and problem is None:  # without any, no scale was found
        problem = _problem_of_conversion(rewrite, quantizations_in(backup))
    if problem is not None:
        raise damaged(backup.folder, f"{MANIFEST} {problem}")
    if backup.manifest.fields != backup_fields(rewrite):
        fields = list(backup.manifest.fields)
        raise damaged(backup.folder, f"{MANIFEST} lists the fields {fields}, not those that were rewritten")
    prefixes = KeyPrefixes.of(schema.prefixes)

    def problem_of(chunk: Chunk) -> str | None:
        if rewrite.moves and KEPT not in chunk.numbers:
            return "does not say what its documents were called"
        for key in chunk.documents.keys:
            if not prefixes.cover(key):
                return f"holds the key {readable(key)}, which the index never had"
        return None

    return problem_of


def _problem_of_rewrite(rewrite: Rewrite, schema: IndexSchema) -> str | None:
    """What of a rewrite can't be one of documents of this index, as the end of a sentence."""
    if rewrite.storage_type != schema.storage_type:
        return f"is of {rewrite.storage_type} documents in an index of {schema.storage_type} documents"
    paths = [path for _, path in paths_read(schema)]
    for rename in rewrite.renames:
        if not any(reads(path, rename.old, schema.storage_type) for path in paths):
            return f"renames {rename.old}, which the index never read"
    for recoding in rewrite.recodings:
        if not any(_is_of(recoding, field) for field in schema.fields if isinstance(field, VectorField)):
            return f"re-encodes {recoding}, which the index never read so"
    return None


def _problem_of_replaced(backup: Backup, chunk: Chunk, storage_type: str) -> str | None:
    try:
        for _ in replaced_in(backup, chunk, storage_type):
            pass
    except BackupDamaged:
        return "holds a document that is not as it was written"
    return None


def _problem_of_conversion(rewrite: Rewrite, quantizations: Quantizations) -> str | None:
    try:
        transform_of(rewrite.recodings, quantizations)
    except (ValueError, RedisMigrateError) as error:
        return f"does not say how to convert: {error}"
    for recoding in rewrite.recodings:
        if recoding.makes_integers and recoding.path not in quantizations:
            conversion = f"{recoding.dims} x {recoding.before} to {recoding.dims_after} x {recoding.after}"
            return f"does not say how to convert: {conversion} needs a quantization"
    return None


def _is_of(recoding: Recoding, field: VectorField) -> bool:
    path = field.path_in("json" if recoding.is_json else "hash")
    return (path, field.dims, field.datatype) == (
        recoding.path,
        recoding.dims,
        recoding.before,
    )


# The number in a backup that tells what a document was called from the beginning, see `Mover.kept`.
KEPT = "kept"


def backup_fields(rewrite: Rewrite) -> tuple[str, ...]:
    """The columns of the backup of a rewrite.

    Values that only move within hashes are not among them: they are still there, under another name.
    """
    if rewrite.changes_type_in_place:
        return (COLUMN,)
    if rewrite.reads_whole_documents:
        return (WHOLE_DOCUMENT,)
    return (*rewrite.recoded_paths, *rewrite.dropped)
