"""Revision identifiers: what each form shows, applies and undoes, and what each error says."""

import pytest
from history_builder import make_history

from redismigrate.errors import (
    AmbiguousRevision,
    NotAnAncestor,
    RevisionNotFound,
    SeveralHeads,
    StepsOutOfRange,
    UnknownBranchLabel,
    UsageError,
)
from redismigrate.history.identifiers import (
    resolve_many,
    resolve_one,
    resolve_range,
    revisions_to_apply,
    revisions_to_undo,
)

LINE = make_history({"aa11": (), "ab22": ("aa11",), "bc33": ("ab22",)})
# a - b - c1 - d1     two branches
#       \ c2 - d2
BRANCHES = {"a": (), "b": ("a",), "c1": ("b",), "d1": ("c1",), "c2": ("b",), "d2": ("c2",)}
LABELS = {"left": "c1", "right": "c2"}
BRANCHED = make_history(BRANCHES, labels=LABELS)
MERGED = make_history(BRANCHES | {"m": ("d1", "d2"), "n": ("m",)}, labels=LABELS)
# Two lines; the second one needs the first.
LINES = make_history(
    {"s1": (), "s2": ("s1",), "n1": (), "n2": ("n1",), "n3": ("n2",)},
    labels={"shop": "s1", "net": "n1"},
    depends_on={"n3": ("s2",)},
)
NONE = frozenset()


def applied(*revisions, history=BRANCHED):
    return history.ancestors(revisions)


def error_of(function, *arguments, error=UsageError):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert type(caught.value) is error
    assert caught.value.exit_code == 2
    assert caught.value.hint.endswith(".")
    return str(caught.value)


# --- one or several revisions


@pytest.mark.parametrize(
    ("identifier", "revision"),
    [
        ("bc33", "bc33"),
        (" bc33 ", "bc33"),
        ("b", "bc33"),
        ("aa", "aa11"),
        ("head", "bc33"),
        ("heads", "bc33"),
        ("current", "ab22"),
        ("+1", "bc33"),
        ("-1", "aa11"),
        ("+0", "ab22"),
        ("head-1", "ab22"),
        ("base+2", "ab22"),
        ("aa11+2", "bc33"),
        ("bc-2", "aa11"),
        ("current-1", "aa11"),
        ("aa@head", "bc33"),
        ("ab22@aa", "aa11"),
    ],
)
def test_an_identifier_on_a_line(identifier, revision):
    assert resolve_one(LINE, identifier, frozenset({"aa11", "ab22"})) == revision


@pytest.mark.parametrize(
    ("identifier", "revisions"),
    [
        ("heads", ("d1", "d2")),
        ("left@head", ("d1",)),
        ("left@heads", ("d1",)),
        ("b@heads", ("d1", "d2")),
        ("left", ("c1",)),
        ("left@head-1", ("c1",)),
        ("right@base+3", ("c2",)),
        ("left@base", ()),
        ("base", ()),
        ("current", ("c1", "c2")),
        ("left@current", ("c1",)),
        ("left@+1", ("d1",)),
        ("right@-1", ("b",)),
        ("d2@-1", ("b",)),
        ("right@b+2", ("d2",)),
        ("right@d", ("d2",)),
    ],
)
def test_an_identifier_among_branches(identifier, revisions):
    assert resolve_many(BRANCHED, identifier, applied("c1", "c2")) == revisions


def test_an_exact_id_and_a_label_win_over_a_prefix():
    history = make_history({"a": (), "ab": ("a",), "shopping": ("ab",)}, labels={"shop": "a"})
    assert resolve_one(history, "a", NONE) == "a"
    assert resolve_one(history, "shop", NONE) == "a"


def test_a_step_down_from_a_merge_leads_to_all_of_its_parents():
    assert resolve_many(MERGED, "m-1", NONE) == ("d1", "d2")
    assert resolve_many(MERGED, "left@m-1", NONE) == ("d1",)


