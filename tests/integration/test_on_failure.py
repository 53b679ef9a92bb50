"""`upgrade --on-failure continue`: what fails is put back, the others go on, and the rest is tried again."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from long_chain import outcome
from many_indexes import (
    CONTINUE,
    DIMS,
    break_document,
    break_price,
    datatypes,
    mend_document,
    recorded_datatypes,
    require_partial,
    require_tidy,
    vector,
    write_float16,
    write_indexes,
)
from signalled_process import kill_at

from redismigrate import aio, commands
from redismigrate.errors import RevisionPartial, RunFailed, UsageError
from redismigrate.execution.progress import Watcher
from redismigrate.redis_server import connection
from redismigrate.redis_server.capabilities import read_capabilities
from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.plan import Step


@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_the_others_are_changed_and_the_rest_once_it_can_be(shop: Shop, strategy: Any):
    shop.strategy = strategy
    write_indexes(shop, 3, 20)
    revision = write_float16(shop, 3)
    break_document(shop)

    result = shop.run(*CONTINUE)
    assert result.code == 7, result.err
    assert f"Revision {revision} is partly applied: 1 of its 3 indexes could not be changed." in result.err
    assert "b:1" in result.out
    require_partial(shop, 3)
    again = shop.run("upgrade", "head", "--json")
    assert again.code == 7
    assert [(each["index"], each["state"]) for each in again.json["indexes"]] == [
        ("a", "done"),
        ("c", "done"),
        ("b", "failed"),
    ]
    assert "b:1" in again.json["indexes"][2]["reason"]
    require_partial(shop, 3)

    mend_document(shop)
    done = shop.run("upgrade", "head")
    assert done.code == 0, done.err
    assert set(datatypes(shop).values()) == {"FLOAT16"}
    assert (shop.state("head") or {})["heads"] == [revision]
    assert shop.state("run") is None
    assert shop.run("check").code == 0
    assert shop.hits("b") == 20
    down = shop.run("downgrade", "-1")
    assert down.code == 0, down.err
    assert set(datatypes(shop).values()) == {"FLOAT32"}


def test_rollback_undoes_what_was_changed_of_a_partial_revision(shop: Shop):
    write_indexes(shop, 3, 20)
    write_float16(shop, 3)
    break_document(shop)
    before = outcome(shop)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    options = commands.MigrationOptions(on_failure="continue")
    with pytest.raises(RevisionPartial):
        asyncio.run(aio.upgrade(project, options=options))
    require_partial(shop, 3)
    result = shop.run("rollback")
    assert result.code == 0, result.err
    assert without_names(outcome(shop)) == without_names(before)
    assert shop.run("check").code == 4


def test_rollback_of_a_revision_that_was_applied_in_two_attempts_undoes_both(shop: Shop):
    write_indexes(shop, 3, 20)
    write_float16(shop, 3)
    break_document(shop)
    assert shop.run(*CONTINUE).code == 7
    mend_document(shop)
    before = {key: shop.client.dump(key) for key in shop.client.scan_iter("[abc]:*")}
    done = shop.run("upgrade", "head", "--json")
    assert done.code == 0, done.err
    result = shop.run("rollback", "--run", done.json["run"])
    assert result.code == 0, result.err
    assert set(datatypes(shop).values()) == {"FLOAT32"} == set(recorded_datatypes(shop).values())
    after = {key: shop.client.hget(key, "embedding") for key in shop.client.scan_iter("[abc]:*")}
    assert set(map(len, after.values())) == {4 * DIMS}
    assert before.keys() == after.keys()
    assert shop.run("check").code == 4


def test_where_nothing_can_be_changed_the_revision_failed_and_nothing_is_left(shop: Shop):
    write_indexes(shop, 2, 10)
    revision = write_float16(shop, 2)
    break_document(shop)
    shop.client.hset("a:3", "embedding", vector(1e30))
    before = outcome(shop)
    result = shop.run(*CONTINUE)
    assert result.code == 1
    assert f"Could not apply revision {revision}: a: 1 of 10 documents of a can't be rewritten" in result.err
    assert "b: 1 of 10 documents of b can't be rewritten" in result.err
    assert without_names(outcome(shop)) == without_names(before)
    assert shop.state("run") is None


def test_a_partial_revision_is_told_and_in_the_way_of_others(shop: Shop):
    write_indexes(shop, 3, 20)
    revision = write_float16(shop, 3)
    later = shop.write('op.create_alias("first", "a")', 'op.drop_alias("first")')
    break_document(shop)
    assert shop.run(*CONTINUE).code == 7

    current = shop.run("current", "--json")
    assert (current.code, current.json["partial"], list(current.json["left"])) == (4, revision, ["b"])
    assert f"partial:{revision}" in shop.run("current").out
    assert shop.run("check", "--json").json["partial"] == revision
    check = shop.run("check")
    assert check.code == 4
    assert f"Revision {revision} is partly applied (b: " in check.out
    assert "differ" not in check.out
    status = shop.run("status", "--json").json
    assert (status["partial"], status["interrupted"]) == (revision, False)
    assert [(each["index"], each["state"]) for each in status["indexes"]] == [
        ("a", "done"),
        ("c", "done"),
        ("b", "failed"),
    ]
    text = shop.run("status").out
    assert f"is partial:{revision}" in text
    assert "index b: failed: " in text
    for command in (
        ("downgrade", "base"),
        ("stamp", "head"),
        ("plan",),
        ("upgrade", later, "--phase", "expand"),
    ):
        refused = shop.run(*command)
        assert refused.code in {2, 7}, (command, refused.err)
    require_partial(shop, 3)
    assert shop.run("upgrade", "head").code == 7
    mend_document(shop)
    assert shop.run("upgrade", "head").code == 0
    assert (shop.state("head") or {})["heads"] == [later]


def without_names(found: dict[str, Any]) -> dict[str, Any]:
    """An outcome but for what indexes are called that were built again, and whether a name is an alias."""
    return {
        "indexes": found["indexes"],
        "found": found["found"],
        "documents": found["documents"],
        "heads": found["heads"],
        "run": found["run"],
        "owners": found["owners"],
    }


def write_hnsw(shop: Shop) -> str:
    """Write a revision that makes graphs of the vectors of three indexes; documents stay as they are."""
    return shop.write(
        "\n".join(
            f'with op.index("{name}") as index: index.alter_field("embedding", algorithm="hnsw")'
            for name in "abc"
        )
    )


class Meddler(Watcher):
    """Changes an index once behind the run's back, when names are about to move."""

    def __init__(self, shop: Shop, index: str) -> None:
        self.shop, self.index, self.is_done = shop, index, False

    def step_started(self, step: Step) -> None:
        if step.kind == "swap_alias" and step.index == self.index and not self.is_done:
            self.is_done = True
            self.shop.client.execute_command("FT.ALTER", self.index, "SCHEMA", "ADD", "extra", "TAG")


