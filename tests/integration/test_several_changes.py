"""Several changes of documents in one revision: of one index, of several indexes, and with a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import DIMS, DTYPES, TO_BFLOAT16, TO_FLOAT16, TO_FLOAT32, applied, converted, creation

from redismigrate.execution.documents.traffic.reading import KEYS_PER_SCRIPT

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

COUNT = 40
FAR_AWAY = 4_102_444_800_000
FAIL = "def fail(client):\n    raise ValueError('no more paper')"
ALL_AT_ONCE = """
with op.index("products") as index:
    index.rename_field("embedding", "vector")
    index.alter_field("vector", datatype="float16", algorithm="hnsw", m=24)
    index.rename_field("title", "name")
    index.change_prefix("p:", "p:v2:")
    index.set_options(language="german", stopwords=["und"])
    index.add_field({"name": "brand", "type": "tag"})
"""
ALL_BACK = """
with op.index("products") as index:
    index.drop_field("brand")
    index.set_options(language=None, stopwords=None)
    index.change_prefix("p:v2:", "p:")
    index.rename_field("name", "title")
    index.alter_field("vector", datatype="float32", algorithm="flat")
    index.rename_field("vector", "embedding")
"""


def add_random(shop: Shop, prefix: str = "p:", count: int = COUNT) -> None:
    for number in range(count):
        numbers = np.random.default_rng(number).normal(size=DIMS).astype(DTYPES["float32"])
        product: dict[Any, Any] = {"title": f"shoe {number}", "brand": "nike", "embedding": numbers.tobytes()}
        shop.client.hset(f"{prefix}{number}", mapping=product)


def content(shop: Shop) -> dict[bytes, Any]:
    """Every document with its fields, their expiry and its own."""
    keys = sorted(shop.client.scan_iter(count=10_000, _type="hash"))
    found = {}
    for key in keys:
        fields = shop.client.hgetall(key)
        names = sorted(fields)
        moments = shop.client.execute_command("HPEXPIRETIME", key, "FIELDS", len(names), *names)
        found[key] = (fields, dict(zip(names, moments, strict=True)), shop.client.pexpiretime(key))
    return found


def vectors(shop: Shop) -> dict[bytes, bytes]:
    return {key: fields[b"embedding"] for key, (fields, _, _) in content(shop).items()}


def for_index(change: str, name: str) -> str:
    return change.replace("products", name)


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Forty products, some of which expire, in an index with an alias and synonyms."""
    add_random(shop)
    shop.client.pexpireat("p:1", FAR_AWAY)
    for field in ("embedding", "title", "brand"):
        shop.client.execute_command("HPEXPIREAT", f"p:{field}", FAR_AWAY, "FIELDS", 1, field)
        shop.client.copy("p:2", f"p:{field}")
        shop.client.execute_command("HPEXPIREAT", f"p:{field}", FAR_AWAY, "FIELDS", 1, field)
    shop.write(
        creation()
        + "\nop.create_alias('catalog', 'products')\nop.set_synonyms('products', 'g', ['shoe', 'boot'])"
    )
    applied(shop)
    return shop


def test_a_vector_field_is_renamed_re_encoded_and_moved_with_new_options_in_one_pass(products: Shop):
    before, schema = content(products), products.content()["indexes"]["products"][0]
    products.write(ALL_AT_ONCE, ALL_BACK)

    counts = applied(products, "--exclusive")

    assert (counts["read"], counts["rewritten"], counts["failed"]) == (COUNT + 3, COUNT + 3, [])
    new_names = {b"embedding": b"vector", b"title": b"name"}
    expected = {}
    for key, (fields, moments, expiry) in before.items():
        vector = converted(fields[b"embedding"], "float32", "float16")
        new_fields = {b"name": fields[b"title"], b"brand": fields[b"brand"], b"vector": vector}
        new_moments = {new_names.get(name, name): moment for name, moment in moments.items()}
        expected[b"p:v2:" + key.removeprefix(b"p:")] = (new_fields, new_moments, expiry)
    assert content(products) == expected
    assert products.hits("products", "@name:boot") == products.hits("catalog", "@brand:{nike}") == COUNT + 3

    applied(products, "-1", "--exclusive", verb="downgrade")

    assert content(products) == before
    assert products.content()["indexes"]["products"][0] == schema
    assert products.hits("catalog", "@title:boot") == COUNT + 3


@pytest.mark.parametrize("change", [ALL_AT_ONCE, TO_FLOAT16])
def test_a_later_step_that_fails_leaves_no_trace_of_the_changes(products: Shop, change: str):
    documents, everything = content(products), products.content("catalog")
    products.write(change + "\nop.run(fail)", preamble=FAIL)

    result = products.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "raised ValueError: no more paper" in result.err
    assert "All that it had changed is undone." in result.err
    assert content(products) == documents
    after = products.content("catalog")
    assert after["aliases"] == everything["aliases"]
    assert [index[:3] for index in after["indexes"].values()] == [
        index[:3] for index in everything["indexes"].values()
    ]
    assert products.hits("catalog", "@title:boot") == COUNT + 3


