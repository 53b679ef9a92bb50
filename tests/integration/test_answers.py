"""An index that was built beside another one has to answer as that does before it takes its names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis
from servers import server_has
from signalled_process import KILLED, kill_at
from vector_documents import TO_FLOAT16, migrate, stock, vector

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import RunFailed
from redismigrate.execution.indexes.validation import require_as_asked
from redismigrate.execution.run import Baseline
from redismigrate.execution.steps import answers
from redismigrate.execution.steps import runner as steps
from redismigrate.execution.steps.answers import different_answer
from redismigrate.redis_server.connection import connect_like
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.redisvl import schema_from_redisvl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conftest import Shop

PRODUCTS = 60
TO_HNSW = "with op.index('products') as index:\n    index.alter_field('embedding', algorithm='hnsw')"


def test_equal_vectors_are_no_difference_whichever_documents_are_found(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    for number in range(PRODUCTS):
        shop.client.hset(f"p:{number}", "embedding", vector(1))
    shop.write(TO_HNSW)
    assert migrate(shop, {}).result == "done"


def lacks_all() -> str:
    """What is told of an index over nothing; vectors are counted by the debugging command alone."""
    if server_has("search debugging"):
        return "field embedding: 0 vectors instead of 60"
    return "all documents: 0 documents instead of 5"


def build_it_over_nothing(shop: Shop) -> None:
    """As another client could: the same index, which was never shown a document."""
    (physical,) = set(list_indexes(shop.client.execute_command)) - {"products"}
    fields = ("title", "TEXT", "embedding", "VECTOR", "HNSW", "6")
    options = ("TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2")
    shop.client.execute_command("FT.DROPINDEX", physical)
    create = ("FT.CREATE", physical, "PREFIX", "1", "p:", "SKIPINITIALSCAN", "SCHEMA", *fields, *options)
    shop.client.execute_command(*create)


def test_an_index_that_lacks_vectors_does_not_take_over(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    with pytest.raises(RunFailed, match=lacks_all()):
        migrate(shop, {"validate_index": lambda: build_it_over_nothing(shop)})
    assert list_indexes(shop.client.execute_command) == ("products",)
    assert shop.hits("products") == PRODUCTS


def definition(physical: str) -> IndexDefinition:
    attributes = {"algorithm": "flat", "dims": 8, "distance_metric": "l2"}
    embedding = {"name": "embedding", "type": "vector", "attrs": attributes}
    index = {"name": physical, "prefix": "p:"}
    brand = {"name": "brand", "type": "tag"}
    schema = schema_from_redisvl({"index": index, "fields": [brand, embedding]})
    return IndexDefinition(schema, physical)


@pytest.fixture(scope="module")
def lazy_client() -> Iterator[redis.Redis]:
    """Of a server that removes what has expired only when it is read: any other one is late with it, too."""
    with (
        EmbeddedServer(server_arguments=("--enable-debug-command", "yes")) as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        yield client


def build_both(client: redis.Redis, expiring: str, options: Sequence[str] = ()) -> None:
    """Three documents, an index over them, and another one made after a field of one of them has expired."""
    embedding = ("embedding", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2")
    fields = ("SCHEMA", "brand", "TAG", *embedding)
    client.flushall()
    client.execute_command("FT.CREATE", "old", "PREFIX", "1", "p:", *fields)
    for number in range(3):
        client.hset(f"p:{number}", mapping={"brand": "nike", "embedding": vector(number)})
    moment = int(time.time() * 1000) + 1
    client.hpexpireat("p:1", moment, expiring)
    while time.time() * 1000 <= moment:
        time.sleep(0.001)
    client.execute_command("FT.CREATE", "new", "PREFIX", "1", "p:", *options, *fields)
    while not is_ready(client, "new"):
        time.sleep(0.001)


def is_ready(client: redis.Redis, physical: str) -> bool:
    reply = client.execute_command("FT.INFO", physical)
    return int(reply[reply.index(b"indexing") + 1]) == 0


@pytest.mark.parametrize("expiring", ["embedding", "brand"])
def test_what_has_expired_is_not_missed(lazy_client: redis.Redis, expiring: str) -> None:
    build_both(lazy_client, expiring)
    with connect_like(lazy_client) as server:
        assert different_answer(server, definition("old"), definition("new"), print) is None


def test_what_has_not_expired_is_missed(lazy_client: redis.Redis) -> None:
    build_both(lazy_client, "embedding", ["SKIPINITIALSCAN"])
    with connect_like(lazy_client) as server:
        told = different_answer(server, definition("old"), definition("new"), print)
    # Redis 8 may have removed the vector that has expired, whatever it was told about that.
    assert told in {f"field embedding: 0 vectors instead of {held}" for held in (2, 3)}


def test_farther_neighbours_are_told(client: redis.Redis) -> None:
    # How far those of a graph are is chance; an index over other documents has farther ones for sure.
    options = ("embedding", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2")
    for physical, prefix, first in (("old", "p:", 0), ("new", "q:", 60)):
        client.execute_command("FT.CREATE", physical, "PREFIX", "1", prefix, "SCHEMA", *options)
        for number in range(first, first + 30):
            client.hset(f"{prefix}{number}", "embedding", vector(number))
    remarks: list[str] = []

    difference = different_answer(connect_like(client), definition("old"), definition("new"), remarks.append)

    assert difference is None
    (remark,) = remarks
    assert remark.startswith("new finds farther neighbours than old: ")
    assert " 0% of them are as near" in remark


def test_farther_neighbours_are_no_reason_to_stop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SMALLEST_SHARE", 1.01)  # than all of them
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    result = shop.run("upgrade")
    assert result.code == 0
    assert "finds farther neighbours than products" in " ".join((result.out + result.err).split())


def test_an_index_may_lack_as_many_documents_as_are_allowed_to_fail(shop: Shop) -> None:
    stock(shop, 3)
    shop.client.hset("p:0", "price", "cheap")
    shop.write(
        "with op.index('products') as index:\n"
        "    index.add_field({'name': 'price', 'type': 'numeric'})\n"
        "    index.alter_field('embedding', algorithm='hnsw')"
    )
    with pytest.raises(RunFailed, match="1 documents can't be indexed in products"):
        migrate(shop, {})
    assert shop.hits("products") == 3

    assert migrate(shop, {}, max_failures=1).result == "done"

    assert shop.hits("products") == 2


def test_what_is_allowed_to_fail_excuses_no_other_document(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    with pytest.raises(RunFailed, match=lacks_all()):
        migrate(shop, {"validate_index": lambda: build_it_over_nothing(shop)}, max_failures=PRODUCTS)


def test_a_document_that_becomes_another_type_is_asked_about_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(shop, 3)
    shop.write(TO_HNSW)
    found = answers._found

    def find(*arguments: Any) -> list[bytes]:
        keys = found(*arguments)
        shop.client.delete("p:1")
        shop.client.set("p:1", "no document any more")
        return keys

    monkeypatch.setattr(answers, "_found", find)
    assert migrate(shop, {}).result == "done"


@pytest.mark.parametrize("moment", ["before the documents are counted", "before the answers are compared"])
def test_what_is_still_written_in_the_old_form_does_not_stop_the_final_index(
    shop: Shop, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(shop, 3)
    shop.write(TO_FLOAT16)

    def write_and_validate(*arguments: Any, **options: Any) -> None:
        if moment == "before the answers are compared":
            require_as_asked(*arguments, **options)
        shop.client.hset("p:1", "embedding", vector(9))
        if moment == "before the documents are counted":
            require_as_asked(*arguments, **options)

    monkeypatch.setattr(steps, "require_as_asked", write_and_validate)

    assert migrate(shop, {}, strategy="shadow_field").result == "done"

    assert shop.client.hget("p:1", "embedding") == vector(9, "float16")
    assert shop.hits("products") == 3


def test_a_document_that_becomes_another_type_is_not_counted_as_lost(client: redis.Redis) -> None:
    embedding = ("embedding", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", "8", "DISTANCE_METRIC", "L2")
    client.execute_command("FT.CREATE", "new", "PREFIX", "1", "p:", "SCHEMA", "brand", "TAG", *embedding)
    client.hset("p:1", "embedding", b"no vector")

    def nobody(keys: Sequence[bytes]) -> frozenset[bytes]:
        client.delete(*keys)
        client.set("p:1", "no document any more")
        return frozenset()

    with connect_like(client) as server:
        require_as_asked(server, definition("new"), Baseline(), 0, counts_on=False, is_excused=nobody)


def test_writers_that_are_never_done_do_not_stop_the_final_index(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(shop, 3)
    shop.write(TO_FLOAT16)
    found = answers._found

    def write_and_find(*arguments: Any) -> list[bytes]:
        shop.client.hset("p:1", "embedding", vector(9))
        return found(*arguments)

    monkeypatch.setattr(answers, "_found", write_and_find)

    assert migrate(shop, {}, strategy="shadow_field").result == "done"

    assert shop.client.hget("p:1", "embedding") == vector(9, "float16")


def test_what_is_written_while_nobody_follows_does_not_stop_the_final_index(shop: Shop) -> None:
    stock(shop, 3)
    shop.write(TO_FLOAT16)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    options = MigrationOptions(strategy="shadow_field")
    steps_ahead = [
        step.kind for step in commands.plan(project, "head", "upgrade", options).revisions[0].steps
    ]
    last = len(steps_ahead) - steps_ahead[::-1].index("validate_index")
    assert kill_at(shop, "upgrade", "head", at=last, options=options) == KILLED
    for number in range(2):
        shop.client.hset(f"p:{number}", "embedding", vector(9))

    result = shop.run("upgrade")

    assert result.code == 0, result.err
    assert shop.client.hget("p:1", "embedding") == vector(9, "float16")
    assert shop.hits("products") == 3


def test_a_vector_of_zeros_is_no_query(shop: Shop) -> None:
    attrs = {"algorithm": "hnsw", "dims": 8, "distance_metric": "cosine", "datatype": "float32"}
    schema = {
        "index": {"name": "products", "prefix": "p:"},
        "fields": [
            {"name": "embedding", "type": "vector", "attrs": attrs},
            {"name": "title", "type": "text"},
        ],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    shop.client.hset("p:0", "embedding", bytes(32))
    for number in range(1, 40):
        vector = np.random.default_rng(number).normal(size=8).astype("<f4").tobytes()
        shop.client.hset(f"p:{number}", "embedding", vector)
    assert shop.run("upgrade", "head").code == 0
    shop.write("with op.index('products') as index: index.set_options(stopwords=[])")
    result = shop.run("upgrade", "head")
    assert result.code == 0
    assert "farther neighbours" not in result.out + result.err
