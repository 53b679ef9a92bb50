"""What all tests share: a private server, emptied before each test, and the hypothesis profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import settings

from redismigrate.redis_server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# No deadline: on a shared machine one example may take a hundred times as long as another.
settings.register_profile("redismigrate", deadline=None, max_examples=60)
settings.load_profile("redismigrate")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """One per pytest-xdist worker; a test that configures, stops or kills a server starts its own."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """The URL of the server, which holds no key, index or alias."""
    # FLUSHALL is fine: the server was started for this worker and nobody else knows its socket. It drops all
    # indexes, too, and their aliases with them.
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the empty server with the options of redismigrate's own: RESP2, and replies as bytes."""
    with redis.Redis.from_url(redis_url, decode_responses=False, protocol=2) as client:
        yield client
