"""Where other tools ruin a second index, a field or a time to live, ours does not.

Each section is named after what was wrong elsewhere.
"""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from vector_documents import (
    CHANGE,
    DIMS,
    ONE_PASS,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    add_products,
    applied,
    converted,
    creation,
    documents,
    kill_before,
    stock,
    vector,
)

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 100
RENAME_TITLE = CHANGE + "index.rename_field('title', 'name')"


@pytest.fixture
def products(shop):
    """The shop with 100 products in an index of float32 vectors."""
    stock(shop, PRODUCTS)
    return shop


# --- another live index over the same keys loses all of its documents ---------------------------------------

LIVE = ("FT.CREATE", "offers", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT", "embedding", "VECTOR")
ATTRIBUTES = ("FLAT", 6, "TYPE", "FLOAT32", "DIM", DIMS, "DISTANCE_METRIC", "L2")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (TO_FLOAT16, "index offers reads field embedding of the same keys as 8 x FLOAT32"),
        (RENAME_TITLE, "index offers reads title of the same keys"),
        (TO_NEW_PREFIX, "index offers covers keys p:*: it would lose the documents that move to q:*"),
    ],
)
def test_a_second_index_over_the_same_keys_blocks_the_plan_by_its_name(products, change, reason):
    products.client.execute_command(*LIVE, *ATTRIBUTES)
    products.write(change)

    products.refuses("upgrade", "--exclusive", code=6, says=("The plan is blocked: ", reason))

    assert products.hits("offers") == PRODUCTS


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("index.alter_field('embedding', datatype='float16')", vector(7, "float16")),
        ("index.rename_field('embedding', 'vector')", None),
        ("index.change_prefix('p:', 'q:')", vector(7)),
    ],
)
def test_both_indexes_work_when_one_revision_changes_both(products, change, found):
    products.write(creation("offers"), "op.drop_index('offers')")
    applied(products)
    changes = [f"with op.index({name!r}) as index:\n    {change}" for name in ("products", "offers")]
    products.write("\n".join(changes))

    counts = applied(products, "--exclusive")

    assert (counts["failed_count"], counts["left_in_old_type"]) == (0, 0)
    assert products.hits("products") == products.hits("offers") == PRODUCTS
    if found is not None:
        query = ("*=>[KNN 1 @embedding $v]", "NOCONTENT", "PARAMS", 2, "v", found, "DIALECT", 2)
        nearest = [
            products.client.execute_command("FT.SEARCH", name, *query)[1][2:]
            for name in ("products", "offers")
        ]
        assert nearest == [b"7", b"7"]


# --- too large a number becomes infinity --------------------------------------------------------------------


def test_a_number_too_large_for_float16_is_a_failure_with_its_key(products):
    products.client.hset("p:9", "embedding", np.array([70_000.0] * DIMS, np.float32).tobytes())
    before = documents(products)
    products.write(TO_FLOAT16)

    refused = products.run("upgrade")
    assert refused.code == 1
    assert "p:9: embedding: component 0 is 70000, FLOAT16 ends at 65504" in refused.out
    assert documents(products) == before

    counts = applied(products, "--max-failures", "1")
    assert [failed["key"] for failed in counts["failed"]] == ["p:9"]
    assert documents(products)[b"p:9"] == before[b"p:9"]


# --- a renamed field overwrites an existing one -------------------------------------------------------------


def test_a_rename_never_overwrites_a_field_of_that_name(products):
    products.client.hset("p:9", "name", "a boot")
    before = documents(products)
    products.write(RENAME_TITLE)

    refused = products.run("upgrade", "--exclusive")
    assert refused.code == 1
    assert "p:9: it has a field name already, beside title" in refused.out
    assert (
        "Correct them, choose another name, or leave them as they are with --max-failures 1." in refused.err
    )
    assert documents(products) == before

    counts = applied(products, "--exclusive", "--max-failures", "1")
    assert [failed["key"] for failed in counts["failed"]] == ["p:9"]
    left = documents(products)
    assert left.pop(b"p:9") == before[b"p:9"]
    assert all(set(product) == {b"name", b"embedding"} for product in left.values())


# --- times to live are lost ---------------------------------------------------------------------------------


def expiries(shop, prefix, field):
    key = shop.client.pexpiretime(f"{prefix}1")
    (of_field,) = shop.client.execute_command("HPEXPIRETIME", f"{prefix}2", "FIELDS", 1, field)
    return key, of_field


