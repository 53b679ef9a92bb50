"""Makes JSON documents of real hashes and back; `python tests/benchmarks/real_documents_as_json.py FOLDER`.

FOLDER has `packages.jsonl.gz`, one JSON object a line, and `packages_minilm384.npy`, the vector of each. They
become 10,000 hashes, which an upgrade makes JSON documents of, and a downgrade hashes again. Prints how long
that takes, what was listed, and whether every hash is as it was, byte for byte.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import redis

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.redis_server.embedded import EmbeddedServer

DOCUMENTS = 10_000
SCRIPT = '''"""{message}"""
revision = "{revision}"
down_revision = {down}
branch_labels = ()
depends_on = ()


def upgrade(op):
{upgrade}


def downgrade(op):
{downgrade}
'''
CREATED = """    op.create_index({
        "index": {"name": "packages", "prefix": "doc:"},
        "fields": [
            {"name": "name", "type": "text"},
            {"name": "summary", "type": "text"},
            {"name": "section", "type": "tag"},
            {"name": "tags", "type": "tag", "attrs": {"separator": "|"}},
            {"name": "installed_kb", "type": "numeric"},
            {"name": "embedding", "type": "vector",
             "attrs": {"algorithm": "ALGORITHM", "dims": 384, "distance_metric": "cosine"}},
        ],
    })"""
CHANGED = """    with op.index("packages") as index:
        index.change_storage("json", prefix=("doc:", "jdoc:"),
                             paths={"summary": "$.meta.summary", "tags": "$.tags[*]"})"""
CHANGED_BACK = """    with op.index("packages") as index:
        index.change_storage("hash", prefix=("jdoc:", "doc:"))"""


def main() -> None:
    """Measure and print."""
    folder = Path(sys.argv[1])
    algorithm = sys.argv[2] if len(sys.argv) > 2 else "flat"
    with tempfile.TemporaryDirectory() as made, EmbeddedServer() as server:
        client = redis.Redis.from_url(server.url)
        _load(client, folder)
        before = _hashes(client)
        project = _project(Path(made), server.url, algorithm)
        _timed("create the index", lambda: commands.upgrade(project, "000000000001"))
        used = int(client.info("memory")["used_memory"])
        _timed("hash to JSON", lambda: commands.upgrade(project, "head", MigrationOptions(max_failures=100)))
        print(
            f"memory: {used / 1e6:.0f} MB as hashes, {client.info('memory')['used_memory'] / 1e6:.0f} as JSON"
        )
        print(f"hashes left: {len(_hashes(client))}")
        _timed("JSON to hash", lambda: commands.downgrade(project, "000000000001"))
        after = _hashes(client)
        differing = [key for key in before if after.get(key) != before[key]]
        print(f"{len(before):,} documents before, {len(after):,} after, {len(differing)} differ")


def _load(client: redis.Redis, folder: Path) -> None:
    vectors = np.load(folder / "packages_minilm384.npy")
    with gzip.open(folder / "packages.jsonl.gz", "rt", encoding="utf-8") as lines:
        packages = [json.loads(line) for line in lines]
    pipeline = client.pipeline(transaction=False)
    for number in range(DOCUMENTS):
        at = number % len(packages)
        package: dict[str, Any] = packages[at]
        fields = {
            name: "|".join(value) if isinstance(value, list) else str(value)
            for name, value in package.items()
            if value is not None
        }
        pipeline.hset(f"doc:{number}", mapping={**fields, "embedding": vectors[at].tobytes()})
    pipeline.execute()


def _hashes(client: redis.Redis) -> dict[bytes, dict[bytes, bytes]]:
    keys = list(client.scan_iter(match="doc:*", count=10_000, _type="hash"))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    return dict(zip(keys, pipeline.execute(), strict=True))


def _project(folder: Path, url: str, algorithm: str) -> commands.Project:
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "redismigrate.toml").write_text(
        f'project = "real"\nscript_location = "migrations"\nurl = "{url}"\nbackup_dir = "backups"\n'
    )
    first, second = "000000000001", "000000000002"
    scripts = (
        (first, "None", CREATED.replace("ALGORITHM", algorithm), '    op.drop_index("packages")'),
        (second, f'"{first}"', CHANGED, CHANGED_BACK),
    )
    for revision, down, upgrade, downgrade in scripts:
        text = SCRIPT.format(
            message=revision, revision=revision, down=down, upgrade=upgrade, downgrade=downgrade
        )
        (versions / f"{revision}.py").write_text(text)
    return commands.Project.load(folder / "redismigrate.toml", {"backup_dir": str(folder / "backups")})


def _timed(what: str, migrate: Any) -> None:
    started = time.monotonic()
    result = migrate()
    print(f"{what}: {time.monotonic() - started:.1f} s, {result.documents}")


if __name__ == "__main__":
    main()
