"""A server that crashes between two steps, and is back with older data before the run has noticed.

No connection is at work at that moment, so the next command simply opens another one. What the run has noted
is lost; what it has written to files is not.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from conftest import Shop
from vector_documents import TO_FLOAT16, applied, creation, documents, migrate, stock

from redismigrate.errors import RunInterrupted
from redismigrate.planning.step_life import StepKind
from redismigrate.planning.strategies import StrategyChoice
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes

PRODUCTS = 50


class _ForgetfulServer:
    """Keeps what SAVE has written, at one port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = self._start(port=0)
        self.url = self._server.url

    def save(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.save()

    def forget(self) -> None:
        """Crash, and come back as it was saved."""
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.stop()
        self._server = self._start(port=int(self.url.rpartition(":")[2]))

    def stop(self) -> None:
        self._server.stop()

    def _start(self, port: int) -> EmbeddedServer:
        server = EmbeddedServer(self._folder, port=port, server_arguments=("--appendonly", "no"))
        server.start()
        return server


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[_ForgetfulServer]:
    server = _ForgetfulServer(tmp_path / "data")
    yield server
    server.stop()


@pytest.fixture
def crashing(shop: Shop, forgetful: _ForgetfulServer) -> Iterator[Shop]:
    """The shop on the forgetful server."""
    settings = f'project = "shop"\nscript_location = "migrations"\nurl = "{forgetful.url}"\n'
    (shop.folder / "redismigrate.toml").write_text(settings, encoding="utf-8")
    with redis.Redis.from_url(forgetful.url, protocol=2) as client:
        yield Shop(shop.folder, forgetful.url, client)


@pytest.mark.parametrize(
    ("strategy", "writes"), [("rebuild", "rewrite_documents"), ("shadow_field", "promote_documents")]
)
def test_originals_are_not_replaced_once_the_server_has_forgotten_that_they_were_backed_up(
    crashing: Shop, forgetful: _ForgetfulServer, strategy: StrategyChoice, writes: StepKind
):
    crashing.strategy = strategy
    stock(crashing, PRODUCTS)
    before = documents(crashing)
    crashing.write(TO_FLOAT16)

    with pytest.raises(RunInterrupted):
        migrate(crashing, {"back_up_documents": forgetful.save, writes: forgetful.forget})

    # It backs up once more what it finds: that had better be the originals.
    applied(crashing)
    assert documents(crashing) != before
    run = crashing.state("last_run")
    assert run is not None
    applied(crashing, "--run", run["run"], verb="rollback")
    assert documents(crashing) == before


def test_how_far_a_revision_is_is_not_noted_of_the_one_before_which_the_server_has_gone_back_to(
    crashing: Shop, forgetful: _ForgetfulServer
):
    for name in ("products", "orders"):
        crashing.write(creation(name))
    actions = iter((forgetful.save, forgetful.forget))

    def save_and_forget() -> None:
        next(actions)()

    with pytest.raises(RunInterrupted):
        migrate(crashing, {"create_index": save_and_forget})

    applied(crashing)
    assert crashing.run("check").code == 0
    assert set(list_indexes(crashing.client.execute_command)) == {"products", "orders"}


def test_a_function_is_not_run_on_a_server_that_has_forgotten_what_comes_before_it(
    crashing: Shop, forgetful: _ForgetfulServer
):
    crashing.write(
        creation() + "; op.run(count)",
        preamble="""
        def count(client):
            client.set("indexes", len(client.execute_command("FT._LIST")))
        """,
    )

    with pytest.raises(RunInterrupted):
        migrate(crashing, {"create_index": forgetful.save, "run_function": forgetful.forget})

    assert crashing.client.get("indexes") is None
    applied(crashing)
    assert crashing.client.get("indexes") == b"1"
