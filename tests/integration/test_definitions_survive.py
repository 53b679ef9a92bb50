"""Where other tools that migrate Redis Search indexes lose documents or definitions, ours does not.

Each test is named after the behaviour that was wrong elsewhere.
"""

from __future__ import annotations

import json
import struct

import pytest
import redis

from redismigrate.schema.strict import encode

DOCUMENTS = 1000
EMBEDDING = struct.pack("4f", 1, 2, 3, 4)
PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "embedding", "type": "vector", "attrs": {
            "algorithm": "flat", "dims": 4, "datatype": "float32", "distance_metric": "l2",
        }},
    ],
})
"""
CHANGE = "with op.index('products') as index:\n    "
GERMAN = CHANGE + "index.set_options(language='german')"
ADD_PRICE = CHANGE + "index.add_field({'name': 'price', 'type': 'numeric'})"


def upgraded(shop, *arguments):
    result = shop.run("upgrade", *arguments)
    assert result.code == 0, result.err
    shop.wait_until_indexed()
    return result


@pytest.fixture
def products(shop):
    """The shop with 1,000 products in an index that the first revision made."""
    shop.add_documents(DOCUMENTS, title="a red shoe", brand="nike", embedding=EMBEDDING)
    shop.write(PRODUCTS, "op.drop_index('products')")
    upgraded(shop)
    return shop


# --- a TEMPORARY index takes its documents along when it is dropped -----------------------------------------

SESSIONS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:", "temporary_seconds": 3600},
    "fields": [{"name": "title", "type": "text"}, {"name": "brand", "type": "tag"}],
})
op.create_alias("sessions", "products")
op.set_synonyms("products", "shoes", ["shoe", "sneaker"])
"""


@pytest.fixture(params=["made by a revision", "made by the application"])
def sessions(shop, request):
    """The shop with 1,000 documents in a TEMPORARY index."""
    shop.add_documents(DOCUMENTS, title="a red shoe", brand="nike", color="red")
    if request.param == "made by a revision":
        shop.write(SESSIONS)
    else:
        create = ("FT.CREATE", "products", "PREFIX", 1, "p:", "TEMPORARY", 3600, "SCHEMA", "title", "TEXT")
        shop.client.execute_command(*create, "brand", "TAG")
        shop.client.execute_command("FT.SYNUPDATE", "products", "shoes", "shoe", "sneaker")
        shop.write()
    upgraded(shop)
    return shop


def test_a_field_added_to_a_temporary_index_keeps_all_its_documents(sessions):
    sessions.write(CHANGE + "index.add_field({'name': 'color', 'type': 'tag'})")

    upgraded(sessions)

    assert sessions.client.dbsize() >= DOCUMENTS
    assert sessions.hits("products", "@color:{red}") == DOCUMENTS
    assert int(sessions.client.execute_command("FT.DEBUG", "TTL", "products")) > 3500


@pytest.mark.parametrize(
    "change",
    [
        CHANGE + "index.drop_field('brand')",
        CHANGE + "index.alter_field('brand', separator=';')",
        CHANGE + "index.set_options(language='german')",
        CHANGE + "index.set_options(temporary_seconds=7200)",
        CHANGE + "index.set_options(temporary_seconds=None)",
        CHANGE + "index.rename_to('visits')",
        CHANGE + "index.add_field({'name': 'color', 'type': 'tag'}); index.drop_field('brand')",
        "op.set_synonyms('products', 'shoes', ['shoe'])",
        "op.set_synonyms('products', 'shoes', [])",
        "op.drop_index('products')",
    ],
)
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_every_other_change_of_a_temporary_index_is_refused(sessions, change, strategy):
    sessions.write(change)

    sessions.refuses(
        "upgrade",
        "--strategy",
        strategy,
        code=6,
        says=("The plan is blocked: ", "index products is TEMPORARY: ", "its documents"),
        aliases=("sessions",),
    )


