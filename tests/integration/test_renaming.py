"""Fields that get another name in the documents as well: in hashes, and in JSON documents at any depth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import applied, documents

from redismigrate.execution.documents.in_place.moving import MOST_KEPT
from redismigrate.schema.strict import encode

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

COUNT = 30
CHANGE = "with op.index('products') as index:\n    "
FAR_AWAY = 4_102_444_800_000


def creation(*fields: dict[str, Any], storage_type: str = "hash") -> str:
    index = {"name": "products", "prefix": "p:", "storage_type": storage_type}
    return f"op.create_index({ {'index': index, 'fields': list(fields)}!r})"


def rename(old: str, new: str, path: str | None = None) -> str:
    return f"{CHANGE}index.rename_field({old!r}, {new!r}, {path!r})"


def texts(shop: Shop) -> dict[bytes, bytes]:
    """Every JSON document as text, by its key."""
    keys = sorted(shop.client.scan_iter(count=10_000, _type="ReJSON-RL"))
    return {key: shop.client.execute_command("JSON.GET", key) for key in keys}


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Thirty hashes with a title in an index that the first revision made."""
    shop.add_documents(COUNT, title="shoe {n}", brand="nike")
    shop.write(creation({"name": "title", "type": "text"}, {"name": "brand", "type": "tag"}))
    applied(shop)
    return shop


@pytest.fixture
def articles(shop: Shop) -> Shop:
    """Thirty JSON documents, each with its title within an object."""
    for number in range(COUNT):
        article = {"z": 1, "data": {"title": f"shoe {number}", "n": number}, "a": [1, {"b": None}]}
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", json.dumps(article))
    shop.write(creation({"name": "title", "type": "text", "path": "$.data.title"}, storage_type="json"))
    applied(shop)
    return shop


def test_a_field_of_hashes_is_renamed_in_every_document_and_back(products: Shop):
    originals = documents(products)
    products.write(rename("title", "name"), rename("name", "title"))

    counts = applied(products, "--exclusive")

    assert (counts["read"], counts["rewritten"], counts["failed"]) == (COUNT, COUNT, [])
    assert documents(products) == {
        key: {b"name": fields[b"title"], b"brand": b"nike"} for key, fields in originals.items()
    }
    assert products.hits("products", "@name:shoe") == COUNT
    applied(products, "-1", "--exclusive", verb="downgrade")
    assert documents(products) == originals
    assert products.hits("products", "@title:shoe") == COUNT


def test_a_rename_needs_the_writers_to_be_paused(products: Shop):
    products.write(rename("title", "name"))

    products.refuses(
        "upgrade",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: rename title to name in the documents of index products "
                "needs --exclusive: what writers delete or write under the old name meanwhile can't be seen"
            ),
        ),
    )


def test_a_field_known_by_another_name_is_renamed_in_the_index_alone(shop: Shop):
    shop.add_documents(COUNT, t="shoe {n}")
    shop.write(creation({"name": "title", "type": "text", "path": "t"}))
    applied(shop)
    originals = documents(shop)
    shop.write(rename("title", "name"), rename("name", "title"))

    applied(shop)

    assert documents(shop) == originals
    assert shop.hits("products", "@name:shoe") == COUNT


def test_a_field_moves_to_the_path_that_is_given_and_comes_back(shop: Shop):
    shop.add_documents(COUNT, t="shoe {n}")
    shop.write(creation({"name": "title", "type": "text", "path": "t"}))
    applied(shop)
    originals = documents(shop)
    shop.write(rename("title", "name", "n"), rename("name", "title", "t"))

    applied(shop, "--exclusive")

    assert {tuple(fields) for fields in documents(shop).values()} == {(b"n",)}
    assert shop.hits("products", "@name:shoe") == COUNT
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert documents(shop) == originals


@pytest.mark.slow_beyond(13)
@pytest.mark.parametrize("old", ["title", "ti tle", "ti\udcfftle", '"t"', "$1", "*3", "tïtle", "{t}"])
@pytest.mark.parametrize("new", ["na\udcfeme", "na me", "näme", "'n'", "%n%"])
def test_fields_and_values_of_hashes_may_hold_any_bytes(shop: Shop, old: str, new: str):
    value = bytes(range(256)) * 3
    for number in range(5):
        shop.client.hset(b"p:\xff\r\n\x00%d" % number, mapping={encode(old): value, "z": "1"})
    shop.write(creation({"name": "title", "type": "tag", "path": old}))
    applied(shop)
    originals = documents(shop)
    shop.write(rename("title", "title2", new), rename("title2", "title", old))

    assert applied(shop, "--exclusive")["rewritten"] == 5

    assert list(documents(shop).values()) == [{encode(new): value, b"z": b"1"}] * 5
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert documents(shop) == originals


