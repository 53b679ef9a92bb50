"""Messages that once misled: each says what is so, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from vector_documents import CHANGE, applied, creation

if TYPE_CHECKING:
    from conftest import Shop

RECIPE = """
version: 0.1.0
description: from a recipe
index:
  name: products
  prefix: p
  key_field: id
fields:
  - {name: title, type: text, description: what it is called, sortable: true}
  - name: embedding
    type: vector
    attrs: {algorithm: flat, dims: 8, distance_metric: l2, dtype: float64, note: x}
"""


def warnings(shop: Shop) -> list[str]:
    (revision,) = shop.run("plan", "--json").json["revisions"]
    found: list[str] = revision["warnings"]
    return found


def declare(shop: Shop, text: str) -> None:
    (shop.folder / "products.yaml").write_text(text)
    with (shop.folder / "redismigrate.toml").open("a") as settings:
        settings.write('schemas = ["products.yaml"]\n')


def test_keys_that_redisvl_ignores_are_named_and_ignored_in_schemas_of_its_form(shop: Shop):
    declare(shop, RECIPE)
    result = shop.run("revision", "--autogenerate", "-m", "products")
    assert result.code == 0, result.err
    applied(shop)
    assert shop.run("check").code == 0
    notes = shop.run_process("check").err
    for note in (
        "products.yaml: the schema: ignored as RedisVL ignores it: 'description'",
        "products.yaml: index: ignored as RedisVL ignores it: 'key_field'\n",
        "text field 'title': ignored as RedisVL ignores it: 'description', 'sortable'",
        "vector field 'embedding': ignored as RedisVL ignores it: 'dtype' (did you mean 'datatype'?), 'note'",
    ):
        assert note in notes, notes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "op.create_index({'index': {'name': 'a', 'key_field': 'id'}, 'fields': []})",
            "unknown key 'key_field'.",
        ),
        (
            f"{CHANGE}index.add_field({{'name': 'b', 'type': 'tag', 'description': 'x'}})",
            "unknown key 'description'",
        ),
    ],
)
def test_scripts_stay_strict(shop: Shop, change: str, says: str):
    shop.write(creation())
    shop.write(change)
    result = shop.run("plan")
    assert (result.code, says in result.err) == (8, True), result.err


def test_a_star_in_a_prefix_is_said_to_be_taken_literally(shop: Shop):
    shop.write(creation("products", "product:*"))
    says = (
        "the * in prefix product:* of index products is taken literally: Redis Search matches the beginning "
        "of keys; leave it out unless keys have it"
    )
    assert says in warnings(shop)
    applied(shop)
    shop.write(f"{CHANGE}index.set_options(prefixes=['product:*', 'p*'])")
    found = [text for text in warnings(shop) if "literally" in text]
    assert [text.partition(" of index")[0] for text in found] == ["the * in prefix p*"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("dims=16", "queries on products must send vectors of 16 dimensions afterwards (query_bytes_change)"),
        (
            "dims=16, datatype='float16'",
            "queries on products must send FLOAT16 vectors of 16 dimensions afterwards (query_bytes_change)",
        ),
        (
            "datatype='float16'",
            "queries on products must send FLOAT16 vectors afterwards (query_bytes_change)",
        ),
    ],
)
def test_what_queries_have_to_send_is_what_changes(shop: Shop, change: str, says: str):
    shop.write(creation())
    applied(shop)
    shop.write(f"{CHANGE}index.alter_field('embedding', {change})")
    found = warnings(shop)
    assert says in found
    assert [text for text in found if "old_form_writers" in text] or change == "dims=16"


def test_who_changes_both_prefixes_is_not_told_to_change_the_other_one(shop: Shop):
    shop.write(creation("products", "p:") + "\n" + creation("goods", "p:"))
    applied(shop)
    shop.write(
        "with op.index('products') as index:\n    index.change_prefix('p:', 'q:')\n"
        "with op.index('goods') as index:\n    index.change_prefix('p:', 'r:')"
    )
    blocked = shop.run("plan", "--json", "--exclusive").json["revisions"][0]["blocked"]
    assert (
        "index goods covers keys p:*: it would lose the documents that move to q:*; give goods one that "
        "fits, which gets r:* in the same revision"
    ) in blocked


def test_a_configuration_that_hides_another_one_names_it(shop: Shop):
    assert shop.run_process("heads").err == ""
    (shop.folder / "pyproject.toml").write_text('[tool.redismigrate]\nproject = "other"\n')
    err = shop.run_process("heads").err
    assert err == (
        f"{shop.folder / 'redismigrate.toml'} is read, and not the section [tool.redismigrate] of "
        "pyproject.toml beside it: keep one of the two\n"
    )
    (shop.folder / "pyproject.toml").write_text("[tool.other]\n")
    assert shop.run_process("heads").err == ""
