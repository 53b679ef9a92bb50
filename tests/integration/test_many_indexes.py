"""One patch for many indexes, a baseline of many: which a pattern means, and what becomes of the others."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import Shop

from redismigrate.redis_server.inspection import read_index
from redismigrate.state.keys import OWNERS_KEY

ADD_BRAND = "changes: {add_fields: [{name: brand, type: tag}]}"
DROP_PRICE = "changes: {remove_fields: [price]}"


def create(client: Any, name: str, *fields: str) -> None:
    described = [word for field in fields or ("title TEXT",) for word in field.split()]
    client.execute_command("FT.CREATE", name, "PREFIX", 1, f"{name}:", "SCHEMA", *described)


def creation(name: str, *fields: str) -> str:
    listed = ", ".join(f'{{"name": "{field}", "type": "text"}}' for field in fields or ("title",))
    return f'op.create_index({{"index": {{"name": "{name}", "prefix": "{name}:"}}, "fields": [{listed}]}})'


@pytest.fixture
def patched(shop: Shop):
    """Writes a patch, and runs `revision` with it."""

    def run(patch: str, *arguments: str):
        (shop.folder / "patch.yaml").write_text(textwrap.dedent(patch), encoding="utf-8")
        return shop.run("revision", "-m", "many", "--schema-patch", "patch.yaml", *arguments)

    return run


@pytest.fixture
def prods(shop: Shop) -> Shop:
    """The history has prod_b and prod_a, the server prod_live besides, which nobody manages."""
    shop.write("\n".join([creation("prod_b"), creation("prod_a", "title", "price"), creation("other")]))
    assert shop.run("upgrade").code == 0
    create(shop.client, "prod_live")
    return shop


def live_fields(client: Any, name: str) -> list[str]:
    index = read_index(client.execute_command, name)
    assert index is not None
    return [field.name for field in index.schema.fields]


def upgrade_of(shop: Shop, written: Any) -> str:
    return Path(written["path"]).read_text().partition("def upgrade(op: Operations) -> None:\n")[2]


def test_a_patch_changes_all_recorded_and_live_indexes_that_a_pattern_matches(prods: Shop, patched):
    result = patched(ADD_BRAND, "--index", "prod_*", "--json")
    assert result.code == 0, result.err
    assert result.json["operations"] == [
        f"change index {name}: add tag field brand" for name in ("prod_a", "prod_b", "prod_live")
    ]
    (note,) = result.json["notes"]
    assert note.startswith("Made by no revision, and taken as the server has it: prod_live.")
    assert "`redismigrate revision -m baseline --from-live prod_live`" in note
    script = upgrade_of(prods, result.json)
    assert "*" not in script
    assert [line.strip() for line in script.splitlines() if "op.index(" in line][:3] == [
        f'with op.index("{name}") as index:' for name in ("prod_a", "prod_b", "prod_live")
    ]
    assert prods.run("upgrade").code == 0
    for name in ("prod_a", "prod_b", "prod_live"):
        assert "brand" in live_fields(prods.client, name)
    assert "brand" not in live_fields(prods.client, "other")
    assert prods.run("downgrade", "-1").code == 0
    assert "brand" not in live_fields(prods.client, "prod_live")


def test_a_script_of_a_pattern_reads_and_replays_without_a_server(shop: Shop, patched):
    shop.write(creation("prod_b"))
    shop.write(creation("prod_a"))
    result = patched(ADD_BRAND, "--index", "prod_?", "--json")
    assert result.code == 0, result.err
    shown = shop.run("show", "head", "--json", "--url", "redis://127.0.0.1:1")
    assert shown.json["upgrade"] == result.json["operations"]


def test_without_a_server_a_pattern_means_the_indexes_of_the_history_and_that_is_said(shop: Shop, patched):
    shop.write(creation("prod_a"))
    unreachable = ("--url", "redis://127.0.0.1:1")
    result = patched(ADD_BRAND, "--index", "prod_*", "--json", *unreachable)
    assert result.json["operations"] == ["change index prod_a: add tag field brand"]
    (note,) = result.json["notes"]
    assert note.startswith(
        "Patterns stand for indexes of the history only, since the server can't be asked: "
    )
    refused = patched(ADD_BRAND, "--index", "cat*", *unreachable)
    assert refused.code == 1
    assert "127.0.0.1:1" in refused.err


def test_an_index_to_which_the_patch_does_not_apply_stops_it_or_is_skipped(prods: Shop, patched):
    refused = patched(DROP_PRICE, "--index", "prod_*")
    assert (refused.code, refused.out) == (8, "")
    assert refused.err == (
        "Error: patch.yaml does not apply to 2 of 3 indexes:\n"
        "  prod_b: Index 'prod_b' has no field 'price'\n"
        "  prod_live: Index 'prod_live' has no field 'price'\n"
        "Correct the patch, name other indexes, or leave these out with --skip-inapplicable.\n"
    )
    written = patched(DROP_PRICE, "--index", "prod_*", "--skip-inapplicable", "--json").json
    assert written["operations"] == ["change index prod_a: drop field price"]
    assert written["skipped"] == [
        {"index": name, "reason": f"Index '{name}' has no field 'price'"} for name in ("prod_b", "prod_live")
    ]
    assert "prod_b is left out: Index 'prod_b' has no field 'price'." in written["notes"]


def test_a_patch_that_applies_to_none_is_refused_whatever_may_be_skipped(prods: Shop, patched):
    result = patched("changes: {remove_fields: [cost]}", "--index", "prod_*", "--skip-inapplicable")
    assert result.code == 8
    assert "does not apply to 3 of 3 indexes:" in result.err
    assert result.err.endswith("Correct the patch, or name other indexes.\n")


def test_indexes_that_are_as_the_patch_wants_them_are_told(prods: Shop, patched):
    weight = "changes: {update_fields: [{name: title, attrs: {weight: 1}}]}"
    result = patched(weight, "--index", "prod_*")
    assert (result.code, result.out) == (
        0,
        "All 3 indexes are already as the patch wants them: no script was written.\n",
    )


def test_names_patterns_and_files_add_up_and_each_index_counts_once(prods: Shop, patched):
    (prods.folder / "indexes.txt").write_text(
        "# what the shop searches\n\n  other  \r\nprod_[ab]\nprod_a\n", encoding="utf-8"
    )
    result = patched(
        *(ADD_BRAND, "--index", "prod_a", "--index", "prod_b", "--indexes-file", "indexes.txt", "--json")
    )
    assert result.json["operations"] == [
        f"change index {name}: add tag field brand" for name in ("other", "prod_a", "prod_b")
    ]


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is(prods: Shop, patched):
    result = patched(ADD_BRAND, "--index", "prod_a", "--index", "goods_*")
    assert result.code == 2
    assert result.err == (
        "Error: No index matches 'goods_*', of the history or of those on the server that nobody manages.\n"
        "The history has: other, prod_a, prod_b. The server has besides: prod_live.\n"
    )


def test_an_index_that_is_called_like_a_pattern_is_meant_by_it(shop: Shop, patched):
    shop.write("\n".join([creation("prod_*"), creation("prod_a")]))
    result = patched(ADD_BRAND, "--index", "prod_*", "--json")
    assert result.json["operations"] == ["change index prod_*: add tag field brand"]


def test_what_a_pattern_matches_is_not_what_other_projects_have_nor_what_runs_have_built(
    prods: Shop, patched
):
    assert (
        patched("changes: {update_fields: [{name: title, attrs: {weight: 3}}]}", "--index", "prod_b").code
        == 0
    )
    assert prods.run("upgrade", "--strategy", "shadow").code == 0  # a physical name of its own now
    owners = json.loads(prods.client.get(OWNERS_KEY))
    prods.client.set(OWNERS_KEY, json.dumps({**owners, "prod_theirs": "elsewhere"}))
    create(prods.client, "prod_theirs")
    create(prods.client, "prod_theirs__0123456789ab_7")
    result = patched(ADD_BRAND, "--index", "prod_*", "--json")
    assert [operation.split(":")[0] for operation in result.json["operations"]] == [
        f"change index {name}" for name in ("prod_a", "prod_b", "prod_live")
    ]


def test_one_name_is_not_given_to_several_indexes(prods: Shop, patched):
    result = patched("changes: {index: {name: goods}}", "--index", "prod_*")
    assert result.code == 2
    assert "The patch gives prod_a and prod_b one name, goods." in result.err


def test_an_index_is_not_taken_on_by_two_names(shop: Shop, patched):
    create(shop.client, "products_v3")
    shop.client.execute_command("FT.ALIASADD", "products", "products_v3")
    for arguments in (
        ("--index", "products", "--index", "products_v3"),
        ("--index", "products", "--index", "p*"),
    ):
        result = patched(ADD_BRAND, *arguments)
        assert result.code == 2
        assert "products_v3 and products are one index, products_v3." in result.err
    result = shop.run("revision", "-m", "x", "--from-live", "products_v3", "--from-live", "products")
    assert result.code == 2
    assert "are one index, products_v3." in result.err


def test_a_second_patch_finds_what_the_first_has_taken_from_the_server(shop: Shop, patched):
    """The history can't be replayed without a server any more: what waits is recorded with it."""
    create(shop.client, "cat_a", "title TEXT", "price NUMERIC")
    create(shop.client, "cat_b", "title TEXT", "price NUMERIC")
    assert patched(ADD_BRAND, "--index", "cat_*").code == 0
    second = patched(DROP_PRICE, "--index", "cat_*", "--json")
    assert second.code == 0, second.err
    assert len(second.json["operations"]) == 2
    assert shop.run("upgrade").code == 0
    third = patched("changes: {remove_fields: [brand]}", "--index", "cat_*", "--json")
    assert third.code == 0, third.err
    assert shop.run("upgrade").code == 0
    assert live_fields(shop.client, "cat_a") == live_fields(shop.client, "cat_b") == ["title"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "indexes.txt names no index."),
        (b"# nothing\n\n", "indexes.txt names no index."),
        (b"prod_a\nprod\x1b[31m\n", "indexes.txt: line 2 is no name: prod\\x1b[31m."),
        (b"prod_a\n" + b"x" * 2_000, "indexes.txt: line 2 is longer than 1,000 characters: xxx"),
        (b"prod_\xff\n", "indexes.txt: is no UTF-8 at byte 5."),
        (b"x\n" * 10_001, "indexes.txt names more than 10,000 indexes."),
        (b"x" * 1_000_001, "indexes.txt: can't be read: it is larger than 1,000,000 bytes."),
        (None, "indexes.txt: can't be read: No such file or directory."),
    ],
)
def test_a_file_of_indexes_that_is_none_is_refused(prods: Shop, patched, content, says):
    if content is not None:
        (prods.folder / "indexes.txt").write_bytes(content)
    result = patched(ADD_BRAND, "--indexes-file", "indexes.txt")
    assert result.code == 2
    assert says in result.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--indexes-file", "a"), "--schema-patch FILE and --indexes-file FILE belong together."),
        (("--skip-inapplicable",), "--skip-inapplicable belongs to --schema-patch."),
        (("--from-live", "--from-live", "a"), "Give one of --autogenerate, --from-live INDEX"),
    ],
)
def test_options_that_belong_together_are_asked_for_together(shop: Shop, arguments, says):
    result = shop.run("revision", "-m", "x", *arguments)
    assert result.code == 2
    assert says in result.err


