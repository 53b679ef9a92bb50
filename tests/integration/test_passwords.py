"""No password is shown or stored: in results, errors and tracebacks, Redis, backups, plans and scripts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Result, Shop
from server_addresses import (
    CREDENTIALS,
    SENTINEL_QUERY,
    SERVICE,
    USER,
    free_port,
    guarded_server,
    sentinel,
    shop_at,
    url_of,
)
from vector_documents import TO_FLOAT16, TO_FLOAT32, add_products, creation

from redismigrate.commands import Project

# Of every password here, percent-encoded or not; what follows the first character that breaks a URL, too.
SECRET = "s3cret"
READING = (
    ("current",), ("status",), ("history", "-i"), ("heads",), ("check",), ("show", "head"), ("plan",),
    ("plan", "-o", "plan.yaml"), ("backup", "list"), ("backup", "verify"),
)  # fmt: skip
CHANGING = (
    ("revision", "-m", "a message"), ("stamp", "heads"), ("repair",), ("unlock",), ("rollback",),
    ("upgrade", "--dry-run"), ("downgrade", "base"),
)  # fmt: skip


@pytest.fixture(scope="module")
def master() -> Iterator[int]:
    with guarded_server() as port:
        yield port


@pytest.fixture(scope="module")
def sentinel_port(master: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with sentinel(tmp_path_factory.mktemp("sentinel"), master) as port:
        yield port


@pytest.fixture(params=["user information", "query", "sentinel"])
def guarded(request: pytest.FixtureRequest, master: int, tmp_path: Path) -> Iterator[Shop]:
    """A shop with products, on a server whose URL has passwords."""
    password = CREDENTIALS.partition(":")[2].removesuffix("@")
    url = {
        "user information": lambda: url_of(master),
        "query": lambda: f"redis://127.0.0.1:{master}/0?username={USER}&p%61ssword={password}",
        "sentinel": lambda: (
            f"sentinel://{CREDENTIALS}127.0.0.1:{request.getfixturevalue('sentinel_port')}/{SERVICE}?{SENTINEL_QUERY}"
        ),
    }[request.param]()
    with shop_at(tmp_path / "shop", url) as shop:
        add_products(shop, 50)
        shop.write(creation(), "op.drop_index('products')")
        shop.write(TO_FLOAT16, TO_FLOAT32)
        yield shop


def tells_nothing(result: Result) -> None:
    assert SECRET not in result.out + result.err


def stores_nothing(shop: Shop) -> None:
    """Check all that is in Redis and in the folder, but for the configuration."""
    for key in shop.client.scan_iter(count=1000):
        kind = shop.client.type(key)
        if kind == b"string":
            stored = shop.client.get(key)
        elif kind == b"stream":
            stored = shop.client.xrange(key)
        else:
            stored = shop.client.hgetall(key)
        assert SECRET not in f"{key!r} {stored!r}"
    for file in shop.folder.rglob("*"):
        if file.is_file() and file.name != "redismigrate.toml":
            assert SECRET.encode() not in file.read_bytes(), file


@pytest.mark.slow_beyond(1)
def test_no_command_shows_or_stores_a_password(guarded: Shop):
    for command in (*READING, ("upgrade",), *READING, *CHANGING, *READING):
        for options in (("-v",), ("-v", "--json")):
            tells_nothing(guarded.run(*command, *options))
            stores_nothing(guarded)
    assert guarded.client.exists("{redismigrate:shop}:journal")
    assert list(guarded.folder.rglob("manifest.json"))


def test_no_failure_shows_or_stores_a_password(guarded: Shop):
    guarded.write("op.run(print, print)\nraise ValueError('the script fails')")
    for command in (("upgrade", "-v"), ("plan", "-v", "--json"), ("show", "head", "-v")):
        result = guarded.run(*command)
        tells_nothing(result)
    guarded.script("000000000003").unlink()
    guarded.write(
        "op.run(fail)",
        preamble="def fail(client):\n    raise ValueError(client)",
        down_revision="000000000002",
    )
    result = guarded.run("upgrade", "-v")
    assert result.code == 1
    tells_nothing(result)
    stores_nothing(guarded)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:{0}@127.0.0.1:{nobody}/0",
        "redis://user:{0}@127.0.0.1:{there}/0",
        "redis://127.0.0.1:{there}/0?username=migrator&password={0}",
        "redis://user:x/{0}@127.0.0.1:{there}/0",
        "redis://user:x@{0}@127.0.0.1:{there}/0",
        "redis://user:x#{0}@127.0.0.1:{there}/0",
        "redis://user:{0}@127.0.0.1:{there}/7",
        "redis://user:{0}@127.0.0.1:{there}/0?unknown=1",
        "redis://127.0.0.1:{there}/0?Password={0}",
        "redis://127.0.0.1:{there}/0?PASSWORD={0}&db=0",
        "redis://127.0.0.1:{there}/0?auth={0}",
        "redis://127.0.0.1:{there}/0?password=x&{0}=1",
        "redis://127.0.0.1:{there}/0?{0}",
        "redis://user:x?{0}@127.0.0.1:{there}/0",
        "redis://user:{0}",
        "user:{0}@127.0.0.1:{there}",
        "rediss://user:{0}@127.0.0.1:{there}/0?socket_timeout=0.2&socket_connect_timeout=0.2",
        "rediss://127.0.0.1:{there}/0?ssl_keyfile=/nowhere&ssl_password={0}",
        "unix://user:{0}@/nowhere.sock",
        "sentinel://user:{0}@127.0.0.1:{nobody}/shop?sentinel_password={0}",
        "sentinel://user:x/{0}@127.0.0.1:{nobody}/shop",
        "sentinel://user:{0}@127.0.0.1:{there}/shop",
        "embedded://user:{0}@host/folder",
        "ftp://user:{0}@host",
        "{0}",
    ],
)
def test_a_url_that_does_not_work_is_told_without_its_password(shop: Shop, master: int, url: str):
    url = url.format(SECRET, nobody=free_port(), there=master)
    # Every command connects and fails in one place: in words and as JSON once each is enough.
    for command in (
        ("current", "-v"),
        ("upgrade", "-v", "--json"),
        ("backup", "prune", "--run", "x", "-v"),
        ("rollback", "--run", "x", "-v", "--json"),
    ):
        result = shop.run(*command, "--url", url)
        assert result.code in {1, 8}, result.out + result.err
        tells_nothing(result)
    shop.folder.joinpath("redismigrate.toml").write_text(f'script_location = "migrations"\nurl = "{url}"\n')
    tells_nothing(shop.run("current", "-v"))


def test_a_password_in_the_environment_is_not_told_either(
    shop: Shop, master: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REDISMIGRATE_URL", f"redis://user:{SECRET}@127.0.0.1:{master}/0")
    tells_nothing(shop.run("current", "-v"))
    monkeypatch.setenv("REDISMIGRATE_URL", f"redis:/user:{SECRET}@127.0.0.1:{master}/0")
    assert os.environ["REDISMIGRATE_URL"].count(SECRET) == 1
    tells_nothing(shop.run("current", "-v"))


def test_init_writes_no_password(shop: Shop):
    folder = shop.folder / "elsewhere"
    folder.mkdir()
    there = Shop(folder, shop.url, shop.client)
    tells_nothing(there.run("init", "migrations", "--url", f"redis://h/0?p%61ssword={SECRET}"))
    assert SECRET not in (folder / "redismigrate.toml").read_text()


def test_a_failing_client_of_env_py_tells_nothing_of_the_url(
    shop: Shop, master: int, monkeypatch: pytest.MonkeyPatch
):
    shop.folder.joinpath("migrations", "env.py").write_text(
        """
import redis

def client(settings, x):
    return redis.Redis.from_url(settings.url + "&socket_timeout=x")
"""
    )
    monkeypatch.setenv("REDISMIGRATE_URL", f"redis://user:{SECRET}@127.0.0.1:{master}/0?db=0")
    result = shop.run("current")
    assert result.code == 8
    assert "env.py, line 5: client() fails (ValueError: Invalid value for 'socket_timeout'" in result.err
    tells_nothing(result)


def test_settings_are_printed_without_their_url(shop: Shop):
    project = Project.load(shop.folder / "redismigrate.toml", {"url": f"redis://user:{SECRET}@h/0"})
    assert SECRET not in repr(project)
