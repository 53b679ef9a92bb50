"""Servers that a migration can't run on: what is said, which exit code, and that nothing is written there."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

import pytest
import redis

from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.server_binary import find_server_binary

PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "title", "type": "text"}],
})
"""
VECTORS = """
op.create_index({
    "index": {"name": "vectors", "prefix": "p:"},
    "fields": [{
        "name": "embedding",
        "type": "vector",
        "attrs": {"algorithm": "flat", "dims": 1000, "datatype": "float32"},
    }],
})
"""
# Of all commands that write; `current`, `status` and `plan` may read from whatever answers.
WRITING = [("upgrade",), ("downgrade", "base"), ("stamp", "head"), ("repair",), ("rollback",)]
PASSWORD = "hunter2/is=it"
QUOTED = "hunter2%2Fis%3Dit"


@contextlib.contextmanager
def server_without_modules(folder):
    executable = find_server_binary().executable
    path = folder / "plain.sock"
    process = subprocess.Popen(
        [executable, "--port", "0", "--unixsocket", path, "--dir", folder, "--save", ""],
        stdout=subprocess.DEVNULL,
        env={"LC_ALL": "C"},
    )
    try:
        deadline = time.monotonic() + 90
        with redis.Redis(unix_socket_path=str(path)) as client:
            while not path.exists() or not _answers(client):
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_empty(url):
    with redis.Redis.from_url(url) as client:
        return client.dbsize() == 0


@pytest.fixture(scope="module")
def guarded():
    """A server with a password, and with users that lack one right each."""
    with EmbeddedServer(server_arguments=("--requirepass", PASSWORD)) as server:
        yield server.url


@pytest.fixture(scope="module")
def evicting_server():
    with EmbeddedServer(server_arguments=("--maxmemory-policy", "allkeys-lru")) as server:
        yield server.url


@pytest.fixture
def evicting(evicting_server):
    """A server that may evict the record of migrations, empty."""
    with redis.Redis.from_url(evicting_server) as client:
        client.flushall()
    return evicting_server


@pytest.fixture(scope="module")
def cluster():
    """One node that has all slots; that of Redis Stack 7.4 has no search coordinator."""
    arguments = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with EmbeddedServer(port=0, server_arguments=arguments) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 90
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                assert time.monotonic() < deadline, "the cluster did not form"
                time.sleep(0.05)
        yield server.url


@pytest.mark.parametrize(
    "command", [*WRITING, ("plan",), ("current",), ("status",), ("unlock",)], ids=" ".join
)
def test_a_server_that_does_not_answer_is_named(shop, command):
    shop.write(PRODUCTS)

    url = f"redis://127.0.0.1:{free_port()}/0"
    shop.refuses(
        *command,
        "--url",
        url,
        code=1,
        says=(
            f"Can't reach Redis at {url}: ",
            "Connection refused",
            "Check the URL and that the server runs.",
        ),
    )


def test_a_host_that_does_not_exist_is_named(shop):
    shop.write(PRODUCTS)

    shop.refuses(
        "upgrade",
        "--url",
        "redis://no-such-host.invalid",
        code=1,
        says=("Can't reach Redis at redis://no-such-host.invalid: ",),
    )


@pytest.mark.parametrize(
    "command", [*WRITING, ("plan",), ("current",), ("status",), ("unlock",)], ids=" ".join
)
def test_a_wrong_password_is_refused(shop, guarded, command):
    shop.write(PRODUCTS)

    shop.refuses(
        *command,
        "--url",
        guarded.replace("unix://", "unix://:wrong@"),
        code=1,
        says=("Redis at unix://:***@", "refuses the user name or the password.", "Check the credentials"),
    )


def test_a_missing_password_is_refused(shop, guarded):
    shop.write(PRODUCTS)

    shop.refuses(
        "upgrade",
        "--url",
        guarded,
        code=1,
        says=(f"Redis at {guarded} refuses the user name or the password.",),
    )


