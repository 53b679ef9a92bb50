"""Valkey is refused by the name of what its search lacks, before anything is written.

It is played by a server that answers as Valkey 8.1 with valkey-search 1.2 says of itself; a real one takes
part where the variable REDISMIGRATE_VALKEY has its URL.
"""

from __future__ import annotations

import os
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

REAL = os.environ.get("REDISMIGRATE_VALKEY")
INFO = """# Server\r
redis_version:7.2.4\r
server_name:valkey\r
valkey_version:8.1.4\r
# Memory\r
used_memory:1048576\r
maxmemory:0\r
maxmemory_policy:noeviction\r
# Replication\r
role:master\r
# Cluster\r
cluster_enabled:0\r
# Modules\r
module:name=search,ver=10200,api=1,filters=0,usedby=[],using=[],options=[]\r
module:name=json,ver=10002,api=1,filters=0,usedby=[],using=[],options=[handle-io-errors]\r
"""
ANSWERS = {
    "CLIENT": b"+OK\r\n",
    "CONFIG": b"*0\r\n",
    "EVAL": b":1\r\n",
    "FT._LIST": b"*0\r\n",
    "GET": b"$-1\r\n",
    "TYPE": b"+none\r\n",
}
KNOWN = {"FT.CREATE", "FT.DROPINDEX", "FT.INFO", "FT.SEARCH", "FT.AGGREGATE", "JSON.GET"}
SENTENCE = (
    "Error: This server is Valkey {}, whose search lacks FT.ALTER and FT.ALIASUPDATE, without which no index "
    "can be changed."
)


class Valkey(socketserver.StreamRequestHandler):
    """Answers what is asked of a server before the first write, and fails the test at anything else."""

    def handle(self) -> None:
        """Read commands as Redis's protocol frames them: *2 $3 GET $1 k."""
        while header := self.rfile.readline():
            words = []
            for _ in range(int(header[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:size].decode().upper())
            self.wfile.write(self._answer(words))

    def _answer(self, words: list[str]) -> bytes:
        name = words[0]
        if name == "INFO":
            return b"$%d\r\n%s\r\n" % (len(INFO), INFO.encode())
        if name == "MGET":
            return b"*%d\r\n" % len(words[1:]) + b"$-1\r\n" * len(words[1:])
        if name in ANSWERS:
            return ANSWERS[name]
        if name in KNOWN:
            return b"-ERR wrong number of arguments for '%s' command\r\n" % name.encode()
        if name in {"SET", "DEL", "HSET", "MULTI"}:
            self.server.written.append(words)  # type: ignore[attr-defined]
        return b"-ERR unknown command '%s', with args beginning with: \r\n" % name.encode()


@pytest.fixture
def valkey() -> Iterator[str]:
    """The URL of the server that answers as Valkey."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Valkey) as server:
        server.daemon_threads = True
        server.written = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
        assert server.written == []  # type: ignore[attr-defined]


def write_revision(shop: Shop) -> None:
    field = {"name": "title", "type": "text"}
    schema = {"index": {"name": "products", "prefix": "p:"}, "fields": [field]}
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")


@pytest.mark.parametrize("command", ["plan", "upgrade", "check", "stamp head"])
def test_valkey_is_refused_by_what_it_lacks(shop: Shop, valkey: str, command: str):
    write_revision(shop)

    result = shop.run(*command.split(), "--url", valkey)

    assert result.code == 1
    assert result.err.splitlines() == [SENTENCE.format("8.1.4"), "Use Redis 8, or Redis Stack."]


def test_a_real_one_is_refused_too(shop: Shop):
    if REAL is None:
        pytest.skip("REDISMIGRATE_VALKEY names no Valkey")
    write_revision(shop)

    result = shop.run("upgrade", "--url", REAL)

    assert result.code == 1
    assert result.err.startswith("Error: This server is Valkey ")
    assert "whose search lacks FT.ALTER and FT.ALIASUPDATE" in result.err
