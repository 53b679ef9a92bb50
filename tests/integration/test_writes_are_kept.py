"""Where other tools overwrite or resurrect what an application writes meanwhile, ours keeps it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest
from vector_documents import (
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    applied,
    converted,
    documents,
    kill_before,
    migrate,
    stock,
    vector,
)

from redismigrate.redis_server.inspection import read_index

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 200
WHILE_THE_INDEX_IS_DOWN = "rewrite_documents"
WHILE_THE_INDEX_IS_BUILT = "wait_for_index"
MOMENTS = [WHILE_THE_INDEX_IS_DOWN, "create_index", WHILE_THE_INDEX_IS_BUILT, "catch_up_documents"]


@pytest.fixture
def products(shop):
    """The shop with 200 products in an index of float32 vectors."""
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def embedding(shop, key):
    return shop.client.hget(key, "embedding")


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_an_application_writes_meanwhile_is_kept_in_the_new_form(products, moment):
    newer, newest = vector(70), vector(80)

    def write():
        products.client.hset("p:1", "embedding", newer)
        products.client.hset("p:new", mapping={"title": "a new shoe", "embedding": newest})
        products.client.hset("p:2", "embedding", vector(90, "float16"))
        products.client.hset("p:3", "title", "a boot")

    result = migrate(products, {moment: write})

    assert embedding(products, "p:1") == converted(newer, "float32", "float16")
    assert embedding(products, "p:new") == converted(newest, "float32", "float16")
    assert embedding(products, "p:2") == vector(90, "float16")
    assert products.client.hgetall("p:3") == {b"title": b"a boot", b"embedding": vector(3, "float16")}
    assert products.hits("products") == PRODUCTS + 1
    assert (result.documents.left_in_old_type, result.documents.failed) == (0, ())


def test_what_is_written_in_the_new_form_before_the_first_pass_is_left_as_it_is(products):
    """No vector was of a wrong length before: these are new, and have not lost half of their components."""
    newer = vector(90, "float16")

    result = migrate(products, {"back_up_documents": lambda: products.client.hset("p:2", "embedding", newer)})

    assert embedding(products, "p:2") == newer
    assert result.documents.failed == ()


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_was_deleted_or_has_expired_meanwhile_stays_away(products, moment):
    def leave():
        products.client.delete("p:1")
        products.client.hdel("p:2", "embedding")
        products.client.pexpire("p:3", 1)
        products.client.execute_command("HPEXPIRE", "p:4", 1, "FIELDS", 1, "embedding")
        time.sleep(0.01)

    migrate(products, {moment: leave})

    left = documents(products)
    assert not {b"p:1", b"p:3"} & set(left)
    assert (left[b"p:2"], left[b"p:4"]) == ({b"title": b"shoe 2"}, {b"title": b"shoe 4"})
    assert all(len(product.get(b"embedding", bytes(16))) == 16 for product in left.values())


def test_a_document_that_gets_a_time_to_live_meanwhile_keeps_it(products):
    def limit():
        products.client.expire("p:1", 1000)
        products.client.execute_command("HEXPIRE", "p:2", 1000, "FIELDS", 1, "embedding")

    migrate(products, {"rewrite_documents": limit})

    assert 900 < products.client.ttl("p:1") <= 1000
    (left,) = products.client.execute_command("HTTL", "p:2", "FIELDS", 1, "embedding")
    assert 900 < left <= 1000


def test_what_is_written_in_the_old_form_between_a_kill_and_the_same_command_is_converted(products):
    kill_before(products, "create_index", "upgrade", "head")
    products.client.hset("p:1", "embedding", vector(70))
    products.client.hset("p:new", mapping={"title": "a new shoe", "embedding": vector(80)})

    applied(products)

    assert embedding(products, "p:1") == vector(70, "float16")
    assert embedding(products, "p:new") == vector(80, "float16")
    assert products.hits("products") == PRODUCTS + 1


def test_vectors_that_are_equally_long_in_both_forms_are_told_apart_by_what_they_were(shop):
    stock(shop, PRODUCTS, datatype="float16")
    shop.write(TO_BFLOAT16)
    newer = vector(70, "float16")

    migrate(shop, {"wait_for_index": lambda: shop.client.hset("p:1", "embedding", newer)})

    expected = {
        number: converted(vector(number, "float16"), "float16", "bfloat16") for number in range(PRODUCTS)
    }
    expected[1] = converted(newer, "float16", "bfloat16")
    assert {number: embedding(shop, f"p:{number}") for number in range(PRODUCTS)} == expected


WRITER = """
import sys, redis
url, vector = sys.argv[1], bytes.fromhex(sys.argv[2])
client = redis.Redis.from_url(url)
while not client.exists("enough"):
    pipeline = client.pipeline(transaction=False)
    for number in range(100):
        pipeline.hset("p:%d" % (number % 20), "embedding", vector)
    pipeline.execute()
