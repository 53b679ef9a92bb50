"""Few documents among many keys: shown to their new index one by one, which must miss none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import Shop
from vector_documents import (
    CHANGE,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    add_products,
    applied,
    creation,
    documents,
    kill_before,
    migrate,
    stock,
    vector,
)

from redismigrate.redis_server.embedded import EmbeddedServer

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 100
OTHER_KEYS = 20_000
# Far away, so that nothing expires: 2100-01-01 in milliseconds.
EXPIRY = 4_102_444_800_000


@pytest.fixture
def few(shop: Shop) -> Shop:
    """The shop with 100 products in an index of float32 vectors, among 20,000 other keys."""
    return _filled(shop)


def _filled(shop: Shop) -> Shop:
    shop.client.mset({f"session:{number}": number for number in range(OTHER_KEYS)})
    stock(shop, PRODUCTS)
    return shop


def steps(shop: Shop, *arguments: str) -> dict[str, str]:
    """The kinds of the planned steps with their descriptions, in order."""
    (revision,) = shop.run("plan", *arguments, "--json").json["revisions"]
    return {step["kind"]: step["description"] for step in revision["steps"]}


def neighbours(shop: Shop, datatype: str = "float16", index: str = "products") -> int:
    """How many documents the nearest-neighbour search finds: those whose vector is in the index."""
    execute: Any = shop.client.execute_command
    query = "*=>[KNN 10000 @embedding $vector]"
    parameters = ("PARAMS", 2, "vector", vector(1, datatype), "DIALECT", 2, "LIMIT", 0, 0)
    return int(execute("FT.SEARCH", index, query, *parameters)[0])


def test_the_plan_says_that_documents_are_shown_to_the_index(few: Shop):
    few.write(TO_FLOAT16)

    planned = steps(few)

    kinds = list(planned)
    assert kinds[kinds.index("create_index") + 1] == "index_documents"
    assert planned["index_documents"] == (
        "show the documents to products, which is faster than its scan of all keys"
    )


def test_where_keys_are_not_so_many_the_server_scans_them(few: Shop):
    few.client.delete(*(f"session:{number}" for number in range(200)))
    few.write(TO_FLOAT16)

    assert "index_documents" not in steps(few)


def test_where_every_tenth_key_is_a_document_the_server_scans_them(few: Shop):
    add_products(few, 2100)
    few.write(TO_FLOAT16)

    assert "index_documents" not in steps(few)


def test_json_documents_are_scanned_by_the_server(few: Shop):
    few.client.execute_command("JSON.SET", "a:1", "$", '{"title": "news"}')
    schema = {
        "index": {"name": "articles", "prefix": "a:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text"}],
    }
    few.write(f"op.create_index({schema!r})")
    applied(few)
    few.write("with op.index('articles') as index: index.rename_field('title', 'headline')")

    assert "index_documents" not in steps(few, "--exclusive")


@pytest.mark.parametrize("exclusive", [(), ("--exclusive",)], ids=["with writers", "exclusive"])
def test_every_document_is_in_the_index_afterwards_with_its_vector(few: Shop, exclusive: tuple[str, ...]):
    few.write(TO_FLOAT16, TO_FLOAT32)

    counts = applied(few, *exclusive)

    assert (counts["rewritten"], few.hits("products"), neighbours(few)) == (PRODUCTS, PRODUCTS, PRODUCTS)
    applied(few, "-1", *exclusive, verb="downgrade")
    assert (few.hits("products"), neighbours(few, "float32")) == (PRODUCTS, PRODUCTS)


@pytest.mark.parametrize("exclusive", [(), ("--exclusive",)], ids=["with writers", "exclusive"])
def test_documents_without_a_vector_are_in_the_index_too(few: Shop, exclusive: tuple[str, ...]):
    few.add_documents(30, "p:plain", title="sandal {n}")
    few.write(TO_FLOAT16)

    applied(few, *exclusive)

    assert few.hits("products", "sandal") == 30
    assert (few.hits("products"), neighbours(few)) == (PRODUCTS + 30, PRODUCTS)


def test_documents_that_can_not_be_rewritten_are_shown_to_the_index_as_well(few: Shop):
    few.client.hset("p:5", "embedding", b"short")
    few.write(CHANGE + "index.alter_field('embedding', datatype='float16'); index.drop_field('title')")

    counts = applied(few, "--exclusive", "--max-failures", "1")

    assert [failed["key"] for failed in counts["failed"]] == ["p:5"]
    assert few.hits("products") == PRODUCTS - 1
    few.client.hset("p:5", "embedding", vector(5, "float16"))
    assert neighbours(few) == PRODUCTS


@pytest.mark.parametrize("kind", ["drop_index", "rewrite_documents", "create_index", "index_documents"])
def test_documents_that_come_while_the_index_is_down_are_in_it(few: Shop, kind: Any):
    few.write(TO_FLOAT16)
    come = iter((few.add_documents,))

    def write() -> None:
        for add in come:
            add(20, "p:new", title="sandal {n}", embedding=vector(3, "float16"))
            add(20, "p:late", title="sandal {n}", embedding=vector(3))

    result = migrate(few, {kind: write})

    assert result.documents.left_in_old_type == 0
    assert few.hits("products", "sandal") == 40
    assert (few.hits("products"), neighbours(few)) == (PRODUCTS + 40, PRODUCTS + 40)


def test_documents_that_move_to_another_prefix_are_in_the_index(few: Shop):
    few.client.hset(b"p:\xff\n*", mapping={"title": "sandal", "embedding": vector(3)})
    few.write(TO_NEW_PREFIX, TO_OLD_PREFIX)

    applied(few, "--exclusive")

    assert (few.hits("products"), few.hits("products", "sandal")) == (PRODUCTS + 1, 1)
    applied(few, "-1", "--exclusive", verb="downgrade")
    assert (few.hits("products"), neighbours(few, "float32")) == (PRODUCTS + 1, PRODUCTS + 1)


def test_documents_that_have_the_new_prefix_from_the_beginning_are_in_the_index(few: Shop):
    add_products(few, 20, "q:old")
    few.write(TO_NEW_PREFIX)

    applied(few, "--exclusive")

    assert (few.hits("products"), neighbours(few, "float32")) == (PRODUCTS + 20, PRODUCTS + 20)


def test_what_a_filter_keeps_out_of_a_scan_it_keeps_out_afterwards(few: Shop):
    # A write lets pass what lacks a field that the FILTER names; the scan of a new index does not.
    few.client.hset("p:5", "rank", 9)
    few.write(CHANGE + "index.set_options(filter='@rank > 5')")
    applied(few)
    assert few.hits("products") == 1
    few.write(CHANGE + "index.rename_field('title', 'name')")

    assert "index_documents" not in steps(few, "--exclusive")
    applied(few, "--exclusive")

    assert few.hits("products") == 1


def test_documents_that_another_index_has_rewritten_already_are_shown_to_this_one(few: Shop):
    prefixes = creation("everything").replace("'prefix': 'p:'", "'prefix': ['p:', 'q:']")
    few.write(prefixes, "op.drop_index('everything')")
    add_products(few, 40, "q:")
    applied(few)
    few.write(TO_FLOAT16 + "\n" + TO_FLOAT16.replace("products", "everything"))

    applied(few)

    assert (few.hits("products"), neighbours(few)) == (PRODUCTS, PRODUCTS)
    assert few.hits("everything") == PRODUCTS + 40
    assert neighbours(few, index="everything") == PRODUCTS + 40


def test_times_to_live_of_fields_and_keys_survive(few: Shop):
    few.client.hset("p:only", "embedding", vector(3))
    for number in range(40):
        few.client.hpexpireat(f"p:{number}", EXPIRY + number, "embedding", "title")
    few.client.hpexpireat("p:only", EXPIRY, "embedding")
    few.client.pexpireat("p:50", EXPIRY)
    few.write(TO_FLOAT16)

    applied(few)

    for number in range(40):
        moments = few.client.hpexpiretime(f"p:{number}", "embedding", "title")
        assert moments == [EXPIRY + number] * 2, number
    assert few.client.hpexpiretime("p:only", "embedding") == [EXPIRY]
    assert few.client.pexpiretime("p:50") == EXPIRY
    assert neighbours(few) == PRODUCTS + 1


def test_nothing_of_a_document_but_its_vector_changes(few: Shop):
    few.client.hset("p:3", b"\xfe\n", b"\x00other")
    before = documents(few)
    few.write(TO_FLOAT16)

    applied(few)

    for key, product in before.items():
        number = int(key.removeprefix(b"p:"))
        before[key] = {**product, b"embedding": vector(number, "float16")}
    assert documents(few) == before


@pytest.mark.parametrize("command", ["upgrade", "rollback"])
@pytest.mark.parametrize("kind", ["index_documents", "wait_for_index", "catch_up_documents"])
def test_a_run_that_is_killed_there_is_finished_or_undone(few: Shop, kind: Any, command: str):
    before = documents(few)
    few.write(TO_FLOAT16)
    kill_before(few, kind, "upgrade", "head")

    applied(few, verb=command)

    datatype = "float16" if command == "upgrade" else "float32"
    assert (few.hits("products"), neighbours(few, datatype)) == (PRODUCTS, PRODUCTS)
    assert (documents(few) == before) == (command == "rollback")


def test_documents_that_the_change_takes_in_are_shown_to_the_index(few: Shop):
    few.add_documents(15, "p:hidden", title="sandal", hidden="1")
    few.add_documents(15, "q:", title="sandal")
    few.write(
        CHANGE + "index.set_options(filter='!exists(@hidden)')",
        CHANGE + "index.set_options(filter=None)",
    )
    applied(few)
    assert few.hits("products") == PRODUCTS
    few.write(TO_FLOAT16 + "; index.set_options(filter=None, prefixes=['p:', 'q:'])")
    assert "index_documents" in steps(few, "--exclusive")

    applied(few, "--exclusive")

    assert (few.hits("products", "sandal"), neighbours(few)) == (30, PRODUCTS)


def test_documents_of_a_prefix_that_the_change_adds_are_shown_to_the_index(few: Shop):
    few.add_documents(15, "q:", title="sandal")
    few.write(TO_FLOAT16 + "; index.set_options(prefixes=['p:', 'q:'])")

    applied(few, "--exclusive")

    assert (few.hits("products", "sandal"), neighbours(few)) == (15, PRODUCTS)


def test_a_filter_keeps_documents_out_as_before(few: Shop):
    few.add_documents(15, "p:hidden", title="sandal", embedding=vector(1), hidden="1")
    few.write(
        CHANGE + "index.set_options(filter='!exists(@hidden)')",
        CHANGE + "index.set_options(filter=None)",
    )
    applied(few)
    few.write(TO_FLOAT16)

    applied(few, "--exclusive")

    assert (few.hits("products"), neighbours(few)) == (PRODUCTS, PRODUCTS)
    assert few.client.hget("p:hidden0", "embedding") == vector(1)


class _SavingServer:
    """A server that can be ended and started again with what SAVE has written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = self._start(port=0)
        self.url = self.server.url

    def start_again(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.save()
        self.server.stop()
        self.server = self._start(port=int(self.url.rpartition(":")[2]))

    def _start(self, port: int) -> EmbeddedServer:
        server = EmbeddedServer(self._folder, port=port, server_arguments=("--appendonly", "no"))
        server.start()
        return server


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[_SavingServer]:
    server = _SavingServer(tmp_path / "data")
    yield server
    server.server.stop()


def test_the_index_is_complete_after_a_restart_of_the_server(shop: Shop, saving: _SavingServer):
    (shop.folder / "redismigrate.toml").write_text(
        f'project = "shop"\nscript_location = "migrations"\nurl = "{saving.url}"\n', encoding="utf-8"
    )
    with redis.Redis.from_url(saving.url, protocol=2) as client:
        restarting = _filled(Shop(shop.folder, saving.url, client, "rebuild"))
        restarting.write(TO_FLOAT16)
        assert "index_documents" in steps(restarting)
        applied(restarting)

        saving.start_again()

        restarting.wait_until_indexed()
        assert (restarting.hits("products"), neighbours(restarting)) == (PRODUCTS, PRODUCTS)
        assert restarting.run("status", "--json").json["problems"] == []
