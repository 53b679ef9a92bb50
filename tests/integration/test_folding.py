"""`--fold`: revisions of the same indexes as one build, each recorded, undone together."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from signalled_process import KILLED, kill_at
from vector_documents import (
    CHANGE,
    TO_FLOAT16,
    TO_FLOAT32,
    add_products,
    applied,
    creation,
    documents,
)

from redismigrate import aio, commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.commands.project import Project
from redismigrate.planning.step_life import StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Shop

FOLD = MigrationOptions(fold=True)
M_8 = CHANGE + "index.alter_field('embedding', algorithm='hnsw', m=8)"
FLAT = CHANGE + "index.alter_field('embedding', algorithm='flat')"
GERMAN = CHANGE + "index.set_options(language='german')"
ENGLISH = CHANGE + "index.set_options(language=None)"
BRAND = CHANGE + "index.add_field({'name': 'brand', 'type': 'tag'})"
NO_BRAND = CHANGE + "index.drop_field('brand')"
COUNT = 20


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Products with an index, and three revisions of it that wait."""
    add_products(shop, COUNT)
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    for upgrade, downgrade in ((M_8, FLAT), (BRAND, NO_BRAND), (GERMAN, ENGLISH)):
        shop.write(upgrade, downgrade)
    return shop


def heads(shop: Shop) -> list[str]:
    return json.loads(shop.run("current", "--json").out)["heads"]


def content(shop: Shop) -> Any:
    """The indexes as they are recorded and as they are, but for physical names, and all documents."""
    recorded = json.loads(shop.run("current", "--json").out)["indexes"]
    assert shop.run("check").code in {0, 4}
    for index in recorded.values():
        del index["physical"]
    return recorded, documents(shop), sorted(shop.served_names().values())


def kinds(result: Any) -> list[list[StepKind]]:
    return [[step["kind"] for step in revision["steps"]] for revision in result["revisions"]]


def test_three_revisions_cost_one_build_and_each_is_recorded(products: Shop):
    plan = products.run("plan", "--fold", "--json").json
    assert [revision["folded"] for revision in plan["revisions"]] == [
        ["000000000002", "000000000003", "000000000004"]
    ]
    saves = plan["revisions"][0]["saves"]
    assert (saves["builds"], saves["builds_one_by_one"]) == (1, 3)
    assert "1 build instead of 3" in products.run("plan", "--fold").out
    result = products.run("upgrade", "--fold", "--json").json
    assert result["revisions"] == ["000000000002", "000000000003", "000000000004"]
    head = (products.state("head") or {})["revisions"]
    assert [head[revision]["parents"] for revision in result["revisions"]] == [
        ["000000000001"],
        ["000000000002"],
        ["000000000003"],
    ]
    assert len({head[revision]["fold"] for revision in result["revisions"]}) == 1
    assert "fold" not in head["000000000001"]
    told = products.run("current").out
    assert "folded with 000000000002, 000000000004" in told
    assert "folded with 000000000002, 000000000004" in products.run("history", "-i").out
    assert products.run("upgrade", "--fold").out == "Nothing to do.\n"


def test_a_downgrade_into_the_middle_of_a_fold_makes_that_form(products: Shop):
    applied(products, "000000000003")
    in_the_middle = content(products)
    applied(products, "000000000001", verb="downgrade")
    before = content(products)
    applied(products, "--fold")
    applied(products, "000000000003", verb="downgrade")
    assert content(products) == in_the_middle
    applied(products, "--fold", "000000000001", verb="downgrade")
    assert content(products) == before


def test_a_folded_run_is_rolled_back_as_a_whole(products: Shop):
    before = content(products)
    run = products.run("upgrade", "--fold", "--json").json["run"]
    assert products.run("rollback", "--run", run, "--json").json["revisions"] == [
        "000000000004",
        "000000000003",
        "000000000002",
    ]
    assert content(products) == before
    assert not list(products.client.scan_iter("*:undo:*"))
    applied(products)
    after = content(products)
    run = products.run("downgrade", "000000000001", "--fold", "--json").json["run"]
    assert products.run("rollback", "--run", run).code == 0
    assert (content(products), heads(products)) == (after, ["000000000004"])


def test_all_of_a_fold_is_undone_when_it_fails(products: Shop):
    before = content(products)
    products.write(CHANGE + "index.set_options(filter='@title ==')")
    failed = products.run("upgrade", "--fold")
    assert failed.code == 1, failed.err
    assert "the fold of 000000000002, 000000000003, 000000000004, 000000000005" in failed.err
    assert (content(products), heads(products)) == (before, ["000000000001"])


