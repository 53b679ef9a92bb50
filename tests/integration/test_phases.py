"""Expand and contract: old and new are both servable until the served name moves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from search_hammer import hammered
from signalled_process import KILLED, kill_at
from vector_documents import CHANGE, applied, kill_before, stock, vector

from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.redis_server.inspection import list_indexes, resolve_alias

if TYPE_CHECKING:
    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw', m=8)"
TO_FLAT = CHANGE + "index.alter_field('embedding', algorithm='flat')"
PRODUCTS = 500
CONTRACT = MigrationOptions(phase="contract")


def expanded(shop: Shop) -> str:
    """Expand a change of the products; the physical name of what was built beside them."""
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW, TO_FLAT)
    result = shop.run("upgrade", "--phase", "expand", "--json")
    assert result.code == 0, result.err
    assert (result.json["result"], result.json["expanded"]) == ("done", "000000000002")
    current = shop.run("current", "--json").json
    assert (current["heads"], current["expanded"]) == (["000000000001"], "000000000002")
    beside = current["indexes"]["products"]["expanded"]
    assert beside["schema"]["fields"][1]["attrs"]["algorithm"] == "hnsw"
    return str(beside["physical"])


def names(shop: Shop) -> set[str]:
    return set(list_indexes(shop.client.execute_command))


def test_expand_leaves_old_and_new_both_servable_under_names_of_their_own(shop: Shop) -> None:
    physical = expanded(shop)
    assert names(shop) == {"products", physical}
    assert shop.hits("products") == shop.hits(physical) == PRODUCTS


def test_expand_again_has_nothing_to_do(shop: Shop) -> None:
    physical = expanded(shop)
    result = shop.run("upgrade", "--phase", "expand", "--json")
    assert (result.code, result.json["result"], result.json["expanded"]) == (0, "nothing", "000000000002")
    assert names(shop) == {"products", physical}


def test_contract_moves_the_served_name_and_removes_the_old(shop: Shop) -> None:
    physical = expanded(shop)
    with hammered(shop.url, "products", PRODUCTS, vector(7)) as counts:
        result = shop.run("upgrade", "--phase", "contract", "--json")
    assert (result.code, result.json["revisions"]) == (0, ["000000000002"]), result.err
    assert names(shop) == {physical}
    assert resolve_alias(shop.client.execute_command, "products") == physical
    assert shop.run("current", "--json").json["expanded"] is None
    assert all((count["failed"], count["short"]) == (0, 0) for count in counts), counts


def test_upgrade_without_a_phase_contracts_what_is_expanded(shop: Shop) -> None:
    physical = expanded(shop)
    applied(shop)
    assert names(shop) == {physical}
    assert shop.run("current", "--json").json["heads"] == ["000000000002"]


def test_contract_without_anything_expanded_has_nothing_to_do(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW, TO_FLAT)
    result = shop.run("upgrade", "--phase", "contract", "--json")
    assert (result.code, result.json["result"]) == (0, "nothing")
    assert names(shop) == {"products"}


def test_rollback_between_expand_and_contract_takes_the_new_index_away(shop: Shop) -> None:
    expanded(shop)
    with hammered(shop.url, "products", PRODUCTS, vector(7)) as counts:
        result = shop.run("rollback", "--json")
    assert (result.code, result.json["result"]) == (0, "done"), result.err
    assert names(shop) == {"products"}
    assert shop.run("current", "--json").json["expanded"] is None
    assert all((count["failed"], count["short"]) == (0, 0) for count in counts), counts
    applied(shop)


def test_rollback_of_a_finished_run_brings_the_old_index_back_with_search_up(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW, TO_FLAT)
    run = shop.run("upgrade", "--json").json["run"]
    with hammered(shop.url, "products", PRODUCTS, vector(7)) as counts:
        result = shop.run("rollback", "--run", run, "--json")
    assert result.code == 0, result.err
    assert all((count["failed"], count["short"]) == (0, 0) for count in counts), counts
    schema = shop.run("current", "--json").json["indexes"]["products"]["schema"]
    assert schema["fields"][1]["attrs"]["algorithm"] == "flat"
    assert shop.run("status", "--json").json["problems"] == []
    applied(shop)


def test_an_expanded_revision_is_not_interrupted_and_blocks_later_ones(shop: Shop) -> None:
    expanded(shop)
    status = shop.run("status")
    assert "is expanded" in status.out
    assert "--phase contract" in status.out
    assert shop.run("status", "--json").json["interrupted"] is False
    shop.write(TO_FLAT, TO_HNSW)
    planned = shop.run("plan")
    assert planned.code == 7
    assert "Revision 000000000002 is expanded" in planned.err
    assert "--phase contract" in planned.err


def test_expand_stops_at_the_first_revision_that_needs_it_and_contract_ends_with_it(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(
        CHANGE + "index.add_field({'name': 'brand', 'type': 'tag'})", CHANGE + "index.drop_field('brand')"
    )
    shop.write(TO_HNSW, TO_FLAT)
    shop.write(TO_FLAT, TO_HNSW)
    result = shop.run("upgrade", "--phase", "expand", "--json")
    assert (result.json["revisions"], result.json["expanded"]) == (["000000000002"], "000000000003")
    result = shop.run("upgrade", "--phase", "contract", "--json")
    assert (result.json["revisions"], result.json["expanded"]) == (["000000000002", "000000000003"], None)
    assert shop.run("current", "--json").json["heads"] == ["000000000003"]


def test_a_contraction_killed_at_every_step_is_ended_or_rolled_back(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW, TO_FLAT)
    shop.write(TO_FLAT, TO_HNSW)
    applied(shop, "000000000002")  # from now on the old index has a name of its own, dropped at the end
    before = names(shop)
    kills = 0
    while True:
        assert shop.run("upgrade", "--phase", "expand").code == 0
        if kill_at(shop, "upgrade", "head", at=kills + 1, options=CONTRACT) != KILLED:
            break
        kills += 1
        assert shop.run("rollback").code == 0
        assert names(shop) == before
        assert shop.hits("products") == PRODUCTS
    assert kills >= 2
    assert len(names(shop)) == 1
    assert shop.run("current", "--json").json["heads"] == ["000000000003"]


def test_the_other_direction_is_refused_while_a_revision_is_expanded(shop: Shop) -> None:
    expanded(shop)
    result = shop.run("downgrade", "-1")
    assert result.code == 7
    assert "Revision 000000000002 is expanded: its old and its new index are both there." in result.err
    assert "`redismigrate upgrade head --phase contract`" in result.err


def test_what_does_not_include_the_expanded_revision_does_not_contract_it(shop: Shop) -> None:
    """As a pod of the old release, which lacks the script, when it starts again during the roll-out."""
    physical = expanded(shop)
    assert shop.run("upgrade", "000000000001", "--json").json["result"] == "nothing"
    script = shop.script("000000000002")
    text = script.read_text()
    script.unlink()
    result = shop.run("upgrade", "--json")
    assert (result.code, result.json["result"]) == (0, "nothing")
    other = shop.write(TO_FLAT, TO_HNSW, down_revision="000000000001")
    result = shop.run("upgrade")
    assert result.code == 7
    assert "Revision 000000000002 is expanded" in result.err
    assert names(shop) == {"products", physical}
    shop.script(other).unlink()
    script.write_text(text)
    applied(shop)
    assert names(shop) == {physical}


def test_the_expand_phase_does_not_take_search_away(shop: Shop) -> None:
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(f'{configuration.read_text()}\nadopt = "never"\n')
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW, TO_FLAT)
    result = shop.run("upgrade", "--phase", "expand")
    assert result.code == 6
    assert "index products would be rebuilt in its place, with search down" in result.err
    assert shop.run("current", "--json").json["heads"] == ["000000000001"]
    applied(shop)


def test_what_is_incomplete_stays_expanded_however_often_it_is_to_be_contracted(shop: Shop) -> None:
    shop.add_documents(PRODUCTS, title="shoe {n}", price="{n}")
    stock(shop, 0)
    shop.write(CHANGE + "index.add_field({'name': 'price', 'type': 'numeric'}); index.drop_field('title')")
    assert shop.run("upgrade", "--phase", "expand").code == 0
    shop.client.hset("p:0", "price", "ten")
    for _ in range(2):
        refused = shop.run("upgrade", "--phase", "contract")
        assert refused.code == 7, refused
        assert "can't be contracted: 1 documents can't be indexed in products" in refused.err
        assert shop.run("current", "--json").json["expanded"] == "000000000002"
    shop.client.hset("p:0", "price", "10")
    applied(shop, "--phase", "contract")
    assert shop.hits("products") == PRODUCTS


def test_what_became_incomplete_while_a_run_was_interrupted_is_not_swapped_in(shop: Shop) -> None:
    shop.add_documents(PRODUCTS, title="shoe {n}", price="{n}")
    stock(shop, 0)
    shop.write(CHANGE + "index.add_field({'name': 'price', 'type': 'numeric'}); index.drop_field('title')")
    kill_before(shop, "swap_alias", "upgrade", "head")
    shop.client.hset("p:0", "price", "ten")
    result = shop.run("upgrade")
    assert result.code == 1, result
    assert "Could not apply revision 000000000002: 1 documents can't be indexed in products" in result.err
    assert (names(shop), shop.hits("products")) == ({"products"}, PRODUCTS)


OTHERS = """
op.create_index({"index": {"name": "shops", "prefix": "s:"}, "fields": [{"name": "name", "type": "text"}]})
op.create_alias("goods", "products")
"""


def test_the_expand_phase_leaves_the_indexes_and_names_that_the_revision_takes_away(shop: Shop) -> None:
    stock(shop, 20)
    shop.write(OTHERS)
    shop.write(f"op.drop_alias('goods')\nop.drop_index('shops')\n{TO_HNSW}", f"{TO_FLAT}\n{OTHERS}")
    applied(shop, "000000000002")
    before = shop.content("goods")["indexes"], shop.content("goods")["aliases"]

    applied(shop, "head", "--phase", "expand")
    assert {"products", "shops"} < names(shop)
    assert resolve_alias(shop.client.execute_command, "goods") == "products"
    assert json.loads(shop.client.get("{redismigrate}:owners") or b"")["shops"] == "shop"
    applied(shop, verb="rollback")
    assert (shop.content("goods")["indexes"], shop.content("goods")["aliases"]) == before

    applied(shop, "head", "--phase", "expand")
    applied(shop, "head", "--phase", "contract")
    assert len(names(shop)) == 1
    assert resolve_alias(shop.client.execute_command, "goods") is None
    assert shop.run("current", "--json").json["heads"] == ["000000000003"]


def test_the_expand_phase_is_refused_where_a_later_step_needs_what_clients_would_lose(shop: Shop) -> None:
    stock(shop, 20)
    shop.write(OTHERS)
    shop.write(
        f"op.drop_index('shops')\nop.run(look)\n{TO_HNSW}",
        preamble="def look(client):\n    client.ping()\n",
    )
    applied(shop, "000000000002")
    shop.refuses(
        "upgrade",
        "--phase",
        "expand",
        code=6,
        says=("The plan is blocked", "drop index shops has to come before a name moves"),
    )
    applied(shop)
    assert len(names(shop)) == 1
