"""Two releases of an application write while documents are copied to other keys: who owns what, and when.

Between `--phase expand` and `--phase contract` the old release writes `p:*` and the new one `q:*`; in a plain
upgrade the new one begins as soon as the names have moved. `docs/explanation/safety.md` has the table.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from patience import long_enough_ms, wait_until
from vector_documents import (
    CHANGE,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    Meanwhile,
    applied,
    documents,
    stock,
)

from redismigrate import commands
from redismigrate.backup.backup import Backup
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.execution.steps.copy_steps import CopySteps

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Shop

    from redismigrate.documents.failures import Failures
    from redismigrate.planning.plan import Step

FAR_AWAY = 4_102_444_800_000
PRODUCTS = 60
PAGES = {
    "index": {"name": "pages", "prefix": "p:", "storage_type": "json"},
    "fields": [{"name": "title", "type": "text", "path": "$.title"}],
}
MOVE_PAGES = "with op.index('pages') as index:\n    index.change_prefix('p:', 'q:')"
MOVE_PAGES_BACK = "with op.index('pages') as index:\n    index.change_prefix('q:', 'p:')"
TOO_DEEP = 140


def moving(shop: Shop, count: int = PRODUCTS) -> None:
    """Products, and a revision that moves them."""
    stock(shop, count)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)


def expanded(shop: Shop, count: int = PRODUCTS) -> None:
    """Products whose copies are there, beside them."""
    moving(shop, count)
    applied(shop, "head", "--phase", "expand")


def contracted(shop: Shop, *options: str) -> Any:
    result = shop.run("upgrade", "head", "--phase", "contract", "--json", *options)
    assert result.code == 0, result.err
    return result.json


def keys(shop: Shop, pattern: str) -> set[bytes]:
    return set(shop.client.scan_iter(match=pattern, count=10_000))


def marks(shop: Shop) -> set[bytes]:
    return keys(shop, "{redismigrate:shop}:mark:*")


def field_expiry(shop: Shop, key: str, field: str) -> int:
    (moment,) = shop.client.execute_command("HPEXPIRETIME", key, "FIELDS", 1, field)
    return int(moment)


@contextmanager
def followed(shop: Shop, watcher: Watcher | None = None) -> Iterator[Callable[[], None]]:
    """`follow` in a thread of its own; yields what waits until it has seen all that was written."""
    stop = threading.Event()
    looked = threading.Event()

    def goes_on(_: object) -> bool:
        looked.set()
        return not stop.is_set()

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    thread = threading.Thread(target=commands.follow, args=(project, goes_on, watcher))
    patch = pytest.MonkeyPatch()
    patch.setattr("redismigrate.execution.expanded.HEARTBEAT_SECONDS", 0.1)  # it is asked so often
    thread.start()

    def seen() -> None:
        looked.clear()
        assert looked.wait(120)
        looked.clear()
        assert looked.wait(120)

    try:
        seen()
        yield seen
    finally:
        stop.set()
        thread.join()
        patch.undo()


def replaced(shop: Shop) -> dict[bytes, bytes]:
    """What the backups of replaced originals hold."""
    found = {}
    for manifest in shop.folder.rglob("manifest.json"):
        backup = Backup.open(manifest.parent)
        assert backup.manifest.complete
        for chunk in backup.chunks():
            found.update(zip(chunk.documents.keys, chunk.documents.columns["*"], strict=True))
    return found


# A lifetime that the new release sets.


def test_a_lifetime_that_the_new_release_sets_on_a_copy_stays(shop: Shop):
    expanded(shop)
    shop.client.pexpireat("q:4", FAR_AWAY)
    shop.client.execute_command("HPEXPIREAT", "q:5", FAR_AWAY, "FIELDS", 1, "title")
    shop.client.hset("p:4", "title", "written by the old release")
    with followed(shop) as seen:
        shop.client.hset("p:5", "price", "7")
        seen()
        assert shop.client.pexpiretime("q:4") == shop.client.pexpiretime("p:4") == FAR_AWAY
        assert field_expiry(shop, "q:5", "title") == field_expiry(shop, "p:5", "title") == FAR_AWAY

    contracted(shop)

    assert shop.client.pexpiretime("q:4") == FAR_AWAY
    assert shop.client.hget("q:4", "title") == b"written by the old release"
    assert field_expiry(shop, "q:5", "title") == FAR_AWAY
    assert shop.client.hget("q:5", "price") == b"7"


def test_lifetimes_that_are_set_right_after_the_swap_stay(shop: Shop):
    moving(shop, 300)

    def expire_some() -> None:
        for number in range(100):
            shop.client.pexpireat(f"q:{number}", FAR_AWAY)

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    commands.upgrade(project, "head", MigrationOptions(), Meanwhile({"remove_documents": expire_some}))

    assert {shop.client.pexpiretime(f"q:{number}") for number in range(100)} == {FAR_AWAY}
    assert {shop.client.pexpiretime(f"q:{number}") for number in range(100, 300)} == {-1}


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("prolong", ["expire", "persist"])
def test_a_document_that_the_new_release_keeps_longer_does_not_expire(shop: Shop, prolong: str):
    moving(shop)
    shop.client.pexpire("p:7", 600_000)
    applied(shop, "head", "--phase", "expand")
    if prolong == "expire":
        shop.client.pexpireat("q:7", FAR_AWAY)
    else:
        shop.client.persist("q:7")

    contracted(shop)

    assert shop.client.hgetall("q:7")
    assert shop.client.pexpiretime("q:7") == (FAR_AWAY if prolong == "expire" else -1)


# Fields with a lifetime.


def test_what_the_new_release_writes_into_a_field_that_expires_stays(shop: Shop):
    moving(shop)
    shop.client.hset("p:1", "views", "1")
    shop.client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 1, "views")
    applied(shop, "head", "--phase", "expand")
    shop.client.hincrby("q:1", "views", 5)
    shop.client.hset("q:2", "promo", "x")
    shop.client.execute_command("HPEXPIREAT", "q:2", FAR_AWAY, "FIELDS", 1, "promo")

    contracted(shop)

    assert shop.client.hget("q:1", "views") == b"6"
    assert field_expiry(shop, "q:1", "views") == FAR_AWAY
    assert shop.client.hget("q:2", "promo") == b"x"
    assert field_expiry(shop, "q:2", "promo") == FAR_AWAY


def test_what_has_expired_in_one_form_is_no_write_of_the_other(shop: Shop):
    lifetime_ms = long_enough_ms(lambda: moving(shop))
    shop.client.hset("p:1", mapping={"fading": "1", "lasting": "1"})
    shop.client.execute_command("HPEXPIRE", "p:1", lifetime_ms, "FIELDS", 2, "fading", "lasting")
    applied(shop, "head", "--phase", "expand")
    shop.client.execute_command("HPERSIST", "q:1", "FIELDS", 1, "lasting")
    wait_until(lambda: not shop.client.hexists("p:1", "fading"))
    shop.client.hset("p:1", "title", "newer")

    contracted(shop)

    found = shop.client.hgetall("q:1")
    assert (found[b"title"], found[b"lasting"]) == (b"newer", b"1")
    assert b"fading" not in found


# Values: the table, row by row.


def test_each_field_goes_where_it_was_not_written(shop: Shop):
    expanded(shop)
    shop.client.hset("p:1", mapping={"old": "1"})
    shop.client.hset("q:1", mapping={"new": "1"})
    shop.client.hdel("p:2", "title")
    shop.client.hset("q:2", "price", "5")
    with followed(shop):
        assert shop.client.hgetall("p:1") == shop.client.hgetall("q:1")
        assert shop.client.hmget("p:1", "old", "new") == [b"1", b"1"]
        assert shop.client.hmget("p:2", "title", "price") == [None, b"5"]
    result = contracted(shop)
    assert result["documents"]["failed"] == []
    assert shop.client.hmget("q:1", "old", "new") == [b"1", b"1"]
    assert shop.client.hmget("q:2", "title", "price") == [None, b"5"]


def test_where_both_have_written_the_same_the_new_release_stands_and_the_other_is_in_the_backup(shop: Shop):
    expanded(shop)
    shop.client.hset("p:3", "title", "of the old release")
    shop.client.hset("q:3", "title", "of the new release")

    result = contracted(shop)

    assert shop.client.hget("q:3", "title") == b"of the new release"
    assert [each["key"] for each in result["documents"]["failed"]] == ["p:3"]
    assert "the copy stands, the original is in the backup" in result["documents"]["failed"][0]["reason"]
    assert b"of the old release" in replaced(shop)[b"p:3"]
    assert result["backup"]
    assert shop.run("backup", "verify").code == 0
    assert marks(shop) == set()
    assert not keys(shop, "p:*")


def test_an_original_that_was_replaced_comes_back_where_nothing_is(shop: Shop):
    expanded(shop)
    for number in (3, 4):
        shop.client.hset(f"p:{number}", "title", f"{number} of the old release")
        shop.client.pexpireat(f"p:{number}", FAR_AWAY)
        shop.client.execute_command("HPEXPIREAT", f"p:{number}", FAR_AWAY, "FIELDS", 1, "title")
        shop.client.hset(f"q:{number}", "title", "of the new release")
    before = shop.client.hgetall("p:3")
    run = contracted(shop)["run"]
    shop.client.hset("p:4", "title", "another")

    restored = shop.run("backup", "restore", "--run", run, "--json")

    assert restored.code == 0, restored.err
    (backup,) = restored.json["backups"]
    assert (backup["restored"], [each["key"] for each in backup["left"]]) == (1, ["p:4"])
    assert shop.client.hgetall("p:3") == before
    assert shop.client.pexpiretime("p:3") == field_expiry(shop, "p:3", "title") == FAR_AWAY
    assert shop.client.hgetall("p:4") == {b"title": b"another"}


def test_a_conflict_that_follow_has_met_is_told_when_it_is_contracted(shop: Shop):
    expanded(shop)
    shop.client.hset("p:3", "title", "of the old release")
    shop.client.hset("q:3", "title", "of the new release")
    with followed(shop):
        assert shop.client.hget("p:3", "title") == b"of the new release"

    result = contracted(shop)

    assert [each["key"] for each in result["documents"]["failed"]] == ["p:3"]
    assert b"of the old release" in replaced(shop)[b"p:3"]


def test_what_both_have_written_alike_is_in_step(shop: Shop):
    expanded(shop)
    for key in ("p:3", "q:3"):
        shop.client.hset(key, "title", "alike")
        shop.client.pexpireat(key, FAR_AWAY)
    result = contracted(shop)
    assert result["documents"]["failed"] == []
    assert replaced(shop) == {}
    assert shop.client.pexpiretime("q:3") == FAR_AWAY


# Deletions, and what only looks like one.


def test_a_deletion_that_was_seen_stands_in_both_forms(shop: Shop):
    expanded(shop)
    with followed(shop) as seen:
        shop.client.delete("q:1")
        shop.client.delete("p:2")
        seen()
        assert not shop.client.exists("p:1", "q:1", "p:2", "q:2")
    contracted(shop)
    assert len(keys(shop, "q:*")) == PRODUCTS - 2
    assert b"p:1" in replaced(shop)


def test_a_copy_that_nobody_saw_go_is_made_again(shop: Shop):
    expanded(shop)
    before = shop.client.hgetall("q:1")
    shop.client.delete("q:1")

    contracted(shop)

    assert shop.client.hgetall("q:1") == before


@pytest.mark.slow
def test_a_copy_that_went_between_two_that_follow_is_made_again(shop: Shop):
    # Both have one fencing token; the server may have evicted it meanwhile.
    expanded(shop)
    before = shop.client.hgetall("q:1")
    with followed(shop) as seen:
        seen()
    shop.client.delete("q:1")
    with followed(shop) as seen:
        seen()
        assert shop.client.hgetall("p:1") == shop.client.hgetall("q:1") == before


def test_so_many_originals_that_went_between_two_that_follow_stop_the_second(shop: Shop):
    expanded(shop)
    with followed(shop) as seen:
        seen()
    shop.client.delete(*(f"p:{number}" for number in range(20)))

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(RunInterrupted, match="nobody saw them being deleted"):
        commands.follow(project, lambda _: False)

    assert len(keys(shop, "q:*")) == PRODUCTS


def test_a_vector_that_is_spoilt_after_its_backup_is_named_in_the_end(shop: Shop):
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    applied(shop, "head", "--phase", "expand")
    shop.client.hset("p:5", "embedding", b"short")

    told = contracted(shop, "--max-failures", "1")["documents"]

    assert [each["key"] for each in told["failed"]] == ["p:5"]
    assert shop.client.hget("p:5", "embedding") == b"short"


@pytest.mark.slow_beyond(1)
def test_a_document_that_the_new_release_makes_is_there_for_the_old_one(shop: Shop):
    expanded(shop)
    with followed(shop) as seen:
        shop.client.hset("q:new", "title", "new")
        seen()
        assert shop.client.hgetall("p:new") == {b"title": b"new"}
        shop.client.hset("p:new", "price", "1")
        seen()
        assert shop.client.hget("q:new", "price") == b"1"
    contracted(shop)
    assert shop.client.hgetall("q:new") == {b"title": b"new", b"price": b"1"}
    assert not keys(shop, "p:*")


def test_a_mark_ends_with_its_run(shop: Shop):
    """Up with both written, down, the value as it was at first, up again: the document is there."""
    expanded(shop)
    first = shop.client.hget("p:3", "title")
    shop.client.hset("p:3", "title", "old")
    shop.client.hset("q:3", "title", "new")
    contracted(shop)
    assert marks(shop) == set()
    applied(shop, "-1", verb="downgrade")
    assert marks(shop) == set()
    assert shop.client.hget("p:3", "title") == b"new"
    shop.client.hset("p:3", "title", first)

    applied(shop)

    assert shop.client.hget("q:3", "title") == first
    assert len(keys(shop, "q:*")) == PRODUCTS


def test_marks_of_a_run_that_was_forgotten_delete_nothing(shop: Shop):
    """The state document of the run is damaged, and its hint is carried out; index and copies go by hand."""
    expanded(shop, 100)
    assert marks(shop)
    shop.client.set("{redismigrate:shop}:run", b"{damaged")
    shop.client.delete("{redismigrate:shop}:run")
    (leftover,) = [name for name in shop.client.execute_command("FT._LIST") if name != b"products"]
    shop.client.execute_command("FT.DROPINDEX", leftover)
    shop.client.delete(*keys(shop, "q:*"))

    applied(shop)

    assert len(keys(shop, "q:*")) == 100
    assert shop.hits("products") == 100
    assert marks(shop) == set()


def test_so_many_originals_that_nobody_saw_go_stop_the_run(shop: Shop):
    expanded(shop, 100)
    shop.client.delete(*[f"p:{number}" for number in range(20)])

    for _ in range(2):
        refused = shop.run("upgrade", "head", "--phase", "contract")
        assert refused.code == 7, refused
        assert "20 documents, p:" in refused.err
        assert "--max-removals 20" in refused.err
        assert len(keys(shop, "q:*")) == 100

    contracted(shop, "--max-removals", "20")
    assert len(keys(shop, "q:*")) == 80
    assert shop.hits("products") == 80


def test_a_few_originals_that_nobody_saw_go_take_their_copies_along(shop: Shop):
    expanded(shop, 100)
    shop.client.delete(*[f"p:{number}" for number in range(10)])
    contracted(shop)
    assert len(keys(shop, "q:*")) == 90


def test_deletions_that_were_seen_are_not_limited(shop: Shop):
    expanded(shop, 100)
    with followed(shop) as seen:
        shop.client.delete(*[f"p:{number}" for number in range(30)])
        shop.client.delete(*[f"q:{number}" for number in range(30, 60)])
        seen()
        assert len(keys(shop, "q:*")) == len(keys(shop, "p:*")) == 40
    contracted(shop)
    assert len(keys(shop, "q:*")) == 40


# Refusals.


def deepen(client: redis.Redis, key: str, depth: int = TOO_DEEP) -> None:
    """Nest a JSON document deeper than one JSON.SET can write."""
    inner: Any = 1
    for _ in range(depth // 2):
        inner = [inner]
    client.execute_command("JSON.SET", key, "$.deep", json.dumps(inner))
    client.execute_command("JSON.SET", key, "$.deep" + "[0]" * (depth // 2), json.dumps(inner))


def moving_pages(shop: Shop, count: int = 20) -> None:
    for number in range(count):
        text = json.dumps({"title": f"page {number}", "deep": 0})
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", text)
    shop.write(f"op.create_index({PAGES!r})", "op.drop_index('pages')")
    applied(shop)
    shop.write(MOVE_PAGES, MOVE_PAGES_BACK)


def test_a_document_that_is_too_deep_is_named_and_stays(shop: Shop):
    moving_pages(shop)
    for number in (3, 4):
        deepen(shop.client, f"p:{number}")

    for _ in range(2):
        refused = shop.run("upgrade", "head", "--json")
        assert refused.code == 1, refused
        assert (
            "2 documents of pages can't have a second form: p:3: the server refused a command on it"
            in refused.err
        )
        assert len(keys(shop, "p:*")) == 20
        assert not keys(shop, "q:*")
        assert marks(shop) == set()

    result = shop.run("upgrade", "head", "--max-failures", "2", "--json")
    assert result.code == 0, result.err
    assert keys(shop, "p:*") == {b"p:3", b"p:4"}
    assert len(keys(shop, "q:*")) == 18
    assert {each["key"] for each in result.json["documents"]["failed"]} == {"p:3", "p:4"}


def test_a_document_that_became_too_deep_since_a_run_was_killed_is_named_when_that_is_taken_up(shop: Shop):
    moving_pages(shop)

    class Killed(BaseException):
        pass

    class DiesBeforeItValidates(Watcher):
        def step_started(self, step: Step) -> None:
            if step.kind == "validate_index":
                raise Killed

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(Killed):
        commands.upgrade(project, "head", MigrationOptions(phase="expand"), DiesBeforeItValidates())
    deepen(shop.client, "p:3")

    taken_up = shop.run("upgrade", "head", "--phase", "expand")

    assert taken_up.code == 0, taken_up.err
    assert "p:3: the server refused a command on it" in taken_up.out


def test_a_document_that_becomes_too_deep_while_it_is_followed_is_not_lost(shop: Shop):
    moving_pages(shop)
    applied(shop, "head", "--phase", "expand")
    with followed(shop) as seen:
        deepen(shop.client, "p:5")
        shop.client.execute_command("JSON.SET", "p:6", "$.title", '"later"')
        seen()
        assert shop.client.execute_command("JSON.GET", "q:6", "$.title") == b'["later"]'
    newest = shop.client.execute_command("JSON.GET", "p:5")

    refused = shop.run("upgrade", "head", "--phase", "contract")

    assert refused.code == 7, refused
    assert "can't be contracted: 1 documents of pages can't have a second form: p:5" in refused.err
    assert shop.client.execute_command("JSON.GET", "p:5") == newest
    shop.client.execute_command("JSON.SET", "p:5", "$.deep", "1")
    contracted(shop)
    assert shop.client.execute_command("JSON.GET", "q:5", "$.deep") == b"[1]"
    assert not keys(shop, "p:*")


# Writers that go on.


class LateWriter:
    """Writes under old keys as fast as asked for, and remembers what was acknowledged."""

    def __init__(self, url: str, per_second: int) -> None:
        self._client = redis.Redis.from_url(url, protocol=2)
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.written: dict[bytes, bytes] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        for number in range(1_000_000):
            if self._stop.is_set():
                return
            key, value = f"p:{number * 7919 % 2000}".encode(), b"%d" % number
            self._client.hset(key, "late", value)
            self.written[key] = value
            time.sleep(self._pause)


@pytest.mark.parametrize("per_second", [1000, 3000])
def test_what_is_written_under_old_keys_while_originals_go_is_carried_or_told(
    shop: Shop, per_second: int, monkeypatch: pytest.MonkeyPatch
):
    moving(shop, 2000)
    writer = LateWriter(shop.url, per_second)
    before_last_look: dict[bytes, bytes] = {}
    last_look = CopySteps._written_late

    def noted(steps: CopySteps, step: Step, known: Failures) -> Failures:
        before_last_look.update(writer.written.copy())
        return last_look(steps, step, known)

    monkeypatch.setattr(CopySteps, "_written_late", noted)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    meanwhile = Meanwhile({"remove_documents": writer.start})

    result = commands.upgrade(project, "head", MigrationOptions(), meanwhile)
    writer.stop()

    assert result.documents is not None
    told = {key.encode() for key, _ in result.documents.failed}
    left = keys(shop, "p:*")
    found = documents(shop)
    lost = [
        key
        for key, value in writer.written.items()
        if found[b"q" + key[1:]].get(b"late") != value and key not in left
    ]
    assert lost == []
    # What came after the last look can be known to nobody.
    stood_then = {key for key in left if before_last_look.get(key) == writer.written[key]}
    assert len(stood_then - told) <= result.documents.failed_count - len(told)
    assert told <= {*left, *writer.written}
    assert all(b"title" in document for key, document in found.items() if key.startswith(b"q:"))


def test_a_removal_that_was_killed_tells_what_came_under_old_keys_for_what_it_is(shop: Shop):
    moving(shop, 300)

    class Killed(BaseException):
        pass

    def write_late_and_die() -> None:
        raise Killed

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    from redismigrate.execution.documents.traffic import optimistic

    finished = 0
    original = optimistic.Turn.is_done

    def die_half_way(turn: Any) -> bool:
        nonlocal finished
        done = original(turn)
        if turn._writes.result.removed:
            finished += 1
            if finished == 2:
                raise Killed
        return done

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(optimistic.Turn, "is_done", die_half_way)
        with pytest.raises(Killed):
            commands.upgrade(project, "head", MigrationOptions(batch_size=20))
    gone = sorted(set(keys(shop, "q:*")) - {b"q" + key[1:] for key in keys(shop, "p:*")})
    assert gone
    late = b"p" + gone[0][1:]
    shop.client.hset(late, "late", "1")

    result = shop.run("upgrade", "head", "--json")

    assert result.code == 0, result.err
    assert result.json["documents"]["failed"] == []
    assert shop.client.hget(gone[0], "late") == b"1"
    assert shop.client.hexists(gone[0], "title")
    assert not keys(shop, "p:*")
    assert marks(shop) == set()


# The way back.


def test_a_rollback_before_the_swap_leaves_owners_writes_under_the_old_keys(shop: Shop):
    moving(shop)
    before = documents(shop)
    applied(shop, "head", "--phase", "expand")
    shop.client.hset("q:1", "title", "newer")
    shop.client.hset("p:2", "title", "older")
    shop.client.pexpireat("q:3", FAR_AWAY)
    shop.client.hset("q:mine", "title", "of the new release")

    assert shop.run("rollback").code == 0

    before[b"p:1"][b"title"] = b"newer"
    before[b"p:2"][b"title"] = b"older"
    assert documents(shop) == before | {b"q:mine": {b"title": b"of the new release"}}
    assert shop.client.pexpiretime("p:3") == FAR_AWAY
    assert marks(shop) == set()


def test_renamed_fields_go_both_ways(shop: Shop):
    stock(shop, 5)
    shop.write(
        CHANGE + "index.change_prefix('p:', 'q:'); index.rename_field('title', 'name')",
        CHANGE + "index.rename_field('name', 'title'); index.change_prefix('q:', 'p:')",
    )
    applied(shop, "head", "--phase", "expand")
    shop.client.hset("q:1", "name", "newer")
    shop.client.hset("p:2", "title", "older")
    with followed(shop):
        assert shop.client.hget("p:1", "title") == b"newer"
        assert shop.client.hget("q:2", "name") == b"older"
    contracted(shop)
    assert shop.client.hget("q:1", "name") == b"newer"
    assert not keys(shop, "p:*")


def test_an_index_without_its_documents_is_not_swapped_in(shop: Shop, tmp_path: Path):
    """Copies that go while the new index is validated: it has none of the documents of the old one."""
    moving(shop, 100)
    project = commands.Project.load(shop.folder / "redismigrate.toml")

    def lose_index() -> None:
        (name,) = [n for n in shop.client.execute_command("FT._LIST") if n != b"products"]
        vector = ("VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", 8, "DISTANCE_METRIC", "L2")
        shop.client.execute_command("FT.DROPINDEX", name)
        words = ("SKIPINITIALSCAN", "SCHEMA", "title", "TEXT", "embedding", *vector)
        shop.client.execute_command("FT.CREATE", name, "PREFIX", 1, "q:", *words)

    with pytest.raises(Exception, match="products") as caught:
        commands.upgrade(project, "head", MigrationOptions(), Meanwhile({"validate_index": lose_index}))
    assert caught.value.exit_code == 1
    assert shop.hits("products") == 100
    assert not keys(shop, "q:*")
