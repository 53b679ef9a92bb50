"""What a server can do is the same whether or not INFO and HELLO tell its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from redismigrate.redis_server.connection import connect

if TYPE_CHECKING:
    from redismigrate.redis_server.capabilities import Capabilities


def told_by(redis_url: str, *, refused: frozenset[str], monkeypatch: pytest.MonkeyPatch) -> Capabilities:
    """The capabilities of a server whose INFO has no modules, and which refuses some commands."""
    with connect(redis_url) as server:
        ask = server.ask

        def without_modules(*command: Any) -> Any:
            if str(command[0]).upper() in refused:
                raise redis.ResponseError(f"unknown command '{command[0]}'")
            reply = ask(*command)
            if command[0] == "INFO":
                return {name: value for name, value in reply.items() if name != "modules"}
            return reply

        monkeypatch.setattr(server, "ask", without_modules)
        return server.capabilities


@pytest.mark.parametrize("refused", [frozenset(), frozenset({"HELLO"})])
def test_what_depends_on_the_version_is_the_same(
    redis_url: str, client: redis.Redis, refused: frozenset[str], monkeypatch: pytest.MonkeyPatch
):
    with connect(redis_url) as server:
        usual = server.capabilities

    found = told_by(redis_url, refused=refused, monkeypatch=monkeypatch)

    assert found.search_version == (None if refused else usual.search_version)
    assert (found.has_search, found.has_json) == (usual.has_search, usual.has_json)
    assert found.crashes_on_wide_text_without_fields is usual.crashes_on_wide_text_without_fields
    assert found.keeps_words_of_any_bytes is usual.keeps_words_of_any_bytes
    assert found.guards_indexes_by_their_keys is usual.guards_indexes_by_their_keys
    assert client.execute_command("FT._LIST") == []
