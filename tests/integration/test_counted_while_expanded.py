"""`status` counts what becomes of documents while a revision is expanded, whoever follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from patience import wait_until
from test_follow import following
from vector_documents import TO_FLOAT16, TO_FLOAT32, TO_NEW_PREFIX, TO_OLD_PREFIX, stock, vector

from redismigrate.execution.documents.traffic.mirroring import Synchronised

if TYPE_CHECKING:
    from conftest import Shop

KEY = "{redismigrate:shop}:while_expanded"


def counts(shop: Shop) -> dict[str, object]:
    return shop.run("status", "--json").json["while_expanded"] or {}


def expand(shop: Shop, change: str, back: str) -> None:
    stock(shop, 20)
    shop.write(change, back)
    assert shop.run("upgrade", "--phase", "expand").code == 0


def test_where_nothing_was_written_nothing_is_stored(shop: Shop):
    expand(shop, TO_FLOAT16, TO_FLOAT32)
    with following(shop):
        assert counts(shop) == {}
    assert shop.client.exists(KEY) == 0
    assert "Documents while expanded" not in shop.run("status").out


def test_second_fields_are_counted_over_followers_and_the_contraction(shop: Shop):
    expand(shop, TO_FLOAT16, TO_FLOAT32)
    with following(shop):
        shop.client.hset("p:new", mapping={"title": "a new shoe", "embedding": vector(60)})
        wait_until(lambda: counts(shop).get("born") == 1)
        shop.client.hset("p:1", "embedding", vector(61, "float16"))
        wait_until(lambda: counts(shop).get("changed") == 1)
    # By nobody until the next one looks at all documents.
    shop.client.hset("p:late", mapping={"title": "a late shoe", "embedding": vector(62)})
    shop.client.hset("p:2", "embedding", b"odd")
    with following(shop):
        wait_until(lambda: (counts(shop).get("born"), counts(shop).get("failed")) == (2, 1))
    with following(shop):
        told = counts(shop)
    assert (told["born"], told["changed"], told["failed"]) == (2, 1, 1)
    (listed,) = told["listed"]
    assert (listed["key"], listed["is_conflict"]) == ("p:2", False)
    assert "3 bytes" in listed["reason"]
    out = " ".join(shop.run("status").out.split())
    assert "Documents while expanded: 2 born, 1 changed" in out
    assert "1 without the other form" in out
    assert "p:2: embedding: 3 bytes" in out
    shop.client.hset("p:2", "embedding", vector(2))
    assert shop.run("upgrade", "--phase", "contract").code == 0
    assert shop.client.exists(KEY) == 0
    assert counts(shop) == {}


def test_copies_are_counted_with_deletions_and_conflicts(shop: Shop):
    expand(shop, TO_NEW_PREFIX, TO_OLD_PREFIX)
    shop.client.hset("p:3", "title", "one title")
    shop.client.hset("q:3", "title", "another title")
    with following(shop):
        wait_until(lambda: counts(shop).get("conflicts") == 1)
        shop.client.hset("p:new", mapping={"title": "a new shoe", "embedding": vector(60)})
        wait_until(lambda: counts(shop).get("born") == 1)
        shop.client.hset("p:1", "title", "another shoe")
        wait_until(lambda: shop.client.hget("q:1", "title") == b"another shoe")
        shop.client.delete("p:2")
        wait_until(lambda: counts(shop).get("deleted") == 1)
        wait_until(lambda: counts(shop).get("changed", 0) >= 1)
    told = counts(shop)
    assert [(each["key"], each["is_conflict"]) for each in told["listed"]] == [("p:3", True)]
    assert "1 written differently in both forms" in " ".join(shop.run("status").out.split())
    assert shop.run("rollback").code == 0
    assert shop.client.exists(KEY) == 0


def test_what_was_written_before_all_had_their_second_form_is_no_traffic(shop: Shop):
    stock(shop, 20)
    shop.client.hset("p:odd", mapping={"title": "odd", "embedding": b"odd"})
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert shop.run("upgrade", "--phase", "expand", "--max-failures", "1").code == 0
    with following(shop):
        # Known since before: it is looked at with all documents, and is none that came up since.
        shop.client.hset("p:new", mapping={"title": "a new shoe", "embedding": vector(60)})
        wait_until(lambda: counts(shop).get("born") == 1)
    assert counts(shop)["failed"] == 0


@pytest.mark.parametrize("text", [b"[]", b"no JSON", b'{"run": "another"}', b'{"counts": {"born": "many"}}'])
def test_what_somebody_else_has_written_there_counts_for_nothing(shop: Shop, text: bytes):
    expand(shop, TO_FLOAT16, TO_FLOAT32)
    shop.client.set(KEY, text)
    assert counts(shop) == {}
    assert shop.run("upgrade", "--phase", "contract").code == 0
    assert shop.client.exists(KEY) == 0


def test_only_what_a_synchronisation_has_counted_is_added():
    total = Synchronised(born=1, carried=2)
    total.add(Synchronised(born=10, carried=20))
    assert (total.born, total.carried) == (11, 22)
