"""The lock of a project: who gets it, who waits, who takes it over, and what a former holder may do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from long_chain import WAITING, wait_until_at_work
from patience import wait_until
from signalled_process import exit_code, start, wait_until_stopped

from redismigrate.errors import FenceLost, LockError
from redismigrate.redis_server.connection import Server, connect
from redismigrate.state import lock
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import (
    Holder,
    Lock,
    break_lock,
    last_token_number,
    read_holder,
    token_to_follow,
)
from redismigrate.state.owners import OwnersWriter
from redismigrate.state.store import StateWriter, read_state
from redismigrate.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from conftest import Shop

KEYS = StateKeys("shop")
INDEX = """op.create_index({"index": {"name": "products", "prefix": "p:"},
                            "fields": [{"name": "title", "type": "text"}]})"""


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        yield server


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, to play the holder of a lock."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def _hold(server: Server, holder: Holder, lease_seconds: float = 60) -> None:
    """Write the lock as another process would that took it."""
    server.client.set(KEYS.fence, "7-1")
    server.client.set(KEYS.lock, json.dumps(asdict(holder)), px=int(lease_seconds * 1000))


def _holder(pid: int) -> Holder:
    """What a process of this host writes into the lock that it takes."""
    return replace(Holder.this_process(), id="other", pid=pid, process=lock._process_identity(pid) or "gone")


def _writer(server: Server, held: Lock) -> StateWriter:
    return StateWriter(server, KEYS, held.token, read_state(server, KEYS))


def test_a_lock_is_free_before_and_after(server: Server):
    assert read_holder(server, KEYS) is None
    with Lock(server, KEYS, 0):
        holder = read_holder(server, KEYS)
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
    assert read_holder(server, KEYS) is None


def test_a_lock_is_free_after_an_exception(server: Server):
    with pytest.raises(RuntimeError), Lock(server, KEYS, 0):
        raise RuntimeError
    assert read_holder(server, KEYS) is None


def test_every_holder_gets_a_fencing_token_with_a_higher_number(server: Server):
    numbers = []
    for _ in range(3):
        with Lock(server, KEYS, 0) as held:
            numbers.append(int(held.token.partition("-")[0]))
            assert server.client.get(KEYS.fence) == held.token.encode()
            assert last_token_number(server, KEYS) == numbers[-1]
    assert numbers == [1, 2, 3]


def test_the_lease_is_given_in_full(server: Server):
    with Lock(server, KEYS, 0):
        assert 0 < server.client.pttl(KEYS.lock) <= lock.LEASE_SECONDS * 1000


def test_projects_have_locks_of_their_own(server: Server):
    with Lock(server, KEYS, 0), Lock(server, StateKeys("other"), 0):
        pass


@pytest.mark.usefixtures("short_lease")
def test_the_lease_is_renewed_while_the_main_thread_is_busy(server: Server):
    with Lock(server, KEYS, 0) as held:
        renewed, before, deadline = 0, 0, time.monotonic() + 60
        while renewed < 5:
            assert time.monotonic() < deadline
            left = server.client.pttl(KEYS.lock)
            assert left > 0
            renewed, before = renewed + (left > before), left
        with pytest.raises(LockError), Lock(server, KEYS, 0):
            pass
        _writer(server, held).transact(Transaction(event={"event": "still here"}))


@pytest.mark.slow
def test_a_step_may_take_longer_than_the_lease(shop: Shop):
    shop.write("op.run(work)", preamble="import time\ndef work(client): time.sleep(20)")
    with shop.process("upgrade", "head") as process:
        time.sleep(17)
        assert shop.run("upgrade", "head", "--lock-timeout", "0").code == 5
        assert process.wait(120) == 0


@pytest.mark.usefixtures("short_lease")
def test_the_renewing_ends_with_the_lock(server: Server):
    with Lock(server, KEYS, 0):
        pass
    time.sleep(0.2)
    assert read_holder(server, KEYS) is None


def test_waiting_is_bounded_and_the_error_names_the_holder(
    shop: Shop, server: Server, sleeper: subprocess.Popen[bytes]
):
    shop.write(INDEX)
    _hold(server, _holder(sleeper.pid))
    before = shop.content()
    started = time.monotonic()
    result = shop.run("upgrade", "head", "--lock-timeout", "0.6")
    assert time.monotonic() - started >= 0.6
    assert result.code == 5
    holder = f"{lock.signature()}, process {sleeper.pid}, since"
    assert f"Another process works on this project: {holder}" in result.err
    assert "Wait for it (--lock-timeout), or free the lock with `redismigrate unlock`" in result.err
    assert f"waiting for {holder}" in result.out
    assert shop.content() == before


def test_an_upgrade_with_nothing_to_do_needs_no_lock(
    shop: Shop, server: Server, sleeper: subprocess.Popen[bytes]
):
    shop.write(INDEX)
    assert shop.run("upgrade", "head").code == 0
    _hold(server, _holder(sleeper.pid))
    assert shop.run("upgrade", "head", "--lock-timeout", "0").out == "Nothing to do.\n"


def test_a_lock_that_is_released_meanwhile_is_got(
    shop: Shop, server: Server, sleeper: subprocess.Popen[bytes]
):
    shop.write(INDEX)
    _hold(server, _holder(sleeper.pid), lease_seconds=0.5)
    assert shop.run("upgrade", "head", "--lock-timeout", "30").code == 0


def test_the_lock_of_a_killed_process_is_taken_over_at_once(shop: Shop):
    shop.write(INDEX)
    shop.write("op.run(wait)", preamble=WAITING)
    with shop.process("upgrade", "head") as process:
        wait_until_at_work(shop)
        # Its parent has not asked how it ended, so it is still there, as a zombie.
        os.kill(process.pid, signal.SIGKILL)
        shop.client.set("go on", 1)
        result = shop.run("upgrade", "head", "--lock-timeout", "0")
        assert result.code == 0, result.err


def test_the_lock_of_a_process_whose_id_was_given_to_another_is_taken_over_at_once(
    server: Server, sleeper: subprocess.Popen[bytes]
):
    boot, namespace, started = _holder(sleeper.pid).process.split(":")
    _hold(server, replace(_holder(sleeper.pid), process=f"{boot}:{namespace}:{int(started) - 1}"))
    with Lock(server, KEYS, 0):
        pass


def test_the_lock_of_a_stopped_process_is_not_taken_over(server: Server, sleeper: subprocess.Popen[bytes]):
    _hold(server, _holder(sleeper.pid))
    sleeper.send_signal(signal.SIGSTOP)
    with pytest.raises(LockError), Lock(server, KEYS, 0):
        pass


@pytest.mark.parametrize("elsewhere", ["another host", "another boot", "another pid namespace", "unknown"])
def test_a_holder_that_can_not_be_seen_from_here_keeps_the_lock_for_its_lease(server: Server, elsewhere: str):
    gone = Holder.this_process()
    boot, namespace, started = gone.process.split(":")
    gone = replace(gone, id="other", pid=2**22 + 1)
    holder = {
        "another host": replace(gone, host="elsewhere"),
        "another boot": replace(gone, process=f"{boot[::-1]}:{namespace}:{started}"),
        "another pid namespace": replace(gone, process=f"{boot}:{int(namespace) + 1}:{started}"),
        "unknown": replace(gone, process=""),
    }[elsewhere]
    _hold(server, holder)
    with pytest.raises(LockError), Lock(server, KEYS, 0):
        pass
    server.client.pexpire(KEYS.lock, 100)
    with Lock(server, KEYS, 30):
        pass


def test_a_lock_that_can_not_be_read_is_waited_for(server: Server):
    server.client.set(KEYS.lock, b"\xff", px=60_000)
    with pytest.raises(LockError) as caught, Lock(server, KEYS, 0):
        pass
    assert "Another process works on this project: somebody unknown" in caught.value.message


@pytest.mark.usefixtures("short_lease")
def test_a_lease_that_ran_out_unnoticed_is_taken_up_again_if_nobody_came(server: Server):
    with Lock(server, KEYS, 0) as held:
        server.client.delete(KEYS.lock)
        wait_until(lambda: read_holder(server, KEYS) is not None)
        _writer(server, held).transact(Transaction(event={"event": "still here"}))


@pytest.mark.usefixtures("short_lease")
def test_a_former_holder_does_not_touch_the_lock_of_the_next_one(server: Server):
    former = Lock(server, KEYS, 0)
    former.__enter__()
    break_lock(server, KEYS)
    with Lock(server, KEYS, 0):
        following = read_holder(server, KEYS)
        time.sleep(0.2)
        former.__exit__(None, None, None)
        assert read_holder(server, KEYS) == following


def test_unlock_frees_the_lock_and_names_its_holder(
    shop: Shop, server: Server, sleeper: subprocess.Popen[bytes]
):
    _hold(server, _holder(sleeper.pid))
    result = shop.run("unlock")
    assert result.code == 0
    assert str(sleeper.pid) in result.out
    assert read_holder(server, KEYS) is None


def test_unlock_without_a_lock_says_so_and_writes_nothing(shop: Shop):
    result = shop.run("unlock")
    assert result.code == 0
    assert result.out
    assert shop.client.dbsize() == 0


@pytest.mark.parametrize("lease", ["lasts", "has run out"])
def test_after_unlock_the_holder_can_write_nothing(server: Server, client: redis.Redis, lease: str):
    with Lock(server, KEYS, 0) as held:
        writer = _writer(server, held)
        owners = OwnersWriter(server, KEYS, writer.token)
        if lease == "has run out":
            client.delete(KEYS.lock)
        break_lock(server, KEYS)
        before = {key: client.dump(key) for key in client.scan_iter()}
        with pytest.raises(FenceLost, match="Another process has taken over the lock of this project"):
            writer.transact(
                Transaction(event={"event": "step"}, commands=[("FT.CREATE", "i", "SCHEMA", "t", "TEXT")])
            )
        with pytest.raises(FenceLost):
            owners.claim("products")
        assert {key: client.dump(key) for key in client.scan_iter()} == before
        assert client.execute_command("FT._LIST") == []


def test_a_command_that_loses_its_lock_ends_with_7_and_has_written_nothing(shop: Shop):
    shop.write(INDEX)
    process = start(shop, "upgrade", "head", signalled=signal.SIGSTOP, at=3)
    wait_until_stopped(process)
    assert shop.run("unlock").code == 0
    before = shop.content()
    os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 7
    assert shop.content() == before
    assert shop.run("upgrade", "head").code == 0


def test_a_function_that_outlives_the_lock_is_the_last_thing_its_command_does(shop: Shop):
    shop.write("op.run(wait)", preamble=WAITING)
    with shop.process("upgrade", "head") as process:
        wait_until_at_work(shop)
        assert shop.run("unlock").code == 0
        shop.client.set("go on", 1)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7
    assert "Another process has taken over the lock of this project; this one stops." in err
    assert (shop.state("head") or {}).get("heads") is None


def test_who_held_the_lock_before_everything_was_flushed_writes_nothing_beside_the_next_holder(
    server: Server,
):
    with Lock(server, KEYS, 0) as held:
        stopped = _writer(server, held)
        server.client.flushall()
        with Lock(server, KEYS, 0) as other:
            owner = server.client.get(KEYS.lock)
            with pytest.raises(FenceLost):
                stopped.transact(Transaction(run={"id": "x"}))
            with pytest.raises(FenceLost):
                OwnersWriter(server, KEYS, stopped.token).claim("products")
            _writer(server, other).transact(Transaction(run={"id": "y"}))
            assert server.client.get(KEYS.lock) == owner


def test_no_two_holders_get_one_token_though_the_server_has_forgotten_the_first(server: Server):
    with Lock(server, KEYS, 0):
        pass
    saved = server.client.get(KEYS.fence)
    with Lock(server, KEYS, 0) as held:
        stopped = _writer(server, held)
        # It is started again with what it had saved, or a replica that lags takes its place.
        server.client.set(KEYS.fence, saved)
        server.client.delete(KEYS.lock)
        with Lock(server, KEYS, 0) as other:
            with pytest.raises(FenceLost):
                stopped.transact(Transaction(run={"id": "x"}))
            _writer(server, other).transact(Transaction(run={"id": "y"}))


def test_who_was_stopped_past_its_lease_writes_nothing_beside_those_who_follow(server: Server):
    with Lock(server, KEYS, 0) as held:
        stopped = _writer(server, held)
        assert token_to_follow(server, KEYS) is None
        server.client.delete(KEYS.lock)

        token = token_to_follow(server, KEYS)

        assert token_to_follow(server, KEYS) == token == server.client.get(KEYS.fence)
        with pytest.raises(FenceLost):
            stopped.transact(Transaction(run={"id": "x"}))
    with Lock(server, KEYS, 0):
        pass
    assert token_to_follow(server, KEYS) != token
