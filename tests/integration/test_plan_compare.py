"""`plan --compare` shows how else an index could be changed, and why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vector_documents import CHANGE, TO_FLOAT16, TO_NEW_PREFIX, TO_OLD_PREFIX, applied, creation, stock

if TYPE_CHECKING:
    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
PRODUCTS = 300


def alternatives(shop: Shop, *options: str) -> dict[str, dict[str, object]]:
    """By strategy, of the one revision that is to be applied."""
    planned = shop.run("plan", "--compare", "--json", *options).json
    (revision,) = planned["revisions"]
    return {way["strategy"]: way for way in revision["alternatives"]}


def test_the_ways_to_change_an_index_are_told_with_what_they_cost(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    ways = alternatives(shop)
    assert [name for name, way in ways.items() if way["is_chosen"]] == ["shadow"]
    assert ways["shadow"]["search_downtime_seconds"] == 0
    assert ways["rebuild"]["search_downtime_seconds"] > 0
    assert ways["shadow"]["memory_bytes"] > ways["rebuild"]["memory_bytes"] >= 0
    assert {ways[name]["writes"] for name in ("shadow", "rebuild")} == {"kept"}
    (reason,) = ways["alter"]["impossible"]
    assert reason == (
        "strategy alter can't change index products: FT.ALTER only adds fields (field 'embedding': algorithm "
        "changes from 'FLAT' to 'HNSW')"
    )


def test_of_a_way_that_can_not_do_the_change_only_that_is_told(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    name = shop.write(TO_HNSW)
    (reason,) = alternatives(shop)["shadow_field"]["impossible"]
    assert reason == (
        "strategy shadow_field can't change index products: it re-encodes vectors of hashes and gives values "
        "another path in their documents, which keep their keys"
    )
    blocked = shop.run("plan", "--strategy", "shadow_field", "--json").json["revisions"][0]["blocked"]
    assert blocked == [reason]
    shop.script(name).unlink()
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX, down_revision="000000000001")
    ways = alternatives(shop)
    assert [len(ways[way]["impossible"]) for way in ("alter", "shadow", "shadow_copy")] == [1, 1, 0]


def test_a_strategy_that_is_asked_for_is_the_one_that_is_marked(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    ways = alternatives(shop, "--strategy", "rebuild")
    assert [name for name, way in ways.items() if way["is_chosen"]] == ["rebuild"]


def test_what_changes_in_the_documents_is_told(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16)
    ways = alternatives(shop)
    assert "embedding from FLOAT32 to FLOAT16" in ways["rebuild"]["changes"][0]
    assert ways["rebuild"]["writes"] == "kept by compare-and-set"
    assert "its documents change: re-encode embedding" in ways["shadow"]["impossible"][0]


def test_without_compare_no_alternatives_are_planned(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    (revision,) = shop.run("plan", "--json").json["revisions"]
    assert revision["alternatives"] == []


def test_people_see_the_chosen_way_marked(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    shown = shop.run("plan", "--compare").out
    assert "*  shadow" in shown
    assert "impossible: strategy alter can't change index products" in " ".join(shown.split())


def test_an_index_is_not_told_the_reasons_of_another_one_whose_name_holds_its_own(shop: Shop) -> None:
    shop.write(creation("a", "a:") + "\n" + creation("catalog", "c:"))
    applied(shop)
    shop.write(
        "with op.index('a') as index:\n    index.alter_field('embedding', algorithm='hnsw')\n"
        "with op.index('catalog') as index:\n    index.alter_field('embedding', dims=16)"
    )
    (revision,) = shop.run("plan", "--compare", "--json").json["revisions"]
    ways = {(way["index"], way["strategy"]): way["impossible"] for way in revision["alternatives"]}
    assert ways["a", "shadow"] == ways["a", "rebuild"] == []
    assert "dimensions" in ways["catalog", "shadow"][0]
    assert [(item["index"], item["strategy"]) for item in revision["obstacles"]] == [("catalog", None)]
    assert [item["text"] for item in revision["obstacles"]] == revision["blocked"]


def test_what_concerns_one_index_of_several_is_told_of_that_one_by_either_name(shop: Shop) -> None:
    shop.write(creation("a", "a:") + "\n" + creation("ab", "b:") + "\n" + creation("abc", "c:"))
    applied(shop)
    shop.client.execute_command("FT.CREATE", "free", "PREFIX", 1, "x:", "SCHEMA", "t", "TEXT")
    shop.write(
        "with op.index('a') as index:\n    index.rename_to('free')\n"
        "with op.index('ab') as index:\n    index.alter_field('embedding', m=4, algorithm='hnsw')\n"
        "with op.index('abc') as index:\n    index.set_options(temporary_seconds=60)"
    )
    (revision,) = shop.run("plan", "--compare", "--json").json["revisions"]
    ways = {(way["index"], way["strategy"]): way["impossible"] for way in revision["alternatives"]}
    assert ["exists already" in text for text in ways["free", "shadow"]] == [True]
    assert ways["ab", "shadow"] == ways["ab", "rebuild"] == []
    assert ["TEMPORARY" in text for text in ways["abc", "rebuild"]] == [True]