def test_documents_that_have_the_new_field_already_stop_it_or_stay_as_they_are(products: Shop):
    products.client.hset("p:3", "name", "taken")
    products.client.hset(b"p:\xfe", mapping={"title": "shoe", "name": "taken"})
    before = documents(products)
    products.write(rename("title", "name"), rename("name", "title"))

    result = products.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "2 of 31 documents of products can't be rewritten: " in result.err
    assert "p:3: it has a field name already, beside title" in result.err
    assert documents(products) == before
    assert products.hits("products", "@title:shoe") == COUNT + 1

    counts = applied(products, "--exclusive", "--max-failures", "2")

    assert counts["rewritten"] == COUNT - 1
    failed = {json.dumps(item["key"]): item["reason"] for item in counts["failed"]}
    assert failed == dict.fromkeys(
        ['"p:3"', '{"base64": "cDr+"}'], "it has a field name already, beside title"
    )
    assert {key: fields for key, fields in documents(products).items() if b"title" in fields} == {
        key: before[key] for key in (b"p:3", b"p:\xfe")
    }


def test_a_document_that_has_only_the_new_field_stays_as_it_is(products: Shop):
    products.client.hset("p:new", mapping={"name": "shoe", "brand": "nike"})
    products.write(rename("title", "name"), rename("name", "title"))

    counts = applied(products, "--exclusive")

    assert (counts["read"], counts["rewritten"]) == (COUNT + 1, COUNT)
    assert products.client.hget("p:new", "name") == b"shoe"


@pytest.mark.parametrize("number", [0, MOST_KEPT - 1, MOST_KEPT, MOST_KEPT + 1])
def test_of_many_renames_a_document_with_a_new_name_alone_is_kept_or_named_as_what_it_is(
    shop: Shop, number: int
):
    count = MOST_KEPT + 2
    shop.add_documents(3, **{f"old{at}": "x" for at in range(count)})
    shop.client.hset("p:new", mapping={f"new{number}": "y", "other": "z"})
    shop.write(creation(*({"name": f"old{at}", "type": "tag"} for at in range(count))))
    applied(shop)
    before = documents(shop)
    there, back = (
        CHANGE + "; ".join(f"index.rename_field('{old}{at}', '{new}{at}')" for at in range(count))
        for old, new in (("old", "new"), ("new", "old"))
    )
    shop.write(there, back)

    result = shop.run("upgrade", "--exclusive")

    if number < MOST_KEPT:
        assert result.code == 0, result.err
        assert shop.client.hget("p:1", f"new{number}") == b"x"
        last_run = shop.state("last_run") or {}
        applied(shop, "--run", last_run["run"], verb="rollback")
    else:
        assert result.code == 1
        assert (
            f"p:new: it has a field new{number} already, but no old{number}: only of the first 50 renames "
            "of a revision can that be remembered for the way back"
        ) in result.err
    assert documents(shop) == before


def test_keys_are_shown_so_that_they_can_not_forge_lines_or_colours(products: Shop):
    products.client.hset(b"p:\x1b[2J\r\nError: none", mapping={"title": "shoe", "name": "taken"})
    products.write(rename("title", "name"), rename("name", "title"))

    result = products.run("upgrade", "--exclusive")

    assert result.code == 1
    assert r"p:\x1b[2J\r\nError: none: it has a field name already, beside title" in result.err
    assert "\x1b" not in result.err + result.out
    assert "\r" not in result.err + result.out


def test_times_to_live_of_keys_and_fields_survive_a_rename_and_its_undoing(products: Shop):
    execute = products.client.execute_command
    products.client.pexpireat("p:1", FAR_AWAY)
    execute("HPEXPIREAT", "p:2", FAR_AWAY, "FIELDS", 1, "title")
    execute("HPEXPIREAT", "p:3", FAR_AWAY, "FIELDS", 1, "brand")
    products.write(rename("title", "name"), rename("name", "title"))
    for verb, target, field in (("upgrade", "head", "name"), ("downgrade", "-1", "title")):
        applied(products, target, "--exclusive", verb=verb)
        assert products.client.pexpiretime("p:1") == FAR_AWAY
        assert execute("HPEXPIRETIME", "p:2", "FIELDS", 2, field, "brand") == [FAR_AWAY, -1]
        assert execute("HPEXPIRETIME", "p:3", "FIELDS", 2, field, "brand") == [-1, FAR_AWAY]


