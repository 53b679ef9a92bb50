"""The manifest of a backup: what it is of, and which chunks belong to it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from redismigrate.backup.durable_files import TEMPORARY, UnexpectedFile, read_regular_file
from redismigrate.errors import BackupDamaged, BackupFailed
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.schema.strict import Count, Text

FORMAT: Literal[1] = 1
MANIFEST = "manifest.json"
# Only while a backup grows, one JSON object a line: to rewrite the manifest for every chunk would cost the
# square of their number.
CHUNK_LIST = "chunks.jsonl"
INTACT_COPY = "Put an intact copy of the folder in its place."
# Where the question is whether to keep it, not how to go on with what needs it.
INTACT_COPY_OR_NONE = f"{INTACT_COPY[:-1]}, or delete it by hand once nothing needs it."


class ChunkRecord(BaseModel):
    """What has to be known of a chunk to trust it.

    Attributes:
        file: Its name in the folder of the manifest.
        sha256: Of its content, in hex.
        documents: That it holds.
        bytes: Of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    documents: Count
    bytes: Count


class Manifest(BaseModel):
    """What a backup is of.

    To start one, give all up to `options`.

    Attributes:
        format: Of the files.
        project: Whose index it is.
        run: The run that made it.
        revision: The revision that changed the documents.
        index: The served name.
        phase: The phase of the run in which they changed.
        fields: The hash fields or JSON paths whose values are kept: the columns of every chunk.
        schema_before: The index's schema from before the revision, as JSON.
        options: What the run was asked to do, as JSON.
        created_at: ISO 8601 with time zone; in the order of these the backups of a run were made.
        host: Where it was made.
        complete: Whether all documents are in it. If not, the chunks since it last was stand in a list
            beside it.
        documents: In `chunks`.
        bytes: Of the files of `chunks`.
        chunks: In the order in which they were written; where two hold the same key, the later one is newer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    project: Text
    run: Text
    revision: Text
    index: Text
    phase: Text
    fields: Annotated[tuple[Text, ...], Field(strict=False)]
    schema_before: Any
    options: Any
    created_at: Text = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    host: Text = Field(default_factory=socket.gethostname)
    complete: bool = False
    documents: Count = 0
    bytes: Count = 0
    chunks: Annotated[tuple[ChunkRecord, ...], Field(strict=False)] = ()


def chunk_name(number: int) -> str:
    """The file name of a chunk; the first has number 1."""
    return f"chunk-{number:06d}.npz"


def number_of_chunk(name: str) -> int:
    """The number in the file name of a chunk."""
    return int(name.removeprefix("chunk-").removesuffix(".npz"))


def is_temporary(path: Path) -> bool:
    """Whether a file is what a crash left of one that was to become part of a backup."""
    is_named_so = re.fullmatch(
        rf"({re.escape(MANIFEST)}|chunk-\d{{6,}}\.npz){re.escape(TEMPORARY)}", path.name
    )
    return bool(is_named_so) and path.is_file() and not path.is_symlink()


def dump_manifest(manifest: Manifest) -> bytes:
    """The content of `manifest.json`: JSON that ends with the sha256 of all the rest of it.

    Raises:
        TypeError: The schema or the options are no JSON.
        ValueError: They hold NaN or infinity.
    """
    content = parse_json(json.dumps(manifest.model_dump(mode="python"), allow_nan=False))
    return json.dumps({**content, "sha256": _seal(content)}, indent=1).encode()


def dump_record(record: ChunkRecord) -> bytes:
    """A line of the chunk list."""
    return json.dumps(record.model_dump()).encode() + b"\n"


def load_manifest(folder: Path) -> Manifest:
    """Read `manifest.json`.

    Raises:
        BackupDamaged: It is missing, or not as it was written.
    """
    try:
        content = parse_json(read_regular_file(folder / MANIFEST))
        seal = content.pop("sha256", None) if isinstance(content, dict) else None
        is_sealed = seal == _seal(content)
    except UnexpectedFile as problem:
        raise damaged(folder, f"{MANIFEST} {problem}") from None
    except UnreadableDocument as error:
        raise damaged(folder, f"{MANIFEST} {error.problem}") from None
    if not isinstance(content, dict):
        raise damaged(folder, f"{MANIFEST} holds no JSON object")
    format_ = content.get("format")
    if isinstance(format_, int) and format_ > FORMAT:
        raise BackupDamaged(
            f"The backup in {folder} has format {format_}, newer than this redismigrate reads ({FORMAT}).",
            "Use the version that wrote it, or a newer one.",
        )
    if not is_sealed:
        raise damaged(folder, f"{MANIFEST} was changed after it was written (its sha256 differs)")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in mistake["loc"])
        raise damaged(folder, f"{MANIFEST} has a wrong {where!r}: {mistake['msg']}") from None
    _check_names(folder, manifest.chunks, first_number=1)
    for count in ("documents", "bytes"):
        total = sum(getattr(chunk, count) for chunk in manifest.chunks)
        if total != getattr(manifest, count):
            raise damaged(folder, f"{MANIFEST} counts {getattr(manifest, count)} {count}, its chunks {total}")
    return manifest


def read_chunk_list(folder: Path, manifest: Manifest) -> tuple[tuple[ChunkRecord, ...], int]:
    """The durable chunks that the manifest does not list yet.

    A chunk becomes durable in this order: its file under a temporary name, its line in the list, its name. So
    a last line without its line break, and a last record whose file has only its temporary name, are what a
    crash left behind; a file without a record is not.

    Args:
        folder: Of the backup.
        manifest: That stands in it.

    Returns:
        The records, and the length in bytes of the part of the list that holds them.

    Raises:
        BackupDamaged: The list is not as it was written.
    """
    if manifest.complete:
        return (), 0
    try:
        data = read_regular_file(folder / CHUNK_LIST)
    except UnexpectedFile as problem:
        if os.path.lexists(folder / CHUNK_LIST):
            raise damaged(folder, f"{CHUNK_LIST} {problem}") from None
        data = b""
    lines = data.split(b"\n")[:-1]
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(ChunkRecord.model_validate(parse_json(line)))
        except (UnreadableDocument, ValidationError):
            raise damaged(folder, f"line {number} of {CHUNK_LIST} is no record of a chunk") from None
    first_number = len(manifest.chunks) + 1
    _check_names(folder, records, first_number)
    # If the temporary file is gone as well it was no crash, for fsync of a new file keeps its name, too (on
    # ext4, XFS and btrfs): then the record stays, and its chunk is missing.
    if records and not os.path.lexists(folder / records[-1].file):
        has_temporary = os.path.lexists(folder / (records[-1].file + TEMPORARY))
        records = records[:-1] if has_temporary else records
    unlisted = chunk_name(first_number + len(records))
    if os.path.lexists(folder / unlisted):
        raise damaged(folder, f"{unlisted} stands in no list")
    return tuple(records), sum(len(line) + 1 for line in lines[: len(records)])


def _check_names(folder: Path, records: Sequence[ChunkRecord], first_number: int) -> None:
    """A name is never taken from a file: a path would lead out of the folder."""
    for number, record in enumerate(records, start=first_number):
        if record.file != chunk_name(number):
            raise damaged(
                folder, f"chunk {number} is called {record.file!r}, expected {chunk_name(number)!r}"
            )


def _seal(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damaged(folder: Path, problem: object) -> BackupDamaged:
    """The error for a backup that is not as it was written.

    Args:
        folder: Of the backup.
        problem: The name of a file and what is wrong with it.
    """
    return BackupDamaged(f"The backup in {folder} is damaged: {problem}.", INTACT_COPY)


def failed_to_write(folder: Path, error: OSError) -> BackupFailed:
    """The error for a backup that can't be written."""
    where = f" ({error.filename})" if error.filename else ""
    return BackupFailed(
        f"The backup in {folder} can't be written: {error.strerror or error}{where}.",
        "Make room or give another --backup-dir; what is not backed up was not changed.",
    )
