"""Documents whose time to live the application prolongs while they have a second form."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from patience import long_enough_ms
from vector_documents import TO_FLOAT16, TO_NEW_PREFIX, documents, stock

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = 50
LONG_MS = 600_000


@pytest.mark.parametrize("change", [TO_NEW_PREFIX, TO_FLOAT16])
def test_what_is_prolonged_while_nobody_follows_outlives_its_first_time_to_live(
    shop: Shop, change: str
) -> None:
    short_ms = long_enough_ms(lambda: stock(shop, PRODUCTS))
    shop.write(change)
    shop.client.pexpire("p:1", short_ms)
    shop.client.hpexpire("p:2", short_ms, "title", "embedding")
    assert shop.run("upgrade", "--phase", "expand").code == 0
    shop.client.pexpire("p:1", LONG_MS)
    shop.client.hpexpire("p:2", LONG_MS, "title", "embedding")
    time.sleep(short_ms / 1000)
    assert shop.run("upgrade", "--phase", "contract").code == 0
    assert len(documents(shop)) == PRODUCTS
    shop.wait_until_indexed()
    assert shop.hits("products") == PRODUCTS
    prefix = "q:" if change == TO_NEW_PREFIX else "p:"
    assert short_ms < shop.client.pttl(f"{prefix}1") <= LONG_MS
    (left,) = shop.client.hpttl(f"{prefix}2", "embedding")
    assert short_ms < left <= LONG_MS
