"""What the application deletes while an index is built stops no revision; what can't be indexed still does.

The server counts an indexing failure for a document that is gone when it comes to it: one whose time was over
but which was not removed yet, or one that lost its last field.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from servers import accepts
from vector_documents import CHANGE, add_products, applied, migrate, vector

from redismigrate.errors import RunFailed
from redismigrate.execution.indexes import live
from redismigrate.execution.indexes.live import documents_not_in_index, look_at
from redismigrate.execution.indexes.validation import ValidationFailed, baseline_of, require_as_asked
from redismigrate.execution.run import Baseline
from redismigrate.redis_server.connection import connect, connect_like
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.schema.create import create_arguments
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.redisvl import schema_from_redisvl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
STORAGES = ("hash", "json")
ONLY_READY = '@state == "ready"'


@pytest.fixture(scope="module")
def lazy_client() -> Iterator[redis.Redis]:
    """Of a server that removes what has expired only when it is read: any other one is late with it, too."""
    with (
        EmbeddedServer(server_arguments=("--enable-debug-command", "yes")) as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        yield client


def schema(storage: str, filter_: str | None = None) -> dict[str, Any]:
    attributes = {"algorithm": "flat", "dims": 8, "distance_metric": "l2", "datatype": "float32"}
    names = {"state": "tag", "embedding": "vector"}
    fields: list[dict[str, Any]] = [{"name": name, "type": type_} for name, type_ in names.items()]
    fields[1]["attrs"] = attributes
    if storage == "json":
        for field in fields:
            field["path"] = f"$.{field['name']}"
    index = {"name": "products", "prefix": "p:", "storage_type": storage}
    return {"index": index | ({"filter": filter_} if filter_ else {}), "fields": fields}


def definition(storage: str, filter_: str | None = None) -> IndexDefinition:
    return IndexDefinition.plain(schema_from_redisvl(schema(storage, filter_)))


def write(client: redis.Redis, key: str, storage: str, state: str = "ready", components: int = 8) -> None:
    if storage == "hash":
        client.hset(key, mapping={"state": state, "embedding": vector(1)[: 4 * components]})
    else:
        text = json.dumps({"state": state, "embedding": [1.5] * components})
        client.execute_command("JSON.SET", key, "$", text)


def write_and_take_away(client: redis.Redis, key: str, storage: str) -> None:
    """A document that is indexed, and is gone with the last of its values."""
    write(client, key, storage)
    if storage == "hash":
        client.hdel(key, "state", "embedding")
    else:
        client.execute_command("JSON.DEL", key, "$")
    assert not client.exists(key)


def build(client: redis.Redis, storage: str, filter_: str | None) -> None:
    """Documents, of which some expire before the index comes to them; it keeps others out by its filter."""
    client.flushall()
    for number in range(20):
        write(client, f"p:{number}", storage, "ready" if number % 2 else "draft")
    for number in (1, 2, 3):
        client.pexpire(f"p:{number}", 1)
    time.sleep(0.01)
    client.execute_command(*create_arguments(definition(storage, filter_).schema))
    with connect_like(client) as server:
        while (index := look_at(server, "products")) is None or index.statistics.is_indexing:
            time.sleep(0.001)


def lost(client: redis.Redis, wanted: IndexDefinition, max_failures: int = 0) -> int:
    with connect_like(client) as server:
        return require_as_asked(server, wanted, Baseline(), max_failures, counts_on=False).lost


@pytest.mark.parametrize("filter_", [None, ONLY_READY])
@pytest.mark.parametrize("storage", STORAGES)
def test_documents_that_expired_before_the_scan_came_to_them_are_not_counted(
    lazy_client: redis.Redis, storage: str, filter_: str | None
) -> None:
    build(lazy_client, storage, filter_)
    wanted = definition(storage, filter_)
    assert lost(lazy_client, wanted) == 0
    # Beside them one that is there, and that the index can't take.
    write(lazy_client, "p:short", storage, components=5)
    with pytest.raises(
        ValidationFailed, match=r"^1 documents can't be indexed in products; .* key p:short: "
    ):
        lost(lazy_client, wanted)
    assert lost(lazy_client, wanted, 1) == 1
    with connect_like(lazy_client) as server:
        assert baseline_of(server, wanted).unindexed == 1


def test_a_document_whose_key_has_a_zero_byte_is_counted_though_the_index_can_not_be_asked_about_it(
    lazy_client: redis.Redis,
) -> None:
    build(lazy_client, "hash", None)
    write(lazy_client, "p:\0good", "hash")
    write(lazy_client, "p:\0short", "hash", components=5)
    with pytest.raises(
        ValidationFailed, match=r"^1 documents can't be indexed in products; one is key p:.*short: "
    ):
        lost(lazy_client, definition("hash"))


def test_under_a_filter_shapes_that_can_not_be_indexed_are_found_though_they_are_in_the_index(
    client: redis.Redis,
) -> None:
    index = {"name": "places", "prefix": "p:", "filter": ONLY_READY}
    fields = [{"name": "state", "type": "tag"}, {"name": "area", "type": "geoshape"}]
    wanted = IndexDefinition.plain(schema_from_redisvl({"index": index, "fields": fields}))
    client.execute_command(*create_arguments(wanted.schema))
    client.hset("p:1", mapping={"state": "ready", "area": "no shape"})
    client.hset("p:2", mapping={"state": "ready", "area": "no shape either"})
    client.hset("p:draft", mapping={"state": "draft"})
    with pytest.raises(ValidationFailed, match=r"^2 documents can't be indexed in places\."):
        lost(client, wanted)


@pytest.mark.parametrize("storage", STORAGES)
def test_the_document_that_is_named_is_one_that_is_there(lazy_client: redis.Redis, storage: str) -> None:
    build(lazy_client, storage, None)
    write(lazy_client, "p:short", storage, components=5)
    write_and_take_away(lazy_client, "p:gone", storage)
    with pytest.raises(
        ValidationFailed, match=r"^1 documents can't be indexed in products; one is key p:short: f"
    ):
        lost(lazy_client, definition(storage))


@pytest.mark.parametrize("filter_", [None, ONLY_READY])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_a_revision_is_applied_though_documents_are_written_and_deleted_while_it_builds(
    shop: Shop, storage: str, filter_: str | None, strategy: str
) -> None:
    for number in range(20):
        write(shop.client, f"p:{number}", storage, "ready" if number % 2 else "draft")
    shop.write(f"op.create_index({schema(storage, filter_)!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(TO_HNSW)

    def write_and_delete() -> None:
        write_and_take_away(shop.client, "p:gone", storage)
        write(shop.client, "p:21", storage)
        shop.client.delete("p:1", "p:2")

    assert migrate(shop, {"validate_index": write_and_delete}, strategy=strategy).result == "done"
    assert shop.hits("products") == (10 if filter_ else 19)


@pytest.mark.parametrize("filter_", [None, ONLY_READY])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_revision_is_undone_for_a_document_that_can_not_be_indexed_beside_one_that_is_gone(
    shop: Shop, storage: str, filter_: str | None
) -> None:
    for number in range(20):
        write(shop.client, f"p:{number}", storage, "ready" if number % 2 else "draft")
    shop.write(f"op.create_index({schema(storage, filter_)!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(TO_HNSW)

    def spoil() -> None:
        write(shop.client, "p:1", storage, components=5)
        write_and_take_away(shop.client, "p:gone", storage)

    with pytest.raises(
        RunFailed,
        match=r"1 documents can't be indexed in products; "
        r"(one is key p:1: field emb|the last one is key p:1: (Could not add|Invalid) vector)",
    ):
        migrate(shop, {"validate_index": spoil})


def test_a_document_that_comes_and_goes_while_documents_are_looked_at_is_not_counted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been there when keys were listed, and is neither in the index nor there afterwards."""
    add_products(shop, 20)
    shop.write(f"op.create_index({schema('hash')!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(TO_HNSW)
    scan, is_validating = live.scan_some, threading.Event()

    def scan_beside_a_writer(*arguments: Any, **options: Any) -> tuple[int, list[bytes]]:
        if not is_validating.is_set():
            return scan(*arguments, **options)
        write(shop.client, "p:new", "hash")
        found = scan(*arguments, **options)
        shop.client.delete("p:new")
        return found

    def begin() -> None:
        write_and_take_away(shop.client, "p:gone", "hash")
        is_validating.set()

    monkeypatch.setattr(live, "scan_some", scan_beside_a_writer)
    assert migrate(shop, {"validate_index": begin}).result == "done"


def test_documents_that_are_added_while_documents_are_looked_at_hide_none_that_can_not_be_indexed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_products(shop, 20)
    shop.write(f"op.create_index({schema('hash')!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(TO_HNSW)
    scan, is_validating = live.scan_some, threading.Event()

    def scan_beside_a_writer(*arguments: Any, **options: Any) -> tuple[int, list[bytes]]:
        found = scan(*arguments, **options)
        if is_validating.is_set():
            write(shop.client, "p:new", "hash")
        return found

    def begin() -> None:
        write(shop.client, "p:1", "hash", components=5)
        is_validating.set()

    monkeypatch.setattr(live, "scan_some", scan_beside_a_writer)
    with pytest.raises(
        RunFailed, match="1 documents can't be indexed in products; the last one is key p:1: "
    ):
        migrate(shop, {"validate_index": begin})


def test_a_document_that_is_deleted_and_written_anew_all_the_time_is_never_out_of_the_index(
    redis_url: str, client: redis.Redis
) -> None:
    build(client, "hash", None)
    is_over = threading.Event()

    def write_all_the_time() -> None:
        with redis.Redis.from_url(redis_url) as writer:
            while not is_over.is_set():
                writer.delete("p:5")
                write(writer, "p:5", "hash")

    wanted, thread = definition("hash").schema, threading.Thread(target=write_all_the_time)
    thread.start()
    try:
        with connect(redis_url) as server:
            found = [documents_not_in_index(server, wanted, "products", [b"p:5"]) for _ in range(1000)]
    finally:
        is_over.set()
        thread.join()
    assert found == [[]] * 1000


def test_who_may_not_ask_for_a_type_is_told_all_the_same(redis_url: str, client: redis.Redis) -> None:
    build(client, "hash", None)
    for key in ("p:short", "p:secret"):
        write(client, key, "hash", components=5)
    client.execute_command(
        "ACL", "SETUSER", "reader", "on", "nopass", "+@all", "~p:sh*", "~p:?", "~products", "&*"
    )
    try:
        with redis.Redis.from_url(redis_url, protocol=2, username="reader", password="any") as reader:
            if not accepts(reader, "FT.INFO", "products"):
                pytest.skip("this server lets nobody use an index of whose keys some may not be read")
            keys, wanted = [b"p:5", b"p:short", b"p:secret", b"p:gone"], definition("hash").schema
            with connect_like(reader) as server:
                without = documents_not_in_index(server, wanted, "products", keys)
                with_refused = documents_not_in_index(server, wanted, "products", keys, counts_refused=True)
    finally:
        client.execute_command("ACL", "DELUSER", "reader")
    assert without == [b"p:short"]
    assert with_refused == [b"p:short", b"p:secret", b"p:gone"]


@pytest.mark.parametrize("filter_", [None, ONLY_READY])
def test_validate_finds_no_fault_with_what_is_gone(shop: Shop, filter_: str | None) -> None:
    for number in range(4):
        write(shop.client, f"p:{number}", "hash", "ready" if number % 2 else "draft")
    shop.write(f"op.create_index({schema('hash', filter_)!r})", "op.drop_index('products')")
    applied(shop)
    write_and_take_away(shop.client, "p:gone", "hash")
    # It fell out of the index when it was gone, and is one that the filter keeps out by now.
    write(shop.client, "p:gone", "hash", "draft")
    result = shop.run("validate", "--json")
    assert (result.code, result.json["flaws"]) == (0, [])
    for note in result.json["notes"]:
        assert "1 documents could not be indexed since it was made, or were gone" in note
