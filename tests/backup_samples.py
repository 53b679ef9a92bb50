"""Small backups for the tests: chunks, a manifest to start with, and files changed as nobody should."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk, write_chunk
from redismigrate.backup.manifest import Manifest
from redismigrate.documents.batch import Batch


def chunk(number: int, documents: int = 3) -> Chunk:
    """A chunk that differs from those with other numbers; one of its documents has no vector."""
    keys = [b"doc:%d:%d" % (number, row) for row in range(documents)]
    vectors = [None if row == 1 else bytes([number, row]) * 8 for row in range(documents)]
    return Chunk(Batch(keys, {"embedding": vectors}), {"ttl_ms": [-1] * documents})


def chunk_bytes(*parts: Chunk) -> bytes:
    """The content of a chunk's file."""
    buffer = io.BytesIO()
    write_chunk(buffer, *parts)
    return buffer.getvalue()


def manifest(**changes: Any) -> Manifest:
    """A manifest to start a backup with."""
    values: dict[str, Any] = {
        "project": "shop",
        "run": "20261120-1",
        "revision": "8f3a1c9b2d4e",
        "index": "products",
        "phase": "all",
        "fields": ("embedding",),
        "schema_before": {"index": {"name": "products", "prefix": ["doc:"]}},
        "options": {"batch_size": 500},
    }
    return Manifest(**values | changes)


def write_backup(backup_dir: Path, chunks: int = 3, *, is_complete: bool = True, **changes: Any) -> Path:
    """Write a backup; its folder."""
    with BackupWriter.create(backup_dir, manifest(**changes)) as writer:
        for number in range(1, chunks + 1):
            writer.add(chunk(number))
        if is_complete:
            writer.finish()
    return writer.folder


def forge_manifest(folder: Path, **changes: Any) -> None:
    """Change a manifest as an attacker would, who knows how it is sealed."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text()) | changes
    del content["sha256"]
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content | {"sha256": seal}))


def forge_chunk(folder: Path, data: bytes) -> None:
    """Replace the first chunk of a complete backup together with everything that is known of it."""
    chunks = json.loads((folder / "manifest.json").read_text())["chunks"]
    (folder / chunks[0]["file"]).write_bytes(data)
    chunks[0] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    forge_manifest(folder, chunks=chunks, bytes=sum(record["bytes"] for record in chunks))
