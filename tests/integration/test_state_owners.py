"""Which project an index belongs to: claims and releases, one at a time and at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from redismigrate.errors import FenceLost, PlanBlocked, StateError
from redismigrate.redis_server.connection import Server, connect
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.owners import OwnersWriter, read_owners

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = StateKeys("shop")


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        server.client.set(KEYS.fence, 1)
        yield server


@pytest.fixture(params=["single", "cluster"])
def any_server(server: Server, request: pytest.FixtureRequest) -> Server:
    """A single server, and one that is taken for a cluster, where the fence is in another slot."""
    if request.param == "cluster":
        server.capabilities = replace(server.capabilities, is_cluster=True)
    return server


def test_an_index_belongs_to_who_claims_it_first(any_server: Server):
    OwnersWriter(any_server, KEYS, "1").claim("products")
    other = StateKeys("books")
    any_server.client.set(other.fence, 1)
    with pytest.raises(PlanBlocked) as caught:
        OwnersWriter(any_server, other, "1").claim("products")
    assert caught.value.message == "Index products belongs to project shop."
    assert read_owners(any_server) == {"products": "shop"}


def test_claims_and_releases_bear_a_repeat(any_server: Server):
    owners = OwnersWriter(any_server, KEYS, "1")
    for _ in range(2):
        owners.claim("products")
    assert read_owners(any_server) == {"products": "shop"}
    for _ in range(2):
        owners.release("products")
    assert read_owners(any_server) == {}


def test_no_claim_is_lost_when_projects_claim_at_once(redis_url: str):
    def claim(number: int) -> None:
        keys = StateKeys(f"project{number}")
        with connect(redis_url) as server:
            server.client.set(keys.fence, 1)
            for at in range(20):
                OwnersWriter(server, keys, "1").claim(f"index {number}.{at}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(claim, range(4)))
    with connect(redis_url) as server:
        assert read_owners(server) == {
            f"index {number}.{at}": f"project{number}" for number in range(4) for at in range(20)
        }


def test_an_index_of_another_project_is_not_released(any_server: Server):
    any_server.client.set(OWNERS_KEY, '{"products": "books"}')
    OwnersWriter(any_server, KEYS, "1").release("products")
    assert read_owners(any_server) == {"products": "books"}


def test_who_lost_the_lock_claims_nothing(server: Server):
    server.client.incr(KEYS.fence)
    with pytest.raises(FenceLost):
        OwnersWriter(server, KEYS, "1").claim("products")
    assert read_owners(server) == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"products": 1}', "\udcff"])
def test_damaged_owners_are_told(server: Server, text: str):
    server.client.set(OWNERS_KEY, text.encode("utf-8", "surrogateescape"))
    if not text:
        assert read_owners(server) == {}
        return
    with pytest.raises(StateError) as caught:
        read_owners(server)
    assert caught.value.message.startswith("The key {redismigrate}:owners is damaged")
