"""Documents that can't have a second form stay whole, on the way there and on the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import CHANGE, TO_NEW_PREFIX, TO_OLD_PREFIX, documents, kill_before

if TYPE_CHECKING:
    from conftest import Shop

DIMS = 4
IMAGE = np.array([0.1, 0.2, 0.3, 0.4], np.float32)  # not to be told in 16 bits
TEXT = np.array([1.1, 2.2, 3.3, 4.4], np.float32)
TOO_SHORT = b"no vector"
LOST_HALF = TEXT.tobytes()[: 2 * DIMS]  # as long as in float16


def creation() -> str:
    """The body of an `upgrade` that creates an index of products by two vectors."""
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    vectors = [{"name": name, "type": "vector", "attrs": attributes} for name in ("image", "text")]
    schema = {"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "kind", "type": "tag"}]}
    schema["fields"] += vectors
    return f"op.create_index({schema!r})"


def alter(datatype: str) -> str:
    """Both vectors in another datatype."""
    one = f"index.alter_field('image', datatype='{datatype}')\n    "
    return CHANGE + one + f"index.alter_field('text', datatype='{datatype}')"


def add(shop: Shop, key: str, **values: Any) -> None:
    good = {"kind": "shoe", "image": IMAGE.tobytes(), "text": TEXT.tobytes()}
    shop.client.hset(key, mapping=good | values)


def done(shop: Shop, *arguments: str) -> Any:
    """Run a command that succeeds."""
    result = shop.run(*arguments, "--json")
    assert result.code == 0, result.out + result.err
    shop.wait_until_indexed()
    return result.json


@pytest.fixture
def products(shop: Shop) -> Shop:
    """A product, and a revision that re-encodes both of its vectors."""
    add(shop, "p:good")
    shop.write(creation(), "op.drop_index('products')")
    assert shop.run("upgrade").code == 0
    shop.write(alter("float16"), alter("float32"))
    return shop


def test_no_vector_of_a_document_is_converted_where_another_one_cannot_be(products):
    add(products, "p:bad", text=TOO_SHORT)
    before = documents(products)

    run = done(products, "upgrade", "--strategy", "shadow_field", "--max-failures", "1")

    after = documents(products)
    assert after[b"p:bad"] == before[b"p:bad"]
    assert after[b"p:good"][b"image"] == IMAGE.astype(np.float16).tobytes()
    assert products.hits("products", "@kind:{shoe}") == 1
    done(products, "rollback", "--run", run["run"])
    assert documents(products) == before


def test_the_vectors_beside_one_that_has_the_new_length_come_back_as_they_were(products):
    add(products, "p:half", text=LOST_HALF)
    before = documents(products)

    run = done(products, "upgrade", "--strategy", "shadow_field", "--max-failures", "1")

    assert [failed["key"] for failed in run["documents"]["failed"]] == ["p:half"]
    assert documents(products)[b"p:half"][b"text"] == LOST_HALF
    done(products, "rollback", "--run", run["run"])
    assert documents(products)[b"p:half"][b"image"] == IMAGE.tobytes()
    assert documents(products)[b"p:good"] == before[b"p:good"]


def test_what_is_written_in_the_old_form_while_nobody_follows_is_converted_in_the_end(products):
    before = documents(products)
    kill_before(products, "remove_documents", "upgrade", "head", strategy="shadow_field")
    add(products, "p:good", image=TEXT.tobytes())
    add(products, "p:new")

    run = done(products, "upgrade")

    image, text = (numbers.astype(np.float16).tobytes() for numbers in (IMAGE, TEXT))
    new = {b"kind": b"shoe", b"image": image, b"text": text}
    assert documents(products) == {b"p:good": new | {b"image": text}, b"p:new": new}
    assert products.hits("products") == 2
    done(products, "rollback", "--run", run["run"])
    assert documents(products)[b"p:good"][b"text"] == before[b"p:good"][b"text"]


def test_a_document_goes_back_unless_the_application_has_put_another_one_in_its_place(shop):
    for number in range(3):
        add(shop, f"p:{number}")
    shop.write(creation(), "op.drop_index('products')")
    done(shop, "upgrade")
    before = documents(shop)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)
    run = done(shop, "upgrade", "--strategy", "shadow_copy")
    assert set(documents(shop)) == {b"q:0", b"q:1", b"q:2"}
    # A process of the old release that has not ended yet.
    add(shop, "p:1", kind="boot")

    undone = done(shop, "rollback", "--run", run["run"])

    written = {b"p:1": before[b"p:1"] | {b"kind": b"boot"}}
    assert documents(shop) == before | written | {b"q:1": before[b"p:1"]}
    assert "q:1" in [failed["key"] for failed in undone["documents"]["failed"]]
    assert shop.hits("products") == 3
    assert shop.state("run") is None
