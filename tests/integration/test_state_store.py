"""Transactions of the state: all of it or nothing, by the holder of the lock alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis
from command_proxy import proxy_to

from redismigrate.errors import (
    AuthenticationFailed,
    CommandRefused,
    ConnectionFailed,
    FenceLost,
    NewerState,
    RunInterrupted,
    ServerOutOfMemory,
)
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias
from redismigrate.schema import IndexSchema, TextField
from redismigrate.schema.create import create_arguments
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import OwnersWriter
from redismigrate.state.store import LONGEST_SCRIPTED_COMMAND, StateWriter, read_state
from redismigrate.state.stored_documents import AppliedRevision, Head
from redismigrate.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redismigrate.redis_server.embedded import EmbeddedServer

KEYS = StateKeys("shop")
CREATE = ("FT.CREATE", "products", "PREFIX", "1", "p:", "SCHEMA", "title", "TEXT")
ALIAS = ("FT.ALIASADD", "catalog", "products")
NO_SUCH_INDEX = ("FT.ALIASADD", "sales", "orders")
DROP = ("FT.DROPINDEX", "products")
RUN = {"id": "a1b2", "step": 3}
HEAD = Head(
    {
        "1b2c3d4e5f60": AppliedRevision(
            parents=(),
            depends_on=(),
            message="create products",
            sha256="0" * 64,
            applied_at="2026-11-20T10:07:00+00:00",
            seconds=0.5,
            by="ann@build redismigrate 0.1.0",
        )
    }
)
PRODUCTS = IndexDefinition(
    schema=IndexSchema(name="products", storage_type="hash", fields=(TextField(name="title"),)),
    physical="products",
    aliases=("catalog",),
    synonyms={"seats": ("couch", "sofa")},
)
CATALOG = Catalog({"products": PRODUCTS})


@pytest.fixture(params=["scripted", "unscripted"])
def any_server(server: Server, request: pytest.FixtureRequest) -> Server:
    """A server that takes FT.* in scripts, and one that does not, as the coordinator of a cluster."""
    if request.param == "unscripted":
        _as_cluster(server)
    return server


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        server.client.set(KEYS.fence, 1)
        yield server


def _as_cluster(server: Server) -> None:
    server.capabilities = replace(server.capabilities, is_cluster=True)


def _writer(server: Server) -> StateWriter:
    return StateWriter(server, KEYS, "1", read_state(server, KEYS))


def _everything(server: Server) -> Any:
    keys = sorted(server.client.scan_iter())
    return {key: server.client.dump(key) for key in keys}, list_indexes(server.client.execute_command)


def _events(server: Server) -> list[dict[bytes, bytes]]:
    entries: Any = server.client.xrange(KEYS.journal)
    return [fields for _, fields in entries]


def test_a_server_without_state_has_no_applied_revision_no_index_and_no_run(server: Server):
    state = read_state(server, KEYS)
    assert (state.head.heads, len(state.catalog), state.run, state.exists) == ((), 0, None, False)


def test_what_is_written_can_be_read(any_server: Server):
    _writer(any_server).transact(Transaction(head=HEAD, catalog=CATALOG, run=RUN, event={"event": "begin"}))
    state = read_state(any_server, KEYS)
    assert (state.head, state.catalog, state.run) == (HEAD, CATALOG, RUN)
    assert _events(any_server) == [{b"event": b"begin"}]


def test_what_is_not_named_stays(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(head=HEAD, catalog=CATALOG, run=RUN))
    writer.transact(Transaction(run={"id": "a1b2", "step": 4}))
    state = read_state(any_server, KEYS)
    assert (state.head, state.catalog) == (HEAD, CATALOG)
    assert state.run == {"id": "a1b2", "step": 4}


def test_the_end_of_a_run_deletes_its_document(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(run=RUN))
    writer.transact(Transaction(end_run=True))
    assert not any_server.client.exists(KEYS.run)
    assert writer.state.run is None
    writer.transact(Transaction(run=RUN))
    assert read_state(any_server, KEYS).run == RUN


def test_the_writer_knows_the_state_that_it_has_written(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(head=HEAD, run=RUN))
    read = read_state(any_server, KEYS)
    assert (writer.state.head, writer.state.catalog, writer.state.run) == (read.head, read.catalog, read.run)
    versions = {name: document.version for name, document in writer.state.documents.items()}
    assert versions == {"head": 1, "indexes": 0, "run": 1, "progress": 1, "last_run": 0}


def test_all_keys_of_the_state_are_strings_or_streams(any_server: Server):
    _writer(any_server).transact(Transaction(head=HEAD, catalog=CATALOG, run=RUN, event={"event": "begin"}))
    OwnersWriter(any_server, KEYS, "1").claim("products")
    types = {any_server.client.type(key) for key in any_server.client.scan_iter()}
    assert types == {b"string", b"stream"}


def test_every_write_counts_the_version_of_its_document_up(any_server: Server):
    writer = _writer(any_server)
    for version in (1, 2, 3):
        writer.transact(Transaction(run=RUN))
        assert json.loads(any_server.client.get(KEYS.run))["version"] == version


def test_a_document_that_somebody_else_has_written_is_not_overwritten(any_server: Server):
    first, second = _writer(any_server), _writer(any_server)
    first.transact(Transaction(run=RUN))
    before = _everything(any_server)
    with pytest.raises(RunInterrupted) as caught:
        second.transact(Transaction(head=HEAD, run={"id": "ffff"}, event={"event": "begin"}))
    assert caught.value.message == "The state was changed by another process ({redismigrate:shop}:run)."
    assert caught.value.exit_code == 7
    assert _everything(any_server) == before


def test_a_document_that_somebody_has_deleted_is_not_written(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(run=RUN))
    any_server.client.delete(KEYS.run)
    with pytest.raises(RunInterrupted, match="was changed by another process"):
        writer.transact(Transaction(run=RUN))
    assert not any_server.client.exists(KEYS.run)


def test_a_document_that_somebody_has_edited_by_hand_is_not_overwritten(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(run=RUN))
    any_server.client.set(KEYS.run, '{"layout": 1, "version": 1}')
    with pytest.raises(RunInterrupted, match="was changed by another process"):
        writer.transact(Transaction(run=RUN))


def test_commands_are_not_run_when_a_document_was_changed(server: Server):
    writer = _writer(server)
    _writer(server).transact(Transaction(run=RUN))
    with pytest.raises(RunInterrupted):
        writer.transact(Transaction(run=RUN, commands=[CREATE]))
    assert list_indexes(server.client.execute_command) == ()


def test_who_lost_the_lock_writes_nothing_and_runs_no_command(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(run=RUN))
    any_server.client.incr(KEYS.fence)
    before = _everything(any_server)
    with pytest.raises(FenceLost) as caught:
        writer.transact(Transaction(head=HEAD, end_run=True, event={"event": "x"}, commands=[CREATE, ALIAS]))
    assert caught.value.message == "Another process has taken over the lock of this project; this one stops."
    assert "`redismigrate status`" in caught.value.hint
    assert caught.value.exit_code == 7
    assert _everything(any_server) == before


def test_who_finds_the_record_deleted_is_told_that_and_writes_nothing(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction(run=RUN))
    any_server.client.delete(*any_server.client.keys(f"{KEYS.fence.rpartition(':')[0]}:*"))
    with pytest.raises(FenceLost) as caught:
        writer.transact(Transaction(head=HEAD, end_run=True, event={"event": "x"}, commands=[CREATE, ALIAS]))
    assert caught.value.message.startswith("The record of this project was deleted from Redis meanwhile")
    assert caught.value.exit_code == 7
    assert any_server.client.keys(f"{KEYS.fence.rpartition(':')[0]}:*") == []


def test_who_lost_the_lock_learns_it_even_from_an_empty_transaction(any_server: Server):
    writer = _writer(any_server)
    writer.transact(Transaction())
    any_server.client.delete(KEYS.fence)
    with pytest.raises(FenceLost):
        writer.transact(Transaction())


def test_who_asks_whether_the_state_is_kept_is_told_what_became_of_it(server: Server):
    writer = _writer(server)
    writer.transact(Transaction(run=RUN))
    writer.transact(Transaction(progress={"position": 1}))
    writer.require_kept()
    saved = server.client.get(KEYS.progress)
    writer.transact(Transaction(progress={"position": 2}))
    server.client.set(KEYS.progress, saved)
    with pytest.raises(RunInterrupted, match=r"has not kept the state .*:progress"):
        writer.require_kept()
    server.client.set(KEYS.fence, "2")
    with pytest.raises(FenceLost, match="Another process has taken over the lock"):
        writer.require_kept()
    server.client.flushall()
    with pytest.raises(FenceLost, match="The record of this project was deleted"):
        writer.require_kept()


def test_a_write_of_the_state_aborts_no_batch_that_watches_the_fence(server: Server, redis_url: str):
    with redis.Redis.from_url(redis_url) as other:
        pipeline = other.pipeline(transaction=True)
        pipeline.watch(KEYS.fence)
        _writer(server).transact(Transaction(run=RUN, event={"event": "beat"}))
        pipeline.multi()
        pipeline.set("document", "new")
        assert pipeline.execute() == [True]
    assert server.client.get(KEYS.fence) == b"1"


def test_a_server_over_maxmemory_refuses_a_write_before_its_commands(server: Server):
    """FT.DROPINDEX alone would pass: the index would be gone, and no record say so."""
    writer = _writer(server)
    writer.transact(Transaction(commands=[CREATE]))
    server.client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(ServerOutOfMemory):
            writer.transact(Transaction(commands=[DROP]))
        assert list_indexes(server.client.execute_command) == ("products",)
    finally:
        server.client.config_set("maxmemory", "0")


def test_commands_and_documents_are_carried_out_together(any_server: Server):
    _writer(any_server).transact(
        Transaction(head=HEAD, catalog=CATALOG, run=RUN, event={"event": "step"}, commands=[CREATE, ALIAS])
    )
    assert resolve_alias(any_server.client.execute_command, "catalog") == "products"
    assert read_state(any_server, KEYS).head == HEAD


def test_other_clients_see_commands_and_documents_at_once(server: Server, redis_url: str):
    """An index and the note of it are one script: no client finds one without the other."""
    writer = _writer(server)
    with redis.Redis.from_url(redis_url) as other:
        for at in range(1, 30):
            writer.transact(
                Transaction(run={"index": at}, commands=[("FT.CREATE", f"i{at}", "SCHEMA", "t", "TEXT")])
            )
            pipeline = other.pipeline(transaction=True)
            pipeline.execute_command("FT._LIST")
            pipeline.get(KEYS.run)
            indexes, document = pipeline.execute()
            assert len(indexes) == json.loads(document)["index"] == at


def test_a_refused_command_writes_nothing_and_tells_the_reason(any_server: Server):
    writer = _writer(any_server)
    before = _everything(any_server)
    with pytest.raises(CommandRefused) as caught:
        writer.transact(Transaction(head=HEAD, event={"event": "step"}, commands=[NO_SUCH_INDEX]))
    assert caught.value.position == 0
    message = caught.value.message
    assert message.startswith("Redis refused FT.ALIASADD sales: ")
    assert "Unknown index name" in message or "no such index" in message
    assert _everything(any_server) == before


def test_a_refused_command_has_those_before_it_put_back(any_server: Server):
    writer = _writer(any_server)
    before = _everything(any_server)
    with pytest.raises(CommandRefused) as caught:
        writer.transact(Transaction(head=HEAD, commands=[CREATE, ALIAS, NO_SUCH_INDEX], put_back=[DROP]))
    assert caught.value.position == 2
    assert _everything(any_server) == before
    assert resolve_alias(any_server.client.execute_command, "catalog") is None
    assert writer.state.head == Head()


@pytest.mark.parametrize("is_scripted", [True, False])
def test_a_missing_right_to_a_later_command_has_those_before_it_put_back(
    server: Server, redis_url: str, *, is_scripted: bool
):
    _writer(server).transact(Transaction(commands=[CREATE]))
    before = list_indexes(server.client.execute_command), read_state(server, KEYS).documents
    rights = ("on", ">pw", "~*", "+@all", "-ft.aliasadd")
    server.client.execute_command("ACL", "SETUSER", "limited", *rights)
    with connect(redis_url.replace("unix://", "unix://limited:pw@")) as other:
        if not is_scripted:
            _as_cluster(other)
        with pytest.raises(CommandRefused, match=r"Redis refused FT\.ALIASADD catalog: ") as caught:
            _writer(other).transact(Transaction(run=RUN, commands=[DROP, ALIAS], put_back=[CREATE]))
    server.client.execute_command("ACL", "DELUSER", "limited")
    assert caught.value.position == 1
    assert (list_indexes(server.client.execute_command), read_state(server, KEYS).documents) == before


def test_nothing_is_put_back_when_the_first_command_is_refused(any_server: Server):
    any_server.execute(*CREATE)
    with pytest.raises(CommandRefused, match="Index already exists"):
        _writer(any_server).transact(Transaction(run=RUN, commands=[CREATE], put_back=[DROP]))
    assert list_indexes(any_server.client.execute_command) == ("products",)


def test_a_command_that_puts_back_may_be_refused(any_server: Server):
    with pytest.raises(CommandRefused, match=r"Redis refused FT\.ALIASADD sales"):
        _writer(any_server).transact(
            Transaction(commands=[CREATE, NO_SUCH_INDEX], put_back=[("FT.DROPINDEX", "orders"), DROP])
        )
    assert list_indexes(any_server.client.execute_command) == ()


def test_the_writer_can_go_on_after_a_refusal(any_server: Server):
    writer = _writer(any_server)
    with pytest.raises(CommandRefused):
        writer.transact(Transaction(run=RUN, commands=[NO_SUCH_INDEX]))
    writer.transact(Transaction(run=RUN, commands=[CREATE]))
    assert read_state(any_server, KEYS).run == RUN


@pytest.mark.parametrize("layout", ["one create", "dropped and created again"])
def test_more_arguments_than_lua_can_unpack_are_no_problem(server: Server, layout: str):
    """5,000 prefixes and 1,000 fields are what Redis Search takes at most."""
    schema = IndexSchema(
        name="products",
        storage_type="hash",
        prefixes=tuple(f"p{number}:" for number in range(5000)),
        max_text_fields=True,
        fields=tuple(TextField(name=f"t{at}") for at in range(100)),
    )
    large = list(create_arguments(schema))
    for number in range(900):
        large += [f"n{number}", "NUMERIC", "SORTABLE"]
    assert len(large) > LONGEST_SCRIPTED_COMMAND
    commands: list[Any] = [large, ALIAS]
    if layout == "dropped and created again":
        server.execute(*CREATE)
        commands.insert(0, DROP)
    _writer(server).transact(Transaction(run=RUN, commands=commands))
    live = read_index(server.client.execute_command, "catalog")
    assert live is not None
    assert (len(live.schema.prefixes), len(live.schema.fields)) == (5000, 1000)
    assert read_state(server, KEYS).run == RUN


def test_a_large_command_that_is_refused_has_those_before_it_put_back(server: Server):
    server.execute(*CREATE)
    large = ["FT.CREATE", "products", "PREFIX", "8000", *(f"p{number}:" for number in range(8000)), "SCHEMA"]
    with pytest.raises(CommandRefused) as caught:
        _writer(server).transact(Transaction(run=RUN, commands=[DROP, large], put_back=[CREATE]))
    assert caught.value.position == 1
    assert list_indexes(server.client.execute_command) == ("products",)
    assert read_state(server, KEYS).run is None


def test_the_journal_is_trimmed(server: Server):
    pipeline = server.client.pipeline(transaction=False)
    for _ in range(12_000):
        pipeline.xadd(KEYS.journal, {"event": "old"})
    pipeline.execute()
    _writer(server).transact(Transaction(event={"event": "new"}))
    assert 10_000 <= server.client.xlen(KEYS.journal) < 10_200
    assert _events(server)[-1] == {b"event": b"new"}


def test_names_that_are_not_utf8_are_kept_in_the_journal(any_server: Server):
    _writer(any_server).transact(Transaction(event={"event": "step", "index": "caf\udce9"}))
    assert _events(any_server) == [{b"event": b"step", b"index": b"caf\xe9"}]


def test_a_state_of_a_newer_version_is_refused(server: Server):
    server.client.set(KEYS.head, '{"version": 4, "layout": 2, "news": []}')
    with pytest.raises(NewerState) as caught:
        read_state(server, KEYS)
    assert caught.value.message == (
        "The state of this project has layout 2; this version of redismigrate knows 1."
    )


def test_a_write_whose_reply_is_lost_is_not_done_twice(server: Server, redis_server: EmbeddedServer):
    proxy = proxy_to(redis_server, (1, (b"begin",)), "reply", is_restored=True)
    with proxy, connect(proxy.url) as through:
        writer = _writer(through)
        with pytest.raises(ConnectionFailed, match="Can't reach Redis at"):
            writer.transact(Transaction(run=RUN, event={"event": "begin"}))
        with pytest.raises(RunInterrupted, match="was changed by another process"):
            writer.transact(Transaction(run=RUN, event={"event": "begin"}))
    assert len(_events(server)) == 1


def test_a_journal_that_is_no_stream_refuses_a_write_before_its_commands(server: Server):
    writer = _writer(server)
    writer.transact(Transaction(commands=[CREATE]))
    server.client.delete(KEYS.journal)
    server.client.set(KEYS.journal, "not ours")
    before = _everything(server)

    with pytest.raises(redis.ResponseError, match="is no stream"):
        writer.transact(Transaction(run=RUN, event={"event": "step"}, commands=[DROP]))

    assert _everything(server) == before


@pytest.mark.parametrize("lacking", ["-xadd", "-set"])
def test_a_right_that_lacks_for_the_record_refuses_a_write_before_its_commands(
    server: Server, redis_url: str, lacking: str
):
    _writer(server).transact(Transaction(commands=[CREATE]))
    server.client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", lacking)
    before = _everything(server)

    with (
        connect(redis_url.replace("unix://", "unix://limited:pw@")) as other,
        pytest.raises(AuthenticationFailed, match=lacking[1:].upper()),
    ):
        _writer(other).transact(Transaction(run=RUN, event={"event": "step"}, commands=[DROP]))

    server.client.execute_command("ACL", "DELUSER", "limited")
    assert _everything(server) == before