def test_a_field_is_not_taken_out_of_a_temporary_index_by_a_downgrade(sessions):
    sessions.write(
        CHANGE + "index.add_field({'name': 'color', 'type': 'tag'})", CHANGE + "index.drop_field('color')"
    )
    upgraded(sessions)

    sessions.refuses(
        "downgrade", "-1", code=6, says=("The plan is blocked: ", "index products is TEMPORARY: ")
    )


def test_a_temporary_index_keeps_its_documents_when_the_revision_that_changed_it_fails(sessions):
    sessions.write(
        CHANGE + "index.add_field({'name': 'color', 'type': 'tag'})\n" + "op.run(fail)",
        preamble="def fail(client):\n    raise ValueError('no more paper')",
    )

    stopped = sessions.run("upgrade")
    result = sessions.run("rollback")

    assert stopped.code == 7
    assert "TEMPORARY index products can't be changed back: remove the cause" in stopped.err
    assert result.code == 0
    assert "TEMPORARY index products stays as it is now" in result.out
    sessions.wait_until_indexed()
    assert sessions.hits("products", "@color:{red}") == DOCUMENTS


def test_a_revision_that_stopped_after_it_changed_a_temporary_index_goes_on_once_the_cause_is_gone(sessions):
    sessions.write(
        CHANGE + "index.add_field({'name': 'color', 'type': 'tag'})\n" + "op.run(fail)",
        preamble="def fail(client):\n    if not client.exists('paper'):\n        raise ValueError('none')",
    )
    assert sessions.run("upgrade").code == 7

    sessions.client.set("paper", "white")
    upgraded(sessions)

    sessions.wait_until_indexed()
    assert sessions.hits("products", "@color:{red}") == DOCUMENTS
    assert sessions.state("run") is None


def test_what_a_failed_revision_added_to_a_temporary_index_is_recorded_and_no_more(shop):
    shop.add_documents(DOCUMENTS, title="a red shoe", color="red", hue="red")
    shop.write(SESSIONS)
    upgraded(shop)
    fail = "def fail(client):\n    raise ValueError('no more paper')"
    add = CHANGE + "index.add_field({{'name': {0!r}, 'type': 'tag'}})\n"
    script = shop.script(
        shop.write(
            "op.create_alias('a', 'products')\n" + add.format("color") + "op.run(fail)\n" + add.format("hue"),
            preamble=fail,
        )
    )

    assert shop.run("upgrade").code == 7
    assert shop.run("rollback").code == 0

    script.write_text(
        script.read_text().replace("op.run(fail)", "pass").replace(add.format("color").strip(), "pass")
    )
    recorded = shop.state("indexes")["indexes"]["products"]
    assert [field["name"] for field in recorded["schema"]["fields"]] == ["title", "brand", "color"]
    assert recorded["aliases"] == ["sessions"]
    shop.write("pass", down_revision="000000000001")
    assert shop.run("status", "--json").json["problems"] == []


def test_an_index_cannot_be_made_temporary(products):
    products.write(CHANGE + "index.set_options(temporary_seconds=60)")

    products.refuses(
        "upgrade", code=6, says=("", "index products can't be made TEMPORARY", "create a new index instead")
    )


# --- a JSON tag without separator ---------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["made by a revision", "made by the application"])
def test_a_json_tag_without_separator_survives_a_rebuild(shop, origin):
    shop.client.execute_command("JSON.SET", "p:1", "$", json.dumps({"tags": ["a,b", "c"], "title": "x"}))
    if origin == "made by a revision":
        shop.write(
            """
            op.create_index({
                "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
                "fields": [{"name": "tags", "type": "tag", "path": "$.tags[*]", "attrs": {"separator": ""}}],
            })
            """
        )
    else:
        create = (
            "FT.CREATE",
            "products",
            "ON",
            "JSON",
            "PREFIX",
            1,
            "p:",
            "SCHEMA",
            "$.tags[*]",
            "AS",
            "tags",
            "TAG",
        )
        shop.client.execute_command(*create)
        shop.write()
    upgraded(shop)
    shop.write(GERMAN)

    upgraded(shop)

    assert shop.hits("products", "@tags:{a\\,b}") == 1
    assert shop.hits("products", "@tags:{a}") == 0


