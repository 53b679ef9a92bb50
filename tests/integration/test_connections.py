"""The ways to a Redis, for all that a migration does: TLS, Unix sockets, sentinels, a client of one's own."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
import redis
from server_addresses import (
    CREDENTIALS,
    PASSWORD,
    SENTINEL_PASSWORD,
    SENTINEL_QUERY,
    SERVICE,
    USER,
    Certificates,
    free_port,
    guarded_server,
    listen_with_tls,
    make_certificates,
    sentinel,
    shop_at,
    url_of,
)
from vector_documents import TO_FLOAT16, TO_FLOAT32, documents, stock, vector

from redismigrate.errors import ConfigurationError
from redismigrate.redis_server.connection import CONNECT_TIMEOUT_SECONDS, connect, connect_like
from redismigrate.shown_url import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Shop

PRODUCTS = 400
FEW = 100
INDEX = """
op.create_index({"index": {"name": "i", "prefix": "i:"}, "fields": [{"name": "name", "type": "tag"}]})
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def master() -> Iterator[int]:
    with guarded_server() as port:
        yield port


@pytest.fixture(scope="module")
def tls_port(master: int, certificates: Certificates) -> int:
    return listen_with_tls(master, certificates)


@pytest.fixture(scope="module")
def sentinel_port(master: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with sentinel(tmp_path_factory.mktemp("sentinel"), master) as port:
        yield port


@pytest.fixture(scope="module")
def tls_sentinel_port(
    tls_port: int, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    options = {name.replace("-", "_"): value for name, value in certificates.of_server.items()}
    folder = tmp_path_factory.mktemp("tls_sentinel")
    with sentinel(
        folder, tls_port, port="0", tls_port=str(free_port()), tls_replication="yes", **options
    ) as port:
        yield port


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A URL of a kind, the parameter."""
    value = request.getfixturevalue
    if request.param == "unix":
        return str(value("redis_url"))
    if request.param == "tls":
        return f"rediss://{CREDENTIALS}localhost:{value('tls_port')}/0?{value('certificates').query}"
    if request.param == "sentinel":
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{value('sentinel_port')}"
        return f"sentinel://{CREDENTIALS}{hosts}/{SERVICE}/0?{SENTINEL_QUERY}"
    query = f"ssl=true&{SENTINEL_QUERY}&{value('certificates').query}"
    return f"sentinel://{CREDENTIALS}localhost:{value('tls_sentinel_port')}/{SERVICE}?{query}"


@pytest.fixture
def shop_there(url: str, tmp_path: Path) -> Iterator[Shop]:
    with shop_at(tmp_path, url) as shop:
        yield shop


@pytest.mark.slow_beyond(4)
@pytest.mark.parametrize("url", ["unix", "tls", "sentinel", "tls_sentinel"], indirect=True)
@pytest.mark.parametrize("strategy", ["shadow_field", "rebuild"])
def test_vectors_are_rewritten_and_come_back_over_every_way_to_the_server(shop_there: Shop, strategy: str):
    stock(shop_there, PRODUCTS)
    before = documents(shop_there)
    shop_there.write(TO_FLOAT16, TO_FLOAT32)

    up = shop_there.run("upgrade", "--strategy", strategy, "--max-latency", "10000", "--batch-size", "50")
    assert up.code == 0, up.err
    shop_there.wait_until_indexed()
    assert {key: each[b"embedding"] for key, each in documents(shop_there).items()} == {
        b"p:%d" % number: vector(number, "float16") for number in range(PRODUCTS)
    }
    assert shop_there.hits("products") == PRODUCTS

    down = shop_there.run("downgrade", "-1", "--strategy", strategy)
    assert down.code == 0, down.err
    assert documents(shop_there) == before


# --- TLS ----------------------------------------------------------------------------------------------------


def test_the_settings_for_tls_are_those_that_the_url_does_not_say(
    tls_port: int, certificates: Certificates, tmp_path: Path
):
    url = f"rediss://{CREDENTIALS}127.0.0.1:{tls_port}/0"
    files = [
        f'ssl_ca_certs = "{certificates.file("authority.crt")}"',
        f'ssl_certfile = "{certificates.file("client.crt")}"',
        f'ssl_keyfile = "{certificates.file("client.key")}"',
    ]
    with shop_at(tmp_path, f"{url}?{certificates.query}&ssl_check_hostname=false", *files) as shop:
        assert shop.run("current").code == 0
        # The certificate is one of localhost.
        refused = shop.run("current", "--url", url).err
        assert "IP address mismatch" in refused
        assert refused.endswith("Use a name of the certificate in the URL, or ssl_check_hostname=false.\n")
        assert shop.run("current", "--url", url.replace("127.0.0.1", "localhost")).code == 0
        assert shop.run("current", "--url", f"{url}?ssl_check_hostname=no").code == 0
        assert shop.run("current", "--url", f"{url}?ssl_cert_reqs=none").code == 0
        other = f"{url}?ssl_check_hostname=no&ssl_ca_certs={certificates.file('stranger.crt')}"
        assert "certificate verify failed" in shop.run("current", "--url", other).err


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ssl_ca_certs": "stranger.crt"}, "certificate verify failed"),
        ({"ssl_ca_certs": "authority.crt"}, "Can't reach Redis at rediss://"),
        ({"ssl_ca_certs": "names"}, "no certificate or crl found"),
    ],
    ids=["stranger", "no client certificate", "no certificate at all"],
)
def test_a_certificate_that_does_not_fit_is_told_with_what_to_check(
    shop: Shop, tls_port: int, certificates: Certificates, files: dict[str, str], says: str
):
    query = "&".join(f"{option}={certificates.file(name)}" for option, name in files.items())
    result = shop.run("current", "--url", f"rediss://{CREDENTIALS}localhost:{tls_port}/0?{query}")
    assert result.code == 1
    assert says in result.err
    assert result.err.endswith(
        "Check ssl_ca_certs, ssl_certfile and ssl_keyfile, in the settings or the URL.\n"
    )


def test_a_url_without_tls_to_a_port_with_tls_is_told_what_to_write(shop: Shop, tls_port: int):
    result = shop.run("current", "--url", f"redis://localhost:{tls_port}/0")
    assert result.code == 1
    assert result.err.endswith("where its port is one for TLS, it is rediss://.\n")


@pytest.mark.parametrize("scheme", ["rediss", "sentinel"])
def test_a_tls_handshake_that_nobody_answers_keeps_the_limit_for_connecting(shop: Shop, scheme: str):
    # A Redis without TLS waits for the end of a line.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = {
            "rediss": f"rediss://127.0.0.1:{port}/0?socket_connect_timeout=0.5",
            "sentinel": f"sentinel://127.0.0.1:{port}/shop?ssl=true&socket_connect_timeout=0.5",
        }[scheme]
        started = time.monotonic()
        result = shop.run("current", "--url", url)
    assert time.monotonic() - started < 60  # without the limit it would be for ever
    assert (result.code, "Can't reach Redis at" in result.err) == (1, True), result.err


def test_a_client_of_env_py_without_a_limit_for_connecting_gets_ours():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = redis.Redis(port=silent.getsockname()[1], ssl=True, socket_connect_timeout=None)
        with connect_like(client) as server:
            limits = server.client.connection_pool.connection_kwargs
            assert limits["socket_connect_timeout"] == CONNECT_TIMEOUT_SECONDS


def test_a_url_with_tls_to_a_port_that_does_not_speak_it_is_told_what_to_write(shop: Shop):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        result = shop.run("current", "--url", f"rediss://127.0.0.1:{port}?socket_connect_timeout=0.5")
    assert result.code == 1
    assert result.err.endswith("with TLS on that port; without TLS it is redis://.\n")


def test_a_certificate_that_is_not_there_is_named(shop: Shop):
    result = shop.run("current", "--url", "rediss://localhost/0?ssl_certfile=/nowhere.crt")
    assert (result.code, result.err) == (
        8,
        "Error: The file /nowhere.crt of ssl_certfile does not exist.\nCorrect the path.\n",
    )


# --- sentinels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "service", "query", "says"),
    [
        ("{sentinel}", "other", SENTINEL_QUERY, "{sentinel} knows no other."),
        ("{sentinel}", SERVICE, "", "{sentinel} refuses the user name or the password of sentinels."),
        ("{nobody},[::1]:1", SERVICE, "", "{nobody} can't be reached; ::1:1 can't be reached."),
    ],
)
def test_why_no_sentinel_knows_the_master_is_said_sentinel_by_sentinel(
    shop: Shop, sentinel_port: int, hosts: str, service: str, query: str, says: str
):
    ports = {"sentinel": f"127.0.0.1:{sentinel_port}", "nobody": f"127.0.0.1:{free_port()}"}
    result = shop.run(
        "current", "--url", f"sentinel://{CREDENTIALS}{hosts.format(**ports)}/{service}?{query}"
    )
    assert result.code == 1
    assert f"no sentinel knows its master: {says.format(**ports)}" in result.err


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "localhost/",
        "localhost/shop/0/1",
        "localhost:x/shop",
        "localhost,/shop",
        "localhost/shop?ssl=maybe",
        "localhost/shop?sentinel_pass=x",
        "localhost/shop?unknown=x",
    ],
)
def test_an_address_of_sentinels_that_makes_no_sense_is_refused(address: str):
    with pytest.raises(ConfigurationError) as caught:
        connect(f"sentinel://user:secret@{address}")
    shown = shown_url(f"sentinel://user:secret@{address}")
    assert caught.value.message == f"The URL {shown} can't be understood."
    assert "sentinel://user:password@host:port,host:port/service/0" in caught.value.hint


def test_only_database_0_of_a_service_will_do(sentinel_port: int):
    with pytest.raises(ConfigurationError, match="selects database 3"):
        connect(f"sentinel://localhost:{sentinel_port}/{SERVICE}/3")


@pytest.mark.slow
def test_a_run_that_a_failover_ends_is_resumed_on_the_new_master(tmp_path: Path):
    with guarded_server() as first, guarded_server() as second:
        (tmp_path / "sentinel").mkdir()
        with redis.Redis.from_url(url_of(second)) as client:
            client.config_set("masteruser", USER)
            client.config_set("masterauth", PASSWORD)
            client.replicaof("127.0.0.1", first)
        with redis.Redis.from_url(url_of(first)) as client:
            client.config_set("masteruser", USER)
            client.config_set("masterauth", PASSWORD)
            client.config_set("repl-diskless-sync-delay", 0)
        with (
            sentinel(tmp_path / "sentinel", first) as port,
            redis.Redis(port=port, password=SENTINEL_PASSWORD, protocol=2) as watching,
        ):
            url = f"sentinel://{CREDENTIALS}127.0.0.1:{port}/{SERVICE}?{SENTINEL_QUERY}"
            with shop_at(tmp_path / "shop", url) as shop:
                stock(shop, FEW)
                wait_for(lambda: watching.sentinel_masters()[SERVICE]["num-slaves"] == 1)
                wait_for(lambda: is_in_step(url_of(second)))
                shop.write(TO_FLOAT16, TO_FLOAT32)
                slowly = ("--batch-size", "10", "--max-docs-per-second", "60")
                with shop.process("upgrade", *slowly) as process:
                    wait_for(lambda: len(shop.client.hkeys(b"p:7")) > 2)
                    watching.execute_command("SENTINEL", "FAILOVER", SERVICE)
                    _, err = process.communicate(timeout=120)
                assert process.returncode == 7, err
                wait_for(lambda: watching.sentinel_masters()[SERVICE]["port"] == second)
                wait_for(lambda: role_of(url_of(second)) == b"master")

                result = shop.run("upgrade")

                assert result.code == 0, result.err
        with redis.Redis.from_url(url_of(second)) as client:
            assert {key: client.hget(key, "embedding") for key in client.scan_iter("p:*")} == {
                b"p:%d" % number: vector(number, "float16") for number in range(FEW)
            }


def role_of(url: str) -> bytes:
    with redis.Redis.from_url(url, protocol=2) as client:
        role: bytes = client.execute_command("ROLE")[0]
        return role


def is_in_step(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return client.info("replication").get("master_link_status") == "up" and client.dbsize() > FEW


def wait_for(condition: Callable[[], bool], timeout_seconds: float = 40) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


# --- a client of one's own ----------------------------------------------------------------------------------


def test_a_client_of_env_py_is_connected_like(shop: Shop, master: int):
    shop.folder.joinpath("migrations", "env.py").write_text(
        f"""
import redis

def client(settings, x):
    assert settings.project == "shop"
    client = redis.Redis(
        port={master},
        username={USER!r},
        password=x["password"],
        decode_responses=True,
        protocol=3,
    )
    client.ping()
    return client
"""
    )
    with redis.Redis.from_url(url_of(master)) as client:
        client.flushall()
        theirs = type(shop)(shop.folder, url_of(master), client)
        shop.write(INDEX)
        shop.write("op.run(lambda client: client.hset('x', 'name', client.echo(b'bytes')))")
        shop.write("with op.index('i') as index:\n    index.add_field({'name': 'other', 'type': 'tag'})")
        result = theirs.run("upgrade", "-x", f"password={PASSWORD}")
        assert result.code == 0, result.err
        assert client.hget("x", "name") == b"bytes"
        assert client.get("{redismigrate:shop}:head") is not None
    assert shop.state("head") is None


def test_a_client_of_env_py_may_ask_sentinels(shop: Shop, sentinel_port: int, master: int):
    shop.folder.joinpath("migrations", "env.py").write_text(
        f"""
from redis.sentinel import Sentinel

def client(settings, x):
    of_sentinels = {{"password": {SENTINEL_PASSWORD!r}}}
    sentinels = Sentinel([("127.0.0.1", {sentinel_port})], sentinel_kwargs=of_sentinels)
    return sentinels.master_for({SERVICE!r}, username={USER!r}, password={PASSWORD!r})
"""
    )
    with redis.Redis.from_url(url_of(master)) as client:
        client.flushall()
        shop.write(INDEX)
        result = shop.run("upgrade")
        assert result.code == 0, result.err
        assert client.get("{redismigrate:shop}:head") is not None


def test_options_of_a_client_are_taken_over_but_for_those_that_a_migration_needs_otherwise():
    theirs = redis.Redis(host="h", port=1, username="u", password="p", decode_responses=True, protocol=3)
    with theirs, connect_like(theirs) as server:
        options = server.client.connection_pool.connection_kwargs
        assert server.url == "redis://h:1/0"
        assert {name: options[name] for name in ("host", "port", "username", "password")} == {
            "host": "h", "port": 1, "username": "u", "password": "p",
        }  # fmt: skip
        assert (options["decode_responses"], options["protocol"]) == (False, 2)
        assert options["retry"]._retries == 0
        assert theirs.connection_pool.connection_kwargs["decode_responses"] is True


def test_what_is_shown_of_a_client_is_where_it_leads_to():
    with redis.Redis(unix_socket_path="/run/x.sock", password="p") as client, connect_like(client) as server:
        assert server.url == "unix:///run/x.sock"
    with redis.Redis(host="h", ssl=True, password="p") as client, connect_like(client) as server:
        assert server.url == "rediss://h:6379/0"


def test_what_is_no_client_of_a_single_server_is_refused():
    with pytest.raises(ConfigurationError, match=r"^A client is a builtins.NoneType, not a redis.Redis."):
        connect_like(None)
    with pytest.raises(
        ConfigurationError, match=r"^mine is a redis.asyncio.client.Redis, not a redis.Redis."
    ):
        connect_like(redis.asyncio.Redis(), "mine")
