"""RedisVL's own `load` and `fetch` before and after its prefix or its separator changes, and back again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from redisvl_application import PYTHON, Application, needs_redisvl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

pytestmark = needs_redisvl

DOCUMENTS = 12
BEGINNING = """
import redis
from redisvl.index import SearchIndex
from redisvl.query import CountQuery

client = redis.Redis.from_url(url)

def made(layout):
    return SearchIndex.from_dict(layout, redis_client=client)

def load(index, word):
    as_json = index.schema.index.storage_type.value == "json"
    rows = [{"id": str(n), "title": f"{word} {n}"} for n in range(documents)]
    return sorted(index.load(rows, id_field="id"))

def fetched(index):
    return [(index.fetch(str(n)) or {}).get("title") for n in range(documents)]

def count(index, words="*"):
    return index.query(CountQuery(words))
"""


@pytest.fixture(scope="module")
def process() -> Iterator[Application]:
    """One for all tests: it takes seconds to start."""
    with Application(PYTHON) as started:
        yield started


@pytest.fixture
def application(shop: Shop, process: Application) -> Application:
    """What uses the index of the shop."""
    process.run(BEGINNING, url=shop.url, documents=DOCUMENTS)
    return process


Keys = tuple[str | list[str], str]


def layout_of(keys: Keys, storage: str = "hash") -> dict[str, Any]:
    prefix, separator = keys
    index = {"name": "idx", "prefix": prefix, "key_separator": separator, "storage_type": storage}
    return {"index": index, "fields": [{"name": "title", "type": "text"}]}


def done(shop: Shop, *arguments: str) -> str:
    result = shop.run(*arguments)
    assert result.code == 0, f"{' '.join(arguments)}: {result.err}"
    return result.out


def declare(shop: Shop, layout: dict[str, Any]) -> None:
    (shop.folder / "schema.yaml").write_text(yaml.safe_dump(layout))


def begin(shop: Shop, application: Application, layout: dict[str, Any]) -> list[str]:
    """RedisVL makes and fills the index, which is declared, baselined and recorded; the keys it made."""
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["schema.yaml"]\n')
    declare(shop, layout)
    keys = application.run("old = made(layout)\nold.create()\nanswer = load(old, 'red')", layout=layout)
    done(shop, "revision", "-m", "as RedisVL made it", "--from-live", "idx")
    done(shop, "stamp", "head")
    return keys


def keys_of(shop: Shop) -> list[str]:
    return sorted(key.decode() for key in shop.client.scan_iter() if not key.startswith(b"{redismigrate"))


FOUND = [f"red {n}" for n in range(DOCUMENTS)]
# Which keys clients make of what was and of what is to be; whether they have to move; whether writers have to
# be paused for it, since one index would have originals and copies.
CASES: dict[str, tuple[Keys, Keys, bool, bool]] = {
    "separator at the end of the old one": (("product:", ":"), ("shop", ":"), True, False),
    "separator at the end of the new one": (("product", ":"), ("shop:", ":"), True, False),
    "at neither": (("product", ":"), ("shop", ":"), True, False),
    "at both": (("product:", ":"), ("shop:", ":"), True, False),
    "the same with one more": (("Player", ":"), ("Player:", ":"), False, False),
    "the same with one less": (("Player:", ":"), ("Player", ":"), False, False),
    "another separator": (("product_", "_"), ("shop", "_"), True, False),
    "another separator, the same keys": (("product_", "_"), ("product", "_"), False, False),
    "no separator": (("product:", ""), ("shop", ""), True, False),
    "several characters": (("product::", "::"), ("shop", "::"), True, False),
    "its separator changes": (("product", ":"), ("product", "_"), True, True),
    "both change": (("product", ":"), ("shop", "_"), True, False),
    "a wider one": (("product:", ":"), ("prod", ":"), True, True),
    "one of several": ((["product:", "old"], ":"), (["shop", "old:"], ":"), True, True),
    "one that others begin with": ((["product", "products2"], ":"), (["shop", "products2"], ":"), True, True),
}


@pytest.mark.parametrize("storage", ["hash", pytest.param("json", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_redisvl_fetches_and_loads_over_what_it_had(
    shop: Shop, application: Application, case: str, storage: str
):
    before, after, moves, needs_exclusive = CASES[case]
    keys = begin(shop, application, layout_of(before, storage))
    declare(shop, layout_of(after, storage))
    done(shop, "revision", "-m", "as declared", "--autogenerate")
    there_and_back(shop, application, keys, layout_of(after, storage), moves, needs_exclusive)


@pytest.mark.parametrize(
    "case", ["separator at the end of the old one", "the same with one more", "both change"]
)
def test_a_patch_does_the_same(shop: Shop, application: Application, case: str):
    before, (prefix, separator), moves, needs_exclusive = CASES[case]
    keys = begin(shop, application, layout_of(before))
    patch = {"version": 1, "changes": {"index": {"prefix": prefix, "key_separator": separator}}}
    (shop.folder / "patch.yaml").write_text(yaml.safe_dump(patch))
    done(shop, "revision", "-m", "patch", "--schema-patch", "patch.yaml", "--index", "idx")
    after = layout_of((prefix, separator))
    declare(shop, after)
    there_and_back(shop, application, keys, after, moves, needs_exclusive)


def there_and_back(
    shop: Shop,
    application: Application,
    keys: list[str],
    after: dict[str, Any],
    moves: bool,
    needs_exclusive: bool,
) -> None:
    options = ("--exclusive",) if needs_exclusive else ()
    plan = shop.run("plan", "--json").json
    assert bool(plan["blocked"]) is needs_exclusive, plan["blocked"]
    assert not any("client_keys" in each for each in plan["revisions"][0]["warnings"])
    done(shop, "upgrade", *options)

    assert (keys_of(shop) != keys) is moves
    assert application.run("new = made(layout)\nanswer = fetched(new)", layout=after) == FOUND
    assert application.run("answer = count(new)") == DOCUMENTS
    # What it loads again goes over what was there.
    application.run("load(new, 'blue')")
    assert len(keys_of(shop)) == application.run("answer = count(new, '@title:blue')") == DOCUMENTS
    application.run("load(new, 'red')")
    done(shop, "check")

    done(shop, "downgrade", "-1", *options)
    assert keys_of(shop) == keys
    assert application.run("answer = fetched(old)") == FOUND
    assert application.run("answer = count(old)") == DOCUMENTS


def test_an_exclusive_run_moves_nothing_that_redisvl_calls_the_same(shop: Shop, application: Application):
    keys = begin(shop, application, layout_of(("Player", ":")))
    declare(shop, layout_of(("Player:", ":")))
    done(shop, "revision", "-m", "as declared", "--autogenerate")
    done(shop, "upgrade", "--exclusive")
    assert keys_of(shop) == keys
    assert application.run("answer = fetched(made(layout))", layout=layout_of(("Player:", ":"))) == FOUND