# --- what the server can't do is known before anything is dropped -------------------------------------------


def test_options_with_which_this_server_crashes_are_refused(shop):
    shop.write(PRODUCTS.replace('"prefix"', '"max_text_fields": True, "no_fields": True, "prefix"'))

    shop.refuses(
        "upgrade",
        code=6,
        says=("", "index products has max_text_fields and no_fields", "this server crashes"),
    )


@pytest.mark.parametrize("storage_type", ["hash", "json"])
@pytest.mark.parametrize(
    ("attributes", "lacking"),
    [
        ("datatype='int8'", "INT8 needs Redis Search 8.0 or newer, this server has 2.10.5"),
        ("datatype='uint8'", "UINT8 needs Redis Search 8.0 or newer, this server has 2.10.5"),
        ("algorithm='svs-vamana'", "SVS-VAMANA needs Redis Search 8.2 or newer, this server has 2.10.5"),
    ],
)
def test_what_this_server_is_too_old_for_is_refused_before_anything_is_dropped(
    shop, storage_type, attributes, lacking
):
    shop.write(PRODUCTS.replace('"prefix"', f'"storage_type": "{storage_type}", "prefix"'))
    upgraded(shop)
    shop.write(CHANGE + f"index.alter_field('embedding', {attributes})")

    shop.refuses("upgrade", code=6, says=("The plan is blocked: ", lacking, "Nothing was changed."))


@pytest.mark.parametrize(
    "field",
    [
        "{'name': 'v', 'type': 'vector', 'attrs': {'algorithm': 'flat', 'dims': 2, 'datatype': 'int8'}}",
        "{'name': 'v', 'type': 'vector', 'attrs': {'algorithm': 'svs-vamana', 'dims': 2}}",
    ],
)
def test_a_field_that_this_server_is_too_old_for_is_neither_added_nor_created(products, field):
    revision = products.write(CHANGE + f"index.add_field({field})")
    products.refuses("upgrade", code=6, says=("", "needs Redis Search 8.", "this server has 2.10.5"))
    script = products.script(revision)
    new = f"op.create_index({{'index': {{'name': 'new'}}, 'fields': [{field}]}})"
    script.write_text(
        script.read_text().partition("def upgrade")[0]
        + f"def upgrade(op):\n    {new}\n\ndef downgrade(op): ..."
    )
    products.refuses("upgrade", code=6, says=("", "needs Redis Search 8.", "this server has 2.10.5"))


def test_a_definition_that_only_the_server_finds_wrong_leaves_the_old_index_alone(products):
    products.write(CHANGE + "index.set_options(filter='no @such(')")
    before = products.content()["indexes"]

    result = products.run("upgrade")

    assert result.code == 1
    assert result.err.startswith("Error: Could not apply revision 000000000002: Redis refused FT.CREATE ")
    assert "All that it had changed is undone." in result.err
    assert products.content()["indexes"] == before
    assert products.state("run") is None


@pytest.mark.parametrize(
    ("strategy", "code", "says"),
    [
        ("rebuild", 1, "Redis refused FT.CREATE goods: Index already exists"),
        ("shadow", 3, "Index goods was made by another client meanwhile"),
    ],
)
def test_a_change_that_fails_after_the_proof_puts_the_old_index_back(products, strategy, code, says):
    products.write(
        "op.create_alias('shop', 'products')\n"
        "op.set_synonyms('products', 'shoes', ['shoe', 'sneaker'])\n"
        "op.run(take_the_name)\n" + CHANGE + "index.rename_to('goods')",
        preamble="""
        def take_the_name(client):
            client.execute_command("FT.CREATE", "goods", "PREFIX", 1, "g:", "SCHEMA", "title", "TEXT")
        """,
    )
    before = products.content("shop")

    result = products.run("upgrade", "--strategy", strategy)

    assert result.code == code
    assert says in result.err
    after = products.content("shop")
    assert sorted(after["indexes"]) == ["goods", "products"]
    assert after["indexes"]["products"][:3] == before["indexes"]["products"][:3]
    assert after["aliases"] == before["aliases"]
    assert products.state("run") is None


