"""The DAG of the scripts: its shape, its branches, and the paths between two states."""

from dataclasses import replace

import pytest
from history_builder import make_history, make_script

from redismigrate.errors import DuplicateRevision, HistoryCycle, MissingParent, RevisionNotFound, ScriptError
from redismigrate.history.folder import heads_of
from redismigrate.history.graph import History

# a - b - c1 - d1 - e     two branches and their merge,
#       \ c2 - d2 /
BRANCHED = {
    "a": (),
    "b": ("a",),
    "c1": ("b",),
    "d1": ("c1",),
    "c2": ("b",),
    "d2": ("c2",),
}
MERGED = BRANCHED | {"e": ("d1", "d2")}


def test_a_history_is_a_mapping_of_ids_to_scripts():
    history = make_history(BRANCHED)
    assert history["c1"].down_revisions == ("b",)
    assert "c1" in history
    assert "c" not in history
    assert len(history) == 6
    with pytest.raises(KeyError):
        history["nope"]


def test_it_iterates_parents_first_and_otherwise_by_date_and_id():
    def script(revision, parents, date):
        return replace(make_script(revision, parents), create_date=date)

    scripts = [
        script("a", (), "2026-01-03"),
        script("b", ("a",), "2026-01-01"),
        script("x", (), "2026-01-02"),
        script("z", ("b",), "2026-01-05"),
        script("y", ("b",), "2026-01-05"),
    ]
    assert list(History(scripts)) == list(History(reversed(scripts))) == ["x", "a", "b", "y", "z"]


def test_heads_bases_and_branch_points():
    history = make_history(MERGED | {"r": (), "s": ("r",)})
    assert history.heads() == ("e", "s")
    assert history.bases() == ("a", "r")
    assert history.branch_points() == ("b",)
    assert history.children("b") == ("c1", "c2")


def test_an_empty_history_has_no_heads():
    history = History([])
    assert (history.heads(), history.bases(), list(history), history.upgrade_path([], [])) == ((), (), [], ())


def test_a_dependency_does_not_take_a_head_away():
    history = make_history({"a": (), "b": ("a",), "x": ()}, depends_on={"x": ("b",)})
    assert history.heads() == ("b", "x") == heads_of(history.values())
    assert history.bases() == ("a", "x")


def test_ancestors_and_descendants_follow_dependencies():
    history = make_history({"a": (), "b": ("a",), "x": (), "y": ("x",)}, depends_on={"x": ("a",)})
    assert history.ancestors(["y"]) == {"a", "x", "y"}
    assert history.descendants(["a"]) == {"a", "b", "x", "y"}


def test_lineage_does_not_follow_dependencies():
    history = make_history({"a": (), "b": ("a",), "x": (), "y": ("x",)}, depends_on={"x": ("a",)})
    assert history.lineage("x") == {"x", "y"}


def test_a_dependency_may_be_named_by_a_branch_label():
    history = make_history({"a": (), "x": ()}, labels={"shop": "a"}, depends_on={"x": ("shop",)})
    assert history.dependencies("x") == ("a",)
    assert history.ancestors(["x"]) == {"a", "x"}


def test_a_label_covers_descendants_and_ancestors_up_to_the_branch_point():
    history = make_history(MERGED, labels={"first": "d1", "second": "c2"})
    assert history.branch("d1") == {"c1", "d1", "e"}
    assert history.branch("c2") == {"c2", "d2", "e"}
    assert history.labels == {"first": "d1", "second": "c2"}


def test_a_label_on_a_line_covers_all_of_it():
    assert make_history({"a": (), "b": ("a",), "c": ("b",)}).branch("b") == {"a", "b", "c"}


def test_a_label_above_a_merge_does_not_cover_the_merge():
    history = make_history(MERGED | {"f": ("e",), "g": ("f",)})
    assert history.branch("g") == {"f", "g"}


@pytest.mark.parametrize(
    ("applied", "maximal"),
    [(set(), ()), ({"a"}, ("a",)), ({"a", "b", "c1", "c2"}, ("c1", "c2")), (set(MERGED), ("e",))],
)
def test_the_current_revisions_are_the_maximal_applied_ones(applied, maximal):
    assert make_history(MERGED).maximal(applied) == maximal


def test_maximal_sees_through_a_gap_and_past_unknown_ids():
    assert make_history(MERGED).maximal({"a", "e", "unknown"}) == ("e",)


