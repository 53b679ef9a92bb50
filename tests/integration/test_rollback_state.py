"""The documents of the state that a rollback needs: when they are written and when they go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from redismigrate.errors import FenceLost, RunInterrupted, StateError
from redismigrate.redis_server.connection import Server, connect
from redismigrate.state.keys import StateKeys
from redismigrate.state.store import StateWriter, read_state
from redismigrate.state.stored_documents import LastRun
from redismigrate.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = StateKeys("shop")
LAST = LastRun("0123456789ab", "upgrade", "head", ("aaaaaaaaaaaa",), "2026-11-20T10:07:00+00:00")
RUN: dict[str, Any] = {"id": "a1b2", "position": 0, "plan": "large"}


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        server.client.set(KEYS.fence, 1)
        yield server


def _writer(server: Server) -> StateWriter:
    return StateWriter(server, KEYS, "1", read_state(server, KEYS))


def test_the_progress_of_a_run_is_a_part_of_it(server: Server):
    writer = _writer(server)
    writer.transact(Transaction(run=RUN))
    writer.transact(Transaction(progress={"position": 1}))
    writer.transact(Transaction(progress={"position": 2}))
    assert read_state(server, KEYS).run == writer.state.run == {**RUN, "position": 2}


@pytest.mark.parametrize("end", [{"run": RUN}, {"end_run": True}])
def test_a_run_that_is_written_anew_or_ends_takes_its_progress_along(server: Server, end: dict[str, Any]):
    writer = _writer(server)
    writer.transact(Transaction(run=RUN))
    writer.transact(Transaction(progress={"position": 1}))
    writer.transact(Transaction(**end))
    progress = server.client.get(KEYS.progress)
    assert (progress is None) == ("end_run" in end)
    assert progress is None or json.loads(progress).keys() == {"version", "layout"}
    assert read_state(server, KEYS).run == writer.state.run == end.get("run")


def test_progress_that_somebody_else_has_written_is_not_overwritten(server: Server):
    _writer(server).transact(Transaction(run=RUN))
    first, second = _writer(server), _writer(server)
    first.transact(Transaction(progress={"position": 1}))
    with pytest.raises(RunInterrupted, match="was changed by another process"):
        second.transact(Transaction(progress={"position": 5}))


def test_the_last_run_is_remembered_until_it_is_forgotten(server: Server):
    writer = _writer(server)
    assert (writer.state.last_run, writer.state.last_revisions) == (None, ())
    writer.transact(Transaction(last_run=LAST))
    state = read_state(server, KEYS)
    assert (state.last_run, state.last_revisions) == (LAST, ("aaaaaaaaaaaa",))
    writer.transact(Transaction(end_last_run=True))
    assert read_state(server, KEYS).last_run is None


def test_a_damaged_record_of_the_last_run_is_named(server: Server):
    server.client.set(KEYS.last_run, '{"version": 1, "layout": 1, "run": "a1b2"}')
    with pytest.raises(StateError, match="The record of the last run of this project is damaged"):
        _ = read_state(server, KEYS).last_run


def test_what_undoes_a_revision_can_be_read_until_it_is_deleted(server: Server):
    writer = _writer(server)
    writer.transact(Transaction(undo={"aaaaaaaaaaaa": {"run": "caf\udce9"}}))
    assert _writer(server).read_undo("aaaaaaaaaaaa") == {"run": "caf\udce9"}
    writer.transact(Transaction(undo={"aaaaaaaaaaaa": None}))
    with pytest.raises(StateError, match="is gone: it told what undoes revision aaaaaaaaaaaa"):
        writer.read_undo("aaaaaaaaaaaa")


def test_what_undoes_a_revision_may_be_gone_when_it_is_deleted(server: Server):
    writer = _writer(server)
    writer.transact(Transaction(last_run=LAST, undo={"aaaaaaaaaaaa": {}, "bbbbbbbbbbbb": {}}))
    server.client.delete(KEYS.undo("aaaaaaaaaaaa"))
    writer.transact(Transaction(end_last_run=True, undo={"aaaaaaaaaaaa": None, "bbbbbbbbbbbb": None}))
    assert not server.client.exists(KEYS.undo("bbbbbbbbbbbb"))


def test_who_lost_the_lock_writes_and_deletes_nothing_that_undoes_a_revision(server: Server):
    writer = _writer(server)
    writer.transact(Transaction(undo={"aaaaaaaaaaaa": {}}))
    server.client.set(KEYS.fence, 2)
    with pytest.raises(FenceLost):
        writer.transact(Transaction(undo={"aaaaaaaaaaaa": None, "bbbbbbbbbbbb": {}}))
    assert server.client.exists(KEYS.undo("aaaaaaaaaaaa"))
    assert not server.client.exists(KEYS.undo("bbbbbbbbbbbb"))
