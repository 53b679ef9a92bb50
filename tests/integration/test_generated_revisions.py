"""`revision --autogenerate`, `--from-live` and `--schema-patch`: what is written, and that it can be run."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schema_strategies import changed_schemas, redis_text
from test_schema_generated import is_kept

from redismigrate.redis_server.inspection import read_index
from redismigrate.schema import IndexSchema
from redismigrate.schema.compare import diff, observable
from redismigrate.schema.create import misread_field

PRODUCTS = """
    index: {name: products, prefix: "product:"}
    fields:
      - {name: title, type: text}
      - {name: price, type: numeric, attrs: {sortable: true}}
"""


@pytest.fixture
def declare(shop):
    """Declare schemas: YAML texts, which replace those of the call before."""
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["schemas/*.yaml"]\n')

    def write(*texts):
        folder = shop.folder / "schemas"
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        for number, text in enumerate(texts):
            (folder / f"{number}.yaml").write_text(textwrap.dedent(text))

    return write


def generate(shop, *arguments):
    result = shop.run("revision", "-m", "generated", *arguments, "--json")
    assert result.code == 0, result.err
    return result.json


def source_of(written):
    return Path(written["path"]).read_text()


def body(written):
    return source_of(written).partition("def upgrade(op: Operations) -> None:\n")[2]


def live(client, name):
    return read_index(client.execute_command, name)


def test_a_declared_index_is_created_and_then_there_is_nothing_to_do(shop, declare, client):
    declare(PRODUCTS)
    written = generate(shop, "--autogenerate")
    assert body(written) == textwrap.dedent(
        """\
            op.create_index(
                {
                    "index": {"name": "products", "prefix": "product:", "storage_type": "hash"},
                    "fields": [
                        {"name": "title", "type": "text"},
                        {"name": "price", "type": "numeric", "attrs": {"sortable": True}},
                    ],
                }
            )


        def downgrade(op: Operations) -> None:
            op.drop_index("products")
        """
    )
    assert written["operations"] == ["create index products on hash product:* with title text, price numeric"]
    assert shop.run("upgrade").code == 0
    assert live(client, "products") is not None

    again = shop.run("revision", "-m", "again", "--autogenerate")
    assert (again.code, again.out) == (0, "The indexes are as declared: no script was written.\n")
    assert generate(shop, "--autogenerate") == {"path": None, "revision": None, "operations": [], "notes": []}
    assert shop.run("check").code == 0


def test_changes_of_one_index_are_one_block_and_its_reverse(shop, declare, client):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    declare(
        """
        index: {name: products, prefix: "product:", stopwords: []}
        fields:
          - {name: title, type: text, attrs: {weight: 2, no_stem: true}}
          - {name: brand, type: tag}
        """
    )
    written = generate(shop, "--autogenerate")
    assert body(written) == (
        '    with op.index("products") as index:\n'
        '        index.drop_field("price")\n'
        '        index.alter_field("title", weight=2.0, no_stem=True)\n'
        '        index.add_field({"name": "brand", "type": "tag", "attrs": {"separator": ","}})\n'
        "        index.set_options(stopwords=[])\n"
        "\n\n"
        "def downgrade(op: Operations) -> None:\n"
        '    with op.index("products") as index:\n'
        "        index.set_options(stopwords=None)\n"
        '        index.drop_field("brand")\n'
        '        index.alter_field("title", weight=1.0, no_stem=False)\n'
        '        index.add_field({"name": "price", "type": "numeric", "attrs": {"sortable": True}})\n'
    )
    assert shop.run("upgrade").code == 0
    assert {field.name for field in live(client, "products").schema.fields} == {"title", "brand"}
    assert shop.run("downgrade", "-1").code == 0
    assert {field.name for field in live(client, "products").schema.fields} == {"title", "price"}


RENAMED = PRODUCTS.replace("title", "name")


def test_a_possible_rename_is_told_in_a_comment_where_nobody_can_be_asked(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(RENAMED)
    written = generate(shop, "--autogenerate")
    assert [line.strip() for line in body(written).splitlines()[:6]] == [
        'with op.index("products") as index:',
        '# Field "name", which is added, has the same definition. If it is this one under a new name,',
        "# generate the script again with --rename title:name: as it stands, the documents keep the field",
        "# under its old name.",
        'index.drop_field("title")',
        'index.add_field({"name": "name", "type": "text"})',
    ]
    assert "generate the script again with --rename title:name" in written["notes"][0]


def test_a_rename_that_is_said_renames(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(RENAMED)
    written = generate(shop, "--autogenerate", "--rename", "title:name")
    assert 'index.rename_field("title", "name")\n' in source_of(written)
    assert 'index.rename_field("name", "title")\n' in source_of(written)
    assert "drop_field" not in source_of(written)


def test_a_rename_is_asked_for_on_a_terminal(shop, declare, monkeypatch):
    from redismigrate.cli import revision_options

    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(RENAMED)
    questions = []

    def confirm(question):
        questions.append(question)
        return True

    monkeypatch.setattr(revision_options, "_has_somebody_to_ask", lambda _: True)
    monkeypatch.setattr(revision_options.click, "confirm", confirm)
    result = shop.run("revision", "-m", "renamed", "--autogenerate")
    assert questions == ["Index products: is field name field title under a new name?"]
    assert "change index products: rename field title to name" in result.out


def test_a_rename_that_fits_nothing_is_refused(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate", "--rename", "title:nome"),
        code=2,
        says=("--rename title:nome: no index loses the one field and gets the other, and no index ",),
    )


GOODS = PRODUCTS.replace("name: products", "name: goods")


def test_a_possible_rename_of_an_index_is_told_in_a_comment_where_nobody_can_be_asked(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(GOODS)
    written = generate(shop, "--autogenerate")
    assert [line.strip() for line in body(written).partition("def ")[0].split("\n")[-7:-3]] == [
        '# Index "goods", which is created, has the same definition. If it is this one under a new name,',
        "# generate the script again with --rename products:goods: as it stands, the new index has none of",
        "# its aliases and synonyms.",
        'op.drop_index("products")',
    ]
    assert "--rename products:goods" in written["notes"][0]


def test_an_index_that_is_renamed_keeps_its_aliases_and_goes_back(shop, declare, client):
    declare(PRODUCTS)
    written = generate(shop, "--autogenerate")
    aliased = source_of(written).replace(
        "\n\n\ndef downgrade", '\n    op.create_alias("wares", "products")\n\n\ndef downgrade'
    )
    Path(written["path"]).write_text(aliased)
    assert shop.run("upgrade").code == 0
    client.hset("product:1", mapping={"title": "shoe", "price": 3})
    declare(GOODS.replace("title", "name"))
    written = generate(shop, "--autogenerate", "--rename", "products:goods", "--rename", "title:name")
    assert body(written).startswith(
        '    with op.index("products") as index:\n'
        '        index.rename_field("title", "name")\n'
        '        index.rename_to("goods")\n'
    )
    assert shop.run("upgrade", "--exclusive").code == 0
    assert shop.run("check").code == 0
    for name in ("goods", "wares"):
        assert client.execute_command("FT.SEARCH", name, "@name:shoe", "NOCONTENT") == [1, b"product:1"]
    assert shop.run("downgrade", "-1", "--exclusive").code == 0
    for name in ("products", "wares"):
        assert client.execute_command("FT.SEARCH", name, "@title:shoe", "NOCONTENT") == [1, b"product:1"]


def test_a_rename_of_an_index_is_asked_for_on_a_terminal_and_then_those_of_its_fields(
    shop, declare, monkeypatch
):
    from redismigrate.cli import revision_options

    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(GOODS)
    questions = []
    monkeypatch.setattr(revision_options, "_has_somebody_to_ask", lambda _: True)
    monkeypatch.setattr(
        revision_options.click, "confirm", lambda question: questions.append(question) or True
    )
    result = shop.run("revision", "-m", "renamed", "--autogenerate")
    assert "change index products: rename to goods" in result.out
    assert questions == ["Is index goods index products under a new name?"]


def test_a_rename_that_fits_a_field_and_an_index_has_to_say_which(shop, declare):
    tagged = """
        index: {name: tags, prefix: "tag:"}
        fields: [{name: products, type: tag}]
    """
    declare(PRODUCTS, tagged)
    generate(shop, "--autogenerate")
    declare(GOODS, tagged.replace("name: products", "name: goods"))
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate", "--rename", "products:goods"),
        code=2,
        says=(
            "--rename products:goods: a field may be meant, or an index.",
            "--rename field:products:goods or --rename index:products:goods.",
        ),
    )
    written = generate(shop, "--autogenerate", "--rename", "index:products:goods")
    assert 'index.rename_to("goods")' in source_of(written)
    assert 'index.drop_field("products")' in source_of(written)
    Path(written["path"]).unlink()
    written = generate(shop, "--autogenerate", "--rename", "field:products:goods")
    assert 'index.rename_field("products", "goods")' in source_of(written)
    assert 'op.drop_index("products")' in source_of(written)


@pytest.mark.parametrize("index", ["goods", "wares"])
def test_an_index_is_not_renamed_twice(shop, declare, index):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(GOODS, GOODS.replace("goods", "wares"))
    twice = ("--rename", "products:goods", "--rename", "products:wares")
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate", *twice), code=8, says=("Index 'products' or 'wares' is ",)
    )
    written = generate(shop, "--autogenerate", "--rename", f"products:{index}")
    assert f'index.rename_to("{index}")' in source_of(written)
    assert written["notes"] == []


ORDERS = """
    index: {name: orders, prefix: "order:"}
    fields: [{name: customer, type: tag}]