def test_all_live_indexes_that_a_pattern_matches_become_one_baseline(shop: Shop):
    shop.write(creation("cat_made"))
    shop.run("upgrade")
    for name in ("cat_b", "cat_a", "dog"):
        create(shop.client, name, "title TEXT", "price NUMERIC")
    shop.client.execute_command("FT.SYNUPDATE", "cat_b", "pets", "kitten", "cat")
    result = shop.run("revision", "-m", "x", "--from-live", "cat*", "--json")
    assert result.code == 0, result.err
    assert [operation.split(" on ")[0] for operation in result.json["operations"]] == [
        "create index cat_a",
        "create index cat_b",
        "set synonyms pets of cat_b: cat, kitten",
    ]
    assert result.json["notes"][0] == "Left out, since revisions create them already: cat_made."
    script = upgrade_of(shop, result.json)
    assert script.count("Redis before 8.10 does not list aliases") == 1
    assert 'op.create_alias("...", INDEX)' in script
    assert shop.run("stamp", "head").code == 0
    assert shop.run("check").code == 0


def test_of_two_indexes_of_the_server_both_become_the_baseline(shop: Shop):
    for name in ("dog", "cat", "pig"):
        create(shop.client, name)
    shop.client.execute_command("FT.ALIASADD", "pet", "cat")
    result = shop.run(
        *("revision", "-m", "x", "--from-live", "dog", "--from-live", "cat", "--alias", "pet", "--json")
    )
    assert result.code == 0, result.err
    assert [operation.split(" on ")[0] for operation in result.json["operations"]] == [
        "create index cat",
        "create alias pet of cat",
        "create index dog",
    ]
    assert shop.run("stamp", "head").code == 0
    assert shop.run("check").code == 0
    shop.refuses(
        *("revision", "-m", "x", "--from-live", "pig", "--alias", "pet"),
        code=2,
        says=("pet is no alias of index pig.",),
    )