"""


def test_what_is_written_faster_than_it_can_be_converted_is_counted_as_left(products):
    """The run does not chase a writer for ever; validation takes the writer's word for what is missing."""
    old = vector(70)
    arguments = [sys.executable, "-c", textwrap.dedent(WRITER), products.url, old.hex()]
    with subprocess.Popen(arguments) as writer:
        while embedding(products, "p:1") != old:
            assert writer.poll() is None
            time.sleep(0.01)
        counts = applied(products)
        products.client.set("enough", 1)

    assert 1 <= counts["left_in_old_type"] <= 20
    left = documents(products)
    assert {key for key, product in left.items() if len(product[b"embedding"]) != 16} <= {
        b"p:%d" % number for number in range(20)
    }
    assert {product[b"embedding"] for key, product in left.items() if key in {b"p:30", b"p:31"}} == {
        vector(30, "float16"),
        vector(31, "float16"),
    }


def test_a_document_that_cannot_be_converted_is_no_document_that_writers_left(products):
    products.client.hset("p:5", "embedding", vector(5)[:-4] + b"\x00\x00\xff\x7e")

    counts = applied(products, "--max-failures", "1")

    assert [failed["key"] for failed in counts["failed"]] == ["p:5"]
    assert (counts["failed_count"], counts["left_in_old_type"]) == (1, 0)


DEFINITION = "ON HASH PREFIX 1 p: SCHEMA title TEXT embedding VECTOR FLAT 6 TYPE FLOAT16 DIM 8"


def build_anew(shop, newer, numbers=(1,)):
    """Write vectors in the old form, and have the index scanned anew, as a restart of the server does."""
    with shop.client.pipeline(transaction=True) as pipeline:
        for number in numbers:
            pipeline.hset(f"p:{number}", "embedding", newer)
        pipeline.execute_command("FT.DROPINDEX", "products")
        pipeline.execute_command("FT.CREATE", "products", *DEFINITION.split(), "DISTANCE_METRIC", "L2")
        pipeline.execute()


def stock_more(shop):
    with shop.client.pipeline(transaction=False) as pipeline:
        for number in range(5_000):
            pipeline.hset(f"p:{number}", mapping={"title": f"shoe {number}", "embedding": vector(number)})
        pipeline.execute()


def test_an_index_that_is_built_anew_does_not_tell_that_nothing_has_the_old_form(products):
    """What its scan has not met yet has not failed yet either."""
    stock_more(products)
    newer = vector(70)

    result = migrate(products, {"catch_up_documents": lambda: build_anew(products, newer)})

    assert embedding(products, "p:1") == converted(newer, "float32", "float16")
    assert (result.documents.left_in_old_type, result.documents.failed) == (0, ())


def test_an_index_that_is_built_anew_is_waited_for_before_its_documents_are_counted(products):
    stock_more(products)
    old = range(0, 5_000, 10)

    def build_until_some_have_failed():
        build_anew(products, vector(70), old)
        while not read_index(products.client.execute_command, "products").statistics.indexing_failures:
            pass

    result = migrate(products, {"validate_index": build_until_some_have_failed})

    assert result.result == "done"
    assert products.hits("products") == 5_000 - len(old)
