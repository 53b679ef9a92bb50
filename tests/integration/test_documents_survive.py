"""Where other tools that migrate Redis Search indexes lose or spoil documents, ours does not.

Here: vectors that can't be converted, keys that move, several changes with several workers, and writers.
Each section is named after what was wrong elsewhere.
"""

from __future__ import annotations

import time

import pytest
from vector_documents import (
    DIMS,
    ONE_PASS,
    ONE_PASS_BACK,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    add_products,
    applied,
    converted,
    creation,
    documents,
    kill_half_way,
    migrate,
    stock,
    vector,
)

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 300


@pytest.fixture
def products(shop):
    """The shop with 300 products in an index of float32 vectors."""
    stock(shop, PRODUCTS)
    return shop


def in_float16(before, field=b"embedding"):
    """The documents as a migration of their vectors to float16 is to leave them."""
    after = {}
    for key, product in before.items():
        rest = {name: value for name, value in product.items() if name != b"embedding"}
        after[key] = rest | {field: converted(product[b"embedding"], "float32", "float16")}
    return after


# --- a vector that can't be converted stops the run after the index is gone, or is converted in silence -----


@pytest.fixture
def damaged(products):
    """The shop with a vector of 5 bytes and one of 4 numbers instead of 8 among its products."""
    products.client.hset("p:5", "embedding", b"12345")
    products.client.hset("p:4", "embedding", vector(4)[:16])
    products.write(TO_FLOAT16, TO_FLOAT32)
    return products


REASONS = {
    "p:4": f"embedding: 16 bytes, expected 32 ({DIMS} x FLOAT32)",
    "p:5": f"embedding: 5 bytes, expected 32 ({DIMS} x FLOAT32)",
}


def test_vectors_of_a_wrong_length_stop_the_run_before_anything_is_changed(damaged):
    before, content = documents(damaged), damaged.content()["indexes"]

    result = damaged.run("upgrade")

    assert result.code == 1
    assert "2 of 300 documents of products can't be rewritten: " in result.err
    assert "Correct them, or leave them as they are with --max-failures 2." in result.err
    for key, reason in REASONS.items():
        assert f"{key}: {reason}" in result.out
    assert documents(damaged) == before
    assert damaged.content()["indexes"] == content
    assert damaged.hits("products", "@title:shoe") == PRODUCTS - 2
    assert damaged.state("run") is None


def test_vectors_of_a_wrong_length_are_listed_with_key_and_reason_as_json(damaged):
    result = damaged.run("upgrade", "--json")

    assert result.code == 1
    listed = result.json["documents"]["failed"]
    assert {failed["key"]: failed["reason"] for failed in listed} == REASONS
    assert (result.json["result"], result.json["documents"]["failed_count"]) == ("failed", 2)


def test_as_many_failures_as_allowed_are_left_as_they_are(damaged):
    before = documents(damaged)
    good = {key: product for key, product in before.items() if key not in {b"p:4", b"p:5"}}

    counts = applied(damaged, "--max-failures", "2")

    assert {failed["key"]: failed["reason"] for failed in counts["failed"]} == REASONS
    assert (counts["read"], counts["rewritten"], counts["left_in_old_type"]) == (PRODUCTS, PRODUCTS - 2, 0)
    assert documents(damaged) == before | in_float16(good)


def test_a_key_that_is_not_utf_8_is_listed_by_its_bytes(products):
    products.client.hset(b"p:\xff", "embedding", b"12345")
    products.write(TO_FLOAT16)

    counts = applied(products, "--max-failures", "1")

    assert [failed["key"] for failed in counts["failed"]] == [{"base64": "cDr/"}]
    assert products.client.hget(b"p:\xff", "embedding") == b"12345"


def test_one_failure_more_than_allowed_is_too_many(damaged):
    assert damaged.run("upgrade", "--max-failures", "1").code == 1


def test_corrected_vectors_let_the_same_command_pass(damaged):
    assert damaged.run("upgrade").code == 1

    for number in (4, 5):
        damaged.client.hset(f"p:{number}", "embedding", vector(number))
    applied(damaged)

    assert damaged.hits("products") == PRODUCTS


# --- a change of the prefix that is killed leaves keys split for ever ---------------------------------------

