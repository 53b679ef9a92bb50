"""`op.expect`: what users expect of an index is asked before anything changes, and before names move."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from redismigrate import commands
from redismigrate.commands import MigrationOptions, Project
from redismigrate.errors import RunInterrupted, SchemaError
from redismigrate.execution.progress import Stopped, Watcher
from redismigrate.operations.recorder import Operations
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.redisvl import schema_from_redisvl

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.plan import Step
    from redismigrate.planning.step_life import StepKind
    from redismigrate.planning.strategies import StrategyChoice

SCHEMA = {
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "brand", "type": "tag"},
        {"name": "price", "type": "numeric"},
        {
            "name": "embedding",
            "type": "vector",
            "attrs": {"algorithm": "flat", "dims": 2, "datatype": "float32", "distance_metric": "l2"},
        },
    ],
}
CREATE = f"op.create_index({SCHEMA!r})"
TO_GRAPH = """
with op.index("products") as index:
    index.alter_field("embedding", algorithm="hnsw")
"""
BACK = """
with op.index("products") as index:
    index.alter_field("embedding", algorithm="flat")
"""
DOCUMENTS = 20


@pytest.fixture
def products(shop: Shop) -> Shop:
    """An index of twenty documents on a line, every second one of another brand."""
    shop.write(CREATE, 'op.drop_index("products")')
    for number in range(DOCUMENTS):
        vector = np.array([number, 0], np.float32).tobytes()
        mapping = {"brand": ("acme", "zenith")[number % 2], "price": number, "embedding": vector}
        shop.client.hset(f"p:{number}", mapping=mapping)
    assert shop.run("upgrade").code == 0
    shop.wait_until_indexed()
    return shop


MET = [
    f"count={DOCUMENTS}",
    'count=("at_least", 5)',
    'count=("at_most", 30)',
    'query="@brand:{acme}", finds=10',
    'query="@price:[0 2]", finds_keys=["p:2", "p:0", "p:1"]',
    'query="@price:[0 9]", finds_keys=("at_least", ["p:3"])',
    'query="@price:[90 99]", finds_keys=[]',
    'knn={"field": "embedding", "of": "p:5", "k": 3}, finds_keys=["p:4", "p:5", "p:6"]',
    'knn={"field": "embedding", "vector": [0, 0], "k": 2}, finds_keys=["p:0", "p:1"]',
    'knn={"field": "embedding", "vector": [0, 0]}, query="@brand:{zenith}", finds_keys=["p:1", "p:3"]',
    'knn={"field": "embedding", "of": "p:5", "k": 4}, finds=4',
    'knn={"field": "embedding", "of": "p:5", "k": 3}, finds_keys=["p:5", "p:19"], overlap=0.5',
]
UNMET = [
    ("count=21", "documents: wanted 21, found 20"),
    ('count=("at_least", 21)', "documents: wanted at least 21, found 20"),
    ('query="@brand:{acme}", finds=12', "@brand:{acme}: wanted 12, found 10"),
    (
        'query="@price:[0 2]", finds_keys=["p:1", "p:2", "p:7"]',
        "@price:[0 2]: wanted p:1, p:2, p:7, found 3, without p:7, with p:0 besides",
    ),
    (
        'query="@price:[0 9]", finds_keys=("at_least", ["p:12"])',
        "@price:[0 9]: wanted p:12 and maybe others, found 10, without p:12",
    ),
    ('query="@brand:{acme", finds=1', "found that the server refuses to answer: Syntax error"),
    (
        'knn={"field": "embedding", "of": "p:5", "k": 3}, finds_keys=["p:5", "p:18", "p:19"]',
        "the 3 nearest to p:5 in embedding: wanted p:5, p:18, p:19 (90% of them), found",
    ),
    ('knn={"field": "embedding", "of": "p:99", "k": 3}, finds=3', "found no vector in the document p:99"),
]


@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_what_is_as_expected_lets_the_revision_pass(products: Shop, strategy: StrategyChoice):
    expectations = "\n".join(f'op.expect("products", {each})' for each in MET)
    products.write(expectations + TO_GRAPH + expectations, BACK)
    plan = products.run("plan", "--strategy", strategy, "--json").json
    (revision,) = plan["revisions"]
    assert revision["blocked"] == []
    kinds = [step["kind"] for step in revision["steps"]]
    at = kinds.index("check_expectations")
    assert kinds[at - 1] == "validate_index"
    assert kinds.count("check_expectations") == 1
    assert len(revision["steps"][at]["expectations"]) == 2 * len(MET)
    assert [look["found"] for look in revision["expected"]][:1] == ["20"]
    shown = products.run("plan").out
    assert "check what is expected of products: 20 documents; " in " ".join(shown.split())
    assert "products: 20 documents (found 20)" in " ".join(shown.split())
    done = products.run("upgrade", "--strategy", strategy)
    assert done.code == 0, done.err


@pytest.mark.parametrize("place", ["before", "after"])
def test_what_is_not_as_expected_blocks_before_anything_changes(products: Shop, place: str):
    # A graph may find other neighbours than what it replaces: those are asked for before alone.
    unmet = [(text, told) for text, told in UNMET if place == "before" or "knn" not in text]
    lines = "\n".join(f'op.expect("products", {text})' for text, _ in unmet)
    products.write(f"{lines}\n{TO_GRAPH}" if place == "before" else f"{TO_GRAPH}\n{lines}", BACK)
    says = ("The plan is blocked: ", *(told for _, told in unmet))
    products.refuses("upgrade", code=6, says=says)
    plan = products.run("plan", "--json")
    assert plan.code == 6
    assert len(plan.json["blocked"]) == len(unmet)


ADD_STOCK = """
with op.index("products") as index:
    index.add_field({"name": "stock", "type": "numeric"})
    index.alter_field("embedding", algorithm="hnsw")