@pytest.mark.parametrize("verbose", [(), ("-v",)], ids=["plain", "verbose"])
@pytest.mark.parametrize("source", ["option", "environment", "configuration"])
@pytest.mark.parametrize(
    "url",
    [
        "unix://:SECRET@{path}",
        "unix://somebody:SECRET@{path}",
        "unix://{path}?password=SECRET",
        "redis://:SECRET@127.0.0.1:1/0",
        "redis://:SECRET@127.0.0.1:1/7",
        "redis://:SECRET@127.0.0.1:port/0",
        "http://:SECRET@127.0.0.1",
        "redis://:SEC/RET@127.0.0.1/0",
        "redis://:SEC@RET@127.0.0.1:1/0",
        "redis://:SEC?RET@127.0.0.1:port/0",
        "redis://:SEC#RET@127.0.0.1:port/0",
        "embedded://:SECRET@127.0.0.1",
    ],
)
def test_the_password_appears_in_no_output(shop, guarded, monkeypatch, url, source, verbose):
    shop.write(PRODUCTS)
    url = url.format(path=guarded.removeprefix("unix://"))
    arguments = ()
    if source == "option":
        arguments = ("--url", url)
    elif source == "environment":
        monkeypatch.setenv("REDISMIGRATE_URL", url)
    else:
        configuration = shop.folder / "redismigrate.toml"
        configuration.write_text(f'project = "shop"\nscript_location = "migrations"\nurl = "{url}"\n')

    for command in ("upgrade", "plan", "status"):
        for mode in ((), ("--json",)):
            result = shop.run(*verbose, *mode, command, *arguments)
            assert result.code in {1, 8}
            output = result.out + result.err
            assert "SEC" not in output
            assert "RET" not in output


def test_init_writes_no_password(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(shop, "folder", tmp_path / "another")
    shop.folder.mkdir()

    result = shop.run("init", "migrations", "--url", "redis://:SECRET@127.0.0.1:1/0")

    assert result.code == 0
    assert "SECRET" not in result.out + result.err
    assert "SECRET" not in (shop.folder / "redismigrate.toml").read_text()


@pytest.mark.parametrize(
    ("rights", "refused"),
    [
        (("+@all", "-info", "~*"), "'info'"),
        (("+@all", "-mget", "~*"), "'mget'"),
        (("+@all", "-ft._list", "~*"), "'FT._LIST'"),
        (("+@all", "-eval", "~*"), "eval"),
        (("+@all", "-@scripting", "~*"), "eval"),
        (("+@all", "~p:*"), "No permissions to access a key"),
    ],
    ids=["INFO", "MGET", "FT._LIST", "EVAL", "scripts", "keys"],
)
def test_a_user_who_lacks_a_right_is_told_which(shop, guarded, rights, refused):
    shop.write(PRODUCTS)
    with redis.Redis.from_url(guarded, password=PASSWORD) as admin:
        admin.flushall()
        admin.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "&*", *rights)

        shop.refuses(
            "upgrade",
            "--url",
            guarded.replace("unix://", "unix://limited:pw@"),
            code=1,
            says=("The Redis user lacks a right: ", refused, "Grant it with ACL SETUSER"),
        )

        assert set(admin.keys()) <= {b"{redismigrate:shop}:fence"}


@pytest.mark.parametrize("command", ["ft.create", "ft.dropindex", "ft.info"])
def test_a_right_that_is_missed_in_mid_run_leaves_no_index_behind(shop, guarded, command):
    shop.write(PRODUCTS, "op.drop_index('products')")
    with redis.Redis.from_url(guarded, password=PASSWORD) as admin:
        admin.flushall()
        admin.execute_command(
            "ACL", "SETUSER", "limited", "reset", "on", ">pw", "&*", "~*", "+@all", f"-{command}"
        )
        limited = guarded.replace("unix://", "unix://limited:pw@")

        result = shop.run("upgrade", "--url", limited)

        assert result.code == 1
        assert "lacks the right to run it" in result.err or "The Redis user lacks a right" in result.err
        assert command.upper() in result.err
        assert admin.execute_command("FT._LIST") == []
        assert admin.get("{redismigrate:shop}:run") is None
        assert shop.run("upgrade", "--url", guarded.replace("unix://", f"unix://:{QUOTED}@")).code == 0


@pytest.mark.parametrize("command", ["FT.CREATE", "FT.DROPINDEX", "FT.ALIASUPDATE", "FT.SYNUPDATE"])
def test_a_right_that_a_rebuild_lacks_leaves_index_alias_and_synonyms_as_they_were(shop, command):
    shop.write(
        PRODUCTS + "op.create_alias('shop', 'products')\nop.set_synonyms('products', 'shoes', ['sneaker'])"
    )
    assert shop.run("upgrade").code == 0
    shop.write("with op.index('products') as index:\n    index.set_options(language='german')")
    before = shop.content("shop")["indexes"], shop.content("shop")["aliases"]
    shop.client.execute_command(
        "ACL", "SETUSER", "limited", "reset", "on", ">pw", "&*", "~*", "+@all", f"-{command.lower()}"
    )

    result = shop.run("upgrade", "--url", shop.url.replace("unix://", "unix://limited:pw@"))

    shop.client.execute_command("ACL", "DELUSER", "limited")
    assert result.code == 1
    assert result.err.startswith("Error: Could not apply revision 000000000002: Redis refused FT.")
    assert "the user lacks the right to run" in result.err
    assert "All that it had changed is undone." in result.err
    assert (shop.content("shop")["indexes"], shop.content("shop")["aliases"]) == before


