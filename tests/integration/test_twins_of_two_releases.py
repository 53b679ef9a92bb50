"""A field is renamed with search up: what each release writes, what goes, and what is in the backup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from test_two_releases import FAR_AWAY, contracted, field_expiry, followed
from vector_documents import CHANGE, Meanwhile, applied, documents, stock

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

RENAME = CHANGE + "index.rename_field('title', 'headline')"
RENAME_BACK = CHANGE + "index.rename_field('headline', 'title')"
PRODUCTS = 40


def renaming(shop: Shop, count: int = PRODUCTS) -> None:
    """Products, and a revision that renames a field of theirs."""
    stock(shop, count)
    shop.write(RENAME, RENAME_BACK)


def expanded(shop: Shop, count: int = PRODUCTS) -> None:
    """Products whose field stands under both names."""
    renaming(shop, count)
    applied(shop, "head", "--phase", "expand")


def both(shop: Shop, number: int) -> list[bytes | None]:
    found: list[bytes | None] = shop.client.hmget(f"p:{number}", "title", "headline")
    return found


def marks(shop: Shop) -> list[bytes]:
    return list(shop.client.scan_iter(match="{redismigrate:shop}:mark:*", count=10_000))


def found_by(shop: Shop, query: str) -> set[bytes]:
    reply = shop.client.execute_command("FT.SEARCH", "products", query, "NOCONTENT", "LIMIT", 0, 1000)
    return set(reply[1:])


def test_a_field_is_renamed_there_and_back_and_nothing_is_left_over(shop: Shop):
    renaming(shop)
    before = documents(shop)
    applied(shop)
    assert all(b"title" not in document for document in documents(shop).values())
    assert found_by(shop, "@headline:shoe") == set(before)
    assert marks(shop) == []
    applied(shop, "-1", verb="downgrade")
    assert documents(shop) == before
    assert found_by(shop, "@title:shoe") == set(before)
    assert marks(shop) == []


def test_what_an_expansion_has_made_is_rolled_back(shop: Shop):
    renaming(shop)
    shop.client.hset("p:5", "headline", "alone, before")
    shop.client.hdel("p:5", "title")
    shop.client.hset("p:6", "headline", "shoe 6")
    before = documents(shop)
    applied(shop, "head", "--phase", "expand")
    assert both(shop, 1) == [b"shoe 1"] * 2
    assert both(shop, 5) == [None, b"alone, before"]
    applied(shop, verb="rollback")
    assert documents(shop) == before
    assert marks(shop) == []


@pytest.mark.parametrize("verb", ["contract", "rollback", "follow"])
def test_a_hash_that_a_release_writes_as_a_whole_keeps_its_value(shop: Shop, verb: str):
    """By one that knows the old name alone, and by one that knows the new one; the value is as it was."""
    expanded(shop)
    for number in range(20):
        name = "title" if number % 2 else "headline"
        value = shop.client.hget(f"p:{number}", name)
        pipeline = shop.client.pipeline(transaction=True)
        pipeline.delete(f"p:{number}")
        pipeline.hset(f"p:{number}", mapping={name: value, "price": "99"})
        pipeline.execute()
    if verb == "follow":
        with followed(shop):
            pass
        assert [both(shop, number) for number in range(20)] == [
            [b"shoe %d" % number] * 2 for number in range(20)
        ]
    if verb == "rollback":
        applied(shop, verb="rollback")
        assert [both(shop, number) for number in range(20)] == [
            [b"shoe %d" % number, None] for number in range(20)
        ]
    else:
        applied(shop, "head", "--phase", "contract")
        assert [both(shop, number) for number in range(20)] == [
            [None, b"shoe %d" % number] for number in range(20)
        ]


def test_rolling_back_takes_no_old_name_away_because_the_new_one_is_missing(shop: Shop):
    expanded(shop)
    for number in range(20):
        shop.client.hdel(f"p:{number}", "headline")
    applied(shop, verb="rollback")
    assert [both(shop, number) for number in range(20)] == [
        [b"shoe %d" % number, None] for number in range(20)
    ]


def test_each_release_writes_its_own_name_while_expanded(shop: Shop):
    expanded(shop)
    with followed(shop) as seen:
        shop.client.hset("p:1", "title", "of the old")
        shop.client.hset("p:2", "headline", "of the new")
        shop.client.hset("p:90", "headline", "born")
        shop.client.hdel("p:3", "title")
        shop.client.execute_command("HPEXPIREAT", "p:4", FAR_AWAY, "FIELDS", 1, "headline")
        seen()
        assert both(shop, 1) == [b"of the old"] * 2
        assert both(shop, 2) == [b"of the new"] * 2
        assert both(shop, 90) == [b"born"] * 2
        assert both(shop, 3) == [None, None]
        assert field_expiry(shop, "p:4", "title") == FAR_AWAY
    contracted(shop)
    assert both(shop, 1) == [None, b"of the old"]
    assert field_expiry(shop, "p:4", "headline") == FAR_AWAY


def test_what_both_have_written_is_listed_and_comes_back_where_nothing_is(shop: Shop):
    expanded(shop)
    shop.client.hset("p:3", mapping={"title": "old", "headline": "new"})
    shop.client.hset("p:4", mapping={"title": "older", "headline": "newer"})
    result = contracted(shop)
    assert [each["key"] for each in result["documents"]["failed"]] == ["p:3", "p:4"]
    assert result["documents"]["failed"][0]["reason"] == (
        "both title and headline were written by other clients; headline stands, title is in the backup"
    )
    assert both(shop, 3) == [None, b"new"]
    assert shop.run("backup", "verify").code == 0
    shop.client.hset("p:4", "title", "another")
    restored = shop.run("backup", "restore", "--run", result["run"], "--json")
    assert restored.code == 0, restored.err
    (backup,) = restored.json["backups"]
    assert (backup["restored"], [each["key"] for each in backup["left"]]) == (1, ["p:4"])
    assert both(shop, 3) == [b"old", b"new"]


def test_late_writes_of_the_old_name_go_on_to_the_new_one(shop: Shop):
    renaming(shop, 300)

    def write() -> None:
        for number in range(100):
            shop.client.hset(f"p:{number}", "title", "late")
        shop.client.hset("p:200", "headline", "of the new")

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    commands.upgrade(project, "head", MigrationOptions(), Meanwhile({"remove_documents": write}))
    assert {tuple(both(shop, number)) for number in range(100)} == {(None, b"late")}
    assert both(shop, 200) == [None, b"of the new"]


def test_documents_that_have_another_value_there_already_are_counted(shop: Shop):
    renaming(shop)
    shop.client.hset("p:7", "headline", "another")
    before = documents(shop)
    refused = shop.run("upgrade", "head")
    assert refused.code == 1
    assert re.search(r"p:7: it has a field headline already, beside title", refused.err)
    assert documents(shop) == before
    counts = applied(shop, "head", "--max-failures", "1")
    assert counts["failed"] == [{"key": "p:7", "reason": "it has a field headline already, beside title"}]
    assert both(shop, 7) == [b"shoe 7", b"another"]


def test_releases_that_write_whole_documents_stop_the_run_before_much_is_gone(shop: Shop):
    expanded(shop)
    for number in range(20):
        document: dict[Any, Any] = shop.client.hgetall(f"p:{number}")
        shop.client.delete(f"p:{number}")
        del document[b"headline"]
        shop.client.hset(f"p:{number}", mapping=document)
    result = shop.run("upgrade", "head", "--phase", "contract")
    assert result.code == 7
    assert "have a value under one of its two names alone" in result.err
    gone = sum(both(shop, number) == [None, None] for number in range(20))
    assert gone <= 10
    # Nor does another try take as many again.
    assert shop.run("upgrade", "head", "--phase", "contract").code == 7
    assert sum(both(shop, number) == [None, None] for number in range(20)) == gone
    contracted(shop, "--max-removals", "20")
    assert all(both(shop, number)[0] is None for number in range(PRODUCTS))


@pytest.mark.parametrize("value", ["shoe 1", "another"])
def test_values_that_a_lost_run_has_left_are_taken_for_what_they_are(shop: Shop, value: str):
    expanded(shop)
    shop.client.hset("p:1", "headline", value)
    shop.client.delete("{redismigrate:shop}:run")
    left = shop.run("upgrade", "head")
    if value == "another":
        assert left.code == 1
        assert "p:1: it has a field headline already, beside title" in left.err
        return
    assert left.code == 0, left.err
    assert both(shop, 1) == [None, b"shoe 1"]
    assert marks(shop) == []


PAGES = {
    "index": {"name": "pages", "prefix": "d:", "storage_type": "json"},
    "fields": [{"name": "title", "type": "text", "path": "$.about.title"}],
}
RENAME_IN_PAGES = "with op.index('pages') as index:\n    index.rename_field('title', 'headline')"
RENAME_IN_PAGES_BACK = "with op.index('pages') as index:\n    index.rename_field('headline', 'title')"


def test_pages_that_are_written_as_a_whole_have_both_members_again(shop: Shop):
    for number in range(30):
        shop.client.execute_command(
            "JSON.SET", f"d:{number}", "$", f'{{"about":{{"title":"t{number}"}},"n":1}}'
        )
    shop.write(f"op.create_index({PAGES!r})", "op.drop_index('pages')")
    applied(shop)
    shop.write(RENAME_IN_PAGES, RENAME_IN_PAGES_BACK)
    applied(shop, "head", "--phase", "expand")
    with followed(shop) as seen:
        for number in range(20):
            text = f'{{"about":{{"title":"t{number}"}},"n":2}}'
            shop.client.execute_command("JSON.SET", f"d:{number}", "$", text)
        shop.client.execute_command("JSON.SET", "d:90", "$", '{"about":{"headline":"born"}}')
        seen()
        assert shop.client.execute_command("JSON.GET", "d:3") == (
            b'{"about":{"title":"t3","headline":"t3"},"n":2}'
        )
    counted = shop.run("status", "--json").json
    assert counted["while_expanded"]["born"] == 1
    shop.client.execute_command("JSON.SET", "d:4", "$", '{"about":{"title":"t4"},"n":3}')
    result = shop.run("upgrade", "head", "--phase", "contract")
    assert result.code == 0, result.err
    assert "documents of pages are written as a whole by a release that knows one name" in result.out
    assert shop.client.execute_command("JSON.GET", "d:3") == b'{"about":{"headline":"t3"},"n":2}'
    assert shop.client.execute_command("JSON.GET", "d:90") == b'{"about":{"headline":"born"}}'
