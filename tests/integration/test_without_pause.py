"""Renames and moves without --exclusive: where there are no documents, of new indexes, by a script's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalled_process import KILLED, kill_at
from vector_documents import DIMS, ONE_PASS, ONE_PASS_BACK, applied, documents, migrate, vector

from redismigrate.errors import RunFailed, SchemaError
from redismigrate.operations.recorder import Operations
from redismigrate.schema.definition import Catalog

if TYPE_CHECKING:
    from conftest import Shop

COUNT = 20
FIELDS = [
    {"name": "title", "type": "text"},
    {
        "name": "embedding",
        "type": "vector",
        "attrs": {"algorithm": "flat", "dims": DIMS, "datatype": "float32", "distance_metric": "l2"},
    },
]
SCHEMA = {"index": {"name": "products", "prefix": "p:"}, "fields": FIELDS}
CREATE = f"op.create_index({SCHEMA!r})"
JSON_FIELDS = [{"name": "title", "type": "text", "path": "$.title"}]
CREATE_JSON = (
    "op.create_index("
    + repr({"index": {"name": "products", "prefix": "p:", "storage_type": "json"}, "fields": JSON_FIELDS})
    + ")"
)
CHANGE = "with op.index('products') as index:\n    "
RENAME = f"{CHANGE}index.rename_field('title', 'name')"
RENAME_BACK = f"{CHANGE}index.rename_field('name', 'title')"
# What needs writers to be paused, with the way back; an index, its change, and the change back.
MOVES = {
    "a field": (CREATE, RENAME, RENAME_BACK),
    "a member of JSON documents": (CREATE_JSON, RENAME, RENAME_BACK),
    "a field that is re-encoded, too": (
        CREATE,
        ONE_PASS,
        ONE_PASS_BACK,
    ),
    "a field beside one that is re-encoded": (
        CREATE,
        f"{RENAME}\n    index.alter_field('embedding', datatype='float16')",
        f"{RENAME_BACK}\n    index.alter_field('embedding', datatype='float32')",
    ),
    "a prefix into itself": (
        CREATE,
        f"{CHANGE}index.change_prefix('p:', 'p:v2:')",
        f"{CHANGE}index.change_prefix('p:v2:', 'p:')",
    ),
    "a prefix and a field": (
        CREATE,
        f"{CHANGE}index.change_prefix('p:', 'q:')\n    index.rename_field('title', 'name')",
        f"{CHANGE}index.rename_field('name', 'title')\n    index.change_prefix('q:', 'p:')",
    ),
    "vectors under a FILTER": (
        CREATE.replace("'prefix': 'p:'", "'prefix': 'p:', 'filter': '@title!=\"\"'"),
        f"{CHANGE}index.alter_field('embedding', datatype='float16')",
        f"{CHANGE}index.alter_field('embedding', datatype='float32')",
    ),
}
PAUSES = MOVES.keys() - {"vectors under a FILTER"}


def add_documents(shop: Shop, count: int = COUNT) -> None:
    for number in range(count):
        product = {b"title": b"shoe %d" % number, b"embedding": vector(number)}
        shop.client.hset(f"p:{number}", mapping=product)


@pytest.mark.parametrize("move", MOVES)
def test_a_history_with_it_goes_up_from_empty_by_one_command_and_back(shop: Shop, move: str):
    create, change, back = MOVES[move]
    shop.write(create, "op.drop_index('products')")
    shop.write(change, back)

    plan = shop.run("plan", "--json").json
    assert plan["blocked"] == []
    assert not [w for item in plan["revisions"] for w in item["warnings"] if "paused" in w]
    applied(shop)
    applied(shop, "base", verb="downgrade")
    applied(shop)


@pytest.mark.parametrize("move", MOVES)
def test_an_index_from_an_earlier_run_needs_no_pause_while_it_has_no_documents(shop: Shop, move: str):
    create, change, back = MOVES[move]
    shop.write(create)
    applied(shop)
    shop.write(change, back)
    assert shop.run("plan", "--json").json["blocked"] == []
    applied(shop)
    applied(shop, "-1", verb="downgrade")


@pytest.mark.parametrize("move", [move for move in MOVES if "JSON" not in move])
@pytest.mark.usefixtures("rebuilding")
def test_with_documents_an_index_from_an_earlier_run_needs_it(shop: Shop, move: str):
    create, change, _ = MOVES[move]
    add_documents(shop)
    shop.write(create)
    applied(shop)
    before = documents(shop)
    shop.write(change)
    shop.refuses("upgrade", code=6, says=("The plan is blocked", "op.assume_exclusive(reason)"))
    assert documents(shop) == before
    applied(shop, "--exclusive")


@pytest.mark.usefixtures("rebuilding")
@pytest.mark.parametrize("unseen", ["unindexed", "not scanned"])
def test_documents_that_the_index_does_not_hold_count(shop: Shop, unseen: str):
    if unseen == "unindexed":
        shop.client.hset("p:1", mapping={"title": "shoe", "embedding": b"short"})
        shop.write(CREATE)
    else:
        add_documents(shop, 1)
        shop.write(CREATE.replace("'prefix': 'p:'", "'prefix': 'p:', 'skip_initial_scan': True"))
    applied(shop, "--max-failures", "1")
    assert shop.hits("products") == 0
    shop.write(RENAME)
    shop.refuses("upgrade", code=6, says=("The plan is blocked", "needs --exclusive"))
    assert "is made in this run" not in shop.run("plan").out


@pytest.mark.parametrize("move", sorted(PAUSES - {"a member of JSON documents"}))
def test_documents_of_an_index_that_the_run_makes_move_as_well(shop: Shop, move: str):
    create, change, back = MOVES[move]
    add_documents(shop)
    before = documents(shop)
    shop.write(create)
    shop.write(change, back)
    result = shop.run("upgrade", "head", "--json")
    assert result.code == 0, result.err
    assert result.json["documents"]["rewritten"] == COUNT
    assert shop.hits("products") == COUNT
    assert all(document != before.get(key) for key, document in documents(shop).items())
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert documents(shop) == before


@pytest.mark.usefixtures("rebuilding")
def test_the_plan_says_what_becomes_of_writes_to_documents_of_an_index_that_the_run_makes(shop: Shop):
    add_documents(shop)
    shop.write(CREATE)
    shop.write(RENAME)
    plan = shop.run("plan", "--json").json
    assert plan["revisions"][1]["warnings"] == [
        (
            "index products is made in this run, so writers need not be paused for it: what they write in "
            "the old form of its documents meanwhile stays so (rename title to name)"
        ),
        "searches on products miss documents for about 0.1 s while it is rebuilt",
    ]


def test_a_run_that_is_killed_still_knows_what_it_has_made(shop: Shop):
    add_documents(shop)
    shop.write(CREATE)
    shop.write(f"{CHANGE}index.add_field({{'name': 'brand', 'type': 'tag'}})")
    shop.write(RENAME)
    # In the second of three revisions: the first one has seven steps or so.
    assert kill_at(shop, "upgrade", "head", at=9) == KILLED
    assert shop.state("run")["plan"]["recorded"]["revision"] == "000000000002"
    applied(shop)
    assert shop.hits("products", "@name:shoe") == COUNT


@pytest.mark.usefixtures("rebuilding")
def test_an_index_in_the_place_of_one_that_was_dropped_is_not_new(shop: Shop):
    add_documents(shop)
    shop.write(CREATE)
    applied(shop)
    shop.write("op.drop_index('products')")
    shop.write(CREATE)
    shop.write(RENAME)
    shop.refuses("upgrade", code=6, says=("The plan is blocked", "needs --exclusive"))


def test_one_that_the_run_has_made_and_dropped_before_is(shop: Shop):
    shop.write(CREATE)
    shop.write("op.drop_index('products')")
    shop.write(CREATE)
    shop.write(f"{CHANGE}index.rename_to('goods')")
    shop.write(RENAME.replace("products", "goods"))
    applied(shop)


def test_a_revision_that_makes_and_changes_an_index_needs_no_pause(shop: Shop):
    add_documents(shop)
    shop.write(f"{CREATE}\n{RENAME}")
    applied(shop)
    assert shop.hits("products", "@name:shoe") == COUNT


@pytest.mark.usefixtures("rebuilding")
def test_documents_that_come_between_plan_and_rewrite_are_left_and_the_revision_is_undone(shop: Shop):
    shop.write(CREATE)
    applied(shop)
    shop.write(RENAME)

    with pytest.raises(RunFailed, match=f"had no documents when this was planned, and has {COUNT} by now"):
        migrate(shop, {"back_up_documents": lambda: add_documents(shop)})
    assert all(b"title" in document for document in documents(shop).values())
    assert shop.hits("products", "@title:shoe") == COUNT
    shop.refuses("upgrade", code=6, says=("The plan is blocked", "needs --exclusive"))


def test_a_script_can_say_that_nobody_else_writes(shop: Shop):
    add_documents(shop)
    shop.write(CREATE)
    applied(shop)
    before = documents(shop)
    because = "op.assume_exclusive('the importer is stopped in every deploy')\n"
    shop.write(because + RENAME, because + RENAME_BACK)

    plan = shop.run("plan", "--compare", "--json").json
    assert plan["blocked"] == []
    assert (
        "the script assumes that nobody else writes to the documents meanwhile: the importer is stopped in "
        "every deploy (op.assume_exclusive)"
    ) in plan["revisions"][0]["warnings"]
    ways = {way["strategy"]: way["writes"] for way in plan["revisions"][0]["alternatives"]}
    assert ways["rebuild"] == "paused, as the script says"
    assert "the importer is stopped in every deploy" in " ".join(shop.run("plan").out.split())
    assert "the importer is stopped in every deploy" in " ".join(shop.run("show", "head").out.split())

    assert applied(shop)["rewritten"] == COUNT
    applied(shop, "-1", verb="downgrade")
    assert documents(shop) == before


@pytest.mark.usefixtures("rebuilding")
def test_what_a_script_says_counts_for_one_direction_of_one_revision(shop: Shop):
    add_documents(shop)
    shop.write(CREATE)
    applied(shop)
    shop.write(f"op.assume_exclusive('writers are off')\n{RENAME}", RENAME_BACK)
    applied(shop)
    shop.refuses("downgrade", "-1", code=6, says=("The plan is blocked", "needs --exclusive"))
    shop.write(RENAME_BACK)
    shop.refuses("upgrade", code=6, says=("The plan is blocked", "needs --exclusive"))


def test_it_needs_a_reason():
    op = Operations(Catalog())
    with pytest.raises(SchemaError, match="reason"):
        op.assume_exclusive("")
