"""Mutated files and documents of the state: every end is documented, and no document is lost or wrong.

`FUZZ_MUTATIONS=2000 pytest -m slow tests/integration/test_fuzzed_files.py` gives every target so many.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from backup_samples import forge_chunk, forge_manifest
from fuzzed_inputs import HOSTILE_TEXTS, mutated_bytes, mutated_file, mutated_value, mutations, rendered
from fuzzed_scene import Scene, scene_on
from fuzzing import Campaign, documents_in, mutations_wanted
from signalled_process import KILLED, kill_at
from vector_documents import TO_FLOAT16, TO_FLOAT32, converted, stock

from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.redis_server.embedded import EmbeddedServer

SCHEMA = {
    "version": "0.1.0",
    "index": {
        "name": "books",
        "prefix": ["book:", "b:"],
        "key_separator": ":",
        "storage_type": "hash",
        "stopwords": ["a", "the"],
        "language": "english",
    },
    "fields": [
        {"name": "title", "type": "text", "attrs": {"weight": 2.0, "phonetic_matcher": "dm:en"}},
        {"name": "brand", "type": "tag", "path": "brand_name", "attrs": {"separator": "|"}},
        {"name": "price", "type": "numeric", "attrs": {"sortable": True, "unf": True}},
        {"name": "place", "type": "geo"},
        {
            "name": "embedding",
            "type": "vector",
            "attrs": {"algorithm": "hnsw", "dims": 8, "distance_metric": "cosine", "m": 16, "epsilon": 0.01},
        },
    ],
}
PATCH = {
    "version": 1,
    "changes": {
        "add_fields": [{"name": "brand", "type": "tag", "path": "b", "attrs": {"separator": "|"}}],
        "remove_fields": ["old"],
        "update_fields": [{"name": "embedding", "attrs": {"datatype": "float16", "algorithm": "hnsw"}}],
        "rename_fields": [{"old_name": "title", "new_name": "name"}],
        "index": {"name": "items", "prefix": "item:"},
    },
}
SETTINGS = {
    "script_location": "migrations",
    "project": "shop",
    "backup_dir": "backups",
    "lock_timeout": 0.2,
    "schemas": ["schemas/*.yaml"],
    "version_locations": ["migrations/versions"],
    "known_aliases": ["live"],
    "file_template": "%(rev)s_%(slug)s",
    "truncate_slug_length": 40,
    "timezone": "UTC",
    "adopt": "alias",
    "allow_evictable_state": False,
    "ssl_cert_reqs": "required",
    "ssl_ca_certs": "ca.pem",
}
SHARES = [pytest.param(40, id="share"), pytest.param(1_500, id="all", marks=[pytest.mark.slow])]
pytestmark = [pytest.mark.timeout(3_000)]


@pytest.fixture
def scene(tmp_path: Path, redis_server: EmbeddedServer) -> Iterator[Scene]:
    with scene_on(tmp_path / "home", redis_server) as scene:
        yield scene


@pytest.fixture(params=SHARES)
def share(request: pytest.FixtureRequest) -> int:
    """How many mutations a test tries."""
    small = SHARES[0].values[0]
    return small if request.param == small else mutations_wanted(request.param)


def judge_scene(campaign: Campaign, scene: Scene, number: int, shown: Any, known: Callable[[], bool]) -> None:
    """Judge what a command has done to files and documents, and put them back."""
    written = scene.written_outside()
    if written:
        campaign.add(number, f"written outside the project: {written}", shown)
    if not known():
        campaign.add(number, "documents are neither as before nor as they should be", shown)
    scene.restore()


def test_configurations(scene: Scene, share: int):
    shop = scene.shop
    url = shop.url
    (shop.folder / "schemas").mkdir()
    (shop.folder / "schemas" / "books.yaml").write_bytes(rendered(SCHEMA, "yaml"))
    own = {**SETTINGS, "url": url, "environments": {"production": {"url": url, "lock_timeout": 0.1}}}
    project = {"project": {"name": "shop", "version": "1"}, "tool": {"redismigrate": own, "other": {"a": 1}}}
    commands = (
        ("current",), ("status",), ("history",), ("plan",), ("backup", "list"), ("check",), ("upgrade",),
        ("heads", "--env", "production"), ("revision", "-m", "title"),
        ("revision", "-m", "a", "--autogenerate"), ("backup", "verify"), ("stamp", "head"),
        ("show", "head"),
    )  # fmt: skip
    scene.save()
    with Campaign("configuration") as campaign:
        for number, rng in mutations("configuration", share):
            is_own = rng.random() < 0.7
            data = mutated_file(own if is_own else project, rng, "toml")
            if not is_own:
                (shop.folder / "redismigrate.toml").unlink()
            (shop.folder / ("redismigrate.toml" if is_own else "pyproject.toml")).write_bytes(data)
            campaign.judge(number, scene.run(*rng.choice(commands)), data)
            # A setting may well name a folder beside the project.
            scene.restore()


def test_schemas(scene: Scene, share: int):
    shop = scene.shop
    (shop.folder / "schemas").mkdir()
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text('schemas = ["schemas/*.yaml"]\n' + configuration.read_text())
    commands = (("check",), ("revision", "-m", "a", "--autogenerate"), ("status",))
    scene.save()
    with Campaign("schema") as campaign:
        for number, rng in mutations("schema", share):
            data = mutated_file(SCHEMA, rng, "yaml")
            (shop.folder / "schemas" / "books.yaml").write_bytes(data)
            outcome = scene.run(*rng.choice(commands))
            campaign.judge(number, outcome, data)
            if outcome.arguments[0] == "revision" and outcome.code == 0:
                for command in (("plan",), ("upgrade",), ("check",), ("downgrade", "base")):
                    campaign.judge(number, scene.run(*command), data)
            judge_scene(campaign, scene, number, data, lambda: True)


def test_patches(scene: Scene, share: int):
    shop = scene.shop
    shop.write(
        """op.create_index({"index": {"name": "products", "prefix": "p:"}, "fields": [
            {"name": "title", "type": "text"}, {"name": "old", "type": "tag"},
            {"name": "embedding", "type": "vector",
             "attrs": {"algorithm": "flat", "dims": 8, "distance_metric": "l2"}}]})"""
    )
    assert shop.run("upgrade").code == 0
    scene.save()
    with Campaign("patch") as campaign:
        for number, rng in mutations("patch", share):
            data = mutated_file(PATCH, rng, "yaml")
            (shop.folder / "patch.yaml").write_bytes(data)
            command = ("revision", "-m", "a", "--schema-patch", "patch.yaml", "--index", "products")
            outcome = scene.run(*command)
            campaign.judge(number, outcome, data)
            if outcome.code == 0:
                for command in (("plan",), ("upgrade", "--exclusive"), ("downgrade", "-1", "--exclusive")):
                    campaign.judge(number, scene.run(*command), data)
            judge_scene(campaign, scene, number, data, lambda: True)


def test_plans(scene: Scene, share: int):
    shop = scene.shop
    stock(shop, 5)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert shop.run("plan", "-o", "plan.yaml").code == 0
    plan = shop.folder / "plan.yaml"
    pristine = plan.read_bytes()
    content = yaml.safe_load(pristine)
    before = documents_in(shop.client)
    scene.save()
    with Campaign("plan") as campaign:
        for number, rng in mutations("plan", share):
            is_text = rng.random() < 0.3
            data = (
                mutated_bytes(pristine, rng)
                if is_text
                else rendered(mutated_value(content, rng, "yaml"), "yaml")
            )
            if rng.random() < 0.3 and not is_text:
                data = sealed_plan(data)
            plan.write_bytes(data)
            outcome = scene.run("upgrade", "--plan", "plan.yaml", "--strategy", "rebuild")
            campaign.judge(number, outcome, data)
            judge_scene(campaign, scene, number, data, lambda: documents_in(shop.client) == before)


def sealed_plan(data: bytes) -> bytes:
    """A plan whose digest fits what was written into it."""
    try:
        content = yaml.safe_load(data)
        del content["content_sha256"]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogateescape")
        return yaml.safe_dump({**content, "content_sha256": hashlib.sha256(text).hexdigest()}).encode()
    except Exception:  # noqa: BLE001 - it can't be sealed
        return data


def rewritten(before: dict[bytes, Any]) -> dict[bytes, Any]:
    """The documents as the revision to float16 makes them."""
    return {
        key: {**fields, b"embedding": converted(fields[b"embedding"], "float32", "float16")}
        for key, fields in before.items()
    }


def each_is_one_of(found: dict[bytes, Any], *forms: dict[bytes, Any]) -> bool:
    """Whether every document, and no other, is there in one of its forms; second fields may be beside it."""
    return found.keys() == forms[0].keys() and all(
        any(form[key].items() <= fields.items() for form in forms) for key, fields in found.items()
    )


STATE_COMMANDS = (
    ("status",), ("status", "--json"), ("current",), ("current", "--json"), ("check",), ("upgrade",),
    ("downgrade", "-1"), ("rollback",), ("rollback", "--run", "{run}"), ("stamp", "head"), ("repair",),
    ("unlock",), ("backup", "list"), ("backup", "verify"), ("backup", "prune", "--run", "{run}"),
    ("history",), ("plan",), ("status", "--set", "paused=off"), ("upgrade", "--phase", "contract"),
    ("backup", "restore", "--run", "{run}", "--force"), ("current", "--check-heads"),
    ("stamp", "000000000001", "--purge"), ("follow", "--once"), ("upgrade", "--script"),
    ("show", "current"),
)  # fmt: skip


def finished(scene: Scene) -> None:
    assert scene.shop.run("upgrade", "--strategy", "rebuild").code == 0


def interrupted(scene: Scene) -> None:
    options = MigrationOptions(strategy="rebuild")
    assert kill_at(scene.shop, "upgrade", "head", at=5, options=options) == KILLED
    scene.shop.client.delete("{redismigrate:shop}:lock")


def expanded(scene: Scene) -> None:
    assert scene.shop.run("upgrade", "--phase", "expand", "--strategy", "shadow_field").code == 0
    scene.shop.client.set("{redismigrate:shop}:control", b"{}")
    assert scene.shop.run("status", "--set", "max-latency=50").code == 0
    report = {
        "run": scene.shop.state("run")["id"], "revision": "000000000002", "by": "a@b", "host": "b", "pid": 1,
        "since": "2026-11-30T00:00:00+00:00", "heartbeat": "2026-11-30T00:00:00+00:00",
    }  # fmt: skip
    scene.shop.client.set("{redismigrate:shop}:follower", json.dumps(report))


@pytest.mark.parametrize("stage", [finished, interrupted, expanded])
def test_documents_of_the_state(scene: Scene, share: int, stage: Callable[[Scene], None]):
    shop = scene.shop
    stock(shop, 10)
    before = documents_in(shop.client)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    stage(scene)
    run = shop.state("run") or shop.state("last_run")
    run_id = str(run.get("id") or run.get("run"))
    holder = {
        "id": "a" * 32,
        "host": "elsewhere",
        "pid": 7,
        "process": "a:1:2",
        "by": "me@there",
        "since": "2026",
    }
    shop.client.set("{redismigrate:shop}:lock", json.dumps(holder))
    documents = scene.state()
    shop.client.delete("{redismigrate:shop}:lock")
    scene.save()
    after = rewritten(before)
    with Campaign(f"state, {stage.__name__}") as campaign:
        for number, rng in mutations(f"state, {stage.__name__}", share):
            if rng.random() < 0.05:
                key = "{redismigrate:shop}:journal"
                data = {
                    rng.choice(HOSTILE_TEXTS).encode("utf-8", "surrogatepass")[:200] or b"a": mutated_bytes(
                        b"step", rng
                    )
                }
                shop.client.xadd(key, data)
            else:
                key = rng.choice(sorted(documents))
                data = mutated_document(documents[key], rng)
                shop.client.set(key, data)
            command = [word.format(run=run_id) for word in rng.choice(STATE_COMMANDS)]
            shown = (key, data)
            campaign.judge(number, scene.run(*command), shown)
            judge_scene(
                campaign, scene, number, (command, shown),
                lambda: each_is_one_of(documents_in(shop.client), before, after),
            )  # fmt: skip


def mutated_document(text: bytes, rng: random.Random) -> bytes:
    try:
        content = json.loads(text)
    except ValueError:
        return mutated_bytes(text, rng)
    if isinstance(content, dict) and rng.random() < 0.7:
        content.pop("sha256", None)  # it would show every change
    return mutated_file(content, rng, "json")


@pytest.mark.parametrize("command", ["rollback", "downgrade", "restore"])
def test_backups(scene: Scene, share: int, command: str):
    shop = scene.shop
    stock(shop, 10)
    before = documents_in(shop.client)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    finished(scene)
    after = documents_in(shop.client)
    run_id = str(shop.state("last_run")["run"])
    scene.save()
    words = {
        "rollback": ("rollback", "--run", run_id),
        "downgrade": ("downgrade", "-1", "--strategy", "rebuild"),
        "restore": ("backup", "restore", "--run", run_id, "--force"),
    }[command]
    with Campaign(f"backup, {command}") as campaign:
        for number, rng in mutations(f"backup, {command}", share // 3 + 1):
            (manifest,) = (shop.folder / "redismigrate-backups").rglob("manifest.json")
            is_forged, shown = mutate_backup(manifest.parent, rng)
            looked = scene.run(*rng.choice((("backup", "list"), ("backup", "verify"), ("status",))))
            campaign.judge(number, looked, shown)
            outcome = scene.run(*words)
            campaign.judge(number, outcome, shown)
            found = documents_in(shop.client)
            if not is_forged:
                is_right = found == before if outcome.code == 0 else each_is_one_of(found, before, after)
                if not is_right:
                    campaign.add(number, f"wrong bytes, exit {outcome.code}", (words, shown))
            if rng.random() < 0.2:
                campaign.judge(number, scene.run("backup", "prune", "--run", run_id), shown)
            judge_scene(campaign, scene, number, shown, lambda: True)


def mutate_backup(folder: Path, rng: random.Random) -> tuple[bool, Any]:
    """Change a backup; whether that was done by somebody who knows how it is sealed, and what was done."""
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    (chunk,) = folder.glob("chunk-*.npz")
    what = rng.choice(("manifest", "forged manifest", "chunk", "chunk", "forged chunk", "folder"))
    shown: Any = what
    if what == "manifest":
        shown = mutated_file(content, rng, "json")
        manifest.write_bytes(shown)
    elif what == "forged manifest":
        changed = mutated_value(content, rng)
        try:
            forge_manifest(folder, **changed)
            shown = (what, changed)
        except Exception:  # noqa: BLE001 - what no manifest can hold
            shown = rendered(changed, "json")
            manifest.write_bytes(shown)
    elif what == "chunk":
        shown = mutated_bytes(chunk.read_bytes(), rng)
        chunk.write_bytes(shown)
    elif what == "forged chunk":
        shown = mutated_bytes(chunk.read_bytes(), rng)
        forge_chunk(folder, shown)
    else:
        shown = rng.choice(sorted(_FOLDER_CHANGES))
        _FOLDER_CHANGES[shown](folder, chunk)
    return what.startswith("forged"), shown


def _as_link(_: Path, chunk: Path) -> None:
    moved = chunk.rename(chunk.parent.parent / "elsewhere.npz")
    chunk.symlink_to(moved)


def _as_folder(_: Path, chunk: Path) -> None:
    chunk.unlink()
    chunk.mkdir()


def _not_utf8(folder: Path, _: Path) -> None:
    folder.parent.joinpath("caf\udce9").mkdir()


_FOLDER_CHANGES: dict[str, Callable[[Path, Path], Any]] = {
    "link": _as_link,
    "folder": _as_folder,
    "gone": lambda _, chunk: chunk.unlink(),
    "empty": lambda _, chunk: chunk.write_bytes(b""),
    "no manifest": lambda folder, _: (folder / "manifest.json").unlink(),
    "all gone": lambda folder, _: shutil.rmtree(folder),
    "stray": lambda folder, _: (folder / "stray").write_bytes(b"x"),
    "list": lambda folder, _: (folder / "chunks.jsonl").write_bytes(b'{"file": "../x"}\n'),
    "no utf-8": _not_utf8,
    "a file": lambda folder, _: (shutil.rmtree(folder), folder.write_bytes(b"")),
}
