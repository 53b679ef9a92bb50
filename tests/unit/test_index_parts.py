"""Which indexes of a revision can be changed each on its own, in which order, and what that takes."""

from __future__ import annotations

import pytest
from planned_revisions import catalog, index, kinds, planned, reasons, recorded, server, step_of, vector

from redismigrate.planning.index_parts import cut_down, parts_of, steps_about, steps_without
from redismigrate.planning.room import MemoryNeed, one_after_the_other
from redismigrate.planning.step_life import STRATEGIES

A, B, C = (index(name, vector(), prefixes=(f"{name}:",)) for name in "abc")
BUILT = ["prove_index", "create_index", "wait_for_index", "validate_index"]


def to_hnsw(*names):
    def script(op):
        for name in names:
            with op.index(name) as changed:
                changed.alter_field("embedding", algorithm="hnsw")

    return script


def test_every_index_is_a_part_and_a_renamed_one_has_both_names():
    def script(op):
        with op.index("a") as changed:
            changed.rename_to("z")
        op.set_synonyms("b", "seats", ["sofa"])
        with op.index("z") as changed:
            changed.alter_field("embedding", algorithm="hnsw")

    revision = recorded(script, A, B)
    parts = parts_of(revision, catalog(A, B))
    assert parts == (frozenset({"a", "z"}), frozenset({"b"}))
    assert len(cut_down(revision, {"b"}, catalog(A, B)).operations) == 1
    assert len(cut_down(revision, parts[0], catalog(A, B)).operations) == 2


def test_what_is_about_no_index_stays_in_every_part():
    def script(op):
        op.assume_exclusive("the shop is closed")
        to_hnsw("a", "b")(op)

    cut = cut_down(recorded(script, A, B), {"b"}, catalog(A, B))
    assert [operation.kind for operation in cut.operations] == ["assume_exclusive", "change_index"]


def moves_an_alias(op):
    op.create_alias("first", "b")
    to_hnsw("a", "b")(op)


def swaps_names(op):
    with op.index("a") as changed:
        changed.rename_to("z")
    with op.index("b") as changed:
        changed.rename_to("a")


def creates(op):
    op.create_index({"index": {"name": "n", "prefix": "n:"}, "fields": [{"name": "t", "type": "tag"}]})
    to_hnsw("a", "b")(op)


def drops(op):
    op.drop_index("b")
    to_hnsw("a", "c")(op)


def runs(op):
    op.run(print)
    to_hnsw("a", "b")(op)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (moves_an_alias, "names move between indexes a and b"),
        (swaps_names, "names move between indexes a and b"),
        (creates, "it has “create index n"),
        (drops, "it has “drop index b”"),
        (runs, "op.run(print) may be about all of them"),
    ],
)
def test_a_revision_that_can_not_be_taken_apart_is_blocked(script, reason):
    first = index("a", vector(), prefixes=("a:",), aliases=("first",))
    plan = planned(script, first, B, C, on_failure="continue")
    asked = "--on-failure continue can't split this revision by its indexes: "
    assert any(text.startswith(f"{asked}{reason}") for text in reasons(plan)), reasons(plan)
    assert not planned(script, first, B, C).obstacles
    assert not planned(script, first, B, C, cutover="each").obstacles


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (moves_an_alias, "names move between indexes a and b: they are changed together"),
        (runs, "op.run(print) may be about all indexes of the revision: they are changed together"),
    ],
)
def test_with_each_the_plan_says_what_is_changed_together(script, why):
    first = index("a", vector(), prefixes=("a:",), aliases=("first",))
    plan = planned(script, first, B, C, cutover="each")
    assert plan.steps == planned(script, first, B, C).steps
    assert why in plan.warnings


def test_with_each_indexes_are_made_and_dropped_in_their_turn():
    for script, turns in ((creates, "nab"), (drops, "bac")):
        plan = planned(script, A, B, C, cutover="each")
        assert not plan.obstacles
        assert [step.kind for step in plan.steps if step.kind.startswith("record")] == [
            "record_indexes",
            "record_indexes",
            "record_revision",
        ]
        about = dict.fromkeys(step.index for step in plan.steps if step.index is not None)
        assert "".join(about) == turns


def test_with_each_an_index_that_is_not_changed_is_still_asked_what_is_expected():
    def script(op):
        to_hnsw("a", "b")(op)
        op.expect("c", count=1_000)

    plan = planned(script, A, B, C, cutover="each")
    at = [kinds(plan).index(kind) for kind in ("record_indexes", "check_expectations", "record_revision")]
    assert at == sorted(at)
    assert sorted(kinds(plan)) == sorted([*kinds(planned(script, A, B, C)), "record_indexes"])


def test_with_each_indexes_that_share_documents_have_one_turn():
    shared = index("c", vector(), prefixes=("a:", "c:"))
    plan = planned(to_hnsw("a", "b", "c"), A, B, shared, cutover="each")
    assert "indexes a and c share documents: they are changed together" in plan.warnings
    at = kinds(plan).index("record_indexes")
    assert {step.index for step in plan.steps[:at]} == {"a", "c"}
    joined = index("d", vector(), prefixes=("b:", "c:"))
    plan = planned(to_hnsw("a", "b", "c", "d"), A, B, shared, joined, cutover="each")
    assert "record_indexes" not in kinds(plan)


