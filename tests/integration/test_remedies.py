"""The remedy of every kind of finding of `check`, typed to the letter, for names of every kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from signalled_process import KILLED, kill_at

from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

_BASH = ["bash", "-c", 'words() { printf \'%s\\0\' "$@"; }; eval "$0"']
KEY = "{redismigrate:shop}:"
NAMES = (
    "products", "-dash", "with space", "it's", 'quo"te', "--rebuild", "größe", "a$b;c", "a=b", "a*",
    "a\x1b[1mb",
)  # fmt: skip
CREATE = """
op.create_index({{
    "index": {{"name": {name!r}, "prefix": "p:"}},
    "fields": [{{"name": "title", "type": "text"}}, {{"name": "brand", "type": "tag"}}],
}})
op.set_synonyms({name!r}, "shoes", ["shoe", "boot"])
op.create_alias({alias!r}, {name!r})
"""
TITLE, BRAND = ("title", "TEXT"), ("brand", "TAG")


def commands_in(text: str) -> list[list[str]]:
    """The commands that a remedy names, as a shell reads them."""
    commands = re.findall("`((?:redismigrate|redis-cli) .+?)`", text)
    return [
        [os.fsdecode(word) for word in subprocess.check_output([*_BASH, f"words {c}"]).split(b"\0")[:-1]]
        for c in commands
    ]


def typed(shop: Shop, words: list[str]) -> None:
    """Run a command."""
    if words[0] == "redis-cli":
        shop.client.execute_command(*map(os.fsencode, words[1:]))
    else:
        done = shop.run(*words[1:])
        assert done.code == 0, (words, done.err)


def mended(shop: Shop) -> list[str]:
    """Type what the remedies name until nothing is told; the kinds that were."""
    kinds: list[str] = []
    while differences := shop.run("check", "--json").json["differences"]:
        kinds.append(differences[0]["kind"])
        assert len(kinds) < 9, differences
        first, *_ = commands_in(differences[0]["remedy"])
        typed(shop, first)
        shop.wait_until_indexed()
    return kinds


def again(shop: Shop, name: str, *options: Any) -> None:
    """Somebody makes the index otherwise."""
    execute: Any = shop.client.execute_command
    execute("FT.DROPINDEX", name)
    execute("FT.CREATE", name, *options)
    execute("FT.ALIASADD", f"{name} too", name)


def left_by_a_lost_run(shop: Shop, name: str) -> None:
    revision = shop.write(f"with op.index({name!r}) as index:\n    index.set_options(stopwords=['x'])")
    options = MigrationOptions(strategy="shadow")
    assert kill_at(shop, "upgrade", "head", at=5, options=options) == KILLED
    shop.client.delete(f"{KEY}run", f"{KEY}progress", f"{KEY}lock")
    shop.script(revision).unlink()


def edit(shop: Shop, document: str, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(shop.client.get(KEY + document) or b"")
    change(content)
    shop.client.set(KEY + document, json.dumps(content))


Act = Callable[["Shop", str], object]
CASES: dict[str, tuple[Act, str]] = {
    "index gone": (lambda shop, name: shop.client.execute_command("FT.DROPINDEX", name), "index_missing"),
    "another prefix": (
        lambda shop, name: again(shop, name, "PREFIX", 1, "x:", "SCHEMA", *TITLE, *BRAND),
        "index_option",
    ),
    "a field less": (
        lambda shop, name: again(shop, name, "PREFIX", 1, "p:", "SCHEMA", *TITLE),
        "field_dropped",
    ),
    "another type": (
        lambda shop, name: again(shop, name, "PREFIX", 1, "p:", "SCHEMA", *TITLE, "brand", "TEXT"),
        "field_changed",
    ),
    "a field more": (
        lambda shop, name: shop.client.execute_command("FT.ALTER", name, "SCHEMA", "ADD", "x", "TAG"),
        "field_added",
    ),
    "other synonyms": (
        lambda shop, name: shop.client.execute_command("FT.SYNUPDATE", name, "seats", "sofa"),
        "synonyms",
    ),
    "alias gone": (
        lambda shop, name: shop.client.execute_command("FT.ALIASDEL", f"{name} too"),
        "alias_changed",
    ),
    "alias hidden": (
        lambda shop, name: shop.client.execute_command("FT.CREATE", f"{name} too", "SCHEMA", *TITLE),
        "alias_hidden",
    ),
    "left by a lost run": (left_by_a_lost_run, "leftover_index"),
    "not recorded": (
        lambda shop, name: edit(shop, "indexes", lambda content: content["indexes"].pop(name)),
        "record_differs",
    ),
    "recorded, not made": (
        lambda shop, name: edit(
            shop, "indexes", lambda content: content["indexes"].update(other=content["indexes"][name])
        ),
        "record_differs",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_mend_a_finding_does_for_any_name(shop: Shop, name: str):
    shop.add_documents(5, title="shoe", brand="x")
    shop.write(CREATE.format(name=name, alias=f"{name} too"), f"op.drop_index({name!r})")
    assert shop.run("upgrade").code == 0
    for case in CASES if name == "products" else ("another type", "left by a lost run", "index gone"):
        act, kind = CASES[case]
        act(shop, name)
        assert kind in mended(shop), case
        assert shop.run("check").code == 0, case
        shop.wait_until_indexed()
        assert shop.hits(name) == shop.hits(f"{name} too") == 5, case


@pytest.mark.parametrize("begun", ["upgrade", "rollback"])
def test_an_unfinished_run_goes_on_either_way(shop: Shop, begun: str):
    shop.write(CREATE.format(name="products", alias="goods"), "op.drop_index('products')")
    assert kill_at(shop, "upgrade", "head", at=4) == KILLED
    if begun == "rollback":
        assert kill_at(shop, "rollback", "", at=2, moment="undo step") == KILLED
    assert mended(shop) == ["unfinished_run"]
    assert shop.run("check").code == (0 if begun == "upgrade" else 4)
