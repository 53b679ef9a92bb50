"""Every finding of `check` names the command that mends it, and that command does."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from signalled_process import KILLED, kill_at

from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from conftest import Shop

CREATE = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}],
})
op.set_synonyms("products", "shoes", ["shoe", "boot"])
op.create_alias("goods", "products")
op.create_index({"index": {"name": "other", "prefix": "o:"}, "fields": [{"name": "title", "type": "text"}]})
"""
DROP = 'op.drop_index("products")\nop.drop_index("other")'
DECLARED = """
index: {{name: {name}, prefix: "{prefix}:"}}
fields: [{fields}]
"""
TITLE = "{name: title, type: text}"
BRAND = "{name: brand, type: tag}"

Change = Callable[["Shop", Any], object]


def _made_by_another(shop: Shop, execute: Any) -> None:
    execute("FT.DROPINDEX", "products")
    execute("FT.CREATE", "products", "PREFIX", 1, "x:", "SCHEMA", "name", "TAG")
    execute("FT.ALIASADD", "goods", "products")


def _served_by_another(shop: Shop, execute: Any) -> None:
    execute("FT.ALIASUPDATE", "goods", "other")


def _hidden(shop: Shop, execute: Any) -> None:
    execute("FT.CREATE", "goods", "SCHEMA", "title", "TEXT")


# What somebody does to the server: each with the kind of the finding, and whether a glance shows it.
CHANGES: dict[str, tuple[Change, str, bool]] = {
    "dropped": (lambda shop, execute: execute("FT.DROPINDEX", "products"), "index_missing", True),
    "made by another": (_made_by_another, "index_option", True),
    "a field more": (
        lambda shop, execute: execute("FT.ALTER", "products", "SCHEMA", "ADD", "brand", "TAG"),
        "field_added",
        True,
    ),
    "synonyms more": (
        lambda shop, execute: execute("FT.SYNUPDATE", "products", "seats", "sofa"),
        "synonyms",
        False,
    ),
    "the alias gone": (lambda shop, execute: execute("FT.ALIASDEL", "goods"), "alias_changed", True),
    "the alias another one's": (_served_by_another, "alias_changed", True),
    "the alias hidden": (_hidden, "alias_hidden", True),
}


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    shop.add_documents(20, title="shoe")
    shop.write(CREATE, DROP)
    assert shop.run("upgrade").code == 0
    return shop


def mended(shop: Shop, **places: str) -> list[str]:
    """Run the command that each finding names; the kinds of the findings."""
    kinds = []
    result = shop.run("check", "--json")
    assert result.code == 3, result.out
    for finding in result.json["differences"]:
        kinds.append(finding["kind"])
        command = re.findall("`redismigrate ([^`]+)`", finding["remedy"])[0]
        for place, value in places.items():
            command = command.replace(place, value)
        again = shop.run("check", "--json").json["differences"]
        if finding in again:  # one command may mend several
            done = shop.run(*shlex.split(command))
            assert done.code == 0, (command, done.err)
    return kinds


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_did_to_the_server_is_told_and_mended(stocked: Shop, change: str) -> None:
    act, kind, is_seen_at_a_glance = CHANGES[change]
    act(stocked, stocked.client.execute_command)

    for arguments in (("upgrade",), ("current", "--check-heads")):
        result = stocked.run(*arguments)
        assert result.code == (3 if is_seen_at_a_glance else 0), (arguments, result.out, result.err)
        if is_seen_at_a_glance:
            assert "products: " in result.err
            assert "redismigrate check" in result.err

    assert kind in mended(stocked)
    assert stocked.run("check").code == 0
    assert stocked.run("upgrade").out == "Nothing to do.\n"
    assert stocked.run("current", "--check-heads").code == 0
    stocked.wait_until_indexed()
    assert stocked.hits("products") == stocked.hits("goods") == 20


def test_an_upgrade_to_a_revision_tells_as_well_what_is_gone(stocked: Shop) -> None:
    stocked.client.execute_command("FT.DROPINDEX", "products")
    for target in ("heads", "000000000001"):
        assert stocked.run("upgrade", target).code == 3
    assert stocked.run("upgrade", "--json").json["error"]["code"] == "drift_error"


def test_what_is_behind_is_told_before_what_is_gone(stocked: Shop) -> None:
    stocked.write("pass")
    stocked.client.execute_command("FT.DROPINDEX", "products")
    assert stocked.run("current", "--check-heads").code == 4


