"""Documents that get another prefix: their keys are renamed in place, with all that hangs on them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from vector_documents import add_products, applied, creation, documents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

COUNT = 30
FAR_AWAY = 4_102_444_800_000
CHANGE = "with op.index('products') as index:\n    "


def to_prefix(old: str, new: str) -> str:
    return f"{CHANGE}index.change_prefix({old!r}, {new!r})"


def keys(shop: Shop) -> list[bytes]:
    return sorted(key for key in shop.client.scan_iter(count=10_000) if not key.startswith(b"{redismigrate"))


def moved(before: Iterable[bytes], old: bytes, new: bytes) -> list[bytes]:
    return sorted(new + key.removeprefix(old) if key.startswith(old) else key for key in before)


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Thirty products under `p:` in an index that the first revision made."""
    add_products(shop, COUNT)
    shop.write(creation())
    applied(shop)
    return shop


@pytest.mark.parametrize("new", ["q:", "p:v2:", "p", "products:", "\udcff *?[:", "p:\t", "é:"])
def test_every_document_moves_under_the_new_prefix_and_back(products: Shop, new: str):
    originals = documents(products)
    products.write(to_prefix("p:", new), to_prefix(new, "p:"))

    counts = applied(products, "--exclusive")

    assert (counts["read"], counts["rewritten"], counts["failed"]) == (COUNT, COUNT, [])
    new_bytes = new.encode("utf-8", "surrogateescape")
    assert documents(products) == {
        new_bytes + key.removeprefix(b"p:"): fields for key, fields in originals.items()
    }
    assert products.hits("products") == COUNT
    applied(products, "-1", "--exclusive", verb="downgrade")
    assert documents(products) == originals
    assert products.hits("products") == COUNT


def test_moving_keys_needs_the_writers_to_be_paused(products: Shop):
    products.write(to_prefix("p:", "q:"))

    products.refuses(
        "upgrade",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: move keys p:* to q:* in the documents of index products "
                "needs --exclusive"
            ),
        ),
    )


def test_keys_of_other_types_and_other_prefixes_stay(products: Shop):
    products.client.set("p:text", "x")
    products.client.hset("pp:1", "title", "x")
    products.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))

    applied(products, "--exclusive")

    assert [key for key in keys(products) if not key.startswith(b"q:")] == [b"p:text", b"pp:1"]


@pytest.mark.parametrize("covered", ["q:", "p:"], ids=["on the way there", "on the way back"])
def test_an_index_of_the_other_type_gets_none_of_the_documents(products: Shop, covered: str):
    client = products.client
    client.execute_command("FT.CREATE", "pages", "ON", "JSON", "PREFIX", 1, covered, "SCHEMA", "$.t", "TEXT")
    client.execute_command("JSON.SET", f"{covered}page", "$", '{"t": "x"}')
    client.pexpireat("p:1", FAR_AWAY)
    client.hpexpireat("p:2", FAR_AWAY, "title")
    originals = documents(products)
    products.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))

    applied(products, "--exclusive")

    assert (products.hits("products"), products.hits("pages")) == (COUNT, 1)
    assert client.pexpiretime("q:1") == FAR_AWAY
    assert client.hpexpiretime("q:2", "title") == [FAR_AWAY]
    applied(products, "-1", "--exclusive", verb="downgrade")
    assert (products.hits("products"), products.hits("pages")) == (COUNT, 1)
    assert documents(products) == originals


def test_of_several_prefixes_only_the_one_that_is_named_moves(shop: Shop):
    for prefix in ("a:", "b:", "c:"):
        add_products(shop, 5, prefix)
    shop.write(creation(prefix=["a:", "b:", "c:"]))  # type: ignore[arg-type]
    applied(shop)
    before = keys(shop)
    shop.write(to_prefix("b:", "new:"), to_prefix("new:", "b:"))

    counts = applied(shop, "--exclusive")

    assert (counts["read"], counts["rewritten"]) == (15, 5)
    assert keys(shop) == moved(before, b"b:", b"new:")
    assert shop.hits("products") == 15
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert keys(shop) == before


def test_two_prefixes_move_in_one_pass(shop: Shop):
    for prefix in ("a:", "b:"):
        add_products(shop, 5, prefix)
    shop.write(creation(prefix=["a:", "b:"]))  # type: ignore[arg-type]
    applied(shop)
    before = documents(shop)
    shop.write(
        f"{CHANGE}index.change_prefix('a:', 'x:')\n    index.change_prefix('b:', 'y:')",
        f"{CHANGE}index.change_prefix('y:', 'b:')\n    index.change_prefix('x:', 'a:')",
    )

    assert applied(shop, "--exclusive")["rewritten"] == 10

    assert keys(shop) == moved(moved(before, b"a:", b"x:"), b"b:", b"y:")
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert documents(shop) == before


