"""Values that went from documents come back from the backup, where nothing is by now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from mirrored_documents import FENCE, schema_of
from twin_documents import Mirrored

from redismigrate.backup.backup import Backup
from redismigrate.backup.contents import REWRITES, require_restorable
from redismigrate.backup.manifest import Manifest
from redismigrate.backup.replaced_documents import VALUES_COLUMN, Replaced
from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.twins import twins_of
from redismigrate.documents.whole import Found
from redismigrate.execution.documents.beside.replaced import ReplacedOriginals
from redismigrate.execution.documents.beside.restoring_values import restore_values
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema.moves import PathRename

FAR_AWAY = 4_102_444_800_000
RENAME = {"hash": PathRename("title", "headline"), "json": PathRename("$.title", "$.headline")}


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def replaced_in(folder: Path, kind: str) -> ReplacedOriginals:
    rewrite = Rewrite("json" if kind == "json" else "hash", renames=(RENAME[kind],))
    manifest = Manifest(
        project="shop",
        run="run-1",
        revision="8f3a1c9b2d4e",
        index="products",
        phase="up",
        fields=(),
        schema_before=schema_of(storage_type=kind).model_dump(),
        options={"rewrite": REWRITES.dump_python(rewrite), "restores_from": [], "replaced": True},
    )
    return ReplacedOriginals(folder, manifest, lambda: None, VALUES_COLUMN)


def backup_of(replaced: ReplacedOriginals) -> Backup:
    replaced.close()
    backup = Backup.open(replaced.folder)
    require_restorable(backup)
    return backup


def test_values_of_hashes_come_back_with_their_lifetimes(server: Server, client: redis.Redis, tmp_path: Path):
    replaced = replaced_in(tmp_path, "hash")
    (twin,) = twins_of(Rewrite("hash", renames=(RENAME["hash"],)))
    for number in range(4):
        client.hset(f"p:{number}", mapping={"title": f"t{number}", "price": number})
    client.hset("p:9", "title", "in step")
    titles = Mirrored(server, twin, keep=replaced.keep)
    titles.look(is_first=True)
    client.execute_command("HPEXPIREAT", "p:0", FAR_AWAY, "FIELDS", 1, "title")
    titles.look()
    for number in range(4):
        client.hdel(f"p:{number}", "headline")
    titles.look()
    assert client.hgetall("p:0") == {b"price": b"0"}
    client.hset("p:1", "title", "newer")
    client.delete("p:2")

    restored = restore_values(Node(server, FENCE), backup_of(replaced))

    assert restored.documents == 2
    assert [(each.key, each.reason) for each in restored.left.listed] == [
        (b"p:1", "it has a value title; left as it is"),
        (b"p:2", "its document is gone"),
    ]
    assert client.hget("p:0", "title") == b"t0"
    assert client.execute_command("HPEXPIRETIME", "p:0", "FIELDS", 1, "title") == [FAR_AWAY]
    assert client.hget("p:1", "title") == b"newer"
    assert client.hget("p:3", "title") == b"t3"
    assert not client.exists("p:2")


def test_members_come_back_as_the_server_printed_them(server: Server, client: redis.Redis, tmp_path: Path):
    replaced = replaced_in(tmp_path, "json")
    lost = b'{"b":[1.0,1e-7],"a":"\\"$5\\r\\n"}'
    for number, (text, kept) in enumerate((('{"n":1}', lost), ('{"title":1}', lost), ('{"n":2}', b"2"))):
        client.execute_command("JSON.SET", f"p:{number}", "$", text)
        replaced.keep([Replaced(f"p:{number}".encode(), Found({b"$.title": kept}), is_conflict=True)])
    replaced.keep([Replaced(b"p:2", Found({b"$.title": b"3"}), is_conflict=False)])
    assert sorted(replaced.conflicts()) == [b"p:0", b"p:1", b"p:2"]

    restored = restore_values(Node(server, FENCE), backup_of(replaced))

    assert (restored.documents, [each.key for each in restored.left.listed]) == (2, [b"p:1"])
    assert client.execute_command("JSON.GET", "p:0", "$.title") == b"[" + lost + b"]"
    assert client.execute_command("JSON.GET", "p:1") == b'{"title":1}'
    assert client.execute_command("JSON.GET", "p:2") == b'{"n":2,"title":3}'
