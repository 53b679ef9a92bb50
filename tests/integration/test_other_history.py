"""A Redis that has revisions which no script here has: told first, by every command that would go on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from vector_documents import applied, creation

if TYPE_CHECKING:
    from conftest import Shop

ADD = "with op.index('products') as index:\n    index.add_field({'name': 'brand', 'type': 'tag'})"
AHEAD = "Redis is ahead of these scripts by"


def forget_scripts(shop: Shop) -> None:
    versions = shop.folder / "migrations" / "versions"
    shutil.rmtree(versions)
    versions.mkdir()


@pytest.fixture
def at_two(shop: Shop) -> Shop:
    """Two revisions, applied."""
    shop.write(creation(), "op.drop_index('products')")
    shop.write(ADD)
    applied(shop)
    return shop


def give_another_id(shop: Shop) -> str:
    shop.script("000000000002").unlink()
    shop.write(ADD, revision="0000000000aa", down_revision="000000000001")
    return (
        f"{AHEAD} 000000000002 (revision 2): if these scripts have taken their place under other ids, record"
    )


def squash(shop: Shop) -> str:
    forget_scripts(shop)
    shop.write(f"{creation()}\n{ADD}", revision="0000000000bb", down_revision=None)
    return (
        f"{AHEAD} 000000000001 (revision 1), 000000000002 (revision 2): if another project is recorded as "
        "shop as well, give this one another `project` in the configuration; if these scripts have taken "
        "their place under other ids, record them with `redismigrate stamp head`; else run this where their "
        "scripts are."
    )


def come_from_elsewhere(shop: Shop) -> str:
    forget_scripts(shop)
    shop.write(creation(), revision="0000000000cc", down_revision=None)
    return f"{AHEAD} 000000000001 (revision 1), 000000000002 (revision 2): if another project is recorded as"


@pytest.mark.parametrize("change", [give_another_id, squash, come_from_elsewhere])
def test_what_no_script_has_is_said_first_where_the_scripts_cannot_go_on(at_two: Shop, change):
    says = change(at_two)
    at_two.refuses("plan", code=8, says=(says, "already"))
    at_two.refuses("upgrade", "head", code=8, says=(says, "already"))
    at_two.refuses("upgrade", "head", "--script", code=8, says=(says, "already"))
    at_two.refuses("current", "--check-heads", code=4, says=(says,))
    assert says in at_two.run("current").out.splitlines()[1]


@pytest.mark.parametrize("change", [give_another_id, squash])
def test_what_it_says_to_do_helps_where_ids_have_changed(at_two: Shop, change):
    change(at_two)
    assert at_two.run("stamp", "head").code == 0
    assert at_two.run("upgrade", "head").out == "Nothing to do.\n"
    assert at_two.run("check").code == 0


def test_what_it_says_to_do_helps_where_two_projects_have_one_name(at_two: Shop):
    come_from_elsewhere(at_two)
    at_two.write(creation("pages", "page:"))
    settings = at_two.folder / "redismigrate.toml"
    settings.write_text(settings.read_text().replace('"shop"', '"library"'))
    at_two.refuses("upgrade", code=6, says=("The plan is blocked",))  # the index is still the other project's
    at_two.script("0000000000cc").unlink()
    at_two.write(
        creation("books", "b:"),
        revision="0000000000cc",
        down_revision=None,
    )
    applied(at_two)


@pytest.mark.parametrize("pending", ["op.run(print, print)", creation("pages", "page:")])
def test_it_is_said_first_where_the_scripts_can_go_on(at_two: Shop, pending: str):
    at_two.script("000000000002").unlink()
    at_two.write(pending, down_revision="000000000001")
    plan = at_two.run("plan", "--json").json
    assert plan["warnings"][0].startswith(f"{AHEAD} 000000000002 (revision 2): if these scripts")
    shown = at_two.run("plan").out
    assert shown.index(f"note: {AHEAD}") < shown.index(plan["revisions"][0]["revision"])
    result = at_two.run("upgrade", "head")
    assert result.out.lstrip().startswith(f"note: {AHEAD} 000000000002 (revision 2)"), result.out
    assert result.code == 0


def test_it_is_said_first_where_the_plan_is_blocked(at_two: Shop):
    at_two.script("000000000002").unlink()
    at_two.client.execute_command("FT.CREATE", "pages", "PREFIX", 1, "page:", "SCHEMA", "t", "TEXT")
    at_two.write(creation("pages", "page:"), down_revision="000000000001")
    at_two.refuses("upgrade", code=6, says=(f"{AHEAD} 000000000002", "The plan is blocked"))


def test_an_older_release_is_only_told(at_two: Shop):
    at_two.script("000000000002").unlink()
    told = f"{AHEAD} 000000000002 (revision 2)."
    assert at_two.run("upgrade", "head").out == f"Note: {told}\nNothing to do.\n"
    assert at_two.run("upgrade", "000000000001").out == f"Note: {told}\nNothing to do.\n"
    assert at_two.run("plan").out == f"note: {told}\nNothing to do.\n"
    assert at_two.run("current", "--check-heads").code == 0


def test_a_stamp_names_what_it_forgets_and_no_script_has(at_two: Shop):
    at_two.script("000000000002").unlink()
    stamped = at_two.run("stamp", "base")
    assert stamped.code == 0
    assert "no longer recorded as applied: 000000000002, which no script here has" in stamped.out
    assert "000000000001" not in stamped.out
    assert "forgotten" not in at_two.run("stamp", "base", "--json").json
