"""Every operation on the real server, up and down: what is found after it, and that all comes back."""

from __future__ import annotations

import json
import struct
import textwrap

import pytest
from long_chain import recorded_indexes
from servers import server_has

from redismigrate.schema.compare import observable
from redismigrate.schema.strict import encode
from redismigrate.schema.words import not_utf8

PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "brand", "type": "tag"},
        {"name": "price", "type": "numeric"},
        {"name": "embedding", "type": "vector", "attrs": {
            "algorithm": "flat", "dims": 4, "datatype": "float32", "distance_metric": "l2",
        }},
    ],
})
op.create_alias("shop", "products")
op.set_synonyms("products", "shoes", ["shoe", "sneaker"])
"""
ARTICLES = """
op.create_index({
    "index": {"name": "articles", "prefix": "a:", "storage_type": "json"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "tags", "type": "tag", "path": "$.tags[*]", "attrs": {"separator": ""}},
        {"name": "embedding", "type": "vector", "attrs": {
            "algorithm": "flat", "dims": 4, "datatype": "float32", "distance_metric": "cosine",
        }},
    ],
})
"""
DOCUMENTS = 60
EMBEDDING = struct.pack("4f", 1, 2, 3, 4)
CHANGE = "with op.index({0!r}) as index:\n    "
ALIASES = ("shop", "sale", "goods", "products")


@pytest.fixture
def filled(shop):
    """The shop with 60 products and 60 articles, and the first revision, which indexes them, applied."""
    shop.add_documents(
        DOCUMENTS,
        title="the red shoe",
        brand="nike;puma,reebok",
        price="{n}",
        color="red",
        embedding=EMBEDDING,
        thumbnail=EMBEDDING[:8],
    )
    shop.add_documents(10, "q:", title="hat")
    pipeline = shop.client.pipeline(transaction=False)
    for number in range(DOCUMENTS):
        article = {"title": "the news", "tags": ["a,b", "c"], "year": number, "embedding": [1, 2, 3, 4]}
        pipeline.execute_command("JSON.SET", f"a:{number}", "$", json.dumps(article))
    pipeline.execute()
    shop.write(PRODUCTS + ARTICLES, "op.drop_index('products')\nop.drop_index('articles')")
    result = shop.run("upgrade")
    assert result.code == 0, result.err
    return shop


def things(shop, *aliases):
    """What a migration is about: indexes, aliases, owners and the record; and all documents.

    An index that its served name leads to goes by that name, whatever its physical name is.
    """
    content = shop.content(*ALIASES, *aliases)
    served = shop.served_names()
    indexes = {
        served.get(name, name): (index[0].model_copy(update={"name": served.get(name, name)}), *index[1:3])
        for name, index in content["indexes"].items()
    }
    assert len(indexes) == len(content["indexes"]), content["indexes"]
    return {
        "indexes": indexes,
        "aliases": {
            alias: None if served.get(target) == alias else served.get(target, target)
            for alias, target in content["aliases"].items()
        },
        "record": recorded_indexes(shop),
        "heads": shop.state("head")["heads"],
        "owners": json.loads(shop.client.get("{redismigrate}:owners")),
        "documents": {key: dump for key, dump in content["keys"].items() if b"redismigrate" not in key},
        "run": shop.state("run"),
    }


def go_up(shop, *arguments):
    result = shop.run("upgrade", *arguments)
    assert result.code == 0, result.err
    shop.wait_until_indexed()


def go_down(shop, *arguments):
    result = shop.run("downgrade", "-1", *arguments)
    assert result.code == 0, result.err
    shop.wait_until_indexed()


def knn(field, size_bytes):
    return f"*=>[KNN 1000 @{field} $v]", struct.pack("f", 1) * (size_bytes // 4)


CASES = {
    "add a tag": ("products", "index.add_field({'name': 'color', 'type': 'tag'})", "@color:{red}", 60),
    "add a tag to JSON": (
        "articles",
        "index.add_field({'name': 'year', 'type': 'numeric'})",
        "@year:[30 99]",
        30,
    ),
    "add two fields": (
        "products",
        """index.add_field({"name": "color", "type": "tag", "attrs": {"sortable": True}})
    index.add_field({"name": "hue", "type": "text", "path": "color"})""",
        "@color:{red} @hue:red",
        60,
    ),
    "drop a field": ("products", "index.drop_field('brand')", "shoe", 60),
    "drop and add a field of that name": (
        "products",
        "index.drop_field('brand'); index.add_field({'name': 'brand', 'type': 'text'})",
        "@brand:puma",
        60,
    ),
    "another separator": ("products", "index.alter_field('brand', separator=';')", "@brand:{nike}", 60),
    "sortable": ("products", "index.alter_field('price', sortable=True)", "@price:[10 19]", 10),
    "weight": ("products", "index.alter_field('title', weight=5.0)", "shoe", 60),
    "no stemming": ("products", "index.alter_field('title', no_stem=True)", "shoe", 60),
    "prefixes": ("products", "index.set_options(prefixes=['p:', 'q:'])", "*", 70),
    "no stop words": ("products", "index.set_options(stopwords=[])", "@title:the", 60),
    "language": ("products", "index.set_options(language='german')", "shoe", 60),
    "filter": ("products", "index.set_options(filter='@price>=40')", "*", 20),
    "no filter, no prefix": ("products", "index.set_options(prefixes=[], filter='exists(@title)')", "*", 70),
    "several changes": (
        "products",
        """index.add_field({"name": "color", "type": "tag"})
    index.drop_field("price")
    index.alter_field("title", sortable=True)
    index.set_options(no_offsets=True)""",
        "@color:{red} shoe",
        60,
    ),
    "change and take back": (
        "products",
        "index.set_options(language='german'); index.set_options(language='english')",
        "shoe",
        60,
    ),
}
# How each of them is undone.
UNDO = {
    "add a tag": "index.drop_field('color')",
    "add a tag to JSON": "index.drop_field('year')",
    "add two fields": "index.drop_field('hue'); index.drop_field('color')",
    "drop a field": "index.add_field({'name': 'brand', 'type': 'tag'})",
    "drop and add a field of that name": (
        "index.drop_field('brand'); index.add_field({'name': 'brand', 'type': 'tag'})"
    ),
    "another separator": "index.alter_field('brand', separator=',')",
    "sortable": "index.alter_field('price', sortable=False)",
    "weight": "index.alter_field('title', weight=1)",
    "no stemming": "index.alter_field('title', no_stem=False)",
    "prefixes": "index.set_options(prefixes=['p:'])",
    "no stop words": "index.set_options(stopwords=None)",
    "language": "index.set_options(language='english')",
    "filter": "index.set_options(filter=None)",
    "no filter, no prefix": "index.set_options(prefixes=['p:'], filter=None)",
    "several changes": (
        "index.set_options(no_offsets=False); index.alter_field('title', sortable=False); "
        "index.add_field({'name': 'price', 'type': 'numeric'}); index.drop_field('color')"
    ),
    "change and take back": "pass",
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_of_an_index_goes_up_and_down_and_up_again(filled, case):
    index, change, query, hits = CASES[case]
    filled.write(CHANGE.format(index) + change, CHANGE.format(index) + UNDO[case])
    before = things(filled)

    go_up(filled)

    after = things(filled)
    assert filled.hits(index, query) == hits
    assert after["documents"] == before["documents"]
    assert after["aliases"] == before["aliases"]
    assert after["indexes"][index][1] == before["indexes"][index][1]
    go_down(filled)
    back = things(filled)
    assert same_but_for_order_and_spelling(back) == same_but_for_order_and_spelling(before)
    go_up(filled)
    assert filled.hits(index, query) == hits
    assert same_but_for_order_and_spelling(things(filled)) == same_but_for_order_and_spelling(after)


def same_but_for_order_and_spelling(found):
    """Fields that were dropped and added again stand last, and defaults may be said or not."""
    indexes = {name: (observable(schema), *rest) for name, (schema, *rest) in found["indexes"].items()}
    record = {
        name: {**definition, "schema": sorted(field["name"] for field in definition["schema"]["fields"])}
        for name, definition in found["record"].items()
    }
    return {**found, "indexes": indexes, "record": record}


@pytest.mark.parametrize(
    ("index", "change", "undo", "size_bytes"),
    [
        ("products", "index.alter_field('embedding', algorithm='hnsw', m=8)", "algorithm='flat'", 16),
        ("products", "index.alter_field('embedding', distance_metric='cosine')", "distance_metric='l2'", 16),
        ("articles", "index.alter_field('embedding', datatype='float16')", "datatype='float32'", 8),
        ("articles", "index.alter_field('embedding', datatype='float64')", "datatype='float32'", 32),
        (
            "articles",
            "index.alter_field('embedding', algorithm='hnsw', ef_runtime=50, datatype='bfloat16')",
            "algorithm='flat', datatype='float32'",
            8,
        ),
    ],
)
def test_a_vector_field_changes_and_changes_back(filled, index, change, undo, size_bytes):
    filled.write(
        CHANGE.format(index) + change, CHANGE.format(index) + f"index.alter_field('embedding', {undo})"
    )
    before = things(filled)

    go_up(filled)

    assert neighbours(filled, index, "embedding", size_bytes) == DOCUMENTS
    assert things(filled)["documents"] == before["documents"]
    go_down(filled)
    assert neighbours(filled, index, "embedding", 16) == DOCUMENTS
    assert same_but_for_order_and_spelling(things(filled)) == same_but_for_order_and_spelling(before)


@pytest.mark.parametrize("algorithm", ["flat", "hnsw"])
def test_a_vector_field_is_added_and_dropped(filled, algorithm):
    filled.write(
        CHANGE.format("products")
        + f"""index.add_field({{"name": "thumbnail", "type": "vector", "attrs": {{
            "algorithm": "{algorithm}", "dims": 2, "datatype": "float32", "distance_metric": "ip",
        }}}})""",
        CHANGE.format("products") + "index.drop_field('thumbnail')",
    )
    before = things(filled)

    go_up(filled)

    assert neighbours(filled, "products", "thumbnail", 8) == DOCUMENTS
    go_down(filled)
    assert same_but_for_order_and_spelling(things(filled)) == same_but_for_order_and_spelling(before)


def neighbours(shop, index, field, size_bytes):
    query, blob = f"*=>[KNN 1000 @{field} $v]", bytes(size_bytes)
    reply = shop.client.execute_command(
        "FT.SEARCH", index, query, "PARAMS", 2, "v", blob, "DIALECT", 2, "LIMIT", 0, 0
    )
    return reply[0]


@pytest.mark.parametrize(
    ("index", "change", "why"),
    [
        ("products", "index.alter_field('embedding', dims=8)", "which this version can't do"),
        ("products", "index.set_options(storage_type='json')", "nothing says what becomes of its documents"),
        ("articles", "index.alter_field('embedding', dims=8)", "which this version can't do"),
    ],
)
def test_a_change_for_which_documents_had_to_be_made_anew_is_refused(filled, index, change, why):
    filled.write(CHANGE.format(index) + change)

    filled.refuses(
        "upgrade",
        code=6,
        says=("The plan is blocked: 000000000002: ", why, "Nothing was changed."),
        aliases=ALIASES,
    )


# --- indexes ------------------------------------------------------------------------------------------------


def test_an_index_is_created_and_dropped_and_keeps_its_documents(filled):
    before = things(filled)

    go_down(filled)

    after = things(filled)
    assert after["indexes"] == {}
    assert after["owners"] == {}
    assert after["record"] == {}
    assert after["heads"] == []
    assert after["aliases"] == dict.fromkeys(ALIASES)
    assert after["documents"] == before["documents"]
    go_up(filled)
    assert things(filled) == before


def test_a_dropped_index_comes_back_with_aliases_and_synonyms(filled):
    filled.write("op.drop_index('products')", PRODUCTS)
    before = things(filled)

    go_up(filled)

    assert filled.hits("articles") == DOCUMENTS
    assert things(filled)["aliases"]["shop"] is None
    go_down(filled)
    assert things(filled) == before


def test_an_index_is_created_dropped_and_created_in_one_chain(filled):
    before = things(filled)
    filled.write("op.drop_index('products')", PRODUCTS)
    filled.write(PRODUCTS, "op.drop_index('products')")

    go_up(filled)

    after = things(filled)
    assert after | {"heads": None} == before | {"heads": None}
    assert filled.run("downgrade", "000000000001").code == 0
    assert things(filled) == before


def test_an_index_is_dropped_and_created_in_one_revision(filled):
    before = things(filled)
    again = f"op.drop_index('products')\n{PRODUCTS}"
    filled.write(again, again)

    go_up(filled)

    assert things(filled) | {"heads": None} == before | {"heads": None}
    go_down(filled)
    assert things(filled) == before


def test_an_index_is_renamed_with_its_aliases_and_back(filled):
    filled.write(
        CHANGE.format("products") + "index.rename_to('goods')",
        CHANGE.format("goods") + "index.rename_to('products')",
    )
    before = things(filled)

    go_up(filled)

    after = things(filled)
    assert (
        sorted(after["indexes"])
        == sorted(after["owners"])
        == sorted(after["record"])
        == ["articles", "goods"]
    )
    assert after["aliases"]["shop"] == "goods"
    assert filled.hits("shop", "sneaker") == filled.hits("goods", "sneaker") == DOCUMENTS
    go_down(filled)
    assert things(filled) == before


def test_an_index_takes_the_name_that_a_rename_left_in_the_same_revision(filled):
    filled.write(
        CHANGE.format("products") + "index.rename_to('goods')\n" + PRODUCTS.replace("shop", "sale"),
        "op.drop_index('products')\n" + CHANGE.format("goods") + "index.rename_to('products')",
    )
    before = things(filled)

    go_up(filled)

    after = things(filled)
    assert sorted(after["owners"]) == sorted(after["indexes"]) == ["articles", "goods", "products"]
    assert (after["aliases"]["shop"], after["aliases"]["sale"]) == ("goods", "products")
    go_down(filled)
    assert things(filled) == before


def test_an_index_is_renamed_and_changed_in_one_block(filled):
    filled.write(
        CHANGE.format("products") + "index.rename_to('goods'); index.drop_field('price')",
        CHANGE.format("goods")
        + "index.add_field({'name': 'price', 'type': 'numeric'}); index.rename_to('products')",
    )
    before = things(filled)

    go_up(filled)

    assert filled.hits("goods", "@brand:{reebok}") == DOCUMENTS
    go_down(filled)
    assert same_but_for_order_and_spelling(things(filled)) == same_but_for_order_and_spelling(before)


def test_the_indexes_of_a_pattern_are_changed_one_by_one(filled):
    filled.write(
        """
        for name in op.indexes("*s"):
            with op.index(name) as index:
                index.set_options(language="german")
        """,
        """
        for name in op.indexes():
            with op.index(name) as index:
                index.set_options(language="english")
        """,
    )
    before = things(filled)

    go_up(filled)

    assert {schema.language for schema, _, _ in things(filled)["indexes"].values()} == {"german"}
    go_down(filled)
    assert things(filled) == before


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "größe 鞋",
        'it\'s "quoted"',
        "{braces}",
        "-1",
        "--json",
        "\\back*slash?[x]",
        "[red]bold[/]",
        "héllo\udcff",
        "p:",
        "%s {0}",
    ],
)
def test_odd_names_of_indexes_aliases_groups_and_prefixes_work(shop, name):
    alias, prefix = f"alias {name}", f"prefix {name}:"
    term = "boot" + (name.casefold() if server_has("words of any bytes") or not not_utf8([name]) else "")
    shop.client.hset(encode(f"{prefix}1"), "title", "a shoe")
    schema = {
        "index": {"name": name, "prefix": prefix},
        "fields": [{"name": f"f{name}", "type": "text", "path": "title"}],
    }
    shop.write(
        f"op.create_index({schema!a})\nop.create_alias({alias!a}, {name!a})\n"
        f"op.set_synonyms({name!a}, {name!a}, ['shoe', {term!a}])",
        f"op.drop_index({name!a})",
    )
    shop.write(
        CHANGE.format("x").replace("'x'", ascii(name)) + "index.set_options(language='german')",
        CHANGE.format("x").replace("'x'", ascii(name)) + "index.set_options(language='english')",
    )

    for mode in ((), ("--json",)):
        assert shop.run("plan", "-o", "plan.yaml", *mode).code == 0
        go_up(shop, "--plan", "plan.yaml", *mode)
        assert (shop.hits(encode(name)), shop.hits(encode(alias))) == (1, 1)
        assert shop.run("current", *mode).code == 0
        assert shop.run("status", *mode).code == 0
        assert shop.run("show", "head", *mode).code == 0
        go_down(shop, *mode)
        go_down(shop, *mode)
        assert shop.client.execute_command("FT._LIST") == []


# --- aliases and synonyms -----------------------------------------------------------------------------------


def test_an_alias_is_created_moved_and_dropped_and_each_comes_back(filled):
    filled.write("op.create_alias('sale', 'products')", "op.drop_alias('sale')")
    filled.write("op.create_alias('sale', 'articles')", "op.create_alias('sale', 'products')")
    filled.write("op.drop_alias('sale')", "op.create_alias('sale', 'articles')")
    before = things(filled)

    for target in ("products", "articles", None):
        go_up(filled, "+1")
        assert things(filled)["aliases"]["sale"] == target
    for target in ("articles", "products", None):
        go_down(filled)
        assert things(filled)["aliases"]["sale"] == target

    assert things(filled) == before


def test_an_alias_of_a_dropped_index_goes_to_another_in_the_same_revision(filled):
    filled.write(
        "op.drop_index('products')\nop.create_alias('shop', 'articles')", "op.drop_alias('shop')\n" + PRODUCTS
    )
    before = things(filled)

    go_up(filled)

    assert things(filled)["aliases"]["shop"] == "articles"
    go_down(filled)
    assert things(filled) == before


@pytest.mark.parametrize(
    ("up", "down", "found"),
    [
        ("'hats', ['cap', 'red']", "'hats', []", {"cap": 60, "sneaker": 60}),
        ("'shoes', ['shoe', 'sneaker', 'boot']", "'shoes', ['sneaker', 'shoe']", {"boot": 60, "sneaker": 60}),
        ("'shoes', ['shoe', 'boot']", "'shoes', ['shoe', 'sneaker']", {"boot": 60, "sneaker": 0}),
        ("'shoes', []", "'shoes', ['shoe', 'sneaker']", {"sneaker": 0, "shoe": 60}),
        ("'shoes', ['SHOE', 'Boot', 'sneaker']", "'shoes', ['Shoe', 'Sneaker']", {"boot": 60, "sneaker": 60}),
    ],
    ids=["new group", "more terms", "other terms", "no group", "upper case"],
)
def test_synonyms_go_up_and_down(filled, up, down, found):
    filled.write(f"op.set_synonyms('products', {up})", f"op.set_synonyms('products', {down})")
    before = things(filled)

    go_up(filled)

    assert {term: filled.hits("shop", term) for term in found} == found
    assert things(filled)["aliases"] == before["aliases"]
    go_down(filled)
    assert things(filled) == before
    assert filled.hits("shop", "sneaker") == DOCUMENTS


def test_synonyms_that_are_set_already_are_no_work(filled):
    filled.write("op.set_synonyms('products', 'shoes', ['sneaker', 'shoe'])")
    before = filled.content()["indexes"]

    go_up(filled)

    assert filled.content()["indexes"] == before


# --- data migrations ----------------------------------------------------------------------------------------

RUN = """
def up(client):
    client.set("level", int(client.get("level") or 0) + 1)

