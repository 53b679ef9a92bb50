"""Migrations on a server that has nothing which Redis Software lacks, and whose scripts declare all keys.

Tests of other files run here, too, as the user that `managed_server` makes; more of them in
`test_managed_campaign`. Whatever a script does meanwhile is compared with the keys that it was given.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from managed_server import ABSENT, as_managed, undeclared_keys
from test_least_rights import CHAIN, READING
from test_offline_scripts import (  # noqa: F401
    Cli,
    redis_cli,
    second_server,
    test_a_downgrade_script_leaves_what_a_downgrade_leaves,
)
from test_phases import (  # noqa: F401
    test_a_contraction_killed_at_every_step_is_ended_or_rolled_back,
)
from test_second_forms import (  # noqa: F401
    test_rollback_between_the_phases_leaves_nothing_behind,
)
from vector_documents import (
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    add_products,
    creation,
)

from redismigrate.execution.documents.beside import follower
from redismigrate.execution.documents.traffic import tracking
from redismigrate.execution.documents.traffic.tracking import Tracker
from redismigrate.redis_server import reports
from redismigrate.redis_server.wire import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis
    from conftest import Shop

    from redismigrate.redis_server.embedded import EmbeddedServer

WAYS = {
    "live": (),
    "exclusive": ("--exclusive",),
    "rebuild": ("--exclusive", "--strategy", "rebuild"),
}


@pytest.fixture
def shop(shop: Shop) -> Iterator[Shop]:
    """The shop as the user of a managed server reaches it."""
    with as_managed(shop):
        yield shop


@pytest.fixture
def other(redis_cli: Path, second_server: EmbeddedServer) -> Iterator[Cli]:  # noqa: F811
    """Where files for redis-cli are run."""
    cli = Cli(redis_cli, second_server)
    with undeclared_keys(cli.client) as undeclared:
        yield cli
    assert undeclared == []


def succeeds(shop: Shop, *arguments: str) -> str:
    result = shop.run(*arguments)
    assert result.code == 0, (arguments, result.out, result.err)
    return result.out


def with_documents(shop: Shop) -> None:
    add_products(shop, 50)
    for number in range(50):
        shop.client.execute_command("JSON.SET", f"a:{number}", "$", json.dumps({"title": "news"}))
    shop.client.hpexpire("p:1", 3_600_000, "title")
    shop.client.pexpire("p:2", 3_600_000)


@pytest.mark.parametrize(
    "way", ["live", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "live")]
)
def test_every_strategy_goes_there_and_back(shop: Shop, way: str):
    with_documents(shop)
    for upgrade, downgrade in CHAIN:
        shop.write(upgrade, downgrade)

    succeeds(shop, "upgrade", *WAYS[way])
    for command in READING:
        succeeds(shop, *command)
    succeeds(shop, "downgrade", "base", *WAYS[way])
    run = json.loads(succeeds(shop, "upgrade", *WAYS[way], "--json"))["run"]
    succeeds(shop, "rollback", "--run", run)

    assert sorted(shop.client.hgetall("p:1")) == [b"embedding", b"title"]
    assert len(shop.client.keys("p:*")) == 50


def test_what_the_profile_does_without_is_never_sent(request: pytest.FixtureRequest, shop: Shop):
    del request
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + '\nprofile = "managed"\n')
    with_documents(shop)
    shop.write(creation())
    shop.write(TO_FLOAT16, TO_FLOAT32)
    shop.client.execute_command("FT.CREATE", "adopted", "PREFIX", "1", "x:", "SCHEMA", "title", "TEXT")
    shop.write("with op.index('adopted') as index:\n    index.add_field({'name': 'brand', 'type': 'tag'})")

    with shop.monitored() as commands:
        succeeds(shop, "upgrade")
        succeeds(shop, "check")
        succeeds(shop, "downgrade", "-1")

    names = {" ".join(words[:length]).lower() for words in commands if words for length in (1, 2)}
    assert names.isdisjoint(name.replace("|", " ") for name in ABSENT)
    assert {"ft.info", "eval"} <= names


def test_the_option_wins_over_the_setting(shop: Shop):
    shop.write(creation())

    assert shop.run("upgrade", "--profile", "managed").code == 0
    refused = shop.run("upgrade", "--profile", "cloud")

    assert refused.code == 2
    assert "'cloud' is not one of 'auto', 'managed'" in refused.err


def test_a_plan_names_what_can_not_be_known_there(shop: Shop):
    add_products(shop, 20)
    shop.write(creation(), "op.drop_index('products')")
    succeeds(shop, "upgrade")
    shop.write(TO_FLOAT16, TO_FLOAT32)

    warnings = json.loads(succeeds(shop, "plan", "--json"))["warnings"]

    assert [warning[:44] for warning in warnings] == [
        "this server, as managed ones, tells neither ",
        "it can't be read whether this server has PAR",
        "whether a proxy passes on what applications ",
    ]
    in_place = json.loads(succeeds(shop, "plan", "--json", "--strategy", "rebuild", "--exclusive"))
    assert in_place["warnings"] == warnings[:1]


@pytest.mark.parametrize(
    ("change", "back", "strategy"),
    [(TO_FLOAT16, TO_FLOAT32, "shadow_field"), (TO_NEW_PREFIX, TO_OLD_PREFIX, "shadow_copy")],
    ids=["shadow_field", "shadow_copy"],
)
def test_where_writes_are_not_told_the_plan_says_so_and_what_does_without(
    shop: Shop, change: str, back: str, strategy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reports, "_TRACKING", render(b"CLIENT", b"TRACKS", b"ON"))
    add_products(shop, 20)
    shop.write(creation(), "op.drop_index('products')")
    succeeds(shop, "upgrade")
    shop.write(change, back)
    before = shop.content()

    result = shop.run("upgrade", "--strategy", strategy)
    plan = json.loads(shop.run("plan", "--json").out)

    assert result.code == 6
    assert "does not tell what applications write meanwhile (CLIENT TRACKING: " in result.err
    (fallback,) = (text for text in plan["revisions"][0]["warnings"] if "CLIENT TRACKING" in text)
    assert fallback.startswith("documents of index products are rewritten in place, with search down: this ")
    assert shop.content() == before
    succeeds(shop, "upgrade", "--exclusive")


@pytest.mark.parametrize("change", [TO_FLOAT16, TO_NEW_PREFIX], ids=["shadow_field", "shadow_copy"])
def test_where_a_proxy_takes_the_wish_and_tells_nothing_no_document_is_written(
    shop: Shop, change: str, monkeypatch: pytest.MonkeyPatch
):
    add_products(shop, 20)
    shop.write(creation(), "op.drop_index('products')")
    succeeds(shop, "upgrade")
    shop.write(change)
    documents = {key: shop.client.dump(key) for key in shop.client.keys("[pq]:*")}
    monkeypatch.setattr(tracking, "PROVED_WITHIN_SECONDS", 0.2)
    monkeypatch.setattr(follower, "BARRIER_SECONDS", 0.2)
    monkeypatch.setattr(Tracker, "_take", lambda tracker, message: None)

    result = shop.run("upgrade")

    assert result.code == 1
    assert "does not tell what applications write meanwhile" in result.err
    assert "Use --strategy rebuild" in result.err
    assert {key: shop.client.dump(key) for key in shop.client.keys("[pq]:*")} == documents
    assert shop.client.execute_command("FT._LIST") == [b"products"]


def test_the_look_at_keys_sees_those_that_a_script_does_not_declare(client: redis.Redis):
    script = "redis.call('SET', KEYS[1], 'x'); return redis.call('RENAME', KEYS[1], ARGV[1])"

    with undeclared_keys(client) as found:
        client.eval("return redis.call('SET', KEYS[1], 'x')", 1, "b")
        client.eval(script, 1, "b", "c")

    assert found == ["RENAME c"]