def test_a_base_and_the_head_of_nothing_are_no_revision():
    message = error_of(resolve_one, LINE, "base", NONE, error=RevisionNotFound)
    assert message.startswith("'base' stands for no revision, as nothing is there yet.\n")
    assert resolve_many(make_history({}), "head", NONE) == ()
    error_of(resolve_one, make_history({}), "head", NONE, error=RevisionNotFound)


def test_several_revisions_where_one_is_expected():
    assert error_of(resolve_one, BRANCHED, "heads", NONE, error=AmbiguousRevision) == (
        "'heads' stands for 2 revisions, but one is expected: d1 (message of d1), d2 (message of d2).\n"
        "Name one of them."
    )


def test_an_unknown_revision_is_reported_with_near_matches():
    assert error_of(resolve_one, LINE, "bc34", NONE, error=RevisionNotFound) == (
        "There is no revision 'bc34'.\nDid you mean 'bc33'? `redismigrate history` lists the revisions."
    )


def test_an_applied_revision_without_script_is_reported_as_such():
    assert error_of(resolve_one, LINE, "ff", frozenset({"ff99"}), error=RevisionNotFound) == (
        "Revision ff99 is applied, but no script has it: Redis is ahead of these scripts.\n"
        "Run the command where its script is."
    )


def test_an_ambiguous_prefix_lists_the_candidates():
    assert error_of(resolve_one, LINE, "a", NONE, error=AmbiguousRevision) == (
        "'a' is ambiguous: 2 revisions begin so: aa11 (message of aa11), ab22 (message of ab22).\n"
        "Give more characters of the id."
    )


def test_many_candidates_are_not_all_listed():
    history = make_history({f"a{number:02}": () for number in range(20)})
    assert "a07 (message of a07) and 12 more." in error_of(
        resolve_one, history, "a", NONE, error=AmbiguousRevision
    )


def test_head_is_refused_where_there_are_several():
    assert error_of(resolve_many, BRANCHED, "head", NONE, error=SeveralHeads) == (
        "'head' is ambiguous: the history has 2 heads: d1 (message of d1), d2 (message of d2).\n"
        "Use `heads` for all of them, `label@head` (or `id@head`) for one, "
        'or join them with `redismigrate merge -m "..."`.'
    )
    assert "'b@head' is ambiguous: the branch 'b' has 2 heads" in error_of(
        resolve_many, BRANCHED, "b@head", NONE, error=SeveralHeads
    )


def test_an_unknown_label_lists_the_labels():
    assert error_of(resolve_many, BRANCHED, "rihgt@head", NONE, error=UnknownBranchLabel) == (
        "There is no branch label 'rihgt', and no revision of that id.\n"
        "Did you mean 'right'? The labels are: left, right."
    )
    assert "No revision has a branch label." in error_of(
        resolve_many, LINE, "x@head", NONE, error=UnknownBranchLabel
    )


def test_a_revision_of_another_branch_is_refused():
    assert error_of(resolve_many, BRANCHED, "left@c2", NONE, error=NotAnAncestor).startswith(
        "Revision c2 is not on the branch 'left'.\n"
    )
    assert error_of(resolve_many, BRANCHED, "left@zz", NONE, error=RevisionNotFound).startswith(
        "There is no revision 'zz' on the branch 'left'.\n"
    )


@pytest.mark.parametrize(
    "text", ["", " ", "@", "left@", "@head", "a b", "a,b", "1+", "+", "a+x", "a@b@c", "+1+1", "--1"]
)
def test_a_text_that_is_no_identifier_is_refused(text):
    assert f"'{text.strip()}' is not a revision identifier.\nUse an id or its unique beginning" in error_of(
        resolve_many, LINE, text, NONE
    )


def test_a_range_in_place_of_an_identifier_is_refused():
    assert "'a:b' is a range, but one revision is expected." in error_of(resolve_many, LINE, "a:b", NONE)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("aa11+3", "'aa11+3' goes past the head: 2 revisions are left."),
        ("+2", "'+2' goes past the head: 1 revision is left."),
        ("head+1", "'head+1' goes past the head: no revision is left."),
        ("bc33-4", "'bc33-4' goes past the base: 3 revisions are left on the way down."),
        ("base-1", "'base-1' goes past the base: no revision is left on the way down."),
    ],
)
def test_steps_that_leave_the_history_are_refused(identifier, message):
    text = error_of(resolve_many, LINE, identifier, frozenset({"aa11", "ab22"}), error=StepsOutOfRange)
    assert text.startswith(message + "\n")


