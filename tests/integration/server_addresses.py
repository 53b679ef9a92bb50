"""Servers reached as in production, over TLS, through sentinels and as a user, and a project on them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import redis
from conftest import Shop
from servers import server_has

from redismigrate.redis_server.connection import connect
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.server_binary import find_server_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD, SENTINEL_PASSWORD = "migrator", "master/s3cret:@x", "sentinel?s3cret&y"
CREDENTIALS = f"{USER}:{quote(PASSWORD, safe='')}@"
SENTINEL_QUERY = f"sentinel_password={quote(SENTINEL_PASSWORD, safe='')}"
SERVICE = "shop-master"


@dataclass(frozen=True)
class Certificates:
    """Files of an authority, a server and a client that it has signed, and of a stranger's authority."""

    folder: Path

    def file(self, name: str) -> str:
        """The path of a file."""
        return str(self.folder / name)

    @property
    def query(self) -> str:
        """What a URL says to use them."""
        files = {
            "ssl_ca_certs": "authority.crt",
            "ssl_certfile": "client.crt",
            "ssl_keyfile": "client.key",
        }
        return "&".join(f"{option}={self.file(name)}" for option, name in files.items())

    @property
    def of_server(self) -> dict[str, str]:
        """The options of redis-server that are about them."""
        return {
            "tls-ca-cert-file": self.file("authority.crt"),
            "tls-cert-file": self.file("server.crt"),
            "tls-key-file": self.file("server.key"),
            "tls-auth-clients": "yes",
        }


def make_certificates(folder: Path) -> Certificates:
    """Certificates for localhost, valid for a day."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl to make certificates with")

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("authority", "stranger"):
        names = ("-subj", f"/CN={authority}", "-keyout", f"{authority}.key", "-out", f"{authority}.crt")
        openssl("req", "-x509", *key, "-days", "1", *names)
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        names = ("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.request")
        openssl("req", *key, *names)
        signer = ("-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial", "-days", "1")
        openssl("x509", "-req", "-in", f"{name}.request", *signer, "-extfile", "names", "-out", f"{name}.crt")
    return Certificates(folder)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listen_with_tls(server_port: int, certificates: Certificates) -> int:
    """Let a guarded server listen on a further port, over TLS; the port."""
    port = free_port()
    with redis.Redis.from_url(url_of(server_port)) as client:
        if not server_has("settings of tls"):
            pytest.skip("this redis-server ends where TLS is set")
        options = {**certificates.of_server, "tls-port": port}
        try:
            client.execute_command("CONFIG", "SET", *(word for pair in options.items() for word in pair))
        except redis.ResponseError as error:
            pytest.skip(f"this redis-server speaks no TLS: {error}")
    return port


@contextlib.contextmanager
def guarded_server() -> Iterator[int]:
    """A server that answers nobody but its user; the TCP port it listens on."""
    with EmbeddedServer(port=0) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
            client.execute_command("ACL", "SETUSER", "default", "off")
        yield int(server.url.rpartition(":")[2])


def url_of(port: int) -> str:
    """The URL of a guarded server."""
    return f"redis://{CREDENTIALS}127.0.0.1:{port}"


@contextlib.contextmanager
def sentinel(folder: Path, master_port: int, **options: str) -> Iterator[int]:
    """A sentinel that watches a master on this machine; the port it listens on.

    Args:
        folder: An empty one; it keeps what it knows there.
        master_port: Of the master.
        options: Further ones of its configuration, with underscores.
    """
    port = free_port()
    options = {"port": str(port), **options}
    lines = [f"{name.replace('_', '-')} {value}" for name, value in options.items()]
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        "\n".join(
            [
                *lines,
                "bind 127.0.0.1",
                f"dir {folder}",
                "sentinel resolve-hostnames yes",
                "sentinel announce-hostnames yes",
                f'requirepass "{SENTINEL_PASSWORD}"',
                f"sentinel monitor {SERVICE} localhost {master_port} 1",
                f"sentinel down-after-milliseconds {SERVICE} 2000",
                f"sentinel auth-user {SERVICE} {USER}",
                f'sentinel auth-pass {SERVICE} "{PASSWORD}"',
                "",
            ]
        )
    )
    process = subprocess.Popen(
        [find_server_binary().executable, configuration, "--sentinel"],
        stdout=subprocess.DEVNULL,
        env={"LC_ALL": "C"},
    )
    try:
        listening = int(options.get("tls_port", port))
        deadline = time.monotonic() + 90
        while not _listens(listening):
            assert time.monotonic() < deadline, "the sentinel did not start"
            time.sleep(0.02)
        yield listening
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def shop_at(folder: Path, url: str, *lines: str) -> Iterator[Shop]:
    """A project on an emptied server, which reaches it as its configuration says.

    Args:
        folder: Where the project is made.
        url: The setting `url`.
        lines: Of the configuration besides.
    """
    (folder / "migrations" / "versions").mkdir(parents=True)
    template = Path(__file__).parents[2] / "migrations_template" / "generic" / "script.py.j2"
    shutil.copy(template, folder / "migrations")
    settings = ['project = "shop"', 'script_location = "migrations"', f'url = "{url}"', *lines]
    (folder / "redismigrate.toml").write_text("\n".join([*settings, ""]))
    with connect(url) as server:
        server.client.flushall()
        yield Shop(folder, url, server.client)