op.expect("products", query="@stock:[1 5]", finds=3)
"""


@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_what_only_the_new_index_can_answer_undoes_the_revision(products: Shop, strategy: StrategyChoice):
    products.client.hset("p:1", "stock", 4)
    products.write(ADD_STOCK, BACK)
    assert products.run("plan", "--strategy", strategy).code == 0
    failed = products.run("upgrade", "--strategy", strategy, "--report-out", "report.yaml")
    assert failed.code == 1
    assert "Index products is not as expected: @stock:[1 5]: wanted 3, found 1." in failed.err
    assert "All that it had changed is undone" in failed.err
    assert products.run("check").code == 4
    products.add_documents(2, prefix="p:new", brand="acme", stock="2")
    assert products.run("upgrade", "--strategy", strategy).code == 0


def test_an_index_that_is_altered_in_place_is_asked_after_it_and_put_back(products: Shop):
    products.write(
        """
with op.index("products") as index:
    index.add_field({"name": "stock", "type": "numeric"})
op.expect("products", query="@stock:[1 5]", finds=3)
""",
        'with op.index("products") as index:\n    index.drop_field("stock")',
    )
    failed = products.run("upgrade", "--strategy", "alter")
    assert (failed.code, "wanted 3, found 0" in failed.err) == (1, True)
    assert products.run("check").code == 4
    products.client.hset("p:1", "stock", 4)
    products.add_documents(2, prefix="p:new", brand="acme", stock="2")
    assert products.run("upgrade", "--strategy", "alter").code == 0


def test_a_new_index_is_asked_before_the_revision_is_recorded(products: Shop):
    create = """
