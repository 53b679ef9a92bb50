"""The keys of the application are its own: no migration writes or deletes them unless a script says so."""

from __future__ import annotations

import json

import pytest
from servers import DEBUG_COMMANDS

DOCUMENTS = 200
PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "title", "type": "text"}, {"name": "brand", "type": "tag"}],
})
op.create_alias("shop", "products")
op.set_synonyms("products", "shoes", ["shoe", "sneaker"])
"""
CHANGE = "with op.index({0!r}) as index:\n    "
STATE = ("{redismigrate:shop}:", "{redismigrate}:owners")
READING = {
    "MEMORY",
    "ACL", "CLIENT", "DBSIZE", "ECHO", "EXISTS", "FT._LIST", "FT.CONFIG", *DEBUG_COMMANDS, "FT.INFO",
    "FT.SYNDUMP", "GET", "GETRANGE", "HELLO", "INFO", "MGET", "SCAN", "SEARCH.CLUSTERINFO", "TIME", "TYPE",
    "XREVRANGE", "XLEN",  # whether the journal is a stream
    # What a plan asks of a sample of the documents: how long values are, and how quickly that is told.
    "FT.AGGREGATE", "HSTRLEN", "JSON.DEBUG", "JSON.GET", "PING",
    # What two indexes over the same documents are compared by.
    "FT.SEARCH", "HGET",
}  # fmt: skip
SCRIPTS = {"EVAL", "EVALSHA"}
# What it would do is asked for, and nothing else is called.
ASKS_FOR_RIGHTS = "pcall(redis.acl_check_cmd or error, 'GET', ARGV[1])"
OF_KEYS = {"DEL", "SET", "SETRANGE", "XADD"}
OF_INDEXES = {
    "FT.ALIASDEL", "FT.ALIASUPDATE", "FT.ALTER", "FT.CREATE", "FT.DROPINDEX", "FT.SYNUPDATE", "SCRIPT",
}  # fmt: skip


@pytest.fixture
def filled(shop):
    """The shop with hashes, JSON documents and all kinds of other keys, no revision applied."""
    shop.add_documents(DOCUMENTS, title="a red shoe", brand="nike", price="{n}")
    client = shop.client
    for number in range(50):
        client.execute_command("JSON.SET", f"a:{number}", "$", json.dumps({"title": "news", "year": number}))
    client.set("counter", 5)
    client.set("session", "x", ex=3600)
    client.rpush("queue", "a", "b")
    client.sadd("tags", "a", "b")
    client.zadd("scores", {"a": 1})
    client.xadd("events", {"a": "b"})
    client.hset("settings", mapping={"title": "not a product"})
    client.hset(b"p:\xff", "title", "odd")
    client.pexpire("p:1", 3_600_000)
    return shop


def documents(shop):
    return {
        key: dump
        for key, dump in shop.content()["keys"].items()
        if not key.startswith((b"{redismigrate:shop}:", b"{redismigrate}:"))
    }


def run(shop, *arguments, code=0):
    result = shop.run(*arguments)
    assert result.code == code, result.err
    shop.wait_until_indexed()
    return result


def write_chain(shop):
    shop.write(PRODUCTS, "op.drop_index('products')")
    shop.write(
        """
        op.create_index({
            "index": {"name": "articles", "prefix": "a:", "storage_type": "json"},
            "fields": [{"name": "title", "type": "text"}],
        })
        """,
        "op.drop_index('articles')",
    )
    shop.write(
        CHANGE.format("products") + "index.add_field({'name': 'price', 'type': 'numeric'})",
        CHANGE.format("products") + "index.drop_field('price')",
    )
    shop.write(
        CHANGE.format("articles") + "index.set_options(language='german')",
        CHANGE.format("articles") + "index.set_options(language='english')",
    )
    shop.write(
        CHANGE.format("products") + "index.rename_to('goods'); index.alter_field('brand', separator=';')",
        CHANGE.format("goods") + "index.alter_field('brand', separator=','); index.rename_to('products')",
    )
    shop.write("op.create_alias('shop', 'articles')", "op.create_alias('shop', 'goods')")
    shop.write(
        "op.set_synonyms('goods', 'shoes', ['boot'])",
        "op.set_synonyms('goods', 'shoes', ['shoe', 'sneaker'])",
    )
    shop.write(
        "op.drop_index('articles')",
        """
        op.create_index({
            "index": {"name": "articles", "prefix": "a:", "storage_type": "json", "language": "german"},
            "fields": [{"name": "title", "type": "text"}],
        })
        op.create_alias("shop", "articles")
    """,
    )


def is_probe(words):
    """Whether a command only tries whether there is such a command, or such a right: it can do nothing."""
    is_script = len(words) > 1 and words[0].upper() == "EVAL"
    return len(words) == 1 or (is_script and (words[1] == "return 1" or ASKS_FOR_RIGHTS in words[1]))


def test_up_and_down_a_long_history_no_key_of_the_application_is_written(filled):
    write_chain(filled)
    before = documents(filled)

    with filled.monitored() as commands:
        for _ in range(2):
            run(filled, "upgrade")
            run(filled, "status")
            run(filled, "downgrade", "base")
            run(filled, "stamp", "base")
            run(filled, "repair")

    assert documents(filled) == before
    for words in commands:
        if is_probe(words):
            continue
        name, arguments = words[0].upper(), words[1:]
        if name in SCRIPTS:
            keys = arguments[2 : 2 + int(arguments[1])]
        elif name in OF_KEYS:
            keys = arguments if name == "DEL" else arguments[:1]
        else:
            assert name in READING | OF_INDEXES, words
            keys = []
        assert all(key.startswith(STATE) for key in keys), words
        if name == "FT.DROPINDEX":
            assert len(arguments) == 1, words


def test_what_stays_behind_are_keys_of_ours_alone_and_neither_hashes_nor_json(filled):
    write_chain(filled)
    before = set(filled.client.keys())

    run(filled, "upgrade")
    run(filled, "downgrade", "base")

    ours = set(filled.client.keys()) - before
    assert {key.decode() for key in ours} == {
        "{redismigrate:shop}:fence",
        "{redismigrate:shop}:head",
        "{redismigrate:shop}:indexes",
        "{redismigrate:shop}:journal",
        "{redismigrate:shop}:last_run",
        *(f"{{redismigrate:shop}}:undo:{number:012x}" for number in range(1, 9)),
        "{redismigrate}:owners",
    }
    assert {filled.client.type(key) for key in ours} == {b"string", b"stream"}


def test_reading_commands_write_nothing_at_all(filled):
    write_chain(filled)
    run(filled, "upgrade", "+3")
    before = filled.content()

    with filled.monitored() as commands:
        for command in ("plan", "current", "status", "history", "heads"):
            run(filled, command)
        run(filled, "plan", "--down", "base")
        run(filled, "upgrade", "--dry-run")
        run(filled, "show", "head")

    assert filled.content() == before
    assert {words[0].upper() for words in commands if not is_probe(words)} <= READING


def test_an_upgrade_with_nothing_to_do_writes_nothing_at_all(filled):
    write_chain(filled)
    run(filled, "upgrade")

    with filled.monitored() as commands:
        assert filled.run("upgrade").code == 0

    sent = [words[0] for words in commands if words[0] != "CLIENT"]
    # MGET tells nothing of keys of another type, so that is asked in the same round trip; then whether the
    # indexes are there.
    assert sent.count("MGET") == 1
    assert {name.upper() for name in sent} <= READING


def test_dropping_an_index_keeps_its_documents(filled):
    filled.write(PRODUCTS)
    filled.write("op.drop_index('products')")
    before = documents(filled)

    run(filled, "upgrade")

    assert filled.client.execute_command("FT._LIST") == []
    assert documents(filled) == before


def test_dropping_an_index_with_its_documents_deletes_those_and_no_others(filled):
    filled.write(PRODUCTS)
    filled.write("op.drop_index('products', delete_documents=True)", PRODUCTS)
    run(filled, "upgrade", "+1")
    before = documents(filled)

    plan = run(filled, "plan", "--json").json
    run(filled, "upgrade")

    assert plan["revisions"][0]["warnings"] == [
        "the 201 documents of index products are deleted and can't come back"
    ]
    assert documents(filled) == {key: dump for key, dump in before.items() if not key.startswith(b"p:")}
    run(filled, "downgrade", "-1")
    assert filled.hits("products") == 0


def test_documents_that_a_failed_revision_deleted_are_told_to_be_gone(filled):
    filled.write(PRODUCTS)
    filled.write(
        "op.drop_index('products', delete_documents=True)\nop.run(fail)",
        preamble="def fail(client):\n    raise ValueError('no more paper')",
    )
    run(filled, "upgrade", "+1")

    result = run(filled, "upgrade", code=1)

    assert "Could not apply revision 000000000002: run fail" in result.err
    assert "is undone, but the documents of index products are deleted and can't come back." in result.err
    assert filled.hits("products") == 0
    assert filled.state("head")["heads"] == ["000000000001"]


@pytest.mark.parametrize(
    "origin",
    [
        "made by a revision",
        pytest.param("made by the application", marks=pytest.mark.needs("search debugging")),
    ],
)
def test_a_temporary_index_is_dropped_only_together_with_its_documents(filled, origin):
    if origin == "made by a revision":
        filled.write(
            PRODUCTS.replace('"prefix"', '"temporary_seconds": 3600, "prefix"'), "op.drop_index('products')"
        )
        run(filled, "upgrade")
        filled.refuses(
            "downgrade",
            "base",
            code=6,
            says=("", "index products is TEMPORARY: dropping it would delete its documents"),
        )
    else:
        create = "FT.CREATE", "products", "PREFIX", 1, "p:", "TEMPORARY", 3600, "SCHEMA", "title", "TEXT"
        filled.client.execute_command(*create)
    before = documents(filled)
    revision = filled.write("op.drop_index('products')")

    filled.refuses(
        "upgrade",
        code=6,
        says=(
            "The plan is blocked: ",
            "index products is TEMPORARY: dropping it would delete its documents",
            "say drop_index(..., delete_documents=True) if that is meant",
        ),
    )

    assert documents(filled) == before
    script = filled.script(revision)
    script.write_text(script.read_text().replace("'products'", "'products', delete_documents=True"))
    run(filled, "upgrade")
    assert filled.client.execute_command("FT._LIST") == []
    assert documents(filled) == {key: dump for key, dump in before.items() if not key.startswith(b"p:")}


def test_a_temporary_index_of_a_failed_revision_stays_so_that_its_documents_do(filled):
    filled.write(
        PRODUCTS.replace('"prefix"', '"temporary_seconds": 3600, "prefix"') + "op.run(fail)",
        preamble="def fail(client):\n    raise ValueError('no more paper')",
    )
    before = documents(filled)

    run(filled, "upgrade", code=7)
    result = run(filled, "rollback")

    assert "TEMPORARY index products stays as it is now: dropping it would delete its documents" in result.out
    assert documents(filled) == before
    assert filled.client.execute_command("FT._LIST") == [b"products"]


@pytest.mark.parametrize("command", ["rollback", "upgrade"])
def test_undoing_or_resuming_an_interrupted_run_deletes_no_document(filled, command):
    write_chain(filled)
    filled.write(
        "op.drop_index('goods')\nop.run(stop)",
        preamble="def stop(client):\n    if client.incr('tries') == 1:\n        raise KeyboardInterrupt",
    )
    before = documents(filled)
    run(filled, "upgrade", code=7)

    with filled.monitored() as commands:
        run(filled, command)

    filled.client.delete("tries")
    assert documents(filled) == before
    assert not [words for words in commands if words[0] == "FT.DROPINDEX" and len(words) > 2]
