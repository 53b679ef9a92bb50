"""How a private server starts, keeps or forgets data, and ends with the process that started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
import redis

from redismigrate.errors import ConfigurationError, EmbeddedServerUnavailable
from redismigrate.redis_server import embedded
from redismigrate.redis_server.embedded import EmbeddedServer, embedded_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A program that starts a server, prints where it is, and does what the test fills in.
PROGRAM = """
import json, os, signal, socket, sys, time
from pathlib import Path
from redismigrate.redis_server.embedded import EmbeddedServer

def tell(server):
    print(json.dumps([server.url, server.pid]), flush=True)

def ping(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"PING\\r\\n")
        return connection.recv(64)

"""


class Child(NamedTuple):
    """A Python process and the server it started."""

    process: subprocess.Popen[str]
    url: str
    server_pid: int

    @property
    def socket_folder(self) -> Path:
        return Path(urlsplit(self.url).path).parent


@pytest.fixture
def run() -> Iterator[Callable[[str], Child]]:
    """Start a program in a process of its own and wait until its server answers."""
    processes = []

    def start(program: str) -> Child:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + program],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        url, server_pid = json.loads(process.stdout.readline())
        return Child(process, url, server_pid)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def kept_server(tmp_path, monkeypatch) -> str:
    """For a program: a server that keeps its data in `tmp_path`."""
    monkeypatch.setenv("KEPT", str(tmp_path))
    return "EmbeddedServer(data_dir=Path(os.environ['KEPT']))"


@pytest.fixture(params=["temporary", "kept"])
def any_server(request, kept_server) -> str:
    return kept_server if request.param == "kept" else "EmbeddedServer()"


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return client.ping()
        except redis.ConnectionError:
            return False


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # the signal has found it, and this system has no /proc to ask
    # An orphan that has ended stays in the table as a zombie until process 1 gets round to it.
    return state != "Z"


def assert_gone_soon(child: Child) -> None:
    """Process and socket are gone; whoever connects is refused."""
    deadline = time.monotonic() + 90
    while runs(child.server_pid) or child.socket_folder.exists():
        assert time.monotonic() < deadline, f"the server {child.server_pid} outlived its parent"
        time.sleep(0.01)
    assert not answers(child.url)


def test_a_started_server_answers_and_has_search_and_json_and_no_other_module():
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert client.execute_command("FT.CREATE", "i", "SCHEMA", "t", "TAG") in {b"OK", "OK"}
        assert client.json().set("doc", "$", {"a": 1})
        # Redis 8 has its vector sets built in.
        built_in = {module[b"name"] for module in client.module_list() if module.get(b"path") == b""}
        assert {module[b"name"] for module in client.module_list()} - built_in == {b"search", b"ReJSON"}


def test_its_start_does_not_wait_for_anything_but_the_server():
    seconds = []
    for _ in range(5):  # a busy machine may hold up some of them
        began = time.monotonic()
        with EmbeddedServer():
            seconds.append(time.monotonic() - began)
        if seconds[-1] < 1.5:
            break
    assert min(seconds) < 5, seconds


def test_without_a_port_only_a_socket_that_its_owner_can_enter_leads_to_it():
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        path = Path(urlsplit(server.url).path)
        assert client.config_get("port") == {"port": "0"}
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.is_socket()


def test_with_a_port_it_listens_on_loopback_only():
    with EmbeddedServer(port=0) as server, redis.Redis.from_url(server.url) as client:
        address = urlsplit(server.url)
        assert (address.scheme, address.hostname) == ("redis", "127.0.0.1")
        assert address.port
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_given_port_is_used():
    port = embedded._free_port()
    with EmbeddedServer(port=port) as server:
        assert server.url == f"redis://127.0.0.1:{port}"
        assert answers(server.url)


def test_a_given_port_that_is_taken_is_an_error_that_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerUnavailable, match=f"Failed listening on port {port}"):
            EmbeddedServer(port=port).start()


def test_a_free_port_that_another_process_takes_meanwhile_is_replaced_by_another(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], embedded._free_port()])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports))
        with EmbeddedServer(port=0) as server:
            assert answers(server.url)


def test_servers_started_at_once_get_different_ports():
    servers = [EmbeddedServer(port=0) for _ in range(6)]
    with ThreadPoolExecutor(len(servers)) as threads:
        list(threads.map(EmbeddedServer.start, servers))
    try:
        assert len({server.url for server in servers}) == len(servers)
        assert all(answers(server.url) for server in servers)
    finally:
        for server in servers:
            server.stop()


def test_processes_that_start_servers_at_once_get_different_ports(run):
    program = "with EmbeddedServer(port=0) as server: tell(server); sys.stdin.read(); time.sleep(60)"
    with ThreadPoolExecutor(3) as threads:
        children = list(threads.map(run, [program] * 3))
    assert len({child.url for child in children}) == len(children)
    assert all(answers(child.url) for child in children)


def test_arguments_reach_the_server_and_the_search_module():
    server = EmbeddedServer(
        server_arguments=("--maxmemory", "100mb"), module_arguments=("PARTIAL_INDEXED_DOCS", "1")
    )
    with server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": "104857600"}
        reply = client.execute_command("FT.CONFIG", "GET", "PARTIAL_INDEXED_DOCS")
        assert "true" in str(reply)


def test_an_argument_that_search_refuses_shows_the_last_lines_of_the_log():
    with pytest.raises(EmbeddedServerUnavailable) as raised:
        EmbeddedServer(module_arguments=("NONSENSE", "1")).start()
    assert raised.value.message.startswith("The embedded server exited with 1; its log ends:\n")
    assert "No such configuration option `NONSENSE`" in raised.value.message
    assert raised.value.hint == "Check the arguments given to it and its folder."


def test_a_start_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EmbeddedServerUnavailable):
        EmbeddedServer(server_arguments=("--nonsense", "1")).start()
    assert not list(tmp_path.iterdir())


def test_a_server_that_never_listens_is_stopped_with_an_error(tmp_path, monkeypatch):
    silent = tmp_path / "bin" / "redis-server"
    silent.parent.mkdir()
    # Like a redis-server in the trial of its modules; started in earnest it sleeps.
    silent.write_text(
        '#!/bin/sh\nfor last in "$@"; do :; done\n'
        'case $last in *absent.so) echo "Can\'t load module from $last"; exit 1;; esac\nexec sleep 60\n'
    )
    silent.chmod(0o755)
    (silent.parent / "redisearch.so").touch()
    monkeypatch.setenv("REDISMIGRATE_SERVER", str(silent))
    monkeypatch.setattr(embedded, "_START_SECONDS", 0.2)
    with pytest.raises(EmbeddedServerUnavailable, match="The embedded server did not listen after 0 s"):
        EmbeddedServer().start()


def test_a_server_that_loads_its_data_is_awaited_however_long_that_takes(tmp_path, monkeypatch):
    with EmbeddedServer(data_dir=tmp_path) as server, redis.Redis.from_url(server.url) as client:
        for number in range(2000):
            client.set(f"more:{number}", "x" * 100)
    monkeypatch.setattr(embedded, "_START_SECONDS", 0.5)
    # Each command takes 2 ms to load; Redis looks at its clients after 1024 of them.
    slowly = ("--key-load-delay", "1000")
    began = time.monotonic()
    with (
        EmbeddedServer(tmp_path, server_arguments=slowly) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        assert time.monotonic() - began > 1
        assert client.dbsize() == 2000


def test_a_locale_that_the_machine_lacks_does_not_matter(monkeypatch):
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    with EmbeddedServer() as server:
        assert answers(server.url)


def test_the_socket_has_a_short_path_where_the_temporary_folder_has_a_long_one(tmp_path, monkeypatch):
    long = tmp_path / ("long" * 25)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with EmbeddedServer() as server:
        assert answers(server.url)


def test_embedded_with_a_path_keeps_documents_indexes_and_aliases_for_the_next_server(tmp_path):
    url = f"embedded://{tmp_path}/my%20data"
    with embedded_from_url(url) as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("FT.CREATE", "products", "SCHEMA", "sku", "TAG")
        client.execute_command("FT.ALIASADD", "served", "products")
        client.hset("p:1", "sku", "a1")
    with embedded_from_url(url) as server, redis.Redis.from_url(server.url) as client:
        assert client.hgetall("p:1") == {b"sku": b"a1"}
        assert client.ft("served").info()
        assert client.ft("products").info()
    assert (tmp_path / "my data" / "appendonlydir").is_dir()


def test_embedded_without_a_path_keeps_nothing():
    with embedded_from_url("embedded://") as server, redis.Redis.from_url(server.url) as client:
        folder = Path(urlsplit(server.url).path).parent
        client.set("k", "v")
    assert not folder.exists()
    with embedded_from_url("embedded://") as server, redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    "url",
    ["embedded:", "embedded:/data", "embedded://data", "embedded:///", "embedded:///data?x=1", "redis://h:1"],
)
def test_any_other_url_is_refused_with_the_two_that_are_right(url):
    with pytest.raises(ConfigurationError) as raised:
        embedded_from_url(url)
    assert raised.value.message == f"{url.replace('x=1', 'x=***')} is not the URL of an embedded server."
    assert "embedded:// for a temporary one, or embedded:///absolute/path" in raised.value.hint


def test_a_second_server_on_the_same_folder_is_refused(run, kept_server):
    child = run(f"with {kept_server} as server: tell(server); time.sleep(60)")
    with pytest.raises(EmbeddedServerUnavailable) as raised:
        EmbeddedServer(data_dir=Path(os.environ["KEPT"])).start()
    assert raised.value.message == f"Another embedded server uses {os.environ['KEPT']}."
    assert raised.value.hint == "Stop it, or name another folder."
    assert answers(child.url)


def test_a_folder_is_free_again_when_its_server_was_killed(tmp_path):
    with EmbeddedServer(data_dir=tmp_path) as first:
        os.kill(first.pid, signal.SIGKILL)
        with EmbeddedServer(data_dir=tmp_path) as second:
            assert answers(second.url)


def test_a_folder_whose_server_lost_its_parent_can_be_used_at_once_and_has_all_data(
    tmp_path, run, kept_server
):
    child = run(f"with {kept_server} as server: tell(server); time.sleep(60)")
    with redis.Redis.from_url(child.url) as client:
        client.set("k", "v")
    child.process.kill()
    with EmbeddedServer(data_dir=tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("k") == b"v"


def test_a_file_where_the_folder_should_be_is_a_configuration_error(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ConfigurationError, match="can't hold the data of an embedded server: File exists"):
        EmbeddedServer(data_dir=path).start()


def test_a_server_can_be_started_again_but_not_twice_at_once():
    server = EmbeddedServer()
    with server:
        with pytest.raises(RuntimeError, match="was started already"):
            server.start()
        first = server.pid
    with server:
        assert server.pid != first


def test_stopping_twice_or_before_a_start_does_no_harm():
    server = EmbeddedServer()
    server.stop()
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="does not run: start it first"):
        _ = server.url


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_ends_the_process_ends_its_server(run, any_server, number):
    child = run(f"with {any_server} as server: tell(server); time.sleep(60)")
    child.process.send_signal(number)
    assert_gone_soon(child)


@pytest.mark.parametrize(
    "ending", ["sys.exit(3)", "raise ValueError", "os._exit(1)", "os.abort()", "pass"], ids=lambda text: text
)
def test_an_end_of_the_process_ends_its_server(run, any_server, ending):
    child = run(f"server = {any_server}; server.start(); tell(server)\n{ending}")
    assert_gone_soon(child)


def test_an_exception_in_the_block_stops_the_server_at_once():
    with pytest.raises(ValueError, match="mine"), EmbeddedServer() as server:  # noqa: PT012
        pid = server.pid
        raise ValueError("mine")
    assert not runs(pid)


def test_after_ctrl_c_in_a_terminal_the_server_still_answers_while_its_owner_cleans_up(run):
    child = run("""
