"""The user that the documentation proposes may do what migrations do, and has no right that none needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from conftest import Shop
from doc_pages import ROOT, blocks_of
from servers import accepts
from vector_documents import TO_FLOAT16, TO_FLOAT32, TO_NEW_PREFIX, TO_OLD_PREFIX, add_products, creation

import redismigrate

PAGE = ROOT / "docs" / "how-to" / "connect-to-redis.md"
ARTICLES = """
op.create_index({
    "index": {"name": "articles", "prefix": "a:", "storage_type": "json"},
    "fields": [
        {"name": "title", "type": "text", "path": "$.title"},
        {
            "name": "v",
            "type": "vector",
            "attrs": {"algorithm": "flat", "dims": 4, "distance_metric": "cosine"},
        },
    ],
})
op.create_alias("papers", "articles")
op.set_synonyms("articles", "shoes", ["shoe", "sneaker"])
"""
PRODUCTS = "with op.index('products') as index:\n    index."
CHAIN = (
    (creation(), "op.drop_index('products')"),
    (ARTICLES, "op.drop_index('articles')"),
    (f"{PRODUCTS}add_field({{'name': 'brand', 'type': 'tag'}})", f"{PRODUCTS}drop_field('brand')"),
    (f"{PRODUCTS}alter_field('title', weight=2)", f"{PRODUCTS}alter_field('title', weight=1)"),
    (TO_FLOAT16, TO_FLOAT32),
    (f"{PRODUCTS}rename_field('title', 'name')", f"{PRODUCTS}rename_field('name', 'title')"),
    (
        "with op.index('articles') as index:\n    index.rename_field('title', 'name')",
        "with op.index('articles') as index:\n    index.rename_field('name', 'title')",
    ),
    (
        "with op.index('articles') as index:\n    index.truncate('v', dims=2)",
        "with op.index('articles') as index:\n    index.alter_field('v', dims=4)",
    ),
    (TO_NEW_PREFIX, TO_OLD_PREFIX),
    ("op.create_alias('shop', 'products')", "op.drop_alias('shop')"),
)
READING = (("plan",), ("current",), ("status",), ("history", "-i"), ("backup", "list"))


# What else the scenario has than the page: a second prefix, a second index and aliases.
MORE_KEYS = ("~p:*", "~q:*", "~a:*", "~articles*", "~papers*", "~shop*")


def documented_rules() -> list[str]:
    """What the page gives to ACL SETUSER, behind the name."""
    text = next(block.text for block in blocks_of(PAGE) if block.text.startswith("ACL SETUSER"))
    return text.replace("\\\n", " ").split()[3:]


def succeeds(shop: Shop, *arguments: str) -> str:
    """Run a command; what it prints."""
    result = shop.run(*arguments)
    assert result.code == 0, f"{arguments}: {result.out}{result.err}"
    return result.out


@pytest.fixture
def limited(shop: Shop) -> Iterator[Shop]:
    """The shop with documents, as the user of the page reaches it."""
    add_products(shop, 50)
    for number in range(50):
        article = {"title": "news", "v": [number, 1, 0, 2]}
        shop.client.execute_command("JSON.SET", f"a:{number}", "$", json.dumps(article))
    shop.client.hpexpire(
        "p:1", 3_600_000, "title"
    )  # on a server where no field ever expires less is asked for
    shop.client.pexpire("p:2", 3_600_000)
    rules = [">pw" if rule.startswith(">") else rule for rule in documented_rules()]
    shop.client.execute_command("ACL", "SETUSER", "limited", "reset", *rules, *MORE_KEYS)
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text().replace("unix://", "unix://limited:pw@"))
    yield shop
    shop.client.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.parametrize(
    "options",
    [(), ("--exclusive",), ("--exclusive", "--strategy", "rebuild")],
    ids=["live", "exclusive", "rebuild"],
)
def test_the_user_may_do_what_migrations_do(limited: Shop, options: tuple[str, ...]):
    for upgrade, downgrade in CHAIN:
        limited.write(upgrade, downgrade)

    succeeds(limited, "upgrade", *options)
    for command in READING:
        succeeds(limited, *command)
    succeeds(limited, "downgrade", "base", *options)
    run = json.loads(succeeds(limited, "upgrade", "+5", *options, "--json"))["run"]
    succeeds(limited, "rollback", "--run", run)
    for command in (
        ("upgrade", "+1", *options),
        ("stamp", "base"),
        ("stamp", "+1"),
        ("repair",),
        ("unlock",),
    ):
        succeeds(limited, *command)


def test_an_index_of_others_at_which_the_user_may_not_look_is_in_nobodys_way(limited: Shop):
    """Whether it covers the same keys can't be told then."""
    limited.client.execute_command("FT.CREATE", "theirs", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    limited.write(*CHAIN[0])
    with redis.Redis(
        unix_socket_path=limited.client.get_connection_kwargs()["path"], username="limited", password="pw"
    ) as user:
        may_look = accepts(user, "FT.INFO", "theirs")
    assert ("theirs" in succeeds(limited, "plan")) is may_look
    succeeds(limited, "upgrade")


def test_the_user_has_no_right_that_nothing_asks_for():
    source = "".join(file.read_text() for file in Path(redismigrate.__file__).parent.rglob("*.py"))
    of_redis_py = {"auth", "hello", "client|setinfo", "scan", "select"}
    commands = {rule.removeprefix("+") for rule in documented_rules() if rule.startswith("+")} - of_redis_py
    assert {
        command for command in commands
        if not re.search(rf"""["']{re.escape(command.partition("|")[0])}["']""", source, re.IGNORECASE)
    } == set()  # fmt: skip