@pytest.mark.parametrize("ending", ["upgrade", "rollback"])
@pytest.mark.parametrize("moments", [(4,), pytest.param(range(1, 30), marks=pytest.mark.slow)], ids=len)
def test_a_fold_that_is_killed_ends_as_if_it_had_not_been(
    products: Shop, ending: str, moments: Iterable[int]
):
    before = content(products)
    run = products.run("upgrade", "--json").json["run"]
    after = content(products)
    assert products.run("rollback", "--run", run).code == 0
    for at in moments:
        if kill_at(products, "upgrade", "head", at, options=FOLD) != KILLED:
            assert at > 5
            break
        # All of them are recorded, or none.
        assert heads(products) in (["000000000001"], ["000000000004"])
        assert products.run(*(["rollback"] if ending == "rollback" else ["upgrade", "head"])).code == 0
        products.wait_until_indexed()
        if ending == "upgrade":
            assert content(products) == after
            applied(products, "000000000001", "--fold", verb="downgrade")
        assert content(products) == before


@pytest.mark.parametrize("moments", [(2,), pytest.param(range(1, 30), marks=pytest.mark.slow)], ids=len)
def test_the_rollback_of_a_fold_goes_on_wherever_it_was_killed(products: Shop, moments: Iterable[int]):
    before = content(products)
    for at in moments:
        run = products.run("upgrade", "--fold", "--json").json["run"]
        if kill_at(products, "rollback", run, at, moment="undo step") != KILLED:
            assert at > 2
            break
        assert products.run("rollback").code == 0
        assert (content(products), heads(products)) == (before, ["000000000001"])


def test_a_fold_is_expanded_and_contracted_as_one(products: Shop):
    before = content(products)
    expanded = products.run("upgrade", "--fold", "--phase", "expand", "--json").json
    assert expanded["expanded"] == "000000000004"
    assert heads(products) == ["000000000001"]
    assert "The fold of 000000000002, 000000000003, 000000000004 is expanded" in (
        products.run("downgrade", "base").err
    )
    assert "the fold of 000000000002, 000000000003, 000000000004" in products.run("status").out
    assert products.run("upgrade", "--phase", "contract", "--json").json["revisions"] == [
        "000000000002",
        "000000000003",
        "000000000004",
    ]
    applied(products, "000000000001", verb="downgrade")
    products.run("upgrade", "--fold", "--phase", "expand")
    assert products.run("rollback").code == 0
    assert content(products) == before


def test_what_can_not_be_folded_is_carried_out_between_folds(products: Shop):
    products.write(
        "op.run(fill)", "pass", preamble="def fill(client):\n    client.hset('p:1', 'brand', 'nike')"
    )
    products.write(CHANGE + "index.alter_field('brand', separator='|')", "pass")
    products.write(CHANGE + "index.alter_field('embedding', m=24)", "pass")
    told = products.run("plan", "--fold")
    assert "revision 000000000005 is not folded: it calls op.run(fill)" in told.out
    assert kill_at(products, "upgrade", "head", 1, moment="end of revision", options=FOLD) == KILLED
    assert heads(products) == ["000000000004"]
    # What was planned as one stays one, whoever takes it up.
    assert products.run("upgrade").code == 0
    head = (products.state("head") or {})["revisions"]
    assert "fold" not in head["000000000005"]
    assert head["000000000006"]["fold"] == head["000000000007"]["fold"] != head["000000000004"]["fold"]


@pytest.mark.parametrize("back", [(), pytest.param(("--fold",), marks=pytest.mark.slow)], ids=len)
def test_documents_that_are_rewritten_by_one_and_renamed_by_another_come_back(
    products: Shop, back: tuple[str, ...]
):
    before = content(products)
    products.write(TO_FLOAT16, TO_FLOAT32)
    products.write(
        CHANGE + "index.rename_field('embedding', 'vector')",
        CHANGE + "index.rename_field('vector', 'embedding')",
    )
    run = products.run("upgrade", "--exclusive", "--json").json["run"]
    one_by_one = content(products)
    assert products.run("rollback", "--run", run).code == 0
    assert applied(products, "--fold", "--exclusive")["rewritten"] == COUNT
    assert content(products) == one_by_one
    # One by one as well, though the originals are in one backup.
    applied(products, "000000000001", "--exclusive", *back, verb="downgrade")
    assert content(products) == before
    assert products.run("backup", "verify").code == 0


def test_a_way_back_that_needs_originals_of_the_form_in_between_names_the_fold(products: Shop):
    before = content(products)
    products.write(CHANGE + "index.alter_field('embedding', datatype='float64')", TO_FLOAT32)
    products.write(TO_FLOAT16, CHANGE + "index.alter_field('embedding', datatype='float64')")
    applied(products, "--fold", "--exclusive")
    refused = products.run("downgrade", "000000000005", "--exclusive")
    assert refused.code == 6
    assert "as one with 000000000002, 000000000003, 000000000004, 000000000005" in refused.err
    assert "by a downgrade with --fold to a revision before it" in refused.err
    applied(products, "000000000001", "--fold", "--exclusive", verb="downgrade")
    assert content(products) == before


