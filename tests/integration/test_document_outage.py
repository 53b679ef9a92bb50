"""An outage while documents are rewritten: exit code 7, and the same command again ends the work."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import redis
from command_proxy import proxy_to
from conftest import Shop
from document_writer import Writer
from documents_written import begin, compare, require_in_index
from doomed_process import StrikingProxy

from redismigrate.redis_server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command_proxy import Loss, Place

pytestmark = pytest.mark.usefixtures("rebuilding")

DOCUMENTS = 1000
BATCHES = ("--batch-size", "50")
EXEC, HMGET = (b"$4\r\nEXEC\r\n",), (b"$5\r\nHMGET\r\n",)


def interrupted_by(shop: Shop, place: Place, strike: Callable[[], object], *options: str) -> str:
    """Begin an upgrade to which something happens when it sends a command; what it says as it stops."""

    def strike_and_go_on() -> None:
        strike()
        proxy.release()

    with StrikingProxy(shop.url, place, strike_and_go_on) as proxy:
        result = shop.run_process("--url", proxy.url, "upgrade", *BATCHES, *options)
        assert proxy.has_struck.is_set()
    assert result.code == 7, result.err
    assert "was interrupted at revision 000000000002: " in result.err
    assert "Run the same command again to resume" in result.err
    assert shop.state("run") is not None
    return result.err


def require_resumed(shop: Shop, writer: Writer, after: str, *options: str) -> None:
    """Check that the same command ends as a run does to which nothing happens."""
    result = shop.run("--url", shop.url, "--json", "upgrade", *BATCHES, *options)
    assert result.code == 0, result.err
    assert result.json["documents"]["failed_count"] == result.json["documents"]["left_in_old_type"] == 0
    found = compare(shop, writer, after)
    assert (found.wrong, found.old, len(found.new)) == ([], {}, DOCUMENTS)
    require_in_index(shop, found.new)
    assert shop.state("run") is None


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(
    ("after", "options"), [("float64", ()), ("float16", ("--exclusive",)), ("float16", ())]
)
def test_a_server_without_memory_in_mid_rewrite(shop: Shop, after: str, options: tuple[str, ...]):
    writer = begin(shop, "float32", after, DOCUMENTS, 8)
    try:
        stopped = interrupted_by(shop, (9, EXEC), lambda: shop.client.config_set("maxmemory", 1), *options)
        again = shop.run_process("upgrade", *BATCHES, *options)
    finally:
        shop.client.config_set("maxmemory", 0)
    assert "uses more memory than its maxmemory and takes no writes" in stopped
    assert again.code in {1, 7}, again
    assert "maxmemory" in again.err
    require_resumed(shop, writer, after, *options)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize(
    ("before", "after", "place", "options"),
    [
        ("float32", "float16", (2, EXEC), ()),
        ("float32", "float16", (20, EXEC), ("--exclusive",)),
        ("float16", "bfloat16", (11, EXEC), ()),
        ("float16", "bfloat16", (130, HMGET), ("--exclusive",)),
    ],
)
def test_connections_that_an_administrator_kills(
    shop: Shop, before: str, after: str, place: Place, options: tuple[str, ...]
):
    writer = begin(shop, before, after, DOCUMENTS, 8)
    stopped = interrupted_by(shop, place, lambda: shop.client.client_kill_filter(_type="normal"), *options)
    assert "Can't reach Redis at redis://127.0.0.1:" in stopped
    require_resumed(shop, writer, after, *options)


@pytest.mark.slow_beyond(2)
@pytest.mark.parametrize(
    ("before", "after", "place", "loss"),
    [
        ("float32", "float16", (15, HMGET), "reply"),
        ("float32", "float16", (4, EXEC), "reply"),
        ("float16", "bfloat16", (17, EXEC), "request"),
        ("float16", "bfloat16", (9, EXEC), "reply"),
        # While it looks for what writers have left in the old form.
        ("float16", "bfloat16", (2500, HMGET), "request"),
    ],
)
def test_a_network_that_fails_in_mid_batch(
    shop: Shop, redis_server: EmbeddedServer, before: str, after: str, place: Place, loss: Loss
):
    writer = begin(shop, before, after, DOCUMENTS, 8)
    with proxy_to(redis_server, place, loss) as proxy:
        result = shop.run_process("--url", proxy.url, "upgrade", *BATCHES)
        assert proxy.has_cut
    assert result.code == 7, result.err
    assert "Can't reach Redis at redis://127.0.0.1:" in result.err
    require_resumed(shop, writer, after)


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Callable[[], EmbeddedServer]]:
    """Starts a server that writes commands to its file before it answers, or that server again."""
    servers: list[EmbeddedServer] = []

    def start() -> EmbeddedServer:
        for server in servers:
            server.stop()
        servers.append(EmbeddedServer(tmp_path / "data", server_arguments=("--appendfsync", "always")))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize(
    ("before", "after", "options", "number"),
    [
        ("float32", "float16", ("--exclusive",), signal.SIGTERM),
        ("float16", "bfloat16", (), signal.SIGKILL),
        pytest.param("float32", "float16", (), signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("float16", "bfloat16", ("--exclusive",), signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_server_that_is_killed_or_stopped_and_started_again(
    shop: Shop,
    durable: Callable[[], EmbeddedServer],
    before: str,
    after: str,
    options: tuple[str, ...],
    number: signal.Signals,
):
    server = durable()
    with redis.Redis.from_url(server.url, protocol=2) as client:
        first = Shop(shop.folder, server.url, client, "rebuild")
        writer = begin(first, before, after, DOCUMENTS, 8)
        with StrikingProxy(server.url, (12, EXEC), lambda: os.kill(server.pid, number), "request") as proxy:
            result = first.run_process("--url", proxy.url, "upgrade", *BATCHES, *options)
            assert proxy.has_struck.is_set()
    assert result.code == 7, result.err
    started_again = durable()
    with redis.Redis.from_url(started_again.url, protocol=2) as client:
        require_resumed(Shop(shop.folder, started_again.url, client, "rebuild"), writer, after, *options)
