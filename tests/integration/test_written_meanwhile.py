"""What an application writes while documents are rewritten comes back as it was, or is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from vector_documents import (
    CHANGE,
    DIMS,
    ONE_PASS,
    ONE_PASS_BACK,
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    add_products,
    applied,
    converted,
    creation,
    documents,
    kill_before,
    migrate,
    vector,
)

from redismigrate.execution.documents.in_place import joined_chunks

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.step_life import StepKind

pytestmark = pytest.mark.usefixtures("rebuilding")

COUNT = 6


def near(number: float, offset: float) -> bytes:
    """A float32 vector that float16 can't tell from the one without the offset."""
    return np.full(DIMS, number + offset, np.float32).tobytes()


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Documents 0 and on, indexed."""
    shop.write(creation())
    applied(shop, "head")
    add_products(shop, COUNT)
    shop.wait_until_indexed()
    return shop


def test_a_rollback_brings_back_the_last_of_two_originals_that_become_the_same_value(products: Shop):
    client = products.client
    client.hset("p:3", "embedding", near(4, 0.00002))
    products.write(TO_FLOAT16, TO_FLOAT32)

    def write_again() -> None:
        client.hset("p:3", "embedding", near(4, 0.0001))
        client.hset("p:2", "embedding", near(77, 0))

    result = migrate(products, {"rewrite_documents": write_again})
    rolled_back = products.run("rollback", "--run", str(result.run), "--json")

    assert client.hget("p:3", "embedding") == near(4, 0.0001)
    assert client.hget("p:2", "embedding") == near(77, 0)
    assert rolled_back.json["documents"]["failed"] == []
    assert rolled_back.json["documents"]["rewritten"] == COUNT


def test_a_downgrade_brings_back_the_last_of_two_originals_that_become_the_same_value(products: Shop):
    client = products.client
    client.hset("p:3", "embedding", near(4, 0.00002))
    products.write(TO_FLOAT16, TO_FLOAT32)
    migrate(products, {"rewrite_documents": lambda: client.hset("p:3", "embedding", near(4, 0.0001))})

    applied(products, "-1", verb="downgrade")

    assert client.hget("p:3", "embedding") == near(4, 0.0001)


@pytest.mark.parametrize("verb", ["rollback", "downgrade"])
def test_of_two_vectors_the_one_that_was_not_written_meanwhile_comes_back_as_well(shop: Shop, verb: str):
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    fields = [{"name": name, "type": "vector", "attrs": attributes} for name in ("a", "b")]
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields!r}}})")
    applied(shop)
    for number in range(COUNT):
        shop.client.hset(f"p:{number}", mapping={"a": vector(number), "b": vector(number + 9)})
    both = "index.alter_field('a', datatype='{0}'); index.alter_field('b', datatype='{0}')"
    shop.write(CHANGE + both.format("float16"), CHANGE + both.format("float32"))

    result = migrate(shop, {"catch_up_documents": lambda: shop.client.hset("p:3", "a", vector(77))})
    arguments = ("--run", str(result.run)) if verb == "rollback" else ("-1",)
    counts = applied(shop, *arguments, verb=verb)

    assert shop.client.hgetall("p:3") == {b"a": vector(77), b"b": vector(12)}
    assert shop.client.hgetall("p:4") == {b"a": vector(4), b"b": vector(13)}
    assert (counts["rewritten"], counts["failed_count"]) == (COUNT, 0)


@pytest.mark.parametrize(
    ("change", "back", "key", "name"),
    [
        (TO_NEW_PREFIX, TO_OLD_PREFIX, "q:new", "title"),
        (
            CHANGE + "index.rename_field('title', 'name')",
            CHANGE + "index.rename_field('name', 'title')",
            "p:new",
            "name",
        ),
    ],
    ids=["prefix", "rename"],
)
def test_a_rollback_tells_of_documents_that_were_written_under_the_new_name(
    products: Shop, change: str, back: str, key: str, name: str
):
    products.write(change, back)
    run = products.run("upgrade", "head", "--exclusive", "--json").json["run"]
    products.client.hset(key, mapping={name: "written since", "embedding": vector(9)})

    told = products.run("rollback", "--run", run, "--json").json["documents"]["failed"]

    assert [document["key"] for document in told] == [key]
    assert "new name" in told[0]["reason"]
    assert products.client.hget(key, name) == b"written since"


def test_a_rollback_tells_of_vectors_of_one_width_that_no_backup_knows(shop: Shop):
    shop.write(creation(datatype="float16"))
    applied(shop, "head")
    add_products(shop, COUNT, datatype="float16")
    shop.write(TO_BFLOAT16, TO_FLOAT16)
    run = shop.run("upgrade", "head", "--json").json["run"]
    shop.client.hset("p:new", mapping={"title": "new", "embedding": vector(9, "bfloat16")})

    told = shop.run("rollback", "--run", run, "--json").json["documents"]["failed"]

    assert [document["key"] for document in told] == ["p:new"]
    assert shop.client.hget("p:1", "embedding") == vector(1, "float16")


@pytest.mark.parametrize("kind", ["record_revision", pytest.param("validate_index", marks=pytest.mark.slow)])
def test_what_is_written_in_the_old_form_while_a_run_is_interrupted_gets_the_new_one(
    products: Shop, kind: StepKind
):
    products.write(TO_FLOAT16, TO_FLOAT32)
    kill_before(products, kind, "upgrade", "head")
    products.client.hset("p:3", "embedding", vector(77))

    counts = applied(products)

    assert products.client.hget("p:3", "embedding") == vector(77, "float16")
    assert (products.hits("products"), counts["rewritten"]) == (COUNT, COUNT + 1)
    applied(products, "-1", verb="downgrade")
    assert products.client.hget("p:3", "embedding") == vector(77)


def test_a_document_with_a_vector_that_can_t_be_converted_stays_whole_as_it_is(shop: Shop):
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    fields = [{"name": name, "type": "vector", "attrs": attributes} for name in ("a", "b")]
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields!r}}})")
    applied(shop, "head")
    for number in range(COUNT):
        shop.client.hset(f"p:{number}", mapping={"a": vector(number), "b": vector(number)})
    too_large = np.full(DIMS, 1e30, np.float32).tobytes()
    shop.client.hset("p:0", "b", "short")
    shop.client.hset("p:1", "b", too_large)
    both = "index.alter_field('a', datatype='float16'); index.alter_field('b', datatype='float16')"
    shop.write(CHANGE + both)

    counts = applied(shop, "head", "--max-failures", "2")

    assert shop.client.hgetall("p:0") == {b"a": vector(0), b"b": b"short"}
    assert shop.client.hgetall("p:1") == {b"a": vector(1), b"b": too_large}
    assert (counts["rewritten"], counts["failed_count"]) == (COUNT - 2, 2)
    assert counts["left_in_old_type"] == 0
    backups = shop.run("backup", "list", "--json").json["backups"]
    assert backups[0]["documents"] == COUNT - 2


def test_more_failures_than_are_listed_are_counted_once(products: Shop):
    many = 150
    for number in range(many):
        products.client.hset(
            f"p:bad {number}", mapping={"embedding": np.full(DIMS, 1e30, np.float32).tobytes()}
        )
    products.write(TO_FLOAT16, TO_FLOAT32)

    counts = applied(products, "head", "--max-failures", str(many))

    assert (counts["failed_count"], len(counts["failed"])) == (many, 100)


def test_documents_that_cannot_move_any_more_stay_whole_while_others_are_under_way(
    products: Shop, monkeypatch: pytest.MonkeyPatch
):
    """Somebody writes after all, to the new name: the vector that was converted already is put back."""
    monkeypatch.setattr(joined_chunks, "CHUNK_BYTES", 1)
    count, step = 100, 9
    add_products(products, count)
    products.write(ONE_PASS, ONE_PASS_BACK)

    def occupy() -> None:
        for number in range(0, count, step):
            products.client.hset(f"p:{number}", "vector", b"x")

    result = migrate(
        products,
        {"rewrite_documents": occupy},
        exclusive=True,
        batch_size=5,
        workers=3,
        max_failures=count,
    )

    assert len(result.documents.failed) == len(range(0, count, step))
    now = documents(products)
    for number in range(count):
        document = now[b"p:%d" % number]
        del document[b"title"]
        if number % step:
            assert document == {b"vector": converted(vector(number), "float32", "float16")}
        else:
            assert document == {b"vector": b"x", b"embedding": vector(number)}


def test_without_writers_documents_are_not_read_again_before_they_are_written(products: Shop):
    products.write(TO_FLOAT16, TO_FLOAT32)
    with products.monitored() as commands:
        applied(products, "head", "--exclusive")

    read = [words[1] for words in commands if words[0] == "HMGET"]
    assert sorted(read) == [f"p:{number}" for number in range(COUNT)]


@pytest.mark.parametrize("expiring", ["a document", "a field"])
def test_a_document_that_expires_while_writers_pause_stays_away(products: Shop, expiring: str):
    products.write(TO_FLOAT16, TO_FLOAT32)
    client = products.client
    if expiring == "a document":
        client.pexpire("p:1", 60_000)
    else:
        client.execute_command("HPEXPIRE", "p:1", 60_000, "FIELDS", 1, "embedding")

    def expire() -> None:
        if expiring == "a document":
            client.pexpire("p:1", 1)
        else:
            client.execute_command("HPEXPIRE", "p:1", 1, "FIELDS", 1, "embedding")
        while client.hexists("p:1", "embedding"):
            pass

    migrate(products, {"rewrite_documents": expire}, exclusive=True)

    assert not client.hexists("p:1", "embedding")
    assert client.exists("p:1") == (expiring == "a field")


def test_all_indexes_of_a_revision_are_read_before_the_first_of_them_goes(shop: Shop):
    for name in ("goods", "parts"):
        shop.write(creation(name, f"{name}:"))
    applied(shop, "head")
    add_products(shop, COUNT, "goods:")
    add_products(shop, COUNT, "parts:")
    shop.client.hset("goods:1", "embedding", "short")
    shop.client.hset("parts:2", "embedding", "short")
    shop.write(
        "\n".join(
            f"with op.index('{name}') as index:\n    index.alter_field('embedding', datatype='float16')"
            for name in ("goods", "parts")
        )
    )

    refused = shop.run("upgrade", "head", "--max-failures", "1", "--json")

    assert refused.code == 1
    assert "--max-failures 2" in refused.json["error"]["message"] + refused.json["error"]["hint"]
    (journal,) = shop.client.scan_iter("*:journal")
    steps = {event.get(b"kind") for _, event in shop.client.xrange(journal)}
    assert b"back_up_documents" in steps
    assert b"drop_index" not in steps
    assert shop.run("upgrade", "head", "--max-failures", "2").code == 0
