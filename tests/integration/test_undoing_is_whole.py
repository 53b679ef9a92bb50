"""Where other tools bring back half of a change, or what was deleted meanwhile, ours does neither."""

from __future__ import annotations

import time

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
    applied,
    converted,
    creation,
    documents,
    kill_before,
    migrate,
    stock,
    vector,
)

from redismigrate.errors import RunInterrupted

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 100


@pytest.fixture
def products(shop):
    """The shop with 100 products in an index of float32 vectors, one found by a synonym and an alias."""
    stock(shop, PRODUCTS)
    shop.write(
        "op.create_alias('catalog', 'products')\nop.set_synonyms('products', 'shoes', ['shoe', 'boot'])"
    )
    applied(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def seen(shop):
    """Documents and indexes as clients see them."""
    content = shop.content("catalog")
    indexes = {
        name: (schema, synonyms, found) for name, (schema, synonyms, found, _) in content["indexes"].items()
    }
    return documents(shop), indexes, content["aliases"]


@pytest.mark.slow_beyond(3)
@pytest.mark.parametrize(
    "step", ["back_up_documents", "drop_index", "rewrite_documents", "create_index", "validate_index"]
)
@pytest.mark.parametrize("exclusive", [True, False])
def test_rollback_of_a_killed_run_brings_index_and_bytes_back(products, step, exclusive):
    before = seen(products)
    kill_before(products, step, "upgrade", "head", exclusive=exclusive)

    applied(products, verb="rollback")

    assert seen(products) == before


def test_rollback_resurrects_nothing_and_leaves_what_was_rewritten(products):
    before = documents(products)
    kill_before(products, "create_index", "upgrade", "head")
    products.client.delete("p:1")
    products.client.hdel("p:2", "embedding")
    products.client.pexpire("p:3", 1)
    products.client.hset("p:4", "embedding", vector(70))
    products.client.hset("p:5", "embedding", vector(80, "float16"))
    time.sleep(0.01)

    result = products.run("rollback", "--json")

    assert result.code == 0
    failed = {failed["key"]: failed["reason"] for failed in result.json["documents"]["failed"]}
    assert set(failed) == {"p:4", "p:5"}
    assert all(reason.endswith("left as it is") for reason in failed.values())
    del before[b"p:1"], before[b"p:3"], before[b"p:2"][b"embedding"]
    before[b"p:4"][b"embedding"] = vector(70)
    before[b"p:5"][b"embedding"] = vector(80, "float16")
    assert documents(products) == before


def test_rollback_brings_what_was_written_in_the_old_form_meanwhile_back_as_it_was_written(products):
    before = documents(products)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        migrate(
            products,
            {
                "rewrite_documents": lambda: products.client.hset("p:4", "embedding", vector(70)),
                "wait_for_index": lambda: products.client.hset("p:5", "embedding", vector(80)),
                "validate_index": stop,
            },
        )
    assert all(len(product[b"embedding"]) == 16 for product in documents(products).values())
    applied(products, verb="rollback")

    before[b"p:4"][b"embedding"], before[b"p:5"][b"embedding"] = vector(70), vector(80)
    assert documents(products) == before


def test_every_vector_that_was_written_in_the_old_form_meanwhile_comes_back(shop):
    vectors = {"image": vector(1), "text": vector(2)}
    shop.client.hset("p:0", mapping=vectors)
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    fields = [{"name": name, "type": "vector", "attrs": attributes} for name in vectors]
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields}}})")
    applied(shop)
    shop.write(CHANGE + "\n    ".join(f"index.alter_field({name!r}, datatype='float16')" for name in vectors))
    written = {"image": vector(70), "text": vector(80)}

    run = migrate(shop, {"rewrite_documents": lambda: shop.client.hset("p:0", mapping=written)}).run
    assert shop.client.hstrlen("p:0", "image") == shop.client.hstrlen("p:0", "text") == 2 * DIMS
    applied(shop, "--run", run, verb="rollback")

    assert shop.client.hgetall("p:0") == {b"image": vector(70), b"text": vector(80)}


@pytest.mark.parametrize("exclusive", [True, False])
def test_downgrade_brings_the_bytes_back_that_a_conversion_could_not(products, exclusive):
    before = seen(products)
    options = ["--exclusive"] if exclusive else []
    applied(products, *options)

    applied(products, "-1", *options, verb="downgrade")

    assert seen(products) == before


def test_downgrade_converts_what_is_new_and_resurrects_nothing(products):
    before = documents(products)
    applied(products)
    products.client.delete("p:1")
    products.client.pexpire("p:3", 1)
    products.client.hset("p:4", "embedding", vector(70, "float16"))
    products.client.hset("p:new", mapping={"title": "a new shoe", "embedding": vector(80, "float16")})
    time.sleep(0.01)

    applied(products, "-1", verb="downgrade")

    del before[b"p:1"], before[b"p:3"]
    before[b"p:4"][b"embedding"] = converted(vector(70, "float16"), "float16", "float32")
    newest = converted(vector(80, "float16"), "float16", "float32")
    before[b"p:new"] = {b"title": b"a new shoe", b"embedding": newest}
    assert documents(products) == before
    assert products.hits("products") == PRODUCTS - 1


@pytest.mark.slow_beyond(3)
@pytest.mark.parametrize("step", ["drop_index", "rewrite_documents", "create_index", "validate_index"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_rollback_of_a_killed_downgrade_brings_the_re_encoded_bytes_back(products, step, exclusive):
    applied(products)
    before = seen(products)
    kill_before(products, step, "downgrade", "-1", exclusive=exclusive)

    applied(products, verb="rollback")

    assert seen(products) == before


@pytest.mark.parametrize("step", ["drop_index", "rewrite_documents", "create_index", "validate_index"])
def test_a_killed_downgrade_of_a_renamed_and_re_encoded_field_resumes_and_rolls_back(shop, step):
    stock(shop, PRODUCTS)
    base = seen(shop)
    shop.write(ONE_PASS, ONE_PASS_BACK)
    applied(shop, "--exclusive")
    head = seen(shop)

    kill_before(shop, step, "downgrade", "-1", exclusive=True)
    applied(shop, verb="rollback")
    assert seen(shop) == head
    kill_before(shop, step, "downgrade", "-1", exclusive=True)
    applied(shop, "-1", verb="downgrade")

    assert seen(shop) == base


@pytest.mark.parametrize("step", ["rewrite_documents", "create_index", "validate_index", None])
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_downgrade_between_types_of_one_width_brings_the_bytes_back(shop, step, exclusive):
    stock(shop, PRODUCTS, datatype="float16")
    before = seen(shop)
    shop.write(TO_BFLOAT16, TO_FLOAT16)
    applied(shop)

    if step is not None:
        kill_before(shop, step, "downgrade", "-1", exclusive=exclusive)
    applied(shop, "-1", *(["--exclusive"] if exclusive else []), verb="downgrade")

    assert seen(shop) == before


def test_a_downgrade_brings_back_what_the_way_there_has_rounded_beyond_the_old_type(shop):
    largest = np.full(DIMS, 65504, np.float16).tobytes()  # 65536 in bfloat16
    shop.client.hset("p:0", "embedding", largest)
    shop.write(creation(datatype="float16"), "op.drop_index('products')")
    applied(shop)
    before = seen(shop)
    shop.write(TO_BFLOAT16, TO_FLOAT16)
    applied(shop)

    applied(shop, "-1", "--max-failures", "1", verb="downgrade")

    assert seen(shop) == before
