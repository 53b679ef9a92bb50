"""`check`: what it compares, what it says and how it ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from redismigrate import commands
from redismigrate.commands import long_expansion
from redismigrate.commands.session import expanded_run
from redismigrate.state.store import read_state

CREATE = """
    op.create_index({
        "index": {"name": "products", "prefix": "product:"}, "fields": [{"name": "title", "type": "text"}],
    })
"""
AUTOGENERATE = "`redismigrate revision --autogenerate -m MESSAGE` writes a revision that makes it so"
DROP = 'op.drop_index("products")'
YAML = """
index: {name: products, prefix: "product:"}
fields: [{name: title, type: text}]
"""


@pytest.fixture
def applied(shop):
    shop.write(CREATE, DROP)
    assert shop.run("upgrade").code == 0
    return shop


def declare(shop, text):
    configuration = shop.folder / "redismigrate.toml"
    if "schemas" not in configuration.read_text():
        configuration.write_text(configuration.read_text() + 'schemas = ["*.yaml"]\n')
    (shop.folder / "products.yaml").write_text(text)


def findings(shop, code=3):
    result = shop.run("check", "--json")
    assert result.code == code, result.out + result.err
    return [(each["between"], each["kind"], each["index"]) for each in result.json["differences"]]


def test_all_agree(applied):
    declare(applied, YAML)
    result = applied.run("check")
    assert (result.code, result.out) == (0, "Schemas, scripts, record and server agree.\n")
    assert applied.run("check", "--json").json == {
        "project": "shop",
        "result": "same",
        "differences": [],
        "missing": [],
        "unmanaged": [],
        "notes": [],
    }


def test_it_writes_nothing(applied):
    before = applied.content()
    applied.run("check")
    assert applied.content() == before


def test_what_waits_to_be_applied_ends_with_4(shop):
    revision = shop.write(CREATE, DROP)
    result = shop.run("check")
    assert (result.code, result.out) == (4, f"Not applied yet: {revision}\n")
    assert shop.run("check", "--json").json["result"] == "behind"


def test_a_declared_schema_that_differs_is_told_option_by_option(applied):
    declare(
        applied,
        """