def test_an_index_without_any_field_is_refused_before_anything_is_dropped(products):
    products.write(CHANGE + "index.drop_field('title'); index.drop_field('embedding')")

    products.refuses("upgrade", code=8, says=("", "Index products has no fields", "000000000002.py"))


def test_a_new_index_without_fields_is_refused(shop):
    shop.write("op.create_index({'index': {'name': 'products'}, 'fields': []})")

    shop.refuses("upgrade", code=8, says=("", "Index products has no fields", "000000000001.py"))


def test_an_index_is_not_renamed_onto_another(products):
    products.client.execute_command("FT.CREATE", "goods", "PREFIX", 1, "g:", "SCHEMA", "title", "TEXT")
    products.write(CHANGE + "index.rename_to('goods')")

    products.refuses("upgrade", code=6, says=("", "index goods exists already on the server"))


# --- the definition is stored before the index is dropped ---------------------------------------------------


def test_the_definitions_before_and_after_are_stored_before_the_old_index_is_dropped(products):
    products.write(GERMAN)

    with products.monitored() as commands:
        upgraded(products, "--strategy", "rebuild")

    dropped = next(at for at, words in enumerate(commands) if words == ["FT.DROPINDEX", "products"])
    assert commands[dropped + 1][:2] == ["FT.CREATE", "products"]
    stored = next(words[2] for words in commands[:dropped] if words[:2] == ["SET", "{redismigrate:shop}:run"])
    step = next(step for step in json.loads(stored)["plan"]["steps"] if step["kind"] == "replace_index")
    assert step["before"]["schema"]["language"] == "english"
    assert step["after"]["schema"]["language"] == "german"


STOP = """
def stop(client):
    if client.incr("tries") == 1:
        raise KeyboardInterrupt
"""


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("then", [("upgrade",), ("rollback",)])
@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_a_run_that_was_left_behind_is_resumed_or_undone_from_what_is_stored(
    products, strategy, position, then
):
    products.write(
        "op.create_alias('shop', 'products')\nop.set_synonyms('products', 'shoes', ['shoe', 'sneaker'])"
    )
    upgraded(products)
    run = "op.run(stop)\n"
    products.write(run + GERMAN if position == "before" else f"{GERMAN}\n{run}", preamble=STOP)
    assert products.content("shop")["aliases"] == {"shop": "products"}
    interrupted = products.run("upgrade", "--strategy", strategy)
    assert interrupted.code == 7
    assert "redismigrate rollback" in interrupted.err

    result = products.run(*then)

    assert result.code == 0, result.err
    assert products.state("run") is None
    products.client.delete("tries")
    after = products.content("shop")
    ((physical, (schema, synonyms, documents, _)),) = after["indexes"].items()
    assert (products.served_names(), after["aliases"]) == ({physical: "products"}, {"shop": physical})
    assert (schema.language, documents) == ("german" if then == ("upgrade",) else "english", DOCUMENTS)
    assert synonyms == {"shoes": ("shoe", "sneaker")}


# --- nothing is lost in the recreation ----------------------------------------------------------------------

