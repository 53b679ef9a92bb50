"""Random changes of random documents, alone and with an application that writes between any two commands."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
from random_changes import FIRST_FREE, RandomChange, Vector, encode
from servers import debug_search, server_has
from vector_documents import documents

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.execution.progress import Watcher
from redismigrate.redis_server.wire import Wire
from redismigrate.schema.create import create_arguments
from redismigrate.schema.redisvl import schema_from_redisvl

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.plan import Step

pytestmark = pytest.mark.slow

FAR_AWAY = 4_102_444_800_000
STRATEGIES = {
    "re-encode": ("rebuild", "shadow_field"),
    "rename": ("rebuild", "shadow_field"),
    "move": ("rebuild", "shadow_copy"),
    "all": ("rebuild",),
}
# From when on a write in the old form may be too late to be converted.
TOO_LATE = {"rebuild": "catch_up_documents", "shadow_field": "remove_documents"}
WRITES = 40


def fill(shop: Shop, change: RandomChange, count: int) -> None:
    """Write documents, some with times to live, and what is no document; create their index."""
    for number, (key, document) in enumerate(change.documents(count).items()):
        shop.client.hset(key, mapping=document)
        if number % 7 == 0:
            shop.client.pexpireat(key, FAR_AWAY + number)
        if number % 5 == 0:
            name = change.random.choice(sorted(document))
            shop.client.execute_command("HPEXPIREAT", key, FAR_AWAY - number, "FIELDS", 1, name)
    for prefix in change.prefixes:
        shop.client.set(encode(prefix) + b"string", "no document")
    shop.write(f"op.create_index({change.schema()!r})", "op.drop_index('products')")
    assert shop.run("upgrade", "--max-failures", str(count)).code == 0
    shop.write(change.script(), change.script(back=True))
    shop.wait_until_indexed()


def expiries(shop: Shop) -> dict[bytes, tuple[int, dict[bytes, int]]]:
    """When every document expires, and its fields."""
    found = {}
    for key, document in documents(shop).items():
        fields = ("FIELDS", len(document), *document)
        moments = shop.client.execute_command("HPEXPIRETIME", key, *fields)
        dated = {name: moment for name, moment in zip(document, moments, strict=True) if moment > 0}
        found[key] = (shop.client.pexpiretime(key), dated)
    return found


def require_as_if_new(shop: Shop, schema: dict[str, Any]) -> None:
    """An index that is made anew over the documents holds the same ones, with as many vectors."""
    execute: Any = shop.client.execute_command
    execute(*create_arguments(schema_from_redisvl(schema), name="anew"))
    shop.wait_until_indexed()
    held = [
        set(execute("FT.SEARCH", name, "*", "NOCONTENT", "LIMIT", 0, 10_000)[1:])
        for name in ("products", "anew")
    ]
    assert held[0] == held[1]
    for field in schema["fields"]:
        if field["type"] == "vector" and server_has("search debugging"):
            details = [
                debug_search(shop.client, "VECSIM_INFO", name, encode(field["name"]))
                for name in ("products", "anew")
            ]
            counts = [dict(zip(d[::2], d[1::2], strict=True))[b"INDEX_LABEL_COUNT"] for d in details]
            assert counts[0] == counts[1], field
    execute("FT.DROPINDEX", "anew")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", STRATEGIES)
def test_documents_become_what_a_model_says_and_come_back(shop: Shop, kind: str, seed: int):
    change = RandomChange(seed, kind, is_strange=seed % 2 == 1)
    choose = change.random.choice
    fill(shop, change, count=choose([1, 10, 60]))
    before, dates = documents(shop), expiries(shop)
    after = {key: change.after(document) for key, document in before.items()}
    failures = [key for key, document in after.items() if document is None]
    strategy = choose(
        STRATEGIES[kind] if not (kind == "re-encode" and change.has_one_width) else ("rebuild",)
    )
    options = ["--strategy", strategy, "--batch-size", choose("137"), "--workers", choose("123")]
    if strategy == "rebuild" and (kind != "re-encode" or choose([True, False])):
        options.append("--exclusive")
    options += ["--max-failures", str(len(failures))]
    if kind == "rename" and strategy == "shadow_field":
        after = {key: change.after_with_search_up(document) for key, document in before.items()}

    upgraded = shop.run("upgrade", *options, "--json")

    assert upgraded.code == 0, upgraded.err
    assert documents(shop) == {
        key if new is None else change.moved(key): before[key] if new is None else new
        for key, new in after.items()
    }
    assert {key: expiry for key, (expiry, _) in expiries(shop).items()} == {
        key if after[key] is None else change.moved(key): expiry for key, (expiry, _) in dates.items()
    }
    require_as_if_new(shop, change.schema(after=True))

    way_back = choose([("rollback", "--run", upgraded.json["run"]), ("downgrade", "-1", *options)])
    result = shop.run(*way_back)
    assert result.code == 0, result.err
    assert (documents(shop), expiries(shop)) == (before, dates)
    require_as_if_new(shop, change.schema())
    assert shop.state("run") is None


class Application(Watcher):
    """Writes to the documents just before commands of the migration, and remembers what.

    Args:
        url: Of the server.
        change: The migration.
        held: What is there.
    """

    def __init__(self, url: str, change: RandomChange, held: dict[bytes, dict[bytes, bytes]]) -> None:
        self._client = redis.Redis.from_url(url, protocol=2)
        self._change = change
        self._random = random.Random(change.seed)  # noqa: S311 - the same for a seed
        self._often = self._random.choice([0.05, 0.3])
        self._one_at_a_time = threading.Lock()
        self._step = ""
        self.held = held
        self.written: dict[tuple[bytes, bytes], str] = {}
        self.writes = 0

    def step_started(self, step: Step) -> None:
        self._step = step.kind

    def may_write(self) -> None:
        """Called before a command is sent."""
        with self._one_at_a_time:
            if self._step and self.writes < WRITES and self._random.random() < self._often:
                self.writes += 1
                self._write()

    def _write(self) -> None:
        choose, client = self._random.choice, self._client
        kind = choose(["vectors", "vectors", "one vector", "title", "new", "delete", "string"])
        if kind == "new" or not self.held:
            key = encode(choose(list(self._change.prefixes))) + b"%d" % (FIRST_FREE + self.writes)
            self.held[key] = {}
        else:
            key = choose(sorted(self.held))
        if kind in {"delete", "string"}:
            del self.held[key]
            self.written = {place: step for place, step in self.written.items() if place[0] != key}
            pipeline = client.pipeline().delete(key)
            if kind == "string":
                pipeline.set(key, "no document any more")
            pipeline.execute()
            return
        values = {b"title": b"%d" % self.writes}
        vectors = {"vectors": self._change.vectors, "one vector": [choose(self._change.vectors)]}.get(
            kind, []
        )
        for vector in vectors:
            values[encode(vector.old)] = self._change.vector_of(vector)
            self.written[key, encode(vector.old)] = self._step
        self.held[key].update(values)
        client.hset(key, mapping=values)

    def step_of(self, key: bytes, vector: Vector) -> str | None:
        """In which step a vector was written last; None where it was not."""
        return self.written.get((key, encode(vector.old)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
def test_no_write_between_any_two_commands_is_lost(
    shop: Shop, strategy: Any, seed: int, monkeypatch: pytest.MonkeyPatch
):
    change = RandomChange(seed, "re-encode", is_strange=False)
    while change.has_one_width:  # what can't be told from each other is another matter
        change = RandomChange(change.seed + FIRST_FREE, "re-encode", is_strange=False)
    fill(shop, change, count=25)
    application = Application(shop.url, change, documents(shop))
    send = Wire.send

    def write_and_send(wire: Wire, *parts: Any) -> None:
        application.may_write()
        send(wire, *parts)

    monkeypatch.setattr(Wire, "send", write_and_send)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    options = MigrationOptions(strategy=strategy, batch_size=change.random.choice([1, 4, 500]))
    run = commands.upgrade(project, "head", options, application)
    monkeypatch.undo()

    assert run.result == "done"
    found = documents(shop)
    assert found.keys() == application.held.keys()
    for key, document in application.held.items():
        for vector in change.vectors:
            name = encode(vector.old)
            assert (name in document) == (name in found[key])
            if name in document:
                allowed = {change.after({name: document[name]})[name]}  # type: ignore[index]
                if application.step_of(key, vector) in {
                    TOO_LATE[strategy],
                    "validate_index",
                    "record_revision",
                }:
                    allowed.add(document[name])
                assert found[key].pop(name) in allowed, (key, vector, application.step_of(key, vector))
        assert found[key] == {
            name: value
            for name, value in document.items()
            if name not in {encode(vector.old) for vector in change.vectors}
        }
    require_as_if_new(shop, change.schema(after=True))

    assert shop.run("rollback", "--run", run.run).code == 0
    found = documents(shop)
    assert found.keys() == application.held.keys()
    for key, document in application.held.items():
        for vector in change.vectors:
            name = encode(vector.old)
            if name in document and found[key][name] != document[name]:
                # Nothing but the backup of a pass over documents that were caught up with has what is newer.
                assert application.step_of(key, vector) is not None, (key, vector)
                assert strategy == "rebuild"
                assert application.step_of(key, vector) == TOO_LATE[strategy]
                assert found[key][name] == vector.back(vector.forward(document[name]) or b"")
    require_as_if_new(shop, change.schema())


@pytest.mark.parametrize("seed", range(12))
def test_no_write_between_any_two_commands_of_a_rename_is_lost(
    shop: Shop, seed: int, monkeypatch: pytest.MonkeyPatch
):
    """Of a release that knows the old names; what it writes while these are removed may be too late."""
    change = RandomChange(seed, "rename", is_strange=False)
    fill(shop, change, count=25)
    application = Application(shop.url, change, documents(shop))
    send = Wire.send

    def write_and_send(wire: Wire, *parts: Any) -> None:
        application.may_write()
        send(wire, *parts)

    monkeypatch.setattr(Wire, "send", write_and_send)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    options = MigrationOptions(strategy="shadow_field", batch_size=change.random.choice([1, 4, 500]))
    run = commands.upgrade(project, "head", options, application)
    monkeypatch.undo()

    assert run.result == "done"
    late = {
        key
        for (key, _), step in application.written.items()
        if step in {TOO_LATE["shadow_field"], "record_revision"}
    }
    found = documents(shop)
    assert found.keys() == application.held.keys()
    for key, document in application.held.items():
        if key not in late:
            assert found[key] == change.after_with_search_up(document), key
    require_as_if_new(shop, change.schema(after=True))

    assert shop.run("rollback", "--run", run.run).code == 0
    found = documents(shop)
    assert found.keys() == application.held.keys()
    for key, document in application.held.items():
        # What came too late stands under its old name, and what it did not replace under the new one.
        assert found[key] == document if key not in late else found[key].items() >= document.items(), key
    require_as_if_new(shop, change.schema())