def test_what_redis_has_and_no_script_has_is_told_before_what_is_gone(stocked: Shop) -> None:
    revision = stocked.write("pass")
    assert stocked.run("upgrade").code == 0
    stocked.script(revision).unlink()
    stocked.client.execute_command("FT.DROPINDEX", "products")
    for arguments in (("upgrade",), ("upgrade", "000000000001"), ("current", "--check-heads")):
        result = stocked.run(*arguments)
        assert result.code == 3, (arguments, result.err)
        told, gone = "Redis is ahead of these scripts by", "products: index products does not exist"
        assert -1 < result.err.find(told) < result.err.find(gone), (arguments, result.err)


def test_a_temporary_index_that_has_expired_is_made_again_on_request_only(shop: Shop) -> None:
    shop.write(
        'op.create_index({"index": {"name": "carts", "prefix": "c:", "temporary_seconds": 600},'
        ' "fields": [{"name": "title", "type": "text"}]})'
    )
    assert shop.run("upgrade").code == 0
    shop.client.execute_command("FT.DROPINDEX", "carts")
    assert shop.run("upgrade").code == 0
    assert shop.run("repair").out == "Nothing to repair.\n"
    assert mended(shop) == ["index_missing"]
    assert shop.run("check").code == 0


def test_a_declared_schema_that_differs_is_mended(stocked: Shop) -> None:
    configuration = stocked.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["*.yaml"]\n')
    for name, prefix, fields in (("products", "p", f"{TITLE}, {BRAND}"), ("third", "t", TITLE)):
        text = DECLARED.format(name=name, prefix=prefix, fields=fields)
        (stocked.folder / f"{name}.yaml").write_text(text)
    assert mended(stocked, MESSAGE="declared") == ["index_dropped", "field_added", "index_added"]
    assert stocked.run("check").code == 4
    assert stocked.run("upgrade").code == 0
    assert stocked.run("check").code == 0


def test_a_script_that_was_changed_is_accepted(stocked: Shop) -> None:
    script = stocked.script("000000000001")
    script.write_text(script.read_text() + "\nANSWER = 42\n")
    assert mended(stocked) == ["script_changed"]
    assert stocked.run("check").code == 0


def test_several_heads_are_merged(stocked: Shop) -> None:
    stocked.write(down_revision="000000000001")
    stocked.write(down_revision="000000000001")
    assert stocked.run("upgrade", "heads").code == 0
    assert mended(stocked, MESSAGE="one") == ["several_heads"]
    assert stocked.run("upgrade").code == 0
    assert stocked.run("check").code == 0


def test_a_revision_that_no_script_has_is_forgotten(stocked: Shop) -> None:
    revision = stocked.write()
    assert stocked.run("upgrade").code == 0
    stocked.script(revision).unlink()
    assert mended(stocked) == ["ahead"]
    assert stocked.run("check").code == 0


def test_an_unfinished_run_is_finished(stocked: Shop) -> None:
    stocked.write("op.create_alias('more', 'products')")
    assert kill_at(stocked, "upgrade", "head", at=1) == KILLED
    assert mended(stocked) == ["unfinished_run"]
    assert stocked.run("check").code == 0


def test_a_record_that_is_lost_is_stamped(stocked: Shop) -> None:
    stocked.client.delete("{redismigrate:shop}:head", "{redismigrate:shop}:indexes")
    assert "record_lost" in mended(stocked, REV="head")
    assert stocked.run("check").code == 0


def test_the_alias_of_another_project_is_not_taken(stocked: Shop) -> None:
    execute: Any = stocked.client.execute_command
    execute("FT.CREATE", "theirs", "SCHEMA", "title", "TEXT")
    execute("FT.ALIASUPDATE", "goods", "theirs")
    owners = {"products": "shop", "other": "shop", "theirs": "elsewhere"}
    stocked.client.set("{redismigrate}:owners", json.dumps(owners))
    stocked.refuses("repair", code=6, says=("Index theirs belongs to project elsewhere",), aliases=("goods",))


def test_an_index_that_is_not_changed_is_not_rebuilt(stocked: Shop) -> None:
    before = stocked.content("goods")["indexes"]
    assert stocked.run("repair", "--rebuild", "products").out == "Nothing to repair.\n"
    assert stocked.content("goods")["indexes"] == before
    stocked.refuses("repair", "--rebuild", "goods", code=2, says=("No index goods is recorded",))
    assert list_indexes(stocked.client.execute_command) == ("other", "products")
