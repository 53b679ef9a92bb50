"""Signals, a lost network and a killed server in mid-run: exit code 7, and the same command ends the work."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from command_proxy import proxy_to
from conftest import ENTRY_POINT, Shop
from long_chain import REVISIONS, WAITING, Ends, outcome, rehearse, run, wait_until_at_work, write_long_chain

from redismigrate import commands
from redismigrate.errors import RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.state import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command_proxy import Loss

    from redismigrate.planning.plan import Step

LOCK = "{redismigrate:shop}:lock"
FEWEST_COMMANDS = 200
# Where every write fails as on a full disk.
FULL = Path("/dev/full")


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process the lock of an interrupted command is no dead process's, so it lasts its lease."""
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.1)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.03)
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.02)


# Of the commands that get lost, each variant of a test takes one of so many.
EVERY = 10


def _cut_and_resume(
    shop: Shop, server: EmbeddedServer, ends: Ends, verb: str, loss: Loss, cut_at: int
) -> bool:
    """Lose one command, and then repeat the migration; whether it had that many commands."""
    target, expected = ("head", ends.head) if verb == "upgrade" else ("base", ends.base)
    before = outcome(shop)
    with proxy_to(server, cut_at, loss) as proxy:
        result = shop.run("--url", proxy.url, verb, target)
        has_cut = proxy.has_cut
    left = outcome(shop)
    # Of a write whose reply is lost nobody knows whether it was done; only what comes after all is done,
    # the release of the lock, may get lost unnoticed.
    allowed = {7: True, 1: left == before, 0: left == expected}
    assert allowed.get(result.code), f"{verb}, {loss} {cut_at} lost: {result}"
    run(shop, verb, target)
    assert outcome(shop) == expected, f"{verb}, {loss} {cut_at} lost"
    return has_cut


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("loss", ["request", "reply"])
def test_a_migration_whose_connection_is_lost_can_be_repeated(
    shop: Shop, redis_server: EmbeddedServer, loss: Loss
):
    ends = rehearse(shop)
    for cut_at in (15, 70, 200):
        assert _cut_and_resume(shop, redis_server, ends, "upgrade", loss, cut_at)
        assert _cut_and_resume(shop, redis_server, ends, "downgrade", loss, cut_at + 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("loss", ["request", "reply"])
@pytest.mark.parametrize("first", range(1, EVERY + 1))
def test_a_migration_can_be_repeated_whichever_command_the_network_loses(
    shop: Shop, redis_server: EmbeddedServer, loss: Loss, first: int
):
    ends = rehearse(shop)
    cut_at, has_cut = first - EVERY, True
    while has_cut:
        cut_at += EVERY
        has_cut = _cut_and_resume(shop, redis_server, ends, "upgrade", loss, cut_at)
        has_cut |= _cut_and_resume(shop, redis_server, ends, "downgrade", loss, cut_at)
    assert cut_at > FEWEST_COMMANDS


@pytest.mark.usefixtures("short_lease")
def test_the_reply_to_the_write_that_begins_a_run_may_be_lost(shop: Shop, redis_server: EmbeddedServer):
    ends = rehearse(shop)
    with proxy_to(redis_server, (1, (b"\r\nbegin\r\n",)), "reply") as proxy:
        result = shop.run("--url", proxy.url, "upgrade", "head")
    assert result.code == 7
    assert "was interrupted at revision 000000000001: Can't reach Redis" in result.err
    assert shop.state("run") is not None
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("revisions", [REVISIONS[5:6], pytest.param(REVISIONS, marks=pytest.mark.slow)])
def test_rollback_leaves_all_as_before_the_revision_whichever_write_of_it_lost_its_reply(
    shop: Shop, redis_server: EmbeddedServer, revisions: tuple[str, ...]
):
    rehearse(shop)
    for revision in REVISIONS:
        before = outcome(shop)
        write, has_cut = 0, revision in revisions
        while has_cut:
            write += 1
            with proxy_to(redis_server, (write, (b"EVAL",)), "reply") as proxy:
                shop.run("--url", proxy.url, "upgrade", revision)
                has_cut = proxy.has_cut
            if revision in outcome(shop)["applied"]:
                break
            run(shop, "rollback")
            assert outcome(shop) == before, (revision, write)
        run(shop, "upgrade", revision)


def test_after_a_short_outage_the_lock_is_free_at_once(shop: Shop, redis_server: EmbeddedServer):
    ends = rehearse(shop)
    with proxy_to(redis_server, (8, (b"EVAL",)), "reply", is_restored=True) as proxy:
        result = shop.run("--url", proxy.url, "upgrade", "head")
        assert result.code == 7
        assert "was interrupted at revision" in result.err
        assert "Can't reach Redis at redis://127.0.0.1:" in result.err
        assert "Run the same command again to resume, or `redismigrate rollback`" in result.err
        assert not shop.client.exists(LOCK)
        run(shop, "--url", proxy.url, "upgrade", "head")
    assert outcome(shop) == ends.head


def test_a_connection_lost_inside_op_run_interrupts_and_does_not_undo(
    shop: Shop, redis_server: EmbeddedServer
):
    shop.write(
        'op.create_alias("catalog", "products"); op.run(count)',
        preamble="""
        def count(client):
            own = client.client_id()
            pipeline = client.pipeline(transaction=False)
            pipeline.execute_command("CLIENT", "KILL", "ID", own, "SKIPME", "no")
            pipeline.incr("runs")
            pipeline.execute()
        """,
        down_revision=shop.write(
            'op.create_index({"index": {"name": "products", "prefix": "p:"}, '
            '"fields": [{"name": "title", "type": "text"}]})'
        ),
    )
    result = shop.run("upgrade", "head")
    assert result.code == 7, result.err
    assert shop.state("run") is not None
    assert (shop.state("head") or {})["heads"] == ["000000000001"]
    assert shop.hits("catalog") == 0


def test_a_server_that_takes_no_more_writes_interrupts_the_run(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    refuse = "def refuse(client): client.config_set('maxmemory', 1)"
    shop.write("op.run(refuse)", "op.irreversible('a test')", preamble=refuse)
    try:
        result = shop.run("upgrade", "head")
    finally:
        shop.client.config_set("maxmemory", 0)
    assert result.code == 7
    assert "was interrupted at revision 000000000008: " in result.err
    assert "maxmemory and takes no writes." in result.err
    run(shop, "rollback")
    assert outcome(shop) == ends.head


def test_a_fault_of_whoever_watches_interrupts_the_run(shop: Shop):
    class Faulty(Watcher):
        def step_started(self, step: Step) -> None:
            if step.kind == "create_index":
                raise ValueError("out of ink")

    ends = rehearse(shop)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(RunInterrupted) as caught:
        commands.upgrade(project, "head", watcher=Faulty())
    assert "was interrupted at revision 000000000001: ValueError: out of ink." in caught.value.message
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("options", [(), ("--json",), ("--quiet",)])
def test_a_run_goes_on_when_the_reader_of_its_output_goes_away(shop: Shop, options: tuple[str, ...]):
    ends = rehearse(shop)
    with shop.process("upgrade", "head", *options) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 0
    assert outcome(shop) == ends.head


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_run_goes_on_when_the_disk_of_its_output_is_full(shop: Shop):
    ends = rehearse(shop)
    with FULL.open("w") as full:
        command = [ENTRY_POINT, "upgrade", "head"]
        done = subprocess.run(
            command, cwd=shop.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert outcome(shop) == ends.head
    assert done.returncode == 1
    assert done.stderr == (
        "Error: The result can't be written to standard output: No space left on device.\n"
        "What the command does is done: `redismigrate status` and `current` tell.\n"
    )


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("streams", [("stdout",), ("stdout", "stderr")])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_result_that_cannot_be_written_ends_with_1_and_no_traceback(
    shop: Shop, streams: tuple[str, ...], options: tuple[str, ...]
):
    with FULL.open("w") as full:
        files: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **dict.fromkeys(streams, full),
        }
        command = [ENTRY_POINT, "current", *options]
        done = subprocess.run(command, cwd=shop.folder, text=True, check=False, **files)
    assert done.returncode == 1
    assert (done.stderr or "").count("\n") == (0 if "stderr" in streams else 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_run_ends_it_in_order(shop: Shop, number: signal.Signals):
    write_long_chain(shop)
    shop.write("op.run(wait)", preamble=WAITING)
    with shop.process("upgrade", "head") as process:
        wait_until_at_work(shop)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7
    assert "was interrupted at revision 000000000008: stopped by" in err
    assert "Traceback" not in err
    assert not shop.client.exists(LOCK)
    shop.client.set("go on", 1)
    run(shop, "upgrade", "head")
    assert (shop.state("head") or {})["heads"] == ["000000000008"]
    assert shop.state("run") is None


def test_a_signal_that_comes_again_and_again_leaves_a_run_that_can_be_taken_up(shop: Shop):
    ends = rehearse(shop)
    with shop.process("upgrade", "head") as process:
        _wait_for(lambda: shop.state("run") is not None)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        assert process.returncode in {1, 7, -signal.SIGTERM}
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


class _ServerKiller(Watcher):
    """Kills the server when the n-th step starts."""

    def __init__(self, server: EmbeddedServer, at: int) -> None:
        self._server, self._left = server, at

    def step_started(self, step: Step) -> None:
        del step
        self._left -= 1
        if self._left == 0:
            os.kill(self._server.pid, signal.SIGKILL)


class _DurableServer:
    """A server that writes commands to its file before it answers; it can be started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = self._start(port=0)
        self.url = self.server.url

    def start_again(self) -> None:
        self.server.stop()
        self.server = self._start(port=int(self.url.rpartition(":")[2]))

    def _start(self, port: int) -> EmbeddedServer:
        server = EmbeddedServer(self._folder, port=port, server_arguments=("--appendfsync", "always"))
        server.start()
        return server


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[_DurableServer]:
    durable = _DurableServer(tmp_path / "data")
    yield durable
    durable.server.stop()


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize(
    "steps",
    [(3, 22, 31), pytest.param(range(1, 46), marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_a_migration_whose_server_is_killed_resumes_when_that_is_back(
    shop: Shop, durable: _DurableServer, steps: range
):
    with redis.Redis.from_url(durable.url, protocol=2) as client:
        shop = Shop(shop.folder, durable.url, client)
        configuration = shop.folder / "redismigrate.toml"
        configuration.write_text(
            f'project = "shop"\nscript_location = "migrations"\nurl = "{durable.url}"\n', encoding="utf-8"
        )
        ends = rehearse(shop)
        project = commands.Project.load(configuration)
        for at in steps:
            verb, target, expected = (
                (commands.upgrade, "head", ends.head) if at % 2 else (commands.downgrade, "base", ends.base)
            )
            run(shop, *(("downgrade", "base") if at % 2 else ("upgrade", "head")))
            try:
                verb(project, target, watcher=_ServerKiller(durable.server, at))
            except RunInterrupted as error:
                assert "was interrupted at revision" in error.message  # noqa: PT017 - beyond the last step none comes
            else:
                assert at > 36
            durable.start_again()
            verb(project, target)
            assert outcome(shop) == expected, at


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