@pytest.mark.parametrize(
    "command", [("upgrade",), ("plan",), ("downgrade", "base"), ("stamp", "head")], ids=" ".join
)
def test_a_server_without_the_search_module_is_refused(shop, tmp_path, command):
    shop.write(PRODUCTS)
    version = shop.client.info("server")["redis_version"]
    with server_without_modules(tmp_path) as url:
        shop.refuses(
            *command,
            "--url",
            url,
            code=1,
            says=(
                f"This Redis {version} has no Search module.",
                "Use Redis 8, Redis Stack, or load redisearch.so.",
            ),
        )
        assert is_empty(url)


@pytest.mark.parametrize("command", [*WRITING, ("unlock",)], ids=" ".join)
def test_a_replica_is_refused(shop, replica, command):
    shop.write(PRODUCTS)

    shop.refuses(
        *command,
        "--url",
        replica,
        code=1,
        says=("This server is a replica; a migration there would diverge", "Give the URL of the master."),
    )
    assert is_empty(replica)


def test_a_replica_can_be_asked_what_is_applied(shop, replica):
    shop.write(PRODUCTS)

    assert shop.run("current", "--url", replica).code == 0
    assert shop.run("status", "--url", replica).code == 0
    assert shop.run("plan", "--url", replica).code == 0


@pytest.fixture(scope="module")
def replica(redis_server):
    with EmbeddedServer(server_arguments=("--replicaof", "127.0.0.1", "1")) as server:
        yield server.url


@pytest.mark.lacks("search coordinator")
@pytest.mark.parametrize("command", [*WRITING, ("plan",)], ids=" ".join)
def test_a_cluster_without_search_coordinator_is_refused(shop, cluster, command):
    shop.write(PRODUCTS)

    shop.refuses(
        *command,
        "--url",
        cluster,
        code=1,
        says=(
            "This cluster has no search coordinator: an index would see the documents of one shard only.",
            "Use Redis 8 or Redis Enterprise for a cluster, or a single server.",
        ),
    )
    assert is_empty(cluster)


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_server_that_may_evict_the_record_is_refused(shop, evicting, command):
    shop.write(PRODUCTS)

    shop.refuses(
        *command,
        "--url",
        evicting,
        code=1,
        says=(
            "This server may evict the record of migrations (maxmemory-policy allkeys-lru).",
            "Use a noeviction or volatile-* policy, or say --allow-evictable-state.",
        ),
    )
    assert is_empty(evicting)


def test_a_server_that_may_evict_the_record_is_used_when_told_so(shop, evicting, monkeypatch):
    shop.write(PRODUCTS, "op.drop_index('products')")

    assert shop.run("upgrade", "--url", evicting, "--allow-evictable-state").code == 0
    assert shop.run("downgrade", "base", "--url", evicting, "--allow-evictable-state").code == 0
    monkeypatch.setenv("REDISMIGRATE_ALLOW_EVICTABLE_STATE", "true")
    assert shop.run("upgrade", "--url", evicting).code == 0


def test_an_index_for_which_memory_is_short_is_refused_with_numbers(shop):
    shop.write(VECTORS)
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        for number in range(1000):
            client.hset(f"p:{number}", "embedding", bytes(4000))
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used + 2_000_000)

        shop.refuses(
            "upgrade",
            "--url",
            server.url,
            code=6,
            says=(
                "The plan is blocked: ",
                "index vectors needs about 4.4 MB more, but ",
                " MB maxmemory are used",
            ),
        )
        assert client.execute_command("FT._LIST") == []
        client.config_set("maxmemory", used + 20_000_000)
        assert shop.run("upgrade", "--url", server.url).code == 0


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/1", "unix:///tmp/redis.sock?db=3", "redis://127.0.0.1?db=2"]
)
def test_another_database_than_0_is_refused(shop, url):
    shop.write(PRODUCTS)

    shop.refuses(
        "upgrade",
        "--url",
        url,
        code=8,
        says=("The URL selects database ", "but Redis Search indexes live in database 0.", "ends in /0"),
    )