op.create_index({
    "index": {"name": "brands", "prefix": "p:"}, "fields": [{"name": "brand", "type": "tag"}],
})
op.expect("brands", query="@brand:{acme}", finds=%d)
"""
    products.write(create % 11, 'op.drop_index("brands")')
    failed = products.run("upgrade")
    assert (failed.code, "wanted 11, found 10" in failed.err) == (1, True)
    products.script("000000000002").unlink()
    products.write(create % 10, 'op.drop_index("brands")', down_revision="000000000001")
    assert products.run("upgrade").code == 0


def test_an_index_that_is_dropped_is_asked_before_alone(products: Shop):
    products.write('op.expect("products", count=3)\nop.drop_index("products")', CREATE)
    products.refuses("upgrade", code=6, says=("The plan is blocked: ", "wanted 3, found 20"))
    products.write('op.drop_index("products")\nop.expect("products", count=3)', down_revision="000000000001")
    products.script("000000000002").unlink()
    products.refuses("upgrade", code=8, says=("", "000000000003.py", "no index products"))


def test_a_later_revision_is_asked_when_its_turn_comes_and_those_before_it_stay(products: Shop):
    products.write(TO_GRAPH, BACK)
    products.write('op.expect("products", count=21)')
    plan = products.run("plan", "--json")
    assert plan.code == 0
    assert plan.json["revisions"][1]["expected"][0]["found"] is None
    failed = products.run("upgrade")
    assert failed.code == 6
    assert "wanted 21, found 20" in failed.err
    assert products.run("current", "--json").json["heads"] == ["000000000002"]
    products.add_documents(1, prefix="p:new", brand="acme")
    assert products.run("upgrade").code == 0


def test_an_expectation_after_a_function_is_asked_after_it(products: Shop):
    preamble = """
def fill(client):
    client.hset("p:filled", "brand", "acme")
"""
    products.write('op.run(fill)\nop.expect("products", count=21)', preamble=preamble)
    plan = products.run("plan", "--json").json["revisions"][0]
    assert [step["kind"] for step in plan["steps"]][:2] == ["run_function", "check_expectations"]
    assert plan["expected"] == []
    assert products.run("upgrade").code == 0


def test_what_a_change_makes_another_question_of_is_asked_on_its_side_alone(products: Shop):
    products.client.hset("other:1", "brand", "acme")
    products.write(
        """
op.expect("products", count=20)
op.expect("products", query="@price:[0 3]", finds=4)
with op.index("products") as index:
    index.set_options(prefixes=["p:", "other:"])
    index.drop_field("price")
