"""What the server refuses to read or write is named; the others go on, and nothing is half done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from conftest import Result, Shop
from vector_documents import (
    CHANGE,
    DIMS,
    TO_FLOAT16,
    TO_NEW_PREFIX,
    applied,
    documents,
    migrate,
    stock,
    vector,
)

from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import RunFailed, RunInterrupted
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.execution.documents.traffic.exchange import Exchange, ExchangeOutcome, Mode
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.redis_server.connection import connect
from redismigrate.redis_server.wire import Wire
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.state.fence import Fence

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 20
# Where the state is, and what indexes are called, which is a key to Redis.
OWN_KEYS = ("~{redismigrate*", "~products*", "~redismigrate*")
# Redis 8 lets nobody use an index who may not read the keys of all its prefixes.
READABLE = ("%R~p:*", "%R~q:*")
RENAME = CHANGE + "index.rename_field('title', 'name')"
RENAME_BACK = CHANGE + "index.rename_field('name', 'title')"
FENCE = Fence(b"fence", b"7")
FAR_AWAY = 4_102_444_800_000


def deepen(client: redis.Redis, key: str, path: str, levels: int) -> None:
    """Nest a member of a document more deeply than the server takes a text, piece by piece."""
    execute: Any = client.execute_command
    while levels > 0:
        piece = min(levels, 100)
        execute("JSON.SET", key, path, '{"d":' * piece + "1" + "}" * piece)
        path += ".d" * piece
        levels -= piece


def texts(shop: Shop) -> dict[bytes, bytes]:
    keys = sorted(shop.client.scan_iter(count=10_000, _type="ReJSON-RL"))
    return {key: shop.client.execute_command("JSON.GET", key) for key in keys}


@pytest.fixture
def articles(shop: Shop) -> Shop:
    """Twenty JSON documents, each with a title before another member."""
    execute: Any = shop.client.execute_command
    for number in range(PRODUCTS):
        execute("JSON.SET", f"p:{number}", "$", json.dumps({"title": f"shoe {number}", "n": number}))
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text"}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    return shop


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Twenty hashes in an index of vectors."""
    stock(shop, PRODUCTS)
    return shop


@pytest.fixture
def limited(shop: Shop) -> Iterator[str]:
    """The URL of a user who gets rights by `allow`."""
    yield shop.url.replace("unix://", "unix://limited:pw@")
    shop.client.execute_command("ACL", "DELUSER", "limited")


def allow(shop: Shop, *rights: str) -> None:
    """Let the user do this, and nothing else."""
    shop.client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "&*", *rights)


def failed_keys(result: Result) -> list[str]:
    found = result.json
    counts = found.get("documents") or found["error"]["documents"]
    return [document["key"] for document in counts["failed"]]


@pytest.mark.parametrize("member", ["title", "other"])
@pytest.mark.parametrize("levels", [128, 1500])
def test_a_document_nested_too_deeply_is_found_with_search_up_and_left_whole(
    articles: Shop, member: str, levels: int
):
    deepen(articles.client, "p:3", f"$.{member}", levels)
    originals = texts(articles)
    articles.write(RENAME, RENAME_BACK)

    refused = articles.run("upgrade", "--exclusive")

    assert refused.code == 1
    assert "p:3: it is nested" in refused.err
    assert "--max-failures 1" in refused.err
    assert articles.state("run") is None
    assert texts(articles) == originals
    done = articles.run("upgrade", "--exclusive", "--max-failures", "1", "--json")
    assert done.code == 0, done.err
    assert failed_keys(done) == ["p:3"]
    now = texts(articles)
    assert now.pop(b"p:3") == originals[b"p:3"]
    assert all(b'"name"' in text for text in now.values())
    assert articles.run("rollback", "--run", done.json["run"]).code == 0
    assert texts(articles) == originals