HASH_INDEX = """
op.create_index({
    "index": {
        "name": "products", "prefix": ["p:", "q:"], "filter": "@price>=0", "language": "french",
        "language_field": "lang", "score": 0.5, "score_field": "rank", "payload_field": "load",
        "max_text_fields": True, "no_offsets": True, "no_highlight": True, "no_freqs": True,
        "stopwords": ["le", "la"],
    },
    "fields": [
        {"name": "title", "type": "text", "path": "t", "attrs": {
            "weight": 2.5, "no_stem": True, "phonetic_matcher": "dm:fr", "withsuffixtrie": True,
            "index_empty": True, "index_missing": True, "sortable": True, "unf": True,
        }},
        {"name": "brand", "type": "tag", "attrs": {
            "separator": "|", "case_sensitive": True, "withsuffixtrie": True, "index_empty": True,
            "sortable": True, "unf": True,
        }},
        {"name": "price", "type": "numeric", "attrs": {"sortable": True, "no_index": True}},
        {"name": "place", "type": "geo", "attrs": {"index_missing": True}},
        {"name": "area", "type": "geoshape", "attrs": {"coord_system": "FLAT"}},
        {"name": "flat", "type": "vector", "attrs": {
            "algorithm": "flat", "dims": 4, "datatype": "float32", "distance_metric": "l2",
            "initial_cap": 77, "block_size": 128,
        }},
        {"name": "graph", "type": "vector", "path": "flat", "attrs": {
            "algorithm": "hnsw", "dims": 4, "datatype": "float32", "distance_metric": "ip", "initial_cap": 99,
            "m": 24, "ef_construction": 111, "ef_runtime": 22, "epsilon": 0.25, "index_missing": True,
        }},
        {"name": "color", "type": "tag"},
    ],
})
op.create_alias("shop", "products")
op.create_alias("sale", "products")
op.set_synonyms("products", "shoes", ["chaussure", "soulier"])
op.set_synonyms("products", "hats", ["chapeau"])
"""


@pytest.mark.parametrize("strategy", ["shadow", "rebuild"])
def test_all_options_attributes_synonyms_and_aliases_survive_a_recreation(shop, strategy):
    shop.add_documents(
        20, t="Jean la chaussure", brand="A|B", price="{n}", flat=EMBEDDING, lang="french", color="x"
    )
    shop.write(HASH_INDEX, "op.drop_index('products')")
    shop.write(
        CHANGE + "index.drop_field('color')", CHANGE + "index.add_field({'name': 'color', 'type': 'tag'})"
    )
    with shop.monitored() as first:
        upgraded(shop, "+1")
    before = shop.content("shop", "sale")

    with shop.monitored() as second:
        upgraded(shop, "+1", "--strategy", strategy)
    with shop.monitored() as third:
        assert shop.run("downgrade", "-1", "--strategy", strategy).code == 0

    created, recreated, back = (
        next(words[2:] for words in commands if words[0] == "FT.CREATE" and words[1].startswith("products"))
        for commands in (first, second, third)
    )
    assert created == back == [*recreated, "color", "TAG", "SEPARATOR", ","]
    shop.wait_until_indexed()
    after = shop.content("shop", "sale")
    ((physical, (schema, *rest, _)),) = after["indexes"].items()
    assert (shop.served_names(), after["aliases"]) == (
        {physical: "products"},
        {"shop": physical, "sale": physical},
    )
    assert (schema.model_copy(update={"name": "products"}), *rest) == before["indexes"]["products"][:3]
    assert shop.hits("sale", "soulier") == 20
    assert shop.hits("products", "@brand:{B}") == 20


def test_a_word_that_sounds_alike_is_still_found_after_a_rebuild(shop):
    shop.add_documents(1, title="Catherine")
    shop.write(
        """
        op.create_index({"index": {"name": "products", "prefix": "p:"}, "fields": [
            {"name": "title", "type": "text", "attrs": {"phonetic_matcher": "dm:en"}},
        ]})
        """
    )
    upgraded(shop)
    assert shop.hits("products", "Kathryn") == 1
    shop.write(GERMAN)

    upgraded(shop)

    assert shop.hits("products", "Kathryn") == 1


