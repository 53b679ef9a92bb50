"""State keys of another type, or damaged: one error each, and its way out tried to the letter."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest
from signalled_process import KILLED, kill_at
from vector_documents import TO_FLOAT16, TO_FLOAT32, documents, stock

from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

KEY = "{redismigrate:shop}:"
CREATE = """
op.create_index(
    {"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]}
)
"""
NAMES = (
    "head", "indexes", "run", "progress", "last_run", "control", "follower", "while_expanded",
    "lock", "fence", "journal",
)  # fmt: skip
COMMANDS = (("upgrade",), ("downgrade", "-1"), ("status",), ("current",), ("stamp", "head"), ("rollback",))


def quoted(text: str, beginning: str) -> list[list[str]]:
    """The commands in a text that begin so, as words."""
    return [shlex.split(command) for command in re.findall(f"`({beginning}[^`]*)`", text)]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_another_type_is_one_error_with_a_way_out(shop: Shop, name: str):
    shop.write(CREATE, 'op.drop_index("products")')
    assert shop.run("upgrade").code == 0
    shop.write()
    for make in (("HSET", "a", "1"), ("RPUSH", "a"), ("SADD", "a")):
        shop.client.delete(KEY + name)
        shop.client.execute_command(make[0], KEY + name, *make[1:])
        found = {"HSET": "hash", "RPUSH": "list", "SADD": "set"}[make[0]]
        wanted = "stream" if name == "journal" else "string"
        for command in COMMANDS if make[0] == "HSET" else (("upgrade",),):
            result = shop.run(*command)
            assert (result.code, result.err.partition(": something else")[0]) == (
                1,
                f"Error: The key {KEY}{name} is a {found}, where redismigrate keeps a {wanted}",
            ), command
    hint = result.err
    if name in {"lock", "fence"}:
        assert "Error: The key" in shop.run("unlock").err
    else:
        assert shop.run("unlock").code == 0
    for _, *words in quoted(hint, "redis-cli"):
        if words[0] == "DEL":
            shop.client.execute_command(*words)
    if name in {"head", "indexes"}:
        assert shop.run("stamp", "000000000001", "--purge").code == 0
    result = shop.run("upgrade")
    assert result.code == 0, result.err
    assert shop.run("check").code == 0


def test_a_key_of_owners_or_of_undoing_of_another_type_is_one_error(shop: Shop):
    shop.write(CREATE, 'op.drop_index("products")')
    assert shop.run("upgrade").code == 0
    for key, command in (
        (f"{KEY}undo:000000000001", ("rollback", "--run", shop.state("last_run")["run"])),
        ("{redismigrate}:owners", ("check",)),
    ):
        shop.client.delete(key)
        shop.client.hset(key, "a", "1")
        result = shop.run(*command)
        assert (result.code, f"Error: The key {key} is a hash" in result.err) == (1, True), result.err
    (command,) = quoted(result.err, "redis-cli")
    shop.client.execute_command(*command[1:])
    assert shop.run("check").code == 0


@pytest.mark.slow_beyond(6)
@pytest.mark.parametrize("document", ["run", "progress", "no progress"])
@pytest.mark.parametrize(
    ("strategy", "at"),
    [
        ("rebuild", 2),
        ("rebuild", 4),
        ("rebuild", 5),
        ("rebuild", 6),
        ("shadow_field", 4),
        ("shadow_field", 7),
    ],
)
def test_a_run_whose_record_is_damaged_is_given_up_as_the_hint_says(
    shop: Shop, strategy: str, at: int, document: str
):
    stock(shop, 60)
    before = documents(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    options = MigrationOptions(strategy=strategy)
    assert kill_at(shop, "upgrade", "head", at=at, options=options) == KILLED
    state = "is damaged"
    if document == "no progress":
        document, state = "progress", "is gone"
        shop.client.delete(KEY + document)
    else:
        shop.client.set(KEY + document, "no JSON")
    shop.client.delete(f"{KEY}lock")
    result = shop.run("upgrade", "head")
    assert (result.code, f"The key {KEY}{document} {state}" in result.err) == (1, True)
    (delete,) = (words for words in quoted(result.err, "redis-cli") if words[1] == "DEL")
    shop.client.execute_command(*delete[1:])
    told = shop.run("check").out
    for _, *words in quoted(told, "redis-cli"):
        shop.client.execute_command(*words)
    if "datatype changes" in told:
        physical = shop.run("current", "--json").json["indexes"]["products"]["physical"]
        shop.client.execute_command("FT.DROPINDEX", physical)
    backups = shop.run("backup", "list", "--json").json["backups"]
    if backups:
        assert shop.run("backup", "restore", "--run", backups[-1]["run"]).code == 0
    assert shop.run("repair").code == 0
    shop.wait_until_indexed()
    assert shop.run("check").code == 4
    assert shop.run("upgrade", "head").code == 0
    shop.wait_until_indexed()
    assert shop.run("downgrade", "-1").code == 0
    assert documents(shop) == before


def damage(shop: Shop, document: str, **wrong: object) -> None:
    """Give fields of a document values of another type."""
    content = json.loads(shop.client.get(KEY + document) or b"{}")
    shop.client.set(KEY + document, json.dumps(content | wrong))


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ("run", {"id": 5}),
        ("run", {"plan": []}),
        ("run", {"arguments": "none"}),
        ("run", {"plan": {"steps": "all"}}),
        ("progress", {"position": "third"}),
        ("progress", {"backups": ["here"]}),
        ("head", {"revisions": ["000000000001"]}),
        ("head", {"revisions": {"000000000001": 3}}),
        ("indexes", {"indexes": {"products": 3}}),
        ("indexes", {"indexes": "products"}),
    ],
)
def test_a_record_with_values_of_another_type_is_one_error_that_names_its_key(
    shop: Shop, document: str, wrong: dict[str, object]
):
    stock(shop, 20)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert kill_at(shop, "upgrade", "head", at=4, options=MigrationOptions(strategy="rebuild")) == KILLED
    shop.client.delete(f"{KEY}lock")
    damage(shop, document, **wrong)
    for command in (("upgrade",), ("rollback",), ("status",), ("check",), ("current",)):
        result = shop.run(*command)
        assert (result.code, result.err.count("Error: ")) == (1, 1), (command, result.err)
        assert f"{KEY}{document}" in result.err, command
        assert "PROJECT" not in result.err
        if document in {"run", "progress"}:
            (delete,) = (words for words in quoted(result.err, "redis-cli") if words[1] == "DEL")
            assert delete[2:] == [f"{KEY}run", f"{KEY}progress"]
            assert "`redis-cli CONFIG GET search-bg-index-sleep-duration-us` shows more" in result.err


@pytest.mark.parametrize("document", ["last_run", "undo:000000000002"])
def test_what_undoes_a_run_with_values_of_another_type_is_named_by_its_key(shop: Shop, document: str):
    stock(shop, 20)
    shop.write("op.drop_index('products')")
    run = shop.run("upgrade", "--json").json["run"]
    damage(shop, document, run=5, revisions=5)

    result = shop.run("rollback", "--run", run)

    assert (result.code, f"{KEY}{document}" in result.err) == (1, True), result.err


def test_a_sign_of_life_that_is_none_is_passed_over(shop: Shop):
    stock(shop, 5)
    for text in ("no JSON", "[]", "5", '{"by": 1}'):
        shop.client.set(f"{KEY}follower", text)
        assert shop.run("status").code == 0


def test_what_a_lost_run_has_built_is_told_by_check_and_status_and_other_names_are_not_hidden(shop: Shop):
    stock(shop, 20)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    options = MigrationOptions(strategy="shadow_field")
    assert kill_at(shop, "upgrade", "head", at=7, options=options) == KILLED
    for name in ("run", "progress", "lock"):
        shop.client.delete(KEY + name)
    shop.client.execute_command("FT.CREATE", "products__archive", "PREFIX", 1, "x:", "SCHEMA", "a", "TAG")
    report = shop.run("check", "--json").json
    (left,) = (each for each in report["differences"] if each["kind"] == "leftover_index")
    assert left["index"].startswith("products__000000000002_")
    assert "embedding__000000000002" in left["message"]
    assert left["remedy"].startswith(f"`redis-cli FT.DROPINDEX {left['index']}` removes it")
    assert report["unmanaged"] == ["products__archive"]
    assert left["index"] in shop.run("status").out
    stamped = shop.run("stamp", "000000000001")
    assert f"Note: {left['index']}: it is left of a run" in stamped.out
    assert left["remedy"].partition("`")[2].partition("`")[0] in " ".join(stamped.out.split())
    (told,) = shop.run("stamp", "000000000001", "--json").json["left"]
    assert told == f"{left['index']}: {left['message']}; {left['remedy']}"
    shop.client.execute_command("FT.DROPINDEX", left["index"])
    assert "left" not in shop.run("stamp", "000000000001", "--json").json