op.expect("products", count=21)
""",
        "pass",
    )
    plan = products.run("plan", "--json").json["revisions"][0]
    assert [look["expectation"] for look in plan["expected"]] == ["20 documents", "@price:[0 3] finds 4"]
    (check,) = [step for step in plan["steps"] if step["kind"] == "check_expectations"]
    assert check["expectations"] == ["21 documents"]
    assert products.run("upgrade").code == 0


def test_on_the_way_back_its_own_expectations_count(products: Shop):
    products.write(
        'op.expect("products", count=20)' + TO_GRAPH, BACK + 'op.expect("products", count=("at_least", 21))'
    )
    assert products.run("upgrade").code == 0
    products.refuses(
        "downgrade", "-1", code=6, says=("The plan is blocked: ", "wanted at least 21, found 20")
    )
    products.add_documents(1, prefix="p:new", brand="acme")
    assert products.run("downgrade", "-1").code == 0


def test_what_was_expanded_is_asked_again_before_it_is_contracted(products: Shop):
    products.write(TO_GRAPH + 'op.expect("products", query="@brand:{acme}", finds=10)', BACK)
    assert products.run("upgrade", "--phase", "expand").code == 0
    products.client.hset("p:late", "brand", "acme")
    failed = products.run("upgrade", "--phase", "contract")
    assert failed.code == 7
    assert "can't be contracted: Index products is not as expected" in failed.err
    assert "wanted 10, found 11" in failed.err
    products.client.delete("p:late")
    assert products.run("upgrade", "--phase", "contract").code == 0


def test_an_index_that_nobody_manages_is_asked_before_alone(products: Shop):
    products.client.execute_command("FT.CREATE", "theirs", "PREFIX", 1, "p:", "SCHEMA", "brand", "TAG")
    products.wait_until_indexed()
    products.write('op.expect("theirs", count=19)')
    products.refuses("upgrade", code=6, says=("The plan is blocked: ", "wanted 19, found 20"))
    products.write('op.expect("theirs", count=20)', revision="000000000002", down_revision="000000000001")
    assert products.run("upgrade").code == 0
    assert "theirs" not in products.run("current", "--json").json["indexes"]
    products.write('op.expect("thiers", count=20)')
    products.refuses("upgrade", code=8, says=("", "000000000004.py", "thiers"))


WRONG = [
    ("count=-1", "count is -1"),
    ("count=True", "count is True"),
    ("count=5, finds=3", "count stands alone"),
    ("", "says no count"),
    ('query="@brand:{acme}"', "either finds or finds_keys"),
    ('query="@brand:{acme}", finds=1, finds_keys=["p:1"]', "either finds or finds_keys"),
    ('query="@brnd:{acme}", finds=1', "no field 'brnd' (did you mean 'brand'?)"),
    ('query="@brand:{acme}", finds_keys="p:1"', "finds_keys is 'p:1'"),
    ('query="@brand:{acme}", finds=1, overlap=0.5', "overlap is the share"),
    ('knn={"field": "embedding", "k": 3}, finds=3', "either of"),
    ('knn={"field": "brand", "of": "p:1", "k": 3}, finds=3', "holds no vectors"),
    ('knn={"field": "embedding", "vector": [1], "k": 3}, finds=3', "A vector of 1 numbers"),
    ('knn={"field": "embedding", "vector": [1, float("nan")], "k": 3}, finds=3', "some that are none"),
    ('knn={"field": "embedding", "of": "p:1", "k": 0}, finds=3', "k of knn is 0"),
    ('knn={"field": "embedding", "of": "p:1", "n": 3}, finds=3', "knn says 'n'"),
]


@pytest.mark.parametrize(("expectation", "told"), WRONG)
def test_an_expectation_that_can_not_be_asked_is_refused_at_its_line(expectation: str, told: str):
    catalog = Catalog({"products": IndexDefinition.plain(schema_from_redisvl(SCHEMA))})
    arguments = eval(f"dict({expectation})")  # noqa: S307 - the words of this file
    with pytest.raises(SchemaError) as refused:
        Operations(catalog).expect("products", **arguments)
    assert told in f"{refused.value.message} {refused.value.hint}"


TO_FLOAT16 = """
with op.index("products") as index:
    index.alter_field("embedding", datatype="float16")
"""
MOVE = """
with op.index("products") as index:
    index.change_prefix("p:", "shop:")