index: {name: products, prefix: "product:", language: german}
fields: [{name: title, type: text, attrs: {weight: 2}}, {name: brand, type: tag}]
""",
    )
    result = applied.run("check")
    assert (result.code, result.out) == (
        3,
        (
            "The declared schemas are not what the scripts make:\n"
            f"  products: option language changes from 'english' to 'german'; {AUTOGENERATE}\n"
            f"  products: tag field 'brand' is added; {AUTOGENERATE}\n"
            f"  products: field 'title': weight changes from 1.0 to 2.0; {AUTOGENERATE}\n"
        ),
    )
    assert findings(applied) == [
        ("declared", "index_option", "products"),
        ("declared", "field_added", "products"),
        ("declared", "field_changed", "products"),
    ]


def test_indexes_that_are_declared_only_or_made_only_are_told(applied):
    declare(applied, YAML.replace("products", "goods"))
    assert findings(applied) == [
        ("declared", "index_added", "goods"),
        ("declared", "index_dropped", "products"),
    ]


def test_an_index_that_was_changed_by_hand_is_told(applied, client):
    client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "brand", "TAG")
    result = applied.run("check")
    assert (result.code, result.out) == (
        3,
        (
            "The server is not what is recorded:\n  products: tag field 'brand' is added; `redismigrate "
            "repair --rebuild products` makes it as recorded, searches miss documents meanwhile\n"
        ),
    )
    assert findings(applied) == [("server", "field_added", "products")]


def test_an_index_that_is_gone_is_told(applied, client):
    client.execute_command("FT.DROPINDEX", "products")
    assert findings(applied) == [("server", "index_missing", "products")]


def test_synonyms_that_were_added_by_hand_are_told(applied, client):
    client.execute_command("FT.SYNUPDATE", "products", "shoes", "trainer")
    assert findings(applied) == [("server", "synonyms", "products")]


def test_an_index_that_hides_its_alias_is_told(shop, client):
    shop.write(CREATE, DROP)
    shop.write('op.create_alias("goods", "products")', 'op.drop_alias("goods")')
    shop.run("upgrade")
    client.execute_command("FT.CREATE", "goods", "SCHEMA", "title", "TEXT")
    assert findings(shop) == [("server", "alias_hidden", "products")]
    assert shop.run("check", "--json").json["unmanaged"] == []


def test_an_alias_that_was_moved_is_told(shop, client):
    shop.write(CREATE, DROP)
    shop.write('op.create_alias("goods", "products")', 'op.drop_alias("goods")')
    shop.run("upgrade")
    client.execute_command("FT.ALIASDEL", "goods")
    assert findings(shop) == [("server", "alias_changed", "products")]


def test_a_script_that_was_changed_since_is_told(applied):
    script = next((applied.folder / "migrations" / "versions").glob("*.py"))
    script.write_text(script.read_text() + "WORD = 'more'\n")
    result = applied.run("check")
    assert (result.code, result.out) == (
        3,
        (
            "The scripts are not what was applied:\n"
            "  000000000001.py was changed since revision 000000000001 was applied; `redismigrate stamp "
            "000000000001` accepts it as it is\n"
        ),
    )
    assert findings(applied) == [("history", "script_changed", None)]


@pytest.mark.parametrize(
    "checkout",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"def upgrade", b"# seen\ndef upgrade") + b"# by two\n",
        lambda text: text.replace(b"\n", b" \n"),
    ],
    ids=["CRLF", "byte order mark", "comments", "trailing blanks"],
)
def test_what_a_checkout_or_an_editor_changes_is_no_change(applied, checkout):
    script = next((applied.folder / "migrations" / "versions").glob("*.py"))
    before = script.read_bytes()
    assert checkout(before) != before
    script.write_bytes(checkout(before))
    assert findings(applied, code=0) == []
    assert applied.run("current", "--json").json["changed"] == []


def test_a_record_without_the_newer_digest_is_compared_by_the_older_one(applied, client):
    key = "{redismigrate:shop}:head"
    head = json.loads(client.get(key))
    del head["revisions"]["000000000001"]["code_sha256"]
    client.set(key, json.dumps(head))
    assert findings(applied, code=0) == []
    script = next((applied.folder / "migrations" / "versions").glob("*.py"))
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    assert findings(applied) == [("history", "script_changed", None)]


def test_stamp_accepts_a_script_that_was_changed_and_keeps_who_applied_it(applied, client):
    key = "{redismigrate:shop}:head"
    before = json.loads(client.get(key))["revisions"]["000000000001"]
    script = next((applied.folder / "migrations" / "versions").glob("*.py"))
    script.write_text(script.read_text() + "WORD = 'more'\n")
    assert findings(applied) == [("history", "script_changed", None)]
    assert applied.run("stamp", "head").code == 0
    assert findings(applied, code=0) == []
    after = json.loads(client.get(key))["revisions"]["000000000001"]
    assert after["sha256"] != before["sha256"]
    assert {name: value for name, value in after.items() if "sha256" not in name} == {
        name: value for name, value in before.items() if "sha256" not in name
    }


def test_what_a_changed_script_makes_now_is_told_as_well(applied):
    script = next((applied.folder / "migrations" / "versions").glob("*.py"))
    script.write_text(script.read_text().replace('"type": "text"', '"type": "text", "attrs": {"weight": 2}'))
    assert findings(applied) == [
        ("history", "script_changed", None),
        ("history", "field_changed", "products"),
    ]


def test_several_heads_are_told(applied):
    applied.write(revision="aaaaaaaaaaaa", down_revision="000000000001")
    applied.write(revision="bbbbbbbbbbbb", down_revision="000000000001")
    applied.run("upgrade", "heads")
    assert findings(applied) == [("history", "several_heads", None)]


def test_redis_may_be_ahead_of_the_scripts(applied):
    latest = applied.write()
    applied.run("upgrade")
    applied.script(latest).unlink()
    result = applied.run("check")
    assert (result.code, result.out) == (
        3,
        (
            "The scripts are not what was applied:\n"
            f"  Redis is ahead by revision {latest} (revision 2): no script has it; take the scripts of the "
            "release that has it; where the indexes are as the scripts here make them, `redismigrate stamp "
            "heads` forgets it\n"
        ),
    )


def test_indexes_that_nobody_manages_are_listed_and_are_no_difference(applied, client):
    client.execute_command("FT.CREATE", "theirs", "SCHEMA", "title", "TEXT")
    result = applied.run("check")
    assert (result.code, result.out) == (
        0,
        "Schemas, scripts, record and server agree.\nIndexes that nobody manages: theirs\n",
    )


def test_indexes_of_other_projects_are_managed(applied, client):
    configuration = applied.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text().replace('project = "shop"', 'project = "other"'))
    for script in (applied.folder / "migrations" / "versions").glob("*.py"):
        script.unlink()
    result = applied.run("check", "--json")
    assert (result.code, result.json["unmanaged"]) == (0, [])


def test_an_index_behind_an_alias_is_as_recorded(applied):
    applied.write(
        'with op.index("products") as index: index.alter_field("title", weight=2)',
        'with op.index("products") as index: index.alter_field("title", weight=1)',
    )
    assert applied.run("upgrade", "--strategy", "shadow").code == 0
    declare(applied, YAML.replace("type: text", "type: text, attrs: {weight: 2}"))
    result = applied.run("check")
    assert (result.code, result.out) == (0, "Schemas, scripts, record and server agree.\n")


def test_an_expanded_revision_is_behind_and_its_new_index_is_ours(applied):
    applied.write(
        'with op.index("products") as index: index.alter_field("title", weight=2)',
        'with op.index("products") as index: index.alter_field("title", weight=1)',
    )
    assert applied.run("upgrade", "--phase", "expand").code == 0
    result = applied.run("check", "--json")
    assert result.code == 4
    assert result.json["unmanaged"] == []


def test_a_revision_that_has_been_expanded_for_long_is_told(applied, monkeypatch):
    applied.write(
        'with op.index("products") as index: index.alter_field("title", weight=2)',
        'with op.index("products") as index: index.alter_field("title", weight=1)',
    )
    assert applied.run("upgrade", "--phase", "expand").code == 0
    assert "has been expanded for" not in applied.run("check").out
    later = datetime.now(UTC) + timedelta(days=9.4)
    monkeypatch.setattr(long_expansion, "_this_moment", lambda: later)
    told = " ".join(applied.run("check").out.split())
    assert "has been expanded for 9 days. The second form of its documents and its new indexes hold" in told
    assert "`redismigrate upgrade head --phase contract` ends that" in told
    (note,) = applied.run("check", "--json").json["notes"]
    assert "for 9 days" in note
    monkeypatch.setenv("REDISMIGRATE_LONGEST_EXPANSION_DAYS", "30")
    assert "has been expanded for" not in applied.run("check").out


def test_a_sign_of_life_since_does_not_make_an_expansion_younger(applied):
    applied.write(
        'with op.index("products") as index: index.alter_field("title", weight=2)',
        'with op.index("products") as index: index.alter_field("title", weight=1)',
    )
    assert applied.run("upgrade", "--phase", "expand").code == 0
    project = commands.Project.load(applied.folder / "redismigrate.toml")
    with project.connect() as server:
        run = expanded_run(read_state(server, project.keys))
        assert run is not None
        begun = (datetime.now(UTC) - timedelta(days=9)).isoformat()
        # As a contraction that was refused has left it: what changes a run is a sign of life.
        tried = run.with_changes(revision_started_at=begun)
        assert "for 9 days" in (long_expansion.told_of_long_expansion(server, tried, 7) or "")


def test_an_unfinished_run_is_told_and_the_server_not_compared(applied):
    applied.write("op.run(stop)", preamble="def stop(client): raise KeyboardInterrupt")
    assert applied.run("upgrade").code == 7
    assert findings(applied) == [("server", "unfinished_run", None)]


def test_a_history_that_begins_with_a_live_index_is_compared_by_its_record(shop, client):
    client.execute_command("FT.CREATE", "products", "PREFIX", 1, "product:", "SCHEMA", "title", "TEXT")
    shop.write(
        'with op.index("products") as index: index.add_field({"name": "a", "type": "tag"})',
        'with op.index("products") as index: index.drop_field("a")',
    )
    assert shop.run("upgrade").code == 0
    result = shop.run("check")
    assert result.code == 0
    assert "The record stands for the applied scripts, which can't be replayed: " in result.out
    client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "brand", "TAG")
    assert findings(shop) == [("server", "field_added", "products")]


def test_a_lost_record_is_told(applied, client):
    client.delete("{redismigrate:shop}:head", "{redismigrate:shop}:indexes")
    assert ("server", "record_lost", "products") in findings(applied)
