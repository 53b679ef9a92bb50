"""A user who lacks a right that rewriting needs is told so while search is up and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Result, Shop
from vector_documents import (
    CHANGE,
    TO_FLOAT16,
    TO_NEW_PREFIX,
    applied,
    documents,
    stock,
    vector,
)

from redismigrate.redis_server.connection import connect_like

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 50
EVERYTHING = ("~*", "+@all")
RENAME = CHANGE + "index.rename_field('title', 'name')"
# Where the state is, and what indexes are called, which is a key to Redis.
OWN_KEYS = ("~{redismigrate*", "~products*", "~redismigrate*")
EXPIRY = 4_102_444_800_000

Upgrade = Callable[..., Result]


@pytest.fixture
def products(shop: Shop) -> Shop:
    """The shop with 50 products in an index of float32 vectors."""
    stock(shop, PRODUCTS)
    return shop


@pytest.fixture
def upgrade(products: Shop) -> Iterator[Upgrade]:
    """Upgrades as a user with these rights, and nobody else writes."""

    def run(*rights: str) -> Result:
        products.client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "&*", *rights)
        limited = products.url.replace("unix://", "unix://limited:pw@")
        return products.run("upgrade", "--exclusive", "--url", limited)

    yield run
    products.client.execute_command("ACL", "DELUSER", "limited")


def refuses(shop: Shop, upgrade: Upgrade, rights: tuple[str, ...], *says: str) -> None:
    """Check that an upgrade is refused, and that documents, index and head are untouched."""
    documents_before, before = documents(shop), shop.content()["indexes"]
    with shop.monitored() as commands:
        result = upgrade(*rights)
    assert result.code == 1, result.out + result.err
    for text in (*says, "Grant it with ACL SETUSER, or migrate as another user."):
        assert text in result.err
    # That of the scratch index, on which the definition is proved, is the only one.
    dropped = [words[1] for words in commands if words[0].upper() == "FT.DROPINDEX"]
    assert "products" not in dropped
    assert documents(shop) == documents_before
    assert shop.content()["indexes"] == before
    assert (shop.state("run"), (shop.state("head") or {})["heads"]) == (None, ["000000000001"])
    assert "There are no backups" in shop.run("backup", "list").out


@pytest.mark.parametrize("command", ["HSET", "HMGET", "HSTRLEN"])
def test_a_user_who_may_not_write_vectors_is_told_before_anything_is_dropped(
    products: Shop, upgrade: Upgrade, command: str
):
    products.write(TO_FLOAT16)

    refuses(products, upgrade, (*EVERYTHING, f"-{command}"), f"lacks the right to run {command} on keys p:*.")


@pytest.mark.parametrize("command", ["watch", "unwatch", "multi", "exec"])
def test_a_user_who_may_not_run_transactions_is_told_before_anything_is_dropped(
    products: Shop, upgrade: Upgrade, command: str
):
    products.write(TO_FLOAT16)

    refuses(products, upgrade, (*EVERYTHING, f"-{command}"), f"no permissions to run the '{command}' command")


@pytest.mark.parametrize(
    ("change", "command", "keys"),
    [(RENAME, "HDEL", "p:*"), (TO_NEW_PREFIX, "RENAMENX", "p:*"), (TO_NEW_PREFIX, "EXISTS", "p:*")],
    ids=["HDEL", "RENAMENX", "EXISTS"],
)
def test_a_user_who_may_not_move_is_told_before_anything_is_dropped(
    products: Shop, upgrade: Upgrade, change: str, command: str, keys: str
):
    products.write(change)

    refuses(products, upgrade, (*EVERYTHING, f"-{command}"), f"the right to run {command} on keys {keys}.")


def test_a_user_who_may_not_copy_needs_to_only_where_an_index_of_the_other_type_is_at_the_new_keys(
    products: Shop, upgrade: Upgrade
):
    products.client.execute_command(
        "FT.CREATE", "pages", "ON", "JSON", "PREFIX", 1, "q:", "SCHEMA", "$.t", "TEXT"
    )
    products.write(TO_NEW_PREFIX)

    refuses(products, upgrade, (*EVERYTHING, "-copy"), "the right to run COPY on keys p:*.")
    products.client.execute_command("FT.DROPINDEX", "pages")
    assert upgrade(*EVERYTHING, "-copy").code == 0


def test_a_user_who_may_not_take_times_to_live_away_is_told_where_the_server_needs_it_to_move_hashes(
    products: Shop, upgrade: Upgrade
):
    with connect_like(products.client) as server:
        if not server.capabilities.forgets_renames:
            pytest.skip("this server knows renamed hashes by their names")
    products.client.hpexpireat("p:1", EXPIRY, "title")
    products.write(TO_NEW_PREFIX)

    refuses(products, upgrade, (*EVERYTHING, "-hpersist"), "lacks the right to run HPERSIST on keys p:*.")


def test_a_user_who_may_not_keep_times_to_live_is_told_where_a_field_has_one(
    products: Shop, upgrade: Upgrade
):
    products.client.hpexpireat("p:1", EXPIRY, "title")
    products.write(TO_FLOAT16)

    refuses(products, upgrade, (*EVERYTHING, "-hpexpireat"), "lacks the right to run HPEXPIREAT on keys p:*.")


def test_a_user_who_may_not_keep_times_to_live_needs_not_where_no_field_has_one(
    products: Shop, upgrade: Upgrade
):
    products.write(TO_FLOAT16)

    assert upgrade(*EVERYTHING, "-hpexpireat", "-hpexpiretime").code == 0


def test_a_user_who_may_not_write_to_the_documents_is_told_before_anything_is_dropped(
    products: Shop, upgrade: Upgrade
):
    products.write(TO_FLOAT16)

    refuses(products, upgrade, (*OWN_KEYS, "%R~p:*", "+@all"), "lacks the right to run HSET on keys p:*.")


def test_a_user_who_may_not_write_to_the_new_keys_is_told_before_anything_is_dropped(
    products: Shop, upgrade: Upgrade
):
    products.write(TO_NEW_PREFIX)

    # Who may not read them either is told so by the plan where the server guards indexes by their keys.
    refuses(products, upgrade, (*OWN_KEYS, "~p:*", "%R~q:*", "+@all"), " on keys q:*.")


@pytest.mark.parametrize("change", [TO_FLOAT16, RENAME, TO_NEW_PREFIX], ids=["float16", "rename", "prefix"])
def test_a_user_with_the_keys_of_the_state_the_index_and_the_documents_needs_no_more(
    products: Shop, upgrade: Upgrade, change: str
):
    products.write(change)

    result = upgrade(*OWN_KEYS, "~p:*", "~q:*", "+@all")

    assert result.code == 0, result.err
    assert products.hits("products") == PRODUCTS


def test_a_user_who_may_not_show_documents_to_an_index_is_told_where_that_is_done(
    products: Shop, upgrade: Upgrade
):
    products.client.mset({f"session:{number}": number for number in range(20_000)})
    products.write(TO_FLOAT16)

    refuses(products, upgrade, (*EVERYTHING, "-hrandfield"), "lacks the right to run HRANDFIELD on keys p:*.")


@pytest.mark.parametrize("command", ["JSON.GET", "JSON.SET", "JSON.DEL"])
def test_a_user_who_may_not_write_json_is_told_before_anything_is_dropped(
    products: Shop, upgrade: Upgrade, command: str
):
    execute: Any = products.client.execute_command
    for number in range(10):
        execute("JSON.SET", f"a:{number}", "$", f'{{"title": "news {number}"}}')
    schema = {
        "index": {"name": "articles", "prefix": "a:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text"}],
    }
    products.write(f"op.create_index({schema!r})", "op.drop_index('articles')", revision="000000000009")
    applied(products)
    products.write("with op.index('articles') as index:\n    index.rename_field('title', 'headline')")

    result = upgrade(*EVERYTHING, f"-{command}")

    assert result.code == 1
    assert f"lacks the right to run {command} on keys a:*." in result.err
    assert products.hits("articles") == 10
    assert execute("JSON.GET", "a:1", "$.title") == b'["news 1"]'


def test_with_the_right_granted_the_same_command_succeeds(products: Shop, upgrade: Upgrade):
    products.write(TO_FLOAT16)
    assert upgrade(*EVERYTHING, "-hset").code == 1

    assert upgrade(*EVERYTHING).code == 0

    assert products.client.hget("p:1", "embedding") == vector(1, "float16")