def test_a_document_that_becomes_too_deep_after_the_backup_stays_whole_and_the_others_go_on(articles: Shop):
    originals = texts(articles)
    articles.write(RENAME, RENAME_BACK)

    def nest() -> None:
        deepen(articles.client, "p:3", "$.title", 200)

    result = migrate(articles, {"rewrite_documents": nest}, exclusive=True)

    now = texts(articles)
    assert [key for key, _ in result.documents.failed] == ["p:3"]
    assert "recursion limit" in result.documents.failed[0][1]
    assert list(json.loads(now.pop(b"p:3"))) == ["title", "n"]
    assert [list(json.loads(text)) for text in now.values()] == [["name", "n"]] * (PRODUCTS - 1)
    assert articles.run("rollback", "--run", result.run).code == 0
    now = texts(articles)
    del now[b"p:3"], originals[b"p:3"]
    assert now == originals


def test_a_document_that_becomes_too_deep_elsewhere_is_renamed_and_comes_back_but_for_its_order(
    articles: Shop,
):
    articles.write(RENAME, RENAME_BACK)
    run = migrate(articles, {}, exclusive=True).run
    # More than Python's own parser bears.
    deepen(articles.client, "p:3", "$.n", 1500)

    result = articles.run("rollback", "--run", str(run), "--json")

    assert result.code == 0, result.err
    assert articles.client.execute_command("JSON.GET", "p:3", "$.title") == b'["shoe 3"]'
    assert b'"name"' not in texts(articles)[b"p:3"]
    assert texts(articles)[b"p:4"] == b'{"title":"shoe 4","n":4}'


@pytest.mark.parametrize("writers", [(), ("--exclusive",)], ids=["compared", "exclusive"])
def test_a_document_whose_key_is_the_empty_string_is_rewritten_and_comes_back(
    shop: Shop, writers: tuple[str, ...]
):
    for key in ("", "a", "b" * 100_000):
        shop.client.hset(key, mapping={"title": "shoe", "embedding": vector(1), "": "of no name"})
    field = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    schema = {
        "index": {"name": "products", "prefix": ""},
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "embedding", "type": "vector", "attrs": field},
        ],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    originals = documents(shop)
    shop.write(TO_FLOAT16)

    done = shop.run("upgrade", *writers, "--json")

    assert done.code == 0, done.err
    counts = done.json["documents"]
    assert (counts["rewritten"], counts["failed"]) == (3, [])
    assert shop.client.hget("", "embedding") == vector(1, "float16")
    assert shop.run("rollback", "--run", done.json["run"]).code == 0
    assert documents(shop) == originals


@pytest.mark.parametrize("change", [TO_FLOAT16, RENAME, TO_NEW_PREFIX], ids=["float16", "rename", "prefix"])
def test_keys_that_the_user_may_not_write_are_found_with_search_up_named_and_left(
    products: Shop, limited: str, change: str
):
    originals = documents(products)
    allow(products, *OWN_KEYS, *READABLE, "~p:[0-8]*", "~q:*", "+@all")
    products.write(change)

    refused = products.run("upgrade", "--exclusive", "--url", limited)

    assert refused.code == 1, refused.out + refused.err
    assert "p:9: the Redis user lacks" in refused.err
    assert products.state("run") is None
    assert (documents(products), products.hits("products")) == (originals, PRODUCTS)
    done = products.run("upgrade", "--exclusive", "--url", limited, "--max-failures", "1", "--json")
    assert done.code == 0, done.err
    assert failed_keys(done) == ["p:9"]
    now = documents(products)
    assert now[b"p:9"] == originals[b"p:9"]
    assert len([key for key in now if now[key] != originals.get(key)]) == PRODUCTS - 1
    assert products.run("rollback", "--run", done.json["run"], "--url", limited).code == 0
    assert documents(products) == originals


def test_targets_that_the_user_may_not_write_are_found_with_search_up_named_and_left(
    products: Shop, limited: str
):
    originals = documents(products)
    allow(products, *OWN_KEYS, *READABLE, "~p:*", "~q:[0-8]*", "+@all")
    products.write(TO_NEW_PREFIX)

    refused = products.run("upgrade", "--exclusive", "--url", limited)

    assert refused.code == 1
    assert "p:9: the Redis user lacks a right on this key, or on q:9" in refused.err
    done = products.run("upgrade", "--exclusive", "--url", limited, "--max-failures", "1", "--json")
    assert failed_keys(done) == ["p:9"]
    assert documents(products)[b"p:9"] == originals[b"p:9"]
    assert products.hits("products") == PRODUCTS - 1