def test_an_index_that_somebody_changes_before_its_names_move_is_left_out(shop: Shop):
    write_indexes(shop, 3, 20)
    revision = write_hnsw(shop)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    events: list[str] = []
    with pytest.raises(RevisionPartial) as partial:
        commands.upgrade(
            project,
            options=commands.MigrationOptions(on_failure="continue"),
            watcher=Meddler(shop, "b"),
            on_progress=lambda event: events.append(f"{event.kind}: {event.message}"),
        )
    assert partial.value.exit_code == 7
    assert [(index, state) for index, state, _ in partial.value.indexes] == [
        ("a", "done"),
        ("c", "done"),
        ("b", "failed"),
    ]
    assert "was changed by another client" in partial.value.indexes[2][2]
    assert partial.value.report.result == "partial"
    assert {each.index for each in partial.value.report.validated} == {"a", "c"}
    assert any(event.startswith("undo: putting b back: ") for event in events)
    assert not any(event.startswith("finished") for event in events)

    again = shop.run("upgrade", "head")
    assert again.code == 7
    assert "extra" in again.err
    repaired = shop.run("rollback")
    assert repaired.code == 0, repaired.err
    assert (shop.state("head") or {})["heads"] == ["000000000001"] != [revision]


def test_options_that_do_not_go_together_are_refused(shop: Shop):
    write_indexes(shop, 2, 5)
    write_float16(shop, 2)
    for wish in (("--on-failure", "continue"), ("--cutover", "each")):
        shop.refuses(
            "upgrade",
            *wish,
            "--phase",
            "expand",
            code=2,
            says=(f"{' '.join(wish)} and --phase expand don't go together",),
        )
        shop.refuses("upgrade", *wish, "--script", code=2, says=(f"{' '.join(wish)} is of an upgrade",))
        shop.refuses("plan", "base", "--down", *wish, code=2, says=(f"{' '.join(wish)} is of an upgrade",))
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(UsageError):
        commands.downgrade(project, "base", commands.MigrationOptions(on_failure="continue"))


def test_a_revision_that_can_not_be_taken_apart_is_refused(shop: Shop):
    write_indexes(shop, 2, 5)
    shop.write('op.create_alias("first", "a")\nop.run(print, print)', 'op.drop_alias("first")')
    shop.refuses(
        *CONTINUE, code=6, says=("The plan is blocked", "op.run(print) may be about all of them"), aliases=()
    )


def test_each_index_serves_before_the_next_is_begun_and_all_are_undone_when_one_fails(shop: Shop):
    write_indexes(shop, 3, 20)
    write_float16(shop, 3)
    break_document(shop)
    before = outcome(shop)
    lines = Lines()
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(RunFailed):
        commands.upgrade(project, options=commands.MigrationOptions(cutover="each"), watcher=lines)
    assert lines.kinds.index("record_indexes a") < lines.kinds.index("back_up_documents b")
    assert without_names(outcome(shop)) == without_names(before)
    require_tidy(shop, 3, 20)
    assert shop.run("check").code == 4

    mend_document(shop)
    done = shop.run("upgrade", "head", "--cutover", "each", "--json")
    assert done.code == 0, done.err
    assert set(datatypes(shop).values()) == {"FLOAT16"}
    require_tidy(shop, 3, 20)
    assert shop.run("check").code == 0
    assert shop.run("rollback", "--run", done.json["run"]).code == 0
    assert set(datatypes(shop).values()) == {"FLOAT32"}
    require_tidy(shop, 3, 20)