def test_a_head_that_another_line_depends_on_is_implied_by_that_line():
    history = make_history({"a": (), "x": ()}, depends_on={"x": ("a",)})
    assert history.heads() == ("a", "x")
    assert history.maximal(history) == ("x",)


def test_an_upgrade_applies_what_is_missing_parents_first():
    history = make_history(MERGED)
    assert history.upgrade_path(["e"], {"a", "b", "c2"}) == ("c1", "d1", "d2", "e")
    assert history.upgrade_path(["c1"], ()) == ("a", "b", "c1")
    assert history.upgrade_path(["a"], {"a", "b"}) == ()


def test_an_upgrade_brings_dependencies_along():
    history = make_history({"a": (), "b": ("a",), "x": ()}, depends_on={"x": ("a",)})
    assert history.upgrade_path(["x"], ()) == ("a", "x")


def test_a_path_to_an_unknown_revision_is_refused():
    with pytest.raises(RevisionNotFound) as caught:
        make_history({"abcdef": ()}).upgrade_path(["abcdee"], ())
    assert str(caught.value) == (
        "There is no revision 'abcdee'.\nDid you mean 'abcdef'? `redismigrate history` lists the revisions."
    )


@pytest.mark.parametrize(
    ("parents", "depends_on", "circle"),
    [
        ({"b": ("a",), "a": ("b",)}, {}, "a -> b -> a"),
        ({"c": ("c",)}, {}, "c -> c"),
        ({"r": (), "a": ("r", "c"), "b": ("a",), "c": ("b",)}, {}, "a -> b -> c -> a"),
        ({"a": (), "b": ("a",)}, {"a": ("b",)}, "a -> b -> a"),
        ({"a": (), "x": ()}, {"a": ("x",), "x": ("a",)}, "a -> x -> a"),
        ({"a": ()}, {"a": ("a",)}, "a -> a"),
    ],
)
def test_a_circle_is_refused_naming_its_revisions_in_order(parents, depends_on, circle):
    with pytest.raises(HistoryCycle) as caught:
        make_history(parents, depends_on=depends_on)
    assert caught.value.message == f"Revisions revise or depend on each other in a circle: {circle}."
    assert "Correct down_revision or depends_on in versions/" in caught.value.hint


def test_a_long_circle_is_found_without_recursion():
    names = [f"{number:05}" for number in range(5000)]
    with pytest.raises(HistoryCycle, match="00000 -> 00001 -> "):
        make_history({name: (names[number - 1],) for number, name in enumerate(names)})


def test_a_missing_parent_is_refused_naming_file_and_near_matches():
    with pytest.raises(MissingParent) as caught:
        make_history({"8f3a1c9b2d4e": (), "b": ("8f3a1c9b2d4f",)})
    assert str(caught.value) == (
        "versions/b.py revises '8f3a1c9b2d4f', but no script has that revision.\n"
        "Did you mean '8f3a1c9b2d4e'? Add the missing script, or correct the id."
    )


def test_a_missing_dependency_is_refused():
    with pytest.raises(MissingParent) as caught:
        make_history({"a": ()}, depends_on={"a": ("catalog",)})
    assert str(caught.value) == (
        "versions/a.py depends on 'catalog', but no script has that revision.\n"
        "Add the missing script, or correct the id."
    )


def test_a_parent_may_not_be_named_by_a_label():
    with pytest.raises(
        MissingParent, match=r"versions/b\.py revises 'shop', but no script has that revision"
    ):
        make_history({"a": (), "b": ("shop",)}, labels={"shop": "a"})


def test_a_label_given_twice_is_refused():
    with pytest.raises(ScriptError) as caught:
        History([make_script("a", (), ("shop",)), make_script("b", ("a",), ("shop",))])
    assert str(caught.value) == (
        "versions/b.py gives the branch label 'shop', which is already given in versions/a.py.\n"
        "Give a label once, where its branch starts; later revisions of the branch inherit it."
    )


def test_a_label_that_is_also_an_id_is_refused():
    with pytest.raises(ScriptError, match=r"'b', which is already the id of the revision in versions/b\.py"):
        History([make_script("a", (), ("b",)), make_script("b", ("a",))])


def test_a_duplicate_id_is_refused():
    with pytest.raises(DuplicateRevision):
        History([make_script("a"), make_script("a")])