def test_steps_up_through_a_branch_point_are_refused_unless_the_branch_is_said():
    assert error_of(resolve_many, BRANCHED, "a+2", NONE, error=AmbiguousRevision) == (
        "'a+2' is ambiguous: the history branches after b: c1 (message of c1), c2 (message of c2).\n"
        "Name a revision, or say which branch with `label@+N` (or `id@+N`)."
    )
    assert resolve_many(BRANCHED, "left@a+2", NONE) == ("c1",)


def test_steps_down_through_a_merge_are_refused_unless_the_branch_is_said():
    assert error_of(resolve_many, MERGED, "m-2", NONE, error=AmbiguousRevision) == (
        "'m-2' is ambiguous: on the way down a merge has 2 parents: d1 (message of d1), d2 (message of d2).\n"
        "Name one of them instead."
    )
    assert resolve_many(MERGED, "left@m-2", NONE) == ("c1",)


def test_steps_from_several_revisions_are_refused():
    assert error_of(resolve_many, BRANCHED, "heads-1", NONE, error=SeveralHeads) == (
        "'heads-1' is ambiguous: 2 revisions are meant: d1 (message of d1), d2 (message of d2).\n"
        "Say which branch: `d1@-1`, or a branch label before the `@`; or name a revision."
    )


# --- ranges


@pytest.mark.parametrize(
    ("identifiers", "revisions"),
    [
        (":", ("a", "b", "c1", "c2", "d1", "d2")),
        ("base:heads", ("a", "b", "c1", "c2", "d1", "d2")),
        ("b:d1", ("b", "c1", "d1")),
        ("c1:", ("c1", "d1")),
        (":c2", ("a", "b", "c2")),
        ("d1:d1", ("d1",)),
        ("base:base", ()),
        (":left@head", ("a", "b", "c1", "d1")),
        ("left@base:", ("a", "b", "c1", "d1")),
        ("left@b:", ("b", "c1", "d1")),
        ("-1:current", ("b", "c1")),
        ("-9:current", ("a", "b", "c1")),
        ("current:+1", ("c1", "d1")),
        ("current:+9", ("c1", "d1")),
        ("-1:+1", ("b", "c1", "d1")),
        ("-1:d2", ("c2", "d2")),
        ("c2:+1", ("c2", "d2")),
        ("a:right@+3", ("a", "b", "c2", "d2")),
        ("b:heads", ("b", "c1", "c2", "d1", "d2")),
        (" c1 : d1 ", ("c1", "d1")),
    ],
)
def test_a_range_is_inclusive_and_parents_first(identifiers, revisions):
    assert resolve_range(BRANCHED, identifiers, applied("c1")) == revisions


def test_a_range_up_to_a_head_includes_dependencies_but_one_from_the_base_of_a_branch_does_not():
    assert resolve_range(LINES, ":net@head", NONE) == ("n1", "n2", "s1", "s2", "n3")
    assert resolve_range(LINES, "net@base:", NONE) == ("n1", "n2", "n3")


@pytest.mark.parametrize("identifiers", ["d1:b", "d1:c2", "a:base"])
def test_a_range_whose_ends_are_not_on_a_line_is_refused(identifiers):
    assert "is not an ancestor of" in error_of(
        resolve_range, BRANCHED, identifiers, NONE, error=NotAnAncestor
    )


def test_a_reversed_range_is_refused_with_the_other_direction():
    assert error_of(resolve_range, LINE, "bc33:aa11", NONE, error=NotAnAncestor) == (
        "Revision bc33 is not an ancestor of aa11.\n"
        "`aa11:bc33` is the other direction; `redismigrate history` shows the lines."
    )


