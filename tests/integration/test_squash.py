"""`squash A:B` writes one script that stands for all from A to B, wherever these are applied or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from vector_documents import CHANGE, creation, vector

from redismigrate.redis_server.inspection import read_index, resolve_alias

if TYPE_CHECKING:
    from conftest import Shop

BASE = (
    'op.create_index({"index": {"name": "first", "prefix": "f:"}, "fields": [{"name": "a", "type": "tag"}]})'
)
TO_FLOAT16 = CHANGE + "index.alter_field('embedding', datatype='float16')"
TO_FLOAT32 = CHANGE + "index.alter_field('embedding', datatype='float32')"
TO_BFLOAT16 = CHANGE + "index.alter_field('embedding', datatype='bfloat16')"
ADD = CHANGE + "index.add_field({'name': 'brand', 'type': 'tag'})"
TAKE_OUT = CHANGE + "index.drop_field('brand')"
TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
TO_FLAT = CHANGE + "index.alter_field('embedding', algorithm='flat')"
SORT = CHANGE + "index.alter_field('brand', sortable=True)"
SORT_NOT = CHANGE + "index.alter_field('brand', sortable=False)"


@pytest.fixture
def line(shop: Shop) -> Shop:
    """One revision, and four after it: the second rewrites documents; in place, which is quicker."""
    shop.strategy = "rebuild"
    shop.write(BASE, 'op.drop_index("first")', revision="base0")
    shop.write(creation(), 'op.drop_index("products")', revision="aaa")
    shop.write(TO_FLOAT16, TO_FLOAT32, revision="bbb")
    shop.write(ADD, TAKE_OUT, revision="ccc")
    shop.write(TO_HNSW, TO_FLAT, revision="ddd")
    return shop


def squash(shop: Shop, *words: str, code: int = 0) -> Any:
    result = shop.run("squash", *words, "--json")
    assert result.code == code, result.out + result.err
    return result.json


def document_values(shop: Shop, *patterns: str) -> dict[bytes, dict[bytes, bytes]]:
    keys = [key for pattern in patterns or ("p:*",) for key in shop.client.scan_iter(pattern)]
    return {key: shop.client.hgetall(key) for key in keys}


def served(shop: Shop) -> dict[str, Any]:
    """Served name -> schema of the index that it leads to, but for its name."""
    execute = shop.client.execute_command
    found = {}
    for name, recorded in shop.run("current", "--json").json["indexes"].items():
        index = read_index(execute, resolve_alias(execute, name) or name)
        assert index is not None
        found[name] = (index.schema.renamed("any"), recorded["schema"])
    return found


def recorded(shop: Shop) -> list[str]:
    return list((shop.state("head") or {"revisions": {}})["revisions"])


def add_products(shop: Shop, count: int = 20) -> None:
    for number in range(count):
        shop.client.hset(f"p:{number}", mapping={"title": f"product {number}", "embedding": vector(number)})


def remove_scripts(shop: Shop, *revisions: str) -> None:
    for revision in revisions:
        shop.script(revision).unlink()


def test_squash_writes_one_script_that_replaces_the_others(line: Shop):
    made = squash(line, "aaa:ddd", "-m", "products at once", "--rev-id", "eee")
    assert made["replaces"] == ["aaa", "bbb", "ccc", "ddd"]
    text = Path(made["path"]).read_text(encoding="utf-8")
    assert 'replaces: tuple[str, ...] = (\n    "aaa",\n    "bbb",\n    "ccc",\n    "ddd",\n)\n' in text
    assert text.count("with op.index") == 5  # one up, one down, and three of the replaced ones
    assert [script["revision"] for script in line.run("heads", "--json").json] == ["eee"]
    assert [script["revision"] for script in line.run("history", "--json").json] == ["eee", "base0"]
    assert "base0 -> eee (head) (replaces 4), products at once" in line.run("history").out
    shown = line.run("show", "eee")
    assert "Replaces:  aaa, bbb, ccc, ddd" in shown.out
    assert "can't be told" not in shown.out
    assert "Revises:   aaa" in line.run("show", "bbb").out  # its own script is still there
    assert line.run("heads", "--check").code == 0


def test_who_has_applied_all_has_it_and_its_record_stays_until_a_revision_after_it(line: Shop):
    add_products(line)
    assert line.run("upgrade").code == 0
    before = line.state("head")
    squash(line, "aaa:ddd", "--rev-id", "eee")
    assert line.run("upgrade", "--json").json["result"] == "nothing"
    assert line.run("check").code == 0, line.run("check").out
    assert line.run("current", "--check-heads").code == 0
    shown = line.run("current")
    assert "  eee (head) " in shown.out
    assert "    in place of aaa, bbb, ccc, ddd, applied one by one" in shown.out
    assert line.run("stamp", "head").code == 0
    assert line.state("head") is not None
    assert recorded(line) == ["base0", "aaa", "bbb", "ccc", "ddd"]
    assert (line.state("head") or {})["revisions"] == (before or {})["revisions"]
    remove_scripts(line, "aaa", "bbb", "ccc", "ddd")
    assert line.run("check").code == 0
    line.write(SORT, SORT_NOT, revision="fff", down_revision="eee")
    assert line.run("upgrade").code == 0
    assert recorded(line) == ["base0", "eee", "fff"]
    entry = (line.state("head") or {})["revisions"]["eee"]
    assert entry["replaces"] == ["aaa", "bbb", "ccc", "ddd"]
    assert entry["replaced"] == {id_: (before or {})["revisions"][id_] for id_ in entry["replaces"]}
    assert (line.state("head") or {})["heads"] == ["fff"]
    assert line.run("check").code == 0
    assert line.run("backup", "list").code == 0


def test_an_older_release_with_the_old_scripts_finds_its_heads(line: Shop, tmp_path: Path):
    assert line.run("upgrade").code == 0
    made = squash(line, "aaa:ddd", "--rev-id", "eee")
    later = line.write(SORT, SORT_NOT, revision="fff", down_revision="ddd")
    older = tmp_path / "newer"
    older.mkdir()
    for _ in range(2):  # before and after a revision is applied on the squashed one
        for path in (Path(made["path"]), line.script(later)):
            path.rename(older / path.name)
        assert line.run("upgrade", "--json").json["result"] == "nothing"
        assert line.run("current", "--check-heads").code == 0
        assert "ddd" in line.run("current").out
        for path in older.iterdir():
            path.rename(line.script(later).parent / path.name)
        assert line.run("upgrade").code == 0
    assert recorded(line) == ["base0", "eee", "fff"]
    assert line.run("check").code == 0


def test_who_has_none_applies_it_and_ends_as_by_the_old_scripts(line: Shop):
    add_products(line)
    originals = document_values(line)
    assert line.run("upgrade").code == 0
    one_by_one = (served(line), document_values(line))
    assert line.run("downgrade", "base0").code == 0
    assert document_values(line) == originals
    squash(line, "aaa:ddd", "--rev-id", "eee")
    remove_scripts(line, "aaa", "bbb", "ccc", "ddd")
    assert line.run("upgrade", "--json").json["revisions"] == ["eee"]
    assert (served(line), document_values(line)) == one_by_one
    assert line.run("check").code == 0
    assert recorded(line) == ["base0", "eee"]
    assert line.run("downgrade", "base0", "--json").json["revisions"] == ["eee"]
    assert document_values(line) == originals
    assert list(served(line)) == ["first"]


@pytest.mark.parametrize(
    ("is_put_together", "is_deleted"),
    [
        (True, True),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
        pytest.param(False, False, marks=pytest.mark.slow),
    ],
)
def test_a_downgrade_of_it_uses_the_backups_of_all_that_it_replaces(
    line: Shop, is_put_together: bool, is_deleted: bool
):
    add_products(line)
    originals = document_values(line)
    assert line.run("upgrade").code == 0
    squash(line, "aaa:ddd", "--rev-id", "eee")
    if is_deleted:
        remove_scripts(line, "aaa", "bbb", "ccc", "ddd")
    if is_put_together:
        line.write(SORT, SORT_NOT, revision="fff", down_revision="eee")
        assert line.run("upgrade").code == 0
        assert recorded(line) == ["base0", "eee", "fff"]
    kept, documents = recorded(line), document_values(line)
    done = line.run("downgrade", "base0", "--json")
    assert done.code == 0, done.err
    assert done.json["revisions"] == [*(["fff"] if is_put_together else []), "ddd", "ccc", "bbb", "aaa"]
    assert document_values(line) == originals
    assert recorded(line) == ["base0"]
    assert line.run("rollback", "--run", done.json["run"]).code == 0
    assert recorded(line) == kept
    assert document_values(line) == documents
    assert line.run("check").code == 0
    assert line.run("downgrade", "base0").code == 0
    assert document_values(line) == originals


def test_a_rollback_of_the_revision_after_it_gives_the_records_back(line: Shop):
    assert line.run("upgrade").code == 0
    before = line.state("head") or {}
    squash(line, "aaa:ddd", "--rev-id", "eee")
    line.write(SORT, SORT_NOT, revision="fff", down_revision="eee")
    run = line.run("upgrade", "--json").json["run"]
    assert recorded(line) == ["base0", "eee", "fff"]
    assert line.run("rollback", "--run", run).code == 0
    after = line.state("head") or {}
    assert (after["heads"], after["revisions"]) == (before["heads"], before["revisions"])


def test_rewrites_that_one_can_t_do_are_done_one_by_one(shop: Shop):
    shop.strategy = "rebuild"
    shop.write(creation(), 'op.drop_index("products")', revision="aaa")
    shop.write(TO_FLOAT16, TO_FLOAT32, revision="bbb")
    shop.write(TO_BFLOAT16, TO_FLOAT16, revision="ccc")
    shop.write(TO_FLOAT16, TO_BFLOAT16, revision="ddd")
    add_products(shop)
    originals = document_values(shop)
    assert shop.run("upgrade").code == 0
    one_by_one = (served(shop), document_values(shop))
    made = squash(shop, "base:head", "--rev-id", "eee")
    assert "one by one: bbb and ccc rewrite documents" in made["notes"][0]
    assert len(made["operations"]) == 4
    remove_scripts(shop, "aaa", "bbb", "ccc", "ddd")
    assert shop.run("check").code == 0
    assert shop.run("upgrade", "--json").json["result"] == "nothing"
    assert shop.run("downgrade", "base", "--json").json["revisions"] == ["ddd", "ccc", "bbb", "aaa"]
    assert document_values(shop) == originals
    assert "alter field embedding: datatype=BFLOAT16" in shop.run("show", "eee").out
    assert shop.run("upgrade", "--json").json["revisions"] == ["aaa", "bbb", "ccc", "ddd"]
    assert (served(shop), document_values(shop)) == one_by_one
    assert shop.run("check").code == 0
    assert "eee (head)" in shop.run("current").out
    shop.write(ADD, TAKE_OUT, revision="fff", down_revision="eee")
    assert shop.run("upgrade").code == 0
    assert recorded(shop) == ["eee", "fff"]
    assert shop.run("downgrade", "base").code == 0
    assert document_values(shop) == originals
    assert shop.run("stamp", "base:head", "--script").code == 0


def test_what_is_applied_one_by_one_goes_on_where_it_was_left(shop: Shop):
    shop.write(creation(), 'op.drop_index("products")', revision="aaa")
    shop.write(TO_FLOAT16, TO_FLOAT32, revision="bbb")
    shop.write(TO_BFLOAT16, TO_FLOAT16, revision="ccc")
    add_products(shop)
    assert shop.run("upgrade", "bbb").code == 0
    squash(shop, "base:head", "--rev-id", "eee")
    remove_scripts(shop, "aaa", "bbb", "ccc")
    assert "`redismigrate upgrade` applies the rest" in shop.run("current").out
    assert shop.run("upgrade", "--json").json["revisions"] == ["ccc"]
    assert shop.run("check").code == 0
    assert shop.run("upgrade", "--json").json["result"] == "nothing"


def test_who_is_in_between_is_told_what_to_do(line: Shop):
    assert line.run("upgrade", "bbb").code == 0
    squash(line, "aaa:ddd", "--rev-id", "eee")
    line.refuses(
        "upgrade",
        code=6,
        says=(
            "Revision eee (squash aaa to ddd) replaces 4 revisions, and this Redis is in between: it has",
            "it has aaa, bbb and lacks ccc, ddd.",
            "Apply these by their own scripts, which are still here: `redismigrate upgrade ddd`.",
        ),
    )
    assert line.run("plan").code == 6
    shown = line.run("current")
    assert "is in between" in shown.out
    assert "(head)" not in shown.out
    assert "ahead" not in shown.out
    report = line.run("check", "--json")
    assert (report.code, [finding["kind"] for finding in report.json["differences"]]) == (
        3,
        ["squash_in_between"],
    )
    ready = line.run("current", "--check-heads")
    assert ready.code == 4
    assert "redismigrate upgrade ddd" in ready.err
    assert line.run("upgrade", "ddd").code == 0
    assert line.run("upgrade", "--json").json["result"] == "nothing"
    assert line.run("check").code == 0


def test_who_is_in_between_without_the_old_scripts_is_told_what_to_do(line: Shop):
    add_products(line)
    originals = document_values(line)
    assert line.run("upgrade", "ccc").code == 0
    squash(line, "aaa:ddd", "--rev-id", "eee")
    remove_scripts(line, "aaa", "bbb", "ccc", "ddd")
    told = line.run("upgrade")
    assert told.code == 6
    assert "with the release that has their scripts" in told.err
    assert "`redismigrate downgrade base0`" in told.err
    assert "replaces it" in line.run("upgrade", "ddd").err
    assert line.run("downgrade", "base0").code == 0
    assert document_values(line) == originals
    assert line.run("upgrade", "--json").json["revisions"] == ["eee"]
    assert line.run("check").code == 0


def test_a_downgrade_into_the_middle_goes_by_the_old_scripts(line: Shop):
    add_products(line)
    assert line.run("upgrade").code == 0
    squash(line, "aaa:ddd", "--rev-id", "eee")
    assert line.run("downgrade", "bbb", "--json").json["revisions"] == ["ddd", "ccc"]
    assert recorded(line) == ["base0", "aaa", "bbb"]
    assert line.run("upgrade", "ddd").code == 0
    assert line.run("downgrade", "-1", "--json").json["revisions"] == ["ddd", "ccc", "bbb", "aaa"]


def test_a_range_in_the_middle_leaves_those_after_it_where_they_are(line: Shop):
    add_products(line)
    originals = document_values(line)
    assert line.run("upgrade").code == 0
    before = line.state("head") or {}
    squash(line, "aaa:bbb", "--rev-id", "eee")
    remove_scripts(line, "aaa", "bbb")
    assert line.run("check").code == 0
    assert [each["revision"] for each in line.run("current", "--json").json["applied"]] == [
        "base0",
        "eee",
        "ccc",
        "ddd",
    ]
    assert line.run("current", "--json").json["heads"] == ["ddd"]
    assert line.state("head") == before
    line.write(SORT, SORT_NOT, revision="fff", down_revision="ddd")
    run = line.run("upgrade", "--json").json["run"]
    assert recorded(line) == ["base0", "eee", "ccc", "ddd", "fff"]
    assert (line.state("head") or {})["heads"] == ["fff"]
    assert line.run("rollback", "--run", run).code == 0
    assert (line.state("head") or {})["revisions"] == before["revisions"]
    assert recorded(line) == list(before["revisions"])
    assert line.run("downgrade", "-1", "--json").json["revisions"] == ["ddd"]
    assert line.run("downgrade", "base0", "--json").json["revisions"] == ["ccc", "bbb", "aaa"]
    assert document_values(line) == originals


def test_a_put_together_record_is_taken_apart_by_a_downgrade_into_the_middle(line: Shop):
    assert line.run("upgrade").code == 0
    squash(line, "aaa:ddd", "--rev-id", "eee")
    line.write(SORT, SORT_NOT, revision="fff", down_revision="eee")
    assert line.run("upgrade").code == 0
    assert recorded(line) == ["base0", "eee", "fff"]
    assert line.run("downgrade", "bbb", "--json").json["revisions"] == ["fff", "ddd", "ccc"]
    assert recorded(line) == ["base0", "aaa", "bbb"]
    assert line.run("upgrade", "ddd").code == 0
    assert line.run("upgrade").code == 0
    assert recorded(line) == ["base0", "eee", "fff"]


def test_files_for_redis_cli_know_squashed_revisions(line: Shop):
    squash(line, "aaa:ddd", "--rev-id", "eee")
    assert line.run("stamp", "base:head", "--script").code == 0
    assert line.run("upgrade", "ddd").code == 0
    line.write(ADD.replace("brand", "color"), TAKE_OUT.replace("brand", "color"), revision="fff")
    assert line.run("upgrade", "--script").code == 0
    assert line.run("upgrade").code == 0
    told = line.run("downgrade", "base0", "--script")
    assert told.code == 6
    assert "part of a squashed one" in told.err


def test_a_merge_and_a_branch_stand_on_it(line: Shop):
    squash(line, "aaa:ddd", "--rev-id", "eee")
    line.write(revision="left", down_revision="ddd", branch_labels=("shop",))
    line.write(revision="right", down_revision="base0", depends_on=("bbb",))
    assert line.run("merge", "--rev-id", "fff").code == 0
    assert line.run("upgrade").code == 0
    assert {*recorded(line)} == {"base0", "eee", "left", "right", "fff"}
    assert line.run("check").code == 0
    assert json.loads(line.run("heads", "--json").out)[0]["revision"] == "fff"


def test_labels_and_dependencies_of_the_replaced_are_kept(shop: Shop):
    shop.write(BASE, 'op.drop_index("first")', revision="base0")
    shop.write(creation(), 'op.drop_index("products")', revision="aaa", down_revision=None)
    shop.write(ADD, TAKE_OUT, revision="bbb", branch_labels=("brands",), depends_on=("base0",))
    shop.write(revision="user", down_revision="base0", depends_on=("brands",))
    made = squash(shop, "aaa:bbb", "--rev-id", "eee")
    text = Path(made["path"]).read_text(encoding="utf-8")
    assert 'branch_labels: tuple[str, ...] = ("brands",)' in text
    assert 'depends_on: tuple[str, ...] = ("base0",)' in text
    assert shop.run("upgrade", "brands@head").code == 0
    assert shop.run("upgrade", "heads").code == 0
    assert shop.run("current", "--check-heads").code == 0


def test_what_can_t_be_squashed_is_refused_with_what_to_do(line: Shop):
    def refuses(words: tuple[str, ...], *says: str) -> None:
        line.refuses("squash", *words, code=2, says=says)

    refuses(("aaa:aaa",), "There is nothing to squash")
    line.write(revision="other", down_revision="bbb")
    refuses(("aaa:ddd",), "From aaa to ddd is no line: other revises bbb, too.", "Squash up to bbb, or from")
    line.script("other").unlink()
    line.write("op.run(up)", revision="runs", down_revision="ddd", preamble="def up(client):\n    pass\n")
    refuses(("aaa:runs",), "A script can't be squashed that runs functions: runs calls op.run.")
    line.script("runs").unlink()
    line.write(revision="needs", down_revision="base0", depends_on=("aaa",))
    line.write(revision="last", down_revision="ddd", depends_on=("needs",))
    refuses(("aaa:last",), "From aaa to last is no line")
    line.script("last").unlink()
    line.write(revision="joins", down_revision=("ddd", "needs"))
    refuses(("aaa:joins",), "From aaa to joins is no line")
    line.script("joins").unlink()
    squash(line, "aaa:bbb", "--rev-id", "eee")
    refuses(("eee:ddd",), "Revision eee replaces others itself.")
    refuses(("ccc:ddd", "--rev-id", "aaa"), "Revision aaa exists already.")


def test_what_can_t_be_undone_can_t_be_undone_as_one(line: Shop):
    line.write(ADD.replace("brand", "size"), "op.irreversible('sizes are lost')", revision="fff")
    made = squash(line, "ccc:fff", "--rev-id", "eee")
    assert made["notes"] == ["it can't be undone, since fff can't: sizes are lost"]
    assert line.run("upgrade").code == 0
    told = line.run("downgrade", "-1")
    assert told.code == 6
    assert "sizes are lost" in told.err


def test_two_scripts_that_replace_the_same_are_an_error(line: Shop):
    made = squash(line, "aaa:bbb", "--rev-id", "eee")
    path = Path(made["path"])
    text = path.read_text(encoding="utf-8").replace('revision = "eee"', 'revision = "e2e"')
    path.with_name("copy.py").write_text(text, encoding="utf-8")
    told = line.run("heads")
    assert told.code == 8
    assert "both replace revision aaa" in told.err