def test_what_an_index_of_the_application_can_lose_is_told_before(shop):
    create = "FT.CREATE", "products", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT", "PHONETIC", "dm:en"
    shop.client.execute_command(*create)
    shop.write(GERMAN)

    plan = shop.run("plan", "--json").json

    assert any("PHONETIC can't be read from the server" in text for text in plan["revisions"][0]["warnings"])


# --- failures are told, and success is true -----------------------------------------------------------------


def test_a_document_added_between_plan_and_upgrade_does_not_fail_it(products):
    products.write(GERMAN)
    assert products.run("plan", "-o", "plan.yaml").code == 0
    products.client.hset("p:new", mapping={"title": "a red shoe"})
    products.client.delete("p:0")

    upgraded(products, "--plan", "plan.yaml")

    assert products.hits("products") == DOCUMENTS


@pytest.mark.parametrize("strategy", ["alter", "rebuild"])
def test_documents_that_cannot_be_indexed_undo_the_revision(products, strategy):
    for number in range(500):
        products.client.hset(f"p:{number}", "price", "cheap")
    products.write(ADD_PRICE)
    before = products.content()["indexes"]["products"][:3]

    for failures in ("0", "499"):
        result = products.run("upgrade", "--strategy", strategy, "--max-failures", failures)

        assert result.code == 1
        assert "500 documents can't be indexed in products; the last one is key p:" in result.err
        assert "--max-failures 500" in result.err
        assert "All that it had changed is undone." in result.err
        assert products.content()["indexes"]["products"][:3] == before
        assert products.hits("products", "shoe") == DOCUMENTS
        assert products.state("head")["heads"] == ["000000000001"]


@pytest.mark.parametrize("strategy", ["alter", "rebuild"])
def test_documents_that_cannot_be_indexed_are_accepted_when_told_so(products, strategy):
    for number in range(500):
        products.client.hset(f"p:{number}", "price", "cheap")
    products.write(ADD_PRICE)

    upgraded(products, "--strategy", strategy, "--max-failures", "500")

    assert products.hits("products") == 500


@pytest.mark.parametrize("change", [GERMAN, ADD_PRICE], ids=["rebuild", "alter"])
def test_documents_that_could_not_be_indexed_before_do_not_fail_a_change(products, change):
    for number in range(30):
        products.client.hset(f"p:{number}", "embedding", b"short")
    products.wait_until_indexed()
    assert products.hits("products") == DOCUMENTS - 30
    products.write(change)

    upgraded(products)

    assert products.hits("products") == DOCUMENTS - 30


def test_a_new_index_whose_documents_cannot_be_indexed_is_not_kept(shop):
    shop.add_documents(10, title="x", embedding=b"short")
    shop.write(PRODUCTS)

    result = shop.run("upgrade", "--json")

    assert result.code == 1
    assert "10 documents can't be indexed in products" in result.json["error"]["message"]
    assert shop.content()["indexes"] == {}
    assert json.loads(shop.client.get("{redismigrate}:owners")) == {}


# --- small things -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        CHANGE + "index.set_options(language='English')",
        CHANGE + "index.alter_field('embedding', algorithm='FLAT', distance_metric='L2', datatype='float32')",
        CHANGE + "index.drop_field('title'); index.add_field({'name': 'title', 'type': 'text'})",
        CHANGE + "index.set_options(prefixes=['p:', 'p:'])",
        CHANGE + "index.rename_to('goods'); index.rename_to('products')",
        CHANGE + "pass",
        "pass",
        "op.set_synonyms('products', 'none', [])",
    ],
)
def test_a_change_that_changes_nothing_does_not_rebuild_the_index(products, change):
    products.write(change)
    before = products.content()["indexes"]

    with products.monitored() as commands:
        upgraded(products)

    assert products.content()["indexes"] == before
    assert not [
        words for words in commands if words[0] in {"FT.CREATE", "FT.DROPINDEX", "FT.ALTER", "FT.SYNUPDATE"}
    ]


