"""`rollback` undoes all of a run: an interrupted one, or by its id the last finished one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from long_chain import REVISIONS, outcome, recorded_events, rehearse, run, write_failing_revision
from signalled_process import KILLED, kill_at

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = """op.create_index({
    "index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]
})"""
ADD_PRICE = 'with op.index("products") as index: index.add_field({"name": "price", "type": "numeric"})'
DROP_PRICE = 'with op.index("products") as index: index.drop_field("price")'
UNDO_KEYS = "{redismigrate:shop}:undo:*"
LAST_RUN = "{redismigrate:shop}:last_run"


def migrate(shop: Shop, *arguments: str) -> str:
    """Run a migration that is expected to succeed; the id of its run."""
    result = shop.run("--json", *arguments)
    assert result.code == 0, result.err
    return str(result.json["run"])


def test_a_finished_upgrade_of_many_revisions_is_undone_last_first(shop: Shop):
    ends = rehearse(shop)
    run_id = migrate(shop, "upgrade", "head")
    result = shop.run("--json", "rollback", "--run", run_id)
    assert result.code == 0, result.err
    assert (result.json["result"], result.json["run"]) == ("done", run_id)
    assert result.json["revisions"] == list(reversed(REVISIONS))
    assert outcome(shop) == ends.base


def test_a_finished_downgrade_of_many_revisions_is_undone_with_its_records(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    applied = (shop.state("head") or {})["revisions"]
    run_id = migrate(shop, "downgrade", "base")
    result = shop.run("--json", "rollback", "--run", run_id)
    assert result.json["revisions"] == list(REVISIONS)
    assert outcome(shop) == ends.head
    assert (shop.state("head") or {})["revisions"] == applied


def test_a_finished_upgrade_of_each_kind_leaves_the_server_as_before(shop: Shop):
    rehearse(shop)
    for revision in REVISIONS:
        before = outcome(shop)
        run(shop, "rollback", "--run", migrate(shop, "upgrade", revision))
        assert outcome(shop) == before, revision
        run(shop, "upgrade", revision)


def test_a_finished_downgrade_of_each_kind_leaves_the_server_as_before(shop: Shop):
    rehearse(shop)
    run(shop, "upgrade", "head")
    for target, revision in reversed(list(zip(("base", *REVISIONS), REVISIONS, strict=False))):
        before = outcome(shop)
        run(shop, "rollback", "--run", migrate(shop, "downgrade", target))
        assert outcome(shop) == before, revision
        run(shop, "downgrade", target)


def test_an_upgrade_goes_on_as_ever_after_a_rollback(shop: Shop):
    ends = rehearse(shop)
    run(shop, "rollback", "--run", migrate(shop, "upgrade", "head"))
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


def test_scripts_are_needed_only_for_what_they_run(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    before = outcome(shop)
    run_id = migrate(shop, "upgrade", "head")
    for number in (1, 2):
        shop.script(f"{number:012x}").unlink()
    run(shop, "rollback", "--run", run_id)
    assert outcome(shop)["indexes"] == before["indexes"] == {}


def test_an_interrupted_upgrade_is_undone_completely(shop: Shop):
    ends = rehearse(shop)
    assert kill_at(shop, "upgrade", "head", at=25) == KILLED
    interrupted = shop.state("run") or {}
    assert len(interrupted["done"]) > 2
    result = shop.run("--json", "rollback")
    assert result.json["revisions"] == [
        interrupted["plan"]["recorded"]["revision"],
        *reversed(interrupted["done"]),
    ]
    assert outcome(shop) == ends.base


def test_an_interrupted_downgrade_is_undone_completely(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    applied = (shop.state("head") or {})["revisions"]
    assert kill_at(shop, "downgrade", "base", at=20) == KILLED
    assert len((shop.state("run") or {})["done"]) > 1
    run(shop, "rollback", "--run", (shop.state("run") or {})["id"])
    assert outcome(shop) == ends.head
    assert (shop.state("head") or {})["revisions"] == applied


def test_an_undoing_that_was_cut_off_goes_on_with_the_revisions_before_it(shop: Shop):
    ends = rehearse(shop)
    write_failing_revision(shop)
    assert kill_at(shop, "upgrade", "head", at=3, moment="undo step") == KILLED
    run(shop, "rollback")
    assert outcome(shop) == ends.base


def test_what_a_failed_run_keeps_can_be_rolled_back(shop: Shop):
    ends = rehearse(shop)
    write_failing_revision(shop)
    result = shop.run("--json", "upgrade", "head")
    assert (result.code, outcome(shop)) == (1, ends.head)
    run(shop, "rollback", "--run", result.json["run"])
    assert outcome(shop) == ends.base


def test_what_a_run_that_met_drift_keeps_can_be_rolled_back(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    assert kill_at(shop, "upgrade", "head", at=1, moment="end of revision") == KILLED
    shop.client.execute_command("FT.ALIASADD", "theirs", "products")
    shop.client.execute_command("FT.SYNUPDATE", "products", "seats", "sofa")
    result = shop.run("--json", "upgrade", "head")
    assert result.code == 3
    shop.client.execute_command("FT.DROPINDEX", "products")
    run(shop, "rollback", "--run", result.json["run"])
    assert (shop.state("head") or {})["heads"] == []


def test_an_adopted_index_is_given_back_as_it_was_found(shop: Shop):
    shop.client.execute_command("FT.CREATE", "products", "PREFIX", "1", "p:", "SCHEMA", "title", "TEXT")
    shop.client.execute_command("FT.ALIASADD", "catalog", "products")
    shop.write(ADD_PRICE + "\nop.create_alias('newest', 'products')", "pass")
    before = outcome(shop)
    run_id = migrate(shop, "upgrade", "head")
    assert outcome(shop)["owners"] == {"products": "shop"}
    run(shop, "rollback", "--run", run_id)
    after = outcome(shop)
    # FT.DROPINDEX took the alias along, which nobody had told of.
    assert {**after, "aliases": None} == {**before, "aliases": None}
    assert after["owners"] == {}


def test_functions_run_what_undoes_them_for_the_indexes_that_they_met(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    run(shop, "upgrade", "head")
    shop.write(
        """
        for name in op.indexes("*"):
            op.run(marks(name), unmarks(name))
        op.create_index({"index": {"name": "aa", "prefix": "a:"}, "fields": [{"name": "t", "type": "text"}]})
        """,
        preamble="""
        def marks(name):
            return lambda client: client.rpush("marks", name)

        def unmarks(name):
            return lambda client: client.rpush("unmarks", name)
        """,
    )
    run(shop, "rollback", "--run", migrate(shop, "upgrade", "head"))
    assert (shop.client.lrange("marks", 0, -1), shop.client.lrange("unmarks", 0, -1)) == (
        [b"products"],
        [b"products"],
    )


def test_a_function_that_nothing_undoes_is_named(shop: Shop):
    shop.write("op.run(mark)", preamble="def mark(client): client.set('marked', 1)")
    result = shop.run("rollback", "--run", migrate(shop, "upgrade", "head"))
    assert result.code == 0
    assert "the script gives no function for that" in result.out
    assert (shop.state("head") or {})["heads"] == []


def test_documents_that_a_revision_deleted_are_told_not_to_come_back(shop: Shop):
    shop.add_documents(3, title="a lamp")
    shop.write(PRODUCTS, 'op.drop_index("products")')
    run(shop, "upgrade", "head")
    shop.write('op.drop_index("products", delete_documents=True)', PRODUCTS)
    result = shop.run("rollback", "--run", migrate(shop, "upgrade", "head"))
    assert result.code == 0, result.err
    assert "the documents of index products were deleted and can't come back" in result.out
    assert shop.hits("products") == 0


def test_a_temporary_index_stays_and_is_recorded_as_it_is(shop: Shop):
    temporary = PRODUCTS.replace('"prefix"', '"temporary_seconds": 3600, "prefix"')
    shop.add_documents(3, title="a lamp", price="4")
    shop.write(temporary, 'op.drop_index("products", delete_documents=True)')
    run(shop, "upgrade", "head")
    shop.write(ADD_PRICE + "\nop.create_alias('catalog', 'products')")
    shop.write(ADD_PRICE.replace("price", "stock"))
    result = shop.run("rollback", "--run", migrate(shop, "upgrade", "head"))
    assert result.code == 0, result.err
    assert "TEMPORARY index products stays as it is now: dropping it would delete its documents" in result.out
    recorded = (shop.state("indexes") or {})["indexes"]["products"]
    assert [field["name"] for field in recorded["schema"]["fields"]] == ["title", "price", "stock"]
    assert (recorded["aliases"], outcome(shop)["aliases"]["catalog"]) == ([], None)
    assert shop.hits("products") == 3
    assert "Problem" not in shop.run("status").out


def test_without_an_interrupted_run_the_last_finished_one_is_named_and_stays(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    run_id = migrate(shop, "upgrade", "head")
    before = shop.content()
    in_words, as_json = shop.run("rollback"), shop.run("--json", "rollback")
    assert (in_words.code, as_json.code) == (0, 0)
    note = f"run {run_id} (upgrade to head) is finished; `redismigrate rollback --run {run_id}` undoes it"
    assert in_words.out == f"Note: {note}\nNothing to do.\n"
    assert (as_json.json["result"], as_json.json["warnings"]) == ("nothing", [note])
    assert shop.content() == before


def test_where_no_run_can_be_undone_there_is_nothing_to_do(shop: Shop):
    result = shop.run("--json", "rollback")
    assert (result.code, result.json["result"], result.json["warnings"]) == (0, "nothing", [])


def test_an_id_of_no_run_is_refused(shop: Shop):
    shop.refuses(
        "rollback",
        "--run",
        "0123456789ab",
        code=2,
        says=(
            "Run 0123456789ab can't be rolled back: nothing is kept of it.",
            "`redismigrate downgrade REV` undoes older revisions.",
        ),
    )


def test_another_run_than_the_last_one_is_refused_and_the_last_one_named(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    first = migrate(shop, "upgrade", "head")
    shop.write(ADD_PRICE, DROP_PRICE)
    last = migrate(shop, "upgrade", "head")
    shop.refuses(
        "rollback",
        "--run",
        first,
        code=2,
        says=(
            f"Run {first} can't be rolled back: only the last run can, and it isn't that one.",
            f"The last run is {last} (upgrade to head): `redismigrate rollback --run {last}`.",
        ),
    )


def test_a_finished_run_is_not_undone_while_another_is_interrupted(shop: Shop):
    rehearse(shop)
    finished = migrate(shop, "upgrade", REVISIONS[1])
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    interrupted = (shop.state("run") or {})["id"]
    shop.refuses(
        "rollback",
        "--run",
        finished,
        code=7,
        says=(
            f"Run {finished} can't be rolled back while run {interrupted} is unfinished.",
            "`redismigrate rollback` undoes it.",
        ),
    )


@pytest.mark.parametrize("command", [("downgrade", "-1"), ("stamp", "head")])
def test_a_new_run_or_a_stamp_forgets_what_would_undo_the_last_one(shop: Shop, command: tuple[str, ...]):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    run_id = migrate(shop, "upgrade", "head")
    assert len(shop.client.keys(UNDO_KEYS)) == 2
    run(shop, *command)
    assert len(shop.client.keys(UNDO_KEYS)) == (1 if command[0] == "downgrade" else 0)
    assert shop.run("rollback", "--run", run_id).code == 2


def test_a_run_is_undone_once(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    run_id = migrate(shop, "upgrade", "head")
    run(shop, "rollback", "--run", run_id)
    assert shop.client.keys(UNDO_KEYS) == []
    assert not shop.client.exists(LAST_RUN)
    assert shop.run("rollback", "--run", run_id).code == 2


def test_the_journal_tells_of_every_revision_that_was_undone(shop: Shop):
    rehearse(shop)
    run(shop, "rollback", "--run", migrate(shop, "upgrade", "head"))
    assert recorded_events(shop, "undone") == list(reversed(REVISIONS))


def test_an_index_that_somebody_changed_since_is_refused(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    run_id = migrate(shop, "upgrade", "head")
    shop.client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "colour", "TAG")
    shop.refuses(
        "rollback",
        "--run",
        run_id,
        code=3,
        says=("The server differs from the record: products: tag field 'colour' is added",),
    )


def test_an_index_that_was_only_created_may_be_gone_by_now(shop: Shop):
    shop.write(PRODUCTS + "\nop.create_alias('catalog', 'products')")
    run_id = migrate(shop, "upgrade", "head")
    shop.client.execute_command("FT.DROPINDEX", "products")
    run(shop, "rollback", "--run", run_id)
    assert (outcome(shop)["owners"], outcome(shop)["recorded indexes"]) == ({}, {})


@pytest.mark.parametrize(
    ("taken", "says"),
    [
        (("FT.CREATE", "products", "SCHEMA", "t", "TEXT"), "another client has made an index products"),
        (("FT.ALIASADD", "products", "theirs"), "another client has made products an alias of index theirs"),
        (("FT.ALIASADD", "catalog", "theirs"), "another client has made catalog an alias of index theirs"),
    ],
)
def test_a_name_that_somebody_has_taken_since_is_refused(shop: Shop, taken: tuple[str, ...], says: str):
    shop.write(PRODUCTS + "\nop.create_alias('catalog', 'products')", 'op.drop_index("products")')
    run(shop, "upgrade", "head")
    shop.write('op.drop_index("products")', PRODUCTS)
    run_id = migrate(shop, "upgrade", "head")
    shop.client.execute_command("FT.CREATE", "theirs", "PREFIX", "1", "t:", "SCHEMA", "t", "TEXT")
    shop.client.execute_command(*taken)
    shop.refuses(
        "rollback",
        "--run",
        run_id,
        code=3,
        says=(f"What the run had removed can't be brought back: {says}.", "Give these names free"),
        aliases=("products", "catalog"),
    )


def test_an_index_that_another_project_has_claimed_since_is_refused(shop: Shop):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    run(shop, "upgrade", "head")
    run_id = migrate(shop, "downgrade", "base")
    shop.client.set("{redismigrate}:owners", json.dumps({"products": "books"}))
    shop.refuses(
        "rollback", "--run", run_id, code=6, says=("Index products belongs to project books.", "Migrate it")
    )


@pytest.mark.parametrize("damage", ["gone", "damaged", "of another version"])
def test_a_run_is_not_begun_to_be_undone_where_what_undoes_it_is_lost(shop: Shop, damage: str):
    shop.write(PRODUCTS, 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    run_id = migrate(shop, "upgrade", "head")
    key = "{redismigrate:shop}:undo:000000000001"
    texts: dict[str, Any] = {"damaged": "{", "of another version": '{"version": 1, "layout": 1, "run": {}}'}
    says = {
        "gone": (f"The key {key} is gone: it told what undoes revision 000000000001.", "Restore it"),
        "damaged": (f"The key {key} is damaged", "Restore it"),
        "of another version": ("What undoes a revision of the last run can't be read", "Roll back with"),
    }
    if damage == "gone":
        shop.client.delete(key)
    else:
        shop.client.set(key, texts[damage])
    shop.refuses("rollback", "--run", run_id, code=1, says=says[damage])
    run(shop, "downgrade", "base")


def test_an_interrupted_run_is_not_begun_to_be_undone_where_what_undoes_it_is_lost(shop: Shop):
    rehearse(shop)
    assert kill_at(shop, "upgrade", "head", at=25) == KILLED
    shop.client.delete("{redismigrate:shop}:undo:000000000001")
    shop.refuses("rollback", code=1, says=("The key {redismigrate:shop}:undo:000000000001 is gone",))
    run(shop, "upgrade", "head")


def test_the_plan_is_not_written_again_at_every_step(shop: Shop):
    synonyms = "\n".join(f"op.set_synonyms('products', 'g{n}', ['w{n}'])" for n in range(14))
    shop.write(PRODUCTS + "\n" + synonyms, 'op.drop_index("products")')
    with shop.monitored() as commands:
        run_id = migrate(shop, "upgrade", "head")
        run(shop, "rollback", "--run", run_id)
    written = [words[1] for words in commands if words[0] == "SET"]
    # Begun and turned back.
    assert written.count("{redismigrate:shop}:run") == 2
    assert written.count("{redismigrate:shop}:progress") > 40
