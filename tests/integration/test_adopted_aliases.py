"""Aliases of an index that no revision made: no server before 8.10 lists them, so they are looked for."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
from signalled_process import KILLED, kill_at

from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.redis_server.inspection import list_indexes, resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

CHANGE = "with op.index('live') as index:\n    index.set_options(stopwords=['{word}'])\n"
RENAME = "with op.index('{}') as index:\n    index.rename_to('{}')\n"
SCHEMA = """
index: {{name: {name}, prefix: "p:"}}
fields: [{{name: title, type: text}}]
"""


@pytest.fixture
def live(shop: Shop) -> Iterator[Shop]:
    """An index that another tool made, with two aliases."""
    shop.add_documents(20, title="shoe")
    execute: Any = shop.client.execute_command
    execute("FT.CREATE", "live", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    for alias in ("catalog", "search"):
        execute("FT.ALIASADD", alias, "live")
    shop.write(CHANGE.format(word="x"), CHANGE.format(word="y"))
    execute("SLOWLOG", "RESET")
    yield shop
    execute("CONFIG", "SET", "slowlog-log-slower-than", 10_000)
    execute("SLOWLOG", "RESET")
    execute("ACL", "LOG", "RESET")


def targets(shop: Shop) -> dict[str, str | None]:
    return {name: resolve_alias(shop.client.execute_command, name) for name in ("catalog", "search")}


def configure(shop: Shop, line: str) -> None:
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(f"{configuration.read_text()}{line}\n")


def warnings_of(shop: Shop, *arguments: str) -> list[str]:
    warnings: list[str] = shop.run("plan", *arguments, "--json").json["revisions"][0]["warnings"]
    return warnings


def test_what_stops_to_answer_is_the_first_warning_with_the_commands(live: Shop) -> None:
    first, *_ = warnings_of(live)
    assert first.startswith("aliases of index live that are not known stop to answer (aliases_lost)")
    assert "`redismigrate upgrade --alias NAME`" in first
    assert "`redismigrate repair --alias NAME=live` brings one back" in first
    assert "  warning: aliases of index live" in live.run("plan").out
    assert "  warning: aliases of index live" in live.run("upgrade").out
    assert targets(live) == {"catalog": None, "search": None}


@pytest.mark.parametrize(
    "told",
    [
        *("option", "setting", "declared schema", "slow log", "recorded"),
        pytest.param("refused", marks=pytest.mark.needs("refused names")),
    ],
)
def test_an_alias_that_is_told_or_in_use_is_kept(live: Shop, told: str) -> None:
    execute: Any = live.client.execute_command
    options: tuple[str, ...] = ()
    if told == "option":
        options = ("--alias", "catalog", "--alias", "nothing")
    elif told == "setting":
        configure(live, 'known_aliases = ["catalog", "nothing"]')
    elif told == "declared schema":
        configure(live, 'schemas = ["*.yaml"]')
        (live.folder / "catalog.yaml").write_text(SCHEMA.format(name="catalog"))
    elif told == "slow log":
        execute("CONFIG", "SET", "slowlog-log-slower-than", 0)
        execute("FT.SEARCH", "catalog", "shoe")
        execute("CONFIG", "SET", "slowlog-log-slower-than", -1)
    elif told == "refused":
        execute("ACL", "SETUSER", "reader", "on", ">word", "~other*", "+@all")
        other = redis.Redis.from_url(live.url, username="reader", password="word")
        with pytest.raises(redis.ResponseError):
            other.execute_command("FT.SEARCH", "catalog", "shoe")
        other.close()
        execute("ACL", "DELUSER", "reader")
    else:
        live.client.set("{redismigrate}:owners", '{"theirs": "elsewhere"}')
        indexes = {"version": 1, "layout": 1, "indexes": {"theirs": {"aliases": ["catalog"]}}}
        live.client.set("{redismigrate:elsewhere}:indexes", json.dumps(indexes))

    assert "catalog found and kept" in warnings_of(live, *options)[0]
    run = live.run("upgrade", *options, "--json")
    assert run.code == 0, run.out
    (physical,) = list_indexes(execute)
    assert targets(live) == {"catalog": physical, "search": None}
    assert live.run("current", "--json").json["indexes"]["live"]["aliases"] == ["catalog"]

    # It goes on with every further change, and back.
    live.write(CHANGE.format(word="z"), CHANGE.format(word="x"))
    again = live.run("upgrade", "--json")
    assert again.code == 0, again.out
    assert live.hits("catalog") == 20
    assert live.run("rollback", "--run", again.json["run"]).code == 0
    assert live.hits("catalog") == 20


def test_a_rollback_brings_back_the_aliases_that_were_known(live: Shop) -> None:
    run = live.run("upgrade", "--alias", "catalog", "--alias", "search", "--json").json["run"]
    assert live.run("rollback", "--run", run).code == 0
    assert live.hits("catalog") == live.hits("search") == live.hits("live") == 20


@pytest.mark.parametrize("text", ["catalog", "catalog=live"])
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_a_rollback_brings_back_an_alias_that_was_not_known(live: Shop, text: str, strategy: str) -> None:
    run = live.run("upgrade", "--json", "--strategy", strategy).json["run"]
    assert targets(live)["catalog"] is None
    live.refuses("rollback", "--run", run, "--alias", "live", code=3, says=("live is or leads to",))
    says = ("The rollback leaves no index no",)
    live.refuses("rollback", "--run", run, "--alias", "x=no", code=2, says=says)

    done = live.run("rollback", "--run", run, "--alias", text, "--json")

    assert done.code == 0, done.err
    assert any("alias catalog leads to index live" in told for told in done.json["warnings"])
    live.wait_until_indexed()
    assert live.hits("catalog") == live.hits("live") == 20
    assert targets(live)["search"] is None


def repaired(live: Shop, *scripts: str) -> str:
    """A finished run of revisions after which a lost alias was set again by hand; the run."""
    for number, script in enumerate(scripts, start=1):
        live.write(
            script, revision=f"{number:012}", down_revision=f"{number - 1:012}" if number > 1 else None
        )
    run: str = live.run("upgrade", "--alias", "search", "--json").json["run"]
    (served,) = live.run("current", "--json").json["indexes"]
    assert targets(live)["catalog"] is None
    assert live.run("repair", "--alias", f"catalog={served}").code == 0
    live.wait_until_indexed()
    return run


CHANGED, RENAMED = CHANGE.format(word="x"), RENAME.format("live", "items")
RENAMED_AND_CHANGED = (RENAMED, CHANGED.replace("'live'", "'items'"))


@pytest.mark.slow_beyond(2)
@pytest.mark.parametrize("scripts", [(CHANGED,), (RENAMED,), RENAMED_AND_CHANGED])
def test_an_alias_that_was_repaired_since_answers_all_through_a_rollback(
    live: Shop, scripts: tuple[str, ...]
) -> None:
    run = repaired(live, *scripts)
    over, hits = threading.Event(), set()

    def ask() -> None:
        with redis.Redis.from_url(live.url, protocol=2) as client:
            execute: Any = client.execute_command
            while not over.is_set():
                hits.add(execute("FT.SEARCH", "catalog", "shoe", "LIMIT", "0", "0")[0])

    asking = threading.Thread(target=ask)
    asking.start()
    result = live.run("rollback", "--run", run)
    over.set()
    asking.join()
    assert result.code == 0, result.err
    assert hits == {20}
    assert set(targets(live).values()) == {resolve_alias(live.client.execute_command, "live") or "live"}


@pytest.mark.slow_beyond(2)
@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_an_alias_that_was_repaired_since_is_there_after_a_rollback_that_was_killed(
    live: Shop, strategy: str
) -> None:
    live.strategy = strategy
    run = repaired(live, *RENAMED_AND_CHANGED)
    at = 1
    while kill_at(live, "rollback", run, at=at, moment="undo step") == KILLED:
        assert live.run("rollback").code == 0
        live.wait_until_indexed()
        assert live.hits("catalog") == live.hits("search") == live.hits("live") == 20
        run = repaired(live, *RENAMED_AND_CHANGED)
        at += 1
    assert at > 3
    assert live.hits("catalog") == live.hits("search") == live.hits("live") == 20


def test_a_rollback_of_an_interrupted_run_does_so_too_under_the_name_from_before(live: Shop) -> None:
    live.write(RENAME.format("live", "shop"), RENAME.format("shop", "live"))
    options = MigrationOptions()
    assert kill_at(live, "upgrade", "head", at=1, moment="end of revision", options=options) == KILLED
    assert targets(live) == {"catalog": None, "search": None}

    done = live.run("rollback", "--alias", "catalog", "--alias", "search=live")
    assert done.code == 0, done.err

    live.wait_until_indexed()
    assert live.hits("catalog") == live.hits("search") == live.hits("live") == 20


def test_an_alias_of_an_index_that_stays_recorded_is_recorded_with_it(live: Shop) -> None:
    assert live.run("upgrade").code == 0
    live.write(CHANGE.format(word="z"), CHANGE.format(word="x"))
    run = live.run("upgrade", "--json").json["run"]
    assert live.run("rollback", "--run", run, "--alias", "catalog").code == 0
    assert live.hits("catalog") == 20
    assert live.run("current", "--json").json["indexes"]["live"]["aliases"] == ["catalog"]
    assert live.run("check").code == 4


def test_all_strategies_keep_them(live: Shop) -> None:
    live.strategy = "rebuild"
    assert live.run("upgrade", "--alias", "catalog").code == 0
    live.wait_until_indexed()
    assert targets(live) == {"catalog": "live", "search": None}
    assert live.hits("catalog") == 20


def test_repair_brings_an_alias_back_and_later_changes_keep_it(live: Shop) -> None:
    assert live.run("upgrade").code == 0
    live.refuses("repair", "--alias", "live", code=2, says=("live is an index already",))
    assert live.run("repair", "--alias", "catalog").out == "Set alias catalog again.\n"
    assert live.hits("catalog") == 20
    assert live.run("check").code == 0
    live.write(CHANGE.format(word="z"), CHANGE.format(word="x"))
    assert live.run("upgrade").code == 0
    assert live.hits("catalog") == 20


def test_repair_asks_which_index_an_alias_is_of(live: Shop) -> None:
    live.write('op.create_index({"index": {"name": "other"}, "fields": [{"name": "title", "type": "text"}]})')
    assert live.run("upgrade").code == 0
    live.refuses(
        "repair", "--alias", "catalog", code=2, says=("It can't be told which index", "--alias catalog=INDEX")
    )
    assert live.run("repair", "--alias", "catalog=live").code == 0
    assert live.hits("catalog") == 20
    execute: Any = live.client.execute_command
    execute("FT.ALIASADD", "search", "other")
    live.refuses("repair", "--alias", "search=live", code=3, says=("search leads to index other",))


def test_a_baseline_has_the_aliases_that_are_known(live: Shop) -> None:
    live.script("000000000001").unlink()
    configure(live, 'known_aliases = ["search", "nothing"]')
    made = live.run("revision", "-m", "as it is", "--from-live", "live", "--alias", "catalog", "--json")
    assert made.code == 0, made.err
    assert made.json["operations"][1:] == ["create alias catalog of live", "create alias search of live"]
    assert live.run("stamp", "head").code == 0
    assert live.run("check").code == 0


def test_a_baseline_refuses_an_alias_that_is_none(live: Shop) -> None:
    live.script("000000000001").unlink()
    arguments = ("revision", "-m", "as it is", "--from-live", "live", "--alias", "nothing")
    live.refuses(*arguments, code=2, says=("nothing is no alias of index live",))
    live.refuses("revision", "-m", "no", "--alias", "catalog", code=2, says=("--alias belongs to",))
