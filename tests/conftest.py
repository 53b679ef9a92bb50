"""What all tests share: a private server, emptied before each test, and the hypothesis profiles."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
import redis
import redis.utils
from hypothesis import HealthCheck, settings
from servers import why_skipped

from redismigrate.redis_server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# No deadline, nor one for making examples: on a shared machine one may take a hundred times as long.
TOO_SLOW = (HealthCheck.too_slow,)
settings.register_profile("few", deadline=None, max_examples=10, suppress_health_check=TOO_SLOW)
settings.register_profile("many", deadline=None, max_examples=200, suppress_health_check=TOO_SLOW)
settings.load_profile("few")  # `--hypothesis-profile many` takes the other one, as .ci/run does

# Hundreds of tests start the command: without bytecode on disk each start compiles the whole package. And
# pytest keeps there what it makes of the assertions of all tests: to make that anew takes ten seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Every connection reads it from the files of the installed package, which thousands of connections feel.
redis.utils.get_lib_version = cache(redis.utils.get_lib_version)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option with which `.ci/run` bounds how long the slow tests take."""
    parser.addoption(
        "--variants",
        type=int,
        metavar="N",
        help="Of every test with parameters run N variants at most, spread over all of them.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark as slow what `slow_beyond` says, then leave out what `-m` says, then what `--variants` says."""
    bounded = [item for item in items if item.get_closest_marker("slow") is None]
    for found in _variants(item for item in bounded if item.get_closest_marker("slow_beyond") is not None):
        most = found[0].get_closest_marker("slow_beyond")
        assert most is not None
        for item in set(found).difference(_spread(found, most.args[0])):
            item.add_marker("slow")
    yield
    most_variants = config.getoption("--variants")
    if most_variants is not None:
        kept = {item for found in _variants(items) for item in _spread(found, most_variants)}
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def _variants(items: Iterable[pytest.Item]) -> list[list[pytest.Item]]:
    """The variants of each test, in an order of their own: they come in random order."""
    found: dict[str, list[pytest.Item]] = {}
    for item in sorted(items, key=lambda item: item.nodeid):
        found.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return list(found.values())


def _spread(variants: list[pytest.Item], most: int) -> set[pytest.Item]:
    """Some of them at most, from all over."""
    return {variants[len(variants) * number // most] for number in range(most)}


@pytest.fixture(autouse=True)
def _for_this_server(request: pytest.FixtureRequest) -> None:
    """Skip a test that is about another server, see `servers.py`."""
    needed, lacked = (
        [trait for marker in request.node.iter_markers(name) for trait in marker.args]
        for name in ("needs", "lacks")
    )
    if reason := why_skipped(needed, lacked):
        pytest.skip(reason)


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