def test_a_baseline_of_a_pattern_that_matches_nothing_is_refused(shop: Shop):
    create(shop.client, "dog")
    shop.refuses(
        *("revision", "-m", "x", "--from-live", "cat*"),
        code=2,
        says=("No index of the server that nobody manages matches 'cat*'.", "There are: dog."),
    )


def test_a_pattern_in_a_script_that_matches_only_what_nobody_manages_is_refused(shop: Shop):
    for name in ("cat_b", "cat_a"):
        create(shop.client, name)
    first = shop.write(
        'for name in op.indexes("cat*"):\n'
        '    with op.index(name) as index: index.add_field({"name": "brand", "type": "tag"})'
    )
    for words in (("upgrade",), ("plan",)):
        result = shop.run(*words)
        assert result.code == 8
        assert (
            f"{first}.py:15: op.indexes('cat*') finds indexes that revisions have made or changed. None of "
            "these matches, and nobody manages what does on the server: cat_a, cat_b."
        ) in result.err
        assert "`redismigrate revision -m baseline --from-live 'cat*'`" in result.err
    shop.script(first).unlink()
    assert shop.run("revision", "-m", "baseline", "--from-live", "cat*").code == 0
    assert shop.run("stamp", "head").code == 0
    (baseline,) = (shop.folder / "migrations" / "versions").glob("*.py")
    shop.write(
        'for name in op.indexes("cat*"):\n'
        '    with op.index(name) as index: index.add_field({"name": "brand", "type": "tag"})',
        down_revision=baseline.name.partition("_")[0],
    )
    assert shop.run("upgrade").code == 0
    assert "brand" in live_fields(shop.client, "cat_a")


