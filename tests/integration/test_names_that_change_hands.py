"""Names that one revision takes from an index and gives to another: no query on them fails, both ways."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from redis import ResponseError
from search_hammer import hammered
from vector_documents import applied, creation, vector

from redismigrate.redis_server import connection
from redismigrate.redis_server.capabilities import Capabilities, read_capabilities
from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from collections import Counter

    from conftest import Shop

PRODUCTS = 2000
REWEIGH = "with op.index('{name}') as index:\n    index.alter_field('title', weight={weight})\n"


def rename(old: str, new: str) -> str:
    return f"with op.index('{old}') as index:\n    index.rename_to('{new}')\n"


def made(name: str) -> str:
    return creation(name, metric="ip") + "\n"


@dataclass(frozen=True)
class Case:
    """A revision by which names change hands.

    Attributes:
        upgrade: Its `upgrade`.
        downgrade: Its `downgrade`.
        names: Those that answer before and after it.
        first: What the revision before it makes besides the indexes `a` and `b`.
    """

    upgrade: str
    downgrade: str
    names: tuple[str, ...]
    first: str = ""


EXCHANGE = rename("a", "c") + rename("b", "a") + rename("c", "b")
ALIASED = "".join(REWEIGH.format(name=name, weight=weight) for name in "ab" for weight in (2.0, 1.0))
CASES = {
    "renamed, the old name an alias of it": Case(
        rename("a", "a-v1") + "op.create_alias('a', 'a-v1')",
        "op.drop_alias('a')\n" + rename("a-v1", "a"),
        ("a", "b"),
    ),
    "exchanged": Case(EXCHANGE, EXCHANGE, ("a", "b")),
    "dropped, the name an alias of another": Case(
        "op.drop_index('a')\nop.create_alias('a', 'b')",
        "op.drop_alias('a')\n" + creation("a"),
        ("a", "b"),
    ),
    "an alias dropped and created": Case(
        "op.drop_alias('x')\nop.create_alias('x', 'b')",
        "op.drop_alias('x')\nop.create_alias('x', 'a')",
        ("x",),
        "op.create_alias('x', 'a')",
    ),
    "renamed, with a new one of the old name": Case(
        rename("a", "c") + made("a"), "op.drop_index('a')\n" + rename("c", "a"), ("a", "b")
    ),
    "dropped and created otherwise": Case(
        "op.drop_index('a')\n" + made("a"), "op.drop_index('a')\n" + creation("a"), ("a",)
    ),
    "dropped, the name another one's": Case(
        "op.drop_index('a')\n" + rename("b", "a"), rename("a", "b") + creation("a"), ("a",)
    ),
    "an alias becomes an index": Case(
        "op.drop_alias('x')\n" + made("x"),
        "op.drop_index('x')\nop.create_alias('x', 'a')",
        ("x", "a"),
        "op.create_alias('x', 'a')",
    ),
    "changed, renamed, and another one under the old name": Case(
        REWEIGH.format(name="a", weight=2.0) + rename("a", "c") + rename("b", "a"),
        rename("a", "b") + rename("c", "a") + REWEIGH.format(name="a", weight=1.0),
        ("a",),
    ),
}
# The others by `-m slow`.
QUICK = {
    ("renamed, the old name an alias of it", False),
    ("exchanged", True),
    ("renamed, with a new one of the old name", False),
    ("an alias dropped and created", True),
}


def stocked(shop: Shop, *, aliased: bool, first: str) -> None:
    shop.add_documents(PRODUCTS, title="shoe", embedding=vector(3))
    shop.write(creation("a") + "\n" + creation("b"), "op.drop_index('a')\nop.drop_index('b')")
    applied(shop)
    shop.write(
        (ALIASED if aliased else "") + first or "pass", "op.drop_alias('x')" if "alias" in first else "pass"
    )
    applied(shop)


def asked_meanwhile(shop: Shop, names: tuple[str, ...], *arguments: str) -> str:
    """Run a command while all of the names are asked; the id of its run."""
    with ExitStack() as stack:
        hammers: dict[str, list[Counter[str]]] = {
            name: stack.enter_context(hammered(shop.url, name, PRODUCTS, vector(3), processes=1))
            for name in names
        }
        result = shop.run(*arguments, "--json")
    assert result.code == 0, result.out
    for name, counts in hammers.items():
        for count in counts:
            assert count["asked"] > 0
            assert (count["failed"], count["short"]) == (0, 0), (arguments, name, count)
    return str(result.json["run"])


@pytest.mark.parametrize(
    ("case", "aliased"),
    [
        pytest.param(
            case,
            aliased,
            marks=() if (case, aliased) in QUICK else [pytest.mark.slow, pytest.mark.timeout(120)],
            id=f"{case}-{'aliases' if aliased else 'indexes'}",
        )
        for case in CASES
        for aliased in (False, True)
    ],
)
def test_no_query_fails_or_is_cut_short(shop: Shop, case: str, *, aliased: bool) -> None:
    names = CASES[case].names
    stocked(shop, aliased=aliased, first=CASES[case].first)
    shop.write(CASES[case].upgrade, CASES[case].downgrade)
    run = asked_meanwhile(shop, names, "upgrade")
    assert shop.run("check").code == 0
    asked_meanwhile(shop, names, "rollback", "--run", run)
    asked_meanwhile(shop, names, "upgrade")
    asked_meanwhile(shop, names, "downgrade", "-1")
    assert shop.run("check").code in {0, 4}
    asked_meanwhile(shop, names, "upgrade")
    asked_meanwhile(shop, (), "downgrade", "base")
    assert list_indexes(shop.client.execute_command) == ()


def told(shop: Shop, *arguments: str) -> tuple[list[str], dict[str, float]]:
    """The warnings of a plan for one revision, and the downtime by kind of step."""
    (plan,) = shop.run("plan", *arguments, "--json").json["revisions"]
    seconds = {
        step["kind"]: step["estimate"]["search_downtime_seconds"]
        for step in plan["steps"]
        if step["estimate"]["search_downtime_seconds"]
    }
    return plan["warnings"], seconds


def test_what_is_an_alias_already_is_renamed_without_a_build(shop: Shop) -> None:
    stocked(shop, aliased=True, first="")
    before = list_indexes(shop.client.execute_command)
    shop.write(rename("a", "c"), rename("c", "a"))
    plan = shop.run("plan", "--json").json["revisions"][0]
    assert [step["kind"] for step in plan["steps"]] == [
        "claim_index",
        "release_index",
        "set_alias",
        "set_alias",
        "record_revision",
    ]
    assert plan["warnings"] == ["the name a is gone afterwards; clients query c"]
    applied(shop)
    assert list_indexes(shop.client.execute_command) == before
    assert shop.hits("c") == PRODUCTS
    assert shop.run("check").code == 0
    applied(shop, "-1", verb="downgrade")
    assert shop.hits("a") == PRODUCTS


def test_no_note_says_that_a_name_is_gone_which_is_not(shop: Shop) -> None:
    stocked(shop, aliased=False, first="")
    shop.write(CASES["renamed, the old name an alias of it"].upgrade)
    warnings, seconds = told(shop)
    assert not any("is gone afterwards" in warning for warning in warnings)
    assert any("a becomes an alias" in warning for warning in warnings)
    assert seconds == {}


def test_a_name_that_is_away_while_a_function_runs_is_told(shop: Shop) -> None:
    stocked(shop, aliased=False, first="op.create_alias('x', 'a')")
    shop.write(
        "op.drop_alias('x')\nop.run(look)\nop.create_alias('x', 'b')",
        preamble="def look(client):\n    client.ping()\n",
    )
    warnings, seconds = told(shop)
    assert any(warning.startswith("searches on x fail or miss documents for about") for warning in warnings)
    assert any("as long as it takes to run look" in warning for warning in warnings)
    assert "set_alias" in seconds


def test_a_new_index_in_the_place_of_another_is_told(shop: Shop) -> None:
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'adopt = "never"\n')
    stocked(shop, aliased=False, first="")
    shop.write("op.drop_index('a')\n" + made("a"))
    warnings, seconds = told(shop)
    assert any(warning.startswith("searches on a fail or miss documents for about") for warning in warnings)
    assert "drop_index" in seconds
    applied(shop)
    assert shop.hits("a") == PRODUCTS


def test_a_cluster_tells_how_long_the_name_of_a_plain_index_is_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_as_cluster(execute: Any) -> Capabilities:
        return replace(read_capabilities(execute), is_cluster=True, has_search_coordinator=True)

    stocked(shop, aliased=False, first="op.create_alias('x', 'a')")
    monkeypatch.setattr(connection, "read_capabilities", read_as_cluster)
    shop.write(
        "op.drop_index('a')\nop.create_alias('a', 'b')\nop.create_alias('x', 'b')",
        "op.drop_alias('x')\nop.drop_alias('a')\n" + creation("a") + "\nop.create_alias('x', 'a')",
    )
    warnings, seconds = told(shop)
    assert any("searches on it fail for about 10 ms in between" in warning for warning in warnings)
    assert seconds == {"drop_index": 0.01}
    # The alias itself moves in one command.
    asked_meanwhile(shop, ("x", "b"), "upgrade")
    asked_meanwhile(shop, ("b",), "downgrade", "-1")
    assert shop.hits("a") == PRODUCTS


@pytest.mark.parametrize("way", ["op.index", "--from-live"])
def test_an_alias_that_applications_made_is_renamed_without_a_build(shop: Shop, way: str) -> None:
    """Whoever has searched by an alias all the time has nothing to be built for another one."""
    shop.client.execute_command("FT.CREATE", "products_v3", "PREFIX", 1, "product:", "SCHEMA", "t", "TAG")
    shop.client.execute_command("FT.ALIASADD", "products", "products_v3")
    shop.client.hset("product:1", mapping={"t": "shoe"})
    revised = None
    if way == "--from-live":
        made = shop.run("revision", "-m", "as it is", "--from-live", "products", "--json")
        revised = made.json["revision"]
        assert shop.run("stamp", "head").code == 0
    shop.write(rename("products", "goods"), rename("goods", "products"), down_revision=revised)
    plan = shop.run("plan", "--json").json["revisions"][0]
    assert {step["kind"] for step in plan["steps"]} == {
        *("claim_index", "release_index", "set_alias", "record_revision")
    }
    applied(shop)
    assert list_indexes(shop.client.execute_command) == ("products_v3",)
    assert shop.client.execute_command("FT.SEARCH", "goods", "*", "NOCONTENT")[0] == 1
    with pytest.raises(ResponseError, match=r"(?i)no such index|not found"):
        shop.client.execute_command("FT.SEARCH", "products", "*")
    applied(shop, "-1", verb="downgrade")
    assert shop.client.execute_command("FT.SEARCH", "products", "*", "NOCONTENT")[0] == 1