"""


def test_a_generated_revision_does_not_change_what_is_made_on_another_branch(shop, declare):
    declare(PRODUCTS)
    first = generate(shop, "--autogenerate")["revision"]
    declare(PRODUCTS, ORDERS)
    orders = generate(shop, "--autogenerate", "--branch-label", "ordering")["revision"]
    declare(PRODUCTS.replace("title", "name"), ORDERS)
    on_trunk = ("--autogenerate", "--head", first, "--splice")
    products = generate(shop, *on_trunk)["revision"]

    # The index of one branch is dropped by a revision of the other.
    declare(PRODUCTS.replace("title", "name"))
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate", "--head", products),
        code=2,
        says=(
            f"This would change or drop index orders as revision {orders} makes it, on which the new ",
            f"(--head {orders}@head), add --depends-on {orders}, or merge first.",
        ),
    )
    # So is one that both know, but as the other one has changed it.
    declare(PRODUCTS, ORDERS)
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate", "--head", "ordering@head"),
        code=2,
        says=(f"This would change or drop index products as revision {products} makes it, on which the ",),
    )
    written = generate(shop, "--autogenerate", "--head", "ordering@head", "--depends-on", products)
    Path(written["path"]).unlink()
    declare(PRODUCTS.replace("title", "name"))
    generate(shop, "--autogenerate", "--head", "ordering@head", "--branch-label", "none")
    assert shop.run("upgrade", "none@head").code == 0


@pytest.mark.parametrize("what", ["dropped", "renamed"])
def test_an_index_with_an_alias_of_another_branch_is_not_generated_away(shop, declare, what):
    """The way back would set the alias, applied or not, and the other branch would not find its index."""
    declare(PRODUCTS, ORDERS)
    first = generate(shop, "--autogenerate")["revision"]
    alias = shop.write("op.create_alias('goods', 'orders')", "op.drop_alias('goods')", down_revision=first)
    on_trunk = ("--autogenerate", "--head", first, "--splice", "--rename", "orders:sales")
    declare(*([PRODUCTS] if what == "dropped" else [PRODUCTS, ORDERS.replace("orders", "sales")]))
    arguments = on_trunk[:-2] if what == "dropped" else on_trunk
    shop.refuses(
        *("revision", "-m", "x", *arguments),
        code=2,
        says=(f"This would change or drop index orders as revision {alias} makes it, on which the new ",),
    )
    written = generate(shop, *arguments, "--depends-on", alias)
    Path(written["path"]).unlink()
    # What stays may be changed on both branches.
    declare(PRODUCTS, ORDERS.replace("customer", "client"))
    generate(shop, *on_trunk[:-2])
    assert shop.run("upgrade", "heads").code == 0


VECTORS = """
    index: {name: products, prefix: "product:"}
    fields:
      - {name: embedding, type: vector, attrs: {algorithm: flat, dims: DIMS}}
