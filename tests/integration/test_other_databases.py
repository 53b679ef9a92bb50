"""Documents in databases other than 0: no index is built without them unless that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from vector_documents import CHANGE, TO_FLOAT16, TO_NEW_PREFIX, add_products, creation, stock, vector

from redismigrate import commands
from redismigrate.commands import Project
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import PlanBlocked, RunInterrupted
from redismigrate.execution.indexes import keys_elsewhere
from redismigrate.execution.indexes.keys_elsewhere import look_at_other_databases
from redismigrate.execution.progress import Watcher
from redismigrate.redis_server.connection import connect
from redismigrate.schema import IndexSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop

    from redismigrate.planning.plan import Step

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw', m=8)"
ADD = CHANGE + "index.add_field({'name': 'stock', 'type': 'numeric'})"
REMOVE = CHANGE + "index.drop_field('stock')"
THREE = "database 1 has 3 keys (p:5, p:6, p:7) with the prefixes of index products"
IGNORE = "--ignore-other-databases"


@pytest.fixture
def other(redis_url: str) -> Iterator[redis.Redis]:
    """A client of database 1."""
    with redis.Redis.from_url(redis_url, protocol=2, db=1) as client:
        yield client


def put(client: redis.Redis, *keys: str | bytes) -> None:
    for key in keys:
        client.hset(key, mapping={"title": "shoe", "embedding": vector(3)})


@pytest.fixture
def split(shop: Shop, other: redis.Redis) -> Shop:
    """Five products in database 0 and three in database 1, all of them found."""
    stock(shop, 5)
    put(other, "p:5", "p:6", "p:7")
    assert shop.hits("products") == 8
    return shop


# What is blocked, and by what


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (TO_HNSW, ["--strategy", "shadow"]),
        (TO_HNSW, ["--strategy", "rebuild"]),
        (TO_HNSW, ["--phase", "expand"]),
        (TO_FLOAT16, ["--strategy", "shadow_field"]),
        (TO_FLOAT16, ["--strategy", "rebuild"]),
        (TO_FLOAT16, ["--strategy", "rebuild", "--exclusive"]),
        (TO_NEW_PREFIX, ["--strategy", "shadow_copy"]),
        (TO_NEW_PREFIX, ["--exclusive"]),
        (CHANGE + "index.rename_to('wares')", []),
        (CHANGE + "index.drop_field('title')", []),
        ("op.create_index({'index': {'name': 'products2', 'prefix': 'p:'}, 'fields': [], })", []),
        ("op.drop_index('products', delete_documents=True)", []),
    ],
)
def test_whatever_builds_an_index_is_blocked_and_changes_nothing(
    split: Shop, other: redis.Redis, change: str, options: list[str]
) -> None:
    split.write(change.replace("[], ", "[{'name': 'title', 'type': 'text'}], "))
    split.refuses(
        "upgrade", *options, code=6, says=("The plan is blocked: 000000000002: database 1 has 3 keys", IGNORE)
    )
    assert split.hits("products") == 8
    assert len(other.keys()) == 3


def test_a_plan_is_blocked_and_says_which_keys(split: Shop) -> None:
    split.write(TO_HNSW)
    planned = split.run("plan", "--json")
    assert planned.code == 6
    (reason,) = planned.json["blocked"]
    assert THREE in reason
    assert "--ignore-other-databases" in reason


def test_a_downgrade_and_a_script_are_blocked_alike(split: Shop, other: redis.Redis) -> None:
    other.delete("p:5", "p:6", "p:7")
    split.write(ADD, REMOVE)
    assert split.run("upgrade").code == 0
    put(other, "p:5", "p:6", "p:7")
    for command in (("downgrade", "-1"), ("downgrade", "-1", "--script"), ("plan", "-1", "--down")):
        told = split.run(*command)
        assert told.code == 6
        # A table of a terminal breaks lines.
        assert THREE in " ".join((told.out + told.err).split())
    assert split.run("downgrade", "-1", "--script", IGNORE).code == 0
    assert split.run("downgrade", "-1", IGNORE).code == 0
    assert split.hits("products") == 5


def test_a_script_of_a_range_says_that_it_could_not_look(shop: Shop) -> None:
    shop.write(creation())
    assert "databases other than 0" in shop.run("upgrade", ":head", "--script").out


def test_ft_alter_goes_on_and_tells_what_it_does_not_reach(split: Shop) -> None:
    split.write(ADD)
    result = split.run("upgrade", "--json")
    assert result.code == 0, result.err
    assert any(THREE in warning and "written again" in warning for warning in result.json["warnings"])
    assert split.hits("products") == 8


def test_synonyms_go_on_and_tell_what_they_do_not_reach(split: Shop) -> None:
    split.write("op.set_synonyms('products', 'g', ['shoe', 'boot'])")
    result = split.run("upgrade", "--json")
    assert result.code == 0, result.err
    assert any(THREE in warning for warning in result.json["warnings"])
    assert (split.hits("products"), split.hits("products", "boot")) == (8, 5)


@pytest.mark.parametrize(
    "change",
    ["op.create_alias('wares', 'products')", "op.drop_index('products')", "op.run(lambda client: None)"],
)
def test_what_builds_nothing_does_not_look(split: Shop, change: str) -> None:
    split.write(change)
    result = split.run("upgrade", "--json")
    assert result.code == 0, result.err
    assert not any("database 1" in warning for warning in result.json["warnings"])


def test_an_index_that_scans_nothing_leaves_nothing_out(shop: Shop, other: redis.Redis) -> None:
    put(other, "p:1")
    shop.write(creation().replace("'prefix'", "'skip_initial_scan': True, 'prefix'"))
    assert shop.run("upgrade").code == 0


@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_the_override_goes_on_and_tells_what_is_left_out(split: Shop, strategy: str) -> None:
    split.write(TO_HNSW)
    result = split.run("upgrade", "--strategy", strategy, IGNORE, "--json")
    assert result.code == 0, result.err
    assert any(THREE in warning for warning in result.json["warnings"])
    assert split.hits("products") == 5


@pytest.mark.parametrize(
    ("change", "back"), [(TO_FLOAT16, CHANGE + "index.alter_field('embedding', datatype='float32')")]
)
@pytest.mark.parametrize("options", [(), ("--exclusive",)])
def test_the_override_holds_for_the_whole_run_and_its_rollback(
    split: Shop, change: str, back: str, options: tuple[str, ...]
) -> None:
    split.write(change, back)
    result = split.run("upgrade", IGNORE, "--json", *options)
    assert result.code == 0, result.err
    assert split.run("rollback", "--run", result.json["run"]).code == 0
    assert split.run("upgrade", IGNORE, *options).code == 0
    assert split.run("downgrade", "-1", IGNORE).code == 0


def test_a_drop_with_documents_says_which_it_does_not_delete(split: Shop, other: redis.Redis) -> None:
    split.write("op.drop_index('products', delete_documents=True)")
    (reason,) = split.run("plan", "--json").json["blocked"]
    assert f"{THREE}, which FT.DROPINDEX DD does not delete" in reason
    result = split.run("upgrade", IGNORE, "--json")
    assert result.code == 0, result.err
    assert any("does not delete" in warning for warning in result.json["warnings"])
    assert len(other.keys()) == 3


def test_the_python_api_takes_the_override(split: Shop) -> None:
    split.write(TO_HNSW)
    project = Project.load(split.folder / "redismigrate.toml")
    with pytest.raises(PlanBlocked, match="database 1 has 3 keys"):
        commands.upgrade(project)
    result = commands.upgrade(project, options=MigrationOptions(ignore_other_databases=True))
    assert result.result == "done"


# Which keys count


def json_schema(prefix: str = "p:") -> dict[str, Any]:
    vector = {"algorithm": "flat", "dims": 2, "distance_metric": "l2"}
    return {
        "index": {"name": "products", "prefix": prefix, "storage_type": "json"},
        "fields": [
            {"name": "title", "type": "text", "path": "$.title"},
            {"name": "embedding", "type": "vector", "path": "$.embedding", "attrs": vector},
        ],
    }


def test_json_documents_count_for_an_index_of_json_alone(shop: Shop, other: redis.Redis) -> None:
    shop.write(f"op.create_index({json_schema()!r})")
    assert shop.run("upgrade").code == 0
    for number in range(5):
        shop.client.json().set(f"p:{number}", "$", {"title": "shoe", "embedding": [1, number]})
    put(other, "p:hash")
    other.set("p:string", "x")
    other.json().set("q:5", "$", {"title": "shoe"})
    shop.write(TO_HNSW)
    assert shop.run("plan").code == 0
    for number in (5, 6, 7):
        other.json().set(f"p:{number}", "$", {"title": "shoe", "embedding": [1, number]})
    assert shop.hits("products") == 8
    shop.refuses("upgrade", code=6, says=(f"The plan is blocked: 000000000002: {THREE}",))
    # Also where both indexes are compared by their vectors.
    assert shop.run("upgrade", IGNORE).code == 0
    assert shop.hits("products") == 5


def test_all_databases_count_and_keys_are_shown_on_one_line(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    put(other, b"p:\x1b[2J\n\xff")
    with redis.Redis.from_url(shop.url, db=7) as seventh:
        put(seventh, *(f"p:{number}" for number in range(12)))
    shop.write(TO_HNSW)
    (reason,) = shop.run("plan", "--json").json["blocked"]
    assert r"database 1 has 1 key (p:\x1b[2J\n\xff) and database 7 has 12 keys (p:" in reason
    assert ", ...)" in reason


@pytest.mark.parametrize(
    ("prefixes", "count"),
    [
        ([], 8),
        ([""], 8),
        (["a:", "b:"], 4),
        (["a:", "a:x", "b:"], 4),
        ([b"\xff*?[".decode("utf-8", "surrogateescape")], 2),
        (["nothing:"], 0),
        (["a:", "c"], 3),
    ],
)
def test_any_prefixes_are_found(shop: Shop, other: redis.Redis, prefixes: list[str], count: int) -> None:
    put(other, "a:1", "a:x1", "b:1", "b:2", "ca", b"\xff*?[1", b"\xff*?[2", b"\xff")
    assert len(other.keys()) == 8
    schema = IndexSchema.model_validate(
        {"name": "i", "prefixes": prefixes, "fields": [{"name": "title", "type": "text"}]}
    )
    with connect(shop.url) as server:
        keys = look_at_other_databases(server, [schema]).keys_of([schema])
    assert sum(found.count for found in keys) == count


def test_a_filter_is_not_looked_at(shop: Shop, other: redis.Redis) -> None:
    shop.write(creation().replace("'prefix'", "'filter': \"@title=='shoe'\", 'prefix'"))
    put(other, "p:1")
    shop.refuses("upgrade", code=6, says=("The plan is blocked: 000000000001: database 1 has 1 key (p:1)",))


def test_an_expired_key_does_not_count(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    put(other, "p:9")
    other.pexpire("p:9", 1)
    shop.write(TO_HNSW)
    while other.exists("p:9"):
        pass
    assert shop.run("upgrade").code == 0


def test_the_prefixes_of_later_revisions_count_as_well(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    put(other, "q:1")
    shop.write(ADD, REMOVE)
    shop.write(TO_NEW_PREFIX)
    shop.refuses("upgrade", code=6, says=("The plan is blocked: 000000000003: database 1 has 1 key (q:1)",))


# What it costs, and what can't be looked at


def test_nothing_but_one_command_is_asked_where_only_database_0_has_keys(shop: Shop) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)
    with shop.monitored() as seen:
        assert shop.run("plan").code == 0
    assert sum(words[:2] == ["INFO", "keyspace"] for words in seen) == 1
    assert not any(words[0] == "SELECT" for words in seen)


def test_the_database_of_no_other_connection_is_changed(split: Shop) -> None:
    split.write(TO_HNSW)
    with split.monitored() as seen:
        assert split.run("plan").code == 6
    assert [words for words in seen if words[0] == "SELECT"] == [["SELECT", "1"]]
    assert split.run("status").code == 0


def test_many_keys_are_sampled_and_the_plan_says_so(
    shop: Shop, other: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_elsewhere, "MOST_KEYS", 4000)
    stock(shop, 5)
    pipeline = other.pipeline()
    for number in range(10_000):
        pipeline.hset(f"{'p' if number % 2 else 'x'}:{number}", "title", "shoe")
    pipeline.execute()
    with redis.Redis.from_url(shop.url, db=2) as second:
        put(second, "p:rare")
    shop.write(TO_HNSW)
    planned = shop.run("plan", "--json").json
    (reason,) = planned["blocked"]
    assert "database 2 has 1 key (p:rare)" in reason
    count = int(reason.partition("database 1 has about ")[2].partition(" keys")[0].replace(",", ""))
    assert 4500 < count < 5500
    (warning,) = (text for text in planned["revisions"][0]["warnings"] if "looked at" in text)
    assert "10,001 keys, of which 4," in warning


def test_a_user_who_may_not_look_is_told_so_and_goes_on(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    put(other, "p:9")
    shop.write(TO_HNSW)
    shop.client.execute_command(
        "ACL", "SETUSER", "bound", "reset", "on", ">pw", "~*", "&*", "+@all", "-select"
    )
    try:
        address = shop.url.replace("unix://", "unix://bound:pw@")
        result = shop.run("--url", address, "upgrade", "--json")
    finally:
        shop.client.execute_command("ACL", "DELUSER", "bound")
    assert result.code == 0, result.err
    (warning,) = (text for text in result.json["warnings"] if "could not be looked at" in text)
    assert "database 1" in warning
    assert "select" in warning


@pytest.mark.parametrize("database", ["1", 1, "0", None])
def test_only_database_0_is_worked_in(shop: Shop, database: Any) -> None:
    from redismigrate.errors import ConfigurationError
    from redismigrate.redis_server.connection import connect_like

    path = shop.client.connection_pool.connection_kwargs["path"]
    client = redis.Redis(unix_socket_path=path, db=database)
    if str(database) == "1":
        with pytest.raises(ConfigurationError, match="selects database 1"):
            connect_like(client)
    else:
        with connect_like(client) as server:
            assert server.execute("PING")


def test_a_function_that_selects_another_database_does_not_take_ours_along(
    shop: Shop, other: redis.Redis
) -> None:
    shop.write(
        "op.run(move, move)",
        preamble="""
            def move(client):
                with client.pipeline() as pipeline:
                    pipeline.execute_command("SELECT", 1)
                    pipeline.set("moved", "1")
                    pipeline.execute()
        """,
    )
    result = shop.run("upgrade")
    assert result.code == 0, result.err
    assert other.keys() == [b"moved"]


# What comes after the plan


class WhenStep(Watcher):
    """Does something as a step begins, once."""

    def __init__(self, kind: str, act: Callable[[], object], nth: int = 1) -> None:
        self.kind, self.act, self.left = kind, act, nth
        self.warnings: list[str] = []

    def step_started(self, step: Step) -> None:
        if step.kind == self.kind:
            self.left -= 1
            if self.left == 0:
                self.act()

    def warned(self, message: str) -> None:
        self.warnings.append(message)


def upgraded(shop: Shop, watcher: Watcher, **options: Any) -> None:
    project = Project.load(shop.folder / "redismigrate.toml")
    commands.upgrade(project, options=MigrationOptions(**options), watcher=watcher)


def test_a_move_is_undone_where_old_keys_were_written_elsewhere_while_it_copied(
    shop: Shop, other: redis.Redis
) -> None:
    stock(shop, 5)
    shop.write(TO_NEW_PREFIX)
    for kind in ("copy_documents", "wait_for_index"):
        with pytest.raises(PlanBlocked, match="database 1 has 1 key"):
            upgraded(shop, WhenStep(kind, lambda: put(other, "p:9")))
        assert shop.hits("products") == 6
        assert shop.client.keys("q:*") == []
        other.delete("p:9")
    upgraded(shop, WhenStep("wait_for_index", lambda: put(other, "q:9")))
    assert shop.hits("products") == 6


def test_a_rebuild_that_rewrites_looks_before_the_drop_and_tells_after_it(
    shop: Shop, other: redis.Redis
) -> None:
    stock(shop, 5)
    shop.write(TO_FLOAT16)
    with pytest.raises(PlanBlocked, match="database 1 has 1 key"):
        upgraded(shop, WhenStep("back_up_documents", lambda: put(other, "p:9")), strategy="rebuild")
    assert shop.hits("products") == 6
    other.delete("p:9")
    watcher = WhenStep("rewrite_documents", lambda: put(other, "p:9"))
    upgraded(shop, watcher, strategy="rebuild")
    assert any("database 1 has 1 key (p:9)" in warning for warning in watcher.warnings)
    assert shop.hits("products") == 5


@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_what_is_written_elsewhere_after_the_plan_undoes_the_revision(
    shop: Shop, other: redis.Redis, strategy: Any
) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)
    watcher = WhenStep("prove_index", lambda: put(other, "p:5", "p:6", "p:7"))
    with pytest.raises(PlanBlocked, match="database 1 has 3 keys"):
        upgraded(shop, watcher, strategy=strategy)
    assert shop.hits("products") == 8
    assert shop.run("status", "--json").json["problems"] == []


def test_what_is_written_elsewhere_once_the_new_index_is_there_is_in_both(
    shop: Shop, other: redis.Redis
) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)
    upgraded(shop, WhenStep("wait_for_index", lambda: put(other, "p:5", "p:6", "p:7")))
    assert shop.hits("products") == 8


def test_the_final_index_of_a_second_form_is_looked_at_as_well_and_stops_in_order(
    shop: Shop, other: redis.Redis
) -> None:
    """The names have moved once by then: the run stays as it is, with search up."""
    stock(shop, 5)
    shop.write(TO_FLOAT16)
    with pytest.raises(RunInterrupted, match="database 1 has 1 key"):
        upgraded(shop, WhenStep("promote_documents", lambda: put(other, "p:9")))
    assert shop.hits("products") == 6
    again = shop.run("upgrade")
    assert (again.code, "database 1 has 1 key (p:9)" in again.err) == (7, True)
    assert shop.run("upgrade", IGNORE).code == 0
    assert shop.hits("products") == 5


def test_contract_looks_again_and_leaves_what_is_expanded(
    shop: Shop, other: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)
    put(other, "p:9")
    with monkeypatch.context() as patch:
        # As one that is written just before the new index is created.
        patch.setattr(keys_elsewhere, "other_databases", lambda _: {})
        assert shop.run("upgrade", "--phase", "expand").code == 0
    put(other, "p:8")
    refused = shop.run("upgrade", "--phase", "contract")
    assert (refused.code, "database 1 has 1 key (p:9)" in refused.err) == (7, True), refused.err
    assert shop.hits("products") == 7
    assert shop.run("upgrade", "--phase", "contract", IGNORE).code == 0
    assert shop.hits("products") == 6


def test_a_resume_after_a_crash_looks_again(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)

    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        upgraded(shop, WhenStep("create_index", crash))
    put(other, "p:5", "p:6", "p:7")
    resumed = shop.run("upgrade")
    assert (resumed.code, THREE in resumed.err) == (6, True), resumed.err
    assert shop.hits("products") == 8
    assert shop.run("status", "--json").json["interrupted"] is False


def test_a_resume_takes_the_override_and_keeps_it(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)

    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        upgraded(shop, WhenStep("create_index", crash))
    put(other, "p:5", "p:6", "p:7")
    with pytest.raises(RunInterrupted):
        upgraded(shop, WhenStep("wait_for_index", crash), ignore_other_databases=True)
    assert (shop.state("run") or {})["arguments"]["ignore_other_databases"] is True
    assert shop.run("upgrade").code == 0
    assert shop.hits("products") == 5


# The ways back are never closed


@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_a_rollback_goes_on_and_tells_what_the_old_index_lacks(
    shop: Shop, other: redis.Redis, strategy: str
) -> None:
    stock(shop, 5)
    shop.write(TO_HNSW)
    run = shop.run("upgrade", "--strategy", strategy, "--json").json["run"]
    put(other, "p:5", "p:6", "p:7")
    result = shop.run("--json", "rollback", "--run", run)
    assert result.code == 0, result.err
    (warning,) = result.json["warnings"]
    assert THREE in warning
    assert "written again" in warning
    assert shop.hits("products") == 5
    put(other, "p:5")
    assert shop.hits("products") == 6


def test_a_rollback_that_drops_only_what_was_new_says_nothing(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    put(other, "p:9")
    shop.write(TO_HNSW)

    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        upgraded(shop, WhenStep("validate_index", crash), ignore_other_databases=True)
    result = shop.run("rollback")
    assert (result.code, "database 1" in result.out + result.err) == (0, False)
    assert shop.hits("products") == 6


def test_repair_is_refused_until_it_is_said(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 5)
    put(other, "p:5", "p:6", "p:7")
    shop.client.execute_command("FT.DROPINDEX", "products")
    shop.refuses("repair", code=6, says=(f"Nothing was repaired: {THREE}", IGNORE))
    result = shop.run("repair", IGNORE, "--json")
    assert (result.code, result.json["created"]) == (0, ["products"])
    assert THREE in result.json["warnings"][0]


# Validation counts no documents of other databases


def test_documents_that_an_alter_throws_out_are_noticed_beside_others_elsewhere(
    split: Shop,
) -> None:
    split.client.hset("p:0", "stock", "many")
    split.write(ADD)
    result = split.run("upgrade")
    assert result.code == 1
    assert "1 documents can't be indexed" in result.err
    # The note of the plan, and what undoing it has left out.
    assert (result.out + result.err).count(THREE) == 2
    assert split.run("status", "--json").json["problems"] == []


def test_a_document_that_failed_before_is_no_new_failure(split: Shop) -> None:
    split.client.hset("p:broken", mapping={"title": "shoe", "embedding": b"short"})
    split.write(TO_HNSW)
    assert split.run("upgrade", "--strategy", "rebuild", IGNORE).code == 0
    assert split.hits("products") == 5


def test_more_products_elsewhere_than_here(shop: Shop, other: redis.Redis) -> None:
    stock(shop, 3)
    put(other, *(f"p:{number}" for number in range(100, 140)))
    add_products(shop, 2, prefix="p:1")
    shop.write(TO_HNSW)
    assert shop.run("upgrade", IGNORE).code == 0
    assert shop.hits("products") == 5
