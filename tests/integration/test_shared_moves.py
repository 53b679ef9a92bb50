"""Several indexes over some of the same keys, of which one revision moves documents: none may get lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from vector_documents import TO_NEW_PREFIX, TO_OLD_PREFIX, add_products, applied, creation, documents, stock

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = 20
TO_NEW_PREFIX_1 = "with op.index('ones') as index:\n    index.change_prefix('p:1', 'q:1')"
PAGES = {
    "index": {"name": "pages", "prefix": "p:", "storage_type": "json"},
    "fields": [{"name": "title", "type": "text", "path": "$.title"}],
}
DROP_WITH_DOCUMENTS = "op.drop_index('others', delete_documents=True)"


@pytest.mark.parametrize(
    ("change", "second"),
    [
        (f"{TO_NEW_PREFIX}\n{TO_NEW_PREFIX_1}", "ones"),
        (f"{TO_NEW_PREFIX_1}\n{TO_NEW_PREFIX}", "products"),
    ],
)
def test_documents_of_which_two_indexes_want_copies_are_not_copied_twice(
    shop: Shop, change: str, second: str
):
    """Who removes the originals of one copy would take them for deleted where the other copy is concerned."""
    stock(shop, PRODUCTS)
    shop.write(creation("ones", "p:1"), "op.drop_index('ones')")
    applied(shop)
    before = documents(shop)
    shop.write(change)

    says = (
        f"index {second} shares its documents with another one",
        "--strategy rebuild --exclusive does",
    )
    shop.refuses("upgrade", code=6, says=("The plan is blocked: ", *says))

    assert applied(shop, "--strategy", "rebuild", "--exclusive")["failed_count"] == 0
    assert documents(shop) == {key.replace(b"p:", b"q:", 1): value for key, value in before.items()}
    assert (shop.hits("products"), shop.hits("ones")) == (PRODUCTS, 11)


def test_hashes_and_json_documents_under_one_prefix_both_move(shop: Shop):
    stock(shop, PRODUCTS)
    for number in range(PRODUCTS):
        shop.client.json().set(f"p:page{number}", "$", {"title": f"page {number}"})
    shop.write(f"op.create_index({json.dumps(PAGES)})", "op.drop_index('pages')")
    applied(shop)
    before = documents(shop)
    pages = "with op.index('pages') as index:\n    index.change_prefix({!r}, {!r})"
    there, back = pages.format("p:", "q:"), pages.format("q:", "p:")
    shop.write(f"{TO_NEW_PREFIX}\n{there}", f"{back}\n{TO_OLD_PREFIX}")

    applied(shop, "--strategy", "rebuild", "--exclusive")

    assert not list(shop.client.scan_iter(match="p:*", count=10_000))
    assert (shop.hits("products"), shop.hits("pages")) == (PRODUCTS, PRODUCTS)

    applied(shop, "-1", "--strategy", "rebuild", "--exclusive", verb="downgrade")

    assert (shop.hits("products"), shop.hits("pages")) == (PRODUCTS, PRODUCTS)
    assert documents(shop) == before
    assert not list(shop.client.scan_iter(match="q:*", count=10_000))


@pytest.mark.parametrize("prefix", ["p:", "q:"])
@pytest.mark.parametrize("options", [(), ("--strategy", "rebuild", "--exclusive")])
def test_documents_that_a_revision_moves_are_not_deleted_with_an_index_that_it_drops(
    shop: Shop, prefix: str, options: tuple[str, ...]
):
    stock(shop, PRODUCTS)
    add_products(shop, 1, "q:other")
    shop.write(creation("others", prefix), "op.drop_index('others')")
    applied(shop)
    shop.write(f"{TO_NEW_PREFIX}\n{DROP_WITH_DOCUMENTS}")

    reason = "dropping index others with its documents would delete documents of index products"
    shop.refuses("upgrade", *options, code=6, says=("The plan is blocked: ", reason))


def test_an_index_that_is_dropped_is_not_in_the_way_of_the_next_one_of_its_name(shop: Shop):
    shop.write(creation())
    shop.write(
        "op.drop_index('products')\n"
        + creation(prefix="z:")
        + "\nwith op.index('products') as index:\n    index.change_prefix('z:', 'y:')"
    )
    assert shop.run("upgrade").code == 0
    assert shop.run("check").code == 0
