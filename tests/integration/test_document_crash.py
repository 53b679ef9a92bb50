"""What a killed rewrite of documents leaves: the same command ends it, and `rollback` undoes all of it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis
from conftest import ENTRY_POINT, Shop
from document_scenarios import BASE, BATCH_SIZE, SCENARIOS, Stage, documents, set_stage
from doomed_process import (
    NOTEWORTHY,
    Attempt,
    StrikingProxy,
    Victim,
    killed_at_file,
    limited_file_size,
    stopped_at_file,
)
from signalled_process import KILLED, exit_code, kill_at, wait_until_stopped

from redismigrate.config import DEFAULT_BACKUP_DIR
from redismigrate.execution.run import Run
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.state.keys import StateKeys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command_proxy import Loss, Place
    from signalled_process import Verb

LOSSES: tuple[Loss, Loss] = ("request", "reply")
SLOW = [pytest.mark.slow, pytest.mark.timeout(1200)]
# Of kills at random moments: per scenario with `-m slow`, and in every run.
MANY, FEW = 30, 2


@dataclass(frozen=True)
class _Moments:
    """When a migration can be killed: at each command it sends, the rarer ones of its state, and in between.

    Attributes:
        verb: What it does.
        target: Up or down to where.
        commands: That an uninterrupted one sends.
        noteworthy: Those of them that write the state or look at and change indexes.
        seconds: How long it takes.
    """

    verb: Verb
    target: str
    commands: int
    noteworthy: int
    seconds: float

    @classmethod
    def of(cls, stage: Stage, url: str, verb: Verb, target: str) -> _Moments:
        """Measured in an uninterrupted migration."""
        with StrikingProxy(url, None) as proxy:
            started = time.monotonic()
            assert exit_code(Attempt(verb, target, proxy.url).start(stage)) == 0
            return cls(verb, target, proxy.commands, proxy.noteworthy, time.monotonic() - started)

    def choose(self, chance: random.Random) -> Place | float:
        """A command, or seconds from the start."""
        kind = chance.randrange(5)
        if kind == 0:
            return chance.uniform(0, self.seconds)
        if kind in {1, 2}:
            return chance.randrange(1, self.noteworthy), NOTEWORTHY
        return chance.randrange(1, self.commands)


def _kill(stage: Stage, url: str, verb: Verb, target: str, at: Place | float, loss: Loss) -> bool:
    """Kill a migration at a moment; whether it came to that."""
    victim = Victim(signal.SIGKILL)
    with StrikingProxy(url, None if isinstance(at, float) else at, victim.strike, loss) as proxy:
        process = Attempt(verb, target, proxy.url).start(stage)
        victim.name(process)
        if isinstance(at, float):
            time.sleep(at)
            process.kill()
        code = exit_code(process)
    assert code in {KILLED, 0}
    return code == KILLED


def _both_ways(stage: Stage, url: str) -> dict[str, _Moments]:
    """By the revision that is applied: the way up from the base, and the way down from the top."""
    up = _Moments.of(stage, url, "upgrade", stage.top)
    return {BASE: up, stage.top: _Moments.of(stage, url, "downgrade", BASE)}


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(
    ("name", "kills"),
    [(name, FEW) for name in ("JSON", "everything", "chain")]
    + [pytest.param(name, MANY, marks=SLOW) for name in SCENARIOS],
)
def test_a_rewrite_killed_at_random_moments_is_ended_or_undone_as_if_it_had_not_been(
    shop: Shop, redis_url: str, name: str, kills: int
):
    """Up and down; taken up again, or rolled back by a process that is killed, too."""
    stage = set_stage(shop, name)
    ways = _both_ways(stage, redis_url)
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    done = 0
    while done < kills:
        start = stage.head
        way = ways[start]
        at, loss = way.choose(chance), chance.choice(LOSSES)
        told = f"seed {seed}, kill {done}: {way}, killed at {at}, {loss} lost"
        done += _kill(stage, redis_url, way.verb, way.target, at, loss)
        if shop.state("run") is not None and chance.random() < 1 / 2:
            at = way.choose(chance)
            done += _kill(stage, redis_url, "rollback", "", at, chance.choice(LOSSES))
            if shop.state("run") is not None:
                stage.run("rollback")
            stage.require(start, f"{told}; rolled back, killed at {at}")
        stage.run(way.verb, way.target)
        stage.require(way.target, told)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
@pytest.mark.parametrize("name", ["everything", *(pytest.param(name, marks=SLOW) for name in SCENARIOS)])
def test_a_rewrite_killed_at_every_step_boundary_ends_as_if_it_had_not_been(
    shop: Shop, name: str, verb: Verb
):
    stage = set_stage(shop, name)
    if verb == "downgrade":
        stage.run("upgrade", "head")
    target = stage.top if verb == "upgrade" else BASE
    at, written = 1, 0
    while kill_at(shop, verb, target, at=at, options=stage.scenario.options) == KILLED:
        # One that takes up a run begins with the step before which the last one was killed. As in
        # `kill_at_every`: steps that are one transaction begin all at once.
        before, written = written, shop.client.xlen("{redismigrate:shop}:journal")
        at = 2 if written > before else at + 1
    stage.require(target)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
@pytest.mark.parametrize("name", ["everything", *(pytest.param(name, marks=SLOW) for name in SCENARIOS)])
def test_rollback_after_a_kill_at_any_step_leaves_the_documents_as_before(shop: Shop, name: str, verb: Verb):
    stage = set_stage(shop, name)
    if verb == "downgrade":
        stage.run("upgrade", "head")
    start, target = (BASE, stage.top) if verb == "upgrade" else (stage.top, BASE)
    at = 1
    while kill_at(shop, verb, target, at=at, options=stage.scenario.options) == KILLED:
        stage.run("rollback")
        stage.require(start, at)
        at += 1
    assert at > 6


def test_a_rollback_killed_at_every_step_can_be_repeated(shop: Shop):
    stage = set_stage(shop, "everything")
    assert kill_at(shop, "upgrade", "head", at=5, options=stage.scenario.options) == KILLED
    at, kills = 1, 0
    while kill_at(shop, "rollback", "", at=at, moment="undo step") == KILLED:
        at, kills = 2, kills + 1
    assert kills > 3
    stage.require(BASE)


def test_rollback_leaves_every_byte_of_the_values_and_their_order_as_before(shop: Shop):
    """What DUMP gives: of vectors that were written twice."""
    stage = set_stage(shop, "float16")
    before = shop.content("catalog")["keys"]
    own = {key for key in before if key.startswith(b"{redismigrate")}
    assert kill_at(shop, "upgrade", "head", at=5, options=stage.scenario.options) == KILLED
    assert documents(shop) != stage.heads[BASE]["documents"]
    stage.run("rollback")
    after = shop.content("catalog")["keys"]
    # A field with an expiry loses its place among the others when that is set again.
    with_field_expiry = {
        key for key in before if shop.client.type(key) == b"hash" and _has_expiring(shop, key)
    }
    for key in before.keys() - own - with_field_expiry:
        assert after[key] == before[key], key
    stage.require(BASE)


def _has_expiring(shop: Shop, key: bytes) -> bool:
    fields = shop.client.hkeys(key)
    return any(moment > 0 for moment in shop.client.hpexpiretime(key, *fields))


def test_documents_that_had_the_new_name_from_the_beginning_keep_it_in_a_rollback(shop: Shop):
    stage = set_stage(shop, "everything", rehearses=False)
    shop.client.hset("p:new", mapping={"name": "a couch", "embedding": b"\x00" * 32})
    shop.client.hset("p:without", mapping={"name": "a couch"})
    before = documents(shop)
    assert kill_at(shop, "upgrade", "head", at=5, options=stage.scenario.options) == KILLED
    stage.run("rollback")
    assert documents(shop) == before


def test_json_documents_that_had_the_new_name_from_the_beginning_keep_it_in_a_rollback(shop: Shop):
    stage = set_stage(shop, "JSON", rehearses=False)
    shop.client.execute_command("JSON.SET", "p:new", "$", '{"name": "a couch", "info": {"brand": "b1"}}')
    shop.client.execute_command("JSON.SET", "p:other", "$", '{"info": {"label": "b1"}, "title": "a couch"}')
    before = documents(shop)
    assert kill_at(shop, "upgrade", "head", at=5, options=stage.scenario.options) == KILLED
    assert documents(shop) != before
    stage.run("rollback")
    assert documents(shop) == before


# Killed while it backs up.


def test_a_backup_killed_at_every_file_it_touches_is_begun_again(shop: Shop):
    stage = set_stage(shop, "float16")
    folder = shop.folder / DEFAULT_BACKUP_DIR
    at = 1
    while (code := exit_code(Attempt("upgrade", before=killed_at_file(at, folder)).start(stage))) == KILLED:
        at += 1
    assert (code, at > 15) == (0, True), at
    stage.require(stage.top)


def test_a_backup_that_ended_in_the_middle_of_a_chunk_is_begun_again(shop: Shop):
    """The kernel ends the process at the byte that makes a file too long."""
    stage = set_stage(shop, "float16", 2000)
    doomed = Attempt("upgrade", before=limited_file_size(8000, dies=True), chunk_bytes=1 << 20)
    assert exit_code(doomed.start(stage)) == -signal.SIGXFSZ
    partial = [path.stat().st_size for path in (shop.folder / DEFAULT_BACKUP_DIR).rglob("chunk-*.npz.tmp")]
    assert 8000 in partial
    assert stage.now()["documents"] == stage.heads[BASE]["documents"]
    stage.run("upgrade", "head")
    stage.require(stage.top)
    assert not list((shop.folder / DEFAULT_BACKUP_DIR).rglob("*.tmp"))


def test_a_full_disk_undoes_the_revision_before_search_is_down(shop: Shop):
    stage = set_stage(shop, "float16", 2000)
    before = sorted((shop.folder / DEFAULT_BACKUP_DIR).rglob("*"))
    full = Attempt("upgrade", before=limited_file_size(8000, dies=False), chunk_bytes=1 << 20)
    assert exit_code(full.start(stage)) == 1
    stage.require(BASE)
    # What the attempt wrote would take the room of the next one.
    assert sorted((shop.folder / DEFAULT_BACKUP_DIR).rglob("*")) == before
    stage.run("upgrade", "head")
    stage.require(stage.top)


def _without_root(*arguments: str) -> list[str]:
    """A command that rights of files hold for, though root runs it."""
    if os.geteuid():
        return [*arguments]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write everywhere, and there is no setpriv to keep it from that")
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all", *arguments]


def test_a_backup_folder_that_may_not_be_written_is_named_and_nothing_is_changed(shop: Shop, tmp_path: Path):
    stage = set_stage(shop, "float16")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    words = _without_root(str(ENTRY_POINT), "upgrade", "head", "--backup-dir", str(locked))
    result = subprocess.run(words, cwd=shop.folder, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    assert f"can't be written: Permission denied ({locked}" in result.stderr
    assert "Make room or give another --backup-dir; what is not backed up was not changed." in result.stderr
    stage.require(BASE)
    # The same command elsewhere does it: nothing of the attempt is left to be taken up.
    stage.run("upgrade", "head", "--backup-dir", str(tmp_path / "open"))
    assert list((tmp_path / "open").rglob("chunk-*.npz"))
    stage.require(stage.top)


# On another machine.


def _moved_backups(shop: Shop, tmp_path: Path) -> tuple[Path, Path]:
    """Take all backups to another folder: where the newest one was, and the folder above all of them now."""
    backups, moved = shop.folder / DEFAULT_BACKUP_DIR, tmp_path / "moved"
    newest = max(backups.rglob("manifest.json"), key=lambda path: path.stat().st_mtime_ns).parent
    backups.rename(moved)
    return newest, moved


@pytest.mark.parametrize(
    ("verb", "at"),
    [
        pytest.param("upgrade", 3, id="before the index is dropped"),
        pytest.param("upgrade", 4, id="before the documents are rewritten"),
        pytest.param("rollback", 4, id="back before the documents are rewritten"),
        pytest.param("rollback", 5, id="back after the documents are rewritten"),
    ],
)
def test_a_run_is_not_taken_up_where_its_backup_is_not(shop: Shop, tmp_path: Path, at: int, verb: Verb):
    stage = set_stage(shop, "everything")
    assert kill_at(shop, "upgrade", "head", at=at, options=stage.scenario.options) == KILLED
    folder, moved = _moved_backups(shop, tmp_path)
    before = documents(shop), shop.client.execute_command("FT._LIST")
    words = ("upgrade", "head", *stage.scenario.flags) if verb == "upgrade" else ("rollback",)
    for flags in ((), ("--backup-dir", str(tmp_path / "nowhere"))):
        result = shop.run(*words, *flags)
        assert result.code == 1, result
        assert "The backup that this needs is not on this machine" in result.err
        assert f"host {socket.gethostname()} wrote it to {folder}." in result.err
        assert "name their folder with --backup-dir" in result.err
        assert (documents(shop), shop.client.execute_command("FT._LIST")) == before
    assert shop.run(*words, "--backup-dir", str(moved)).code == 0
    stage.require(stage.top if verb == "upgrade" else BASE)


@pytest.mark.parametrize(
    ("verb", "at"),
    [
        pytest.param("rollback", 3, id="back before the index is dropped"),
        pytest.param("upgrade", 5, id="once the documents are rewritten"),
    ],
)
def test_a_run_that_needs_its_backup_no_more_is_taken_up_without(
    shop: Shop, tmp_path: Path, at: int, verb: Verb
):
    stage = set_stage(shop, "everything")
    assert kill_at(shop, "upgrade", "head", at=at, options=stage.scenario.options) == KILLED
    _moved_backups(shop, tmp_path)
    stage.run(*(("upgrade", "head") if verb == "upgrade" else ("rollback",)))
    stage.require(stage.top if verb == "upgrade" else BASE)


def test_a_run_whose_backup_is_damaged_stops_and_says_what_to_do(shop: Shop):
    stage = set_stage(shop, "everything")
    assert kill_at(shop, "upgrade", "head", at=4, options=stage.scenario.options) == KILLED
    chunk = max(
        (shop.folder / DEFAULT_BACKUP_DIR).rglob("chunk-*.npz"), key=lambda path: path.stat().st_mtime_ns
    )
    content, before = chunk.read_bytes(), documents(shop)
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = shop.run("upgrade", "head", *stage.scenario.flags)
    assert result.code == 7
    assert f"{chunk.name} was changed after it was written (its sha256 differs)." in result.err
    assert "Put an intact copy of the folder in its place" in result.err
    assert "Run the same command again to resume" in result.err
    assert documents(shop) == before
    chunk.write_bytes(content)
    stage.run("upgrade", "head")
    stage.require(stage.top)


# Stopped for longer than the lease.


@pytest.mark.slow_beyond(2)
@pytest.mark.parametrize(
    ("command", "then"),
    [
        (b"EXEC", "upgrade"),
        (b"EXEC", "rollback"),
        (b"EXEC", "rollback and upgrade"),
        (b"WATCH", "rollback"),
        (b"HMGET", "rollback"),
        pytest.param(b"WATCH", "upgrade", marks=SLOW),
        pytest.param(b"HMGET", "upgrade", marks=SLOW),
    ],
)
def test_a_process_that_sleeps_past_its_lease_writes_nothing_when_it_wakes(
    shop: Shop, redis_url: str, command: bytes, then: str
):
    """A command of it is still on its way when a second process takes over and does its work."""
    stage = set_stage(shop, "everything" if command != b"HMGET" else "float16")
    victim = Victim(signal.SIGSTOP)
    at = (BATCH_SIZE + 1 if command == b"HMGET" else 2, (b"\r\n" + command + b"\r\n",))
    with StrikingProxy(
        redis_url, at, victim.strike, counts=lambda: _step_at_work(shop) == "rewrite_documents"
    ) as proxy:
        process = Attempt("upgrade", "head", proxy.url, lease_seconds=0.3).start(stage)
        try:
            victim.name(process)
            assert proxy.has_struck.wait(120)
            wait_until_stopped(process)
            for verb in then.split(" and "):
                stage.run(*(("upgrade", "head") if verb == "upgrade" else ("rollback",)))
            expected = BASE if then == "rollback" else stage.top
            stage.require(expected)
            proxy.release()
        finally:
            os.kill(process.pid or 0, signal.SIGCONT)
        assert exit_code(process) == 7
    stage.require(expected)


@pytest.mark.parametrize(
    ("name", "nth"),
    [
        pytest.param("manifest.json.tmp", 1, id="before it begins its backup"),
        pytest.param("chunk-000002.npz.tmp", 1, id="before it writes a chunk"),
        pytest.param("manifest.json.tmp", 2, id="before it finishes its backup"),
        pytest.param("manifest.json.tmp", 3, id="before it adds to its backup"),
    ],
)
def test_a_process_that_sleeps_while_it_backs_up_leaves_the_backup_of_its_successor_alone(
    shop: Shop, name: str, nth: int
):
    stage = set_stage(shop, "float16")
    # Only what a writer brings back to the old form is added.
    with _written_again_and_again(shop, "p:busy") if nth == 3 else contextlib.nullcontext():
        doomed = Attempt(
            "upgrade", lease_seconds=0.3, before=stopped_at_file(shop.folder / DEFAULT_BACKUP_DIR, name, nth)
        )
        process = doomed.start(stage)
        wait_until_stopped(process)
    try:
        # Other documents than those that it has read, so that its chunks differ.
        shop.client.delete("p:1")
        shop.client.hset("p:new", mapping={"title": "new", "embedding": b"\1" * 32})
        result = shop.run("--json", "upgrade", "head", *stage.scenario.flags)
        assert result.code == 0, result.err
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 7
    assert shop.run("backup", "verify").code == 0
    run_id = result.json["run"]
    assert shop.run("rollback", "--run", run_id).code == 0
    assert shop.client.hget("p:new", "embedding") == b"\1" * 32
    others, base = documents(shop), dict(stage.heads[BASE]["documents"])
    for key in (b"p:1", b"p:new", b"p:busy"):
        others.pop(key, None)
        base.pop(key, None)
    assert others == base


@contextlib.contextmanager
def _written_again_and_again(shop: Shop, key: str) -> Iterator[None]:
    """An application that writes a vector in the old form all the time."""
    has_ended = threading.Event()

    def write() -> None:
        while not has_ended.is_set():
            shop.client.hset(key, "embedding", b"\1" * 32)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        has_ended.set()
        writer.join()


def _step_at_work(shop: Shop) -> str | None:
    """The kind of the step that the run does now."""
    run, progress = shop.state("run"), shop.state("progress")
    if run is None:
        return None
    step = Run.from_content({**run, **(progress or {})}, StateKeys("shop")).step
    return None if step is None else step.kind


# The server killed.


class _DurableShop:
    """A project on a server that can be killed: it writes every command to its file before it answers."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder, self._data = folder, data
        self._start()

    def _start(self) -> None:
        self.server = EmbeddedServer(self._data, server_arguments=("--appendfsync", "always"))
        self.server.start()
        self.client = redis.Redis.from_url(self.server.url, protocol=2)
        self.shop = Shop(self._folder, self.server.url, self.client)
        (self._folder / "redismigrate.toml").write_text(
            f'project = "shop"\nscript_location = "migrations"\nurl = "{self.server.url}"\n', encoding="utf-8"
        )

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)

    def start_again(self) -> None:
        """At another socket."""
        self.stop()
        self._start()

    def stop(self) -> None:
        self.client.close()
        self.server.stop()