@pytest.mark.parametrize("prefixes", [("a:",), ("a:1",), ()])
def test_indexes_that_share_documents_are_not_taken_apart(prefixes):
    other = index("b", vector(), prefixes=prefixes)
    plan = planned(to_hnsw("a", "b"), A, other, on_failure="continue")
    [reason] = reasons(plan)
    assert reason.endswith("indexes a and b share documents")
    on_json = index("b", vector(), prefixes=prefixes, storage_type="json")
    assert not planned(to_hnsw("a", "b"), A, on_json, on_failure="continue").obstacles


def test_continue_plans_the_same_steps():
    plans = [planned(to_hnsw("a", "b"), A, B, **wish) for wish in ({}, {"on_failure": "continue"})]
    assert plans[0].steps == plans[1].steps


def test_with_each_an_index_is_swapped_and_its_old_one_dropped_before_the_next():
    plan = planned(to_hnsw("a", "b"), A, B, cutover="each")
    own = [step.kind for step in steps_about(plan.steps, {"a"})]
    assert own[: len(BUILT)] == BUILT
    records = [step.kind for step in plan.steps if step.kind.startswith("record")]
    assert records == ["record_indexes", "record_revision"]
    at = kinds(plan).index("record_indexes")
    about = [step.index for step in plan.steps]
    assert set(about[:at]) == {"a"}
    assert "b" not in about[: about.index("b")]
    assert sorted(step.index or "" for step in plan.steps) == sorted(
        ["", "", *["a"] * len(own), *["b"] * len(own)]
    )
    assert any("undoing it has to build up to 2 of them again" in warning for warning in plan.warnings)


def test_one_index_is_planned_as_ever_whatever_is_asked_for():
    assert planned(to_hnsw("a"), A, B, cutover="each").steps == planned(to_hnsw("a"), A, B).steps


@pytest.mark.parametrize("strategy", ["auto", *STRATEGIES])
def test_steps_without_a_part_keep_the_others_in_order(strategy):
    plan = planned(to_hnsw("a", "b", "c"), A, B, C, strategy=strategy)
    position = next(at for at, step in enumerate(plan.steps) if step.index == "b")
    steps, now = steps_without(plan.steps, {"b"}, position)
    others = [step for step in plan.steps if step.index != "b" and step.kind != "record_revision"]
    assert [step for step in steps if step.kind != "record_indexes"] == others
    assert [step.kind for step in steps].count("record_indexes") == 1
    assert steps[now] == next(step for step in plan.steps[position:] if step.index != "b")


def test_without_its_only_part_nothing_is_left():
    plan = planned(to_hnsw("b"), A, B)
    assert steps_without(plan.steps, {"b"}, 2) == ([], 0)


def test_memory_is_that_of_one_index_beside_what_the_others_keep():
    needs = (MemoryNeed("a", 100, 10), MemoryNeed("b", 80, 0), MemoryNeed("c", 95, 5))
    assert one_after_the_other(needs) == (105, "c")
    assert one_after_the_other(needs[:2]) == (100, "a")


def plan_with_memory(free_bytes, **options):
    limits = {"maxmemory": 10_000_000_000, "used_memory": 10_000_000_000 - free_bytes}
    big = [index(name, vector(dims=768), prefixes=(f"{name}:",)) for name in "abc"]
    on = server(*big, documents=10_000, capabilities=limits)
    return planned(to_hnsw("a", "b", "c"), *big, on=on, **options)


def test_where_all_do_not_fit_beside_each_other_the_block_says_that_each_would():
    plan = plan_with_memory(60_000_000)
    blocks = [text for text in reasons(plan) if "maxmemory are used" in text]
    assert blocks
    for text in blocks:
        assert (
            "--cutover each, which drops the old form of an index before the next is begun, would fit" in text
        )
        assert "60.0 MB are free" in text
    alone = plan_with_memory(60_000_000, cutover="each")
    assert reasons(alone) == []
    assert any("takes about" in warning and "together it would be" in warning for warning in alone.warnings)


def test_where_one_does_not_fit_either_the_block_says_so():
    for options in ({}, {"cutover": "each"}):
        plan = plan_with_memory(1_000_000, **options)
        assert any("maxmemory are used" in text for text in reasons(plan))
    assert any("would not fit either" in text for text in reasons(plan_with_memory(1_000_000)))


def test_a_block_for_one_index_says_nothing_of_each():
    limits = {"maxmemory": 10_000_000, "used_memory": 9_999_000}
    plan = planned(to_hnsw("a"), A, on=server(A, documents=100_000, capabilities=limits))
    assert any("maxmemory are used" in text for text in reasons(plan))
    assert not any("--cutover" in text for text in reasons(plan))


def test_the_record_of_a_part_names_it():
    plan = planned(to_hnsw("a", "b"), A, B, cutover="each")
    assert step_of(plan, "record_indexes").description == "record a"
