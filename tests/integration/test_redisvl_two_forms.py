"""RedisVL's client before, while and after values stand in two forms: renamed with search up, and truncated.

A form at a path of its own is in `test_redisvl_client`, another storage type in `test_change_storage_online`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from patience import wait_until
from redisvl_application import PYTHON, Application, ApplicationError, needs_redisvl
from test_follow import following
from test_redisvl_client import BEGINNING, DOCUMENTS, begin, declare, schema, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

pytestmark = needs_redisvl

CUT = 4
MORE = """
def matryoshka():
    # Most of each vector is in its first numbers.
    global vectors
    vectors = (vectors / (1 + np.arange(8)) ** 3).astype(np.float32)

def cut(numbers):
    left = np.asarray(numbers, np.float64)[:4]
    return (left / np.linalg.norm(left)).astype(np.float32)

def called(name, layout):
    return SearchIndex.from_dict({**layout, "index": {**layout["index"], "name": name}}, redis_client=client)

def near(name, layout, numbers, title="title", num_results=3):
    query = VectorQuery(numbers, "embedding", return_fields=[title], num_results=num_results)
    return [each[title] for each in called(name, layout).query(query)]

def worded(name, layout, word, field):
    query = TextQuery(word, field, return_fields=[field], stopwords=None, num_results=3)
    return [each.get(field) for each in called(name, layout).query(query)]

def found_out(name, numbers):
    index = SearchIndex.from_existing(name, redis_client=client)
    return titles(index.query(VectorQuery(numbers, "embedding", return_fields=["title"], num_results=3)))
"""


@pytest.fixture
def user(shop: Shop) -> Iterator[Application]:
    """What uses the indexes of the shop."""
    with Application(str(PYTHON)) as started:
        started.run(BEGINNING + MORE, url=shop.url, documents=DOCUMENTS)
        yield started


def written(shop: Shop, up: str, down: str) -> None:
    """A revision after the baseline."""
    (head,) = shop.run("heads", "--json").json
    change = "with op.index('products') as index:\n    index."
    shop.write(change + up, change + down, down_revision=head["revision"])


def expanded_index(shop: Shop) -> str:
    return str(shop.run("current", "--json").json["indexes"]["products"]["expanded"]["physical"])


@pytest.mark.parametrize("storage", ["hash", "json"])
def test_truncated_vectors_are_queried_with_fewer_numbers_and_whole_ones_until_then(
    shop: Shop, user: Application, storage: str
):
    layout = schema(storage)
    short = copy.deepcopy(layout)
    short["fields"][3]["attrs"]["dims"] = CUT
    user.run("matryoshka()")
    begin(shop, user, layout)
    user.run("", layout=layout, short=short, as_list=storage == "json")
    whole = user.run("answer = near('products', layout, vectors[17])")
    stored = user.run("answer = repr(index.fetch('17'))")
    written(shop, f"truncate('embedding', dims={CUT})", "alter_field('embedding', dims=8)")

    succeed(shop, "upgrade", "--phase", "expand")
    physical = expanded_index(shop)
    assert user.run("answer = near('products', layout, vectors[17])") == whole
    assert user.run("answer = near(name, short, cut(vectors[17]))", name=physical)[0] == whole[0]
    # RedisVL's schema drops `path` on hashes, and there the attribute is not called like the field just now.
    if storage == "hash":
        with pytest.raises(ApplicationError, match="KeyError"):
            user.run("found_out(name, cut(vectors[17]))", name=physical)
    else:
        assert user.run("answer = found_out(name, cut(vectors[17]))", name=physical)[0] == whole[0]

    succeed(shop, "upgrade", "--phase", "contract")
    declare(shop, user, short)
    succeed(shop, "check")
    assert user.run("answer = near('products', short, cut(vectors[17]))")[0] == whole[0]
    assert user.run("answer = found_out('products', cut(vectors[17]))")[0] == whole[0]
    # The object that the application has had all the time finds it, too, with as many numbers.
    ask = "answer = titles(index.query(VectorQuery(cut(vectors[17]), 'embedding', ['title'], num_results=3)))"
    assert user.run(ask)[0] == whole[0]
    # A vector of the old length is refused by the server, and RedisVL says so.
    with pytest.raises(ApplicationError, match=r"RedisSearchError|ResponseError"):
        user.run("near('products', layout, vectors[17])")
    # What RedisVL loads in the old form goes into the document, and not into the index.
    user.run(
        """
