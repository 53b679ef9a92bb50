"""Upgrades and downgrades of random histories of up to 200 revisions, against a model made of plain sets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_histories import random_history

from redismigrate.errors import AmbiguousRevision, NotAnAncestor, SeveralHeads, StepsOutOfRange, UsageError
from redismigrate.history.identifiers import resolve_range, revisions_to_apply, revisions_to_undo

MOST_REVISIONS = 200
ACTIONS = ("up", "down", "heads", "base", "label up", "label down")


histories = st.builds(
    random_history,
    st.integers(min_value=0, max_value=2**32),
    st.integers(min_value=1, max_value=MOST_REVISIONS),
)


@given(histories, st.data())
def test_any_sequence_of_upgrades_and_downgrades_leaves_what_the_model_has(case, data):
    history, model = case
    names = sorted(model.revises)
    for _ in range(6):
        action = data.draw(st.sampled_from(ACTIONS))
        name = data.draw(st.sampled_from(names))
        label = data.draw(st.sampled_from(sorted(model.labels))) if model.labels else None
        applied = frozenset(model.applied)
        if action == "up":
            model.apply(revisions_to_apply(history, name, applied), model.up({name}) - applied)
        elif action == "heads":
            model.apply(revisions_to_apply(history, "heads", applied), set(names) - applied)
        elif action == "base":
            model.undo(revisions_to_undo(history, "base", applied), set(applied))
        elif action == "down" and name in applied:
            model.undo(revisions_to_undo(history, name, applied), (model.down({name}) & applied) - {name})
        elif action == "down":
            with pytest.raises(NotAnAncestor, match="is not applied"):
                revisions_to_undo(history, name, applied)
        elif action == "label up" and label is not None:
            heads = model.heads() & model.lineage(label)
            if len(heads) == 1:
                expected = model.up(heads) - applied
                model.apply(revisions_to_apply(history, f"{label}@head", applied), expected)
            else:
                with pytest.raises(SeveralHeads, match=f"the branch '{label}' has {len(heads)} heads"):
                    revisions_to_apply(history, f"{label}@head", applied)
            expected = model.up(heads) - model.applied
            model.apply(revisions_to_apply(history, f"{label}@heads", frozenset(model.applied)), expected)
        elif action == "label down" and label is not None:
            expected = model.down(model.branch(label)) & applied
            model.undo(revisions_to_undo(history, f"{label}@base", applied), expected)


@given(histories, st.data())
def test_steps_go_to_the_next_revision_of_a_branch_or_are_refused(case, data):
    history, model = case
    model.applied = model.up(set(data.draw(st.lists(st.sampled_from(sorted(model.revises)), max_size=2))))
    for _ in range(6):
        step = data.draw(st.sampled_from([step_up, step_down]))
        step(history, model, data.draw(st.sampled_from([None, *sorted(model.labels)])))


def step_up(history, model, label):
    """`+1`, on the branch of a label if there is one: to the only child of the only last revision."""
    text, applied = "+1" if label is None else f"{label}@+1", frozenset(model.applied)
    lineage = set(model.revises) if label is None else model.lineage(label)
    last = model.last(None if label is None else lineage)
    above = model.children(*last) if len(last) == 1 else {n for n in model.revises if not model.revises[n]}
    above &= lineage
    if len(last) > 1 or len(above) != 1:
        refusal = SeveralHeads if len(last) > 1 else AmbiguousRevision if above else StepsOutOfRange
        with pytest.raises(refusal):
            revisions_to_apply(history, text, applied)
    else:
        model.apply(revisions_to_apply(history, text, applied), model.up(above) - applied)


def step_down(history, model, label):
    """`-1`, on the branch of a label if there is one: the only last revision, with what stands on it."""
    text, applied = "-1" if label is None else f"{label}@-1", frozenset(model.applied)
    last = model.last(None if label is None else model.branch(label))
    if len(last) != 1:
        with pytest.raises(SeveralHeads if last else StepsOutOfRange):
            revisions_to_undo(history, text, applied)
    else:
        model.undo(revisions_to_undo(history, text, applied), model.down(last) & applied)


@given(histories, st.data())
def test_a_range_is_what_lies_between_its_ends_or_is_refused(case, data):
    history, model = case
    lower, upper = data.draw(st.tuples(*[st.sampled_from(sorted(model.revises))] * 2))
    for text, below, above in (
        (f"{lower}:{upper}", {lower}, {upper}),
        (f":{upper}", set(), {upper}),
        (f"{lower}:", {lower}, model.heads()),
    ):
        if below <= model.up(above):
            between = model.up(above) & (model.down(below) if below else set(model.revises))
            assert set(resolve_range(history, text, frozenset())) == between
        else:
            with pytest.raises(NotAnAncestor):
                resolve_range(history, text, frozenset())


@given(histories)
@settings(max_examples=settings.default.max_examples // 2)
def test_a_downgrade_goes_back_over_every_merge_and_dependency_step_by_step_or_says_which_branch(case):
    history, model = case
    model.applied = set(model.revises)
    for _ in range(len(model.revises)):
        applied = frozenset(model.applied)
        current = {name for name in applied if model.down({name}) & applied == {name}}
        if len(current) > 1:
            with pytest.raises(SeveralHeads) as refused:
                revisions_to_undo(history, "-1", applied)
            # What the hint proposes works.
            proposed = refused.value.hint.partition("`")[2].partition("`")[0]
            assert proposed.endswith("@-1")
            path = revisions_to_undo(history, proposed, applied)
        else:
            path = revisions_to_undo(history, "-1", applied)
        assert len(path) >= 1
        model.undo(path, set(path))
    assert not model.applied


@given(histories, st.data())
def test_every_refusal_has_a_sentence_that_says_how_to_be_specific(case, data):
    history, model = case
    some = data.draw(st.sampled_from(sorted(model.revises)))
    applied, refused = frozenset(model.up({some})), []
    ends = [
        "head",
        "heads",
        "base",
        "current",
        "+1",
        "-1",
        "head-1",
        f"{some}+1",
        f"{some}-2",
        f"{some}@head",
    ]
    for text in data.draw(st.lists(st.sampled_from([*ends, *model.labels]), min_size=1, max_size=4)):
        for question in (revisions_to_apply, revisions_to_undo):
            try:
                path = question(history, text, applied)
            except UsageError as error:
                refused.append(error)
            else:
                assert len(set(path)) == len(path)
    assert all(error.message.endswith(".") and error.hint.endswith(".") for error in refused)