def test_a_downgrade_whose_later_step_fails_leaves_the_revision_as_it_was(products: Shop):
    products.write(ALL_AT_ONCE, ALL_BACK + "op.run(fail)", preamble=FAIL)
    applied(products, "--exclusive")
    before = content(products)

    result = products.run("downgrade", "-1", "--exclusive")

    assert result.code == 1
    assert content(products) == before
    assert products.hits("catalog", "@name:boot") == COUNT + 3


@pytest.mark.parametrize("count", [0, 1, KEYS_PER_SCRIPT, KEYS_PER_SCRIPT + 1])
@pytest.mark.parametrize("batch_size", ["1", "500"])
def test_any_number_of_documents_goes_there_and_back(shop: Shop, count: int, batch_size: str):
    add_random(shop, count=count)
    shop.write(creation())
    applied(shop)
    before = content(shop)
    shop.write(ALL_AT_ONCE, ALL_BACK)
    options = ("--exclusive", "--batch-size", batch_size)

    assert applied(shop, *options)["rewritten"] == count == shop.hits("products")
    applied(shop, "-1", *options, verb="downgrade")
    assert content(shop) == before


def test_a_document_that_fails_one_of_the_changes_gets_none_of_them(products: Shop):
    products.client.hset("p:5", "embedding", b"short")
    products.client.hset("p:6", "name", "taken")
    products.client.hset("p:v2:7", "title", "taken")
    before = content(products)
    products.write(ALL_AT_ONCE, ALL_BACK)

    counts = applied(products, "--exclusive", "--max-failures", "3")

    assert {failed["key"]: failed["reason"] for failed in counts["failed"]} == {
        "p:5": "embedding: 5 bytes, expected 32 (8 x FLOAT32)",
        "p:6": "it has a field name already, beside title",
        "p:7": "a key p:v2:7 exists already",
    }
    now = content(products)
    assert {key: now[key] for key in now if not key.startswith(b"p:v2:")} == {
        key: before[key] for key in (b"p:5", b"p:6", b"p:7")
    }


def test_two_indexes_over_the_same_keys_are_changed_in_one_revision(shop: Shop):
    add_random(shop)
    shop.write(creation() + "\n" + for_index(creation(), "offers"))
    applied(shop)
    before = content(shop)
    offers = for_index(TO_FLOAT16, "offers")
    shop.write(f"{TO_FLOAT16}\n{offers}", f"{for_index(TO_FLOAT32, 'offers')}\n{TO_FLOAT32}")

    counts = applied(shop)

    assert (counts["read"], counts["rewritten"]) == (COUNT, COUNT)
    assert {len(vector) for vector in vectors(shop).values()} == {2 * DIMS}
    assert shop.hits("products") == shop.hits("offers") == COUNT
    applied(shop, "-1", verb="downgrade")
    assert content(shop) == before
    assert shop.hits("products") == shop.hits("offers") == COUNT


@pytest.mark.parametrize("order", [("inner", "outer"), ("outer", "inner")])
@pytest.mark.parametrize("order_back", [("inner", "outer"), ("outer", "inner")])
def test_two_indexes_that_share_some_of_their_keys_get_all_their_bytes_back(
    shop: Shop, order: tuple[str, str], order_back: tuple[str, str]
):
    add_random(shop, "p:a:")
    add_random(shop, "p:b:")
    shop.write(creation("inner", "p:a:") + "\n" + creation("outer", "p:"))
    applied(shop)
    before = content(shop)
    shop.write(
        "\n".join(for_index(TO_FLOAT16, name) for name in order),
        "\n".join(for_index(TO_FLOAT32, name) for name in order_back),
    )

    assert applied(shop)["rewritten"] == 2 * COUNT
    assert {len(vector) for vector in vectors(shop).values()} == {2 * DIMS}
    assert (shop.hits("inner"), shop.hits("outer")) == (COUNT, 2 * COUNT)
    applied(shop, "-1", verb="downgrade")
    assert content(shop) == before


def test_a_failure_after_two_indexes_over_the_same_keys_were_changed_undoes_both(shop: Shop):
    add_random(shop, "p:a:")
    add_random(shop, "p:b:")
    shop.write(creation("inner", "p:a:") + "\n" + creation("outer", "p:"))
    applied(shop)
    before = content(shop)
    shop.write(
        f"{for_index(TO_FLOAT16, 'inner')}\n{for_index(TO_FLOAT16, 'outer')}\nop.run(fail)", preamble=FAIL
    )

    assert shop.run("upgrade").code == 1

    assert content(shop) == before
    assert (shop.hits("inner"), shop.hits("outer")) == (COUNT, 2 * COUNT)


