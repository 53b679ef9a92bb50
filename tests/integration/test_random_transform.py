"""A transform that comes to other values each time: run once a document, and undone whatever happens."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from document_scenarios import BASE, Stage, set_stage
from doomed_process import Attempt, StrikingProxy, Victim, killed_at_file
from random_transform import Forbidden, RandomVectors, plug_in, plugged_in
from signalled_process import KILLED, exit_code
from vector_documents import TO_BFLOAT16, TO_FLOAT16, TO_FLOAT32, Meanwhile, add_products, creation, stock
from vector_documents import documents as all_documents

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.config import DEFAULT_BACKUP_DIR
from redismigrate.execution.documents.in_place import joined_chunks

if TYPE_CHECKING:
    from pathlib import Path

    from command_proxy import Loss, Place
    from conftest import Shop

FEW, MANY = 2, 40
SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]
WRITES = (b"MULTI",)


def vectors(stage: Stage) -> dict[bytes, bytes]:
    """The vectors of all documents that have one."""
    client = stage.shop.client
    found = {key: client.hget(key, "embedding") for key in client.scan_iter("p:*", count=1000)}
    return {key: value for key, value in found.items() if value is not None}


def kill(stage: Stage, url: str, at: Place | float, loss: Loss) -> bool:
    """Kill an upgrade at a moment; whether it came to that."""
    victim = Victim(signal.SIGKILL)
    with StrikingProxy(url, None if isinstance(at, float) else at, victim.strike, loss) as proxy:
        process = Attempt("upgrade", url=proxy.url, before=plugged_in()).start(stage)
        victim.name(process)
        if isinstance(at, float):
            time.sleep(at)
            process.kill()
        return exit_code(process) == KILLED


def end(stage: Stage) -> None:
    assert exit_code(Attempt("upgrade", before=plugged_in()).start(stage)) == 0
    assert {len(value) for value in vectors(stage).values()} == {16}


def require_undone(stage: Stage, told: object) -> None:
    """Roll the last run back, of which the backup has to be intact."""
    verified = stage.shop.run("--json", "backup", "verify")
    assert verified.code == 0, (told, verified.err)
    run = stage.shop.state("run")
    run_id = run["id"] if run is not None else (stage.shop.state("last_run") or {})["run"]
    stage.run("rollback", "--run", str(run_id))
    stage.require(BASE, told)


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=SLOW)])
def test_it_is_undone_after_a_kill_at_any_moment(shop: Shop, redis_url: str, kills: int):
    """At once, or once it was taken up again: then what was written is not computed a second time."""
    stage = set_stage(shop, "float16")
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    done = 0
    while done < kills:
        kind = chance.randrange(3)
        at: Place | float = chance.uniform(0, 0.4) if kind == 0 else (chance.randrange(1, 12), WRITES)
        loss: Loss = chance.choice(("request", "reply"))
        told = f"seed {seed}, kill {done} at {at}, {loss} lost"
        done += kill(stage, redis_url, at, loss)
        written = {key: value for key, value in vectors(stage).items() if len(value) == 16}
        if chance.random() < 1 / 2 or stage.shop.state("run") is None:
            end(stage)
            now = vectors(stage)
            assert {key: now[key] for key in written} == written, told
        require_undone(stage, told)


@pytest.mark.parametrize(
    "name",
    [
        "everything",
        *(pytest.param(name, marks=SLOW) for name in ("float16 exclusive", "one width", "few", "chain")),
    ],
)
def test_whatever_else_is_done_to_documents_all_of_it_is_undone(shop: Shop, redis_url: str, name: str):
    """They get other names and keys, are shown to their index one by one, or have both forms of one width."""
    stage = set_stage(shop, name)
    for at, loss in ((2, "request"), (3, "reply"), (5, "request"), (8, "reply"), (1000, "request")):
        kill(stage, redis_url, (at, WRITES), loss)  # type: ignore[arg-type]
        if at == 8:
            assert exit_code(Attempt("upgrade", before=plugged_in()).start(stage)) == 0
        require_undone(stage, (at, loss))


def test_it_is_undone_after_a_kill_at_any_file_of_the_backup(shop: Shop):
    stage = set_stage(shop, "float16")
    folder: Path = shop.folder / DEFAULT_BACKUP_DIR
    at, undone = 10, 0
    while True:
        # The first changes of files are of the first pass, see the tests of killed backups.
        before = killed_at_file(at, folder)
        code = exit_code(Attempt("upgrade", before=_Both(before)).start(stage))
        if code != KILLED:
            break
        undone += 1
        require_undone(stage, at)
        at += 3
    assert (code, undone > 1) == (0, True), at


class _Both:
    """Uses the transform, and is killed."""

    def __init__(self, killing: object) -> None:
        self._killing = killing

    def __call__(self) -> None:
        plugged_in()()
        self._killing()  # type: ignore[operator]


def test_a_document_that_it_leaves_out_is_told_and_stays(rebuilding: Shop, monkeypatch: pytest.MonkeyPatch):
    stock(rebuilding, 30)
    before = all_documents(rebuilding)
    rebuilding.write(TO_FLOAT16, TO_FLOAT32)
    odd = before[b"p:7"][b"embedding"]
    with monkeypatch.context() as patch:
        plug_in(patch, RandomVectors, leaves_out=odd)  # type: ignore[arg-type]
        result = rebuilding.run("--json", "upgrade", "head")

    counts = result.json["documents"]
    assert [(each["key"], each["reason"]) for each in counts["failed"]] == [("p:7", "it was not answered")]
    assert counts["rewritten"] == 29
    assert rebuilding.client.hget("p:7", "embedding") == odd
    result = rebuilding.run("--json", "rollback", "--run", result.json["run"])
    assert result.code == 0, result.err
    assert all_documents(rebuilding) == before


def test_what_is_written_meanwhile_is_undone_as_well(rebuilding: Shop, monkeypatch: pytest.MonkeyPatch):
    stock(rebuilding, 30)
    rebuilding.write(TO_FLOAT16, TO_FLOAT32)
    plug_in(monkeypatch, RandomVectors)
    project = commands.Project.load(rebuilding.folder / "redismigrate.toml")
    meanwhile = Meanwhile({"catch_up_documents": lambda: add_products(rebuilding, 10)})
    result = commands.upgrade(project, "head", MigrationOptions(strategy="rebuild"), meanwhile)
    rebuilding.client.hset("p:3", "embedding", bytes(16))

    undone = rebuilding.run("--json", "rollback", "--run", result.run)

    assert undone.code == 0, undone.err
    add_products(rebuilding, 30, prefix="expected:")
    now = all_documents(rebuilding)
    told = [each["key"] for each in undone.json["documents"]["failed"]]
    assert told == ["p:3"]
    for number in set(range(30)) - {3}:
        assert now[b"p:%d" % number] == now[b"expected:%d" % number]


@pytest.mark.parametrize(
    ("strategy", "before", "there"),
    [
        pytest.param("rebuild", "float32", TO_FLOAT16, id="rebuild"),
        pytest.param("rebuild", "float16", TO_BFLOAT16, id="one width"),
        pytest.param("shadow_field", "float32", TO_FLOAT16, id="shadow_field"),
    ],
)
def test_nothing_runs_a_transform_to_know_what_was_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, strategy: str, before: str, there: str
):
    shop.strategy = strategy  # type: ignore[assignment]
    back = TO_FLOAT32 if before == "float32" else TO_FLOAT16
    add_products(shop, 30, datatype=before)
    shop.write(creation(datatype=before), "op.drop_index('products')")
    assert shop.run("upgrade", "head").code == 0
    shop.write(there, back)
    original = all_documents(shop)
    up = shop.run("--json", "upgrade", "head").json["run"]
    converted = all_documents(shop)
    with monkeypatch.context() as patch:
        plug_in(patch, Forbidden)
        assert shop.run("rollback", "--run", up).code == 0
    assert all_documents(shop) == original

    up = shop.run("--json", "upgrade", "head").json["run"]
    down = shop.run("--json", "downgrade", "-1").json["run"]
    assert all_documents(shop) == original
    with monkeypatch.context() as patch:
        plug_in(patch, Forbidden)
        assert shop.run("rollback", "--run", down).code == 0
    assert all_documents(shop) == converted
    assert shop.run("backup", "restore", "--run", up, "--force").code == 0
    assert all_documents(shop) == original


def test_several_batches_are_transformed_at_a_time(rebuilding: Shop, monkeypatch: pytest.MonkeyPatch):
    """Each takes 50 ms, whatever the machine does besides."""
    monkeypatch.setattr(joined_chunks, "CHUNK_BYTES", 1)
    stock(rebuilding, 240)
    rebuilding.write(TO_FLOAT16, TO_FLOAT32)
    seconds = {}
    for at_once in (1, 4):
        with monkeypatch.context() as patch:
            plug_in(patch, RandomVectors, seconds=0.05, at_once=at_once)
            started = {}

            class Clock(Meanwhile):
                def step_started(self, step: object) -> None:
                    started[step.kind] = time.monotonic()  # type: ignore[attr-defined]  # noqa: B023

            project = commands.Project.load(rebuilding.folder / "redismigrate.toml")
            options = MigrationOptions(strategy="rebuild", batch_size=15)
            result = commands.upgrade(project, "head", options, Clock({}))
            order = list(started)
            after = order[order.index("rewrite_documents") + 1]
            seconds[at_once] = started[after] - started["rewrite_documents"]
        assert rebuilding.run("rollback", "--run", result.run).code == 0
    assert seconds[1] > 16 * 0.05
    assert seconds[1] / seconds[4] > 2, json.dumps(seconds)
