"""Documents whose time to live the application prolongs while they have a second form."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from vector_documents import TO_FLOAT16, TO_NEW_PREFIX, documents, stock

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = 50
SHORT_MS = 1500
LONG_MS = 600_000


@pytest.mark.parametrize("change", [TO_NEW_PREFIX, TO_FLOAT16])
def test_what_is_prolonged_while_nobody_follows_outlives_its_first_time_to_live(
    shop: Shop, change: str
) -> None:
    stock(shop, PRODUCTS)
    shop.write(change)
    shop.client.pexpire("p:1", SHORT_MS)
    shop.client.hpexpire("p:2", SHORT_MS, "title", "embedding")
    assert shop.run("upgrade", "--phase", "expand").code == 0
    shop.client.pexpire("p:1", LONG_MS)
    shop.client.hpexpire("p:2", LONG_MS, "title", "embedding")
    time.sleep(SHORT_MS / 1000)
    assert shop.run("upgrade", "--phase", "contract").code == 0
    assert len(documents(shop)) == PRODUCTS
    shop.wait_until_indexed()
    assert shop.hits("products") == PRODUCTS
    prefix = "q:" if change == TO_NEW_PREFIX else "p:"
    assert SHORT_MS < shop.client.pttl(f"{prefix}1") <= LONG_MS
    (left,) = shop.client.hpttl(f"{prefix}2", "embedding")
    assert SHORT_MS < left <= LONG_MS