def test_a_key_that_is_taken_stops_it_or_leaves_that_document_where_it_is(products: Shop):
    products.client.set("q:3", "taken")
    products.client.hset(b"p:\xff", mapping={"title": "x"})
    products.client.set(b"q:\xff", "taken")
    before = products.content()["keys"]
    products.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))

    result = products.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "2 of 31 documents of products can't be rewritten: " in result.err
    assert "p:3: a key q:3 exists already" in result.err
    assert r"p:\xff: a key q:\xff exists already" in result.err
    after = products.content()["keys"]
    assert {key: after[key] for key in after if key[:1] != b"{"} == {
        key: before[key] for key in before if key[:1] != b"{"
    }

    counts = applied(products, "--exclusive", "--max-failures", "2")

    assert counts["rewritten"] == COUNT - 1
    assert {json.dumps(failed["key"]) for failed in counts["failed"]} == {'"p:3"', '{"base64": "cDr/"}'}
    assert products.client.get("q:3") == b"taken"
    assert [key for key in keys(products) if key.startswith(b"p:")] == [b"p:3", b"p:\xff"]


def test_a_key_inside_of_both_prefixes_is_never_moved_twice(products: Shop):
    add_products(products, 5, "p:v2:v2:")
    before = documents(products)
    products.write(to_prefix("p:", "p:v2:"), to_prefix("p:v2:", "p:"))

    assert applied(products, "--exclusive")["rewritten"] == COUNT + 5

    assert sorted(documents(products)) == sorted(b"p:v2:" + key.removeprefix(b"p:") for key in before)
    applied(products, "-1", "--exclusive", verb="downgrade")
    assert documents(products) == before


def test_times_to_live_of_keys_and_fields_move_along(products: Shop):
    execute = products.client.execute_command
    products.client.pexpireat("p:1", FAR_AWAY)
    execute("HPEXPIREAT", "p:2", FAR_AWAY, "FIELDS", 1, "title")
    products.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))
    for verb, target, prefix in (("upgrade", "head", "q:"), ("downgrade", "-1", "p:")):
        applied(products, target, "--exclusive", verb=verb)
        assert products.client.pexpiretime(f"{prefix}1") == FAR_AWAY
        assert execute("HPEXPIRETIME", f"{prefix}2", "FIELDS", 2, "title", "embedding") == [FAR_AWAY, -1]


def test_json_documents_move_as_they_are(shop: Shop):
    texts = {number: json.dumps({"t": f"shoe {number}", "v": [1.5, None]}) for number in range(COUNT)}
    for number, text in texts.items():
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", text)
    index = {"name": "products", "prefix": "p:", "storage_type": "json"}
    fields = [{"name": "t", "type": "text", "path": "$.t"}]
    shop.write(f"op.create_index({ {'index': index, 'fields': fields}!r})")
    applied(shop)
    before = {key: shop.client.execute_command("JSON.GET", key) for key in keys(shop)}
    shop.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))

    assert applied(shop, "--exclusive")["rewritten"] == COUNT == shop.hits("products")

    now = {key: shop.client.execute_command("JSON.GET", key) for key in keys(shop)}
    assert now == {b"q:" + key.removeprefix(b"p:"): text for key, text in before.items()}
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert {key: shop.client.execute_command("JSON.GET", key) for key in keys(shop)} == before


@pytest.mark.parametrize(("batch_size", "workers"), [("1", "1"), ("7", "8"), ("500", "1")])
def test_batches_and_workers_change_nothing_but_the_time(products: Shop, batch_size: str, workers: str):
    add_products(products, 450)
    before = documents(products)
    products.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))
    options = ("--exclusive", "--batch-size", batch_size, "--workers", workers)

    assert applied(products, *options)["rewritten"] == 450
    assert keys(products) == moved(before, b"p:", b"q:")
    applied(products, "-1", *options, verb="downgrade")
    assert documents(products) == before


def test_a_document_written_under_the_new_prefix_since_moves_back_with_the_others(products: Shop):
    products.write(to_prefix("p:", "q:"), to_prefix("q:", "p:"))
    applied(products, "--exclusive")
    products.client.hset("q:new", "title", "new")
    products.client.delete("q:4")

    applied(products, "-1", "--exclusive", verb="downgrade")

    expected = {f"p:{number}".encode() for number in range(COUNT)} - {b"p:4"} | {b"p:new"}
    assert set(keys(products)) == expected


def test_what_a_failed_revision_moved_is_back_but_for_what_is_taken_by_now(products: Shop):
    before = documents(products)
    products.write(
        to_prefix("p:", "q:") + "\nop.run(spoil)",
        preamble="""
        def spoil(client):
            client.set("p:1", "taken")
            client.delete("q:2")
            client.set("q:3", "text")
            raise ValueError
        """,
    )

    result = products.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "q:1: a key p:1 exists already" in result.out
    assert products.client.get("p:1") == b"taken"
    assert products.client.hgetall("q:1") == before[b"p:1"]
    assert products.client.get("q:3") == b"text"
    assert {key: fields for key, fields in documents(products).items() if key.startswith(b"p:")} == {
        key: fields for key, fields in before.items() if key not in {b"p:1", b"p:2", b"p:3"}
    }


def test_another_index_that_would_lose_the_documents_is_named(products: Shop):
    products.client.execute_command("FT.CREATE", "others", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    products.write(to_prefix("p:", "q:"))

    products.refuses(
        "upgrade",
        "--exclusive",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: index others covers keys p:*: it would lose the "
                "documents that move to q:*; change that of others in the same revision"
            ),
        ),
    )