def test_what_was_recorded_before_a_failure_can_be_undone_though_indexes_have_other_names_by_then(shop: Shop):
    write_indexes(shop, 2, 5)
    assert shop.run("downgrade", "base").code == 0
    write_float16(shop, 2, with_price=True)
    break_price(shop)
    failed = shop.run("upgrade", "head", "--cutover", "each", "--json")
    assert (failed.code, failed.json["revisions"]) == (1, ["000000000001"])
    assert shop.run("rollback", "--run", failed.json["run"]).code == 0
    assert list_indexes(shop.client.execute_command) == ()
    assert shop.run("current", "--json").json["indexes"] == {}


class Lines(Watcher):
    """Remembers what began."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def step_started(self, step: Step) -> None:
        about = step.index or step.description.removeprefix("record ")
        self.kinds.append(f"{step.kind} {about}")


@pytest.mark.parametrize("cutover", ["together", pytest.param("each", marks=pytest.mark.slow)])
def test_documents_that_were_copied_under_another_prefix_are_put_back(shop: Shop, cutover: str):
    write_indexes(shop, 3, 20)
    moves = [
        f"""
with op.index("{name}") as index:
    index.change_prefix("{name}:", "new-{name}:")
    index.add_field({{"name": "price", "type": "numeric"}})
"""
        for name in "abc"
    ]
    revision = shop.write("".join(moves))
    break_price(shop)
    result = shop.run(*CONTINUE, "--cutover", cutover)
    assert result.code == 7, result.err
    keys = Counter(key.rpartition(b":")[0] for key in shop.client.scan_iter("*[abc]:*", count=1000))
    assert keys == {b"new-a": 20, b"b": 20, b"new-c": 20}
    assert {name: shop.hits(name) for name in "abc"} == dict.fromkeys("abc", 20)
    mend_document(shop)
    shop.client.hset("b:2", "title", "written meanwhile")
    assert shop.run("upgrade", "head").code == 0
    assert (shop.state("head") or {})["heads"] == [revision]
    assert shop.client.hget("new-b:2", "title") == b"written meanwhile"
    assert {name: shop.hits(name) for name in "abc"} == dict.fromkeys("abc", 20)
    assert not list(shop.client.scan_iter("{redismigrate:shop}:mark:*"))
    done = (shop.state("last_run") or {})["run"]
    assert shop.run("rollback", "--run", done).code == 0
    keys = Counter(key.rpartition(b":")[0] for key in shop.client.scan_iter("*[abc]:*", count=1000))
    assert keys == {b"a": 20, b"b": 20, b"c": 20}
    assert shop.client.hget("b:2", "title") == b"written meanwhile"


def test_documents_of_indexes_that_serve_are_left_alone_when_the_rest_is_tried(rebuilding: Shop):
    """Of two types of one width nothing tells which one a value is of: what was written is not converted."""
    shop = rebuilding
    write_indexes(shop, 2, 5, halves=True)
    shop.write(
        "\n".join(
            f"""
with op.index("{name}") as index:
    index.alter_field("embedding", datatype="bfloat16")
    index.add_field({{"name": "price", "type": "numeric"}})
"""
            for name in "ab"
        )
    )
    break_price(shop)
    assert shop.run(*CONTINUE).code == 7
    written = b"\x80\x3f" * DIMS
    shop.client.hset("a:2", "embedding", written)
    shop.client.hdel("b:1", "price")
    kill_at(shop, "upgrade", "head", 3, options=commands.MigrationOptions(strategy="rebuild"))
    result = shop.run("upgrade", "head")
    assert result.code == 0, result.err
    assert shop.client.hget("a:2", "embedding") == written


@pytest.mark.slow
def test_where_search_can_not_run_in_scripts_it_is_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    write_indexes(shop, 3, 10)
    revision = shop.write(
        "\n".join(
            f"""
with op.index("{name}") as index:
    index.alter_field("embedding", algorithm="hnsw")
    index.add_field({{"name": "price", "type": "numeric"}})
"""
            for name in "abc"
        )
    )
    break_price(shop)
    monkeypatch.setattr(
        connection,
        "read_capabilities",
        lambda execute: replace(read_capabilities(execute), is_cluster=True, has_search_coordinator=True),
    )
    result = shop.run(*CONTINUE, "--json")
    assert [each["state"] for each in result.json["indexes"]] == ["done", "done", "failed"], result.err
    require_tidy(shop, 3, 10)
    mend_document(shop)
    assert shop.run("upgrade", "head").code == 0
    assert (shop.state("head") or {})["heads"] == [revision]
    require_tidy(shop, 3, 10)
