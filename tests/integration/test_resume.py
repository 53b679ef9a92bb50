"""When an interrupted run is taken up, its stored plan and options count, not the scripts or words typed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from long_chain import REVISIONS, outcome, rehearse, run, write_long_chain
from signalled_process import KILLED, kill_at

from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

SCHEMA = '{"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]}'
ADD_PRICE = 'with op.index("products") as index: index.add_field({"name": "price", "type": "numeric"})'
DROP_PRICE = 'with op.index("products") as index: index.drop_field("price")'


@pytest.mark.parametrize("command", ["downgrade base", "stamp head", "repair", "plan"])
def test_an_interrupted_upgrade_blocks_other_commands_and_says_what_to_do(shop: Shop, command: str):
    write_long_chain(shop)
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    before = shop.content()
    result = shop.run(*command.split())
    assert result.code == 7
    assert "redismigrate upgrade head" in result.err
    assert "`redismigrate rollback`" in result.err
    assert shop.content() == before


def test_an_interrupted_downgrade_blocks_an_upgrade_and_says_what_to_do(shop: Shop):
    write_long_chain(shop)
    run(shop, "upgrade", "head")
    assert kill_at(shop, "downgrade", "base", at=3) == KILLED
    result = shop.run("upgrade", "head")
    assert result.code == 7
    assert "(downgrade to base) was interrupted at revision 000000000007." in result.err
    assert "Resume it with `redismigrate downgrade base`" in result.err


def test_status_says_that_a_run_is_interrupted(shop: Shop):
    write_long_chain(shop)
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    shop.client.delete("{redismigrate:shop}:lock")
    status = shop.run("--json", "status").json
    assert status["interrupted"] is True
    assert status["run"]["plan"]["recorded"]["revision"] == REVISIONS[0]


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("target", ["head", "+2", REVISIONS[6]])
def test_the_stored_plan_is_carried_out_where_the_scripts_are_absent(shop: Shop, target: str):
    ends = rehearse(shop)
    run(shop, "upgrade", REVISIONS[4])
    assert kill_at(shop, "upgrade", target, at=4) == KILLED
    _remove_scripts(shop)
    result = shop.run("upgrade", target)
    assert result.code == 0, result.err
    assert outcome(shop) == ends.head


def test_an_upgrade_by_a_plan_file_resumes_by_the_same_command(shop: Shop):
    ends = rehearse(shop)
    plan = shop.folder / "plan.yaml"
    run(shop, "plan", "-o", str(plan))
    assert kill_at(shop, "upgrade", "head", at=9, options=MigrationOptions(plan_file=plan)) == KILLED
    run(shop, "upgrade", "head", "--plan", str(plan))
    assert outcome(shop) == ends.head


def test_the_stored_plan_of_a_downgrade_is_carried_out_where_the_scripts_are_absent(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", REVISIONS[3])
    assert kill_at(shop, "downgrade", "base", at=4) == KILLED
    _remove_scripts(shop)
    result = shop.run("downgrade", "base")
    assert result.code == 0, result.err
    assert outcome(shop) == ends.base


def test_the_stored_plan_counts_where_the_scripts_have_changed_meanwhile(shop: Shop):
    shop.write(f"op.create_index({SCHEMA})", 'op.drop_index("products")')
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    script = shop.script(REVISIONS[0])
    script.write_text(script.read_text(encoding="utf-8").replace("title", "name"), encoding="utf-8")
    run(shop, "upgrade", "head")
    info = shop.content()["indexes"]["products"][0]
    assert [field.name for field in info.fields] == ["title"]


def test_a_function_whose_script_is_absent_is_waited_for(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", REVISIONS[3])
    assert kill_at(shop, "upgrade", "head", at=1) == KILLED
    scripts = shop.folder / "migrations" / "versions"
    shutil.copytree(scripts, shop.folder / "aside")
    _remove_scripts(shop)
    result = shop.run("upgrade", "head")
    assert result.code == 7
    assert "Revision 000000000005 runs a function of its script, which is not in" in result.err
    assert shop.state("run") is not None
    shutil.copytree(shop.folder / "aside", scripts, dirs_exist_ok=True)
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


def test_a_function_whose_script_no_longer_loads_is_waited_for(shop: Shop):
    ends = rehearse(shop)
    run(shop, "upgrade", REVISIONS[3])
    assert kill_at(shop, "upgrade", "head", at=1) == KILLED
    script = shop.script(REVISIONS[4])
    text = script.read_text(encoding="utf-8")
    script.write_text(text + "\nraise RuntimeError('half edited')\n", encoding="utf-8")
    result = shop.run("upgrade", "head")
    assert result.code == 7
    assert "half edited" in result.err
    script.write_text(text, encoding="utf-8")
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("at", [1, 2])
def test_a_relative_downgrade_that_was_interrupted_undoes_no_further_revision(shop: Shop, at: int):
    ends = rehearse(shop)
    run(shop, "upgrade", "head")
    run(shop, "downgrade", "-1")
    expected = outcome(shop)
    run(shop, "upgrade", "head")
    assert kill_at(shop, "downgrade", "-1", at=at) == KILLED
    run(shop, "downgrade", "-1")
    assert outcome(shop) == expected
    run(shop, "upgrade", "head")
    assert outcome(shop) == ends.head


def test_a_relative_upgrade_that_was_interrupted_applies_no_further_revision(shop: Shop):
    rehearse(shop)
    run(shop, "upgrade", "+2")
    assert kill_at(shop, "upgrade", "+2", at=7) == KILLED
    run(shop, "upgrade", "+2")
    assert (shop.state("head") or {})["heads"] == [REVISIONS[3]]


def test_a_resumed_upgrade_goes_on_to_revisions_written_since(shop: Shop):
    write_long_chain(shop)
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    newest = shop.write('op.create_alias("newest", "goods")', 'op.drop_alias("newest")')
    run(shop, "upgrade", "head")
    assert (shop.state("head") or {})["heads"] == [newest]


def test_the_strategy_of_the_interrupted_run_counts(shop: Shop):
    shop.write(f"op.create_index({SCHEMA})", 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    options = MigrationOptions(strategy="rebuild")
    assert kill_at(shop, "upgrade", "head", at=3, options=options) == KILLED
    run(shop, "upgrade", "head")
    steps = [fields.get(b"kind") for _, fields in shop.client.xrange("{redismigrate:shop}:journal")]
    assert b"replace_index" in steps
    assert b"alter_index" not in steps


def test_the_failures_that_the_interrupted_run_accepts_count(shop: Shop):
    shop.write(f"op.create_index({SCHEMA})", 'op.drop_index("products")')
    shop.write(ADD_PRICE, DROP_PRICE)
    shop.add_documents(3, title="a lamp", price="cheap")
    options = MigrationOptions(max_failures=3)
    assert kill_at(shop, "upgrade", "head", at=8, options=options) == KILLED
    run(shop, "upgrade", "head")
    run(shop, "downgrade", "-1")
    assert shop.run("upgrade", "head").code == 1


def test_an_index_that_was_dropped_while_the_run_was_interrupted_fails_the_revision(shop: Shop):
    shop.write(f"op.create_index({SCHEMA})", 'op.drop_index("products")')
    assert kill_at(shop, "upgrade", "head", at=4) == KILLED
    shop.client.execute_command("FT.DROPINDEX", "products")
    result = shop.run("upgrade", "head")
    assert result.code == 1
    assert "index products was dropped by another client while it was built" in result.err
    assert "All that it had changed is undone." in result.err
    assert (shop.state("run"), shop.client.get("{redismigrate}:owners")) == (None, b"{}")
    run(shop, "upgrade", "head")


def test_a_further_revision_that_meets_drift_ends_the_run_and_keeps_the_earlier_ones(shop: Shop):
    shop.write(f"op.create_index({SCHEMA})", 'op.drop_index("products")')
    shop.write('op.create_alias("catalog", "products")', 'op.drop_alias("catalog")')
    shop.write(ADD_PRICE, DROP_PRICE)
    assert kill_at(shop, "upgrade", "head", at=2, moment="end of revision") == KILLED
    shop.client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "colour", "TAG")
    result = shop.run("upgrade", "head")
    assert result.code == 3
    assert "The server differs from the record: products: " in result.err
    assert (shop.state("head") or {})["heads"] == [REVISIONS[1]]
    assert shop.state("run") is None


def _remove_scripts(shop: Shop) -> None:
    for script in (shop.folder / "migrations" / "versions").glob("*.py"):
        script.unlink()
