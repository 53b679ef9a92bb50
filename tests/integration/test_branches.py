"""Branches at the command line: merge, branches, and where `revision` puts a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Result, Shop

CREATE = """
op.create_index({"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "n", "type": "tag"}]})
"""


def make(shop: Shop, *arguments: str) -> dict[str, Any]:
    """Write a script; what `show` says of it."""
    result = shop.run("--json", *arguments)
    assert result.code == 0, result.out
    return shop.run("--json", "show", result.json["revision"]).json


def revision(shop: Shop, rev_id: str, *arguments: str) -> dict[str, Any]:
    return make(shop, "revision", "-m", f"make {rev_id}", "--rev-id", rev_id, *arguments)


@pytest.fixture
def forked(shop: Shop) -> Shop:
    """A base and two revisions on top of it, of which the second has the label `pricing`."""
    revision(shop, "aaa")
    revision(shop, "bbb")
    revision(shop, "ccc", "--head", "aaa", "--splice", "--branch-label", "pricing")
    return shop


def test_a_merge_joins_all_heads(forked: Shop):
    made = make(forked, "merge", "-m", "together")
    assert (made["down_revisions"], made["message"]) == (["bbb", "ccc"], "together")
    assert forked.run("heads", "--check").code == 0


def test_a_merge_joins_the_heads_that_it_is_given_and_says_which(forked: Shop):
    revision(forked, "ddd", "--head", "base")
    made = make(forked, "merge", "bbb", "pricing@head", "--rev-id", "eee", "--branch-label", "shop")
    assert made["down_revisions"] == ["bbb", "ccc"]
    assert made["message"] == "merge bbb and ccc"
    assert made["branch_labels"] == ["shop"]
    assert [head["revision"] for head in forked.run("--json", "heads").json] == ["ddd", "eee"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("merge", "bbb"), ("There is nothing to merge: only bbb is named by bbb.", "name two or more")),
        (("merge", "aaa", "bbb"), ("Revision aaa is not a head.", "Name one of: bbb, ccc")),
        (("merge", "bbb", "nope"), ("There is no revision 'nope'.",)),
        (("revision", "-m", "x"), ("'head' is ambiguous: the history has 2 heads", "redismigrate merge")),
        (("revision", "-m", "x", "--head", "aaa"), ("Revision aaa is not a head.", "--splice")),
        (
            ("revision", "-m", "x", "--head", "bbb", "--branch-label", "pricing"),
            ("Revision ccc has the branch label 'pricing' already.",),
        ),
        (
            ("revision", "-m", "x", "--head", "bbb", "--branch-label", "aaa"),
            ("'aaa' is the id of a revision.",),
        ),
        (
            ("revision", "-m", "x", "--head", "bbb", "--branch-label", "a b"),
            ("'a b' can't be a branch label",),
        ),
        (("revision", "-m", "x", "--head", "bbb", "--depends-on", "zzz"), ("There is no revision 'zzz'.",)),
        (
            ("revision", "-m", "x", "--head", "bbb", "--depends-on", "base"),
            ("'base' stands for no revision",),
        ),
        (
            ("revision", "-m", "x", "--head", "bbb", "--version-path", "elsewhere"),
            ("elsewhere is none of the folders with scripts:", "version_locations"),
        ),
        (("revision", "-m", "x", "--head", "bbb", "--rev-id", "aaa"), ("Revision aaa exists already.",)),
        (
            ("revision", "-m", "x", "--head", "bbb", "--rev-id", "pricing"),
            ("Revision ccc has the branch label 'pricing'.", "Choose another --rev-id."),
        ),
        (("downgrade", "-1"), ("'-1' goes past the base",)),
        (
            ("history", "-r", "pricing:bbb"),
            ("Revision ccc is not an ancestor of bbb.", "the other direction"),
        ),
    ],
)
def test_what_is_not_clear_is_refused_with_how_to_be_specific(
    forked: Shop, arguments: tuple[str, ...], says: tuple[str, ...]
):
    forked.refuses(*arguments, code=2, says=says)
    assert len(list((forked.folder / "migrations" / "versions").glob("*.py"))) == 3


def test_there_is_nothing_to_merge_in_an_empty_history(shop: Shop):
    shop.refuses("merge", code=2, says=("There is nothing to merge: no revision is named by heads.",))


def test_dependencies_are_kept_as_labels_or_full_ids(forked: Shop):
    made = revision(forked, "ddd", "--head", "bbb", "--depends-on", "pricing", "--depends-on", "aa")
    assert made["depends_on"] == ["pricing", "aaa"]
    assert forked.run("upgrade", "bbb").code == 0
    assert forked.run("--json", "upgrade", "ddd").json["revisions"] == ["ccc", "ddd"]
    assert forked.run("--json", "downgrade", "pricing@base").json["revisions"] == ["ddd", "ccc"]


def test_a_script_goes_into_the_folder_of_what_it_revises_or_into_the_one_that_is_named(shop: Shop):
    (shop.folder / "more").mkdir()
    configuration = shop.folder / "redismigrate.toml"
    text = configuration.read_text(encoding="utf-8")
    locations = 'version_locations = ["migrations/versions", "more"]\n'
    configuration.write_text(text + locations, encoding="utf-8")
    revision(shop, "aaa")
    assert revision(shop, "bbb", "--head", "base", "--version-path", "more")["path"].endswith(
        "more/bbb_make_bbb.py"
    )
    assert revision(shop, "ccc", "--head", "bbb")["path"].endswith("more/ccc_make_ccc.py")
    assert revision(shop, "ddd", "--head", "aaa")["path"].endswith("versions/ddd_make_ddd.py")
    made = revision(shop, "eee", "--head", "aaa", "--splice", "--version-path", str(shop.folder / "more"))
    assert made["path"].endswith("more/eee_make_eee.py")
    assert len(shop.run("--json", "history").json) == 5


def test_branches_lists_branch_points_and_labels(forked: Shop):
    assert forked.run("branches").out.splitlines() == [
        "aaa make aaa, revised by",
        "  bbb make bbb",
        "  ccc [pricing] make ccc",
        "label pricing: from ccc to ccc",
    ]
    found = forked.run("--json", "branches").json
    assert [(point["revision"], point["children"]) for point in found["branch_points"]] == [
        ("aaa", ["bbb", "ccc"])
    ]
    assert found["labels"] == {"pricing": {"revision": "ccc", "heads": ["ccc"]}}


def test_a_history_without_branches_says_so(shop: Shop):
    revision(shop, "aaa")
    assert shop.run("branches").out == "The history does not branch.\n"


def test_several_heads_fail_the_check(forked: Shop):
    forked.refuses(
        "heads",
        "--check",
        code=8,
        says=(
            "The history has 2 heads: bbb (make bbb), ccc (make ccc).",
            "Join them with `redismigrate merge",
        ),
    )


def test_a_broken_history_fails_the_check_of_heads(shop: Shop):
    first = shop.write(down_revision="000000000002")
    shop.refuses("heads", "--check", code=8, says=("", "revises '000000000002', but no script has that"))
    assert shop.run("heads").out == f"{first} revision 1\n"
    shop.write(down_revision=first)
    for arguments in (("heads",), ("heads", "--check"), ("heads", "--resolve-dependencies")):
        shop.refuses(*arguments, code=8, says=("Revisions revise or depend on each other in a circle: ",))


def test_a_head_on_which_another_depends_can_be_left_out(forked: Shop):
    revision(forked, "ddd", "--head", "bbb", "--depends-on", "pricing")
    assert forked.run("heads").out.splitlines() == ["ccc [pricing] make ccc", "ddd make ddd"]
    assert forked.run("heads", "--resolve-dependencies").out.splitlines() == ["ddd make ddd"]
    assert forked.run("heads", "--check").code == 8
    assert forked.run("heads", "--check", "--resolve-dependencies").code == 0


def test_one_label_is_applied_and_undone_alone(forked: Shop):
    assert forked.run("--json", "upgrade", "pricing@head").json["revisions"] == ["aaa", "ccc"]
    assert forked.run("--json", "upgrade", "heads").json["revisions"] == ["bbb"]
    assert forked.run("--json", "downgrade", "pricing@base").json["revisions"] == ["ccc"]
    assert forked.run("--json", "current").json["heads"] == ["bbb"]


def test_a_downgrade_below_a_merge_undoes_both_branches(forked: Shop):
    make(forked, "merge", "--rev-id", "ddd")
    assert forked.run("upgrade").code == 0
    assert forked.run("--json", "downgrade", "-1").json["revisions"] == ["ddd"]
    assert forked.run("upgrade").code == 0
    assert set(forked.run("--json", "downgrade", "aaa").json["revisions"]) == {"ddd", "ccc", "bbb"}


def lines(result: Result) -> list[str]:
    assert result.code == 0, result.err
    return result.out.splitlines()


def test_a_range_of_the_history(forked: Shop):
    assert lines(forked.run("history", "-r", "bbb:")) == ["aaa -> bbb (head), make bbb"]
    assert lines(forked.run("history", "-r", ":aaa")) == ["base -> aaa, make aaa"]
    assert len(lines(forked.run("history", "-r", "-1:ccc"))) == 2
    assert forked.run("upgrade", "bbb").code == 0
    assert lines(forked.run("history", "-r", "current:")) == ["aaa -> bbb (head), make bbb"]


def test_the_history_marks_what_is_applied_when_and_by_whom(forked: Shop):
    assert forked.run("upgrade", "bbb").code == 0
    (forked.folder / "migrations" / "versions" / "bbb_make_bbb.py").unlink()
    unapplied, applied, ahead = lines(forked.run("history", "-i"))
    assert unapplied == "aaa -> ccc (head) [pricing], make ccc; not applied"
    assert applied.startswith("base -> aaa, make aaa; applied 20")
    assert " by " in applied
    assert ahead == "Redis is ahead of these scripts by bbb"
    found = forked.run("--json", "history", "-i").json
    assert found[0]["applied"] is None
    assert {"applied_at", "by", "seconds"} <= found[1]["applied"].keys()
    assert "applied" not in forked.run("--json", "history").json[0]


def test_the_history_as_a_drawing(forked: Shop):
    make(forked, "merge", "--rev-id", "ddd")
    assert forked.run("upgrade", "bbb").code == 0
    text = lines(forked.run("graph"))
    assert len(text) == 6
    assert lines(forked.run("history", "--graph")) == text
    assert lines(forked.run("history", "--graph", "-i"))[-1].startswith("●  aaa make aaa; applied")
    assert lines(forked.run("graph", "--format", "mermaid"))[0] == "flowchart TD"
    assert forked.run("--json", "graph", "--format", "mermaid").json["text"].count("-->") == 4


@pytest.mark.parametrize(
    ("editor", "says"),
    [
        ("false", "The editor 'false' ended with 1."),
        ("no-such-editor -w", "The editor 'no-such-editor -w' can't be started: [Errno 2] No such file"),
        ("vi '", "The editor \"vi '\" can't be started: No closing quotation."),
        ("", "No editor is set."),
    ],
)
def test_an_editor_that_fails_is_named(forked: Shop, monkeypatch: pytest.MonkeyPatch, editor: str, says: str):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor)
    forked.refuses("edit", "aaa", code=8, says=(says,))


def test_show_tells_operations_of_both_directions_in_words(shop: Shop):
    shop.write(
        CREATE,
        'op.drop_index("products")',
    )
    found = shop.run("--json", "show", "head").json
    assert found["upgrade"] == ["create index products on hash p:* with n tag"]
    assert found["downgrade"] == ["drop index products"]
    assert "Downgrade:\n  drop index products" in shop.run("show", "head").out


def test_who_is_at_head_may_begin_to_serve(forked: Shop):
    forked.refuses(
        "current",
        "--check-heads",
        code=4,
        says=("3 revisions wait to be applied: aaa, bbb, ccc.", "redismigrate upgrade heads"),
    )
    assert forked.run("upgrade", "heads").code == 0
    assert forked.run("current", "--check-heads").out == "All is applied: bbb, ccc.\n"
    forked.script("bbb_make_bbb").unlink()
    assert forked.run("--json", "current", "--check-heads").json == {
        "heads": ["bbb", "ccc"],
        "ahead": ["bbb"],
        "notes": [],
    }


def test_the_check_of_heads_only_reads(forked: Shop):
    assert forked.run("upgrade", "heads").code == 0
    with forked.monitored() as commands:
        assert forked.run("current", "--check-heads").code == 0
    names = [words[0] for words in commands if words[0] not in {"CLIENT", "HELLO", "SELECT"}]
    assert set(names) <= {"TYPE", "MGET", "FT._LIST", "FT.INFO"}


@pytest.mark.parametrize("damaged", ["head", "indexes", "last_run"])
def test_stamp_with_purge_replaces_a_damaged_record(shop: Shop, damaged: str):
    shop.write(CREATE)
    assert shop.run("upgrade").code == 0
    shop.wait_until_indexed()
    shop.client.set(f"{{redismigrate:shop}}:{damaged}", "no JSON")
    assert shop.run("stamp", "head").code == 1
    assert shop.run("stamp", "head", "--purge").out == "Recorded: 000000000001.\n"
    current = shop.run("--json", "current").json
    assert current["heads"] == ["000000000001"]
    assert list(current["indexes"]) == ["products"]
    assert shop.run("--json", "upgrade").json["result"] == "nothing"


def test_stamp_with_purge_forgets_who_applied_what_and_gives_up_what_is_not_in_the_history(shop: Shop):
    shop.write(CREATE)
    assert shop.run("upgrade").code == 0
    first = shop.run("--json", "current").json["applied"][0]["applied_at"]
    shop.client.set("{redismigrate}:owners", '{"lost": "shop", "products": "shop", "theirs": "another"}')
    assert shop.run("stamp", "head").code == 0
    assert shop.run("--json", "current").json["applied"][0]["applied_at"] == first
    assert shop.run("stamp", "head", "--purge").code == 0
    assert shop.run("--json", "current").json["applied"][0]["applied_at"] != first
    assert shop.client.get("{redismigrate}:owners") == b'{"products": "shop", "theirs": "another"}'


def test_stamp_with_purge_keeps_the_record_where_the_indexes_differ(shop: Shop):
    shop.write(CREATE)
    assert shop.run("upgrade").code == 0
    shop.client.execute_command("FT.DROPINDEX", "products")
    shop.refuses("stamp", "head", "--purge", code=3, says=("The server is not what this revision makes",))