def test_indexes_with_keys_of_their_own_keep_backups_of_their_own(shop: Shop):
    add_random(shop, "a:")
    add_random(shop, "b:")
    shop.write(creation("one", "a:") + "\n" + creation("two", "b:"))
    applied(shop)
    before = content(shop)
    shop.write(
        "\n".join(for_index(TO_FLOAT16, name) for name in ("one", "two")),
        "\n".join(for_index(TO_FLOAT32, name) for name in ("one", "two")),
    )
    applied(shop)
    (revision,) = (shop.folder / "redismigrate-backups" / "shop").glob("*/000000000002")
    lost = revision / "two"
    lost.rename(shop.folder / "two")

    shop.refuses(
        "downgrade",
        "-1",
        code=6,
        says=("The plan is blocked: ", "re-encoded embedding of index two to FLOAT16", f"{lost} is not here"),
    )

    (shop.folder / "two").rename(lost)
    applied(shop, "-1", verb="downgrade")
    assert content(shop) == before


@pytest.mark.parametrize(
    "second",
    [
        TO_BFLOAT16,
        "with op.index('products') as index:\n    index.rename_field('title', 'name')",
        "with op.index('products') as index:\n    index.change_prefix('p:', 'q:')",
        "with op.index('products') as index:\n    index.rename_to('x')\n    index.change_prefix('p:', 'q:')",
    ],
)
def test_documents_are_rewritten_once_in_a_revision(products: Shop, second: str):
    products.write(f"{TO_FLOAT16}\n{second}")

    products.refuses(
        "upgrade",
        "--exclusive",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: index products rewrites its documents twice: do it in "
                "one `with op.index` block, or in two revisions"
            ),
        ),
    )


def test_an_index_may_be_changed_again_where_its_documents_stay(products: Shop):
    before = content(products)
    products.write(
        TO_FLOAT16 + "\nwith op.index('products') as index:\n    index.alter_field('title', weight=2)",
        TO_FLOAT32,
    )

    applied(products)
    applied(products, "-1", verb="downgrade")

    assert content(products) == before


def test_documents_whose_keys_moved_with_another_index_are_not_looked_for_under_their_old_ones(shop: Shop):
    add_random(shop)
    no_title = "{'name': 'brand', 'type': 'tag'}"
    vectorless = f"op.create_index({{'index': {{'name': 'brands', 'prefix': 'p:'}}, 'fields': [{no_title}]}})"
    shop.write(f"{vectorless}\n{creation()}")
    applied(shop)
    move = "with op.index({!r}) as index:\n    index.change_prefix('p:', 'q:')\n"
    shop.write(move.format("brands") + move.format("products") + "    index.rename_field('title', 'name')")

    shop.refuses(
        "upgrade",
        "--exclusive",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: index products changes documents whose keys an earlier "
                "change of this revision moves: change them before, or in two revisions"
            ),
        ),
    )


def test_two_indexes_over_the_same_keys_move_them_in_one_revision(shop: Shop):
    add_random(shop)
    shop.write(creation() + "\n" + for_index(creation(), "offers"))
    applied(shop)
    before = content(shop)
    move = "with op.index('products') as index:\n    index.change_prefix('p:', 'q:')"
    back = "with op.index('products') as index:\n    index.change_prefix('q:', 'p:')"
    shop.write(f"{move}\n{for_index(move, 'offers')}", f"{for_index(back, 'offers')}\n{back}")

    assert applied(shop, "--exclusive")["rewritten"] == COUNT

    assert {key[:2] for key in content(shop)} == {b"q:"}
    assert shop.hits("products") == shop.hits("offers") == COUNT
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert content(shop) == before
    assert shop.hits("products") == shop.hits("offers") == COUNT


def test_another_index_over_the_same_keys_that_would_lose_them_is_named(shop: Shop):
    add_random(shop)
    shop.write(creation() + "\n" + for_index(creation(), "offers"))
    applied(shop)
    shop.write(TO_FLOAT16)

    shop.refuses(
        "upgrade",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: index offers reads field embedding of the same keys as "
                "8 x FLOAT32: after the change its documents would leave it; change both in one revision"
            ),
        ),
    )


def test_an_index_that_was_taken_on_is_given_up_again_with_its_first_bytes(shop: Shop):
    add_random(shop)
    shop.client.execute_command(
        "FT.CREATE", "products", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT", "embedding",
        "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", DIMS, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    before = content(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    applied(shop)
    applied(shop, "base", verb="downgrade")

    assert content(shop) == before
    assert shop.hits("products") == COUNT


def test_a_plan_tells_every_change_of_the_documents_in_one_line(products: Shop):
    products.write(ALL_AT_ONCE, ALL_BACK)

    made = products.run("plan", "--exclusive", "--json").json

    steps = {step["kind"]: step["description"] for step in made["revisions"][0]["steps"]}
    assert steps["rewrite_documents"] == (
        "re-encode embedding from FLOAT32 to FLOAT16, rename embedding to vector, rename title to name, move "
        "keys p:* to p:v2:* in the documents of products"
    )
    assert "catch_up_documents" not in steps