WATCHED = [f"q:{number}" for number in range(0, PRODUCTS * 4, 60)]


@pytest.fixture
def half_moved(shop):
    """The shop after a change of its prefix was killed when some of the keys had moved."""
    add_products(shop, PRODUCTS * 4)
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    before = documents(shop)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)
    kill_half_way(
        shop,
        *("upgrade", "--exclusive", "--batch-size", "5", "--workers", "1"),
        is_done=lambda: shop.client.exists(*WATCHED),
        of=len(WATCHED),
    )
    prefixes = [key[:2] for key in documents(shop)]
    assert {b"p:", b"q:"} == set(prefixes)
    assert len(prefixes) == len(before)
    return shop, before


def moved(before):
    return {b"q:" + key[2:]: product for key, product in before.items()}


def test_the_same_command_moves_the_rest_of_the_keys_after_a_kill_half_way(half_moved):
    shop, before = half_moved

    applied(shop)

    assert documents(shop) == moved(before)
    assert shop.hits("products") == len(before)


def test_rollback_moves_the_keys_back_after_a_kill_half_way(half_moved):
    shop, before = half_moved

    applied(shop, verb="rollback")

    assert documents(shop) == before
    assert shop.hits("products") == len(before)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("command", ["upgrade", "rollback"])
def test_documents_deleted_or_expired_after_the_kill_stay_away(half_moved, command):
    shop, before = half_moved
    numbers = [key[2:] for key in documents(shop) if key.startswith(b"p:")][:1]
    numbers += [key[2:] for key in documents(shop) if key.startswith(b"q:")][:2]
    shop.client.delete(b"p:" + numbers[0], b"q:" + numbers[1])
    shop.client.pexpire(b"q:" + numbers[2], 1)
    time.sleep(0.01)

    applied(shop, verb=command)

    left = {key: product for key, product in before.items() if key[2:] not in numbers}
    assert documents(shop) == (moved(left) if command == "upgrade" else left)
    assert shop.hits("products") == len(left)


def test_a_key_that_is_taken_already_stops_a_change_of_prefix_before_anything_is_changed(products):
    products.client.hset("q:7", "title", "a boot")
    before = documents(products)
    products.write(TO_NEW_PREFIX)

    result = products.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "p:7: a key q:7 exists already" in result.out
    assert documents(products) == before
    assert products.hits("products") == PRODUCTS


def test_a_document_whose_key_is_taken_already_is_left_under_the_old_one_if_allowed(products):
    products.client.hset("q:7", "title", "a boot")
    before = documents(products)
    products.write(TO_NEW_PREFIX)

    counts = applied(products, "--exclusive", "--max-failures", "1")

    assert counts["failed"] == [{"key": "p:7", "reason": "a key q:7 exists already"}]
    stays = {key: before.pop(key) for key in (b"p:7", b"q:7")}
    assert documents(products) == stays | moved(before)


@pytest.mark.slow_beyond(1)
def test_documents_deleted_or_expired_between_the_passes_do_not_stop_a_change_of_prefix(products):
    before = documents(products)
    products.write(TO_NEW_PREFIX)

    def leave():
        products.client.delete("p:1")
        products.client.pexpire("p:2", 1)
        time.sleep(0.01)

    migrate(products, {"rewrite_documents": leave}, exclusive=True)

    assert documents(products) == moved({k: v for k, v in before.items() if k not in {b"p:1", b"p:2"}})


# --- a renamed vector field, several workers and a crash: most vectors are never converted ------------------


@pytest.mark.parametrize("command", ["upgrade", "rollback"])
def test_a_renamed_and_re_encoded_vector_survives_a_kill_with_four_workers(shop, command):
    add_products(shop, PRODUCTS * 4)
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    before = documents(shop)
    shop.write(ONE_PASS, ONE_PASS_BACK)
    watched = [f"p:{number}" for number in range(0, PRODUCTS * 4, 60)]
    kill_half_way(
        shop,
        *("upgrade", "--exclusive", "--batch-size", "5", "--workers", "4"),
        is_done=lambda: sum(shop.client.hexists(key, "vector") for key in watched),
        of=len(watched),
    )

    applied(shop, verb=command)

    assert documents(shop) == (in_float16(before, b"vector") if command == "upgrade" else before)
    assert shop.hits("products") == len(before)