@pytest.mark.parametrize("text", ["a", "", "a:b:c"])
def test_a_text_that_is_no_range_is_refused(text):
    assert (
        error_of(resolve_range, LINE, text, NONE) == f"'{text}' is not a range.\nWrite `a:b`, `a:` or `:b`."
    )


# --- upgrades


@pytest.mark.parametrize(
    ("identifier", "current", "path"),
    [
        ("heads", (), ("a", "b", "c1", "c2", "d1", "d2")),
        ("left@head", (), ("a", "b", "c1", "d1")),
        ("right@head", ("d1",), ("c2", "d2")),
        ("c1", ("a",), ("b", "c1")),
        ("a", ("d1",), ()),
        ("base", (), ()),
        ("left@base", (), ()),
        ("current", ("c1",), ()),
        ("+1", (), ("a",)),
        ("+2", (), ("a", "b")),
        ("+0", ("a",), ()),
        ("a+1", (), ("a", "b")),
        ("right@+1", ("c1",), ("c2",)),
        ("right@+1", ("c1", "c2"), ("d2",)),
        ("right@+2", ("a",), ("b", "c2")),
        ("right@+4", (), ("a", "b", "c2", "d2")),
        ("right@head-1", ("b",), ("c2",)),
        ("base+1", (), ("a",)),
    ],
)
def test_an_upgrade_applies(identifier, current, path):
    assert revisions_to_apply(BRANCHED, identifier, applied(*current)) == path


def test_an_upgrade_to_a_merge_applies_both_sides():
    assert revisions_to_apply(MERGED, "+2", applied("c1")) == ("c2", "d1", "d2", "m")


def test_an_upgrade_brings_dependencies_along():
    assert revisions_to_apply(LINES, "net@head", NONE) == ("n1", "n2", "s1", "s2", "n3")


def test_an_upgrade_ignores_applied_revisions_it_has_no_script_of():
    assert revisions_to_apply(LINE, "head", frozenset({"aa11", "ff99"})) == ("ab22", "bc33")
    assert revisions_to_apply(LINE, "+1", frozenset({"aa11", "ff99"})) == ("ab22",)


def test_an_upgrade_of_an_empty_history_does_nothing():
    assert revisions_to_apply(make_history({}), "head", NONE) == ()


def test_steps_up_from_several_current_revisions_are_refused():
    assert error_of(revisions_to_apply, BRANCHED, "+1", applied("c1", "c2"), error=SeveralHeads) == (
        "'+1' is ambiguous: 2 revisions are current: c1 (message of c1), c2 (message of c2).\n"
        "Say which branch: `c1@+1`, or a branch label before the `@`; or name a revision."
    )
    assert revisions_to_apply(BRANCHED, "c1@+1", applied("c1", "c2")) == ("d1",)


def test_steps_up_from_the_base_are_refused_where_there_are_several_bases():
    assert "the history branches from the base: n1 (message of n1), s1" in error_of(
        revisions_to_apply, LINES, "+1", NONE, error=AmbiguousRevision
    )


def test_an_upgrade_does_not_count_down():
    assert error_of(revisions_to_apply, LINE, "-1", applied("ab22", history=LINE)) == (
        "An upgrade can't go to '-1', which lies below the current revision.\n"
        "Use `redismigrate downgrade -1`."
    )


# --- downgrades


