"""What becomes of the errors of servers that can't be run here."""

from __future__ import annotations

import pytest
import redis

from redismigrate.errors import AuthenticationFailed, RedisMigrateError, ServerError, ServerOutOfMemory
from redismigrate.redis_server.connection import translate


def told(error: redis.RedisError) -> RedisMigrateError:
    """Our error for one of the server's."""
    translated = translate(error, "redis://db:6379/0")
    assert translated is not None
    return translated


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.NoPermissionError("User does not have the required permissions to query the index"),
        redis.ResponseError("NOPERM User does not have the required permissions to query the index"),
    ],
)
def test_a_user_who_may_not_read_what_an_index_is_about_is_told_what_redis_8_looks_at(
    error: redis.RedisError,
):
    translated = told(error)

    assert isinstance(translated, AuthenticationFailed)
    assert translated.message == (
        "The Redis user lacks a right: User does not have the required permissions to query the index"
    )
    assert "the keys of every prefix of the index" in translated.hint


@pytest.mark.parametrize("prefix", ["", "SEARCH_OOM "])
def test_a_search_that_is_refused_for_want_of_memory_is_no_matter_of_the_query(prefix: str):
    translated = told(redis.ResponseError(f"{prefix}Not enough memory available to execute the query"))

    assert isinstance(translated, ServerOutOfMemory)
    assert translated.message.endswith("uses more memory than its maxmemory and answers no queries.")


def test_a_coordinator_that_does_not_know_its_shards_yet_is_waited_for():
    translated = told(
        redis.ResponseError("ERRCLUSTER Uninitialized cluster state, could not perform command")
    )

    assert isinstance(translated, ServerError)
    assert translated.hint == "Try again when it is."
