"""FT.ALIASLIST, played by a stand-in: no server that has it can be run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from redismigrate.redis_server.inspection import resolve_alias

if TYPE_CHECKING:
    from conftest import Shop

ALIASES = ("catalog", "search")
CHANGE = "with op.index('live') as index:\n    index.set_options(stopwords=['x'])\n"


@pytest.fixture(params=[list, set], ids=["RESP2", "RESP3"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The server lists aliases, as an array or as a set; all commands that it gets."""
    commands: list[tuple[Any, ...]] = []
    execute: Any = redis.Redis.execute_command

    def answer(client: redis.Redis, *command: Any, **options: Any) -> Any:
        commands.append(command)
        if command == ("ft.aliaslist",):  # which is how it is found out whether there is such a command
            raise redis.ResponseError("wrong number of arguments for 'ft.aliaslist' command")
        if command[0] != "FT.ALIASLIST":
            return execute(client, *command, **options)
        name = command[1].decode() if isinstance(command[1], bytes) else command[1]
        if name.encode() not in execute(client, "FT._LIST"):
            raise redis.ResponseError("SEARCH_INDEX_NOT_FOUND: Index not found")
        found = (
            alias for alias in ALIASES if resolve_alias(lambda *each: execute(client, *each), alias) == name
        )
        return request.param(alias.encode() for alias in found)

    monkeypatch.setattr(redis.Redis, "execute_command", answer)
    return commands


@pytest.fixture
def live(shop: Shop) -> Shop:
    """An index that another tool made, with two aliases that nobody names."""
    shop.add_documents(20, title="shoe")
    execute: Any = shop.client.execute_command
    execute("FT.CREATE", "live", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    for alias in ALIASES:
        execute("FT.ALIASADD", alias, "live")
    shop.write(CHANGE, "pass")
    return shop


def test_aliases_that_the_server_lists_are_kept_without_being_told(
    live: Shop, asked: list[tuple[Any, ...]]
) -> None:
    plan = live.run("plan", "--json").json["revisions"][0]
    assert not [warning for warning in plan["warnings"] if "aliases_lost" in warning]
    result = live.run("upgrade", "--alias", "nothing")
    assert result.code == 0, result.err
    for alias in ALIASES:
        assert live.hits(alias) == 20
    # What is listed is all there is: no name is tried.
    assert not [
        command for command in asked if command[0] == "FT.INFO" and command[1] in (b"nothing", "nothing")
    ]


def test_a_baseline_has_the_aliases_that_the_server_lists(live: Shop, asked: list[tuple[Any, ...]]) -> None:
    live.script("000000000001").unlink()
    result = live.run("revision", "-m", "baseline", "--from-live", "live")
    assert result.code == 0, result.err
    (script,) = live.script("x").parent.glob("*.py")
    assert all(f'"{alias}"' in script.read_text() for alias in ALIASES)
    assert any(command[0] == "FT.ALIASLIST" for command in asked)
