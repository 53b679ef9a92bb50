"""What a new release writes to JSON copies of hashes is carried back, or named with the reason why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_change_storage_online import applied, document, hashes, stocked
from test_two_releases import followed

from redismigrate.execution.progress import Watcher

if TYPE_CHECKING:
    from conftest import Shop

NOT_A_NUMBER = "which can't be carried back: $.price: a string where the index reads a number"


def expanded(shop: Shop, count: int = 10) -> None:
    """Products of which p:1 has the price 1.50, and their JSON copies beside."""
    stocked(shop, count)
    applied(shop, "upgrade", "head", "--phase", "expand")
    assert document(shop.client, "j:1")["__from_hash"] == {"price": "1.50"}


class Told(Watcher):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def warned(self, message: str) -> None:
        self.notes.append(message)


def set_json(shop: Shop, key: str, path: str, text: str) -> None:
    shop.client.execute_command("JSON.SET", key, path, text)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("$.price", "2", {b"price": b"2"}),
        ("$.price", "2.5", {b"price": b"2.5"}),
        ("$.price", "1.5", {b"price": b"1.50"}),
        ("$.price", "null", {b"price": None, b"__from_json": b'{"price":null}'}),
        ("$.tags", '["q"]', {b"tags": b"q"}),
        ("$.kind", "true", {b"kind": b"true", b"__from_json": b'{"kind":true}'}),
        ("$.extra", "[7, 7.25]", {b"__from_json": b'{"extra":[7,7.25]}'}),
        ("$.note", "null", {b"note": None, b"__from_json": b'{"note":null}'}),
    ],
)
def test_a_stale_memory_keeps_no_write_from_its_original(
    shop: Shop, path: str, text: str, expected: dict[bytes, bytes | None]
):
    expanded(shop, 3)
    before = shop.client.hgetall("p:1")
    set_json(shop, "j:1", path, text)

    result = applied(shop, "rollback")

    assert result["documents"]["failed"] == []
    assert shop.client.hgetall("p:1") == {
        name: value for name, value in {**before, **expected}.items() if value is not None
    }
    assert not shop.client.exists("j:1")


def test_later_writes_of_the_old_release_are_carried_once_a_memory_was_stale(shop: Shop):
    expanded(shop, 3)
    with followed(shop) as seen:
        set_json(shop, "j:1", "$.price", "2")
        seen()
        assert shop.client.hget("p:1", "price") == b"2"
        shop.client.hset("p:1", "note", "later")
        seen()
        found = document(shop.client, "j:1")
    assert (found["note"], found["price"]) == ("later", 2)
    result = applied(shop, "upgrade", "head", "--phase", "contract")
    assert result["documents"]["failed"] == []


@pytest.mark.parametrize("text", ["[1, 2, 3, 4]", "[0.10000000149011612, 0.25, 0.1234567890123, 1e-7]"])
def test_vectors_with_more_digits_than_a_hash_has_are_carried_back(shop: Shop, text: str):
    expanded(shop, 3)
    told, vector = Told(), np.array(json.loads(text), np.float32).tobytes()
    with followed(shop, told) as seen:
        set_json(shop, "j:1", "$.embedding", text)
        seen()
        assert shop.client.hget("p:1", "embedding") == vector
        assert document(shop.client, "j:1")["embedding"] == json.loads(text)
        shop.client.hset("p:1", "note", "later")
        seen()
        assert document(shop.client, "j:1")["note"] == "later"
    assert told.notes == []
    set_json(shop, "j:2", "$.embedding", text)
    result = applied(shop, "rollback")
    assert result["documents"]["failed"] == []
    assert shop.client.hget("p:1", "embedding") == shop.client.hget("p:2", "embedding") == vector
    assert not shop.client.exists("j:1", "j:2")


def test_rollback_names_what_can_not_be_carried_back(shop: Shop):
    expanded(shop)
    before = hashes(shop.client, "p:")
    set_json(shop, "j:1", "$.price", '"9"')
    set_json(shop, "j:3", "$.tags", '["x;y"]')
    shop.client.set("j:4", "a string")

    result = shop.run("rollback", "--json")

    assert result.code == 0
    told = {each["key"]: each["reason"] for each in result.json["documents"]["failed"]}
    assert told.keys() == {"p:1", "p:3", "p:4"}
    assert f"its copy j:1, {NOT_A_NUMBER}" in told["p:1"]
    assert told["p:1"].endswith("both stay as they are")
    assert "holds the separator" in told["p:3"]
    assert "it is of another type" in told["p:4"]
    assert hashes(shop.client, "p:") == before
    assert set(shop.client.scan_iter(match="j:*", count=1000)) == {b"j:1", b"j:3", b"j:4"}


def test_rollback_names_what_both_releases_have_spoiled(shop: Shop):
    expanded(shop)
    set_json(shop, "j:1", "$.note", '"new"')
    shop.client.hset("p:1", "price", "nan")

    result = shop.run("rollback", "--json")

    (told,) = result.json["documents"]["failed"]
    assert told["key"] == "p:1"
    assert "is no number that JSON has; both stay as they are" in told["reason"]


def test_follow_names_what_can_not_be_carried_back_once(shop: Shop):
    expanded(shop)
    told = Told()
    with followed(shop, told) as seen:
        for text in ('"9"', '"10"'):
            set_json(shop, "j:1", "$.price", text)
            seen()
    assert told.notes == [f"p:1: the application has written its copy j:1, {NOT_A_NUMBER}"]


def test_what_the_new_index_does_not_take_is_counted_before_the_names_move(shop: Shop):
    expanded(shop)
    shop.client.hset("p:2", "price", "nan")  # can't have a copy
    set_json(shop, "j:1", "$.price", '"9"')  # not in the new index
    set_json(shop, "j:3", "$.tags", '["x;y"]')  # in the new index
    shop.client.set("j:4", "a string")
    contract = ("upgrade", "head", "--phase", "contract")

    refused = shop.run(*contract)

    assert refused.code == 7
    assert (
        "3 documents of products can't have a second form, or one that the new index takes: " in refused.err
    )
    assert "--max-failures 3" in refused.err
    assert NOT_A_NUMBER in refused.out
    assert hashes(shop.client, "p:").keys() == {b"%d" % number for number in range(10)}
    applied(shop, *contract, "--max-failures", "3")
    assert hashes(shop.client, "p:").keys() == {b"2"}
    assert document(shop.client, "j:1")["price"] == "9"