"""


def test_what_no_strategy_carries_out_is_commented_and_blocks_the_plan(shop, declare):
    declare(VECTORS.replace("DIMS", "4"))
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    declare(VECTORS.replace("DIMS", "8"))
    written = generate(shop, "--autogenerate")
    assert "# New dimensions: no strategy carries this out yet" in source_of(written)
    plan = shop.run("plan")
    assert plan.code == 6
    assert "changes from 4 to 8 dimensions" in plan.out + plan.err


def test_a_new_storage_type_without_another_prefix_is_commented_and_blocks_the_plan(shop, declare, client):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    client.hset("product:1", mapping={"title": "shoe", "price": "3"})
    declare(PRODUCTS.replace('"product:"', '"product:", storage_type: json'))
    written = generate(shop, "--autogenerate")
    source = source_of(written)
    assert 'index.change_storage("json"' in source
    assert "# The documents keep their keys" in source
    assert "writers have to be paused (--exclusive)" in written["notes"][0]
    assert shop.run("plan").code == 6
    assert shop.run("plan", "--exclusive").code == 0


def test_a_new_storage_type_with_another_prefix_is_carried_out(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    declare(PRODUCTS.replace('"product:"', '"item:", storage_type: json'))
    written = generate(shop, "--autogenerate")
    assert 'index.change_storage("json", prefix=("product:", "item:"))' in source_of(written)
    assert (written["notes"], "No key moves" in source_of(written)) == ([], False)
    assert shop.run("upgrade").code == 0
    assert shop.run("check").code == 0


def test_a_rename_beside_another_storage_type_is_carried_out_and_undone(shop, declare, client):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    client.hset("product:1", mapping={"title": "shoe", "price": "3"})
    declare(RENAMED.replace('"product:"', '"item:", storage_type: json'))
    written = generate(shop, "--autogenerate", "--rename", "title:name")
    assert body(written).partition("\n\n")[0].splitlines() == [
        '    with op.index("products") as index:',
        '        index.change_storage("json", prefix=("product:", "item:"), paths={"title": "$.name"})',
        '        index.rename_field("title", "name")',
    ]
    assert shop.run("upgrade").code == 0
    assert shop.run("check").code == 0
    assert json.loads(client.execute_command("JSON.GET", "item:1")) == {"name": "shoe", "price": 3}
    assert client.execute_command("FT.SEARCH", "products", "@name:shoe", "NOCONTENT") == [1, b"item:1"]
    assert shop.run("downgrade", "-1").code == 0
    assert client.hgetall("product:1") == {b"title": b"shoe", b"price": b"3"}
    assert client.execute_command("FT.SEARCH", "products", "@title:shoe", "NOCONTENT") == [1, b"product:1"]


def test_a_prefix_that_becomes_another_takes_the_keys_along(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    declare(PRODUCTS.replace("product:", "goods:"))
    written = source_of(generate(shop, "--autogenerate"))
    assert 'index.change_prefix("product:", "goods:")\n' in written
    assert "# This renames the keys of the documents. To cover other keys" in written


def test_indexes_that_are_not_declared_any_more_are_dropped(shop, declare, client):
    other = PRODUCTS.replace("products", "others")
    declare(PRODUCTS, other)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    declare(PRODUCTS)
    written = generate(shop, "--autogenerate")
    assert written["operations"] == ["drop index others"]
    shop.run("upgrade")
    assert live(client, "others") is None
    shop.run("downgrade", "-1")
    assert live(client, "others") is not None


def test_without_declared_schemas_there_is_nothing_to_generate_from(shop):
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate"),
        code=8,
        says=("No schemas are declared, so there is nothing to compare the history with.",),
    )


def test_a_history_that_changes_an_unknown_index_is_refused_by_name(shop, declare, client):
    client.execute_command("FT.CREATE", "products", "SCHEMA", "title", "TEXT")
    shop.write('with op.index("products") as index: index.add_field({"name": "a", "type": "tag"})')
    declare(PRODUCTS)
    result = shop.run("revision", "-m", "x", "--autogenerate")
    assert result.code == 8
    assert "No revision creates index products" in result.err
    assert "--from-live products" in result.err


@pytest.mark.needs("search debugging")
def test_a_live_index_becomes_a_baseline_that_can_be_stamped(shop, client):
    client.execute_command(
        *("FT.CREATE", "products", "PREFIX", 1, "product:", "LANGUAGE", "german", "SCHEMA"),
        *("title", "TEXT", "WEIGHT", 2, "embedding", "VECTOR", "HNSW", 10),
        *("TYPE", "FLOAT32", "DIM", 4, "DISTANCE_METRIC", "COSINE", "M", 24, "EF_RUNTIME", 50),
    )
    client.execute_command("FT.SYNUPDATE", "products", "shoes", "trainer", "sneaker")
    written = generate(shop, "--from-live", "products")
    text = source_of(written)
    assert (
        "# Redis before 8.10 does not list aliases: those that are told, declared, or in its logs are here."
        in text
    )
    assert '# Nor does it tell PHONETIC ("phonetic_matcher") of text fields: title.\n' in text
    assert '# Nor does it tell INITIAL_CAP ("initial_cap") of vector fields: embedding.\n' in text
    assert '"language": "german"' in text
    assert 'op.set_synonyms("products", "shoes", ["sneaker", "trainer"])\n' in text
    # The synonyms go with the index.
    assert text.endswith('def downgrade(op: Operations) -> None:\n    op.drop_index("products")\n')
    assert len(written["notes"]) == 4
    assert '"m": 24' in text
    assert '"ef_runtime": 50' in text

    stamped = shop.run("stamp", "head")
    assert stamped.code == 0, stamped.err
    assert shop.run("check").code == 0
    shop.write(
        'with op.index("products") as index: index.add_field({"name": "a", "type": "tag"})',
        'with op.index("products") as index: index.drop_field("a")',
        down_revision=written["revision"],
    )
    assert shop.run("upgrade").code == 0
    assert shop.run("downgrade", "-1").code == 0


def test_a_baseline_of_an_alias_serves_the_alias(shop, client):
    client.execute_command("FT.CREATE", "products_v3", "PREFIX", 1, "product:", "SCHEMA", "title", "TEXT")
    client.execute_command("FT.ALIASADD", "products", "products_v3")
    written = generate(shop, "--from-live", "products")
    assert "# products is an alias of index products_v3, of which this was read.\n" in source_of(written)
    assert shop.run("stamp", "head").code == 0
    assert shop.run("current", "--json").json["indexes"]["products"]["physical"] == "products_v3"
    assert shop.run("check").code == 0


def test_a_baseline_takes_what_is_for_clients_alone_from_the_declared_schema(shop, declare, client):
    client.execute_command("FT.CREATE", "products", "PREFIX", 1, "product:", "SCHEMA", "title", "TEXT")
    declare(
        """
        index: {name: products, prefix: "product:", key_separator: "_"}
        fields: [{name: title, type: text}]
        """
    )
    assert '"key_separator": "_"' in source_of(generate(shop, "--from-live", "products"))
    assert shop.run("stamp", "head").code == 0
    assert shop.run("check").code == 0


def test_a_baseline_takes_what_the_server_does_not_tell_from_the_declared_schema(shop, declare, client):
    client.execute_command(
        *("FT.CREATE", "products", "PREFIX", 1, "product:", "SKIPINITIALSCAN", "SCHEMA"),
        *("title", "TEXT", "PHONETIC", "dm:en", "other", "TEXT", "e", "VECTOR", "FLAT", 8, "TYPE", "FLOAT32"),
        *("DIM", 4, "DISTANCE_METRIC", "COSINE", "INITIAL_CAP", 100),
    )
    declare(
        """
        index: {name: products, prefix: "product:", skip_initial_scan: true}
        fields:
          - {name: title, type: text, attrs: {phonetic_matcher: "dm:en", weight: 2}}
          - {name: e, type: vector, attrs: {algorithm: flat, dims: 4, initial_cap: 100}}
        """
    )
    written = generate(shop, "--from-live", "products")
    text = source_of(written)
    for told in ('"phonetic_matcher": "dm:en"', '"initial_cap": 100', '"skip_initial_scan": True'):
        assert told in text
    assert "weight" not in text  # that the server tells
    assert written["notes"][1:] == [
        "What else it does not tell is taken from the declared schema, as if that had made the index.",
        'Nor does it tell PHONETIC ("phonetic_matcher") of text fields: other.',
    ]
    assert shop.run("stamp", "head").code == 0
    differences = shop.run("check", "--json").json["differences"]
    assert {difference["between"] for difference in differences} == {"declared"}
    assert "phonetic" not in json.dumps(differences)


def test_a_baseline_of_what_is_not_there_is_refused(shop, client):
    client.execute_command("FT.CREATE", "other", "SCHEMA", "title", "TEXT")
    shop.refuses(
        *("revision", "-m", "x", "--from-live", "products"),
        code=2,
        says=("There is no index products on the server.", "It has: other."),
    )


def test_a_baseline_of_what_a_revision_creates_is_refused(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.refuses(
        *("revision", "-m", "x", "--from-live", "products"),
        code=2,
        says=("A revision creates index products already.",),
    )


def test_further_names_of_a_managed_index_are_no_index_of_their_own(shop, declare):
    declare(PRODUCTS)
    created = generate(shop, "--autogenerate")["revision"]
    shop.write('op.create_alias("goods", "products")', 'op.drop_alias("goods")', down_revision=created)
    (shop.folder / "patch.yaml").write_text("changes: {remove_fields: [price]}")
    for arguments in (("--from-live", "goods"), ("--schema-patch", "patch.yaml", "--index", "goods")):
        shop.refuses(
            *("revision", "-m", "x", *arguments),
            code=8,
            says=("goods is an alias of index products, not an index.", "Use the index's name, products."),
        )


def test_an_alias_of_an_index_that_a_revision_creates_is_no_index_of_its_own(shop, declare, client):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    client.execute_command("FT.CREATE", "products", "SCHEMA", "title", "TEXT")
    client.execute_command("FT.ALIASADD", "goods", "products")
    (shop.folder / "patch.yaml").write_text("changes: {remove_fields: [price]}")
    for arguments in (("--from-live", "goods"), ("--schema-patch", "patch.yaml", "--index", "goods")):
        shop.refuses(
            *("revision", "-m", "x", *arguments),
            code=2,
            says=(
                "goods is an alias of index products, which a revision creates already.",
                'Name products, or add op.create_alias("goods", "products") to a revision.',
            ),
        )


def test_the_physical_index_behind_a_managed_name_gets_no_baseline(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    declare(PRODUCTS.replace("type: text", "type: text, attrs: {weight: 2}"))
    generate(shop, "--autogenerate")
    shop.run("upgrade", "--strategy", "shadow")
    physical = shop.run("current", "--json").json["indexes"]["products"]["physical"]
    assert physical != "products"
    (shop.folder / "answers.yaml").write_text("- remove: title\n- finish: x\n", encoding="utf-8")
    patch = "version: 1\nchanges: {remove_fields: [title]}\n"
    (shop.folder / "patch.yaml").write_text(patch, encoding="utf-8")
    for words in (
        ("revision", "-m", "x", "--from-live", physical),
        ("revision", "-m", "x", "--schema-patch", "patch.yaml", "--index", physical),
        ("wizard", physical, "--answers", "answers.yaml"),
    ):
        shop.refuses(*words, code=2, says=(f"Index {physical} is managed already, as products.",))


def test_declared_schemas_can_be_compared_with_a_live_index_that_has_no_history(shop, declare, client):
    client.execute_command(
        *("FT.CREATE", "products", "PREFIX", 1, "product:", "SCHEMA", "title", "TEXT", "PHONETIC", "dm:en"),
    )
    declare(PRODUCTS.replace("type: text", "type: text, attrs: {phonetic_matcher: dm:en}"))
    for arguments in (["--autogenerate", "--from-live"], ["--from-live"]):
        written = generate(shop, *arguments)
        assert written["operations"] == ["change index products: add numeric field price"]
        if arguments == ["--from-live"]:
            break
        Path(written["path"]).unlink()
    assert shop.run("upgrade").code == 0
    assert {field.name for field in live(client, "products").schema.fields} == {"title", "price"}


def test_a_server_that_is_not_what_the_history_makes_is_no_base_for_a_comparison(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.refuses(
        *("revision", "-m", "x", "--autogenerate", "--from-live"),
        code=3,
        says=("The server is not what the history makes: products: index products does not exist",),
    )


PATCH = """
    version: 1
    changes:
      add_fields:
        - {name: brand, type: tag}
      remove_fields: [price]
      update_fields:
        - {name: title, attrs: {weight: 3}}
      rename_fields:
        - {old_name: title, new_name: name}
      index:
        prefix: "goods:"
        name: goods