@pytest.mark.parametrize(
    ("identifier", "current", "path"),
    [
        ("base", ("d1", "d2"), ("d2", "d1", "c2", "c1", "b", "a")),
        ("base", (), ()),
        ("b", ("d1", "d2"), ("d2", "d1", "c2", "c1")),
        ("base+2", ("d1", "d2"), ("d2", "d1", "c2", "c1")),
        ("c1", ("d1", "d2"), ("d1",)),
        ("d1", ("d1", "c2"), ()),
        ("current", ("d1", "c2"), ()),
        ("heads", ("d1", "d2"), ()),
        ("-1", ("d1",), ("d1",)),
        ("-3", ("d1",), ("d1", "c1", "b")),
        ("-1", ("a",), ("a",)),
        ("-0", ("a",), ()),
        ("d2-1", ("c1", "d2"), ("d2",)),
        ("c2-1", ("d1", "d2"), ("d2", "d1", "c2", "c1")),
        ("left@-1", ("d1", "d2"), ("d1",)),
        ("left@-2", ("d1", "d2"), ("d1", "c1")),
        ("d2@-1", ("d1", "d2"), ("d2",)),
        ("left@base", ("d1", "d2"), ("d1", "c1")),
        ("left@base", ("d2",), ()),
        ("left@b", ("c1", "d2"), ("c1",)),
        ("right@a", ("d1", "d2"), ("d2", "c2")),
        ("right@base+2", ("d1", "d2"), ("d2", "c2")),
        ("c2@b", ("d1", "d2"), ("d2", "c2")),
        ("d1@b", ("d1", "d2"), ("d1", "c1")),
        ("left@head-1", ("d1", "d2"), ("d1",)),
    ],
)
def test_a_downgrade_undoes(identifier, current, path):
    assert revisions_to_undo(BRANCHED, identifier, applied(*current)) == path


def test_one_step_down_from_a_merge_undoes_the_merge_alone():
    everything = MERGED.ancestors(["m"])
    assert revisions_to_undo(MERGED, "-1", everything) == ("m",)
    assert revisions_to_undo(MERGED, "m-1", everything) == ("m",)
    assert MERGED.maximal(everything - {"m"}) == ("d1", "d2")


def test_two_steps_down_past_a_merge_are_refused_unless_the_branch_is_said():
    everything = frozenset(MERGED)
    assert error_of(revisions_to_undo, MERGED, "-3", everything, error=SeveralHeads) == (
        "'-3' is ambiguous: after m is undone, 2 revisions are current: "
        "d1 (message of d1), d2 (message of d2).\n"
        "Say which branch: `d1@-3`, or a branch label before the `@`; or name a revision."
    )
    assert revisions_to_undo(MERGED, "left@-3", everything) == ("n", "m", "d1")
    assert revisions_to_undo(MERGED, "d1@-3", everything) == ("n", "m", "d1")


def test_a_branch_below_a_merge_takes_the_merge_along():
    assert revisions_to_undo(MERGED, "left@base", frozenset(MERGED)) == ("n", "m", "d1", "c1")


def test_steps_below_a_base_leave_other_bases_alone():
    assert revisions_to_undo(LINES, "s1-1", frozenset({"s1", "s2", "n1"})) == ("s2", "s1")
    assert revisions_to_undo(LINES, "shop@base", frozenset({"s1", "s2", "n1"})) == ("s2", "s1")


def test_a_downgrade_takes_along_what_depends_on_it():
    everything = frozenset(LINES)
    assert revisions_to_undo(LINES, "shop@base", everything) == ("n3", "s2", "s1")
    assert revisions_to_undo(LINES, "shop@-1", everything) == ("n3", "s2")
    assert revisions_to_undo(LINES, "s1", everything) == ("n3", "s2")


def test_a_downgrade_leaves_what_it_depended_on():
    assert revisions_to_undo(LINES, "net@base", frozenset(LINES)) == ("n3", "n2", "n1")
    assert revisions_to_undo(LINES, "-1", frozenset(LINES)) == ("n3",)


def test_one_step_down_from_several_current_revisions_is_refused():
    assert error_of(revisions_to_undo, BRANCHED, "-1", applied("d1", "d2"), error=SeveralHeads) == (
        "'-1' is ambiguous: 2 revisions are current: d1 (message of d1), d2 (message of d2).\n"
        "Say which branch: `d1@-1`, or a branch label before the `@`; or name a revision."
    )


def test_steps_down_past_the_base_are_refused():
    assert error_of(revisions_to_undo, LINE, "-5", applied("ab22", history=LINE), error=StepsOutOfRange) == (
        "'-5' goes past the base: 2 revisions are applied.\nTake fewer steps, or use `base`."
    )
    assert error_of(revisions_to_undo, LINE, "-1", NONE, error=StepsOutOfRange).startswith(
        "'-1' goes past the base: no revision is applied.\n"
    )
    assert error_of(revisions_to_undo, BRANCHED, "left@-3", applied("d1"), error=StepsOutOfRange) == (
        "'left@-3' goes past the branch 'left': 2 revisions are applied.\n"
        "Take fewer steps, or use `left@base`."
    )


