"""`--query-check FILE`: RedisVL's files of queries, asked of the index that an upgrade changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Shop

SCHEMA = {
    "index": {"name": "products", "prefix": "p"},
    "fields": [
        {"name": "brand", "type": "tag"},
        {
            "name": "embedding",
            "type": "vector",
            "attrs": {"algorithm": "flat", "dims": 2, "datatype": "float32", "distance_metric": "l2"},
        },
    ],
}
TO_GRAPH = """
with op.index("products") as index:
    index.alter_field("embedding", algorithm="hnsw")
"""
BACK = TO_GRAPH.replace("hnsw", "flat")
MOVE = """
with op.index("products") as index:
    index.change_prefix("p", "shop")
"""
FILE = {
    "fetch_ids": [1, "2"],
    "keys_exist": ["p:1", "p:3"],
    "search": [
        "@brand:{acme}",
        {"query": "@brand:{acme}", "finds": 6},
        {"knn": {"field": "embedding", "of": "p:4", "k": 3}, "finds_keys": ["p:3", "p:4", "p:5"]},
    ],
}


@pytest.fixture
def products(shop: Shop) -> Shop:
    """An applied index of twelve documents, and a revision that changes its algorithm."""
    shop.write(f"op.create_index({SCHEMA!r})", 'op.drop_index("products")')
    for number in range(12):
        vector = np.array([number, 0], np.float32).tobytes()
        shop.client.hset(
            f"p:{number}", mapping={"brand": ("acme", "zenith")[number % 2], "embedding": vector}
        )
    assert shop.run("upgrade").code == 0
    shop.wait_until_indexed()
    shop.write(TO_GRAPH, BACK)
    return shop


def write(shop: Shop, content: Any, name: str = "checks.yaml") -> None:
    text = json.dumps(content) if name.endswith(".json") else yaml.safe_dump(content)
    (shop.folder / name).write_text(text)


@pytest.mark.parametrize("name", ["checks.yaml", "checks.json"])
def test_a_file_of_redisvl_is_asked_before_and_after_and_reported(products: Shop, name: str):
    write(products, FILE, name)
    plan = products.run("plan", "--query-check", name, "--json").json["revisions"][0]
    (check,) = [step for step in plan["steps"] if step["kind"] == "check_expectations"]
    assert check["expectations"][:3] == ["id 1 can be fetched", "id 2 can be fetched", "key p:1 exists"]
    done = products.run("upgrade", "--query-check", name, "--report-out", "report.yaml")
    assert done.code == 0, done.err
    report = yaml.safe_load((products.folder / "report.yaml").read_text())
    checks = report["query_checks"]
    assert {check["source"] for check in checks} == {"query_check"}
    assert all(check["passed"] for check in checks)
    assert [check["when"] for check in checks].count("after") == 7
    assert checks[-2] | {"asked": "@brand:{acme}", "wanted": "6", "found": "6", "when": "after"} == checks[-2]
    # They are those of this upgrade: no later one has to meet them.
    assert products.run("current", "--json").json["applied"][-1]["expectations"] == []


UNMET = [
    ({"fetch_ids": [99]}, "id 99: wanted that it can be fetched, found no key p:99"),
    ({"keys_exist": ["p:99"]}, "key p:99: wanted that it exists, found no such key"),
    ({"search": ["@brand:{none}"]}, "@brand:{none}: wanted at least 1, found 0"),
]


@pytest.mark.parametrize(("content", "told"), UNMET)
def test_what_is_not_met_as_things_are_blocks(products: Shop, content: dict[str, Any], told: str):
    write(products, content)
    products.refuses("upgrade", "--query-check", "checks.yaml", code=6, says=("The plan is blocked: ", told))


def test_documents_that_move_are_looked_for_where_they_are_then(products: Shop):
    assert products.run("upgrade").code == 0
    products.write(MOVE, MOVE.replace('"p", "shop"', '"shop", "p"'))
    write(products, {"fetch_ids": [1], "keys_exist": ["p:1"]})
    says = ("checks.yaml: keys_exist has p:1, which becomes shop:1 by this",)
    products.refuses("upgrade", "--query-check", "checks.yaml", code=8, says=says)
    write(products, {"fetch_ids": [1], "keys_exist": ["shop:1"]})
    done = products.run("upgrade", "--query-check", "checks.yaml")
    assert done.code == 0, done.err


WRONG = [
    ([], "nothing to check"),
    ({"fetch_id": [1]}, "unknown key 'fetch_id' (did you mean 'fetch_ids'?)"),
    ({"fetch_ids": 1}, "fetch_ids is no list"),
    ({"keys_exist": [True]}, "keys_exist has True"),
    ({"search": [{"query": "@brand:{acme}"}]}, "either finds or finds_keys"),
    ({"search": [{"query": "@brnd:{acme}", "finds": 1}]}, "no field 'brnd'"),
    ({"search": [{"qery": "*", "finds": 1}]}, "unknown key 'qery'"),
    ({"index": "nothing", "fetch_ids": [1]}, "about index nothing"),
    ("a text", "is no mapping"),
]


@pytest.mark.parametrize(("content", "told"), WRONG)
def test_a_file_that_says_something_else_is_refused(products: Shop, content: Any, told: str):
    write(products, content)
    refused = products.run("upgrade", "--query-check", "checks.yaml")
    assert refused.code in {2, 8}
    assert "checks.yaml" in refused.err
    assert told in refused.err
    assert products.run("upgrade", "--query-check", "missing.yaml").code == 8


def test_of_several_indexes_the_file_says_which(products: Shop):
    other = {"index": {"name": "brands", "prefix": "p"}, "fields": [{"name": "brand", "type": "tag"}]}
    products.write(f"op.create_index({other!r})", 'op.drop_index("brands")')
    write(products, {"fetch_ids": [1]})
    refused = products.run("upgrade", "--query-check", "checks.yaml")
    assert (refused.code, "the revisions are about brands, products" in refused.err) == (2, True)
    write(
        products, [{"index": "products", "fetch_ids": [1]}, {"index": "brands", "search": ["@brand:{acme}"]}]
    )
    revisions = products.run("plan", "--query-check", "checks.yaml", "--json").json["revisions"]
    checked = [
        (step["index"], step["expectations"])
        for revision in revisions
        for step in revision["steps"]
        if step["kind"] == "check_expectations"
    ]
    assert checked == [
        ("products", ["id 1 can be fetched"]),
        ("brands", ["@brand:{acme} finds at least 1"]),
    ]
    assert products.run("upgrade", "--query-check", "checks.yaml").code == 0
    again = products.run("upgrade", "--query-check", "checks.yaml")
    assert (again.code, "was not asked" in again.out + again.err) == (0, True)