@pytest.mark.parametrize(
    "change",
    [
        "index.add_field({'name': 'brand', 'type': 'tag', 'atrs': {}})",
        "index.add_field({'name': 'brand', 'typ': 'tag'})",
        "index.alter_field('embeding', m=4)",
        "index.alter_field('embedding', algoritm='hnsw')",
        "index.alter_field('embedding', algorithm='hsnw')",
        "index.alter_field('embedding', distance_metric='cosin')",
        "index.alter_field('embedding', algorithm='hnsw', m='many')",
        "index.alter_field('embedding', m=16)",
        "index.set_options(stop_words=[])",
        "index.remove_field('title')",
    ],
)
def test_typos_are_refused(products, change):
    products.write(CHANGE + change)

    products.refuses("upgrade", code=8, says=("", "000000000002.py:"))


def test_keys_that_are_not_utf8_are_indexed_counted_and_named(products):
    for number in range(10):
        products.client.hset(b"p:\xff\xfe%d" % number, mapping={"title": "hat", "price": "1"})
    products.write(GERMAN)
    upgraded(products)
    assert products.hits("products", "hat") == 10
    products.client.hset(b"p:\xff\xfe1", "price", "cheap")
    products.write(ADD_PRICE)

    result = products.run_process("upgrade", "--json")

    assert result.code == 1
    assert "1 documents can't be indexed" in result.json["error"]["message"]
    assert r"key p:\xff\xfe1: " in result.json["error"]["message"]
    in_words = products.run_process("upgrade")
    assert in_words.code == 1
    assert r"key p:\xff\xfe1: " in in_words.err
    assert products.hits("products", "hat") == 10


@pytest.mark.parametrize(
    "query", ["protocol=3", "protocol=2", "decode_responses=True", "protocol=3&decode_responses=1"]
)
def test_options_of_the_url_do_not_change_how_replies_are_understood(shop, query):
    shop.add_documents(10, title="shoe", embedding=EMBEDDING, price="1")
    shop.write(PRODUCTS, "op.drop_index('products')")
    shop.write(
        f"{ADD_PRICE}\nop.run(look)",
        CHANGE + "index.drop_field('price')",
        preamble="""
        def look(client):
            assert client.get("nothing") is None
            assert client.type("p:1") == b"hash"
            assert isinstance(client.execute_command("FT.INFO", "products"), list)
    """,
    )
    url = f"{shop.url}?{query}"

    for command in (
        ("plan",),
        ("upgrade",),
        ("current",),
        ("status",),
        ("downgrade", "base", "--allow-lossy"),
    ):
        result = shop.run(*command, "--url", url)
        assert result.code == 0, result.err


def test_a_client_of_resp3_finds_what_a_migration_made(products):
    products.write(ADD_PRICE)
    upgraded(products)

    with redis.Redis.from_url(products.url, protocol=3) as client:
        assert (
            client.execute_command("FT.SEARCH", "products", "shoe", "LIMIT", 0, 0)[b"total_results"]
            == DOCUMENTS
        )


def test_an_index_of_a_name_with_bytes_that_are_not_utf8_is_resumed(shop):
    name = "sh\udcffp"
    shop.write(
        f"op.create_index({{'index': {{'name': {name!a}, 'prefix': {name!a}}}, "
        f"'fields': [{{'name': 'title', 'type': 'text'}}]}})\n"
        f"op.set_synonyms({name!a}, {name!a}, ['a', {name!a}])\nop.run(stop)\n"
        f"with op.index({name!a}) as index:\n    index.set_options(language='german')",
        preamble=STOP,
    )
    assert shop.run("upgrade").code == 7

    upgraded(shop)

    assert shop.hits(encode(name)) == 0
    assert list(shop.state("indexes")["indexes"]) == [name]
