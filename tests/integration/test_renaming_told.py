"""What is told of a rename with search up: plans, states, refusals; and how commands about a run take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from vector_documents import add_products, applied, creation, documents

if TYPE_CHECKING:
    from conftest import Shop

COUNT = 40
RENAME = "with op.index('products') as index:\n    index.rename_field('title', 'name')"
RENAME_BACK = "with op.index('products') as index:\n    index.rename_field('name', 'title')"


@pytest.fixture
def renaming(shop: Shop) -> Shop:
    """Products, and a revision that renames their title."""
    add_products(shop, COUNT)
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    shop.write(RENAME, RENAME_BACK)
    return shop


def planned(shop: Shop, *options: str) -> dict[str, Any]:
    (revision,) = shop.run("plan", "--json", *options).json["revisions"]
    return dict(revision)


def test_a_plan_tells_what_it_costs_and_that_search_stays_up(renaming: Shop):
    steps = {step["kind"]: step["estimate"] for step in planned(renaming)["steps"]}
    assert steps["copy_documents"]["documents"] == COUNT
    assert steps["copy_documents"]["bytes_written"] > 0
    assert steps["copy_documents"]["memory_bytes"] > steps["copy_documents"]["bytes_written"]
    assert all(estimate["search_downtime_seconds"] == 0 for estimate in steps.values())
    assert all(estimate["backup_bytes"] == 0 for estimate in steps.values())
    ways = {way["strategy"]: way for way in planned(renaming, "--compare")["alternatives"]}
    assert ways["shadow_field"]["is_chosen"]
    assert ways["shadow_field"]["writes"] == "kept, followed by tracking"
    assert ways["shadow_field"]["changes"] == ["rename title to name"]
    assert ways["rebuild"]["impossible"]


def test_a_file_for_redis_cli_can_not_do_it(renaming: Shop):
    refused = renaming.run("upgrade", "head", "--script")
    assert refused.code == 6
    assert "write name beside title in the documents of products" in refused.err
    assert documents(renaming)[b"p:1"].keys() == {b"title", b"embedding"}


def test_while_it_is_expanded_both_names_are_found_by_one_name_and_the_old_one_by_the_served(renaming: Shop):
    applied(renaming, "head", "--phase", "expand")
    shown = renaming.run("current", "--json").json
    expanded = shown["indexes"]["products"]["expanded"]
    assert shown["expanded"] == "000000000002"
    assert [each["state"] for each in renaming.run("status", "--json").json["indexes"]] == ["expanded"]
    assert "index products: expanded" in renaming.run("status").out
    assert [field["name"] for field in expanded["schema"]["fields"]] == ["name", "embedding", "title"]
    for query in ("@title:shoe", "@name:shoe"):
        assert renaming.hits(expanded["physical"], query) == COUNT
    assert renaming.hits("products", "@title:shoe") == COUNT
    assert renaming.run("check").code == 4  # a revision waits, and nothing has drifted
    assert documents(renaming)[b"p:1"].keys() == {b"title", b"name", b"embedding"}

    applied(renaming, "head", "--phase", "contract")

    assert renaming.hits("products", "@name:shoe") == COUNT
    assert renaming.hits(expanded["physical"], "@name:shoe") == COUNT
    assert documents(renaming)[b"p:1"].keys() == {b"name", b"embedding"}
    assert renaming.run("check").code == 0


def test_the_way_back_is_exact_however_far_it_came(renaming: Shop):
    before = documents(renaming)
    renaming.client.hpexpire("p:3", 3_600_000, "title")
    for options in (("--phase", "expand"), ()):
        applied(renaming, "head", *options)
        run = renaming.run("status", "--json").json["journal"][0]["run"]
        assert renaming.run("rollback", *(() if options else ("--run", run))).code == 0
        assert documents(renaming) == before
        assert renaming.hits("products", "@title:shoe") == COUNT
    applied(renaming)
    applied(renaming, "-1", verb="downgrade")
    assert documents(renaming) == before
    (expires_ms,) = renaming.client.execute_command("HPTTL", "p:3", "FIELDS", 1, "title")
    assert 0 < expires_ms <= 3_600_000


def test_a_new_name_that_is_taken_is_found_before_anything_serves_and_nothing_is_overwritten(renaming: Shop):
    renaming.client.hset("p:7", "name", "mine")
    renaming.client.hset("p:8", "name", "shoe 8")  # as the rename would have it
    before = documents(renaming)
    refused = renaming.run("upgrade", "head")
    assert refused.code == 1
    assert "p:7" in refused.err
    assert "--max-failures 1" in refused.err
    assert documents(renaming) == before
    assert applied(renaming, "head", "--max-failures", "1")["failed_count"] == 1
    assert documents(renaming)[b"p:7"] == before[b"p:7"]
    assert documents(renaming)[b"p:8"].keys() == {b"name", b"embedding"}


def test_with_writers_paused_it_is_done_in_place(renaming: Shop):
    assert {step["strategy"] for step in planned(renaming, "--exclusive")["steps"]} == {"rebuild", None}
    applied(renaming, "head", "--exclusive")
    assert documents(renaming)[b"p:1"].keys() == {b"name", b"embedding"}
