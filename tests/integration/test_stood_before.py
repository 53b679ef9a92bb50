"""Documents that had the new name before a rename with search up: taken back, they are as they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from signalled_process import KILLED, kill_at, kill_at_every
from test_twins_of_two_releases import RENAME, RENAME_BACK
from test_two_releases import contracted
from vector_documents import applied, kill_before

if TYPE_CHECKING:
    from conftest import Shop

KINDS = pytest.mark.parametrize("kind", ["hash", "json"])
PRODUCTS: list[dict[str, str]] = [
    {"title": "a"},
    {"title": "a", "other": "x"},
    {"headline": "b"},
    {"title": "c", "headline": "c"},
]


def put(shop: Shop, kind: str, key: str, product: dict[str, str]) -> None:
    if kind == "hash":
        shop.client.hset(key, mapping=dict(product))
    else:
        shop.client.execute_command("JSON.SET", key, "$", json.dumps(product))


def products(shop: Shop, kind: str) -> dict[str, Any]:
    if kind == "hash":
        hashes: dict[str, Any] = {key.decode(): shop.client.hgetall(key) for key in shop.client.keys("p:*")}
        return hashes
    texts = {key.decode(): shop.client.execute_command("JSON.GET", key) for key in shop.client.keys("p:*")}
    return {key: json.loads(text) for key, text in texts.items()}


def stocked(shop: Shop, kind: str) -> dict[str, Any]:
    """Products of which p:2 has the new name alone, and p:3 both, and a revision that renames."""
    for number, product in enumerate(PRODUCTS):
        put(shop, kind, f"p:{number}", product)
    storage = {"name": "products", "prefix": "p:", "storage_type": kind}
    schema = {"index": storage, "fields": [{"name": "title", "type": "text"}]}
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(RENAME, RENAME_BACK)
    return products(shop, kind)


def folder_of_backups(shop: Shop) -> Path:
    (listed,) = shop.run("backup", "list", "--json").json["backups"]
    return Path(listed["folder"])


def last_run(shop: Shop) -> str:
    run: str = shop.run("status", "--json").json["journal"][0]["run"]
    return run


def renamed(before: dict[str, Any], kind: str) -> dict[str, Any]:
    old, new = ("title", "headline") if kind == "json" else (b"title", b"headline")
    return {key: {new if n == old else n: value for n, value in each.items()} for key, each in before.items()}


@KINDS
def test_a_finished_rename_is_rolled_back_to_exactly_what_was(shop: Shop, kind: str):
    before = stocked(shop, kind)
    applied(shop)
    assert products(shop, kind) == renamed(before, kind)
    applied(shop, "--run", last_run(shop), verb="rollback")
    assert products(shop, kind) == before


@KINDS
def test_a_downgrade_gives_exactly_what_was_and_is_rolled_back_itself(shop: Shop, kind: str):
    before = stocked(shop, kind)
    applied(shop)
    applied(shop, "-1", verb="downgrade")
    assert products(shop, kind) == before
    applied(shop, "--run", last_run(shop), verb="rollback")
    assert products(shop, kind) == renamed(before, kind)


def test_what_was_written_since_keeps_both_names(shop: Shop):
    before = stocked(shop, "hash")
    applied(shop, "head", "--phase", "expand")
    contracted(shop)
    for number in (2, 3):
        shop.client.hset(f"p:{number}", "headline", "since")
    applied(shop, "-1", verb="downgrade")
    both = {b"title": b"since", b"headline": b"since"}
    assert products(shop, "hash") == {**before, "p:2": both, "p:3": both}


def test_a_downgrade_without_the_backup_says_so(shop: Shop):
    before = stocked(shop, "hash")
    applied(shop)
    shutil.rmtree(folder_of_backups(shop))
    told = shop.run("downgrade", "-1")
    assert told.code == 0, told.err
    assert "which says what documents of products had headline before revision" in told.out
    assert products(shop, "hash")["p:0"] == before["p:0"]
    assert products(shop, "hash")["p:2"] == {b"title": b"b"}


def test_a_backup_of_notes_alone_is_verified_and_restores_nothing(shop: Shop):
    stocked(shop, "hash")
    applied(shop)
    after, run = products(shop, "hash"), last_run(shop)
    assert shop.run("backup", "verify").code == 0
    restored = shop.run("backup", "restore", "--run", run, "--json")
    assert restored.code == 0, restored.err
    assert [(each["restored"], each["left"]) for each in restored.json["backups"]] == [(0, [])]
    assert products(shop, "hash") == after


def test_where_no_document_had_the_new_name_there_is_no_backup(shop: Shop):
    stocked(shop, "hash")
    shop.client.delete("p:2", "p:3")
    applied(shop)
    assert shop.run("backup", "list", "--json").json["backups"] == []


@pytest.mark.slow_beyond(1)
@KINDS
def test_killed_before_the_removal_it_is_rolled_back_and_killed_after_it_too(shop: Shop, kind: str):
    before = stocked(shop, kind)
    kill_before(shop, "remove_documents", "upgrade", "head")
    applied(shop, verb="rollback")
    assert products(shop, kind) == before
    assert kill_at(shop, "upgrade", "head", at=1, moment="end of revision") == KILLED
    applied(shop, verb="rollback")
    assert products(shop, kind) == before


@pytest.mark.slow
@KINDS
def test_a_rollback_is_killed_everywhere_and_goes_on(shop: Shop, kind: str):
    before = stocked(shop, kind)
    applied(shop)
    run, at = last_run(shop), 1
    while kill_at(shop, "rollback", run, at=at, moment="undo step") == KILLED:
        at += 1
    assert products(shop, kind) == before


@pytest.mark.slow
@KINDS
def test_a_downgrade_is_killed_everywhere_and_goes_on(shop: Shop, kind: str):
    before = stocked(shop, kind)
    applied(shop)
    kills, _ = kill_at_every(shop, "downgrade", "-1")
    assert kills > 5
    assert products(shop, kind) == before
