"""`validate`: at any time, whether indexes are as recorded, have their documents and answer as expected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from redismigrate import aio, commands
from redismigrate.commands import Project
from redismigrate.documents.unindexable import reasons_in_hash, reasons_in_json
from redismigrate.schema.redisvl import schema_from_redisvl

if TYPE_CHECKING:
    from conftest import Shop

FIELDS = [
    {"name": "brand", "type": "tag"},
    {"name": "price", "type": "numeric"},
    {"name": "place", "type": "geo"},
    {
        "name": "embedding",
        "type": "vector",
        "attrs": {"algorithm": "flat", "dims": 2, "datatype": "float32", "distance_metric": "l2"},
    },
]
SCHEMA = {"index": {"name": "products", "prefix": "p:"}, "fields": FIELDS}
VECTOR = np.array([1, 0], np.float32).tobytes()


@pytest.fixture
def products(shop: Shop) -> Shop:
    """An applied index of ten documents, of which the revision expects something."""
    shop.write(f"op.create_index({SCHEMA!r})", 'op.drop_index("products")')
    shop.add_documents(10, brand="acme", price="{n}", embedding=VECTOR)
    shop.write(
        """
op.expect("products", query="@price:[0 99]", finds=10)
op.create_alias("catalog", "products")
op.expect("products", count=("at_least", 10))
""",
        'op.drop_alias("catalog")',
    )
    assert shop.run("upgrade").code == 0
    shop.wait_until_indexed()
    return shop


def flaws(shop: Shop, *arguments: str, code: int = 3) -> dict[str, str]:
    result = shop.run("validate", "--json", *arguments)
    assert result.code == code, result.out + result.err
    return {flaw["kind"]: flaw["message"] for flaw in result.json["flaws"]}


@pytest.mark.needs("search debugging")
def test_what_is_as_it_should_be_ends_with_0(products: Shop):
    result = products.run("validate", "--json")
    assert result.code == 0, result.out
    (index,) = result.json["indexes"]
    assert (index["documents"], index["unindexed"], index["sample"]) == (10, 0, [])
    assert index["vectors"] == {"embedding": {"indexed": 10, "in_documents": 10}}
    assert [(each["asked"], each["found"]) for each in result.json["expectations"]] == [
        ("@price:[0 99]", "10"),
        ("documents", "10"),
    ]
    shown = products.run("validate", "products")
    assert (shown.code, shown.out.splitlines()[-1]) == (0, "All is as it should be.")
    project = Project.load(products.folder / "redismigrate.toml")
    assert commands.validate(project, ["products"]) == asyncio.run(aio.validate(project, ["products"]))


def test_documents_that_are_not_indexed_are_told_with_reasons(products: Shop):
    products.client.hset("p:short", mapping={"embedding": b"abc"})
    products.client.hset("p:word", mapping={"price": "cheap", "place": "nowhere"})
    products.client.hset("p:last", mapping={"price": "dear"})
    result = products.run("validate", "--json")
    assert result.code == 3
    (index,) = result.json["indexes"]
    assert index["unindexed"] == 3
    reasons = {one["key"]: one["reason"] for one in index["sample"]}
    assert reasons["p:short"] == "field embedding has 3 bytes instead of 8"
    assert reasons["p:word"] == (
        "field price is no number: cheap; field place is no longitude and latitude: nowhere"
    )
    assert reasons["p:last"] == "field price is no number: dear"
    assert "3 documents are not in it: " in flaws(products)["unindexed"]
    shown = products.run("validate").out
    assert "products: 10 documents indexed, 3 are not" in shown
    assert "Wrong: products: 3 documents are not in it" in shown


def test_what_differs_from_the_record_is_told(products: Shop):
    products.client.execute_command("FT.ALIASDEL", "catalog")
    assert flaws(products)["alias_changed"] == "alias catalog does not exist"
    products.client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "more", "TAG")
    assert "field_added" in flaws(products)
    products.client.execute_command("FT.DROPINDEX", "products")
    found = flaws(products)
    assert found["index_missing"] == "index products does not exist"
    assert "unindexed" not in found


def test_what_the_last_revision_expects_is_asked_again(products: Shop):
    products.client.delete("p:3")
    result = products.run("validate", "--json")
    assert result.code == 3
    assert [flaw["message"] for flaw in result.json["flaws"]] == [
        "it is not as expected: @price:[0 99]: wanted 10, found 9",
        "it is not as expected: documents: wanted at least 10, found 9",
    ]
    products.write('op.drop_alias("catalog")', 'op.create_alias("catalog", "products")')
    assert products.run("upgrade").code == 0
    assert flaws(products, code=0) == {}


def test_files_of_queries_can_be_asked_at_any_time(products: Shop):
    (products.folder / "checks.yaml").write_text(
        yaml.safe_dump({"fetch_ids": [1, 99], "keys_exist": ["p:2"]})
    )
    told = flaws(products, "--query-check", "checks.yaml")
    assert told == {
        "expectation": "it is not as expected: id 99: wanted that it can be fetched, found no key p:99"
    }


def test_an_index_that_is_not_recorded_is_named(products: Shop):
    refused = products.run("validate", "prodcts")
    assert (refused.code, "prodcts (did you mean 'products'?)" in refused.err) == (2, True)
    refused = products.run("validate", "catalog")
    assert (refused.code, "It is an alias of products." in refused.err) == (2, True)


def test_a_stamp_records_what_is_expected_as_an_upgrade_does(products: Shop):
    before = products.run("current", "--json").json["applied"]
    assert [len(each["expectations"]) for each in before] == [0, 2]
    assert products.run("stamp", "head", "--purge").code == 0
    after = products.run("current", "--json").json["applied"]
    assert [each["expectations"] for each in after] == [each["expectations"] for each in before]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"price": b"1e3", "place": b"13.4,52.5", "embedding": VECTOR}, []),
        ({"price": b"", "place": None, "embedding": None}, ["field price is no number: "]),
        ({"place": b"13.4 99"}, ["field place is no longitude and latitude: 13.4 99"]),
        ({"embedding": b""}, ["field embedding has 0 bytes instead of 8"]),
    ],
)
def test_reasons_in_a_hash(values: dict[str, bytes | None], told: list[str]):
    assert list(reasons_in_hash(schema_from_redisvl(SCHEMA), values)) == told


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"$.price": [1.5], "$.brand": ["a"], "$.embedding": [[1, 2]]}, []),
        ({"$.price": [None], "$.brand": [["a", "b", None]]}, []),
        ({"$.price": ["1"]}, ["field price is no number: 1"]),
        ({"$.brand": [5]}, ["field brand is no text: 5"]),
        ({"$.embedding": [[1, 2, 3]]}, ["field embedding has 3 numbers instead of 2"]),
        ({"$.embedding": [["a", "b"]]}, ["field embedding is no list of numbers: ['a', 'b']"]),
    ],
)
def test_reasons_in_json(values: dict[str, list[Any]], told: list[str]):
    index = {"name": "products", "prefix": "p:", "storage_type": "json"}
    assert list(reasons_in_json(schema_from_redisvl({"index": index, "fields": FIELDS}), values)) == told