def test_rights_that_go_after_the_backup_leave_those_documents_whole_and_name_them(
    products: Shop, limited: str
):
    """The vector was written already when the server refuses to rename the key."""
    originals = documents(products)
    allow(products, *OWN_KEYS, "~p:*", "~q:*", "+@all")
    products.write(
        CHANGE + "index.alter_field('embedding', datatype='float16')\n    index.change_prefix('p:', 'q:')"
    )

    def take_away() -> None:
        allow(products, *OWN_KEYS, *READABLE, "~p:*", "~q:[0-8]*", "+@all")

    products.client.hpexpireat("p:9", FAR_AWAY, "embedding")
    (products.folder / "redismigrate.toml").write_text(
        (products.folder / "redismigrate.toml").read_text().replace(products.url, limited)
    )

    result = migrate(products, {"rewrite_documents": take_away}, exclusive=True)

    assert [key for key, _ in result.documents.failed] == ["p:9"]
    now = documents(products)
    assert now[b"p:9"] == originals[b"p:9"]
    assert products.client.hpexpiretime("p:9", "embedding") == [FAR_AWAY]
    assert now[b"q:8"][b"embedding"] == vector(8, "float16")
    assert products.run("rollback", "--run", result.run).code == 0
    assert documents(products) == originals
    assert products.client.hpexpiretime("p:9", "embedding") == [FAR_AWAY]


def test_a_key_of_another_type_ends_no_batch_that_is_written_without_a_look(products: Shop):
    originals = documents(products)
    products.write(TO_FLOAT16)

    def replace() -> None:
        products.client.set("p:7", "a string")

    result = migrate(products, {"rewrite_documents": replace}, exclusive=True)

    assert (result.documents.rewritten, products.client.get("p:7")) == (PRODUCTS - 1, b"a string")
    assert products.run("rollback", "--run", result.run).code == 0
    del originals[b"p:7"]
    assert documents(products) == originals


def test_a_right_to_a_command_that_goes_stops_the_run_and_the_same_command_ends_it(
    products: Shop, limited: str
):
    originals = documents(products)
    allow(products, "~*", "+@all")
    products.write(RENAME, RENAME_BACK)
    (products.folder / "redismigrate.toml").write_text(
        (products.folder / "redismigrate.toml").read_text().replace(products.url, limited)
    )

    with pytest.raises((RunInterrupted, RunFailed)) as stopped:
        migrate(
            products,
            {"rewrite_documents": lambda: allow(products, "~*", "+@all", "-hdel")},
            exclusive=True,
        )

    assert stopped.value.exit_code == 7
    assert documents(products) == originals
    allow(products, "~*", "+@all")
    applied(products, "--exclusive")
    assert {b"name", b"embedding"} == set(documents(products)[b"p:9"])
    assert products.hits("products", "@name:shoe") == PRODUCTS