@pytest.mark.parametrize(("batch_size", "workers"), [("1", "1"), ("7", "8"), ("500", "1")])
def test_batches_and_workers_change_nothing_but_the_time(products: Shop, batch_size: str, workers: str):
    products.add_documents(450, prefix="p:x", title="boot {n}", brand="puma")
    originals = documents(products)
    products.write(rename("title", "name"), rename("name", "title"))
    options = ("--exclusive", "--batch-size", batch_size, "--workers", workers)

    assert applied(products, *options)["rewritten"] == COUNT + 450
    assert not any(b"title" in fields for fields in documents(products).values())
    applied(products, "-1", *options, verb="downgrade")
    assert documents(products) == originals


def test_a_nested_member_of_json_documents_is_renamed_and_the_texts_come_back(articles: Shop):
    originals = texts(articles)
    articles.client.pexpireat("p:1", FAR_AWAY)
    articles.write(rename("title", "name"), rename("name", "title"))

    counts = applied(articles, "--exclusive")

    assert (counts["read"], counts["rewritten"]) == (COUNT, COUNT)
    assert json.loads(texts(articles)[b"p:7"]) == {
        "z": 1,
        "data": {"n": 7, "name": "shoe 7"},
        "a": [1, {"b": None}],
    }
    assert articles.hits("products", "@name:shoe") == COUNT
    assert articles.client.pexpiretime("p:1") == FAR_AWAY
    applied(articles, "-1", "--exclusive", verb="downgrade")
    now = texts(articles)
    assert {key: json.loads(text) for key, text in now.items()} == {
        key: json.loads(text) for key, text in originals.items()
    }
    assert articles.hits("products", "@title:shoe") == COUNT
    assert articles.client.pexpiretime("p:1") == FAR_AWAY


@pytest.mark.parametrize("name", ["a b", "é", "1", "a.b", "it's", 'q"q', "a]b", "*", "$", "名前", "a:b-c"])
def test_members_may_be_called_anything_that_the_server_reads_and_writes_alike(shop: Shop, name: str):
    for number in range(5):
        shop.client.execute_command(
            "JSON.SET", f"p:{number}", "$", json.dumps({"x": 1, "data": {"title": "shoe"}})
        )
    shop.write(creation({"name": "title", "type": "text", "path": "$.data.title"}, storage_type="json"))
    applied(shop)
    originals = texts(shop)
    shop.write(rename("title", name), rename(name, "title"))

    applied(shop, "--exclusive")

    assert [json.loads(text) for text in texts(shop).values()] == [{"x": 1, "data": {name: "shoe"}}] * 5
    assert shop.hits("products", "shoe") == 5
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert texts(shop) == originals


VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    0.1,
    1e-7,
    -2.5e22,
    3.141592653589793,
    "",
    'quotes " and \\ and \n and \u0000 and é and 名',
    "[]",
    [],
    {},
    [[], [[]], [None, {"a": []}]],
    {"deep": {"er": [{"and": {"deeper": [1, 2.5, "x", None, True]}}]}},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_of_any_json_type_keeps_its_text_on_the_way_there_and_back(shop: Shop, value: Any):
    execute = shop.client.execute_command
    execute("JSON.SET", "p:1", "$", json.dumps({"first": 1, "note": value, "last": {"x": [value]}}))
    # No field is indexed by the value: an index takes only what fits its type.
    shop.write(creation({"name": "note", "type": "tag", "path": "$.note"}, storage_type="json"))
    applied(shop, "--max-failures", "1")
    original, text = texts(shop), execute("JSON.GET", "p:1", "$.note")
    shop.write(
        rename("note", "remark") + "\nop.run(fail)", preamble="def fail(client):\n    raise ValueError"
    )
    script = shop.script("000000000002")

    assert shop.run("upgrade", "--exclusive", "--max-failures", "1").code == 1
    assert texts(shop) == original

    script.write_text(script.read_text().replace("op.run(fail)", "pass"))
    applied(shop, "--exclusive", "--max-failures", "1")
    assert execute("JSON.GET", "p:1", "$.remark") == text
    assert execute("JSON.GET", "p:1", "$.note") == b"[]"