def down(client):
    client.set("level", int(client.get("level") or 0) - 1)

def fail(client):
    client.set("level", 1)
    raise ValueError("no more paper")

def leave(client):
    raise SystemExit(0)
"""


def test_a_function_runs_on_the_way_up_and_what_undoes_it_on_the_way_down(shop):
    shop.write("op.run(up, down)", preamble=RUN)

    go_up(shop)
    assert shop.client.get("level") == b"1"
    go_down(shop)
    assert shop.client.get("level") == b"0"


def test_a_function_runs_once_for_each_index_of_a_pattern(filled):
    filled.write(
        """
        for name in op.indexes():
            op.run(partial(count, name), partial(count_back, name))
        """,
        preamble="""
        from functools import partial

        def count(name, client):
            client.incr("level-" + name)

        def count_back(name, client):
            client.decr("level-" + name)
        """,
    )

    go_up(filled)
    assert filled.client.mget("level-products", "level-articles") == [b"1", b"1"]
    go_down(filled)
    assert filled.client.mget("level-products", "level-articles") == [b"0", b"0"]


def test_a_function_that_the_script_of_an_interrupted_run_has_lost_is_not_skipped(filled):
    stop = """
    def stop(client):
        if client.incr("tries") == 1:
            raise KeyboardInterrupt
    """
    script = filled.script(
        filled.write("op.run(stop)\nop.run(up)", preamble=stop + textwrap.indent(RUN, "    "))
    )
    text = script.read_text()
    assert filled.run("upgrade").code == 7
    script.write_text(text.replace("    op.run(up)\n", ""))

    lost = filled.run("upgrade")

    assert lost.code == 7
    assert "no longer gives op.run the function of the step “run up (opaque" in lost.err
    assert "restore the script as it was when the run began." in lost.err
    script.write_text(text)
    go_up(filled)
    assert filled.client.get("level") == b"1"


def test_a_function_of_a_downgrade_runs_on_the_way_down(shop):
    shop.write("op.run(up)", "op.run(down)", preamble=RUN)

    go_up(shop)
    go_down(shop)

    assert shop.client.get("level") == b"0"


@pytest.mark.parametrize(
    ("function", "reason"), [("fail", "ValueError: no more paper"), ("leave", "SystemExit: 0")]
)
def test_a_function_that_raises_undoes_its_revision(filled, function, reason):
    filled.write(
        CHANGE.format("products") + f"index.drop_field('price')\nop.run({function}, down)", preamble=RUN
    )
    before = things(filled)

    result = filled.run("upgrade", "--json")

    assert result.code == 1
    message = result.json["error"]["message"]
    assert message.startswith(f"Could not apply revision 000000000002: run {function} (opaque")
    assert f"raised {reason}" in message
    assert result.json["error"]["hint"] == "All that it had changed is undone."
    after = things(filled)
    assert int(
        after["documents"].pop(b"level", filled.client.get("level")) and filled.client.get("level")
    ) in {0, -1}
    assert after == before


def test_a_function_without_a_way_back_blocks_the_downgrade_unless_loss_is_allowed(filled):
    filled.write("op.run(up)", preamble=RUN)
    go_up(filled)

    filled.refuses(
        "downgrade",
        "-1",
        code=6,
        says=("The plan is blocked: 000000000002: op.run(up) has no function that undoes it; --allow-lossy",),
    )
    go_down(filled, "--allow-lossy")
    assert filled.client.get("level") == b"1"
    assert filled.state("head")["heads"] == ["000000000001"]


def test_an_irreversible_revision_is_not_undone(filled):
    filled.write("pass", "op.irreversible('the old embeddings are gone')")
    go_up(filled)

    filled.refuses(
        "downgrade",
        "-1",
        code=6,
        says=(
            "The plan is blocked: 000000000002: this revision is irreversible: the old embeddings are gone.",
        ),
    )


def test_a_downgrade_whose_body_is_pass_takes_back_the_record_only(filled):
    filled.write("pass", "pass")
    before = things(filled)
    go_up(filled)

    go_down(filled)

    assert things(filled) == before


# --- chains -------------------------------------------------------------------------------------------------


def test_of_two_revisions_the_first_stays_when_the_second_fails(filled):
    filled.write(CHANGE.format("products") + "index.drop_field('price')")
    filled.write(CHANGE.format("products") + "index.drop_field('brand')\nop.run(fail, down)", preamble=RUN)

    result = filled.run("upgrade")

    assert result.code == 1
    assert "Could not apply revision 000000000003: run fail" in result.err
    assert "All that it had changed is undone. Kept from before it: 000000000002." in result.err
    found = things(filled)
    assert found["heads"] == ["000000000002"]
    assert found["run"] is None
    assert [field.name for field in found["indexes"]["products"][0].fields] == ["title", "brand", "embedding"]
    assert filled.hits("shop", "@brand:{reebok}") == DOCUMENTS


def test_a_revision_that_fails_on_the_way_down_is_as_it_was_applied(filled):
    filled.write(
        "pass", CHANGE.format("products") + "index.drop_field('price')\nop.run(fail, down)", preamble=RUN
    )
    go_up(filled)
    before = things(filled)

    result = filled.run("downgrade", "-1")

    assert result.code == 1
    assert "Could not undo revision 000000000002: run fail" in result.err
    after = things(filled)
    del after["documents"][b"level"]
    assert after == before


def test_a_revision_that_is_blocked_when_its_turn_comes_leaves_those_before_it(filled):
    filled.write(
        "op.run(take_the_name)",
        preamble="""
        def take_the_name(client):
            client.execute_command("FT.CREATE", "goods", "PREFIX", 1, "g:", "SCHEMA", "title", "TEXT")
        """,
    )
    filled.write(CHANGE.format("products") + "index.rename_to('goods')")

    result = filled.run("upgrade", "--json")

    assert result.code == 6
    message = result.json["error"]["message"]
    assert message.startswith("Revision 000000000003 can't run: index goods exists already on the server")
    assert result.json["error"]["hint"] == "Applied before it and kept: 000000000002."
    found = things(filled)
    assert (found["heads"], found["run"]) == (["000000000002"], None)


def test_a_script_that_looks_at_a_field_before_it_drops_it_can_be_undone(filled):
    filled.write(
        CHANGE.format("products") + "if not index.schema.field('price').sortable: index.drop_field('price')",
        CHANGE.format("products") + "index.add_field({'name': 'price', 'type': 'numeric'})",
    )
    go_up(filled)

    go_down(filled)

    assert filled.hits("products", "@price:[0 9]") == 10


def test_a_downgrade_can_not_change_an_index_that_is_not_managed(filled):
    filled.client.execute_command("FT.CREATE", "other", "PREFIX", 1, "o:", "SCHEMA", "title", "TEXT")
    filled.write("pass", CHANGE.format("other") + "index.set_options(language='german')")
    go_up(filled)

    filled.refuses("downgrade", "-1", code=8, says=("", "There is no index other at this revision."))


# --- indexes that no revision created -----------------------------------------------------------------------


@pytest.fixture
def legacy(shop):
    """An index that the application made, and no revision."""
    shop.add_documents(DOCUMENTS, title="the red shoe", brand="nike", price="{n}")
    execute = shop.client.execute_command
    execute("FT.CREATE", "legacy", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT", "brand", "TAG", "SORTABLE")
    execute("FT.SYNUPDATE", "legacy", "shoes", "shoe", "sneaker")
    execute("FT.ALIASADD", "shop", "legacy")
    shop.wait_until_indexed()
    return shop


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ("index.add_field({'name': 'price', 'type': 'numeric'})", "index.drop_field('price')"),
        (
            "index.drop_field('brand')",
            "index.add_field({'name': 'brand', 'type': 'tag', 'attrs': {'sortable': True}})",
        ),
    ],
    ids=["alter", "shadow"],
)
def test_an_index_that_no_revision_created_is_changed_and_given_up_again(legacy, up, down):
    legacy.write(
        "op.create_alias('shop', 'legacy')\n" + CHANGE.format("legacy") + up, CHANGE.format("legacy") + down
    )
    before = legacy.content("shop")

    go_up(legacy)

    assert json.loads(legacy.client.get("{redismigrate}:owners")) == {"legacy": "shop"}
    assert list(legacy.state("indexes")["indexes"]) == ["legacy"]
    assert legacy.hits("shop", "sneaker") == DOCUMENTS
    go_down(legacy)
    after = legacy.content("shop", "legacy")
    assert json.loads(legacy.client.get("{redismigrate}:owners")) == {}
    assert legacy.state("indexes")["indexes"] == {}
    ((physical, (schema, synonyms, documents, _)),) = after["indexes"].items()
    assert after["aliases"] == {"legacy": physical, "shop": physical}
    found = (schema.model_copy(update={"name": "legacy"}), synonyms, documents)
    assert found == before["indexes"]["legacy"][:3]
    assert legacy.hits("shop", "sneaker") == legacy.hits("legacy", "sneaker") == DOCUMENTS
    go_up(legacy)
    go_down(legacy)
    assert legacy.hits("shop", "sneaker") == legacy.hits("legacy", "sneaker") == DOCUMENTS


def test_an_index_that_no_revision_created_is_dropped_and_comes_back(legacy):
    legacy.write(
        "op.drop_index('legacy')",
        """
        op.create_index({"index": {"name": "legacy", "prefix": "p:"}, "fields": [
            {"name": "title", "type": "text"}, {"name": "brand", "type": "tag", "attrs": {"sortable": True}},
        ]})
        op.set_synonyms("legacy", "shoes", ["shoe", "sneaker"])
        """,
    )
    before = legacy.content()["indexes"]["legacy"][:3]

    go_up(legacy)
    assert legacy.client.execute_command("FT._LIST") == []
    go_down(legacy)

    assert legacy.content()["indexes"]["legacy"][:3] == before
    assert json.loads(legacy.client.get("{redismigrate}:owners")) == {}


def test_an_index_that_a_revision_changed_only_for_a_time_can_be_changed_again(legacy):
    legacy.write(
        CHANGE.format("legacy") + "index.add_field({'name': 'price', 'type': 'numeric'})",
        CHANGE.format("legacy") + "index.drop_field('price')",
    )
    go_up(legacy)
    go_down(legacy)
    legacy.client.execute_command("FT.ALTER", "legacy", "SCHEMA", "ADD", "color", "TAG")

    go_up(legacy)

    ((schema, *_),) = legacy.content()["indexes"].values()
    assert [field.name for field in schema.fields] == ["title", "brand", "color", "price"]


# --- results ------------------------------------------------------------------------------------------------


def test_an_upgrade_tells_what_it_did(filled):
    filled.write(CHANGE.format("products") + "index.drop_field('price')")

    done = filled.run("upgrade", "--json").json
    nothing = filled.run("upgrade", "--json").json

    assert done["result"] == "done"
    assert done["revisions"] == ["000000000002"]
    assert set(done["seconds"]) == {"total", "plan", "documents", "index", "validate", "cutover"}
    assert sum(done["seconds"].values()) - done["seconds"]["total"] <= done["seconds"]["total"]
    assert (nothing["result"], nothing["revisions"], nothing["run"]) == ("nothing", [], None)