"""
NEIGHBOURS = 'op.expect("products", knn={"field": "embedding", "of": "%s", "k": 3}, finds_keys=%s)\n'


@pytest.mark.parametrize("strategy", ["shadow_field", "rebuild"])
def test_neighbours_are_asked_in_the_form_that_the_index_reads(products: Shop, strategy: StrategyChoice):
    ask = NEIGHBOURS % ("p:5", ["p:4", "p:5", "p:6"])
    given = 'op.expect("products", knn={"field": "embedding", "vector": [5, 0]}, finds_keys=["p:5"])\n'
    products.write(ask + TO_FLOAT16 + ask + given, TO_FLOAT16.replace("16", "32"))
    done = products.run("upgrade", "--strategy", strategy, "--report-out", "report.json")
    assert done.code == 0, done.err
    checks = json.loads((products.folder / "report.json").read_text())["query_checks"]
    assert [check["when"] for check in checks] == ["before", "after", "after"]
    run = json.loads((products.folder / "report.json").read_text())["run"]
    assert products.run("rollback", "--run", run).code == 0
    assert products.run("check").code == 4


def test_documents_that_move_are_asked_for_under_their_new_keys(products: Shop):
    before = NEIGHBOURS % ("p:5", ["p:4", "p:5", "p:6"])
    after = NEIGHBOURS % ("shop:5", ["shop:4", "shop:5", "shop:6"])
    count = f'op.expect("products", count={DOCUMENTS})\n'
    products.write(before + count + MOVE + after, MOVE.replace('"p:", "shop:"', '"shop:", "p:"'))
    plan = products.run("plan", "--json").json["revisions"][0]
    assert [look["found"].partition(" (")[2] for look in plan["expected"]] == ["100% of those wanted)", ""]
    (check,) = [step for step in plan["steps"] if step["kind"] == "check_expectations"]
    assert len(check["expectations"]) == 2
    assert products.run("upgrade").code == 0
    assert products.run("validate").code == 0


@pytest.mark.parametrize("kind", ["validate_index", "check_expectations", "swap_alias"])
def test_a_run_that_is_taken_up_asks_what_it_was_begun_with(products: Shop, kind: StepKind):
    products.write('op.expect("products", query="@brand:{acme}", finds=10)' + TO_GRAPH, BACK)
    (products.folder / "checks.yaml").write_text("{fetch_ids: ['1'], search: ['@brand:{acme}']}")
    project = Project.load(products.folder / "redismigrate.toml")
    options = MigrationOptions(query_checks=(products.folder / "checks.yaml",))
    with pytest.raises(RunInterrupted):
        commands.upgrade(project, options=options, watcher=StopAt(kind))
    (products.folder / "checks.yaml").unlink()
    products.client.hset("p:late", "brand", "acme")
    failed = products.run("upgrade")
    assert (failed.code, "@brand:{acme}: wanted 10, found 11" in failed.err) == (1, True)
    products.client.delete("p:late")
    with pytest.raises(RunInterrupted):
        commands.upgrade(project, watcher=StopAt(kind))
    done = products.run("upgrade", "--report-out", "report.json")
    assert done.code == 0, done.err
    asked = {
        check["asked"] for check in json.loads((products.folder / "report.json").read_text())["query_checks"]
    }
    assert asked == {"@brand:{acme}"}


class StopAt(Watcher):
    """Stops a run where a step begins."""

    def __init__(self, kind: StepKind) -> None:
        self._kind = kind

    def step_started(self, step: Step) -> None:
        if step.kind == self._kind:
            raise Stopped("here")


def test_neighbours_among_json_documents_are_asked_by_their_numbers(shop: Shop):
    schema = {
        "index": {"name": "pages", "prefix": "j:", "storage_type": "json"},
        "fields": [
            {"name": "brand", "type": "tag", "path": "$.brand"},
            {
                "name": "embedding",
                "type": "vector",
                "path": "$.embedding",
                "attrs": {"algorithm": "flat", "dims": 2, "datatype": "float32", "distance_metric": "l2"},
            },
        ],
    }
    for number in range(6):
        document = {"brand": "acme", "embedding": [number, 0.5]}
        shop.client.execute_command("JSON.SET", f"j:{number}", "$", json.dumps(document))
    shop.write(
        f"""
op.create_index({schema!r})
op.expect("pages", knn={{"field": "embedding", "of": "j:3"}}, finds_keys=["j:2", "j:3", "j:4"])
op.expect("pages", query="@brand:{{acme}}", finds=("at_most", 6))
""",
        'op.drop_index("pages")',
    )
    done = shop.run("upgrade")
    assert done.code == 0, done.err
    shop.client.execute_command("JSON.SET", "j:6", "$", '{"brand": 7, "embedding": [1, 2, 3]}')
    result = shop.run("validate", "--json")
    assert result.code == 3
    (index,) = result.json["indexes"]
    assert [one["key"] for one in index["sample"]] == ["j:6"]
    (asked, _) = result.json["expectations"]
    assert asked["passed"]


def test_a_file_is_asked_on_the_way_back_as_well(products: Shop):
    products.write(TO_GRAPH, BACK)
    assert products.run("upgrade").code == 0
    (products.folder / "checks.json").write_text('{"keys_exist": ["p:1", "p:99"]}')
    says = ("The plan is blocked: ", "key p:99: wanted that it exists, found no such key")
    products.refuses("downgrade", "-1", "--query-check", "checks.json", code=6, says=says)
    (products.folder / "checks.json").write_text('{"keys_exist": ["p:1"], "fetch_ids": [2]}')
    done = products.run("downgrade", "-1", "--query-check", "checks.json")
    assert done.code == 0, done.err
