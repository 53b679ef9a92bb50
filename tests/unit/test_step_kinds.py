"""The table of kinds of steps: every one has its rows, and what was said of kinds before is said in it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import get_args

import pytest

from redismigrate.documents.rewrite import PathRename, PrefixChange, Rewrite
from redismigrate.planning.plan import Step, moves_names
from redismigrate.planning.step_kinds import LIVES
from redismigrate.planning.step_life import STRATEGIES, LifeName, StepKind, Trait, life_name_of
from redismigrate.planning.step_payloads import DocumentsPayload, DropPayload, FunctionPayload
from redismigrate.planning.undo import UNDOERS, undo_of
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import IndexDefinition

KINDS = get_args(StepKind)
# What each set of kinds was before there was a table.
SETS: Mapping[Trait, set[str]] = {
    "changes_index": {"create_index", "alter_index", "replace_index", "swap_alias", "drop_index"},
    "makes_index": {"create_index", "replace_index"},
    "drops_index": {"drop_index", "replace_index"},
    "replaces_index": {"swap_alias", "replace_index"},
    "stays_same_index": {"alter_index", "set_synonyms"},
    "has_definition": {"create_index", "replace_index", "alter_index", "set_synonyms"},
    "is_kept_if_temporary": {"create_index", "alter_index", "set_synonyms"},
    "takes_search_away": {"drop_index", "replace_index", "rewrite_documents"},
    "bears_unmoved_names": {
        "alter_index",
        "set_synonyms",
        "prove_index",
        "wait_for_index",
        "validate_index",
        "check_expectations",
    },
    "is_looked_at_again": {"validate_index", "check_expectations"},
    "owns": {"claim_index", "release_index"},
    "takes_effect_before_its_note": {
        "run_function",
        "claim_index",
        "release_index",
        "rewrite_documents",
        "copy_documents",
        "drop_values",
        "restore_values",
    },
    "restores": {"verify_backup", "restore_documents", "restore_values"},
    "keeps_to_rate": {
        "back_up_documents",
        "rewrite_documents",
        "index_documents",
        "catch_up_documents",
        "restore_documents",
        "drop_values",
        "restore_values",
    },
    "is_repeated": {"catch_up_documents"},
    "makes_new_form": {"rewrite_documents", "copy_documents"},
    "writes_vectors": {"rewrite_documents", "promote_documents"},
    "is_followed": {"copy_documents", "promote_documents"},
    "ends_following": {"remove_documents"},
}
# Those that hold for some steps of a kind.
ROWS: Mapping[Trait, set[LifeName]] = {
    "moves_names": {"set_alias", "swap_alias", "drop_index"},
    "is_loss": {"release_index", "drop_index", "drop_to_rewrite"},
    "comes_early": {"prove_index", "back_up_documents"},
    "reads_own_backup": {
        "rewrite_documents",
        "index_documents",
        "catch_up_documents",
        "promote_documents",
        "remove_second_fields",
        "drop_values",
    },
}
PHASES = {
    "documents": {
        "back_up_documents",
        "rewrite_documents",
        "catch_up_documents",
        "verify_backup",
        "restore_documents",
        "copy_documents",
        "promote_documents",
        "remove_documents",
        "start_backup",
        "drop_values",
        "restore_values",
        "run_function",
    },
    "validate": {"validate_index", "check_expectations"},
    "cutover": {"set_alias", "swap_alias", "record_indexes", "record_revision", "record_fold"},
}
OFFLINE = {
    "commands": {
        "prove_index",
        "create_index",
        "alter_index",
        "replace_index",
        "set_synonyms",
        "drop_index",
        "set_alias",
        "swap_alias",
    },
    "look": {"wait_for_index", "validate_index", "check_expectations"},
    "record": {"claim_index", "release_index", "record_revision"},
}
OLD = IndexDefinition(IndexSchema(name="a", prefixes=("p:",), fields=()), physical="a__1")
NEW = IndexDefinition(IndexSchema(name="a", prefixes=("q:",), fields=()), physical="a__2")
MOVE = Rewrite("hash", (), (), (PrefixChange("p:", "q:"),))
RENAME = Rewrite("hash", (), (PathRename("title", "name"),))


def every_step() -> list[Step]:
    """A step of every row, with all that it may have."""
    steps = {}
    for rewrite, kind, strategy, takes_back, after, fields in product(
        (MOVE, RENAME), KINDS, (None, *STRATEGIES), (False, True), (False, True), ({}, {"v": "v__1"})
    ):
        step = Step(
            kind=kind,
            index="a",
            strategy=strategy,
            before=OLD,
            after=NEW,
            alias="c",
            documents=DocumentsPayload(rewrite=rewrite, second_fields=fields, takes_back=takes_back),
            call=FunctionPayload(function=0, function_in="upgrade", function_direction="up"),
            drop=DropPayload(second_fields=fields),
            after_record=after,
        )
        if kind != "promote_documents" or strategy == "shadow_field":
            steps.setdefault(step.life.name, step)
    return list(steps.values())


def test_every_kind_has_rows_and_every_row_is_met():
    assert set(LIVES) == set(get_args(LifeName)) == {step.life.name for step in every_step()}
    assert {life.kind for life in LIVES.values()} == set(KINDS)
    assert all(step.life.kind == step.kind for step in every_step())
    assert all(life.does and life.second_try for life in LIVES.values())


def test_what_holds_for_kinds_holds_as_it_did_before():
    assert SETS.keys() | ROWS.keys() == set(get_args(Trait))
    for trait, kinds in SETS.items():
        found = {life.kind: life.has(trait) for life in LIVES.values()}
        assert {kind for kind, has in found.items() if has} == kinds, trait
        assert all(life.has(trait) == found[life.kind] for life in LIVES.values()), trait
    for trait, rows in ROWS.items():
        assert {name for name, life in LIVES.items() if life.has(trait)} == rows, trait


def test_phases_and_ways_to_do_it_offline_are_as_before():
    for life in LIVES.values():
        assert life.phase == next((name for name, kinds in PHASES.items() if life.kind in kinds), "index")
        assert life.offline == next((name for name, kinds in OFFLINE.items() if life.kind in kinds), None)


def test_what_moves_names_comes_before_the_record():
    for step in every_step():
        is_move = step.kind in {"set_alias", "swap_alias"} or (
            step.kind == "drop_index" and step.strategy != "rebuild"
        )
        assert moves_names(step) == (is_move and not step.after_record)


def test_every_row_is_undone_by_rows_and_by_a_function_that_makes_these():
    assert {name for name, life in LIVES.items() if life.undone_by} == UNDOERS.keys() | {
        "record_revision",
        "record_fold",
    }
    for life in LIVES.values():
        assert set(life.undone_by) <= LIVES.keys()
    for step in every_step():
        undo = {each.life.name for each in undo_of((step,))}
        assert undo <= set(step.life.undone_by), step.life.name
        assert bool(undo) == (step.life.name in UNDOERS), step.life.name


def test_a_copy_whose_originals_are_gone_is_copied_back():
    copy, removal = (
        Step(
            kind=kind,
            index="a",
            strategy="shadow_copy",
            before=OLD,
            after=NEW,
            documents=DocumentsPayload(rewrite=MOVE),
        )
        for kind in ("copy_documents", "remove_documents")
    )
    undo = undo_of((copy, removal))
    assert [step.life.name for step in undo] == ["remove_originals", "make_copies", "remove_originals"]
    assert (undo[1].before, undo[1].after, str(undo[1].work.rewrite)) == (NEW, OLD, "move keys q:* to p:*")
    for step in (copy, removal):
        told = {each.life.name for each in undo if each.kind != step.kind} | {"remove_originals"}
        assert told <= {*copy.life.undone_by, *removal.life.undone_by}


def test_values_that_have_left_their_path_are_written_there_again():
    copy, removal = (
        Step(
            kind=kind,
            index="a",
            strategy="shadow_field",
            before=OLD,
            after=NEW,
            documents=DocumentsPayload(rewrite=RENAME),
        )
        for kind in ("copy_documents", "remove_documents")
    )
    undo = undo_of((copy, removal))
    assert [step.life.name for step in undo] == ["remove_twins", "fill_twins", "remove_twins"]
    assert (undo[1].before, undo[1].after, str(undo[1].work.rewrite)) == (NEW, OLD, "rename name to title")
    for step in (copy, removal):
        told = {each.life.name for each in undo if each.kind != step.kind} | {"remove_twins"}
        assert told <= {*copy.life.undone_by, *removal.life.undone_by}


@pytest.mark.parametrize("step", every_step(), ids=lambda step: step.life.name)
def test_a_step_is_stored_flat_and_read_back(step: Step):
    stored = step.model_dump()
    assert not {"documents", "call", "drop"} & stored.keys()
    assert len(stored) == 23
    again = Step.model_validate(stored)
    assert again.model_dump() == stored
    assert again.life == step.life
    # Those who made plans before there were payloads gave the values so.
    assert Step(**stored) == again


def test_values_that_a_step_lacks_are_named_where_they_are_needed():
    step = Step(kind="copy_documents")
    for name, told in {
        "served": "an index",
        "index_before": "the index before",
        "index_after": "the index after it",
        "work": "documents",
    }.items():
        with pytest.raises(ValueError, match=f"^a step copy_documents needs {told}$"):
            getattr(step, name)


def test_a_kind_means_one_thing_where_it_has_one_row():
    rows = [life.kind for life in LIVES.values()]
    for kind in KINDS:
        if rows.count(kind) == 1:
            assert {life_name_of(kind, strategy) for strategy in (None, *STRATEGIES)} == {
                next(name for name, life in LIVES.items() if life.kind == kind)
            }