@pytest.mark.parametrize(
    ("change", "prefix", "field"),
    [
        (TO_FLOAT16, "p:", "embedding"),
        (CHANGE + "index.rename_field('embedding', 'vector')", "p:", "vector"),
        (TO_NEW_PREFIX, "q:", "embedding"),
        (ONE_PASS, "p:", "vector"),
    ],
)
@pytest.mark.parametrize("command", ["upgrade", "rollback"])
def test_keys_and_fields_keep_their_time_to_live(products, change, prefix, field, command):
    moment = int(time.time() * 1000) + 1_000_000
    products.client.pexpireat("p:1", moment)
    products.client.execute_command("HPEXPIREAT", "p:2", moment + 1000, "FIELDS", 1, "embedding")
    products.write(change)
    if command == "upgrade":
        applied(products, "--exclusive")
    else:
        kill_before(products, "validate_index", "upgrade", "head", exclusive=True)
        assert expiries(products, prefix, field) == (moment, moment + 1000)
        applied(products, verb="rollback")
        prefix, field = "p:", "embedding"

    assert expiries(products, prefix, field) == (moment, moment + 1000)


def test_vectors_keep_their_time_to_live_while_writers_go_on_and_on_the_way_back(products):
    moment = int(time.time() * 1000) + 1_000_000
    products.client.pexpireat("p:1", moment)
    products.client.execute_command("HPEXPIREAT", "p:2", moment, "FIELDS", 1, "embedding")
    products.write(TO_FLOAT16, TO_FLOAT32)

    applied(products)
    assert expiries(products, "p:", "embedding") == (moment, moment)
    applied(products, "-1", verb="downgrade")

    assert expiries(products, "p:", "embedding") == (moment, moment)


# --- a renamed JSON field is renamed in the index alone -----------------------------------------------------

CATALOG = """
op.create_index({
    "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
    "fields": [
        {"name": "title", "type": "text", "path": "$.title"},
        {"name": "maker", "type": "tag", "path": "$.details.maker"},
    ],
})
"""
RENAMES = CHANGE + "index.rename_field('title', 'name'); index.rename_field('maker', 'brand')"
RENAMES_BACK = CHANGE + "index.rename_field('brand', 'maker'); index.rename_field('name', 'title')"


@pytest.fixture
def catalog(shop):
    """The shop with 100 JSON products, one with other members, one with a time to live."""
    for number in range(PRODUCTS):
        product = {
            "title": f"shoe {number}",
            "details": {"maker": "acme", "sizes": [40, 41.5, None]},
            "n": 1.0,
        }
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", json.dumps(product))
    shop.client.execute_command(
        "JSON.SET", "p:odd", "$", json.dumps({"details": {"sizes": {}}, "title": None})
    )
    shop.client.expire("p:1", 1000)
    shop.write(CATALOG, "op.drop_index('products')")
    applied(shop)
    shop.write(RENAMES, RENAMES_BACK)
    return shop


def texts(shop):
    return {key: shop.client.execute_command("JSON.GET", key) for key in shop.client.scan_iter(match="p:*")}


def test_members_of_json_documents_are_renamed_nested_ones_too(catalog):
    before = {key: json.loads(text) for key, text in texts(catalog).items()}

    applied(catalog, "--exclusive")

    for key, text in texts(catalog).items():
        product = before[key]
        product["name"] = product.pop("title")
        if "maker" in product["details"]:
            product["details"]["brand"] = product["details"].pop("maker")
        assert json.loads(text) == product
    assert catalog.hits("products", "@name:shoe @brand:{acme}") == PRODUCTS
    assert 900 < catalog.client.ttl("p:1") <= 1000


@pytest.mark.parametrize("command", [("downgrade", "-1", "--exclusive"), ("rollback",)])
def test_json_documents_come_back_to_the_letter(catalog, command):
    before = texts(catalog)
    if command == ("rollback",):
        kill_before(catalog, "validate_index", "upgrade", "head", exclusive=True)
    else:
        applied(catalog, "--exclusive")

    applied(catalog, *command[1:], verb=command[0])

    after = texts(catalog)
    assert {key: json.loads(text) for key, text in after.items()} == {
        k: json.loads(v) for k, v in before.items()
    }
    if command == ("rollback",):
        assert after == before


def test_a_rename_never_overwrites_a_member_of_that_name(catalog):
    catalog.client.execute_command("JSON.SET", "p:9", "$.details.brand", '"other"')
    before = texts(catalog)

    refused = catalog.run("upgrade", "--exclusive")

    assert refused.code == 1
    assert "p:9: it has a field $.details.brand already, beside $.details.maker" in refused.out
    assert texts(catalog) == before


# --- few documents among many other keys --------------------------------------------------------------------


def test_few_documents_among_many_other_keys_are_found_and_migrated(products):
    add_products(products, 20_000, prefix="session:")
    before = documents(products)
    products.write(TO_FLOAT16)

    counts = applied(products)

    assert (counts["read"], counts["rewritten"]) == (PRODUCTS, PRODUCTS)
    for key, product in documents(products).items():
        expected = before[key][b"embedding"]
        if key.startswith(b"p:"):
            expected = converted(expected, "float32", "float16")
        assert product == before[key] | {b"embedding": expected}
    assert products.hits("products") == PRODUCTS