def test_a_fold_is_asked_what_files_of_queries_say(products: Shop):
    (products.folder / "checks.yaml").write_text('search: [{query: "@brand:{acme}", finds: 0}]')
    options = ("--fold", "--query-check", "checks.yaml", "--json")
    (revision,) = products.run("plan", "head", *options).json["revisions"]
    assert len(revision["folded"]) == 3
    kinds = [step["kind"] for step in revision["steps"]]
    assert kinds.index("check_expectations") < kinds.index("swap_alias")
    assert products.run("upgrade", "head", *options).code == 0


def test_a_fold_is_asked_before_anything_changes_also_under_another_name(products: Shop):
    products.write(CHANGE + "index.rename_to('goods')", "pass")
    (products.folder / "checks.yaml").write_text("search: [{count: 7}]")
    refused = products.run("plan", "head", "--fold", "--query-check", "checks.yaml")
    assert refused.code == 6
    assert "index products is not as expected: documents: wanted 7, found 20" in refused.out


def test_a_plan_that_was_reviewed_folds_as_it_was_reviewed(products: Shop):
    file = str(products.folder / "plan.yaml")
    assert products.run("plan", "--fold", "-o", file).code == 0
    assert products.run("upgrade", "--plan", file).code == 6
    assert products.run("upgrade", "--fold", "--plan", file).code == 0


def test_scripts_for_redis_cli_are_not_folded(products: Shop):
    assert products.run("upgrade", "--fold", "--script").code == 2
    project = Project.load(products.folder / "redismigrate.toml")
    told = [commands.script(project, options=options).count("record 0000") for options in (FOLD, None)]
    assert told[0] == told[1] > 0


def test_scripts_say_what_stays_apart(products: Shop):
    products.write(TO_FLOAT16, "op.irreversible('too large')")
    products.write(BRAND.replace("brand", "color"), NO_BRAND.replace("brand", "color"))
    products.write("pass", "pass", depends_on=("000000000003",))
    out = products.run("plan", "--fold").out.replace("\n", " ")
    assert "revision 000000000005 is not folded: its downgrade is irreversible: too large" in out
    assert "revision 000000000003 is not folded with those after it: 000000000007 depends on it" in out


def test_branches_are_folded_up_to_what_merges_them(products: Shop):
    base = "000000000004"
    products.write(CHANGE + "index.set_options(language='french')", GERMAN, down_revision=base)
    products.write(BRAND.replace("brand", "color"), NO_BRAND.replace("brand", "color"), down_revision=base)
    products.write(
        CHANGE + "index.drop_field('color')",
        BRAND.replace("brand", "color"),
        down_revision=("000000000005", "000000000006"),
    )
    result = products.run("upgrade", "--fold", "--json").json
    assert len(result["revisions"]) == 6
    assert heads(products) == ["000000000007"]
    after = content(products)
    assert products.run("downgrade", "000000000005").code == 0
    assert heads(products) == ["000000000005", "000000000006"]
    assert products.run("upgrade", "--fold").code == 0
    assert content(products) == after


def test_python_and_coroutines_fold_by_the_same_option(products: Shop):
    project = Project.load(products.folder / "redismigrate.toml")
    plan = asyncio.run(aio.plan(project, options=FOLD))
    assert [item.ids for item in plan.revisions] == [("000000000002", "000000000003", "000000000004")]
    assert "folded:" in plan._repr_html_()
    result = commands.upgrade(project, options=FOLD)
    assert result.revisions == ("000000000002", "000000000003", "000000000004")


def test_an_index_that_the_first_of_a_fold_brings_under_management_is_given_up_again(shop: Shop):
    add_products(shop, COUNT)
    shop.client.execute_command("FT.CREATE", "products", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    shop.wait_until_indexed()
    shop.write(GERMAN, ENGLISH)
    shop.write(BRAND, NO_BRAND)
    report = shop.folder / "report.json"
    run = shop.run("upgrade", "--fold", "--report-out", str(report), "--json").json["run"]
    head = (shop.state("head") or {})["revisions"]
    assert [record["adopted"] for record in head.values()] == [["products"], []]
    told = json.loads(report.read_text())
    assert told["revisions"] == ["000000000001", "000000000002"]
    assert shop.run("rollback", "--run", run).code == 0
    assert (shop.state("indexes") or {})["indexes"] == {}
    applied(shop, "--fold")
    applied(shop, "base", verb="downgrade")
    assert (shop.state("indexes") or {})["indexes"] == {}
    assert shop.hits("products") == COUNT


def test_the_plan_tells_how_else_a_fold_could_be_carried_out(products: Shop):
    plan = products.run("plan", "--fold", "--compare", "--json").json
    ways = {way["strategy"]: way["is_chosen"] for way in plan["revisions"][0]["alternatives"]}
    assert [strategy for strategy, is_chosen in ways.items() if is_chosen] == ["shadow"]