@pytest.fixture
def durable(shop: Shop, tmp_path: Path) -> Iterator[_DurableShop]:
    durable = _DurableShop(shop.folder, tmp_path / "data")
    yield durable
    durable.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kills"),
    [("everything", 2), *(pytest.param(name, 3, marks=SLOW) for name in SCENARIOS)],
)
def test_a_rewrite_whose_server_is_killed_at_random_commands_goes_on_when_that_is_back(
    durable: _DurableShop, name: str, kills: int
):
    stage = set_stage(durable.shop, name)
    ways = _both_ways(stage, durable.server.url)
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(kills):
        start = stage.head
        way = ways[start]
        while isinstance(at := way.choose(chance), float):
            pass
        loss = chance.choice(LOSSES)
        told = f"seed {seed}: {way}, server killed at {at}, {loss} lost"
        with StrikingProxy(durable.server.url, at, durable.kill, loss) as proxy:
            code = exit_code(Attempt(way.verb, way.target, proxy.url).start(stage))
        # It may have taken a command less than the one that was counted.
        assert code in ({0, 1, 7} if proxy.has_struck.is_set() else {0}), told
        durable.start_again()
        stage.shop = durable.shop
        if stage.shop.state("run") is not None and chance.random() < 1 / 3:
            stage.run("rollback")
            stage.require(start, f"{told}; rolled back")
        stage.run(way.verb, way.target)
        stage.require(way.target, told)