"""


def test_a_schema_patch_becomes_a_revision(shop, declare, client):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    shop.run("upgrade")
    client.hset("product:1", mapping={"title": "a shoe", "price": 3})
    patch = shop.folder / "patch.yaml"
    patch.write_text(textwrap.dedent(PATCH))
    written = generate(shop, "--schema-patch", "patch.yaml", "--index", "products")
    upgrade = body(written).partition("\n\n")[0]
    assert upgrade.replace("        # ", "").count("index.") == 7
    for line in (
        'index.drop_field("price")',
        'index.rename_field("title", "name")',
        'index.alter_field("name", weight=3.0)',
        'index.add_field({"name": "brand", "type": "tag", "attrs": {"separator": ","}})',
        'index.change_prefix("product:", "goods:")',
        'index.rename_to("goods")',
    ):
        assert f"        {line}" in upgrade
    done = shop.run("upgrade", "--exclusive")
    assert done.code == 0, done.err
    assert client.hgetall("goods:1") == {b"name": b"a shoe", b"price": b"3"}
    assert shop.run("downgrade", "-1", "--exclusive").code == 0
    assert client.hgetall("product:1") == {b"title": b"a shoe", b"price": b"3"}


def test_a_patch_that_may_mean_a_rename_gets_a_comment(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    cost = "{name: cost, type: numeric, attrs: {sortable: true}}"
    (shop.folder / "patch.yaml").write_text(f"changes: {{remove_fields: [price], add_fields: [{cost}]}}")
    written = generate(shop, "--schema-patch", "patch.yaml", "--index", "products")
    comment = re.sub(r"\n +# ", " ", body(written))
    assert (
        'Field "cost", which is added, has the same definition. If it is this one under a new name, generate '
        "the script again with that under rename_fields of the patch: as it stands, the documents keep the "
        "field under its old name." in comment
    )


def test_a_patch_to_svs_vamana_asks_for_what_redisvl_itself_would_make(shop, declare):
    declare(VECTORS.replace("DIMS", "4"))
    generate(shop, "--autogenerate")
    (shop.folder / "patch.yaml").write_text(
        "changes: {update_fields: [{name: embedding, attrs: {algorithm: svs-vamana, epsilon: 0.2}}]}"
    )
    written = generate(shop, "--schema-patch", "patch.yaml", "--index", "products")
    (operation,) = written["operations"]
    assert operation == (
        "change index products: alter field embedding: algorithm=SVS-VAMANA, epsilon=0.2, "
        "graph_max_degree=40, construction_window_size=250, search_window_size=20"
    )


def test_a_patch_that_changes_nothing_writes_nothing(shop, declare):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    (shop.folder / "patch.yaml").write_text("changes: {update_fields: [{name: title, attrs: {weight: 1}}]}")
    result = shop.run("revision", "-m", "x", "--schema-patch", "patch.yaml", "--index", "products")
    assert (result.code, result.out) == (
        0,
        "Index products is already as the patch wants it: no script was written.\n",
    )


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (
            "changes: {add_feilds: []}",
            "changes has an unknown key 'add_feilds' (did you mean 'add_fields'?).",
        ),
        ("changed: {}", "the patch has an unknown key 'changed' (did you mean 'changes'?)."),
        ("version: 2", "version is 2, known is 1."),
        ("changes: {index: {prefx: a}}", "index has an unknown key 'prefx' (did you mean 'prefix'?)."),
        ("changes: {rename_fields: [{old: a, new: b}]}", "the rename has an unknown key 'old'"),
        ("changes: {update_fields: [{name: title, attr: {}}]}", "the update has an unknown key 'attr'"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
        ("changes: {add_fields: {a: 1}}", "add_fields is no list."),
    ],
)
def test_a_patch_that_is_wrong_is_refused_with_its_place(shop, declare, patch, says):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    (shop.folder / "patch.yaml").write_text(patch)
    result = shop.run("revision", "-m", "x", "--schema-patch", "patch.yaml", "--index", "products")
    assert result.code == 8
    assert result.err.startswith("Error: patch.yaml: ")
    assert says in result.err


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ("remove_fields: [nome]", "Index 'products' has no field 'nome'"),
        ("update_fields: [{name: title, attrs: {weigth: 2}}]", "has no attribute 'weigth'"),
        ("add_fields: [{name: title, type: tag}]", "already has a field 'title'"),
    ],
)
def test_a_patch_that_does_not_fit_its_index_is_refused(shop, declare, patch, says):
    declare(PRODUCTS)
    generate(shop, "--autogenerate")
    (shop.folder / "patch.yaml").write_text(f"changes: {{{patch}}}")
    result = shop.run("revision", "-m", "x", "--schema-patch", "patch.yaml", "--index", "products")
    assert result.code == 8
    assert says in result.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--autogenerate", "--from-live", "a"), "Give one of --autogenerate, --from-live INDEX"),
        (("--schema-patch", "a"), "--schema-patch FILE and --index INDEX belong together."),
        (("--rename", "a:b"), "--rename belongs to --autogenerate."),
    ],
)
def test_sources_that_contradict_each_other_are_refused(shop, arguments, says):
    result = shop.run("revision", "-m", "x", *arguments)
    assert result.code == 2
    assert says in result.err


# The server is asked when a test runs.
of_this_server = st.deferred(
    lambda: changed_schemas(
        algorithms=("FLAT", "HNSW"),
        datatypes=("BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64"),
        can_index_all=False,
        words=redis_text.filter(is_kept),
    )
)


def round_trip(shop, client, before, after):
    """A generated script takes an index from one schema to another, and its downgrade takes it back."""
    client.flushall()
    for file in (shop.folder / "migrations" / "versions").glob("*.py"):
        file.unlink()
    module = shop.folder / "wanted.py"
    configuration = (shop.folder / "redismigrate.toml").read_text().partition("schemas")[0]
    (shop.folder / "redismigrate.toml").write_text(configuration + 'schemas = ["wanted:SCHEMA"]\n')

    def declare(schema: IndexSchema) -> None:
        module.write_text(
            "import json\nfrom redismigrate.schema import IndexSchema\n"
            f"SCHEMA = IndexSchema(**json.loads({json.dumps(schema.model_dump())!r}))\n"
        )
        sys.modules.pop("wanted", None)
        for cached in (shop.folder / "__pycache__").glob("wanted*"):
            cached.unlink()

    def differences(wanted):
        index = live(client, "products")
        details = index.has_vector_details
        there = observable(index.schema.renamed("products"), has_vector_details=details)
        return diff(there, observable(wanted, has_vector_details=details))

    def run(*arguments):
        result = shop.run(*arguments)
        assert result.code == 0, result.err

    declare(before)
    generate(shop, "--autogenerate")
    run("upgrade")
    assert differences(before) == ()
    declare(after)
    written = generate(shop, "--autogenerate")
    assert generate(shop, "--autogenerate")["path"] is None
    run("upgrade", "--exclusive", "--allow-lossy")
    assert differences(after) == ()
    run("check")
    if written["path"] is not None:
        run("downgrade", "-1", "--exclusive", "--allow-lossy")
        assert differences(before) == ()


def is_taken(schema):
    """Whether the server can make it: of several fields that are called like options some can't be read."""
    return misread_field(schema.fields, schema.storage_type) is None


# A TEMPORARY index can't be changed; the server crashes on text with no_fields and max_text_fields.
carried_out = of_this_server.map(
    lambda pair: tuple(
        schema.model_copy(update={"name": "products", "temporary_seconds": None, "no_fields": False})
        for schema in pair
    )
).filter(lambda pair: is_taken(pair[0]) and is_taken(pair[1]))


@given(pair=carried_out)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_generated_revisions_lead_a_real_index_to_the_wanted_schema_and_back(shop, client, pair):
    round_trip(shop, client, *pair)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(pair=carried_out)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_three_hundred_pairs_of_schemas_go_there_and_back_on_a_server(shop, client, pair):
    round_trip(shop, client, *pair)