@pytest.mark.parametrize("identifier", ["-1", "-2", "base"])
def test_where_only_unknown_revisions_are_applied_they_are_named(identifier):
    assert error_of(
        revisions_to_undo, LINE, identifier, frozenset({"ff99"}), error=RevisionNotFound
    ).startswith("Redis is ahead of these scripts by ff99, which would have to be undone first.\n")


def test_a_target_that_is_not_applied_is_refused():
    assert error_of(revisions_to_undo, LINE, "head", applied("ab22", history=LINE), error=NotAnAncestor) == (
        "Revision bc33 is not applied, so nothing above it can be undone.\n"
        "`redismigrate current` shows what is applied."
    )


@pytest.mark.parametrize("identifier", ["+1", "left@+1"])
def test_a_downgrade_does_not_count_up(identifier):
    assert error_of(revisions_to_undo, BRANCHED, identifier, applied("a")) == (
        f"A downgrade can't go to '{identifier}', which lies above the current revision.\n"
        f"Use `redismigrate upgrade {identifier}`."
    )


# --- Redis is ahead of the scripts


AHEAD = (
    "Redis is ahead of these scripts by {}, which would have to be undone first.\n"
    "Run the downgrade where their scripts are."
)


@pytest.mark.parametrize("identifier", ["base", "ab22", "aa11", "current", "-1", "bc33@-1", "aa11@base"])
def test_unknown_revisions_above_the_target_are_not_skipped(identifier):
    above = frozenset({"aa11", "ab22", "x1", "x2"})
    parents = {"aa11": (), "ab22": ("aa11",), "x1": ("ab22",), "x2": ("x1",)}
    assert error_of(revisions_to_undo, LINE, identifier, above, parents, error=RevisionNotFound) == (
        AHEAD.format("x1, x2")
    )


def test_an_unknown_revision_without_record_may_be_above_anything():
    assert error_of(revisions_to_undo, LINE, "aa11", frozenset({"aa11", "x1"}), error=RevisionNotFound) == (
        AHEAD.format("x1")
    )
    records = {"x2": ("x1",)}
    assert AHEAD.format("x2") == error_of(
        revisions_to_undo, LINE, "aa11", frozenset({"aa11", "x2"}), records, error=RevisionNotFound
    )


def test_unknown_revisions_on_another_line_do_not_block():
    there = applied("d1", "c2") | {"x1", "x2"}
    records = {"x1": ("c2",), "x2": ("x1",)}
    assert revisions_to_undo(BRANCHED, "c1", there, records) == ("d1",)
    assert revisions_to_undo(BRANCHED, "left@base", there, records) == ("d1", "c1")
    assert AHEAD.format("x1, x2") == error_of(
        revisions_to_undo, BRANCHED, "b", there, records, error=RevisionNotFound
    )


def test_going_back_to_the_base_is_blocked_by_unknown_revisions_of_any_line():
    assert AHEAD.format("x1") == error_of(
        revisions_to_undo, LINE, "base", frozenset({"aa11", "x1"}), {"x1": ()}, error=RevisionNotFound
    )


# --- one branch, where another line depends on a part of it


def test_steps_on_a_branch_start_from_what_is_current_before_what_another_line_depends_on():
    history = make_history(
        {"a": (), "c1": ("a",), "c2": ("a",), "d2": ("c2",), "x": ()}, depends_on={"x": ("c1",)}
    )
    everything_but_d2 = frozenset(history) - {"d2"}
    assert resolve_many(history, "current", everything_but_d2) == ("c2", "x")
    assert revisions_to_apply(history, "a@+1", everything_but_d2) == ("d2",)
    assert revisions_to_undo(history, "a@-1", everything_but_d2) == ("c2",)