def test_numbers_of_usual_size_keep_every_digit(shop: Shop):
    """The server itself reads some of those beyond 1e22 or so as their neighbours."""
    numbers = np.random.default_rng(1).normal(size=2000)
    numbers *= 10.0 ** np.random.default_rng(2).integers(-3, 6, size=2000)
    text = json.dumps({"first": 1, "numbers": numbers.tolist(), "other": numbers.tolist()})
    shop.client.execute_command("JSON.SET", "p:1", "$", text)
    shop.write(creation({"name": "numbers", "type": "numeric", "path": "$.numbers"}, storage_type="json"))
    applied(shop)
    original = texts(shop)
    shop.write(
        rename("numbers", "values") + "\nop.run(fail)", preamble="def fail(client):\n    raise ValueError"
    )

    assert shop.run("upgrade", "--exclusive").code == 1

    assert texts(shop) == original


def test_json_documents_that_lack_the_member_or_its_object_stay_as_they_are(articles: Shop):
    others = {b"p:no": b'{"x":1}', b"p:flat": b'{"data":3}', b"p:list": b"[1,2]", b"p:null": b"null"}
    for key, text in others.items():
        articles.client.execute_command("JSON.SET", key, "$", text)
    articles.write(rename("title", "name"), rename("name", "title"))

    counts = applied(articles, "--exclusive")

    assert (counts["read"], counts["rewritten"]) == (COUNT + 4, COUNT)
    assert {key: texts(articles)[key] for key in others} == others


def test_a_member_that_exists_under_the_new_name_is_a_failure_even_when_it_is_null(articles: Shop):
    articles.client.execute_command("JSON.SET", "p:3", "$.data.name", "null")
    before = texts(articles)
    articles.write(rename("title", "name"), rename("name", "title"))

    result = articles.run("upgrade", "--exclusive")

    assert result.code == 1
    assert (
        "1 of 30 documents of products can't be rewritten: p:3: it has a field $.data.name already, beside "
        "$.data.title" in result.err
    )
    assert texts(articles) == before


def test_what_a_failed_revision_renamed_in_json_documents_has_its_old_text_again(articles: Shop):
    articles.client.execute_command("JSON.SET", "p:9", "$", '{"b":1.0,"data":{"title":"shoe","n":9},"a":1e3}')
    before = articles.content()["keys"]
    articles.write(
        rename("title", "name") + "\nop.run(fail)",
        preamble="def fail(client):\n    raise ValueError('no ink')",
    )

    result = articles.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "raised ValueError: no ink" in result.err
    after = articles.content()["keys"]
    assert {key: after[key] for key in after if key.startswith(b"p:")} == {
        key: before[key] for key in before if key.startswith(b"p:")
    }
    assert articles.hits("products", "@title:shoe") == COUNT


def test_a_document_that_a_later_step_rewrote_keeps_what_it_wrote(articles: Shop):
    articles.write(
        rename("title", "name") + "\nop.run(spoil)",
        preamble="""
        def spoil(client):
            client.execute_command("JSON.SET", "p:1", "$.z", "true")
            client.execute_command("JSON.SET", "p:2", "$.z", "1.0")
            raise ValueError
        """,
    )

    assert articles.run("upgrade", "--exclusive").code == 1

    now = texts(articles)
    assert json.loads(now[b"p:1"])["z"] is True
    assert b'"z":1.0' in now[b"p:2"]
    assert all(b'"title"' in text for text in now.values())


@pytest.mark.parametrize("storage_type", ["hash", "json"])
def test_a_key_that_became_another_type_does_not_stop_the_undoing(shop: Shop, storage_type: str):
    for number in range(5):
        if storage_type == "hash":
            shop.client.hset(f"p:{number}", "title", "shoe")
        else:
            shop.client.execute_command("JSON.SET", f"p:{number}", "$", '{"title":"shoe"}')
    path = "title" if storage_type == "hash" else "$.title"
    shop.write(creation({"name": "title", "type": "text", "path": path}, storage_type=storage_type))
    applied(shop)
    shop.write(
        rename("title", "name") + "\nop.run(spoil)",
        preamble="def spoil(client):\n    client.set('p:2', 'text')\n    raise ValueError('no ink')",
    )

    result = shop.run("upgrade", "--exclusive")

    assert result.code == 1, result.err
    assert "All that it had changed is undone." in result.err
    assert shop.client.get("p:2") == b"text"
    assert shop.hits("products", "@title:shoe") == 4