class Between:
    """Does something between the last command that is queued and EXEC."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, action: Any, times: int = 1) -> None:
        send, left = Wire.send, [times]

        def split(wire: Wire, *commands: Any) -> None:
            whole = b"".join(bytes(command) for command in commands)
            end = b"*1\r\n$4\r\nEXEC\r\n"
            if not whole.endswith(end) or not left[0]:
                send(wire, whole)
                return
            left[0] -= 1
            send(wire, whole[: -len(end)])
            # Once the server has queued all of it.
            wire._socket.settimeout(60)
            time.sleep(0.3)
            action()
            send(wire, end)

        monkeypatch.setattr(Wire, "send", split)


def exchanged(url: str, exchange: Exchange, mode: Mode) -> Any:
    with connect(url) as server, Exchanger(Node(server, FENCE), 1) as exchanger:
        (outcome,) = exchanger.run((exchange,), mode)
        return outcome


@pytest.mark.parametrize("compares", [True, False], ids=["compared", "not compared"])
def test_rights_to_some_keys_that_go_between_queueing_and_exec_are_told_key_by_key(
    shop: Shop, limited: str, compares: bool, monkeypatch: pytest.MonkeyPatch
):
    keys = [b"k:%d" % number for number in range(10)]
    shop.client.set(FENCE.key, FENCE.token)
    for key in keys:
        shop.client.hset(key, mapping={"v": "old"})
    allow(shop, "~*", "+@all")
    Between(monkeypatch, lambda: allow(shop, "~fence", "~k:[0-8]", "+@all"))

    outcome = exchanged(
        limited, Exchange(keys, {b"v": [b"old"] * 10}, {b"v": [b"new"] * 10}), Mode(compares=compares)
    )

    assert sorted(outcome.done_keys) == keys[:9]
    assert outcome.refused == {b"k:9": "the Redis user lacks a right on this key"}
    assert [shop.client.hget(key, "v") for key in keys] == [b"new"] * 9 + [b"old"]


def test_a_command_that_is_not_queued_leaves_one_document_out_and_the_others_are_done(
    shop: Shop, limited: str
):
    keys = [b"k:%d" % number for number in range(10)]
    shop.client.set(FENCE.key, FENCE.token)
    for key in keys:
        shop.client.hset(key, mapping={"v": "old"})
    allow(shop, "~fence", "~k:[0-8]", "+@all")
    whole = Exchange(keys, {b"v": [b"old"] * 10}, {b"v": [b"new"] * 10})

    for mode in (Mode(), Mode(compares=False)):
        outcome = exchanged(limited, whole, mode)

        assert sorted(outcome.done_keys) == keys[:9]
        assert list(outcome.refused) == [b"k:9"]
        assert [shop.client.hget(key, "v") for key in keys] == [b"new"] * 9 + [b"old"]


def test_a_time_to_live_that_could_not_be_set_again_is_not_taken_away(
    shop: Shop, limited: str, monkeypatch: pytest.MonkeyPatch
):
    shop.client.set(FENCE.key, FENCE.token)
    shop.client.hset("k:1", mapping={"v": "old", "w": "old"})
    shop.client.hpexpireat("k:1", FAR_AWAY, "v")
    allow(shop, "~*", "+@all")
    Between(monkeypatch, lambda: allow(shop, "~*", "+@all", "-hpexpireat"))
    whole = Exchange([b"k:1"], {b"v": [b"old"]}, {b"v": [b"new"]})

    with pytest.raises(Exception, match="hpexpireat"):
        exchanged(limited, whole, Mode())

    assert (shop.client.hget("k:1", "v"), shop.client.hpexpiretime("k:1", "v")) == (b"old", [FAR_AWAY])
    allow(shop, "~*", "+@all")
    assert exchanged(limited, whole, Mode()).done == 1
    assert (shop.client.hget("k:1", "v"), shop.client.hpexpiretime("k:1", "v")) == (b"new", [FAR_AWAY])


def moved(client: redis.Redis, url: str, mover: Mover, keys: Sequence[bytes]) -> ExchangeOutcome:
    client.set(FENCE.key, FENCE.token)
    outcome: ExchangeOutcome = exchanged(url, Exchange(list(keys), {}, {}), Mode(after=mover.move))
    return outcome


def test_a_document_of_which_a_second_rename_is_refused_keeps_all_of_its_members(shop: Shop):
    execute: Any = shop.client.execute_command
    for key in ("p:1", "p:2", "p:3"):
        execute("JSON.SET", key, "$", '{"a":"1","b":{"c":2},"z":3}')
    deepen(shop.client, "p:2", "$.b", 150)
    before = execute("JSON.GET", "p:2")
    mover = Mover(Rewrite("json", renames=(PathRename("$.a", "$.x"), PathRename("$.b", "$.y"))))

    answers = moved(shop.client, shop.url, mover, [b"p:1", b"p:2", b"p:3"]).after

    assert (answers[b"p:1"], answers[b"p:3"]) == (1, 1)
    assert "recursion limit" in str(mover.problem(b"p:2", answers[b"p:2"]))
    assert execute("JSON.GET", "p:2") == before
    assert json.loads(execute("JSON.GET", "p:3")) == {"x": "1", "y": {"c": 2}, "z": 3}


@pytest.mark.parametrize("copies", [False, True], ids=["rename", "copy"])
def test_a_hash_that_may_not_have_its_new_key_keeps_its_fields_as_they_are(
    shop: Shop, limited: str, copies: bool
):
    for key in ("p:1", "p:9"):
        shop.client.hset(key, mapping={"a": "1", "b": "2", "c": "3"})
        shop.client.hpexpireat(key, FAR_AWAY, "b")
    before = shop.client.hgetall("p:9")
    allow(shop, "~fence", "~p:*", "~q:[0-8]", "+@all")
    mover = Mover(
        Rewrite(
            "hash",
            renames=(PathRename("a", "x"), PathRename("b", "y")),
            prefixes=(PrefixChange("p:", "q:"),),
        ),
        copies=copies,
        pins=True,
    )

    outcome = moved(shop.client, limited, mover, [b"p:9", b"p:1"])

    assert outcome.after == {b"p:1": 1}
    reason = mover.refused(b"p:9", outcome.refused[b"p:9"])
    assert reason == "the Redis user lacks a right on this key, or on q:9"
    assert shop.client.hgetall("p:9") == before
    assert shop.client.hpexpiretime("p:9", "a", "b", "c") == [-1, FAR_AWAY, -1]
    assert shop.client.hgetall("q:1") == {b"x": b"1", b"y": b"2", b"c": b"3"}
    assert shop.client.hpexpiretime("q:1", "y") == [FAR_AWAY]


def test_documents_that_may_not_be_shown_to_their_index_are_named_and_the_others_are_found(
    products: Shop, limited: str
):
    products.client.mset({f"session:{number}": number for number in range(20_000)})
    allow(products, *OWN_KEYS, *READABLE, "~p:[0-8]*", "+@all")
    products.write(TO_FLOAT16)

    refused = products.run("upgrade", "--url", limited)

    assert refused.code == 1
    assert "p:9: the Redis user lacks" in refused.err
    done = products.run("upgrade", "--url", limited, "--max-failures", "1", "--json")
    assert done.code == 0, done.err
    assert failed_keys(done) == ["p:9"]
    assert products.hits("products") == PRODUCTS - 1


def test_vectors_that_are_no_numbers_trouble_no_plan(products: Shop):
    signalling = b"\x00\x00\xa0\x7f" * DIMS
    products.client.hset("p:1", "embedding", signalling)
    originals = documents(products)
    products.write(TO_FLOAT16)

    done = products.run("upgrade", "--exclusive", "--json")

    assert done.code == 0, done.out + done.err
    assert products.run("rollback", "--run", done.json["run"]).code == 0
    assert documents(products) == originals


def test_backup_restore_names_what_it_may_not_write_and_restores_the_others(products: Shop, limited: str):
    originals = documents(products)
    products.write(TO_FLOAT16)
    run = products.run("upgrade", "--exclusive", "--json").json["run"]
    allow(products, *OWN_KEYS, "~p:[0-8]*", "+@all")

    restored = products.run("backup", "restore", "--run", run, "--force", "--url", limited, "--json")

    assert restored.code == 0, restored.out + restored.err
    (backup,) = restored.json["backups"]
    assert (backup["restored"], backup["left_count"]) == (PRODUCTS - 1, 1)
    assert "lacks a right" in backup["left"][0]["reason"]
    now = documents(products)
    assert now.pop(b"p:9")[b"embedding"] == vector(9, "float16")
    del originals[b"p:9"]
    assert now == originals
    again = products.run("backup", "restore", "--run", run, "--force", "--json")
    assert again.json["backups"][0]["left_count"] == 0
    assert documents(products)[b"p:9"][b"embedding"] == vector(9)