def test_a_pattern_in_a_script_that_nothing_on_the_server_matches_means_none(shop: Shop):
    create(shop.client, "dog")
    shop.write('assert op.indexes("cat*") == ()')
    assert shop.run("upgrade").code == 0


def test_indexes_are_changed_in_the_order_that_is_asked_for(shop: Shop):
    shop.write("\n".join([creation("a"), creation("b")]))
    shop.run("upgrade")
    for name in ("a", "b"):
        shop.client.hset(f"{name}:1", mapping={"title": "a shoe"})
    shop.write(
        'with op.index("a", after="b") as index: index.alter_field("title", weight=2)\n'
        'with op.index("b") as index: index.alter_field("title", weight=2)'
    )
    plan = shop.run("plan")
    assert "note: index a is changed after b, as the script says" in plan.out
    assert shop.run("plan", "--json").json["revisions"][0]["operations"] == [
        "change index b: alter field title: weight=2.0",
        "change index a after b: alter field title: weight=2.0",
    ]
    done = shop.run("upgrade", "--strategy", "shadow")
    assert done.code == 0, done.err
    assert done.out.index("validate b") < done.out.index("create a__")


@pytest.mark.parametrize("how", ["option", "setting"])
def test_an_alias_that_a_stamped_baseline_does_not_have_is_not_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, how: str
):
    shop.client.execute_command("FT.CREATE", "cat_de", "PREFIX", 1, "de:", "SCHEMA", "title", "TEXT")
    assert shop.run("revision", "-m", "baseline", "--from-live", "cat_de", "--rev-id", "aaa").code == 0
    assert shop.run("stamp", "head").code == 0
    shop.client.execute_command("FT.ALIASADD", "live", "cat_de")
    change = 'with op.index("cat_de") as index: index.set_options(stopwords=[])'
    shop.write(change, revision="bbb", down_revision="aaa")
    words = ("--alias", "live") if how == "option" else ()
    if how == "setting":
        monkeypatch.setenv("REDISMIGRATE_KNOWN_ALIASES", "live")
    refused = shop.run("upgrade", *words)
    assert refused.code == 6
    assert "let a revision before this one say op.create_alias('live', 'cat_de')" in refused.err
    assert shop.hits("live") == 0

    script = shop.script("bbb")
    script.write_text(script.read_text().replace(change, f"op.create_alias('live', 'cat_de')\n    {change}"))
    result = shop.run("upgrade", *words)
    assert result.code == 0, result.out + result.err
    assert shop.hits("live") == 0