with EmbeddedServer() as server:
    path = server.url.removeprefix("unix://")
    try:
        tell(server)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.2)
        print(ping(path).decode(), flush=True)
""")
    os.killpg(child.process.pid, signal.SIGINT)
    assert child.process.stdout.readline() == "+PONG\n"
    assert_gone_soon(child)


def test_a_sigterm_handler_that_raises_system_exit_stops_the_server_in_order(run, tmp_path, kept_server):
    child = run(f"""
def leave(number, frame):
    raise SystemExit(128 + number)
signal.signal(signal.SIGTERM, leave)
with {kept_server} as server:
    tell(server)
    time.sleep(60)
""")
    child.process.terminate()
    assert child.process.wait() == 143
    assert not runs(child.server_pid)
    assert "Redis is now ready to exit, bye bye..." in (tmp_path / "server.log").read_text()


def test_a_forked_child_that_ends_leaves_the_server_to_its_parent(run):
    child = run("""
with EmbeddedServer() as server:
    if os.fork() == 0:
        sys.exit()
    os.wait()
    tell(server)
    time.sleep(60)
""")
    assert answers(child.url)


def test_a_server_that_is_busy_with_an_endless_script_is_stopped_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_STOP_SECONDS", 0.3)
    with EmbeddedServer(tmp_path) as server:
        pid = server.pid
        with (
            redis.Redis.from_url(server.url, socket_timeout=0.2) as client,
            pytest.raises(redis.TimeoutError),
        ):
            client.eval("while true do end", 0)
    assert not runs(pid)


@pytest.mark.slow
def test_a_server_that_is_busy_with_an_endless_script_ends_with_its_parent_all_the_same(run, kept_server):
    child = run(f"with {kept_server} as server: tell(server); time.sleep(60)")
    with redis.Redis.from_url(child.url, socket_timeout=0.5) as client, pytest.raises(redis.TimeoutError):
        client.eval("while true do end", 0)
    child.process.kill()
    deadline = time.monotonic() + 90
    while runs(child.server_pid):
        assert time.monotonic() < deadline, f"the server {child.server_pid} outlived its parent"
        time.sleep(0.1)


def test_flushall_drops_all_indexes_and_aliases(client):
    client.execute_command("FT.CREATE", "i", "SCHEMA", "t", "TAG")
    client.execute_command("FT.ALIASADD", "a", "i")
    client.flushall()
    assert not client.execute_command("FT._LIST")
    with pytest.raises(redis.ResponseError):
        client.ft("a").info()