old = vectors[3].tolist() if as_list else vectors[3].tobytes()
new = cut(vectors[4]).tolist() if as_list else cut(vectors[4]).tobytes()
rest = {"brand": "acme", "price": 1}
index.load([{"id": "old", "title": "of old", "embedding": old, **rest}], id_field="id")
index.load([{"id": "new", "title": "of new", "embedding": new, **rest}], id_field="id")
"""
    )
    found = user.run("answer = near('products', short, cut(vectors[4]), num_results=100)")
    assert "of new" in found
    assert "of old" not in found
    user.run("index.drop_keys([index.key('old'), index.key('new')])")

    succeed(shop, "downgrade", "-1")
    assert user.run("answer = near('products', layout, vectors[17])") == whole
    assert user.run("answer = repr(index.fetch('17'))") == stored


@pytest.mark.parametrize("storage", ["hash", "json"])
def test_a_field_that_is_renamed_with_search_up_is_found_by_both_names_until_the_old_one_goes(
    shop: Shop, user: Application, storage: str
):
    layout = schema(storage)
    renamed = copy.deepcopy(layout)
    renamed["fields"][0]["name"] = "name"
    begin(shop, user, layout)
    user.run("", layout=layout, renamed=renamed, as_list=storage == "json")
    before = user.run("answer = near('products', layout, vectors[17])")
    written(shop, "rename_field('title', 'name')", "rename_field('name', 'title')")

    succeed(shop, "upgrade", "--phase", "expand")
    physical = expanded_index(shop)
    assert user.run("answer = near('products', layout, vectors[17])") == before
    assert user.run("answer = near(name, renamed, vectors[17], 'name')", name=physical) == before
    # The new index answers to either name, so that one index can serve for both releases.
    assert user.run("answer = len(worded(name, layout, '17', 'title'))", name=physical) == 1
    assert user.run("answer = worded(name, renamed, '17', 'name')", name=physical) == ["red product 17"]
    with following(shop):
        user.run(
            """
embedding = vectors[5].tolist() if as_list else vectors[5].tobytes()
rest = {"brand": "acme", "price": 1, "embedding": embedding}
made(renamed).load([{"id": "x", "name": "loaded by the new release", **rest}], id_field="id")
index.load([{"id": "y", "title": "loaded by the old release", **rest}], id_field="id")
"""
        )
        told = "[each and each.split()[-2] for each in worded(name, {0}, 'loaded', '{1}')]"
        by_old, by_new = (
            f"answer = {told.format(*names)}" for names in (("layout", "title"), ("renamed", "name"))
        )
        wait_until(lambda: sorted(user.run(by_old, name="products")) == ["new", "old"])
        wait_until(lambda: sorted(user.run(by_new, name=physical)) == ["new", "old"])

    succeed(shop, "upgrade", "--phase", "contract")
    declare(shop, user, renamed)
    succeed(shop, "check")
    assert user.run("answer = near('products', renamed, vectors[17], 'name')") == before
    assert user.run("answer = worded('products', renamed, '17', 'name')") == ["red product 17"]
    # What says the old name finds nothing, or no such value.
    gone = "answer = worded('products', layout, '17', 'title')"
    assert not_found(user, gone)
    with pytest.raises(ApplicationError, match="KeyError"):
        user.run("nearest(index)")

    succeed(shop, "downgrade", "-1")
    assert user.run("answer = nearest(index)") == before


def not_found(user: Application, program: str) -> bool:
    """Whether a query finds nothing, or is refused by a server that knows its attributes."""
    try:
        found: Any = user.run(program)
    except ApplicationError:
        return True
    return not found
