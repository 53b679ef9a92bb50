"""Keys that clients compose of prefix and separator: generated revisions keep to them, plans warn of others.

With RedisVL itself as the client: `test_redisvl_prefixes.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Shop

DOCUMENTS = 5


def done(shop: Shop, *arguments: str) -> str:
    result = shop.run(*arguments)
    assert result.code == 0, f"{' '.join(arguments)}: {result.err}"
    return result.out


def fill(shop: Shop, begins: str) -> None:
    shop.add_documents(DOCUMENTS, begins, title="shoe {n}")


def layout(prefix: str | list[str], separator: str = ":") -> dict[str, Any]:
    return {
        "index": {"name": "idx", "prefix": prefix, "key_separator": separator},
        "fields": [{"name": "title", "type": "text"}],
    }


def declare(shop: Shop, prefix: str | list[str], separator: str = ":") -> None:
    (shop.folder / "schema.yaml").write_text(yaml.safe_dump(layout(prefix, separator)))
    configuration = shop.folder / "redismigrate.toml"
    if "schemas" not in configuration.read_text():
        configuration.write_text(configuration.read_text() + 'schemas = ["schema.yaml"]\n')


def keys(shop: Shop) -> set[str]:
    return {key.decode() for key in shop.client.scan_iter() if not key.startswith(b"{redismigrate")}


def named(begins: str) -> set[str]:
    return {f"{begins}{number}" for number in range(DOCUMENTS)}


def warnings(shop: Shop, *options: str) -> list[str]:
    found = shop.run("plan", "--json", *options).json["revisions"][0]["warnings"]
    return [each for each in found if "client_keys" in each]


def made(shop: Shop, prefix: str | list[str], separator: str = ":") -> None:
    """An index over documents, created by the first revision as it is declared."""
    declare(shop, prefix, separator)
    done(shop, "revision", "-m", "first", "--autogenerate")
    done(shop, "upgrade")


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ("product:", "shop", "product:", "shop:"),
        ("product", "shop:", "product:", "shop:"),
        ("Player", "Player:", "Player:", "Player:"),
        ("Player:", "Player", "Player:", "Player:"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--exclusive",)], ids=["online", "exclusive"])
def test_a_declared_prefix_moves_keys_as_clients_compose_them(
    shop: Shop, old: str, new: str, before: str, after: str, options: tuple[str, ...]
):
    fill(shop, before)
    made(shop, old)
    declare(shop, new)
    done(shop, "revision", "-m", "second", "--autogenerate")
    assert warnings(shop, *options) == []
    done(shop, "upgrade", *options)
    assert keys(shop) == named(after)
    assert shop.hits("idx") == DOCUMENTS
    done(shop, "check")
    done(shop, "downgrade", "-1", *options)
    assert keys(shop) == named(before)
    assert shop.hits("idx") == DOCUMENTS


@pytest.mark.parametrize(
    ("new", "becomes", "advice"),
    [("shop", "shop", "change product: to shop:"), ("product", "product", "nothing has to move")],
)
def test_an_explicit_change_stays_bytes_and_the_plan_says_what_clients_miss(
    shop: Shop, new: str, becomes: str, advice: str
):
    fill(shop, "product:")
    shop.write(f"op.create_index({layout('product:')!r})")
    done(shop, "upgrade")
    shop.write(
        f"with op.index('idx') as index: index.change_prefix('product:', {new!r})",
        f"with op.index('idx') as index: index.change_prefix({new!r}, 'product:')",
    )
    (warning,) = warnings(shop, "--exclusive")
    assert f"becomes {becomes}" in warning
    assert advice in warning
    assert f"{new}:" in warning
    done(shop, "upgrade", "--exclusive")
    assert keys(shop) == named(becomes)
    done(shop, "downgrade", "-1", "--exclusive")
    assert keys(shop) == named("product:")


def test_a_separator_that_nobody_has_told_shows_in_the_keys(shop: Shop):
    fill(shop, "product_")
    shop.client.execute_command("FT.CREATE", "idx", "PREFIX", 1, "product_", "SCHEMA", "title", "TEXT")
    shop.write("with op.index('idx') as index: index.change_prefix('product_', 'shop')")
    (warning,) = warnings(shop)
    assert "with '_' behind the prefix" in warning
    assert "change product_ to shop_" in warning


def test_a_patch_of_an_adopted_index_takes_the_separator_of_the_declared_schema(shop: Shop):
    fill(shop, "product_")
    shop.client.execute_command("FT.CREATE", "idx", "PREFIX", 1, "product_", "SCHEMA", "title", "TEXT")
    declare(shop, "product_", "_")
    patch = {"version": 1, "changes": {"index": {"prefix": "shop"}}}
    (shop.folder / "patch.yaml").write_text(yaml.safe_dump(patch))
    done(shop, "revision", "-m", "patch", "--schema-patch", "patch.yaml", "--index", "idx")
    done(shop, "upgrade")
    assert keys(shop) == named("shop_")
    done(shop, "downgrade", "-1")
    assert keys(shop) == named("product_")


@pytest.mark.parametrize(
    ("old", "new", "separator", "begins"),
    [("product:", "prod", ":", "prod:"), ("product", "product", "_", "product_")],
    ids=["a wider prefix", "another separator"],
)
def test_an_index_that_would_have_originals_and_copies_is_changed_in_place(
    shop: Shop, old: str, new: str, separator: str, begins: str
):
    fill(shop, "product:")
    made(shop, old)
    declare(shop, new, separator)
    done(shop, "revision", "-m", "second", "--autogenerate")
    assert any("needs --exclusive" in reason for reason in shop.run("plan", "--json").json["blocked"])
    result = shop.run("plan", "--json", "--strategy", "shadow_copy")
    assert any("originals and copies" in reason for reason in result.json["blocked"]), result.json["blocked"]
    done(shop, "upgrade", "--exclusive")
    assert keys(shop) == named(begins)
    assert shop.hits("idx") == DOCUMENTS
    done(shop, "downgrade", "-1", "--exclusive")
    assert keys(shop) == named("product:")
    assert shop.hits("idx") == DOCUMENTS


def test_a_script_that_moves_no_key_says_so(shop: Shop):
    fill(shop, "a:")
    made(shop, ["a", "b"])
    declare(shop, ["c", "d"])
    told = shop.run("revision", "-m", "second", "--autogenerate")
    assert "No key moves. RedisVL makes keys that begin with 'a:' or 'b:' before this" in told.out + told.err
    assert keys(shop) == named("a:")
